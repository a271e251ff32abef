//! pgvector's functions over `vector`, `halfvec`, `sparsevec` and `bit`: distances, arithmetic, order, parts.

mod aggregate;
mod distance;
mod operand;
mod state;

pub(super) use aggregate::register as register_aggregates;

use super::scalar::{Arity, Call, Function};
use crate::types::arrow::{MAX_DIMENSIONS, data_type, type_of};
use crate::types::build::column;
use arrow::array::{ArrayRef, Float64Array, Int32Array};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;
use nodedb_base::{BitString, Error, Result, SparseVector, Type, Value};
use operand::{Dense, Kind, Operand};
use std::cmp::Ordering;
use std::sync::Arc;

/// The comparison of two vectors or strings of bits: below, at or above zero.
pub(super) const ORDER: &str = "nodedb_vector_order";

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Arity::Exactly;
    let vector = || data_type(&Type::Vector(0));
    let arithmetic = |name, f: fn(f32, f32) -> f32, op| {
        Function::new(name, Exactly(2), vector(), move |call| arithmetic(call, f, op)).returning(loose)
    };
    distance::functions()
        .into_iter()
        .chain(state::functions())
        .chain([
            Function::new("vector_dims", Exactly(1), DataType::Int32, vector_dims),
            Function::new("vector_norm", Exactly(1), DataType::Float64, norms).alias("l2_norm"),
            Function::new("l2_normalize", Exactly(1), vector(), normalize).returning(same),
            Function::new("binary_quantize", Exactly(1), data_type(&Type::Varbit(0)), quantize),
            Function::new("subvector", Exactly(3), vector(), subvector).returning(loose),
            Function::new("nodedb_vector_concat", Exactly(2), vector(), concat).returning(loose),
            Function::new("array_to_vector", Arity::Any, vector(), array_to_vector),
            Function::new(ORDER, Exactly(2), DataType::Int32, order),
            Function::new("vector_cmp", Exactly(2), DataType::Int32, order),
            Function::new("halfvec_cmp", Exactly(2), DataType::Int32, order),
            Function::new("sparsevec_cmp", Exactly(2), DataType::Int32, |call| ordered(call, Kind::Sparse)),
            arithmetic("nodedb_vector_add", |x, y| x + y, Op::Sum),
            arithmetic("nodedb_vector_subtract", |x, y| x - y, Op::Sum),
            arithmetic("nodedb_vector_multiply", |x, y| x * y, Op::Product),
        ])
        .map(Function::build)
        .collect()
}

/// Vectors of the kind of the arguments, with any number of dimensions.
fn loose(types: &[DataType]) -> DataType {
    data_type(&Kind::of(types).any())
}

/// The type of the argument.
fn same(types: &[DataType]) -> DataType {
    match types.first() {
        Some(ty) if type_of(ty).is_ok_and(|ty| ty.is_vector()) => ty.clone(),
        _ => data_type(&Type::Vector(0)),
    }
}

/// One value of a type for each row.
fn each(call: &Call<'_>, ty: &Type, f: impl Fn(usize) -> Result<Option<Value>>) -> Result<ArrayRef> {
    let values = (0..call.rows).map(|row| f(row).map(|value| value.unwrap_or(Value::Null)));
    column(ty, &values.collect::<Result<Vec<_>>>()?)
}

fn vector_dims(call: &Call<'_>) -> Result<ArrayRef> {
    let operand = Operand::only(call)?;
    let dims = |row| operand.dimensions(row).and_then(|n| i32::try_from(n).ok());
    Ok(Arc::new((0..call.rows).map(dims).collect::<Int32Array>()))
}

/// In double precision, as pgvector computes it.
fn norm(numbers: &[f32]) -> f64 {
    numbers.iter().map(|x| f64::from(*x) * f64::from(*x)).fold(0.0, |sum, x| sum + x).sqrt()
}

fn norms(call: &Call<'_>) -> Result<ArrayRef> {
    let operand = Operand::only(call)?;
    Ok(Arc::new((0..call.rows).map(|row| operand.numbers(row).map(norm)).collect::<Float64Array>()))
}

fn normalize(call: &Call<'_>) -> Result<ArrayRef> {
    let ty = type_of(&same(&call.types()))?;
    let operand = Operand::only(call)?;
    let shorter = |numbers: &[f32]| -> Vec<f32> {
        let norm = norm(numbers);
        let scaled = |x: &f32| if norm > 0.0 { (f64::from(*x) / norm) as f32 } else { 0.0 };
        numbers.iter().map(scaled).collect()
    };
    each(call, &ty, |row| match &operand {
        Operand::Sparse(sparse) => Ok(sparse.get(row).map(|v| {
            let (dimensions, values) = (v.dimensions, shorter(&v.values));
            let kept = v.indices.iter().zip(values).filter(|(_, value)| *value != 0.0);
            let (indices, values) = kept.map(|(index, value)| (*index, value)).unzip();
            Value::Sparsevec(SparseVector { dimensions, indices, values })
        })),
        _ => operand.numbers(row).map(|numbers| operand.kind().value(shorter(numbers))).transpose(),
    })
}

fn quantize(call: &Call<'_>) -> Result<ArrayRef> {
    let operand = Operand::only(call)?;
    let bits = |numbers: &[f32]| Value::Bit(numbers.iter().map(|x| *x > 0.0).collect::<BitString>());
    each(call, &Type::Varbit(0), |row| Ok(operand.numbers(row).map(bits)))
}

/// `subvector(v, start, count)`: what of these places, counted from 1, there is.
fn subvector(call: &Call<'_>) -> Result<ArrayRef> {
    let (vectors, kind) = Dense::first(call)?;
    let (starts, counts) = (call.values(1)?, call.values(2)?);
    each(call, &kind.any(), |row| {
        let (Some(numbers), Some(start), Some(count)) = (vectors.get(row), starts.integer(row)?, counts.integer(row)?)
        else {
            return Ok(None);
        };
        let (from, end) = (start.saturating_sub(1), numbers.len() as i64);
        let to = from.saturating_add(count).clamp(0, end);
        let from = from.clamp(0, to.max(0));
        match numbers.get(from as usize..to as usize) {
            Some(part) if !part.is_empty() && count > 0 => kind.value(part.to_vec()).map(Some),
            _ => Err(crate::types::text::no_dimensions(kind.name())),
        }
    })
}

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b, kind) = Dense::both(call)?;
    each(call, &kind.any(), |row| {
        let (Some(a), Some(b)) = (a.get(row), b.get(row)) else { return Ok(None) };
        if a.len() + b.len() > MAX_DIMENSIONS as usize {
            return Err(crate::types::text::too_many_dimensions(kind.name()));
        }
        kind.value([a, b].concat()).map(Some)
    })
}

/// What an operation can run out of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Sum,
    Product,
}

fn arithmetic(call: &Call<'_>, f: fn(f32, f32) -> f32, op: Op) -> Result<ArrayRef> {
    let (a, b, kind) = Dense::both(call)?;
    let number = |x: &f32, y: &f32| {
        let result = kind.rounded(f(*x, *y));
        if result.is_infinite() {
            return Err(Error::statement("22003", "value out of range: overflow"));
        }
        if op == Op::Product && result == 0.0 && *x != 0.0 && *y != 0.0 {
            return Err(Error::statement("22003", "value out of range: underflow"));
        }
        Ok(result)
    };
    each(call, &kind.any(), |row| {
        let (Some(a), Some(b)) = (a.get(row), b.get(row)) else { return Ok(None) };
        kind.check_same(a.len(), b.len())?;
        let numbers = a.iter().zip(b).map(|(x, y)| number(x, y)).collect::<Result<Vec<_>>>()?;
        kind.value(numbers).map(Some)
    })
}

/// `array_to_vector(array, dimensions, false)`: the cast that pgvector has behind `::vector`.
fn array_to_vector(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.values(0)?;
    each(call, &Type::Vector(0), |row| crate::types::cast(arrays.get(row)?, &Type::Vector(0), &call.style).map(Some))
}

fn order(call: &Call<'_>) -> Result<ArrayRef> {
    ordered(call, Kind::of(&call.types()))
}

fn ordered(call: &Call<'_>, kind: Kind) -> Result<ArrayRef> {
    let (a, b) = (Operand::of(call.arg(0)?, kind)?, Operand::of(call.arg(1)?, kind)?);
    let order = |row| {
        a.compare(&b, row).map(|order| match order {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        })
    };
    Ok(Arc::new((0..call.rows).map(order).collect::<Int32Array>()))
}
