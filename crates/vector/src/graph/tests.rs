//! Walks against exact answers, over codes of vectors made with a seed.

use super::*;
use crate::Geometry;
use crate::codes::{CodeSpace, Codes};
use nodedb_env::{Random, SeededRandom};

const DIMENSION: usize = 24;

/// Vectors around some hundred centres, as real ones lie.
fn vectors(count: usize) -> Vec<f32> {
    let random = SeededRandom::new(9);
    let number = || (random.u64() % 10_000) as f32 / 10_000.0 - 0.5;
    let centres: Vec<f32> = (0..100 * DIMENSION).map(|_| number() * 3.0).collect();
    let mut vectors = Vec::with_capacity(count * DIMENSION);
    for _ in 0..count {
        let centre = (random.u64() % 100) as usize * DIMENSION;
        vectors.extend(centres[centre..centre + DIMENSION].iter().map(|x| x + number()));
    }
    vectors
}

fn codes(count: usize) -> Codes {
    Codes::of(Geometry::Squares, DIMENSION, &vectors(count)).unwrap()
}

fn build(space: &CodeSpace<'_>, threads: usize) -> Graph {
    let builder = Builder::new(space, Parameters::default());
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| _ = scope.spawn(|| builder.work(usize::MAX)));
    });
    builder.finish().unwrap()
}

fn recall(graph: &Graph, space: &CodeSpace<'_>, ef: usize) -> f64 {
    let (mut scratch, mut query, mut found) = (Scratch::default(), space.no_query(), 0);
    for node in (0..space.len() as u32).step_by(37).take(100) {
        space.as_query(node, &mut query);
        let mut exact: Vec<_> = (0..space.len() as u32).map(|other| (space.distance(&query, other), other)).collect();
        exact.sort_by(|a, b| a.0.total_cmp(&b.0));
        let limit = exact[9].0;
        found += graph.search(space, &query, ef, &mut scratch).iter().take(10).filter(|(d, _)| *d <= limit).count();
    }
    found as f64 / 1000.0
}

#[test]
fn walks_find_the_nearest() {
    let codes = codes(5000);
    let space = CodeSpace::new(&codes);
    for threads in [1, 2] {
        let graph = build(&space, threads);
        let found = [10, 30, 100].map(|ef| recall(&graph, &space, ef));
        assert!(found[0] > 0.7 && found[1] > 0.93 && found[2] > 0.99, "{threads} threads: {found:?}");
    }
}

#[test]
fn one_thread_always_builds_the_same() {
    let codes = codes(500);
    let space = CodeSpace::new(&codes);
    let (one, other) = (build(&space, 1), build(&space, 1));
    assert_eq!(one.sections(), other.sections());
}

#[test]
fn small_graphs_hold_everything() {
    for count in [0, 1, 2, 5, 33] {
        let codes = codes(count);
        let space = CodeSpace::new(&codes);
        let graph = build(&space, 1);
        let (mut scratch, mut query) = (Scratch::default(), space.no_query());
        codes.layout.query(&[0.0; DIMENSION], &mut query);
        let mut found: Vec<u32> = graph.search(&space, &query, 64, &mut scratch).iter().map(|(_, node)| node).collect();
        found.sort_unstable();
        assert_eq!(found, (0..count as u32).collect::<Vec<_>>());
    }
}
