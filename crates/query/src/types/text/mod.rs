//! Values as PostgreSQL's text: what a literal, a parameter in text format or COPY says, and what is printed.

mod array;
mod binary;
mod calendar;
mod datetime;
mod interval;
mod number;
mod vector;
mod zone;

pub(crate) use calendar::{civil_from_days, days_from_civil, days_in_month};
pub(crate) use number::{decimal_parts, parse_numeric};
pub(crate) use vector::{check_finite, half, none as no_dimensions, too_many as too_many_dimensions};
pub(crate) use zone::{local_of, utc_of};

use super::{coerce, json, vectors};
use chrono_tz::Tz;
use nodedb_base::{Error, Result, Type, Value};
use std::fmt::Write;

pub use zone::parse_zone;

/// What a session says about text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// The session's time zone: `timestamptz` is printed in it, and read in it when the text names none.
    pub zone: Tz,
}

impl Default for TextStyle {
    fn default() -> Self {
        Self { zone: Tz::UTC }
    }
}

/// Reads the text of a value of type `ty`, as the input functions of PostgreSQL do. A text that does not fit
/// `varchar(n)` is an error; `vector(0)` takes any number of dimensions.
///
/// # Errors
/// With PostgreSQL's SQLSTATEs and messages: 22P02, 22003, 22007, 22008, 22001 and the like.
pub fn parse(text: &str, ty: &Type, style: &TextStyle) -> Result<Value> {
    Ok(match ty {
        Type::Bool => Value::Bool(number::parse_bool(text)?),
        Type::Int2 => Value::Int2(number::parse_int(text, "smallint")?),
        Type::Int4 => Value::Int4(number::parse_int(text, "integer")?),
        Type::Int8 => Value::Int8(number::parse_int(text, "bigint")?),
        Type::Float4 => Value::Float4(number::parse_f32(text)?),
        Type::Float8 => Value::Float8(number::parse_f64(text)?),
        Type::Numeric { precision, scale } => {
            Value::Numeric(coerce::fit_numeric(parse_numeric(text)?, *precision, *scale)?)
        }
        Type::Text => Value::Text(checked(text)?.to_owned()),
        Type::Varchar(n) => Value::Text(coerce::fit_varchar(checked(text)?.to_owned(), *n, coerce::Kind::Assignment)?),
        Type::Bytea => Value::Bytea(binary::parse_bytea(text)?),
        Type::Uuid => Value::Uuid(binary::parse_uuid(text)?),
        Type::Date => Value::Date(datetime::parse_date(text)?),
        Type::Time => Value::Time(datetime::parse_time(text)?),
        Type::Timestamp => Value::Timestamp(datetime::parse_timestamp(text)?),
        Type::Timestamptz => Value::Timestamptz(datetime::parse_timestamptz(text, style.zone)?),
        Type::Interval => Value::Interval(interval::parse(text)?),
        Type::Jsonb => Value::Jsonb(json::canonical(text)?),
        Type::Array(element) => array::parse(text, element, style)?,
        Type::Vector(n) => Value::Vector(vectors::fit(vector::parse(text)?, *n)?),
        Type::Halfvec(n) => Value::Halfvec(vectors::fit(vector::parse_half(text)?, *n)?),
        Type::Sparsevec(n) => Value::Sparsevec(vectors::fit_sparse(vector::parse_sparse(text)?, *n)?),
        Type::Bit(_) | Type::Varbit(_) => {
            Value::Bit(vectors::fit_bits(vector::parse_bits(text)?, ty, coerce::Kind::Assignment)?)
        }
    })
}

/// The text of a value; NULL is the empty text.
#[must_use]
pub fn print(value: &Value, style: &TextStyle) -> String {
    let mut out = String::new();
    write(value, style, &mut out);
    out
}

/// Appends the text of a value; NULL appends nothing.
pub fn write(value: &Value, style: &TextStyle, out: &mut String) {
    match value {
        Value::Null => {}
        Value::Bool(v) => out.push(if *v { 't' } else { 'f' }),
        Value::Int2(v) => push(out, v),
        Value::Int4(v) => push(out, v),
        Value::Int8(v) => push(out, v),
        Value::Float4(v) => number::write_f32(*v, out),
        Value::Float8(v) => number::write_f64(*v, out),
        Value::Numeric(v) => push(out, v),
        Value::Text(v) | Value::Jsonb(v) => out.push_str(v),
        Value::Bytea(v) => binary::write_bytea(v, out),
        Value::Uuid(v) => binary::write_uuid(v, out),
        Value::Date(v) => datetime::write_date(*v, out),
        Value::Time(v) => datetime::write_time(*v, out),
        Value::Timestamp(v) => datetime::write_timestamp(*v, out),
        Value::Timestamptz(v) => datetime::write_timestamptz(*v, style.zone, out),
        Value::Interval(v) => interval::write(*v, out),
        Value::Array(v) => array::write(v, style, out),
        Value::Vector(v) => vector::write(v.iter().copied(), out),
        Value::Halfvec(v) => vector::write(v.iter().map(|x| x.to_f32()), out),
        Value::Sparsevec(v) => vector::write_sparse(v, out),
        Value::Bit(v) => vector::write_bits(v, out),
    }
}

/// Writing into a string cannot fail.
fn push(out: &mut String, v: impl std::fmt::Display) {
    let _ = write!(out, "{v}");
}

fn checked(text: &str) -> Result<&str> {
    if text.contains('\0') {
        return Err(Error::statement("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    Ok(text)
}

/// PostgreSQL's answer to a text that is no value of the type.
pub(crate) fn bad_syntax(ty: &str, text: &str) -> Error {
    Error::statement("22P02", format!("invalid input syntax for type {ty}: \"{text}\""))
}

/// As above, for dates and times.
fn bad_datetime(ty: &str, text: &str) -> Error {
    Error::statement("22007", format!("invalid input syntax for type {ty}: \"{text}\""))
}
