//! Finds what isolation forbids in a history of transactions.
//!
//! Values are unique, and a commit's Lsn orders it among all others, so each value that was read says from which
//! commit to which it was the current one. A transaction had a snapshot if there is a moment at which all that it
//! has read was current.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Register,
    Parent,
    Child,
}

pub type Key = (Table, i32);

/// What a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// No other write has the same.
    pub value: i64,
    /// Of a child: its parent.
    pub link: i32,
}

/// A row, or that there is none.
pub type Seen = Option<Cell>;

#[derive(Clone, Debug)]
pub enum Op {
    Read(Key, Seen),
    Scan(Table, Range<i32>, BTreeMap<i32, Cell>),
    Write(Key, Seen),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed(u64),
    /// It has written nothing, or nothing of it remains.
    Ended,
}

#[derive(Clone, Debug)]
pub struct Txn {
    pub serializable: bool,
    /// A commit that was acknowledged to somebody before this began.
    pub floor: u64,
    pub ops: Vec<Op>,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// A value that nobody has committed, or not in the end.
    DirtyRead,
    /// One row was read twice and was not the same.
    NonRepeatableRead,
    /// A range was read, and rows came or went.
    Phantom,
    /// Two rows that were never there together.
    LongFork,
    /// A snapshot from before a commit that was acknowledged already.
    StaleRead,
    /// A row was overwritten by somebody who had not seen it.
    LostUpdate,
    /// A serializable transaction has read what was not current any more when it committed.
    WriteSkew,
    /// A child without its parent.
    Orphan,
    /// A transaction did not see what it had written.
    OwnWriteMissed,
    /// Two commits with one Lsn.
    SameLsn,
}

/// Moments, from a commit up to before another.
type Moments = Vec<(u64, u64)>;

/// What one look at a row showed.
#[derive(Clone, Copy, Debug)]
struct Look {
    key: Key,
    seen: Seen,
    scanned: bool,
}

#[derive(Default)]
struct Checker {
    /// The versions of each row, by Lsn.
    versions: HashMap<Key, Vec<(u64, Seen)>>,
    places: HashMap<(Key, i64), usize>,
    found: BTreeMap<Anomaly, Vec<String>>,
}

/// What a history shows, with the transactions that show it.
pub fn check(history: &[Txn]) -> BTreeMap<Anomaly, Vec<String>> {
    let mut checker = Checker::default();
    let mut commits: Vec<_> = history.iter().filter_map(|txn| Some((committed(txn)?, txn))).collect();
    commits.sort_by_key(|(lsn, _)| *lsn);
    for pair in commits.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        checker.note(Anomaly::SameLsn, pair[0].1);
    }
    for (lsn, txn) in &commits {
        checker.add_versions(*lsn, txn);
    }
    history.iter().for_each(|txn| checker.transaction(txn));
    checker.parents(&commits);
    checker.found
}

fn committed(txn: &Txn) -> Option<u64> {
    match txn.outcome {
        Outcome::Committed(lsn) => Some(lsn),
        Outcome::Ended => None,
    }
}

/// What a transaction has left of each row that it wrote.
fn final_writes(txn: &Txn) -> BTreeMap<Key, Seen> {
    let writes = txn.ops.iter().filter_map(|op| match op {
        Op::Write(key, seen) => Some((*key, *seen)),
        _ => None,
    });
    writes.collect()
}

impl Checker {
    fn note(&mut self, anomaly: Anomaly, txn: &Txn) {
        self.found.entry(anomaly).or_default().push(format!("{txn:?}"));
    }

    fn add_versions(&mut self, lsn: u64, txn: &Txn) {
        for (key, seen) in final_writes(txn) {
            let versions = self.versions.entry(key).or_default();
            if let Some(cell) = seen {
                self.places.insert((key, cell.value), versions.len());
            }
            versions.push((lsn, seen));
        }
    }

    fn transaction(&mut self, txn: &Txn) {
        let Some(looks) = self.looks(txn) else { return self.note(Anomaly::OwnWriteMissed, txn) };
        if looks.iter().any(|look| !self.is_known(look)) {
            return self.note(Anomaly::DirtyRead, txn);
        }
        let end = committed(txn).unwrap_or(u64::MAX);
        let mut moments = self.common(&looks, (txn.floor, end));
        if moments.is_empty() {
            moments = self.common(&looks, (0, end));
            let anomaly = if moments.is_empty() { self.contradiction(&looks, end) } else { Anomaly::StaleRead };
            return self.note(anomaly, txn);
        }
        let Some(lsn) = committed(txn) else { return };
        let newest = final_writes(txn).keys().map(|key| self.before(*key, lsn)).max().unwrap_or(0);
        if moments.iter().all(|(_, to)| *to <= newest) {
            self.note(Anomaly::LostUpdate, txn);
        } else if txn.serializable && !moments.iter().any(|(from, to)| (*from..*to).contains(&(lsn - 1))) {
            self.note(Anomaly::WriteSkew, txn);
        }
    }

    /// What the transaction saw of others; `None` if it did not see itself.
    fn looks(&self, txn: &Txn) -> Option<Vec<Look>> {
        let mut own: HashMap<Key, Seen> = HashMap::new();
        let mut looks = Vec::new();
        for op in &txn.ops {
            let seen: Vec<(Key, Seen)> = match op {
                Op::Read(key, seen) => vec![(*key, *seen)],
                Op::Scan(table, range, rows) => {
                    range.clone().map(|id| ((*table, id), rows.get(&id).copied())).collect()
                }
                Op::Write(key, seen) => {
                    own.insert(*key, *seen);
                    continue;
                }
            };
            for (key, seen) in seen {
                match own.get(&key) {
                    Some(written) if *written == seen => {}
                    Some(_) => return None,
                    None => looks.push(Look { key, seen, scanned: matches!(op, Op::Scan(..)) }),
                }
            }
        }
        Some(looks)
    }

    fn is_known(&self, look: &Look) -> bool {
        look.seen.is_none_or(|cell| self.version(look.key, cell).is_some_and(|(_, seen)| seen == Some(cell)))
    }

    fn version(&self, key: Key, cell: Cell) -> Option<(u64, Seen)> {
        let place = self.places.get(&(key, cell.value))?;
        self.versions.get(&key)?.get(*place).copied()
    }

    /// When a row was last written before a commit.
    fn before(&self, key: Key, lsn: u64) -> u64 {
        let versions = self.versions.get(&key).map(Vec::as_slice).unwrap_or_default();
        let place = versions.partition_point(|(at, _)| *at < lsn);
        place.checked_sub(1).map_or(0, |place| versions[place].0)
    }

    /// The moments within others at which a row was what it was seen to be.
    fn moments(&self, look: &Look, within: (u64, u64)) -> Moments {
        let versions = self.versions.get(&look.key).map(Vec::as_slice).unwrap_or_default();
        let mut at = versions.partition_point(|(lsn, _)| *lsn <= within.0);
        let mut current = at.checked_sub(1).and_then(|place| versions[place].1);
        let (mut from, mut moments) = (within.0, Vec::new());
        while from < within.1 {
            let next = versions.get(at).map_or(u64::MAX, |(lsn, _)| *lsn).min(within.1);
            if current == look.seen && from < next {
                moments.push((from, next));
            }
            current = versions.get(at).and_then(|(_, seen)| *seen);
            (from, at) = (next, at + 1);
        }
        moments
    }

    fn common(&self, looks: &[Look], within: (u64, u64)) -> Moments {
        looks.iter().fold(vec![within], |moments, look| {
            moments.into_iter().flat_map(|within| self.moments(look, within)).collect()
        })
    }

    /// Which anomaly it is that looks do not go together.
    fn contradiction(&self, looks: &[Look], end: u64) -> Anomaly {
        for (n, two) in looks.iter().enumerate() {
            for one in &looks[..n] {
                if !self.common(&[*one, *two], (0, end)).is_empty() {
                    continue;
                }
                let came_or_went = |look: &Look| look.scanned && look.seen.is_none();
                return match (one.key == two.key, one.scanned || two.scanned) {
                    (true, false) => Anomaly::NonRepeatableRead,
                    (true, true) => Anomaly::Phantom,
                    (false, true) if came_or_went(one) || came_or_went(two) => Anomaly::Phantom,
                    (false, _) => Anomaly::LongFork,
                };
            }
        }
        Anomaly::LongFork
    }

    /// After each commit, every child has its parent.
    fn parents(&mut self, commits: &[(u64, &Txn)]) {
        let mut rows: HashMap<Key, Cell> = HashMap::new();
        let mut children: HashMap<i32, i64> = HashMap::new();
        for (_, txn) in commits {
            let writes = final_writes(txn);
            for (key, seen) in &writes {
                let old = match seen {
                    Some(cell) => rows.insert(*key, *cell),
                    None => rows.remove(key),
                };
                if key.0 == Table::Child {
                    old.into_iter().for_each(|cell| *children.entry(cell.link).or_default() -= 1);
                    seen.iter().for_each(|cell| *children.entry(cell.link).or_default() += 1);
                }
            }
            let is_orphaned = |(key, seen): (&Key, &Seen)| match (key.0, seen) {
                (Table::Child, Some(cell)) => !rows.contains_key(&(Table::Parent, cell.link)),
                (Table::Parent, None) => children.get(&key.1).is_some_and(|n| *n > 0),
                _ => false,
            };
            if writes.iter().any(is_orphaned) {
                self.note(Anomaly::Orphan, txn);
            }
        }
    }
}
