//! Results as text.

mod csv;
pub mod json;
pub mod table;
#[cfg(test)]
mod tests;

pub use csv::write_field as write_csv_field;

use crate::console::Failure;
use arrow::record_batch::RecordBatch;
use nodedb::blocking::RowStream;
use nodedb::text::TextStyle;
use nodedb::{Column, Error, Result, Value, text, value_at};
use std::io::Write;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns, as psql prints them
    #[default]
    Table,
    /// Comma-separated values with a header, as psql --csv prints them
    Csv,
    /// An array of objects for each statement
    Json,
}

/// Prints all rows. A table holds many of them first, for the widest value of each column; the other formats one batch.
pub fn rows(rows: &mut RowStream, format: Format, style: &TextStyle, out: &mut dyn Write) -> Result<(), Failure> {
    let columns = rows.columns().to_vec();
    match format {
        Format::Table => {
            let mut table = table::Table::new(&columns);
            while let Some(batch) = rows.next_batch() {
                for_each_row(&batch?, &columns, |values| {
                    table.push(values.iter().map(|value| text::print(value, style)));
                    Ok(())
                })?;
                table.print_if_large(out)?;
            }
            table.write(out)?;
        }
        Format::Csv => {
            csv::header(&columns, out)?;
            while let Some(batch) = rows.next_batch() {
                for_each_row(&batch?, &columns, |values| Ok(csv::row(values, style, out)?))?;
            }
        }
        Format::Json => {
            let mut array = json::Lines::new(&columns, style);
            while let Some(batch) = rows.next_batch() {
                for_each_row(&batch?, &columns, |values| Ok(array.write(values, out)?))?;
            }
            array.end(out)?;
        }
    }
    Ok(())
}

/// Calls `f` with the values of each row of a batch.
pub fn for_each_row(
    batch: &RecordBatch,
    columns: &[Column],
    mut f: impl FnMut(&[Value]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if batch.num_columns() != columns.len() {
        return Err(Error::internal("a batch has other columns than its stream").into());
    }
    let mut values = Vec::with_capacity(columns.len());
    for row in 0..batch.num_rows() {
        values.clear();
        for (array, column) in batch.columns().iter().zip(columns) {
            values.push(value_at(array, row, Some(&column.ty))?);
        }
        f(&values)?;
    }
    Ok(())
}
