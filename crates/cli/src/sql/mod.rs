//! `nodedb sql`: statements from arguments, files and standard input, one after another.

mod data;
mod run;
mod source;
mod split;
#[cfg(test)]
mod split_tests;

use crate::args::{Args, SqlArgs};
use crate::console::Failure;
use clap::ArgMatches;
use run::{End, Runner};
use source::Source;
use std::path::Path;
use std::process::ExitCode;

/// Something to run.
enum Action<'a> {
    Text(&'a str),
    File(&'a Path),
}

/// Runs the command.
pub fn run(args: &Args, sql: &SqlArgs, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let actions = actions(sql, matches);
    // A file that is not there is better told before anything has run.
    for action in &actions {
        if let Action::File(path) = action {
            source::check(path)?;
        }
    }
    let database = args.open()?;
    let mut runner = Runner::new(&database, sql);
    let end = run_all(&mut runner, &actions, sql.stop_on_error);
    drop(runner);
    let end = end?;
    database.close()?;
    Ok(end)
}

fn run_all(runner: &mut Runner<'_>, actions: &[Action<'_>], stop: bool) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    for action in actions {
        let (end, failed) = match action {
            Action::Text(text) => (runner.run(&mut Source::text(text), true)?, 1),
            Action::File(path) if is_stdin(path) => (runner.run_stdin()?, 3),
            Action::File(path) => (runner.run(&mut Source::file(path)?, stop)?, 3),
        };
        match end {
            End::Failed if stop => return Ok(ExitCode::from(failed)),
            // As in psql, a script that went on after its errors has come to its end.
            End::Failed if failed == 1 => code = ExitCode::from(1),
            End::Failed | End::Done => code = ExitCode::SUCCESS,
            End::Quit => return Ok(ExitCode::SUCCESS),
        }
    }
    Ok(code)
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// `-c` and `-f` in the order in which they were given; standard input if there are none.
fn actions<'a>(sql: &'a SqlArgs, matches: &ArgMatches) -> Vec<Action<'a>> {
    let Some(matches) = matches.subcommand_matches("sql") else { return Vec::new() };
    let places = |name| matches.indices_of(name).into_iter().flatten();
    let texts = places("command").zip(sql.command.iter().map(|text| Action::Text(text)));
    let files = places("file").zip(sql.file.iter().map(|path| Action::File(path)));
    let mut actions: Vec<_> = texts.chain(files).collect();
    actions.sort_by_key(|(place, _)| *place);
    if actions.is_empty() {
        return vec![Action::File(Path::new("-"))];
    }
    actions.into_iter().map(|(_, action)| action).collect()
}
