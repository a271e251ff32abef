//! The writer: a life of sixteen sessions, until something ends it.

mod acks;
mod careless;
mod session;
mod sides;

use crate::check::proved::Proved;
use crate::failure::{Failure, Result, ensure};
use crate::model::{ACCOUNTS, BALANCE, SCHEMA, SESSIONS, SIDES, SLOTS};
use crate::sql::{Client, no_such_table};
use acks::Acks;
use nodedb::{Database, Env, Options};
use nodedb_store::TreesKind;
use session::Worker;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// What the writer is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the database is, or is made.
    dir: PathBuf,
    /// What decides, with the number of the life, what it does.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sessions that write at the same time.
    #[arg(long, default_value_t = SESSIONS)]
    sessions: u64,
    /// Ends after so many seconds instead of never.
    #[arg(long)]
    seconds: Option<u64>,
    /// Leaves out the syncs of the log: a check after a power cut must then fail.
    #[arg(long)]
    no_sync: bool,
}

/// Memtables and segments so small that all that the store does to them happens many times a second.
fn options() -> Options {
    Options {
        memtable_bytes: Some(96 << 10),
        segment_bytes: 128 << 10,
        retention: Duration::from_millis(300),
        vector_seal_threshold: 64,
        index_checkpoint_bytes: 128 << 10,
        ..Options::default()
    }
}

/// The database below a directory, beside what `check` keeps there.
pub fn open(dir: &Path, env: Env) -> Result<Database> {
    Ok(Database::open_in(env, &dir.join("db"), TreesKind::Files, &options())?)
}

/// Commits until it is killed.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure((1..=SESSIONS).contains(&arguments.sessions), || format!("1 to {SESSIONS} sessions"))?;
    let env = if arguments.no_sync { careless::env() } else { Env::real() };
    let database = open(&arguments.dir, env)?;
    let proved = Proved::read(&arguments.dir)?;
    let mut client = Client::new(&database);
    let life = begin_life(&mut client, arguments.seed)?;
    forget_proved(&mut client, &proved)?;
    let (failed, failures) = mpsc::channel();
    for number in 0..arguments.sessions {
        let mut worker = Worker::new(&database, arguments.seed, life, number.cast_signed(), Acks);
        let failed = failed.clone();
        std::thread::spawn(move || {
            // Nobody listens any more when the others have failed first.
            let _ = failed.send(worker.run());
        });
    }
    // One session that fails ends the life: the others must not cover it up.
    let failure = match arguments.seconds {
        None => failures.recv().ok(),
        Some(seconds) => failures.recv_timeout(Duration::from_secs(seconds)).ok(),
    };
    failure.map_or(Ok(()), |failure| failure)
}

/// The row of this life, the tables and their first rows before it.
fn begin_life(client: &mut Client, seed: u64) -> Result<i64> {
    let last = match client.query_once("SELECT max(life) FROM lives", &[]) {
        Ok(rows) => rows.first().and_then(|row| row.first()).and_then(|value| crate::sql::integer(value).ok()),
        Err(failure) if no_such_table(&failure) => None,
        Err(failure) => return Err(failure),
    };
    if last.is_none() {
        for statement in SCHEMA {
            client.session.execute(statement, &[])?;
        }
    }
    let life = last.unwrap_or(0) + 1;
    client.session.execute("BEGIN", &[])?;
    if last.is_none() {
        first_rows(client)?;
    }
    let row = [life.into(), seed.cast_signed().into()];
    client.touch(1, "INSERT INTO lives VALUES ($1, $2, 0, 0, 0, 0)", &row)?;
    client.session.execute("COMMIT", &[])?;
    Ok(life)
}

fn first_rows(client: &mut Client) -> Result<()> {
    let account = |id: i64| format!("({id}, 0, {BALANCE})");
    let slot = |id: i64| format!("({id}, 0, FALSE, 0, 0, 0)");
    let side = |id: i64| format!("({id}, 0, FALSE, FALSE, 0)");
    insert(client, "accounts", ACCOUNTS, account)?;
    insert(client, "slots", SLOTS, slot)?;
    insert(client, "sides", SIDES, side)
}

fn insert(client: &mut Client, table: &str, rows: i64, row: impl Fn(i64) -> String) -> Result<()> {
    let all: Vec<i64> = (0..rows).collect();
    for some in all.chunks(200) {
        let rows: Vec<String> = some.iter().map(|id| row(*id)).collect();
        client.session.execute(&format!("INSERT INTO {table} VALUES {}", rows.join(", ")), &[])?;
    }
    Ok(())
}

/// What a check has proved need not be in the journal any more. One large commit, so that there is one.
fn forget_proved(client: &mut Client, proved: &Proved) -> Result<()> {
    if proved.life == 0 {
        return Ok(());
    }
    let forgotten = client.execute("DELETE FROM journal WHERE life <= $1", &[proved.life.into()])?;
    let forgotten = i64::try_from(forgotten).map_err(|e| Failure::Wrong(e.to_string()))?;
    ensure(forgotten == 0 || forgotten == proved.journal_rows, || {
        format!("the journal had {forgotten} rows that are proved, not {}", proved.journal_rows)
    })
}
