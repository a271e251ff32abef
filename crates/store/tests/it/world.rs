//! What the tests of a bad disk work with: scripts of commits, alone and in groups, and the state that they lead to.

use nodedb_base::{Error, Incarnation, Lsn, Result, RowId, Type, Value};
use nodedb_env::{Clock, Env, Files, ManualClock, SeededRandom};
use nodedb_store::row::{Field, encode};
use nodedb_store::{OldRow, Store, StoreOptions, Transaction, TransactionOptions, TreesKind};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub const TABLE: Incarnation = Incarnation(20_000);
pub const DIR: &str = "/data";

/// The bytes of all rows.
pub type State = BTreeMap<u64, Vec<u8>>;
/// What one commit does: rows that get a text, rows that go.
type Ops = Vec<(u64, Option<String>)>;

pub fn options() -> StoreOptions {
    StoreOptions { segment_bytes: 16 << 10, ..StoreOptions::default() }
}

pub struct World(Env);

impl World {
    pub fn new(files: &(impl Files + Clone + 'static)) -> Self {
        let (clock, random) = (Arc::new(GroupingClock::default()), Arc::new(SeededRandom::new(1)));
        Self(Env { files: Arc::new(files.clone()), clock, random, ..Env::memory() })
    }

    pub fn open(&self) -> Result<Store> {
        Store::open_with(self.0.clone(), Path::new(DIR), TreesKind::Rebuilt, options())
    }
}

type Commit = Pin<Box<dyn Future<Output = Result<Lsn>> + Send>>;

/// The leader of a group asks for the time just before it writes. Commits that are put in then form the next group:
/// so that groups come about in one thread, and always the same.
#[derive(Default)]
struct GroupingClock {
    time: ManualClock,
}

thread_local! {
    /// Commits that wait to be put in, and those that were.
    static NEXT: RefCell<(Vec<Commit>, Vec<Commit>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Clock for GroupingClock {
    fn now(&self) -> i64 {
        self.time.advance(Duration::from_millis(3));
        for mut commit in NEXT.with_borrow_mut(|(next, _)| std::mem::take(next)) {
            let polled = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "somebody leads, so it must wait");
            NEXT.with_borrow_mut(|(_, started)| started.push(commit));
        }
        self.time.now()
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }
}

/// What was done, and what became of it.
#[derive(Default, Debug)]
pub struct History {
    before: (State, usize),
    pub acknowledged: Vec<Ops>,
    /// Tried last, in this order, and not acknowledged.
    pub unsure: Vec<Ops>,
    pub failures: Vec<Error>,
    pub commit_failures: Vec<Error>,
    /// Whether a commit succeeded after another had failed.
    pub went_on: bool,
}

impl History {
    pub fn starting_from(state: State, last: usize) -> Self {
        Self { before: (state, last), ..Self::default() }
    }

    /// The state after this many commits.
    pub fn state_at(&self, last: usize) -> State {
        let (mut state, before) = self.before.clone();
        for ops in self.acknowledged.iter().chain(&self.unsure).take(last - before) {
            apply(&mut state, ops);
        }
        state
    }

    /// Runs a script until something fails.
    pub fn run(&mut self, store: &Store, seed: u64, steps: u64) {
        self.script(store, seed, steps, true);
    }

    /// Runs a script to its end, whatever fails.
    pub fn run_through(&mut self, store: &Store, seed: u64, steps: u64) {
        self.script(store, seed, steps, false);
    }

    fn script(&mut self, store: &Store, seed: u64, steps: u64, stop: bool) {
        let random = SeededRandom::new(seed);
        for step in 0..steps {
            if stop && !self.failures.is_empty() {
                return;
            }
            match random.below(8) {
                0 => self.failures.extend(store.checkpoint().err()),
                1..5 => self.group(store, &[self.ops(&random, step, 0)]),
                _ => {
                    let members = 2 + random.below(5);
                    let group: Vec<_> = (0..members).map(|member| self.ops(&random, step, member)).collect();
                    self.group(store, &group);
                }
            }
        }
    }

    /// A commit of one of eight sessions. Sessions write rows of their own, so that they do not disturb each other.
    fn ops(&self, random: &SeededRandom, step: u64, session: u64) -> Ops {
        let state = self.state_at(self.before.1 + self.acknowledged.len());
        let rows = 1 + random.below(4);
        let op = |n: u64| {
            let row = session * 100 + n * 10 + random.below(10);
            let length = random.below(900) as usize;
            let gone = state.contains_key(&row) && random.below(4) == 0;
            (row, (!gone).then(|| format!("{step}-{session}-{n}-{}", "x".repeat(length))))
        };
        (0..rows).map(op).collect()
    }

    /// Commits the first alone, and all others as the group behind it.
    fn group(&mut self, store: &Store, group: &[Ops]) {
        let Some(first) = group.first() else { return };
        let rest = group.iter().skip(1).map(|ops| Box::pin(write(store, ops).commit_async()) as Commit).collect();
        NEXT.set((rest, Vec::new()));
        let mut outcomes = vec![write(store, first).commit()];
        let (never, started) = NEXT.take();
        for mut commit in started.into_iter().chain(never) {
            match commit.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => outcomes.push(outcome),
                Poll::Pending => panic!("a commit without an answer"),
            }
        }
        let rest = outcomes.split_off(1);
        self.note_group(group, outcomes);
        self.note_group(group.get(1..).unwrap_or_default(), rest);
    }

    /// What failed before is surely not written if the log took, or tried, another group after it.
    fn note_group(&mut self, group: &[Ops], outcomes: Vec<Result<Lsn>>) {
        if outcomes.iter().any(|outcome| !matches!(outcome, Err(Error::Closed(_)))) {
            self.unsure.clear();
        }
        group.iter().zip(outcomes).for_each(|(ops, outcome)| self.note(ops, outcome));
    }

    fn note(&mut self, ops: &Ops, outcome: Result<Lsn>) {
        match outcome {
            Ok(lsn) => {
                self.went_on |= !self.commit_failures.is_empty();
                self.acknowledged.push(ops.clone());
                assert_eq!(lsn.0 as usize, self.before.1 + self.acknowledged.len());
            }
            Err(e) => {
                self.unsure.push(ops.clone());
                self.failures.push(e.clone());
                self.commit_failures.push(e);
            }
        }
    }
}

fn encoded(text: &str) -> nodedb_store::row::Encoded {
    encode(&[Type::Text], &[Field::Set(&Value::from(text))], None).unwrap()
}

fn apply(state: &mut State, ops: &Ops) {
    for (row, text) in ops {
        match text {
            Some(text) => state.insert(*row, encoded(text).row),
            None => state.remove(row),
        };
    }
}

fn write(store: &Store, ops: &Ops) -> Transaction {
    let mut tx = store.begin(TransactionOptions::default()).unwrap();
    for (row, text) in ops {
        let (row, there) = (RowId(*row), tx.view().row(TABLE, RowId(*row)).unwrap().is_some());
        match text {
            Some(text) if there => tx.update(TABLE, row, OldRow::default(), encoded(text), vec![]).unwrap(),
            Some(text) => tx.insert(TABLE, row, encoded(text), vec![]).unwrap(),
            None if there => tx.delete(TABLE, row, OldRow::default()).unwrap(),
            None => {}
        }
    }
    tx
}

pub fn state(store: &Store) -> State {
    let tx = store.begin(TransactionOptions::default()).unwrap();
    let rows = tx.view().rows(TABLE, RowId(0), RowId(u64::MAX), false).unwrap();
    rows.map(|row| row.map(|row| (row.id.0, row.bytes.to_vec())).unwrap()).collect()
}
