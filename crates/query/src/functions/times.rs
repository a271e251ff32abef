//! Times and intervals, by PostgreSQL's calendar.

use super::scalar::{Arity, Call, Function};
use crate::types::arrow::{data_type, type_of};
use crate::types::build::column;
use crate::types::coerce::value_type_name;
use crate::types::text::{civil_from_days, days_from_civil, days_in_month, local_of, parse_zone, utc_of};
use crate::types::{TextStyle, cast};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;
use nodedb_base::{Error, Interval, Numeric, Result, Type, Value};
use std::sync::Arc;

const DAY: i64 = 86_400_000_000;
const MONTH: i128 = 30 * DAY as i128;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Arity::{Any, Exactly};
    let interval = || data_type(&Type::Interval);
    [
        Function::new("nodedb_interval_order", Exactly(1), numeric(0), interval_order),
        Function::new("nodedb_interval_scale", Exactly(2), interval(), interval_scale),
        Function::new("nodedb_stamp_diff", Exactly(2), interval(), stamp_diff),
        Function::new("nodedb_stamp_add", Exactly(2), DataType::Null, stamp_add).returning(sum_type),
        Function::new("nodedb_extract", Exactly(2), numeric(0), |c| extract(c, 0)),
        Function::new("nodedb_extract_ms", Exactly(2), numeric(3), |c| extract(c, 3)),
        Function::new("nodedb_extract_s", Exactly(2), numeric(6), |c| extract(c, 6)),
        Function::new("date_part", Exactly(2), DataType::Float64, date_part),
        Function::new("timezone", Exactly(2), DataType::Null, timezone).returning(other_zone),
        Function::new("make_interval", Any, interval(), make_interval),
        Function::new("justify_hours", Exactly(1), interval(), |c| justify(c, true, false)),
        Function::new("justify_days", Exactly(1), interval(), |c| justify(c, false, true)),
        Function::new("justify_interval", Exactly(1), interval(), |c| justify(c, true, true)),
    ]
    .into_iter()
    .map(Function::build)
    .collect()
}

fn numeric(scale: u8) -> DataType {
    data_type(&Type::Numeric { precision: Numeric::MAX_DIGITS, scale })
}

fn out_of_range() -> Error {
    Error::statement("22008", "timestamp out of range")
}

fn interval_of(value: Value) -> Result<Option<Interval>> {
    match cast(value, &Type::Interval, &TextStyle::default())? {
        Value::Interval(v) => Ok(Some(v)),
        _ => Ok(None),
    }
}

/// A result for each row, NULL where an argument is.
fn each(call: &Call<'_>, ty: &Type, of: impl Fn(Value, Value) -> Result<Value>) -> Result<ArrayRef> {
    let (left, right) = (call.values(0)?, call.values(1)?);
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let (a, b) = (left.get(row)?, right.get(row)?);
        out.push(if a.is_null() || b.is_null() { Value::Null } else { of(a, b)? });
    }
    column(ty, &out)
}

/// By what intervals are compared: a month has 30 days, a day 24 hours.
fn interval_order(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let order = interval_of(values.get(row)?)?
            .map(|v| i128::from(v.months) * MONTH + i128::from(v.days) * i128::from(DAY) + i128::from(v.micros));
        out.push(order.map_or(Value::Null, |unscaled| Value::Numeric(Numeric { unscaled, scale: 0 })));
    }
    column(&Type::Numeric { precision: Numeric::MAX_DIGITS, scale: 0 }, &out)
}

/// `interval * factor`; parts of a month become days, parts of a day become hours.
fn interval_scale(call: &Call<'_>) -> Result<ArrayRef> {
    each(call, &Type::Interval, |interval, factor| {
        let Some(v) = interval_of(interval)? else { return Ok(Value::Null) };
        let Value::Float8(factor) = cast(factor, &Type::Float8, &TextStyle::default())? else { return Ok(Value::Null) };
        let months = f64::from(v.months) * factor;
        let days = f64::from(v.days) * factor;
        // Rounded to a millionth of a second, so that no noise of the fractions is seen.
        let month_days = ((months.fract() * 30.0) * 1e6).round() / 1e6;
        let seconds = ((days.fract() + month_days.fract()) * DAY as f64).round();
        let micros = (v.micros as f64).mul_add(factor, seconds).round();
        let narrow = |n: f64| if n.abs() < f64::from(i32::MAX) { Ok(n as i32) } else { Err(interval_range()) };
        if micros.abs() >= i64::MAX as f64 {
            return Err(interval_range());
        }
        let days = narrow(days.trunc() + month_days.trunc())?;
        Ok(Value::Interval(Interval { months: narrow(months.trunc())?, days, micros: micros as i64 }))
    })
}

fn interval_range() -> Error {
    Error::statement("22008", "interval out of range")
}

/// The time between two times, in days and hours.
fn stamp_diff(call: &Call<'_>) -> Result<ArrayRef> {
    each(call, &Type::Interval, |a, b| {
        let (Some(a), Some(b)) = (micros_of(a), micros_of(b)) else { return Ok(Value::Null) };
        let micros = a.checked_sub(b).ok_or_else(interval_range)?;
        let days = i32::try_from(micros / DAY).map_err(|_| interval_range())?;
        Ok(Value::Interval(Interval { months: 0, days, micros: micros % DAY }))
    })
}

fn micros_of(value: Value) -> Option<i64> {
    match value {
        Value::Timestamp(v) | Value::Timestamptz(v) => Some(v),
        Value::Date(v) => Some(i64::from(v) * DAY),
        _ => None,
    }
}

fn is_zoned(ty: &DataType) -> bool {
    matches!(ty, DataType::Timestamp(_, Some(_)))
}

/// A date and an interval make a timestamp.
fn sum_type(types: &[DataType]) -> DataType {
    if types.first().is_some_and(is_zoned) { data_type(&Type::Timestamptz) } else { data_type(&Type::Timestamp) }
}

/// A time and an interval: months by the calendar, days by the clock on the wall, the rest by the hour.
fn stamp_add(call: &Call<'_>) -> Result<ArrayRef> {
    let zone = call.style.zone;
    let zoned = is_zoned(&call.arg(0)?.data_type());
    let ty = if zoned { Type::Timestamptz } else { Type::Timestamp };
    each(call, &ty, |time, interval| {
        let (Some(time), Some(by)) = (micros_of(time), interval_of(interval)?) else { return Ok(Value::Null) };
        if !zoned {
            return Ok(Value::Timestamp(moved(time, by)?.checked_add(by.micros).ok_or_else(out_of_range)?));
        }
        let local = local_of(zone, time).ok_or_else(out_of_range)?;
        let moved = if by.months == 0 && by.days == 0 { Some(time) } else { utc_of(zone, moved(local, by)?) };
        Ok(Value::Timestamptz(moved.and_then(|time| time.checked_add(by.micros)).ok_or_else(out_of_range)?))
    })
}

/// A time some months and days later; the last day of a short month stands for those it does not have.
fn moved(time: i64, by: Interval) -> Result<i64> {
    let (mut days, micros) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    if by.months != 0 {
        let (year, month, day) = civil_from_days(days);
        let months = year * 12 + i64::from(month) - 1 + i64::from(by.months);
        let (year, month) = (months.div_euclid(12), u32::try_from(months.rem_euclid(12) + 1).unwrap_or(1));
        days = days_from_civil(year, month, day.min(days_in_month(year, month)));
    }
    let days = days.checked_add(by.days.into()).ok_or_else(out_of_range)?;
    days.checked_mul(DAY).and_then(|time| time.checked_add(micros)).ok_or_else(out_of_range)
}

fn other_zone(types: &[DataType]) -> DataType {
    let zoned = types.get(1).is_some_and(is_zoned);
    data_type(if zoned { &Type::Timestamp } else { &Type::Timestamptz })
}

/// `time AT TIME ZONE zone`
fn timezone(call: &Call<'_>) -> Result<ArrayRef> {
    let zoned = is_zoned(&call.arg(1)?.data_type());
    let ty = if zoned { Type::Timestamp } else { Type::Timestamptz };
    each(call, &ty, |zone, time| {
        let Value::Text(zone) = zone else { return Err(Error::unsupported("AT TIME ZONE with an interval")) };
        let unknown = |_| Error::statement("22023", format!("time zone \"{zone}\" not recognized"));
        let zone = parse_zone(&zone).map_err(unknown)?;
        Ok(match time {
            Value::Timestamptz(v) => Value::Timestamp(local_of(zone, v).ok_or_else(out_of_range)?),
            other => match cast(other, &Type::Timestamp, &call.style)? {
                Value::Timestamp(v) => Value::Timestamptz(utc_of(zone, v).ok_or_else(out_of_range)?),
                _ => Value::Null,
            },
        })
    })
}

fn extract(call: &Call<'_>, scale: u8) -> Result<ArrayRef> {
    let ty = Type::Numeric { precision: Numeric::MAX_DIGITS, scale };
    each(call, &ty, |part, time| {
        let found = part_of(&part, &time, &call.style)?;
        found.rescale(scale).map(Value::Numeric).ok_or_else(out_of_range)
    })
}

fn date_part(call: &Call<'_>) -> Result<ArrayRef> {
    each(call, &Type::Float8, |part, time| {
        cast(Value::Numeric(part_of(&part, &time, &call.style)?), &Type::Float8, &call.style)
    })
}

fn part_of(part: &Value, time: &Value, style: &TextStyle) -> Result<Numeric> {
    let Value::Text(part) = part else { return Err(Error::internal("the part of a time is no text")) };
    let part = part.to_lowercase();
    let part = part.trim_end_matches('s');
    let found = match time {
        Value::Interval(v) => interval_part(part, *v),
        Value::Time(v) => clock_part(part, *v).or_else(|| (part == "epoch").then(|| seconds(*v))),
        Value::Timestamptz(v) => {
            let local = local_of(style.zone, *v).ok_or_else(out_of_range)?;
            match part {
                "epoch" => Some(seconds(*v)),
                "timezone" => Some(whole((local - v) / 1_000_000)),
                "timezone_hour" => Some(whole((local - v) / 3_600_000_000)),
                "timezone_minute" => Some(whole((local - v) / 60_000_000 % 60)),
                _ => stamp_part(part, local),
            }
        }
        Value::Timestamp(v) if part == "epoch" => Some(seconds(*v)),
        Value::Timestamp(v) => stamp_part(part, *v),
        Value::Date(v) if part == "epoch" => Some(whole(i64::from(*v) * 86_400)),
        Value::Date(v) => calendar_part(part, (*v).into()),
        _ => None,
    };
    found.ok_or_else(|| {
        let ty = value_type_name(time);
        Error::statement("22023", format!("unit \"{part}\" not recognized for type {ty}"))
    })
}

fn whole(n: i64) -> Numeric {
    Numeric { unscaled: n.into(), scale: 0 }
}

fn seconds(micros: i64) -> Numeric {
    Numeric { unscaled: micros.into(), scale: 6 }
}

fn stamp_part(part: &str, local: i64) -> Option<Numeric> {
    clock_part(part, local.rem_euclid(DAY)).or_else(|| calendar_part(part, local.div_euclid(DAY)))
}

fn clock_part(part: &str, micros: i64) -> Option<Numeric> {
    let minute = micros % 60_000_000;
    Some(match part {
        "hour" => whole(micros / 3_600_000_000),
        "minute" => whole(micros / 60_000_000 % 60),
        "second" => seconds(minute),
        "millisecond" => Numeric { unscaled: minute.into(), scale: 3 },
        "microsecond" => whole(minute),
        _ => return None,
    })
}

fn calendar_part(part: &str, days: i64) -> Option<Numeric> {
    let (year, month, day) = civil_from_days(days);
    let weekday = (days + 3).rem_euclid(7);
    // The week belongs to the year of its Thursday.
    let thursday = days - weekday + 3;
    let week_year = civil_from_days(thursday).0;
    let counted = |size: i64| if year > 0 { (year + size - 1) / size } else { -((size - year) / size) };
    // There was no year 0.
    let named = |year: i64| if year > 0 { year } else { year - 1 };
    Some(whole(match part {
        "year" => named(year),
        "month" => month.into(),
        "day" => day.into(),
        "quarter" => i64::from(month - 1) / 3 + 1,
        "decade" => year.div_euclid(10),
        "century" | "centurie" => counted(100),
        "millennium" => counted(1000),
        "dow" => (weekday + 1) % 7,
        "isodow" => weekday + 1,
        "doy" => days - days_from_civil(year, 1, 1) + 1,
        "week" => (thursday - days_from_civil(week_year, 1, 1)) / 7 + 1,
        "isoyear" => named(week_year),
        "julian" => days + 2_440_588,
        _ => return None,
    }))
}

fn interval_part(part: &str, v: Interval) -> Option<Numeric> {
    let (years, months) = (i64::from(v.months / 12), i64::from(v.months % 12));
    Some(match part {
        "year" => whole(years),
        "month" => whole(months),
        "day" => whole(v.days.into()),
        "quarter" => whole(months / 3 + 1),
        "decade" => whole(years / 10),
        "century" | "centurie" => whole(years / 100),
        "millennium" => whole(years / 1000),
        "epoch" => {
            let days = i128::from(years) * 1_461 * i128::from(DAY) / 4;
            let rest = i128::from(months) * MONTH + i128::from(v.days) * i128::from(DAY) + i128::from(v.micros);
            Numeric { unscaled: days + rest, scale: 6 }
        }
        _ => return clock_part(part, v.micros),
    })
}

/// Years, months, weeks, days, hours, minutes, seconds.
fn make_interval(call: &Call<'_>) -> Result<ArrayRef> {
    const UNITS: [(i64, i64, i64); 6] =
        [(12, 0, 0), (1, 0, 0), (0, 7, 0), (0, 1, 0), (0, 0, 3_600_000_000), (0, 0, 60_000_000)];
    let args = (0..call.args.len()).map(|at| call.values(at)).collect::<Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let (mut months, mut days, mut micros) = (0_i64, 0_i64, 0_i64);
        for (arg, (m, d, u)) in args.iter().zip(UNITS) {
            let n = arg.integer(row)?.unwrap_or(0);
            (months, days, micros) = (months + m * n, days + d * n, micros + u * n);
        }
        if let Some(last) = args.get(6)
            && let Value::Float8(seconds) = cast(last.get(row)?, &Type::Float8, &call.style)?
        {
            micros += (seconds * 1e6).round() as i64;
        }
        let narrow = |n: i64| i32::try_from(n).map_err(|_| interval_range());
        out.push(Value::Interval(Interval { months: narrow(months)?, days: narrow(days)?, micros }));
    }
    column(&Type::Interval, &out)
}

fn justify(call: &Call<'_>, hours: bool, days: bool) -> Result<ArrayRef> {
    let values = call.values(0)?;
    let mut out = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let justified = interval_of(values.get(row)?)?.map(|v| justified(v, hours, days));
        out.push(Value::from(justified));
    }
    column(&Type::Interval, &out)
}

fn justified(mut v: Interval, hours: bool, days: bool) -> Interval {
    if hours {
        v.days += (v.micros / DAY) as i32;
        v.micros %= DAY;
    }
    if days {
        v.months += v.days / 30;
        v.days %= 30;
    }
    // Then all have the sign of the greatest unit that is not zero.
    if days && (v.months > 0 && (v.days < 0 || (v.days == 0 && v.micros < 0))) {
        (v.months, v.days) = (v.months - 1, v.days + 30);
    } else if days && (v.months < 0 && (v.days > 0 || (v.days == 0 && v.micros > 0))) {
        (v.months, v.days) = (v.months + 1, v.days - 30);
    }
    if hours && v.days > 0 && v.micros < 0 {
        (v.days, v.micros) = (v.days - 1, v.micros + DAY);
    } else if hours && v.days < 0 && v.micros > 0 {
        (v.days, v.micros) = (v.days + 1, v.micros - DAY);
    }
    v
}

/// Whether a type is a timestamp or a date.
pub(super) fn is_stamp(ty: &DataType) -> bool {
    matches!(type_of(ty), Ok(Type::Timestamp | Type::Timestamptz | Type::Date))
}
