//! The one write path: validate, append to the log, sync, apply, publish.
//!
//! Commits that arrive while another is being synced wait in a queue; whoever finds nobody leading leads: it
//! takes all that wait as one group, which shares one write and one sync, until the queue is empty.
//!
//! ```text
//!  submit -> queue -> [ validate -> log.append (write, sync) -> trees -> publish ] -> tickets
//!                      `-------------- the leader, holding `state` -------------'
//! ```
//!
//! Locks, in the order in which they may be taken: `state` (the log and what commits are validated against,
//! held for a whole group; a checkpoint takes it to seal the memtables between two groups), then `queue`, then
//! those of snapshots and tickets, each held for moments.
//!
//! A log that fails poisons the store: what was being written may or may not be there after a reopening, and
//! nobody can tell before.

mod ticket;
mod validate;

pub use validate::{ParentKey, Requirement, duplicate_in, duplicate_key};

use crate::catalog::{Catalog, Table};
use crate::kv::{TreeId as Tree, Trees};
use crate::log::{CommitLog, FileLog};
use crate::read_set::{Range, RecentWrites, Watch};
use crate::row_ids::RowIds;
use crate::snapshot::{Snapshot, Snapshots};
use crate::write_set::WriteSet;
use crate::{StoreOptions, keys};
use nodedb_base::{Batch, CommitObserver, Error, Incarnation, Lsn, Result, RowId, RowOp, StoredRows};
use nodedb_env::Clock;
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use ticket::{Ticket, Turn};
use validate::Validator;

/// A transaction that wants to commit.
#[derive(Debug, Default)]
pub struct Request {
    /// What it has seen.
    pub snapshot: Lsn,
    /// Keeps what is validated against from being compacted away meanwhile.
    pub pin: Option<Arc<Snapshot>>,
    /// What it changes.
    pub batch: Batch,
    /// What must hold of the newest state, beside what the batch itself says.
    pub requires: Vec<Requirement>,
    /// Lives of tables whose rows may not have changed since the snapshot.
    pub quiet: Vec<Incarnation>,
    /// What a serializable transaction has read.
    pub reads: Option<(Vec<Range>, Watch)>,
}

/// The committer of a store.
pub struct Committer {
    queue: Mutex<Queue>,
    state: Mutex<State>,
    room: Condvar,
    trees: Arc<Trees>,
    snapshots: Arc<Snapshots>,
    row_ids: Arc<RowIds>,
    recent: Arc<RecentWrites>,
    catalog: RwLock<Arc<Catalog>>,
    clock: Arc<dyn Clock>,
    poison: OnceLock<Error>,
    flush_wanted: OnceLock<Box<dyn Fn() + Send + Sync>>,
    observer: OnceLock<Arc<dyn CommitObserver>>,
    group_commits: usize,
    memtable_limit: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    led: bool,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    payload: Vec<u8>,
    ticket: Ticket,
}

/// Whoever waits for a commit. If it goes away when it should lead, it leads first.
struct Holder<'a> {
    ticket: Ticket,
    committer: &'a Committer,
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        if self.ticket.abandon() {
            self.committer.lead();
        }
    }
}

/// A commit that is dropped unanswered, as when the leader panics, still answers.
impl Drop for Waiting {
    fn drop(&mut self) {
        self.ticket.done(Err(Error::closed("57P02", "the outcome of the commit is unknown: the committer failed")));
    }
}

/// Poisons the store if the leader panics, and answers those who wait.
struct LeadGuard<'a>(&'a Committer);

impl Drop for LeadGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(Error::internal("a commit panicked"));
            let waiting = {
                let mut queue = self.0.queue.lock();
                queue.led = false;
                std::mem::take(&mut queue.waiting)
            };
            // Each of them answers as it goes, which may wake somebody who wants the queue.
            drop(waiting);
        }
    }
}

/// What one group of commits works on.
pub struct State {
    /// The log; `None` once it is closed.
    pub(crate) log: Option<FileLog>,
    /// When each life's rows last changed, since the store was opened.
    pub(crate) rows_changed: HashMap<Incarnation, Lsn>,
    /// When the definition behind each life, of rows or of an index, last changed, since the store was opened.
    pub(crate) defined: HashMap<Incarnation, Lsn>,
    last: Lsn,
    time: i64,
}

/// After so many groups a leader passes the lead on, so that its own caller gets its answer.
const MAX_GROUPS_LED: usize = 32;

/// The rows around a commit that has just been applied.
struct Committed<'c> {
    trees: &'c Trees,
    lsn: Lsn,
}

impl StoredRows for Committed<'_> {
    fn before(&self, incarnation: Incarnation, row: RowId) -> Result<Option<(Lsn, Vec<u8>)>> {
        let found = self.trees.get(Tree::Rows, &keys::row(incarnation, row), Lsn(self.lsn.0.saturating_sub(1)))?;
        Ok(found.map(|(lsn, bytes)| (lsn, bytes.to_vec())))
    }

    fn large(&self, incarnation: Incarnation, row: RowId, column: u16) -> Result<Option<Vec<u8>>> {
        let found = self.trees.get(Tree::Large, &keys::large(incarnation, row, column), self.lsn)?;
        Ok(found.map(|(_, bytes)| bytes.to_vec()))
    }
}

impl Committer {
    /// A committer that goes on behind the last commit of `log`.
    pub(crate) fn new(
        (log, time): (FileLog, i64),
        trees: Arc<Trees>,
        snapshots: Arc<Snapshots>,
        row_ids: Arc<RowIds>,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        options: &StoreOptions,
    ) -> Self {
        let (rows_changed, defined) = (HashMap::new(), HashMap::new());
        let last = log.last();
        let state = State { log: Some(log), rows_changed, defined, last, time };
        Self {
            queue: Mutex::default(),
            state: Mutex::new(state),
            room: Condvar::new(),
            trees,
            snapshots,
            row_ids,
            recent: Arc::default(),
            catalog: RwLock::new(Arc::new(catalog)),
            clock,
            poison: OnceLock::new(),
            flush_wanted: OnceLock::new(),
            observer: OnceLock::new(),
            group_commits: options.group_commits.max(1),
            memtable_limit: options.memtable_bytes.saturating_mul(2),
        }
    }

    /// The newest definitions.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().clone()
    }

    /// What recent commits have written, for serializable transactions.
    pub const fn recent(&self) -> &Arc<RecentWrites> {
        &self.recent
    }

    /// Holds back all commits while the guard lives.
    pub fn between_groups(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// From now on no commit succeeds. The first reason stays. Whoever is not the leader calls
    /// [`Committer::notify_room`] after it, since the leader may be waiting for a flush that will never come.
    pub fn poison(&self, why: Error) {
        if let Err(why) = self.poison.set(why.clone()) {
            tracing::debug!(reason = %why, "the store is poisoned already");
        } else {
            tracing::error!(reason = %why, "the store is poisoned");
        }
    }

    /// Why no commit succeeds any more.
    pub fn poisoned(&self) -> Option<Error> {
        let why = self.poison.get()?;
        let message = format!("the database does not accept writes any more: {why}");
        Some(Error::closed("57P02", message).with_hint("Close the database, look at the disk, and open it again."))
    }

    /// Whether somebody commits, or is about to.
    pub fn is_led(&self) -> bool {
        self.queue.lock().led
    }

    /// Lets waiting commits look again whether there is room in the memtables.
    pub fn notify_room(&self) {
        // Whoever holds the lock and has looked already is waiting once we have it.
        drop(self.state.lock());
        self.room.notify_all();
    }

    /// Commits and waits for the outcome.
    ///
    /// # Errors
    /// `Retry` and `Constraint` if validation fails; `Io`, after which the outcome is unknown until the store
    /// is reopened; `Closed`.
    pub fn commit(&self, request: Request) -> Result<Lsn> {
        let holder = Holder { ticket: self.submit(request), committer: self };
        loop {
            match holder.ticket.wait() {
                Turn::Done(outcome) => return outcome,
                Turn::Lead => self.lead(),
            }
        }
    }

    /// Commits; whoever polls may find itself leading a group, which blocks for as long as a sync. A future that
    /// is dropped does not take its commit back.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub async fn commit_async(&self, request: Request) -> Result<Lsn> {
        let holder = Holder { ticket: self.submit(request), committer: self };
        loop {
            match holder.ticket.turn().await {
                Turn::Done(outcome) => return outcome,
                Turn::Lead => self.lead(),
            }
        }
    }

    fn submit(&self, request: Request) -> Ticket {
        let payload = request.batch.encode();
        let ticket = Ticket::default();
        let mut queue = self.queue.lock();
        queue.waiting.push_back(Waiting { request, payload, ticket: ticket.clone() });
        if !queue.led {
            queue.led = true;
            ticket.lead();
        }
        ticket
    }

    /// Commits group after group until nobody waits, or somebody else has taken over.
    fn lead(&self) {
        let _guard = LeadGuard(self);
        let mut state = self.state.lock();
        let mut groups = 0;
        loop {
            let group = self.take_group();
            let idle = group.is_empty();
            if idle {
                let written = state.log.as_mut().map_or(Ok(()), FileLog::idle);
                written.unwrap_or_else(|e| self.poison(e));
            } else {
                groups += 1;
                self.commit_group(&mut state, group);
            }
            let mut queue = self.queue.lock();
            if idle && queue.waiting.is_empty() {
                queue.led = false;
                return;
            }
            if groups > MAX_GROUPS_LED && queue.waiting.iter().any(|next| next.ticket.lead()) {
                return;
            }
        }
    }

    fn take_group(&self) -> Vec<Waiting> {
        let mut queue = self.queue.lock();
        let n = queue.waiting.len().min(self.group_commits);
        queue.waiting.drain(..n).collect()
    }

    fn commit_group(&self, state: &mut MutexGuard<'_, State>, group: Vec<Waiting>) {
        if let Err(e) = self.wait_for_room(state) {
            group.into_iter().for_each(|waiting| waiting.ticket.done(Err(e.clone())));
            return;
        }
        let (accepted, payloads) = self.validate_group(state, group);
        if accepted.is_empty() {
            return;
        }
        let outcome = self.append_group(state, &payloads).and_then(|last| {
            // It is in the log. What fails from here on leaves the trees behind the log.
            self.apply_group(state, &accepted, last).inspect_err(|e| self.poison(e.clone()))
        });
        if self.trees.wants_flush() {
            self.ask_for_flush();
        }
        for (lsn, waiting) in accepted {
            waiting.ticket.done(outcome.clone().map(|()| lsn));
        }
    }

    /// Back-pressure: memtables beyond twice their budget wait until they are flushed.
    fn wait_for_room(&self, state: &mut MutexGuard<'_, State>) -> Result<()> {
        loop {
            if let Some(e) = self.poisoned() {
                return Err(e);
            }
            if state.log.is_none() {
                return Err(is_closed());
            }
            if self.trees.memtable_bytes() <= self.memtable_limit {
                return Ok(());
            }
            self.ask_for_flush();
            self.room.wait(state);
        }
    }

    fn validate_group(&self, state: &State, group: Vec<Waiting>) -> (Vec<(Lsn, Waiting)>, Vec<Vec<u8>>) {
        let catalog = self.catalog();
        let mut validator = Validator::new(state, &self.trees, &self.recent, &catalog);
        let (mut accepted, mut payloads) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        let alone = group.len() == 1;
        let mut last = state.last;
        for mut waiting in group {
            match validator.validate(&waiting.request, last) {
                Ok(()) => {
                    last = last.next();
                    if !alone {
                        validator.accept(&waiting.request, last);
                    }
                    payloads.push(std::mem::take(&mut waiting.payload));
                    accepted.push((last, waiting));
                }
                Err(e) => waiting.ticket.done(Err(e)),
            }
        }
        (accepted, payloads)
    }

    /// Makes the group durable. A failure that leaves the log as it was, such as a full disk at a new segment, is
    /// that group's alone.
    fn append_group(&self, state: &mut State, payloads: &[Vec<u8>]) -> Result<Lsn> {
        state.time = self.clock.now().max(state.time);
        let expected = state.last.next();
        let log = state.log.as_mut().ok_or_else(is_closed)?;
        log.append(expected, state.time, payloads).inspect_err(|e| {
            if !log.takes_more() {
                self.poison(e.clone());
            }
        })
    }

    fn apply_group(&self, state: &mut State, group: &[(Lsn, Waiting)], last: Lsn) -> Result<()> {
        for (lsn, waiting) in group {
            let batch = &waiting.request.batch;
            apply(&self.trees, *lsn, batch)?;
            for change in &batch.rows {
                state.rows_changed.insert(change.incarnation, *lsn);
            }
            self.recent.note(*lsn, WriteSet::touched(batch));
            self.row_ids.committed(batch);
            drop_ended(&self.trees, *lsn, batch);
            self.change_catalog(state, *lsn, batch)?;
            if let Some(observer) = self.observer.get() {
                observer.committed(*lsn, batch, &Committed { trees: &self.trees, lsn: *lsn });
            }
        }
        state.last = last;
        self.snapshots.publish(last, state.time);
        Ok(())
    }

    fn change_catalog(&self, state: &mut State, lsn: Lsn, batch: &Batch) -> Result<()> {
        if !batch.catalog.iter().any(|change| Catalog::is_definition(&change.key)) {
            return Ok(());
        }
        let old = self.catalog();
        let changes = batch.catalog.iter().map(|change| (change.key.as_slice(), change.value.as_deref()));
        let new = old.changed(lsn, changes)?;
        for change in batch.catalog.iter().filter(|change| change.key.starts_with(keys::TABLES)) {
            let Some(id) = change.key.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) else { continue };
            for life in defined_lives(&old, id).into_iter().chain(defined_lives(&new, id)) {
                state.defined.insert(life, lsn);
            }
        }
        *self.catalog.write() = Arc::new(new);
        Ok(())
    }

    /// The time of the newest commit.
    pub(crate) fn time(&self) -> i64 {
        self.state.lock().time
    }

    /// Sets whom to tell when memtables should be flushed.
    pub(crate) fn on_flush_wanted(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.flush_wanted.set(Box::new(tell));
    }

    /// Sets who is told of each commit before it can be seen. The first one stays.
    pub fn observe(&self, observer: Arc<dyn CommitObserver>) {
        let _ = self.observer.set(observer);
    }

    fn ask_for_flush(&self) {
        if let Some(tell) = self.flush_wanted.get() {
            tell();
        }
    }

    /// No commit succeeds after this; what was acknowledged stays.
    ///
    /// # Errors
    /// `Io` if the log cannot be closed.
    pub fn close(&self) -> Result<()> {
        let log = self.state.lock().log.take();
        self.room.notify_all();
        log.map_or(Ok(()), FileLog::close)
    }
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").field("poison", &self.poison).finish_non_exhaustive()
    }
}

fn is_closed() -> Error {
    Error::closed("57P03", "the database is closed")
}

/// The lives that a change of a table's definition concerns: its own, and those of the tables that it refers to,
/// since who removes their rows must look for children from now on.
fn defined_lives(catalog: &Catalog, table: u32) -> Vec<Incarnation> {
    let Some(table) = catalog.table_by_id(table) else { return Vec::new() };
    let parents = table.foreign_keys.iter().filter_map(|key| catalog.table_by_id(key.parent));
    parents.chain([table]).flat_map(|table: &Arc<Table>| table.lives()).collect()
}

/// Lets compactions drop the entries of lives that a batch ends.
fn drop_ended(trees: &Trees, lsn: Lsn, batch: &Batch) {
    for change in batch.catalog.iter().filter(|change| change.value.is_some()) {
        if let Some(life) = change.key.strip_prefix(keys::ENDED).and_then(|key| key.first_chunk::<4>()) {
            trees.drop_incarnation(*life, lsn);
        }
    }
}

/// Puts what a batch changes into the trees. The same for a commit and for its replay.
///
/// # Errors
/// Those of the trees.
pub fn apply(trees: &Trees, lsn: Lsn, batch: &Batch) -> Result<()> {
    let mut writes: Vec<(Tree, Vec<u8>, Option<Vec<u8>>)> = Vec::with_capacity(batch.rows.len() * 4);
    for change in &batch.rows {
        for entry in &change.keys_gone {
            writes.push((Tree::Keys, keys::index(entry), None));
        }
    }
    for change in &batch.rows {
        for entry in &change.keys_come {
            let value = if entry.unique { change.row.0.to_be_bytes().to_vec() } else { Vec::new() };
            writes.push((Tree::Keys, keys::index(entry), Some(value)));
        }
        for large in &change.large {
            let key = keys::large(change.incarnation, change.row, large.column);
            writes.push((Tree::Large, key.to_vec(), large.value.clone()));
        }
    }
    // Neighbours are cheap to put one after the other. What goes stays before what comes under the same key.
    writes.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let rows: Vec<_> = batch.rows.iter().map(|change| keys::row(change.incarnation, change.row)).collect();
    let rows = batch.rows.iter().zip(&rows).filter(|(change, _)| change.op != RowOp::Index).map(|(change, key)| {
        let value = (change.op != RowOp::Delete).then_some(change.new.as_slice());
        (Tree::Rows, key.as_slice(), value)
    });
    let catalog = batch.catalog.iter().map(|c| (Tree::Catalog, c.key.as_slice(), c.value.as_deref()));
    let others = writes.iter().map(|(tree, key, value)| (*tree, key.as_slice(), value.as_deref()));
    trees.apply(lsn, others.chain(rows).chain(catalog))
}
