//! The filter cache: sets of rows that keys have given, kept from one query to the next.
//!
//! A set is a function of the log like any index: every commit that changes a key within its ranges changes the set, or drops
//! it if somebody reads it just then or the commit is large. It is right for every reader as of the commit that it was last
//! changed by, or a later one. Which sets of many rows are worth while is decided as a skier decides to buy skis: once
//! queries have spent about as much without the set as making it costs, it is made.

use crate::stretch::Stretch;
use nodedb_base::{Batch, Incarnation, Lsn, RowChange, RowId};
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use std::collections::HashMap;
use std::sync::Arc;

/// What a set is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The key index.
    pub index: Incarnation,
    /// Stretches of it that have nothing in common.
    pub stretches: Vec<Stretch>,
}

/// Sets of rows, as many as fit a budget; what was not asked for the longest goes first.
#[derive(Debug)]
pub struct FilterCache(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    filters: HashMap<Filter, Known>,
    /// The last commit that has changed a key of each index, as far as there was one since the database was opened.
    changed: HashMap<Incarnation, Lsn>,
    budget: usize,
    bytes: usize,
    /// Counts questions.
    time: u64,
}

#[derive(Debug, Default)]
struct Known {
    set: Option<Kept>,
    /// What queries have spent since there was no set.
    spent: f64,
    /// When it was asked for last.
    asked: u64,
}

#[derive(Debug)]
struct Kept {
    rows: Arc<RoaringTreemap>,
    /// It is right as of this commit and later ones.
    since: Lsn,
    bytes: usize,
    /// What it took when that was measured last; with every row that comes, `bytes` grows by what one may take at most.
    measured: usize,
}

/// Filters that are known, with or without a set.
const MOST_FILTERS: usize = 64;
/// A commit of more changes drops the sets that it would change.
const MOST_CHANGES: usize = 256;
/// What one takes beside its set, in bytes.
const OVERHEAD: usize = 256;
/// A set may take this part of the budget.
const SHARE: usize = 4;

impl FilterCache {
    /// An empty one that may take so many bytes.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self(Mutex::new(Cache { budget, ..Cache::default() }))
    }

    /// The rows of a filter for a reader as of a commit, if they are known.
    #[must_use]
    pub fn get(&self, filter: &Filter, at: Lsn) -> Option<Arc<RoaringTreemap>> {
        let mut cache = self.0.lock();
        cache.time += 1;
        let time = cache.time;
        let known = cache.filters.get_mut(filter)?;
        known.asked = time;
        known.set.as_ref().filter(|kept| kept.since <= at).map(|kept| kept.rows.clone())
    }

    /// Keeps the rows that a filter gives a reader as of a commit, if they still are what the next reader will see and
    /// are not too many. Either way, what was spent is forgotten.
    pub fn put(&self, filter: Filter, at: Lsn, rows: Arc<RoaringTreemap>) {
        let mut cache = self.0.lock();
        let bytes = size(&rows);
        let is_old = cache.changed.get(&filter.index).is_some_and(|changed| *changed > at);
        cache.time += 1;
        let asked = cache.time;
        if is_old || bytes > cache.budget / SHARE {
            // What a reader of the past has found is no news for a set that is there.
            if let Some(known) = cache.filters.get_mut(&filter) {
                known.spent = 0.0;
            }
            return;
        }
        let known = Known { set: Some(Kept { rows, since: at, bytes, measured: bytes }), spent: 0.0, asked };
        cache.bytes += known.bytes();
        let old = cache.filters.insert(filter, known);
        cache.bytes -= old.map_or(0, |old| old.bytes());
        cache.make_room();
    }

    /// Notes what a query has spent without a set; what all have.
    pub fn spend(&self, filter: &Filter, cost: f64) -> f64 {
        let mut cache = self.0.lock();
        cache.time += 1;
        let asked = cache.time;
        if !cache.filters.contains_key(filter) {
            cache.filters.insert(filter.clone(), Known::default());
            cache.make_room();
        }
        cache.filters.get_mut(filter).map_or(cost, |known| {
            known.asked = asked;
            known.spent += cost;
            known.spent
        })
    }

    /// The rows of a filter are too many to be read for the next query: that is not tried again while it is known.
    pub fn give_up(&self, filter: &Filter) {
        if let Some(known) = self.0.lock().filters.get_mut(filter) {
            known.spent = f64::NEG_INFINITY;
        }
    }

    /// Takes in what a commit changes, before anybody can see it.
    pub fn committed(&self, lsn: Lsn, batch: &Batch) {
        let mut indexes: Vec<Incarnation> = Vec::new();
        for (entry, _) in batch.rows.iter().flat_map(RowChange::keys) {
            if !indexes.contains(&entry.index) {
                indexes.push(entry.index);
            }
        }
        if indexes.is_empty() {
            return;
        }
        let mut cache = self.0.lock();
        let Cache { filters, changed, bytes, budget, .. } = &mut *cache;
        changed.extend(indexes.iter().map(|index| (*index, lsn)));
        for (filter, known) in filters.iter_mut().filter(|(filter, _)| indexes.contains(&filter.index)) {
            *bytes -= known.bytes();
            if !known.take_in(filter, lsn, batch) || known.bytes() > *budget / SHARE {
                known.set = None;
            }
            *bytes += known.bytes();
        }
        cache.make_room();
    }
}

impl Known {
    /// Changes the set as a commit says; `false` if that cannot be.
    fn take_in(&mut self, filter: &Filter, lsn: Lsn, batch: &Batch) -> bool {
        let Some(kept) = &mut self.set else { return true };
        if batch.rows.len() > MOST_CHANGES {
            return false;
        }
        for change in &batch.rows {
            for (entry, comes) in change.keys() {
                if entry.index != filter.index || !filter.has(&entry.key) {
                    continue;
                }
                // Somebody reads it as it was.
                let Some(rows) = Arc::get_mut(&mut kept.rows) else { return false };
                kept.since = lsn;
                let RowId(row) = change.row;
                if !comes {
                    rows.remove(row);
                } else if rows.insert(row) {
                    // What a row takes at most, where rows lie far apart.
                    kept.bytes += OVERHEAD;
                }
            }
        }
        if kept.bytes > 2 * kept.measured {
            kept.measured = size(&kept.rows);
            kept.bytes = kept.measured;
        }
        true
    }

    fn bytes(&self) -> usize {
        self.set.as_ref().map_or(0, |kept| kept.bytes)
    }
}

fn size(rows: &RoaringTreemap) -> usize {
    rows.serialized_size() + OVERHEAD * (1 + rows.bitmaps().count())
}

impl Filter {
    fn has(&self, key: &[u8]) -> bool {
        self.stretches.iter().any(|stretch| stretch.has(key))
    }
}

impl Cache {
    /// Forgets what was not asked for the longest while there is too much.
    fn make_room(&mut self) {
        while self.bytes > self.budget || self.filters.len() > MOST_FILTERS {
            let oldest = self.filters.iter().min_by_key(|(_, known)| known.asked).map(|(filter, _)| filter.clone());
            let Some(gone) = oldest.and_then(|filter| self.filters.remove(&filter)) else { return };
            self.bytes -= gone.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodedb_base::{KeyEntry, RowOp};
    use nodedb_env::{Random, SeededRandom};
    use std::collections::BTreeMap;
    use std::ops::Bound;

    const INDEX: Incarnation = Incarnation(7);

    /// The key of each row.
    type Rows = BTreeMap<u64, u8>;

    fn filter(from: u8, to: u8) -> Filter {
        let few = Stretch::new(&Bound::Included(vec![from]), &Bound::Excluded(vec![to]));
        Filter { index: INDEX, stretches: vec![few, Stretch::new(&Bound::Included(vec![200]), &Bound::Unbounded)] }
    }

    fn rows_of(rows: &Rows, filter: &Filter) -> RoaringTreemap {
        rows.iter().filter(|(_, key)| filter.has(&[**key])).map(|(row, _)| *row).collect()
    }

    fn change(rows: &mut Rows, row: u64, new: Option<u8>) -> RowChange {
        let entry = |key: u8| KeyEntry { index: INDEX, unique: true, key: vec![key] };
        let old = match new {
            Some(key) => rows.insert(row, key),
            None => rows.remove(&row),
        };
        let (gone, come) = (old.into_iter().map(entry).collect(), new.into_iter().map(entry).collect());
        RowChange::of_keys((Incarnation(1), RowId(row)), RowOp::Update, gone, come)
    }

    /// Readers of any commit are given what they would read, or nothing.
    #[test]
    fn sets_are_what_readers_would_read() {
        let random = SeededRandom::new(3);
        let below = |n: u64| random.u64() % n;
        let (cache, mut history, mut readers) = (FilterCache::new(1 << 20), vec![Rows::new()], Vec::new());
        let mut found = 0;
        for round in 0..4000 {
            if below(3) == 0 {
                let mut rows = history.last().cloned().unwrap_or_default();
                let changes = (0..=below(3)).map(|at| {
                    let new = (below(4) > 0).then(|| below(256) as u8);
                    change(&mut rows, 3 * below(30) + at, new)
                });
                let batch = Batch { rows: changes.collect(), ..Batch::default() };
                history.push(rows);
                cache.committed(Lsn(history.len() as u64 - 1), &batch);
                readers.clear();
            }
            let at = history.len() - 1 - below(3.min(history.len() as u64)) as usize;
            let filter = filter(10 * below(5) as u8, 60 + 10 * below(5) as u8);
            let real = rows_of(&history[at], &filter);
            match cache.get(&filter, Lsn(at as u64)) {
                Some(rows) => {
                    assert_eq!(*rows, real, "round {round}");
                    found += 1;
                    if below(5) == 0 {
                        readers.push(rows);
                    }
                }
                None => cache.put(filter, Lsn(at as u64), Arc::new(real)),
            }
        }
        assert!(found > 1000, "{found}");
        let cache = cache.0.lock();
        assert_eq!(cache.filters.values().map(Known::bytes).sum::<usize>(), cache.bytes);
    }

    /// Rows that come one by one take what rows take that come at once.
    #[test]
    fn a_set_that_grows_is_measured_anew() {
        let cache = FilterCache::new(128 * OVERHEAD);
        let all = Filter { index: INDEX, stretches: vec![Stretch::new(&Bound::Unbounded, &Bound::Unbounded)] };
        let mut rows = Rows::new();
        cache.put(all.clone(), Lsn(0), Arc::default());
        for row in 0..1000 {
            let batch = Batch { rows: vec![change(&mut rows, row, Some(1))], ..Batch::default() };
            cache.committed(Lsn(row + 1), &batch);
        }
        assert_eq!(cache.get(&all, Lsn(1000)).map(|rows| rows.len()), Some(1000));
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes() {
        let cache = FilterCache::new(10 * OVERHEAD);
        let some = |from: u64| Arc::new((from..from + 10).collect::<RoaringTreemap>());
        for from in 0..20 {
            cache.put(filter(from, 100), Lsn(1), some(u64::from(from)));
            let first = cache.get(&filter(0, 100), Lsn(1));
            assert_eq!(first.as_deref(), Some(&*some(0)));
            assert!(cache.0.lock().bytes <= 10 * OVERHEAD);
        }
        assert_eq!(cache.get(&filter(1, 100), Lsn(1)), None);
        // One that is too large for the others is not kept, nor one that a commit has overtaken.
        cache.put(filter(50, 51), Lsn(1), Arc::new((0..4000).map(|row| row * 70_000).collect()));
        assert_eq!(cache.get(&filter(50, 51), Lsn(1)), None);
        let batch = Batch { rows: vec![change(&mut Rows::new(), 1, Some(99))], ..Batch::default() };
        cache.committed(Lsn(2), &batch);
        cache.put(filter(60, 61), Lsn(1), some(1));
        assert_eq!(cache.get(&filter(60, 61), Lsn(2)), None);
    }

    #[test]
    fn spending_adds_up_until_there_is_a_set() {
        let cache = FilterCache::new(1 << 20);
        assert_eq!([cache.spend(&filter(0, 1), 2.0), cache.spend(&filter(0, 1), 3.0)], [2.0, 5.0]);
        cache.put(filter(0, 1), Lsn(1), Arc::default());
        assert_eq!(cache.spend(&filter(0, 1), 1.0), 1.0);
        cache.give_up(&filter(0, 1));
        assert!(cache.spend(&filter(0, 1), 1e9) < 0.0);
    }

    /// By commits alone, too, sets take no more than they may.
    #[test]
    fn commits_make_sets_no_larger_than_all_may_be() {
        let (cache, mut rows) = (FilterCache::new(40 * OVERHEAD), Rows::new());
        cache.put(filter(0, 100), Lsn(0), Arc::default());
        for lsn in 1..100 {
            // Each lies by itself, so that it takes more than its number.
            let batch = Batch { rows: vec![change(&mut rows, lsn << 33, Some(7))], ..Batch::default() };
            cache.committed(Lsn(lsn), &batch);
            assert!(cache.0.lock().bytes <= 40 * OVERHEAD, "{lsn}");
        }
        let wide: RoaringTreemap = (0..20_u64).map(|row| row << 33).collect();
        cache.put(filter(0, 50), Lsn(99), Arc::new(wide));
        assert_eq!(cache.get(&filter(0, 50), Lsn(99)), None, "20 bitmaps are more than a quarter");
    }

    #[test]
    fn large_commits_drop_sets() {
        let (cache, mut rows) = (FilterCache::new(1 << 20), Rows::new());
        for (lsn, count) in [(1, MOST_CHANGES), (2, MOST_CHANGES + 1)] {
            cache.put(filter(0, 100), Lsn(lsn - 1), Arc::new(rows_of(&rows, &filter(0, 100))));
            let changes = (0..count as u64).map(|row| change(&mut rows, row, Some(7))).collect();
            cache.committed(Lsn(lsn), &Batch { rows: changes, ..Batch::default() });
            let kept = cache.get(&filter(0, 100), Lsn(lsn)).map(|rows| rows.len());
            assert_eq!(kept, (count == MOST_CHANGES).then_some(count as u64));
        }
    }
}
