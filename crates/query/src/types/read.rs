//! Values out of Arrow arrays.

use super::arrow::type_of;
use ::arrow::array::{Array as ArrowArray, AsArray};
use ::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use nodedb_base::{Array, Error, Interval, Numeric, Result, SparseVector, Type, Value};

/// The value in row `row`. `ty` is the SQL type that the reader expects; the value is brought to it where
/// DataFusion returned a neighbour (a view, a wider or unsigned number, another unit). Without it, the Arrow
/// type decides.
///
/// # Errors
/// 22003 and 22008 for what does not fit the SQL type, 0A000 for Arrow types that stand for none.
pub fn value_at(array: &dyn ArrowArray, row: usize, ty: Option<&Type>) -> Result<Value> {
    if row >= array.len() {
        return Err(Error::internal(format!("row {row} of an array of {} was asked for", array.len())));
    }
    // A Null array has no null buffer.
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return Ok(Value::Null);
    }
    let value = read(array, row)?;
    match ty {
        Some(ty) => settle(value, ty),
        None => Ok(value),
    }
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn ArrowArray, row: usize) -> Result<T::Native> {
    Ok(array.as_primitive_opt::<T>().ok_or_else(|| unlike(array))?.value(row))
}

fn unlike(array: &dyn ArrowArray) -> Error {
    Error::internal(format!("an array says that it is {} and is not", array.data_type()))
}

fn read(array: &dyn ArrowArray, row: usize) -> Result<Value> {
    Ok(match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean_opt().ok_or_else(|| unlike(array))?.value(row)),
        DataType::Int8 => Value::Int2(primitive::<Int8Type>(array, row)?.into()),
        DataType::UInt8 => Value::Int2(primitive::<UInt8Type>(array, row)?.into()),
        DataType::Int16 => Value::Int2(primitive::<Int16Type>(array, row)?),
        DataType::UInt16 => Value::Int4(primitive::<UInt16Type>(array, row)?.into()),
        DataType::Int32 => Value::Int4(primitive::<Int32Type>(array, row)?),
        DataType::UInt32 => Value::Int8(primitive::<UInt32Type>(array, row)?.into()),
        DataType::Int64 => Value::Int8(primitive::<Int64Type>(array, row)?),
        DataType::UInt64 => unsigned(primitive::<UInt64Type>(array, row)?)?,
        DataType::Float16 => Value::Float4(primitive::<Float16Type>(array, row)?.to_f32()),
        DataType::Float32 => Value::Float4(primitive::<Float32Type>(array, row)?),
        DataType::Float64 => Value::Float8(primitive::<Float64Type>(array, row)?),
        DataType::Decimal32(_, s) => decimal(primitive::<Decimal32Type>(array, row)?.into(), *s)?,
        DataType::Decimal64(_, s) => decimal(primitive::<Decimal64Type>(array, row)?.into(), *s)?,
        DataType::Decimal128(_, s) => decimal(primitive::<Decimal128Type>(array, row)?, *s)?,
        DataType::Decimal256(_, s) => {
            let wide = primitive::<Decimal256Type>(array, row)?;
            decimal(wide.to_i128().ok_or_else(numeric_overflow)?, *s)?
        }
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => text(array, row)?,
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            bytes(array, row)?
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => list(array, row)?,
        DataType::Dictionary(_, _) => dictionary(array, row)?,
        _ => temporal(array, row)?,
    })
}

fn unsigned(v: u64) -> Result<Value> {
    i64::try_from(v).map(Value::Int8).map_err(|_| Error::statement("22003", "bigint out of range"))
}

fn numeric_overflow() -> Error {
    Error::statement("22003", "value overflows numeric format")
}

fn decimal(unscaled: i128, scale: i8) -> Result<Value> {
    let value = match u8::try_from(scale) {
        Ok(scale) => Numeric { unscaled, scale },
        Err(_) => {
            let power = Numeric::power_of_ten(scale.unsigned_abs()).ok_or_else(numeric_overflow)?;
            Numeric { unscaled: unscaled.checked_mul(power).ok_or_else(numeric_overflow)?, scale: 0 }
        }
    };
    if value.digits() > Numeric::MAX_DIGITS { Err(numeric_overflow()) } else { Ok(Value::Numeric(value)) }
}

fn text(array: &dyn ArrowArray, row: usize) -> Result<Value> {
    let found = match array.data_type() {
        DataType::LargeUtf8 => {
            return Ok(Value::Jsonb(array.as_string_opt::<i64>().ok_or_else(|| unlike(array))?.value(row).to_owned()));
        }
        DataType::Utf8View => array.as_string_view_opt().map(|a| a.value(row)),
        _ => array.as_string_opt::<i32>().map(|a| a.value(row)),
    };
    Ok(Value::Text(found.ok_or_else(|| unlike(array))?.to_owned()))
}

fn bytes(array: &dyn ArrowArray, row: usize) -> Result<Value> {
    let found = match array.data_type() {
        DataType::BinaryView => array.as_binary_view_opt().map(|a| a.value(row)),
        DataType::LargeBinary => {
            let bytes = array.as_binary_opt::<i64>().ok_or_else(|| unlike(array))?.value(row);
            return SparseVector::from_ordered_bytes(bytes).map(Value::Sparsevec).ok_or_else(|| unlike(array));
        }
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary_opt().map(|a| a.value(row)),
        _ => array.as_binary_opt::<i32>().map(|a| a.value(row)),
    }
    .ok_or_else(|| unlike(array))?;
    match (array.data_type(), <[u8; 16]>::try_from(found)) {
        (DataType::FixedSizeBinary(16), Ok(uuid)) => Ok(Value::Uuid(uuid)),
        _ => Ok(Value::Bytea(found.to_vec())),
    }
}

fn list(array: &dyn ArrowArray, row: usize) -> Result<Value> {
    let items = match array.data_type() {
        DataType::LargeList(_) => array.as_list_opt::<i64>().map(|a| a.value(row)),
        DataType::FixedSizeList(_, _) => array.as_fixed_size_list_opt().map(|a| a.value(row)),
        _ => array.as_list_opt::<i32>().map(|a| a.value(row)),
    }
    .ok_or_else(|| unlike(array))?;
    if let Type::Vector(_) | Type::Halfvec(_) | Type::Bit(_) | Type::Varbit(_) = type_of(array.data_type())? {
        return numbers(&items).ok_or_else(|| unlike(array));
    }
    let element = type_of(items.data_type())?;
    let items = (0..items.len()).map(|i| value_at(&items, i, Some(&element))).collect::<Result<_>>()?;
    Ok(Value::Array(Array { element, items }))
}

/// The numbers of one row.
fn numbers(items: &dyn ArrowArray) -> Option<Value> {
    Some(match items.data_type() {
        DataType::Float32 => Value::Vector(items.as_primitive_opt::<Float32Type>()?.values().to_vec()),
        DataType::Float16 => Value::Halfvec(items.as_primitive_opt::<Float16Type>()?.values().to_vec()),
        DataType::Boolean => Value::Bit(items.as_boolean_opt()?.values().iter().collect()),
        _ => return None,
    })
}

fn dictionary(array: &dyn ArrowArray, row: usize) -> Result<Value> {
    let dictionary = array.as_any_dictionary_opt().ok_or_else(|| unlike(array))?;
    let keys = dictionary.keys().slice(row, 1);
    let key = match read(&keys, 0)? {
        Value::Int2(v) => usize::try_from(v),
        Value::Int4(v) => usize::try_from(v),
        Value::Int8(v) => usize::try_from(v),
        _ => return Err(unlike(array)),
    };
    value_at(dictionary.values(), key.map_err(|_| unlike(array))?, None)
}

fn temporal(array: &dyn ArrowArray, row: usize) -> Result<Value> {
    let out_of_range = || Error::statement("22008", "timestamp out of range");
    Ok(match array.data_type() {
        DataType::Date32 => Value::Date(primitive::<Date32Type>(array, row)?),
        DataType::Date64 => {
            let days = primitive::<Date64Type>(array, row)?.div_euclid(86_400_000);
            Value::Date(i32::try_from(days).map_err(|_| Error::statement("22008", "date out of range"))?)
        }
        DataType::Time32(TimeUnit::Second) => {
            Value::Time(i64::from(primitive::<Time32SecondType>(array, row)?) * 1_000_000)
        }
        DataType::Time32(_) => Value::Time(i64::from(primitive::<Time32MillisecondType>(array, row)?) * 1000),
        DataType::Time64(TimeUnit::Nanosecond) => Value::Time(primitive::<Time64NanosecondType>(array, row)? / 1000),
        DataType::Time64(_) => Value::Time(primitive::<Time64MicrosecondType>(array, row)?),
        DataType::Timestamp(unit, zone) => {
            let micros = timestamp(array, row, *unit)?.ok_or_else(out_of_range)?;
            if zone.is_some() { Value::Timestamptz(micros) } else { Value::Timestamp(micros) }
        }
        DataType::Interval(unit) => Value::Interval(interval(array, row, *unit)?),
        DataType::Duration(unit) => {
            let micros = duration(array, row, *unit)?.ok_or_else(out_of_range)?;
            Value::Interval(Interval { months: 0, days: 0, micros })
        }
        other => return Err(Error::unsupported(format!("a column of the Arrow type {other}"))),
    })
}

fn timestamp(array: &dyn ArrowArray, row: usize, unit: TimeUnit) -> Result<Option<i64>> {
    Ok(match unit {
        TimeUnit::Second => primitive::<TimestampSecondType>(array, row)?.checked_mul(1_000_000),
        TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(array, row)?.checked_mul(1000),
        TimeUnit::Microsecond => Some(primitive::<TimestampMicrosecondType>(array, row)?),
        TimeUnit::Nanosecond => Some(primitive::<TimestampNanosecondType>(array, row)?.div_euclid(1000)),
    })
}

fn duration(array: &dyn ArrowArray, row: usize, unit: TimeUnit) -> Result<Option<i64>> {
    Ok(match unit {
        TimeUnit::Second => primitive::<DurationSecondType>(array, row)?.checked_mul(1_000_000),
        TimeUnit::Millisecond => primitive::<DurationMillisecondType>(array, row)?.checked_mul(1000),
        TimeUnit::Microsecond => Some(primitive::<DurationMicrosecondType>(array, row)?),
        TimeUnit::Nanosecond => Some(primitive::<DurationNanosecondType>(array, row)? / 1000),
    })
}

fn interval(array: &dyn ArrowArray, row: usize, unit: IntervalUnit) -> Result<Interval> {
    Ok(match unit {
        IntervalUnit::YearMonth => {
            Interval { months: primitive::<IntervalYearMonthType>(array, row)?, ..Interval::default() }
        }
        IntervalUnit::DayTime => {
            let v = primitive::<IntervalDayTimeType>(array, row)?;
            Interval { months: 0, days: v.days, micros: i64::from(v.milliseconds) * 1000 }
        }
        IntervalUnit::MonthDayNano => {
            let v = primitive::<IntervalMonthDayNanoType>(array, row)?;
            Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1000 }
        }
    })
}

/// Brings a value to the type that the reader expects, where only the clothing differs.
fn settle(value: Value, ty: &Type) -> Result<Value> {
    Ok(match (value, ty) {
        (Value::Jsonb(v), Type::Text | Type::Varchar(_)) => Value::Text(v),
        (Value::Text(v), Type::Jsonb) => Value::Jsonb(v),
        (Value::Array(v), Type::Array(element)) if v.element != **element => {
            let items = v.items.into_iter().map(|item| settle(item, element)).collect::<Result<_>>()?;
            Value::Array(Array { element: (**element).clone(), items })
        }
        (value, ty) if same_kind(&value, ty) => value,
        (value, ty) => super::coerce::cast(value, ty, &super::TextStyle::default())?,
    })
}

const fn same_kind(value: &Value, ty: &Type) -> bool {
    matches!(
        (value, ty),
        (Value::Null, _)
            | (Value::Bool(_), Type::Bool)
            | (Value::Int2(_), Type::Int2)
            | (Value::Int4(_), Type::Int4)
            | (Value::Int8(_), Type::Int8)
            | (Value::Float4(_), Type::Float4)
            | (Value::Float8(_), Type::Float8)
            | (Value::Numeric(_), Type::Numeric { .. })
            | (Value::Text(_), Type::Text | Type::Varchar(_))
            | (Value::Bytea(_), Type::Bytea)
            | (Value::Uuid(_), Type::Uuid)
            | (Value::Date(_), Type::Date)
            | (Value::Time(_), Type::Time)
            | (Value::Timestamp(_), Type::Timestamp)
            | (Value::Timestamptz(_), Type::Timestamptz)
            | (Value::Interval(_), Type::Interval)
            | (Value::Jsonb(_), Type::Jsonb)
            | (Value::Array(_), Type::Array(_))
            | (Value::Vector(_), Type::Vector(_))
            | (Value::Halfvec(_), Type::Halfvec(_))
            | (Value::Sparsevec(_), Type::Sparsevec(_))
            | (Value::Bit(_), Type::Bit(_) | Type::Varbit(_))
    )
}
