//! Errors on both sides of `DataFusion`.

pub use crate::functions::error::{error_from_datafusion as from_datafusion, to_datafusion};
