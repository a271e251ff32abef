//! What the kit does not measure: kernels, exact scans against the memory's speed, merges, opening, checkpoints, the life
//! of a collection, memory. `cargo run --release -p nodedb-vector --example figures -- DATA_DIR WORK_DIR`, where
//! `DATA_DIR` is a data set of the kit under cosine, such as `~/.cache/nodedb-ann/data/wordnet`. One JSON line a figure.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures the engine, no part of it"
)]

mod kit;

use kit::{Result, cpu, npy, words};
use nodedb_env::Env;
use nodedb_vector::{Effort, Element, Metric, Options, Quantisation, Search, Shape, Vector, VectorCollection, kernels};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

fn figure(name: &str, value: f64) {
    println!("{{\"name\":\"{name}\",\"ours\":{value:.4}}}");
}

/// Seconds of the best of some turns.
fn best(turns: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..turns {
        let began = Instant::now();
        work();
        best = best.min(began.elapsed().as_secs_f64());
    }
    best
}

/// The rows of a `.npy` file.
fn rows(path: &Path) -> Result<(usize, Vec<f32>)> {
    let (columns, bytes) = npy(&path.to_string_lossy(), None)?;
    Ok((columns, words(&bytes, f32::from_le_bytes)))
}

/// Bytes that this process has handed to system calls for writing.
fn written() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).ok_or("no wchar")?;
    Ok(line.parse()?)
}

struct Data {
    dimension: usize,
    base: Vec<f32>,
    queries: Vec<f32>,
}

impl Data {
    fn shape(&self) -> Shape {
        Shape { metric: Metric::Cosine, element: Element::F32, dimension: self.dimension }
    }

    /// The rows again and again, with noise that grows, as one long row of rows.
    fn row(&self, at: usize) -> Vec<f32> {
        let rows = self.base.len() / self.dimension;
        let row = self.base.chunks_exact(self.dimension).nth(at % rows).unwrap_or_default();
        let turn = (at / rows) as u64;
        let mut state = at as u64 * 0x9E37_79B9_7F4A_7C15 + 1;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.03 * turn as f32
        };
        row.iter().map(|x| x + noise()).collect()
    }

    fn fill(&self, collection: &VectorCollection, rows: std::ops::Range<usize>) -> Result<()> {
        for at in rows {
            collection.insert(at as u64, at as u64 + 1, Vector::F32(&self.row(at)))?;
            if collection.stats().frozen.0 > 2 {
                collection.settle()?;
            }
        }
        Ok(())
    }
}

fn kernels_and_scans(data: &Data) -> Result<()> {
    let (kernels, d) = (kernels::best(), data.dimension);
    let rows: Vec<&[f32]> = data.base.chunks_exact(d).take(64).collect();
    let codes: Vec<u8> = (0..64 * d).map(|i| (i * 37 % 251) as u8).collect();
    let query: Vec<i8> = (0..d).map(|i| (i * 11 % 127) as i8).collect();
    let turns = 2_000;
    let all = (turns * 64) as f64;
    let first = rows.first().copied().unwrap_or_default();
    let seconds = best(5, || {
        for _ in 0..turns {
            rows.iter().for_each(|row| _ = std::hint::black_box((kernels.f32.product)(first, row)));
        }
    });
    figure("f32_product_ns", seconds / all * 1e9);
    let seconds = best(5, || {
        for _ in 0..turns {
            codes.chunks_exact(d).for_each(|row| _ = std::hint::black_box((kernels.code_product)(row, &query)));
        }
    });
    figure("code_product_ns", seconds / all * 1e9);
    let words: Vec<u64> = vec![3; 64 << 20];
    let lanes = || {
        words.chunks_exact(8).fold([0_u64; 8], |mut sums, some| {
            sums.iter_mut().zip(some).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
            sums
        })
    };
    let seconds = best(5, || _ = std::hint::black_box(lanes()));
    let bandwidth = (words.len() * 8) as f64 / seconds;
    figure("memory_gb_per_s", bandwidth / 1e9);
    drop(words);
    let rows = data.base.len() / d;
    let options =
        Options { quantisation: Quantisation::None, seal_threshold: rows + 1, build_threads: 2, ..Options::default() };
    let collection = VectorCollection::memory(data.shape(), options)?;
    data.fill(&collection, 0..rows)?;
    let search = Search { effort: Effort::Exact, ..Search::nearest(10) };
    let query = data.queries.get(..d).unwrap_or_default();
    let scan =
        || best(9, || _ = std::hint::black_box(collection.search(Vector::F32(query), &search).map(|f| f.hits.len())));
    figure("growing_scan_ns_per_row", scan() / rows as f64 * 1e9);
    collection.seal()?;
    collection.settle()?;
    let seconds = scan();
    figure("exact_scan_gb_per_s", (rows * d * 4) as f64 / seconds / 1e9);
    figure("exact_scan_share_of_memory", (rows * d * 4) as f64 / seconds / bandwidth);
    Ok(())
}

/// Median and 99th percentile of the milliseconds of searches that go on as long as they may.
fn latencies(name: &str, data: &Data, collection: &VectorCollection, goes_on: &dyn Fn(usize) -> bool) -> Result<()> {
    let (mut all, mut queries) = (Vec::new(), data.queries.chunks_exact(data.dimension).cycle());
    while goes_on(all.len()) {
        let Some(query) = queries.next() else { break };
        let began = Instant::now();
        collection.search(Vector::F32(query), &Search::nearest(10))?;
        all.push(began.elapsed().as_secs_f64() * 1e3);
    }
    all.sort_unstable_by(f64::total_cmp);
    for (part, share) in [("p50", 50), ("p99", 99)] {
        figure(&format!("search_ms_{name}_{part}"), all.get(all.len() * share / 100).copied().unwrap_or(f64::NAN));
    }
    Ok(())
}

/// Searches while the other core builds and merges; what a merge costs beside a build of the same rows.
fn jobs(data: &Data) -> Result<()> {
    let rows = 90_000;
    let options = Options { seal_threshold: 30_000, build_threads: 1, ..Options::default() };
    let collection = VectorCollection::memory(data.shape(), options)?;
    data.fill(&collection, 0..rows / 3)?;
    latencies("growing_30k", data, &collection, &|count| count < 5_000)?;
    for third in 1..=3 {
        data.fill(&collection, rows / 3 * third..rows / 3 * third + usize::from(third < 3) * (rows / 3 - 1))?;
        if third == 3 {
            collection.seal()?;
        }
        while let Some(job) = collection.next_job() {
            let name = format!("{:?}_{}k", job.kind(), job.vectors() / 1000).to_lowercase();
            let (began, is_over) = (cpu(), AtomicBool::new(false));
            std::thread::scope(|scope| {
                let work = scope.spawn(|| {
                    let done = collection.run(job);
                    is_over.store(true, Ordering::Release);
                    done
                });
                if third == 3 {
                    latencies(&format!("while_{name}"), data, &collection, &|_| !is_over.load(Ordering::Acquire))?;
                }
                work.join().map_err(|_| "a job panicked")?.map_err(Box::<dyn std::error::Error>::from)
            })?;
            if third < 3 {
                figure(&format!("{name}_cpu_s"), cpu() - began);
            }
        }
    }
    latencies("settled_90k", data, &collection, &|count| count < 20_000)
}

/// Two hundred thousand rows through the life of a collection.
fn life(data: &Data, work: &Path) -> Result<()> {
    let rows = 200_000;
    let dir = work.join("life");
    let _ = std::fs::remove_dir_all(&dir);
    let collection =
        VectorCollection::create(Env::real(), &dir, Options { shape: data.shape(), ..Options::default() })?;
    let began = Instant::now();
    data.fill(&collection, 0..rows)?;
    collection.settle()?;
    figure("life_200k_s", began.elapsed().as_secs_f64());
    figure("life_200k_parts", collection.stats().sealed.len() as f64);
    collection.checkpoint(rows as u64)?;
    let before = written()?;
    data.fill(&collection, rows..rows + 1_000)?;
    collection.checkpoint(rows as u64 + 1_000)?;
    figure("checkpoint_of_1000_mb", (written()? - before) as f64 / 1e6);
    drop(collection);
    let query = data.queries.get(..data.dimension).unwrap_or_default();
    let (mut opening, mut first) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..5 {
        let began = Instant::now();
        let opened = VectorCollection::open(Env::real(), &dir, |_| {})?;
        opening = opening.min(began.elapsed().as_secs_f64());
        let began = Instant::now();
        let found = opened.collection.search(Vector::F32(query), &Search::nearest(10))?;
        first = first.min(began.elapsed().as_secs_f64());
        if found.hits.len() != 10 {
            return Err("a search that finds nothing".into());
        }
    }
    figure("open_200k_ms", opening * 1e3);
    figure("first_search_ms", first * 1e3);
    for (name, budget) in [("all", u64::MAX >> 1), ("quarter", (rows * data.dimension * 4 / 4) as u64), ("none", 0)] {
        let opened = VectorCollection::open(Env::real(), &dir, |options| options.budget = budget)?;
        opened.collection.settle()?;
        let search = Search::nearest(10);
        let some: Vec<&[f32]> = data.queries.chunks_exact(data.dimension).take(500).collect();
        let run = || {
            some.iter()
                .for_each(|query| _ = opened.collection.search(Vector::F32(query), &search).map(|f| f.hits.len()))
        };
        figure(&format!("searches_per_s_budget_{name}"), some.len() as f64 / best(3, run));
        let stats = opened.collection.stats();
        figure(&format!("bytes_per_vector_budget_{name}"), stats.sealed_bytes as f64 / rows as f64);
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, dir, work] = arguments.as_slice() else { return Err("DATA_DIR WORK_DIR".into()) };
    let dir = PathBuf::from(dir);
    let (dimension, base) = rows(&dir.join("base.npy"))?;
    let (_, queries) = rows(&dir.join("query.npy"))?;
    let data = Data { dimension, base, queries };
    kernels_and_scans(&data)?;
    jobs(&data)?;
    life(&data, Path::new(work))
}
