//! `T[]` as text: `{1,2,NULL,"with, comma"}`.

use super::number::trim;
use super::{TextStyle, parse as parse_value, print};
use nodedb_base::{Array, Error, Result, Type, Value};

/// Most elements of an array.
const MAX_ITEMS: usize = 1 << 24;

pub(super) fn parse(text: &str, element: &Type, style: &TextStyle) -> Result<Value> {
    let mut items = Vec::new();
    for item in split(text)? {
        items.push(match item {
            Some(item) => parse_value(&item, element, style)?,
            None => Value::Null,
        });
    }
    Ok(Value::Array(Array { element: element.clone(), items }))
}

fn malformed(text: &str, detail: &str) -> Error {
    Error::statement("22P02", format!("malformed array literal: \"{text}\"")).with_detail(detail)
}

/// The texts of the elements; `None` is NULL.
fn split(text: &str) -> Result<Vec<Option<String>>> {
    let body = trim(text);
    if body.starts_with('[') {
        return Err(Error::unsupported("an array with bounds of its own"));
    }
    let body = body
        .strip_prefix('{')
        .ok_or_else(|| malformed(text, "Array value must start with \"{\" or dimension information."))?;
    let mut scan = Scan { text, rest: body, items: Vec::new() };
    scan.skip_space();
    if !scan.eat('}') {
        loop {
            scan.item()?;
            if scan.eat('}') {
                break;
            }
            if !scan.eat(',') {
                return Err(malformed(text, "Unexpected end of input."));
            }
        }
    }
    if !trim(scan.rest).is_empty() {
        return Err(malformed(text, "Junk after closing right brace."));
    }
    Ok(scan.items)
}

struct Scan<'a> {
    text: &'a str,
    rest: &'a str,
    items: Vec<Option<String>>,
}

impl Scan<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    }

    fn eat(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Result<char> {
        let mut chars = self.rest.chars();
        let c = chars.next().ok_or_else(|| malformed(self.text, "Unexpected end of input."))?;
        self.rest = chars.as_str();
        Ok(c)
    }

    fn item(&mut self) -> Result<()> {
        self.skip_space();
        if self.items.len() >= MAX_ITEMS {
            return Err(Error::limit("54000", format!("array size exceeds the maximum allowed ({MAX_ITEMS})")));
        }
        let item = if self.eat('"') { Some(self.quoted()?) } else { self.bare()? };
        self.items.push(item);
        Ok(())
    }

    fn quoted(&mut self) -> Result<String> {
        let mut item = String::new();
        loop {
            match self.next()? {
                '"' => break,
                '\\' => item.push(self.next()?),
                c => item.push(c),
            }
        }
        self.skip_space();
        if self.rest.starts_with([',', '}']) {
            return Ok(item);
        }
        Err(malformed(self.text, "Unexpected array element."))
    }

    fn bare(&mut self) -> Result<Option<String>> {
        let mut item = String::new();
        // Space at the end does not count, unless it was escaped.
        let mut kept = 0;
        let mut escaped = false;
        while !self.rest.starts_with([',', '}']) {
            match self.next()? {
                '{' if item.is_empty() => return Err(Error::unsupported("an array of more than one dimension")),
                '{' => return Err(malformed(self.text, "Unexpected \"{\" character.")),
                '"' => return Err(malformed(self.text, "Unexpected array element.")),
                '\\' => {
                    item.push(self.next()?);
                    escaped = true;
                    kept = item.len();
                }
                c => {
                    item.push(c);
                    if !c.is_ascii_whitespace() {
                        kept = item.len();
                    }
                }
            }
        }
        item.truncate(kept);
        if item.is_empty() {
            return Err(malformed(self.text, "Unexpected \",\" or \"}\" character."));
        }
        Ok(if !escaped && item.eq_ignore_ascii_case("null") { None } else { Some(item) })
    }
}

pub(super) fn write(array: &Array, style: &TextStyle, out: &mut String) {
    out.push('{');
    for (i, item) in array.items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        match item {
            Value::Null => out.push_str("NULL"),
            item => write_item(&print(item, style), out),
        }
    }
    out.push('}');
}

fn write_item(text: &str, out: &mut String) {
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace() || c == '\x0b';
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}
