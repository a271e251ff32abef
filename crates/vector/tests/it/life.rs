//! The life of a collection, at random, against the model.

use crate::model::{Change, Model, SHAPE, Vector, hits, keys};
use nodedb_env::faulty::{Fault, Faults, FaultyFiles};
use nodedb_env::{Env, MemoryFiles, Random, SeededRandom};
use nodedb_vector::{Effort, Error, Filter, JobKind, Opened, Options, Search, VectorCollection};
use std::path::Path;
use std::sync::Arc;

/// What has happened in all sequences.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    seals: usize,
    builds: usize,
    merges: usize,
    kills: usize,
    cuts: usize,
    reopenings: usize,
    checkpoints: usize,
    failures: usize,
    searches: usize,
    wanted: usize,
    found: usize,
}

struct Life {
    random: SeededRandom,
    files: FaultyFiles,
    options: Options,
    collection: Option<VectorCollection>,
    model: Model,
    version: u64,
    since: u64,
    /// Of the last checkpoint that was acknowledged.
    upper: u64,
    /// Of those since then that failed: they may have counted all the same.
    attempted: Vec<u64>,
    totals: Totals,
}

fn env(files: &FaultyFiles) -> Env {
    Env { files: Arc::new(files.clone()), ..Env::memory() }
}

const DIR: &str = "c";

impl Life {
    fn new(seed: u64) -> Self {
        let random = SeededRandom::new(seed);
        let mut options = Options { shape: SHAPE, build_threads: 1, most_frozen: 3, ..Options::default() };
        options.graph.m = 6;
        options.graph.m0 = 12;
        options.graph.ef_construction = 40;
        options.seal_threshold = 32 + (random.u64() % 4 * 32) as usize;
        options.merge_factor = [1, 4, 16][(random.u64() % 3) as usize];
        options.budget = [0, 20_000, 1 << 30][(random.u64() % 3) as usize];
        let files = FaultyFiles::new();
        let collection = VectorCollection::create(env(&files), Path::new(DIR), options).unwrap();
        let (model, attempted, totals) = Default::default();
        let collection = Some(collection);
        Self { random, files, options, collection, model, version: 0, since: 0, upper: 0, attempted, totals }
    }

    fn below(&self, n: u64) -> u64 {
        self.random.u64() % n
    }

    fn vector(&self) -> Vector {
        [(); 4].map(|()| self.below(1 << 24) as f32 / (1 << 24) as f32)
    }

    fn collection(&self) -> &VectorCollection {
        self.collection.as_ref().unwrap()
    }

    /// Makes a change in both. A refusal because of too many frozen parts lets a job run.
    fn change(&mut self) {
        self.version += 1;
        let id = self.below(300);
        let vector = (self.below(4) > 0).then(|| self.vector());
        let change = Change { version: self.version, id, vector };
        self.give(change);
        self.model.apply(change);
    }

    fn give(&mut self, change: Change) -> bool {
        let Change { id, version, vector } = change;
        loop {
            let collection = self.collection();
            let done = match vector {
                Some(vector) => collection.insert(id, version, vector.as_slice().into()),
                None => collection.delete(id, version),
            };
            match done {
                Err(Error::Busy(_)) => _ = self.run_job(),
                other => return other.unwrap(),
            }
        }
    }

    fn run_job(&mut self) -> bool {
        let Some(job) = self.collection().next_job() else { return false };
        let kind = job.kind();
        match self.collection().run(job) {
            Ok(()) => match kind {
                JobKind::Build => self.totals.builds += 1,
                JobKind::Merge => self.totals.merges += 1,
                JobKind::Move => {}
            },
            Err(Error::Io(..)) => self.totals.failures += 1,
            Err(other) => panic!("{other}"),
        }
        true
    }

    fn checkpoint(&mut self) -> bool {
        match self.collection().checkpoint(self.version) {
            Ok(()) => {
                self.upper = self.version;
                self.attempted.clear();
                self.totals.checkpoints += 1;
                true
            }
            Err(Error::Io(..)) => {
                self.totals.failures += 1;
                self.attempted.push(self.version);
                false
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Lets a call fail, once or with all that follow, while jobs and checkpoints run.
    fn fail(&mut self) {
        let at = self.files.calls() + 1 + self.below(30);
        let kinds = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other];
        let fault = Fault { at, kind: kinds[self.below(2) as usize], forever: self.below(2) == 0 };
        self.files.set_faults(Faults { fail: Some(fault), ..Faults::default() });
        for _ in 0..self.below(4) {
            self.run_job();
        }
        self.checkpoint();
        self.files.set_faults(Faults::default());
    }

    /// Kills the process, or cuts the power, perhaps in the middle of a job or a checkpoint; and opens what is left.
    fn crash(&mut self) {
        let is_cut = self.below(2) == 0;
        let seed = self.random.u64();
        if self.below(3) > 0 {
            let at = self.files.calls() + 1 + self.below(40);
            let late_blocks = self.below(2) == 0;
            self.files.set_faults(Faults { freeze_at: Some(at), seed, late_blocks, ..Faults::default() });
            for _ in 0..self.below(3) {
                self.run_job();
            }
            self.checkpoint();
        }
        let left = if is_cut { self.files.power_cut(seed) } else { self.files.image() };
        self.totals.cuts += usize::from(is_cut);
        self.totals.kills += usize::from(!is_cut);
        self.reopen(&left);
    }

    fn reopen(&mut self, left: &MemoryFiles) {
        self.collection = None;
        self.files = FaultyFiles::over(left);
        let opened = VectorCollection::open(env(&self.files), Path::new(DIR), |_| {}).unwrap();
        let Opened { collection, upper, quarantined, missing } = opened;
        assert!(quarantined.is_empty(), "{quarantined:?}");
        assert_eq!(missing, Some(vec![]));
        let attempted = std::mem::take(&mut self.attempted);
        assert!(upper == self.upper || attempted.contains(&upper), "{upper}, not {} or {attempted:?}", self.upper);
        assert_eq!(*collection.options(), self.options);
        self.since = collection.since();
        self.collection = Some(collection);
        self.upper = upper;
        self.totals.reopenings += 1;
        self.check_entries(upper);
        // What came later is given again, and some of what came before, which changes nothing.
        let from = upper.saturating_sub(self.below(20)).max(self.since);
        let again: Vec<Change> = self.model.log.iter().copied().filter(|change| change.version > from).collect();
        for change in again {
            let was_new = self.give(change);
            assert!(!was_new || change.version > upper, "{change:?} was there already");
        }
    }

    fn check_entries(&self, at: u64) {
        assert_eq!(self.collection().entries(Some(at)).unwrap(), self.model.keys(at), "at {at}");
    }

    fn check(&mut self) {
        let at = if self.below(2) == 0 { self.version } else { self.since + self.below(self.version - self.since + 1) };
        self.check_entries(at);
        let (query, k) = (self.vector(), 1 + self.below(12) as usize);
        let wanted = self.model.nearest(&query, k, at);
        let mut search = Search { at: Some(at), effort: Effort::Exact, ..Search::nearest(k) };
        let exact = self.collection().search(query.as_slice().into(), &search).unwrap();
        assert!(exact.is_exact);
        assert_eq!(keys(&exact), wanted, "at {at} of {}", self.version);
        search.effort = Effort::Recall(0.99);
        let found = self.collection().search(query.as_slice().into(), &search).unwrap();
        let seen = self.model.keys(at);
        assert!(keys(&found).iter().all(|key| seen.contains(key)), "something that is not seen at {at}");
        assert_eq!(found.hits.len(), wanted.len());
        self.totals.wanted += wanted.len();
        self.totals.found += hits(&found, &wanted);
        self.totals.searches += 2;
        let odd = |id: u64| id % 3 == 1;
        search.filter = Filter::Passing(&odd);
        let filtered = self.collection().search(query.as_slice().into(), &search).unwrap();
        assert!(filtered.hits.iter().all(|hit| odd(hit.id) && seen.contains(&(hit.id, hit.version))));
        assert_eq!(filtered.hits.len(), seen.iter().filter(|key| odd(key.0)).count().min(k));
        if let Some((id, _)) = seen.first() {
            assert!(self.collection().contains(*id, Some(at)).unwrap());
        }
    }

    fn step(&mut self) {
        match self.below(40) {
            0..=5 => _ = self.run_job(),
            6 | 7 => _ = self.checkpoint(),
            8 => self.fail(),
            9 => self.crash(),
            10 => {
                let left = self.files.image();
                self.reopen(&left);
            }
            11 => {
                self.since = self.since + self.below(self.version - self.since + 1);
                self.collection().raise_since(self.since);
            }
            12 => {
                let again = self.model.log[self.below(self.model.log.len().max(1) as u64) as usize..].first().copied();
                if let Some(change) = again.filter(|change| change.version > self.since) {
                    assert!(!self.give(change), "{change:?} is there already");
                }
            }
            13..=15 => self.check(),
            _ => (0..8).for_each(|_| self.change()),
        }
    }
}

fn live(seed: u64, steps: usize) -> Totals {
    let mut life = Life::new(seed);
    life.change();
    for _ in 0..steps {
        life.step();
    }
    life.collection().settle().unwrap();
    assert!(life.checkpoint());
    life.check();
    let left = life.files.image();
    life.reopen(&left);
    life.check();
    let stats = life.collection().stats();
    life.totals.seals = life.totals.builds + stats.frozen.0;
    life.totals
}

/// Sequences, from `NODEDB_VECTOR_LIVES`; some for each run of the tests, 10,000 as evidence.
#[test]
fn lives() {
    let count: u64 = std::env::var("NODEDB_VECTOR_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let first: u64 = std::env::var("NODEDB_VECTOR_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut sum = Totals::default();
    for seed in first..first + count {
        let lived = std::panic::catch_unwind(|| live(seed, 160));
        let lived = lived.unwrap_or_else(|e| {
            eprintln!("life {seed}");
            std::panic::resume_unwind(e)
        });
        let Totals { seals, builds, merges, kills, cuts, reopenings, checkpoints, failures, searches, wanted, found } =
            lived;
        sum.seals += seals;
        sum.builds += builds;
        sum.merges += merges;
        sum.kills += kills;
        sum.cuts += cuts;
        sum.reopenings += reopenings;
        sum.checkpoints += checkpoints;
        sum.failures += failures;
        sum.searches += searches;
        sum.wanted += wanted;
        sum.found += found;
    }
    let recall = sum.found as f64 / sum.wanted.max(1) as f64;
    println!("{count} lives: {sum:?}, recall {recall:.4}");
    assert!(recall > 0.98, "{recall}");
}
