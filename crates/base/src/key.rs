//! The key codec: values as bytes whose order is the order of the values.
//!
//! `docs/format/keys.md` is the reference. Each column is one mark byte (a value or NULL) and the value's
//! bytes; a descending column inverts the latter. The bytes of a column say where they end, so columns can
//! simply follow each other, and a prefix of the columns is a prefix of the bytes.

use crate::{Array, BitString, Error, Interval, Numeric, Reader, Result, SparseVector, Type, Value};
use half::f16;
use serde::{Deserialize, Serialize};

/// How one column of a key is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyOrder {
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST`.
    pub nulls_first: bool,
}

const NULL_FIRST: u8 = 0;
const VALUE: u8 = 1;
const NULL_LAST: u8 = 2;

/// Appends a column.
///
/// # Errors
/// `Statement` (42704) for a type without an order.
pub fn encode(value: &Value, order: KeyOrder, out: &mut Vec<u8>) -> Result<()> {
    if value.is_null() {
        out.push(null_mark(order));
        return Ok(());
    }
    out.push(VALUE);
    let start = out.len();
    encode_value(value, out)?;
    if order.descending {
        out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
    Ok(())
}

/// The mark of a NULL.
#[must_use]
pub const fn null_mark(order: KeyOrder) -> u8 {
    if order.nulls_first { NULL_FIRST } else { NULL_LAST }
}

/// The least bytes that are greater than everything that starts with `prefix`; `None` if there are none.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

fn encode_value(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => return Err(Error::internal("a NULL has no key bytes")),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Int2(v) => out.extend((v.cast_unsigned() ^ (1 << 15)).to_be_bytes()),
        Value::Int4(v) | Value::Date(v) => out.extend((v.cast_unsigned() ^ (1 << 31)).to_be_bytes()),
        Value::Int8(v) | Value::Time(v) | Value::Timestamp(v) | Value::Timestamptz(v) => {
            out.extend((v.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        }
        Value::Float4(v) => out.extend(ordered_f32(*v).to_be_bytes()),
        Value::Float8(v) => out.extend(ordered_f64(*v).to_be_bytes()),
        Value::Numeric(v) => encode_numeric(*v, out),
        Value::Text(v) | Value::Jsonb(v) => encode_bytes(v.as_bytes(), out),
        Value::Bytea(v) => encode_bytes(v, out),
        Value::Uuid(v) => out.extend(v),
        Value::Interval(v) => out.extend((v.comparable().cast_unsigned() ^ (1 << 127)).to_be_bytes()),
        Value::Array(v) => encode_array(v, out)?,
        Value::Vector(v) => encode_numbers(v.iter().copied(), out),
        Value::Halfvec(v) => encode_numbers(v.iter().map(|x| x.to_f32()), out),
        Value::Sparsevec(v) => encode_bytes(&v.to_ordered_bytes(), out),
        Value::Bit(v) => {
            v.bits().for_each(|bit| out.push(1 + u8::from(bit)));
            out.push(0);
        }
    }
    Ok(())
}

/// Number by number, then by length.
fn encode_numbers(numbers: impl Iterator<Item = f32>, out: &mut Vec<u8>) {
    for number in numbers {
        out.push(VALUE);
        out.extend(ordered_f32(number).to_be_bytes());
    }
    out.push(0);
}

/// Every NaN is one value above all numbers, and -0 is 0, as PostgreSQL compares.
fn ordered_f64(v: f64) -> u64 {
    let v = if v.is_nan() { f64::NAN } else { v + 0.0 };
    let bits = v.to_bits();
    if bits >> 63 == 1 { !bits } else { bits ^ (1 << 63) }
}

fn ordered_f32(v: f32) -> u32 {
    let v = if v.is_nan() { f32::NAN } else { v + 0.0 };
    let bits = v.to_bits();
    if bits >> 31 == 1 { !bits } else { bits ^ (1 << 31) }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend([0, 0]);
}

fn encode_array(array: &Array, out: &mut Vec<u8>) -> Result<()> {
    for item in &array.items {
        encode(item, KeyOrder::default(), out)?;
    }
    out.push(0);
    Ok(())
}

const NEGATIVE: u8 = 0;
const ZERO: u8 = 1;
const POSITIVE: u8 = 2;
const EXPONENT_BIAS: i32 = 1 << 15;

/// Sign, then exponent and digits of `0.ddd * 10^exponent`, two digits a byte, with an end mark; inverted
/// below zero.
fn encode_numeric(value: Numeric, out: &mut Vec<u8>) {
    let digits = value.unscaled.unsigned_abs().to_string();
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        out.push(ZERO);
        return;
    }
    let negative = value.unscaled < 0;
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let start = out.len();
    let exponent = digits.len() as i32 - i32::from(value.scale);
    out.extend(((exponent + EXPONENT_BIAS) as u16).to_be_bytes());
    for pair in significant.as_bytes().chunks(2) {
        let tens = pair.first().map_or(0, |d| d - b'0');
        let ones = pair.get(1).map_or(0, |d| d - b'0');
        out.push(tens * 10 + ones + 1);
    }
    out.push(0);
    if negative {
        out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
}

/// Reads a column of type `ty` and moves past it. A numeric comes back without trailing zeros and an
/// interval as microseconds alone: equal values have equal keys.
///
/// # Errors
/// `Damaged` if the bytes are no key of that type.
pub fn decode(ty: &Type, order: KeyOrder, r: &mut Reader<'_>) -> Result<Value> {
    match r.u8()? {
        VALUE => decode_value(ty, if order.descending { 0xff } else { 0 }, r),
        mark if mark == null_mark(order) => Ok(Value::Null),
        _ => Err(r.damaged("unknown mark of a column")),
    }
}

fn decode_value(ty: &Type, flip: u8, r: &mut Reader<'_>) -> Result<Value> {
    Ok(match ty {
        Type::Bool => match r.u8()? ^ flip {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err(r.damaged("a boolean is neither true nor false")),
        },
        Type::Int2 => Value::Int2((u16::from_be_bytes(flipped(r, flip)?) ^ (1 << 15)).cast_signed()),
        Type::Int4 => Value::Int4(int4(r, flip)?),
        Type::Date => Value::Date(int4(r, flip)?),
        Type::Int8 => Value::Int8(int8(r, flip)?),
        Type::Time => Value::Time(int8(r, flip)?),
        Type::Timestamp => Value::Timestamp(int8(r, flip)?),
        Type::Timestamptz => Value::Timestamptz(int8(r, flip)?),
        Type::Float4 => Value::Float4(float4(r, flip)?),
        Type::Float8 => {
            let bits = u64::from_be_bytes(flipped(r, flip)?);
            let v = f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits });
            if ordered_f64(v) != bits {
                return Err(r.damaged("a float that no value has"));
            }
            Value::Float8(v)
        }
        Type::Numeric { .. } => Value::Numeric(decode_numeric(flip, r)?),
        Type::Text | Type::Varchar(_) => Value::Text(decode_text(flip, r)?),
        Type::Jsonb => Value::Jsonb(decode_text(flip, r)?),
        Type::Bytea => Value::Bytea(decode_bytes(flip, r)?),
        Type::Uuid => Value::Uuid(flipped(r, flip)?),
        Type::Interval => Value::Interval(decode_interval(flip, r)?),
        Type::Array(element) => Value::Array(decode_array(element, flip, r)?),
        Type::Vector(_) => Value::Vector(decode_numbers(flip, r)?),
        Type::Halfvec(_) => Value::Halfvec(decode_halves(flip, r)?),
        Type::Sparsevec(_) => {
            let vector = SparseVector::from_ordered_bytes(&decode_bytes(flip, r)?);
            Value::Sparsevec(vector.ok_or_else(|| r.damaged("a sparse vector that no value is"))?)
        }
        Type::Bit(_) | Type::Varbit(_) => Value::Bit(decode_bits(flip, r)?),
    })
}

fn float4(r: &mut Reader<'_>, flip: u8) -> Result<f32> {
    let bits = u32::from_be_bytes(flipped(r, flip)?);
    let v = f32::from_bits(if bits >> 31 == 1 { bits ^ (1 << 31) } else { !bits });
    if ordered_f32(v) == bits { Ok(v) } else { Err(r.damaged("a float that no value has")) }
}

fn decode_numbers(flip: u8, r: &mut Reader<'_>) -> Result<Vec<f32>> {
    let mut numbers = Vec::new();
    loop {
        match r.u8()? ^ flip {
            0 => return Ok(numbers),
            VALUE => numbers.push(float4(r, flip)?),
            _ => return Err(r.damaged("unknown mark of a number")),
        }
    }
}

fn decode_halves(flip: u8, r: &mut Reader<'_>) -> Result<Vec<f16>> {
    let numbers = decode_numbers(flip, r)?;
    let half = |number: f32| {
        let half = f16::from_f32(number);
        let is_half = ordered_f32(half.to_f32()) == ordered_f32(number);
        if is_half { Ok(half) } else { Err(r.damaged("a number that is no half")) }
    };
    numbers.into_iter().map(half).collect()
}

fn decode_bits(flip: u8, r: &mut Reader<'_>) -> Result<BitString> {
    let mut bits = Vec::new();
    loop {
        match r.u8()? ^ flip {
            0 => return Ok(bits.into_iter().collect()),
            bit @ 1..=2 => bits.push(bit == 2),
            _ => return Err(r.damaged("a bit that is neither 0 nor 1")),
        }
    }
}

fn flipped<const N: usize>(r: &mut Reader<'_>, flip: u8) -> Result<[u8; N]> {
    Ok(r.array::<N>()?.map(|byte| byte ^ flip))
}

fn int4(r: &mut Reader<'_>, flip: u8) -> Result<i32> {
    Ok((u32::from_be_bytes(flipped(r, flip)?) ^ (1 << 31)).cast_signed())
}

fn int8(r: &mut Reader<'_>, flip: u8) -> Result<i64> {
    Ok((u64::from_be_bytes(flipped(r, flip)?) ^ (1 << 63)).cast_signed())
}

fn decode_bytes(flip: u8, r: &mut Reader<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        match r.u8()? ^ flip {
            0 => match r.u8()? ^ flip {
                0 => return Ok(out),
                0xff => out.push(0),
                _ => return Err(r.damaged("unknown escape")),
            },
            byte => out.push(byte),
        }
    }
}

fn decode_text(flip: u8, r: &mut Reader<'_>) -> Result<String> {
    String::from_utf8(decode_bytes(flip, r)?).map_err(|_| r.damaged("a text is not UTF-8"))
}

fn decode_interval(flip: u8, r: &mut Reader<'_>) -> Result<Interval> {
    const DAY: i128 = 86_400_000_000;
    let length = (u128::from_be_bytes(flipped(r, flip)?) ^ (1 << 127)).cast_signed();
    // Days take what microseconds cannot hold, months what days cannot, and what is left goes back.
    let all_days = if i64::try_from(length).is_ok() { 0 } else { length / DAY };
    let months = if i32::try_from(all_days).is_ok() { 0 } else { clamped(all_days / 30) };
    let days = clamped(all_days - i128::from(months) * 30);
    let rest = length - Interval { months, days, micros: 0 }.comparable();
    let micros = i64::try_from(rest).map_err(|_| r.damaged("an interval is too long"))?;
    Ok(Interval { months, days, micros })
}

fn clamped(n: i128) -> i32 {
    n.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

fn decode_array(element: &Type, flip: u8, r: &mut Reader<'_>) -> Result<Array> {
    let mut items = Vec::new();
    loop {
        match r.u8()? ^ flip {
            0 => return Ok(Array { element: element.clone(), items }),
            VALUE => items.push(decode_value(element, flip, r)?),
            NULL_LAST => items.push(Value::Null),
            _ => return Err(r.damaged("unknown mark of an element")),
        }
    }
}

fn decode_numeric(flip: u8, r: &mut Reader<'_>) -> Result<Numeric> {
    let before = r.rest();
    let number = read_numeric(flip, r)?;
    let read = before.len() - r.rest().len();
    let mut same = Vec::with_capacity(read);
    encode_numeric(number, &mut same);
    if !before.iter().take(read).map(|byte| byte ^ flip).eq(same) {
        return Err(r.damaged("a number is not in its only form"));
    }
    Ok(number)
}

fn read_numeric(flip: u8, r: &mut Reader<'_>) -> Result<Numeric> {
    let sign = r.u8()? ^ flip;
    let flip = match sign {
        ZERO => return Ok(Numeric { unscaled: 0, scale: 0 }),
        POSITIVE => flip,
        NEGATIVE => !flip,
        _ => return Err(r.damaged("unknown sign")),
    };
    let exponent = i32::from(u16::from_be_bytes(flipped(r, flip)?)) - EXPONENT_BIAS;
    let mut text = String::from(if sign == NEGATIVE { "-0." } else { "0." });
    loop {
        match r.u8()? ^ flip {
            0 => break,
            pair @ 1..=100 => text.push_str(&format!("{:02}", pair - 1)),
            _ => return Err(r.damaged("unknown digits")),
        }
    }
    let digits = text.trim_end_matches('0');
    Numeric::parse(&format!("{digits}e{exponent}")).ok_or_else(|| r.damaged("a number has too many digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    fn key(value: &Value, order: KeyOrder) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, order, &mut out).unwrap();
        out
    }

    fn orders() -> impl Strategy<Value = KeyOrder> {
        (any::<bool>(), any::<bool>()).prop_map(|(descending, nulls_first)| KeyOrder { descending, nulls_first })
    }

    #[test]
    fn numbers_that_are_no_halves_are_refused() {
        let order = KeyOrder { descending: false, nulls_first: false };
        let read =
            |v: Vec<f32>| decode(&Type::Halfvec(1), order, &mut Reader::new(&key(&Value::Vector(v), order), "key"));
        assert_eq!(read(vec![0.5]).unwrap(), Value::Halfvec(vec![f16::from_f32(0.5)]));
        for number in [0.1, f32::MAX, 1e-30] {
            assert_eq!(read(vec![number]).unwrap_err().sqlstate().as_str(), "XX001", "{number}");
        }
    }

    /// Two values, the way they compare, and their type.
    fn pairs() -> BoxedStrategy<(Type, Value, Value, Ordering)> {
        let small = "[a-c\u{e9}]{0,4}";
        prop_oneof![
            any::<(bool, bool)>().prop_map(|(a, b)| (Type::Bool, a.into(), b.into(), a.cmp(&b))),
            any::<(i16, i16)>().prop_map(|(a, b)| (Type::Int2, a.into(), b.into(), a.cmp(&b))),
            any::<(i32, i32)>().prop_map(|(a, b)| (Type::Int4, a.into(), b.into(), a.cmp(&b))),
            any::<(i64, i64)>().prop_map(|(a, b)| (Type::Int8, a.into(), b.into(), a.cmp(&b))),
            any::<(f64, f64)>().prop_map(|(a, b)| (Type::Float8, a.into(), b.into(), a.partial_cmp(&b).unwrap())),
            any::<(f32, f32)>().prop_map(|(a, b)| (Type::Float4, a.into(), b.into(), a.partial_cmp(&b).unwrap())),
            (small, small).prop_map(|(a, b)| {
                let order = a.as_bytes().cmp(b.as_bytes());
                (Type::Text, a.into(), b.into(), order)
            }),
            any::<(Vec<u8>, Vec<u8>)>().prop_map(|(a, b)| {
                let order = a.cmp(&b);
                (Type::Bytea, a.into(), b.into(), order)
            }),
            (numerics(), numerics()).prop_map(|(a, b)| {
                let (x, y) = (a.rescale(6).unwrap(), b.rescale(6).unwrap());
                (Type::Numeric { precision: 38, scale: 6 }, a.into(), b.into(), x.unscaled.cmp(&y.unscaled))
            }),
            (prop::collection::vec(-2..3_i32, 0..4), prop::collection::vec(-2..3_i32, 0..4)).prop_map(|(a, b)| {
                let order = a.cmp(&b);
                let array = |v: Vec<i32>| {
                    Value::Array(Array { element: Type::Int4, items: v.into_iter().map(Value::Int4).collect() })
                };
                (Type::Array(Box::new(Type::Int4)), array(a), array(b), order)
            }),
        ]
        .boxed()
    }

    fn numerics() -> impl Strategy<Value = Numeric> {
        (-10_000_000_i128..10_000_000, 0_u8..7).prop_map(|(unscaled, scale)| Numeric { unscaled, scale })
    }

    proptest! {
        #[test]
        fn bytes_compare_as_values_do((_, a, b, order) in pairs(), how in orders()) {
            let (x, y) = (key(&a, how), key(&b, how));
            prop_assert_eq!(x.cmp(&y), if how.descending { order.reverse() } else { order });
            let null = key(&Value::Null, how);
            prop_assert_eq!(null < x, how.nulls_first);
        }

        #[test]
        fn what_is_encoded_is_decoded((ty, a, _, _) in pairs(), how in orders()) {
            let bytes = key(&a, how);
            let mut r = Reader::new(&bytes, "key");
            let back = decode(&ty, how, &mut r).unwrap();
            r.end().unwrap();
            prop_assert_eq!(key(&back, how), bytes);
        }

        #[test]
        fn no_key_is_a_prefix_of_another((_, a, b, order) in pairs(), how in orders()) {
            let (x, y) = (key(&a, how), key(&b, how));
            prop_assert!(order == Ordering::Equal || !y.starts_with(&x));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>(), (ty, ..) in pairs(), how in orders()) {
            let _ = decode(&ty, how, &mut Reader::new(&bytes, "key"));
        }
    }

    #[test]
    fn equal_values_have_equal_keys() {
        let how = KeyOrder::default();
        let numeric = |text: &str| key(&Value::Numeric(Numeric::parse(text).unwrap()), how);
        assert_eq!(numeric("1.50"), numeric("1.5"));
        assert_eq!(key(&Value::Float8(-0.0), how), key(&Value::Float8(0.0), how));
        let month = Value::Interval(Interval { months: 1, ..Interval::default() });
        let days = Value::Interval(Interval { days: 30, ..Interval::default() });
        assert_eq!(key(&month, how), key(&days, how));
        assert!(key(&Value::Float8(f64::INFINITY), how) < key(&Value::Float8(f64::NAN), how));
    }

    #[test]
    fn the_longest_intervals_come_back() {
        let how = KeyOrder::default();
        for (months, days, micros) in [
            (2_135_443_053, 378_934_972, 1_768_378_345_925_160_107),
            (i32::MAX, i32::MAX, i64::MAX),
            (i32::MIN, i32::MIN, i64::MIN),
            (i32::MAX, i32::MIN, i64::MIN),
        ] {
            let bytes = key(&Value::Interval(Interval { months, days, micros }), how);
            let back = decode(&Type::Interval, how, &mut Reader::new(&bytes, "key")).unwrap();
            assert_eq!(key(&back, how), bytes);
        }
    }

    #[test]
    fn bytes_that_no_value_has_are_damage() {
        let how = KeyOrder::default();
        let numeric = Type::Numeric { precision: 38, scale: 10 };
        for (ty, bytes) in [
            (Type::Float4, vec![1, 0x7f, 0xff, 0xff, 0xff]),
            (Type::Float8, [&[1][..], &[0xff; 8]].concat()),
            (numeric.clone(), vec![1, 2, 0x80, 1, 11, 1, 0]),
            (numeric, vec![1, 2, 0x80, 1, 1, 0]),
        ] {
            let error = decode(&ty, how, &mut Reader::new(&bytes, "key")).unwrap_err();
            assert_eq!(error.sqlstate().as_str(), "XX001", "{ty} {bytes:?}");
        }
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff]), None);
    }
}
