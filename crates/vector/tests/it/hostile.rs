//! Files that are not what was written: each mutation is either harmless, or reported. Never a panic, never a wrong
//! answer.

use crate::model::{Change, Model, SHAPE, Vector};
use nodedb_env::{Env, Files, MemoryFiles, OpenMode, Random, SeededRandom};
use nodedb_vector::{Effort, Error, Metric, Options, Search, VectorCollection};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIR: &str = "c";

fn env(files: &MemoryFiles) -> Env {
    Env { files: Arc::new(files.clone()), ..Env::memory() }
}

/// A collection with two sealed parts, a frozen one and a growing one, deletions and replacements.
fn written() -> (MemoryFiles, Model) {
    let (files, random, mut model) = (MemoryFiles::new(), SeededRandom::new(3), Model::default());
    let mut options =
        Options { shape: SHAPE, build_threads: 1, merge_factor: 1, seal_threshold: 300, ..Options::default() };
    options.graph.ef_construction = 40;
    let collection = VectorCollection::create(env(&files), Path::new(DIR), options).unwrap();
    for version in 1..=1500_u64 {
        let vector: Vector = [(); 4].map(|()| (random.u64() % 100_000) as f32 / 1000.0);
        let change = Change { version, id: random.u64() % 1200, vector: (random.u64() % 6 > 0).then_some(vector) };
        match change.vector {
            Some(vector) => _ = collection.insert(change.id, version, vector.as_slice().into()).unwrap(),
            None => _ = collection.delete(change.id, version).unwrap(),
        }
        model.apply(change);
        if version == 800 {
            collection.settle().unwrap();
        }
        if version == 1200 {
            collection.run(collection.next_job().unwrap()).unwrap();
        }
        if version % 300 == 0 {
            collection.checkpoint(version).unwrap();
        }
    }
    collection.checkpoint(1500).unwrap();
    let stats = collection.stats();
    assert!(stats.sealed.len() == 2 && stats.frozen.0 == 1 && stats.growing > 0 && stats.events > 0, "{stats:?}");
    (files, model)
}

/// Changes some bytes of a file; what was done.
fn mutate(bytes: &mut Vec<u8>, random: &SeededRandom) -> &'static str {
    let below = |n: usize| (random.u64() % n.max(1) as u64) as usize;
    let at = below(bytes.len());
    match random.u64() % 6 {
        0 => {
            bytes[at] ^= 1 << below(8);
            "a bit"
        }
        1 => {
            let end = (at + 1 + below(64)).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|b| *b = random.u64() as u8);
            "some bytes"
        }
        2 => {
            bytes.truncate(at);
            "cut short"
        }
        3 => {
            let page = 512.min(bytes.len());
            let (from, to) = (below(bytes.len() - page + 1), below(bytes.len() - page + 1));
            bytes.copy_within(from..from + page, to);
            "one section over another"
        }
        4 => {
            let end = (at / 8 * 8 + 8).min(bytes.len());
            bytes[at / 8 * 8..end].fill([0, 255, 127][below(3)]);
            "an absurd length"
        }
        _ => {
            let page = (at + 4096).min(bytes.len());
            bytes[at..page].fill(0);
            "zeros"
        }
    }
}

/// What may be said of an opened collection: everything is there, or reported as missing, or reported as damaged when it
/// is touched; and what is answered is right.
fn check(opened: &nodedb_vector::Opened, model: &Model, random: &SeededRandom) {
    let collection = &opened.collection;
    let truth: Vec<_> = model.at(opened.upper).collect();
    assert_eq!(opened.upper, 1500);
    let damaged = |e: Error| assert!(matches!(e, Error::Damaged(_)), "{e}");
    match collection.entries(None) {
        Ok(entries) => {
            assert!(entries.iter().all(|(id, version)| truth.iter().any(|t| (t.0, t.1) == (*id, *version))));
            if let Some(missing) = &opened.missing {
                let known = |key: (u64, u64)| entries.contains(&key) || missing.contains(&key);
                assert!(truth.iter().all(|(id, version, _)| known((*id, *version))), "something is gone in silence");
            }
        }
        Err(e) => damaged(e),
    }
    for effort in [Effort::Exact, Effort::Recall(0.9)] {
        let query: Vector = [(); 4].map(|()| (random.u64() % 100_000) as f32 / 1000.0);
        match collection.search(query.as_slice().into(), &Search { effort, ..Search::nearest(10) }) {
            Ok(found) => {
                for hit in &found.hits {
                    let (.., vector) = truth.iter().find(|t| (t.0, t.1) == (hit.id, hit.version)).unwrap();
                    let squares: f32 = vector.iter().zip(query).map(|(a, b)| (a - b).powi(2)).sum();
                    assert!((Metric::L2.distance(squares) - hit.distance).abs() < 1e-3, "a wrong distance");
                }
                if effort == Effort::Exact && opened.quarantined.is_empty() {
                    let ids: Vec<_> = found.hits.iter().map(|hit| (hit.id, hit.version)).collect();
                    assert_eq!(ids, model.nearest(&query, 10, 1500));
                }
            }
            Err(e) => damaged(e),
        }
    }
    collection.scrub().map(drop).unwrap_or_else(damaged);
}

/// Mutations, from `NODEDB_VECTOR_MUTATIONS`; some for each run of the tests, 5,000 as evidence.
#[test]
fn mutations_are_harmless_or_reported() {
    let count: u64 = std::env::var("NODEDB_VECTOR_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let (files, model) = written();
    let names: Vec<String> = files.list(Path::new(DIR)).unwrap().into_iter().filter(|name| name != "LOCK").collect();
    let (mut reported, mut refused, mut silent) = (0, 0, 0);
    for seed in 0..count {
        let (files, random) = (files.fork(), SeededRandom::new(seed));
        let path = PathBuf::from(DIR).join(&names[(random.u64() % names.len() as u64) as usize]);
        let mut bytes = files.read(&path).unwrap();
        let what = mutate(&mut bytes, &random);
        let file = files.open(&path, OpenMode::Replace).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        drop(file);
        match VectorCollection::open(env(&files), Path::new(DIR), |_| {}) {
            Ok(opened) => {
                let is_told = !opened.quarantined.is_empty();
                let checked =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&opened, &model, &random)));
                checked.unwrap_or_else(|e| {
                    eprintln!("mutation {seed}: {what} of {}", path.display());
                    std::panic::resume_unwind(e)
                });
                if is_told { reported += 1 } else { silent += 1 }
            }
            Err(Error::Damaged(_)) => refused += 1,
            Err(other) => panic!("mutation {seed}: {what} of {}: {other}", path.display()),
        }
    }
    println!("{count} mutations: {refused} refused, {reported} quarantined, {silent} found later or without effect");
    assert!(refused > 0 && reported > 0);
}

#[test]
fn a_collection_without_its_head_is_not_taken_for_none() {
    let (files, _) = written();
    files.remove(&Path::new(DIR).join("CURRENT")).unwrap();
    for opened in [
        VectorCollection::open(env(&files), Path::new(DIR), |_| {}).map(|opened| opened.collection),
        VectorCollection::create(env(&files), Path::new(DIR), Options { shape: SHAPE, ..Options::default() }),
    ] {
        assert!(matches!(opened, Err(Error::Damaged(_))));
    }
}

/// Where both files of a part are lost, nobody knows what is missing; what is deleted meanwhile stays so.
#[test]
fn deletes_of_what_nobody_can_name_hold() {
    let (files, model) = written();
    for name in
        files.list(Path::new(DIR)).unwrap().iter().filter(|name| name.ends_with(".part") || name.ends_with(".ids"))
    {
        files.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let opened = VectorCollection::open(env(&files), Path::new(DIR), |_| {}).unwrap();
    assert_eq!(opened.missing, None);
    let there = opened.collection.entries(None).unwrap();
    let (id, version, vector) = model.at(1500).find(|(id, version, _)| !there.contains(&(*id, *version))).unwrap();
    assert!(opened.collection.delete(id, 1600).unwrap());
    assert!(opened.collection.insert(id, version, vector.as_slice().into()).unwrap());
    assert!(!opened.collection.contains(id, None).unwrap() && opened.collection.contains(id, Some(1500)).unwrap());
}

/// What is lost with a part can be given again, and only that; what it superseded does not come back.
#[test]
fn what_is_lost_is_given_again() {
    let (files, model) = written();
    let names = files.list(Path::new(DIR)).unwrap();
    for lost in names.iter().filter(|name| name.ends_with(".part") || name.ends_with(".rows")) {
        let files = files.fork();
        files.remove(&Path::new(DIR).join(lost)).unwrap();
        let opened = VectorCollection::open(env(&files), Path::new(DIR), |_| {}).unwrap();
        assert_eq!(opened.quarantined.len(), 1);
        let missing = opened.missing.unwrap();
        assert!(missing.len() > 20);
        let give = |collection: &VectorCollection| {
            for (id, version) in &missing {
                let change = model.log.iter().find(|change| change.version == *version).unwrap();
                assert_eq!(change.id, *id);
                collection.insert(*id, *version, change.vector.unwrap().as_slice().into()).unwrap();
            }
        };
        // What is missing is remembered until it is given.
        opened.collection.checkpoint(1500).unwrap();
        drop(opened.collection);
        let again = VectorCollection::open(env(&files), Path::new(DIR), |_| {}).unwrap();
        assert!(again.quarantined.is_empty());
        assert_eq!(again.missing.unwrap(), missing);
        give(&again.collection);
        assert_eq!(again.collection.entries(None).unwrap(), model.keys(1500));
        assert_eq!(again.collection.entries(Some(700)).unwrap(), model.keys(700));
        again.collection.settle().unwrap();
        again.collection.checkpoint(1500).unwrap();
        drop(again.collection);
        let whole = VectorCollection::open(env(&files), Path::new(DIR), |_| {}).unwrap();
        assert_eq!(whole.missing, Some(vec![]));
        assert_eq!(whole.collection.entries(None).unwrap(), model.keys(1500));
    }
}
