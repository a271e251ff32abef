//! Runs statements and prints what they answer.

use super::source::Source;
use super::split::Item;
use crate::args::SqlArgs;
use crate::console::{Console, Failure};
use crate::print::{self, Format};
use nodedb::blocking::{Outcome, Session};
use nodedb::{Database, Error, Tag};
use std::io::Write;

/// How a source came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All statements did what they should.
    Done,
    /// At least one did not.
    Failed,
    /// Somebody said `\q`.
    Quit,
}

/// One session and the place where its results go.
pub struct Runner<'a> {
    session: Session,
    console: Console,
    args: &'a SqlArgs,
    /// `None` while it is what runs.
    stdin: Option<Source>,
}

impl<'a> Runner<'a> {
    /// A new session.
    pub fn new(database: &Database, args: &'a SqlArgs) -> Self {
        Self { session: database.blocking(), console: Console::new(), args, stdin: Some(Source::stdin()) }
    }

    /// Runs what comes on standard input.
    pub fn run_stdin(&mut self) -> Result<End, Failure> {
        let Some(mut stdin) = self.stdin.take() else { return Ok(End::Done) };
        let end = self.run(&mut stdin, self.args.stop_on_error);
        self.stdin = Some(stdin);
        end
    }

    /// Runs all statements of a source; with `stop`, up to the first that fails.
    pub fn run(&mut self, source: &mut Source, stop: bool) -> Result<End, Failure> {
        let mut end = End::Done;
        loop {
            let outcome = match source.next() {
                Ok(None) => return Ok(end),
                Ok(Some(Item::Command(name))) if name == "q" => return Ok(End::Quit),
                Ok(Some(Item::Command(name))) => {
                    Err(Error::statement("42601", format!("invalid command \\{name}")).into())
                }
                Ok(Some(Item::Statement(text))) => self.statement(&text, source),
                Err(error) => Err(error.into()),
            };
            self.console.flush()?;
            match outcome {
                Ok(()) => {}
                Err(Failure::Database(error)) => {
                    self.console.error(&error)?;
                    end = End::Failed;
                    if stop {
                        return Ok(end);
                    }
                }
                Err(other) => return Err(other),
            }
        }
    }

    fn statement(&mut self, text: &[u8], source: &mut Source) -> Result<(), Failure> {
        let text = str::from_utf8(text).map_err(|error| not_utf8(text, error.valid_up_to()))?;
        let style = self.session.text_style();
        match self.session.run(text, &[]) {
            Ok(Outcome::Rows(mut rows)) => {
                print::rows(&mut rows, self.args.format, &style, self.console.out())?;
                let tag = rows.tag().to_string();
                let changes = ["INSERT", "UPDATE", "DELETE", "MERGE"].iter().any(|word| tag.starts_with(word));
                if changes { self.tag(&tag) } else { Ok(()) }
            }
            Ok(Outcome::Done(tag)) => self.tag(&tag.to_string()),
            Ok(Outcome::CopyIn(mut copy)) => {
                if copy.is_text() {
                    data(source, &mut self.stdin, |lines| copy.write(lines))?;
                } else {
                    self.stdin.as_mut().ok_or_else(no_place_for_bytes)?.bytes(|bytes| copy.write(bytes))?;
                }
                let tag: Tag = copy.finish()?;
                self.tag(&tag.to_string())
            }
            Err(error) => {
                if wants_data(text) {
                    data(source, &mut self.stdin, |_| Ok(()))?;
                }
                Err(error.into())
            }
        }
    }

    fn tag(&mut self, tag: &str) -> Result<(), Failure> {
        if self.args.format == Format::Table && !self.args.quiet && !tag.is_empty() {
            writeln!(self.console.out(), "{tag}")?;
        }
        Ok(())
    }
}

/// As in psql, the data of a `-c` come from standard input unless they stand behind it.
fn data(
    source: &mut Source,
    stdin: &mut Option<Source>,
    sink: impl FnMut(&[u8]) -> nodedb::Result<()>,
) -> nodedb::Result<()> {
    match stdin {
        Some(stdin) if !source.has_data() => stdin.data(sink),
        _ => source.data_behind(sink),
    }
}

fn no_place_for_bytes() -> Error {
    Error::unsupported("COPY of other data than text among statements")
        .with_hint("Name the file: COPY ... FROM 'file'. Or give the statement by -c, and the file as standard input.")
}

/// Whether lines of data follow a statement that was refused. They follow it whether it runs or not, and must
/// not be taken for statements.
fn wants_data(text: &str) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ';')).filter(|w| !w.is_empty());
    if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("copy")) {
        return false;
    }
    let mut from = false;
    words.any(|word| {
        let found = from && word.eq_ignore_ascii_case("stdin");
        from = word.eq_ignore_ascii_case("from");
        found
    })
}

fn not_utf8(text: &[u8], at: usize) -> Error {
    let byte = text.get(at).copied().unwrap_or_default();
    Error::statement("22021", format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::wants_data;

    #[test]
    fn a_copy_from_stdin_is_known_by_its_words() {
        assert!(wants_data("COPY t(a, b)FROM STDIN WITH (FORMAT csv)"));
        assert!(wants_data("copy missing from\nstdin;"));
        for text in ["copy t to stdout", "copy (select 1 from stdin_log) to stdout", "select 1 from stdin", ""] {
            assert!(!wants_data(text), "{text}");
        }
    }
}
