//! Tests of what is found in files.

use super::export::Writer;
use super::infer::Guess;
use super::progress::{Progress, Total};
use super::{Cell, Dialect, Found, Input, csv, import, jsonl};
use crate::args::FileFormat;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use nodedb::text::{self, TextStyle};
use nodedb::{Column, Type, Value};
use nodedb_query::types::{ColumnBuilder, arrow::field};
use std::io::Write;
use std::sync::Arc;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn of_texts(texts: &[&str]) -> String {
    let mut guess = Guess::default();
    for text in texts {
        guess.text(text);
    }
    guess.ty().to_string()
}

fn of_json(values: &[&str]) -> String {
    let mut guess = Guess::default();
    for value in values {
        guess.json(&serde_json::from_str(value).unwrap());
    }
    guess.ty().to_string()
}

#[test]
fn texts_have_the_narrowest_type_that_takes_all() {
    for (texts, ty) in [
        (&["true", "f"][..], "boolean"),
        (&["0", "-12", "9223372036854775807"], "bigint"),
        (&["1", "9223372036854775808"], "numeric(38,0)"),
        (&["1", "2.5", "1e-7", "NaN"], "double precision"),
        (&["007", "12"], "text"),
        (&["0.1234567890123456789"], "text"),
        (&["2024-02-29"], "date"),
        (&["2024-02-30"], "text"),
        (&["2024-02-29", "2024-02-29 10:00:00.5"], "timestamp without time zone"),
        (&["2024-02-29T10:00:00Z", "2024-02-29 10:00:00+02"], "timestamp with time zone"),
        (&["10:00:00"], "time without time zone"),
        (&["6f1c0c5e-9d3b-4a9e-8f0a-0123456789ab"], "uuid"),
        (&["\\x00ff", "\\x"], "bytea"),
        (&["[1,2]", "[3,4]"], "jsonb"),
        (&["[1,2]", "[0.5,2]"], "vector(2)"),
        (&["[1.5,2]", "[0.5,2]"], "vector(2)"),
        (&["[1.5,2]", "[0.5]"], "jsonb"),
        (&["{\"a\": 1}", "[]"], "jsonb"),
        (&["{a"], "text"),
        (&[""], "text"),
        (&[], "text"),
        (&["1", "true"], "text"),
    ] {
        assert_eq!(of_texts(texts), ty, "{texts:?}");
    }
}

#[test]
fn json_values_say_what_they_are() {
    for (values, ty) in [
        (&["1", "null", "2"][..], "bigint"),
        (&["1", "2.5"], "double precision"),
        (&["true"], "boolean"),
        (&["\"1\""], "text"),
        (&["\"2024-02-29\""], "date"),
        (&["1", "\"a\""], "text"),
        (&["{\"a\": 1}", "7"], "jsonb"),
        (&["[1.5, 2]", "[3, 4.0]", "null"], "vector(2)"),
        (&["[1.5, 2]", "[3.5]"], "double precision[]"),
        (&["[1.5, null]"], "double precision[]"),
        (&["[1, 2]", "[3, 4]"], "bigint[]"),
        (&["[\"a\"]", "[]"], "text[]"),
        (&["[true]"], "boolean[]"),
        (&["[1, \"a\"]"], "jsonb"),
        (&["[[1.5]]"], "jsonb"),
        (&["[1.5]", "2"], "jsonb"),
        (&["null"], "text"),
    ] {
        assert_eq!(of_json(values), ty, "{values:?}");
    }
}

#[test]
fn a_table_is_made_for_the_columns_of_a_file() {
    let dialect = Dialect { delimiter: b',', null: String::new() };
    let csv = file("\u{feff}id,Full Name,v,\n1,Ann,\"[0.5,1]\",\n2,,\"[1,1.5]\",\"\"\n");
    let found = csv::columns(csv.path(), &dialect, 100).unwrap();
    let sql = import::create_table("people", &found, &["id".to_owned()]).unwrap();
    assert_eq!(
        sql,
        "CREATE TABLE people (\n    id bigint,\n    \"Full Name\" text,\n    v vector(2),\n    column_4 text,\n    \
         PRIMARY KEY (id)\n)"
    );
    assert!(import::create_table("people", &found, &["nobody".to_owned()]).is_err());
    let twice = [found[0].clone(), found[0].clone()];
    assert!(import::create_table("people", &twice, &[]).is_err());
}

#[test]
fn json_lines_have_the_columns_of_all_their_objects() {
    let lines = file("{\"a\": 1}\n\n{\"b\": {\"x\": []}, \"a\": 2}\nno object\n");
    let found = jsonl::columns(lines.path(), 100).unwrap();
    let column = |name: &str, ty| Found { name: name.to_owned(), ty };
    assert_eq!(found, [column("a", Type::Int8), column("b", Type::Jsonb)]);
}

#[test]
fn cells_become_values() {
    let style = TextStyle::default();
    let json = |text: &str| Cell::Json(serde_json::from_str(text).unwrap());
    let convert = |cell: Cell, ty: Type| cell.converted(&ty, &style).unwrap();
    assert_eq!(convert(Cell::Text("7".to_owned()), Type::Int4), Value::Int4(7));
    assert_eq!(convert(json("[1, 2.5]"), Type::Vector(2)), Value::Vector(vec![1.0, 2.5]));
    assert_eq!(convert(json("\"2\""), Type::Int2), Value::Int2(2));
    assert_eq!(convert(json("{\"b\":1,\"a\":2}"), Type::Jsonb), Value::Jsonb("{\"a\": 2, \"b\": 1}".to_owned()));
    assert_eq!(convert(json("\"x\""), Type::Jsonb), Value::Jsonb("\"x\"".to_owned()));
    let numbers = nodedb_base::Array { element: Type::Float8, items: vec![Value::Float8(0.5)] };
    assert_eq!(convert(Cell::Value(Value::Array(numbers)), Type::Vector(1)), Value::Vector(vec![0.5]));
}

/// A column of each type, and texts of values; the empty text of a type that has none is NULL.
fn everything() -> Vec<(Type, Vec<&'static str>)> {
    vec![
        (Type::Int4, vec!["1", "-2147483648", ""]),
        (Type::Int2, vec!["-1", "", "0"]),
        (Type::Int8, vec!["9007199254740993", "", "0"]),
        (Type::Float4, vec!["0.1", "NaN", "-0"]),
        (Type::Float8, vec!["1e+100", "-Infinity", "5"]),
        (Type::Numeric { precision: 12, scale: 3 }, vec!["12345.678", "", "0.000"]),
        (Type::Bool, vec!["t", "", "f"]),
        (Type::Text, vec!["E'a \"b\", c\nd\r\te", "", "日本"]),
        (Type::Varchar(8), vec!["NULL", "\\.", ""]),
        (Type::Bytea, vec!["\\x00ff", "\\x", "\\x"]),
        (Type::Uuid, vec!["6f1c0c5e-9d3b-4a9e-8f0a-0123456789ab", "", ""]),
        (Type::Date, vec!["2024-02-29", "", "0001-01-01"]),
        (Type::Time, vec!["23:59:59.5", "", "00:00:00"]),
        (Type::Timestamp, vec!["2024-02-29 12:00:00.000001", "", "1970-01-01 00:00:00"]),
        (Type::Timestamptz, vec!["2024-02-29 12:00:00+00", "", "1970-01-01 00:00:00+00"]),
        (Type::Interval, vec!["1 mon 2 days 03:04:05", "", "00:00:00"]),
        (Type::Jsonb, vec!["{\"a\": [1, 2.50, null], \"b\": \"x\"}", "", "[]"]),
        (Type::Array(Box::new(Type::Text)), vec!["{p,NULL,\"q,r\"}", "", "{}"]),
        (Type::Array(Box::new(Type::Jsonb)), vec!["{\"{\\\"a\\\": 1}\"}", "", "{}"]),
        (Type::Vector(3), vec!["[1,2.5,-3]", "", "[0,0,0]"]),
    ]
}

fn value(text: &str, ty: &Type) -> Value {
    let empty = matches!(ty, Type::Text | Type::Varchar(_));
    if text.is_empty() && !empty { Value::Null } else { text::parse(text, ty, &TextStyle::default()).unwrap() }
}

#[test]
fn what_is_written_is_read() {
    let everything = everything();
    let columns: Vec<Column> =
        (1..).zip(&everything).map(|(i, (ty, _))| Column { name: format!("Column {i}"), ty: ty.clone() }).collect();
    let fields: Vec<_> = columns.iter().map(|column| field(&column.name, &column.ty, true)).collect();
    let array = |(ty, texts): &(Type, Vec<&str>)| {
        let mut builder = ColumnBuilder::new(ty, texts.len()).unwrap();
        texts.iter().for_each(|text| builder.append(&value(text, ty)).unwrap());
        builder.finish().unwrap()
    };
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), everything.iter().map(array).collect()).unwrap();
    for (format, null) in
        [(FileFormat::Csv, ""), (FileFormat::Csv, "NULL"), (FileFormat::Jsonl, ""), (FileFormat::Parquet, "")]
    {
        let file = tempfile::NamedTempFile::new().unwrap();
        let dialect = Dialect { delimiter: b',', null: null.to_owned() };
        let style = TextStyle::default();
        let mut writer = Writer::new(file.reopen().unwrap(), format, &columns, dialect.clone(), style).unwrap();
        writer.write(&batch, &columns).unwrap();
        writer.finish().unwrap();
        let input = Input { path: file.path(), format, dialect };
        if format == FileFormat::Parquet {
            let types: Vec<Type> = input.columns(1).unwrap().into_iter().map(|found| found.ty).collect();
            assert_eq!(types, everything.iter().map(|(ty, _)| ty.clone()).collect::<Vec<_>>());
        }
        let mut source = input.open(&columns, &Progress::new(Total::Unknown)).unwrap();
        for row in 0..batch.num_rows() {
            let cells = source.next().unwrap().unwrap().cells.unwrap();
            for (cell, (ty, texts)) in cells.into_iter().zip(&everything) {
                assert_eq!(cell.converted(ty, &style).unwrap(), value(texts[row], ty), "{format:?} {ty} {row}");
            }
        }
        assert!(source.next().unwrap().is_none());
    }
}
