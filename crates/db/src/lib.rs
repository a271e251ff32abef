//! NodeDB: a local-first, hybrid, multi-modal database that speaks PostgreSQL's SQL.
//!
//! It runs inside your program. Blocking, which is the simplest way:
//!
//! ```
//! # fn main() -> nodedb::Result<()> {
//! let db = nodedb::Database::memory()?; // or Database::open("my-data")
//! let mut session = db.blocking();
//! session.execute("CREATE TABLE notes (id bigint PRIMARY KEY, doc jsonb, embedding vector(3))", &[])?;
//! session.execute(
//!     "INSERT INTO notes VALUES ($1, $2, $3)",
//!     &[1_i64.into(), r#"{"title": "first"}"#.into(), vec![1.0_f32, 0.0, 0.0].into()],
//! )?;
//! let rows = session.query("SELECT doc ->> 'title' FROM notes ORDER BY embedding <-> '[1,0,0]' LIMIT 1", &[])?;
//! assert_eq!(rows.get::<String>(0, 0)?, "first");
//! # Ok(())
//! # }
//! ```
//!
//! Or asynchronous, from any executor, with rows as a stream of Arrow record batches:
//!
//! ```
//! # fn main() -> nodedb::Result<()> { futures::executor::block_on(async {
//! let db = nodedb::Database::memory()?;
//! let session = db.session();
//! session.execute("CREATE TABLE t (a int)", &[]).await?;
//! session.execute("INSERT INTO t SELECT * FROM generate_series(1, 3)", &[]).await?;
//! let mut rows = session.query("SELECT a FROM t ORDER BY a", &[]).await?;
//! let mut seen = 0;
//! while let Some(batch) = rows.next().await {
//!     seen += batch?.num_rows();
//! }
//! assert_eq!(seen, 3);
//! # Ok(()) }) }
//! ```
//!
//! | module or type | what |
//! |---|---|
//! | [`Database`] | opening, closing, checking |
//! | [`Session`] | statements, asynchronous |
//! | [`blocking`] | statements, blocking; transactions as closures |
//! | [`Table`], [`Collection`] | single rows and JSON documents without SQL |
//! | [`Load`] | bulk loads |

#![forbid(unsafe_code)]

pub mod blocking;
mod collection;
mod copy;
mod database;
mod derived;
mod load;
mod options;
mod rows;
mod search;
mod session;
mod table;

pub use arrow;
pub use collection::Collection;
pub use database::{CheckReport, Database};
pub use derived::CheckedIndexes;
pub use load::Load;
pub use nodedb_base::{
    Array, BitString, Error, Interval, Lsn, Numeric, Report, Result, SparseVector, SqlState, Type, Value,
};
pub use nodedb_env::Env;
pub use nodedb_query::types::value_at;
pub use nodedb_query::{Column, Tag};
pub use nodedb_store::{AsOf, Isolation, StoreStats as Stats, TransactionOptions};
pub use options::Options;
pub use rows::{FromValue, Row, Rows};
pub use search::Search;
pub use session::{RowStream, Session};
pub use table::Table;

/// Values as PostgreSQL's text.
pub mod text {
    pub use nodedb_query::types::text::{TextStyle, parse, print, write};
}

/// Values as JSON text.
pub mod json {
    pub use nodedb_query::types::json::{canonical, of_value};
}

/// The examples of README.md compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
