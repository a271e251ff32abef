//! The commit log: one record a commit, in order, without gaps. It says what happened.
//!
//! Format and rules are in `docs/format/log.md`. What a record holds is the business of others: here it is bytes.
//!
//! | file | what |
//! |---|---|
//! | `writer.rs` | [`FileLog`]: append, roll over, cut |
//! | `recovery.rs` | opening: where the log ends, torn tail or damage |
//! | `reader.rs` | [`LogReader`]: reading while others write |
//! | `record.rs`, `segment.rs`, `directory.rs` | the bytes of a record, a segment, `SEGMENTS` |

mod directory;
mod reader;
mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{LogReader, LogRecords};
pub use writer::FileLog;

use nodedb_base::{Lsn, Result};
use nodedb_env::Files;
use std::path::Path;

/// What can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The usual length of a segment. At least 16 KiB.
    pub segment_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20 }
    }
}

/// One commit in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub lsn: Lsn,
    /// When it was committed: microseconds since 1970-01-01 UTC.
    pub time: i64,
    /// What it changed.
    pub payload: Vec<u8>,
}

/// Where commits become durable. A replicated stream can take the place of the files.
pub trait CommitLog: Send {
    /// Appends the commits of `group` under the Lsns from `expected` on, and returns the last one when all are durable.
    ///
    /// # Errors
    /// `Internal` if `expected` does not follow the last Lsn; `Limit` (54000) if a commit is too large, (53100 as `Io`) if the disk
    /// is full: nothing was appended then. Any other `Io`: nobody knows what was appended, and all that follows is
    /// `Closed` (57P03) until the log is opened anew.
    fn append(&mut self, expected: Lsn, time: i64, group: &[Vec<u8>]) -> Result<Lsn>;
}

/// What opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The oldest Lsn that is there, or will be the first one.
    pub oldest: Lsn,
    /// The last Lsn.
    pub last: Lsn,
    /// How many records the caller was handed.
    pub records: u64,
    /// How many bytes of a torn group were erased.
    pub cut_bytes: u64,
    /// How many segments there are.
    pub segments: usize,
}

/// What [`check`] found in a log that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The oldest Lsn that is there, or will be the first one.
    pub oldest: Lsn,
    /// The last Lsn.
    pub last: Lsn,
    /// How many records there are.
    pub records: u64,
    /// How many segments there are.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes of a torn group opening would erase.
    pub torn_bytes: u64,
}

/// Reads and verifies a whole log, and changes nothing.
///
/// # Errors
/// `Damaged` says what, where, and what can be saved. `Io`.
pub fn check(files: &dyn Files, dir: &Path, database: u64) -> Result<CheckReport> {
    let place = recovery::Place { files, dir, database, after: Lsn::ZERO, witness: Lsn::ZERO };
    let scan = recovery::scan(place)?;
    Ok(CheckReport {
        oldest: scan.segments.first().map_or(Lsn::ZERO, |s| s.first),
        last: scan.tail.last,
        records: scan.records,
        segments: scan.segments.len(),
        bytes: scan.segments.iter().map(|s| s.length).sum(),
        torn_bytes: scan.tail.torn_bytes(),
    })
}

/// Hands `each` the records behind `after` that can be saved from a log, damaged or not: all up to the first
/// that is broken or missing. Returns the last one, and changes nothing. Not all of them need to have been acknowledged.
///
/// # Errors
/// `Damaged` if not even the list of segments can be read. `Io`. What `each` returns.
pub fn rescue(
    files: &dyn Files,
    dir: &Path,
    database: u64,
    after: Lsn,
    each: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<Lsn> {
    recovery::rescue(recovery::Place { files, dir, database, after, witness: Lsn::ZERO }, each)
}
