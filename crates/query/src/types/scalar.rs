//! Single values on `DataFusion`'s side.

use super::{ColumnBuilder, value_at};
use crate::error::from_datafusion;
use datafusion::common::ScalarValue;
use nodedb_base::{Error, Result, Type, Value};

/// The type that a parameter has by itself.
#[must_use]
pub fn type_of_value(value: &Value) -> Type {
    match value {
        Value::Bool(_) => Type::Bool,
        Value::Int2(_) => Type::Int2,
        Value::Int4(_) => Type::Int4,
        Value::Int8(_) => Type::Int8,
        Value::Float4(_) => Type::Float4,
        Value::Float8(_) => Type::Float8,
        Value::Numeric(v) => Type::Numeric { precision: 38, scale: v.scale },
        Value::Null | Value::Text(_) => Type::Text,
        Value::Bytea(_) => Type::Bytea,
        Value::Uuid(_) => Type::Uuid,
        Value::Date(_) => Type::Date,
        Value::Time(_) => Type::Time,
        Value::Timestamp(_) => Type::Timestamp,
        Value::Timestamptz(_) => Type::Timestamptz,
        Value::Interval(_) => Type::Interval,
        Value::Jsonb(_) => Type::Jsonb,
        Value::Array(v) => Type::Array(Box::new(v.element.clone())),
        Value::Vector(v) => Type::Vector(u32::try_from(v.len()).unwrap_or(u32::MAX)),
        Value::Halfvec(v) => Type::Halfvec(u32::try_from(v.len()).unwrap_or(u32::MAX)),
        Value::Sparsevec(_) => Type::Sparsevec(0),
        Value::Bit(_) => Type::Varbit(0),
    }
}

/// A value as a constant, of type `ty` or its own. A NULL without a type fits everywhere.
///
/// # Errors
/// `Statement` if the value is not of that type.
pub fn of_value(value: &Value, ty: Option<&Type>) -> Result<ScalarValue> {
    if value.is_null() && ty.is_none() {
        return Ok(ScalarValue::Null);
    }
    let own = type_of_value(value);
    let mut column = ColumnBuilder::new(ty.unwrap_or(&own), 1)?;
    column.append(value)?;
    ScalarValue::try_from_array(&column.finish()?, 0).map_err(from_datafusion)
}

/// The value of a constant.
///
/// # Errors
/// `Statement` (0A000) if no SQL type has it.
pub fn to_value(scalar: &ScalarValue) -> Result<Value> {
    let array = scalar.to_array().map_err(|e| Error::internal(format!("a constant cannot be read: {e}")))?;
    value_at(&array, 0, None)
}
