//! The truth of a NodeDB database: the commit log, the ordered trees, transactions and the catalogue.
//!
//! | module | what |
//! |---|---|
//! | [`log`] | what happened: one record a commit |
//! | [`kv`] | the state that it produced: ordered trees of versions |
//! | [`commit`] | the one function that changes truth |
//! | [`Transaction`], [`View`] | writing and reading at a snapshot |
//! | [`row`], [`keys`] | how rows and keys lie in the trees |
//! | [`catalog`] | what tables there are |
//!
//! It knows nothing of SQL, Arrow or derived indexes.

#![forbid(unsafe_code)]

mod background;
pub mod catalog;
mod checkpoint;
pub mod commit;
pub mod keys;
pub mod kv;
pub mod log;
mod log_holds;
mod options;
mod read_set;
pub mod row;
mod row_ids;
mod snapshot;
mod store;
mod transaction;
mod view;
mod write_set;

pub use log_holds::LogHold;
pub use options::StoreOptions;
pub use snapshot::Snapshot;
pub use store::{Store, StoreStats, TreesKind};
pub use transaction::{AsOf, Isolation, Transaction, TransactionOptions};
pub use view::{KeyRange, KeyRows, Keys, Row, Rows, Stored, View};
pub use write_set::OldRow;
