//! Everything at once: changes, jobs on two threads, checkpoints, searches at old and new versions against the model.

use crate::model::{Change, Model, SHAPE, Vector, keys};
use nodedb_env::{Env, MemoryFiles, Random, SeededRandom};
use nodedb_vector::{Effort, Error, Options, Search, VectorCollection};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const CHANGES: u64 = 6_000;
/// Searches that must have been compared while changes went on; changes go on until then, however slow the machine.
const SEARCHES: usize = 200;
/// How far back anybody looks.
const BACK: u64 = 300;

struct Shared {
    collection: VectorCollection,
    model: Mutex<Model>,
    is_over: AtomicBool,
    searches: AtomicUsize,
}

impl Shared {
    /// The version of the last change.
    fn change(&self) -> u64 {
        let (random, mut version) = (SeededRandom::new(1), 0);
        let few = || self.searches.load(Ordering::Relaxed) < SEARCHES;
        // Bounded, as searchers may have failed.
        while version < CHANGES || (few() && version < 100 * CHANGES) {
            version += 1;
            let vector: Vector = [(); 4].map(|()| (random.u64() % (1 << 24)) as f32);
            let change =
                Change { version, id: random.u64() % 400, vector: (!random.u64().is_multiple_of(3)).then_some(vector) };
            // The model is held, so that whoever compares sees both or neither.
            let mut model = self.model.lock().unwrap();
            loop {
                let done = match change.vector {
                    Some(vector) => self.collection.insert(change.id, version, vector.as_slice().into()),
                    None => self.collection.delete(change.id, version),
                };
                match done {
                    Err(Error::Busy(_)) => std::thread::yield_now(),
                    other => {
                        other.unwrap();
                        break;
                    }
                }
            }
            model.apply(change);
            drop(model);
            self.collection.raise_since(version.saturating_sub(BACK));
        }
        self.is_over.store(true, Ordering::Release);
        version
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Acquire)
    }

    fn search(&self, seed: u64) {
        let random = SeededRandom::new(seed);
        while self.goes_on() {
            let query: Vector = [(); 4].map(|()| (random.u64() % (1 << 24)) as f32);
            let (at, wanted) = {
                let model = self.model.lock().unwrap();
                let newest = model.log.last().map_or(0, |change| change.version);
                let at = newest - random.u64() % (newest.min(BACK / 3) + 1);
                (at, model.nearest(&query, 5, at))
            };
            let search = Search { at: Some(at), effort: Effort::Exact, ..Search::nearest(5) };
            match self.collection.search(query.as_slice().into(), &search) {
                // It was overtaken: nobody may look at that time any more.
                Err(Error::Invalid(_)) => continue,
                found => {
                    let found = found.unwrap();
                    // Or it is overtaken while it looks.
                    if self.collection.since() <= at {
                        assert_eq!(keys(&found), wanted, "at {at}");
                        self.searches.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

#[test]
fn nobody_disturbs_anybody() {
    let files = MemoryFiles::new();
    let env = || Env { files: Arc::new(files.clone()), ..Env::memory() };
    let mut options =
        Options { shape: SHAPE, seal_threshold: 64, build_threads: 1, merge_factor: 4, ..Options::default() };
    options.graph.ef_construction = 40;
    let collection = VectorCollection::create(env(), Path::new("c"), options).unwrap();
    let shared =
        Shared { collection, model: Mutex::default(), is_over: AtomicBool::new(false), searches: AtomicUsize::new(0) };
    let last = std::thread::scope(|scope| {
        for seed in [2, 3] {
            let shared = &shared;
            scope.spawn(move || shared.search(seed));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while shared.goes_on() {
                    match shared.collection.next_job() {
                        Some(job) => shared.collection.run(job).unwrap(),
                        None => std::thread::yield_now(),
                    }
                }
            });
        }
        scope.spawn(|| {
            while shared.goes_on() {
                let upper = shared.model.lock().unwrap().log.last().map_or(0, |change| change.version);
                match shared.collection.checkpoint(upper) {
                    Ok(()) | Err(Error::Busy(_)) => {}
                    other => other.unwrap(),
                }
            }
        });
        shared.change()
    });
    let searches = shared.searches.load(Ordering::Relaxed);
    assert!(searches >= SEARCHES, "{searches}");
    let Shared { collection, model, .. } = shared;
    let model = model.into_inner().unwrap();
    collection.settle().unwrap();
    assert_eq!(collection.entries(None).unwrap(), model.keys(last));
    collection.checkpoint(last).unwrap();
    assert_eq!(collection.scrub().unwrap(), Some(vec![]));
    drop(collection);
    let opened = VectorCollection::open(env(), Path::new("c"), |_| {}).unwrap();
    assert!(opened.quarantined.is_empty());
    assert_eq!(opened.collection.entries(None).unwrap(), model.keys(last));
}
