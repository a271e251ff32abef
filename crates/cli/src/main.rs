//! The `nodedb` program: a shell for SQL, import and export, a check of the files, and a demonstration.
//!
//! A door: it turns files, terminals and arguments into calls of package `nodedb`, and holds no meaning of its own.

#![forbid(unsafe_code)]

mod args;
mod check;
mod console;
mod demo;
mod print;
mod sql;
mod transfer;

use args::{Args, Command};
use clap::{CommandFactory, FromArgMatches};
use console::Failure;
use nodedb_allocator as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = Args::command().get_matches();
    let args = match Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match log().and_then(|()| run(&args, &matches)) {
        Ok(code) => code,
        Err(failure) => failure.tell(),
    }
}

fn run(args: &Args, matches: &clap::ArgMatches) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Sql(sql) => sql::run(args, sql, matches),
        Command::Import(import) => transfer::import(args, import),
        Command::Export(export) => transfer::export(args, export),
        Command::Check => check::run(args),
        Command::Demo(demo) => demo::run(args, demo),
        Command::DemoWriter => demo::writer(args),
    }
}

/// What the database says of its doings goes to standard error, when `NODEDB_LOG` asks for it.
fn log() -> Result<(), Failure> {
    let Ok(filter) = std::env::var("NODEDB_LOG") else { return Ok(()) };
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .map_err(|error| Failure::Usage(format!("NODEDB_LOG is no filter of log lines: {error}")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
