//! `nodedb demo`: a small real data set, questions across modalities, and a kill in the middle of a commit.
//!
//! Every answer is compared with the one that is known to be right, so that the demo is a test as well.

mod crash;
mod questions;

pub use crash::writer;

use crate::args::{Args, DemoArgs, FileFormat};
use crate::check;
use crate::console::{Console, Failure, counted, report};
use crate::print::table::Table;
use crate::transfer::{Dialect, Input, fill};
use nodedb::blocking::{Outcome, Session};
use nodedb::{Database, Error, Tag, text};
use nodedb_env::{Clock, Env};
use questions::{EMPTY, Expected, LOADED, QUESTIONS, Question};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const SYNSETS: &[u8] = include_bytes!("../../../../demo/data/synsets.parquet");
const RELATIONS: &[u8] = include_bytes!("../../../../demo/data/relations.parquet");

const LICENCE: &str = "Data: WordNet 3.0, copyright 2006 by Princeton University, free for any purpose (wordnet.princeton.edu/license-and-commercial-use).";

/// Runs the command.
pub fn run(args: &Args, demo: &DemoArgs) -> Result<ExitCode, Failure> {
    let unusable = |error| Failure::Usage(format!("could not make a temporary directory: {error}"));
    let scratch = tempfile::Builder::new().prefix("nodedb-demo-").tempdir().map_err(unusable)?;
    let own = scratch.path().join("data");
    let directory = args.data.as_deref().unwrap_or(&own);
    let mut show = Show::new(demo.quiet);
    show.note(LICENCE)?;
    show.note(&format!("Database: {}", directory.display()))?;
    let database = args.open_at(directory)?;
    refuse_tables(&database)?;
    questions(&database, scratch.path(), &mut show)?;
    database.close()?;
    crash::run(args, directory, &mut show)?;
    show.end()
}

/// The demo fills tables of its own names, and takes nobody else's for them.
fn refuse_tables(database: &Database) -> Result<(), Failure> {
    let mut session = database.blocking();
    for table in ["synsets", "relations", "journal"] {
        match session.execute(&format!("SELECT 1 FROM {table} LIMIT 1"), &[]) {
            Err(error) if error.sqlstate().as_str() == "42P01" => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(Failure::Usage(format!("the demo wants a fresh database; there is a table {table}"))),
        }
    }
    Ok(())
}

fn questions(database: &Database, scratch: &Path, show: &mut Show) -> Result<(), Failure> {
    let mut session = database.blocking();
    for question in EMPTY {
        show.ask(&mut session, question)?;
    }
    show.note("\nTwo Parquet files go in, as with nodedb import.")?;
    for (table, bytes) in [("synsets", SYNSETS), ("relations", RELATIONS)] {
        let path = scratch.join(format!("{table}.parquet"));
        std::fs::write(&path, bytes)?;
        show.load(database, table, &path)?;
    }
    for question in LOADED.iter().chain(QUESTIONS) {
        show.ask(&mut session, question)?;
    }
    Ok(())
}

/// Shows what is asked and answered, and remembers whether all was right.
struct Show {
    console: Console,
    clock: Arc<dyn Clock>,
    quiet: bool,
    asked: u32,
    wrong: u32,
}

/// What a statement answered, for people and for the comparison.
struct Answer {
    tag: Tag,
    rows: Vec<String>,
    table: Option<Table>,
}

impl Show {
    fn new(quiet: bool) -> Self {
        Self { console: Console::new(), clock: Env::real().clock, quiet, asked: 0, wrong: 0 }
    }

    fn note(&mut self, text: &str) -> Result<(), Failure> {
        if !self.quiet {
            writeln!(self.console.out(), "{text}")?;
            self.console.flush()?;
        }
        Ok(())
    }

    /// Runs `work` and says how long it took.
    fn timed<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, String), Failure> {
        let start = self.clock.monotonic();
        let value = work()?;
        Ok((value, milliseconds(self.clock.monotonic().saturating_sub(start))))
    }

    fn load(&mut self, database: &Database, table: &str, path: &Path) -> Result<(), Failure> {
        let dialect = Dialect { delimiter: b',', null: String::new() };
        let input = Input { path, format: FileFormat::Parquet, dialect };
        let (rows, time) = self.timed(|| fill(database.load(table)?, &input, false, true))?;
        let rows = rows.ok_or_else(|| Error::internal(format!("the rows of {table} were refused")))?;
        writeln!(self.console.out(), "{table}: {} -- {time}", counted(rows, "row"))?;
        Ok(self.console.flush()?)
    }

    fn ask(&mut self, session: &mut Session, question: &Question) -> Result<(), Failure> {
        if let Some(note) = question.note {
            self.note(&format!("\n{note}"))?;
        }
        writeln!(self.console.out(), "\n{};", question.sql)?;
        self.console.flush()?;
        let (mut answer, time) = self.timed(|| Ok(answer(session, question.sql)))?;
        let right = match (&answer, &question.expected) {
            (Ok(_), Expected::Anything) => true,
            (Ok(answer), Expected::Rows(rows)) => answer.rows == *rows,
            (Ok(answer), Expected::Tag(tag)) => answer.tag.to_string() == *tag,
            (Err(Failure::Database(error)), Expected::Error(code)) => error.sqlstate().as_str() == *code,
            _ => false,
        };
        match &mut answer {
            Ok(Answer { table: Some(table), .. }) => table.write_without_end(self.console.out())?,
            Ok(Answer { tag, .. }) => writeln!(self.console.out(), "{tag}")?,
            Err(Failure::Database(error)) => write!(self.console.out(), "{}", report(error))?,
            Err(_) => return answer.map(|_| ()),
        }
        writeln!(self.console.out(), "-- {time}")?;
        self.console.flush()?;
        self.judge(right, &format!("{:?}", question.expected))
    }

    /// Counts an answer, and tells what it should have been.
    fn judge(&mut self, right: bool, expected: &str) -> Result<(), Failure> {
        self.asked += 1;
        if !right {
            self.wrong += 1;
            self.console.say(&format!("WRONG: expected {expected}\n"))?;
        }
        Ok(())
    }

    fn check(&mut self, database: &Database) -> Result<(), Failure> {
        let (report, time) = self.timed(|| Ok(database.check()?))?;
        writeln!(self.console.out(), "\nnodedb check\n{}-- {time}", check::describe(&report))?;
        // Damage would have been an error.
        self.judge(true, "")
    }

    fn end(mut self) -> Result<ExitCode, Failure> {
        if self.wrong > 0 {
            self.console.say(&format!("{} of {} answers are wrong\n", self.wrong, self.asked))?;
            return Ok(ExitCode::FAILURE);
        }
        let asked = self.asked;
        self.note(&format!("\nAll {asked} answers are right."))?;
        self.console.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn answer(session: &mut Session, sql: &str) -> Result<Answer, Failure> {
    let style = session.text_style();
    match session.run(sql, &[])? {
        Outcome::Done(tag) => Ok(Answer { tag, rows: Vec::new(), table: None }),
        Outcome::Rows(mut stream) => {
            let columns = stream.columns().to_vec();
            let mut table = Table::new(&columns);
            let mut rows = Vec::new();
            while let Some(batch) = stream.next_batch() {
                crate::print::for_each_row(&batch?, &columns, |values| {
                    let texts: Vec<String> = values.iter().map(|value| text::print(value, &style)).collect();
                    rows.push(texts.join("|"));
                    table.push(texts.into_iter());
                    Ok(())
                })?;
            }
            Ok(Answer { tag: stream.tag(), rows, table: Some(table) })
        }
        _ => Err(Error::internal("a statement of the demo answers neither with rows nor with a tag").into()),
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
