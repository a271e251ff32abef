//! What two derived indexes cost: rows a second with a vector and a text index present, bytes written for a byte inserted,
//! disk, memory, opening, the first query; beside LanceDB and Qdrant Edge where a Python has them.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a program that measures the database, no part of it")]

use benches::figures::{Figures, Side};
use benches::process::{disk_bytes, memory, processor_seconds, written};
use benches::words::{Random, document, glosses};
use benches::{Result, child, timed, wrong};
use clap::Parser;
use nodedb::blocking::Session;
use nodedb::{Database, Value};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Measures what derived indexes cost.
#[derive(Parser)]
struct Arguments {
    /// A directory on the disk that is to be measured.
    work: PathBuf,
    /// A database with a table `synsets` with embeddings, imported from WordNet.
    #[arg(long)]
    from: PathBuf,
    /// Rows.
    #[arg(long, default_value_t = 200_000)]
    rows: usize,
    /// A Python that has `lancedb` and `qdrant-edge-py`, to measure these as well.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Opens the database that is there and asks it once.
    #[arg(long, hide = true)]
    only_open: bool,
}

const DIMENSIONS: usize = 384;
/// Rows of a transaction.
const BATCH: usize = 1000;
/// Rows of a statement.
const SOME: usize = 100;
const NEAR: &str = "SELECT id FROM notes ORDER BY embedding <=> $1 LIMIT 10";
const WORDS: &str = "SELECT id FROM notes WHERE notes @@@ $1 ORDER BY bm25_score(notes) DESC LIMIT 10";

struct Data {
    vectors: Vec<Vec<f32>>,
    texts: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let dir = arguments.work.join("ours");
    if arguments.only_open {
        return only_open(&dir);
    }
    std::fs::create_dir_all(&dir)?;
    let data = data(&arguments)?;
    let mut figures = Figures::default();
    insert(&dir, &data, &mut figures)?;
    for _ in 0..3 {
        let printed = child::succeed([
            arguments.work.as_os_str(),
            "--from".as_ref(),
            arguments.from.as_os_str(),
            "--only-open".as_ref(),
        ])?;
        for line in printed.lines() {
            let (name, figure) = line.split_once(' ').ok_or("a line without a figure")?;
            figures.add(Side::Ours, name, figure.parse()?);
        }
    }
    figures.print();
    if let Some(python) = &arguments.python {
        peers(python, &arguments.work, &data)?;
    }
    Ok(std::fs::remove_dir_all(&arguments.work)?)
}

/// Embeddings of WordNet, each again and again with a little noise, and short documents of its glosses.
fn data(arguments: &Arguments) -> Result<Data> {
    let db = Database::open(&arguments.from)?;
    let mut session = db.blocking();
    let glosses = glosses(&mut session)?;
    let mut embeddings = Vec::new();
    for row in session.query("SELECT embedding FROM synsets WHERE embedding IS NOT NULL", &[])?.iter() {
        if let Some(Value::Vector(embedding)) = row.values()?.into_iter().next() {
            embeddings.push(embedding);
        }
    }
    drop(session);
    db.close()?;
    let mut random = Random::new(13);
    let vectors = (0..arguments.rows).map(|at| noisy(embeddings.get(at % embeddings.len()), at, &mut random)).collect();
    let texts = (0..arguments.rows).map(|_| document(&glosses, &mut random)).collect();
    Ok(Data { vectors, texts })
}

fn noisy(vector: Option<&Vec<f32>>, at: usize, random: &mut Random) -> Vec<f32> {
    let width = if at < 60_000 { 0.0 } else { 0.02 };
    let noise = |random: &mut Random| (random.below(20_001) as f32 / 10_000.0 - 1.0) * width;
    vector.into_iter().flatten().map(|n| n + noise(random)).collect()
}

fn insert(dir: &Path, data: &Data, figures: &mut Figures) -> Result<()> {
    let db = Database::open(dir)?;
    let mut session = db.blocking();
    for statement in [
        "CREATE TABLE notes (id bigint PRIMARY KEY, body text, seen int, embedding vector(384))",
        "CREATE INDEX near ON notes USING hnsw (embedding vector_cosine_ops)",
        "CREATE INDEX words ON notes USING bm25 (body)",
    ] {
        session.execute(statement, &[])?;
    }
    let (before, processor) = (written()?, processor_seconds()?);
    let (inserted, ()) = timed(|| insert_all(&mut session, data))?;
    let (settling, ()) = timed(|| settle(&db, &mut session))?;
    let (after, rows) = (written()?, data.texts.len() as f64);
    let bytes = data.texts.iter().map(|text| text.len() + 4 * DIMENSIONS + 12).sum::<usize>() as f64;
    let mut add = |name: &str, figure: f64| figures.add(Side::Ours, name, figure);
    add("rows_per_s", rows / inserted);
    add("rows_per_s_until_settled", rows / (inserted + settling));
    add("rows_per_processor_s_until_settled", rows / (processor_seconds()? - processor));
    add("bytes_written_per_byte", (after.disk - before.disk) as f64 / bytes);
    add("bytes_handed_per_byte", (after.calls - before.calls) as f64 / bytes);
    uncovered(&db, &mut session, &mut add)?;
    drop(session);
    db.close()?;
    add("disk_mb_per_100_000", disk_bytes(dir)? as f64 / 1e6 / rows * 1e5);
    Ok(())
}

fn insert_all(session: &mut Session, data: &Data) -> Result<()> {
    let places = (0..SOME).map(|at| 3 * at).map(|n| format!("(${}, ${}, 0, ${})", n + 1, n + 2, n + 3));
    let some = session.prepare(&format!("INSERT INTO notes VALUES {}", places.collect::<Vec<_>>().join(", ")))?;
    let rows: Vec<usize> = (0..data.texts.len()).collect();
    for many in rows.chunks(BATCH) {
        session.execute("BEGIN", &[])?;
        for chunk in many.chunks_exact(SOME) {
            let row = |at: &usize| {
                let (text, vector) = data.texts.get(*at).zip(data.vectors.get(*at)).ok_or("rows of whole hundreds")?;
                Ok([Value::Int8(*at as i64), Value::Text(text.clone()), Value::Vector(vector.clone())])
            };
            let values = chunk.iter().map(row).collect::<Result<Vec<_>>>()?.concat();
            session.execute_prepared(&some, &values)?;
        }
        session.execute("COMMIT", &[])?;
    }
    Ok(())
}

/// Until nothing is left to build or to merge: nothing waits and nothing is being done, several times in a row.
fn settle(db: &Database, session: &mut Session) -> Result<()> {
    let busy = "SELECT (SELECT count(*) FROM nodedb_jobs) + (SELECT sum(parts_building) FROM nodedb_indexes)";
    let mut quiet = 0;
    while quiet < 4 {
        std::thread::sleep(std::time::Duration::from_millis(250));
        let busy: i64 = session.query(&format!("SELECT ({busy})::bigint"), &[])?.get(0, 0)?;
        quiet = if busy == 0 { quiet + 1 } else { 0 };
    }
    Ok(db.checkpoint().map(drop)?)
}

/// A column that no index covers: the indexes hear nothing of a change.
fn uncovered(db: &Database, session: &mut Session, add: &mut impl FnMut(&str, f64)) -> Result<()> {
    let entries = "SELECT sum(entries + tail)::bigint, sum(memory_bytes)::bigint FROM nodedb_indexes";
    let count = |session: &mut Session| -> Result<i64> { Ok(session.query(entries, &[])?.get(0, 0)?) };
    let before = count(session)?;
    let (seconds, _) = timed(|| Ok(session.execute("UPDATE notes SET seen = seen + 1 WHERE id < 10000", &[])?))?;
    add("uncovered_updates_per_s", 10_000.0 / seconds);
    add("entries_added_by_uncovered_updates", (count(session)? - before) as f64);
    let (seconds, _) = timed(|| Ok(session.execute("UPDATE notes SET body = body WHERE id < 10000", &[])?))?;
    add("same_text_updates_per_s", 10_000.0 / seconds);
    add("entries_added_by_same_texts", (count(session)? - before) as f64);
    Ok(db.checkpoint().map(drop)?)
}

fn only_open(dir: &Path) -> Result<()> {
    let empty = memory()?;
    let (opening, db) = timed(|| Ok(Database::open(dir)?))?;
    let mut session = db.blocking();
    let mut random = Random::new(17);
    let vector: Vec<f32> = (0..DIMENSIONS).map(|_| random.below(1000) as f32 / 1000.0 - 0.5).collect();
    let (first, found) = timed(|| Ok(session.query(NEAR, &[Value::Vector(vector.clone())])?.iter().count()))?;
    let (words, matching) = timed(|| Ok(session.query(WORDS, &[Value::Text("person".to_owned())])?.iter().count()))?;
    if (found, matching) != (10, 10) {
        return wrong(format!("{found} near rows and {matching} with the word"));
    }
    for _ in 0..50 {
        let vector: Vec<f32> = (0..DIMENSIONS).map(|_| random.below(1000) as f32 / 1000.0 - 0.5).collect();
        session.query(NEAR, &[Value::Vector(vector)])?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "open_ms {}", opening * 1e3)?;
    writeln!(out, "first_vector_query_ms {}", first * 1e3)?;
    writeln!(out, "first_text_query_ms {}", words * 1e3)?;
    let now = memory()?;
    writeln!(out, "private_mb_after_50_queries {}", (now.private - empty.private) as f64 / 1e6)?;
    writeln!(out, "mapped_mb_after_50_queries {}", (now.mapped - empty.mapped) as f64 / 1e6)?;
    drop(session);
    Ok(db.close()?)
}

/// The same rows for the program that drives the others, which prints lines of its own.
fn peers(python: &Path, work: &Path, data: &Data) -> Result<()> {
    let dir = work.join("peers");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("texts.txt"), data.texts.join("\n"))?;
    let mut vectors = std::io::BufWriter::new(std::fs::File::create(dir.join("vectors.f32"))?);
    for number in data.vectors.iter().flatten() {
        vectors.write_all(&number.to_le_bytes())?;
    }
    vectors.flush()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("derived_peers.py");
    for peer in ["lancedb", "qdrant"] {
        let status = Command::new(python).arg(&script).arg(peer).arg(&dir).status()?;
        if !status.success() {
            return wrong(format!("{peer} ended with {status}"));
        }
    }
    Ok(())
}
