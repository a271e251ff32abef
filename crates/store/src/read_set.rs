//! What a serializable transaction has read, as ranges of keys, and what others have written meanwhile.

use crate::keys::TreeKey;
use crate::kv::TreeId as Tree;
use nodedb_base::{Error, Lsn, Result};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// A range of keys of one tree.
pub type Range = (Tree, Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The ranges that one transaction has read.
#[derive(Debug)]
pub struct ReadSet {
    ranges: Mutex<(BTreeSet<RangeKey>, usize)>,
    limit: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RangeKey {
    tree: Tree,
    lower: Vec<u8>,
    lower_open: bool,
    upper: Option<Vec<u8>>,
    upper_open: bool,
}

impl ReadSet {
    /// An empty set that may take `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { ranges: Mutex::default(), limit }
    }

    /// Notes that a range was read.
    ///
    /// # Errors
    /// `Limit` (53200) if that takes too much memory.
    pub fn note(&self, tree: Tree, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> Result<()> {
        let (low, lower_open) = match lower {
            Bound::Included(key) => (key.to_vec(), false),
            Bound::Excluded(key) => (key.to_vec(), true),
            Bound::Unbounded => (Vec::new(), false),
        };
        let (high, upper_open) = match upper {
            Bound::Included(key) => (Some(key.to_vec()), false),
            Bound::Excluded(key) => (Some(key.to_vec()), true),
            Bound::Unbounded => (None, false),
        };
        let mut ranges = self.ranges.lock();
        let size = 64 + low.len() + high.as_ref().map_or(0, Vec::len);
        if ranges.0.insert(RangeKey { tree, lower: low, lower_open, upper: high, upper_open }) {
            ranges.1 += size;
        }
        if ranges.1 > self.limit {
            let message = format!("serializable transaction has read more ranges than fit {} bytes", self.limit);
            return Err(Error::limit("53200", message).with_hint("Read fewer rows, or read whole ranges at once."));
        }
        Ok(())
    }

    /// The ranges, for validation.
    #[must_use]
    pub fn take_ranges(&self) -> Vec<Range> {
        let ranges = std::mem::take(&mut self.ranges.lock().0);
        let bound = |key: Vec<u8>, open| if open { Bound::Excluded(key) } else { Bound::Included(key) };
        let range = |r: RangeKey| {
            let upper = r.upper.map_or(Bound::Unbounded, |key| bound(key, r.upper_open));
            (r.tree, bound(r.lower, r.lower_open), upper)
        };
        ranges.into_iter().map(range).collect()
    }
}

/// The keys that recent commits have changed, as far back as the oldest serializable transaction needs them.
#[derive(Debug, Default)]
pub struct RecentWrites {
    state: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    watchers: BTreeMap<Lsn, usize>,
    commits: VecDeque<(Lsn, BTreeSet<TreeKey>)>,
    /// How many keys all commits have together.
    keys: usize,
    /// The last commit that is not kept. A watch may start between the moment when a commit is noted here and the
    /// moment when it is published; its transaction has then not seen the commit, and must learn that it was missed.
    forgotten: Lsn,
}

/// Most keys that are kept. A transaction that is older than the oldest of them cannot be validated and is
/// asked to try again.
const MAX_RECENT_KEYS: usize = 1 << 20;

/// Keeps recent writes from a snapshot on.
#[derive(Debug)]
pub struct Watch {
    from: Lsn,
    all: Arc<RecentWrites>,
}

impl RecentWrites {
    /// Starts to keep what is written after `from`. Must be called before anything after `from` can commit.
    #[must_use]
    pub fn watch(self: &Arc<Self>, from: Lsn) -> Watch {
        *self.state.lock().watchers.entry(from).or_default() += 1;
        Watch { from, all: self.clone() }
    }

    /// Whether somebody wants to know.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.state.lock().watchers.is_empty()
    }

    /// Notes what a commit has changed.
    pub fn note(&self, lsn: Lsn, keys: impl Iterator<Item = (Tree, Vec<u8>)>) {
        let mut state = self.state.lock();
        if state.watchers.is_empty() {
            state.forgotten = lsn;
            return;
        }
        let keys: BTreeSet<_> = keys.collect();
        state.keys += keys.len();
        state.commits.push_back((lsn, keys));
        while state.keys > MAX_RECENT_KEYS
            && let Some((lsn, keys)) = state.commits.pop_front()
        {
            state.keys -= keys.len();
            state.forgotten = lsn;
        }
    }

    /// Whether a commit after `from` has changed something in one of the ranges, or may have.
    #[must_use]
    pub fn touches(&self, from: Lsn, ranges: &[Range]) -> bool {
        let state = self.state.lock();
        if from < state.forgotten {
            return true;
        }
        let later = state.commits.iter().filter(|(lsn, _)| *lsn > from);
        later.into_iter().any(|(_, keys)| ranges.iter().any(|range| any_within(keys, range)))
    }
}

/// Whether one of the keys lies in the range.
pub(crate) fn any_within(keys: &BTreeSet<(Tree, Vec<u8>)>, (tree, lower, upper): &Range) -> bool {
    let start = match lower {
        Bound::Included(key) => Bound::Included((*tree, key.clone())),
        Bound::Excluded(key) => Bound::Excluded((*tree, key.clone())),
        Bound::Unbounded => Bound::Included((*tree, Vec::new())),
    };
    let first = keys.range((start, Bound::Unbounded)).next();
    first.is_some_and(|(found, key)| {
        found == tree
            && match upper {
                Bound::Included(end) => key <= end,
                Bound::Excluded(end) => key < end,
                Bound::Unbounded => true,
            }
    })
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.all.state.lock();
        if let Some(count) = state.watchers.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                state.watchers.remove(&self.from);
            }
        }
        let oldest = state.watchers.keys().next().copied().unwrap_or(Lsn::MAX);
        while state.commits.front().is_some_and(|(lsn, _)| *lsn <= oldest)
            && let Some((lsn, keys)) = state.commits.pop_front()
        {
            state.keys -= keys.len();
            state.forgotten = lsn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Vec<Range> {
        vec![(Tree::Rows, Bound::Unbounded, Bound::Unbounded)]
    }

    fn key() -> impl Iterator<Item = (Tree, Vec<u8>)> {
        std::iter::once((Tree::Rows, vec![1]))
    }

    #[test]
    fn a_commit_between_being_noted_and_being_published_is_not_missed() {
        let recent = Arc::new(RecentWrites::default());
        recent.note(Lsn(11), key());
        let _watch = recent.watch(Lsn(10));
        assert!(recent.touches(Lsn(10), &everything()), "who sees commit 10 has not seen 11");
        assert!(!recent.touches(Lsn(11), &everything()));
    }

    #[test]
    fn what_the_last_watcher_took_along_is_not_missed() {
        let recent = Arc::new(RecentWrites::default());
        let first = recent.watch(Lsn(10));
        recent.note(Lsn(11), key());
        drop(first);
        let _watch = recent.watch(Lsn(10));
        assert!(recent.touches(Lsn(10), &everything()));
        assert!(!recent.touches(Lsn(11), &everything()));
    }
}
