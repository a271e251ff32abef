//! Bulk loads: rows in bounded steps under lives that nobody sees, published by one small commit.
//!
//! That works for a table that is empty. Into a table with rows, a load is one transaction, within its limit.
//! What a crash leaves of a load is dropped at the next opening.

use crate::database::Inner;
use arrow::array::RecordBatch;
use nodedb_base::{Error, Incarnation, Result, RowId, Value};
use nodedb_query::record::{self, Loader};
use nodedb_query::types::value_at;
use nodedb_query::{Column, Settings, Statement};
use nodedb_store::{Transaction, TransactionOptions};
use std::sync::Arc;

/// Rows that are committed in one step.
const STEP_ROWS: u64 = 20_000;

/// How often publishing is tried again when it loses a race.
const MAX_RETRIES: usize = 10;

/// A bulk load into one table.
///
/// Dropping it without [`Load::finish`] leaves the table as it was.
#[derive(Debug)]
pub struct Load {
    db: Arc<Inner>,
    settings: Settings,
    columns: Vec<Column>,
    table: String,
    /// The unpublished lives; `None` where the rows go straight into the table.
    loader: Option<Loader>,
    tx: Option<Transaction>,
    in_step: u64,
    rows: u64,
}

impl Load {
    pub(crate) fn start(db: Arc<Inner>, table: &str) -> Result<Self> {
        let mut tx = db.store.begin(TransactionOptions::default())?;
        let columns = record::columns(&tx, table)?;
        let loader = if is_empty(&tx, table)? {
            let loader = Loader::start(&db.engine, &mut tx, table)?;
            tx.commit()?;
            tx = db.store.begin(TransactionOptions::default())?;
            Some(loader)
        } else {
            None
        };
        let (settings, table) = (Settings::default(), table.to_owned());
        Ok(Self { db, settings, columns, table, loader, tx: Some(tx), in_step: 0, rows: 0 })
    }

    /// The columns of the table.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Appends the rows of a batch, whose columns are those of the table, in order. Texts are read as the types of
    /// their columns. After an error the rows of this batch are not in the load, which can go on.
    ///
    /// # Errors
    /// `Statement`, `Constraint`; the detail names the row in the batch, from 0.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<u64> {
        if batch.num_columns() != self.columns.len() {
            let message = format!("table has {} columns, the batch {}", self.columns.len(), batch.num_columns());
            return Err(Error::statement("42601", message));
        }
        let mut tx = self.tx.take().ok_or_else(|| Error::closed("57P03", "the load has failed"))?;
        tx.savepoint("batch");
        let outcome = self.append_rows(&mut tx, batch);
        match &outcome {
            Ok(_) => tx.release("batch")?,
            Err(_) => {
                tx.roll_back_to("batch")?;
                tx.release("batch")?;
            }
        }
        self.in_step += outcome.as_ref().map_or(0, |rows| *rows);
        if self.loader.is_some() && self.in_step >= STEP_ROWS {
            tx.commit()?;
            tx = self.db.store.begin(TransactionOptions::default())?;
            self.in_step = 0;
        }
        self.tx = Some(tx);
        self.rows += outcome.as_ref().map_or(0, |rows| *rows);
        outcome
    }

    fn append_rows(&self, tx: &mut Transaction, batch: &RecordBatch) -> Result<u64> {
        let statement = Statement { settings: &self.settings, parameters: &[], now: self.db.env.clock.now() };
        for at in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| value_at(column, at, None));
            let row = values.collect::<Result<Vec<Value>>>();
            row.and_then(|row| match &self.loader {
                Some(loader) => loader.insert(statement, tx, row),
                None => record::insert(&self.db.engine, statement, tx, &self.table, row),
            })
            .map_err(|e| {
                if e.report().detail.is_some() { e } else { e.with_detail(format!("row {at} of the batch")) }
            })?;
        }
        Ok(batch.num_rows() as u64)
    }

    /// Makes the rows visible, all at once, and tells how many they are.
    ///
    /// # Errors
    /// `Retry` if others have changed the table meanwhile; `Constraint` (23503), `Io`, `Closed`.
    pub fn finish(mut self) -> Result<u64> {
        let tx = self.tx.take().ok_or_else(|| Error::closed("57P03", "the load has failed"))?;
        tx.commit()?;
        for attempt in 0.. {
            match self.publish() {
                // Others have changed parents of the rows meanwhile, or the table itself; then it fails again.
                Err(Error::Retry(_)) if attempt < MAX_RETRIES => {}
                outcome => return outcome.map(|()| self.rows),
            }
        }
        Err(Error::internal("a load was never published"))
    }

    fn publish(&self) -> Result<()> {
        let Some(loader) = &self.loader else { return Ok(()) };
        let mut tx = self.db.store.begin(TransactionOptions::default())?;
        loader.publish(&self.db.engine, &mut tx)?;
        tx.commit().map(|_| ())
    }
}

fn is_empty(tx: &Transaction, table: &str) -> Result<bool> {
    let life: Incarnation = match tx.catalog().table(table) {
        Some(table) => table.incarnation,
        None => return Ok(false),
    };
    Ok(tx.view().rows(life, RowId(0), RowId(u64::MAX), false)?.next().transpose()?.is_none())
}
