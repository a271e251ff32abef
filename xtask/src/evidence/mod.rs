//! `cargo xtask evidence`: runs that are too long for every change, and what they found.
//!
//! A run that passed is not run again until code that it covers changes, so that the command without names does
//! what is missing and no more. The records below `evidence/` are committed.

mod record;
mod runs;

use crate::{Result, shell};
use record::Record;
use runs::{Keep, Passes, RUNS, Run};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Runs what the words name (all, if none), or lists what there is; whether all that ran passed.
pub fn run(root: &Path, words: &[&str]) -> Result<bool> {
    let force = words.contains(&"--force");
    let names: Vec<&str> = words.iter().copied().filter(|word| *word != "--force").collect();
    if names == ["--list"] {
        return list(root);
    }
    let mut passed = true;
    for run in choose(&names)? {
        passed &= run_one(root, run, force)?;
    }
    Ok(passed)
}

fn choose(names: &[&str]) -> Result<Vec<&'static Run>> {
    if names.is_empty() {
        return Ok(RUNS.iter().collect());
    }
    let find = |name: &&str| RUNS.iter().find(|run| run.name == *name);
    names.iter().map(|name| find(name).ok_or_else(|| format!("no run is called {name}; see --list"))).collect()
}

fn list(root: &Path) -> Result<bool> {
    for run in RUNS {
        let records = record::read(root, run)?;
        let state = match records.last() {
            None => "never run",
            Some(last) if !last.passed => "failed",
            Some(_) if record::is_valid(root, run, &records) => "valid",
            Some(_) => "out of date",
        };
        println!("{:14} {state:12} {}", run.name, run.about);
    }
    Ok(true)
}

fn run_one(root: &Path, run: &Run, force: bool) -> Result<bool> {
    if !force && record::is_valid(root, run, &record::read(root, run)?) {
        println!("{}: still valid", run.name);
        return Ok(true);
    }
    let shared = shared(root);
    if run.steps.iter().any(|step| step.contains("{shared}")) && !shared.is_dir() {
        println!("{}: skipped, {} is not there", run.name, shared.display());
        return Ok(true);
    }
    println!("{}: {}", run.name, run.about);
    let work = Work::new(root, run)?;
    let commands: Vec<String> = run.steps.iter().map(|step| fill(step, root, &shared, &work.0)).collect();
    let record = execute(root, run, &commands)?;
    let passed = record.passed;
    println!("{}: {} after {} s", run.name, if passed { "passed" } else { "FAILED" }, record.seconds);
    record::append(root, run, record)?;
    Ok(passed)
}

fn shared(root: &Path) -> PathBuf {
    std::env::var_os("NODEDB_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from)
}

/// A step with its places filled in.
fn fill(step: &str, root: &Path, shared: &Path, work: &Path) -> String {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let bin = target.join("release");
    let places = [("{bin}", bin.as_path()), ("{shared}", shared), ("{work}", work)];
    places.iter().fold(step.to_owned(), |step, (name, path)| step.replace(name, &path.display().to_string()))
}

/// A folder of a run that goes when the run ends.
struct Work(PathBuf);

impl Work {
    fn new(root: &Path, run: &Run) -> Result<Self> {
        let path = root.join("target/evidence").join(format!("{}-{}", run.name, std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("could not make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What is left over lies below `target` and does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[allow(clippy::disallowed_methods, reason = "a task, not the database: it measures what the user waits for")]
fn execute(root: &Path, run: &Run, commands: &[String]) -> Result<Record> {
    let line = |program, args: &[&str]| shell::output(root, program, args).map(|text| text.trim().to_owned());
    let commit = line("git", &["rev-parse", "HEAD"])?;
    let changed = !record::is_unchanged(root, run.covers, &commit);
    let date = line("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])?;
    let machine = format!("{} cores, {}", line("nproc", &[])?, line("uname", &["-srm"])?);
    let began = Instant::now();
    let (mut exit, mut lines) = (Some(0), Vec::new());
    for command in commands {
        (exit, lines) = step(root, command)?;
        if exit != Some(0) {
            break;
        }
    }
    let figures = figures(&run.keep, &lines);
    let passed = passed(run, exit, &figures);
    let seconds = began.elapsed().as_secs();
    let commands = run.steps.iter().map(ToString::to_string).collect();
    Ok(Record { commit, changed, date, machine, commands, seconds, exit, passed, figures })
}

fn passed(run: &Run, exit: Option<i32>, figures: &[Value]) -> bool {
    match run.passes {
        Passes::OnSuccess => exit == Some(0) && !figures.is_empty(),
        Passes::WithFigure => !figures.is_empty(),
    }
}

/// Runs one step: its exit status, and every line that it wrote to either stream.
fn step(root: &Path, command: &str) -> Result<(Option<i32>, Vec<String>)> {
    println!("+ {command}");
    let failed = |error: std::io::Error| format!("could not run `{command}`: {error}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1\n{command}")]).current_dir(root).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().map_err(failed)?;
    let lines = show_lines(&mut child).map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    Ok((status.code(), lines))
}

fn show_lines(child: &mut Child) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let Some(output) = child.stdout.take() else { return Ok(lines) };
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        println!("{line}");
        lines.push(line);
    }
    Ok(lines)
}

/// The lines that a record keeps.
fn figures(keep: &Keep, lines: &[String]) -> Vec<Value> {
    let object = |line: &String| serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
    let mut figures: Vec<Value> = lines.iter().filter_map(object).collect();
    let mut text = lines.iter().filter(|line| !line.is_empty() && object(line).is_none());
    match keep {
        Keep::LastLine => figures.extend(text.next_back().map(|line| Value::from(line.as_str()))),
        Keep::StartingWith(start) => {
            figures.extend(text.filter(|line| line.starts_with(start)).map(|line| Value::from(line.as_str())));
        }
        Keep::Json => {}
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_run_has_a_name_of_its_own_and_covers_something() {
        for run in RUNS {
            assert_eq!(RUNS.iter().filter(|other| other.name == run.name).count(), 1, "{}", run.name);
            assert!(!run.covers.is_empty() && !run.steps.is_empty(), "{}", run.name);
        }
        assert!(choose(&["power", "kill"]).is_ok_and(|runs| runs.len() == 2));
        assert!(choose(&["powr"]).is_err());
    }

    #[test]
    fn figures_are_taken_from_the_output() {
        let lines = lines("noise\n{\"p99\": 1.5}\nTOTAL 4/5\nbye\n\n");
        assert_eq!(figures(&Keep::Json, &lines).len(), 1);
        assert_eq!(figures(&Keep::LastLine, &lines).last(), Some(&Value::from("bye")));
        assert_eq!(figures(&Keep::StartingWith("TOTAL "), &lines).last(), Some(&Value::from("TOTAL 4/5")));
    }

    #[test]
    fn a_run_without_a_figure_has_not_passed() {
        for run in RUNS {
            assert!(!passed(run, Some(0), &[]), "{}", run.name);
            assert!(passed(run, Some(0), &[Value::from("x")]), "{}", run.name);
            let failed = passed(run, Some(1), &[Value::from("x")]);
            assert_eq!(failed, run.passes == Passes::WithFigure, "{}", run.name);
        }
    }

    #[test]
    fn a_step_gives_its_status_and_both_streams() {
        let (exit, lines) = step(&shell::root(), "echo one; echo two >&2; exit 3").unwrap();
        assert_eq!((exit, lines), (Some(3), vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn only_our_places_are_filled() {
        let filled = fill("{shared}/x {work}/db '{dir}'", Path::new("/r"), Path::new("/s"), Path::new("/w"));
        assert_eq!(filled, "/s/x /w/db '{dir}'");
    }
}
