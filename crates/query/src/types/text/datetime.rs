//! Dates and times as text: what people write goes in (in the order month, day, year), ISO comes out.

use super::bad_datetime;
use super::calendar::{DAY, civil_from_days, days_from_civil, days_in_month, micros_of};
use super::zone::{abbreviation, offset_at, utc_of, zone_named};
use chrono_tz::Tz;
use nodedb_base::{Error, Result};
use std::fmt::Write;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// 4714-11-24 BC, day 0 of the Julian count, and the first day after 5874897-12-31.
const FIRST_DAY: i64 = -2_440_588;
const END_DAY: i64 = 2_145_042_906;

/// What has been read so far.
#[derive(Default)]
struct Fields {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    days: Option<i64>,
    time: Option<i64>,
    zone: Option<Zone>,
    bc: bool,
    afternoon: Option<bool>,
}

enum Zone {
    Offset(i64),
    Named(Tz),
}

/// Why a text was refused.
enum Refusal {
    Syntax,
    Range,
    /// A month or day that might be right in another order.
    Order,
    Unsupported(&'static str),
    UnknownZone(String),
    ZoneRange,
}

type Step<T> = std::result::Result<T, Refusal>;

impl Refusal {
    fn into_error(self, ty: &str, text: &str) -> Error {
        let range = || Error::statement("22008", format!("date/time field value out of range: \"{text}\""));
        match self {
            Self::Syntax => bad_datetime(ty, text),
            Self::Range => range(),
            Self::Order => range().with_hint("Perhaps you need a different \"datestyle\" setting."),
            Self::Unsupported(what) => Error::unsupported(format!("the value \"{what}\" of type {ty}")),
            Self::UnknownZone(name) => Error::statement("22023", format!("time zone \"{name}\" not recognized")),
            Self::ZoneRange => Error::statement("22009", format!("time zone displacement out of range: \"{text}\"")),
        }
    }
}

pub(super) fn parse_date(text: &str) -> Result<i32> {
    let days = fields(text).and_then(|f| f.date()).map_err(|why| why.into_error("date", text))?;
    let in_range = (FIRST_DAY..END_DAY).contains(&days);
    let days = in_range.then(|| i32::try_from(days).ok()).flatten();
    days.ok_or_else(|| Error::statement("22008", format!("date out of range: \"{text}\"")))
}

pub(super) fn parse_time(text: &str) -> Result<i64> {
    let ty = "time";
    let digits = super::number::trim(text);
    if matches!(digits.len(), 4 | 6) && digits.bytes().all(|b| b.is_ascii_digit()) {
        return time_of_day(digits).map_err(|why| why.into_error(ty, text));
    }
    let fields = fields(text).map_err(|why| why.into_error(ty, text))?;
    fields.time.ok_or_else(|| bad_datetime(ty, text))
}

pub(super) fn parse_timestamp(text: &str) -> Result<i64> {
    let local = fields(text).and_then(|f| f.local()).map_err(|why| why.into_error("timestamp", text))?;
    local.ok_or_else(|| Error::statement("22008", format!("timestamp out of range: \"{text}\"")))
}

pub(super) fn parse_timestamptz(text: &str, session: Tz) -> Result<i64> {
    let ty = "timestamp with time zone";
    let fields = fields(text).map_err(|why| why.into_error(ty, text))?;
    let local = fields.local().map_err(|why| why.into_error(ty, text))?;
    let utc = local.and_then(|local| match fields.zone {
        Some(Zone::Offset(seconds)) => local.checked_sub(seconds * SECOND),
        Some(Zone::Named(zone)) => utc_of(zone, local),
        None => utc_of(session, local),
    });
    utc.ok_or_else(|| Error::statement("22008", format!("timestamp out of range: \"{text}\"")))
}

fn fields(text: &str) -> Step<Fields> {
    let mut fields = Fields::default();
    if text.len() > 128 {
        return Err(Refusal::Syntax);
    }
    let words = text.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|w| !w.is_empty());
    for word in words {
        match split_at_t(word) {
            Some((date, time)) => {
                fields.word(date)?;
                fields.clock(time)?;
            }
            None => fields.word(word)?,
        }
    }
    fields.apply_half_of_day()?;
    Ok(fields)
}

/// `2024-01-01T10:00` is two words.
fn split_at_t(word: &str) -> Option<(&str, &str)> {
    let (date, time) = word.split_once(['T', 't'])?;
    let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_digit);
    (digit(date.as_bytes().last()) && digit(time.as_bytes().first())).then_some((date, time))
}

impl Fields {
    fn word(&mut self, word: &str) -> Step<()> {
        let first = word.bytes().next().unwrap_or(b' ');
        if word.contains(':') && first.is_ascii_digit() {
            return self.clock(word);
        }
        if matches!(first, b'+' | b'-') {
            return self.set_zone(Zone::Offset(offset(word)?));
        }
        if first.is_ascii_digit() {
            return if word.bytes().all(|b| b.is_ascii_digit()) { self.digits(word) } else { self.date_parts(word) };
        }
        self.name(word)
    }

    fn name(&mut self, word: &str) -> Step<()> {
        match word.to_ascii_lowercase().as_str() {
            "bc" => self.bc = true,
            "ad" => {}
            "am" => self.afternoon = Some(false),
            "pm" => self.afternoon = Some(true),
            "epoch" => {
                self.days = Some(0);
                self.time.get_or_insert(0);
            }
            "now" => return Err(Refusal::Unsupported("now")),
            "today" => return Err(Refusal::Unsupported("today")),
            "tomorrow" => return Err(Refusal::Unsupported("tomorrow")),
            "yesterday" => return Err(Refusal::Unsupported("yesterday")),
            "allballs" => self.time = Some(0),
            "infinity" | "inf" => return Err(Refusal::Unsupported("infinity")),
            _ => return self.other_name(word),
        }
        Ok(())
    }

    fn other_name(&mut self, word: &str) -> Step<()> {
        if let Some(digits) = word.strip_prefix(['J', 'j']).filter(|d| d.starts_with(|c: char| c.is_ascii_digit())) {
            let day: i64 = digits.parse().map_err(|_| Refusal::Syntax)?;
            self.days = Some(day.checked_add(FIRST_DAY).ok_or(Refusal::Range)?);
            return Ok(());
        }
        if word.contains(['-', '/', '.'])
            && word.contains(|c: char| c.is_ascii_digit())
            && month(word.get(..3)).is_some()
        {
            return self.date_parts(word);
        }
        if let Some(month) = month(Some(word)) {
            return set(&mut self.month, month);
        }
        if is_weekday(word) {
            return Ok(());
        }
        self.set_zone(zone(word)?)
    }

    fn set_zone(&mut self, zone: Zone) -> Step<()> {
        set(&mut self.zone, zone)
    }

    /// A run of digits: a whole date, a day beside a month's name, or a year.
    fn digits(&mut self, word: &str) -> Step<()> {
        if matches!(word.len(), 8) && self.day.is_none() && self.month.is_none() {
            let (year, rest) = word.split_at_checked(4).ok_or(Refusal::Syntax)?;
            let (month, day) = rest.split_at_checked(2).ok_or(Refusal::Syntax)?;
            return self.set_date(number(year)?, narrow(month)?, narrow(day)?);
        }
        if self.month.is_some() && self.day.is_none() && word.len() <= 2 {
            return set(&mut self.day, narrow(word)?);
        }
        if self.month.is_none() && word.len() <= 2 && self.day.is_none() && self.year.is_none() {
            return set(&mut self.day, narrow(word)?);
        }
        if self.days.is_some() || self.year.is_some() {
            return if word.len() == 6 || word.len() == 4 { self.clock(word) } else { Err(Refusal::Syntax) };
        }
        set(&mut self.year, year(word)?)
    }

    fn set_date(&mut self, year: i64, month: u32, day: u32) -> Step<()> {
        set(&mut self.year, year)?;
        set(&mut self.month, month)?;
        set(&mut self.day, day)
    }

    /// `2024-01-15`, `1/8/1999`, `1999-Jan-08`, `Jan-08-1999`, `08-Jan-1999`, `2024-001`.
    fn date_parts(&mut self, word: &str) -> Step<()> {
        let parts: Vec<&str> = word.split(['-', '/', '.']).collect();
        match *parts.as_slice() {
            [y, d] if y.len() >= 4 && d.len() == 3 => {
                let (y, d) = (number(y)?, i64::from(narrow(d)?));
                let leap = i64::from(days_in_month(y, 2) == 29);
                if d < 1 || d > 365 + leap {
                    return Err(Refusal::Range);
                }
                set(&mut self.days, days_from_civil(y, 1, 1) + d - 1)
            }
            [a, b, c] => {
                let long = |part: &str| part.len() >= 3 && part.bytes().all(|x| x.is_ascii_digit());
                if let Some(m) = month(Some(a)) {
                    return self.set_date(year(c)?, m, narrow(b)?);
                }
                if let Some(m) = month(Some(b)) {
                    let (y, d) = if long(a) { (a, c) } else { (c, a) };
                    return self.set_date(year(y)?, m, narrow(d)?);
                }
                if long(a) {
                    return self.set_date(number(a)?, narrow(b)?, narrow(c)?);
                }
                self.set_date(year(c)?, narrow(a)?, narrow(b)?)
            }
            _ => Err(Refusal::Syntax),
        }
    }

    /// A time of day, perhaps with a zone right behind it.
    fn clock(&mut self, word: &str) -> Step<()> {
        let end = word.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.')).unwrap_or(word.len());
        let (time, rest) = word.split_at_checked(end).ok_or(Refusal::Syntax)?;
        set(&mut self.time, time_of_day(time)?)?;
        match rest.to_ascii_lowercase().as_str() {
            "" => Ok(()),
            "am" => set(&mut self.afternoon, false),
            "pm" => set(&mut self.afternoon, true),
            _ => self.set_zone(if rest.starts_with(['+', '-']) { Zone::Offset(offset(rest)?) } else { zone(rest)? }),
        }
    }

    fn apply_half_of_day(&mut self) -> Step<()> {
        let (Some(afternoon), Some(time)) = (self.afternoon, self.time) else { return Ok(()) };
        if time >= 13 * HOUR {
            return Err(Refusal::Range);
        }
        let morning = if time >= 12 * HOUR { time - 12 * HOUR } else { time };
        self.time = Some(if afternoon { morning + 12 * HOUR } else { morning });
        Ok(())
    }

    /// Days since 1970-01-01.
    fn date(&self) -> Step<i64> {
        if let Some(days) = self.days {
            return Ok(days);
        }
        let (Some(year), Some(month), Some(day)) = (self.year, self.month, self.day) else {
            return Err(Refusal::Syntax);
        };
        if year == 0 {
            return Err(Refusal::Range);
        }
        let year = if self.bc { 1 - year } else { year };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(Refusal::Order);
        }
        if day > days_in_month(year, month) {
            return Err(Refusal::Range);
        }
        Ok(days_from_civil(year, month, day))
    }

    /// Microseconds since 1970-01-01 on the clocks of the place; `None` if out of range.
    fn local(&self) -> Step<Option<i64>> {
        let days = self.date()?;
        Ok(micros_of(days, self.time.unwrap_or(0)).filter(|_| days >= FIRST_DAY))
    }
}

/// A field that is named twice is an error.
fn set<T>(field: &mut Option<T>, value: T) -> Step<()> {
    if field.is_some() {
        return Err(Refusal::Syntax);
    }
    *field = Some(value);
    Ok(())
}

fn number(text: &str) -> Step<i64> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::Syntax);
    }
    text.parse().map_err(|_| Refusal::Syntax)
}

fn narrow(text: &str) -> Step<u32> {
    u32::try_from(number(text)?).map_err(|_| Refusal::Syntax)
}

/// A year of two digits lies between 1970 and 2069.
fn year(text: &str) -> Step<i64> {
    let year = number(text)?;
    Ok(match (text.len(), year) {
        (..=2, 0..70) => year + 2000,
        (..=2, _) => year + 1900,
        _ => year,
    })
}

fn month(name: Option<&str>) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let name = name?.to_ascii_lowercase();
    let at = MONTHS.iter().position(|m| {
        name.len() >= 3 && (*m == name || m.get(..3) == Some(&name) || name == "sept" && m.starts_with("sept"))
    })?;
    u32::try_from(at + 1).ok()
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.to_ascii_lowercase();
    word.len() >= 3 && DAYS.iter().any(|d| d.starts_with(&word))
}

/// `HH:MM`, `HH:MM:SS.ffffff`, `HHMM` or `HHMMSS`, in microseconds.
fn time_of_day(text: &str) -> Step<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = if clock.contains(':') {
        clock.split(':').collect()
    } else {
        let even = clock.len() == 4 || clock.len() == 6;
        (0..clock.len()).step_by(2).filter_map(|at| clock.get(at..at + 2)).filter(|_| even).collect()
    };
    let (h, m, s) = match *parts.as_slice() {
        [h, m] if fraction.is_empty() => (number(h)?, number(m)?, 0),
        [h, m, s] => (number(h)?, number(m)?, number(s)?),
        _ => return Err(Refusal::Syntax),
    };
    let micros = h * HOUR + m * MINUTE + s * SECOND + micros(fraction).ok_or(Refusal::Syntax)?;
    if m > 59 || s > 60 || micros > DAY {
        return Err(Refusal::Range);
    }
    Ok(micros)
}

/// The digits behind the point of a second, rounded to microseconds.
pub(super) fn micros(fraction: &str) -> Option<i64> {
    let mut value = 0;
    let mut digits = fraction.bytes();
    for _ in 0..6 {
        let digit = digits.next().unwrap_or(b'0');
        value = value * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    let next = digits.next();
    let rest_is_digits = next.is_none_or(|b| b.is_ascii_digit()) && digits.all(|b| b.is_ascii_digit());
    rest_is_digits.then(|| value + i64::from(next.is_some_and(|b| b >= b'5')))
}

/// `+05`, `-0730`, `+05:30`, `-03:30:52`, in seconds.
fn offset(text: &str) -> Step<i64> {
    let (sign, body) = match text.split_at_checked(1) {
        Some(("-", body)) => (-1, body),
        Some((_, body)) => (1, body),
        None => return Err(Refusal::Syntax),
    };
    let parts: Vec<&str> = match body.len() {
        4 if !body.contains(':') => [body.get(..2), body.get(2..)].into_iter().flatten().collect(),
        _ => body.split(':').collect(),
    };
    let mut seconds = 0;
    if parts.len() > 3 {
        return Err(Refusal::Syntax);
    }
    for (part, unit) in parts.iter().zip([3600, 60, 1]) {
        let n = number(part)?;
        if n > if unit == 3600 { 15 } else { 59 } {
            return Err(Refusal::ZoneRange);
        }
        seconds += n * unit;
    }
    Ok(sign * seconds)
}

fn zone(name: &str) -> Step<Zone> {
    if let Some(seconds) = abbreviation(name) {
        return Ok(Zone::Offset(seconds));
    }
    let looks_like_one = name.contains(['/', '_']);
    match zone_named(name) {
        Some(zone) => Ok(Zone::Named(zone)),
        None if looks_like_one => Err(Refusal::UnknownZone(name.to_owned())),
        None => Err(Refusal::Syntax),
    }
}

pub(super) fn write_date(days: i32, out: &mut String) {
    if write_day(days.into(), out) {
        out.push_str(" BC");
    }
}

/// Whether the year is one before Christ.
fn write_day(days: i64, out: &mut String) -> bool {
    let (year, month, day) = civil_from_days(days);
    let shown = if year > 0 { year } else { 1 - year };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    year <= 0
}

pub(super) fn write_time(micros: i64, out: &mut String) {
    let (minutes, rest) = (micros.div_euclid(MINUTE), micros.rem_euclid(MINUTE));
    let _ = write!(out, "{:02}:{:02}:", minutes / 60, minutes % 60);
    write_seconds(rest.unsigned_abs(), out);
}

/// Seconds in two digits, and what is behind the point without trailing zeros.
pub(super) fn write_seconds(micros: u64, out: &mut String) {
    let _ = write!(out, "{:02}", micros / 1_000_000);
    let fraction = micros % 1_000_000;
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

pub(super) fn write_timestamp(micros: i64, out: &mut String) {
    if write_local(micros, out) {
        out.push_str(" BC");
    }
}

fn write_local(micros: i64, out: &mut String) -> bool {
    let bc = write_day(micros.div_euclid(DAY), out);
    out.push(' ');
    write_time(micros.rem_euclid(DAY), out);
    bc
}

pub(super) fn write_timestamptz(micros: i64, zone: Tz, out: &mut String) {
    let offset = offset_at(zone, micros);
    let bc = write_local(micros.saturating_add(offset * SECOND), out);
    let size = offset.unsigned_abs();
    let _ = write!(out, "{}{:02}", if offset < 0 { '-' } else { '+' }, size / 3600);
    if !size.is_multiple_of(3600) {
        let _ = write!(out, ":{:02}", size / 60 % 60);
    }
    if !size.is_multiple_of(60) {
        let _ = write!(out, ":{:02}", size % 60);
    }
    if bc {
        out.push_str(" BC");
    }
}
