//! Rows that are all there.

use arrow::record_batch::RecordBatch;
use nodedb_base::{Error, Interval, Numeric, Result, Value};
use nodedb_query::types::value_at;
use nodedb_query::{Column, Tag};
use std::sync::Arc;

/// The rows of a result.
#[derive(Clone, Debug)]
pub struct Rows {
    pub(crate) columns: Arc<[Column]>,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) tag: Tag,
}

impl Rows {
    /// Their columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows as Arrow record batches.
    #[must_use]
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The command tag.
    #[must_use]
    pub const fn tag(&self) -> &Tag {
        &self.tag
    }

    /// The rows, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        let places = self.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
        places.map(|(batch, row)| Row { columns: self.columns.clone(), place: Place::Batch(batch.clone(), row) })
    }

    /// One value.
    ///
    /// # Errors
    /// `Statement` (22003, 42804) if there is none, or none of that type.
    pub fn get<T: FromValue>(&self, row: usize, column: usize) -> Result<T> {
        match self.iter().nth(row) {
            Some(row) => row.get(column),
            None => Err(Error::statement("22003", format!("there is no row {row}"))),
        }
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    columns: Arc<[Column]>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Batch(RecordBatch, usize),
    Values(Vec<Value>),
}

impl Row {
    pub(crate) const fn of_values(columns: Arc<[Column]>, values: Vec<Value>) -> Self {
        Self { columns, place: Place::Values(values) }
    }

    /// Its columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The value of a column.
    ///
    /// # Errors
    /// `Statement` (42703) if there is no such column.
    pub fn value(&self, column: usize) -> Result<Value> {
        let missing = || Error::statement("42703", format!("there is no column {column}"));
        match &self.place {
            Place::Batch(batch, row) => {
                let ty = &self.columns.get(column).ok_or_else(missing)?.ty;
                value_at(batch.columns().get(column).ok_or_else(missing)?, *row, Some(ty))
            }
            Place::Values(values) => values.get(column).cloned().ok_or_else(missing),
        }
    }

    /// All values.
    ///
    /// # Errors
    /// `Statement` (0A000) if one has no SQL type.
    pub fn values(&self) -> Result<Vec<Value>> {
        (0..self.columns.len()).map(|column| self.value(column)).collect()
    }

    /// The value of a column as a Rust type.
    ///
    /// # Errors
    /// `Statement` (42703, 42804).
    pub fn get<T: FromValue>(&self, column: usize) -> Result<T> {
        T::from_value(self.value(column)?)
    }

    /// The value of a column by its name.
    ///
    /// # Errors
    /// `Statement` (42703, 42804).
    pub fn by_name<T: FromValue>(&self, name: &str) -> Result<T> {
        let at = self.columns.iter().position(|column| column.name == name);
        self.get(at.ok_or_else(|| Error::statement("42703", format!("there is no column \"{name}\"")))?)
    }
}

/// Rust types that SQL values can become.
pub trait FromValue: Sized {
    /// The value as this type.
    ///
    /// # Errors
    /// `Statement` (42804) if it is another one.
    fn from_value(value: Value) -> Result<Self>;
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self> {
        Ok(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self> {
        if value.is_null() { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! from_value {
    ($($rust:ty: $($pattern:pat => $value:expr),+;)*) => {$(
        impl FromValue for $rust {
            fn from_value(value: Value) -> Result<Self> {
                match value {
                    $($pattern => Ok($value),)+
                    other => Err(mismatch(&other, stringify!($rust))),
                }
            }
        }
    )*};
}

from_value! {
    bool: Value::Bool(v) => v;
    i16: Value::Int2(v) => v;
    i32: Value::Int4(v) => v, Value::Int2(v) => v.into();
    i64: Value::Int8(v) => v, Value::Int4(v) => v.into(), Value::Int2(v) => v.into();
    f32: Value::Float4(v) => v;
    f64: Value::Float8(v) => v, Value::Float4(v) => v.into();
    String: Value::Text(v) | Value::Jsonb(v) => v;
    Vec<u8>: Value::Bytea(v) => v;
    Vec<f32>: Value::Vector(v) => v;
    [u8; 16]: Value::Uuid(v) => v;
    Numeric: Value::Numeric(v) => v;
    Interval: Value::Interval(v) => v;
}

fn mismatch(value: &Value, wanted: &str) -> Error {
    let kind = nodedb_query::types::coerce::value_type_name(value);
    Error::statement("42804", format!("a value of type {kind} cannot be read as {wanted}"))
}
