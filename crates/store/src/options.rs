//! Settings of the store. They are data: what a component is made of comes in through `Env`.

use std::time::Duration;

/// Settings of a store, with the defaults that README lists.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Length of a log segment in bytes.
    pub segment_bytes: u64,
    /// How much log may be kept for readers that lag behind, in bytes.
    pub log_cap_bytes: u64,
    /// Memory for data that is in the log and not yet in the trees' files, in bytes. It bounds what a killed
    /// database replays.
    pub memtable_bytes: u64,
    /// Memory for blocks of the trees' files, in bytes.
    pub cache_bytes: u64,
    /// How long old versions are kept for reading in the past.
    pub retention: Duration,
    /// Most bytes that one transaction may write.
    pub write_set_bytes: usize,
    /// Most commits that share one sync.
    pub group_commits: usize,
    /// Most memory for the ranges that a serializable transaction has read, in bytes.
    pub read_set_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            log_cap_bytes: 256 << 20,
            memtable_bytes: 24 << 20,
            cache_bytes: 128 << 20,
            retention: Duration::from_secs(60),
            write_set_bytes: 256 << 20,
            group_commits: 1024,
            read_set_bytes: 16 << 20,
        }
    }
}
