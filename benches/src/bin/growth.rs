//! What grows with the store and what does not: bytes written by a commit, opening, an idle second, a held snapshot.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program that measures the database, no part of it")]

use benches::engine::{Engine, Session, load};
use benches::figures::{Figures, Side};
use benches::ours::Ours;
use benches::process::{disk_bytes, processor_seconds, written};
use benches::rows::{Row, SCHEMA, key};
use benches::{Result, child, timed, wrong};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Measures what must not grow with the store.
#[derive(Parser)]
struct Arguments {
    /// A directory on the disk that is to be measured.
    work: PathBuf,
    /// Rows in the largest table; the others have a tenth and a hundredth of it.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Commits whose writes are counted.
    #[arg(long, default_value_t = 5000)]
    commits: u64,
    /// Tables of the database that has many.
    #[arg(long, default_value_t = 100)]
    tables: u32,
    /// Seconds that a snapshot is held.
    #[arg(long, default_value_t = 60)]
    hold: u64,
    /// Writes to the database in this directory and dies.
    #[arg(long, hide = true)]
    die_in: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(dir) = &arguments.die_in {
        return die(dir, &arguments);
    }
    let mut figures = Figures::default();
    let dir = arguments.work.join("growth");
    std::fs::create_dir_all(&dir)?;
    commits(&dir, &arguments, &mut figures)?;
    openings(&dir, &arguments, &mut figures)?;
    idle(&dir, &mut figures)?;
    snapshot(&dir, &arguments, &mut figures)?;
    std::fs::remove_dir_all(&dir)?;
    tables(&arguments, &mut figures)?;
    figures.print();
    Ok(())
}

/// Bytes written by a commit of one row, at three sizes of the same table.
fn commits(dir: &Path, arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let ours = Ours::open(dir)?;
    let mut session = ours.session()?;
    SCHEMA.iter().try_for_each(|statement| session.run(statement))?;
    let mut next = 0;
    for rows in [arguments.rows / 100, arguments.rows / 10, arguments.rows] {
        load(&mut session, next..rows)?;
        next = rows + arguments.commits;
        ours.settle()?;
        let before = written()?;
        let (seconds, ()) = timed(|| (rows..next).try_for_each(|number| session.insert(&Row::of(number))))?;
        ours.settle()?;
        let (disk, commits) = (written()?.disk - before.disk, arguments.commits as f64);
        figures.add(Side::Ours, &format!("kb_per_commit_at_{rows}"), disk as f64 / 1e3 / commits);
        figures.add(Side::Ours, &format!("commits_per_s_at_{rows}"), commits / seconds);
    }
    drop(session);
    ours.close()?;
    figures.add(Side::Ours, "disk_mb", disk_bytes(dir)? as f64 / 1e6);
    Ok(())
}

/// Until the first row has been read: after a clean close, and after the writer has died.
fn openings(dir: &Path, arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    for _ in 0..3 {
        figures.add(Side::Ours, "open_closed_ms", open(dir)? * 1e3);
    }
    for turn in 0..3 {
        let words = ["--die-in".as_ref(), dir.as_os_str()];
        let rows = (arguments.rows + (turn + 2) * 1_000_000).to_string();
        child::abort(words.into_iter().chain([dir.as_os_str(), "--rows".as_ref(), rows.as_ref()]))?;
        figures.add(Side::Ours, "open_killed_ms", open(dir)? * 1e3);
    }
    Ok(())
}

fn open(dir: &Path) -> Result<f64> {
    let (seconds, ours) = timed(|| {
        let ours = Ours::open(dir)?;
        ours.session()?.point(key(0))?;
        Ok(ours)
    })?;
    ours.close()?;
    Ok(seconds)
}

/// Writes as much as the trees may hold in memory, more or less, and ends without closing.
fn die(dir: &Path, arguments: &Arguments) -> Result<()> {
    let ours = Ours::open(dir)?;
    load(&mut ours.session()?, arguments.rows..arguments.rows + 45_000)?;
    std::process::abort()
}

/// What the database does when nobody asks for anything.
fn idle(dir: &Path, figures: &mut Figures) -> Result<()> {
    const SECONDS: u64 = 5;
    let ours = Ours::open(dir)?;
    ours.session()?.point(key(1))?;
    ours.settle()?;
    std::thread::sleep(Duration::from_secs(1));
    let (processor, disk) = (processor_seconds()?, written()?.disk);
    std::thread::sleep(Duration::from_secs(SECONDS));
    let processor = processor_seconds()? - processor;
    figures.add(Side::Ours, "idle_processor_percent", processor * 100.0 / SECONDS as f64);
    figures.add(Side::Ours, "idle_bytes_written", (written()?.disk - disk) as f64);
    ours.close()
}

/// A transaction that reads, and waits, while others write.
fn snapshot(dir: &Path, arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let ours = Ours::open(dir)?;
    let hold = Duration::from_secs(arguments.hold);
    figures.add(Side::Ours, "updates_per_s_free", meanwhile(&ours, arguments, || wait(hold))?.0);
    let held = || -> Result<(String, String)> {
        let mut session = ours.session()?;
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
        let first = answer(&mut session)?;
        std::thread::sleep(hold);
        Ok((first, answer(&mut session)?))
    };
    let (rate, (first, last)) = meanwhile(&ours, arguments, held)?;
    figures.add(Side::Ours, "updates_per_s_beside_snapshot", rate);
    let mut session = ours.session()?;
    let now = answer(&mut session)?;
    drop(session);
    ours.close()?;
    if first != last || first == now {
        return wrong(format!("a snapshot said {first} and then {last}; without it the answer is {now}"));
    }
    Ok(())
}

fn wait(time: Duration) -> Result<()> {
    std::thread::sleep(time);
    Ok(())
}

fn answer(session: &mut <Ours as Engine>::Session) -> Result<String> {
    let rows = session.session.query("SELECT count(*), sum(a), sum(b) FROM t", &[])?;
    let answers = rows.iter().map(|row| Ok(format!("{:?} {:?} {:?}", row.value(0)?, row.value(1)?, row.value(2)?)));
    answers.collect()
}

/// Updates of single rows in another thread while something is done: how many a second, and what was done.
fn meanwhile<T>(ours: &Ours, arguments: &Arguments, work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| update_until(ours, arguments.rows, &stop));
        let done = work();
        stop.store(true, Ordering::Relaxed);
        match writer.join() {
            Ok(rate) => Ok((rate?, done?)),
            Err(_) => wrong("the writer panicked"),
        }
    })
}

fn update_until(ours: &Ours, rows: u64, stop: &AtomicBool) -> Result<f64> {
    let mut session = ours.session()?;
    let update = session.session.prepare("UPDATE t SET b = $2 WHERE id = $1")?;
    let (began, mut count) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        let number = benches::rows::mix(u64::from(count)) % (rows / 100);
        session.session.execute_prepared(&update, &[key(number).into(), i64::from(count).into()])?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Many tables: making them, opening a database that has them.
fn tables(arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let dir = arguments.work.join("tables");
    std::fs::create_dir_all(&dir)?;
    let ours = Ours::open(&dir)?;
    let mut session = ours.session()?;
    let (seconds, ()) = timed(|| {
        for table in 0..arguments.tables {
            session.run(&format!("CREATE TABLE t{table} (id BIGINT PRIMARY KEY, a BIGINT, body TEXT)"))?;
            session.run(&format!("CREATE INDEX t{table}_a ON t{table} (a)"))?;
            session.run(&format!("INSERT INTO t{table} VALUES (1, 2, 'three'), (4, 5, 'six')"))?;
        }
        Ok(())
    })?;
    figures.add(Side::Ours, &format!("make_{}_tables_ms", arguments.tables), seconds * 1e3);
    drop(session);
    ours.close()?;
    for _ in 0..3 {
        let (seconds, ours) = timed(|| {
            let ours = Ours::open(&dir)?;
            ours.session()?.session.query("SELECT count(*) FROM t7", &[])?;
            Ok(ours)
        })?;
        figures.add(Side::Ours, &format!("open_{}_tables_ms", arguments.tables), seconds * 1e3);
        ours.close()?;
    }
    Ok(std::fs::remove_dir_all(&dir)?)
}
