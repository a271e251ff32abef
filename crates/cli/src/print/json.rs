//! Rows as JSON objects.

use nodedb::text::{self, TextStyle};
use nodedb::{Column, Value};
use std::io::{self, Write};

/// Prints one array with an object on each line. If rows stop with an error the array stays open, so that
/// nobody takes it for all of them.
#[derive(Debug)]
pub struct Lines<'a> {
    keys: Vec<String>,
    style: &'a TextStyle,
    line: String,
    rows: u64,
}

impl<'a> Lines<'a> {
    /// An array that has not begun.
    pub fn new(columns: &[Column], style: &'a TextStyle) -> Self {
        Self { keys: keys(columns), style, line: String::new(), rows: 0 }
    }

    /// Adds a row.
    pub fn write(&mut self, values: &[Value], out: &mut dyn Write) -> io::Result<()> {
        self.line.clear();
        self.line.push_str(if self.rows == 0 { "[" } else { ",\n " });
        object(&self.keys, values, self.style, &mut self.line);
        self.rows += 1;
        out.write_all(self.line.as_bytes())
    }

    /// No more rows.
    pub fn end(self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(if self.rows == 0 { b"[]\n" } else { b"]\n" })
    }
}

/// The names of columns as keys of an object.
pub fn keys(columns: &[Column]) -> Vec<String> {
    let key = |column: &Column| {
        let mut key = String::new();
        string(&column.name, &mut key);
        key.push(':');
        key
    };
    columns.iter().map(key).collect()
}

/// Appends an object. Names that stand twice stand twice, as in `row_to_json`.
pub fn object(keys: &[String], values: &[Value], style: &TextStyle, out: &mut String) {
    out.push('{');
    for (i, (key, value)) in keys.iter().zip(values).enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(key);
        write(value, style, out);
    }
    out.push('}');
}

/// Appends a value. What JSON has no form for is a string with PostgreSQL's text.
fn write(value: &Value, style: &TextStyle, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Value::Int2(_) | Value::Int4(_) | Value::Int8(_) | Value::Numeric(_) | Value::Jsonb(_) => {
            out.push_str(&text::print(value, style));
        }
        Value::Float4(v) => float(f64::from(*v), value, style, out),
        Value::Float8(v) => float(*v, value, style, out),
        Value::Array(array) => list(array.items.iter(), style, out),
        Value::Halfvec(numbers) => {
            let items: Vec<Value> = numbers.iter().map(|n| Value::Float4(n.to_f32())).collect();
            list(items.iter(), style, out);
        }
        Value::Vector(numbers) => {
            let items: Vec<Value> = numbers.iter().map(|n| Value::Float4(*n)).collect();
            list(items.iter(), style, out);
        }
        _ => string(&text::print(value, style), out),
    }
}

fn list<'v>(items: impl Iterator<Item = &'v Value>, style: &TextStyle, out: &mut String) {
    out.push('[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(item, style, out);
    }
    out.push(']');
}

/// Always with a point or an exponent, so that a reader knows it for a fraction.
fn float(v: f64, value: &Value, style: &TextStyle, out: &mut String) {
    let text = text::print(value, style);
    if !v.is_finite() {
        return string(&text, out);
    }
    out.push_str(&text);
    if !text.contains(['.', 'e']) {
        out.push_str(".0");
    }
}

fn string(text: &str, out: &mut String) {
    // A JSON string of a text is only ever longer.
    out.push_str(&serde_json::Value::from(text).to_string());
}
