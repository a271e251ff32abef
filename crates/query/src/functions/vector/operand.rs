//! Arguments that are vectors or strings of bits.

use super::super::scalar::{Call, array_of};
use crate::types::arrow::type_of;
use crate::types::text::half;
use crate::types::{TextStyle, cast, parse, value_at};
use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, Float32Type};
use datafusion::logical_expr::ColumnarValue;
use half::f16;
use nodedb_base::{BitString, Error, Result, SparseVector, Type, Value};
use std::cmp::Ordering;

/// Which of the types an operation is over. A literal is taken for what the other side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Vector,
    Half,
    Sparse,
    Bits,
}

impl Kind {
    /// The kind of the first argument that has one.
    pub fn of(types: &[DataType]) -> Self {
        types.iter().find_map(Self::of_type).unwrap_or(Self::Vector)
    }

    pub fn of_type(ty: &DataType) -> Option<Self> {
        match type_of(ty).ok()? {
            Type::Vector(_) => Some(Self::Vector),
            Type::Halfvec(_) => Some(Self::Half),
            Type::Sparsevec(_) => Some(Self::Sparse),
            Type::Bit(_) | Type::Varbit(_) => Some(Self::Bits),
            _ => None,
        }
    }

    /// The type with any number of dimensions.
    pub const fn any(self) -> Type {
        match self {
            Self::Vector => Type::Vector(0),
            Self::Half => Type::Halfvec(0),
            Self::Sparse => Type::Sparsevec(0),
            Self::Bits => Type::Varbit(0),
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Half => "halfvec",
            Self::Sparse => "sparsevec",
            Self::Bits => "bit",
        }
    }

    /// A number as this kind holds it.
    pub fn rounded(self, number: f32) -> f32 {
        if self == Self::Half { f16::from_f32(number).to_f32() } else { number }
    }

    /// A vector of this kind.
    pub fn value(self, numbers: Vec<f32>) -> Result<Value> {
        match self {
            Self::Half => {
                let halves = numbers.iter().map(|number| half(*number, &number.to_string()));
                Ok(Value::Halfvec(halves.collect::<Result<_>>()?))
            }
            _ => Ok(Value::Vector(numbers)),
        }
    }

    pub fn check_same(self, a: usize, b: usize) -> Result<()> {
        if a == b {
            return Ok(());
        }
        Err(Error::statement(
            "22000",
            match self {
                Self::Bits => format!("different bit lengths {a} and {b}"),
                kind => format!("different {} dimensions {a} and {b}", kind.name()),
            },
        ))
    }
}

/// An argument.
pub enum Operand {
    Dense(Dense, Kind),
    Sparse(Rows<SparseVector>),
    Bits(Rows<BitString>),
}

/// The values of all rows, or the one that is the same for all.
pub struct Rows<T> {
    rows: Vec<Option<T>>,
    constant: bool,
}

impl<T> Rows<T> {
    fn read(array: &ArrayRef, constant: bool, ty: &Type, of: fn(Value) -> Option<T>) -> Result<Self> {
        let rows = (0..array.len()).map(|row| converted(array, row, ty).map(of)).collect::<Result<_>>()?;
        Ok(Self { rows, constant })
    }

    pub fn get(&self, row: usize) -> Option<&T> {
        self.rows.get(if self.constant { 0 } else { row })?.as_ref()
    }
}

/// A value as another type; a text is read, not cast, so that its length counts.
fn converted(array: &ArrayRef, row: usize, ty: &Type) -> Result<Value> {
    match value_at(array, row, None)? {
        Value::Text(text) => parse(&text, ty, &TextStyle::default()),
        other => cast(other, ty, &TextStyle::default()),
    }
}

impl Operand {
    pub fn of(arg: &ColumnarValue, kind: Kind) -> Result<Self> {
        let (array, constant) = array_of(arg)?;
        Ok(match kind {
            Kind::Vector | Kind::Half => Self::Dense(Dense::read(&array, constant, kind)?, kind),
            Kind::Sparse => Self::Sparse(Rows::read(&array, constant, &kind.any(), |value| match value {
                Value::Sparsevec(v) => Some(v),
                _ => None,
            })?),
            Kind::Bits => Self::Bits(Rows::read(&array, constant, &kind.any(), |value| match value {
                Value::Bit(v) => Some(v),
                _ => None,
            })?),
        })
    }

    /// The only argument.
    pub fn only(call: &Call<'_>) -> Result<Self> {
        Self::of(call.arg(0)?, Kind::of(&call.types()))
    }

    pub const fn kind(&self) -> Kind {
        match self {
            Self::Dense(_, kind) => *kind,
            Self::Sparse(_) => Kind::Sparse,
            Self::Bits(_) => Kind::Bits,
        }
    }

    pub fn dimensions(&self, row: usize) -> Option<usize> {
        match self {
            Self::Dense(dense, _) => dense.get(row).map(<[f32]>::len),
            Self::Sparse(sparse) => sparse.get(row).map(|v| v.dimensions as usize),
            Self::Bits(bits) => bits.get(row).map(|v| v.len as usize),
        }
    }

    /// The numbers, of a sparse vector those that are not zero.
    pub fn numbers(&self, row: usize) -> Option<&[f32]> {
        match self {
            Self::Dense(dense, _) => dense.get(row),
            Self::Sparse(sparse) => sparse.get(row).map(|v| &v.values[..]),
            Self::Bits(_) => None,
        }
    }

    pub fn compare(&self, other: &Self, row: usize) -> Option<Ordering> {
        match (self, other) {
            (Self::Dense(a, _), Self::Dense(b, _)) => a.get(row)?.partial_cmp(b.get(row)?),
            (Self::Sparse(a), Self::Sparse(b)) => {
                Some(a.get(row)?.to_ordered_bytes().cmp(&b.get(row)?.to_ordered_bytes()))
            }
            (Self::Bits(a), Self::Bits(b)) => Some(a.get(row)?.bits().cmp(b.get(row)?.bits())),
            _ => None,
        }
    }
}

/// Vectors of which all numbers are there: those of all rows behind each other.
pub struct Dense {
    values: Float32Array,
    nulls: Option<NullBuffer>,
    /// Where each row ends if rows differ in length, else nothing.
    ends: Vec<usize>,
    dimensions: usize,
    constant: bool,
}

impl Dense {
    /// The first argument and its kind.
    pub fn first(call: &Call<'_>) -> Result<(Self, Kind)> {
        let kind = dense_kind(call)?;
        let (array, constant) = array_of(call.arg(0)?)?;
        Ok((Self::read(&array, constant, kind)?, kind))
    }

    /// Both arguments and their kind.
    pub fn both(call: &Call<'_>) -> Result<(Self, Self, Kind)> {
        let (first, kind) = Self::first(call)?;
        let (array, constant) = array_of(call.arg(1)?)?;
        Ok((first, Self::read(&array, constant, kind)?, kind))
    }

    fn read(array: &ArrayRef, constant: bool, kind: Kind) -> Result<Self> {
        if let Some(fixed) = array.as_fixed_size_list_opt()
            && let Some(values) = floats(fixed.values())?
        {
            let dimensions = usize::try_from(fixed.value_length()).unwrap_or(0);
            // A sliced list keeps its parent's values.
            let values = values.slice(fixed.value_offset(0) as usize, fixed.len() * dimensions);
            return Ok(Self { values, nulls: fixed.nulls().cloned(), ends: Vec::new(), dimensions, constant });
        }
        let is_vector = matches!(type_of(array.data_type()), Ok(Type::Vector(_) | Type::Halfvec(_)));
        if let Some(list) = array.as_list_opt::<i32>().filter(|_| is_vector)
            && let Some(values) = floats(list.values())?
        {
            let first = list.offsets().first().copied().unwrap_or(0);
            let length = list.offsets().last().copied().unwrap_or(0) - first;
            let ends = list.offsets().iter().skip(1).map(|end| (end - first) as usize).collect();
            let values = values.slice(first as usize, length as usize);
            return Ok(Self { values, nulls: list.nulls().cloned(), ends, dimensions: 0, constant });
        }
        Self::converted(array, constant, kind)
    }

    /// Literals and arrays of numbers.
    fn converted(array: &ArrayRef, constant: bool, kind: Kind) -> Result<Self> {
        let (mut values, mut ends, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..array.len() {
            let value = converted(array, row, &kind.any())?;
            valid.push(!value.is_null());
            match value {
                Value::Vector(v) => values.extend(v),
                Value::Halfvec(v) => values.extend(v.iter().map(|x| x.to_f32())),
                _ => {}
            }
            ends.push(values.len());
        }
        let nulls = Some(NullBuffer::from(valid));
        Ok(Self { values: values.into(), nulls, ends, dimensions: 0, constant })
    }

    pub fn get(&self, row: usize) -> Option<&[f32]> {
        let row = if self.constant { 0 } else { row };
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let (start, end) = match self.ends.get(row) {
            Some(end) => (row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0), *end),
            None => (row * self.dimensions, (row + 1) * self.dimensions),
        };
        self.values.values().get(start..end)
    }
}

fn dense_kind(call: &Call<'_>) -> Result<Kind> {
    match Kind::of(&call.types()) {
        kind @ (Kind::Vector | Kind::Half) => Ok(kind),
        kind => Err(Error::statement("42883", format!("there is no such function of {}", kind.name()))),
    }
}

/// Numbers in single precision; `None` if they are none.
fn floats(values: &ArrayRef) -> Result<Option<Float32Array>> {
    Ok(match values.data_type() {
        DataType::Float32 => values.as_primitive_opt::<Float32Type>().cloned(),
        DataType::Float16 => {
            let wide = arrow_cast(values, &DataType::Float32).map_err(|e| Error::internal(e.to_string()))?;
            wide.as_primitive_opt::<Float32Type>().cloned()
        }
        _ => None,
    })
}
