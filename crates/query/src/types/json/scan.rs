//! Parts of a canonical text, cut out of it. A text that is not canonical gives wrong parts or none, never
//! a panic.

use super::{quote, unquote};
use nodedb_base::Result;
use std::borrow::Cow;

/// The members of an object: the key in quotes, and the value.
pub struct Members<'a>(&'a str);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = skip_separator(self.0);
        let (key, rest) = self.0.split_at_checked(string_end(self.0)?)?;
        let rest = rest.strip_prefix(':')?.trim_start_matches(' ');
        let (value, rest) = rest.split_at_checked(value_end(rest)?)?;
        self.0 = rest;
        Some((key, value))
    }
}

/// The elements of an array.
pub struct Elements<'a>(&'a str);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = skip_separator(self.0);
        let (value, rest) = self.0.split_at_checked(value_end(self.0)?)?;
        self.0 = rest;
        Some(value)
    }
}

/// The members, if the text is an object.
#[must_use]
pub fn members(text: &str) -> Option<Members<'_>> {
    text.strip_prefix('{').map(Members)
}

/// The elements, if the text is an array.
#[must_use]
pub fn elements(text: &str) -> Option<Elements<'_>> {
    text.strip_prefix('[').map(Elements)
}

fn skip_separator(text: &str) -> &str {
    text.trim_start_matches([',', ' '])
}

/// Where the string at the start ends, its closing quote included.
fn string_end(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    if bytes.next()?.1 != b'"' {
        return None;
    }
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    None
}

/// Where the value at the start ends; `None` if there is no value.
fn value_end(text: &str) -> Option<usize> {
    match text.as_bytes().first()? {
        b'"' => string_end(text),
        b'{' | b'[' => container_end(text),
        b'}' | b']' | b',' => None,
        _ => Some(text.find([',', '}', ']', ' ']).unwrap_or(text.len())),
    }
}

fn container_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The value of a member; the key comes in quotes (see [`key`]), so that it is escaped once for all rows.
#[must_use]
pub fn field<'a>(text: &'a str, quoted: &str) -> Option<&'a str> {
    members(text)?.find(|(name, _)| *name == quoted).map(|(_, value)| value)
}

/// A key as [`field`] wants it.
#[must_use]
pub fn key(name: &str) -> String {
    quote(name)
}

/// Element `index` of an array, from the end if negative. A scalar counts as an array of itself, as in
/// PostgreSQL.
#[must_use]
pub fn element(text: &str, index: i64) -> Option<&str> {
    let Some(mut all) = elements(text) else {
        return (matches!(index, 0 | -1) && !text.starts_with('{')).then_some(text);
    };
    let at = if index < 0 {
        let length = elements(text)?.count();
        length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(index).ok()?
    };
    all.nth(at)
}

/// What lies at the end of a path of keys and indexes.
#[must_use]
pub fn path<S: AsRef<str>>(text: &str, steps: impl IntoIterator<Item = S>) -> Option<&str> {
    steps.into_iter().try_fold(text, |value, step| {
        let step = step.as_ref();
        if value.starts_with('{') {
            return field(value, &key(step));
        }
        elements(value)?;
        element(value, step.trim().parse().ok()?)
    })
}

/// A value as SQL text: a string without its quotes, `None` for null, all else as it stands.
///
/// # Errors
/// Only if the text is not canonical.
pub fn as_text(value: &str) -> Result<Option<Cow<'_, str>>> {
    if value == "null" {
        return Ok(None);
    }
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return Ok(Some(Cow::Borrowed(value)));
    };
    Ok(Some(if inner.contains('\\') { Cow::Owned(unquote(value)?) } else { Cow::Borrowed(inner) }))
}
