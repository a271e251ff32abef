//! Functions that look at the session, and the random UUID.

use super::scalar::{Arity, Call, Function};
use crate::types::arrow::type_of;
use crate::types::coerce::bare_name;
use arrow::array::{ArrayRef, FixedSizeBinaryBuilder};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ScalarUDF, Volatility};
use nodedb_base::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// What functions know of the world outside the statement.
#[derive(Clone)]
pub struct Surroundings {
    /// `current_database()`.
    pub database: String,
    /// `current_schema()`.
    pub schema: String,
    /// `version()`.
    pub version: String,
    /// Where `gen_random_uuid()` gets its bits.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("database", &self.database).finish_non_exhaustive()
    }
}

pub(super) fn functions(surroundings: &Surroundings) -> Vec<Arc<ScalarUDF>> {
    let random = Arc::clone(&surroundings.random);
    let uuid = DataType::FixedSizeBinary(16);
    vec![
        constant("version", surroundings.version.clone()),
        constant("current_database", surroundings.database.clone()),
        constant("current_schema", surroundings.schema.clone()),
        Function::new("pg_typeof", Arity::Exactly(1), DataType::Utf8, pg_typeof).build(),
        Function::with_volatility("gen_random_uuid", Arity::Exactly(0), uuid, Volatility::Volatile, move |call| {
            random_uuids(call.rows, &*random)
        })
        .build(),
    ]
}

fn constant(name: &'static str, text: String) -> Arc<ScalarUDF> {
    let body = move |call: &Call<'_>| call.each_text(|_| Ok(Some(text.clone())));
    Function::with_volatility(name, Arity::Exactly(0), DataType::Utf8, Volatility::Stable, body).build()
}

/// The type's name without length or precision. A literal without a cast is `text` here: the difference to
/// `unknown` is gone before functions are called.
fn pg_typeof(call: &Call<'_>) -> Result<ArrayRef> {
    let name = match call.arg(0)?.data_type() {
        DataType::Null => "unknown".to_owned(),
        ty => bare_name(&type_of(&ty)?),
    };
    call.each_text(|_| Ok(Some(name.clone())))
}

/// UUIDs of version 4.
fn random_uuids(rows: usize, random: &dyn Fn() -> u64) -> Result<ArrayRef> {
    let mut out = FixedSizeBinaryBuilder::with_capacity(rows, 16);
    for _ in 0..rows {
        let bits = u128::from(random()) << 64 | u128::from(random());
        let uuid = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
        out.append_value(uuid.as_bytes()).map_err(|e| Error::internal(e.to_string()))?;
    }
    Ok(Arc::new(out.finish()))
}
