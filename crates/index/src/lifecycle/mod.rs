//! The states of an index, and all indexes of a database.
//!
//! ```text
//!             backfill begins          is complete
//!   empty ------------------> backfilling ------> ready --------+
//!                                  ^                |            | a change could not be taken in,
//!                                  |                v            | or its files are damaged
//!                                  +-------------- failed <------+
//!   any of them -- DROP --> dropping
//! ```
//!
//! Only what is ready is asked, and only by readers at or after `since`; everybody else compares all rows. A failed index
//! is built anew from the rows.

mod jobs;
mod registry;
#[cfg(test)]
mod suite;

pub use jobs::{Job, JobKind, Working};
pub use registry::Indexes;

use nodedb_base::{Incarnation, Lsn, Result, RowId};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A change of a column that an index covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change<'v> {
    /// The row.
    pub row: RowId,
    /// The commit that set the column, or that removed the row.
    pub version: Lsn,
    /// The covered columns' bytes in the row codec, `None` where one is NULL; nothing at all if the row is gone.
    pub values: &'v [Option<&'v [u8]>],
}

/// A kind of index, as its lifecycle sees it.
pub trait Kind: fmt::Debug + Send + Sync {
    /// Takes a change in. Doing it twice changes nothing.
    ///
    /// # Errors
    /// The index does not hold what it should any more, and must be built anew.
    fn apply(&self, change: Change<'_>) -> Result<()>;

    /// Makes everything up to a commit durable.
    ///
    /// # Errors
    /// `Io`; `Limit` (53000) if a later commit is in a part that is written already: with that one seen it can be asked
    /// again. What the last one made durable stays.
    fn checkpoint(&self, upper: Lsn) -> Result<()>;

    /// Nobody reads the time before this any more.
    fn raise_since(&self, since: Lsn);

    /// All rows of a table are in: there is no more to wait for before what is there is made quick.
    ///
    /// # Errors
    /// `Io`.
    fn filled(&self) -> Result<()>;

    /// Does a piece of background work; `false` if there is none.
    ///
    /// # Errors
    /// As [`Kind::apply`].
    fn work(&self) -> Result<bool>;

    /// How much memory it may take.
    fn set_budget(&self, bytes: u64);

    /// How many rows it holds, and how many bytes they take in memory and on disk.
    fn size(&self) -> Size;

    /// How many rows it holds, superseded ones included, without waiting for anybody.
    fn entries(&self) -> usize {
        self.size().entries
    }

    /// The rows that it holds as of a commit, ascending.
    ///
    /// # Errors
    /// `Damaged` if a file is.
    fn rows(&self, at: Lsn) -> Result<Vec<RowId>>;

    /// Whether it holds a row with such values, as [`Change`] has them.
    fn holds(&self, values: &[Option<&[u8]>]) -> bool;

    /// Whether it has more to build than so many entries, so that writers should wait.
    fn is_behind(&self, most: usize) -> bool {
        self.size().tail > most
    }

    /// As what can be asked for nearest neighbours.
    fn as_nearest(&self) -> Option<&dyn crate::Nearest> {
        None
    }

    /// As what can be asked for the rows that match a text query.
    fn as_matches(&self) -> Option<&dyn crate::Matches> {
        None
    }
}

/// How large an index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Entries, superseded ones included.
    pub entries: usize,
    /// Of these, those that no graph holds yet and that are compared one by one.
    pub tail: usize,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes of files.
    pub files: usize,
    /// How many parts it has.
    pub parts: Parts,
    /// Where what it has found was.
    pub answers: Answers,
}

/// For EXPLAIN: what a search goes through.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.building + self.parts.sealed;
        write!(f, "{parts} part{}, {} in the tail", if parts == 1 { "" } else { "s" }, self.tail)
    }
}

/// Parts of an index, by what they are doing and by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Full ones that are being built, or wait for it.
    pub building: usize,
    /// Ones that never change any more.
    pub sealed: usize,
    /// Of these, ones all of which is in memory.
    pub in_memory: usize,
    /// Of these, ones of which only the codes and the graph are.
    pub with_codes: usize,
    /// Of these, ones that are asked in their mapped files.
    pub mapped: usize,
}

/// Rows that searches have found since the index was opened, by the state of the part that they were in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// In what is taking in.
    pub growing: u64,
    /// In full parts that were being built.
    pub building: u64,
    /// In parts that never change any more.
    pub sealed: u64,
}

/// What an index is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing has begun.
    #[default]
    Empty,
    /// The rows of the table are being read.
    Backfilling,
    /// It can be asked.
    Ready,
    /// It does not hold what it should, and is built anew.
    Failed,
    /// It goes.
    Dropping,
}

impl State {
    /// Its name in system views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Backfilling => "backfilling",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Dropping => "dropping",
        }
    }
}

/// What is known of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// It answers as of this commit and later ones.
    pub since: Lsn,
    /// Why it has failed.
    pub why: Option<String>,
}

/// Says which rows an index holds that does not hold all.
pub trait Predicate: fmt::Debug + Send + Sync {
    /// Whether a row with these values, as [`Change`] has them, is to be held.
    ///
    /// # Errors
    /// `Damaged` if they are none of their columns'.
    fn admits(&self, values: &[Option<&[u8]>]) -> Result<bool>;
}

/// What an index is told of.
#[derive(Debug)]
pub struct Subject {
    /// The columns that it covers, then those that its predicate is about.
    pub columns: Vec<u16>,
    /// How many of them it covers.
    pub covered: usize,
    /// Which rows it holds; all if there is none.
    pub predicate: Option<Box<dyn Predicate>>,
}

impl Subject {
    /// The values that the index holds of a row with these: those of the columns that it covers, or none at all.
    fn held<'v>(&self, values: &'v [Option<&'v [u8]>]) -> Result<&'v [Option<&'v [u8]>]> {
        let (covered, others) = values.split_at_checked(self.covered).unwrap_or((values, &[]));
        match &self.predicate {
            Some(predicate) if !values.is_empty() && !predicate.admits(others)? => Ok(&[]),
            _ => Ok(covered),
        }
    }
}

/// Told when an index has failed.
#[derive(Clone)]
pub struct Alarm(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm")
    }
}

/// An index of a table.
#[derive(Debug)]
pub struct Index {
    /// Names it for ever.
    pub id: Incarnation,
    /// Its name in SQL.
    pub name: String,
    kind: Box<dyn Kind>,
    subject: Subject,
    alarm: Alarm,
    status: Mutex<Status>,
    /// What its files hold.
    durable: AtomicU64,
    /// Bytes that were taken in since they were written.
    pending: AtomicU64,
    desk: jobs::Desk,
    /// How often rows were compared one by one in its place.
    scans: AtomicU64,
}

impl Index {
    /// One that holds nothing yet, or what its files hold up to `durable`.
    #[must_use]
    pub fn new(
        (id, name): (Incarnation, String),
        (kind, subject): (Box<dyn Kind>, Subject),
        durable: Lsn,
        alarm: Alarm,
    ) -> Self {
        let (status, pending, desk, scans) = Default::default();
        Self { id, name, kind, subject, alarm, status, durable: AtomicU64::new(durable.0), pending, desk, scans }
    }

    /// The columns whose changes it is told of.
    #[must_use]
    pub fn columns(&self) -> &[u16] {
        &self.subject.columns
    }

    /// Whether it holds a row with such values, as [`Change`] has them.
    ///
    /// # Errors
    /// Those of its predicate.
    pub fn holds(&self, values: &[Option<&[u8]>]) -> Result<bool> {
        Ok(self.kind.holds(self.subject.held(values)?))
    }

    /// Work that has begun, and ends when what comes back is dropped; `total` rows, if that is known.
    pub fn begin(&self, kind: JobKind, began: i64, total: u64) -> Working<'_> {
        Working { desk: &self.desk, outer: self.desk.put(Some(Job { kind, began, done: 0, total })) }
    }

    /// So many rows of what is being done are done.
    pub fn advance(&self, done: u64) {
        self.desk.advance(done);
    }

    /// What is being done.
    #[must_use]
    pub fn job(&self) -> Option<Job> {
        self.desk.job()
    }

    /// Rows are compared one by one, since it cannot tell.
    pub fn note_scan(&self) {
        self.scans.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was.
    #[must_use]
    pub fn scans(&self) -> u64 {
        self.scans.load(Ordering::Relaxed)
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &dyn Kind {
        &*self.kind
    }

    /// What is known of it.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// The rows of the table are being read.
    pub fn begin_backfill(&self) {
        self.status.lock().state = State::Backfilling;
    }

    /// It holds everything since a commit.
    pub fn become_ready(&self, since: Lsn) {
        let mut status = self.status.lock();
        if status.state != State::Dropping {
            *status = Status { state: State::Ready, since, why: None };
        }
    }

    /// It does not hold what it should.
    pub fn fail(&self, why: &nodedb_base::Error) {
        let mut status = self.status.lock();
        if status.state != State::Dropping {
            tracing::error!(index = %self.name, %why, "an index has failed");
            *status = Status { state: State::Failed, since: Lsn::MAX, why: Some(why.to_string()) };
            drop(status);
            (self.alarm.0)();
        }
    }

    /// A question had no answer. If that is the index's fault, it has failed.
    pub fn note(&self, why: &nodedb_base::Error) {
        if !matches!(why, nodedb_base::Error::Statement(_)) {
            self.fail(why);
        }
    }

    /// Whether it can be asked.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status.lock().state == State::Ready
    }

    /// Whether it is to go, so that no more work is worth while.
    #[must_use]
    pub fn is_dropping(&self) -> bool {
        self.status.lock().state == State::Dropping
    }

    /// It goes.
    pub fn drop_it(&self) {
        self.status.lock().state = State::Dropping;
    }

    /// Whether a reader as of a commit may ask it.
    #[must_use]
    pub fn serves(&self, at: Lsn) -> bool {
        let status = self.status.lock();
        status.state == State::Ready && status.since <= at
    }

    /// Takes a change in; a failure makes it [`State::Failed`], and is no failure of whoever commits.
    pub fn apply(&self, change: Change<'_>) {
        let bytes = 16 + change.values.iter().flatten().map(|value| value.len()).sum::<usize>();
        self.pending.fetch_add(bytes as u64, Ordering::Relaxed);
        let held = self.subject.held(change.values);
        if let Err(why) = held.and_then(|values| self.kind.apply(Change { values, ..change })) {
            self.fail(&why);
        }
    }

    /// Bytes that were taken in since the last checkpoint.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Up to which commit its files hold everything.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Makes what it holds durable; it must hold everything up to `upper`.
    ///
    /// # Errors
    /// `Io`.
    pub fn checkpoint(&self, upper: Lsn) -> Result<()> {
        let taken = self.pending.load(Ordering::Relaxed);
        self.kind.checkpoint(upper)?;
        self.durable.fetch_max(upper.0, Ordering::AcqRel);
        self.pending.fetch_sub(taken, Ordering::Relaxed);
        Ok(())
    }
}
