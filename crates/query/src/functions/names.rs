//! Functions that PostgreSQL has and DataFusion lacks, or has under another name.

use super::error::error_from_datafusion;
use super::scalar::{Arity, Call, Function};
use crate::types::build::column;
use crate::types::text::{civil_from_days, days_in_month};
use crate::types::{TextStyle, cast};
use arrow::array::{ArrayRef, Int32Array};
use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::ScalarUDF;
use datafusion::sql::sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS;
use nodedb_base::{Interval, Result, Type, Value};
use std::sync::Arc;

const DAY: i64 = 86_400_000_000;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Arity::{Any, Exactly};
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    [
        Function::new("age", Exactly(2), interval, ages),
        Function::new("quote_ident", Exactly(1), DataType::Utf8, |c| quoted(c, quote_ident, None)),
        Function::new("quote_literal", Exactly(1), DataType::Utf8, |c| quoted(c, quote_literal, None)),
        Function::new("quote_nullable", Exactly(1), DataType::Utf8, |c| quoted(c, quote_literal, Some("NULL"))),
        Function::new("num_nulls", Any, DataType::Int32, |c| count(c, Value::is_null)),
        Function::new("num_nonnulls", Any, DataType::Int32, |c| count(c, |v| !v.is_null())),
        Function::new("array_upper", Exactly(2), DataType::Int32, |c| bound(c, |length| length)),
        Function::new("array_lower", Exactly(2), DataType::Int32, |c| bound(c, |_| 1)),
    ]
    .into_iter()
    .map(Function::build)
    .collect()
}

/// Gives DataFusion's functions the names that PostgreSQL has for them.
pub(super) fn register_synonyms(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for (theirs, ours) in [("ceil", "ceiling"), ("signum", "sign")] {
        let function = registry.udf(theirs).map_err(error_from_datafusion)?;
        let named = function.as_ref().clone().with_aliases([ours]);
        registry.register_udf(Arc::new(named)).map_err(error_from_datafusion)?;
    }
    for (theirs, ours) in [("bool_and", "every"), ("var_samp", "variance")] {
        let function = registry.udaf(theirs).map_err(error_from_datafusion)?;
        let named = function.as_ref().clone().with_aliases([ours]);
        registry.register_udaf(Arc::new(named)).map_err(error_from_datafusion)?;
    }
    Ok(())
}

fn ages(call: &Call<'_>) -> Result<ArrayRef> {
    let (to, from) = (call.values(0)?, call.values(1)?);
    let stamp = |value| match cast(value, &Type::Timestamp, &call.style)? {
        Value::Timestamp(v) => Ok::<_, nodedb_base::Error>(Some(v)),
        _ => Ok(None),
    };
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let pair = stamp(to.get(row)?)?.zip(stamp(from.get(row)?)?);
        out.push(Value::from(pair.map(|(to, from)| age(to, from))));
    }
    column(&Type::Interval, &out)
}

/// The years, months and days between two times, by the calendar.
fn age(to: i64, from: i64) -> Interval {
    let negative = to < from;
    let (late, early) = if negative { (from, to) } else { (to, from) };
    let (y1, m1, d1) = civil_from_days(late.div_euclid(DAY));
    let (y2, m2, d2) = civil_from_days(early.div_euclid(DAY));
    let mut months = (y1 - y2) * 12 + i64::from(m1) - i64::from(m2);
    let mut days = i64::from(d1) - i64::from(d2);
    let mut micros = late.rem_euclid(DAY) - early.rem_euclid(DAY);
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    while days < 0 {
        days += i64::from(days_in_month(y2, m2));
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    let narrow = |n: i64| i32::try_from(n * sign).unwrap_or_default();
    Interval { months: narrow(months), days: narrow(days), micros: micros * sign }
}

fn quoted(call: &Call<'_>, quote: fn(&str) -> String, null: Option<&str>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    call.each_text(|row| match cast(values.get(row)?, &Type::Text, &TextStyle::default())? {
        Value::Text(text) => Ok(Some(quote(&text))),
        _ => Ok(null.map(str::to_owned)),
    })
}

/// A name as it has to be written in a statement.
fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let upper = name.to_ascii_uppercase();
    let reserved = RESERVED_FOR_COLUMN_ALIAS.iter().any(|word| format!("{word:?}") == upper);
    if plain && !reserved { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A text as it has to be written in a statement.
fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

fn count(call: &Call<'_>, counts: impl Fn(&Value) -> bool) -> Result<ArrayRef> {
    let columns = (0..call.args.len()).map(|i| call.values(i)).collect::<Result<Vec<_>>>()?;
    let counted = |row| {
        let mut n = 0;
        for column in &columns {
            n += i32::from(counts(&column.get(row)?));
        }
        Ok(n)
    };
    Ok(Arc::new((0..call.rows).map(counted).collect::<Result<Vec<i32>>>().map(Int32Array::from)?))
}

/// A bound of an array's only dimension.
fn bound(call: &Call<'_>, of: impl Fn(i32) -> i32) -> Result<ArrayRef> {
    let (arrays, dimensions) = (call.values(0)?, call.values(1)?);
    let bound = |row| {
        Ok(match (arrays.get(row)?, dimensions.integer(row)?) {
            (Value::Array(v), Some(1)) if !v.items.is_empty() => i32::try_from(v.items.len()).ok().map(&of),
            _ => None,
        })
    };
    Ok(Arc::new((0..call.rows).map(bound).collect::<Result<Int32Array>>()?))
}
