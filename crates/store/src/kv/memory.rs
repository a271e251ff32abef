//! The trees without files: the same answers from a map in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use nodedb_base::{Error, Lsn, Result};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Bytes, Entry, TreeId, TreeStats, VerifyReport, Write, check_sizes, is_empty_range};

/// The versions of a key, oldest first.
type Versions = Vec<(Lsn, Option<Bytes>)>;
type Tree = BTreeMap<Bytes, Versions>;

#[derive(Debug, Default)]
struct State {
    trees: BTreeMap<TreeId, Tree>,
    dropped: BTreeMap<[u8; 4], Lsn>,
    highest: Lsn,
    compactions: u64,
    ingestions: u64,
    closed: bool,
}

/// Trees in memory.
#[derive(Debug, Default)]
pub struct Memory {
    state: Arc<RwLock<State>>,
}

impl State {
    fn put(&mut self, tree: TreeId, key: &[u8], value: Option<&[u8]>, lsn: Lsn) -> Result<()> {
        check_sizes(key, value)?;
        let value = value.map(Bytes::copy);
        let versions = self.trees.entry(tree).or_default().entry(Bytes::copy(key)).or_default();
        match versions.binary_search_by_key(&lsn, |version| version.0) {
            Ok(at) => versions.splice(at..=at, [(lsn, value)]).for_each(drop),
            Err(at) => versions.insert(at, (lsn, value)),
        }
        self.highest = self.highest.max(lsn);
        Ok(())
    }

    fn sweep(&mut self, low_water: Lsn) {
        self.compactions += 1;
        let dropped = &self.dropped;
        for (tree, entries) in &mut self.trees {
            entries.retain(|key, versions| {
                if tree.has_incarnations() && is_dropped(dropped, key, low_water) {
                    return false;
                }
                sweep_key(versions, low_water);
                !versions.is_empty()
            });
        }
    }
}

fn is_dropped(dropped: &BTreeMap<[u8; 4], Lsn>, key: &[u8], low_water: Lsn) -> bool {
    let prefix = key.first_chunk::<4>();
    prefix.and_then(|prefix| dropped.get(prefix)).is_some_and(|&dropped_at| dropped_at <= low_water)
}

fn sweep_key(versions: &mut Versions, low_water: Lsn) {
    let Some(needed) = versions.iter().rposition(|version| version.0 <= low_water) else { return };
    let is_delete = versions.get(needed).is_some_and(|version| version.1.is_none());
    versions.drain(..needed + usize::from(is_delete)).for_each(drop);
}

fn version_at(versions: &Versions, at: Lsn) -> Option<(Lsn, &Bytes)> {
    let (lsn, value) = versions.iter().rev().find(|version| version.0 <= at)?;
    Some((*lsn, value.as_ref()?))
}

impl Memory {
    fn read(&self) -> Result<RwLockReadGuard<'_, State>> {
        let state = self.state.read();
        if state.closed { Err(closed()) } else { Ok(state) }
    }

    fn change(&self) -> Result<RwLockWriteGuard<'_, State>> {
        let state = self.state.write();
        if state.closed { Err(closed()) } else { Ok(state) }
    }

    pub(super) fn apply<'a>(&self, lsn: Lsn, writes: impl IntoIterator<Item = Write<'a>>) -> Result<()> {
        let mut state = self.change()?;
        writes.into_iter().try_for_each(|(tree, key, value)| state.put(tree, key, value, lsn))
    }

    pub(super) fn get(&self, tree: TreeId, key: &[u8], at: Lsn) -> Result<Option<(Lsn, Bytes)>> {
        let state = self.read()?;
        let versions = state.trees.get(&tree).and_then(|entries| entries.get(key));
        Ok(versions.and_then(|versions| version_at(versions, at)).map(|(lsn, value)| (lsn, value.clone())))
    }

    pub(super) fn newest(&self, tree: TreeId, key: &[u8]) -> Result<Option<Lsn>> {
        let state = self.read()?;
        let versions = state.trees.get(&tree).and_then(|entries| entries.get(key));
        Ok(versions.and_then(|versions| versions.last()).map(|version| version.0))
    }

    pub(super) fn range(&self, tree: TreeId, lower: Bound<&[u8]>, upper: Bound<&[u8]>, at: Lsn) -> Scan {
        let state = Arc::clone(&self.state);
        Scan { state, tree, at, lower: lower.map(<[u8]>::to_vec), upper: upper.map(<[u8]>::to_vec) }
    }

    pub(super) const fn memtable_bytes(&self) -> u64 {
        0
    }

    pub(super) fn rotate(&self) -> Result<Lsn> {
        Ok(self.read()?.highest)
    }

    pub(super) fn flush(&self) -> Result<Lsn> {
        self.rotate()
    }

    pub(super) fn compact(&self, low_water: Lsn) -> Result<bool> {
        self.change()?.sweep(low_water);
        Ok(false)
    }

    pub(super) fn compact_fully(&self, low_water: Lsn) -> Result<()> {
        self.compact(low_water).map(|_| ())
    }

    pub(super) fn ingest<K, V>(&self, tree: TreeId, entries: impl IntoIterator<Item = (K, V)>, lsn: Lsn) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        if !entries.is_sorted_by(|a, b| a.0.as_ref() < b.0.as_ref()) {
            return Err(Error::internal("a sorted load is not in order"));
        }
        let mut state = self.change()?;
        state.ingestions += 1;
        entries.iter().try_for_each(|(key, value)| state.put(tree, key.as_ref(), Some(value.as_ref()), lsn))
    }

    pub(super) fn drop_incarnation(&self, prefix: [u8; 4], dropped_at: Lsn) {
        self.state.write().dropped.insert(prefix, dropped_at);
    }

    pub(super) fn holds_incarnation(&self, prefix: [u8; 4]) -> Result<bool> {
        let state = self.read()?;
        let begins =
            |entries: &Tree| entries.range(Bytes::copy(&prefix)..).next().is_some_and(|e| e.0.starts_with(&prefix));
        Ok(state.trees.iter().any(|(tree, entries)| tree.has_incarnations() && begins(entries)))
    }

    pub(super) fn stats(&self) -> TreeStats {
        let state = self.state.read();
        TreeStats { compactions: state.compactions, ingestions: state.ingestions, ..TreeStats::default() }
    }

    pub(super) fn verify(&self) -> Result<VerifyReport> {
        self.read().map(|_| VerifyReport::default())
    }

    pub(super) fn close(&self) -> Result<()> {
        self.change()?.closed = true;
        Ok(())
    }
}

fn closed() -> Error {
    Error::closed("57P01", "the trees are closed")
}

/// A range of a tree in memory. It finds each entry anew, so it holds no lock between two of them.
#[derive(Debug)]
pub struct Scan {
    state: Arc<RwLock<State>>,
    tree: TreeId,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    at: Lsn,
}

impl Scan {
    fn entry(&self, from_back: bool) -> Option<Entry> {
        let (lower, upper) = (self.lower.as_ref().map(Vec::as_slice), self.upper.as_ref().map(Vec::as_slice));
        if is_empty_range(lower, upper) {
            return None;
        }
        let state = self.state.read();
        let mut entries = state.trees.get(&self.tree)?.range::<[u8], _>((lower, upper));
        let live = |(key, versions): (&Bytes, &Versions)| {
            version_at(versions, self.at).map(|(lsn, value)| (key.clone(), lsn, value.clone()))
        };
        if from_back { entries.rev().find_map(live) } else { entries.find_map(live) }
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entry(false)?;
        self.lower = Bound::Excluded(entry.0.to_vec());
        Some(Ok(entry))
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        let entry = self.entry(true)?;
        self.upper = Bound::Excluded(entry.0.to_vec());
        Some(Ok(entry))
    }
}
