//! What the trees in files need of the crate `lsm_tree`. The only file that names it.
//!
//! # What the crate must not be trusted with
//! - *Dropping old versions.* It drops a version by its own number, not by its successor's, so that a snapshot
//!   loses what it still needs. It is always told to keep everything (threshold 0); [`Sweep`] drops instead. So
//!   deletes are values of ours, never tombstones of the crate's, which would pass the filter by.
//! - *Choosing lists of tables by number.* Each tree counts its lists with a private counter that is held at 0, and
//!   old lists are forgotten at once, so that every read sees the newest list, whatever its Lsn.
//! - *Not to panic.* Every call is wrapped; after a panic the trees are closed, since its locks may be poisoned.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lsm_tree::compaction::filter::Context;
use lsm_tree::compaction::{CompactionFilter, Factory, ItemAccessor, Verdict};
use lsm_tree::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, HashRatioPolicy,
    PinningPolicy, RestartIntervalPolicy,
};
use lsm_tree::{CompressionType, Config};
use nodedb_base::{Error, Lsn, Reader, Result, Writer};
use parking_lot::RwLock;

pub(super) use lsm_tree::compaction::Leveled;
pub(super) use lsm_tree::{
    AbstractTree, AnyIngestion, AnyTree, Cache, DescriptorTable, Guard, IterGuardImpl, Memtable, Slice,
};
pub(super) use lsm_tree::{Result as EngineResult, SequenceNumberCounter as Counter};

use super::{TreeId, TreeOptions};

/// Bytes that share their memory with the block or the memtable that they come from. Cheap to clone.
#[derive(Clone)]
pub struct Bytes {
    pub(super) slice: Slice,
    /// Where the bytes begin; what is before is the envelope.
    pub(super) start: usize,
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
pub(super) struct Envelope {
    pub(super) lsn: u64,
    pub(super) is_delete: bool,
}

impl Envelope {
    pub(super) fn wrap(self, value: &[u8]) -> io::Result<Slice> {
        let mut head = Writer::new();
        head.varint(self.lsn << 1 | u64::from(self.is_delete));
        Slice::from_reader(&mut head.0.as_slice().chain(value), head.0.len() + value.len())
    }

    /// The envelope, and where the value begins.
    pub(super) fn unwrap(stored: &[u8]) -> Result<(Self, usize)> {
        let mut reader = Reader::new(stored, "stored value");
        let word = reader.varint()?;
        Ok((Self { lsn: word >> 1, is_delete: word & 1 == 1 }, stored.len() - reader.rest().len()))
    }
}

/// Reads are exclusive in the crate: to see commit `at`, ask for the one after it.
pub(super) const fn snapshot(at: Lsn) -> u64 {
    at.0.saturating_add(1)
}

/// What compactions may drop.
pub(super) struct Rules {
    has_incarnations: bool,
    pub(super) low_water: AtomicU64,
    dropped: Arc<RwLock<BTreeMap<[u8; 4], u64>>>,
}

impl Rules {
    pub(super) fn new(tree: TreeId, dropped: &Arc<RwLock<BTreeMap<[u8; 4], u64>>>) -> Self {
        let (has_incarnations, dropped) = (tree.has_incarnations(), Arc::clone(dropped));
        Self { has_incarnations, low_water: AtomicU64::new(0), dropped }
    }
}

impl RefUnwindSafe for Rules {}

impl Rules {
    /// The incarnations that nobody can see any more.
    pub(super) fn droppable(&self) -> Vec<[u8; 4]> {
        let low_water = self.low_water.load(Ordering::Acquire);
        let dropped = self.dropped.read();
        let gone = dropped.iter().filter(|(_, dropped_at)| self.has_incarnations && **dropped_at <= low_water);
        gone.map(|(prefix, _)| *prefix).collect()
    }
}

/// The incarnations that have a table of their own.
pub(super) fn prefixes_that_fill_tables(tree: &AnyTree) -> BTreeSet<[u8; 4]> {
    let version = tree.current_version();
    let own = version.iter_tables().filter_map(|table| {
        let range = &table.metadata.key_range;
        let first = range.min().first_chunk::<4>()?;
        (range.max().first_chunk::<4>() == Some(first)).then_some(*first)
    });
    own.collect()
}

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
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> EngineResult<Verdict> {
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

/// Why the trees can no longer be used, if so.
#[derive(Default)]
pub(super) struct Fate {
    pub(super) is_closed: AtomicBool,
    has_panicked: AtomicBool,
    /// A flush or a compaction has failed in a way that leaves open what the disk holds. Reading goes on.
    is_stuck: AtomicBool,
}

impl Fate {
    pub(super) fn check(&self) -> Result<()> {
        if self.has_panicked.load(Ordering::Acquire) {
            return Err(Error::closed("57P01", "the trees are closed after an internal error; reopen the database"));
        }
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::closed("57P01", "the trees are closed"));
        }
        Ok(())
    }

    pub(super) fn check_upkeep(&self) -> Result<()> {
        self.check()?;
        if self.is_stuck.load(Ordering::Acquire) {
            return Err(Error::closed("57P01", "an earlier write to the trees has failed; reopen the database"));
        }
        Ok(())
    }

    /// Calls the crate.
    pub(super) fn call<T>(&self, tree: TreeId, doing: &str, f: impl FnOnce() -> EngineResult<T>) -> Result<T> {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(result) => result.map_err(|error| foreign(tree, doing, error)),
            Err(panic) => {
                self.has_panicked.store(true, Ordering::Release);
                Err(Error::internal(format!("tree {}: panic while {doing}: {}", tree.name(), message(&*panic))))
            }
        }
    }

    /// Calls the crate to change files. What fails once is not tried again, unless the disk was merely full: a
    /// failed sync may have lost pages that a second one would report as safe. Damage that a merge has found hinders
    /// no flush.
    pub(super) fn change<T>(&self, tree: TreeId, doing: &str, f: impl FnOnce() -> EngineResult<T>) -> Result<T> {
        let result = self.call(tree, doing, f);
        if matches!(&result, Err(Error::Io(report)) if report.sqlstate.as_str() != "53100") {
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

/// Opens a tree, or makes an empty one where there is none.
pub(super) fn open_tree(
    id: TreeId,
    dir: &Path,
    options: &TreeOptions,
    (cache, descriptors): (&Arc<Cache>, &Arc<DescriptorTable>),
    counter: &Counter,
    rules: &Arc<Rules>,
) -> Result<AnyTree> {
    let config = Config::new(dir, counter.clone(), Counter::default())
        .use_cache(Arc::clone(cache))
        .use_descriptor_table(Some(Arc::clone(descriptors)))
        .with_compaction_filter_factory(Some(Arc::<Rules>::clone(rules)));
    // A panic here is not a bug of ours but a file that is not what the crate wrote.
    match catch_unwind(AssertUnwindSafe(|| layout(config, options).open())) {
        Ok(result) => result.map_err(|error| foreign(id, "opening", error)),
        Err(panic) => Err(Error::damaged(format!("tree {} cannot be opened: {}", id.name(), message(&*panic)))),
    }
}

/// Blocks, filters and indexes. Filters and indexes stay in memory, except where there are many of them: in the
/// levels from the third on (and after a full compaction) it is only their first stage, and the rest is cached.
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
