//! Opening and closing: the directory, the lock, recovery, and the thread that flushes and compacts.
//!
//! ```text
//! DIR/LOCK              held by the process that has the database open
//! DIR/FORMAT            what this directory is; written last, so that it tells a creation that was finished
//! DIR/CREATING          a creation that was not
//! DIR/db/<id>/CHECKPOINT, log/, trees/
//! ```

use crate::background::Background;
use crate::catalog::{Catalog, FIRST_DATABASE};
use crate::checkpoint::{Checkpoint, read_checked, write_checked};
use crate::commit::{Committer, apply};
use crate::kv::{TreeId as Tree, TreeOptions, Trees};
use crate::log::{FileLog, LogOptions, LogReader};
use crate::log_holds::{LogHold, LogHolds};
use crate::row_ids::RowIds;
use crate::snapshot::{self, Mark, Snapshot, Snapshots};
use crate::transaction::{Transaction, TransactionOptions};
use crate::{StoreOptions, keys};
use nodedb_base::{Batch, Error, Lsn, Reader, Result, Writer};
use nodedb_env::{Env, Lock};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const FORMAT_MAGIC: &[u8; 8] = b"NodeDB\0\0";
const FORMAT_VERSION: u32 = 1;

/// A store that is open.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    background: Background,
    closed: AtomicBool,
    lock: Held,
}

/// Held until the store is closed.
struct Held(Mutex<Option<Box<dyn Lock>>>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LOCK")
    }
}

/// What the parts of an open store share.
#[derive(Debug)]
pub struct Shared {
    pub(crate) env: Env,
    pub(crate) options: StoreOptions,
    pub(crate) trees: Arc<Trees>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) committer: Committer,
    pub(crate) row_ids: Arc<RowIds>,
    reader: LogReader,
    dir: PathBuf,
    database: u64,
    kind: TreesKind,
    flushed: Mutex<Lsn>,
    log_holds: Arc<LogHolds>,
    checkpoints: AtomicU64,
}

/// Where the trees are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreesKind {
    /// In files beside the log.
    Files,
    /// In memory, rebuilt from the log at each opening; so the log is never cut. For tests of the log.
    Rebuilt,
    /// In memory, for a database that is never reopened.
    Volatile,
}

/// Figures of an open store.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreStats {
    /// Those of the trees.
    pub trees: crate::kv::TreeStats,
    /// Checkpoints since the opening.
    pub checkpoints: u64,
    /// Bytes of log that are kept.
    pub log_bytes: u64,
    /// Log segments made since the opening.
    pub log_segments: u64,
    /// The newest commit.
    pub last: Lsn,
    /// The least Lsn that can be read.
    pub low_water: Lsn,
}

impl Store {
    /// Opens the store in `dir`, or makes one there.
    ///
    /// # Errors
    /// `Closed` (55006) if another process has it open; `Damaged`, `Io`.
    pub fn open(env: Env, dir: &Path, options: StoreOptions) -> Result<Self> {
        Self::open_with(env, dir, TreesKind::Files, options)
    }

    /// A store in memory, which goes with its last handle.
    ///
    /// # Errors
    /// `Io` if a thread cannot be started.
    pub fn memory(options: StoreOptions) -> Result<Self> {
        let options = StoreOptions { segment_bytes: options.segment_bytes.min(1 << 20), ..options };
        Self::open_with(Env::memory(), Path::new("/nodedb"), TreesKind::Volatile, options)
    }

    /// [`Store::open`] with trees of another kind.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(env: Env, dir: &Path, kind: TreesKind, options: StoreOptions) -> Result<Self> {
        make_dir(&env, dir)?;
        let lock = take_lock(&env, dir)?;
        let database = prepare(&env, dir, kind, &options)?;
        let shared = Arc::new(Shared::recover(env, dir, database, kind, options)?);
        let background = Background::start(shared.clone())?;
        let lock = Held(Mutex::new(Some(lock)));
        let store = Self { shared, background, closed: AtomicBool::new(false), lock };
        end_unpublished(&store.shared)?;
        Ok(store)
    }

    /// Starts a transaction.
    ///
    /// # Errors
    /// `Statement` (72000, 22023) if it wants to read a state that is not there.
    pub fn begin(&self, options: TransactionOptions) -> Result<Transaction> {
        Transaction::begin(self.shared.clone(), options)
    }

    /// What others may read of the log.
    #[must_use]
    pub fn log(&self) -> LogReader {
        self.shared.reader.clone()
    }

    /// Keeps the log from an Lsn on, for a reader that has made durable what is below it.
    #[must_use]
    pub fn hold_log(&self, from: Lsn) -> LogHold {
        self.shared.log_holds.hold(from)
    }

    /// The committer.
    #[must_use]
    pub fn committer(&self) -> &Committer {
        &self.shared.committer
    }

    /// The newest commit.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.shared.snapshots.published()
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.shared.stats()
    }

    /// The least Lsn that can be read.
    #[must_use]
    pub fn low_water(&self) -> Lsn {
        self.shared.snapshots.low_water()
    }

    /// The oldest state that a transaction or a commit under way holds.
    #[must_use]
    pub fn oldest_pin(&self) -> Option<Lsn> {
        self.shared.snapshots.oldest_pin()
    }

    /// Verifies every checksum of the trees' files and of the log, and that each entry of the catalogue can be read.
    ///
    /// # Errors
    /// `Damaged` names the first file that is not what was written.
    pub fn verify(&self) -> Result<crate::kv::VerifyReport> {
        let shared = &self.shared;
        let _quiet = shared.committer.between_groups();
        let report = shared.trees.verify()?;
        if shared.kind == TreesKind::Files {
            crate::log::check(&*shared.env.files, &shared.dir.join("log"), shared.database)?;
        }
        shared.load_catalog(shared.snapshots.published())?;
        Ok(report)
    }

    /// Flushes, writes a checkpoint and compacts as far as it is worth while.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn checkpoint(&self) -> Result<()> {
        self.shared.checkpoint()?;
        self.shared.compact()
    }

    /// The directory for files that queries need for a while.
    #[must_use]
    pub fn temporary_dir(&self) -> PathBuf {
        self.shared.dir.join("tmp")
    }

    /// The directory of derived indexes.
    #[must_use]
    pub fn index_dir(&self) -> PathBuf {
        self.shared.dir.join("index")
    }

    /// Ends all work and writes what is still in memory. What was acknowledged is safe with or without it. Others
    /// may open the directory after this, even if transactions of this store are still about: all they do fails.
    ///
    /// # Errors
    /// `Io`; the next opening then replays the log.
    pub fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.background.stop();
        let poisoned = self.shared.committer.poisoned().is_some();
        let checkpoint = if poisoned { Ok(()) } else { self.shared.checkpoint() };
        // A checkpoint that somebody else asks for now finds the trees closed.
        let _last = self.shared.flushed.lock();
        let log = self.shared.committer.close();
        let trees = self.shared.trees.close();
        drop(self.lock.0.lock().take());
        checkpoint.and(log).and(trees)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(e) = self.close() {
            tracing::warn!(error = %e, "closing failed; the next opening replays the log");
        }
    }
}

/// What a load that was cut off has left behind goes.
fn end_unpublished(shared: &Arc<Shared>) -> Result<()> {
    let catalog = shared.committer.catalog();
    if catalog.loading().is_empty() {
        return Ok(());
    }
    let mut tx = Transaction::begin(shared.clone(), TransactionOptions::default())?;
    let ended = catalog.loading().iter().flat_map(|life| {
        [(keys::life(keys::LOADING, *life), None), (keys::life(keys::ENDED, *life), Some(Vec::new()))]
    });
    tx.define(ended.collect())?;
    tx.commit().map(|_| ())
}

/// Makes the directory. Its name, too, and those of the parents that were made with it, must outlive a power cut.
fn make_dir(env: &Env, dir: &Path) -> Result<()> {
    let files = &*env.files;
    let io = |e: std::io::Error| Error::io(format_args!("make directory {}", dir.display()), &e);
    let mut made = Vec::new();
    for ancestor in dir.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        if files.exists(ancestor).map_err(io)? {
            break;
        }
        made.push(ancestor);
    }
    files.create_dir_all(dir).map_err(io)?;
    let parents = made.into_iter().filter_map(Path::parent);
    parents.into_iter().try_for_each(|parent| files.sync_dir(parent)).map_err(io)
}

fn take_lock(env: &Env, dir: &Path) -> Result<Box<dyn Lock>> {
    env.files.try_lock(&dir.join("LOCK")).map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => {
            Error::closed("55006", format!("database {} is open in another process", dir.display()))
                .with_hint("Close it there, or connect to that process.")
        }
        _ => Error::io(format_args!("lock {}", dir.display()), &e),
    })
}

/// Makes what is missing, and gives the database's number.
fn prepare(env: &Env, dir: &Path, kind: TreesKind, options: &StoreOptions) -> Result<u64> {
    let files = &*env.files;
    let io = |doing: &str, e: &std::io::Error| Error::io(format_args!("{doing} in {}", dir.display()), e);
    let exists = |name: &str| files.exists(&dir.join(name)).map_err(|e| io("look", &e));
    if exists("FORMAT")? {
        if exists("CREATING")? {
            files.remove(&dir.join("CREATING")).map_err(|e| io("clean up", &e))?;
        }
        return read_format(env, dir);
    }
    if exists("db")? {
        if !exists("CREATING")? {
            return Err(Error::damaged(format!("file {} is missing", dir.join("FORMAT").display())));
        }
        files.remove_dir_all(&dir.join("db")).map_err(|e| io("clean up", &e))?;
    }
    create(env, dir, kind, options)
}

fn create(env: &Env, dir: &Path, kind: TreesKind, options: &StoreOptions) -> Result<u64> {
    let files = &env.files;
    let io = |e: std::io::Error| Error::io(format_args!("make a database in {}", dir.display()), &e);
    files.write_atomically(&dir.join("CREATING"), &[]).map_err(io)?;
    let database = env.random.u64();
    let home = home(dir);
    for sub in ["log", "trees"] {
        files.create_dir_all(&home.join(sub)).map_err(io)?;
    }
    FileLog::create(files.clone(), &home.join("log"), database, log_options(options))?.close()?;
    if kind == TreesKind::Files {
        Trees::create(&home.join("trees"), &tree_options(options))?.close()?;
    }
    Checkpoint { database, ..Checkpoint::default() }.write(&**files, &home.join("CHECKPOINT"))?;
    for made in [home.as_path(), &dir.join("db"), dir] {
        files.sync_dir(made).map_err(io)?;
    }
    let mut w = Writer::new();
    w.raw(FORMAT_MAGIC);
    w.u32(FORMAT_VERSION);
    w.u64(database);
    write_checked(&**files, &dir.join("FORMAT"), w)?;
    files.remove(&dir.join("CREATING")).map_err(io)?;
    files.sync_dir(dir).map_err(io)?;
    Ok(database)
}

fn read_format(env: &Env, dir: &Path) -> Result<u64> {
    let path = dir.join("FORMAT");
    let bytes = read_checked(&*env.files, &path)?;
    let mut r = Reader::new(&bytes, "FORMAT file");
    if r.raw(FORMAT_MAGIC.len())? != FORMAT_MAGIC {
        return Err(r.damaged("this is not a NodeDB database"));
    }
    let version = r.u32()?;
    if version != FORMAT_VERSION {
        let message = format!("database {} has format {version}, this program reads {FORMAT_VERSION}", dir.display());
        return Err(Error::statement("0A000", message).with_hint("Export it with the program that wrote it."));
    }
    let database = r.u64()?;
    r.end()?;
    Ok(database)
}

fn home(dir: &Path) -> PathBuf {
    dir.join("db").join(FIRST_DATABASE.to_string())
}

const fn log_options(options: &StoreOptions) -> LogOptions {
    LogOptions { segment_bytes: options.segment_bytes }
}

fn tree_options(options: &StoreOptions) -> TreeOptions {
    TreeOptions { cache_bytes: options.cache_bytes, memtable_bytes: options.memtable_bytes, ..TreeOptions::default() }
}

impl Shared {
    fn recover(env: Env, dir: &Path, database: u64, kind: TreesKind, options: StoreOptions) -> Result<Self> {
        let home = home(dir);
        let checkpoint = Checkpoint::read(&*env.files, &home.join("CHECKPOINT"))?;
        if checkpoint.database != database {
            return Err(Error::damaged("the checkpoint file is that of another database"));
        }
        let trees = match kind {
            TreesKind::Files => Trees::open(&home.join("trees"), &tree_options(&options))?,
            TreesKind::Rebuilt | TreesKind::Volatile => Trees::memory(),
        };
        let mut marks: VecDeque<Mark> = checkpoint.marks.iter().copied().collect();
        let mut time = checkpoint.time;
        let replay = &mut |record: crate::log::Record| {
            time = record.time.max(time);
            snapshot::note(&mut marks, Mark { time, lsn: record.lsn });
            apply(&trees, record.lsn, &Batch::decode(&record.payload)?)
        };
        let (after, witness) = (checkpoint.flushed, checkpoint.last);
        let log_dir = home.join("log");
        let (log, found) =
            FileLog::open(env.files.clone(), &log_dir, database, after, witness, log_options(&options), replay)?;
        tracing::info!(last = %found.last, replayed = found.records, cut_bytes = found.cut_bytes, "opened the log");
        let trees = Arc::new(trees);
        let snapshots = Arc::new(Snapshots::new(found.last, checkpoint.low_water, marks));
        let catalog = load_catalog(&trees, found.last)?;
        let row_ids = Arc::new(load_row_ids(&trees, found.last)?);
        drop_ended(&trees, found.last)?;
        let reader = log.reader();
        let committer = Committer::new(
            (log, time),
            trees.clone(),
            snapshots.clone(),
            row_ids.clone(),
            catalog,
            env.clock.clone(),
            &options,
        );
        let (flushed, checkpoints) = (Mutex::new(checkpoint.flushed), AtomicU64::new(0));
        let dir = home;
        Ok(Self {
            env,
            options,
            trees,
            snapshots,
            committer,
            row_ids,
            reader,
            dir,
            database,
            kind,
            flushed,
            log_holds: Arc::default(),
            checkpoints,
        })
    }

    /// The definitions as of a snapshot.
    pub(crate) fn catalog_at(&self, snapshot: &Snapshot) -> Result<Arc<Catalog>> {
        let newest = self.committer.catalog();
        if newest.lsn() <= snapshot.lsn() {
            return Ok(newest);
        }
        self.load_catalog(snapshot.lsn()).map(Arc::new)
    }

    fn load_catalog(&self, lsn: Lsn) -> Result<Catalog> {
        load_catalog(&self.trees, lsn)
    }

    fn stats(&self) -> StoreStats {
        let state = self.committer.between_groups();
        StoreStats {
            trees: self.trees.stats(),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            log_bytes: state.log.as_ref().map_or(0, FileLog::bytes),
            log_segments: state.log.as_ref().map_or(0, FileLog::segments_created),
            last: self.snapshots.published(),
            low_water: self.snapshots.low_water(),
        }
    }

    /// Flushes the memtables, writes the checkpoint file, raises the low-water mark and cuts the log.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        // One at a time: the file must never go back.
        let mut flushed = self.flushed.lock();
        let lsn = self.trees.flush()?;
        self.committer.notify_room();
        if self.kind != TreesKind::Rebuilt {
            *flushed = lsn.max(*flushed);
        }
        let (low_water, marks) = self.snapshots.plan(self.env.clock.now(), self.options.retention);
        let last = self.snapshots.published();
        let time = self.committer.time();
        let checkpoint = Checkpoint { database: self.database, flushed: *flushed, low_water, last, time, marks };
        checkpoint.write(&*self.env.files, &self.dir.join("CHECKPOINT"))?;
        self.snapshots.announce(low_water);
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        let mut state = self.committer.between_groups();
        let Some(log) = state.log.as_mut() else { return Ok(()) };
        log.cut(self.log_holds.cut_below(flushed.next(), log.bytes(), self.options.log_cap_bytes))
    }

    /// Merges tables as long as there is something to merge.
    pub(crate) fn compact(&self) -> Result<()> {
        while self.trees.compact(self.snapshots.low_water())? {}
        Ok(())
    }
}

fn load_catalog(trees: &Trees, lsn: Lsn) -> Result<Catalog> {
    let entries = trees.range(Tree::Catalog, Bound::Unbounded, Bound::Unbounded, lsn)?;
    let definitions = entries.map(|entry| entry.map(|(key, _, value)| (key.to_vec(), value.to_vec())));
    Catalog::load(lsn, definitions)
}

/// Tells the trees of the lives that have ended.
fn drop_ended(trees: &Trees, last: Lsn) -> Result<()> {
    let range = crate::view::KeyRange::prefix(keys::ENDED);
    let (lower, upper) = (range.lower.as_ref().map(Vec::as_slice), range.upper.as_ref().map(Vec::as_slice));
    for entry in trees.range(Tree::Catalog, lower, upper, last)? {
        let (key, at, _) = entry?;
        if let Some(life) = key.get(1..).and_then(|rest| rest.first_chunk::<4>()) {
            trees.drop_incarnation(*life, at);
        }
    }
    Ok(())
}

fn load_row_ids(trees: &Trees, lsn: Lsn) -> Result<RowIds> {
    let range = crate::view::KeyRange::prefix(keys::ROW_BOUNDS);
    let (lower, upper) = (range.lower.as_ref().map(Vec::as_slice), range.upper.as_ref().map(Vec::as_slice));
    let keys: Result<Vec<_>> =
        trees.range(Tree::Catalog, lower, upper, lsn)?.map(|entry| entry.map(|(key, ..)| key.to_vec())).collect();
    Ok(RowIds::load(keys?.into_iter()))
}
