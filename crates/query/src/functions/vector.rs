//! pgvector's functions: distances, and what is known about one vector.

use super::scalar::{Arity, Call, Function, array_of};
use crate::types::arrow::vector_item;
use crate::types::{TextStyle, cast, value_at};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};
use nodedb_base::{Error, Result, Type, Value};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        distance("l2_distance", |a, b| f64::from(l2_squared(a, b)).sqrt()),
        distance("l2_squared_distance", |a, b| f64::from(l2_squared(a, b))),
        distance("cosine_distance", cosine_distance),
        distance("inner_product", |a, b| f64::from(inner_product(a, b))),
        distance("vector_negative_inner_product", |a, b| -f64::from(inner_product(a, b))),
        Function::new("vector_dims", Arity::Exactly(1), DataType::Int32, vector_dims).build(),
        Function::new("vector_norm", Arity::Exactly(1), DataType::Float64, vector_norm).build(),
        Arc::new(ScalarUDF::new_from_impl(Normalize::new())),
    ]
}

fn distance(name: &'static str, f: impl Fn(&[f32], &[f32]) -> f64 + Send + Sync + 'static) -> Arc<ScalarUDF> {
    Function::new(name, Arity::Exactly(2), DataType::Float64, move |call| {
        let (a, b) = (Vectors::of(call.arg(0)?)?, Vectors::of(call.arg(1)?)?);
        pairs(call, &a, &b, &f)
    })
    .build()
}

fn pairs(call: &Call<'_>, a: &Vectors, b: &Vectors, f: impl Fn(&[f32], &[f32]) -> f64) -> Result<ArrayRef> {
    let mut out = Float64Array::builder(call.rows);
    for row in 0..call.rows {
        match (a.get(row), b.get(row)) {
            (Some(x), Some(y)) if x.len() == y.len() => out.append_value(f(x, y)),
            (Some(x), Some(y)) => {
                let message = format!("different vector dimensions {} and {}", x.len(), y.len());
                return Err(Error::statement("22000", message));
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Sums in eight lanes, which the compiler turns into vector instructions.
fn lanes(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (x, y) in a8.iter().zip(b8) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += f(*x, *y);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| f(*x, *y)).sum();
    sums.iter().sum::<f32>() + rest
}

/// The square of the Euclidean distance.
#[must_use]
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| (x - y) * (x - y))
}

/// The inner product.
#[must_use]
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| x * y)
}

/// One minus the cosine of the angle; NaN if a vector is zero, as pgvector has it.
#[must_use]
pub fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    let norms = f64::from(inner_product(a, a)) * f64::from(inner_product(b, b));
    let similarity = f64::from(inner_product(a, b)) / norms.sqrt();
    if similarity.is_nan() { f64::NAN } else { 1.0 - similarity.clamp(-1.0, 1.0) }
}

fn vector_dims(call: &Call<'_>) -> Result<ArrayRef> {
    let vectors = Vectors::of(call.arg(0)?)?;
    let dims = |row| vectors.get(row).and_then(|v| i32::try_from(v.len()).ok());
    Ok(Arc::new((0..call.rows).map(dims).collect::<Int32Array>()))
}

/// In double precision, as pgvector computes it.
fn norm(v: &[f32]) -> f64 {
    v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

fn vector_norm(call: &Call<'_>) -> Result<ArrayRef> {
    let vectors = Vectors::of(call.arg(0)?)?;
    Ok(Arc::new((0..call.rows).map(|row| vectors.get(row).map(norm)).collect::<Float64Array>()))
}

/// A vector argument: the numbers of all rows behind each other.
struct Vectors {
    values: Float32Array,
    nulls: Option<NullBuffer>,
    /// Where each row ends if rows differ in length, else nothing.
    ends: Vec<usize>,
    dimensions: usize,
    constant: bool,
}

impl Vectors {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let (array, constant) = array_of(value)?;
        match array.as_fixed_size_list_opt().map(|list| (list, list.values().as_primitive_opt::<Float32Type>())) {
            Some((list, Some(values))) => {
                let dimensions = usize::try_from(list.value_length()).unwrap_or(0);
                // A sliced list keeps its parent's values.
                let values = values.slice(list.value_offset(0) as usize, list.len() * dimensions);
                Ok(Self { values, nulls: list.nulls().cloned(), ends: Vec::new(), dimensions, constant })
            }
            _ => Self::converted(&array, constant),
        }
    }

    /// Literals and arrays of numbers.
    fn converted(array: &ArrayRef, constant: bool) -> Result<Self> {
        let (mut values, mut ends, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..array.len() {
            let value = cast(value_at(array, row, None)?, &Type::Vector(0), &TextStyle::default())?;
            valid.push(!value.is_null());
            if let Value::Vector(v) = value {
                values.extend(v);
            }
            ends.push(values.len());
        }
        let nulls = Some(NullBuffer::from(valid));
        Ok(Self { values: values.into(), nulls, ends, dimensions: 0, constant })
    }

    fn get(&self, row: usize) -> Option<&[f32]> {
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

/// `l2_normalize(vector)`, whose type is that of its argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Normalize {
    signature: datafusion::logical_expr::Signature,
}

impl Normalize {
    fn new() -> Self {
        use datafusion::logical_expr::{Signature, Volatility};
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl datafusion::logical_expr::ScalarUDFImpl for Normalize {
    fn name(&self) -> &'static str {
        "l2_normalize"
    }

    fn signature(&self) -> &datafusion::logical_expr::Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> datafusion::error::Result<DataType> {
        match arguments {
            [vector @ DataType::FixedSizeList(_, _)] => Ok(vector.clone()),
            _ => Err(super::error::to_datafusion(
                Error::statement("42883", "function l2_normalize does not exist for an argument that is no vector")
                    .with_hint("You might need to add explicit type casts."),
            )),
        }
    }

    fn invoke_with_args(
        &self,
        args: datafusion::logical_expr::ScalarFunctionArgs,
    ) -> datafusion::error::Result<ColumnarValue> {
        let call = Call::new(&args, false);
        let array = normalize(&call).map_err(super::error::to_datafusion)?;
        call.finish(array)
    }
}

fn normalize(call: &Call<'_>) -> Result<ArrayRef> {
    let vectors = Vectors::of(call.arg(0)?)?;
    let mut out = Vec::with_capacity(vectors.values.len());
    for row in 0..call.rows {
        match vectors.get(row).map(|v| (v, norm(v))) {
            Some((v, norm)) if norm > 0.0 => out.extend(v.iter().map(|x| (f64::from(*x) / norm) as f32)),
            _ => out.resize(out.len() + vectors.dimensions, 0.0),
        }
    }
    let size = i32::try_from(vectors.dimensions).map_err(|e| Error::internal(e.to_string()))?;
    let values = Arc::new(Float32Array::from(out));
    let list = FixedSizeListArray::try_new(vector_item(), size, values, vectors.nulls);
    Ok(Arc::new(list.map_err(|e| Error::internal(e.to_string()))?))
}
