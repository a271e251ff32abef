//! CSV files.

use super::infer::Guess;
use super::{Cell, Found, Row, Source, malformed, open, unusable};
use crate::console::Failure;
use crate::print::write_csv_field;
use nodedb::text::{self, TextStyle};
use nodedb::{Column, Error, Result, Value};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Longest row. A quote that is never closed would otherwise take the rest of the file.
const LONGEST: usize = 256 << 20;

/// How a CSV file is written.
#[derive(Clone, Debug)]
pub struct Dialect {
    /// Between fields.
    pub delimiter: u8,
    /// Stands for NULL when it is not quoted.
    pub null: String,
}

/// A field as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Field {
    bytes: Vec<u8>,
    quoted: bool,
}

/// Reads records and counts lines.
struct Records<R> {
    reader: R,
    delimiter: u8,
    line: u64,
    position: u64,
}

/// What one more byte means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Begin,
    Plain,
    Quoted,
    /// Behind a quote that ends the field, or is the first half of one that is meant.
    Quote,
}

/// A record that is being read.
#[derive(Default)]
struct Record {
    fields: Vec<Field>,
    field: Field,
    state: State,
    length: usize,
    lines: u64,
}

/// The line where a record begins, and its fields or what is wrong with them.
type Numbered = (u64, Result<Vec<Field>>);

impl<R: BufRead> Records<R> {
    const fn new(reader: R, delimiter: u8) -> Self {
        Self { reader, delimiter, line: 1, position: 0 }
    }

    /// The next record.
    fn next(&mut self) -> io::Result<Option<Numbered>> {
        let begin = self.line;
        let mut record = Record::default();
        let fields = loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                match (record.length, record.state) {
                    (0, _) => return Ok(None),
                    (_, State::Quoted) => break Err(malformed("unterminated CSV quoted field")),
                    _ => break Ok(record.end()),
                }
            }
            let (used, whole) = record.feed(bytes, self.delimiter);
            self.reader.consume(used);
            self.position += used as u64;
            if whole {
                break Ok(record.end());
            }
            if record.length > LONGEST {
                break Err(malformed(format!("a row is longer than {LONGEST} bytes")));
            }
        };
        self.line += record.lines;
        Ok(Some((begin, fields)))
    }
}

impl Record {
    /// Takes bytes up to the end of the record. Returns how many, and whether the end was among them.
    fn feed(&mut self, bytes: &[u8], delimiter: u8) -> (usize, bool) {
        for (&byte, used) in bytes.iter().zip(1..) {
            self.length += 1;
            self.lines += u64::from(byte == b'\n');
            match (byte, self.state) {
                (b'\n', State::Begin | State::Plain | State::Quote) => return (used, true),
                (byte, State::Begin | State::Plain | State::Quote) if byte == delimiter => {
                    self.fields.push(std::mem::take(&mut self.field));
                    self.state = State::Begin;
                }
                (byte, state) => self.state = self.field.step(state, byte),
            }
        }
        (bytes.len(), false)
    }

    /// The fields, without the carriage return that is half of the end of a line.
    fn end(&mut self) -> Vec<Field> {
        if !self.field.quoted && self.field.bytes.last() == Some(&b'\r') {
            self.field.bytes.pop();
        }
        self.fields.push(std::mem::take(&mut self.field));
        std::mem::take(&mut self.fields)
    }
}

impl Field {
    fn step(&mut self, state: State, byte: u8) -> State {
        match (state, byte) {
            (State::Begin, b'"') => {
                self.quoted = true;
                State::Quoted
            }
            (State::Quoted, b'"') => State::Quote,
            (State::Quote, b'"') => {
                self.bytes.push(byte);
                State::Quoted
            }
            // The first half of the end of the line.
            (State::Quote, b'\r') => State::Quote,
            (State::Begin | State::Quote, _) => {
                self.bytes.push(byte);
                State::Plain
            }
            (state, _) => {
                self.bytes.push(byte);
                state
            }
        }
    }

    fn text(self) -> Result<String> {
        String::from_utf8(self.bytes).map_err(|error| {
            let byte = error.as_bytes().get(error.utf8_error().valid_up_to()).copied().unwrap_or_default();
            Error::statement("22021", format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"))
        })
    }

    fn is_null(&self, dialect: &Dialect) -> bool {
        !self.quoted && self.bytes == dialect.null.as_bytes()
    }
}

/// The columns of a file, with types that fit its first rows.
pub fn columns(path: &Path, dialect: &Dialect, sample: u64) -> Result<Vec<Found>, Failure> {
    let wrong = |error| unusable("read", path, error);
    let (names, mut records) = begin(path, dialect)?;
    let mut guesses = vec![Guess::default(); names.len()];
    let mut rows = 0;
    while rows < sample {
        let Some((_, fields)) = records.next().map_err(wrong)? else { break };
        // Rows that are wrong are told of when they are read for good.
        for (field, guess) in fields.unwrap_or_default().into_iter().zip(&mut guesses) {
            let text = if field.is_null(dialect) { None } else { field.text().ok() };
            if let Some(text) = text {
                guess.text(&text);
            }
        }
        rows += 1;
    }
    Ok(names.into_iter().zip(guesses).map(|(name, guess)| Found { name, ty: guess.ty() }).collect())
}

/// Reads the header.
fn begin(path: &Path, dialect: &Dialect) -> Result<(Vec<String>, Records<BufReader<File>>), Failure> {
    let mut records = Records::new(BufReader::with_capacity(1 << 20, open(path)?), dialect.delimiter);
    let header = records.next().map_err(|error| unusable("read", path, error))?;
    let Some((_, header)) = header else { return Err(unusable("read", path, "it has no header")) };
    let mut names = Vec::new();
    for (i, field) in (1..).zip(header?) {
        let name = field.text()?;
        let name = name.strip_prefix('\u{feff}').unwrap_or(&name);
        names.push(if name.is_empty() { format!("column_{i}") } else { name.to_owned() });
    }
    Ok((names, records))
}

/// The rows of a file.
pub struct Reader {
    records: Records<BufReader<File>>,
    dialect: Dialect,
    names: Vec<String>,
    /// For each column of the table, where it stands in the file.
    places: Vec<Option<usize>>,
    path: PathBuf,
}

impl Reader {
    /// Opens a file. `place` says for the names in the file which column of the table gets which.
    pub fn open(
        path: &Path,
        dialect: Dialect,
        place: impl FnOnce(&[String]) -> Result<Vec<Option<usize>>, Failure>,
    ) -> Result<Self, Failure> {
        let (names, records) = begin(path, &dialect)?;
        Ok(Self { places: place(&names)?, records, dialect, names, path: path.to_owned() })
    }

    fn cells(&self, fields: Vec<Field>) -> Result<Vec<Cell>> {
        if fields.len() > self.names.len() {
            return Err(malformed("extra data after last expected column"));
        }
        if let Some(name) = self.names.get(fields.len()) {
            return Err(malformed(format!("missing data for column \"{name}\"")));
        }
        let mut cells = Vec::with_capacity(fields.len());
        for field in fields {
            cells.push(if field.is_null(&self.dialect) { Cell::Null } else { Cell::Text(field.text()?) });
        }
        Ok(super::import::arrange(cells, &self.places))
    }
}

impl Source for Reader {
    fn next(&mut self) -> Result<Option<Row>, Failure> {
        loop {
            let before = self.records.position;
            let next = self.records.next().map_err(|error| unusable("read", &self.path, error))?;
            let Some((line, fields)) = next else { return Ok(None) };
            // An empty line is a row of a table with one column, and nothing in one with more.
            let blank =
                |fields: &Vec<Field>| fields.len() == 1 && fields.iter().all(|f| f.bytes.is_empty() && !f.quoted);
            if self.names.len() > 1 && fields.as_ref().is_ok_and(blank) {
                continue;
            }
            let bytes = usize::try_from(self.records.position - before).unwrap_or(usize::MAX);
            return Ok(Some(Row { line, cells: fields.and_then(|fields| self.cells(fields)), bytes }));
        }
    }

    fn position(&self) -> u64 {
        self.records.position
    }
}

/// Writes rows.
pub struct Writer<W> {
    out: W,
    dialect: Dialect,
    style: TextStyle,
    line: String,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn new(mut out: W, columns: &[Column], dialect: Dialect, style: TextStyle) -> io::Result<Self> {
        let mut line = String::new();
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                line.push(char::from(dialect.delimiter));
            }
            write_csv_field(&column.name, char::from(dialect.delimiter), &mut line);
        }
        line.push('\n');
        out.write_all(line.as_bytes())?;
        Ok(Self { out, dialect, style, line })
    }

    /// Writes a row. A text that would be read as NULL is quoted.
    pub fn write(&mut self, values: &[Value]) -> io::Result<()> {
        self.line.clear();
        let delimiter = char::from(self.dialect.delimiter);
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.line.push(delimiter);
            }
            if value.is_null() {
                self.line.push_str(&self.dialect.null);
                continue;
            }
            let text = text::print(value, &self.style);
            if text == self.dialect.null {
                self.line.push_str(&format!("\"{}\"", text.replace('"', "\"\"")));
            } else {
                write_csv_field(&text, delimiter, &mut self.line);
            }
        }
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())
    }

    /// No more rows.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodedb::Type;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<(u64, Vec<(String, bool)>)> {
        let mut records = Records::new(text.as_bytes(), b',');
        std::iter::from_fn(|| records.next().unwrap())
            .map(|(line, fields)| {
                let show = |field: Field| (String::from_utf8(field.bytes).unwrap(), field.quoted);
                (line, fields.unwrap().into_iter().map(show).collect())
            })
            .collect()
    }

    #[test]
    fn records_know_their_lines_and_quotes() {
        let plain = |text: &str| (text.to_owned(), false);
        let quoted = |text: &str| (text.to_owned(), true);
        assert_eq!(
            read("a,b\r\n\"x\ny\",\"\"\"\"\r\n,\"\"\nz\"z,last"),
            [
                (1, vec![plain("a"), plain("b")]),
                (2, vec![quoted("x\ny"), quoted("\"")]),
                (4, vec![plain(""), quoted("")]),
                (5, vec![plain("z\"z"), plain("last")]),
            ]
        );
    }

    #[test]
    fn a_quote_that_does_not_end_is_told() {
        let mut records = Records::new("a\n\"b".as_bytes(), b',');
        assert!(records.next().unwrap().unwrap().1.is_ok());
        assert!(records.next().unwrap().unwrap().1.is_err());
        assert!(records.next().unwrap().is_none());
    }

    proptest! {
        #[test]
        fn texts_and_nulls_are_read_as_they_were_written(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of("[a,\"\r\n\\\\.N é]{0,6}"), 2), 0..5),
            null in prop::sample::select(vec!["", "N", "NULL"]),
        ) {
            let dialect = Dialect { delimiter: b',', null: null.to_owned() };
            let columns = ["x", "y"].map(|name| Column { name: name.to_owned(), ty: Type::Text });
            let mut writer = Writer::new(Vec::new(), &columns, dialect.clone(), TextStyle::default()).unwrap();
            for row in &rows {
                let values: Vec<Value> = row.iter().map(|text| text.clone().into()).collect();
                writer.write(&values).unwrap();
            }
            let bytes = writer.finish().unwrap();
            let mut records = Records::new(bytes.as_slice(), b',');
            records.next().unwrap().unwrap().1.unwrap();
            for row in rows {
                let fields = records.next().unwrap().unwrap().1.unwrap();
                let texts: Vec<_> =
                    fields.into_iter().map(|f| if f.is_null(&dialect) { None } else { Some(f.text().unwrap()) }).collect();
                prop_assert_eq!(texts, row);
            }
            prop_assert!(records.next().unwrap().is_none());
        }
    }
}
