//! Opening, closing, checking.

use crate::blocking;
use crate::collection::Collection;
use crate::derived::{CheckedIndexes, Derived};
use crate::load::Load;
use crate::options::Options;
use crate::session::{Core, Session};
use crate::table::Table;
use nodedb_base::{Error, Lsn, Result};
use nodedb_env::Env;
use nodedb_index::Indexes;
use nodedb_query::record::{self, CheckedTables};
use nodedb_query::{Engine, Surroundings};
use nodedb_store::{Store, StoreStats, TransactionOptions, TreesKind};
use std::path::Path;
use std::sync::Arc;

/// A database that is open. Cheap to clone; it closes with its last handle.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
}

/// What the sessions of a database share.
#[derive(Debug)]
pub(crate) struct Inner {
    /// Ends before the store does.
    pub derived: Derived,
    pub store: Arc<Store>,
    pub engine: Arc<Engine>,
    pub env: Env,
    pub runtime: Runtime,
}

/// The runtime that statements run on. It is never dropped within another runtime's thread in a blocking way.
#[derive(Debug)]
pub(crate) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    fn new(threads: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("nodedb-query")
            .build()
            .map_err(|e| Error::io("start the threads of queries", &e))?;
        Ok(Self(Some(runtime)))
    }

    /// Where statements are run.
    ///
    /// # Errors
    /// `Closed` if the database is being dropped.
    pub fn handle(&self) -> Result<&tokio::runtime::Handle> {
        let runtime = self.0.as_ref().ok_or_else(|| Error::closed("57P03", "the database is closed"))?;
        Ok(runtime.handle())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What [`Database::check`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Table files whose every byte was compared with its checksum, and their bytes.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Tables, rows and keys that were read and compared.
    pub tables: CheckedTables,
    /// Derived indexes that were compared with the rows.
    pub indexes: CheckedIndexes,
    /// The newest commit.
    pub last: Lsn,
}

impl Database {
    /// Opens the database in a directory, or makes one there.
    ///
    /// # Errors
    /// `Closed` (55006) if another process has it open; `Damaged`, `Io`.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir, Options::default())
    }

    /// [`Database::open`] with settings of your own.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_with(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::open_in(Env::real(), dir.as_ref(), TreesKind::Files, &options)
    }

    /// A database in memory, which goes with its last handle.
    ///
    /// # Errors
    /// `Io` if a thread cannot be started.
    pub fn memory() -> Result<Self> {
        Self::open_in(Env::memory(), Path::new("/nodedb"), TreesKind::Volatile, &Options::default())
    }

    /// A database in a world of your own making, for tests.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_in(env: Env, dir: &Path, kind: TreesKind, options: &Options) -> Result<Self> {
        let store = Store::open_with(env.clone(), dir, kind, options.store())?;
        let spill_dir = match kind {
            TreesKind::Files => Some(prepare_spill(&env, &store)?),
            TreesKind::Rebuilt | TreesKind::Volatile => None,
        };
        let random = env.random.clone();
        let surroundings = Surroundings {
            database: "postgres".into(),
            schema: "public".into(),
            version: format!("NodeDB {}", env!("CARGO_PKG_VERSION")),
            random: Arc::new(move || random.u64()),
        };
        let engine_options = options.engine(spill_dir);
        let runtime = Runtime::new(engine_options.threads)?;
        let (store, indexes) = (Arc::new(store), Arc::new(Indexes::new(options.cache_bytes())));
        let engine = Arc::new(Engine::new(&engine_options, &surroundings, indexes)?);
        let derived = Derived::start(&env, &store, &engine, options)?;
        Ok(Self { inner: Arc::new(Inner { derived, store, engine, env, runtime }) })
    }

    /// A session, asynchronous.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.core())
    }

    /// A session, blocking.
    #[must_use]
    pub fn blocking(&self) -> blocking::Session {
        blocking::Session::new(self.core())
    }

    fn core(&self) -> Core {
        Core::new(self.inner.clone())
    }

    /// Single rows of a table by primary key, each call a transaction of its own. For several in one transaction
    /// there is [`blocking::Session::table`].
    #[must_use]
    pub fn table(&self, name: &str) -> Table<'static> {
        Table::owned(self.blocking(), name)
    }

    /// A collection of JSON documents; it is made if there is none of that name.
    ///
    /// # Errors
    /// `Statement` (42809) if a table of that name is no collection.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        self.collection_with(name, &[])
    }

    /// [`Database::collection`], which is made with columns of their own for some fields: their names and types in SQL.
    ///
    /// # Errors
    /// As [`Database::collection`]; 42703 if it is there without one of them, and what a type's text may be wrong with.
    pub fn collection_with(&self, name: &str, fields: &[(&str, &str)]) -> Result<Collection> {
        Collection::open(self.blocking(), name, fields)
    }

    /// Starts a bulk load into a table, which appears as a whole or not at all.
    ///
    /// # Errors
    /// `Statement` (42P01).
    pub fn load(&self, table: &str) -> Result<Load> {
        Load::start(self.inner.clone(), table)
    }

    /// Verifies every checksum, the continuity of the log, the catalogue, and all keys against their rows and back.
    ///
    /// # Errors
    /// `Damaged` says what and where.
    pub fn check(&self) -> Result<CheckReport> {
        let files = self.inner.store.verify()?;
        let tx = self.inner.store.begin(TransactionOptions { read_only: true, ..TransactionOptions::default() })?;
        let tables = record::check(&self.inner.engine, tx.view())?;
        let indexes = crate::derived::check(self.inner.engine.indexes(), tx.view())?;
        Ok(CheckReport { files: files.tables, bytes: files.bytes, tables, indexes, last: tx.view().lsn() })
    }

    /// Writes what is only in the log into the trees' files, and merges them as far as it is worth while.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn checkpoint(&self) -> Result<()> {
        self.inner.store.checkpoint()
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.inner.store.stats()
    }

    /// The newest commit.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        self.inner.store.last()
    }

    /// Ends all work and writes what is still in memory; every session fails from now on. What was acknowledged is
    /// safe without it, too.
    ///
    /// # Errors
    /// `Io`; the next opening then replays the log.
    pub fn close(self) -> Result<()> {
        self.inner.derived.stop();
        self.inner.store.close()
    }
}

fn prepare_spill(env: &Env, store: &Store) -> Result<std::path::PathBuf> {
    let dir = store.temporary_dir();
    let io = |e: std::io::Error| Error::io(format_args!("prepare {}", dir.display()), &e);
    if env.files.exists(&dir).map_err(io)? {
        env.files.remove_dir_all(&dir).map_err(io)?;
    }
    env.files.create_dir_all(&dir).map_err(io)?;
    Ok(dir)
}
