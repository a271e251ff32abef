//! The database as its users see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod access;
mod copy;
mod derived;
mod full_disk;
mod isolation;
mod joins;
mod sessions;
mod slt;
mod time_travel;
