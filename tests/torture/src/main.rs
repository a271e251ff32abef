//! Two pairs of programs that treat a database badly.
//!
//! `write` and `check` belong to a tool that cuts the power, or kills, again and again: `write` commits until it is
//! stopped and prints a line for each acknowledged commit, `check` says whether all of them are still there.
//! `fill` and `verify` belong to a tool that damages files: `fill` makes a database whose every value follows from a
//! seed, `verify` reads all of it again.
//!
//! | module | what |
//! |---|---|
//! | [`model`] | the tables, what stands in a row, the journal of what a transaction did |
//! | [`mod@write`] | sixteen sessions that write |
//! | [`check`] | the journal replayed in memory, and the database beside it |
//! | [`damage`] | `fill` and `verify` |

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program that tests the database, no part of it")]

mod check;
mod damage;
mod failure;
mod model;
mod random;
mod sql;
mod write;

use clap::{Parser, Subcommand};
use failure::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// Treats a database badly and sees whether it keeps its word.
#[derive(Parser)]
#[command(after_help = "Exit status: 0 all is well, 1 the database returned an error, 2 it answered wrongly, \
                        3 something outside of it failed.")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Commits until it is killed; prints `lsn life session number` for each acknowledged commit.
    Write(write::Arguments),
    /// Compares what is there with what was acknowledged.
    Check(check::Arguments),
    /// Makes a database that follows from a seed.
    Fill(damage::fill::Arguments),
    /// Reads what `fill` made through every access path and compares it.
    Verify {
        /// The database.
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = run(Arguments::parse().task);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Write(arguments) => write::run(&arguments),
        Task::Check(arguments) => check::run(&arguments),
        Task::Fill(arguments) => damage::fill::run(&arguments),
        Task::Verify { dir } => damage::verify::run(&dir),
    }
}
