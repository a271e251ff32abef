//! Types and values that the targets make out of what the fuzzer hands them.

use arbitrary::{Arbitrary, Result, Unstructured};
use half::f16;
use nodedb_base::{Array, BitString, Interval, Numeric, SparseVector, Type, Value};

/// A type, as a column can have it.
pub fn any_type(u: &mut Unstructured<'_>) -> Result<Type> {
    Ok(match u.int_in_range(0..=22)? {
        17 => Type::Array(Box::new(scalar_type(u)?)),
        18 => Type::Vector(u.int_in_range(1..=300)?),
        19 => Type::Halfvec(u.int_in_range(1..=300)?),
        20 => Type::Sparsevec(u.int_in_range(1..=300)?),
        21 => Type::Bit(u.int_in_range(1..=300)?),
        22 => Type::Varbit(u.int_in_range(1..=300)?),
        _ => scalar_type(u)?,
    })
}

fn scalar_type(u: &mut Unstructured<'_>) -> Result<Type> {
    Ok(match u.int_in_range(0..=16)? {
        0 => Type::Bool,
        1 => Type::Int2,
        2 => Type::Int4,
        3 => Type::Int8,
        4 => Type::Float4,
        5 => Type::Float8,
        6 => {
            let precision = u.int_in_range(1..=38)?;
            Type::Numeric { precision, scale: u.int_in_range(0..=precision)? }
        }
        7 => Type::Varchar(u.arbitrary()?),
        8 => Type::Bytea,
        9 => Type::Uuid,
        10 => Type::Date,
        11 => Type::Time,
        12 => Type::Timestamp,
        13 => Type::Timestamptz,
        14 => Type::Interval,
        15 => Type::Jsonb,
        _ => Type::Text,
    })
}

/// A value of a type; a numeric has any scale.
pub fn any_value(ty: &Type, u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match ty {
        Type::Bool => Value::Bool(u.arbitrary()?),
        Type::Int2 => Value::Int2(u.arbitrary()?),
        Type::Int4 => Value::Int4(u.arbitrary()?),
        Type::Int8 => Value::Int8(u.arbitrary()?),
        Type::Float4 => Value::Float4(u.arbitrary()?),
        Type::Float8 => Value::Float8(u.arbitrary()?),
        Type::Numeric { .. } => Value::Numeric(numeric(u)?),
        Type::Text | Type::Varchar(_) => Value::Text(text(u)?),
        Type::Bytea => Value::Bytea(text(u)?.into_bytes()),
        Type::Uuid => Value::Uuid(u.arbitrary()?),
        Type::Date => Value::Date(u.arbitrary()?),
        Type::Time => Value::Time(u.arbitrary()?),
        Type::Timestamp => Value::Timestamp(u.arbitrary()?),
        Type::Timestamptz => Value::Timestamptz(u.arbitrary()?),
        Type::Interval => {
            Value::Interval(Interval { months: u.arbitrary()?, days: u.arbitrary()?, micros: u.arbitrary()? })
        }
        Type::Jsonb => Value::Jsonb(text(u)?),
        Type::Array(element) => {
            let mut items = Vec::new();
            for _ in 0..u.int_in_range(0..=6)? {
                items.push(if u.arbitrary()? { Value::Null } else { any_value(element, u)? });
            }
            Value::Array(Array { element: element.as_ref().clone(), items })
        }
        Type::Vector(n) => {
            let first = <[f32; 4]>::arbitrary(u)?;
            Value::Vector(first.into_iter().cycle().take(*n as usize).collect())
        }
        Type::Halfvec(n) => {
            let first = <[u16; 4]>::arbitrary(u)?.map(f16::from_bits);
            Value::Halfvec(first.into_iter().cycle().take(*n as usize).collect())
        }
        Type::Sparsevec(n) => Value::Sparsevec(sparse(*n, u)?),
        Type::Bit(n) => Value::Bit(bits(*n, u)?),
        Type::Varbit(n) => Value::Bit(bits(u.int_in_range(0..=*n)?, u)?),
    })
}

fn sparse(dimensions: u32, u: &mut Unstructured<'_>) -> Result<SparseVector> {
    let mut indices = Vec::new();
    for index in 0..dimensions {
        if u.ratio(1, 8)? {
            indices.push(index);
        }
    }
    let values = indices.iter().map(|_| Ok(f32::from(u.int_in_range(1..=i16::MAX)?) / 16.0)).collect::<Result<_>>()?;
    Ok(SparseVector { dimensions, indices, values })
}

fn bits(len: u32, u: &mut Unstructured<'_>) -> Result<BitString> {
    let bytes = u.bytes(len.div_ceil(8) as usize)?.to_vec();
    let all = BitString { len: len.next_multiple_of(8), bytes };
    // The bits behind the last are zero.
    Ok(all.resized(len))
}

/// A text, now and then so long that it lies out of line.
fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::arbitrary(u)?;
    if u.ratio(1, 8)? {
        let wanted: usize = u.int_in_range(1000..=1050)?;
        while text.len() < wanted {
            text.push('x');
        }
    }
    Ok(text)
}

fn numeric(u: &mut Unstructured<'_>) -> Result<Numeric> {
    let digits = u.int_in_range(1..=38)?;
    let unscaled = i128::arbitrary(u)? % Numeric::power_of_ten(digits).unwrap_or(1);
    // Trailing zeros are where the codec has something to do.
    let zeros = u.int_in_range(0..=38 - digits)?;
    Ok(Numeric {
        unscaled: unscaled * Numeric::power_of_ten(zeros).unwrap_or(1),
        scale: u.int_in_range(0..=Numeric::MAX_DIGITS)?,
    })
}
