//! What SQL needs beyond DataFusion's own functions: `jsonb`, vectors, casts, the session's surroundings, and
//! the operators that stand for them.

mod arith;
mod bounded;
mod cast;
pub mod error;
mod jsonb;
mod known;
mod names;
mod operators;
mod scalar;
mod single;
mod system;
mod times;
mod typed;
mod vector;

pub use arith::checked_call;
pub use cast::{cast_expr, open_cast_expr};
use error::error_from_datafusion;
pub use operators::Operators;
pub use system::Surroundings;

use datafusion::execution::FunctionRegistry;
use nodedb_base::Result;

/// Adds our functions and operators to a session.
///
/// # Errors
/// If the registry takes no functions.
pub fn register(registry: &mut dyn FunctionRegistry, surroundings: &Surroundings) -> Result<()> {
    let all = jsonb::functions()
        .into_iter()
        .chain(vector::functions())
        .chain(system::functions(surroundings))
        .chain(names::functions())
        .chain(times::functions());
    for function in all {
        registry.register_udf(function).map_err(error_from_datafusion)?;
    }
    registry.register_udaf(single::aggregate()).map_err(error_from_datafusion)?;
    registry.register_udf(single::function()).map_err(error_from_datafusion)?;
    vector::register_aggregates(registry)?;
    names::register_synonyms(registry)?;
    bounded::register(registry)
}

#[cfg(test)]
mod tests;
