//! Statements into reads and batches: the SQL front end of NodeDB.
//!
//! It parses PostgreSQL's SQL, binds it against the catalogue, and divides the work ([`front`]): single rows go
//! straight to the store, changes and definitions are ours, everything else is planned and run by `DataFusion`
//! over our table provider. It writes only through a [`nodedb_store::Transaction`]. `DataFusion`'s types stay
//! inside.

#![forbid(unsafe_code)]

mod arithmetic;
mod casts;
pub mod copy;
mod ddl;
mod dml;
mod engine;
mod error;
mod explain;
pub mod front;
mod functions;
mod memory;
mod outcome;
mod parse;
mod partial;
mod planner;
mod point;
pub mod record;
mod rewrite;
mod rules;
mod scan;
mod session;
mod settings;
mod statement;
mod text;
pub mod types;
mod views;

pub use copy::CopyIn;
pub use engine::{Engine, EngineOptions};
pub use front::{Command, Runnable};
pub use functions::Surroundings;
pub use outcome::{Column, Outcome, RowStream, Tag};
pub use partial::{RowPredicate, row_predicate};
pub use rules::RowRules;
pub use session::{Modes, SessionStatement, as_of};
pub use settings::{Settings, boolean, isolation, isolation_name};
pub use statement::Statement;
pub use text::text_options;
