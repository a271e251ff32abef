//! The words of the house: values, types, row names, commits, batches, keys, errors.
//!
//! Everything here is plain data. No I/O, no clock, no threads, no async. A type lives here only when
//! both the store and the derived indexes need it.

#![forbid(unsafe_code)]

mod batch;
mod decode;
mod error;
mod id;
pub mod key;
mod numeric;
mod sparse;
mod types;
mod value;

pub use batch::{Batch, CatalogChange, CommitObserver, KeyEntry, LargeValue, RowChange, RowOp, StoredRows};
pub use decode::{Reader, Writer};
pub use error::{Error, Report, Result, SqlState};
pub use id::{Incarnation, Lsn, RowId};
pub use numeric::Numeric;
pub use sparse::{BitString, SparseVector};
pub use types::Type;
pub use value::{Array, Interval, Value};
