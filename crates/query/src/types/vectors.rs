//! Conversions of vectors and bits.

use super::arrow::MAX_DIMENSIONS;
use super::build::wrong_dimensions;
use super::coerce::Kind;
use super::text::{TextStyle, check_finite, half, no_dimensions, too_many_dimensions};
use half::f16;
use nodedb_base::{BitString, Error, Result, SparseVector, Type, Value};

/// Converts to a type of vectors; `None` if there is no such cast.
pub(super) fn convert(value: Value, to: &Type, style: &TextStyle) -> Result<Option<Value>> {
    Ok(match to {
        Type::Vector(n) => match dense(&value, "vector", style)? {
            Some(numbers) => Some(Value::Vector(fit(numbers, *n)?)),
            None => None,
        },
        Type::Halfvec(n) => match (&value, dense(&value, "halfvec", style)?) {
            (Value::Halfvec(halves), _) => Some(Value::Halfvec(fit(halves.clone(), *n)?)),
            (_, Some(numbers)) => Some(Value::Halfvec(fit(halves(&numbers)?, *n)?)),
            (_, None) => None,
        },
        Type::Sparsevec(n) => match value {
            Value::Sparsevec(v) => Some(Value::Sparsevec(fit_sparse(v, *n)?)),
            other => match numbers_of(&other, "sparsevec", style)? {
                Some(numbers) => Some(Value::Sparsevec(fit_sparse(sparse(&numbers)?, *n)?)),
                None => None,
            },
        },
        _ => None,
    })
}

fn sparse(numbers: &[f32]) -> Result<SparseVector> {
    let vector = SparseVector::of_dense(numbers);
    if vector.values.len() > MAX_DIMENSIONS as usize { Err(too_many_dimensions("sparsevec")) } else { Ok(vector) }
}

/// All numbers of a vector or an array; `None` of anything else.
fn dense(value: &Value, ty: &str, style: &TextStyle) -> Result<Option<Vec<f32>>> {
    if let Value::Sparsevec(v) = value {
        if v.dimensions > MAX_DIMENSIONS {
            return Err(too_many_dimensions(ty));
        }
        let mut numbers = vec![0.0; v.dimensions as usize];
        for (index, number) in v.indices.iter().zip(&v.values) {
            if let Some(place) = numbers.get_mut(*index as usize) {
                *place = *number;
            }
        }
        return Ok(Some(numbers));
    }
    let numbers = numbers_of(value, ty, style)?;
    match numbers {
        Some(numbers) if numbers.len() > MAX_DIMENSIONS as usize => Err(too_many_dimensions(ty)),
        numbers => Ok(numbers),
    }
}

fn numbers_of(value: &Value, ty: &str, style: &TextStyle) -> Result<Option<Vec<f32>>> {
    Ok(Some(match value {
        Value::Vector(v) => v.iter().map(|x| check_finite(*x, ty)).collect::<Result<_>>()?,
        Value::Halfvec(v) => v.iter().map(|x| x.to_f32()).collect(),
        Value::Array(v) => {
            if v.items.is_empty() {
                return Err(no_dimensions(ty));
            }
            v.items.iter().map(|item| dimension(item, ty, style)).collect::<Result<_>>()?
        }
        _ => return Ok(None),
    }))
}

fn dimension(item: &Value, ty: &str, style: &TextStyle) -> Result<f32> {
    let number = match item {
        Value::Null => return Err(Error::statement("22004", "array must not contain nulls")),
        // Beyond the range of single precision it is infinite, below it zero, as pgvector has it.
        Value::Float8(v) => *v as f32,
        other => match super::cast(other.clone(), &Type::Float4, style)? {
            Value::Float4(v) => v,
            _ => return Err(Error::internal("a number that is none")),
        },
    };
    check_finite(number, ty)
}

fn halves(numbers: &[f32]) -> Result<Vec<f16>> {
    numbers.iter().map(|number| half(*number, &number.to_string())).collect()
}

/// Checks the number of dimensions; 0 stands for any.
pub(crate) fn fit<T>(v: Vec<T>, n: u32) -> Result<Vec<T>> {
    if n != 0 && v.len() != n as usize { Err(wrong_dimensions(n as usize, v.len())) } else { Ok(v) }
}

/// The same of a sparse vector.
pub(crate) fn fit_sparse(v: SparseVector, n: u32) -> Result<SparseVector> {
    let fits = n == 0 || v.dimensions == n;
    if fits { Ok(v) } else { Err(wrong_dimensions(n as usize, v.dimensions as usize)) }
}

/// Checks the number of bits, or cuts and fills when the cast is explicit.
pub(crate) fn fit_bits(v: BitString, to: &Type, kind: Kind) -> Result<BitString> {
    let len = v.len;
    match (to, kind) {
        (Type::Bit(n), _) if len == *n => Ok(v),
        (Type::Bit(n), Kind::Explicit) => Ok(v.resized(*n)),
        (Type::Bit(n), Kind::Assignment) => {
            Err(Error::statement("22026", format!("bit string length {len} does not match type bit({n})")))
        }
        (Type::Varbit(n), _) if *n == 0 || len <= *n => Ok(v),
        (Type::Varbit(n), Kind::Explicit) => Ok(v.resized(*n)),
        (Type::Varbit(n), Kind::Assignment) => {
            Err(Error::statement("22001", format!("bit string too long for type bit varying({n})")))
        }
        _ => Err(Error::internal("bits for another type")),
    }
}
