//! The trees in files. The only file that names the crate `lsm_tree`.
//!
//! # What the crate must not be trusted with
//! - *Dropping old versions.* It drops a version by its own number, not by its successor's, so that a snapshot
//!   loses what it still needs. It is always told to keep everything (threshold 0); [`Sweep`] drops instead. So
//!   deletes are values of ours, never tombstones of the crate's, which would pass the filter by.
//! - *Choosing lists of tables by number.* Each tree counts its lists with a private counter that is held at 0, and
//!   old lists are forgotten at once, so that every read sees the newest list, whatever its Lsn.
//! - *Not to panic.* Every call is wrapped; after a panic the trees are closed, since its locks may be poisoned.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::ops::{Bound, Deref};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lsm_tree::compaction::filter::Context;
use lsm_tree::compaction::{CompactionFilter, Factory, ItemAccessor, Leveled, Verdict};
use lsm_tree::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, HashRatioPolicy,
    PinningPolicy, RestartIntervalPolicy,
};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, DescriptorTable, Guard, IterGuardImpl, Memtable,
    SequenceNumberCounter, Slice,
};
use nodedb_base::{Error, Lsn, Reader, Result, Writer};
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::manifest::{self, TableFile};
use super::{Entry, TreeId, TreeOptions, TreeStats, VerifyReport, Write, check_sizes, is_empty_range};

/// The engine's manifest counts the runs of a level in a byte and does not notice when they are more.
const MOST_L0_RUNS: usize = 128;

/// Bytes that share their memory with the block or the memtable that they come from. Cheap to clone.
#[derive(Clone)]
pub struct Bytes {
    slice: Slice,
    /// Where the bytes begin; what is before is the envelope.
    start: usize,
}

impl Bytes {
    /// A copy of `bytes`, which shares nothing.
    #[must_use]
    pub fn copy(bytes: &[u8]) -> Self {
        Self { slice: Slice::from(bytes), start: 0 }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.slice.get(self.start..).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::borrow::Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// What stands before every stored value: which commit wrote it, and whether it is a delete.
#[derive(Clone, Copy)]
struct Envelope {
    lsn: u64,
    is_delete: bool,
}

impl Envelope {
    fn wrap(self, value: &[u8]) -> io::Result<Slice> {
        let mut head = Writer::new();
        head.varint(self.lsn << 1 | u64::from(self.is_delete));
        Slice::from_reader(&mut head.0.as_slice().chain(value), head.0.len() + value.len())
    }

    /// The envelope, and where the value begins.
    fn unwrap(stored: &[u8]) -> Result<(Self, usize)> {
        let mut reader = Reader::new(stored, "stored value");
        let word = reader.varint()?;
        Ok((Self { lsn: word >> 1, is_delete: word & 1 == 1 }, stored.len() - reader.rest().len()))
    }
}

/// Reads are exclusive in the crate: to see commit `at`, ask for the one after it.
const fn snapshot(at: Lsn) -> u64 {
    at.0.saturating_add(1)
}

/// What compactions may drop.
#[derive(Default)]
struct Rules {
    has_incarnations: bool,
    low_water: AtomicU64,
    dropped: Arc<RwLock<BTreeMap<[u8; 4], u64>>>,
}

impl RefUnwindSafe for Rules {}

impl Factory for Rules {
    fn name(&self) -> &'static str {
        "versions"
    }

    fn make_filter(&self, context: &Context) -> Box<dyn CompactionFilter> {
        let low_water = self.low_water.load(Ordering::Acquire);
        let mut dropped = BTreeMap::new();
        if self.has_incarnations {
            dropped.clone_from(&self.dropped.read());
            dropped.retain(|_, dropped_at| *dropped_at <= low_water);
        }
        let is_last_level = context.is_last_level;
        Box::new(Sweep { low_water, dropped, is_last_level, key: None, is_covered: false, is_dropped: false })
    }
}

/// Drops versions that nobody at or above the low-water mark can see.
///
/// It sees the versions of one compaction in the order of their keys, of one key from the newest to the oldest.
/// Versions of a key never become newer from one level to the next, and a compaction takes along whatever its
/// target level holds of its keys. Hence:
/// - Once a version at or below the mark has passed, no older one *in this compaction* is seen by anybody. It may
///   go whatever other levels hold: what is above is newer, what is below stays hidden by the one that passed.
/// - A delete at or below the mark may go at the last level: everything older of its key is in this compaction
///   and goes with it, since nothing is below. At any other level it stays, to hide what is below.
struct Sweep {
    low_water: u64,
    dropped: BTreeMap<[u8; 4], u64>,
    is_last_level: bool,
    key: Option<Slice>,
    is_covered: bool,
    is_dropped: bool,
}

impl Sweep {
    fn enter(&mut self, key: &Slice) {
        self.is_covered = false;
        self.is_dropped = key.first_chunk::<4>().is_some_and(|prefix| self.dropped.contains_key(prefix));
        self.key = Some(key.clone());
    }
}

impl CompactionFilter for Sweep {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> lsm_tree::Result<Verdict> {
        if self.key.as_ref() != Some(item.key()) {
            self.enter(item.key());
        }
        if self.is_covered || self.is_dropped {
            return Ok(Verdict::Destroy);
        }
        let (envelope, _) = Envelope::unwrap(&item.value()?).map_err(|_| lsm_tree::Error::InvalidHeader("value"))?;
        self.is_covered = envelope.lsn <= self.low_water;
        if self.is_covered && envelope.is_delete && self.is_last_level {
            return Ok(Verdict::Destroy);
        }
        Ok(Verdict::Keep)
    }
}

/// One tree, with what the crate must be given beside it.
struct Tree {
    id: TreeId,
    dir: PathBuf,
    inner: AnyTree,
    /// Numbers the lists of tables; see the top of the file.
    counter: SequenceNumberCounter,
    rules: Arc<Rules>,
}

/// What the holder of the lock `writes` may change.
#[derive(Default)]
struct Writes {
    /// The last commit that each tree was given.
    highest: [Lsn; 4],
    /// Keeps sealed memtables alive until they can be freed outside of all locks, where nobody waits for it.
    sealed: Vec<Arc<Memtable>>,
}

impl Writes {
    fn last(&self) -> Lsn {
        self.highest.into_iter().max().unwrap_or_default()
    }
}

/// Figures since the opening.
#[derive(Default)]
struct Counts {
    flushes: AtomicU64,
    compactions: AtomicU64,
    ingestions: AtomicU64,
    bytes_written: AtomicU64,
}

/// Trees in files.
pub struct Files {
    trees: [Tree; 4],
    upkeep: Mutex<()>,
    writes: Mutex<Writes>,
    memtable_bytes: AtomicU64,
    counts: Counts,
    dropped: Arc<RwLock<BTreeMap<[u8; 4], u64>>>,
    fate: Arc<Fate>,
    strategy: Arc<Leveled>,
    table_bytes: u64,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Why the trees can no longer be used, if so.
#[derive(Default)]
struct Fate {
    is_closed: AtomicBool,
    has_panicked: AtomicBool,
    /// A flush or a compaction has failed in a way that leaves open what the disk holds. Reading goes on.
    is_stuck: AtomicBool,
}

impl Fate {
    fn check(&self) -> Result<()> {
        if self.has_panicked.load(Ordering::Acquire) {
            return Err(Error::closed("57P01", "the trees are closed after an internal error; reopen the database"));
        }
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::closed("57P01", "the trees are closed"));
        }
        Ok(())
    }

    fn check_upkeep(&self) -> Result<()> {
        self.check()?;
        if self.is_stuck.load(Ordering::Acquire) {
            return Err(Error::closed("57P01", "an earlier write to the trees has failed; reopen the database"));
        }
        Ok(())
    }

    /// Calls the crate.
    fn call<T>(&self, tree: TreeId, doing: &str, f: impl FnOnce() -> lsm_tree::Result<T>) -> Result<T> {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(result) => result.map_err(|error| foreign(tree, doing, error)),
            Err(panic) => {
                self.has_panicked.store(true, Ordering::Release);
                Err(Error::internal(format!("tree {}: panic while {doing}: {}", tree.name(), message(&*panic))))
            }
        }
    }

    /// Calls the crate to change files. What fails once is not tried again, unless the disk was merely full: a
    /// failed sync may have lost pages that a second one would report as safe.
    fn change<T>(&self, tree: TreeId, doing: &str, f: impl FnOnce() -> lsm_tree::Result<T>) -> Result<T> {
        let result = self.call(tree, doing, f);
        if result.as_ref().is_err_and(|error| error.sqlstate().as_str() != "53100") {
            self.is_stuck.store(true, Ordering::Release);
        }
        result
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn foreign(tree: TreeId, doing: &str, error: lsm_tree::Error) -> Error {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    match error {
        lsm_tree::Error::Io(error) if !matches!(error.kind(), InvalidData | NotFound | UnexpectedEof) => {
            Error::io(format_args!("go on {doing} of tree {}", tree.name()), &error)
        }
        error => Error::damaged(format!("tree {} is damaged, found while {doing}: {error:?}", tree.name())),
    }
}

fn io_error(doing: &str, path: &Path, error: &io::Error) -> Error {
    Error::io(format_args!("{doing} {}", path.display()), error)
}

// Opening and closing.
impl Files {
    pub(super) fn create(dir: &Path, options: &TreeOptions) -> Result<Self> {
        for id in TreeId::ALL {
            if manifest::is_tree(&dir.join(id.name()))? {
                return Err(Error::internal(format!("{} holds a tree already", dir.display())));
            }
        }
        std::fs::create_dir_all(dir).map_err(|error| io_error("make", dir, &error))?;
        let files = Self::start(dir, options)?;
        let synced = std::fs::File::open(dir).and_then(|folder| folder.sync_all());
        synced.map_err(|error| io_error("sync", dir, &error))?;
        Ok(files)
    }

    pub(super) fn open(dir: &Path, options: &TreeOptions) -> Result<Self> {
        for id in TreeId::ALL {
            manifest::check_tree(&dir.join(id.name()))?;
        }
        Self::start(dir, options)
    }

    fn start(dir: &Path, options: &TreeOptions) -> Result<Self> {
        let cache = Arc::new(Cache::with_capacity_bytes(options.cache_bytes));
        let descriptors = Arc::new(DescriptorTable::new(options.open_files));
        let dropped = Arc::default();
        let tree = |id| Tree::open(id, dir.join(TreeId::name(id)), options, &cache, &descriptors, &dropped);
        let strategy =
            Leveled::default().with_table_target_size(options.table_bytes).with_l0_threshold(options.l0_runs);
        let [rows, keys, large, catalog] = TreeId::ALL;
        Ok(Self {
            trees: [tree(rows)?, tree(keys)?, tree(large)?, tree(catalog)?],
            upkeep: Mutex::default(),
            writes: Mutex::default(),
            memtable_bytes: AtomicU64::new(0),
            counts: Counts::default(),
            dropped,
            fate: Arc::default(),
            strategy: Arc::new(strategy),
            table_bytes: options.table_bytes,
        })
    }

    pub(super) fn close(&self) -> Result<()> {
        self.flush()?;
        self.fate.is_closed.store(true, Ordering::Release);
        Ok(())
    }

    fn tree(&self, id: TreeId) -> &Tree {
        let [rows, keys, large, catalog] = &self.trees;
        match id {
            TreeId::Rows => rows,
            TreeId::Keys => keys,
            TreeId::Large => large,
            TreeId::Catalog => catalog,
        }
    }
}

impl Tree {
    fn open(
        id: TreeId,
        dir: PathBuf,
        options: &TreeOptions,
        cache: &Arc<Cache>,
        descriptors: &Arc<DescriptorTable>,
        dropped: &Arc<RwLock<BTreeMap<[u8; 4], u64>>>,
    ) -> Result<Self> {
        let counter = SequenceNumberCounter::default();
        let rules = Rules { has_incarnations: id.has_incarnations(), dropped: Arc::clone(dropped), ..Rules::default() };
        let rules = Arc::new(rules);
        let config = Config::new(&dir, counter.clone(), SequenceNumberCounter::default())
            .use_cache(Arc::clone(cache))
            .use_descriptor_table(Some(Arc::clone(descriptors)))
            .with_compaction_filter_factory(Some(Arc::<Rules>::clone(&rules)));
        // A panic here is not a bug of ours but a file that is not what the crate wrote.
        let inner = match catch_unwind(AssertUnwindSafe(|| layout(config, options).open())) {
            Ok(result) => result.map_err(|error| foreign(id, "opening", error))?,
            Err(panic) => {
                return Err(Error::damaged(format!("tree {} cannot be opened: {}", id.name(), message(&*panic))));
            }
        };
        Ok(Self { id, dir, inner, counter, rules })
    }

    /// Forgets old lists of tables, which would keep memtables and deleted files alive. What this frees, the
    /// caller holds on to, since the list is locked here.
    fn forget_old_lists(&self) -> lsm_tree::Result<()> {
        self.inner.get_version_history_lock().maintenance(&self.dir, u64::MAX)
    }
}

/// Blocks, filters and indexes. Filters and indexes are in memory on all levels; below the third, where there are
/// many, it is only their first level, and the rest goes through the cache.
fn layout(config: Config, options: &TreeOptions) -> Config {
    let bloom = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(options.bloom_bits));
    config
        .data_block_size_policy(BlockSizePolicy::all(options.block_bytes))
        .data_block_restart_interval_policy(RestartIntervalPolicy::all(options.restart_interval))
        .data_block_hash_ratio_policy(HashRatioPolicy::all(options.hash_ratio))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        .index_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        .filter_policy(FilterPolicy::all(bloom))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_pinning_policy(PinningPolicy::all(true))
}

// Writing and reading.
impl Files {
    pub(super) fn apply<'a>(&self, lsn: Lsn, writes: impl IntoIterator<Item = Write<'a>>) -> Result<()> {
        self.fate.check()?;
        let mut state = self.writes.lock();
        for (id, key, value) in writes {
            check_sizes(key, value)?;
            state.advance(id, lsn)?;
            let envelope = Envelope { lsn: lsn.0, is_delete: value.is_none() };
            let tree = self.tree(id);
            let added = self.fate.call(id, "writing", || {
                let stored = envelope.wrap(value.unwrap_or_default())?;
                Ok(tree.inner.insert(key, stored, lsn.0).0)
            })?;
            self.memtable_bytes.fetch_add(added, Ordering::AcqRel);
        }
        Ok(())
    }

    pub(super) fn get(&self, id: TreeId, key: &[u8], at: Lsn) -> Result<Option<(Lsn, Bytes)>> {
        let Some((envelope, value)) = self.find(id, key, at)? else { return Ok(None) };
        Ok((!envelope.is_delete).then_some((Lsn(envelope.lsn), value)))
    }

    pub(super) fn newest(&self, id: TreeId, key: &[u8]) -> Result<Option<Lsn>> {
        Ok(self.find(id, key, Lsn::MAX)?.map(|(envelope, _)| Lsn(envelope.lsn)))
    }

    fn find(&self, id: TreeId, key: &[u8], at: Lsn) -> Result<Option<(Envelope, Bytes)>> {
        self.fate.check()?;
        let slice = self.fate.call(id, "reading", || self.tree(id).inner.get(key, snapshot(at)))?;
        let Some(slice) = slice else { return Ok(None) };
        let (envelope, start) = Envelope::unwrap(&slice)?;
        Ok(Some((envelope, Bytes { slice, start })))
    }

    pub(super) fn range(&self, id: TreeId, lower: Bound<&[u8]>, upper: Bound<&[u8]>, at: Lsn) -> Result<Scan> {
        self.fate.check()?;
        let (mut scan, fate) = (Scan { tree: id, inner: None, fate: Arc::clone(&self.fate) }, &self.fate);
        if !is_empty_range(lower, upper) {
            let bounds = (lower, upper);
            let range = || Ok(self.tree(id).inner.range::<&[u8], _>(bounds, snapshot(at), None));
            scan.inner = Some(fate.call(id, "scanning", range)?);
        }
        Ok(scan)
    }

    pub(super) fn memtable_bytes(&self) -> u64 {
        self.memtable_bytes.load(Ordering::Acquire)
    }
}

impl Writes {
    /// A write that is older than one before it would be hidden by it in a scan, but would hide it from a get.
    fn advance(&mut self, tree: TreeId, lsn: Lsn) -> Result<()> {
        let Some(highest) = self.highest.get_mut(tree.index()) else { return Ok(()) };
        if lsn < *highest || lsn.0 > u64::MAX >> 1 {
            return Err(Error::internal(format!("commit {lsn} was applied to {} after {highest}", tree.name())));
        }
        *highest = lsn;
        Ok(())
    }
}

/// A range of a tree in files.
pub struct Scan {
    tree: TreeId,
    inner: Option<Box<dyn DoubleEndedIterator<Item = IterGuardImpl> + Send>>,
    fate: Arc<Fate>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("tree", &self.tree).finish_non_exhaustive()
    }
}

impl Scan {
    fn step(&mut self, from_back: bool) -> Option<Result<(Bytes, Envelope, Bytes)>> {
        let inner = self.inner.as_mut()?;
        let item = self.fate.call(self.tree, "scanning", || {
            let guard = if from_back { inner.next_back() } else { inner.next() };
            guard.map(Guard::into_inner).transpose()
        });
        let (key, slice) = match item {
            Ok(item) => item?,
            Err(error) => return Some(Err(error)),
        };
        Some(Envelope::unwrap(&slice).map(|(envelope, start)| {
            let value = Bytes { slice, start };
            (Bytes { slice: key, start: 0 }, envelope, value)
        }))
    }

    /// The next live entry. An error ends the scan: what the crate gives after one may have gaps.
    fn live(&mut self, from_back: bool) -> Option<Result<Entry>> {
        loop {
            match self.step(from_back)? {
                Ok((_, envelope, _)) if envelope.is_delete => {}
                Ok((key, envelope, value)) => return Some(Ok((key, Lsn(envelope.lsn), value))),
                Err(error) => {
                    self.inner = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.live(false)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.live(true)
    }
}

// Flushes, compactions, loads.
impl Files {
    pub(super) fn rotate(&self) -> Result<Lsn> {
        self.fate.check()?;
        let mut writes = self.writes.lock();
        self.seal(&mut writes)?;
        Ok(writes.last())
    }

    fn seal(&self, writes: &mut Writes) -> Result<()> {
        for tree in &self.trees {
            let memtable = self.fate.call(tree.id, "sealing", || Ok(tree.inner.rotate_memtable()))?;
            writes.sealed.extend(memtable);
        }
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<Lsn> {
        // Declared before the locks, so freed after them.
        let mut freed_late = Vec::new();
        let _upkeep = self.start_upkeep()?;
        let last = {
            let mut writes = self.writes.lock();
            self.seal(&mut writes)?;
            freed_late.append(&mut writes.sealed);
            writes.last()
        };
        self.trees.iter().try_for_each(|tree| self.flush_sealed(tree))?;
        Ok(last)
    }

    fn start_upkeep(&self) -> Result<MutexGuard<'_, ()>> {
        let guard = self.upkeep.lock();
        self.fate.check_upkeep()?;
        Ok(guard)
    }

    /// The caller holds `upkeep`.
    fn flush_sealed(&self, tree: &Tree) -> Result<()> {
        let count = |doing, f: fn(&AnyTree) -> usize| self.fate.call(tree.id, doing, || Ok(f(&tree.inner)));
        if count("looking for memtables", AnyTree::sealed_memtable_count)? == 0 {
            return Ok(());
        }
        if count("counting runs", AnyTree::l0_run_count)? >= MOST_L0_RUNS {
            self.compact_tree(tree)?;
        }
        let mut flushed = 0;
        self.tracked(tree, "flushing", || {
            let lock = tree.inner.get_flush_lock();
            flushed = tree.inner.flush(&lock, 0)?.unwrap_or(0);
            Ok(())
        })?;
        self.memtable_bytes.fetch_sub(flushed, Ordering::AcqRel);
        self.counts.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Runs what may change the list of tables, and tells whether it did. The caller holds `upkeep`.
    fn tracked(&self, tree: &Tree, doing: &str, f: impl FnOnce() -> lsm_tree::Result<()>) -> Result<bool> {
        let mut written = 0;
        let mut is_changed = false;
        self.fate.change(tree.id, doing, || {
            // Held to the end: tables that are no longer needed are deleted when it goes, after all locks.
            let before = tree.inner.current_version();
            tree.counter.set(0);
            f()?;
            tree.counter.set(0);
            tree.forget_old_lists()?;
            let after = tree.inner.current_version();
            is_changed = after.id() != before.id();
            for table in after.iter_tables().filter(|table| before.iter_tables().all(|old| old.id() != table.id())) {
                written += std::fs::metadata(&*table.path)?.len();
            }
            Ok(())
        })?;
        self.counts.bytes_written.fetch_add(written, Ordering::Relaxed);
        Ok(is_changed)
    }

    pub(super) fn compact(&self, low_water: Lsn) -> Result<bool> {
        let _upkeep = self.start_upkeep()?;
        let mut did_any = false;
        for tree in &self.trees {
            tree.rules.low_water.fetch_max(low_water.0, Ordering::AcqRel);
            did_any |= self.compact_tree(tree)?;
        }
        Ok(did_any)
    }

    fn compact_tree(&self, tree: &Tree) -> Result<bool> {
        let strategy = Arc::<Leveled>::clone(&self.strategy);
        let did = self.tracked(tree, "compacting", || tree.inner.compact(strategy, 0))?;
        self.counts.compactions.fetch_add(u64::from(did), Ordering::Relaxed);
        Ok(did)
    }

    pub(super) fn compact_fully(&self, low_water: Lsn) -> Result<()> {
        self.flush()?;
        let _upkeep = self.start_upkeep()?;
        for tree in &self.trees {
            tree.rules.low_water.fetch_max(low_water.0, Ordering::AcqRel);
            if self.fate.call(tree.id, "counting tables", || Ok(tree.inner.table_count()))? > 0 {
                self.tracked(tree, "compacting", || tree.inner.major_compact(self.table_bytes, 0))?;
                self.counts.compactions.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    pub(super) fn ingest<K, V>(&self, id: TreeId, entries: impl IntoIterator<Item = (K, V)>, lsn: Lsn) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        // So that little is left to flush while writers wait.
        self.flush()?;
        let mut freed_late = Vec::new();
        let _upkeep = self.start_upkeep()?;
        let tree = self.tree(id);
        let mut loader = self.fate.call(id, "loading", || tree.inner.ingestion())?;
        let mut last = Vec::new();
        for (key, value) in entries {
            let (key, value) = (key.as_ref(), value.as_ref());
            check_sizes(key, Some(value))?;
            if key <= last.as_slice() {
                return Err(Error::internal("a sorted load is not in order"));
            }
            last.clear();
            last.extend_from_slice(key);
            let envelope = Envelope { lsn: lsn.0, is_delete: false };
            self.fate.change(id, "loading", || loader.write(Slice::from(key), envelope.wrap(value)?))?;
        }
        let mut writes = self.writes.lock();
        writes.advance(id, lsn)?;
        self.seal(&mut writes)?;
        freed_late.append(&mut writes.sealed);
        self.flush_sealed(tree)?;
        self.finish_load(tree, loader, lsn)
    }

    /// Makes a load visible. The caller holds `upkeep` and `writes`, and nothing is in the memtables of the tree:
    /// else the crate would flush them first and use up the number that the load is to get.
    fn finish_load(&self, tree: &Tree, loader: lsm_tree::AnyIngestion<'_>, lsn: Lsn) -> Result<()> {
        self.tracked(tree, "loading", || {
            tree.counter.set(lsn.0);
            loader.finish()?;
            tree.counter.set(0);
            // The list with the load has the load's number, so older reads look for an older list. This makes a
            // list with the same tables and the number 0, so that the others can be forgotten.
            tree.inner.register_tables(&[], None, None, &[], 0)
        })?;
        self.counts.ingestions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn drop_incarnation(&self, prefix: [u8; 4], dropped_at: Lsn) {
        self.dropped.write().insert(prefix, dropped_at.0);
    }

    pub(super) fn holds_incarnation(&self, prefix: [u8; 4]) -> Result<bool> {
        let next = u32::from_be_bytes(prefix).checked_add(1).map(u32::to_be_bytes);
        let upper = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(next.as_slice()));
        for id in TreeId::ALL.into_iter().filter(|id| id.has_incarnations()) {
            let mut scan = self.range(id, Bound::Included(&prefix), upper, Lsn::MAX)?;
            if scan.step(false).transpose()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

// Figures and checks.
impl Files {
    pub(super) fn stats(&self) -> TreeStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = TreeStats {
            flushes: count(&self.counts.flushes),
            compactions: count(&self.counts.compactions),
            ingestions: count(&self.counts.ingestions),
            bytes_written: count(&self.counts.bytes_written),
            memtable_bytes: self.memtable_bytes(),
            ..TreeStats::default()
        };
        for tree in &self.trees {
            let inner = &tree.inner;
            let look = || Ok((inner.table_count(), inner.disk_space(), inner.l0_run_count()));
            // After a panic there is nothing to tell.
            let (tables, bytes, runs) = self.fate.call(tree.id, "counting", look).unwrap_or_default();
            stats.tables += tables as u64;
            stats.disk_bytes += bytes;
            stats.l0_runs = stats.l0_runs.max(runs as u64);
        }
        stats
    }

    pub(super) fn verify(&self) -> Result<VerifyReport> {
        let mut tables: Vec<TableFile> = Vec::new();
        // While these lists are held, no table of theirs is deleted.
        let mut lists = Vec::new();
        {
            let _upkeep = self.start_upkeep()?;
            for tree in &self.trees {
                lists.push(self.fate.call(tree.id, "listing tables", || Ok(tree.inner.current_version()))?);
                tables.extend(manifest::read_manifest(&tree.dir)?);
            }
        }
        let mut report = VerifyReport::default();
        for table in &tables {
            report.bytes += manifest::check_bytes(table)?;
            report.tables += 1;
        }
        drop(lists);
        Ok(report)
    }
}
