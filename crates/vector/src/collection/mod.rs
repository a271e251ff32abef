//! A collection of vectors: searchable at once, indexed in the background, durable by checkpoints.
//!
//! ```text
//!            insert                 build                    merge
//!  growing ---------> full: frozen ---------> sealed (n rows) -----> sealed (2 n rows ...)
//!  searched exactly   searched exactly        a graph in a file      one graph instead of many
//! ```
//!
//! # Locks
//! In the order in which they may be taken: `writer` (one insertion, deletion, change of the list of parts), `history`,
//! `parts`, the locks of the growing part. Searches take only the last three, each for a moment, and work on the list of
//! parts as it was when they began. Jobs take `writer` when they are done, to put their part in its place.

mod checkpoint;
mod jobs;
mod manifest;
mod open;
mod options;
mod runner;
mod search;
mod stats;

pub use jobs::{Job, JobKind};
pub use open::{Opened, Quarantined};
pub use options::Options;
pub use runner::Runner;
pub use search::{Cursor, Effort, Filter, Found, Hit, Search};
pub use stats::Stats;

use crate::history::{Event, History};
use crate::part::form::Desk;
use crate::part::growing::Growing;
use crate::part::sealed::Sealed;
use crate::part::{Entries, Key};
use crate::shape::Vector;
use crate::{Error, Result};
use nodedb_env::{Env, Lock};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// A collection of vectors. All methods may be called by many threads at once.
///
/// ```
/// use nodedb_vector::{Metric, Options, Search, Shape, Element, VectorCollection};
/// # fn main() -> nodedb_vector::Result<()> {
/// let shape = Shape { metric: Metric::Cosine, element: Element::F32, dimension: 3 };
/// let notes = VectorCollection::memory(shape, Options::default())?;
/// notes.insert(7, 1, [0.1_f32, 0.9, 0.2].as_slice().into())?;
/// notes.insert(8, 2, [0.9_f32, 0.1, 0.2].as_slice().into())?;
/// let found = notes.search([0.2_f32, 0.8, 0.1].as_slice().into(), &Search::nearest(1))?;
/// assert_eq!(found.hits[0].id, 7);
/// notes.delete(7, 3)?;
/// // What has been is still there for those who look back.
/// assert!(!notes.contains(7, None)? && notes.contains(7, Some(2))?);
/// # Ok(())
/// # }
/// ```
pub struct VectorCollection {
    env: Env,
    dir: PathBuf,
    options: Options,
    parts: RwLock<Arc<Parts>>,
    history: RwLock<History>,
    writer: Mutex<Writer>,
    board: Mutex<jobs::Board>,
    checkpoint: Mutex<checkpoint::State>,
    desks: Mutex<Vec<Desk>>,
    /// The newest version that was given.
    newest: AtomicU64,
    /// Below this nobody reads.
    since: AtomicU64,
    budget: AtomicU64,
    fallbacks: AtomicU64,
    /// Entries that were found, by the state of their parts: growing, building, sealed.
    answers: [AtomicU64; 3],
    is_poisoned: AtomicBool,
    /// A caller gives again what is missing, and nobody knows what that is.
    takes_all: AtomicBool,
    _lock: Box<dyn Lock>,
}

/// What a collection consists of at one moment.
#[derive(Debug)]
struct Parts {
    growing: Arc<Growing>,
    /// Full ones, the oldest first.
    frozen: Vec<Arc<Growing>>,
    sealed: Vec<Arc<Sealed>>,
}

/// What only one may change at a time.
#[derive(Debug)]
struct Writer {
    /// For the next part. Never used twice.
    next_number: u64,
    /// Entries that were lost with damaged files and have not been given again.
    missing: BTreeSet<Key>,
    /// Whether that has changed since the last checkpoint.
    missing_changed: bool,
    /// All lists of parts that there were and that somebody may still search, in order; and ids of which the list after
    /// one has lost entries.
    to_prune: Vec<(Weak<Parts>, Vec<u64>)>,
}

impl std::fmt::Debug for VectorCollection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorCollection")
            .field("dir", &self.dir)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl VectorCollection {
    /// Adds an entry; whether anything was changed: an entry that is there already, or that was superseded before
    /// `since`, changes nothing. From `version` on it supersedes the id's older ones. It is found by the next search.
    ///
    /// # Errors
    /// `Invalid` if the vector is not one of the collection's shape, `Busy` if too much waits to be built.
    pub fn insert(&self, id: u64, version: u64, vector: Vector<'_>) -> Result<bool> {
        self.check_alive()?;
        let mut writer = self.writer.lock();
        self.insert_one(&mut writer, (id, version), vector)
    }

    /// Adds many; how many were new. Those before one that is refused are in.
    ///
    /// # Errors
    /// As [`VectorCollection::insert`].
    pub fn insert_batch<'v>(&self, entries: impl IntoIterator<Item = (u64, u64, Vector<'v>)>) -> Result<usize> {
        self.check_alive()?;
        let mut writer = self.writer.lock();
        let mut count = 0;
        for (id, version, vector) in entries {
            count += usize::from(self.insert_one(&mut writer, (id, version), vector)?);
        }
        Ok(count)
    }

    fn insert_one(&self, writer: &mut Writer, key: Key, vector: Vector<'_>) -> Result<bool> {
        let (id, version) = key;
        let parts = self.parts();
        let entries = parts.entries_of(id)?;
        let was_missing = writer.missing.contains(&key);
        let is_old = version <= self.since() && !was_missing && !self.takes_all.load(Ordering::Acquire);
        if is_old || entries.iter().any(|entry| entry.version == version) {
            return Ok(false);
        }
        let into = self.make_room(writer, &parts)?;
        let row = into.growing.push(key, vector)?;
        if was_missing {
            writer.missing.remove(&key);
            writer.missing_changed = true;
        }
        let mut history = self.history.write();
        if !entries.is_empty() || !history.of(id).is_empty() {
            for version in entries.iter().map(|entry| entry.version).chain([version]) {
                history.add(id, Event { version, is_insert: true });
            }
            if history.end(key) != crate::history::NEVER {
                into.growing.ended.set(row);
            }
            entries.iter().for_each(|entry| entry.mark_if_ended(&history, id));
        }
        drop(history);
        self.newest.fetch_max(version, Ordering::AcqRel);
        Ok(true)
    }

    /// Ends an id with a version; whether anything was changed. Who looks at the time before still sees it.
    ///
    /// # Errors
    /// `Damaged` if a part that must be asked for the id is.
    pub fn delete(&self, id: u64, version: u64) -> Result<bool> {
        self.check_alive()?;
        let writer = self.writer.lock();
        let parts = self.parts();
        let entries = parts.entries_of(id)?;
        let missing: Vec<u64> = writer.missing.range((id, 0)..=(id, u64::MAX)).map(|key| key.1).collect();
        let event = Event { version, is_insert: false };
        let mut history = self.history.write();
        // It counts if it comes after an entry, and before the entry's end.
        let ends = |entry: u64| entry < version && history.end((id, entry)) > version;
        let is_known = entries.iter().map(|entry| entry.version).chain(missing.iter().copied()).any(ends);
        // Where nobody knows what is missing, the entry may still be given again.
        let is_new = !history.has(id, event) && (is_known || self.takes_all.load(Ordering::Acquire));
        if !is_new {
            self.newest.fetch_max(version, Ordering::AcqRel);
            return Ok(false);
        }
        for version in entries.iter().map(|entry| entry.version).chain(missing) {
            history.add(id, Event { version, is_insert: true });
        }
        history.add(id, event);
        entries.iter().for_each(|entry| entry.mark_if_ended(&history, id));
        // Not before it shows: who looks at the newest sees one and the same until something newer comes.
        self.newest.fetch_max(version, Ordering::AcqRel);
        Ok(true)
    }

    /// Whether an id is there, now or as of a version.
    ///
    /// # Errors
    /// `Damaged` if a part that must be asked is, `Invalid` for a version below `since`.
    pub fn contains(&self, id: u64, at: Option<u64>) -> Result<bool> {
        let at = self.moment(at)?;
        let history = self.history.read();
        let parts = self.parts();
        let entries = parts.entries_of(id)?;
        Ok(entries.iter().any(|entry| entry.version <= at && history.end((id, entry.version)) > at))
    }

    /// Whether exactly this entry is kept, be it superseded or not.
    ///
    /// # Errors
    /// `Damaged` if a part that must be asked is.
    pub fn has_entry(&self, id: u64, version: u64) -> Result<bool> {
        Ok(self.parts().entries_of(id)?.iter().any(|entry| entry.version == version))
    }

    /// Ids and versions that are seen, now or as of a version; in no particular order.
    ///
    /// # Errors
    /// `Damaged` if a part is, `Invalid` for a version below `since`.
    pub fn entries(&self, at: Option<u64>) -> Result<Vec<Key>> {
        let at = self.moment(at)?;
        let history = self.history.read();
        let parts = self.parts();
        let mut seen = BTreeSet::new();
        for part in parts.all() {
            part.ready()?;
            let keys = (0..part.len() as u32).filter_map(|row| part.key(row));
            seen.extend(keys.filter(|key| key.1 <= at && history.end(*key) > at));
        }
        Ok(seen.into_iter().collect())
    }

    /// Promises that nobody looks at the time before `since` any more, and that all changes up to it were given. Merges
    /// drop what only they could see.
    pub fn raise_since(&self, since: u64) {
        self.since.fetch_max(since, Ordering::AcqRel);
    }

    /// What [`VectorCollection::raise_since`] was told.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.since.load(Ordering::Acquire)
    }

    /// What all vectors have in common, and how the collection works.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Sets how much memory parts may take; jobs that follow load or unload them.
    pub fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Release);
    }

    fn parts(&self) -> Arc<Parts> {
        self.parts.read().clone()
    }

    /// As of when to look: what is given from now on is not seen by a search that has begun.
    fn moment(&self, at: Option<u64>) -> Result<u64> {
        self.check_alive()?;
        let (newest, since) = (self.newest.load(Ordering::Acquire), self.since());
        match at {
            Some(at) if at < since => {
                Err(Error::invalid(format!("a look at version {at}, but what was before {since} is no longer kept")))
            }
            Some(at) => Ok(at.min(newest)),
            None => Ok(newest),
        }
    }

    fn check_alive(&self) -> Result<()> {
        if self.is_poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned("a job of this collection has panicked; open it anew".to_owned()));
        }
        Ok(())
    }

    /// A growing part that is not full; where it is, a new one takes its place.
    fn make_room(&self, writer: &mut Writer, parts: &Arc<Parts>) -> Result<Arc<Parts>> {
        if parts.growing.len() < self.options.seal_threshold {
            return Ok(parts.clone());
        }
        if parts.frozen.len() >= self.options.most_frozen {
            return Err(Error::Busy(format!(
                "{} parts of {} vectors wait to be built; run jobs, or give builds more threads",
                parts.frozen.len(),
                self.options.seal_threshold
            )));
        }
        self.freeze(writer, parts)
    }

    fn freeze(&self, writer: &mut Writer, parts: &Parts) -> Result<Arc<Parts>> {
        let growing = Arc::new(Growing::new(writer.take_number(), self.options.shape, self.options.seal_threshold)?);
        let mut frozen = parts.frozen.clone();
        frozen.push(parts.growing.clone());
        let parts = Arc::new(Parts { growing, frozen, sealed: parts.sealed.clone() });
        self.replace_parts(writer, parts.clone(), Vec::new());
        Ok(parts)
    }

    /// Puts another list of parts in the place of the one that is there, and notes the ids of which it has lost entries.
    fn replace_parts(&self, writer: &mut Writer, next: Arc<Parts>, lost: Vec<u64>) {
        let before = std::mem::replace(&mut *self.parts.write(), next);
        writer.to_prune.push((Arc::downgrade(&before), lost));
    }

    /// Freezes the growing part before it is full, so that the next job builds it; after a bulk load, say.
    ///
    /// # Errors
    /// `Io` if there is no memory for a new part.
    pub fn seal(&self) -> Result<()> {
        self.check_alive()?;
        let mut writer = self.writer.lock();
        let parts = self.parts();
        if parts.growing.len() > 0 {
            self.freeze(&mut writer, &parts)?;
        }
        Ok(())
    }
}

impl Writer {
    const fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }
}

/// A part of either kind.
#[derive(Clone, Copy)]
enum Part<'p> {
    Growing(&'p Growing),
    Sealed(&'p Sealed),
}

impl Part<'_> {
    /// Before its keys are read.
    fn ready(&self) -> Result<()> {
        match self {
            Self::Growing(_) => Ok(()),
            Self::Sealed(part) => part.loaded().map(drop),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Growing(part) => part.len(),
            Self::Sealed(part) => part.len(),
        }
    }

    fn key(&self, row: u32) -> Option<Key> {
        match self {
            Self::Growing(part) => part.key(row),
            Self::Sealed(part) => part.key(row),
        }
    }

    fn entries_of(&self, id: u64) -> Result<Vec<(u64, u32)>> {
        match self {
            Self::Growing(part) => Ok(part.entries_of(id)),
            Self::Sealed(part) => part.entries_of(id),
        }
    }

    fn mark(&self, row: u32) {
        match self {
            Self::Growing(part) => part.ended.set(row),
            Self::Sealed(part) => part.ended.set(row),
        }
    }
}

/// An entry of an id, and where it is.
struct Entry<'p> {
    version: u64,
    part: Part<'p>,
    row: u32,
}

impl Entry<'_> {
    fn mark_if_ended(&self, history: &History, id: u64) {
        if history.end((id, self.version)) != crate::history::NEVER {
            self.part.mark(self.row);
        }
    }
}

impl Parts {
    fn all(&self) -> impl Iterator<Item = Part<'_>> {
        let sealed = self.sealed.iter().map(|part| Part::Sealed(part));
        sealed.chain(self.frozen.iter().chain([&self.growing]).map(|part| Part::Growing(part)))
    }

    fn entries_of(&self, id: u64) -> Result<Vec<Entry<'_>>> {
        let mut entries = Vec::new();
        for part in self.all() {
            entries.extend(part.entries_of(id)?.into_iter().map(|(version, row)| Entry { version, part, row }));
        }
        Ok(entries)
    }
}
