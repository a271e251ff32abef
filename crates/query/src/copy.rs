//! COPY ... FROM STDIN: rows as text or CSV, all or nothing.

use crate::dml::{Change, no_column};
use crate::engine::Engine;
use crate::outcome::Tag;
use crate::parse;
use crate::planner::no_relation;
use crate::statement::Statement;
use crate::types::parse as parse_text;
use nodedb_base::{Error, Result, Value};
use nodedb_store::Transaction;
use nodedb_store::catalog::Table;
use sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Statement as Ast};

/// Most bytes of one COPY.
const MAX_COPY_BYTES: usize = 256 << 20;

/// A COPY ... FROM STDIN that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyIn {
    table: String,
    columns: Vec<String>,
    format: Format,
    data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Format {
    csv: bool,
    delimiter: u8,
    null: String,
    header: bool,
    quote: u8,
    escape: u8,
}

impl CopyIn {
    /// The COPY that `ast` is, if it is one.
    ///
    /// # Errors
    /// `Statement` (0A000, 22023).
    pub fn bind(ast: &Ast) -> Result<Option<Self>> {
        let Ast::Copy { source, to, target, options, legacy_options, values } = ast else { return Ok(None) };
        let CopySource::Table { table_name, columns } = source else {
            return Err(Error::unsupported("COPY of a query"));
        };
        if *to || !matches!(target, CopyTarget::Stdin) || !values.is_empty() {
            return Err(Error::unsupported("COPY other than FROM STDIN"));
        }
        let format = Format::from_options(options, legacy_options)?;
        let (table, columns) = (parse::relation(table_name)?, columns.iter().map(parse::name).collect());
        Ok(Some(Self { table, columns, format, data: Vec::new() }))
    }

    /// Takes more data.
    ///
    /// # Errors
    /// `Limit` (54000).
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        if self.data.len() + data.len() > MAX_COPY_BYTES {
            return Err(Error::limit("54000", format!("COPY of more than {MAX_COPY_BYTES} bytes"))
                .with_hint("Use import for bulk loads, or copy in parts."));
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    /// Fails unless the table and the columns are there.
    ///
    /// # Errors
    /// `Statement` (42P01, 42703).
    pub fn check(&self, tx: &Transaction) -> Result<()> {
        tx.check_writable("COPY FROM")?;
        let table = tx.catalog().table(&self.table).ok_or_else(|| no_relation(&self.table))?;
        self.target_columns(table).map(|_| ())
    }

    fn target_columns(&self, table: &Table) -> Result<Vec<usize>> {
        if self.columns.is_empty() {
            return Ok((0..table.columns.len()).collect());
        }
        self.columns.iter().map(|name| table.column(name).ok_or_else(|| no_column(name, &table.name))).collect()
    }

    /// Puts all rows.
    ///
    /// # Errors
    /// `Statement` (22P04 and those of the values), `Constraint`, `Limit`.
    pub async fn finish(&self, engine: &Engine, statement: Statement<'_>, tx: &mut Transaction) -> Result<Tag> {
        let text = std::str::from_utf8(&self.data)
            .map_err(|_| Error::statement("22021", "invalid byte sequence for encoding \"UTF8\""))?;
        let mut change = Change::new(engine, statement, tx, &self.table, "COPY FROM", false)?;
        let columns = self.target_columns(change.table())?;
        let mut records = Records { rest: text, format: &self.format, line: 0 };
        if self.format.header {
            records.next().transpose()?;
        }
        while let Some(record) = records.next() {
            let line = records.line;
            let context = |e: Error| {
                if e.report().detail.is_some() { e } else { e.with_detail(format!("COPY {}, line {line}", self.table)) }
            };
            let row = self.row(&change, &columns, record?).map_err(context)?;
            let row = crate::dml::insert::fill_defaults(&change, &columns, row).await.map_err(context)?;
            change.insert(row).map_err(context)?;
        }
        change.finish()?;
        Ok(Tag::rows_changed("COPY", change.count))
    }

    fn row(&self, change: &Change<'_>, columns: &[usize], record: Vec<Option<String>>) -> Result<Vec<Value>> {
        if record.len() > columns.len() {
            return Err(Error::statement("22P04", "extra data after last expected column"));
        }
        let mut row = Vec::with_capacity(columns.len());
        let mut fields = record.into_iter();
        for at in columns {
            let Some(column) = change.table().columns.get(*at) else { continue };
            let Some(field) = fields.next() else {
                return Err(Error::statement("22P04", format!("missing data for column \"{}\"", column.name)));
            };
            row.push(match field {
                Some(text) => parse_text(&text, &column.ty, change.statement.style())?,
                None => Value::Null,
            });
        }
        Ok(row)
    }
}

impl Format {
    fn from_options(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<Self> {
        let mut format =
            Self { csv: false, delimiter: 0, null: "\\N".into(), header: false, quote: b'"', escape: b'"' };
        let (mut null, mut escape) = (None, None);
        for option in options {
            match option {
                CopyOption::Format(name) => format.csv = is_csv(&name.value)?,
                CopyOption::Delimiter(c) => format.delimiter = single("delimiter", *c)?,
                CopyOption::Null(text) => null = Some(text.clone()),
                CopyOption::Header(header) => format.header = *header,
                CopyOption::Quote(c) => format.quote = single("quote", *c)?,
                CopyOption::Escape(c) => escape = Some(single("escape", *c)?),
                CopyOption::Encoding(name) if name.eq_ignore_ascii_case("utf8") => {}
                other => return Err(Error::unsupported(format!("COPY ... ({other})"))),
            }
        }
        for option in legacy {
            match option {
                CopyLegacyOption::Delimiter(c) => format.delimiter = single("delimiter", *c)?,
                CopyLegacyOption::Null(text) => null = Some(text.clone()),
                CopyLegacyOption::Csv(options) => {
                    format.csv = true;
                    for option in options {
                        match option {
                            CopyLegacyCsvOption::Header => format.header = true,
                            CopyLegacyCsvOption::Quote(c) => format.quote = single("quote", *c)?,
                            CopyLegacyCsvOption::Escape(c) => escape = Some(single("escape", *c)?),
                            other => return Err(Error::unsupported(format!("COPY ... CSV {other}"))),
                        }
                    }
                }
                other => return Err(Error::unsupported(format!("COPY ... {other}"))),
            }
        }
        format.escape = escape.unwrap_or(format.quote);
        format.null = null.unwrap_or_else(|| if format.csv { String::new() } else { "\\N".into() });
        if format.delimiter == 0 {
            format.delimiter = if format.csv { b',' } else { b'\t' };
        }
        Ok(format)
    }
}

fn is_csv(name: &str) -> Result<bool> {
    match name.to_lowercase().as_str() {
        "csv" => Ok(true),
        "text" => Ok(false),
        "binary" => Err(Error::unsupported("COPY ... (FORMAT binary)")),
        _ => Err(Error::statement("22023", format!("COPY format \"{name}\" not recognized"))),
    }
}

fn single(what: &str, c: char) -> Result<u8> {
    u8::try_from(c)
        .ok()
        .filter(u8::is_ascii)
        .ok_or_else(|| Error::statement("0A000", format!("COPY {what} must be a single one-byte character")))
}

/// The records of the data, `None` for a NULL field.
struct Records<'a> {
    rest: &'a str,
    format: &'a Format,
    /// The line that the last record started on, from 1.
    line: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<Vec<Option<String>>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.rest == "\\." || self.rest.starts_with("\\.\n") {
            return None;
        }
        self.line += 1;
        Some(if self.format.csv { self.csv() } else { self.text() })
    }
}

impl Records<'_> {
    fn text(&mut self) -> Result<Vec<Option<String>>> {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let mut fields = Vec::new();
        let (mut field, mut start) = (String::new(), 0);
        let mut chars = line.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == char::from(self.format.delimiter) {
                fields.push(self.field(std::mem::take(&mut field), line.get(start..at).unwrap_or_default()));
                start = at + 1;
            } else if c == '\\' {
                field.push(unescape(chars.next().map_or('\\', |(_, c)| c)));
            } else {
                field.push(c);
            }
        }
        fields.push(self.field(field, line.get(start..).unwrap_or_default()));
        Ok(fields)
    }

    fn field(&self, unescaped: String, raw: &str) -> Option<String> {
        (raw != self.format.null).then_some(unescaped)
    }

    fn csv(&mut self) -> Result<Vec<Option<String>>> {
        let Format { delimiter, quote, escape, .. } = *self.format;
        let bytes = self.rest.as_bytes();
        let (mut fields, mut field) = (Vec::new(), Vec::new());
        let (mut quoted, mut inside, mut at) = (false, false, 0);
        loop {
            let byte = bytes.get(at).copied();
            match byte {
                None if inside => return Err(Error::statement("22P04", "unterminated CSV quoted field")),
                Some(b) if inside && b == escape && bytes.get(at + 1).is_some_and(|n| *n == quote || *n == escape) => {
                    field.extend(bytes.get(at + 1));
                    at += 1;
                }
                Some(b) if b == quote && (inside || (field.is_empty() && !quoted)) => {
                    inside = !inside;
                    quoted = true;
                }
                Some(b) if inside => {
                    self.line += usize::from(b == b'\n');
                    field.push(b);
                }
                None | Some(b'\n') => break,
                Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => {}
                Some(b) if b == delimiter => fields.push(self.csv_field(&mut field, &mut quoted)?),
                Some(b) => field.push(b),
            }
            at += 1;
        }
        fields.push(self.csv_field(&mut field, &mut quoted)?);
        self.rest = self.rest.get(at + 1..).unwrap_or_default();
        Ok(fields)
    }

    fn csv_field(&self, field: &mut Vec<u8>, quoted: &mut bool) -> Result<Option<String>> {
        let text = String::from_utf8(std::mem::take(field))
            .map_err(|_| Error::statement("22021", "invalid byte sequence for encoding \"UTF8\""))?;
        let was_quoted = std::mem::take(quoted);
        Ok((was_quoted || text != self.format.null).then_some(text))
    }
}

fn unescape(c: char) -> char {
    match c {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(csv: bool, data: &str) -> Vec<Vec<Option<String>>> {
        let options = if csv { vec![CopyOption::Format("csv".into())] } else { vec![] };
        let format = Format::from_options(&options, &[]).unwrap();
        Records { rest: data, format: &format, line: 0 }.collect::<Result<_>>().unwrap()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn text_has_tabs_and_backslashes() {
        assert_eq!(
            records(false, "a\t\\N\tb\\tc\n\\\\\tx\t\n\\.\nignored"),
            [vec![some("a"), None, some("b\tc")], vec![some("\\"), some("x"), some("")]]
        );
    }

    #[test]
    fn csv_has_quotes_and_lines_within() {
        assert_eq!(
            records(true, "1,,\"\"\r\n\"a \"\"b\"\"\",\"x\ny\",z\n"),
            [vec![some("1"), None, some("")], vec![some("a \"b\""), some("x\ny"), some("z")]]
        );
    }
}
