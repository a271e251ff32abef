use super::arrow::{data_type, field, type_of, type_of_field};
use super::build::column;
use super::json::{self, scan};
use super::*;
use ::arrow::array::{ArrayRef, Decimal256Array, DictionaryArray, NullArray, StringViewArray, UInt64Array};
use ::arrow::datatypes::{Int32Type, i256};
use nodedb_base::{Array, Error, Interval, Numeric, Type, Value};
use proptest::prelude::*;
use std::sync::Arc;

const UTC: TextStyle = TextStyle { zone: chrono_tz::Tz::UTC };
const NUMERIC: Type = Type::Numeric { precision: 38, scale: 10 };

fn array_of(element: Type) -> Type {
    Type::Array(Box::new(element))
}

fn round(ty: &Type, text: &str) -> String {
    parse(text, ty, &UTC).map_or_else(|e| format!("{}: {e}", e.sqlstate()), |value| print(&value, &UTC))
}

/// What PostgreSQL 15 prints for what is read.
#[test]
fn texts_are_read_and_printed_as_postgresql_does() {
    let cases: &[(Type, &[(&str, &str)])] = &[
        (Type::Bool, &[("yes", "t"), ("no", "f"), ("on", "t"), ("OFF", "f"), ("tr", "t"), ("1", "t"), (" f ", "f")]),
        (Type::Int4, &[("  42 ", "42"), ("-0", "0"), ("+7", "7"), ("007", "7")]),
        (
            Type::Float8,
            &[
                ("0.1", "0.1"),
                ("1.0", "1"),
                ("1e15", "1e+15"),
                ("1e14", "100000000000000"),
                ("123456789.123", "123456789.123"),
                ("1e-5", "1e-05"),
                ("0.0001", "0.0001"),
                ("NaN", "NaN"),
                ("inf", "Infinity"),
                ("-Infinity", "-Infinity"),
                ("-0", "-0"),
                ("1e308", "1e+308"),
                ("123456789012345678", "1.2345678901234568e+17"),
                ("434.99999999999994", "434.99999999999994"),
                ("1e100", "1e+100"),
                ("1e20", "1e+20"),
                ("5e-324", "5e-324"),
            ],
        ),
        (
            Type::Float4,
            &[
                ("0.1", "0.1"),
                ("1e6", "1e+06"),
                ("100000", "100000"),
                ("16777217", "1.6777216e+07"),
                ("3.4e38", "3.4e+38"),
                ("1.17e-38", "1.17e-38"),
                ("1.5", "1.5"),
            ],
        ),
        (Type::Numeric { precision: 10, scale: 2 }, &[(" 1.5 ", "1.50"), ("123.455", "123.46"), ("-0.005", "-0.01")]),
        (Type::Numeric { precision: 38, scale: 4 }, &[(".5", "0.5000"), ("5.", "5.0000"), ("1e3", "1000.0000")]),
        (
            Type::Bytea,
            &[
                ("\\xDEADBEEF", "\\xdeadbeef"),
                ("abc", "\\x616263"),
                ("\\001", "\\x01"),
                ("\\x", "\\x"),
                ("a\\\\b", "\\x615c62"),
                ("\\x 01 02", "\\x0102"),
            ],
        ),
        (
            Type::Uuid,
            &[
                ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
                ("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
                ("a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
                ("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ],
        ),
        (
            Type::Date,
            &[
                ("2024-01-15", "2024-01-15"),
                ("0044-03-15 BC", "0044-03-15 BC"),
                ("12345-01-01", "12345-01-01"),
                ("epoch", "1970-01-01"),
                ("2024-001", "2024-01-01"),
                ("J2451187", "1999-01-08"),
                ("1/8/1999", "1999-01-08"),
                ("January 8, 1999", "1999-01-08"),
                ("8 January 1999", "1999-01-08"),
                ("19990108", "1999-01-08"),
                ("1999-Jan-08", "1999-01-08"),
                ("Jan-08-1999", "1999-01-08"),
                ("08-Jan-99", "1999-01-08"),
                ("2024-02-29", "2024-02-29"),
                ("5874897-12-31", "5874897-12-31"),
                ("4713-01-01 BC", "4713-01-01 BC"),
                ("2024-05-17 10:00:00", "2024-05-17"),
            ],
        ),
        (
            Type::Time,
            &[
                ("12:00", "12:00:00"),
                ("23:59:60", "24:00:00"),
                ("24:00", "24:00:00"),
                ("08:15:23.5", "08:15:23.5"),
                ("01:02:03.1234567", "01:02:03.123457"),
                ("040506", "04:05:06"),
                ("04:05 PM", "16:05:00"),
                ("12:05AM", "00:05:00"),
            ],
        ),
        (
            Type::Timestamp,
            &[
                ("2024-01-01 00:00:00.1", "2024-01-01 00:00:00.1"),
                ("2024-01-01 00:00:00.123456789", "2024-01-01 00:00:00.123457"),
                ("0001-01-01 BC", "0001-01-01 00:00:00 BC"),
                ("2024-05-17T10:00:00", "2024-05-17 10:00:00"),
                ("2/3/2024 10:00", "2024-02-03 10:00:00"),
                ("2024-03-10 02:30+05", "2024-03-10 02:30:00"),
                ("2024-03-10", "2024-03-10 00:00:00"),
                ("2024-03-10 24:00:00", "2024-03-11 00:00:00"),
            ],
        ),
        (
            Type::Timestamptz,
            &[
                ("2024-06-01 12:00:00.123456-07:30", "2024-06-01 19:30:00.123456+00"),
                ("epoch", "1970-01-01 00:00:00+00"),
                ("2024-06-01 12:00 PST", "2024-06-01 20:00:00+00"),
                ("2024-06-01 12:00 America/Los_Angeles", "2024-06-01 19:00:00+00"),
                ("2024-06-01 00:00Z", "2024-06-01 00:00:00+00"),
                ("2024-06-01 00:00:00+0530", "2024-05-31 18:30:00+00"),
            ],
        ),
        (
            Type::Interval,
            &[
                ("1 day 2 hours", "1 day 02:00:00"),
                ("1 year 2 months 3 days", "1 year 2 mons 3 days"),
                ("-1 day", "-1 days"),
                ("36 hours", "36:00:00"),
                ("90 minutes", "01:30:00"),
                ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
                ("P1Y2M", "1 year 2 mons"),
                ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
                ("1-2", "1 year 2 mons"),
                ("1 2:03:04", "1 day 02:03:04"),
                ("@ 1 minute ago", "-00:01:00"),
                ("1.5 hours", "01:30:00"),
                ("2 weeks", "14 days"),
                ("1 day 01:02:03.456", "1 day 01:02:03.456"),
                ("0", "00:00:00"),
                ("-1:30", "-01:30:00"),
                ("1 mon -1 day", "1 mon -1 days"),
                ("-1 mon +2 days -00:00:01", "-1 mons +2 days -00:00:01"),
                ("1 day -1 hour", "1 day -01:00:00"),
                ("100 years", "100 years"),
                ("1.5 months", "1 mon 15 days"),
                ("1 year 2 mons 3 days 04:05:06.7", "1 year 2 mons 3 days 04:05:06.7"),
                ("40 days 25 hours", "40 days 25:00:00"),
                ("30", "00:00:30"),
                ("25:00", "25:00:00"),
            ],
        ),
        (
            Type::Jsonb,
            &[
                ("{\"b\":1,\"a\":2,\"a\":3}", "{\"a\": 3, \"b\": 1}"),
                ("[1, 2.50,1e2, \"x\" ]", "[1, 2.50, 100, \"x\"]"),
                ("\"\\u00e9\\n\"", "\"\u{e9}\\n\""),
                ("\"a\\/b\"", "\"a/b\""),
                ("12345678901234567890.123456789", "12345678901234567890.123456789"),
                ("1e3", "1000"),
                ("0.10", "0.10"),
                ("-0", "0"),
                ("1E-2", "0.01"),
                ("1.5e1", "15"),
                ("1.50e-1", "0.150"),
                ("-1.5e3", "-1500"),
                ("{\"bb\":1,\"a\":2,\"c\":{}}", "{\"a\": 2, \"c\": {}, \"bb\": 1}"),
                ("\"\\ud83d\\ude00\"", "\"\u{1f600}\""),
                (" null ", "null"),
            ],
        ),
        (
            array_of(Type::Text),
            &[
                ("{a,\"b c\",NULL}", "{a,\"b c\",NULL}"),
                ("{\"a,b\",c\\\"d, e f ,null,\"null\"}", "{\"a,b\",\"c\\\"d\",\"e f\",NULL,\"null\"}"),
                ("{}", "{}"),
                ("{\"\"}", "{\"\"}"),
                ("{\"{\",\"}\",\" \",\"\\\\\"}", "{\"{\",\"}\",\" \",\"\\\\\"}"),
            ],
        ),
        (array_of(Type::Int4), &[(" { 1 , 2,NULL } ", "{1,2,NULL}")]),
        (array_of(Type::Timestamp), &[("{2024-01-01 10:00}", "{\"2024-01-01 10:00:00\"}")]),
        (Type::Vector(3), &[("[1,2,3]", "[1,2,3]"), (" [ 1.5, 2e10 ,-0.1]", "[1.5,2e+10,-0.1]")]),
        (Type::Varchar(3), &[("abc", "abc"), ("abc  ", "abc"), ("日本語", "日本語")]),
    ];
    for (ty, texts) in cases {
        for (text, shown) in *texts {
            assert_eq!(round(ty, text), *shown, "{ty} {text}");
        }
    }
}

#[test]
fn errors_are_those_of_postgresql() {
    let cases: &[(Type, &str, &str)] = &[
        (Type::Int4, "abc", "22P02: invalid input syntax for type integer: \"abc\""),
        (Type::Int4, "", "22P02: invalid input syntax for type integer: \"\""),
        (Type::Int4, "1.5", "22P02: invalid input syntax for type integer: \"1.5\""),
        (Type::Int2, "99999", "22003: value \"99999\" is out of range for type smallint"),
        (Type::Bool, "o", "22P02: invalid input syntax for type boolean: \"o\""),
        (Type::Float8, "1e400", "22003: \"1e400\" is out of range for type double precision"),
        (Type::Float8, "1e-400", "22003: \"1e-400\" is out of range for type double precision"),
        (Type::Float4, "x", "22P02: invalid input syntax for type real: \"x\""),
        (NUMERIC, "x", "22P02: invalid input syntax for type numeric: \"x\""),
        (Type::Numeric { precision: 5, scale: 2 }, "1000", "22003: numeric field overflow"),
        (Type::Varchar(5), "abcdef", "22001: value too long for type character varying(5)"),
        (Type::Bytea, "\\xg0", "22023: invalid hexadecimal digit: \"g\""),
        (Type::Bytea, "\\x0", "22023: invalid hexadecimal data: odd number of digits"),
        (Type::Bytea, "\\9", "22P02: invalid input syntax for type bytea"),
        (Type::Uuid, "x", "22P02: invalid input syntax for type uuid: \"x\""),
        (Type::Date, "abc", "22007: invalid input syntax for type date: \"abc\""),
        (Type::Date, "", "22007: invalid input syntax for type date: \"\""),
        (Type::Date, "2024-13-01", "22008: date/time field value out of range: \"2024-13-01\""),
        (Type::Date, "2024-02-30", "22008: date/time field value out of range: \"2024-02-30\""),
        (Type::Date, "5874898-01-01", "22008: date out of range: \"5874898-01-01\""),
        (Type::Date, "infinity", "0A000: the value \"infinity\" of type date is not supported"),
        (Type::Date, "today", "0A000: the value \"today\" of type date is not supported"),
        (Type::Time, "25:00", "22008: date/time field value out of range: \"25:00\""),
        (Type::Timestamp, "x", "22007: invalid input syntax for type timestamp: \"x\""),
        (Type::Timestamptz, "2024-01-01 10:00 No/Where", "22023: time zone \"No/Where\" not recognized"),
        (Type::Interval, "1 foo", "22007: invalid input syntax for type interval: \"1 foo\""),
        (Type::Interval, "1 day 2 days", "22007: invalid input syntax for type interval: \"1 day 2 days\""),
        (Type::Interval, "999999999999 years", "22015: interval field value out of range: \"999999999999 years\""),
        (Type::Jsonb, "{a:1}", "22P02: invalid input syntax for type json"),
        (Type::Jsonb, "", "22P02: invalid input syntax for type json"),
        (Type::Jsonb, "[1,]", "22P02: invalid input syntax for type json"),
        (Type::Jsonb, "01", "22P02: invalid input syntax for type json"),
        (Type::Jsonb, "\"\\u0000\"", "22P05: unsupported Unicode escape sequence"),
        (Type::Jsonb, "1e999999999", "22003: value overflows numeric format"),
        (array_of(Type::Int4), "1,2", "22P02: malformed array literal: \"1,2\""),
        (array_of(Type::Int4), "{1,2", "22P02: malformed array literal: \"{1,2\""),
        (array_of(Type::Int4), "{1,}", "22P02: malformed array literal: \"{1,}\""),
        (array_of(Type::Int4), "{{1}}", "0A000: an array of more than one dimension is not supported"),
        (array_of(Type::Int4), "{x}", "22P02: invalid input syntax for type integer: \"x\""),
        (Type::Vector(3), "[1,2]", "22000: expected 3 dimensions, not 2"),
        (Type::Vector(3), "1,2", "22P02: invalid input syntax for type vector: \"1,2\""),
        (Type::Vector(1), "[]", "22000: vector must have at least 1 dimension"),
        (Type::Vector(1), "[NaN]", "22000: NaN not allowed in vector"),
        (Type::Vector(1), "[inf]", "22000: infinite value not allowed in vector"),
        (Type::Vector(1), "[1e50]", "22003: \"1e50\" is out of range for type vector"),
        (Type::Text, "a\0b", "22021: invalid byte sequence for encoding \"UTF8\": 0x00"),
    ];
    for (ty, text, error) in cases {
        assert_eq!(round(ty, text), *error);
    }
    let deep = "[".repeat(100_000);
    assert_eq!(round(&Type::Jsonb, &deep), "54001: stack depth limit exceeded");
}

#[test]
fn timestamptz_in_a_zone() {
    let cases = [
        ("America/New_York", "2024-01-15 12:00+00", "2024-01-15 07:00:00-05"),
        ("America/New_York", "2024-07-15 12:00+00", "2024-07-15 08:00:00-04"),
        ("America/New_York", "2024-03-10 02:30", "2024-03-10 03:30:00-04"),
        ("America/New_York", "2024-11-03 01:30", "2024-11-03 01:30:00-05"),
        ("Asia/Kolkata", "2024-06-01 00:00Z", "2024-06-01 05:30:00+05:30"),
        ("Europe/Berlin", "2024-03-31 02:30", "2024-03-31 03:30:00+02"),
        ("america/st_johns", "1900-01-01 00:00+00", "1899-12-31 20:29:08-03:30:52"),
        ("UTC", "200000-01-01 00:00", "200000-01-01 00:00:00+00"),
    ];
    for (zone, text, shown) in cases {
        let style = TextStyle { zone: text::parse_zone(zone).unwrap() };
        assert_eq!(print(&parse(text, &Type::Timestamptz, &style).unwrap(), &style), shown);
    }
    assert_eq!(text::parse_zone("No/Where").unwrap_err().sqlstate().as_str(), "22023");
}

fn numeric(text: &str) -> Value {
    Value::Numeric(Numeric::parse(text).unwrap())
}

fn casted(value: Value, to: &Type) -> String {
    cast(value, to, &UTC).map_or_else(|e| format!("{}: {e}", e.sqlstate()), |v| print(&v, &UTC))
}

#[test]
fn explicit_casts() {
    let cases: Vec<(Value, Type, &str)> = vec![
        (numeric("2.5"), Type::Int4, "3"),
        (numeric("-2.5"), Type::Int4, "-3"),
        (Value::Float8(2.5), Type::Int4, "2"),
        (Value::Float8(3.5), Type::Int4, "4"),
        (Value::Float8(-0.5), Type::Int4, "0"),
        (Value::Float8(f64::NAN), Type::Int4, "22003: integer out of range"),
        (Value::Int8(1 << 40), Type::Int4, "22003: integer out of range"),
        (Value::Int4(70_000), Type::Int2, "22003: smallint out of range"),
        (Value::Bool(true), Type::Int4, "1"),
        (Value::Bool(true), Type::Text, "true"),
        (Value::Int4(0), Type::Bool, "f"),
        (Value::Int4(5), Type::Numeric { precision: 5, scale: 2 }, "5.00"),
        (numeric("1234.5"), Type::Numeric { precision: 5, scale: 2 }, "22003: numeric field overflow"),
        (Value::Float8(0.1), Type::Numeric { precision: 20, scale: 18 }, "0.100000000000000000"),
        (Value::Float4(0.1), Type::Float8, "0.10000000149011612"),
        (Value::Float8(1e300), Type::Float4, "22003: value out of range: overflow"),
        (Value::from("abcdef"), Type::Varchar(3), "abc"),
        (Value::from("12"), Type::Int8, "12"),
        (Value::from("x"), Type::Int8, "22P02: invalid input syntax for type bigint: \"x\""),
        (Value::Timestamp(86_400_000_000 + 5), Type::Date, "1970-01-02"),
        (Value::Timestamp(86_400_000_000 + 5), Type::Time, "00:00:00.000005"),
        (Value::Date(1), Type::Timestamptz, "1970-01-02 00:00:00+00"),
        (Value::Time(1_000_000), Type::Interval, "00:00:01"),
        (Value::Jsonb("1.5".into()), Type::Int4, "2"),
        (Value::Jsonb("\"x\"".into()), Type::Int4, "22023: cannot cast jsonb string to type integer"),
        (Value::Jsonb("true".into()), Type::Bool, "t"),
        (Value::Int4(1), Type::Date, "42846: cannot cast type integer to date"),
        (Value::Vector(vec![1.0, 2.0]), array_of(Type::Float4), "{1,2}"),
        (Value::Vector(vec![1.0, 2.0]), Type::Vector(3), "22000: expected 3 dimensions, not 2"),
        (Value::Vector(vec![1.0, 2.0]), Type::Text, "[1,2]"),
    ];
    for (value, to, shown) in cases {
        assert_eq!(casted(value.clone(), &to), shown, "{value:?} to {to}");
    }
    let ints = Value::Array(Array { element: Type::Int4, items: vec![Value::Int4(1), Value::Int4(2)] });
    assert_eq!(casted(ints.clone(), &Type::Vector(2)), "[1,2]");
    assert_eq!(casted(ints.clone(), &array_of(Type::Text)), "{1,2}");
    assert_eq!(casted(ints, &Type::Vector(3)), "22000: expected 3 dimensions, not 2");
}

#[test]
fn assignment_is_stricter() {
    let assigned = |value: Value, to: &Type| {
        assign(value, to, &UTC).map_or_else(|e| format!("{}: {e}", e.sqlstate()), |v| print(&v, &UTC))
    };
    assert_eq!(assigned(Value::Int8(5), &Type::Int2), "5");
    assert_eq!(assigned(Value::Null, &Type::Int2), "");
    assert_eq!(assigned("abcdef".into(), &Type::Varchar(5)), "22001: value too long for type character varying(5)");
    assert_eq!(assigned("abc   ".into(), &Type::Varchar(3)), "abc");
    assert_eq!(assigned(Value::Int4(5), &Type::Text), "5");
    let mismatch = assigned("5".into(), &Type::Int4);
    assert_eq!(mismatch, "42804: column is of type integer but expression is of type text");
    assert!(assigned(Value::Bool(true), &Type::Int4).starts_with("42804"));
}

#[test]
fn json_is_cut_and_changed() {
    let doc = json::canonical(r#"{"a":1,"b":{"c":[1,2,{"d":"x"}]},"s":"t\"xt","n":null}"#).unwrap();
    assert_eq!(scan::field(&doc, "\"a\""), Some("1"));
    assert_eq!(scan::path(&doc, ["b", "c", "2", "d"]), Some("\"x\""));
    assert_eq!(scan::path(&doc, ["b", "c", "-1"]), Some("{\"d\": \"x\"}"));
    assert_eq!(scan::as_text(scan::field(&doc, "\"s\"").unwrap()).unwrap().unwrap(), "t\"xt");
    assert_eq!(scan::as_text("null").unwrap(), None);
    assert_eq!(scan::element("\"scalar\"", 0), Some("\"scalar\""));
    assert_eq!(scan::element("{\"a\": 1}", 0), None);
    let same = |a: &str, b: &str, yes: bool| assert_eq!(json::contains(a, b), yes, "{a} @> {b}");
    same("{\"a\": 1, \"b\": 2}", "{\"a\": 1.0}", true);
    same("[1, 2, 3]", "[3, 1]", true);
    same("[1, [2]]", "[2]", false);
    same("\"a\"", "\"a\"", true);
    same("[\"a\"]", "\"a\"", true);
    same("\"a\"", "[\"a\"]", false);
    same("{\"a\": [1]}", "{\"a\": 1}", false);
    let text = |r: Result<String, Error>| r.unwrap_or_else(|e| e.to_string());
    assert_eq!(text(json::concat("{\"a\": 1}", "{\"b\": 2}")), "{\"a\": 1, \"b\": 2}");
    assert_eq!(
        text(json::concat("{\"a\": 1, \"cc\": 1}", "{\"a\": null, \"b\": 2}")),
        "{\"a\": null, \"b\": 2, \"cc\": 1}"
    );
    assert_eq!(text(json::concat("1", "2")), "[1, 2]");
    assert_eq!(text(json::concat("{\"a\": 1}", "[1]")), "[{\"a\": 1}, 1]");
    assert_eq!(text(json::delete_key("[\"a\", \"b\", \"a\"]", "a")), "[\"b\"]");
    assert_eq!(text(json::delete_index("[1, 2, 3]", -1)), "[1, 2]");
    assert_eq!(text(json::delete_key("1", "a")), "cannot delete from scalar");
    assert_eq!(text(json::delete_path("{\"a\": {\"b\": 1, \"c\": 2}}", &["a", "b"])), "{\"a\": {\"c\": 2}}");
    assert_eq!(text(json::set_path("{\"a\": [1, 2]}", &["a", "1"], "9", true)), "{\"a\": [1, 9]}");
    assert_eq!(text(json::set_path("{\"a\": 1}", &["b"], "2", true)), "{\"a\": 1, \"b\": 2}");
    assert_eq!(text(json::set_path("{\"a\": 1}", &["b"], "2", false)), "{\"a\": 1}");
    assert_eq!(text(json::set_path("{\"a\": [1]}", &["a", "5"], "2", true)), "{\"a\": [1, 2]}");
    let stamp = parse("2024-01-01 10:00+02", &Type::Timestamptz, &UTC).unwrap();
    assert_eq!(text(json::of_value(&stamp, &UTC)), "\"2024-01-01T08:00:00+00:00\"");
    assert_eq!(text(json::of_value(&Value::Float8(f64::NAN), &UTC)), "\"NaN\"");
    assert_eq!(text(json::of_value(&Value::Float8(1e20), &UTC)), "100000000000000000000");
}

fn scalars() -> Vec<Type> {
    vec![
        Type::Bool,
        Type::Int2,
        Type::Int4,
        Type::Int8,
        Type::Float4,
        Type::Float8,
        Type::Numeric { precision: 12, scale: 3 },
        Type::Text,
        Type::Varchar(7),
        Type::Bytea,
        Type::Uuid,
        Type::Date,
        Type::Time,
        Type::Timestamp,
        Type::Timestamptz,
        Type::Interval,
        Type::Jsonb,
        Type::Vector(3),
        Type::Vector(0),
        Type::Halfvec(2),
        Type::Sparsevec(0),
        Type::Bit(5),
        Type::Varbit(0),
    ]
}

fn values(ty: &Type) -> BoxedStrategy<Value> {
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int2 => any::<i16>().prop_map(Value::Int2).boxed(),
        Type::Int4 => any::<i32>().prop_map(Value::Int4).boxed(),
        Type::Int8 => any::<i64>().prop_map(Value::Int8).boxed(),
        Type::Float4 => any::<f32>().prop_map(Value::Float4).boxed(),
        Type::Float8 => any::<f64>().prop_map(Value::Float8).boxed(),
        Type::Numeric { scale, .. } => {
            let scale = *scale;
            (-999_999_999_999_i128..=999_999_999_999)
                .prop_map(move |unscaled| Value::Numeric(Numeric { unscaled, scale }))
                .boxed()
        }
        Type::Varchar(_) => "[a-z\u{e9}]{0,7}".prop_map(Value::Text).boxed(),
        Type::Text => any::<String>().prop_map(|s| Value::Text(s.replace('\0', ""))).boxed(),
        Type::Bytea => any::<Vec<u8>>().prop_map(Value::Bytea).boxed(),
        Type::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        Type::Date => (-2_440_588..2_145_042_906_i32).prop_map(Value::Date).boxed(),
        Type::Time => (0..=86_400_000_000_i64).prop_map(Value::Time).boxed(),
        Type::Timestamp => stamps().prop_map(Value::Timestamp).boxed(),
        Type::Timestamptz => stamps().prop_map(Value::Timestamptz).boxed(),
        // Months and years of either sign, and time that Arrow can hold.
        Type::Interval => (-100_000..100_000, -100_000..100_000, -9_000_000_000_000_000..9_000_000_000_000_000_i64)
            .prop_map(|(months, days, micros)| Value::Interval(Interval { months, days, micros }))
            .boxed(),
        Type::Jsonb => jsons().prop_map(|text| Value::Jsonb(json::canonical(&text).unwrap())).boxed(),
        Type::Vector(0) => prop::collection::vec(-1e9_f32..1e9, 1..5).prop_map(Value::Vector).boxed(),
        Type::Vector(n) => prop::collection::vec(-1e9_f32..1e9, *n as usize).prop_map(Value::Vector).boxed(),
        Type::Halfvec(n) => {
            let half = (-60_000.0_f32..60_000.0).prop_map(half::f16::from_f32);
            prop::collection::vec(half, (*n).max(1) as usize).prop_map(Value::Halfvec).boxed()
        }
        Type::Sparsevec(_) => {
            let number = prop_oneof![Just(0.0_f32), -9.0_f32..9.0];
            let numbers = prop::collection::vec(number, 1..9);
            numbers.prop_map(|v| Value::Sparsevec(nodedb_base::SparseVector::of_dense(&v))).boxed()
        }
        Type::Bit(n) => {
            let bits = prop::collection::vec(any::<bool>(), *n as usize);
            bits.prop_map(|bits| Value::Bit(bits.into_iter().collect())).boxed()
        }
        Type::Varbit(_) => {
            let bits = prop::collection::vec(any::<bool>(), 0..20);
            bits.prop_map(|bits| Value::Bit(bits.into_iter().collect())).boxed()
        }
        Type::Array(element) => {
            let ty = (**element).clone();
            prop::collection::vec(prop::option::of(values(element)), 0..5)
                .prop_map(move |items| {
                    let items = items.into_iter().map(|item| item.unwrap_or(Value::Null)).collect();
                    Value::Array(Array { element: ty.clone(), items })
                })
                .boxed()
        }
    }
}

fn stamps() -> impl Strategy<Value = i64> {
    prop_oneof![-210_000_000_000_000_000..9_000_000_000_000_000_000_i64, 0..4_000_000_000_000_000_i64]
}

fn jsons() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:e}")),
        any::<String>().prop_map(|s| json::quote(&s.replace('\0', ""))),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[a-c\u{e9}\"]{0,3}", inner), 0..5).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("{} :{value}", json::quote(&key))).collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    })
}

fn typed_values() -> impl Strategy<Value = (Type, Vec<Value>)> {
    let types: Vec<Type> = scalars().into_iter().chain(scalars().into_iter().map(array_of)).collect();
    prop::sample::select(types).prop_flat_map(|ty| {
        let value = prop::option::weighted(0.8, values(&ty)).prop_map(|v| v.unwrap_or(Value::Null));
        (Just(ty), prop::collection::vec(value, 0..6))
    })
}

/// Every NaN prints the same.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Float4(v) if v.is_nan() => Value::Float4(f32::NAN),
        Value::Float8(v) if v.is_nan() => Value::Float8(f64::NAN),
        Value::Array(v) => {
            Value::Array(Array { element: v.element.clone(), items: v.items.iter().map(comparable).collect() })
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read((ty, values) in typed_values(), zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec())) {
        let style = TextStyle { zone };
        for value in values.iter().filter(|v| !v.is_null()) {
            let shown = print(value, &style);
            let back = parse(&shown, &ty, &style);
            prop_assert_eq!(back.map_err(|e| format!("{shown}: {e}")), Ok(comparable(value)));
        }
    }

    #[test]
    fn arrow_keeps_every_value((ty, values) in typed_values()) {
        let array = column(&ty, &values).unwrap();
        prop_assert_eq!(array.data_type(), &data_type(&ty));
        for (row, value) in values.iter().enumerate() {
            prop_assert_eq!(&value_at(&array, row, Some(&ty)).unwrap(), value);
        }
        let plain = type_of(array.data_type()).unwrap();
        if !matches!(plain, Type::Text | Type::Array(_)) {
            prop_assert_eq!(plain, ty);
        }
    }

    #[test]
    fn arbitrary_texts_never_panic(text in any::<String>(), ty in prop::sample::select(scalars())) {
        let _ = parse(&text, &ty, &UTC);
        let _ = parse(&text, &array_of(ty), &UTC);
    }

    #[test]
    fn texts_that_look_right_never_panic(
        text in "[-+PTJ0-9:./ e,a-zA-Z\\[\\]{}\"\\\\]{0,40}",
        ty in prop::sample::select(scalars()),
    ) {
        if let Ok(value) = parse(&text, &ty, &UTC) {
            let shown = print(&value, &UTC);
            prop_assert_eq!(parse(&shown, &ty, &UTC).unwrap(), comparable(&value));
        }
        let _ = parse(&format!("{{{text}}}"), &array_of(ty), &UTC);
    }

    #[test]
    fn canonical_json_stays(text in jsons()) {
        let once = json::canonical(&text).unwrap();
        prop_assert_eq!(json::canonical(&once).unwrap(), once.clone());
        for (key, value) in scan::members(&once).into_iter().flatten() {
            prop_assert_eq!(scan::field(&once, key), Some(value));
            prop_assert_eq!(json::canonical(value).unwrap(), value);
        }
        prop_assert!(json::contains(&once, &once));
    }

    #[test]
    fn cutting_arbitrary_texts_never_panics(text in any::<String>(), like in "[\\[\\]{}\",: a1\\\\]{0,30}") {
        for text in [text, like] {
            let _ = scan::members(&text).map(Iterator::count);
            let _ = scan::elements(&text).map(Iterator::count);
            let _ = scan::as_text(&text);
            let _ = json::contains(&text, &text);
            let _ = json::concat(&text, &text);
            let _ = json::set_path(&text, &["a", "1"], "2", true);
        }
    }
}

#[test]
fn what_datafusion_makes_up_is_read() {
    let read = |array: ArrayRef, ty: Option<&Type>| value_at(&array, 0, ty);
    assert_eq!(read(Arc::new(StringViewArray::from(vec!["x"])), Some(&Type::Text)).unwrap(), "x".into());
    assert_eq!(read(Arc::new(UInt64Array::from(vec![5])), None).unwrap(), Value::Int8(5));
    assert_eq!(read(Arc::new(UInt64Array::from(vec![5])), Some(&Type::Int4)).unwrap(), Value::Int4(5));
    let too_large = read(Arc::new(UInt64Array::from(vec![u64::MAX])), None).unwrap_err();
    assert_eq!(too_large.sqlstate().as_str(), "22003");
    assert_eq!(read(Arc::new(NullArray::new(1)), Some(&Type::Text)).unwrap(), Value::Null);
    let wide = Decimal256Array::from(vec![i256::from_i128(150)]).with_precision_and_scale(40, 2).unwrap();
    assert_eq!(print(&read(Arc::new(wide), None).unwrap(), &UTC), "1.50");
    let dictionary: DictionaryArray<Int32Type> = ["a", "b"].into_iter().collect();
    assert_eq!(value_at(&dictionary, 1, Some(&Type::Text)).unwrap(), "b".into());
    assert_eq!(type_of(dictionary_type()).unwrap(), Type::Text);
}

fn dictionary_type() -> &'static ::arrow::datatypes::DataType {
    use ::arrow::datatypes::DataType;
    static TYPE: std::sync::LazyLock<DataType> =
        std::sync::LazyLock::new(|| DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)));
    &TYPE
}

#[test]
fn fields_remember_lengths() {
    assert_eq!(type_of_field(&field("x", &Type::Varchar(7), true)).unwrap(), Type::Varchar(7));
    for ty in scalars() {
        assert_eq!(type_of_field(&field("x", &ty, true)).unwrap(), ty);
    }
}

#[test]
fn a_builder_refuses_what_does_not_fit() {
    let mut builder = ColumnBuilder::new(&Type::Int4, 1).unwrap();
    assert_eq!(builder.append(&"x".into()).unwrap_err().sqlstate().as_str(), "XX000");
    let mut builder = ColumnBuilder::new(&Type::Interval, 1).unwrap();
    let long = Interval { micros: i64::MAX, ..Interval::default() };
    assert_eq!(builder.append_interval(long).unwrap_err().sqlstate().as_str(), "22008");
    let mut builder = ColumnBuilder::new(&Type::Vector(2), 1).unwrap();
    assert_eq!(builder.append_vector(&[1.0]).unwrap_err().to_string(), "expected 2 dimensions, not 1");
    builder.append_vector_le(&[0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
    assert_eq!(value_at(&builder.finish().unwrap(), 0, None).unwrap(), Value::Vector(vec![1.0, 2.0]));
}
