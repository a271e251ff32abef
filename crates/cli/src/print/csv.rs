//! Comma-separated values as psql prints them.

use nodedb::text::{self, TextStyle};
use nodedb::{Column, Value};
use std::io::{self, Write};

/// The names of the columns.
pub fn header(columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
    line(columns.iter().map(|column| column.name.as_str()), out)
}

/// One row; NULL is nothing.
pub fn row(values: &[Value], style: &TextStyle, out: &mut dyn Write) -> io::Result<()> {
    // Without columns there is nothing to print, not even the end of a line.
    if values.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = values.iter().map(|value| text::print(value, style)).collect();
    line(texts.iter().map(String::as_str), out)
}

fn line<'a>(fields: impl Iterator<Item = &'a str>, out: &mut dyn Write) -> io::Result<()> {
    let mut text = String::new();
    for (i, field) in fields.enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_field(field, ',', &mut text);
    }
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// Appends a field, in quotes if it needs them.
pub fn write_field(field: &str, delimiter: char, text: &mut String) {
    if !field.contains([delimiter, '"', '\r', '\n']) && field != "\\." {
        text.push_str(field);
        return;
    }
    text.push('"');
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}
