//! What the targets do with their input. Apart from libFuzzer, so that a plain test can run them, too.

pub mod key;
pub mod log;
pub mod row;
#[cfg(feature = "sql")]
pub mod sql;
mod values;
