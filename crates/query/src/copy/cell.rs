//! Values as files have them.

use crate::types::text::{self, TextStyle};
use crate::types::{assign, cast};
use nodedb_base::{Array, Result, Type, Value};

/// A value as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL
    Null,
    /// Text, of a type that the column will say.
    Text(String),
    /// A JSON value.
    Json(serde_json::Value),
    /// A value with a type of its own.
    Value(Value),
}

impl Cell {
    /// The cell as a value of a column, as INSERT would store it.
    ///
    /// # Errors
    /// `Statement`: those of reading a text, and of assignment.
    pub fn stored(self, ty: &Type, style: &TextStyle) -> Result<Value> {
        self.brought(ty, style, assign)
    }

    /// The cell brought to a type by all means, also those of explicit casts.
    ///
    /// # Errors
    /// As [`Cell::stored`].
    pub fn converted(self, ty: &Type, style: &TextStyle) -> Result<Value> {
        self.brought(ty, style, cast)
    }

    fn brought(
        self,
        ty: &Type,
        style: &TextStyle,
        bring: impl Fn(Value, &Type, &TextStyle) -> Result<Value>,
    ) -> Result<Value> {
        match self {
            Self::Null => Ok(Value::Null),
            Self::Text(text) | Self::Value(Value::Text(text)) => text::parse(&text, ty, style),
            Self::Value(value) => bring(value, ty, style),
            Self::Json(value) => from_json(value, ty, style),
        }
    }
}

fn from_json(value: serde_json::Value, ty: &Type, style: &TextStyle) -> Result<Value> {
    match (value, ty) {
        (value, Type::Jsonb) => text::parse(&value.to_string(), ty, style),
        (serde_json::Value::Null, _) => Ok(Value::Null),
        (serde_json::Value::String(text), _) => text::parse(&text, ty, style),
        (serde_json::Value::Array(items), Type::Array(element)) => {
            let items = items.into_iter().map(|item| from_json(item, element, style)).collect::<Result<_>>()?;
            Ok(Value::Array(Array { element: (**element).clone(), items }))
        }
        (value, _) => text::parse(&value.to_string(), ty, style),
    }
}
