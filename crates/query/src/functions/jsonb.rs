//! The functions behind the operators of `jsonb`, under PostgreSQL's own names, and those that build values.

use super::scalar::{Arity, Call, Function, Values};
use crate::types::json::{self, scan};
use crate::types::print;
use arrow::array::{ArrayRef, Int32Array, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::ScalarUDF;
use nodedb_base::{Error, Result, Value};
use std::sync::Arc;

const JSONB: DataType = DataType::LargeUtf8;
const TEXT: DataType = DataType::Utf8;
const BOOL: DataType = DataType::Boolean;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Arity::{Any, Exactly};
    let keys = DataType::List(Arc::new(Field::new_list_field(TEXT, true)));
    [
        Function::new("jsonb_object_field", Exactly(2), JSONB, |c| c.each_json(by_key(c, false)?)),
        Function::new("jsonb_object_field_text", Exactly(2), TEXT, |c| c.each_text(by_key(c, true)?)),
        Function::new("jsonb_array_element", Exactly(2), JSONB, |c| c.each_json(by_index(c, false)?)),
        Function::new("jsonb_array_element_text", Exactly(2), TEXT, |c| c.each_text(by_index(c, true)?)),
        Function::new("nodedb_jsonb_path", Exactly(2), JSONB, |c| c.each_json(by_path(c, false)?)),
        Function::new("nodedb_jsonb_path_text", Exactly(2), TEXT, |c| c.each_text(by_path(c, true)?)),
        Function::new("jsonb_extract_path", Any, JSONB, |c| c.each_json(by_steps(c, false)?)),
        Function::new("jsonb_extract_path_text", Any, TEXT, |c| c.each_text(by_steps(c, true)?)),
        Function::new("jsonb_contains", Exactly(2), BOOL, |c| contains(c, 0, 1)),
        Function::new("jsonb_contained", Exactly(2), BOOL, |c| contains(c, 1, 0)),
        Function::new("jsonb_exists", Exactly(2), BOOL, exists),
        Function::new("jsonb_exists_any", Exactly(2), BOOL, |c| exists_of(c, false)),
        Function::new("jsonb_exists_all", Exactly(2), BOOL, |c| exists_of(c, true)),
        Function::new("jsonb_concat", Exactly(2), JSONB, concat),
        Function::new("jsonb_delete", Exactly(2), JSONB, delete),
        Function::new("jsonb_delete_path", Exactly(2), JSONB, delete_path),
        Function::new("jsonb_set", Any, JSONB, set),
        Function::new("jsonb_typeof", Exactly(1), TEXT, type_of).alias("json_typeof"),
        Function::new("jsonb_array_length", Exactly(1), DataType::Int32, array_length).alias("json_array_length"),
        Function::new("to_jsonb", Exactly(1), JSONB, to_jsonb),
        Function::new("jsonb_build_array", Any, JSONB, build_array),
        Function::new("jsonb_build_object", Any, JSONB, build_object),
        Function::new("nodedb_jsonb_keys", Exactly(1), keys, object_keys),
    ]
    .into_iter()
    .map(Function::build)
    .collect()
}

/// A part of a `jsonb`, as such or as text.
fn part(found: Option<&str>, as_text: bool) -> Result<Option<String>> {
    let Some(found) = found else { return Ok(None) };
    if as_text { Ok(scan::as_text(found)?.map(Into::into)) } else { Ok(Some(found.to_owned())) }
}

fn by_key(call: &Call<'_>, as_text: bool) -> Result<impl Fn(usize) -> Result<Option<String>>> {
    let (docs, names) = (call.jsons(0)?, call.texts(1)?);
    let constant = names.constant().map(scan::key);
    Ok(move |row| {
        let (Some(doc), Some(name)) = (docs.get(row), names.get(row)) else { return Ok(None) };
        let found = match &constant {
            Some(key) => scan::field(doc, key),
            None => scan::field(doc, &scan::key(name)),
        };
        part(found, as_text)
    })
}

fn by_index(call: &Call<'_>, as_text: bool) -> Result<impl Fn(usize) -> Result<Option<String>>> {
    let (docs, indexes) = (call.jsons(0)?, call.values(1)?);
    Ok(move |row| {
        let (Some(doc), Some(index)) = (docs.get(row), indexes.integer(row)?) else { return Ok(None) };
        part(scan::element(doc, index), as_text)
    })
}

fn by_path(call: &Call<'_>, as_text: bool) -> Result<impl Fn(usize) -> Result<Option<String>>> {
    let (docs, paths) = (call.jsons(0)?, call.names(1)?);
    Ok(move |row| {
        let (Some(doc), Some(path)) = (docs.get(row), paths.get(row)) else { return Ok(None) };
        part(scan::path(doc, path), as_text)
    })
}

fn by_steps(call: &Call<'_>, as_text: bool) -> Result<impl Fn(usize) -> Result<Option<String>>> {
    let docs = call.jsons(0)?;
    let steps = (1..call.args.len()).map(|i| call.texts(i)).collect::<Result<Vec<_>>>()?;
    Ok(move |row| {
        let path: Option<Vec<&str>> = steps.iter().map(|step| step.get(row)).collect();
        let (Some(doc), Some(path)) = (docs.get(row), path) else { return Ok(None) };
        part(scan::path(doc, path), as_text)
    })
}

fn contains(call: &Call<'_>, outer: usize, inner: usize) -> Result<ArrayRef> {
    let (outer, inner) = (call.jsons(outer)?, call.jsons(inner)?);
    call.each_bool(|row| Ok(outer.get(row).zip(inner.get(row)).map(|(a, b)| json::contains(a, b))))
}

fn exists(call: &Call<'_>) -> Result<ArrayRef> {
    let (docs, names) = (call.jsons(0)?, call.texts(1)?);
    call.each_bool(|row| Ok(docs.get(row).zip(names.get(row)).map(|(doc, name)| json::exists(doc, name))))
}

fn exists_of(call: &Call<'_>, all: bool) -> Result<ArrayRef> {
    let (docs, names) = (call.jsons(0)?, call.names(1)?);
    call.each_bool(|row| {
        Ok(docs.get(row).zip(names.get(row)).map(|(doc, names)| {
            let mut found = names.iter().map(|name| json::exists(doc, name));
            if all { found.all(|yes| yes) } else { found.any(|yes| yes) }
        }))
    })
}

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.jsons(0)?, call.jsons(1)?);
    call.each_json(|row| left.get(row).zip(right.get(row)).map(|(a, b)| json::concat(a, b)).transpose())
}

/// By name, by names, or by index: the type of the second argument says which.
fn delete(call: &Call<'_>) -> Result<ArrayRef> {
    let (docs, what) = (call.jsons(0)?, call.values(1)?);
    call.each_json(|row| {
        let Some(doc) = docs.get(row) else { return Ok(None) };
        Ok(Some(match what.get(row)? {
            Value::Null => return Ok(None),
            Value::Text(name) => json::delete_key(doc, &name)?,
            Value::Array(names) => {
                let style = call.style;
                let names: Vec<String> = names.items.iter().map(|name| print(name, &style)).collect();
                json::delete_keys(doc, &names.iter().map(String::as_str).collect::<Vec<_>>())?
            }
            _ => json::delete_index(doc, what.integer(row)?.unwrap_or(i64::MAX))?,
        }))
    })
}

fn delete_path(call: &Call<'_>) -> Result<ArrayRef> {
    let (docs, paths) = (call.jsons(0)?, call.names(1)?);
    call.each_json(|row| {
        let (Some(doc), Some(path)) = (docs.get(row), paths.get(row)) else { return Ok(None) };
        json::delete_path(doc, &path.iter().map(String::as_str).collect::<Vec<_>>()).map(Some)
    })
}

fn set(call: &Call<'_>) -> Result<ArrayRef> {
    if !matches!(call.args.len(), 3 | 4) {
        return Err(Error::statement("42883", "function jsonb_set takes three or four arguments"));
    }
    let (docs, paths, values) = (call.jsons(0)?, call.names(1)?, call.jsons(2)?);
    let create = if call.args.len() == 4 { Some(call.values(3)?) } else { None };
    call.each_json(|row| {
        let create = create.as_ref().map_or(Ok(Value::Bool(true)), |flag| flag.get(row))?;
        let (Some(doc), Some(path), Some(value), Value::Bool(create)) =
            (docs.get(row), paths.get(row), values.get(row), create)
        else {
            return Ok(None);
        };
        json::set_path(doc, &path.iter().map(String::as_str).collect::<Vec<_>>(), value, create).map(Some)
    })
}

fn type_of(call: &Call<'_>) -> Result<ArrayRef> {
    let docs = call.jsons(0)?;
    call.each_text(|row| {
        Ok(docs.get(row).map(|doc| match json::kind_of(doc) {
            "numeric" => "number".to_owned(),
            other => other.to_owned(),
        }))
    })
}

fn array_length(call: &Call<'_>) -> Result<ArrayRef> {
    let docs = call.jsons(0)?;
    let length = |row| -> Result<Option<i32>> {
        let Some(doc) = docs.get(row) else { return Ok(None) };
        let items = scan::elements(doc).ok_or_else(|| {
            let what = if doc.starts_with('{') { "a non-array" } else { "a scalar" };
            Error::statement("22023", format!("cannot get array length of {what}"))
        })?;
        Ok(i32::try_from(items.count()).ok())
    };
    Ok(Arc::new((0..call.rows).map(length).collect::<Result<Int32Array>>()?))
}

fn to_jsonb(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    call.each_json(|row| match values.get(row)? {
        Value::Null => Ok(None),
        value => json::of_value(&value, &call.style).map(Some),
    })
}

fn all_values(call: &Call<'_>) -> Result<Vec<Values>> {
    (0..call.args.len()).map(|i| call.values(i)).collect()
}

fn build_array(call: &Call<'_>) -> Result<ArrayRef> {
    let columns = all_values(call)?;
    call.each_json(|row| {
        let items =
            columns.iter().map(|column| json::of_value(&column.get(row)?, &call.style)).collect::<Result<Vec<_>>>()?;
        Ok(Some(json::array(items.iter().map(String::as_str))))
    })
}

fn build_object(call: &Call<'_>) -> Result<ArrayRef> {
    let columns = all_values(call)?;
    if columns.len() % 2 != 0 {
        return Err(Error::statement("22023", "argument list must have even number of elements")
            .with_hint("The arguments of jsonb_build_object() must consist of alternating keys and values."));
    }
    call.each_json(|row| {
        let mut pairs = Vec::with_capacity(columns.len() / 2);
        for (number, pair) in columns.chunks_exact(2).enumerate() {
            let [name, value] = pair else { continue };
            let name = name.get(row)?;
            if name.is_null() {
                let at = number * 2 + 1;
                return Err(Error::statement("22023", format!("argument {at}: key must not be null")));
            }
            pairs.push((print(&name, &call.style), json::of_value(&value.get(row)?, &call.style)?));
        }
        Ok(Some(json::build_object(pairs)))
    })
}

/// The keys as a `text[]`, to be unnested by whoever plans `jsonb_object_keys`.
fn object_keys(call: &Call<'_>) -> Result<ArrayRef> {
    let docs = call.jsons(0)?;
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        match docs.get(row) {
            Some(doc) => {
                json::keys(doc)?.into_iter().for_each(|key| out.values().append_value(key));
                out.append(true);
            }
            None => out.append(false),
        }
    }
    Ok(Arc::new(out.finish()))
}
