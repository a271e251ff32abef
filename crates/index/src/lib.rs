//! Derived indexes: functions of the commit log that make it fast to find, while the store decides what is true.
//!
//! [`lifecycle`] knows what states an index is in, and a kind only by its outside; [`vector`] is the kind that finds
//! nearest neighbours. `docs/index-lifecycle.md` is the page.

pub mod lifecycle;
pub mod vector;

pub use lifecycle::{Alarm, Change, Index, Indexes, Kind, State, Status};
pub use vector::{Nearest, VectorIndex, VectorOptions};
