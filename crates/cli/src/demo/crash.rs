//! A process that writes is killed in the middle of a commit, and what it was told stays true.

use super::Show;
use super::questions::{Expected, Question};
use crate::args::Args;
use crate::console::Failure;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

/// The commit in whose middle the writer is killed.
const KILLED_IN: u64 = 250;

/// Rows of a commit; all of them stay or none.
const ROWS: u64 = 10;

const TABLE: &str = "CREATE TABLE journal (batch integer, n integer, note text, PRIMARY KEY (batch, n))";

const INDEXES: &str = "SELECT index_name, state, entries FROM nodedb_indexes ORDER BY index_name";
const WHOLE: [&str; 2] = ["synsets_near|ready|7485", "synsets_text|ready|7485"];

/// How far the writer came, as it told before it was killed.
#[derive(Debug, Default)]
struct Told {
    begun: u64,
    committed: u64,
}

/// The process that is killed: it commits, one batch after another, and tells of each before and after.
pub fn writer(args: &Args) -> Result<ExitCode, Failure> {
    let database = args.open()?;
    let mut session = database.blocking();
    let mut out = io::stdout().lock();
    // Far more than the demo waits for; it ends by itself should its parent be gone.
    for batch in 1..=100 * KILLED_IN {
        let rows: Vec<String> = (1..=ROWS).map(|n| format!("({batch}, {n}, 'row {n} of commit {batch}')")).collect();
        writeln!(out, "begin {batch}")?;
        out.flush()?;
        session.execute(&format!("INSERT INTO journal VALUES {}", rows.join(", ")), &[])?;
        writeln!(out, "committed {batch}")?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets a child write, kills it, and looks at what is left.
pub fn run(args: &Args, directory: &Path, show: &mut Show) -> Result<(), Failure> {
    show.note("\nA second process commits 10 rows at a time, and is killed (SIGKILL) in the middle of a commit.")?;
    let database = args.open_at(directory)?;
    let table = Question { note: None, sql: TABLE, expected: Expected::Tag("CREATE TABLE") };
    show.ask(&mut database.blocking(), &table)?;
    // Only one process at a time has the database open.
    database.close()?;
    let told = write_and_kill(args, directory)?;
    show.note(&format!("\nKilled in commit {}; {} commits had been acknowledged.", told.begun, told.committed))?;
    let (database, time) = show.timed(|| args.open_at(directory))?;
    show.note(&format!("Opened again -- {time}"))?;
    let count = "SELECT count(DISTINCT batch) AS commits, max(batch) AS last, count(*) AS rows FROM journal";
    let mut session = database.blocking();
    show.ask(&mut session, &Question { note: None, sql: count, expected: Expected::Anything })?;
    let rows = super::answer(&mut session, count)?.rows;
    let possible: Vec<String> =
        (told.committed..=told.begun).map(|last| format!("{last}|{last}|{}", last * ROWS)).collect();
    let found = rows.first().is_some_and(|row| possible.contains(row));
    show.judge(found && told.committed > 0, &format!("one of {possible:?}"))?;
    let old = "SELECT count(*) AS synsets FROM synsets";
    show.ask(&mut session, &Question { note: None, sql: old, expected: Expected::Rows(&["7485"]) })?;
    show.ask(&mut session, &Question { note: None, sql: INDEXES, expected: Expected::Rows(&WHOLE) })?;
    drop(session);
    show.check(&database)?;
    Ok(database.close()?)
}

fn write_and_kill(args: &Args, directory: &Path) -> Result<Told, Failure> {
    let failed = |error| Failure::Usage(format!("could not start the process that is to be killed: {error}"));
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("demo-writer").arg("--data").arg(directory).stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(memory) = args.memory {
        command.arg("--memory").arg(memory.to_string());
    }
    let mut child = command.spawn().map_err(failed)?;
    let told = watch(&mut child);
    // Whatever happened, it must be gone before the database is opened again.
    let _ = child.kill();
    child.wait().map_err(failed)?;
    told.map_err(failed)
}

/// Kills the child when it is in the commit, and reads what it told up to its end.
fn watch(child: &mut Child) -> io::Result<Told> {
    let mut told = Told::default();
    let Some(out) = child.stdout.take() else { return Ok(told) };
    for line in BufReader::new(out).lines() {
        let line = line?;
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        if let Some(batch) = number(line.strip_prefix("committed ")) {
            told.committed = batch;
        } else if let Some(batch) = number(line.strip_prefix("begin ")) {
            told.begun = batch;
            if batch == KILLED_IN {
                child.kill()?;
            }
        }
    }
    Ok(told)
}
