//! Settings of a database. README lists them with their defaults.

use nodedb_query::EngineOptions;
use nodedb_store::StoreOptions;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a database. They are data; what the database runs on comes in through `Env`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory for everything, in bytes. It is shared out: a quarter to the block cache, a quarter to queries
    /// (which spill to disk beyond), a quarter to derived indexes, a tenth to the writes of one transaction, a
    /// thirty-second to sets of rows that filters gave and one to entries of keys that they read, at most 24 MiB to
    /// memtables; the rest is left to what cannot be counted.
    pub memory: u64,
    /// Memory for data that is in the log only, in bytes; `None` is its share of `memory`.
    pub memtable_bytes: Option<u64>,
    /// Most bytes that one transaction may write; `None` is its share of `memory`.
    pub write_set_bytes: Option<usize>,
    /// How long old versions are kept for reading in the past.
    pub retention: Duration,
    /// Length of a log segment in bytes.
    pub segment_bytes: u64,
    /// How much log may be kept for readers that lag behind, in bytes.
    pub log_cap_bytes: u64,
    /// Threads that one query may use, and that build one graph of vectors; `None` is one for each core.
    pub threads: Option<usize>,
    /// Vectors that an index takes before it builds a graph of them, 32 to 4,194,304.
    pub vector_seal_threshold: usize,
    /// Bytes that a derived index takes in before it is made durable; the log is kept from there on.
    pub index_checkpoint_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        let store = StoreOptions::default();
        Self {
            memory: 1 << 30,
            memtable_bytes: None,
            write_set_bytes: None,
            retention: store.retention,
            segment_bytes: store.segment_bytes,
            log_cap_bytes: store.log_cap_bytes,
            threads: None,
            vector_seal_threshold: 65_536,
            index_checkpoint_bytes: 16 << 20,
        }
    }
}

/// Memtables take no more than this: they are what a killed database replays.
const MAX_MEMTABLE_BYTES: u64 = 24 << 20;

impl Options {
    pub(crate) fn store(&self) -> StoreOptions {
        let write_set = usize::try_from(self.memory / 10).unwrap_or(usize::MAX);
        StoreOptions {
            segment_bytes: self.segment_bytes,
            log_cap_bytes: self.log_cap_bytes,
            memtable_bytes: self.memtable_bytes.unwrap_or((self.memory / 16).min(MAX_MEMTABLE_BYTES)),
            cache_bytes: self.memory / 4,
            retention: self.retention,
            write_set_bytes: self.write_set_bytes.unwrap_or(write_set),
            ..StoreOptions::default()
        }
    }

    pub(crate) fn engine(&self, spill_dir: Option<PathBuf>) -> EngineOptions {
        EngineOptions {
            memory_bytes: usize::try_from(self.memory / 4).unwrap_or(usize::MAX),
            spill_dir,
            threads: self.threads(),
        }
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        usize::try_from(self.memory / 32).unwrap_or(usize::MAX)
    }

    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.unwrap_or_else(cores).max(1)
    }
}
