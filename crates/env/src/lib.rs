//! The outside world behind four small traits: [`Files`], [`Clock`], [`Random`], [`Spawn`].
//!
//! Everything that a test may want to bend comes in through one of them. Each has a real form and a
//! simulated one; [`faulty`] holds a disk that loses power, fills up and lies.

#![deny(unsafe_code)]

mod clock;
mod disk;
pub mod faulty;
mod files;
mod memory;
mod pages;
mod random;
mod real;
mod spawn;
#[allow(unsafe_code, reason = "what the standard library does not offer, with a proof at each call")]
mod sys;

pub use clock::{Clock, ManualClock, SystemClock};
pub use files::{File, Files, Lock, OpenMode};
pub use memory::MemoryFiles;
pub use pages::{Mapping, Pages};
pub use random::{Random, SeededRandom, SystemRandom};
pub use real::RealFiles;
pub use spawn::{Join, SharedWork, Spawn, Threads};

use std::sync::Arc;

/// The outside world as one part of the database sees it. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Where bytes are kept.
    pub files: Arc<dyn Files>,
    /// Where the files are that a statement names.
    pub outside: Arc<dyn Files>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Numbers that nobody can foretell.
    pub random: Arc<dyn Random>,
    /// Where work goes on beside the caller's.
    pub spawn: Arc<dyn Spawn>,
}

impl Env {
    /// The real world: the operating system's files, clock, randomness and threads.
    #[must_use]
    pub fn real() -> Self {
        Self { files: Arc::new(RealFiles), ..Self::memory() }
    }

    /// The real world, but files are kept in memory and go with the last clone.
    #[must_use]
    pub fn memory() -> Self {
        Self {
            files: Arc::new(MemoryFiles::new()),
            outside: Arc::new(RealFiles),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            spawn: Arc::new(Threads),
        }
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}
