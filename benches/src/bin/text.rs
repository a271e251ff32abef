//! Full text beside SQLite's FTS5 and DuckDB's FTS: making an index, its size, words, phrases, the ten best.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program that measures the database, no part of it")]

use benches::figures::{Figures, Side};
use benches::process::{disk_bytes, processor_seconds};
use benches::words::{Kind, Random, Vocabulary, document, glosses};
use benches::{Result, timed, wrong};
use clap::Parser;
use nodedb::blocking::{Prepared, Session};
use nodedb::{Database, Value};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Measures full text.
#[derive(Parser)]
struct Arguments {
    /// A directory on the disk that is to be measured.
    work: PathBuf,
    /// A database with a table `synsets` that has a column `definition`.
    #[arg(long)]
    from: PathBuf,
    /// Documents.
    #[arg(long, default_value_t = 1_000_000)]
    documents: usize,
    /// Queries of each kind.
    #[arg(long, default_value_t = 200)]
    queries: usize,
    /// Turns of each side.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// A Python that has `duckdb` and `duckdb-extension-fts`, to measure DuckDB as well.
    #[arg(long)]
    python: Option<PathBuf>,
}

type Asked = (Kind, Vec<Vec<String>>);

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.work)?;
    let from = Database::open(&arguments.from)?;
    let glosses = glosses(&mut from.blocking())?;
    from.close()?;
    let mut random = Random::new(7);
    let documents: Vec<String> = (0..arguments.documents).map(|_| document(&glosses, &mut random)).collect();
    let vocabulary = Vocabulary::new(&documents);
    let queries: Vec<Asked> =
        Kind::ALL.iter().map(|kind| (*kind, vocabulary.queries(*kind, arguments.queries, &mut random))).collect();
    let mut figures = Figures::default();
    let mut ours = measured(Side::Ours, &mut figures, &arguments.work.join("ours"), |dir| Ours::make(dir, &documents))?;
    let mut fts5 = measured(Side::Peer, &mut figures, &arguments.work.join("fts5"), |dir| Fts5::make(dir, &documents))?;
    for run in 0..arguments.runs {
        for (kind, queries) in &queries {
            let found = rate(Side::Ours, &mut figures, *kind, queries, |words| ours.ask(*kind, words))?;
            let theirs = rate(Side::Peer, &mut figures, *kind, queries, |words| fts5.ask(*kind, words))?;
            if run == 0 {
                compare(*kind, queries, &found, &theirs)?;
            }
        }
    }
    figures.print();
    if let Some(python) = &arguments.python {
        duckdb(python, &arguments.work, &documents, &queries)?;
    }
    Ok(std::fs::remove_dir_all(&arguments.work)?)
}

/// Makes a database and an index, and says what that took and takes.
fn measured<E>(
    side: Side,
    figures: &mut Figures,
    dir: &Path,
    make: impl FnOnce(&Path) -> Result<(E, f64)>,
) -> Result<E> {
    std::fs::create_dir_all(dir)?;
    let before = processor_seconds()?;
    let (seconds, (engine, rows_only)) = timed(|| make(dir))?;
    figures.add(side, "rows_s", rows_only);
    figures.add(side, "rows_and_index_s", seconds);
    figures.add(side, "rows_and_index_processor_s", processor_seconds()? - before);
    figures.add(side, "disk_mb", disk_bytes(dir)? as f64 / 1e6);
    Ok(engine)
}

/// Asks all of a kind; what was found.
fn rate<T>(
    side: Side,
    figures: &mut Figures,
    kind: Kind,
    queries: &[Vec<String>],
    mut ask: impl FnMut(&[String]) -> Result<T>,
) -> Result<Vec<T>> {
    let before = processor_seconds()?;
    let (seconds, found) = timed(|| queries.iter().map(|words| ask(words)).collect::<Result<Vec<_>>>())?;
    let processor = processor_seconds()? - before;
    figures.add(side, &format!("{}_per_s", kind.name()), queries.len() as f64 / seconds);
    figures.add(side, &format!("{}_per_processor_s", kind.name()), queries.len() as f64 / processor);
    Ok(found)
}

/// Both sides must count alike; the best are scored a little differently, but as many.
fn compare(kind: Kind, queries: &[Vec<String>], ours: &[Vec<i64>], theirs: &[Vec<i64>]) -> Result<()> {
    for ((words, ours), theirs) in queries.iter().zip(ours).zip(theirs) {
        if if kind.is_best() { ours.len() != theirs.len() } else { ours != theirs } {
            return wrong(format!("{kind:?} {words:?}: {ours:?} here, {theirs:?} there"));
        }
    }
    Ok(())
}

struct Ours {
    _db: Database,
    session: Session,
    count: Prepared,
    best: Prepared,
}

impl Ours {
    /// The database, and the seconds that its rows took.
    fn make(dir: &Path, documents: &[String]) -> Result<(Self, f64)> {
        const SOME: usize = 100;
        let db = Database::open(dir)?;
        let mut session = db.blocking();
        session.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text)", &[])?;
        let (seconds, ()) = timed(|| {
            let places: Vec<String> = (0..SOME).map(|at| format!("(${}, ${})", 2 * at + 1, 2 * at + 2)).collect();
            let some = session.prepare(&format!("INSERT INTO docs VALUES {}", places.join(", ")))?;
            let one = session.prepare("INSERT INTO docs VALUES ($1, $2)")?;
            let mut ids = 0_i64..;
            for many in documents.chunks(10_000) {
                session.execute("BEGIN", &[])?;
                for chunk in many.chunks(SOME) {
                    let row = |text: &String| [Value::Int8(ids.next().unwrap_or_default()), Value::Text(text.clone())];
                    let values: Vec<Value> = chunk.iter().flat_map(row).collect();
                    if chunk.len() == SOME {
                        session.execute_prepared(&some, &values)?;
                    } else {
                        values.chunks(2).try_for_each(|row| session.execute_prepared(&one, row).map(drop))?;
                    }
                }
                session.execute("COMMIT", &[])?;
            }
            Ok(())
        })?;
        session.execute("CREATE INDEX words ON docs USING bm25 (body)", &[])?;
        db.checkpoint()?;
        let count = session.prepare("SELECT count(*) FROM docs WHERE docs @@@ $1")?;
        let best = session.prepare("SELECT id FROM docs WHERE docs @@@ $1 ORDER BY bm25_score(docs) DESC LIMIT 10")?;
        Ok((Self { _db: db, session, count, best }, seconds))
    }

    fn ask(&mut self, kind: Kind, words: &[String]) -> Result<Vec<i64>> {
        let text = match kind {
            Kind::One | Kind::BestOfOne | Kind::BestOfTwo => words.join(" "),
            Kind::Two => words.join(" AND "),
            Kind::Phrase => format!("\"{}\"", words.join(" ")),
        };
        let prepared = if kind.is_best() { &self.best } else { &self.count };
        let rows = self.session.query_prepared(prepared, &[Value::Text(text)])?;
        Ok(rows.iter().map(|row| row.get(0)).collect::<nodedb::Result<_>>()?)
    }
}

struct Fts5 {
    connection: Connection,
}

impl Fts5 {
    fn make(dir: &Path, documents: &[String]) -> Result<(Self, f64)> {
        let connection = Connection::open(dir.join("db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -262144;
             CREATE VIRTUAL TABLE docs USING fts5(body, tokenize = 'unicode61 remove_diacritics 0')",
        )?;
        let (seconds, ()) = timed(|| {
            let mut ids = 0_i64..;
            for many in documents.chunks(10_000) {
                connection.execute_batch("BEGIN")?;
                let mut insert = connection.prepare_cached("INSERT INTO docs (rowid, body) VALUES (?1, ?2)")?;
                for text in many {
                    insert.execute((ids.next(), text))?;
                }
                connection.execute_batch("COMMIT")?;
            }
            Ok(())
        })?;
        connection.execute_batch("INSERT INTO docs(docs) VALUES ('optimize'); PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok((Self { connection }, seconds))
    }

    fn ask(&mut self, kind: Kind, words: &[String]) -> Result<Vec<i64>> {
        let quoted = |word: &String| format!("\"{word}\"");
        let text = match kind {
            Kind::BestOfTwo => words.iter().map(quoted).collect::<Vec<_>>().join(" OR "),
            Kind::Phrase => quoted(&words.join(" ")),
            _ => words.iter().map(quoted).collect::<Vec<_>>().join(" "),
        };
        let sql = match kind.is_best() {
            true => "SELECT rowid FROM docs WHERE docs MATCH ?1 ORDER BY rank LIMIT 10",
            false => "SELECT count(*) FROM docs WHERE docs MATCH ?1",
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map([text], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}

/// The same documents and words for the program that drives DuckDB, which prints lines of its own.
fn duckdb(python: &Path, work: &Path, documents: &[String], queries: &[Asked]) -> Result<()> {
    let dir = work.join("duckdb");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("documents.txt"), documents.join("\n"))?;
    let lines = queries
        .iter()
        .flat_map(|(kind, queries)| queries.iter().map(|words| format!("{}\t{}\n", kind.name(), words.join(" "))));
    std::fs::write(dir.join("queries.txt"), lines.collect::<String>())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("duckdb_fts.py");
    let status = Command::new(python).arg(script).arg(&dir).status()?;
    if status.success() { Ok(()) } else { wrong(format!("DuckDB ended with {status}")) }
}
