//! The checker: what was acknowledged, what the journal says, and what the database holds, beside each other.
//!
//! 1. Each acknowledged commit since the last check is in the journal, and a session has at most one there that was
//!    not acknowledged: the one that was in flight.
//! 2. The journal is replayed onto what the last check proved: the versions of each object follow each other without
//!    gap or fork, in the order of the Lsns.
//! 3. The database holds what the replay gives, and nothing else, by every access path; its own check is clean.
//!
//! What was proved is kept beside the database, in a file of its own that the database knows nothing of, so that a
//! database that goes back to an earlier state is found out.

mod compare;
mod history;
pub mod proved;
mod replay;

use crate::failure::{Failure, Result, ensure};
use crate::sql::{Client, no_such_table};
use history::History;
use nodedb::Env;
use proved::{Figures, Proved};
use std::path::PathBuf;

/// What the checker is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the database is.
    dir: PathBuf,
    /// All lines that the writer has printed, in all its lives.
    acks: PathBuf,
    /// Writes the figures of all lives, as a JSON object, into this file.
    #[arg(long)]
    totals: Option<PathBuf>,
}

/// Fails unless the database holds what was acknowledged.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut proved = Proved::read(&arguments.dir)?;
    let database = crate::write::open(&arguments.dir, Env::real())?;
    let mut client = Client::new(&database);
    let acks = history::read_acks(&arguments.acks, &mut proved)?;
    if !has_begun(&mut client)? {
        ensure(acks.is_empty() && proved.life == 0, || "the tables are gone".to_owned())?;
        println!("nothing was written yet");
        return Ok(());
    }
    let history = History::read(&mut client, &proved, &acks)?;
    history.check_order(&proved, database.last_lsn())?;
    replay::replay(&mut proved, &history)?;
    compare::compare(&mut client, &proved)?;
    database.check()?;
    let figures = Figures::read(&mut client)?;
    proved.accept(&history, figures)?;
    drop(client);
    database.close()?;
    proved.write(&arguments.dir)?;
    tell(arguments, &proved, &history)
}

/// Whether the writer has come as far as its first commit.
fn has_begun(client: &mut Client) -> Result<bool> {
    match client.integer("SELECT count(*) FROM lives", &[]) {
        Ok(lives) => Ok(lives > 0),
        Err(failure) if no_such_table(&failure) => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn tell(arguments: &Arguments, proved: &Proved, history: &History) -> Result<()> {
    let Figures { flushes, compactions, checkpoints, segments } = proved.figures;
    let (lives, commits) = (proved.life, proved.commits);
    let (found, in_flight) = (history.commits.len(), history.in_flight);
    println!(
        "{found} commits since the last check, {in_flight} of them in flight; since the start {lives} lives, \
         {commits} commits, {flushes} flushes, {compactions} compactions, {checkpoints} checkpoints, \
         {segments} log segments"
    );
    let Some(path) = &arguments.totals else { return Ok(()) };
    let totals = format!(
        "{{\"name\": \"torture\", \"lives\": {lives}, \"commits\": {commits}, \"flushes\": {flushes}, \
         \"compactions\": {compactions}, \"checkpoints\": {checkpoints}, \"segments\": {segments}}}\n"
    );
    std::fs::write(path, totals).map_err(|e| Failure::file("write", path, &e))
}
