//! Beside SQLite: loads, durable commits, point reads, ranges, scans. One JSON line a figure.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program that measures the database, no part of it")]

use benches::engine::{Engine, Session, load};
use benches::figures::{Figures, Side};
use benches::ours::Ours;
use benches::process::{Written, disk_bytes, written};
use benches::rows::{KEYS, Row, SCHEMA, SPREAD, key, mix};
use benches::sqlite::Sqlite;
use benches::{Result, timed, wrong};
use clap::Parser;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measures this database beside SQLite, taking turns.
#[derive(Parser)]
struct Arguments {
    /// A directory on the disk that is to be measured.
    work: PathBuf,
    /// Rows in the table.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Turns of each side.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds that each kind of commit or read goes on.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// What is measured after the load, where it is not all.
    #[arg(long, value_delimiter = ',', default_value = "commits,points,ranges,scans")]
    only: Vec<String>,
    /// One side alone, to look at it with other tools.
    #[arg(long)]
    alone: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut figures = Figures::default();
    for run in 0..arguments.runs {
        eprintln!("run {} of {}", run + 1, arguments.runs);
        turn::<Ours>(&arguments, Side::Ours, &mut figures)?;
        if !arguments.alone {
            turn::<Sqlite>(&arguments, Side::Peer, &mut figures)?;
        }
    }
    figures.print();
    Ok(())
}

/// Everything once, on a database that is made for it and goes after it.
fn turn<E: Engine>(arguments: &Arguments, side: Side, figures: &mut Figures) -> Result<()> {
    let dir = arguments.work.join(format!("{side:?}"));
    std::fs::create_dir_all(&dir)?;
    let engine = E::open(&dir)?;
    let mut bench = Bench { engine: &engine, arguments, side, figures, next: arguments.rows };
    bench.load()?;
    for what in &arguments.only {
        match what.as_str() {
            "commits" => bench.commits(1).and_then(|()| bench.commits(16))?,
            "points" => bench.points()?,
            "ranges" => bench.ranges()?,
            "scans" => bench.scans()?,
            other => return wrong(format!("nothing is called {other}")),
        }
    }
    bench.size(&dir)?;
    engine.close()?;
    let (open, engine) = timed(|| {
        let engine = E::open(&dir)?;
        engine.session()?.point(key(0))?;
        Ok(engine)
    })?;
    figures.add(side, "open_closed_ms", open * 1e3);
    engine.close()?;
    Ok(std::fs::remove_dir_all(&dir)?)
}

struct Bench<'a, E> {
    engine: &'a E,
    arguments: &'a Arguments,
    side: Side,
    figures: &'a mut Figures,
    /// The number of the next row that nobody has put.
    next: u64,
}

impl<E: Engine> Bench<'_, E> {
    fn add(&mut self, name: &str, value: f64) {
        self.figures.add(self.side, name, value);
    }

    fn load(&mut self) -> Result<()> {
        let rows = self.arguments.rows;
        let before = written()?;
        let (seconds, ()) = timed(|| {
            let mut session = self.engine.session()?;
            SCHEMA.iter().try_for_each(|statement| session.run(statement))?;
            load(&mut session, 0..rows)
        })?;
        self.add("load_rows_per_s", rows as f64 / seconds);
        self.engine.settle()?;
        self.add("load_mb_written", since(before)?.disk as f64 / 1e6);
        Ok(())
    }

    /// Commits of one row each by so many sessions.
    fn commits(&mut self, writers: u64) -> Result<()> {
        let before = written()?;
        let next = AtomicU64::new(self.next);
        let insert = |session: &mut E::Session| session.insert(&Row::of(next.fetch_add(1, Ordering::Relaxed)));
        let (rate, commits) = self.meanwhile(writers, insert)?;
        self.next = next.into_inner();
        self.add(&format!("commits_per_s_{writers}"), rate);
        self.engine.settle()?;
        let Written { disk, calls } = since(before)?;
        self.add(&format!("kb_per_commit_{writers}"), disk as f64 / 1e3 / commits as f64);
        self.add(&format!("kb_per_commit_{writers}_by_calls"), calls as f64 / 1e3 / commits as f64);
        Ok(())
    }

    fn points(&mut self) -> Result<()> {
        self.point_reads("point_reads_per_s", |session, id| session.point(id))?;
        self.point_reads("point_gets_per_s", |session, id| session.get(id))
    }

    fn point_reads(&mut self, name: &str, read: impl Fn(&mut E::Session, i64) -> Result<usize> + Sync) -> Result<()> {
        let (rows, turn) = (self.arguments.rows, AtomicU64::new(0));
        let point = |session: &mut E::Session| {
            let number = mix(turn.fetch_add(1, Ordering::Relaxed)) % rows;
            read(session, key(number)).map(drop)
        };
        let (rate, _) = self.meanwhile(1, point)?;
        self.add(name, rate);
        Ok(())
    }

    /// Ranges of an index, each of about a hundred rows.
    fn ranges(&mut self) -> Result<()> {
        let width = SPREAD * 100 / self.next;
        let (turn, found) = (AtomicU64::new(0), AtomicU64::new(0));
        let range = |session: &mut E::Session| {
            let from = (mix(turn.fetch_add(1, Ordering::Relaxed)) % (SPREAD - width)).cast_signed();
            let rows = session.range(from, from + width.cast_signed())?;
            found.fetch_add(rows as u64, Ordering::Relaxed);
            Ok(())
        };
        let (rate, ranges) = self.meanwhile(1, range)?;
        let each = found.into_inner() as f64 / ranges as f64;
        if !(80.0..120.0).contains(&each) {
            return wrong(format!("a range has {each} rows instead of 100"));
        }
        self.add("ranges_of_100_per_s", rate);
        Ok(())
    }

    fn scans(&mut self) -> Result<()> {
        for threads in [1, 2] {
            let (seconds, sums) = timed(|| self.in_parts(threads, |session, keys| session.sum(keys)))?;
            self.add(&format!("scan_sum_s_{threads}"), seconds);
            if sums.iter().sum::<i64>() <= 0 {
                return wrong("a sum is not right");
            }
            let (seconds, rows) = timed(|| self.in_parts(threads, |session, keys| session.read_all(keys)))?;
            self.add(&format!("scan_rows_s_{threads}"), seconds);
            let rows = rows.iter().sum::<usize>() as u64;
            // A writer that was stopped has perhaps taken a number and not put its row.
            if rows + 32 < self.next || rows > self.next {
                return wrong(format!("a scan found {rows} rows of {}", self.next));
            }
        }
        Ok(())
    }

    fn size(&mut self, dir: &Path) -> Result<()> {
        self.engine.settle()?;
        self.add("disk_mb", disk_bytes(dir)? as f64 / 1e6);
        Ok(())
    }

    /// Does one thing again and again in so many threads until the time is over: how often a second, and in all.
    fn meanwhile(&self, threads: u64, work: impl Fn(&mut E::Session) -> Result<()> + Sync) -> Result<(f64, u64)> {
        let time = Duration::from_secs_f64(self.arguments.seconds);
        let began = Instant::now();
        let one = || -> Result<u64> {
            let mut session = self.engine.session()?;
            let mut count = 0;
            while began.elapsed() < time {
                work(&mut session)?;
                count += 1;
            }
            Ok(count)
        };
        let counts = in_threads(threads, |_| one())?;
        let count: u64 = counts.iter().sum();
        Ok((count as f64 / began.elapsed().as_secs_f64(), count))
    }

    /// Divides all keys among so many threads.
    fn in_parts<T: Send>(
        &self,
        threads: i64,
        work: impl Fn(&mut E::Session, Range<i64>) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        in_threads(threads.unsigned_abs(), |part| {
            let part = part.cast_signed();
            work(&mut self.engine.session()?, KEYS / threads * part..KEYS / threads * (part + 1))
        })
    }
}

fn since(before: Written) -> Result<Written> {
    let now = written()?;
    Ok(Written { disk: now.disk - before.disk, calls: now.calls - before.calls })
}

/// The same work in so many threads at once.
fn in_threads<T: Send>(threads: u64, work: impl Fn(u64) -> Result<T> + Sync) -> Result<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(_) => wrong("a thread panicked"),
        });
        joined.collect()
    })
}
