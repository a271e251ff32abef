//! Key bytes: they are decoded or refused, and keys sort as their values do.

use crate::values::{any_type, any_value};
use arbitrary::{Result, Unstructured};
use nodedb_base::key::{KeyOrder, after_prefix, decode, encode};
use nodedb_base::{Numeric, Reader, SparseVector, Type, Value};
use std::cmp::Ordering;

fn key(value: &Value, order: KeyOrder) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, order, &mut bytes).expect("the type has an order");
    bytes
}

/// How PostgreSQL compares two values, NULLs apart.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int2(a), Value::Int2(b)) => a.cmp(b),
        (Value::Int4(a), Value::Int4(b)) | (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Int8(a), Value::Int8(b))
        | (Value::Time(a), Value::Time(b))
        | (Value::Timestamp(a), Value::Timestamp(b))
        | (Value::Timestamptz(a), Value::Timestamptz(b)) => a.cmp(b),
        (Value::Float4(a), Value::Float4(b)) => floats(f64::from(*a), f64::from(*b)),
        (Value::Float8(a), Value::Float8(b)) => floats(*a, *b),
        (Value::Numeric(a), Value::Numeric(b)) => parts(*a).cmp(&parts(*b)),
        (Value::Text(a), Value::Text(b)) | (Value::Jsonb(a), Value::Jsonb(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bytea(a), Value::Bytea(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        (Value::Interval(a), Value::Interval(b)) => a.comparable().cmp(&b.comparable()),
        (Value::Array(a), Value::Array(b)) => {
            let differ = a.items.iter().zip(&b.items).map(|(a, b)| elements(a, b)).find(|order| order.is_ne());
            differ.unwrap_or(a.items.len().cmp(&b.items.len()))
        }
        (Value::Vector(a), Value::Vector(b)) => numbers(a, b),
        (Value::Halfvec(a), Value::Halfvec(b)) => {
            let [a, b] = [a, b].map(|v| v.iter().map(|n| n.to_f32()).collect::<Vec<_>>());
            numbers(&a, &b)
        }
        (Value::Sparsevec(a), Value::Sparsevec(b)) => numbers(&dense(a), &dense(b)),
        (Value::Bit(a), Value::Bit(b)) => a.bits().cmp(b.bits()),
        (a, b) => panic!("{a:?} and {b:?} are not of one type"),
    }
}

/// NULLs last.
fn elements(a: &Value, b: &Value) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (false, false) => compare(a, b),
        (a, b) => a.cmp(&b),
    }
}

/// One by one, the shorter of two that begin alike first.
fn numbers(a: &[f32], b: &[f32]) -> Ordering {
    let differ = a.iter().zip(b).map(|(a, b)| floats(f64::from(*a), f64::from(*b))).find(|order| order.is_ne());
    differ.unwrap_or(a.len().cmp(&b.len()))
}

fn dense(sparse: &SparseVector) -> Vec<f32> {
    let mut numbers = vec![0.0; sparse.dimensions as usize];
    for (index, value) in sparse.indices.iter().zip(&sparse.values) {
        numbers[*index as usize] = *value;
    }
    numbers
}

/// NaN is above all numbers and equal to itself; -0 is 0.
fn floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// What stands before the point, and 38 digits behind it.
fn parts(n: Numeric) -> (i128, i128) {
    let one = Numeric::power_of_ten(n.scale).expect("a scale");
    let rest = Numeric::power_of_ten(Numeric::MAX_DIGITS - n.scale).expect("a scale");
    (n.unscaled / one, n.unscaled % one * rest)
}

fn input(u: &mut Unstructured<'_>) -> Result<()> {
    let ty = any_type(u)?;
    let order = KeyOrder { descending: u.arbitrary()?, nulls_first: u.arbitrary()? };
    if !ty.is_orderable() {
        let value = any_value(&ty, u)?;
        assert!(encode(&value, order, &mut Vec::new()).is_err());
        return Ok(());
    }
    let (a, b) = (any_value(&ty, u)?, any_value(&ty, u)?);
    ordered(&a, &b, order);
    for value in [&a, &b, &Value::Null] {
        read_back(&ty, value, order);
    }
    let rest = u.bytes(u.len())?;
    hostile(&ty, order, rest);
    Ok(())
}

fn ordered(a: &Value, b: &Value, order: KeyOrder) {
    let (x, y) = (key(a, order), key(b, order));
    let expected = if order.descending { compare(a, b).reverse() } else { compare(a, b) };
    assert_eq!(x.cmp(&y), expected, "{a:?} and {b:?} as {x:?} and {y:?}");
    assert!(x == y || !(x.starts_with(&y) || y.starts_with(&x)), "{x:?} and {y:?}: one is a prefix of the other");
    let null = key(&Value::Null, order);
    assert_eq!(null < x, order.nulls_first);
    // All that starts with a key lies between it and the end of its range.
    let longer = [x.as_slice(), &[0xff; 9]].concat();
    assert!(after_prefix(&x).is_none_or(|end| longer < end));
}

/// What is encoded is decoded: to a value with the same key, and to the end of the column.
fn read_back(ty: &Type, value: &Value, order: KeyOrder) {
    let mut bytes = key(value, order);
    let length = bytes.len();
    bytes.extend([1, 2, 3]);
    let mut r = Reader::new(&bytes, "key");
    let back = decode(ty, order, &mut r).unwrap_or_else(|e| panic!("{value:?}: {e}"));
    assert_eq!(r.rest(), [1, 2, 3], "{value:?}");
    assert_eq!(key(&back, order), &bytes[..length], "{value:?} came back as {back:?}");
}

/// Any bytes: refused, or the one key of a value.
fn hostile(ty: &Type, order: KeyOrder, bytes: &[u8]) {
    let mut r = Reader::new(bytes, "key");
    if let Ok(value) = decode(ty, order, &mut r) {
        let read = &bytes[..bytes.len() - r.rest().len()];
        assert_eq!(key(&value, order), read, "{value:?} has two keys");
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    // Too little data is no input.
    let _ = input(&mut Unstructured::new(data));
}
