//! Derived indexes: functions of the commit log that make it fast to find, while the store decides what is true.
//!
//! [`lifecycle`] knows what states an index is in, and a kind only by its outside; [`vector`] is the kind that finds
//! nearest neighbours, [`text`] the one that finds words. [`filters`] keeps the rows that keys have given, [`key_cache`] the
//! entries of keys that were read. `docs/index-lifecycle.md` is the page.

#![deny(unsafe_code)]

pub mod filters;
pub mod key_cache;
pub mod lifecycle;
mod stretch;
pub mod text;
pub mod vector;

pub use filters::FilterCache;
pub use key_cache::KeyCache;
pub use lifecycle::{
    Alarm, Answers, Change, Index, Indexes, Job, JobKind, Kind, Parts, Predicate, Size, State, Status, Subject, Working,
};
pub use stretch::Stretch;
pub use text::{Matches, TextIndex, TextOptions, TextQuery, TextSnapshot};
pub use vector::{Nearest, VectorIndex, VectorOptions};
