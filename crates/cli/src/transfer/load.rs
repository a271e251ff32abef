//! Rows into a table, in batches, and what becomes of those that are wrong.

use super::{BATCH_BYTES, BATCH_ROWS, Cell, Row};
use crate::console::Failure;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use nodedb::text::TextStyle;
use nodedb::{Column, Error, Load, Result, Value};
use nodedb_query::types::ColumnBuilder;
use nodedb_query::types::arrow::field;
use std::sync::Arc;

/// How many wrong rows are told of.
const TOLD: u64 = 10;

/// A row that is wrong.
#[derive(Debug)]
pub struct BadRow {
    /// Where it begins.
    pub line: u64,
    /// What is wrong with it.
    pub error: Error,
}

/// Fills a table batch by batch.
pub struct Batches {
    load: Load,
    columns: Vec<Column>,
    style: TextStyle,
    pending: Vec<(u64, Vec<Value>)>,
    bytes: usize,
    bad: u64,
    told: Vec<BadRow>,
    skip_bad: bool,
}

impl Batches {
    /// Rows for a table. Unless bad rows are skipped, nothing is loaded after the first.
    pub fn new(load: Load, style: TextStyle, skip_bad: bool) -> Self {
        let columns = load.columns().to_vec();
        Self { load, columns, style, pending: Vec::new(), bytes: 0, bad: 0, told: Vec::new(), skip_bad }
    }

    /// One more row. `false` when enough bad rows are known, and the rest need not be looked at.
    pub fn push(&mut self, row: Row) -> Result<bool, Failure> {
        match row.cells.and_then(|cells| self.values(cells)) {
            Ok(values) => {
                self.pending.push((row.line, values));
                self.bytes = self.bytes.saturating_add(row.bytes);
            }
            Err(error) => self.bad(row.line, error)?,
        }
        if self.pending.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.send()?;
        }
        Ok(self.skip_bad || self.bad < TOLD)
    }

    /// The bad rows that were found since the last call, to be told.
    pub fn bad_rows(&mut self) -> Vec<BadRow> {
        std::mem::take(&mut self.told)
    }

    /// How many bad rows there are.
    pub const fn bad_count(&self) -> u64 {
        self.bad
    }

    /// Sends what is pending.
    pub fn send(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.pending);
        self.bytes = 0;
        self.send_rows(&rows)
    }

    /// Makes the rows part of the table; all of them were sent. Returns how many there are.
    pub fn finish(self) -> Result<u64> {
        self.load.finish()
    }

    fn values(&self, cells: Vec<Cell>) -> Result<Vec<Value>> {
        let convert = |(cell, column): (Cell, &Column)| {
            cell.converted(&column.ty, &self.style).map_err(|error| of_column(error, &column.name))
        };
        cells.into_iter().zip(&self.columns).map(convert).collect()
    }

    /// Appends rows; those that the table refuses are found by halving.
    fn send_rows(&mut self, rows: &[(u64, Vec<Value>)]) -> Result<(), Failure> {
        if rows.is_empty() || self.bad > 0 && !self.skip_bad {
            return Ok(());
        }
        let outcome = self.batch(rows).and_then(|batch| self.load.append(&batch));
        match (outcome, rows) {
            (Ok(_), _) => Ok(()),
            (Err(error), _) if !is_of_row(&error) => Err(error.into()),
            (Err(error), [(line, _)]) => self.bad(*line, error),
            (Err(_), rows) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.send_rows(first)?;
                self.send_rows(second)
            }
        }
    }

    fn batch(&self, rows: &[(u64, Vec<Value>)]) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (i, column) in self.columns.iter().enumerate() {
            let mut builder = ColumnBuilder::new(&column.ty, rows.len())?;
            for (_, values) in rows {
                let value = values.get(i).unwrap_or(&Value::Null);
                builder.append(value).map_err(|error| of_column(error, &column.name))?;
            }
            arrays.push(builder.finish()?);
        }
        let fields: Vec<_> = self.columns.iter().map(|column| field(&column.name, &column.ty, true)).collect();
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| Error::internal(format!("columns that were built do not fit together: {error}")))
    }

    fn bad(&mut self, line: u64, error: Error) -> Result<(), Failure> {
        if !is_of_row(&error) {
            return Err(error.into());
        }
        self.bad += 1;
        if self.bad <= TOLD {
            self.told.push(BadRow { line, error });
        }
        Ok(())
    }
}

/// Whether an error is one of a row, rather than of the disk or of a limit.
const fn is_of_row(error: &Error) -> bool {
    matches!(error, Error::Statement(_) | Error::Constraint(_))
}

fn of_column(error: Error, name: &str) -> Error {
    let detail = match &error.report().detail {
        Some(detail) => format!("column \"{name}\"; {detail}"),
        None => format!("column \"{name}\""),
    };
    error.with_detail(detail)
}
