//! Time zones: their names, and the offset that holds at a time.

use chrono::offset::{LocalResult, Offset, TimeZone};
use chrono::{DateTime, NaiveDateTime};
use chrono_tz::{TZ_VARIANTS, Tz};
use nodedb_base::{Error, Result};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

/// A zone by its name, whatever the case, as in `SET TimeZone`.
///
/// # Errors
/// 22023 if there is none of that name.
pub fn parse_zone(name: &str) -> Result<Tz> {
    zone_named(name).ok_or_else(|| Error::statement("22023", format!("time zone \"{name}\" not recognized")))
}

pub(super) fn zone_named(name: &str) -> Option<Tz> {
    if let Ok(zone) = name.parse() {
        return Some(zone);
    }
    if name.eq_ignore_ascii_case("z") {
        return Some(Tz::UTC);
    }
    TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)).copied()
}

/// Seconds east of Greenwich of the abbreviations that PostgreSQL knows by default and people use.
pub(super) fn abbreviation(name: &str) -> Option<i64> {
    let hours = match name.to_ascii_uppercase().as_str() {
        "Z" | "UTC" | "GMT" | "UT" | "ZULU" | "WET" => 0.0,
        "BST" | "CET" | "WEST" | "MEZ" => 1.0,
        "CEST" | "EET" | "SAST" | "MESZ" => 2.0,
        "EEST" | "MSK" => 3.0,
        "IST" => 2.0,
        "JST" | "KST" => 9.0,
        "AEST" => 10.0,
        "AEDT" => 11.0,
        "NZST" => 12.0,
        "NZDT" => 13.0,
        "NST" => -3.5,
        "AST" => -4.0,
        "EDT" => -4.0,
        "EST" | "CDT" => -5.0,
        "CST" | "MDT" => -6.0,
        "MST" | "PDT" => -7.0,
        "PST" | "AKDT" => -8.0,
        "AKST" => -9.0,
        "HST" => -10.0,
        _ => return None,
    };
    Some((hours * 3600.0) as i64)
}

/// chrono's calendar ends before ours: times beyond have the offset of its first or last year.
fn naive(micros: i64) -> NaiveDateTime {
    const LAST: i64 = 8_000_000_000_000_000_000;
    DateTime::from_timestamp_micros(micros.clamp(-LAST, LAST)).unwrap_or_default().naive_utc()
}

/// Seconds east of Greenwich at a time in UTC.
pub(crate) fn offset_at(zone: Tz, utc: i64) -> i64 {
    i64::from(zone.offset_from_utc_datetime(&naive(utc)).fix().local_minus_utc())
}

/// What the clocks of a zone show at a time in UTC.
pub(crate) fn local_of(zone: Tz, utc: i64) -> Option<i64> {
    utc.checked_add(offset_at(zone, utc) * SECOND)
}

/// The time in UTC when the clocks of a zone show `local`. In the hour that a zone skips, the offset from
/// before holds; in the hour that it repeats, the one from after: PostgreSQL's choice.
pub(crate) fn utc_of(zone: Tz, local: i64) -> Option<i64> {
    let mut at = local;
    // No zone ever skipped more than a day.
    for _ in 0..=25 {
        let offset = match zone.offset_from_local_datetime(&naive(at)) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => offset,
            LocalResult::None => {
                at = at.checked_sub(HOUR)?;
                continue;
            }
        };
        return local.checked_sub(i64::from(offset.fix().local_minus_utc()) * SECOND);
    }
    None
}
