//! Columns of `vector`, `halfvec`, `bit` and `bit varying`: numbers of all rows behind each other.

use super::arrow::data_type;
use super::build::wrong_dimensions;
use ::arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, FixedSizeListArray, Float16Array, Float32Array, ListArray,
    NullBufferBuilder,
};
use ::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use ::arrow::datatypes::DataType;
use half::f16;
use nodedb_base::{Error, Result, Type};
use std::sync::Arc;

#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bits(BooleanBufferBuilder),
}

/// A column that is being built.
#[derive(Debug)]
pub(super) struct NumberColumn {
    numbers: Numbers,
    /// Of every row; 0 if rows differ.
    dimensions: usize,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

/// Numbers that no row should have room made for beforehand.
const MOST_ROOM: usize = 1 << 20;

impl NumberColumn {
    /// `None` if the type is none of these.
    pub fn new(ty: &Type, rows: usize) -> Option<Self> {
        let (numbers, dimensions): (fn(usize) -> Numbers, u32) = match ty {
            Type::Vector(n) => (|room| Numbers::F32(Vec::with_capacity(room)), *n),
            Type::Halfvec(n) => (|room| Numbers::F16(Vec::with_capacity(room)), *n),
            Type::Bit(n) => (|room| Numbers::Bits(BooleanBufferBuilder::new(room)), *n),
            Type::Varbit(_) => (|room| Numbers::Bits(BooleanBufferBuilder::new(room)), 0),
            _ => return None,
        };
        let dimensions = dimensions as usize;
        let numbers = numbers(rows.saturating_mul(dimensions).min(MOST_ROOM));
        Some(Self { numbers, dimensions, ends: vec![0], nulls: NullBufferBuilder::new(rows) })
    }

    /// Appends a `vector`; `None` if the column has none.
    pub fn push_f32(&mut self, count: usize, row: impl Iterator<Item = f32>) -> Option<Result<()>> {
        if let (Numbers::F32(_), Err(e)) = (&self.numbers, self.begin_row(count)) {
            return Some(Err(e));
        }
        let Numbers::F32(numbers) = &mut self.numbers else { return None };
        numbers.extend(row);
        Some(self.end_row(count))
    }

    /// Appends a `halfvec`; `None` if the column has none.
    pub fn push_f16(&mut self, count: usize, row: impl Iterator<Item = f16>) -> Option<Result<()>> {
        if let (Numbers::F16(_), Err(e)) = (&self.numbers, self.begin_row(count)) {
            return Some(Err(e));
        }
        let Numbers::F16(numbers) = &mut self.numbers else { return None };
        numbers.extend(row);
        Some(self.end_row(count))
    }

    /// Appends bits; `None` if the column has none.
    pub fn push_bits(&mut self, count: usize, row: impl Iterator<Item = bool>) -> Option<Result<()>> {
        if let (Numbers::Bits(_), Err(e)) = (&self.numbers, self.begin_row(count)) {
            return Some(Err(e));
        }
        let Numbers::Bits(bits) = &mut self.numbers else { return None };
        row.for_each(|bit| bits.append(bit));
        Some(self.end_row(count))
    }

    /// What does not fit leaves nothing behind.
    fn begin_row(&self, count: usize) -> Result<()> {
        let fits = self.dimensions == 0 || count == self.dimensions;
        if fits { Ok(()) } else { Err(wrong_dimensions(self.dimensions, count)) }
    }

    fn end_row(&mut self, count: usize) -> Result<()> {
        self.note_end(count)?;
        self.nulls.append_non_null();
        Ok(())
    }

    fn note_end(&mut self, count: usize) -> Result<()> {
        if self.dimensions == 0 {
            let end = self.ends.last().copied().unwrap_or(0) as usize + count;
            self.ends.push(i32::try_from(end).map_err(|_| super::build::too_large())?);
        }
        Ok(())
    }

    pub fn push_null(&mut self) {
        let zeros = self.dimensions;
        match &mut self.numbers {
            Numbers::F32(numbers) => numbers.resize(numbers.len() + zeros, 0.0),
            Numbers::F16(numbers) => numbers.resize(numbers.len() + zeros, f16::ZERO),
            Numbers::Bits(bits) => bits.append_n(zeros, false),
        }
        if zeros == 0 {
            self.ends.push(self.ends.last().copied().unwrap_or(0));
        }
        self.nulls.append_null();
    }

    pub fn finish(mut self, ty: &Type) -> Result<ArrayRef> {
        let values: ArrayRef = match self.numbers {
            Numbers::F32(numbers) => Arc::new(Float32Array::from(numbers)),
            Numbers::F16(numbers) => Arc::new(Float16Array::from(numbers)),
            Numbers::Bits(mut bits) => Arc::new(BooleanArray::new(bits.finish(), None)),
        };
        let internal = |e: ::arrow::error::ArrowError| Error::internal(e.to_string());
        let nulls = self.nulls.finish();
        match data_type(ty) {
            DataType::FixedSizeList(item, size) => {
                Ok(Arc::new(FixedSizeListArray::try_new(item, size, values, nulls).map_err(internal)?))
            }
            DataType::List(item) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
                Ok(Arc::new(ListArray::try_new(item, offsets, values, nulls).map_err(internal)?))
            }
            other => Err(Error::internal(format!("numbers as {other}"))),
        }
    }
}
