//! `nodedb check`.

use crate::args::Args;
use crate::console::{Failure, counted, grouped};
use nodedb::CheckReport;
use std::process::ExitCode;

/// Runs the command. Damage is an error that says what and where.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let directory = args.directory();
    if !directory.is_dir() {
        // Opening would make a new database, which is sound and not the one that was meant.
        return Err(Failure::Usage(format!("there is no database in {}", directory.display())));
    }
    let database = args.open()?;
    let report = database.check()?;
    print!("{}", describe(&report));
    database.close()?;
    Ok(ExitCode::SUCCESS)
}

/// What was looked at, in lines.
pub fn describe(report: &CheckReport) -> String {
    let CheckReport { files, bytes, tables, indexes, last } = report;
    format!(
        "sound up to commit {}\n{} and {} in {} read and compared\n{} entries in derived indexes ({}) compared with the rows\n{} ({} bytes) compared with their checksums\n",
        last.0,
        counted(tables.rows, "row"),
        counted(tables.keys, "key"),
        counted(tables.tables, "table"),
        grouped(indexes.entries),
        indexes.indexes,
        counted(*files, "file"),
        grouped(*bytes),
    )
}
