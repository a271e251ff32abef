//! The ordered trees of a database: a handful of maps from key to versions, where a version is named by the
//! commit ([`Lsn`]) that wrote it.
//!
//! [`Trees::open`] keeps them in files (log-structured merge trees), [`Trees::memory`] keeps them in memory, for
//! places that have no files. Both answer alike. Durability is not their business: what [`Trees::flush`] has
//! returned is in synced files; everything later is replayed by the caller from the log.
//!
//! # The rules for the caller
//! - Within a tree, writes come in the order of their Lsns. Replaying a suffix of the log over trees that hold part
//!   of it already is allowed, once after [`Trees::open`] and before anybody reads.
//! - One commit is one call of [`Trees::apply`], so that no memtable is sealed in the midst of a commit.
//! - Nobody reads below the low-water mark that was given to [`Trees::compact`]; whoever tries gets an error.
//!   An iterator that was started above the mark may be read on after the mark has passed it.
//!
//! # Locks
//! In the order in which they may be taken, never the other way round:
//! 1. `upkeep`: one flush, compaction or ingestion at a time, for its whole length.
//! 2. `writes`: one commit, or one sealing of all memtables, or the last step of an ingestion.
//! 3. the locks inside the engine; none of them is ever held when one of ours is taken.
//!
//! Reads take none of ours, so a reader never waits for a flush, except for the moment in which the engine
//! installs a new list of tables. What is costly to free (memtables, deleted files) is freed after all locks.
//!
//! The files are described in `docs/format/trees.md`.

mod files;
mod lsm;
mod manifest;
mod memory;

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nodedb_base::{Error, Lsn, Result};

pub use lsm::Bytes;

/// The trees of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TreeId {
    /// Rows, by incarnation and row id.
    Rows,
    /// Key indexes, by incarnation and key.
    Keys,
    /// Values that lie out of line, by incarnation.
    Large,
    /// The catalogue. Its keys carry no incarnation.
    Catalog,
}

impl TreeId {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Rows, Self::Keys, Self::Large, Self::Catalog];

    /// The name of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Keys => "keys",
            Self::Large => "large",
            Self::Catalog => "catalog",
        }
    }

    /// Whether the first four bytes of its keys are an incarnation, which [`Trees::drop_incarnation`] can drop.
    #[must_use]
    pub const fn has_incarnations(self) -> bool {
        !matches!(self, Self::Catalog)
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// How the trees are laid out and how much memory they use. The defaults are measured; see `docs/format/trees.md`.
///
/// All of them may differ from one opening to the next: files keep what they were written with.
#[derive(Clone, Debug)]
pub struct TreeOptions {
    /// Memory for blocks that were read, shared by all trees. Filters and indexes of the upper levels come on top.
    pub cache_bytes: u64,
    /// How much may lie in memtables before [`Trees::wants_flush`] says so.
    pub memtable_bytes: u64,
    /// The size of a data block.
    pub block_bytes: u32,
    /// Every so many entries of a data block, a whole key is stored instead of its difference to the one before.
    pub restart_interval: u8,
    /// Buckets of the hash index of a data block, per entry; 0 leaves the index out.
    pub hash_ratio: f32,
    /// Bits of bloom filter per key, on all levels.
    pub bloom_bits: f32,
    /// The size of a table file.
    pub table_bytes: u64,
    /// How many unsorted runs a tree gathers before they are merged.
    pub l0_runs: u8,
    /// How many table files are kept open.
    pub open_files: usize,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            memtable_bytes: 24 << 20,
            block_bytes: 8 << 10,
            restart_interval: 8,
            hash_ratio: 0.75,
            bloom_bits: 10.0,
            table_bytes: 64 << 20,
            l0_runs: 4,
            open_files: 256,
        }
    }
}

/// What one commit does to one key: the tree, the key, and the new value, or `None` to delete it.
pub type Write<'a> = (TreeId, &'a [u8], Option<&'a [u8]>);

/// A key, the commit that wrote it, and its value.
pub type Entry = (Bytes, Lsn, Bytes);

/// What has happened since the trees were opened, and what there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeStats {
    /// Memtables written to tables.
    pub flushes: u64,
    /// Merges and moves of tables.
    pub compactions: u64,
    /// Sorted loads.
    pub ingestions: u64,
    /// Bytes of tables written by all three.
    pub bytes_written: u64,
    /// Tables.
    pub tables: u64,
    /// Their bytes.
    pub disk_bytes: u64,
    /// The largest number of unsorted runs in a tree. Far above [`TreeOptions::l0_runs`], compaction lags behind.
    pub l0_runs: u64,
    /// What [`Trees::memtable_bytes`] says.
    pub memtable_bytes: u64,
}

/// What [`Trees::verify`] has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Tables whose every byte was checked.
    pub tables: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Debug)]
enum Engine {
    Files(Box<files::Files>),
    Memory(memory::Memory),
}

/// The ordered trees of a database. Shared by reference between one writer, one caretaker and many readers.
#[derive(Debug)]
pub struct Trees {
    engine: Engine,
    low_water: AtomicU64,
    memtable_budget: u64,
}

macro_rules! both {
    ($self:ident, $engine:ident => $call:expr) => {
        match &$self.engine {
            Engine::Files($engine) => $call,
            Engine::Memory($engine) => $call,
        }
    };
}

impl Trees {
    /// Makes empty trees in `dir`, which must not hold any.
    pub fn create(dir: &Path, options: &TreeOptions) -> Result<Self> {
        Ok(Self::with(Engine::Files(Box::new(files::Files::create(dir, options)?)), options))
    }

    /// Opens the trees in `dir`. Nothing is read as a tree, made or deleted before the manifests and the ends of
    /// all table files have been found to be what was written.
    pub fn open(dir: &Path, options: &TreeOptions) -> Result<Self> {
        Ok(Self::with(Engine::Files(Box::new(files::Files::open(dir, options)?)), options))
    }

    /// Empty trees without files.
    #[must_use]
    pub fn memory() -> Self {
        Self::with(Engine::Memory(memory::Memory::default()), &TreeOptions::default())
    }

    const fn with(engine: Engine, options: &TreeOptions) -> Self {
        Self { engine, low_water: AtomicU64::new(0), memtable_budget: options.memtable_bytes }
    }

    /// Writes (`Some`) or deletes (`None`) one key: a commit of its own, or a part of one that touches no key twice.
    pub fn write(&self, tree: TreeId, key: &[u8], value: Option<&[u8]>, lsn: Lsn) -> Result<()> {
        self.apply(lsn, [(tree, key, value)])
    }

    /// Writes a whole commit. No memtable is sealed in its midst; of several writes to one key the last wins.
    /// If it fails, a part of the commit may have been written, and the trees are to be opened anew.
    pub fn apply<'a>(&self, lsn: Lsn, writes: impl IntoIterator<Item = Write<'a>>) -> Result<()> {
        both!(self, engine => engine.apply(lsn, writes))
    }

    /// The newest version of a key at or below `at`, with the commit that wrote it. `None` if it was deleted.
    pub fn get(&self, tree: TreeId, key: &[u8], at: Lsn) -> Result<Option<(Lsn, Bytes)>> {
        self.check_low_water(at)?;
        both!(self, engine => engine.get(tree, key, at))
    }

    /// The commit that last wrote or deleted a key. (`None` too if the key was deleted, and compaction has since
    /// forgotten it.)
    pub fn newest(&self, tree: TreeId, key: &[u8]) -> Result<Option<Lsn>> {
        both!(self, engine => engine.newest(tree, key))
    }

    /// The live entries between two keys, as they were at `at`, from both ends. After an error it is at its end.
    ///
    /// The bytes of an entry are a slice of the block that holds it; whoever keeps a few for long copies them.
    pub fn range(&self, tree: TreeId, lower: Bound<&[u8]>, upper: Bound<&[u8]>, at: Lsn) -> Result<Range> {
        self.check_low_water(at)?;
        Ok(Range(match &self.engine {
            Engine::Files(files) => Scan::Files(files.range(tree, lower, upper, at)?),
            Engine::Memory(memory) => Scan::Memory(memory.range(tree, lower, upper, at)),
        }))
    }

    fn check_low_water(&self, at: Lsn) -> Result<()> {
        let low_water = self.low_water.load(Ordering::Acquire);
        if at.0 >= low_water {
            return Ok(());
        }
        Err(Error::internal(format!("a read at commit {at}, but versions are only kept from commit {low_water} on")))
    }

    fn raise_low_water(&self, low_water: Lsn) {
        self.low_water.fetch_max(low_water.0, Ordering::AcqRel);
    }

    /// Bytes in memtables that have not been flushed.
    #[must_use]
    pub fn memtable_bytes(&self) -> u64 {
        both!(self, engine => engine.memtable_bytes())
    }

    /// Whether the memtables have outgrown [`TreeOptions::memtable_bytes`].
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        self.memtable_bytes() >= self.memtable_budget
    }

    /// Seals the memtables of all trees at one point, for [`Trees::flush`] to write. Cheap. Gives the last commit
    /// that was applied before (0 if there was none since the opening).
    pub fn rotate(&self) -> Result<Lsn> {
        both!(self, engine => engine.rotate())
    }

    /// Seals the memtables and writes all sealed ones to synced tables. Every commit up to and including the one
    /// it gives need not be replayed any more (0 if none was applied since the opening).
    pub fn flush(&self) -> Result<Lsn> {
        both!(self, engine => engine.flush())
    }

    /// One step of compaction in each tree. Versions that nobody at or above `low_water` can see are dropped where
    /// the step meets them. Whether anything was done, so that another step may be worth while.
    pub fn compact(&self, low_water: Lsn) -> Result<bool> {
        self.raise_low_water(low_water);
        both!(self, engine => engine.compact(low_water))
    }

    /// Flushes, then rewrites every tree as one sorted run and drops all that nobody at or above `low_water` can see.
    pub fn compact_fully(&self, low_water: Lsn) -> Result<()> {
        self.raise_low_water(low_water);
        both!(self, engine => engine.compact_fully(low_water))
    }

    /// Loads entries in strictly ascending order of their keys as one commit, past the memtables, and syncs them.
    ///
    /// The whole load appears at once. When this returns, everything the tree was given before is flushed as well.
    /// After a crash, no older write to one of these keys may be replayed: so load only keys of a new incarnation,
    /// or move the point where replay starts past `lsn` first.
    pub fn ingest<K, V>(&self, tree: TreeId, entries: impl IntoIterator<Item = (K, V)>, lsn: Lsn) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        both!(self, engine => engine.ingest(tree, entries, lsn))
    }

    /// Lets compactions drop every entry whose key begins with `prefix`, once their low-water mark has reached
    /// `dropped_at`. Nobody may read the prefix at or above that commit, nor write it again. To be told again
    /// after every opening, until [`Trees::holds_incarnation`] says that nothing is left.
    pub fn drop_incarnation(&self, prefix: [u8; 4], dropped_at: Lsn) {
        both!(self, engine => engine.drop_incarnation(prefix, dropped_at));
    }

    /// Whether a tree still holds any version, deletes included, under a prefix.
    pub fn holds_incarnation(&self, prefix: [u8; 4]) -> Result<bool> {
        both!(self, engine => engine.holds_incarnation(prefix))
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> TreeStats {
        both!(self, engine => engine.stats())
    }

    /// Reads every byte of every manifest and table and compares it with its checksum. The error names the file.
    pub fn verify(&self) -> Result<VerifyReport> {
        both!(self, engine => engine.verify())
    }

    /// Flushes; afterwards every call fails.
    pub fn close(&self) -> Result<()> {
        both!(self, engine => engine.close())
    }
}

/// The entries of a [`Trees::range`].
#[derive(Debug)]
pub struct Range(Scan);

#[derive(Debug)]
enum Scan {
    Files(files::Scan),
    Memory(memory::Scan),
}

impl Iterator for Range {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Scan::Files(scan) => scan.next(),
            Scan::Memory(scan) => scan.next(),
        }
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Scan::Files(scan) => scan.next_back(),
            Scan::Memory(scan) => scan.next_back(),
        }
    }
}

/// Whether nothing can lie between two bounds. No engine may be asked for such a range.
fn is_empty_range(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    use Bound::{Excluded, Included, Unbounded};
    match (lower, upper) {
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(low), Included(high)) => low > high,
        (Included(low) | Excluded(low), Included(high) | Excluded(high)) => low >= high,
    }
}

/// Refuses what no engine can hold.
fn check_sizes(key: &[u8], value: Option<&[u8]>) -> Result<()> {
    if key.is_empty() {
        return Err(Error::internal("an empty key was to be stored"));
    }
    if key.len() > usize::from(u16::MAX) {
        return Err(Error::limit("54000", "a key has more than 65535 bytes"));
    }
    match value {
        Some(value) if u32::try_from(value.len()).is_ok_and(|length| length < 1 << 30) => Ok(()),
        Some(_) => Err(Error::limit("54000", "a value has more than a gigabyte")),
        None => Ok(()),
    }
}
