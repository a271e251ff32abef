//! Nearest neighbours: the vector engine of NodeDB, and a library of its own.
//!
//! It knows vectors, ids, files and threads, and nothing of databases, SQL or logs. `docs/vector.md` says what is built so
//! far: metrics, kernels, codes and the graph.
//!
//! ```
//! use nodedb_vector::codes::{CodeSpace, Codes};
//! use nodedb_vector::graph::{Builder, Parameters, Scratch, Space};
//! use nodedb_vector::Metric;
//!
//! # fn main() -> nodedb_vector::Result<()> {
//! let mut rows: Vec<f32> = (0..400).map(|i| (i * 37 % 101) as f32).collect();
//! rows.chunks_exact_mut(4).try_for_each(|row| Metric::Cosine.prepare(row))?;
//! let codes = Codes::of(Metric::Cosine.geometry(), 4, &rows).expect("products have codes");
//! let space = CodeSpace::new(&codes);
//! let builder = Builder::new(&space, Parameters::default());
//! builder.work();
//! let graph = builder.finish();
//! let (mut scratch, mut query) = (Scratch::default(), space.no_query());
//! codes.scale().query(&rows[..4], &mut query);
//! let nearest = graph.search(&space, &query, 10, &mut scratch).iter().next();
//! assert_eq!(nearest.map(|(_, row)| row), Some(0));
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

pub mod codes;
mod error;
pub mod graph;
pub mod kernels;
mod metric;

pub use error::{Error, Result};
pub use metric::{Geometry, Metric};
