//! `jsonb`: one canonical text for every value, and reading parts of it without building a tree.
//!
//! The canonical text is the one that PostgreSQL prints: keys once each (the last one wins), ordered by
//! length, then bytes; one space behind `:` and `,`; numbers with all their digits and no exponent; strings
//! with no escapes but the necessary ones. A part of a canonical text is itself canonical, so [`scan`] cuts.

mod edit;
mod parse;
pub mod scan;

pub(crate) use edit::{array, build_object, keys};
pub use edit::{concat, contains, delete_index, delete_key, delete_keys, delete_path, exists, of_value, set_path};
pub(crate) use parse::unquote;

use nodedb_base::Result;
use std::cmp::Ordering;

/// A JSON value, in canonical order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// Digits, as they are printed.
    Number(String),
    String(String),
    Array(Vec<Self>),
    /// Keys in canonical order, none twice.
    Object(Vec<(String, Self)>),
}

/// Reads any JSON text and returns the canonical one.
///
/// # Errors
/// 22P02 if it is no JSON, 22P05 for `\u0000`, 54001 if it is nested too deeply.
pub fn canonical(text: &str) -> Result<String> {
    let value = parse::parse(text)?;
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    write(&value, &mut out);
    Ok(out)
}

/// The order of keys in an object.
pub(crate) fn compare_keys(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// What a canonical text is, in the words of PostgreSQL's errors.
#[must_use]
pub fn kind_of(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "numeric",
    }
}

pub(crate) fn write(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Json::Number(digits) => out.push_str(digits),
        Json::String(text) => write_string(text, out),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (key, item)) in members.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_string(key, out);
                out.push_str(": ");
                write(item, out);
            }
            out.push('}');
        }
    }
}

/// A string in quotes.
pub(crate) fn write_string(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A string in quotes.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}
