//! Recall against speed of the graph alone, over 8-bit codes with exact rerank, on one data set of the kit in
//! `bench/ann`: `cargo run --release --example curve -- DATA_DIR METRIC`. One thread searches, two build.
//!
//! A tool for work on the engine. Claims are made with the kit's own `compare`.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures the engine, no part of it"
)]

use nodedb_vector::Metric;
use nodedb_vector::codes::{CodeSpace, Codes};
use nodedb_vector::graph::{Builder, Parameters, Scratch, Space};
use nodedb_vector::kernels;
use std::path::Path;
use std::time::Instant;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Rows of numbers from a `.npy` file of little-endian 32-bit words in C order.
fn npy<T>(path: &Path, word: impl Fn([u8; 4]) -> T) -> Result<(usize, Vec<T>)> {
    let bytes = std::fs::read(path)?;
    let length = bytes.get(8..10).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes).ok_or("no npy file")?;
    let (header, body) = bytes.split_at_checked(10 + usize::from(length)).ok_or("a short npy file")?;
    let header = String::from_utf8_lossy(header);
    let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).ok_or("no shape")?;
    let columns = shape.split(',').nth(1).and_then(|n| n.trim().parse().ok()).ok_or("not two dimensions")?;
    Ok((columns, body.chunks_exact(4).filter_map(|b| b.try_into().ok()).map(word).collect()))
}

/// CPU seconds of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, dir, metric] = arguments.as_slice() else { return Err("DATA_DIR METRIC".into()) };
    let (dir, name) = (Path::new(dir), metric);
    let metric = match name.as_str() {
        "cosine" => Metric::Cosine,
        "l2" => Metric::L2,
        "ip" => Metric::InnerProduct,
        _ => return Err("cosine, l2 or ip".into()),
    };
    let (dimension, mut base) = npy(&dir.join("base.npy"), f32::from_le_bytes)?;
    let (_, mut queries) = npy(&dir.join("query.npy"), f32::from_le_bytes)?;
    let (width, truth) = npy(&dir.join(format!("gt_{name}.npy")), i32::from_le_bytes)?;
    base.chunks_exact_mut(dimension).try_for_each(|row| metric.prepare(row))?;
    queries.chunks_exact_mut(dimension).try_for_each(|row| metric.prepare(row))?;

    let began = Instant::now();
    let codes = Codes::of(metric.geometry(), dimension, &base).ok_or("no codes")?;
    let space = CodeSpace::new(&codes);
    let builder = Builder::new(&space, Parameters::default());
    std::thread::scope(|scope| (0..2).for_each(|_| _ = scope.spawn(|| builder.work())));
    let graph = builder.finish();
    println!(
        "{}: {} rows built in {:.1} s by 2 threads",
        kernels::best().name,
        codes.len(),
        began.elapsed().as_secs_f64()
    );

    let (geometry, kernels) = (metric.geometry(), kernels::best());
    let (mut scratch, mut query) = (Scratch::default(), space.no_query());
    for (ef, rerank) in
        [(10, 10), (14, 14), (20, 16), (30, 20), (40, 20), (60, 24), (90, 24), (130, 30), (200, 30), (300, 30)]
    {
        let (mut found, mut count, mut distances) = (0, 0, 0);
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let (began, mut hits) = (cpu(), 0);
            (count, distances) = (0, 0);
            for (vector, truth) in queries.chunks_exact(dimension).zip(truth.chunks_exact(width)) {
                codes.scale().query(vector, &mut query);
                let pool = graph.search(&space, &query, ef, &mut scratch);
                let row = |node: u32| {
                    base.get(node as usize * dimension..(node as usize + 1) * dimension).unwrap_or_default()
                };
                let mut exact: Vec<(f32, u32)> = pool
                    .iter()
                    .take(rerank)
                    .map(|(_, node)| (geometry.between(&kernels.f32, vector, row(node)), node))
                    .collect();
                exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                let wanted = truth.get(..10).unwrap_or_default();
                hits += exact.iter().take(10).filter(|(_, node)| wanted.contains(&node.cast_signed())).count();
                distances += scratch.distances;
                count += 1;
            }
            best = best.min(cpu() - began);
            found = hits;
        }
        let (recall, rate) = (found as f64 / 10.0 / f64::from(count), f64::from(count) / best);
        println!(
            "ef {ef:4} rerank {rerank:3}: recall {recall:.4}  {rate:8.0} queries per CPU second  {} distances",
            distances / count as u64
        );
    }
    Ok(())
}
