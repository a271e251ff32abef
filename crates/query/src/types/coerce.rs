//! Conversions between SQL types: PostgreSQL's assignment casts and explicit casts, with its errors.

use super::text::{TextStyle, local_of, parse, parse_numeric, print, utc_of};
use nodedb_base::{Array, Error, Interval, Numeric, Result, Type, Value};

const DAY: i64 = 86_400_000_000;

/// How a cast was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value is stored into a column.
    Assignment,
    /// `x::type`: more pairs of types convert, and a long text is cut.
    Explicit,
}

/// Converts what is stored into a column of type `to`. Unknown literals do not come here but to
/// [`parse`].
///
/// # Errors
/// 22003, 22001, 22000, 22008 if the value does not fit; 42804 if no such assignment exists.
pub fn assign(value: Value, to: &Type, style: &TextStyle) -> Result<Value> {
    convert(value, to, style, Kind::Assignment)
}

/// Converts as `value::to` does; a text is parsed.
///
/// # Errors
/// As [`assign`]; 42846 if no such cast exists, and all that [`parse`] says.
pub fn cast(value: Value, to: &Type, style: &TextStyle) -> Result<Value> {
    convert(value, to, style, Kind::Explicit)
}

fn convert(value: Value, to: &Type, style: &TextStyle, kind: Kind) -> Result<Value> {
    if value.is_null() {
        return Ok(value);
    }
    match to {
        Type::Bool => to_bool(value, style, kind),
        Type::Int2 => Ok(match value {
            Value::Int2(_) => value,
            other => Value::Int2(narrow(integer(other, to, style, kind)?, "smallint")?),
        }),
        Type::Int4 => Ok(match value {
            Value::Int4(_) => value,
            other => Value::Int4(narrow(integer(other, to, style, kind)?, "integer")?),
        }),
        Type::Int8 => Ok(match value {
            Value::Int8(_) => value,
            other => Value::Int8(narrow(integer(other, to, style, kind)?, "bigint")?),
        }),
        Type::Float4 => to_float4(value, style, kind),
        Type::Float8 => to_float8(value, style, kind),
        Type::Numeric { precision, scale } => {
            Ok(Value::Numeric(fit_numeric(to_numeric(value, to, kind)?, *precision, *scale)?))
        }
        Type::Text => Ok(Value::Text(to_text(value, style))),
        Type::Varchar(n) => Ok(Value::Text(fit_varchar(to_text(value, style), *n, kind)?)),
        Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval => {
            to_time(value, to, style, kind)
        }
        Type::Array(element) => to_array(value, element, to, style, kind),
        Type::Vector(_) | Type::Halfvec(_) | Type::Sparsevec(_) => {
            match super::vectors::convert(value.clone(), to, style)? {
                Some(converted) => Ok(converted),
                None => from_text(value, to, style, kind),
            }
        }
        Type::Bit(_) | Type::Varbit(_) => match value {
            Value::Bit(v) => Ok(Value::Bit(super::vectors::fit_bits(v, to, kind)?)),
            Value::Text(text) if kind == Kind::Explicit => {
                convert(parse(&text, &Type::Varbit(0), style)?, to, style, kind)
            }
            other => from_text(other, to, style, kind),
        },
        Type::Bytea | Type::Uuid | Type::Jsonb => match (value, to) {
            (value @ Value::Bytea(_), Type::Bytea)
            | (value @ Value::Uuid(_), Type::Uuid)
            | (value @ Value::Jsonb(_), Type::Jsonb) => Ok(value),
            (value, _) => from_text(value, to, style, kind),
        },
    }
}

/// The last way: an explicit cast of a text.
fn from_text(value: Value, to: &Type, style: &TextStyle, kind: Kind) -> Result<Value> {
    match (value, kind) {
        (Value::Text(text), Kind::Explicit) => parse(&text, to, style),
        (value, kind) => Err(no_cast(&value, to, kind)),
    }
}

fn no_cast(value: &Value, to: &Type, kind: Kind) -> Error {
    let from = value_type_name(value);
    let to = bare_name(to);
    match kind {
        Kind::Explicit => Error::statement("42846", format!("cannot cast type {from} to {to}")),
        Kind::Assignment => {
            Error::statement("42804", format!("column is of type {to} but expression is of type {from}"))
                .with_hint("You will need to rewrite or cast the expression.")
        }
    }
}

/// The name of a type without its length or precision.
#[must_use]
pub fn bare_name(ty: &Type) -> String {
    match ty {
        Type::Numeric { .. } => "numeric".to_owned(),
        Type::Varchar(_) => "character varying".to_owned(),
        Type::Vector(_) => "vector".to_owned(),
        Type::Halfvec(_) => "halfvec".to_owned(),
        Type::Sparsevec(_) => "sparsevec".to_owned(),
        Type::Bit(_) => "bit".to_owned(),
        Type::Varbit(_) => "bit varying".to_owned(),
        Type::Array(element) => format!("{}[]", bare_name(element)),
        other => other.to_string(),
    }
}

/// The type of a value as errors name it.
#[must_use]
pub fn value_type_name(value: &Value) -> String {
    let name = match value {
        Value::Null => "unknown",
        Value::Bool(_) => "boolean",
        Value::Int2(_) => "smallint",
        Value::Int4(_) => "integer",
        Value::Int8(_) => "bigint",
        Value::Float4(_) => "real",
        Value::Float8(_) => "double precision",
        Value::Numeric(_) => "numeric",
        Value::Text(_) => "text",
        Value::Bytea(_) => "bytea",
        Value::Uuid(_) => "uuid",
        Value::Date(_) => "date",
        Value::Time(_) => "time without time zone",
        Value::Timestamp(_) => "timestamp without time zone",
        Value::Timestamptz(_) => "timestamp with time zone",
        Value::Interval(_) => "interval",
        Value::Jsonb(_) => "jsonb",
        Value::Vector(_) => "vector",
        Value::Halfvec(_) => "halfvec",
        Value::Sparsevec(_) => "sparsevec",
        Value::Bit(_) => "bit",
        Value::Array(v) => return format!("{}[]", bare_name(&v.element)),
    };
    name.to_owned()
}

fn out_of_range(ty: &str) -> Error {
    Error::statement("22003", format!("{ty} out of range"))
}

fn narrow<T: TryFrom<i128>>(v: i128, ty: &str) -> Result<T> {
    T::try_from(v).map_err(|_| out_of_range(ty))
}

fn to_bool(value: Value, style: &TextStyle, kind: Kind) -> Result<Value> {
    match value {
        Value::Bool(_) => Ok(value),
        Value::Int4(v) if kind == Kind::Explicit => Ok(Value::Bool(v != 0)),
        // A literal 1 is often wider here than PostgreSQL would make it.
        Value::Int8(v) if kind == Kind::Explicit => Ok(Value::Bool(v != 0)),
        Value::Jsonb(text) if kind == Kind::Explicit => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(no_json_cast(&text, "boolean")),
        },
        other => from_text(other, &Type::Bool, style, kind),
    }
}

fn no_json_cast(text: &str, to: &str) -> Error {
    let kind = super::json::kind_of(text);
    Error::statement("22023", format!("cannot cast jsonb {kind} to type {to}"))
}

fn json_number(text: &str, to: &Type) -> Result<Numeric> {
    if super::json::kind_of(text) == "numeric" {
        return parse_numeric(text);
    }
    Err(no_json_cast(text, &bare_name(to)))
}

/// The value as a whole number: fractions round, those of numerics away from zero, those of floats to even.
fn integer(value: Value, to: &Type, style: &TextStyle, kind: Kind) -> Result<i128> {
    Ok(match value {
        Value::Int2(v) => v.into(),
        Value::Int4(v) => v.into(),
        Value::Int8(v) => v.into(),
        Value::Numeric(v) => v.rescale(0).ok_or_else(|| out_of_range(&bare_name(to)))?.unscaled,
        Value::Float4(v) => whole(v.into(), to)?,
        Value::Float8(v) => whole(v, to)?,
        Value::Bool(v) if kind == Kind::Explicit => v.into(),
        Value::Jsonb(v) if kind == Kind::Explicit => integer(Value::Numeric(json_number(&v, to)?), to, style, kind)?,
        other => match from_text(other, to, style, kind)? {
            Value::Int2(v) => v.into(),
            Value::Int4(v) => v.into(),
            Value::Int8(v) => v.into(),
            _ => return Err(Error::internal("a whole number was parsed as something else")),
        },
    })
}

fn whole(v: f64, to: &Type) -> Result<i128> {
    let rounded = v.round_ties_even();
    if rounded.is_finite() && rounded.abs() < 1e30 { Ok(rounded as i128) } else { Err(out_of_range(&bare_name(to))) }
}

fn to_float4(value: Value, style: &TextStyle, kind: Kind) -> Result<Value> {
    let wide = match value {
        Value::Float4(_) => return Ok(value),
        Value::Text(_) => return from_text(value, &Type::Float4, style, kind),
        // Through the text, so that the number is rounded once.
        Value::Numeric(v) => return parse(&v.to_string(), &Type::Float4, style),
        other => match to_float8(other, style, kind)? {
            Value::Float8(v) => v,
            other => return Ok(other),
        },
    };
    let narrow = wide as f32;
    if narrow.is_infinite() && wide.is_finite() {
        return Err(Error::statement("22003", "value out of range: overflow"));
    }
    if narrow == 0.0 && wide != 0.0 {
        return Err(Error::statement("22003", "value out of range: underflow"));
    }
    Ok(Value::Float4(narrow))
}

fn to_float8(value: Value, style: &TextStyle, kind: Kind) -> Result<Value> {
    Ok(Value::Float8(match value {
        Value::Float8(v) => v,
        Value::Float4(v) => v.into(),
        Value::Int2(v) => v.into(),
        Value::Int4(v) => v.into(),
        Value::Int8(v) => v as f64,
        Value::Numeric(v) => v.to_string().parse().map_err(|_| out_of_range("double precision"))?,
        Value::Jsonb(v) if kind == Kind::Explicit => {
            return to_float8(Value::Numeric(json_number(&v, &Type::Float8)?), style, kind);
        }
        other => return from_text(other, &Type::Float8, style, kind),
    }))
}

fn to_numeric(value: Value, to: &Type, kind: Kind) -> Result<Numeric> {
    let whole = |v: i64| Numeric { unscaled: v.into(), scale: 0 };
    match value {
        Value::Numeric(v) => Ok(v),
        Value::Int2(v) => Ok(whole(v.into())),
        Value::Int4(v) => Ok(whole(v.into())),
        Value::Int8(v) => Ok(whole(v)),
        Value::Float4(v) => float_digits(v.into(), 6),
        Value::Float8(v) => float_digits(v, 15),
        Value::Jsonb(v) if kind == Kind::Explicit => json_number(&v, to),
        Value::Text(v) if kind == Kind::Explicit => parse_numeric(&v),
        other => Err(no_cast(&other, to, kind)),
    }
}

/// The first digits of a float: the others are noise, PostgreSQL says.
pub(crate) fn float_digits(v: f64, digits: usize) -> Result<Numeric> {
    if !v.is_finite() {
        return Err(Error::unsupported(format!("{v} as a numeric")));
    }
    let text = format!("{v:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    parse_numeric(&format!("{mantissa}e{exponent}"))
}

/// Rounds to the scale and checks the precision.
pub(crate) fn fit_numeric(v: Numeric, precision: u8, scale: u8) -> Result<Numeric> {
    match v.rescale(scale) {
        Some(fitted) if fitted.digits() <= precision => Ok(fitted),
        _ => Err(numeric_overflow(precision, scale)),
    }
}

fn numeric_overflow(precision: u8, scale: u8) -> Error {
    let exponent = precision.saturating_sub(scale);
    let limit = if exponent == 0 { "1".to_owned() } else { format!("10^{exponent}") };
    Error::statement("22003", "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
    ))
}

/// Every type has a text; that of a boolean is the long one here.
fn to_text(value: Value, style: &TextStyle) -> String {
    match value {
        Value::Text(v) | Value::Jsonb(v) => v,
        Value::Bool(v) => v.to_string(),
        other => print(&other, style),
    }
}

/// Spaces beyond the length go; other characters are an error, or are cut when the cast is explicit.
pub(crate) fn fit_varchar(mut text: String, n: u32, kind: Kind) -> Result<String> {
    let Some((end, _)) = text.char_indices().nth(n as usize) else { return Ok(text) };
    let excess = text.get(end..).unwrap_or_default();
    if kind == Kind::Assignment && excess.contains(|c| c != ' ') {
        return Err(Error::statement("22001", format!("value too long for type character varying({n})")));
    }
    text.truncate(end);
    Ok(text)
}

fn to_time(value: Value, to: &Type, style: &TextStyle, kind: Kind) -> Result<Value> {
    let zone = style.zone;
    let wrong = || Error::statement("22008", "timestamp out of range");
    let midnight = |days: i32| {
        i64::from(days).checked_mul(DAY).ok_or_else(|| Error::statement("22008", "date out of range for timestamp"))
    };
    let day_of = |micros: i64| i32::try_from(micros.div_euclid(DAY)).map_err(|_| wrong());
    Ok(match (value, to) {
        (v @ Value::Date(_), Type::Date)
        | (v @ Value::Time(_), Type::Time)
        | (v @ Value::Timestamp(_), Type::Timestamp)
        | (v @ Value::Timestamptz(_), Type::Timestamptz)
        | (v @ Value::Interval(_), Type::Interval) => v,
        (Value::Date(v), Type::Timestamp) => Value::Timestamp(midnight(v)?),
        (Value::Date(v), Type::Timestamptz) => Value::Timestamptz(utc_of(zone, midnight(v)?).ok_or_else(wrong)?),
        (Value::Timestamp(v), Type::Date) => Value::Date(day_of(v)?),
        (Value::Timestamp(v), Type::Time) => Value::Time(v.rem_euclid(DAY)),
        (Value::Timestamp(v), Type::Timestamptz) => Value::Timestamptz(utc_of(zone, v).ok_or_else(wrong)?),
        (Value::Timestamptz(v), _) if to != &Type::Interval => {
            let local = local_of(zone, v).ok_or_else(wrong)?;
            return to_time(Value::Timestamp(local), to, style, kind);
        }
        (Value::Time(micros), Type::Interval) => Value::Interval(Interval { months: 0, days: 0, micros }),
        (Value::Interval(v), Type::Time) => Value::Time(v.micros.rem_euclid(DAY)),
        (value, to) => from_text(value, to, style, kind)?,
    })
}

fn to_array(value: Value, element: &Type, to: &Type, style: &TextStyle, kind: Kind) -> Result<Value> {
    let items = match value {
        Value::Array(v) => v.items,
        Value::Vector(v) => v.into_iter().map(Value::Float4).collect(),
        Value::Halfvec(v) => v.into_iter().map(|x| Value::Float4(x.to_f32())).collect(),
        other => return from_text(other, to, style, kind),
    };
    let items = items.into_iter().map(|item| convert(item, element, style, kind)).collect::<Result<_>>()?;
    Ok(Value::Array(Array { element: element.clone(), items }))
}
