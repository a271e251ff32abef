//! SQL for the kit in `bench/ann`: its `cmd` protocol, one JSON object a line.
//!
//! `PEER_CMD=target/release/examples/ann-sql bench.py compare wordnet hnswlib cmd --rounds 3`. Each search is one execution of a
//! prepared `SELECT id FROM item ORDER BY embedding <=> $1 LIMIT $2`; with `NODEDB_ANN=rows`, of `SELECT *`. With a filter it
//! is `SELECT id FROM item WHERE a >= $3 AND a < $4 ORDER BY ...`; `a` and `c` have keys, as those of the other databases do.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures the database, no part of it"
)]

#[path = "../../vector/examples/kit/mod.rs"]
mod kit;

use kit::{Result, cpu, npy, number, text, words, write_found};
use nodedb::blocking::Session;
use nodedb::{Database, Value};
use serde_json::{Value as Json, json};
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

/// Rows of one INSERT.
const SOME_ROWS: usize = 100;

#[derive(Default)]
struct Engine {
    db: Option<Database>,
    metric: String,
}

fn operator(metric: &str) -> Result<(&'static str, &'static str)> {
    Ok(match metric {
        "cosine" => ("<=>", "vector_cosine_ops"),
        "l2" => ("<->", "vector_l2_ops"),
        "ip" => ("<#>", "vector_ip_ops"),
        other => return Err(format!("metric {other}").into()),
    })
}

impl Engine {
    fn answer(&mut self, message: &Json) -> Result<Json> {
        match text(message, "op")? {
            "hello" => {
                let sweep = [0.85, 0.9, 0.92, 0.94, 0.955, 0.97, 0.98, 0.988, 0.992, 0.996];
                let version = env!("CARGO_PKG_VERSION");
                Ok(json!({ "name": "nodedb-sql", "version": version, "sweep": sweep, "filter": "predicate" }))
            }
            "build" => build(message),
            "open" => {
                self.db = Some(Database::open(Path::new(text(message, "dir")?).join("db"))?);
                text(message, "metric")?.clone_into(&mut self.metric);
                Ok(json!({}))
            }
            "search" => self.search(message),
            "stat" => {
                let mut session = self.session()?;
                let rows =
                    session.query("SELECT state, entries, tail, memory_bytes, file_bytes FROM nodedb_indexes", &[])?;
                let state: String = rows.get(0, 0)?;
                let number = |column| rows.get::<i64>(0, column);
                Ok(
                    json!({ "state": state, "entries": number(1)?, "tail": number(2)?, "ram_bytes": number(3)?, "disk_bytes": number(4)? }),
                )
            }
            "close" => {
                if let Some(db) = self.db.take() {
                    db.close()?;
                }
                Ok(json!({}))
            }
            other => Err(format!("op {other}").into()),
        }
    }

    fn session(&self) -> Result<Session> {
        Ok(self.db.as_ref().ok_or("nothing is open")?.blocking())
    }

    fn search(&self, message: &Json) -> Result<Json> {
        let (count, repeat, k) = (number(message, "count")?, number(message, "repeat")?, number(message, "k")?);
        let (width, bytes) = npy(text(message, "queries")?, Some(count))?;
        let numbers = words(&bytes, f32::from_le_bytes);
        let queries: Vec<Value> = numbers.chunks_exact(width).take(count).map(|q| Value::Vector(q.to_vec())).collect();
        let mut session = self.session()?;
        let recall = message.get("setting").and_then(Json::as_f64).ok_or("no setting")?;
        session.execute(&format!("SET nodedb.recall = {recall}"), &[])?;
        let columns = if std::env::var("NODEDB_ANN").is_ok_and(|choice| choice == "rows") { "*" } else { "id" };
        let (operator, _) = operator(&self.metric)?;
        let filter = message.get("filter").filter(|filter| !filter.is_null()).map(Filter::of).transpose()?;
        let place = filter.as_ref().map_or(String::new(), |f| format!("WHERE {0} >= $3 AND {0} < $4", f.column));
        let prepared = session
            .prepare(&format!("SELECT {columns} FROM item {place} ORDER BY embedding {operator} $1 LIMIT $2"))?;
        let (mut ids, mut latencies) = (vec![-1_i64; count * k], Vec::new());
        let limit = Value::Int8(k as i64);
        let bounds = |at: usize| filter.iter().filter_map(move |f| f.bounds.get(at)).flatten().cloned();
        let (began, began_cpu) = (Instant::now(), cpu());
        let mut last = began;
        for _ in 0..repeat {
            for (at, (query, ids)) in queries.iter().zip(ids.chunks_mut(k)).enumerate() {
                let values: Vec<Value> = [query.clone(), limit.clone()].into_iter().chain(bounds(at)).collect();
                let rows = session.query_prepared(&prepared, &values)?;
                for (row, id) in rows.iter().zip(ids) {
                    *id = row.get(0)?;
                }
                let now = Instant::now();
                latencies.push((now - last).as_secs_f64());
                last = now;
            }
        }
        let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), cpu() - began_cpu);
        write_found(message, &ids, k, &latencies)?;
        Ok(json!({ "seconds": seconds, "cpu_seconds": cpu_seconds }))
    }
}

/// Of each query the rows whose column is at least one number and less than another.
struct Filter {
    column: String,
    bounds: Vec<[Value; 2]>,
}

impl Filter {
    fn of(message: &Json) -> Result<Self> {
        let numbers = |field: &str| -> Result<Vec<Value>> {
            let numbers = message.get(field).and_then(Json::as_array).ok_or("a filter without bounds")?;
            let number = |n: &Json| n.as_i64().and_then(|n| i32::try_from(n).ok()).map(Value::Int4);
            numbers.iter().map(|n| number(n).ok_or_else(|| "a bound that is no number".into())).collect()
        };
        let bounds = numbers("lo")?.into_iter().zip(numbers("hi")?).map(Into::into).collect();
        Ok(Self { column: text(message, "column")?.to_owned(), bounds })
    }
}

fn build(message: &Json) -> Result<Json> {
    let (width, bytes) = npy(text(message, "base")?, None)?;
    let numbers = words(&bytes, f32::from_le_bytes);
    let db = Database::open(Path::new(text(message, "dir")?).join("db"))?;
    let mut session = db.blocking();
    let table = format!("CREATE TABLE item (id bigint PRIMARY KEY, a int, c int, embedding vector({width}))");
    session.execute(&table, &[])?;
    let began = Instant::now();
    let places = (0..SOME_ROWS).map(|at| 4 * at).map(|n| format!("(${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4));
    let some = session.prepare(&format!("INSERT INTO item VALUES {}", places.collect::<Vec<_>>().join(", ")))?;
    let one = session.prepare("INSERT INTO item VALUES ($1, $2, $3, $4)")?;
    let rows: Vec<&[f32]> = numbers.chunks_exact(width).collect();
    let columns = [column(message, "a", rows.len())?, column(message, "c", rows.len())?];
    let number = |column: usize, id: i64| {
        let number = columns.get(column).and_then(|numbers| numbers.get(id as usize));
        number.copied().flatten().map_or(Value::Null, Value::Int4)
    };
    for (chunk, first) in rows.chunks(SOME_ROWS).zip((0_i64..).step_by(SOME_ROWS)) {
        let values: Vec<Value> = chunk
            .iter()
            .zip(first..)
            .flat_map(|(row, id)| [Value::Int8(id), number(0, id), number(1, id), Value::Vector(row.to_vec())])
            .collect();
        if chunk.len() == SOME_ROWS {
            session.execute_prepared(&some, &values)?;
            continue;
        }
        for row in values.chunks_exact(4) {
            session.execute_prepared(&one, row)?;
        }
    }
    let inserted = began.elapsed();
    for column in ["a", "c"] {
        session.execute(&format!("CREATE INDEX ON item ({column})"), &[])?;
    }
    let (_, class) = operator(text(message, "metric")?)?;
    session.execute(&format!("CREATE INDEX near ON item USING hnsw (embedding {class})"), &[])?;
    eprintln!("{} rows: inserted {inserted:?}, indexed {:?}", rows.len(), began.elapsed());
    db.close()?;
    Ok(json!({}))
}

/// The numbers of a column, or NULLs where there is none.
fn column(message: &Json, name: &str, rows: usize) -> Result<Vec<Option<i32>>> {
    let Some(path) = message.get("columns").and_then(|columns| columns.get(name)).and_then(Json::as_str) else {
        return Ok(vec![None; rows]);
    };
    let (_, bytes) = npy(path, None)?;
    Ok(words(&bytes, i32::from_le_bytes).into_iter().map(Some).collect())
}

fn main() -> Result<()> {
    let mut engine = Engine::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let message: Json = serde_json::from_str(&line?)?;
        let answer = engine.answer(&message).unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
