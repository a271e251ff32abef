//! What the programs of this package share: figures, clocks, what the kernel counts, rows.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "programs that measure the database, no part of it")]

pub mod child;
pub mod engine;
pub mod figures;
pub mod ours;
pub mod process;
pub mod rows;
pub mod sqlite;
pub mod words;

use nodedb_allocator as _;

/// `Result` of programs that end with what went wrong.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// An error of one sentence.
pub fn wrong<T>(what: impl Into<String>) -> Result<T> {
    Err(what.into().into())
}

/// Seconds that some work takes, and what it gives.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let began = std::time::Instant::now();
    let done = work()?;
    Ok((began.elapsed().as_secs_f64(), done))
}
