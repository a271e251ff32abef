//! A toy of a store that can be broken on purpose, so that the checker can be seen to find each anomaly.

use crate::isolation::checker::{Cell, Key, Op, Outcome, Seen, Table, Txn};
use crate::isolation::script::{Script, Step, script};
use nodedb_env::SeededRandom;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    ReadsUncommitted,
    ReadsIntermediate,
    OneSnapshotEachRead,
    OneSnapshotEachScan,
    RowsBecomeVisibleApart,
    SnapshotsLag,
    LastCommitterWins,
    ReadsAreNotValidated,
    ParentsAreNotValidated,
    OwnWritesAreHidden,
}

struct Active {
    session: u64,
    script: Script,
    at: usize,
    snapshot: u64,
    writes: BTreeMap<Key, Seen>,
    txn: Txn,
}

struct Toy {
    flaw: Flaw,
    random: SeededRandom,
    versions: BTreeMap<Key, Vec<(u64, Seen)>>,
    last: u64,
    value: i64,
    active: Vec<Active>,
    history: Vec<Txn>,
}

/// The history of some transactions of eight sessions, whose steps are mixed by chance.
pub fn history(flaw: Flaw, seed: u64, transactions: usize) -> Vec<Txn> {
    let random = SeededRandom::new(seed);
    let (versions, active, history) = Default::default();
    let mut toy = Toy { flaw, random, versions, last: 0, value: 0, active, history };
    toy.active = (0..8).map(|session| toy.begin(session)).collect();
    while toy.history.len() < transactions {
        let who = toy.random.below(8) as usize;
        toy.go_on(who);
    }
    toy.history
}

impl Toy {
    fn begin(&self, session: u64) -> Active {
        let script = script(&self.random);
        let lag = if self.flaw == Flaw::SnapshotsLag { self.random.below(3) } else { 0 };
        let (snapshot, serializable) = (self.last.saturating_sub(lag), script.serializable);
        let txn = Txn { serializable, floor: self.last, ops: Vec::new(), outcome: Outcome::Ended };
        Active { session, script, at: 0, snapshot, writes: BTreeMap::new(), txn }
    }

    fn go_on(&mut self, who: usize) {
        let active = &self.active[who];
        let Some(step) = active.script.steps.get(active.at).cloned() else { return self.end(who) };
        self.active[who].at += 1;
        match step {
            Step::Read(key) => {
                let seen = self.read(who, key, false);
                self.active[who].txn.ops.push(Op::Read(key, seen));
            }
            Step::Scan(table, range) => {
                let rows = range.clone().filter_map(|id| Some((id, self.read(who, (table, id), true)?))).collect();
                self.active[who].txn.ops.push(Op::Scan(table, range, rows));
            }
            Step::Put(key) => self.put(who, key),
            Step::Delete(key) => self.delete(who, key),
        }
    }

    fn put(&mut self, who: usize, key: Key) {
        self.value += 1;
        let cell = Cell { value: self.value, link: if key.0 == Table::Child { key.1 } else { 0 } };
        if key.0 == Table::Child && self.read(who, (Table::Parent, cell.link), false).is_none() {
            return;
        }
        self.write(who, key, Some(cell));
    }

    fn delete(&mut self, who: usize, key: Key) {
        let is_own = self.active[who].writes.contains_key(&key);
        let has_child = |id| self.read(who, (Table::Child, id), false).is_some_and(|cell| cell.link == key.1);
        let is_held = key.0 == Table::Parent && (0..crate::isolation::script::ROWS).any(has_child);
        if !is_own && !is_held && self.read(who, key, false).is_some() {
            self.write(who, key, None);
        }
    }

    fn write(&mut self, who: usize, key: Key, seen: Seen) {
        self.active[who].writes.insert(key, seen);
        self.active[who].txn.ops.push(Op::Write(key, seen));
    }

    fn read(&self, who: usize, key: Key, scanned: bool) -> Seen {
        let active = &self.active[who];
        if let Some(own) = active.writes.get(&key).filter(|_| self.flaw != Flaw::OwnWritesAreHidden) {
            return *own;
        }
        let others = || self.active.iter().filter(|other| other.session != active.session);
        let uncommitted = others().find_map(|other| other.writes.get(&key).copied());
        let at = match self.flaw {
            Flaw::ReadsUncommitted if uncommitted.is_some() => return uncommitted.flatten(),
            Flaw::OneSnapshotEachRead => self.last,
            Flaw::OneSnapshotEachScan if scanned => self.last,
            Flaw::RowsBecomeVisibleApart if (key.1 as u64 ^ active.session) & 1 == 0 => {
                active.snapshot.saturating_sub(6)
            }
            _ => active.snapshot,
        };
        self.at(key, at)
    }

    fn at(&self, key: Key, lsn: u64) -> Seen {
        let versions = self.versions.get(&key)?;
        let place = versions.partition_point(|(at, _)| *at <= lsn);
        versions[..place].last()?.1
    }

    fn newest(&self, key: Key) -> u64 {
        self.versions.get(&key).and_then(|versions| versions.last()).map_or(0, |(lsn, _)| *lsn)
    }

    fn end(&mut self, who: usize) {
        let session = self.active[who].session;
        let next = self.begin(session);
        let mut active = std::mem::replace(&mut self.active[who], next);
        if active.script.commits && !active.writes.is_empty() && self.is_valid(&active) {
            self.last += 1;
            active.txn.outcome = Outcome::Committed(self.last);
            for (key, seen) in &active.writes {
                let versions = self.versions.entry(*key).or_default();
                if self.flaw == Flaw::ReadsIntermediate {
                    versions.extend(first_write(&active.txn, *key).map(|seen| (self.last, seen)));
                } else {
                    versions.push((self.last, *seen));
                }
            }
        }
        self.active[who].txn.floor = self.last;
        self.active[who].snapshot = self.begin(session).snapshot;
        self.history.push(active.txn);
    }

    fn is_valid(&self, active: &Active) -> bool {
        let is_newer = |key: &Key| self.newest(*key) > active.snapshot;
        let wins = self.flaw == Flaw::LastCommitterWins || !active.writes.keys().any(is_newer);
        let is_read = |op: &Op| match op {
            Op::Read(key, _) => is_newer(key),
            Op::Scan(table, range, _) => range.clone().any(|id| is_newer(&(*table, id))),
            Op::Write(..) => false,
        };
        let lenient = !active.txn.serializable || self.flaw == Flaw::ReadsAreNotValidated;
        let has_family = |(key, seen): (&Key, &Seen)| match (key.0, seen) {
            (Table::Child, Some(cell)) => self.after(active, (Table::Parent, cell.link)).is_some(),
            (Table::Parent, None) => (0..crate::isolation::script::ROWS)
                .all(|id| self.after(active, (Table::Child, id)).is_none_or(|cell| cell.link != key.1)),
            _ => true,
        };
        let families = self.flaw == Flaw::ParentsAreNotValidated || active.writes.iter().all(has_family);
        wins && families && (lenient || !active.txn.ops.iter().any(is_read))
    }

    /// What a row is once a transaction has committed.
    fn after(&self, active: &Active, key: Key) -> Seen {
        active.writes.get(&key).copied().unwrap_or_else(|| self.at(key, self.last))
    }
}

fn first_write(txn: &Txn, key: Key) -> Option<Seen> {
    txn.ops.iter().find_map(|op| match op {
        Op::Write(written, seen) if *written == key => Some(*seen),
        _ => None,
    })
}
