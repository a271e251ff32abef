//! The trees in files, which are log-structured merge trees of the crate that `lsm.rs` wraps.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nodedb_base::{Error, Lsn, Result};
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::lsm::{
    AbstractTree, AnyIngestion, AnyTree, Bytes, Cache, Counter, DescriptorTable, EngineResult, Envelope, Fate, Guard,
    IterGuardImpl, Leveled, Memtable, Rules, Slice, open_tree, prefixes_that_fill_tables, snapshot,
};
use super::manifest::{self, TableFile};
use super::{Entry, TreeId, TreeOptions, TreeStats, VerifyReport, Write, check_sizes, is_empty_range};

/// The engine's manifest counts the runs of a level in a byte and does not notice when they are more.
const MOST_L0_RUNS: usize = 128;

/// One tree, with what the crate must be given beside it.
struct Tree {
    id: TreeId,
    dir: PathBuf,
    inner: AnyTree,
    /// Numbers the lists of tables; see the top of the file.
    counter: Counter,
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
        // Elsewhere a folder cannot be opened, nor need it be.
        if cfg!(unix) {
            let synced = std::fs::File::open(dir).and_then(|folder| folder.sync_all());
            synced.map_err(|error| io_error("sync", dir, &error))?;
        }
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
        let flushed = self.flush().map(|_| ());
        self.fate.is_closed.store(true, Ordering::Release);
        flushed
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
        let counter = Counter::default();
        let rules = Arc::new(Rules::new(id, dropped));
        let inner = open_tree(id, &dir, options, (cache, descriptors), &counter, &rules)?;
        Ok(Self { id, dir, inner, counter, rules })
    }

    /// Forgets old lists of tables, which would keep memtables and deleted files alive. What this frees, the
    /// caller holds on to, since the list is locked here.
    fn forget_old_lists(&self) -> EngineResult<()> {
        self.inner.get_version_history_lock().maintenance(&self.dir, u64::MAX)
    }
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
    fn tracked(&self, tree: &Tree, doing: &str, f: impl FnOnce() -> EngineResult<()>) -> Result<bool> {
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
            did_any |= self.drop_tables(tree)?;
            did_any |= self.compact_tree(tree)?;
        }
        Ok(did_any)
    }

    /// Removes the tables that hold nothing but entries of one dropped incarnation: nothing is written to its keys
    /// any more, so no merge might ever meet them.
    fn drop_tables(&self, tree: &Tree) -> Result<bool> {
        let mut prefixes = tree.rules.droppable();
        if prefixes.is_empty() {
            return Ok(false);
        }
        let filled = self.fate.call(tree.id, "listing tables", || Ok(prefixes_that_fill_tables(&tree.inner)))?;
        prefixes.retain(|prefix| filled.contains(prefix));
        let mut did_any = false;
        for prefix in prefixes {
            let next = u32::from_be_bytes(prefix).checked_add(1).map(u32::to_be_bytes);
            let upper = next.as_ref().map_or(Bound::Unbounded, |next| Bound::Excluded(next.as_slice()));
            let range = (Bound::Included(prefix.as_slice()), upper);
            did_any |= self.tracked(tree, "dropping tables", || tree.inner.drop_range::<&[u8], _>(range))?;
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
    fn finish_load(&self, tree: &Tree, loader: AnyIngestion<'_>, lsn: Lsn) -> Result<()> {
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
