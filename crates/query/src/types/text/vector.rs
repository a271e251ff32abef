//! `vector`, `halfvec`, `sparsevec` and `bit` as text, as pgvector and PostgreSQL read and print them.

use super::number::{trim, write_f32};
use crate::types::arrow::MAX_DIMENSIONS;
use half::f16;
use nodedb_base::{BitString, Error, Result, SparseVector};

/// Most dimensions of a `sparsevec`, and most numbers in it that are not zero.
const MAX_SPARSE: (i64, usize) = (1_000_000_000, 16_000);

/// Reads `[1, 2.5, 3]`. How many dimensions are right is the caller's question.
pub(super) fn parse(text: &str) -> Result<Vec<f32>> {
    numbers(text, "vector", |number| element(number, text, "vector"))
}

/// Reads the same in half precision.
pub(super) fn parse_half(text: &str) -> Result<Vec<f16>> {
    numbers(text, "halfvec", |number| half(element(number, text, "halfvec")?, trim(number)))
}

/// A number in half precision; `said` is how it was written.
pub(crate) fn half(number: f32, said: &str) -> Result<f16> {
    let half = f16::from_f32(number);
    if half.is_infinite() { Err(out_of_range(said, "halfvec")) } else { Ok(half) }
}

fn numbers<T>(text: &str, ty: &str, element: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    let bad = |detail: &str| super::bad_syntax(ty, text).with_detail(detail);
    let body = trim(text).strip_prefix('[').ok_or_else(|| bad("Vector contents must start with \"[\"."))?;
    let (body, rest) = body.split_once(']').ok_or_else(|| bad("Unexpected end of input."))?;
    if !rest.is_empty() {
        return Err(bad("Junk after closing right brace."));
    }
    if trim(body).is_empty() {
        return Err(none(ty));
    }
    if body.bytes().filter(|b| *b == b',').count() >= MAX_DIMENSIONS as usize {
        return Err(too_many(ty));
    }
    body.split(',').map(element).collect()
}

/// The error of a vector without numbers.
pub(crate) fn none(ty: &str) -> Error {
    Error::statement("22000", format!("{ty} must have at least 1 dimension"))
}

/// The error of a vector with too many numbers.
pub(crate) fn too_many(ty: &str) -> Error {
    match ty {
        "sparsevec" => Error::limit("54000", format!("{ty} cannot have more than {} non-zero elements", MAX_SPARSE.1)),
        _ => Error::limit("54000", format!("{ty} cannot have more than {MAX_DIMENSIONS} dimensions")),
    }
}

fn out_of_range(number: &str, ty: &str) -> Error {
    Error::statement("22003", format!("\"{number}\" is out of range for type {ty}"))
}

/// The error of a number that is none, or is infinite.
pub(crate) fn check_finite(number: f32, ty: &str) -> Result<f32> {
    match number {
        n if n.is_nan() => Err(Error::statement("22000", format!("NaN not allowed in {ty}"))),
        n if n.is_infinite() => Err(Error::statement("22000", format!("infinite value not allowed in {ty}"))),
        n => Ok(n),
    }
}

fn element(number: &str, text: &str, ty: &str) -> Result<f32> {
    let number = trim(number);
    let value: f32 = number.parse().map_err(|_| super::bad_syntax(ty, text))?;
    if value.is_infinite() && !number.contains(['n', 'N']) {
        return Err(out_of_range(number, ty));
    }
    check_finite(value, ty)
}

pub(super) fn write(numbers: impl Iterator<Item = f32>, out: &mut String) {
    out.push('[');
    for (i, number) in numbers.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_f32(number, out);
    }
    out.push(']');
}

/// Reads `{1:1.5,3:-2}/5`: places from 1, and how many dimensions there are.
pub(super) fn parse_sparse(text: &str) -> Result<SparseVector> {
    let bad = || super::bad_syntax("sparsevec", text);
    let body = trim(text).strip_prefix('{').ok_or_else(bad)?;
    let (body, dimensions) = body.split_once('}').ok_or_else(bad)?;
    let mut items: Vec<(i64, f32)> = Vec::new();
    for item in body.split(',').filter(|_| !trim(body).is_empty()) {
        let (place, number) = item.split_once(':').ok_or_else(bad)?;
        let place = integer(place).ok_or_else(bad)?;
        let value = element(number, text, "sparsevec")?;
        let is_zero = trim(number).trim_start_matches(['-', '+']).chars().take_while(|c| !matches!(c, 'e' | 'E'));
        if value == 0.0 && is_zero.clone().any(|c| ('1'..='9').contains(&c)) {
            return Err(out_of_range(trim(number), "sparsevec"));
        }
        items.push((place, value));
        if items.len() > MAX_SPARSE.1 {
            return Err(too_many("sparsevec"));
        }
    }
    let dimensions = trim(dimensions).strip_prefix('/').and_then(integer).ok_or_else(bad)?;
    if dimensions < 1 {
        return Err(none("sparsevec"));
    }
    if dimensions > MAX_SPARSE.0 {
        let message = format!("sparsevec cannot have more than {} dimensions", MAX_SPARSE.0);
        return Err(Error::limit("54000", message));
    }
    sorted(items, dimensions)
}

fn sorted(mut items: Vec<(i64, f32)>, dimensions: i64) -> Result<SparseVector> {
    items.sort_by_key(|(place, _)| *place);
    if items.iter().any(|(place, _)| !(1..=dimensions).contains(place)) {
        return Err(Error::statement("22000", "sparsevec index out of bounds"));
    }
    if items.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return Err(Error::statement("22000", "sparsevec indices must not contain duplicates"));
    }
    items.retain(|(_, value)| *value != 0.0);
    let (indices, values) = items.into_iter().map(|(place, value)| ((place - 1) as u32, value)).unzip();
    Ok(SparseVector { dimensions: dimensions as u32, indices, values })
}

/// A whole number; one that is too large is the largest.
fn integer(text: &str) -> Option<i64> {
    let text = trim(text);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
}

pub(super) fn write_sparse(v: &SparseVector, out: &mut String) {
    out.push('{');
    for (i, (index, value)) in v.indices.iter().zip(&v.values).enumerate() {
        if i > 0 {
            out.push(',');
        }
        super::push(out, u64::from(*index) + 1);
        out.push(':');
        write_f32(*value, out);
    }
    out.push_str("}/");
    super::push(out, v.dimensions);
}

/// Reads `0101`.
pub(super) fn parse_bits(text: &str) -> Result<BitString> {
    let bit = |c: char| match c {
        '0' => Ok(false),
        '1' => Ok(true),
        other => Err(Error::statement("22P02", format!("\"{other}\" is not a valid binary digit"))),
    };
    text.chars().map(bit).collect()
}

pub(super) fn write_bits(v: &BitString, out: &mut String) {
    out.extend(v.bits().map(|bit| if bit { '1' } else { '0' }));
}
