//! What was committed is found at once: sessions insert, update and delete rows with a vector and a text, and each looks
//! for what it has just done, through both indexes, while they are being built and merged.
//!
//! A *miss* is a row that was committed and not found, a *ghost* one that was found and is gone or was otherwise.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program that measures the database, no part of it")]

use benches::figures::{Figures, Side};
use benches::{Result, wrong};
use clap::Parser;
use nodedb::blocking::Session;
use nodedb::{Database, Options, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts misses and ghosts.
#[derive(Parser)]
struct Arguments {
    /// A directory for the database.
    work: PathBuf,
    /// Commits of all sessions together.
    #[arg(long, default_value_t = 200_000)]
    commits: u64,
    /// Sessions.
    #[arg(long, default_value_t = 16)]
    sessions: u64,
    /// Vectors that a part takes before a graph is built of them.
    #[arg(long, default_value_t = 8192)]
    part: usize,
}

const DIMENSIONS: u64 = 32;
const SCHEMA: [&str; 3] = [
    "CREATE TABLE notes (id bigint PRIMARY KEY, body text, embedding vector(32))",
    "CREATE INDEX notes_near ON notes USING hnsw (embedding vector_l2_ops)",
    "CREATE INDEX notes_words ON notes USING bm25 (body)",
];

#[derive(Default)]
struct Counts {
    text: AtomicU64,
    vector: AtomicU64,
    misses: AtomicU64,
    ghosts: AtomicU64,
    short: AtomicU64,
    old: AtomicU64,
    old_found: AtomicU64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let dir = arguments.work.join("freshness");
    let options = Options { vector_seal_threshold: arguments.part, ..Options::default() };
    let db = Database::open_with(&dir, options)?;
    for statement in SCHEMA {
        db.blocking().execute(statement, &[])?;
    }
    let (counts, begin) = (Counts::default(), Instant::now());
    let each = arguments.commits / arguments.sessions;
    let ended: Vec<Result<()>> = std::thread::scope(|scope| {
        let start = |n| {
            let (db, counts) = (&db, &counts);
            scope.spawn(move || Writer::new(db, n, counts)?.run(each))
        };
        let threads: Vec<_> = (0..arguments.sessions).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| wrong("a session has panicked"))).collect()
    });
    ended.into_iter().collect::<Result<()>>()?;
    report(&db, &counts, each * arguments.sessions, begin.elapsed().as_secs_f64())?;
    db.close()?;
    clear(&dir)
}

fn clear(dir: &Path) -> Result<()> {
    Ok(std::fs::remove_dir_all(dir)?)
}

fn report(db: &Database, counts: &Counts, commits: u64, seconds: f64) -> Result<()> {
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let mut figures = Figures::default();
    figures.add(Side::Ours, "commits", commits as f64);
    figures.add(Side::Ours, "commits a second", commits as f64 / seconds);
    figures.add(Side::Ours, "text searches", get(&counts.text) as f64);
    figures.add(Side::Ours, "vector searches", get(&counts.vector) as f64);
    figures.add(Side::Ours, "misses", get(&counts.misses) as f64);
    figures.add(Side::Ours, "ghosts", get(&counts.ghosts) as f64);
    figures.add(Side::Ours, "answers with fewer rows than there are", get(&counts.short) as f64);
    figures.add(
        Side::Ours,
        "older rows found by their vector",
        get(&counts.old_found) as f64 / get(&counts.old).max(1) as f64,
    );
    figures.print();
    let mut session = db.blocking();
    let answers =
        "SELECT index_name, answers_growing, answers_building, answers_sealed, exact_scans FROM nodedb_indexes";
    for row in session.query(answers, &[])?.iter() {
        let name: String = row.get(0)?;
        let [growing, building, sealed, scans] = [1, 2, 3, 4].map(|at| row.get::<i64>(at).map(|count| count as f64));
        let (growing, building, sealed) = (growing?, building?, sealed?);
        let all = (growing + building + sealed).max(1.0);
        for (part, count) in [("growing", growing), ("building", building), ("sealed", sealed)] {
            println!("{}", serde_json::json!({ "name": format!("{name}: share of {part}"), "ours": count / all }));
        }
        println!("{}", serde_json::json!({ "name": format!("{name}: exact scans"), "ours": scans? }));
    }
    if get(&counts.misses) + get(&counts.ghosts) + get(&counts.short) > 0 {
        return wrong("what was committed was not found, or what is gone was");
    }
    Ok(())
}

/// One session, with rows that are its own.
struct Writer<'a> {
    session: Session,
    number: u64,
    random: u64,
    counts: &'a Counts,
    /// The version and vector of each row that is there.
    rows: HashMap<i64, (u64, Vec<f32>)>,
    ids: Vec<i64>,
}

impl<'a> Writer<'a> {
    fn new(db: &Database, number: u64, counts: &'a Counts) -> Result<Self> {
        let (random, rows, ids) = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, HashMap::new(), Vec::new());
        Ok(Self { session: db.blocking(), number, random, counts, rows, ids })
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn run(&mut self, commits: u64) -> Result<()> {
        for version in 1..=commits {
            let vector: Vec<f32> = (0..DIMENSIONS).map(|_| (self.next() % 100_000) as f32 / 1000.0).collect();
            match (self.next() % 10, self.ids.is_empty()) {
                (0..=4, _) | (_, true) => self.insert(version, vector)?,
                (5..=7, _) => self.update(version, vector)?,
                _ => self.delete()?,
            }
            if version % 16 == 0 {
                self.look_for_an_old_one()?;
            }
        }
        Ok(())
    }

    fn word(&self, id: i64, version: u64) -> String {
        format!("s{}r{id}v{version}", self.number)
    }

    fn insert(&mut self, version: u64, vector: Vec<f32>) -> Result<()> {
        let id = (self.number << 32 | version) as i64;
        let body = format!("a note with {} in it", self.word(id, version));
        let row = [Value::Int8(id), Value::Text(body), Value::Vector(vector.clone())];
        self.session.execute("INSERT INTO notes VALUES ($1, $2, $3)", &row)?;
        self.rows.insert(id, (version, vector));
        self.ids.push(id);
        self.look_for(id)
    }

    fn update(&mut self, version: u64, vector: Vec<f32>) -> Result<()> {
        let at = self.next() as usize % self.ids.len();
        let id = self.ids.get(at).copied().unwrap_or_default();
        let body = format!("another note, {}", self.word(id, version));
        let row = [Value::Int8(id), Value::Text(body), Value::Vector(vector.clone())];
        self.session.execute("UPDATE notes SET body = $2, embedding = $3 WHERE id = $1", &row)?;
        let before = self.rows.insert(id, (version, vector));
        self.look_for(id)?;
        before.map_or(Ok(()), |(version, vector)| self.must_be_gone(id, version, &vector))
    }

    fn delete(&mut self) -> Result<()> {
        let at = self.next() as usize % self.ids.len();
        let id = self.ids.swap_remove(at);
        self.session.execute("DELETE FROM notes WHERE id = $1", &[Value::Int8(id)])?;
        self.rows.remove(&id).map_or(Ok(()), |(version, vector)| self.must_be_gone(id, version, &vector))
    }

    fn by_word(&mut self, word: &str) -> Result<Vec<i64>> {
        self.counts.text.fetch_add(1, Ordering::Relaxed);
        let rows = self.session.query("SELECT id FROM notes WHERE notes @@@ $1", &[Value::Text(word.to_owned())])?;
        Ok(rows.iter().map(|row| row.get(0)).collect::<nodedb::Result<_>>()?)
    }

    fn by_vector(&mut self, vector: &[f32], k: i64) -> Result<Vec<i64>> {
        self.counts.vector.fetch_add(1, Ordering::Relaxed);
        let question = [Value::Vector(vector.to_vec()), Value::Int8(k)];
        let rows = self.session.query("SELECT id FROM notes ORDER BY embedding <-> $1 LIMIT $2", &question)?;
        Ok(rows.iter().map(|row| row.get(0)).collect::<nodedb::Result<_>>()?)
    }

    /// The row that was just committed.
    fn look_for(&mut self, id: i64) -> Result<()> {
        let Some((version, vector)) = self.rows.get(&id).cloned() else { return Ok(()) };
        let word = self.word(id, version);
        if self.by_word(&word)? != [id] {
            self.miss(&format!("word {word}"));
        }
        let found = self.by_vector(&vector, 10)?;
        if found.first() != Some(&id) {
            self.miss(&format!("vector of {id}"));
        }
        if found.len() < self.rows.len().min(10) {
            self.counts.short.fetch_add(1, Ordering::Relaxed);
        }
        // Nobody else changes rows of this session.
        let is_ours = |found: &&i64| (**found as u64) >> 32 == self.number;
        let ghosts = found.iter().filter(is_ours).filter(|found| !self.rows.contains_key(found)).count();
        self.counts.ghosts.fetch_add(ghosts as u64, Ordering::Relaxed);
        Ok(())
    }

    fn must_be_gone(&mut self, id: i64, version: u64, vector: &[f32]) -> Result<()> {
        let word = self.word(id, version);
        let found = self.by_word(&word)?;
        let near = self.by_vector(vector, 1)?;
        let is_gone = !self.rows.contains_key(&id);
        if !found.is_empty() || (is_gone && near.first() == Some(&id)) {
            eprintln!("ghost: {word} {found:?} {near:?}");
            self.counts.ghosts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn miss(&self, what: &str) {
        eprintln!("miss: {what}");
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Where a graph is searched, a neighbour may be missed, seldom.
    fn look_for_an_old_one(&mut self) -> Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let at = self.next() as usize % self.ids.len();
        let id = self.ids.get(at).copied().unwrap_or_default();
        let Some((version, vector)) = self.rows.get(&id).cloned() else { return Ok(()) };
        let word = self.word(id, version);
        if self.by_word(&word)? != [id] {
            self.miss(&format!("word {word}, older"));
        }
        self.counts.old.fetch_add(1, Ordering::Relaxed);
        let found = self.by_vector(&vector, 1)? == [id];
        self.counts.old_found.fetch_add(u64::from(found), Ordering::Relaxed);
        Ok(())
    }
}
