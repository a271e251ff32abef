//! Asking and changing canonical texts.

use super::scan::{as_text, element, elements, field, key, members};
use super::{compare_keys, kind_of, unquote, write_string};
use crate::types::text::{TextStyle, print};
use nodedb_base::{Error, Result, Value};
use std::cmp::Ordering;

/// Deeper than any text that was parsed.
const MAX_DEPTH: usize = 512;

fn is_container(text: &str) -> bool {
    text.starts_with(['{', '['])
}

/// `left @> right`.
#[must_use]
pub fn contains(left: &str, right: &str) -> bool {
    if !is_container(right) && left.starts_with('[') {
        return elements(left).is_some_and(|mut all| all.any(|item| same_scalar(item, right)));
    }
    contains_nested(left, right, 0)
}

fn contains_nested(left: &str, right: &str, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    if let Some(mut wanted) = members(right) {
        return left.starts_with('{')
            && wanted
                .all(|(name, value)| field(left, name).is_some_and(|found| contains_nested(found, value, depth + 1)));
    }
    if let Some(mut wanted) = elements(right) {
        return left.starts_with('[')
            && wanted.all(|value| {
                elements(left).is_some_and(|mut all| all.any(|found| contains_nested(found, value, depth + 1)))
            });
    }
    same_scalar(left, right)
}

fn same_scalar(a: &str, b: &str) -> bool {
    if is_container(a) || is_container(b) {
        return false;
    }
    a == b || (kind_of(a) == "numeric" && kind_of(b) == "numeric" && significant(a) == significant(b))
}

/// A number without the zeros at its end that change nothing.
fn significant(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// `text ? name`: a key of an object, or a string in an array, or the string itself.
#[must_use]
pub fn exists(text: &str, name: &str) -> bool {
    let quoted = key(name);
    match (members(text), elements(text)) {
        (Some(mut all), _) => all.any(|(name, _)| name == quoted),
        (_, Some(mut all)) => all.any(|item| item == quoted),
        _ => text == quoted,
    }
}

/// `left || right`: objects are merged, everything else becomes one array.
///
/// # Errors
/// Only if a text is not canonical.
pub fn concat(left: &str, right: &str) -> Result<String> {
    if let (Some(a), Some(b)) = (members(left), members(right)) {
        return merge(a.collect(), b.collect());
    }
    let items = |text| -> Vec<&str> { elements(text).map_or_else(|| vec![text], Iterator::collect) };
    Ok(array(items(left).into_iter().chain(items(right))))
}

fn merge(a: Vec<(&str, &str)>, b: Vec<(&str, &str)>) -> Result<String> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (Some((x, _)), Some((y, _))) => compare_quoted(x, y)?,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(object(all)),
        };
        // Of equal keys, the right one stays.
        if order == Ordering::Equal {
            a.next();
        }
        all.extend(if order == Ordering::Less { a.next() } else { b.next() });
    }
}

fn compare_quoted(a: &str, b: &str) -> Result<Ordering> {
    Ok(compare_keys(&unquote(a)?, &unquote(b)?))
}

pub(crate) fn array<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::from("[");
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(item);
    }
    out.push(']');
    out
}

/// An object of members whose keys are quoted and in order.
pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in members.into_iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
    }
    out.push('}');
    out
}

fn scalar_error(doing: &str) -> Error {
    Error::statement("22023", format!("cannot {doing} scalar"))
}

/// `text - names`: without the members, or the strings, of those names.
///
/// # Errors
/// 22023 for a scalar.
pub fn delete_keys(text: &str, names: &[&str]) -> Result<String> {
    let quoted: Vec<String> = names.iter().map(|name| key(name)).collect();
    let kept = |name: &str| !quoted.iter().any(|q| q == name);
    match (members(text), elements(text)) {
        (Some(all), _) => Ok(object(all.filter(|(name, _)| kept(name)))),
        (_, Some(all)) => Ok(array(all.filter(|item| kept(item)))),
        _ => Err(scalar_error("delete from")),
    }
}

/// `text - name`.
///
/// # Errors
/// 22023 for a scalar.
pub fn delete_key(text: &str, name: &str) -> Result<String> {
    delete_keys(text, &[name])
}

/// `text - index`: without that element, counted from the end if negative.
///
/// # Errors
/// 22023 for anything but an array.
pub fn delete_index(text: &str, index: i64) -> Result<String> {
    if text.starts_with('{') {
        return Err(Error::statement("22023", "cannot delete from object using integer index"));
    }
    let all: Vec<&str> = elements(text).ok_or_else(|| scalar_error("delete from"))?.collect();
    let gone = position(index, all.len());
    Ok(array(all.into_iter().enumerate().filter(|(at, _)| Some(*at) != gone).map(|(_, item)| item)))
}

/// Where an index points, if it does.
fn position(index: i64, length: usize) -> Option<usize> {
    let size = usize::try_from(index.unsigned_abs()).ok()?;
    let at = if index < 0 { length.checked_sub(size)? } else { size };
    (at < length).then_some(at)
}

/// What to do at the end of a path.
#[derive(Clone, Copy)]
enum Change<'a> {
    Delete,
    Set { value: &'a str, create: bool },
}

/// `text #- steps`: without what lies at the end of the path.
///
/// # Errors
/// 22023 for a scalar, 22P02 for a step into an array that is no number.
pub fn delete_path(text: &str, steps: &[&str]) -> Result<String> {
    if !is_container(text) {
        return Err(scalar_error("delete path in"));
    }
    change(text, steps, 1, Change::Delete)
}

/// `jsonb_set`: puts `value` at the end of the path; if nothing lies there, only when `create` says so.
///
/// # Errors
/// As [`delete_path`].
pub fn set_path(text: &str, steps: &[&str], value: &str, create: bool) -> Result<String> {
    if !is_container(text) {
        return Err(scalar_error("set path in"));
    }
    change(text, steps, 1, Change::Set { value, create })
}

fn change(text: &str, steps: &[&str], level: usize, how: Change<'_>) -> Result<String> {
    let Some((step, rest)) = steps.split_first() else { return Ok(text.to_owned()) };
    if level > MAX_DEPTH || !is_container(text) {
        return Ok(text.to_owned());
    }
    match members(text) {
        Some(all) => change_object(all.collect(), step, rest, level, how),
        None => change_array(text, step, rest, level, how),
    }
}

/// The new text of the value at a step, `None` if it goes.
fn changed(old: &str, rest: &[&str], level: usize, how: Change<'_>) -> Result<Option<String>> {
    match (rest.is_empty(), how) {
        (true, Change::Delete) => Ok(None),
        (true, Change::Set { value, .. }) => Ok(Some(value.to_owned())),
        (false, how) => change(old, rest, level + 1, how).map(Some),
    }
}

fn change_object(all: Vec<(&str, &str)>, step: &str, rest: &[&str], level: usize, how: Change<'_>) -> Result<String> {
    let quoted = key(step);
    if let Some(at) = all.iter().position(|(name, _)| *name == quoted) {
        let new = changed(all.get(at).map_or("", |(_, value)| value), rest, level, how)?;
        let mut all = all;
        match (&new, all.get_mut(at)) {
            (Some(new), Some(slot)) => slot.1 = new,
            _ => drop(all.remove(at)),
        }
        return Ok(object(all));
    }
    let mut all = all;
    if let (true, Change::Set { value, create: true }) = (rest.is_empty(), how) {
        let mut at = 0;
        for (name, _) in &all {
            if compare_quoted(name, &quoted)? == Ordering::Greater {
                break;
            }
            at += 1;
        }
        all.insert(at, (&quoted, value));
    }
    Ok(object(all))
}

fn change_array(text: &str, step: &str, rest: &[&str], level: usize, how: Change<'_>) -> Result<String> {
    let index: i64 = step.trim().parse().map_err(|_| {
        Error::statement("22P02", format!("path element at position {level} is not an integer: \"{step}\""))
    })?;
    let all: Vec<&str> = elements(text).map(Iterator::collect).unwrap_or_default();
    if let Some(at) = position(index, all.len()) {
        let new = changed(element(text, index).unwrap_or_default(), rest, level, how)?;
        let mut all = all;
        match (&new, all.get_mut(at)) {
            (Some(new), Some(slot)) => *slot = new,
            _ => drop(all.remove(at)),
        }
        return Ok(array(all));
    }
    let mut all = all;
    if let (true, Change::Set { value, create: true }) = (rest.is_empty(), how) {
        all.insert(if index < 0 { 0 } else { all.len() }, value);
    }
    Ok(array(all))
}

/// `to_jsonb(value)`: numbers, booleans and arrays as JSON's, everything else as a string.
///
/// # Errors
/// Only if a `jsonb` value is not canonical.
pub fn of_value(value: &Value, style: &TextStyle) -> Result<String> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(v) => v.to_string(),
        Value::Jsonb(v) => v.clone(),
        Value::Int2(_) | Value::Int4(_) | Value::Int8(_) | Value::Numeric(_) => print(value, style),
        Value::Float4(v) if v.is_finite() => super::canonical(&print(value, style))?,
        Value::Float8(v) if v.is_finite() => super::canonical(&print(value, style))?,
        Value::Array(v) => {
            let items = v.items.iter().map(|item| of_value(item, style)).collect::<Result<Vec<_>>>()?;
            array(items.iter().map(String::as_str))
        }
        Value::Vector(v) => {
            let items = v.iter().map(|n| of_value(&Value::Float4(*n), style)).collect::<Result<Vec<_>>>()?;
            array(items.iter().map(String::as_str))
        }
        other => {
            let mut out = String::new();
            write_string(&iso(other, style), &mut out);
            out
        }
    })
}

/// The text of a value, times as ISO 8601 has them.
fn iso(value: &Value, style: &TextStyle) -> String {
    let mut text = print(value, style);
    if matches!(value, Value::Timestamp(_) | Value::Timestamptz(_))
        && let Some(at) = text.find(' ')
    {
        text.replace_range(at..=at, "T");
        if let (Value::Timestamptz(_), Some(sign)) = (value, text.rfind(['+', '-'])) {
            let hours_only = text.len() - sign == 3;
            text.push_str(if hours_only { ":00" } else { "" });
        }
    }
    text
}

/// An object of these pairs; of equal keys the last one stays.
pub(crate) fn build_object(pairs: Vec<(String, String)>) -> String {
    let mut ordered: Vec<(String, String)> = pairs.into_iter().rev().collect();
    ordered.sort_by(|(a, _), (b, _)| compare_keys(a, b));
    ordered.dedup_by(|later, first| later.0 == first.0);
    let quoted: Vec<(String, String)> = ordered.into_iter().map(|(name, value)| (key(&name), value)).collect();
    object(quoted.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// The keys of an object, in order.
///
/// # Errors
/// 22023 for anything else.
pub(crate) fn keys(text: &str) -> Result<Vec<String>> {
    let all = members(text).ok_or_else(|| {
        let kind = if text.starts_with('[') { "an array" } else { "a scalar" };
        Error::statement("22023", format!("cannot call jsonb_object_keys on {kind}"))
    })?;
    all.map(|(name, _)| Ok(as_text(name)?.unwrap_or_default().into_owned())).collect()
}
