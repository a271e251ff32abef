//! `vector` as text, as pgvector reads and prints it.

use super::number::{trim, write_f32};
use crate::types::arrow::MAX_DIMENSIONS;
use nodedb_base::{Error, Result};

/// Reads `[1, 2.5, 3]`. How many dimensions are right is the caller's question.
pub(super) fn parse(text: &str) -> Result<Vec<f32>> {
    let bad = |detail: &str| super::bad_syntax("vector", text).with_detail(detail);
    let body = trim(text).strip_prefix('[').ok_or_else(|| bad("Vector contents must start with \"[\"."))?;
    let (body, rest) = body.split_once(']').ok_or_else(|| bad("Unexpected end of input."))?;
    if !rest.is_empty() {
        return Err(bad("Junk after closing right brace."));
    }
    if trim(body).is_empty() {
        return Err(Error::statement("22000", "vector must have at least 1 dimension"));
    }
    if body.bytes().filter(|b| *b == b',').count() >= MAX_DIMENSIONS as usize {
        return Err(too_many());
    }
    body.split(',').map(|number| element(number, text)).collect()
}

pub(crate) fn too_many() -> Error {
    Error::limit("54000", format!("vector cannot have more than {MAX_DIMENSIONS} dimensions"))
}

fn element(number: &str, text: &str) -> Result<f32> {
    let number = trim(number);
    let value: f32 = number.parse().map_err(|_| super::bad_syntax("vector", text))?;
    if value.is_nan() {
        return Err(Error::statement("22000", "NaN not allowed in vector"));
    }
    if value.is_infinite() {
        if number.contains(['n', 'N']) {
            return Err(Error::statement("22000", "infinite value not allowed in vector"));
        }
        return Err(Error::statement("22003", format!("\"{number}\" is out of range for type vector")));
    }
    Ok(value)
}

pub(super) fn write(v: &[f32], out: &mut String) {
    out.push('[');
    for (i, number) in v.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_f32(*number, out);
    }
    out.push(']');
}
