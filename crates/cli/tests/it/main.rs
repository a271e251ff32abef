//! The program as its users run it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod sql;
mod tour;
mod transfer;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A directory for a database and files beside it.
struct Place(TempDir);

/// What a run printed on both streams, in order, and its exit code.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    text: String,
    code: Option<i32>,
}

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `nodedb COMMAND --data DATA`
    fn command(&self, command: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_nodedb"));
        program.arg(command).arg("--data").arg(self.data());
        program
    }

    /// Runs a command with both streams in one pipe.
    fn run(&self, command: &str, arguments: &[&str], stdin: &str) -> Ran {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut program = self.command(command);
        program.args(arguments).stdin(Stdio::piped()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut child = program.spawn().unwrap();
        // The parent's ends of the pipe go with the command.
        drop(program);
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        Ran { text, code: child.wait().unwrap().code() }
    }

    /// Runs SQL that must work; returns its output as CSV.
    fn sql(&self, sql: &str) -> String {
        let output = self.command("sql").args(["--format", "csv", "--stop-on-error", "-c", sql]).output().unwrap();
        success(&output);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must work; returns its standard output.
    fn ok(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.command(command).args(arguments).output().unwrap();
        success(&output);
        String::from_utf8(output.stdout).unwrap()
    }
}

fn success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_sound_database_is_told_and_a_missing_one_is_not_made() {
    let place = Place::new();
    let missing = place.run("check", &[], "");
    assert_eq!(missing.code, Some(2), "{}", missing.text);
    assert!(!place.data().exists());
    place.sql("CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (1, 'x'), (2, NULL)");
    let sound = place.run("check", &[], "");
    assert_eq!(sound.code, Some(0), "{}", sound.text);
}

/// All files below a directory, with their lengths.
fn files(directory: &Path) -> Vec<(u64, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.metadata().unwrap().len(), path));
        }
    }
    found
}

#[test]
fn damage_is_told() {
    let place = Place::new();
    let rows: String = (0..2000).map(|n| format!("{n},{}\n", "x".repeat(n % 97))).collect();
    let file = place.write("t.csv", &format!("id,x\n{rows}"));
    place.ok("import", &["--table", "t", "--primary-key", "id", text(&file)]);
    place.ok("check", &[]);
    // The segments of the log are longer, most of them unused.
    let is_log = |path: &Path| path.parent().unwrap().ends_with("log");
    let (_, path) = files(&place.data()).into_iter().filter(|(_, path)| !is_log(path)).max().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
    let ran = place.run("check", &[], "");
    assert_eq!(ran.code, Some(1), "{}", ran.text);
    assert!(ran.text.starts_with("ERROR:  XX001: "), "{} is damaged: {}", path.display(), ran.text);
}

#[test]
fn the_demo_answers_right_and_survives_a_kill() {
    let output = Command::new(env!("CARGO_BIN_EXE_nodedb")).arg("demo").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("WordNet"), "{shown}");
}

#[test]
fn help_and_version_are_there() {
    for argument in ["--help", "--version"] {
        let output = Command::new(env!("CARGO_BIN_EXE_nodedb")).arg(argument).output().unwrap();
        success(&output);
        assert!(String::from_utf8_lossy(&output.stdout).to_lowercase().contains("nodedb"));
    }
}
