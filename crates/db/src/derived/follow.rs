//! What a commit means to derived indexes.

use super::{Message, Signals};
use crate::options::Options;
use nodedb_base::{Batch, CommitObserver, Error, Incarnation, Lsn, Result, RowChange, RowOp, StoredRows, Type};
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
        let is_behind = |index: &Arc<Index>| index.is_ready() && index.kind().is_behind(self.most_unbuilt);
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

    fn follow_rows(&self, (lsn, batch): (Lsn, &Batch), table: &Table, stored: &dyn StoredRows) {
        for index in self.indexes.following(table.incarnation) {
            // One that has failed is filled from the rows; what comes until then is among them.
            if !index.is_ready() {
                continue;
            }
            let handed = catch_unwind(AssertUnwindSafe(|| {
                each_change((lsn, batch), table, index.columns(), stored, &mut |change| index.apply(change))
            }));
            match handed {
                Ok(Ok(())) => {}
                Ok(Err(why)) => index.fail(&why),
                Err(_) => index.fail(&Error::internal("a change made an index panic")),
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
    fn committed(&self, lsn: Lsn, batch: &Batch, stored: &dyn StoredRows) {
        self.indexes.filters().committed(lsn, batch);
        self.indexes.keys().committed(lsn, batch);
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
        followed.iter().for_each(|table| self.follow_rows((lsn, batch), table, stored));
        self.count(batch);
    }
}

/// Calls `f` with what a commit has changed in some columns.
///
/// # Errors
/// `Damaged` if a row is none of its table's; those of reading.
pub(super) fn each_change(
    (lsn, batch): (Lsn, &Batch),
    table: &Table,
    columns: &[u16],
    stored: &dyn StoredRows,
    f: &mut dyn FnMut(Change<'_>),
) -> Result<()> {
    let types = table.types();
    for change in batch.rows.iter().filter(|change| change.incarnation == table.incarnation) {
        let gone = Change { row: change.row, version: lsn, values: &[] };
        match change.op {
            RowOp::Index => continue,
            RowOp::Delete => {
                f(gone);
                continue;
            }
            RowOp::Insert | RowOp::Update => {}
        }
        let cells = cells_of(&types, &change.new, lsn, columns)?;
        let is_null = cells.iter().all(|cell| *cell == Cell::Null);
        if (change.op == RowOp::Insert && is_null) || !is_touched(change, &cells, (&types, columns, lsn), stored)? {
            continue;
        }
        let large = |column| match large_of(change, column) {
            Some(value) => Ok(Some(value.to_vec())),
            None => stored.large(table.incarnation, change.row, column),
        };
        with_values(&cells, columns, large, |values| f(Change { values, ..gone }))?;
    }
    Ok(())
}

/// Whether a commit has set one of some columns. NULLs have no version: for their sake it is looked what was there before.
fn is_touched(
    change: &RowChange,
    cells: &[Cell<'_>],
    (types, columns, lsn): (&[Type], &[u16], Lsn),
    stored: &dyn StoredRows,
) -> Result<bool> {
    let set_now = |cell: &Cell<'_>| matches!(cell, Cell::Inline(_, at) | Cell::Large(_, at) if *at == lsn);
    if change.op == RowOp::Insert || cells.iter().any(set_now) {
        return Ok(true);
    }
    if !cells.contains(&Cell::Null) {
        return Ok(false);
    }
    let Some((at, row)) = stored.before(change.incarnation, change.row)? else { return Ok(true) };
    let before = cells_of(types, &row, at, columns)?;
    Ok(cells.iter().zip(&before).any(|(now, before)| *now == Cell::Null && *before != Cell::Null))
}

fn large_of(change: &RowChange, column: u16) -> Option<&[u8]> {
    change.large.iter().find(|large| large.column == column)?.value.as_deref()
}

/// The cells of some columns, in their order.
fn cells_of<'r>(types: &'r [Type], row: &'r [u8], lsn: Lsn, columns: &[u16]) -> Result<Vec<Cell<'r>>> {
    let mut cells = Cells::new(types, row, lsn)?;
    let last = columns.iter().max().copied().unwrap_or(0);
    let all = (0..=last).map(|_| cells.take()).collect::<Result<Vec<_>>>()?;
    Ok(columns.iter().filter_map(|column| all.get(usize::from(*column)).copied()).collect())
}

/// Calls `f` with the bytes of cells, wherever they lie.
fn with_values(
    cells: &[Cell<'_>],
    columns: &[u16],
    large: impl Fn(u16) -> Result<Option<Vec<u8>>>,
    f: impl FnOnce(&[Option<&[u8]>]),
) -> Result<()> {
    let value = |(cell, column): (&Cell<'_>, &u16)| match cell {
        Cell::Null => Ok(None),
        Cell::Inline(value, _) => Ok(Some(value.to_vec())),
        Cell::Large(..) => large(*column),
    };
    let values = cells.iter().zip(columns).map(value).collect::<Result<Vec<_>>>()?;
    f(&values.iter().map(Option::as_deref).collect::<Vec<_>>());
    Ok(())
}

/// Calls `f` with a row's columns and the commit that last set one of them, unless all are NULL.
///
/// # Errors
/// `Damaged` if the row is none of its table's; those of reading.
pub(super) fn row_as_change(
    types: &[Type],
    row: &Row,
    columns: &[u16],
    large: impl Fn(u16) -> Result<Option<Vec<u8>>>,
    f: impl FnOnce(Change<'_>),
) -> Result<()> {
    let cells = cells_of(types, &row.bytes, row.lsn, columns)?;
    let set_at = |cell: &Cell<'_>| match cell {
        Cell::Null => None,
        Cell::Inline(_, at) | Cell::Large(_, at) => Some(*at),
    };
    match cells.iter().filter_map(set_at).max() {
        None => Ok(()),
        Some(version) => with_values(&cells, columns, large, |values| f(Change { row: row.id, version, values })),
    }
}
