//! Nearest neighbours: the vector engine of NodeDB, and a library of its own.
//!
//! It knows vectors, ids, files and threads, and nothing of databases, SQL or logs. `docs/vector.md` says what is built so
//! far: metrics, kernels, codes and the graph.

#![deny(unsafe_code)]

pub mod binary;
mod bounds;
mod bytes;
pub mod codes;
mod collection;
mod error;
pub mod graph;
mod history;
pub mod kernels;
mod matrix;
mod metric;
mod part;
mod section;
mod shape;

pub use collection::{
    Cursor, Effort, Filter, Found, Hit, Job, JobKind, Opened, Options, Quarantined, Runner, Search, Stats,
    VectorCollection,
};
pub use error::{Error, Result};
pub use metric::{Geometry, Metric};
pub use part::curve::Setting;
pub use part::form::Quantisation;
pub use part::sealed::Tier;
pub use shape::{Element, Query, Row, Shape, Vector};
