//! SQL types on both sides: as Arrow arrays for the engine, as PostgreSQL's text for people and protocols.
//!
//! DataFusion loses the metadata of fields on the way, so the Arrow type alone tells the SQL type; the page
//! `docs/format/types.md` has the table.

pub mod arrow;
pub mod build;
pub mod coerce;
pub mod json;
mod numbers;
pub mod read;
pub mod scalar;
pub mod text;
mod vectors;

pub use build::ColumnBuilder;
pub use coerce::{assign, cast};
pub use read::value_at;
pub use text::{TextStyle, parse, print};

#[cfg(test)]
mod tests;
