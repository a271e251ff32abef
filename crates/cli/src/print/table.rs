//! Aligned tables, byte for byte as psql 15 prints them with its default settings.

use nodedb::{Column, Type};
use std::io::{self, Write};
use unicode_width::UnicodeWidthChar;

/// How much of a table is held, to find the widest values, before it is printed as it is. From then on columns may
/// become wider on their way down.
const HELD_BYTES: usize = 64 << 20;

/// A table that is filled row by row and printed.
#[derive(Debug)]
pub struct Table {
    header: Vec<Cell>,
    right: Vec<bool>,
    cells: Vec<Cell>,
    widths: Vec<usize>,
    /// Of the cells, about.
    bytes: usize,
    printed: usize,
    rows: usize,
}

/// A value as it is printed: lines, each with its display width.
type Cell = Vec<(String, usize)>;

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Self {
        let header = columns.iter().map(|column| cell(&column.name)).collect();
        let right = columns.iter().map(|column| is_number(&column.ty)).collect();
        let mut table =
            Self { header, right, cells: Vec::new(), widths: vec![0; columns.len()], bytes: 0, printed: 0, rows: 0 };
        widen(&mut table.widths, &table.header);
        table
    }

    /// Adds a row.
    pub fn push(&mut self, values: impl Iterator<Item = String>) {
        let first = self.cells.len();
        self.cells.extend(values.map(|value| cell(&value)));
        let row = self.cells.get(first..).unwrap_or_default();
        widen(&mut self.widths, row);
        let lines = row.iter().flatten();
        self.bytes += size_of_val(row) + lines.map(|line| size_of_val(line) + line.0.len()).sum::<usize>();
        self.rows += 1;
    }

    /// Prints what is held when it has become much.
    pub fn print_if_large(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.bytes > HELD_BYTES { self.print(out) } else { Ok(()) }
    }

    /// How many bytes wait, about.
    #[cfg(test)]
    pub const fn held(&self) -> usize {
        self.bytes
    }

    /// Prints the rest, with the empty line that ends a table.
    pub fn write(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.write_without_end(out)?;
        out.write_all(b"\n")
    }

    /// Prints the rest up to the number of rows.
    pub fn write_without_end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.print(out)?;
        let s = if self.rows == 1 { "" } else { "s" };
        writeln!(out, "({} row{s})", self.rows)
    }

    /// Prints what is held, below the header when it is the first.
    fn print(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut text = String::new();
        if self.printed == 0 {
            self.header(&self.widths, &mut text);
        }
        for row in self.cells.chunks(self.header.len().max(1)) {
            self.row(row, &self.widths, &mut text);
            if text.len() > 1 << 16 {
                out.write_all(text.as_bytes())?;
                text.clear();
            }
        }
        (self.printed, self.bytes) = (self.rows, 0);
        self.cells.clear();
        out.write_all(text.as_bytes())
    }

    fn header(&self, widths: &[usize], text: &mut String) {
        let height = self.header.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            for (i, (cell, width)) in self.header.iter().zip(widths).enumerate() {
                let (content, used) = cell.get(line).map_or(("", 0), |(content, used)| (content.as_str(), *used));
                let blank = width - used;
                let left = if line < cell.len() { blank / 2 } else { 0 };
                let mark = if line + 1 < cell.len() { '+' } else { ' ' };
                text.push_str(if i == 0 { " " } else { "| " });
                pad(text, left);
                text.push_str(content);
                pad(text, blank - left);
                text.push(mark);
            }
            text.push('\n');
        }
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        // A table without columns has a rule all the same.
        text.push_str(if rules.is_empty() { "--" } else { "" });
        text.push_str(&rules.join("+"));
        text.push('\n');
    }

    fn row(&self, row: &[Cell], widths: &[usize], text: &mut String) {
        let height = row.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            for (i, ((cell, width), right)) in row.iter().zip(widths).zip(&self.right).enumerate() {
                let (content, used) = cell.get(line).map_or(("", 0), |(content, used)| (content.as_str(), *used));
                let more = line + 1 < cell.len();
                let last = i + 1 == row.len();
                text.push_str(if i == 0 { " " } else { "| " });
                if *right && line < cell.len() {
                    pad(text, width - used);
                }
                text.push_str(content);
                if !(*right && line < cell.len()) && (more || !last) {
                    pad(text, width - used);
                }
                match (more, last) {
                    (true, _) => text.push('+'),
                    (false, false) => text.push(' '),
                    (false, true) => {}
                }
            }
            text.push('\n');
        }
    }
}

fn widen(widths: &mut [usize], row: &[Cell]) {
    for (width, cell) in widths.iter_mut().zip(row) {
        *width = cell.iter().map(|line| line.1).fold(*width, usize::max);
    }
}

fn pad(text: &mut String, blanks: usize) {
    text.extend(std::iter::repeat_n(' ', blanks));
}

const fn is_number(ty: &Type) -> bool {
    matches!(ty, Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 | Type::Numeric { .. })
}

/// The lines of a value. Control characters are shown, tabs go to the next multiple of eight.
fn cell(value: &str) -> Cell {
    value.split('\n').map(line).collect()
}

fn line(value: &str) -> (String, usize) {
    let (mut text, mut width) = (String::with_capacity(value.len()), 0);
    for c in value.chars() {
        let before = text.len();
        match c {
            '\r' => text.push_str("\\r"),
            '\t' => pad(&mut text, 8 - width % 8),
            c if c.is_ascii_control() => text += &format!("\\x{:02X}", u32::from(c)),
            c if c.is_control() => text += &format!("\\u{:04X}", u32::from(c)),
            c => {
                text.push(c);
                width += char_width(c);
                continue;
            }
        }
        width += text.len() - before;
    }
    (text, width)
}

/// As psql has it: one character at a time, whatever a terminal makes of their sequence.
fn char_width(c: char) -> usize {
    match c {
        // Format characters and jamo that join, which psql does not let join.
        '\u{ad}' | '\u{1160}'..='\u{11ff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => 1,
        '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' => 1,
        c => c.width().unwrap_or(0),
    }
}
