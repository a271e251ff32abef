//! All metrics and elements, before and after a checkpoint, against answers computed in double precision.

use nodedb_env::{Env, MemoryFiles, Random, SeededRandom};
use nodedb_vector::{Effort, Element, Found, Metric, Options, Quantisation, Search, Shape, Vector, VectorCollection};
use std::path::Path;
use std::sync::Arc;

const ROWS: usize = 2_500;
const QUERIES: usize = 40;
const DIMENSION: usize = 20;

/// What is stored, as numbers and as the elements of a shape.
struct Data {
    numbers: Vec<Vec<f64>>,
    halves: Vec<Vec<u16>>,
    bytes: Vec<Vec<i8>>,
    floats: Vec<Vec<f32>>,
    bits: Vec<Vec<u8>>,
}

impl Data {
    fn new(seed: u64, element: Element) -> Self {
        let random = SeededRandom::new(seed);
        let mut data = Self { numbers: vec![], halves: vec![], bytes: vec![], floats: vec![], bits: vec![] };
        // Whole numbers below 128 are the same in every element; they lie around some centres.
        let centre =
            |n: u64| (0..DIMENSION as u64).map(move |i| (n * 7919 + i * 104_729) % 151).map(|x| x as f64 - 75.0);
        for _ in 0..ROWS + QUERIES {
            let near = random.u64() % 40;
            let row: Vec<f64> = centre(near).map(|x| x + (random.u64() % 61) as f64 - 30.0).collect();
            let bits: Vec<u8> = (0..DIMENSION.div_ceil(8))
                .map(|i| ((near * 37 + i as u64 * 11) ^ (random.u64() & random.u64())) as u8)
                .collect();
            let last = bits.len() - 1;
            let bits: Vec<u8> = bits.iter().enumerate().map(|(i, b)| if i == last { b & 15 } else { *b }).collect();
            if element == Element::Bits {
                data.numbers.push((0..DIMENSION).map(|i| f64::from(bits[i / 8] >> (i % 8) & 1)).collect());
            } else {
                data.numbers.push(row.clone());
            }
            data.halves.push(row.iter().map(|x| half_bits(*x)).collect());
            data.bytes.push(row.iter().map(|x| *x as i8).collect());
            data.floats.push(row.iter().map(|x| *x as f32).collect());
            data.bits.push(bits);
        }
        data
    }

    fn vector(&self, element: Element, at: usize) -> Vector<'_> {
        match element {
            Element::F32 => Vector::F32(&self.floats[at]),
            Element::F16 => Vector::F16(&self.halves[at]),
            Element::I8 => Vector::I8(&self.bytes[at]),
            Element::Bits => Vector::Bits(&self.bits[at]),
        }
    }
}

/// A small whole number as IEEE 754 binary16.
fn half_bits(x: f64) -> u16 {
    if x == 0.0 {
        return 0;
    }
    let (sign, x) = (u16::from(x < 0.0) << 15, x.abs());
    let exponent = x.log2().floor();
    sign | ((exponent as u16 + 15) << 10) | ((x / exponent.exp2() - 1.0) * 1024.0) as u16
}

fn distance(metric: Metric, a: &[f64], b: &[f64]) -> f64 {
    let pairs = || a.iter().zip(b);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let centred = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|x| x - mean).collect::<Vec<_>>()
    };
    let cosine = |a: &[f64], b: &[f64]| 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    match metric {
        Metric::L2 => pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
        Metric::Cosine => cosine(a, b),
        Metric::InnerProduct => -dot(a, b),
        Metric::Manhattan => pairs().map(|(a, b)| (a - b).abs()).sum(),
        Metric::Chebyshev => pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
        Metric::Pearson => cosine(&centred(a), &centred(b)),
        Metric::Hamming => pairs().filter(|(a, b)| a != b).count() as f64,
        Metric::Jaccard => {
            let either = pairs().filter(|(a, b)| *a + *b > 0.0).count();
            if either == 0 { 0.0 } else { 1.0 - dot(a, b) / either as f64 }
        }
    }
}

/// How many of the ten are as near as the true tenth.
fn hits(found: &Found, tenth: f64, exact: impl Fn(usize) -> f64) -> usize {
    found.hits.iter().filter(|hit| exact(hit.id as usize) <= tenth + 1e-6 * tenth.abs() + 1e-5).count()
}

fn shapes() -> Vec<Shape> {
    let elements = [Element::F32, Element::F16, Element::I8, Element::Bits];
    let all = Metric::ALL
        .into_iter()
        .flat_map(|metric| elements.map(|element| Shape { metric, element, dimension: DIMENSION }));
    all.filter(|shape| shape.check().is_ok()).collect()
}

#[test]
fn all_metrics_and_elements() {
    for shape in shapes() {
        let data = Data::new(11, shape.element);
        let files = MemoryFiles::new();
        let env = || Env { files: Arc::new(files.clone()), ..Env::memory() };
        let mut options = Options { shape, seal_threshold: 1_000, merge_factor: 1, ..Options::default() };
        options.graph.ef_construction = 60;
        let collection = VectorCollection::create(env(), Path::new("c"), options).unwrap();
        for at in 0..ROWS {
            collection.insert(at as u64, at as u64 + 1, data.vector(shape.element, at)).unwrap();
        }
        collection.settle().unwrap();
        let run = |collection: &VectorCollection, effort: Effort| -> Vec<Found> {
            let search = Search { effort, ..Search::nearest(10) };
            (ROWS..ROWS + QUERIES)
                .map(|at| collection.search(data.vector(shape.element, at), &search).unwrap())
                .collect()
        };
        let (exact, near) = (run(&collection, Effort::Exact), run(&collection, Effort::Recall(0.95)));
        let queries: Vec<Vector<'_>> = (ROWS..ROWS + QUERIES).map(|at| data.vector(shape.element, at)).collect();
        for (effort, one_by_one) in [(Effort::Exact, &exact), (Effort::Recall(0.95), &near)] {
            let search = Search { effort, ..Search::nearest(10) };
            for threads in [1, 3] {
                let batch = collection.search_batch(&queries, &search, threads).unwrap();
                assert_eq!(&batch, one_by_one, "{shape:?}: in a batch, {threads} threads");
            }
        }
        let mut found = [0, 0];
        for (query, (exact, near)) in exact.iter().zip(&near).enumerate() {
            let true_one = |row: usize| distance(shape.metric, &data.numbers[ROWS + query], &data.numbers[row]);
            let mut all: Vec<f64> = (0..ROWS).map(true_one).collect();
            for hit in exact.hits.iter().chain(&near.hits) {
                let wanted = true_one(hit.id as usize);
                assert!((f64::from(hit.distance) - wanted).abs() <= 1e-3 * (1.0 + wanted.abs()), "{shape:?}");
            }
            all.sort_by(f64::total_cmp);
            found[0] += hits(exact, all[9], true_one);
            found[1] += hits(near, all[9], true_one);
        }
        assert_eq!(found[0], 10 * QUERIES, "{shape:?}: the exact search");
        assert!(found[1] >= 95 * QUERIES / 10, "{shape:?}: {} of {}", found[1], 10 * QUERIES);
        collection.checkpoint(ROWS as u64).unwrap();
        drop(collection);
        let opened = VectorCollection::open(env(), Path::new("c"), |_| {}).unwrap();
        assert_eq!(run(&opened.collection, Effort::Exact), exact, "{shape:?}: after reopening");
        assert_eq!(run(&opened.collection, Effort::Recall(0.95)), near, "{shape:?}: after reopening");
        assert_eq!(opened.collection.scrub().unwrap(), Some(vec![]));
    }
}

/// Deleting and replacing half of everything, ten times, leaves the graph as good as it was.
#[test]
fn recall_survives_replacing() {
    let shape = Shape { metric: Metric::L2, element: Element::F32, dimension: DIMENSION };
    for quantisation in [Quantisation::Bytes, Quantisation::None, Quantisation::Bits(4)] {
        let data = Data::new(12, Element::F32);
        let options = Options { quantisation, seal_threshold: 600, ..Options::default() };
        let collection = VectorCollection::memory(shape, options).unwrap();
        let mut version = 0;
        let mut give = |collection: &VectorCollection, id: usize, delete: bool| {
            version += 1;
            if delete {
                collection.delete(id as u64, version).unwrap();
                version += 1;
            }
            collection.insert(id as u64, version, data.vector(Element::F32, id)).unwrap();
            collection.raise_since(version);
            if collection.stats().frozen.0 > 1 {
                collection.settle().unwrap();
            }
        };
        let recall = |collection: &VectorCollection| {
            let run = |at, effort| {
                let search = Search { effort, ..Search::nearest(10) };
                collection.search(data.vector(Element::F32, at), &search).unwrap()
            };
            let found = (ROWS..ROWS + QUERIES).map(|at| {
                let exact: Vec<u64> = run(at, Effort::Exact).hits.iter().map(|hit| hit.id).collect();
                let setting = nodedb_vector::Setting { ef: 24, rerank: 20 };
                run(at, Effort::Setting(setting)).hits.iter().filter(|hit| exact.contains(&hit.id)).count()
            });
            found.sum::<usize>() as f64 / (10 * QUERIES) as f64
        };
        (0..ROWS).for_each(|id| give(&collection, id, false));
        collection.settle().unwrap();
        let before = recall(&collection);
        for round in 0..10 {
            (round % 2..ROWS).step_by(2).for_each(|id| give(&collection, id, round % 3 == 0));
        }
        collection.settle().unwrap();
        let after = recall(&collection);
        assert!(after >= before - 0.01, "{quantisation:?}: {before} before, {after} after");
        let stats = collection.stats();
        assert!(stats.ended < ROWS, "{stats:?}");
    }
}

/// A list may name an id many times.
#[test]
fn a_list_that_repeats_itself_finds_all() {
    let shape = Shape { metric: Metric::L2, element: Element::F32, dimension: 1 };
    let collection = VectorCollection::memory(shape, Options { seal_threshold: 20_000, ..Options::default() }).unwrap();
    for id in 0..15_000_u64 {
        collection.insert(id, id + 1, Vector::F32(&[id as f32])).unwrap();
    }
    collection.seal().unwrap();
    collection.settle().unwrap();
    let mut list: Vec<u64> = vec![7; 100];
    list.extend((1_000..1_050).rev());
    let search = Search { filter: nodedb_vector::Filter::List(&list), ..Search::nearest(10) };
    let found = collection.search(Vector::F32(&[0.0]), &search).unwrap();
    let ids: Vec<u64> = found.hits.iter().map(|hit| hit.id).collect();
    assert_eq!(ids, [vec![7], (1_000..1_009).collect()].concat());
}
