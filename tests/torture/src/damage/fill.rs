//! Makes the database: most of it in tables of the trees, the last of it only in the log.

use super::tables::{TABLES, Table, is_changed, is_deleted};
use crate::failure::{Failure, Result, ensure};
use crate::sql::Client;
use nodedb::{Database, Options};
use std::path::PathBuf;
use std::process::Command;

/// How many rows `verify` expects.
pub const ROWS: u64 = 100_000;
/// Rows that one transaction writes.
const BATCH: u64 = 500;
/// Steps that end in a checkpoint.
const STEPS: u64 = 6;

/// What `fill` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the database is made.
    dir: PathBuf,
    /// How many rows it gets; `verify` asks the database itself for this number.
    #[arg(long, default_value_t = ROWS)]
    rows: u64,
    /// Ends without closing the database, so that there is something in the log.
    #[arg(long)]
    kill: bool,
    /// Makes it in this very process, and ends that.
    #[arg(long, hide = true)]
    abort: bool,
}

/// Settings under which some hundred flushes happen, but none that was not asked for in the last part.
pub fn options() -> Options {
    let (memtable_bytes, segment_bytes) = (Some(4 << 20), 1 << 20);
    Options { memtable_bytes, segment_bytes, vector_seal_threshold: 512, ..Options::default() }
}

/// Makes the database.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.kill {
        return kill(arguments);
    }
    let database = Database::open_with(&arguments.dir, options())?;
    let mut client = Client::new(&database);
    make_tables(&mut client, arguments.rows)?;
    for step in 0..STEPS {
        write_step(&mut client, arguments.rows, step)?;
        if step + 1 < STEPS {
            database.checkpoint()?;
        }
    }
    // Time for whatever the database writes when it has nothing to do.
    client.query_once("SELECT count(*) FROM narrow", &[])?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    if arguments.abort {
        std::process::abort();
    }
    drop(client);
    Ok(database.close()?)
}

/// Has the work done by a process of its own, which must end as one that is killed.
fn kill(arguments: &Arguments) -> Result<()> {
    let outside = |e: std::io::Error| Failure::Outside(format!("could not start myself: {e}"));
    let mut command = Command::new(std::env::current_exe().map_err(outside)?);
    command.arg("fill").arg(&arguments.dir).args(["--abort", "--rows", &arguments.rows.to_string()]);
    let status = command.status().map_err(outside)?;
    match status.code() {
        None => Ok(()),
        Some(code) => Err(Failure::Outside(format!("was to be killed, and ended with {code}"))),
    }
}

fn make_tables(client: &mut Client, rows: u64) -> Result<()> {
    client.session.execute("CREATE TABLE about (n BIGINT PRIMARY KEY)", &[])?;
    client.session.execute("INSERT INTO about VALUES ($1)", &[rows.cast_signed().into()])?;
    for statement in TABLES.iter().flat_map(|table| table.schema) {
        client.session.execute(statement, &[])?;
    }
    Ok(())
}

/// A part of all rows; the last steps also change and delete what the steps before have put.
fn write_step(client: &mut Client, rows: u64, step: u64) -> Result<()> {
    for table in &TABLES {
        let rows = table.rows(rows);
        // The last step is small: it is all that the log still holds.
        let (part, whole) = (rows * 97 / 100, STEPS - 1);
        let range = if step == whole { part..rows } else { part * step / whole..part * (step + 1) / whole };
        in_batches(client, range, |client, at| insert(client, table, scatter(at, rows)))?;
        let changed = match step {
            s if s + 2 == STEPS => 0..part * 9 / 10,
            s if s + 1 == STEPS => part * 9 / 10..rows,
            _ => 0..0,
        };
        in_batches(client, changed, |client, at| change(client, table, scatter(at, rows)))?;
    }
    Ok(())
}

/// Another order: the number of the row that is the `at`-th to be written.
const fn scatter(at: u64, rows: u64) -> u64 {
    at * 1_000_003 % rows
}

fn in_batches(
    client: &mut Client,
    range: std::ops::Range<u64>,
    mut write: impl FnMut(&mut Client, u64) -> Result<()>,
) -> Result<()> {
    let mut from = range.start;
    while from < range.end {
        let to = (from + BATCH).min(range.end);
        client.session.execute("BEGIN", &[])?;
        (from..to).try_for_each(|at| write(client, at))?;
        client.session.execute("COMMIT", &[])?;
        from = to;
    }
    Ok(())
}

fn insert(client: &mut Client, table: &Table, number: u64) -> Result<()> {
    client.touch(1, table.insert, &(table.row)(number, 1))
}

fn change(client: &mut Client, table: &Table, number: u64) -> Result<()> {
    if is_changed(number) {
        client.touch(1, table.update, &(table.row)(number, 2))?;
    }
    if is_deleted(number) {
        client.touch(1, table.delete, &table.key(number))?;
    }
    Ok(())
}

/// How many rows `fill` was told to make.
pub fn rows(client: &mut Client) -> Result<u64> {
    let rows = client.integer("SELECT n FROM about", &[])?;
    let rows = u64::try_from(rows).map_err(|_| Failure::Wrong(format!("there are {rows} rows")))?;
    ensure(rows >= 1000, || format!("there are {rows} rows"))?;
    Ok(rows)
}
