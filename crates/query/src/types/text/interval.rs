//! `interval` as text: units, SQL's `1-2` and `1 2:03:04`, ISO 8601's `P1Y2M` go in; style `postgres` comes out.

use super::bad_datetime;
use super::datetime::{micros, write_seconds};
use nodedb_base::{Error, Interval, Result};
use std::fmt::Write;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
}

enum Refusal {
    Syntax,
    Range,
}

type Step<T> = std::result::Result<T, Refusal>;

pub(super) fn parse(text: &str) -> Result<Interval> {
    read(text).map_err(|why| match why {
        Refusal::Syntax => bad_datetime("interval", text),
        Refusal::Range => Error::statement("22015", format!("interval field value out of range: \"{text}\"")),
    })
}

fn read(text: &str) -> Step<Interval> {
    let trimmed = super::number::trim(text);
    if trimmed.len() > 256 {
        return Err(Refusal::Syntax);
    }
    match trimmed.strip_prefix('P') {
        Some(body) => iso(body),
        None => units(trimmed),
    }
}

/// A sum of the parts, wide enough not to overflow while it is being built.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
    /// The units that were named: none may come twice.
    seen: u32,
}

impl Sum {
    fn finish(self, negative: bool) -> Step<Interval> {
        let sign = if negative { -1 } else { 1 };
        Ok(Interval {
            months: i32::try_from(self.months * sign).map_err(|_| Refusal::Range)?,
            days: i32::try_from(self.days * sign).map_err(|_| Refusal::Range)?,
            micros: i64::try_from(self.micros * sign).map_err(|_| Refusal::Range)?,
        })
    }

    fn mark(&mut self, unit: Unit) -> Step<()> {
        let bit = 1 << unit as u32;
        if self.seen & bit != 0 {
            return Err(Refusal::Syntax);
        }
        self.seen |= bit;
        Ok(())
    }

    fn add(&mut self, number: Number, unit: Unit) -> Step<()> {
        self.mark(unit)?;
        match unit {
            Unit::Microsecond => self.time(number, 1),
            Unit::Millisecond => self.time(number, 1000),
            Unit::Second => self.time(number, 1_000_000),
            Unit::Minute => self.time(number, 60_000_000),
            Unit::Hour => self.time(number, 3_600_000_000),
            Unit::Day => self.add_days(number, 1),
            Unit::Week => self.add_days(number, 7),
            Unit::Month => {
                self.months += number.whole;
                self.part_of_days(number.fraction * 30.0);
            }
            Unit::Year => self.years(number, 1),
            Unit::Decade => self.years(number, 10),
            Unit::Century => self.years(number, 100),
            Unit::Millennium => self.years(number, 1000),
        }
        Ok(())
    }

    fn time(&mut self, number: Number, unit: i128) {
        self.micros += number.whole * unit + (number.fraction * unit as f64).round_ties_even() as i128;
    }

    fn add_days(&mut self, number: Number, unit: i128) {
        self.days += number.whole * unit;
        self.part_of_days(number.fraction * unit as f64);
    }

    fn part_of_days(&mut self, days: f64) {
        self.days += days.trunc() as i128;
        self.micros += (days.fract() * 86_400_000_000.0).round_ties_even() as i128;
    }

    fn years(&mut self, number: Number, unit: i128) {
        self.months += number.whole * 12 * unit + (number.fraction * (12 * unit) as f64).round_ties_even() as i128;
    }
}

/// A decimal number in two parts of the same sign.
#[derive(Clone, Copy)]
struct Number {
    whole: i128,
    fraction: f64,
}

fn number(text: &str) -> Step<Number> {
    let (negative, body) = sign(text);
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return Err(Refusal::Syntax);
    }
    let size: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Refusal::Range)? };
    let part: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().unwrap_or(0.0) };
    let (size, part) = if negative { (-i128::from(size), -part) } else { (size.into(), part) };
    Ok(Number { whole: size, fraction: part })
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Numbers and words, read from the end: what a number counts is said behind it.
fn units(text: &str) -> Step<Interval> {
    let tokens = tokens(text)?;
    let mut sum = Sum::default();
    let mut unit = Some(Unit::Second);
    let mut ago = false;
    let mut numbers = 0;
    for token in tokens.iter().rev() {
        if token.starts_with(|c: char| c.is_ascii_alphabetic()) {
            if token.eq_ignore_ascii_case("ago") && numbers == 0 && !ago {
                ago = true;
                continue;
            }
            unit = Some(unit_named(token).ok_or(Refusal::Syntax)?);
            continue;
        }
        numbers += 1;
        if token.contains(':') {
            add_clock(token, &mut sum)?;
            unit = Some(Unit::Day);
        } else if token.get(1..).is_some_and(|rest| rest.contains('-')) {
            add_year_month(token, &mut sum)?;
            unit = None;
        } else {
            sum.add(number(token)?, unit.take().ok_or(Refusal::Syntax)?)?;
        }
    }
    // A unit without its number is what is left when the text begins with a word.
    let dangling = tokens.first().is_none_or(|t| t.starts_with(|c: char| c.is_ascii_alphabetic()));
    if numbers == 0 || dangling {
        return Err(Refusal::Syntax);
    }
    sum.finish(ago)
}

fn tokens(text: &str) -> Step<Vec<&str>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | '@'));
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let length = match first {
            'a'..='z' | 'A'..='Z' => rest.find(|c: char| !c.is_ascii_alphabetic()),
            '0'..='9' | '+' | '-' | '.' => rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| !c.is_ascii_digit() && !matches!(c, '.' | ':' | '-'))
                .map(|(at, _)| at),
            _ => return Err(Refusal::Syntax),
        };
        let (token, after) = rest.split_at_checked(length.unwrap_or(rest.len())).ok_or(Refusal::Syntax)?;
        tokens.push(token);
        rest = after;
    }
}

/// `04:05`, `04:05:06.7`, and `05:06.7` when the last part has a point.
fn add_clock(token: &str, sum: &mut Sum) -> Step<()> {
    let (negative, body) = sign(token);
    let (clock, fraction) = body.split_once('.').unwrap_or((body, ""));
    let mut parts = Vec::new();
    for part in clock.split(':') {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        parts.push(if digits {
            part.parse::<i64>().map_err(|_| Refusal::Range)?
        } else {
            return Err(Refusal::Syntax);
        });
    }
    let (h, m, s) = match *parts.as_slice() {
        [m, s] if body.contains('.') => (0, m, s),
        [h, m] => (h, m, 0),
        [h, m, s] => (h, m, s),
        _ => return Err(Refusal::Syntax),
    };
    if m > 59 || s > 60 {
        return Err(Refusal::Range);
    }
    for unit in [Unit::Hour, Unit::Minute, Unit::Second] {
        sum.mark(unit)?;
    }
    let seconds = i128::from(h) * 3600 + i128::from(m * 60 + s);
    let size = seconds * 1_000_000 + i128::from(micros(fraction).ok_or(Refusal::Syntax)?);
    sum.micros += if negative { -size } else { size };
    Ok(())
}

/// SQL's `years-months`.
fn add_year_month(token: &str, sum: &mut Sum) -> Step<()> {
    let (negative, body) = sign(token);
    let (years, months) = body.split_once('-').ok_or(Refusal::Syntax)?;
    let part = |text: &str| text.parse::<u32>().map_err(|_| Refusal::Syntax);
    let (years, months) = (part(years)?, part(months)?);
    if months > 11 {
        return Err(Refusal::Range);
    }
    sum.mark(Unit::Year)?;
    sum.mark(Unit::Month)?;
    let size = i128::from(years) * 12 + i128::from(months);
    sum.months += if negative { -size } else { size };
    Ok(())
}

fn unit_named(word: &str) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "useconds" | "usecond" | "microsecond" | "microseconds" | "microsec"
        | "microsecs" => Unit::Microsecond,
        "ms" | "msec" | "msecs" | "mseconds" | "msecond" | "millisecond" | "milliseconds" | "millisec"
        | "millisecs" => Unit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
        _ => return None,
    })
}

/// What stands behind the `P` of ISO 8601, with designators or as `0001-02-03T04:05:06`.
fn iso(body: &str) -> Step<Interval> {
    let (date, time) = body.split_once('T').unwrap_or((body, ""));
    let mut sum = Sum::default();
    if date.contains(|c: char| c.is_ascii_alphabetic()) || date.is_empty() {
        iso_parts(date, &[('Y', Unit::Year), ('M', Unit::Month), ('W', Unit::Week), ('D', Unit::Day)], &mut sum)?;
    } else {
        let units = [Unit::Year, Unit::Month, Unit::Day];
        let parts = date.split('-').zip(units);
        parts.into_iter().try_for_each(|(part, unit)| sum.add(number(part)?, unit))?;
    }
    if time.contains(':') {
        add_clock(time, &mut sum)?;
    } else {
        iso_parts(time, &[('H', Unit::Hour), ('M', Unit::Minute), ('S', Unit::Second)], &mut sum)?;
    }
    if sum.seen == 0 { Err(Refusal::Syntax) } else { sum.finish(false) }
}

fn iso_parts(mut text: &str, designators: &[(char, Unit)], sum: &mut Sum) -> Step<()> {
    while !text.is_empty() {
        let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(Refusal::Syntax)?;
        let (digits, rest) = text.split_at_checked(at).ok_or(Refusal::Syntax)?;
        let mut rest = rest.chars();
        let letter = rest.next();
        let unit = designators.iter().find(|(c, _)| Some(*c) == letter).ok_or(Refusal::Syntax)?.1;
        sum.add(number(digits)?, unit)?;
        text = rest.as_str();
    }
    Ok(())
}

pub(super) fn write(v: Interval, out: &mut String) {
    let start = out.len();
    let mut before_was_negative = false;
    for (n, name) in [(v.months / 12, "year"), (v.months % 12, "mon"), (v.days, "day")] {
        if n == 0 {
            continue;
        }
        let space = if out.len() > start { " " } else { "" };
        let plus = if before_was_negative && n > 0 { "+" } else { "" };
        let plural = if n == 1 { "" } else { "s" };
        let _ = write!(out, "{space}{plus}{n} {name}{plural}");
        before_was_negative = n < 0;
    }
    if v.micros == 0 && out.len() > start {
        return;
    }
    if out.len() > start {
        out.push(' ');
    }
    if v.micros < 0 {
        out.push('-');
    } else if before_was_negative {
        out.push('+');
    }
    let size = v.micros.unsigned_abs();
    let _ = write!(out, "{:02}:{:02}:", size / 3_600_000_000, size / 60_000_000 % 60);
    write_seconds(size % 60_000_000, out);
}
