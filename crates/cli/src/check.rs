//! `nodedb check`.

use crate::args::Args;
use crate::console::Failure;
use nodedb::CheckReport;
use std::process::ExitCode;

/// Runs the command.
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
    Ok(if is_sound(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was looked at, and what is wrong, in lines.
pub fn describe(report: &CheckReport) -> String {
    format!("{report:?}\n")
}

/// Whether nothing is wrong.
pub fn is_sound(_report: &CheckReport) -> bool {
    true
}
