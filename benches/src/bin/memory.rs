//! The highest resident memory of a load, a scan and a sort, each in a process of its own that was told how
//! much it may have.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program that measures the database, no part of it")]

use benches::engine::Engine;
use benches::figures::{Figures, Side};
use benches::ours::Ours;
use benches::process::peak_memory;
use benches::rows::{Row, key};
use benches::{Result, child, timed, wrong};
use clap::{Parser, ValueEnum};
use nodedb::Options;
use nodedb::arrow::array::{ArrayRef, Int64Array, StringArray};
use nodedb::arrow::record_batch::RecordBatch;
use std::path::PathBuf;
use std::sync::Arc;

/// Measures memory against the budget.
#[derive(Parser)]
struct Arguments {
    /// A directory for the database.
    work: PathBuf,
    /// Rows in the table, of about 150 bytes each.
    #[arg(long, default_value_t = 5_000_000)]
    rows: u64,
    /// The budget in MiB.
    #[arg(long, default_value_t = 512)]
    memory: u64,
    /// Does one thing and says how much memory that took.
    #[arg(long, hide = true)]
    only: Option<Task>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    Load,
    Scan,
    Sort,
    Insert,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(task) = arguments.only {
        return alone(task, &arguments);
    }
    std::fs::create_dir_all(&arguments.work)?;
    let mut figures = Figures::default();
    for task in [Task::Load, Task::Scan, Task::Sort, Task::Insert] {
        measure(task, &arguments, &mut figures)?;
    }
    figures.print();
    Ok(())
}

fn measure(task: Task, arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let name = format!("{task:?}").to_lowercase();
    let (rows, memory) = (arguments.rows.to_string(), arguments.memory.to_string());
    let words = ["--rows", &rows, "--memory", &memory, "--only", &name].map(AsRef::as_ref);
    let output = child::succeed([arguments.work.as_os_str()].into_iter().chain(words))?;
    let numbers: Vec<f64> = output.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let &[peak, seconds] = numbers.as_slice() else { return wrong(format!("`{output}` is no figure")) };
    figures.add(Side::Ours, &format!("{name}_peak_mb"), peak);
    figures.add(Side::Peer, &format!("{name}_peak_mb"), arguments.memory as f64);
    figures.add(Side::Ours, &format!("{name}_s"), seconds);
    Ok(())
}

/// One task: its highest memory in MiB and its seconds, on standard output.
fn alone(task: Task, arguments: &Arguments) -> Result<()> {
    let options = Options { memory: arguments.memory << 20, ..Options::default() };
    let ours = Ours::open_with(&arguments.work.join("memory"), options)?;
    let (seconds, ()) = timed(|| match task {
        Task::Load => load(&ours, arguments.rows),
        Task::Scan => read(&ours, "SELECT * FROM m", arguments.rows),
        Task::Sort => read(&ours, "SELECT * FROM m ORDER BY body, id", arguments.rows),
        Task::Insert => insert(&ours, arguments.rows),
    })?;
    ours.close()?;
    println!("{:.1} {seconds:.3}", peak_memory()? as f64 / f64::from(1 << 20));
    Ok(())
}

fn read(ours: &Ours, sql: &str, rows: u64) -> Result<()> {
    let count = ours.session()?.stream(sql, &[])? as u64;
    if count == rows { Ok(()) } else { wrong(format!("`{sql}` gave {count} rows instead of {rows}")) }
}

/// As an import does it.
fn load(ours: &Ours, rows: u64) -> Result<()> {
    let sql = "CREATE TABLE m (id BIGINT PRIMARY KEY, other BIGINT NOT NULL, a BIGINT NOT NULL, body TEXT NOT NULL)";
    ours.session()?.session.execute(sql, &[])?;
    let mut load = ours.database.load("m")?;
    let mut from = 0;
    while from < rows {
        let to = (from + 8192).min(rows);
        load.append(&batch(from..to, rows)?)?;
        from = to;
    }
    load.finish()?;
    Ok(())
}

fn batch(numbers: std::ops::Range<u64>, rows: u64) -> Result<RecordBatch> {
    let all: Vec<Row> = numbers.clone().map(Row::of).collect();
    let integers = |numbers: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(numbers)) };
    let body: Vec<&str> = all.iter().map(|row| row.body.get(..120).unwrap_or_default()).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", integers(all.iter().map(|row| row.id).collect())),
        ("other", integers(numbers.map(|number| key(rows - 1 - number)).collect())),
        ("a", integers(all.iter().map(|row| row.a).collect())),
        ("body", Arc::new(StringArray::from(body))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// A fifth as many rows, one by one, in transactions of 10,000.
fn insert(ours: &Ours, rows: u64) -> Result<()> {
    let mut session = ours.session()?.session;
    session.execute("CREATE TABLE n (id BIGINT PRIMARY KEY, a BIGINT NOT NULL, body TEXT NOT NULL)", &[])?;
    session.execute("CREATE INDEX n_a ON n (a)", &[])?;
    let insert = session.prepare("INSERT INTO n VALUES ($1, $2, $3)")?;
    let mut from = 0;
    while from < rows / 5 {
        session.execute("BEGIN", &[])?;
        for number in from..from + 10_000 {
            let row = Row::of(number);
            session.execute_prepared(&insert, &[row.id.into(), row.a.into(), row.body.into()])?;
        }
        session.execute("COMMIT", &[])?;
        from += 10_000;
    }
    Ok(())
}
