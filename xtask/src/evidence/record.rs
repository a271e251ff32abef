//! What is kept of a run: `evidence/<name>.json`, the newest record last.

use super::runs::Run;
use crate::{Result, shell};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One execution of a run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Record {
    /// The commit that was checked out.
    pub commit: String,
    /// Whether files that the run covers differed from that commit. Such a record proves nothing later.
    pub changed: bool,
    /// When it began, in UTC.
    pub date: String,
    /// Cores and kernel of the machine.
    pub machine: String,
    /// The steps, as they stand in the table.
    pub commands: Vec<String>,
    /// How long it took.
    pub seconds: u64,
    /// The exit status of the last step that ran; `None` after a signal.
    pub exit: Option<i32>,
    /// Whether it passed.
    pub passed: bool,
    /// Lines of the output that matter, JSON objects as such.
    pub figures: Vec<Value>,
}

fn path(root: &Path, run: &Run) -> PathBuf {
    root.join("evidence").join(format!("{}.json", run.name))
}

/// The records of a run, oldest first; none if it never ran.
pub fn read(root: &Path, run: &Run) -> Result<Vec<Record>> {
    let path = path(root, run);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("could not read {}: {error}", path.display())),
    };
    serde_json::from_str(&text).map_err(|error| format!("could not read {}: {error}", path.display()))
}

/// Adds a record to those of a run.
pub fn append(root: &Path, run: &Run, record: Record) -> Result<()> {
    let mut records = read(root, run)?;
    records.push(record);
    let path = path(root, run);
    let failed = |error: &dyn std::fmt::Display| format!("could not write {}: {error}", path.display());
    let mut text = serde_json::to_string_pretty(&records).map_err(|error| failed(&error))?;
    text.push('\n');
    std::fs::create_dir_all(root.join("evidence")).map_err(|error| failed(&error))?;
    std::fs::write(&path, text).map_err(|error| failed(&error))
}

/// Whether the newest record passed and nothing that the run covers has changed since.
pub fn is_valid(root: &Path, run: &Run, records: &[Record]) -> bool {
    let Some(last) = records.last() else { return false };
    last.passed && !last.changed && is_unchanged(root, run.covers, &last.commit)
}

/// Whether these paths are now as they were at a commit.
pub fn is_unchanged(root: &Path, covers: &[&str], commit: &str) -> bool {
    let same = shell::succeeds(root, "git", &[&["diff", "--quiet", commit, "--"], covers].concat());
    // `git diff` does not see files that were never added.
    let new = shell::output(root, "git", &[&["ls-files", "--others", "--exclude-standard", "--"], covers].concat());
    same && new.is_ok_and(|files| files.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::runs::{Keep, Passes};
    use super::*;

    const RUN: Run =
        Run { name: "a", about: "", steps: &[], covers: &["covered"], keep: Keep::LastLine, passes: Passes::OnSuccess };

    fn git(root: &Path, args: &[&str]) {
        let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        shell::output(root, "git", &[&who, args].concat()).unwrap();
    }

    fn repository(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("covered")).unwrap();
        git(&root, &["init", "-q"]);
        std::fs::write(root.join("covered/a"), "1").unwrap();
        std::fs::write(root.join("other"), "1").unwrap();
        git(&root, &["add", "."]);
        git(&root, &["commit", "-q", "-m", "first"]);
        root
    }

    fn record(root: &Path) -> Record {
        let commit = shell::output(root, "git", &["rev-parse", "HEAD"]).unwrap().trim().to_owned();
        Record {
            commit,
            changed: false,
            date: String::new(),
            machine: String::new(),
            commands: Vec::new(),
            seconds: 1,
            exit: Some(0),
            passed: true,
            figures: vec![Value::from("10 of 10")],
        }
    }

    #[test]
    fn records_are_kept_in_order() {
        let root = repository("order");
        assert_eq!(read(&root, &RUN).unwrap(), []);
        let first = record(&root);
        let second = Record { passed: false, ..first.clone() };
        append(&root, &RUN, first.clone()).unwrap();
        append(&root, &RUN, second.clone()).unwrap();
        assert_eq!(read(&root, &RUN).unwrap(), [first, second]);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_record_is_valid_until_what_it_covers_changes() {
        let root = repository("valid");
        let record = record(&root);
        let valid = || is_valid(&root, &RUN, std::slice::from_ref(&record));
        assert!(valid());
        std::fs::write(root.join("other"), "2").unwrap();
        assert!(valid());
        std::fs::write(root.join("covered/b"), "new").unwrap();
        assert!(!valid());
        std::fs::remove_file(root.join("covered/b")).unwrap();
        std::fs::write(root.join("covered/a"), "2").unwrap();
        assert!(!valid());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn failures_and_changed_trees_prove_nothing() {
        let root = repository("fail");
        let good = record(&root);
        let unknown = "0".repeat(40);
        for bad in [
            Record { passed: false, ..good.clone() },
            Record { changed: true, ..good.clone() },
            Record { commit: unknown, ..good.clone() },
        ] {
            assert!(!is_valid(&root, &RUN, &[good.clone(), bad]));
        }
        assert!(!is_valid(&root, &RUN, &[]));
        std::fs::remove_dir_all(root).unwrap();
    }
}
