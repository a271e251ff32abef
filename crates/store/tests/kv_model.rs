//! The trees against a map of all versions, and against damage.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "clippy does not know helpers of tests as tests")]
#![allow(clippy::panic, reason = "as above")]

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nodedb_base::{Error, Lsn};
use nodedb_store::kv::{Range, TreeId, TreeOptions, Trees};

/// A small generator of our own, so that a seed names a run for ever.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Small blocks and tables, so that a few thousand entries fill several levels.
fn small_options() -> TreeOptions {
    TreeOptions {
        cache_bytes: 1 << 20,
        block_bytes: 1 << 10,
        table_bytes: 8 << 10,
        restart_interval: 4,
        hash_ratio: 0.75,
        ..TreeOptions::default()
    }
}

type Owned = (TreeId, Vec<u8>, Option<Vec<u8>>);
type Versions = BTreeMap<u64, Option<Vec<u8>>>;
type Plain = (Vec<u8>, u64, Vec<u8>);

#[derive(Debug, Default)]
#[allow(dead_code, reason = "printed")]
struct Counts {
    operations: u64,
    flushes: u64,
    compactions: u64,
    ingestions: u64,
    reopenings: u64,
    replayed: u64,
    drops: u64,
    gets: u64,
    scans: u64,
    scanned: u64,
    verifies: u64,
    differences: u64,
}

struct Model {
    seed: u64,
    dice: Dice,
    trees: Trees,
    dir: Option<tempfile::TempDir>,
    versions: BTreeMap<(TreeId, Vec<u8>), Versions>,
    prefixes: Vec<[u8; 4]>,
    dropped: BTreeMap<[u8; 4], u64>,
    next_prefix: u32,
    lsn: u64,
    low_water: u64,
    /// Commits since the last flush, and those between it and the flush before.
    log: Vec<(u64, Vec<Owned>)>,
    older_log: Vec<(u64, Vec<Owned>)>,
    held: Vec<(Range, VecDeque<Plain>, u64)>,
    counts: Counts,
}

impl Model {
    fn new(seed: u64, in_files: bool) -> Self {
        let dir = in_files.then(|| tempfile::tempdir().unwrap());
        let trees = match &dir {
            Some(dir) => Trees::create(&dir.path().join("trees"), &small_options()).unwrap(),
            None => Trees::memory(),
        };
        let mut model = Self {
            seed,
            dice: Dice(seed),
            trees,
            dir,
            versions: BTreeMap::new(),
            prefixes: Vec::new(),
            dropped: BTreeMap::new(),
            next_prefix: 7,
            lsn: 0,
            low_water: 0,
            log: Vec::new(),
            older_log: Vec::new(),
            held: Vec::new(),
            counts: Counts::default(),
        };
        for _ in 0..4 {
            model.add_prefix();
        }
        model
    }

    fn add_prefix(&mut self) -> [u8; 4] {
        self.next_prefix += 1;
        let prefix = self.next_prefix.to_be_bytes();
        self.prefixes.push(prefix);
        prefix
    }

    fn differ(&mut self, what: &str) {
        self.counts.differences += 1;
        println!("seed {} operation {} lsn {}: {what}", self.seed, self.counts.operations, self.lsn);
        assert!(self.counts.differences < 20, "too many differences");
    }

    fn tree(&mut self) -> TreeId {
        match self.dice.below(10) {
            0..5 => TreeId::Rows,
            5..8 => TreeId::Keys,
            8 => TreeId::Large,
            _ => TreeId::Catalog,
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let mut key = self.prefixes[self.dice.below(self.prefixes.len() as u64) as usize].to_vec();
        let n = self.dice.below(400) as u16;
        key.extend_from_slice(&n.to_be_bytes()[(n < 40).into()..]);
        if n.is_multiple_of(7) {
            key.resize(30, n as u8);
        }
        key
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        if self.dice.one_in(4) {
            return None;
        }
        let length = if self.dice.one_in(50) { self.dice.below(3000) } else { self.dice.below(60) };
        let byte = self.dice.next() as u8;
        Some((0..length).map(|i| byte.wrapping_add(i as u8)).collect())
    }

    fn write(&mut self) -> Owned {
        (self.tree(), self.key(), self.value())
    }

    fn commit(&mut self, writes: Vec<Owned>) {
        self.lsn += 1;
        self.apply(self.lsn, &writes);
        for (tree, key, value) in &writes {
            self.versions.entry((*tree, key.clone())).or_default().insert(self.lsn, value.clone());
        }
        self.log.push((self.lsn, writes));
    }

    fn apply(&self, lsn: u64, writes: &[Owned]) {
        if let [(tree, key, value)] = writes {
            self.trees.write(*tree, key, value.as_deref(), Lsn(lsn)).unwrap();
            return;
        }
        let writes = writes.iter().map(|(tree, key, value)| (*tree, key.as_slice(), value.as_deref()));
        self.trees.apply(Lsn(lsn), writes).unwrap();
    }

    /// Whether a key belongs to an incarnation that was dropped, seen from `at`: nobody asks for those.
    fn is_hidden(&self, key: &[u8], at: u64) -> bool {
        key.first_chunk::<4>().and_then(|prefix| self.dropped.get(prefix)).is_some_and(|&dropped| dropped <= at)
    }

    fn step(&mut self) {
        self.counts.operations += 1;
        match self.dice.below(1000) {
            0..480 => {
                let write = self.write();
                self.commit(vec![write]);
            }
            480..520 => self.batch(),
            520..800 => self.get(),
            800..940 => self.newest(),
            940..970 => self.scan(),
            970..980 => self.hold(),
            980..995 => self.read_held(),
            _ => self.rare(),
        }
    }

    fn batch(&mut self) {
        let mut writes: Vec<_> = (0..self.dice.below(12)).map(|_| self.write()).collect();
        for _ in 0..writes.len() / 3 {
            let (again, value) = (writes[self.dice.below(writes.len() as u64) as usize].clone(), self.value());
            writes.push((again.0, again.1, value));
        }
        self.commit(writes);
    }

    fn rare(&mut self) {
        match self.dice.below(400) {
            0..100 => self.flush(),
            100..200 => self.compact(),
            200..230 => self.ingest(),
            230..245 => self.drop_prefix(),
            245..248 => self.compact_fully(),
            248..260 => self.reopen(),
            260..270 => {
                self.trees.rotate().unwrap();
            }
            270..272 => {
                self.trees.verify().unwrap();
                self.counts.verifies += 1;
            }
            _ => self.move_low_water(),
        }
    }

    fn flush(&mut self) {
        let flushed = self.trees.flush().unwrap();
        if self.trees.memtable_bytes() != 0 {
            self.differ("bytes are left in memtables");
        }
        assert!(flushed.0 <= self.lsn);
        self.older_log = std::mem::take(&mut self.log);
        self.counts.flushes += 1;
    }

    fn move_low_water(&mut self) {
        let ahead = self.lsn - self.low_water;
        // Often all the way, or nearly, so that the filter has work; the trees learn of it with the next compaction.
        self.low_water += match self.dice.below(4) {
            0 => ahead,
            1 => ahead.saturating_sub(1 + self.dice.below(30)),
            _ => self.dice.below(ahead + 1),
        };
        let (low_water, dropped) = (self.low_water, self.dropped.clone());
        self.versions.retain(|(tree, key), versions| {
            let needed = versions.range(..=low_water).next_back().map(|version| *version.0);
            *versions = versions.split_off(&needed.unwrap_or(0));
            !(tree.has_incarnations() && dropped.get(&key[..4]).is_some_and(|&dropped| dropped <= low_water))
        });
        if self.dir.is_none() {
            self.held.retain(|held| held.2 >= low_water);
        }
    }

    fn compact(&mut self) {
        for _ in 0..8 {
            self.counts.compactions += 1;
            if !self.trees.compact(Lsn(self.low_water)).unwrap() {
                break;
            }
        }
    }

    fn compact_fully(&mut self) {
        self.trees.compact_fully(Lsn(self.low_water)).unwrap();
        self.counts.compactions += 1;
        self.older_log = std::mem::take(&mut self.log);
        for (prefix, dropped) in self.dropped.clone() {
            if dropped <= self.low_water && self.trees.holds_incarnation(prefix).unwrap() {
                self.differ("a dropped incarnation is still there");
            }
        }
    }

    fn ingest(&mut self) {
        let tree = self.tree();
        let prefix = self.dice.one_in(2).then(|| self.add_prefix());
        let mut entries = BTreeMap::new();
        for _ in 0..self.dice.below(400) {
            let mut key = self.key();
            if let Some(prefix) = prefix {
                key[..4].copy_from_slice(&prefix);
            }
            entries.insert(key, self.value().unwrap_or_default());
        }
        self.lsn += 1;
        self.trees.ingest(tree, &entries, Lsn(self.lsn)).unwrap();
        self.counts.ingestions += 1;
        for (key, value) in entries {
            self.versions.entry((tree, key)).or_default().insert(self.lsn, Some(value));
        }
        // What is older must not be replayed any more.
        self.log.clear();
        self.older_log.clear();
    }

    fn drop_prefix(&mut self) {
        if self.prefixes.len() < 3 {
            self.add_prefix();
        }
        let prefix = self.prefixes.swap_remove(self.dice.below(self.prefixes.len() as u64) as usize);
        self.lsn += 1;
        self.dropped.insert(prefix, self.lsn);
        self.trees.drop_incarnation(prefix, Lsn(self.lsn));
        self.counts.drops += 1;
    }

    fn reopen(&mut self) {
        let Some(dir) = &self.dir else { return };
        let dir = dir.path().join("trees");
        self.held.clear();
        if self.dice.one_in(4) {
            self.trees.close().unwrap();
            assert!(matches!(self.trees.get(TreeId::Rows, b"x", Lsn::MAX), Err(Error::Closed(_))));
            self.older_log = std::mem::take(&mut self.log);
        }
        self.trees = Trees::memory();
        self.trees = Trees::open(&dir, &small_options()).unwrap();
        for (prefix, dropped) in &self.dropped {
            self.trees.drop_incarnation(*prefix, Lsn(*dropped));
        }
        self.counts.reopenings += 1;
        self.replay();
    }

    /// What a log does after a crash: it gives all that was not flushed, and often more.
    fn replay(&mut self) {
        let mut log = if self.dice.one_in(2) { std::mem::take(&mut self.older_log) } else { Vec::new() };
        log.append(&mut self.log);
        let is_upset = self.dice.one_in(3);
        for (lsn, writes) in log {
            self.apply(lsn, &writes);
            self.counts.replayed += 1;
            if is_upset && self.dice.one_in(200) {
                self.trees.flush().unwrap();
                self.trees.compact(Lsn(self.low_water)).unwrap();
            }
            self.log.push((lsn, writes));
        }
        self.older_log.clear();
    }

    fn any_lsn(&mut self) -> u64 {
        match self.dice.below(4) {
            0 => self.lsn,
            1 => self.low_water,
            _ => self.low_water + self.dice.below(self.lsn - self.low_water + 1),
        }
    }

    fn get(&mut self) {
        let (tree, key, at) = (self.tree(), self.key(), self.any_lsn());
        self.counts.gets += 1;
        let asked = if at == self.lsn && self.dice.one_in(2) { Lsn::MAX } else { Lsn(at) };
        let got = self.trees.get(tree, &key, asked).unwrap().map(|(lsn, value)| (lsn.0, value.to_vec()));
        let wanted = self.versions.get(&(tree, key.clone())).and_then(|versions| version_at(versions, at));
        if got != wanted {
            self.differ(&format!("get {tree:?} {key:?} at {at}: {got:?} instead of {wanted:?}"));
        }
    }

    fn newest(&mut self) {
        let (tree, key) = (self.tree(), self.key());
        self.counts.gets += 1;
        let got = self.trees.newest(tree, &key).unwrap().map(|lsn| lsn.0);
        let newest = self.versions.get(&(tree, key.clone())).and_then(|versions| versions.last_key_value());
        let may_be_forgotten = newest.is_some_and(|(lsn, value)| value.is_none() && *lsn <= self.low_water);
        let wanted = newest.map(|version| *version.0);
        if got != wanted && !(got.is_none() && may_be_forgotten) {
            self.differ(&format!("newest {tree:?} {key:?}: {got:?} instead of {wanted:?}"));
        }
    }

    fn bound(&mut self) -> Bound<Vec<u8>> {
        match self.dice.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        }
    }

    /// A range, what it should give, and the Lsn it is at.
    fn start_scan(&mut self) -> (Range, VecDeque<Plain>, u64) {
        let (tree, lower, upper, at) = (self.tree(), self.bound(), self.bound(), self.any_lsn());
        let (low, high) = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        let range = self.trees.range(tree, low, high, Lsn(at)).unwrap();
        let is_inside = |key: &[u8]| {
            (match low {
                Bound::Included(low) => key >= low,
                Bound::Excluded(low) => key > low,
                Bound::Unbounded => true,
            }) && match high {
                Bound::Included(high) => key <= high,
                Bound::Excluded(high) => key < high,
                Bound::Unbounded => true,
            }
        };
        let wanted = self.versions.range((tree, Vec::new())..).take_while(|((other, _), _)| *other == tree);
        let wanted = wanted.filter(|((_, key), _)| is_inside(key) && !self.is_hidden(key, at));
        let wanted = wanted
            .filter_map(|((_, key), versions)| version_at(versions, at).map(|(lsn, value)| (key.clone(), lsn, value)));
        let wanted = wanted.collect();
        (range, wanted, at)
    }

    /// One entry from either end, passing over what is dropped.
    fn pull(&self, range: &mut Range, from_back: bool, at: u64) -> Option<Plain> {
        loop {
            let entry = if from_back { range.next_back() } else { range.next() };
            let (key, lsn, value) = entry?.unwrap();
            if !self.is_hidden(&key, at) {
                return Some((key.to_vec(), lsn.0, value.to_vec()));
            }
        }
    }

    fn scan(&mut self) {
        let (mut range, mut wanted, at) = self.start_scan();
        self.counts.scans += 1;
        let (mut left, manner) = (wanted.len() + 1, self.dice.below(3));
        if self.dice.one_in(2) {
            left = left.min(1 + self.dice.below(60) as usize);
        }
        for _ in 0..left {
            let from_back = manner == 1 || (manner == 2 && self.dice.one_in(2));
            self.compare(&mut range, &mut wanted, from_back, at);
        }
    }

    fn compare(&mut self, range: &mut Range, wanted: &mut VecDeque<Plain>, from_back: bool, at: u64) {
        let got = self.pull(range, from_back, at);
        let expected = if from_back { wanted.pop_back() } else { wanted.pop_front() };
        self.counts.scanned += 1;
        if got != expected {
            self.differ(&format!("scan at {at}, from back {from_back}: {got:?} instead of {expected:?}"));
        }
    }

    fn hold(&mut self) {
        if self.held.len() < 5 {
            let scan = self.start_scan();
            self.held.push(scan);
        }
    }

    fn read_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.dice.below(self.held.len() as u64) as usize;
        let (mut range, mut wanted, lsn) = self.held.swap_remove(at);
        for _ in 0..self.dice.below(40) {
            let from_back = self.dice.one_in(2);
            self.compare(&mut range, &mut wanted, from_back, lsn);
        }
        if !wanted.is_empty() {
            self.held.push((range, wanted, lsn));
        }
    }

    fn run(mut self, operations: u64) -> Counts {
        for _ in 0..operations {
            self.step();
        }
        for _ in 0..20 {
            self.scan();
        }
        self.counts
    }
}

fn version_at(versions: &Versions, at: u64) -> Option<(u64, Vec<u8>)> {
    let (lsn, value) = versions.range(..=at).next_back()?;
    Some((*lsn, value.clone()?))
}

#[test]
fn files_answer_like_the_model() {
    for seed in 1..=4 {
        assert_eq!(Model::new(seed, true).run(25_000).differences, 0);
    }
}

#[test]
fn memory_answers_like_the_model() {
    for seed in 1..=4 {
        assert_eq!(Model::new(seed, false).run(25_000).differences, 0);
    }
}

#[test]
#[ignore = "takes minutes"]
fn five_million_operations() {
    for (seed, in_files) in [(100, true), (101, true), (102, true), (103, true), (104, false)] {
        let counts = Model::new(seed, in_files).run(1_000_000);
        println!("seed {seed}, in files {in_files}: {counts:?}");
        assert_eq!(counts.differences, 0);
    }
}

#[test]
fn a_read_below_the_low_water_mark_is_refused() {
    let trees = Trees::memory();
    trees.compact(Lsn(5)).unwrap();
    assert!(matches!(trees.get(TreeId::Rows, b"k", Lsn(4)), Err(Error::Internal(_))));
    assert!(trees.range(TreeId::Rows, Bound::Unbounded, Bound::Unbounded, Lsn(4)).is_err());
    assert!(trees.get(TreeId::Rows, b"k", Lsn(5)).is_ok());
}

#[test]
fn a_range_may_outlive_its_trees_on_another_thread() {
    fn check<T: Send + 'static>(range: T) -> T {
        range
    }
    let dir = tempfile::tempdir().unwrap();
    for trees in [Trees::create(dir.path(), &small_options()).unwrap(), Trees::memory()] {
        trees.write(TreeId::Rows, b"k", Some(b"x"), Lsn(1)).unwrap();
        let range = check(trees.range(TreeId::Rows, Bound::Unbounded, Bound::Unbounded, Lsn(1)).unwrap());
        drop(trees);
        assert_eq!(range.count(), 1);
    }
}

#[test]
fn misuse_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let trees = Trees::create(dir.path(), &small_options()).unwrap();
    for trees in [&trees, &Trees::memory()] {
        assert!(trees.write(TreeId::Rows, b"", Some(b"x"), Lsn(1)).is_err());
        assert!(matches!(trees.write(TreeId::Rows, &[1; 70_000], None, Lsn(1)), Err(Error::Limit(_))));
        assert!(trees.ingest(TreeId::Rows, [(b"b", b"1"), (b"a", b"2")], Lsn(2)).is_err());
        assert!(trees.ingest(TreeId::Rows, [(b"a", b"1"), (b"a", b"2")], Lsn(2)).is_err());
        assert_eq!(trees.range(TreeId::Rows, Bound::Included(b"z"), Bound::Excluded(b"a"), Lsn(9)).unwrap().count(), 0);
        assert_eq!(trees.get(TreeId::Rows, b"", Lsn(9)).unwrap(), None);
    }
    trees.write(TreeId::Rows, b"k", Some(b"x"), Lsn(7)).unwrap();
    assert!(trees.write(TreeId::Rows, b"k", Some(b"x"), Lsn(6)).is_err());
    assert!(trees.ingest(TreeId::Rows, [(b"k", b"y")], Lsn(6)).is_err());
    assert!(Trees::create(dir.path(), &small_options()).is_err());
}

#[test]
fn the_largest_and_smallest_sizes_survive() {
    let dir = tempfile::tempdir().unwrap();
    let trees = Trees::create(dir.path(), &small_options()).unwrap();
    let (key, value) = (vec![7; 65_535], vec![9; 3 << 20]);
    trees.write(TreeId::Large, &key, Some(&value), Lsn(1)).unwrap();
    trees.write(TreeId::Large, &[0], Some(&[]), Lsn(2)).unwrap();
    for _ in 0..2 {
        assert_eq!(trees.get(TreeId::Large, &key, Lsn(1)).unwrap().unwrap().1.len(), value.len());
        assert_eq!(trees.get(TreeId::Large, &[0], Lsn::MAX).unwrap().unwrap().1.len(), 0);
        assert_eq!(trees.get(TreeId::Large, &[0], Lsn(1)).unwrap(), None);
        trees.compact_fully(Lsn(0)).unwrap();
    }
}

#[test]
fn one_writer_one_caretaker_and_readers_agree() {
    const KEYS: u32 = 50;
    let dir = tempfile::tempdir().unwrap();
    let trees = Trees::create(dir.path(), &small_options()).unwrap();
    let (published, low_water, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let keys: Vec<_> = (0..KEYS).map(|key| key.to_be_bytes().repeat(3)).collect();
    let read = || {
        let at = published.load(Ordering::Acquire);
        let range = match trees.range(TreeId::Rows, Bound::Unbounded, Bound::Unbounded, Lsn(at)) {
            Ok(range) => range,
            // We were asleep for two thousand commits.
            Err(_) if low_water.load(Ordering::Acquire) > at => return,
            Err(error) => panic!("{error}"),
        };
        let seen: Vec<_> = range.map(|entry| entry.unwrap().1.0).collect();
        assert_eq!(seen, vec![at; if at == 0 { 0 } else { keys.len() }]);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for lsn in 1..=4_000_u64 {
                let value = lsn.to_le_bytes().repeat(4);
                trees.apply(Lsn(lsn), keys.iter().map(|key| (TreeId::Rows, &key[..], Some(&value[..])))).unwrap();
                published.store(lsn, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                trees.flush().unwrap();
                let mark = published.load(Ordering::Acquire).saturating_sub(2_000);
                low_water.store(mark, Ordering::Release);
                while trees.compact(Lsn(mark)).unwrap() {}
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    read();
                }
            });
        }
    });
}

/// Trees with a few tables in two levels, a manifest, and nothing in memtables; with what they hold.
fn sample(dir: &Path) -> Vec<(TreeId, Plain)> {
    let trees = Trees::create(dir, &small_options()).unwrap();
    let mut dice = Dice(5);
    for lsn in 1..=3_000_u64 {
        let tree = TreeId::ALL[dice.below(4) as usize];
        let key = (dice.below(1_000) as u32).to_be_bytes().repeat(2);
        let value = vec![lsn as u8; dice.below(120) as usize];
        trees.write(tree, &key, (lsn % 5 > 0).then_some(&value), Lsn(lsn)).unwrap();
        if lsn % 700 == 0 {
            trees.flush().unwrap();
        }
        if lsn == 1_500 {
            trees.compact_fully(Lsn(lsn)).unwrap();
        }
    }
    trees.flush().unwrap();
    contents(&trees).unwrap()
}

fn contents(trees: &Trees) -> Result<Vec<(TreeId, Plain)>, Error> {
    let mut all = Vec::new();
    for tree in TreeId::ALL {
        for entry in trees.range(tree, Bound::Unbounded, Bound::Unbounded, Lsn::MAX)? {
            let (key, lsn, value) = entry?;
            let got = trees.get(tree, &key, Lsn::MAX)?;
            assert_eq!(got, Some((lsn, value.clone())));
            all.push((tree, (key.to_vec(), lsn.0, value.to_vec())));
        }
    }
    Ok(all)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
    found.sort();
}

struct Damage {
    _dir: tempfile::TempDir,
    sound: PathBuf,
    spoilt: PathBuf,
    contents: Vec<(TreeId, Plain)>,
    at_open: u64,
    at_read: u64,
    at_verify: u64,
    harmless: u64,
}

impl Damage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (sound, spoilt) = (dir.path().join("sound"), dir.path().join("spoilt"));
        let contents = sample(&sound);
        assert!(contents.len() > 1_000);
        Self { _dir: dir, sound, spoilt, contents, at_open: 0, at_read: 0, at_verify: 0, harmless: 0 }
    }

    fn files(&self, part: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        files_below(&self.sound, &mut files);
        let files: Vec<_> = files.into_iter().map(|path| path.strip_prefix(&self.sound).unwrap().to_owned()).collect();
        files.into_iter().filter(|path| path.to_str().unwrap().contains(part)).collect()
    }

    /// Spoils a copy of a file; then the trees must say so, at the latest when they are verified, or be unharmed.
    /// Whatever happens, nothing that was there may be deleted when the opening fails.
    fn spoil(&mut self, file: &Path, spoil: impl Fn(&Path)) {
        let _ = std::fs::remove_dir_all(&self.spoilt);
        copy(&self.sound, &self.spoilt);
        spoil(&self.spoilt.join(file));
        let (mut before, mut after) = (Vec::new(), Vec::new());
        files_below(&self.spoilt, &mut before);
        let trees = match Trees::open(&self.spoilt, &small_options()) {
            Ok(trees) => trees,
            Err(error) => {
                assert!(matches!(error, Error::Damaged(_)), "{}: {error:?}", file.display());
                files_below(&self.spoilt, &mut after);
                assert_eq!(before, after, "something was deleted");
                self.at_open += 1;
                return;
            }
        };
        let verified = trees.verify();
        match contents(&trees) {
            Ok(contents) => assert!(contents == self.contents, "{}: a wrong answer", file.display()),
            Err(error) => {
                assert!(matches!(error, Error::Damaged(_)), "{}: {error:?}", file.display());
                assert!(verified.is_err(), "a reader sees what verify does not");
                self.at_read += 1;
                return;
            }
        }
        match verified {
            Ok(_) => self.harmless += 1,
            Err(error) => {
                assert!(matches!(error, Error::Damaged(_)), "{}: {error:?}", file.display());
                self.at_verify += 1;
            }
        }
    }

    fn flip(&mut self, file: &Path, at: usize, bit: u8) {
        self.spoil(file, |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[at] ^= 1 << bit;
            std::fs::write(path, bytes).unwrap();
        });
    }

    fn report(&self, what: &str) {
        let Self { at_open, at_read, at_verify, harmless, .. } = self;
        println!("{what}: {at_open} found at open, {at_read} on reading, {at_verify} by verify, {harmless} harmless");
    }
}

#[test]
fn damage_to_manifests_is_found_at_open() {
    let mut damage = Damage::new();
    let mut dice = Dice(6);
    let file = damage.files("rows/current").pop().unwrap();
    for at in 0..25 {
        let bit = dice.below(8) as u8;
        damage.flip(&file, at, bit);
    }
    for file in damage.files("/v") {
        let length = std::fs::metadata(damage.sound.join(&file)).unwrap().len();
        for _ in 0..60 {
            let (at, bit) = (dice.below(length) as usize, dice.below(8) as u8);
            damage.flip(&file, at, bit);
        }
    }
    let manifests: Vec<_> = damage.files("/v").into_iter().chain(damage.files("current")).collect();
    for file in &manifests {
        damage.spoil(file, |path| std::fs::remove_file(path).unwrap());
        for part in [0, 1, 2] {
            damage.spoil(file, |path| {
                let bytes = std::fs::read(path).unwrap();
                std::fs::write(path, &bytes[..bytes.len() * part / 3]).unwrap();
            });
        }
        damage.spoil(file, |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes.push(0);
            std::fs::write(path, &bytes).unwrap();
        });
    }
    for tree in ["rows", "keys", "large", "catalog"] {
        damage.spoil(Path::new(tree), |path| std::fs::remove_dir_all(path).unwrap());
        damage.spoil(&Path::new(tree).join("tables"), |path| std::fs::remove_dir_all(path).unwrap());
    }
    damage.report("manifests");
    assert_eq!((damage.at_read, damage.at_verify, damage.harmless), (0, 0, 0));
    damage.spoil(Path::new("rows"), |_| {});
    assert_eq!(damage.harmless, 1);
}

#[test]
fn damage_to_tables_is_found_by_verify_at_the_latest() {
    let mut damage = Damage::new();
    let mut dice = Dice(7);
    let tables = damage.files("/tables/");
    assert!(tables.len() > 8);
    for file in &tables {
        let length = std::fs::metadata(damage.sound.join(file)).unwrap().len();
        for round in 0..8 {
            // Half of them at the end, where filters, indexes and tables of contents lie.
            let at = if round % 2 == 0 { dice.below(length) } else { length - 1 - dice.below(length.min(1_200)) };
            let bit = dice.below(8) as u8;
            damage.flip(file, at as usize, bit);
        }
        let at = dice.below(length) as usize;
        damage.spoil(file, |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[at] ^= 1;
            bytes.iter_mut().skip(at).take(512).for_each(|byte| *byte = 0);
            std::fs::write(path, bytes).unwrap();
        });
        for length in [0, 10, at] {
            damage.spoil(file, |path| {
                let bytes = std::fs::read(path).unwrap();
                std::fs::write(path, &bytes[..length]).unwrap();
            });
        }
        damage.spoil(file, |path| std::fs::remove_file(path).unwrap());
    }
    let (first, other) = (tables[0].clone(), tables[1].file_name().unwrap().to_owned());
    damage.spoil(&first, |path| {
        std::fs::copy(path.with_file_name(&other), path).unwrap();
    });
    damage.report("tables");
    assert_eq!(damage.harmless, 0);
}

#[test]
fn verify_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let trees = Trees::open(dir.path(), &small_options()).unwrap();
    assert!(trees.verify().unwrap().tables > 8);
    let mut files = Vec::new();
    files_below(&dir.path().join("keys/tables"), &mut files);
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    let error = trees.verify().unwrap_err();
    assert!(matches!(error, Error::Damaged(_)));
    assert!(error.to_string().contains(files[0].to_str().unwrap()), "{error}");
}
