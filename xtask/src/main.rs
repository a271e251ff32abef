//! Tasks of the house: `cargo xtask test`, `cargo xtask check`, `cargo xtask evidence`.

#![forbid(unsafe_code)]

mod check;
mod evidence;
mod shell;
mod test;

use std::process::ExitCode;

/// A task's result; the error is a sentence for the person at the terminal.
type Result<T, E = String> = std::result::Result<T, E>;

const USAGE: &str = "\
cargo xtask test                              all tests, with cargo-nextest where it is installed
cargo xtask check [--verbose]                 the rules of the house, from the sources and cargo metadata
cargo xtask evidence [--force] [NAME...]      the longer runs whose code has changed since they last passed
cargo xtask evidence --list                   what runs there are, and which are still valid";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}

/// Whether the task found all in order; an error where it could not do its work.
fn run(words: &[&str]) -> Result<bool> {
    let root = shell::root();
    match words {
        ["test", rest @ ..] => test::run(&root, rest),
        ["check"] => check::run(&root, false),
        ["check", "--verbose"] => check::run(&root, true),
        ["evidence", rest @ ..] => evidence::run(&root, rest),
        _ => Err(format!("usage:\n{USAGE}")),
    }
}
