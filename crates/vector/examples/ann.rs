//! The engine for the kit in `bench/ann`: its `cmd` protocol, one JSON object a line.
//!
//! `PEER_CMD=target/release/examples/ann bench.py compare wordnet hnswlib cmd svs --rounds 3`. `NODEDB_ANN` chooses how:
//! `f32` builds the graph over the vectors themselves, `life` keeps the default seal threshold, `allow-list` takes filters
//! as ready sets of ids, `bits=B` takes codes of so few bits, `budget=BYTES` gives sealed parts so much memory.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures the engine, no part of it"
)]

mod kit;

use kit::{Result, cpu, npy, number, text, words, write_found, write_npy};
use nodedb_env::Env;
use nodedb_vector::{Effort, Element, Filter, Metric, Options, Quantisation, Search, Shape, Vector, VectorCollection};
use roaring::{RoaringBitmap, RoaringTreemap};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

/// What `NODEDB_ANN` says.
struct Choice(String);

impl Choice {
    fn has(&self, word: &str) -> bool {
        self.0.split(',').any(|found| found == word)
    }

    fn bits(&self) -> Option<u8> {
        self.0.split(',').find_map(|word| word.strip_prefix("bits=")?.parse().ok())
    }

    fn budget(&self) -> Option<u64> {
        self.0.split(',').find_map(|word| word.strip_prefix("budget=")?.parse().ok())
    }
}

#[derive(Default)]
struct Engine {
    collection: Option<VectorCollection>,
    columns: HashMap<String, Column>,
    version: u64,
}

/// Values by row, and rows by value.
struct Column {
    values: Vec<i32>,
    rows: Vec<u64>,
}

impl Column {
    fn new(values: Vec<i32>) -> Self {
        let mut rows: Vec<u64> = (0..values.len() as u64).collect();
        rows.sort_by_key(|row| values.get(*row as usize).copied());
        Self { values, rows }
    }

    /// The rows of a range as a list, made of eight rows at a time: the kit counts what it takes.
    fn list(&self, lo: i32, hi: i32) -> RoaringTreemap {
        let byte = |values: &[i32]| {
            values.iter().rev().fold(0_u8, |byte, value| byte << 1 | u8::from((lo..hi).contains(value)))
        };
        let bytes: Vec<u8> = self.values.chunks(8).map(byte).collect();
        RoaringTreemap::from_bitmaps([(0, RoaringBitmap::from_lsb0_bytes(0, &bytes))])
    }

    fn value(&self, row: u64) -> i32 {
        self.values.get(row as usize).copied().unwrap_or(0)
    }

    /// The rows with `lo <= value < hi`.
    fn range(&self, lo: i32, hi: i32) -> &[u64] {
        let at = |limit| self.rows.partition_point(|row| self.value(*row) < limit);
        self.rows.get(at(lo)..at(hi)).unwrap_or_default()
    }
}

/// Rows of either kind.
struct Rows {
    width: usize,
    bytes: Vec<u8>,
    numbers: Vec<f32>,
}

impl Rows {
    fn read(path: &str, metric: Metric, rows: Option<usize>) -> Result<Self> {
        let (columns, bytes) = npy(path, rows)?;
        if metric.is_binary() {
            return Ok(Self { width: columns, bytes, numbers: Vec::new() });
        }
        Ok(Self { width: columns, numbers: words(&bytes, f32::from_le_bytes), bytes: Vec::new() })
    }

    fn iter(&self) -> Box<dyn Iterator<Item = Vector<'_>> + '_> {
        if self.numbers.is_empty() {
            return Box::new(self.bytes.chunks_exact(self.width).map(Vector::Bits));
        }
        Box::new(self.numbers.chunks_exact(self.width).map(Vector::F32))
    }
}

fn metric(message: &Value) -> Result<Metric> {
    Ok(match text(message, "metric")? {
        "cosine" => Metric::Cosine,
        "l2" => Metric::L2,
        "ip" => Metric::InnerProduct,
        "manhattan" => Metric::Manhattan,
        "chebyshev" => Metric::Chebyshev,
        "pearson" => Metric::Pearson,
        "hamming" => Metric::Hamming,
        "jaccard" => Metric::Jaccard,
        other => return Err(format!("metric {other}").into()),
    })
}

/// How hard to search: a recall target, or `exact`.
fn effort(setting: &Value) -> Result<Effort> {
    match setting {
        Value::String(exact) if exact == "exact" => Ok(Effort::Exact),
        other => Ok(Effort::Recall(other.as_f64().ok_or("no setting")? as f32)),
    }
}

/// The filters of queries, as far as they can be made before the clock starts.
enum Filters {
    None,
    Ranges(String, Vec<(i32, i32)>),
    Lists(Vec<RoaringTreemap>),
}

impl Engine {
    fn answer(&mut self, message: &Value, choice: &Choice) -> Result<Value> {
        match text(message, "op")? {
            "hello" => {
                let sweep = [0.85, 0.9, 0.92, 0.94, 0.955, 0.97, 0.98, 0.988, 0.992, 0.996];
                let filter = if choice.has("allow-list") { "allow-list" } else { "predicate" };
                Ok(json!({ "name": "nodedb", "version": env!("CARGO_PKG_VERSION"), "sweep": sweep, "filter": filter }))
            }
            "build" => self.build(message, choice),
            "open" => self.open(message, choice),
            "search" => self.search(message, choice),
            "insert" => self.insert(message),
            "stat" => {
                let stats = self.collection()?.stats();
                Ok(json!({
                    "rows": stats.sealed.iter().sum::<usize>() + stats.growing + stats.frozen.1,
                    "parts": stats.sealed, "growing": stats.growing,
                    "ram_bytes": stats.sealed_bytes + stats.growing_bytes, "disk_bytes": stats.file_bytes,
                    "in_memory": stats.in_memory, "with_codes": stats.with_codes, "mapped": stats.mapped,
                }))
            }
            "close" => {
                self.collection = None;
                Ok(json!({}))
            }
            other => Err(format!("op {other}").into()),
        }
    }

    fn collection(&self) -> Result<&VectorCollection> {
        self.collection.as_ref().ok_or_else(|| "nothing is open".into())
    }

    fn build(&mut self, message: &Value, choice: &Choice) -> Result<Value> {
        let (metric, dir) = (metric(message)?, PathBuf::from(text(message, "dir")?));
        let rows = Rows::read(text(message, "base")?, metric, None)?;
        let (element, dimension) =
            if metric.is_binary() { (Element::Bits, rows.width * 8) } else { (Element::F32, rows.width) };
        let mut options = Options {
            shape: Shape { metric, element, dimension },
            build_threads: number(message, "threads")?,
            ..Options::default()
        };
        if !choice.has("life") {
            options.seal_threshold = 4 << 20;
        }
        if choice.has("f32") {
            options.quantisation = Quantisation::None;
        }
        if let Some(bits) = choice.bits() {
            options.quantisation = Quantisation::Bits(bits);
        }
        let began = Instant::now();
        let collection = VectorCollection::create(Env::real(), &dir.join("collection"), options)?;
        let rows: Vec<(u64, Vector<'_>)> = (0_u64..).zip(rows.iter()).collect();
        for some in rows.chunks(100) {
            collection.insert_batch(some.iter().map(|(id, vector)| (*id, id + 1, *vector)))?;
            if collection.stats().frozen.0 > 0 {
                collection.settle()?;
            }
        }
        let inserted = began.elapsed();
        if !choice.has("life") {
            collection.seal()?;
        }
        collection.settle()?;
        let built = began.elapsed();
        collection.checkpoint(rows.len() as u64)?;
        eprintln!("{} rows: inserted {inserted:?}, built {built:?}, checkpoint {:?}", rows.len(), began.elapsed());
        for (name, file) in message.get("columns").and_then(Value::as_object).into_iter().flatten() {
            std::fs::copy(file.as_str().unwrap_or_default(), dir.join(format!("column_{name}.npy")))?;
        }
        Ok(json!({}))
    }

    fn open(&mut self, message: &Value, choice: &Choice) -> Result<Value> {
        let dir = PathBuf::from(text(message, "dir")?);
        let opened = VectorCollection::open(Env::real(), &dir.join("collection"), |options| {
            options.budget = choice.budget().unwrap_or(options.budget);
        })?;
        if opened.collection.options().shape.metric != metric(message)? {
            return Err("built for another metric".into());
        }
        opened.collection.settle()?;
        self.version = opened.upper;
        self.collection = Some(opened.collection);
        for entry in std::fs::read_dir(&dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(column) = name.strip_prefix("column_").and_then(|name| name.strip_suffix(".npy")) {
                let (_, bytes) = npy(&dir.join(&name).to_string_lossy(), None)?;
                self.columns.insert(column.to_owned(), Column::new(words(&bytes, i32::from_le_bytes)));
            }
        }
        Ok(json!({}))
    }

    fn filters(&self, message: &Value, choice: &Choice) -> Result<Filters> {
        let Some(filter) = message.get("filter").filter(|filter| !filter.is_null()) else { return Ok(Filters::None) };
        let name = text(filter, "column")?.to_owned();
        let bounds = |field: &str| -> Vec<i32> {
            let values = filter.get(field).and_then(Value::as_array).into_iter().flatten();
            values.filter_map(Value::as_i64).map(|n| n as i32).collect()
        };
        let ranges: Vec<(i32, i32)> = bounds("lo").into_iter().zip(bounds("hi")).collect();
        if !choice.has("allow-list") {
            return Ok(Filters::Ranges(name, ranges));
        }
        let column = self.columns.get(&name).ok_or("no such column")?;
        let list = |(lo, hi): &(i32, i32)| column.list(*lo, *hi);
        Ok(Filters::Lists(ranges.iter().map(list).collect()))
    }

    fn search(&self, message: &Value, choice: &Choice) -> Result<Value> {
        let collection = self.collection()?;
        let (count, repeat, k) = (number(message, "count")?, number(message, "repeat")?, number(message, "k")?);
        let rows = Rows::read(text(message, "queries")?, collection.options().shape.metric, Some(count))?;
        let queries: Vec<Vector<'_>> = rows.iter().take(count).collect();
        let search = Search { effort: effort(&message["setting"])?, ..Search::nearest(k) };
        let filters = self.filters(message, choice)?;
        let is_batch = text(message, "mode")? == "batch" && matches!(filters, Filters::None);
        let (mut ids, mut latencies, mut distances) = (vec![-1_i64; count * k], Vec::new(), Vec::new());
        let (began, began_cpu) = (Instant::now(), cpu());
        let mut last = began;
        for _ in 0..repeat {
            if is_batch {
                for (found, ids) in collection.search_batch(&queries, &search, 1)?.iter().zip(ids.chunks_mut(k)) {
                    found.hits.iter().zip(ids).for_each(|(hit, id)| *id = hit.id.cast_signed());
                }
                continue;
            }
            for (at, (query, ids)) in queries.iter().zip(ids.chunks_mut(k)).enumerate() {
                let found = self.filtered(collection, *query, search, (&filters, at))?;
                distances.push(found.distances);
                found.hits.iter().zip(ids).for_each(|(hit, id)| *id = hit.id.cast_signed());
                let now = Instant::now();
                latencies.push((now - last).as_secs_f64());
                last = now;
            }
        }
        let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), cpu() - began_cpu);
        write_found(message, &ids, k, &latencies)?;
        distances.sort_unstable();
        let (median, most) = (distances.get(distances.len() / 2), distances.get(distances.len() * 99 / 100));
        Ok(json!({ "seconds": seconds, "cpu_seconds": cpu_seconds, "distances_p50": median, "distances_p99": most }))
    }

    /// As a database with an index on the column would: few rows are named, many are asked for one by one.
    fn filtered(
        &self,
        collection: &VectorCollection,
        query: Vector<'_>,
        search: Search<'_>,
        (filters, at): (&Filters, usize),
    ) -> Result<nodedb_vector::Found> {
        let (name, lo, hi) = match filters {
            Filters::None => return Ok(collection.search(query, &search)?),
            Filters::Lists(lists) => {
                let ids = lists.get(at).ok_or("no list for a query")?;
                return Ok(collection.search(query, &Search { filter: Filter::Ids(ids), ..search })?);
            }
            Filters::Ranges(name, ranges) => {
                let (lo, hi) = ranges.get(at).copied().ok_or("no range for a query")?;
                (name, lo, hi)
            }
        };
        let column = self.columns.get(name).ok_or("no such column")?;
        let rows = column.range(lo, hi);
        if rows.len() <= 7_000 {
            return Ok(collection.search(query, &Search { filter: Filter::List(rows), ..search })?);
        }
        let passes = |id: u64| (lo..hi).contains(&column.value(id));
        Ok(collection.search(query, &Search { filter: Filter::Passing(&passes), ..search })?)
    }

    fn insert(&mut self, message: &Value) -> Result<Value> {
        let collection = self.collection.as_ref().ok_or("nothing is open")?;
        let metric = collection.options().shape.metric;
        let (rows, queries) = (
            Rows::read(text(message, "vectors")?, metric, None)?,
            Rows::read(text(message, "queries")?, metric, None)?,
        );
        let (first, k) = (number(message, "first_id")? as u64, number(message, "k")?);
        let search = Search { effort: effort(&message["setting"])?, ..Search::nearest(k) };
        let mut body = Vec::new();
        for ((id, row), query) in (first..).zip(rows.iter()).zip(queries.iter()) {
            let began = Instant::now();
            self.version += 1;
            collection.insert(id, self.version, row)?;
            let inserted = began.elapsed().as_secs_f64();
            while !collection.search(row, &search)?.hits.iter().any(|hit| hit.id == id) {
                if began.elapsed().as_secs() > 5 {
                    return Err(format!("row {id} is not found").into());
                }
            }
            let found = began.elapsed().as_secs_f64();
            collection.search(query, &search)?;
            let all = began.elapsed().as_secs_f64();
            for seconds in [inserted, found, all - found] {
                body.extend(seconds.to_le_bytes());
            }
        }
        let count = body.len() / 24;
        write_npy(text(message, "latencies")?, "<f8", &[count, 3], &body)?;
        Ok(json!({}))
    }
}

fn main() -> Result<()> {
    let choice = Choice(std::env::var("NODEDB_ANN").unwrap_or_default());
    let mut engine = Engine::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        let answer = engine.answer(&message, &choice).unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
