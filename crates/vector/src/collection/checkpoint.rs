//! Making durable what is new.

use super::manifest::{Edit, Manifest, RowsFile, Standing};
use super::{Parts, VectorCollection};
use crate::history::Event;
use crate::part::growing::Growing;
use crate::part::{Entries, Key};
use crate::{Error, Result};
use nodedb_env::{File, Files, OpenMode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A manifest that has grown to so many times what it began with, and beyond `LARGE`, is begun anew.
const GROWN: u64 = 2;
const LARGE: u64 = 1 << 20;

/// What checkpoints have written.
#[derive(Debug, Default)]
pub(super) struct State {
    /// None yet, or the last write to it has failed.
    pub manifest: Option<Manifest>,
    /// The files of rows, by the number of their parts.
    pub rows: BTreeMap<u64, Saved>,
    /// The last `upper`.
    pub upper: u64,
    /// Whether a file was damaged on opening, so that what is there is not what the manifest says.
    pub must_rewrite: bool,
}

/// A file with the first rows of a part that is not sealed.
pub(super) struct Saved {
    pub file: Arc<dyn File>,
    pub counts: RowsFile,
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.counts.fmt(f)
    }
}

pub(super) fn rows_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.rows"))
}

/// What the collection was when a checkpoint began.
struct Cut {
    parts: Arc<Parts>,
    /// How many entries each part that is not sealed had; events of later ones are not among these.
    counts: Vec<usize>,
    events: Vec<(u64, Event)>,
    missing: Option<Vec<Key>>,
    next_number: u64,
}

impl VectorCollection {
    /// Makes every change of a version up to `upper` durable. The cost is that of what is new; searches and changes go on
    /// meanwhile, but for the moment in which it is noted what is new.
    ///
    /// # Errors
    /// `Invalid` if `upper` is below that of the last checkpoint. `Busy` if a sealed part holds newer versions: try again
    /// with a newer `upper`. `Io` if something could not be written: the last checkpoint still stands.
    pub fn checkpoint(&self, upper: u64) -> Result<()> {
        self.check_alive()?;
        let span = tracing::info_span!("vector checkpoint", upper);
        let _entered = span.enter();
        let mut state = self.checkpoint.lock();
        if upper < state.upper {
            return Err(Error::invalid(format!("a checkpoint at {upper} after one at {}", state.upper)));
        }
        let is_new = self.wants_new_manifest(&state);
        let cut = self.cut(upper, is_new)?;
        let events = cut.events.clone();
        self.write(&mut state, upper, cut, is_new).inspect_err(|_| {
            // It will be written anew by the next one, under a name of its own.
            state.manifest = None;
            self.history.write().unsaved.extend(events);
            self.writer.lock().missing_changed = true;
        })
    }

    fn wants_new_manifest(&self, state: &State) -> bool {
        let is_large = |manifest: &Manifest| manifest.bytes > LARGE.max(GROWN * manifest.first_bytes);
        state.must_rewrite || state.manifest.as_ref().is_none_or(is_large)
    }

    /// Notes what is to be written.
    fn cut(&self, upper: u64, is_new: bool) -> Result<Cut> {
        let mut writer = self.writer.lock();
        let mut history = self.history.write();
        let parts = self.parts();
        if let Some(newer) = parts.sealed.iter().find(|part| part.newest > upper) {
            let newest = newer.newest;
            return Err(Error::Busy(format!(
                "a checkpoint at {upper}, but a part with version {newest} is sealed already"
            )));
        }
        self.prune(&mut writer, &mut history)?;
        let unsaved = std::mem::take(&mut history.unsaved);
        let (mut events, later): (Vec<_>, Vec<_>) = unsaved.into_iter().partition(|(_, event)| event.version <= upper);
        history.unsaved = later;
        if is_new {
            events = history.all().filter(|(_, event)| event.version <= upper).collect();
        }
        let counts = parts.frozen.iter().chain([&parts.growing]).map(|part| part.len()).collect();
        let missing = (is_new || writer.missing_changed).then(|| writer.missing.iter().copied().collect());
        writer.missing_changed = false;
        // For the manifest, and for the file of each part that has none, in case.
        let next_number = writer.next_number;
        writer.next_number += 2 + parts.frozen.len() as u64;
        Ok(Cut { parts, counts, events, missing, next_number })
    }

    fn write(&self, state: &mut State, upper: u64, cut: Cut, is_new: bool) -> Result<()> {
        let files = &*self.env.files;
        let manifest_number = cut.next_number;
        let mut numbers = cut.next_number + 1..;
        let mut take_number = || numbers.next().unwrap_or(u64::MAX);
        let mut edits = Vec::new();
        if is_new {
            let options = super::Options { budget: self.budget.load(Ordering::Acquire), ..self.options };
            edits.push(Edit::Options(options));
        }
        if !cut.events.is_empty() {
            edits.push(Edit::Events(cut.events));
        }
        if let Some(missing) = cut.missing {
            edits.push(Edit::Missing(self.takes_all.load(Ordering::Acquire), missing));
        }
        let unbuilt: Vec<&Arc<Growing>> = cut.parts.frozen.iter().chain([&cut.parts.growing]).collect();
        for (part, count) in unbuilt.iter().zip(cut.counts) {
            let saved = state.rows.remove(&part.number);
            let from = saved.as_ref().map_or(0, |saved| saved.counts.rows);
            let (saved, keys) = save_rows(files, &self.dir, (part, count), upper, saved, &mut take_number)?;
            if is_new && from > 0 {
                let known = (0..from as u32).filter_map(|row| part.key(row)).collect();
                edits.push(Edit::Keys(saved.counts.number, known));
            }
            edits.push(Edit::Keys(saved.counts.number, keys));
            state.rows.insert(part.number, saved);
        }
        state.rows.retain(|number, _| unbuilt.iter().any(|part| part.number == *number));
        let counts = |part: &&Arc<Growing>| state.rows.get(&part.number).map(|saved| saved.counts);
        let standing = Standing {
            upper,
            since: self.since().min(upper),
            next_number: cut.next_number + 2 + cut.parts.frozen.len() as u64,
            budget: self.budget.load(Ordering::Acquire),
            sealed: cut.parts.sealed.iter().map(|part| part.number).collect(),
            rows: unbuilt.iter().filter_map(counts).collect(),
        };
        edits.push(Edit::State(standing.clone()));
        let mut manifest = match state.manifest.take().filter(|_| !is_new) {
            Some(manifest) => manifest,
            None => Manifest::create(files, &self.dir, manifest_number)?,
        };
        manifest.append(files, &self.dir, &edits)?;
        self.remove_leftovers(&standing, manifest.number);
        state.manifest = Some(manifest);
        state.upper = upper;
        state.must_rewrite = false;
        Ok(())
    }

    /// Removes files that neither the checkpoint nor the collection needs. What cannot be removed is tried again by the
    /// next one.
    fn remove_leftovers(&self, standing: &Standing, manifest: u64) {
        // In this order: a part leaves the board only when it is in the list.
        let board = self.board.lock();
        let parts = self.parts();
        let mut needed: BTreeSet<u64> = standing.sealed.iter().copied().collect();
        needed.extend(standing.rows.iter().map(|file| file.number));
        needed.extend(parts.sealed.iter().map(|part| part.number));
        needed.insert(manifest);
        for name in self.env.files.list(&self.dir).unwrap_or_default() {
            let Some((number, kind)) = name.split_once('.') else { continue };
            let is_ours = matches!(kind, "part" | "ids" | "rows" | "manifest" | "tmp");
            let Ok(number) = number.parse::<u64>() else { continue };
            // What is being made has a number that was taken after the checkpoint began, or is on the board.
            if is_ours && number < standing.next_number && !needed.contains(&number) && !board.has(number) {
                let path = self.dir.join(&name);
                if let Err(error) = self.env.files.remove(&path) {
                    tracing::warn!(path = %path.display(), %error, "a file that is left over could not be removed");
                }
            }
        }
    }
}

/// Appends the rows of a part that are not in its file yet, up to the last one of a version up to `upper`. Newer ones
/// before it come along, and are left out on opening.
fn save_rows(
    files: &dyn Files,
    dir: &Path,
    (part, count): (&Growing, usize),
    upper: u64,
    saved: Option<Saved>,
    take_number: &mut dyn FnMut() -> u64,
) -> Result<(Saved, Vec<Key>)> {
    let mut saved = match saved {
        Some(saved) => saved,
        None => {
            let number = take_number();
            let path = rows_path(dir, number);
            let file = files.open(&path, OpenMode::Replace).map_err(Error::io("make", &path))?;
            files.sync_dir(dir).map_err(Error::io("sync", dir))?;
            Saved { file, counts: RowsFile { number, rows: 0, bytes: 0 } }
        }
    };
    let from = saved.counts.rows as u32;
    let keys: Vec<Key> = (from..count as u32).map_while(|row| part.key(row)).collect();
    let count = keys.iter().rposition(|key| key.1 <= upper).map_or(0, |at| at + 1);
    let keys: Vec<Key> = keys.into_iter().take(count).collect();
    if keys.is_empty() {
        return Ok((saved, keys));
    }
    let path = rows_path(dir, saved.counts.number);
    let end = from + count as u32;
    part.each_chunk(from, &mut |first, chunk| {
        let start = first.max(from);
        let stop = end.min(first + chunk.keys.len() as u32);
        if start < stop {
            let mut block = (stop - start).to_le_bytes().to_vec();
            let rows = (start - first..stop - first).filter_map(|at| chunk.row(at as usize));
            for row in rows {
                block.extend_from_slice(row.bytes);
                block.extend_from_slice(&row.factor.to_le_bytes());
            }
            block.extend_from_slice(&block_sum(&saved.counts, &block).to_le_bytes());
            saved.file.write_all_at(&block, saved.counts.bytes).map_err(Error::io("write", &path))?;
            saved.counts.bytes += block.len() as u64;
            saved.counts.rows = u64::from(stop);
        }
        Ok(())
    })?;
    saved.file.sync().map_err(Error::io("sync", &path))?;
    Ok((saved, keys))
}

/// The checksum of the block that begins where a file ends.
pub(super) fn block_sum(counts: &RowsFile, block: &[u8]) -> u64 {
    xxh3_64_with_seed(block, counts.number.rotate_left(32) ^ counts.rows)
}
