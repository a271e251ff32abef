//! Booleans and numbers as text.

use super::bad_syntax;
use nodedb_base::{Error, Numeric, Result};
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};
use std::fmt::Write;
use std::num::IntErrorKind;
use std::str::FromStr;

/// PostgreSQL's own limits: digits before and behind the point.
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// What C's `isspace` takes.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

/// Any unambiguous beginning of true, false, yes, no, on, off; 1 and 0.
pub(super) fn parse_bool(text: &str) -> Result<bool> {
    let word = trim(text).to_ascii_lowercase();
    let begins = |full: &str| !word.is_empty() && full.starts_with(&word);
    if word == "on" || word == "1" || begins("true") || begins("yes") {
        Ok(true)
    } else if word == "0" || begins("false") || begins("no") || (word.len() > 1 && begins("off")) {
        Ok(false)
    } else {
        Err(bad_syntax("boolean", text))
    }
}

pub(super) fn parse_int<T: FromStr<Err = std::num::ParseIntError>>(text: &str, ty: &str) -> Result<T> {
    trim(text).parse().map_err(|e: std::num::ParseIntError| match e.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
            Error::statement("22003", format!("value \"{text}\" is out of range for type {ty}"))
        }
        _ => bad_syntax(ty, text),
    })
}

pub(super) fn parse_f64(text: &str) -> Result<f64> {
    let (value, finite) = float(text, "double precision", |t| t.parse::<f64>().ok())?;
    check_float(value.is_infinite(), value == 0.0, finite, text, "double precision")?;
    Ok(value)
}

pub(super) fn parse_f32(text: &str) -> Result<f32> {
    let (value, finite) = float(text, "real", |t| t.parse::<f32>().ok())?;
    check_float(value.is_infinite(), value == 0.0, finite, text, "real")?;
    Ok(value)
}

/// The number, and whether its text is made of digits (and not a word for infinity or NaN).
fn float<T>(text: &str, ty: &str, read: impl Fn(&str) -> Option<T>) -> Result<(T, bool)> {
    let trimmed = trim(text);
    let finite = !trimmed.contains(['n', 'N', 'y', 'Y']);
    read(trimmed).map(|value| (value, finite)).ok_or_else(|| bad_syntax(ty, text))
}

/// Digits that round to infinity or to zero are out of range.
fn check_float(infinite: bool, zero: bool, finite: bool, text: &str, ty: &str) -> Result<()> {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let vanished = zero && mantissa.contains(|c| matches!(c, '1'..='9'));
    if finite && (infinite || vanished) {
        return Err(Error::statement("22003", format!("\"{}\" is out of range for type {ty}", trim(text))));
    }
    Ok(())
}

/// Reads a number and keeps its scale. Digits beyond the 38th behind the point are rounded away.
pub(crate) fn parse_numeric(text: &str) -> Result<Numeric> {
    let trimmed = trim(text);
    let (digits, scale) = decimal_parts(trimmed).ok_or_else(|| special_numeric(trimmed, text))?;
    if let Some(value) = Numeric::parse(trimmed).filter(|v| v.digits() <= Numeric::MAX_DIGITS) {
        return Ok(value);
    }
    shrink(&digits, scale).ok_or_else(|| Error::statement("22003", "value overflows numeric format"))
}

fn special_numeric(trimmed: &str, text: &str) -> Error {
    let word = trimmed.trim_start_matches(['+', '-']).to_ascii_lowercase();
    if matches!(word.as_str(), "nan" | "inf" | "infinity") {
        return Error::unsupported(format!("{trimmed} as a numeric"));
    }
    bad_syntax("numeric", text)
}

/// Sign and digits in one text, and how many of them stand behind the point; `None` if it is no number.
pub(crate) fn decimal_parts(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    Some((format!("{sign}{whole}{fraction}"), i64::try_from(fraction.len()).ok()? - exponent))
}

/// An exponent that is too long to matter is as good as a very large one.
fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX).min(i64::from(i32::MAX));
    Some(if text.starts_with('-') { -size } else { size })
}

/// Rounds digits away behind the point until 38 are left; `None` if the number is too large for that.
fn shrink(digits: &str, scale: i64) -> Option<Numeric> {
    let count = i64::try_from(digits.len()).ok()?;
    if count > MAX_WHOLE_DIGITS + MAX_FRACTION_DIGITS || scale < -i64::from(Numeric::MAX_DIGITS) {
        return is_zero(digits).then_some(Numeric { unscaled: 0, scale: 0 });
    }
    if scale > count + i64::from(Numeric::MAX_DIGITS) {
        return Some(Numeric { unscaled: 0, scale: Numeric::MAX_DIGITS });
    }
    let mut unscaled: BigInt = digits.parse().ok()?;
    let whole = BigInt::from(10).pow(u32::try_from((-scale).max(0)).ok()?);
    unscaled *= whole;
    let mut scale = scale.max(0);
    let size = i64::try_from(unscaled.magnitude().to_string().len()).ok()?;
    let cut = (size - i64::from(Numeric::MAX_DIGITS)).max(scale - i64::from(Numeric::MAX_DIGITS)).max(0);
    if cut > scale {
        return None;
    }
    unscaled = divide_rounded(&unscaled, &BigInt::from(10).pow(u32::try_from(cut).ok()?));
    scale -= cut;
    let value = Numeric { unscaled: unscaled.to_i128()?, scale: u8::try_from(scale).ok()? };
    // Rounding 99...9 up gives one digit more.
    if value.digits() > Numeric::MAX_DIGITS {
        value.scale.checked_sub(1).and_then(|s| value.rescale(s))
    } else {
        Some(value)
    }
}

fn is_zero(digits: &str) -> bool {
    digits.bytes().all(|b| matches!(b, b'0' | b'-'))
}

fn divide_rounded(value: &BigInt, divisor: &BigInt) -> BigInt {
    let (quotient, rest) = (value / divisor, value % divisor);
    if rest.abs() * 2_u8 >= *divisor && !rest.is_zero() { quotient + value.signum() } else { quotient }
}

/// The shortest digits that read back as the same number, in PostgreSQL's clothes.
pub(crate) fn write_f64(v: f64, out: &mut String) {
    match special(v) {
        Some(word) => out.push_str(word),
        None => write_digits(&format!("{v:e}"), 15, out),
    }
}

/// As [`write_f64`], for `real`.
pub(crate) fn write_f32(v: f32, out: &mut String) {
    match special(v.into()) {
        Some(word) => out.push_str(word),
        None => write_digits(&format!("{v:e}"), 6, out),
    }
}

const fn special(v: f64) -> Option<&'static str> {
    if v.is_nan() {
        Some("NaN")
    } else if v.is_infinite() {
        Some(if v > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

/// `scientific` is Rust's `-1.25e-7`. Numbers below 1e-4 and from 10^`limit` on keep the exponent.
fn write_digits(scientific: &str, limit: i32, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.unsigned_abs());
        return;
    }
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        out.push('-');
    }
    let digits: String = unsigned.chars().filter(|c| *c != '.').collect();
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
        out.push_str(&digits);
        return;
    }
    let whole = exponent.unsigned_abs() as usize + 1;
    let (before, behind) = digits.split_at_checked(whole).unwrap_or((&digits, ""));
    out.push_str(before);
    out.extend(std::iter::repeat_n('0', whole.saturating_sub(digits.len())));
    if !behind.is_empty() {
        out.push('.');
        out.push_str(behind);
    }
}
