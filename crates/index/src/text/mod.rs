//! Full text: documents in parts of tantivy's, behind a tail in memory.
//!
//! ```text
//!  commits -> tail ---------------> frozen -------> parts, merged with others of their size
//!             searched as parts     being written   files, one segment of tantivy's each
//!             in memory, the last
//!             few one by one
//! ```
//!
//! Everything tantivy is in here. A part is an index of tantivy's with one segment and never changes; which of its
//! documents have ended, and when, is kept beside it, so that a reader sees the time that it reads. No thread of tantivy's
//! runs: parts are written and merged by [`Kind::work`].

mod alone;
mod analysis;
#[allow(unsafe_code, reason = "what tantivy asks of memory that it keeps slices of, with a proof")]
mod directory;
mod manifest;
mod part;
mod query;
mod search;
mod tail;
#[cfg(test)]
mod tests;
mod wanted;

pub use analysis::{Cut, LANGUAGES, TextColumn, TextOptions};
use search::Counts;
pub use search::{Match, TextQuery, TextSnapshot};

use crate::lifecycle::{Change, Kind, Parts, Size};
use analysis::Fields;
use manifest::{Manifest, ManifestPart};
use nodedb_base::{Error, Lsn, Result, RowId};
use nodedb_env::Env;
use parking_lot::{Mutex, RwLock};
use part::Part;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tail::Tail;

/// With so many documents, or so many bytes, a tail is written to a file.
const FULL_DOCUMENTS: usize = if cfg!(test) { 4096 } else { 32_768 };
const FULL_BYTES: usize = 16 << 20;
/// With so many documents in a tail, writers wait.
const MOST_TAIL: usize = 8 * FULL_DOCUMENTS;
/// Documents of a part take so many bytes, or it counts as larger than it is.
const DOCUMENTS_BYTES: usize = 4 << 20;
/// So many parts of about one size become one.
const FAN_IN: usize = 8;
/// The same while a table is read, since all become one in the end.
const FILLED_FAN_IN: usize = 64;

/// What can be asked for the rows that match a text query.
pub trait Matches: Send + Sync {
    /// The index as it is now.
    ///
    /// # Errors
    /// `Internal` if the newest documents cannot be indexed.
    fn snapshot(&self) -> Result<TextSnapshot>;
}

/// A full-text index.
#[derive(Debug)]
pub struct TextIndex {
    env: Env,
    dir: PathBuf,
    fields: Fields,
    state: RwLock<State>,
    /// Held by whoever writes or merges parts.
    work: Mutex<Work>,
    since: AtomicU64,
    answers: Arc<Counts>,
    /// Whether all rows of a table are being read: then all parts become one in the end.
    is_filling: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    parts: Vec<Arc<Part>>,
    /// A tail that is being written.
    frozen: Option<Arc<Tail>>,
    tail: Arc<Tail>,
}

#[derive(Debug, Default)]
struct Work {
    /// The number of the next part.
    next: u64,
    /// Parts that the last manifest may still name.
    obsolete: Vec<u64>,
}

impl TextIndex {
    /// An empty one in a directory.
    ///
    /// # Errors
    /// `Statement` (22023) if the options cannot be.
    pub fn create(env: Env, dir: &Path, options: &TextOptions) -> Result<Self> {
        let (state, work, since, answers) = Default::default();
        Ok(Self {
            env,
            dir: dir.to_owned(),
            fields: Fields::new(options)?,
            state,
            work,
            since,
            answers,
            is_filling: AtomicBool::new(true),
        })
    }

    /// As its last checkpoint left it, and up to which commit that is.
    ///
    /// # Errors
    /// `Damaged` if it is not there, is not whole, or was made with other options.
    pub fn open(env: Env, dir: &Path, options: &TextOptions) -> Result<(Self, Lsn)> {
        let manifest = Manifest::read(&env, dir)?;
        let index = Self::create(env, dir, options)?;
        let mut parts = Vec::with_capacity(manifest.parts.len());
        for listed in &manifest.parts {
            let ended: HashMap<u32, Lsn> = listed.ended.iter().map(|(document, end)| (*document, Lsn(*end))).collect();
            let place = index.part_dir(listed.number);
            let part = Part::open(&index.fields, (&index.env, &place, listed.number), ended)?;
            if part.len() != listed.documents as usize || part.meta != listed.meta {
                return Err(Error::damaged(format!(
                    "a part of a text index is another one, with {} documents",
                    part.len()
                )));
            }
            part.forget_after(manifest.upper());
            parts.push(Arc::new(part));
        }
        index.remove_strangers(&manifest);
        index.is_filling.store(false, Ordering::Relaxed);
        index.state.write().parts = parts;
        index.work.lock().next = manifest.next;
        index.since.store(manifest.since, Ordering::Relaxed);
        Ok((index, manifest.upper()))
    }

    fn part_dir(&self, number: u64) -> PathBuf {
        self.dir.join(format!("part-{number}"))
    }

    /// What a crash has left and no manifest names.
    fn remove_strangers(&self, manifest: &Manifest) {
        let known: Vec<PathBuf> = manifest.parts.iter().map(|part| self.part_dir(part.number)).collect();
        let names = self.env.files.list(&self.dir).unwrap_or_default();
        for path in names.iter().filter(|name| name.starts_with("part-")).map(|name| self.dir.join(name)) {
            if !known.contains(&path)
                && let Err(why) = self.env.files.remove_dir_all(&path)
            {
                tracing::warn!(path = %path.display(), %why, "what belongs to no text index could not be removed");
            }
        }
    }

    fn since(&self) -> Lsn {
        Lsn(self.since.load(Ordering::Relaxed))
    }

    /// Writes the tail to a file; `false` if there is none.
    fn flush(&self, work: &mut Work) -> Result<bool> {
        let frozen = {
            let mut state = self.state.write();
            if state.frozen.is_none() && !state.tail.is_empty() {
                state.frozen = Some(std::mem::take(&mut state.tail));
            }
            state.frozen.clone()
        };
        let Some(frozen) = frozen else { return Ok(false) };
        let part = self.write(&frozen, work)?;
        let parts = self.state.read().parts.clone();
        for (row, at) in frozen.changes() {
            for part in &parts {
                part.end(&self.fields, row, at)?;
            }
        }
        let mut state = self.state.write();
        state.parts.extend(part.map(Arc::new));
        state.frozen = None;
        Ok(true)
    }

    /// The documents of a tail as a part, less those that nobody can see any more.
    fn write(&self, tail: &Tail, work: &mut Work) -> Result<Option<Part>> {
        let since = self.since();
        let documents = tail.documents();
        let ends = documents.iter().map(|document| tail.end_of(document));
        let kept: Vec<_> = documents.iter().zip(ends).filter(|(_, end)| end.is_none_or(|end| end > since)).collect();
        if kept.is_empty() {
            return Ok(None);
        }
        let number = work.take_number();
        let place = self.part_dir(number);
        let part =
            Part::in_files(&self.fields, (&self.env, &place, number), kept.iter().map(|(document, _)| &***document))?;
        for (at, (_, end)) in (0..).zip(&kept) {
            if let Some(end) = end {
                part.end_document(at, *end);
            }
        }
        Ok(Some(part))
    }

    /// Makes some parts one.
    fn merge(&self, merging: &[Arc<Part>], work: &mut Work) -> Result<()> {
        let since = self.since();
        let alive: usize = merging.iter().map(|part| part.len() - part.dead(since)).sum();
        let span = tracing::info_span!("merge text", parts = merging.len(), documents = alive);
        let _entered = span.enter();
        let merged = if alive == 0 {
            None
        } else {
            let number = work.take_number();
            let place = self.part_dir(number);
            Some(Part::merged(&self.fields, merging, since, (&self.env, &place, number))?)
        };
        let numbers: Vec<u64> = merging.iter().filter_map(|part| part.number).collect();
        let mut state = self.state.write();
        state.parts.retain(|part| part.number.is_none_or(|number| !numbers.contains(&number)));
        state.parts.extend(merged.map(Arc::new));
        drop(state);
        work.obsolete.extend(numbers);
        Ok(())
    }

    /// Parts that are worth being one: several of about a size, or one of which much is dead.
    fn to_merge(&self) -> Vec<Arc<Part>> {
        let since = self.since();
        let parts = self.state.read().parts.clone();
        if let Some(part) = parts.iter().find(|part| 3 * part.dead(since) > part.len()) {
            return vec![part.clone()];
        }
        let mut levels: HashMap<u32, Vec<Arc<Part>>> = HashMap::new();
        for part in parts {
            let size = (part.len() / FULL_DOCUMENTS).max(part.bytes / DOCUMENTS_BYTES).max(1);
            let level = size.ilog(FAN_IN);
            levels.entry(level).or_default().push(part);
        }
        let fan_in = if self.is_filling.load(Ordering::Relaxed) { FILLED_FAN_IN } else { FAN_IN };
        levels.into_values().find(|parts| parts.len() >= fan_in).unwrap_or_default()
    }
}

impl Work {
    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// A text in the row codec; what is no UTF-8 was none of ours.
fn text(value: Option<&[u8]>) -> String {
    value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

impl Kind for TextIndex {
    fn apply(&self, change: Change<'_>) -> Result<()> {
        let texts = self.holds(change.values).then(|| change.values.iter().map(|value| text(*value)).collect());
        self.state.read().tail.push(change.row, change.version, texts);
        Ok(())
    }

    fn checkpoint(&self, upper: Lsn) -> Result<()> {
        let mut work = self.work.lock();
        // What an earlier attempt has left, and then what has come since.
        if self.state.read().frozen.is_some() {
            self.flush(&mut work)?;
        }
        self.flush(&mut work)?;
        let parts = self.state.read().parts.clone();
        let listed = parts.iter().map(|part| ManifestPart {
            number: part.number.unwrap_or_default(),
            documents: part.len() as u32,
            meta: part.meta,
            ended: part.ends().into_iter().map(|(document, end)| (document, end.0)).collect(),
        });
        let manifest = Manifest { upper: upper.0, since: self.since().0, next: work.next, parts: listed.collect() };
        manifest.write(&self.env, &self.dir)?;
        for number in std::mem::take(&mut work.obsolete) {
            let dir = self.part_dir(number);
            if let Err(why) = self.env.files.remove_dir_all(&dir) {
                tracing::debug!(dir = %dir.display(), %why, "an old part stays until the next opening");
            }
        }
        Ok(())
    }

    fn raise_since(&self, since: Lsn) {
        self.since.fetch_max(since.0, Ordering::Relaxed);
    }

    fn filled(&self) -> Result<()> {
        self.is_filling.store(false, Ordering::Relaxed);
        let mut work = self.work.lock();
        self.flush(&mut work)?;
        let parts = self.state.read().parts.clone();
        if parts.len() > 1 { self.merge(&parts, &mut work) } else { Ok(()) }
    }

    fn work(&self) -> Result<bool> {
        let mut work = self.work.lock();
        let is_full = {
            let state = self.state.read();
            state.frozen.is_some() || state.tail.len() >= FULL_DOCUMENTS || state.tail.written_bytes() >= FULL_BYTES
        };
        if is_full {
            return self.flush(&mut work);
        }
        let merging = self.to_merge();
        if merging.is_empty() {
            return Ok(false);
        }
        self.merge(&merging, &mut work).map(|()| true)
    }

    /// Files are mapped: what of them is in memory is the system's to say.
    fn set_budget(&self, _: u64) {}

    fn size(&self) -> Size {
        let state = self.state.read();
        let tails: Vec<_> = state.frozen.iter().chain([&state.tail]).collect();
        let tail = tails.iter().map(|tail| tail.len()).sum();
        Size {
            entries: tail + state.parts.iter().map(|part| part.len()).sum::<usize>(),
            tail,
            memory: tails.iter().map(|tail| tail.bytes()).sum(),
            files: state.parts.iter().map(|part| part.bytes).sum(),
            parts: Parts {
                building: usize::from(state.frozen.is_some()),
                sealed: state.parts.len(),
                mapped: state.parts.len(),
                ..Parts::default()
            },
            answers: self.answers.get(),
        }
    }

    fn rows(&self, at: Lsn) -> Result<Vec<RowId>> {
        self.snapshot()?.rows(at)
    }

    fn holds(&self, values: &[Option<&[u8]>]) -> bool {
        values.iter().any(Option::is_some)
    }

    /// A tail is searched as quickly as a file; it only must not grow without end.
    fn is_behind(&self, _: usize) -> bool {
        let state = self.state.read();
        state.tail.len() > MOST_TAIL || state.tail.written_bytes() > 16 * FULL_BYTES
    }

    fn as_matches(&self) -> Option<&dyn Matches> {
        Some(self)
    }
}

impl Matches for TextIndex {
    fn snapshot(&self) -> Result<TextSnapshot> {
        let (mut parts, frozen, tail) = {
            let state = self.state.read();
            (state.parts.clone(), state.frozen.clone(), state.tail.clone())
        };
        let (sealed, mut few) = (parts.len(), Vec::new());
        let mut take = |tail: &Tail| -> Result<usize> {
            let mut made = tail.made(&self.fields)?;
            parts.append(&mut made.parts);
            few.append(&mut made.few);
            Ok(parts.len())
        };
        let building = frozen.as_deref().map_or(Ok(sealed), &mut take)?;
        take(&tail)?;
        let tails = frozen.into_iter().chain([tail]).collect();
        Ok(TextSnapshot { parts, sealed, building, few, tails, answers: self.answers.clone() })
    }
}
