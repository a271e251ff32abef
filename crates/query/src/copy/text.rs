//! Rows as text and as CSV.

use nodedb_base::{Error, Result};
use sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption};

/// How rows are written as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFormat {
    csv: bool,
    delimiter: u8,
    null: String,
    header: bool,
    quote: u8,
    escape: u8,
}

impl TextFormat {
    /// What the options of a COPY say.
    ///
    /// # Errors
    /// `Statement` (0A000).
    pub fn from_options(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<Self> {
        let mut format =
            Self { csv: false, delimiter: 0, null: "\\N".into(), header: false, quote: b'"', escape: b'"' };
        let (mut null, mut escape) = (None, None);
        for option in options {
            match option {
                CopyOption::Format(name) => format.csv = name.value.eq_ignore_ascii_case("csv"),
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

fn single(what: &str, c: char) -> Result<u8> {
    u8::try_from(c)
        .ok()
        .filter(u8::is_ascii)
        .ok_or_else(|| Error::statement("0A000", format!("COPY {what} must be a single one-byte character")))
}

/// The records of the data, `None` for a NULL field.
pub struct Records<'a> {
    rest: &'a str,
    format: &'a TextFormat,
    /// The line that the last record started on, from 1.
    pub line: usize,
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

impl<'a> Records<'a> {
    /// Of `data`, without its header.
    ///
    /// # Errors
    /// `Statement` (22P04, 22021) if the header is malformed.
    pub fn new(data: &'a str, format: &'a TextFormat) -> Result<Self> {
        let mut records = Self { rest: data, format, line: 0 };
        if format.header {
            records.next().transpose()?;
        }
        Ok(records)
    }

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
        let TextFormat { delimiter, quote, escape, .. } = *self.format;
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
        let format = TextFormat::from_options(&options, &[]).unwrap();
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
