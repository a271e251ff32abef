//! `bytea` and `uuid` as text.

use super::bad_syntax;
use nodedb_base::{Error, Result};
use std::fmt::Write;

pub(super) fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escaped(text),
    }
}

/// Pairs of hexadecimal digits; white space may stand between the pairs.
fn parse_hex(hex: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut chars = hex.chars();
    while let Some(high) = chars.next() {
        if matches!(high, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = hex_digit(high)?;
        let low =
            chars.next().ok_or_else(|| Error::statement("22023", "invalid hexadecimal data: odd number of digits"))?;
        out.push(high << 4 | hex_digit(low)?);
    }
    Ok(out)
}

fn hex_digit(c: char) -> Result<u8> {
    c.to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
        .ok_or_else(|| Error::statement("22023", format!("invalid hexadecimal digit: \"{c}\"")))
}

/// The old form: bytes as they are, `\\` and `\ooo`.
fn parse_escaped(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match tail {
            [b'\\', after @ ..] => {
                out.push(b'\\');
                rest = after;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => return Err(Error::statement("22P02", "invalid input syntax for type bytea")),
        }
    }
    Ok(out)
}

pub(super) fn write_bytea(bytes: &[u8], out: &mut String) {
    out.reserve(2 + bytes.len() * 2);
    out.push_str("\\x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(digit.into(), 16));
        }
    }
}

/// 32 hexadecimal digits, perhaps in braces, perhaps with a hyphen after any group of four.
pub(super) fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    read_uuid(text).ok_or_else(|| bad_syntax("uuid", text))
}

fn read_uuid(text: &str) -> Option<[u8; 16]> {
    let body = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut value = 0_u128;
    let mut digits = 0;
    let mut after_hyphen = false;
    for c in body.chars() {
        if c == '-' && digits % 4 == 0 && digits > 0 && digits < 32 && !after_hyphen {
            after_hyphen = true;
            continue;
        }
        after_hyphen = false;
        if digits == 32 {
            return None;
        }
        value = value << 4 | u128::from(c.to_digit(16)?);
        digits += 1;
    }
    (digits == 32).then(|| value.to_be_bytes())
}

pub(super) fn write_uuid(uuid: &[u8; 16], out: &mut String) {
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
}
