//! Making collections, and opening them as the last checkpoint left them.

use super::checkpoint::{Saved, State, block_sum, rows_path};
use super::manifest::{Edit, Manifest, RowsFile, Standing};
use super::{Options, Parts, VectorCollection, Writer, jobs};
use crate::history::{History, NEVER};
use crate::part::Key;
use crate::part::growing::Growing;
use crate::part::sealed::{self, Sealed};
use crate::shape::{Row, Shape};
use crate::{Error, Result};
use nodedb_env::{Env, Files, Lock, OpenMode};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A collection that was opened.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub collection: VectorCollection,
    /// Up to which version it holds all changes. What came later is to be given again.
    pub upper: u64,
    /// Files that are not what was written. They stand aside, with `.bad` behind their names.
    pub quarantined: Vec<Quarantined>,
    /// Entries that are missing, now and from earlier damage, and that somebody may still see: give them again, with the
    /// versions that they had. `None` if it cannot be known: give everything up to `upper` again.
    pub missing: Option<Vec<(u64, u64)>>,
}

/// A file that is not what was written.
#[derive(Debug)]
pub struct Quarantined {
    /// Its name.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: Error,
}

/// What is read from a directory.
#[derive(Default)]
struct Found {
    options: Option<Options>,
    history: History,
    missing: BTreeSet<Key>,
    takes_all: bool,
    keys: BTreeMap<u64, Vec<Key>>,
    standing: Standing,
}

impl VectorCollection {
    /// An empty collection in memory. Checkpoints of it are of no use.
    ///
    /// # Errors
    /// `Invalid` if shape or options cannot be.
    pub fn memory(shape: Shape, options: Options) -> Result<Self> {
        Self::create(Env::memory(), Path::new("collection"), Options { shape, ..options })
    }

    /// An empty collection in a directory, which is made if it is missing and must hold none.
    ///
    /// # Errors
    /// `Invalid` if the options cannot be, or there is a collection already; `Io`.
    pub fn create(env: Env, dir: &Path, options: Options) -> Result<Self> {
        options.check()?;
        env.files.create_dir_all(dir).map_err(Error::io("make", dir))?;
        let lock = lock(&*env.files, dir)?;
        if Manifest::open(&*env.files, dir)?.is_some() {
            return Err(Error::invalid(format!("{} holds a collection already", dir.display())));
        }
        let growing = Arc::new(Growing::new(1, options.shape, options.seal_threshold)?);
        let parts = Parts { growing, frozen: Vec::new(), sealed: Vec::new() };
        let found = Found { standing: Standing { next_number: 2, ..Standing::default() }, ..Found::default() };
        let collection = Self::assemble((env, dir), options, (parts, found, State::default()), lock);
        collection.checkpoint(0)?;
        Ok(collection)
    }

    /// Opens the collection in a directory as its last checkpoint left it. Parts are mapped, not read; what is read of
    /// them later is verified then. `change` may set what is the opener's choice: thresholds, threads, the budget.
    ///
    /// # Errors
    /// `Invalid` if there is no collection; `Damaged` if what names the files is not what was written, or was written by
    /// a later version; `Io`.
    pub fn open(env: Env, dir: &Path, change: impl FnOnce(&mut Options)) -> Result<Opened> {
        let lock = lock(&*env.files, dir)?;
        let files = &*env.files;
        let (manifest, edits) = Manifest::open(files, dir)?
            .ok_or_else(|| Error::invalid(format!("{} holds no collection", dir.display())))?;
        let mut found = Found::default();
        edits.into_iter().for_each(|edit| found.apply(edit));
        let mut options = found.options.ok_or_else(|| Error::damaged("a manifest without options"))?;
        options.budget = found.standing.budget;
        let shape = options.shape;
        change(&mut options);
        options.shape = shape;
        options.check()?;
        let mut quarantined = Vec::new();
        let sealed = found.open_sealed(files, dir, shape, &mut quarantined);
        let mut state = State { upper: found.standing.upper, ..State::default() };
        let (growing, frozen) = found.open_rows(files, dir, &options, (&mut state, &mut quarantined))?;
        let parts = Parts { growing, frozen, sealed };
        mark_all(&parts, &found.history)?;
        state.must_rewrite = !quarantined.is_empty();
        state.manifest = Some(manifest);
        let upper = found.standing.upper;
        found.forget_unseen();
        let missing = (!found.takes_all).then(|| found.missing.iter().copied().collect());
        for bad in &quarantined {
            tracing::error!(file = %bad.file.display(), why = %bad.why, "a file of vectors is damaged");
            let mut aside = bad.file.clone().into_os_string();
            aside.push(".bad");
            // If it cannot be moved it stays, and is found damaged again.
            let _ = files.rename(&bad.file, Path::new(&aside));
        }
        let collection = Self::assemble((env, dir), options, (parts, found, state), lock);
        Ok(Opened { collection, upper, quarantined, missing })
    }

    /// Opens the collection in a directory, or makes one there.
    ///
    /// # Errors
    /// Those of [`VectorCollection::open`] and [`VectorCollection::create`]; `Invalid` if the one that is there has
    /// another shape.
    pub fn open_or_create(env: Env, dir: &Path, options: Options) -> Result<Opened> {
        if !env.files.exists(&super::manifest::current_path(dir)).map_err(Error::io("look for", dir))? {
            let collection = Self::create(env, dir, options)?;
            return Ok(Opened { collection, upper: 0, quarantined: Vec::new(), missing: Some(Vec::new()) });
        }
        let opened = Self::open(env, dir, |kept| *kept = options)?;
        let kept = opened.collection.options.shape;
        if kept != options.shape {
            return Err(Error::invalid(format!("{} holds vectors of {kept:?}", dir.display())));
        }
        Ok(opened)
    }

    fn assemble(
        (env, dir): (Env, &Path),
        options: Options,
        (parts, found, state): (Parts, Found, State),
        lock: Box<dyn Lock>,
    ) -> Self {
        let Found { history, missing, takes_all, standing, .. } = found;
        let writer =
            Writer { next_number: standing.next_number, missing, missing_changed: false, to_prune: Vec::new() };
        Self {
            env,
            dir: dir.to_owned(),
            options,
            parts: RwLock::new(Arc::new(parts)),
            history: RwLock::new(history),
            writer: Mutex::new(writer),
            board: Mutex::new(jobs::Board::default()),
            checkpoint: Mutex::new(state),
            desks: Mutex::default(),
            newest: AtomicU64::new(standing.upper),
            since: AtomicU64::new(standing.since),
            budget: AtomicU64::new(options.budget),
            fallbacks: AtomicU64::new(0),
            answers: Default::default(),
            is_poisoned: AtomicBool::new(false),
            takes_all: AtomicBool::new(takes_all),
            _lock: lock,
        }
    }

    /// Verifies every byte of every sealed part, and that every row can be reached. What is damaged is taken out; the
    /// entries that are lost with it, which are to be given again, or `None` if it cannot be known which.
    ///
    /// # Errors
    /// `Io` if a file could not be read.
    pub fn scrub(&self) -> Result<Option<Vec<(u64, u64)>>> {
        let mut lost = Some(Vec::new());
        for part in self.parts().sealed.iter() {
            match part.scrub() {
                Err(Error::Damaged(why)) => {
                    tracing::error!(part = part.number, why, "a part is damaged");
                    let keys = lost_keys(&*self.env.files, &self.dir, part.number);
                    self.take_out(part, keys.as_deref());
                    lost = lost.zip(keys).map(|(mut lost, keys)| {
                        lost.extend(keys);
                        lost
                    });
                }
                other => other?,
            }
        }
        let (history, since) = (self.history.read(), self.since());
        Ok(lost.map(|lost| lost.into_iter().filter(|key| history.end(*key) > since).collect()))
    }

    fn take_out(&self, part: &Arc<Sealed>, keys: Option<&[Key]>) {
        let mut writer = self.writer.lock();
        let parts = self.parts();
        let sealed = parts.sealed.iter().filter(|other| other.number != part.number).cloned().collect();
        let next = Parts { growing: parts.growing.clone(), frozen: parts.frozen.clone(), sealed };
        self.replace_parts(&mut writer, Arc::new(next), Vec::new());
        writer.missing_changed = true;
        match keys {
            Some(keys) => writer.missing.extend(keys),
            None => self.takes_all.store(true, Ordering::Release),
        }
    }
}

fn lock(files: &dyn Files, dir: &Path) -> Result<Box<dyn Lock>> {
    let path = dir.join("LOCK");
    files.try_lock(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => Error::invalid(format!("{} is open elsewhere", dir.display())),
        std::io::ErrorKind::NotFound => Error::invalid(format!("{} holds no collection", dir.display())),
        _ => Error::io("lock", &path)(e),
    })
}

/// The entries of a part, from whichever of its two files still names them.
fn lost_keys(files: &dyn Files, dir: &Path, number: u64) -> Option<Vec<Key>> {
    sealed::read_ids(files, dir, number).or_else(|_| sealed::rescue_ids(files, dir, number)).ok()
}

fn mark_all(parts: &Parts, history: &History) -> Result<()> {
    for id in history.ids() {
        parts.entries_of(id)?.iter().for_each(|entry| entry.mark_if_ended(history, id));
    }
    Ok(())
}

impl Found {
    fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Options(options) => self.options = Some(options),
            Edit::Events(events) => {
                for (id, event) in events {
                    self.history.restore(id, event);
                }
            }
            Edit::Missing(takes_all, keys) => {
                self.takes_all = takes_all;
                self.missing = keys.into_iter().collect();
            }
            Edit::Keys(number, keys) => self.keys.entry(number).or_default().extend(keys),
            Edit::State(standing) => self.standing = standing,
        }
    }

    fn open_sealed(
        &mut self,
        files: &dyn Files,
        dir: &Path,
        shape: Shape,
        quarantined: &mut Vec<Quarantined>,
    ) -> Vec<Arc<Sealed>> {
        let mut sealed = Vec::new();
        for number in self.standing.sealed.clone() {
            // Which of its entries have ended is asked when it is opened, so what tells where they are must be right.
            let opened = Sealed::open(files, dir, number, shape);
            let asked = opened.and_then(|part| {
                self.history.ids().next().map_or(Ok(()), |id| part.entries_of(id).map(drop)).map(|()| part)
            });
            match asked {
                Ok(part) => sealed.push(Arc::new(part)),
                Err(why) => {
                    match lost_keys(files, dir, number) {
                        Some(keys) => self.missing.extend(keys),
                        None => self.takes_all = true,
                    }
                    quarantined.push(Quarantined { file: sealed::part_path(dir, number), why });
                }
            }
        }
        sealed
    }

    /// The parts that were not sealed: the last one is growing, the others are full.
    fn open_rows(
        &mut self,
        files: &dyn Files,
        dir: &Path,
        options: &Options,
        (state, quarantined): (&mut State, &mut Vec<Quarantined>),
    ) -> Result<(Arc<Growing>, Vec<Arc<Growing>>)> {
        let mut parts = Vec::new();
        // What is left over from what no checkpoint has covered keeps its name until it is removed.
        let names = files.list(dir).map_err(Error::io("list", dir))?;
        let used = names.iter().filter_map(|name| name.split_once('.')?.0.parse::<u64>().ok()).max();
        let mut next_number = self.standing.next_number.max(used.map_or(0, |used| used.saturating_add(1)));
        for counts in self.standing.rows.clone() {
            let keys = self.keys.remove(&counts.number).unwrap_or_default();
            let part = Growing::new(next_number, options.shape, keys.len().max(options.seal_threshold))?;
            next_number += 1;
            let path = rows_path(dir, counts.number);
            let read = read_rows(files, &path, counts, &keys, (&part, self.standing.upper));
            match read {
                Ok(is_whole) => {
                    if is_whole {
                        let file = files.open(&path, OpenMode::Edit).map_err(Error::io("open", &path))?;
                        state.rows.insert(part.number, Saved { file, counts });
                    }
                }
                Err(why @ Error::Damaged(_)) => {
                    let there = crate::part::Entries::len(&part);
                    let upper = self.standing.upper;
                    let known = keys.iter().filter(|key| key.1 <= upper);
                    let have: BTreeSet<Key> =
                        (0..there as u32).filter_map(|row| crate::part::Entries::key(&part, row)).collect();
                    self.missing.extend(known.filter(|key| !have.contains(key)));
                    self.takes_all |= keys.len() as u64 != counts.rows;
                    quarantined.push(Quarantined { file: path, why });
                }
                Err(other) => return Err(other),
            }
            parts.push(Arc::new(part));
        }
        self.standing.next_number = next_number + 1;
        let growing = match parts.pop() {
            Some(last) => last,
            None => Arc::new(Growing::new(next_number, options.shape, options.seal_threshold)?),
        };
        Ok((growing, parts))
    }

    /// What is missing and was superseded before anybody looks need not be given again.
    fn forget_unseen(&mut self) {
        let (history, since) = (&self.history, self.standing.since);
        self.missing.retain(|key| {
            let end = history.end(*key);
            end == NEVER || end > since
        });
    }
}

/// Reads the rows of a file into a part, those up to `upper`. Whether that is all that the file has, so that more can be
/// appended to it. After an error the part holds the rows before the damage.
fn read_rows(
    files: &dyn Files,
    path: &Path,
    counts: RowsFile,
    keys: &[Key],
    (part, upper): (&Growing, u64),
) -> Result<bool> {
    let damaged = |what: &str| Error::damaged(format!("{}: {what}", path.display()));
    if keys.len() as u64 != counts.rows {
        return Err(damaged("the manifest names other rows than it has"));
    }
    if counts.rows == 0 {
        return files.exists(path).map_err(Error::io("look for", path));
    }
    let memory = files.map(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => damaged("is not there"),
        _ => Error::io("open", path)(e),
    })?;
    let all = usize::try_from(counts.bytes).ok().and_then(|length| memory.bytes().get(..length));
    let mut rest = all.ok_or_else(|| damaged("shorter than was written"))?;
    let row_bytes = part.shape().row_bytes();
    let (mut at, mut is_whole) = (RowsFile { bytes: 0, rows: 0, ..counts }, true);
    while !rest.is_empty() {
        let first = at.rows;
        let wrong = || damaged(&format!("the block at row {first} is not what was written"));
        let (head, behind) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let length = (u32::from_le_bytes(*head) as usize).checked_mul(row_bytes + 4).ok_or_else(wrong)?;
        let (_, behind) = behind.split_at_checked(length).ok_or_else(wrong)?;
        let (sum, next) = behind.split_first_chunk::<8>().ok_or_else(wrong)?;
        let block = rest.get(..4 + length).ok_or_else(wrong)?;
        if u64::from_le_bytes(*sum) != block_sum(&at, block) {
            return Err(wrong());
        }
        for row in block.get(4..).unwrap_or_default().chunks_exact(row_bytes + 4) {
            let key = keys.get(at.rows as usize).copied().ok_or_else(wrong)?;
            let (bytes, factor) = row.split_at_checked(row_bytes).ok_or_else(wrong)?;
            let factor = factor.first_chunk::<4>().map(|factor| f32::from_le_bytes(*factor)).ok_or_else(wrong)?;
            if key.1 <= upper {
                part.push_row(key, Row { bytes, factor })?;
            } else {
                is_whole = false;
            }
            at.rows += 1;
        }
        rest = next;
    }
    if at.rows != counts.rows {
        return Err(damaged("fewer rows than were written"));
    }
    Ok(is_whole)
}
