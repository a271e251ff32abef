//! Tests of the collection as its users see it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods, reason = "tests")]

mod hostile;
mod life;
mod metrics;
mod model;
mod threads;
