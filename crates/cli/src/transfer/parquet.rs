//! Parquet files.
//!
//! A file that was exported notes the SQL type of each column in the metadata of its field. Types that Parquet
//! has no form for (`jsonb`, `interval`) are strings with such a note.

use super::infer::Guess;
use super::names::parse_type;
use super::{Cell, Found, Row, Source, open, unusable};
use crate::console::Failure;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use nodedb::text::{self, TextStyle};
use nodedb::{Column, Error, Result, Type, Value, value_at};
use nodedb_query::copy::parquet::{ParquetReader, is_nested, items, plain_type};
use nodedb_query::types::ColumnBuilder;
use nodedb_query::types::arrow::{data_type, type_of_field};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The key of the metadata that says a column's SQL type, as `Type` prints it.
const NOTE: &str = "nodedb.type";

/// Rows that are unpacked at once.
const ROWS: usize = 1024;

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, Failure> {
    ParquetRecordBatchReaderBuilder::try_new(open(path)?).map_err(|error| unusable("read", path, error))
}

/// How many rows a file has.
pub fn count(path: &Path) -> Result<u64, Failure> {
    Ok(u64::try_from(builder(path)?.metadata().file_metadata().num_rows()).unwrap_or(0))
}

/// The columns of a file, with their types. Where lists are lists of fractions, the first rows say whether all
/// have one length.
pub fn columns(path: &Path, sample: u64) -> Result<Vec<Found>, Failure> {
    let builder = builder(path)?;
    let schema = builder.schema().clone();
    let mut found = Vec::new();
    let mut lists = Vec::new();
    for (i, field) in schema.fields().iter().enumerate() {
        let noted = field.metadata().get(NOTE).and_then(|note| parse_type(note));
        if noted.is_none() && is_list_of_floats(field.data_type()) {
            lists.push(i);
        }
        let ty = noted.map_or_else(|| type_of(field), Ok)?;
        found.push(Found { name: field.name().clone(), ty });
    }
    if !lists.is_empty() {
        let mask = ProjectionMask::roots(builder.parquet_schema(), lists.iter().copied());
        let reader = builder.with_projection(mask).with_batch_size(ROWS).build();
        let reader = reader.map_err(|error| unusable("read", path, error))?;
        for (i, ty) in lists.into_iter().zip(list_types(reader, path, sample)?) {
            if let Some(found) = found.get_mut(i) {
                found.ty = ty;
            }
        }
    }
    Ok(found)
}

/// The types of columns that are lists of fractions.
fn list_types(reader: ParquetRecordBatchReader, path: &Path, sample: u64) -> Result<Vec<Type>, Failure> {
    let mut guesses = Vec::new();
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| unusable("read", path, error))?;
        guesses.resize(batch.num_columns(), Guess::default());
        for (array, guess) in batch.columns().iter().zip(&mut guesses) {
            for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
                if let Some(items) = items(array, row) {
                    guess.floats(items.len(), items.null_count() > 0);
                }
            }
        }
        rows += batch.num_rows() as u64;
        if rows >= sample {
            break;
        }
    }
    Ok(guesses.iter().map(Guess::ty).collect())
}

fn is_list_of_floats(ty: &DataType) -> bool {
    match ty {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            matches!(item.data_type(), DataType::Float32 | DataType::Float64)
        }
        _ => false,
    }
}

fn type_of(field: &Field) -> Result<Type> {
    if is_nested(field.data_type()) {
        return Ok(Type::Jsonb);
    }
    Ok(plain_type(type_of_field(field)?))
}

/// The rows of a file.
pub struct Reader {
    rows: ParquetReader,
    row: u64,
    places: Vec<Option<usize>>,
    path: PathBuf,
}

impl Reader {
    /// Opens a file. `place` says for the names in the file which column of the table gets which.
    pub fn open(
        path: &Path,
        place: impl FnOnce(&[String]) -> Result<Vec<Option<usize>>, Failure>,
    ) -> Result<Self, Failure> {
        let rows = ParquetReader::new(open(path)?).map_err(|error| unreadable(path, &error))?;
        let places = place(rows.names())?;
        Ok(Self { rows, row: 0, places, path: path.to_owned() })
    }
}

fn unreadable(path: &Path, error: &Error) -> Failure {
    unusable("read", path, &error.report().message)
}

impl Source for Reader {
    fn next(&mut self) -> Result<Option<Row>, Failure> {
        let row = self.rows.next_row().map_err(|error| unreadable(&self.path, &error))?;
        let Some(cells) = row else { return Ok(None) };
        self.row += 1;
        let cells = cells.map(|cells| super::import::arrange(cells, &self.places));
        let bytes = cells.as_ref().map_or(0, |cells| cells.iter().map(weight).sum());
        Ok(Some(Row { line: self.row, cells, bytes }))
    }

    fn position(&self) -> u64 {
        self.row
    }
}

fn weight(cell: &Cell) -> usize {
    match cell {
        Cell::Value(Value::Text(v)) => v.len(),
        Cell::Value(Value::Bytea(v)) => v.len(),
        Cell::Value(Value::Vector(v)) => v.len() * size_of::<f32>(),
        Cell::Value(Value::Halfvec(v)) => v.len() * 2,
        Cell::Value(Value::Sparsevec(v)) => v.values.len() * 8,
        Cell::Value(Value::Array(v)) => v.items.len() * size_of::<Value>(),
        Cell::Json(v) => v.to_string().len(),
        _ => size_of::<Value>(),
    }
}

/// Writes rows.
pub struct Writer {
    writer: ArrowWriter<File>,
    columns: Vec<Column>,
    schema: SchemaRef,
    style: TextStyle,
}

impl Writer {
    /// Begins a file.
    pub fn new(file: File, columns: &[Column], style: TextStyle) -> Result<Self, Failure> {
        let field = |column: &Column| {
            let ty = if is_storable(&column.ty) { data_type(&column.ty) } else { DataType::Utf8 };
            let note = HashMap::from([(NOTE.to_owned(), column.ty.to_string())]);
            Field::new(&column.name, ty, true).with_metadata(note)
        };
        let schema: SchemaRef = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(failed)?;
        Ok(Self { writer, columns: columns.to_vec(), schema, style })
    }

    /// Writes rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (array, column) in batch.columns().iter().zip(&self.columns) {
            arrays.push(stored(array, &column.ty, &self.style)?);
        }
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Error::internal(format!("rows do not have the types of their columns: {error}")))?;
        self.writer.write(&batch).map_err(failed)
    }

    /// No more rows.
    pub fn finish(self) -> Result<File, Failure> {
        self.writer.into_inner().map_err(failed)
    }
}

fn failed(error: parquet::errors::ParquetError) -> Failure {
    Failure::Output(std::io::Error::other(error))
}

fn is_storable(ty: &Type) -> bool {
    match ty {
        Type::Interval | Type::Jsonb => false,
        Type::Array(element) => is_storable(element),
        _ => true,
    }
}

/// An array in the form in which the file keeps its type.
fn stored(array: &ArrayRef, ty: &Type, style: &TextStyle) -> Result<ArrayRef> {
    if is_storable(ty) && *array.data_type() == data_type(ty) {
        return Ok(array.clone());
    }
    let storable = is_storable(ty);
    let mut builder = ColumnBuilder::new(if storable { ty } else { &Type::Text }, array.len())?;
    for row in 0..array.len() {
        match value_at(array, row, Some(ty))? {
            Value::Null => builder.append(&Value::Null)?,
            value if storable => builder.append(&value)?,
            value => builder.append(&Value::Text(text::print(&value, style)))?,
        }
    }
    builder.finish()
}
