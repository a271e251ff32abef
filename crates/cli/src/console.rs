//! Standard output and standard error, in order; and how the program fails.

use nodedb::Error;
use std::io::{self, BufWriter, Stdout, Write};
use std::process::ExitCode;

/// Why a command came to an end.
#[derive(Debug)]
pub enum Failure {
    /// The database says so.
    Database(Error),
    /// The result could not be written, to standard output or a file.
    Output(io::Error),
    /// The command line, or a file that it names.
    Usage(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    /// Tells the reader, and says how the program ends.
    pub fn tell(&self) -> ExitCode {
        match self {
            Self::Database(error) => eprint!("{}", report(error)),
            // Nobody reads any more: nobody wants to be told.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Self::Output(error) => eprintln!("nodedb: could not write: {error}"),
            Self::Usage(message) => {
                eprintln!("nodedb: {message}");
                return ExitCode::from(2);
            }
        }
        ExitCode::FAILURE
    }
}

/// An error as psql prints it with `VERBOSITY` verbose, lines that begin with its parts.
pub fn report(error: &Error) -> String {
    let report = error.report();
    let mut text = format!("ERROR:  {}: {}\n", report.sqlstate, report.message);
    for (name, part) in [("DETAIL", &report.detail), ("HINT", &report.hint)] {
        if let Some(part) = part {
            text += &format!("{name}:  {part}\n");
        }
    }
    text
}

/// Where results go. Errors go to standard error, behind all that was printed before.
#[derive(Debug)]
pub struct Console {
    out: BufWriter<Stdout>,
}

impl Console {
    /// The standard streams.
    pub fn new() -> Self {
        Self { out: BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    /// Standard output.
    pub const fn out(&mut self) -> &mut BufWriter<Stdout> {
        &mut self.out
    }

    /// Hands on what was printed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Prints an error of the database.
    pub fn error(&mut self, error: &Error) -> io::Result<()> {
        self.say(&report(error))
    }

    /// Prints lines on standard error.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.out.flush()?;
        io::stderr().write_all(text.as_bytes())
    }
}

/// `1 row`, `7,485 rows`
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// `7,485`
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 1, 999, 1000, 1_234_567].map(|n| counted(n, "row"));
        assert_eq!(shown, ["0 rows", "1 row", "999 rows", "1,000 rows", "1,234,567 rows"]);
    }

    #[test]
    fn an_error_is_told_as_psql_tells_it() {
        let error = Error::constraint("23505", "duplicate key").with_detail("Key (id)=(1).").with_hint("Take 2.");
        assert_eq!(report(&error), "ERROR:  23505: duplicate key\nDETAIL:  Key (id)=(1).\nHINT:  Take 2.\n");
    }
}
