//! What a commit means to derived indexes.

use super::Message;
use nodedb_base::{Batch, CommitObserver, Incarnation, Lsn, Result, RowChange, RowOp, Type};
use nodedb_index::{Change, Indexes};
use nodedb_store::catalog::{DerivedIndex, Table};
use nodedb_store::row::{Cell, Cells};
use nodedb_store::{Row, keys};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use tokio::sync::watch;

/// Bytes that indexes take in before the thread is told to look whether there is anything to do.
const LOOK_BYTES: u64 = 1 << 20;

/// Hands what commits change to the indexes that follow it. The committer calls it, one commit after the other.
pub(super) struct Follower {
    indexes: Arc<Indexes>,
    messages: Mutex<Sender<Message>>,
    filling: Arc<watch::Sender<usize>>,
    /// Tables that have derived indexes, by the lives of their rows.
    tables: Mutex<HashMap<Incarnation, Arc<Table>>>,
    taken: AtomicU64,
    is_told: AtomicBool,
}

impl Follower {
    pub fn new(indexes: Arc<Indexes>, messages: Sender<Message>, filling: Arc<watch::Sender<usize>>) -> Self {
        let (tables, taken, is_told) = Default::default();
        Self { indexes, messages: Mutex::new(messages), filling, tables, taken, is_told }
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
        self.filling.send_modify(|filling| *filling += 1);
        self.tell(Message::Build { table, index });
    }

    /// An index has failed.
    pub fn ask_to_fill_again(&self, index: Incarnation) {
        let table = {
            let tables = self.tables.lock();
            tables.values().find(|table| table.derived.iter().any(|other| other.id == index)).map(|table| table.id)
        };
        if let Some(table) = table {
            self.indexes.remove(index);
            self.ask_to_fill(table, index);
        }
    }

    /// The thread looks now; it wants to be told of what comes.
    pub fn hear_again(&self) {
        self.is_told.store(false, Ordering::Release);
    }

    fn tell(&self, message: Message) {
        if self.messages.lock().send(message).is_err() {
            tracing::debug!("the database is being closed");
        }
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
            let mut bytes = 0;
            let handed = each_change(batch, lsn, table, followed.column, &mut |change| {
                bytes += 16 + change.value.map_or(0, <[u8]>::len) as u64;
                followed.index.apply(&[change]);
            });
            if let Err(why) = handed {
                followed.index.fail(&why);
            }
            let failed = followed.index.status().why.is_some();
            if self.taken.fetch_add(bytes, Ordering::Relaxed) + bytes > LOOK_BYTES || failed {
                self.taken.store(0, Ordering::Relaxed);
                if !self.is_told.swap(true, Ordering::AcqRel) {
                    self.tell(Message::Work);
                }
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
        let mut lives: Vec<Incarnation> = batch.rows.iter().map(|change| change.incarnation).collect();
        lives.dedup();
        let followed: Vec<Arc<Table>> = {
            let tables = self.tables.lock();
            if tables.is_empty() {
                return;
            }
            lives.sort_unstable();
            lives.dedup();
            lives.iter().filter_map(|life| tables.get(life).cloned()).collect()
        };
        followed.iter().for_each(|table| self.follow_rows(lsn, batch, table));
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
