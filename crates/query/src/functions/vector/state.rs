//! The functions behind pgvector's aggregates, over states that are arrays: how many vectors, and the sum of each number.

use super::super::scalar::{Arity, Call, Function, Values};
use super::each;
use super::operand::{Kind, Operand};
use crate::types::arrow::{MAX_DIMENSIONS, data_type};
use crate::types::text::{no_dimensions, too_many_dimensions};
use crate::types::{TextStyle, cast, parse};
use arrow::array::ArrayRef;
use nodedb_base::{Array, Error, Result, Type, Value};

pub(super) fn functions() -> Vec<Function> {
    use Arity::Exactly;
    let state = || data_type(&Type::Array(Box::new(Type::Float8)));
    let any = |kind: Kind| data_type(&kind.any());
    vec![
        Function::new("vector_avg", Exactly(1), any(Kind::Vector), |c| mean(c, "vector_avg", Kind::Vector)),
        Function::new("halfvec_avg", Exactly(1), any(Kind::Half), |c| mean(c, "halfvec_avg", Kind::Half)),
        Function::new("vector_accum", Exactly(2), state(), |c| accumulate(c, "vector_accum", Kind::Vector)),
        Function::new("halfvec_accum", Exactly(2), state(), |c| accumulate(c, "halfvec_accum", Kind::Half)),
        Function::new("vector_combine", Exactly(2), state(), |c| combine(c, "vector_combine")),
        Function::new("halfvec_combine", Exactly(2), state(), |c| combine(c, "halfvec_combine")),
    ]
}

/// A state: the count, and the sums.
fn state(values: &Values, row: usize, name: &str) -> Result<Option<(f64, Vec<f64>)>> {
    let ty = Type::Array(Box::new(Type::Float8));
    let wrong = || Error::internal(format!("{name}: expected state array"));
    let array = match values.get(row)? {
        Value::Text(text) => parse(&text, &ty, &TextStyle::default()).map_err(|_| wrong())?,
        other => cast(other, &ty, &TextStyle::default())?,
    };
    let items = match array {
        Value::Null => return Ok(None),
        Value::Array(array) => array.items,
        _ => return Err(wrong()),
    };
    let number = |item: &Value| match item {
        Value::Float8(v) => Ok(*v),
        _ => Err(wrong()),
    };
    let numbers = items.iter().map(number).collect::<Result<Vec<_>>>()?;
    let (count, sums) = numbers.split_first().ok_or_else(wrong)?;
    Ok(Some((*count, sums.to_vec())))
}

fn check(sums: &[f64], kind: &str) -> Result<()> {
    match sums.len() {
        0 => Err(no_dimensions(kind)),
        n if n > MAX_DIMENSIONS as usize => Err(too_many_dimensions(kind)),
        _ => Ok(()),
    }
}

fn array(count: f64, sums: Vec<f64>) -> Value {
    let items = std::iter::once(count).chain(sums).map(Value::Float8).collect();
    Value::Array(Array { element: Type::Float8, items })
}

fn mean(call: &Call<'_>, name: &str, kind: Kind) -> Result<ArrayRef> {
    let states = call.values(0)?;
    each(call, &kind.any(), |row| match state(&states, row, name)? {
        Some((0.0, _)) => Ok(None),
        Some((count, sums)) => {
            check(&sums, kind.name())?;
            kind.value(sums.iter().map(|sum| (sum / count) as f32).collect()).map(Some)
        }
        None => Ok(None),
    })
}

fn accumulate(call: &Call<'_>, name: &str, kind: Kind) -> Result<ArrayRef> {
    let (states, vectors) = (call.values(0)?, Operand::of(call.arg(1)?, kind)?);
    each(call, &Type::Array(Box::new(Type::Float8)), |row| {
        let (Some((count, mut sums)), Some(numbers)) = (state(&states, row, name)?, vectors.numbers(row)) else {
            return Ok(None);
        };
        if sums.is_empty() {
            sums = vec![0.0; numbers.len()];
        }
        if sums.len() != numbers.len() {
            return Err(crate::types::build::wrong_dimensions(sums.len(), numbers.len()));
        }
        sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += f64::from(*x));
        Ok(Some(array(count + 1.0, sums)))
    })
}

fn combine(call: &Call<'_>, name: &str) -> Result<ArrayRef> {
    let (left, right) = (call.values(0)?, call.values(1)?);
    each(call, &Type::Array(Box::new(Type::Float8)), |row| {
        let (Some((n, a)), Some((m, b))) = (state(&left, row, name)?, state(&right, row, name)?) else {
            return Ok(None);
        };
        let sums = match (n == 0.0, m == 0.0) {
            (true, _) => b,
            (_, true) => a,
            _ if a.len() != b.len() => return Err(crate::types::build::wrong_dimensions(a.len(), b.len())),
            _ => a.iter().zip(&b).map(|(x, y)| x + y).collect(),
        };
        check(&sums, "vector")?;
        Ok(Some(array(n + m, sums)))
    })
}
