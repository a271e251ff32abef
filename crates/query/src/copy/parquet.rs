//! Rows of Parquet files, as cells.

use super::{Cell, malformed};
use crate::types::value_at;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::record_batch::RecordBatch;
use nodedb_base::{Error, Result, Type, Value};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::ChunkReader;
use std::sync::Arc;

/// Rows that are unpacked at once.
const ROWS: usize = 1024;

/// The rows of a file, one by one.
pub struct ParquetReader {
    batches: ParquetRecordBatchReader,
    names: Vec<String>,
    /// The current batch, column by column: arrays, or values that were made JSON.
    columns: Vec<Values>,
    rows: usize,
    at: usize,
}

enum Values {
    Array(ArrayRef),
    Json(Vec<Cell>),
}

impl ParquetReader {
    /// Opens a file.
    ///
    /// # Errors
    /// `Statement` (22P04) if it is no Parquet file.
    pub fn new(input: impl ChunkReader + 'static) -> Result<Self> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(input).map_err(malformed)?;
        let names = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let batches = builder.with_batch_size(ROWS).build().map_err(malformed)?;
        Ok(Self { batches, names, columns: Vec::new(), rows: 0, at: 0 })
    }

    /// The names of its columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The cells of the next row, in the order of the columns, or what is wrong with them.
    ///
    /// # Errors
    /// Those of the file: `Statement` (22P04).
    pub fn next_row(&mut self) -> Result<Option<Result<Vec<Cell>>>> {
        while self.at >= self.rows {
            let Some(batch) = self.batches.next() else { return Ok(None) };
            self.unpack(&batch.map_err(malformed)?)?;
        }
        let at = self.at;
        self.at += 1;
        let cells = self.columns.iter_mut().map(|values| match values {
            Values::Array(array) => cell(array, at),
            Values::Json(cells) => Ok(cells.get_mut(at).map_or(Cell::Null, |cell| std::mem::replace(cell, Cell::Null))),
        });
        Ok(Some(cells.collect()))
    }

    fn unpack(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows = batch.num_rows();
        self.at = 0;
        self.columns.clear();
        for (array, field) in batch.columns().iter().zip(batch.schema_ref().fields()) {
            self.columns.push(if is_nested(array.data_type()) {
                Values::Json(json(array, field)?)
            } else {
                Values::Array(array.clone())
            });
        }
        Ok(())
    }
}

/// Whether only JSON can hold the values of a type.
#[must_use]
pub fn is_nested(ty: &DataType) -> bool {
    match ty {
        DataType::Struct(_) | DataType::Map(_, _) | DataType::Union(_, _) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => match item.data_type() {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => true,
            item => is_nested(item),
        },
        _ => false,
    }
}

/// The items of a list; `None` if the array has no lists.
#[must_use]
pub fn items(array: &dyn Array, row: usize) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::List(_) => array.as_list_opt::<i32>().map(|list| list.value(row)),
        DataType::LargeList(_) => array.as_list_opt::<i64>().map(|list| list.value(row)),
        DataType::FixedSizeList(_, _) => array.as_fixed_size_list_opt().map(|list| list.value(row)),
        _ => None,
    }
}

/// Inside, large strings are documents; in other people's files they are strings.
#[must_use]
pub fn plain_type(ty: Type) -> Type {
    match ty {
        Type::Jsonb => Type::Text,
        Type::Array(element) => Type::Array(Box::new(plain_type(*element))),
        other => other,
    }
}

fn plain_value(value: Value) -> Value {
    match value {
        Value::Jsonb(text) => Value::Text(text),
        Value::Array(array) => Value::Array(nodedb_base::Array {
            element: plain_type(array.element),
            items: array.items.into_iter().map(plain_value).collect(),
        }),
        other => other,
    }
}

fn cell(array: &dyn Array, row: usize) -> Result<Cell> {
    if array.is_null(row) {
        return Ok(Cell::Null);
    }
    // A vector has a number in every place; a NULL must not become one.
    let holes = matches!(array.data_type(), DataType::FixedSizeList(_, _))
        && items(array, row).is_some_and(|items| items.null_count() > 0);
    if holes {
        return Err(Error::statement("22004", "a list of fixed length has a NULL in it"));
    }
    match plain_value(value_at(array, row, None)?) {
        Value::Null => Ok(Cell::Null),
        value => Ok(Cell::Value(value)),
    }
}

/// Structs and the like, as JSON.
fn json(array: &ArrayRef, field: &Field) -> Result<Vec<Cell>> {
    let field = Field::new("v", field.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array.clone()]).map_err(malformed)?;
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(&batch).and_then(|()| writer.finish()).map_err(malformed)?;
    let mut cells = Vec::with_capacity(batch.num_rows());
    for object in serde_json::Deserializer::from_slice(&writer.into_inner()).into_iter::<serde_json::Value>() {
        let value = object.map_err(malformed)?.get_mut("v").map(serde_json::Value::take).unwrap_or_default();
        cells.push(if value.is_null() { Cell::Null } else { Cell::Json(value) });
    }
    Ok(cells)
}
