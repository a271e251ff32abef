//! SQL cases as text: the files of `tests/slt`, and any folder of sqllogictest files.

#![expect(clippy::disallowed_methods, reason = "a record that hangs is left behind with its thread")]

mod judge;
mod record;

use judge::{Given, Judge};
use nodedb::blocking::{Outcome, Session};
use nodedb::{Database, Type, Value};
use record::{File, Record, Want};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A database that may be closed and opened again, and the sessions on it.
struct World {
    database: Option<Database>,
    dir: Option<tempfile::TempDir>,
    sessions: HashMap<String, Session>,
}

impl World {
    fn new(on_disk: bool) -> Self {
        let dir = on_disk.then(|| tempfile::tempdir().unwrap());
        let mut world = Self { database: None, dir, sessions: HashMap::new() };
        world.open();
        world
    }

    fn open(&mut self) {
        self.database = Some(match &self.dir {
            Some(dir) => Database::open(dir.path()).unwrap(),
            None => Database::memory().unwrap(),
        });
    }

    /// What is in memory goes with its last handle, so only its sessions end.
    fn restart(&mut self) {
        self.sessions.clear();
        if self.dir.is_some() {
            self.database.take().unwrap().close().unwrap();
            self.open();
        }
    }

    fn run(&mut self, record: &Record) -> Given {
        if record.want == Want::Restart {
            self.restart();
            return Given::Done(None);
        }
        let database = self.database.as_ref().unwrap();
        let session = self.sessions.entry(record.connection.clone()).or_insert_with(|| database.blocking());
        let run = AssertUnwindSafe(|| run(session, record));
        catch_unwind(run).unwrap_or_else(|_| Given::Lost("a panic".to_owned()))
    }
}

fn run(session: &mut Session, record: &Record) -> Given {
    let params: Vec<Value> = record.params.iter().map(|text| param(text)).collect();
    let style = session.text_style();
    if matches!(record.want, Want::Rows { .. }) {
        return session.query(&record.sql, &params).map_or_else(Given::from, |rows| Given::rows(&rows, style));
    }
    let tag = match session.run(&record.sql, &params) {
        Ok(Outcome::Done(tag)) => Ok(tag),
        Ok(Outcome::Rows(_)) => session.query(&record.sql, &params).map(|rows| rows.tag().clone()),
        Ok(Outcome::CopyIn(mut copy)) => {
            let data: String = record.lines.iter().map(|line| format!("{line}\n")).collect();
            copy.write(data.as_bytes()).and_then(|()| copy.finish())
        }
        Err(error) => Err(error),
    };
    tag.map_or_else(Given::from, |tag| Given::Done(tag.rows()))
}

fn param(text: &str) -> Value {
    let (ty, value) = text.split_once(' ').unwrap_or((text, ""));
    let ty = match ty {
        "null" => return Value::Null,
        "int4" => Type::Int4,
        "int8" => Type::Int8,
        "float8" => Type::Float8,
        "bool" => Type::Bool,
        "date" => Type::Date,
        "uuid" => Type::Uuid,
        "jsonb" => Type::Jsonb,
        "text" => Type::Text,
        other => panic!("a parameter of type {other:?}"),
    };
    nodedb::text::parse(value, &ty, &nodedb::text::TextStyle::default()).unwrap()
}

/// All files of a folder, sorted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "slt" || end == "test") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn own_files() -> Vec<PathBuf> {
    let only = std::env::var("NODEDB_SLT_ONLY").unwrap_or_default();
    let all = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/slt"));
    all.into_iter().filter(|path| path.to_string_lossy().contains(&only)).collect()
}

fn read(path: &Path) -> File {
    record::parse(&std::fs::read_to_string(path).unwrap())
}

/// Runs our own files; every miss of all of them is told at the end.
fn check_own(on_disk: bool) {
    let (mut misses, mut count) = (Vec::new(), 0);
    for path in own_files() {
        let (mut world, mut judge) = (World::new(on_disk), Judge::new(false));
        for record in read(&path).records {
            count += 1;
            let given = world.run(&record);
            if let Err(why) = judge.judge(&record, &given) {
                misses.push(format!("{}:{}: {}\n{why}\n", path.display(), record.line, record.sql));
            }
        }
    }
    println!("{count} cases");
    assert!(misses.is_empty(), "{} of {count} cases miss\n{}", misses.len(), misses.join("\n"));
}

#[test]
fn own_cases_in_memory() {
    check_own(false);
}

#[test]
fn own_cases_on_disk() {
    check_own(true);
}

/// Writes what our own files give into them; what changes is to be read before it is kept. Environment:
/// `NODEDB_SLT_ONLY` (part of a path).
#[test]
#[ignore = "rewrites tests/slt"]
fn complete() {
    for path in own_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (mut world, mut judge) = (World::new(false), Judge::new(false));
        let (mut out, mut from) = (String::new(), 0);
        let keep = |range: std::ops::Range<usize>, out: &mut String| {
            lines[range].iter().for_each(|line| *out += &format!("{line}\n"));
        };
        for record in read(&path).records {
            let given = world.run(&record);
            if judge.judge(&record, &given).is_ok() && record.want != Want::Error(None) {
                continue;
            }
            keep(from..record.head, &mut out);
            let (head, body) = expectation(&judge, &record, &given, lines[record.head]);
            out += &format!("{head}\n{}\n", record.sql);
            if !body.is_empty() {
                out += &format!("----\n{}", body.concat());
            }
            from = record.expected.end;
        }
        keep(from..lines.len(), &mut out);
        std::fs::write(&path, out).unwrap();
    }
}

fn expectation(judge: &Judge, record: &Record, given: &Given, head: &str) -> (String, Vec<String>) {
    let same: Vec<String> = record.lines.iter().map(|line| format!("{line}\n")).collect();
    match given {
        // A statement's lines are the data that it takes.
        Given::Error(code, message) => {
            let data = if matches!(record.want, Want::Rows { .. }) { Vec::new() } else { same };
            (format!("statement error {code}: {message}"), data)
        }
        Given::Lost(how) => panic!("line {}: {how}", record.line),
        Given::Done(Some(n)) => (format!("statement count {n}"), same),
        Given::Done(None) => ("statement ok".to_owned(), same),
        Given::Rows { columns, .. } => {
            let Want::Rows { sort, .. } = record.want else { return ("statement ok".to_owned(), same) };
            let sorted = if sort == record::Sort::Rows { " rowsort" } else { "" };
            let types = "T".repeat(*columns);
            let head = match &record.want {
                Want::Rows { types, .. } if types.len() == *columns => head.to_owned(),
                _ => format!("query {types}{sorted}"),
            };
            let want = Want::Rows { types: head.split(' ').nth(1).unwrap().to_owned(), sort, label: None };
            let record = Record { want, ..record.clone() };
            let lines: Vec<String> =
                judge.lines(&record, given).iter().map(|line| format!("{}\n", line.trim_end())).collect();
            (head, if lines.is_empty() { vec![String::new()] } else { lines })
        }
    }
}

/// A thread that runs records one by one, and is left behind when one takes too long.
struct Worker {
    records: Sender<Record>,
    answers: Receiver<Given>,
}

impl Worker {
    fn new(database: &Database) -> Self {
        let (records, inbox) = channel::<Record>();
        let (outbox, answers) = channel();
        let mut world = World { database: Some(database.clone()), dir: None, sessions: HashMap::new() };
        std::thread::spawn(move || {
            for record in inbox {
                if outbox.send(world.run(&record)).is_err() {
                    return;
                }
            }
        });
        Self { records, answers }
    }

    fn run(&mut self, database: &Database, record: &Record, limit: Duration) -> Given {
        let sent = self.records.send(record.clone());
        match sent.ok().and_then(|()| self.answers.recv_timeout(limit).ok()) {
            Some(given) => given,
            None => {
                *self = Self::new(database);
                Given::Lost("no answer".to_owned())
            }
        }
    }
}

/// Numbers from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs the files of the folder `NODEDB_SLT` and prints how many records are right. Environment:
/// `NODEDB_SLT_ONLY` (part of a path), `NODEDB_SLT_MAX` (records a file), `NODEDB_SLT_SHOW` (misses a file),
/// `NODEDB_SLT_SECONDS` (a record's limit).
#[test]
#[ignore = "takes minutes; needs NODEDB_SLT"]
fn suite() {
    let dir = std::env::var("NODEDB_SLT").expect("NODEDB_SLT is a folder of sqllogictest files");
    let only = std::env::var("NODEDB_SLT_ONLY").unwrap_or_default();
    let (mut right, mut run) = (0, 0);
    for path in files(Path::new(&dir)).into_iter().filter(|path| path.to_string_lossy().contains(&only)) {
        let start = Instant::now();
        let (good, wrong, skipped) = suite_file(&path);
        let name = path.strip_prefix(&dir).unwrap_or(&path).display();
        let seconds = start.elapsed().as_secs();
        println!("{name}: {good} right, {wrong} wrong, {skipped} skipped, {seconds} s");
        (right, run) = (right + good, run + good + wrong);
    }
    println!("TOTAL {right}/{run} = {:.2}%", 100.0 * right as f64 / f64::from(run.max(1)));
}

fn suite_file(path: &Path) -> (u32, u32, usize) {
    let (most, show) = (number("NODEDB_SLT_MAX", usize::MAX), number("NODEDB_SLT_SHOW", 0));
    let limit = Duration::from_secs(number("NODEDB_SLT_SECONDS", 20) as u64);
    let (database, mut judge) = (Database::memory().unwrap(), Judge::new(true));
    let mut worker = Worker::new(&database);
    let (mut right, mut wrong) = (0, 0);
    let file = read(path);
    for record in file.records.iter().take(most) {
        if let Want::Threshold(n) = record.want {
            judge.threshold = n;
            continue;
        }
        let given = worker.run(&database, record, limit);
        match judge.judge(record, &given) {
            Ok(()) => right += 1,
            Err(why) => {
                wrong += 1;
                if wrong as usize <= show {
                    println!("{}:{}: {}\n{why}\n", path.display(), record.line, record.sql);
                }
            }
        }
    }
    (right, wrong, file.skipped)
}
