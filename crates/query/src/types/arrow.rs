//! Which Arrow type stands for which SQL type.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use nodedb_base::{Error, Result, Type};
use std::collections::HashMap;
use std::sync::Arc;

/// The key of the field metadata that holds what the Arrow type cannot say: the `n` of `varchar(n)`.
pub const TYPE_KEY: &str = "nodedb.type";

/// The zone of every `timestamptz` array.
pub const UTC: &str = "UTC";

/// Most dimensions of a vector, as pgvector has it.
pub const MAX_DIMENSIONS: u32 = 16_000;

/// The Arrow type of a SQL type.
#[must_use]
pub fn data_type(ty: &Type) -> DataType {
    match ty {
        Type::Bool => DataType::Boolean,
        Type::Int2 => DataType::Int16,
        Type::Int4 => DataType::Int32,
        Type::Int8 => DataType::Int64,
        Type::Float4 => DataType::Float32,
        Type::Float8 => DataType::Float64,
        Type::Numeric { precision, scale } => DataType::Decimal128(*precision, scale.cast_signed()),
        Type::Text | Type::Varchar(_) => DataType::Utf8,
        Type::Bytea => DataType::Binary,
        Type::Uuid => DataType::FixedSizeBinary(16),
        Type::Date => DataType::Date32,
        Type::Time => DataType::Time64(TimeUnit::Microsecond),
        Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        Type::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::Jsonb => DataType::LargeUtf8,
        Type::Array(element) => DataType::List(element_field(element)),
        Type::Vector(n) => numbers("vector", DataType::Float32, *n),
        Type::Halfvec(n) => numbers("halfvec", DataType::Float16, *n),
        Type::Bit(n) => numbers("bit", DataType::Boolean, *n),
        Type::Varbit(_) => numbers("bit", DataType::Boolean, 0),
        // Bytes whose order is that of the vectors.
        Type::Sparsevec(_) => DataType::LargeBinary,
    }
}

/// `n` numbers, or any number of them: a list, whose field has a name that no array's has.
fn numbers(name: &str, item: DataType, n: u32) -> DataType {
    match i32::try_from(n).unwrap_or(i32::MAX) {
        0 => DataType::List(Arc::new(Field::new(name, item, false))),
        n => DataType::FixedSizeList(Arc::new(Field::new_list_field(item, false)), n),
    }
}

/// The field of the elements of an array.
pub(crate) fn element_field(element: &Type) -> Arc<Field> {
    Arc::new(Field::new_list_field(data_type(element), true))
}

/// The Arrow field of a column.
#[must_use]
pub fn field(name: &str, ty: &Type, nullable: bool) -> Field {
    let field = Field::new(name, data_type(ty), nullable);
    let noted = match ty {
        Type::Varchar(n) => format!("varchar({n})"),
        Type::Sparsevec(n) if *n > 0 => format!("sparsevec({n})"),
        Type::Varbit(n) if *n > 0 => format!("varbit({n})"),
        _ => return field,
    };
    field.with_metadata(HashMap::from([(TYPE_KEY.to_owned(), noted)]))
}

/// The SQL type of an Arrow field: that of [`type_of`], and with its length where the metadata says so.
///
/// # Errors
/// 0A000 for an Arrow type that stands for no SQL type.
pub fn type_of_field(field: &Field) -> Result<Type> {
    let noted = field.metadata().get(TYPE_KEY).and_then(|text| text.strip_suffix(')')?.split_once('('));
    match noted.map(|(name, n)| (name, n.parse())) {
        Some(("varchar", Ok(n))) => Ok(Type::Varchar(n)),
        Some(("sparsevec", Ok(n))) => Ok(Type::Sparsevec(n)),
        Some(("varbit", Ok(n))) => Ok(Type::Varbit(n)),
        _ => type_of(field.data_type()),
    }
}

/// The SQL type of an Arrow type. What DataFusion makes up on its own (views, unsigned numbers, other units)
/// goes to the nearest SQL type. `LargeBinary` is always `sparsevec`, and `LargeUtf8` always `jsonb`; DataFusion's own `string_agg` returns it too
/// and must be cast where it is planned.
///
/// # Errors
/// 0A000 for an Arrow type that stands for no SQL type.
pub fn type_of(ty: &DataType) -> Result<Type> {
    Ok(match ty {
        DataType::Boolean => Type::Bool,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => Type::Int2,
        DataType::UInt16 | DataType::Int32 => Type::Int4,
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => Type::Int8,
        DataType::Float16 | DataType::Float32 => Type::Float4,
        DataType::Float64 => Type::Float8,
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => numeric(*p, *s),
        DataType::Null | DataType::Utf8 | DataType::Utf8View => Type::Text,
        DataType::LargeUtf8 => Type::Jsonb,
        DataType::FixedSizeBinary(16) => Type::Uuid,
        DataType::LargeBinary => Type::Sparsevec(0),
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Type::Bytea,
        DataType::Date32 | DataType::Date64 => Type::Date,
        DataType::Time32(_) | DataType::Time64(_) => Type::Time,
        DataType::Timestamp(_, None) => Type::Timestamp,
        DataType::Timestamp(_, Some(_)) => Type::Timestamptz,
        DataType::Interval(_) | DataType::Duration(_) => Type::Interval,
        DataType::FixedSizeList(item, n) => match of_numbers(item.data_type(), u32::try_from(*n).unwrap_or(0)) {
            Some(ty) => ty,
            None => Type::Array(Box::new(type_of(item.data_type())?)),
        },
        DataType::List(item) if item.name() == "bit" => Type::Varbit(0),
        DataType::List(item) if matches!(item.name().as_str(), "vector" | "halfvec") => {
            of_numbers(item.data_type(), 0).unwrap_or(Type::Vector(0))
        }
        DataType::List(item) | DataType::LargeList(item) => Type::Array(Box::new(type_of(item.data_type())?)),
        DataType::Dictionary(_, value) => type_of(value)?,
        other => return Err(Error::unsupported(format!("a column of the Arrow type {other}"))),
    })
}

/// The type of `n` such numbers.
fn of_numbers(item: &DataType, n: u32) -> Option<Type> {
    match item {
        DataType::Float32 => Some(Type::Vector(n)),
        DataType::Float16 => Some(Type::Halfvec(n)),
        DataType::Boolean => Some(Type::Bit(n)),
        _ => None,
    }
}

/// A negative scale has more digits before the point.
fn numeric(precision: u8, scale: i8) -> Type {
    let whole = precision.saturating_add(scale.min(0).unsigned_abs()).min(38);
    Type::Numeric { precision: whole.max(1), scale: u8::try_from(scale).unwrap_or(0).min(38) }
}
