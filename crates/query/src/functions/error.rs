//! Errors of DataFusion and Arrow as ours, with PostgreSQL's SQLSTATEs and messages where they are known.

use super::known::{self, between};
use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use nodedb_base::Error;

/// Wraps an error of ours, so that it passes through DataFusion whole.
#[must_use]
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What DataFusion says, as an error of ours. One that we passed in comes out as it was.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub fn error_from_datafusion(error: DataFusionError) -> Error {
    translate(&error)
}

fn translate(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(inner),
        DataFusionError::Shared(inner) => translate(inner),
        DataFusionError::Collection(all) => {
            all.first().map_or_else(|| Error::internal("an error without a cause"), translate)
        }
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => arrow(inner),
        DataFusionError::SchemaError(inner, _) => schema(inner),
        DataFusionError::SQL(inner, _) => syntax(&inner.to_string()),
        DataFusionError::NotImplemented(message) => Error::statement("0A000", first_line(message)),
        DataFusionError::Plan(message) => plan(message),
        DataFusionError::Execution(message) => execution(message),
        DataFusionError::ResourcesExhausted(message) => {
            Error::limit("53200", "out of memory").with_detail(first_line(message))
        }
        DataFusionError::Configuration(message) => Error::statement("22023", first_line(message)),
        DataFusionError::IoError(inner) => Error::io("read or write a temporary file", inner),
        other => {
            let message = other.to_string();
            known::running(&message).unwrap_or_else(|| Error::internal(message))
        }
    }
}

fn external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return translate(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow(inner);
    }
    let message = error.to_string();
    known::running(&message).unwrap_or_else(|| Error::internal(message))
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn syntax(message: &str) -> Error {
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    if message.contains("recursion limit") {
        return Error::limit("54001", "stack depth limit exceeded");
    }
    Error::statement("42601", format!("syntax error: {}", first_line(message)))
}

fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::AmbiguousReference { field } => {
            Error::statement("42702", format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::statement("42701", format!("column \"{name}\" specified more than once"))
        }
        SchemaError::FieldNotFound { field, valid_fields } => match &field.relation {
            None => Error::statement("42703", format!("column \"{}\" does not exist", field.name)),
            Some(table)
                if !valid_fields.iter().any(|c| c.relation.as_ref().is_some_and(|r| r.table() == table.table())) =>
            {
                Error::statement("42P01", format!("missing FROM-clause entry for table \"{}\"", table.table()))
            }
            Some(table) => Error::statement("42703", format!("column {}.{} does not exist", table.table(), field.name)),
        },
    }
}

fn plan(message: &str) -> Error {
    let line = first_line(message);
    if let Some(error) = known::planning(message) {
        return error;
    }
    if let Some(name) = between(message, "table '", "' not found") {
        let table = name.rsplit('.').next().unwrap_or(name);
        return Error::statement("42P01", format!("relation \"{table}\" does not exist"));
    }
    if let Some(name) = between(message, "Invalid function '", "'") {
        return Error::statement("42883", format!("function {name} does not exist")).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        );
    }
    if let Some(operation) = between(message, "comparison operation ", " arg")
        .or_else(|| message.split_once("comparison operation ").map(|(_, rest)| rest))
    {
        return no_operator(&first_line(operation));
    }
    if let Some(operation) = between(message, "Cannot coerce arithmetic expression ", " to valid types") {
        return no_operator(operation);
    }
    let coercion = ["No function matches", "Failed to coerce", "failed to match any signature", "coercion"];
    if coercion.iter().any(|sign| message.contains(sign)) {
        return Error::statement("42883", line);
    }
    if message.contains("must be in the GROUP BY")
        || message.contains("appear in the GROUP BY")
        || message.contains("must appear in the GROUP BY clause")
    {
        return Error::statement("42803", line);
    }
    if message.contains("type_coercion") || message.contains("Incompatible") || message.contains("incompatible") {
        return Error::statement("42804", line);
    }
    Error::statement("42601", line)
}

/// `Int64 = Boolean`, in SQL's names.
fn no_operator(operation: &str) -> Error {
    let words: Vec<&str> = operation.split_whitespace().map(|word| sql_name(word).unwrap_or(word)).collect();
    Error::statement("42883", format!("operator does not exist: {}", words.join(" ")))
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

/// The SQL name of an Arrow type, as far as it is one word.
fn sql_name(arrow: &str) -> Option<&'static str> {
    let plain = arrow.split(['(', '<', ' ']).next().unwrap_or(arrow);
    Some(match plain {
        "Boolean" => "boolean",
        "Int8" | "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" | "UInt64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Decimal128" | "Decimal256" => "numeric",
        "Utf8" | "Utf8View" => "text",
        "LargeUtf8" => "jsonb",
        "Binary" => "bytea",
        "FixedSizeBinary" => "uuid",
        "Date32" => "date",
        "Time64" => "time",
        "Timestamp" => "timestamp",
        "Interval" => "interval",
        _ => return None,
    })
}

fn execution(message: &str) -> Error {
    if let Some(error) = known::running(message) {
        return error;
    }
    let lower = message.to_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return division_by_zero();
    }
    if lower.contains("overflow") {
        return overflow(message);
    }
    if lower.contains("more than one row") {
        return Error::statement("21000", "more than one row returned by a subquery used as an expression");
    }
    Error::statement("22000", first_line(message))
}

fn division_by_zero() -> Error {
    Error::statement("22012", "division by zero")
}

/// Which type overflowed is known only by the size of the numbers that Arrow names.
fn overflow(message: &str) -> Error {
    let numbers: Vec<i128> =
        message.split(|c: char| !c.is_ascii_digit() && c != '-').filter_map(|word| word.parse().ok()).collect();
    let small = !numbers.is_empty() && numbers.iter().all(|n| i32::try_from(*n).is_ok());
    let ty = if message.to_lowercase().contains("decimal") {
        return Error::statement("22003", "numeric field overflow");
    } else if small {
        "integer"
    } else {
        "bigint"
    };
    Error::statement("22003", format!("{ty} out of range"))
}

fn arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => external(inner.as_ref()),
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(message) => overflow(message),
        ArrowError::CastError(message) => cast(message),
        ArrowError::ParseError(message) => parse(message),
        ArrowError::NotYetImplemented(message) => Error::statement("0A000", first_line(message)),
        ArrowError::MemoryError(message) => Error::limit("53200", "out of memory").with_detail(message),
        ArrowError::OffsetOverflowError(_) => Error::limit("54000", "a batch of rows has more than 2 GB in one column"),
        ArrowError::InvalidArgumentError(message) | ArrowError::ComputeError(message)
            if message.contains("too large to store") || message.contains("too small to store") =>
        {
            Error::statement("22003", "numeric field overflow")
        }
        ArrowError::InvalidArgumentError(message) | ArrowError::ComputeError(message) => execution(message),
        other => Error::internal(other.to_string()),
    }
}

fn cast(message: &str) -> Error {
    if let Some((value, rest)) =
        message.strip_prefix("Cannot cast string '").and_then(|m| m.rsplit_once("' to value of "))
    {
        let ty = sql_name(rest).unwrap_or("unknown");
        return crate::types::text::bad_syntax(ty, value);
    }
    if let Some((_, ty)) = message.split_once("Can't cast value ").and_then(|(_, rest)| rest.split_once(" to type ")) {
        return Error::statement("22003", format!("{} out of range", sql_name(ty.trim()).unwrap_or("value")));
    }
    if message.contains("overflow") || message.contains("out of range") {
        return Error::statement("22003", first_line(message));
    }
    Error::statement("22P02", first_line(message))
}

fn parse(message: &str) -> Error {
    match between(message, "from '", "'") {
        Some(value) if message.contains("timestamp") => {
            Error::statement("22007", format!("invalid input syntax for type timestamp: \"{value}\""))
        }
        _ => Error::statement("22P02", first_line(message)),
    }
}
