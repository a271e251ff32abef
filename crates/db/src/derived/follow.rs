//! What a commit means to derived indexes.

use super::{Message, Signals};
use crate::options::Options;
use nodedb_base::{Batch, CommitObserver, Error, Incarnation, Lsn, Result, RowChange, RowOp, Type};
use nodedb_index::{Change, Index, Indexes};
use nodedb_store::catalog::{DerivedIndex, Table};
use nodedb_store::row::{Cell, Cells};
use nodedb_store::{Row, keys};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

/// Bytes of commits before the thread is told to look whether there is anything to do, at most.
const LOOK_BYTES: u64 = 1 << 20;
/// Full parts that wait to be built before writers are held back.
const MOST_UNBUILT: usize = 4;

/// Hands what commits change to the indexes that follow it. The committer calls it, one commit after the other.
pub(super) struct Follower {
    indexes: Arc<Indexes>,
    messages: Sender<Message>,
    signals: Arc<Signals>,
    /// Tables that have derived indexes, by the lives of their rows.
    tables: Mutex<HashMap<Incarnation, Arc<Table>>>,
    /// Entries of an index that no graph holds before writers are held back.
    most_unbuilt: usize,
    look_bytes: u64,
    taken: AtomicU64,
    logged: AtomicU64,
    is_told: AtomicBool,
}

impl Follower {
    pub fn new(indexes: Arc<Indexes>, messages: Sender<Message>, signals: Arc<Signals>, options: &Options) -> Self {
        let (tables, taken, logged, is_told) = Default::default();
        let most_unbuilt = options.vector_seal_threshold.saturating_mul(MOST_UNBUILT);
        let look_bytes = LOOK_BYTES.min(options.index_checkpoint_bytes / 4);
        Self { indexes, messages, signals, tables, most_unbuilt, look_bytes, taken, logged, is_told }
    }

    /// Holds writers back, or lets them go on.
    pub fn look_for_room(&self) {
        let is_behind = |index: &Arc<Index>| index.is_ready() && index.kind().size().tail > self.most_unbuilt;
        let crowded = self.indexes.all().iter().any(is_behind);
        let stopping = self.signals.stopping.load(Ordering::Acquire);
        self.signals.crowded.send_replace(crowded && !stopping);
    }

    /// Bytes of commits since all indexes were made durable, about.
    pub fn logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    pub fn forget_logged(&self) {
        self.logged.store(0, Ordering::Relaxed);
    }

    /// A table that was there when the database was opened.
    pub fn know(&self, table: &Arc<Table>) {
        if !table.derived.is_empty() {
            self.tables.lock().insert(table.incarnation, table.clone());
        }
    }

    /// Whether an index of these rows is still wanted.
    pub fn still_has(&self, table: &Table, index: Incarnation) -> bool {
        let tables = self.tables.lock();
        tables.get(&table.incarnation).is_some_and(|known| known.derived.iter().any(|other| other.id == index))
    }

    pub fn ask_to_fill(&self, table: u32, index: Incarnation) {
        self.signals.filling.send_modify(|filling| *filling += 1);
        if !self.tell(Message::Build { table, index }) {
            self.signals.filling.send_modify(|filling| *filling = filling.saturating_sub(1));
        }
    }

    /// The thread looks now; it wants to be told of what comes.
    pub fn hear_again(&self) {
        self.is_told.store(false, Ordering::Release);
    }

    /// Whether there is anybody to hear it.
    fn tell(&self, message: Message) -> bool {
        self.messages.send(message).is_ok()
    }

    fn define(&self, id: u32, new: Option<Table>) {
        let new = new.filter(|table| !table.derived.is_empty()).map(Arc::new);
        let old = {
            let mut tables = self.tables.lock();
            let old = tables.values().find(|table| table.id == id).cloned();
            if let Some(old) = &old {
                tables.remove(&old.incarnation);
            }
            if let Some(new) = &new {
                tables.insert(new.incarnation, new.clone());
            }
            old
        };
        let has = |table: &Option<Arc<Table>>, life: Incarnation, index: &DerivedIndex| {
            table.as_ref().is_some_and(|table| table.incarnation == life && table.derived.contains(index))
        };
        for table in old.iter() {
            for index in table.derived.iter().filter(|index| !has(&new, table.incarnation, index)) {
                self.indexes.remove(index.id);
                self.tell(Message::Forget { rows: table.incarnation, index: index.id });
            }
        }
        for table in new.iter() {
            for index in table.derived.iter().filter(|index| !has(&old, table.incarnation, index)) {
                self.ask_to_fill(id, index.id);
            }
        }
    }

    fn follow_rows(&self, lsn: Lsn, batch: &Batch, table: &Table) {
        for followed in self.indexes.following(table.incarnation) {
            // One that has failed is filled from the rows; what comes until then is among them.
            if !followed.index.is_ready() {
                continue;
            }
            let handed = catch_unwind(AssertUnwindSafe(|| {
                each_change(batch, lsn, table, followed.column, &mut |change| followed.index.apply(change))
            }));
            match handed {
                Ok(Ok(())) => {}
                Ok(Err(why)) => followed.index.fail(&why),
                Err(_) => followed.index.fail(&Error::internal("a change made an index panic")),
            }
        }
    }

    /// Tells the thread from time to time that there may be something to do.
    fn count(&self, batch: &Batch) {
        let large = |change: &RowChange| -> usize {
            change.large.iter().filter_map(|large| large.value.as_ref()).map(Vec::len).sum()
        };
        let bytes: usize = batch.rows.iter().map(|change| 64 + change.new.len() + large(change)).sum();
        self.logged.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.taken.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 > self.look_bytes {
            self.taken.store(0, Ordering::Relaxed);
            self.look_for_room();
            if !self.is_told.swap(true, Ordering::AcqRel) {
                self.tell(Message::Work);
            }
        }
    }
}

impl CommitObserver for Follower {
    fn committed(&self, lsn: Lsn, batch: &Batch) {
        for change in batch.catalog.iter().filter(|change| change.key.starts_with(keys::TABLES)) {
            let Some(id) = change.key.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) else { continue };
            // The store has read the same definition already.
            self.define(id, change.value.as_deref().and_then(|value| Table::decode(value).ok()));
        }
        let followed: Vec<Arc<Table>> = {
            let tables = self.tables.lock();
            if tables.is_empty() {
                return;
            }
            let lives: BTreeSet<Incarnation> = batch.rows.iter().map(|change| change.incarnation).collect();
            lives.iter().filter_map(|life| tables.get(life).cloned()).collect()
        };
        followed.iter().for_each(|table| self.follow_rows(lsn, batch, table));
        self.count(batch);
    }
}

/// Calls `f` with what a commit has changed in a column.
///
/// # Errors
/// `Damaged` if a row is none of its table's.
pub(super) fn each_change(
    batch: &Batch,
    lsn: Lsn,
    table: &Table,
    column: u16,
    f: &mut dyn FnMut(Change<'_>),
) -> Result<()> {
    let types = table.types();
    for change in batch.rows.iter().filter(|change| change.incarnation == table.incarnation) {
        let gone = Change { row: change.row, version: lsn, value: None };
        match change.op {
            RowOp::Index => {}
            RowOp::Delete => f(gone),
            RowOp::Insert | RowOp::Update => match cell_of(&types, &change.new, lsn, column)? {
                Cell::Null if change.op == RowOp::Update => f(gone),
                Cell::Inline(value, version) if version == lsn => f(Change { value: Some(value), ..gone }),
                Cell::Large(_, version) if version == lsn => {
                    f(Change { value: large_of(change, column), ..gone });
                }
                Cell::Null | Cell::Inline(..) | Cell::Large(..) => {}
            },
        }
    }
    Ok(())
}

fn large_of(change: &RowChange, column: u16) -> Option<&[u8]> {
    change.large.iter().find(|large| large.column == column)?.value.as_deref()
}

fn cell_of<'r>(types: &'r [Type], row: &'r [u8], lsn: Lsn, column: u16) -> Result<Cell<'r>> {
    let mut cells = Cells::new(types, row, lsn)?;
    for _ in 0..column {
        cells.take()?;
    }
    cells.take()
}

/// The bytes of a row's column, and the commit that set it; `None` if it is NULL.
///
/// # Errors
/// `Damaged` if the row is none of its table's.
pub(super) fn column_of(
    types: &[Type],
    row: &Row,
    column: u16,
    large: impl Fn(u16) -> Result<Vec<u8>>,
) -> Result<Option<(Vec<u8>, Lsn)>> {
    Ok(match cell_of(types, &row.bytes, row.lsn, column)? {
        Cell::Null => None,
        Cell::Inline(value, version) => Some((value.to_vec(), version)),
        Cell::Large(_, version) => Some((large(column)?, version)),
    })
}
