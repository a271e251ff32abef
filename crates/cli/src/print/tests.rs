//! Tables and CSV against what psql 15 printed for the same columns and rows.

use super::{csv, json, table};
use nodedb::text::TextStyle;
use nodedb::{Column, Numeric, Type, Value};
use nodedb_base::Array;

struct Case {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
    table: String,
    csv: String,
}

/// What psql printed; cases that are only a command tag are left out.
fn cases() -> Vec<Case> {
    let all: Vec<serde_json::Value> = serde_json::from_str(include_str!("psql.json")).unwrap();
    all.iter().filter(|case| case["tag"].as_str().unwrap().starts_with("SELECT")).map(case).collect()
}

fn case(case: &serde_json::Value) -> Case {
    let column = |column: &serde_json::Value| {
        let ty = match column[1].as_str().unwrap() {
            "int4" => Type::Int4,
            "float8" => Type::Float8,
            "numeric" => Type::Numeric { precision: 38, scale: 0 },
            _ => Type::Text,
        };
        Column { name: column[0].as_str().unwrap().to_owned(), ty }
    };
    let row = |row: &serde_json::Value| {
        // Only the type of a column says how it is aligned, so that texts can stand in for all values.
        row.as_array().unwrap().iter().map(|value| value.as_str().map(str::to_owned).into()).collect()
    };
    let list = |name: &str| case[name].as_array().unwrap().clone();
    Case {
        columns: list("columns").iter().map(column).collect(),
        rows: list("rows").iter().map(row).collect(),
        table: case["table"].as_str().unwrap().to_owned(),
        csv: case["csv"].as_str().unwrap().to_owned(),
    }
}

#[test]
fn tables_are_those_of_psql() {
    let style = TextStyle::default();
    for case in cases() {
        let mut table = table::Table::new(&case.columns);
        for row in &case.rows {
            table.push(row.iter().map(|value| nodedb::text::print(value, &style)));
        }
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), case.table, "{:?}", case.rows);
    }
}

#[test]
fn a_long_table_is_printed_in_parts() {
    let case = cases().into_iter().find(|case| case.columns.len() == 1 && case.rows.len() == 1).unwrap();
    let mut table = table::Table::new(&case.columns);
    let wide = "x".repeat(1 << 20);
    let mut out = Vec::new();
    for row in 0..100 {
        table.push(std::iter::once(if row == 99 { format!("{wide}wider") } else { wide.clone() }));
        table.print_if_large(&mut out).unwrap();
        assert!(table.held() < 70 << 20);
    }
    table.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches('-').count(), (1 << 20) + 2, "one header, as wide as what was known");
    assert_eq!(text.matches(&wide).count(), 100);
    assert!(text.ends_with("wider\n(100 rows)\n\n"));
}

#[test]
fn csv_is_that_of_psql() {
    for case in cases() {
        let mut out = Vec::new();
        csv::header(&case.columns, &mut out).unwrap();
        for row in &case.rows {
            csv::row(row, &TextStyle::default(), &mut out).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), case.csv, "{:?}", case.rows);
    }
}

#[test]
fn json_keeps_every_value() {
    let values = [
        (Type::Int4, Value::Int4(-7)),
        (Type::Float8, Value::Float8(2.0)),
        (Type::Float8, Value::Float8(f64::NAN)),
        (Type::Numeric { precision: 9, scale: 2 }, Value::Numeric(Numeric { unscaled: 150, scale: 2 })),
        (Type::Text, Value::Text("a\"b\n".to_owned())),
        (Type::Jsonb, Value::Jsonb("{\"a\": [1, null]}".to_owned())),
        (Type::Vector(2), Value::Vector(vec![1.0, 0.1])),
        (
            Type::Array(Box::new(Type::Bool)),
            Value::Array(Array { element: Type::Bool, items: vec![Value::Bool(true), Value::Null] }),
        ),
        (Type::Date, Value::Date(0)),
    ];
    let columns: Vec<Column> =
        (0..).zip(&values).map(|(i, (ty, _))| Column { name: format!("c{i}"), ty: ty.clone() }).collect();
    let row: Vec<Value> = values.iter().map(|(_, value)| value.clone()).collect();
    let (style, mut out) = (TextStyle::default(), Vec::new());
    let mut lines = json::Lines::new(&columns, &style);
    lines.write(&row, &mut out).unwrap();
    lines.write(&row, &mut out).unwrap();
    lines.end(&mut out).unwrap();
    let object = r#"{"c0":-7,"c1":2.0,"c2":"NaN","c3":1.50,"c4":"a\"b\n","c5":{"a": [1, null]},"c6":[1.0,0.1],"c7":[true,null],"c8":"1970-01-01"}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("[{object},\n {object}]\n"));
}
