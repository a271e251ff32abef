//! Arrow arrays from values, one at a time.

use super::arrow::{UTC, data_type, element_field};
use super::numbers::NumberColumn;
use ::arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, LargeBinaryBuilder,
    LargeStringBuilder, ListArray, NullBufferBuilder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use ::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use ::arrow::datatypes::IntervalMonthDayNano;
use half::f16;
use nodedb_base::{BitString, Error, Interval, Numeric, Result, SparseVector, Type, Value};
use std::sync::Arc;

/// Builds a column of one SQL type. The typed `append_*` are for readers that have the parts of a value at
/// hand and need no [`Value`]; one that does not fit the type of the column is an internal error.
#[derive(Debug)]
pub struct ColumnBuilder {
    ty: Type,
    rows: usize,
    column: Column,
}

#[derive(Debug)]
enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Numeric(Decimal128Builder, u8),
    Text(StringBuilder),
    Bytea(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Jsonb(LargeStringBuilder),
    Array { items: Box<ColumnBuilder>, ends: Vec<i32>, nulls: NullBufferBuilder },
    Numbers(NumberColumn),
    Sparsevec(LargeBinaryBuilder),
}

/// Appends to the builder of one variant, or says that the column is of another.
macro_rules! typed {
    ($(#[$doc:meta])* $name:ident($ty:ty) => $($variant:ident)|+) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self, v: $ty) -> Result<()> {
            match &mut self.column {
                $(Column::$variant(b) => b.append_value(v),)+
                _ => return Err(self.mismatch()),
            }
            self.rows += 1;
            Ok(())
        }
    };
}

impl ColumnBuilder {
    /// An empty column with room for `rows` rows.
    ///
    /// # Errors
    /// 0A000 if no Arrow type has such a precision.
    pub fn new(ty: &Type, rows: usize) -> Result<Self> {
        let column = match ty {
            Type::Bool => Column::Bool(BooleanBuilder::with_capacity(rows)),
            Type::Int2 => Column::Int2(Int16Builder::with_capacity(rows)),
            Type::Int4 => Column::Int4(Int32Builder::with_capacity(rows)),
            Type::Int8 => Column::Int8(Int64Builder::with_capacity(rows)),
            Type::Float4 => Column::Float4(Float32Builder::with_capacity(rows)),
            Type::Float8 => Column::Float8(Float64Builder::with_capacity(rows)),
            Type::Numeric { precision, scale } => {
                let builder = Decimal128Builder::with_capacity(rows)
                    .with_precision_and_scale(*precision, scale.cast_signed())
                    .map_err(|_| Error::unsupported(ty))?;
                Column::Numeric(builder, *scale)
            }
            Type::Text | Type::Varchar(_) => Column::Text(StringBuilder::with_capacity(rows, rows * 16)),
            Type::Bytea => Column::Bytea(BinaryBuilder::with_capacity(rows, rows * 16)),
            Type::Uuid => Column::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            Type::Date => Column::Date(Date32Builder::with_capacity(rows)),
            Type::Time => Column::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            Type::Timestamp => Column::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows)),
            Type::Timestamptz => Column::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_timezone(UTC)),
            Type::Interval => Column::Interval(IntervalMonthDayNanoBuilder::with_capacity(rows)),
            Type::Jsonb => Column::Jsonb(LargeStringBuilder::with_capacity(rows, rows * 64)),
            Type::Array(element) => Column::Array {
                items: Box::new(Self::new(element, rows)?),
                ends: vec![0],
                nulls: NullBufferBuilder::new(rows),
            },
            Type::Sparsevec(_) => Column::Sparsevec(LargeBinaryBuilder::with_capacity(rows, rows * 32)),
            Type::Vector(_) | Type::Halfvec(_) | Type::Bit(_) | Type::Varbit(_) => {
                Column::Numbers(NumberColumn::new(ty, rows).ok_or_else(|| Error::unsupported(ty))?)
            }
        };
        Ok(Self { ty: ty.clone(), rows: 0, column })
    }

    /// The SQL type of the column.
    #[must_use]
    pub const fn ty(&self) -> &Type {
        &self.ty
    }

    /// How many rows have been appended.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// Whether nothing has been appended.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    #[cold]
    fn mismatch(&self) -> Error {
        Error::internal(format!("a column of type {} was given a value of another type", self.ty))
    }

    typed! {
        /// A `boolean`.
        append_bool(bool) => Bool
    }
    typed! {
        /// A `smallint`.
        append_i16(i16) => Int2
    }
    typed! {
        /// An `integer` or a `date`.
        append_i32(i32) => Int4 | Date
    }
    typed! {
        /// A `bigint`, `time`, `timestamp` or `timestamptz`.
        append_i64(i64) => Int8 | Time | Timestamp
    }
    typed! {
        /// A `real`.
        append_f32(f32) => Float4
    }
    typed! {
        /// A `double precision`.
        append_f64(f64) => Float8
    }

    /// A `numeric`, rounded to the scale of the column.
    pub fn append_numeric(&mut self, v: Numeric) -> Result<()> {
        let Column::Numeric(builder, scale) = &mut self.column else { return Err(self.mismatch()) };
        let fitted = v.rescale(*scale).ok_or_else(|| Error::statement("22003", "numeric field overflow"))?;
        builder.append_value(fitted.unscaled);
        self.rows += 1;
        Ok(())
    }

    /// A `text`, `varchar`, or the canonical text of a `jsonb`.
    pub fn append_str(&mut self, v: &str) -> Result<()> {
        match &mut self.column {
            Column::Text(b) => {
                check_size(b.values_slice().len(), v.len())?;
                b.append_value(v);
            }
            Column::Jsonb(b) => b.append_value(v),
            _ => return Err(self.mismatch()),
        }
        self.rows += 1;
        Ok(())
    }

    /// A `bytea`.
    pub fn append_bytes(&mut self, v: &[u8]) -> Result<()> {
        let Column::Bytea(builder) = &mut self.column else { return Err(self.mismatch()) };
        check_size(builder.values_slice().len(), v.len())?;
        builder.append_value(v);
        self.rows += 1;
        Ok(())
    }

    /// A `uuid`.
    pub fn append_uuid(&mut self, v: [u8; 16]) -> Result<()> {
        let Column::Uuid(builder) = &mut self.column else { return Err(self.mismatch()) };
        builder.append_value(v).map_err(|e| Error::internal(e.to_string()))?;
        self.rows += 1;
        Ok(())
    }

    /// An `interval`. Arrow counts nanoseconds, so one beyond 292 years of time proper does not fit.
    pub fn append_interval(&mut self, v: Interval) -> Result<()> {
        let Column::Interval(builder) = &mut self.column else { return Err(self.mismatch()) };
        let nanos = v.micros.checked_mul(1000).ok_or_else(|| Error::statement("22008", "interval out of range"))?;
        builder.append_value(IntervalMonthDayNano::new(v.months, v.days, nanos));
        self.rows += 1;
        Ok(())
    }

    /// A `vector`.
    pub fn append_vector(&mut self, v: &[f32]) -> Result<()> {
        self.append_numbers(|column| column.push_f32(v.len(), v.iter().copied()))
    }

    /// A `vector` as it lies in a row: little-endian, four bytes a number.
    pub fn append_vector_le(&mut self, bytes: &[u8]) -> Result<()> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Error::damaged("damaged row: a vector ends within a number"));
        }
        self.append_numbers(|column| column.push_f32(numbers.len(), numbers.iter().map(|&n| f32::from_le_bytes(n))))
    }

    /// A `halfvec`.
    pub fn append_halfvec(&mut self, v: &[f16]) -> Result<()> {
        self.append_numbers(|column| column.push_f16(v.len(), v.iter().copied()))
    }

    /// A `halfvec` as it lies in a row: little-endian, two bytes a number.
    pub fn append_halfvec_le(&mut self, bytes: &[u8]) -> Result<()> {
        let (numbers, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Error::damaged("damaged row: a vector ends within a number"));
        }
        self.append_numbers(|column| column.push_f16(numbers.len(), numbers.iter().map(|&n| f16::from_le_bytes(n))))
    }

    /// A `sparsevec`.
    pub fn append_sparsevec(&mut self, v: &SparseVector) -> Result<()> {
        let Column::Sparsevec(builder) = &mut self.column else { return Err(self.mismatch()) };
        builder.append_value(v.to_ordered_bytes());
        self.rows += 1;
        Ok(())
    }

    /// A `bit` or `bit varying`.
    pub fn append_bits(&mut self, v: &BitString) -> Result<()> {
        self.append_numbers(|column| column.push_bits(v.len as usize, v.bits()))
    }

    fn append_numbers(&mut self, push: impl FnOnce(&mut NumberColumn) -> Option<Result<()>>) -> Result<()> {
        let pushed = match &mut self.column {
            Column::Numbers(column) => push(column),
            _ => None,
        };
        pushed.ok_or_else(|| self.mismatch())??;
        self.rows += 1;
        Ok(())
    }

    /// A NULL.
    pub fn append_null(&mut self) {
        self.rows += 1;
        match &mut self.column {
            Column::Bool(b) => b.append_null(),
            Column::Int2(b) => b.append_null(),
            Column::Int4(b) => b.append_null(),
            Column::Int8(b) => b.append_null(),
            Column::Float4(b) => b.append_null(),
            Column::Float8(b) => b.append_null(),
            Column::Numeric(b, _) => b.append_null(),
            Column::Text(b) => b.append_null(),
            Column::Bytea(b) => b.append_null(),
            Column::Uuid(b) => b.append_null(),
            Column::Date(b) => b.append_null(),
            Column::Time(b) => b.append_null(),
            Column::Timestamp(b) => b.append_null(),
            Column::Interval(b) => b.append_null(),
            Column::Jsonb(b) => b.append_null(),
            Column::Array { ends, nulls, .. } => {
                ends.push(ends.last().copied().unwrap_or(0));
                nulls.append_null();
            }
            Column::Numbers(column) => column.push_null(),
            Column::Sparsevec(b) => b.append_null(),
        }
    }

    /// Any value of the column's type, or NULL.
    pub fn append(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Null => {
                self.append_null();
                Ok(())
            }
            Value::Bool(v) => self.append_bool(*v),
            Value::Int2(v) => self.append_i16(*v),
            Value::Int4(v) | Value::Date(v) => self.append_i32(*v),
            Value::Int8(v) | Value::Time(v) | Value::Timestamp(v) | Value::Timestamptz(v) => self.append_i64(*v),
            Value::Float4(v) => self.append_f32(*v),
            Value::Float8(v) => self.append_f64(*v),
            Value::Numeric(v) => self.append_numeric(*v),
            Value::Text(v) | Value::Jsonb(v) => self.append_str(v),
            Value::Bytea(v) => self.append_bytes(v),
            Value::Uuid(v) => self.append_uuid(*v),
            Value::Interval(v) => self.append_interval(*v),
            Value::Vector(v) => self.append_vector(v),
            Value::Halfvec(v) => self.append_halfvec(v),
            Value::Sparsevec(v) => self.append_sparsevec(v),
            Value::Bit(v) => self.append_bits(v),
            Value::Array(v) => self.append_items(&v.items),
        }
    }

    /// A `T[]`.
    pub fn append_items(&mut self, values: &[Value]) -> Result<()> {
        let Column::Array { items, ends, nulls } = &mut self.column else { return Err(self.mismatch()) };
        values.iter().try_for_each(|value| items.append(value))?;
        ends.push(i32::try_from(items.len()).map_err(|_| too_large())?);
        nulls.append_non_null();
        self.rows += 1;
        Ok(())
    }

    /// The column.
    ///
    /// # Errors
    /// Internal ones only: what was appended fits the type.
    pub fn finish(self) -> Result<ArrayRef> {
        Ok(match self.column {
            Column::Bool(mut b) => Arc::new(b.finish()),
            Column::Int2(mut b) => Arc::new(b.finish()),
            Column::Int4(mut b) => Arc::new(b.finish()),
            Column::Int8(mut b) => Arc::new(b.finish()),
            Column::Float4(mut b) => Arc::new(b.finish()),
            Column::Float8(mut b) => Arc::new(b.finish()),
            Column::Numeric(mut b, _) => Arc::new(b.finish()),
            Column::Text(mut b) => Arc::new(b.finish()),
            Column::Bytea(mut b) => Arc::new(b.finish()),
            Column::Uuid(mut b) => Arc::new(b.finish()),
            Column::Date(mut b) => Arc::new(b.finish()),
            Column::Time(mut b) => Arc::new(b.finish()),
            Column::Timestamp(mut b) => Arc::new(b.finish()),
            Column::Interval(mut b) => Arc::new(b.finish()),
            Column::Jsonb(mut b) => Arc::new(b.finish()),
            Column::Array { items, ends, nulls } => finish_array(*items, ends, nulls)?,
            Column::Numbers(column) => column.finish(&self.ty)?,
            Column::Sparsevec(mut b) => Arc::new(b.finish()),
        })
    }
}

fn finish_array(items: ColumnBuilder, ends: Vec<i32>, mut nulls: NullBufferBuilder) -> Result<ArrayRef> {
    let field = element_field(items.ty());
    let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
    let list = ListArray::try_new(field, offsets, items.finish()?, nulls.finish());
    Ok(Arc::new(list.map_err(|e| Error::internal(e.to_string()))?))
}

/// A column of these values.
///
/// # Errors
/// If a value is not of the type or too large.
pub fn column<'a>(ty: &Type, values: impl IntoIterator<Item = &'a Value>) -> Result<ArrayRef> {
    let values = values.into_iter();
    let mut builder = ColumnBuilder::new(ty, values.size_hint().0)?;
    values.into_iter().try_for_each(|value| builder.append(value))?;
    let array = builder.finish()?;
    debug_assert_eq!(array.data_type(), &data_type(ty));
    Ok(array)
}

/// Offsets in a batch have 31 bits; Arrow would panic beyond.
fn check_size(present: usize, more: usize) -> Result<()> {
    if present.saturating_add(more) > i32::MAX as usize { Err(too_large()) } else { Ok(()) }
}

pub(super) fn too_large() -> Error {
    Error::limit("54000", "a batch of rows has more than 2 GB in one column")
}

pub(crate) fn wrong_dimensions(expected: usize, found: usize) -> Error {
    Error::statement("22000", format!("expected {expected} dimensions, not {found}"))
}
