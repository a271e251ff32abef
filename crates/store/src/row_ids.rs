//! Row ids for tables that do not name their rows by a key. Never reused, gaps allowed.
//!
//! The catalogue holds a bound for each life of a table: no committed row has that id or a greater one. A
//! commit with a row at or above the bound raises it, a block further, in the same batch. So ids that were
//! handed out and not committed are lost with the process, and ids from the bound on were never seen.

use crate::keys;
use nodedb_base::{Batch, CatalogChange, Incarnation, RowId, RowOp};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};

/// How far a bound is raised at a time.
const BLOCK: u64 = 1 << 16;

/// The counters of all tables.
#[derive(Debug, Default)]
pub struct RowIds {
    counters: Mutex<HashMap<Incarnation, Counter>>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    next: u64,
    /// What the catalogue says.
    bound: u64,
}

impl RowIds {
    /// Starts from the bounds in the catalogue.
    pub fn load(bounds: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut counters = HashMap::new();
        for key in bounds {
            if let Some((life, bound)) = parse_bound(&key) {
                let counter = counters.entry(life).or_insert(Counter { next: bound, bound });
                *counter = Counter { next: counter.next.max(bound), bound: counter.bound.max(bound) };
            }
        }
        Self { counters: Mutex::new(counters) }
    }

    /// The next id.
    #[must_use]
    pub fn next(&self, life: Incarnation) -> RowId {
        let mut counters = self.counters.lock();
        let counter = counters.entry(life).or_insert(Counter { next: 1, bound: 1 });
        let id = counter.next;
        counter.next += 1;
        RowId(id)
    }

    /// The bounds that a batch must raise.
    #[must_use]
    pub fn bounds(&self, batch: &Batch) -> Vec<CatalogChange> {
        let counters = self.counters.lock();
        let mut highest: BTreeMap<Incarnation, u64> = BTreeMap::new();
        for change in batch.rows.iter().filter(|change| change.op == RowOp::Insert) {
            let above = counters.get(&change.incarnation).is_some_and(|counter| change.row.0 >= counter.bound);
            if above {
                let most = highest.entry(change.incarnation).or_default();
                *most = change.row.0.max(*most);
            }
        }
        let raise = |(life, most): (Incarnation, u64)| {
            let old = counters.get(&life).map_or(1, |counter| counter.bound);
            let put = CatalogChange { key: keys::row_bound(life, most + BLOCK), value: Some(Vec::new()) };
            [put, CatalogChange { key: keys::row_bound(life, old), value: None }]
        };
        highest.into_iter().flat_map(raise).collect()
    }

    /// Notes the bounds that a commit has raised.
    pub fn committed(&self, batch: &Batch) {
        for change in batch.catalog.iter().filter(|change| change.value.is_some()) {
            if let Some((life, bound)) = parse_bound(&change.key) {
                let mut counters = self.counters.lock();
                let counter = counters.entry(life).or_insert(Counter { next: bound, bound });
                counter.bound = counter.bound.max(bound);
            }
        }
    }
}

fn parse_bound(key: &[u8]) -> Option<(Incarnation, u64)> {
    let rest = key.strip_prefix(keys::ROW_BOUNDS)?;
    Some((keys::leading_incarnation(rest)?, keys::trailing_row(rest)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodedb_base::RowChange;

    fn inserting(life: Incarnation, row: RowId) -> Batch {
        let change = RowChange::of_keys((life, row), RowOp::Insert, vec![], vec![]);
        Batch { rows: vec![change], catalog: vec![] }
    }

    #[test]
    fn ids_start_anew_behind_the_bound() {
        let life = Incarnation(3);
        let ids = RowIds::default();
        let first = ids.next(life);
        let mut batch = inserting(life, first);
        batch.catalog = ids.bounds(&batch);
        ids.committed(&batch);
        assert!(ids.bounds(&inserting(life, ids.next(life))).is_empty(), "the block is not used up");
        let stored = batch.catalog.iter().filter(|c| c.value.is_some()).map(|c| c.key.clone());
        assert!(RowIds::load(stored).next(life).0 > first.0 + 1);
    }

    #[test]
    fn a_bound_that_did_not_commit_is_raised_again() {
        let life = Incarnation(3);
        let ids = RowIds::default();
        let first = inserting(life, ids.next(life));
        assert_eq!(ids.bounds(&first).len(), 2);
        assert_eq!(ids.bounds(&inserting(life, ids.next(life))).len(), 2);
    }
}
