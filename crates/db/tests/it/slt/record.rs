//! Reads `.slt` files: sqllogictest's records, and a few more of ours (`tests/slt/README.md`).

use std::ops::Range;

/// The name that this engine goes by in `onlyif` and `skipif`.
const LABEL: &str = "postgresql";

/// How rows are sorted before they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    None,
    Rows,
    Values,
}

/// What a record wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A statement that works; perhaps one that changes so many rows.
    Ok(Option<u64>),
    /// A statement that fails: `CODE` or `CODE: message`, or anyhow.
    Error(Option<String>),
    /// Rows with columns of these types (I, R, T).
    Rows { types: String, sort: Sort, label: Option<String> },
    /// The database is closed and opened again.
    Restart,
    /// How many values are compared one by one, and not by their hash.
    Threshold(usize),
}

/// One record of a file.
#[derive(Clone, Debug)]
pub struct Record {
    pub line: usize,
    pub want: Want,
    pub sql: String,
    /// The lines after `----`.
    pub lines: Vec<String>,
    pub connection: String,
    /// Parameters: `TYPE VALUE`.
    pub params: Vec<String>,
    /// The lines of the file that hold what was expected: its head, and what follows `----`.
    pub head: usize,
    pub expected: Range<usize>,
}

/// A file that was read.
#[derive(Debug, Default)]
pub struct File {
    pub records: Vec<Record>,
    pub skipped: usize,
}

/// Reads a file. One line a row, unless `values` says that it is one line a value.
pub fn parse(text: &str) -> File {
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    let mut file = File::default();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim().is_empty() || lines[at].starts_with('#') {
            at += 1;
            continue;
        }
        let end = (at..lines.len()).find(|n| lines[*n].trim().is_empty()).unwrap_or(lines.len());
        match record(&lines, at..end) {
            Found::Record(record) => file.records.push(record),
            Found::Skipped => file.skipped += 1,
            Found::Nothing => {}
            Found::Halt => return file,
        }
        at = end;
    }
    file
}

enum Found {
    Record(Record),
    Skipped,
    Nothing,
    Halt,
}

fn record(lines: &[&str], block: Range<usize>) -> Found {
    let (mut connection, mut params, mut runs) = (String::new(), Vec::new(), true);
    for at in block.clone() {
        let line = lines[at].trim_end();
        let words: Vec<&str> = line.split_whitespace().collect();
        let want = match words.as_slice() {
            [] => continue,
            [comment, ..] if comment.starts_with('#') => continue,
            ["skipif", label, ..] => {
                runs &= *label != LABEL;
                continue;
            }
            ["onlyif", label, ..] => {
                runs &= *label == LABEL;
                continue;
            }
            ["connection", name] => {
                connection = (*name).to_owned();
                continue;
            }
            ["params", ..] => {
                params = line["params".len()..].split(" | ").map(|param| param.trim().to_owned()).collect();
                continue;
            }
            ["halt", ..] if runs => return Found::Halt,
            ["halt", ..] => return Found::Nothing,
            ["hash-threshold", n, ..] => Want::Threshold(n.parse().unwrap()),
            ["restart"] => Want::Restart,
            ["statement", rest @ ..] => statement(line, rest),
            ["query", types, rest @ ..] => query(types, rest),
            _ => panic!("line {}: what is {line:?}?", at + 1),
        };
        if !runs {
            return Found::Skipped;
        }
        let is_bar = |n: &usize| lines[*n] == "----";
        let bar = (at + 1..block.end).find(is_bar).unwrap_or(block.end);
        let expected = (bar + 1).min(block.end)..block.end;
        return Found::Record(Record {
            line: at + 1,
            want,
            sql: lines[at + 1..bar].join("\n"),
            lines: lines[expected.clone()].iter().map(|line| (*line).to_owned()).collect(),
            connection,
            params,
            head: at,
            expected,
        });
    }
    Found::Nothing
}

fn statement(line: &str, rest: &[&str]) -> Want {
    match rest {
        ["ok", ..] => Want::Ok(None),
        ["count", n] => Want::Ok(Some(n.parse().unwrap())),
        ["error"] => Want::Error(None),
        ["error", ..] => Want::Error(line.split_once("error").map(|(_, wanted)| wanted.trim().to_owned())),
        _ => panic!("what is {line:?}?"),
    }
}

fn query(types: &str, rest: &[&str]) -> Want {
    let sort = match rest.first() {
        Some(&"rowsort") => Sort::Rows,
        Some(&"valuesort") => Sort::Values,
        _ => Sort::None,
    };
    let label = rest.iter().find(|word| !["rowsort", "valuesort", "nosort"].contains(word));
    Want::Rows { types: types.to_owned(), sort, label: label.map(|label| (*label).to_owned()) }
}
