//! `nodedb import` and `nodedb export`

use crate::{Place, text};

const TABLE: &str = "CREATE TABLE t (
    id integer PRIMARY KEY, small smallint, big bigint, r real, d double precision, n numeric(12,3), b boolean,
    name text, code varchar(8), raw bytea, u uuid, day date, clock time, ts timestamp, tz timestamptz, len interval,
    doc jsonb, tags text[], v vector(3))";

const ROWS: &str = r#"INSERT INTO t VALUES
    (1, -1, 9007199254740993, 0.1, 1e100, 12345.678, true, E'a "b", c\nd', 'x', '\x00ff',
     '6f1c0c5e-9d3b-4a9e-8f0a-0123456789ab', '2024-02-29', '23:59:59.5', '2024-02-29 12:00:00.000001',
     '2024-02-29 12:00:00+00', '1 mon 2 days 03:04:05', '{"a": [1, 2.50, null], "b": "x"}',
     ARRAY['p', NULL, 'q,r'], '[1,2.5,-3]'),
    (2, NULL, NULL, 'NaN', '-Infinity', NULL, NULL, '', NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 0, 0, 0, 0, 0, false, '日本', '', '\x', NULL, '0001-01-01', '00:00', '1970-01-01', '1970-01-01 00:00Z', '0',
     '[]', '{}', '[0,0,0]')"#;

fn all(place: &Place, table: &str) -> String {
    place.sql(&format!("SELECT * FROM {table} ORDER BY id"))
}

#[test]
fn what_is_exported_is_imported_again() {
    let place = Place::new();
    place.sql(&format!("{TABLE}; {ROWS}"));
    let before = all(&place, "t");
    assert_eq!(before.lines().count(), 5, "{before}");
    for format in ["csv", "tsv", "jsonl", "parquet"] {
        let file = place.path(&format!("t.{format}"));
        place.ok("export", &["--table", "t", text(&file)]);
        place.sql(&format!("DROP TABLE IF EXISTS again; {}", TABLE.replace("TABLE t", "TABLE again")));
        place.ok("import", &["--table", "again", text(&file)]);
        assert_eq!(all(&place, "again"), before, "{format}");
    }
}

#[test]
fn parquet_keeps_the_types() {
    let place = Place::new();
    place.sql(&format!("{TABLE}; {ROWS}"));
    let file = place.path("t.parquet");
    place.ok("export", &["--query", "SELECT * FROM t", text(&file)]);
    let made = place.ok("import", &["--table", "made", "--primary-key", "id", text(&file)]);
    for column in ["small smallint", "n numeric(12,3)", "code character varying(8)", "len interval", "doc jsonb"] {
        assert!(made.contains(&format!("    {column},\n")), "{column} in {made}");
    }
    for column in ["tz timestamp with time zone", "tags text[]", "v vector(3)", "u uuid", "raw bytea"] {
        assert!(made.contains(&format!("    {column},\n")), "{column} in {made}");
    }
    assert!(made.contains("PRIMARY KEY (id)"), "{made}");
    assert_eq!(all(&place, "made"), all(&place, "t"));
}

/// The bytes of two vectors as each format has them.
#[test]
fn vectors_come_from_files_of_vectors() {
    let place = Place::new();
    let numbers = [[0.5_f32, -1.0, 2.0], [3.0, 4.25, 5.0]];
    let floats = |row: &[f32; 3]| row.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let fvecs: Vec<u8> = numbers.iter().flat_map(|row| [3_i32.to_le_bytes().to_vec(), floats(row)].concat()).collect();
    let npy = |descr: &str, order: &str, shape: &str, body: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), body].concat()
    };
    let body = numbers.iter().flat_map(floats).collect::<Vec<u8>>();
    let doubles: Vec<u8> = numbers.iter().flatten().flat_map(|n| f64::from(*n).to_le_bytes()).collect();
    for (name, bytes) in [
        ("a.fvecs", fvecs.clone()),
        ("b.npy", npy("<f4", "False", "(2, 3)", &body)),
        ("c.npy", npy("<f8", "False", "(2, 3)", &doubles)),
    ] {
        let file = place.path(name);
        std::fs::write(&file, bytes).unwrap();
        let made = place.ok("import", &["--table", name, "--primary-key", "id", text(&file)]);
        assert!(made.contains("id bigint") && made.contains("embedding vector(3)"), "{made}");
        let rows = place.sql(&format!("SELECT * FROM \"{name}\" ORDER BY id"));
        assert!(rows.contains("[0.5,-1,2]") && rows.contains("[3,4.25,5]"), "{rows}");
    }
    let infinite: Vec<u8> = [0.5_f32, f32::INFINITY, 1.0].iter().flat_map(|n| n.to_le_bytes()).collect();
    for (name, bytes, why) in [
        ("k.npy", npy("<f4", "False", "(1, 3)", &infinite), "22000"),
        ("d.npy", npy("<f4", "True", "(2, 3)", &body), "Fortran"),
        ("e.npy", npy("<i8", "False", "(2, 3)", &body), "<i8"),
        ("f.npy", npy("<f4", "False", "(6,)", &body), "(6,)"),
        ("g.npy", npy("<f4", "False", "(3, 3)", &body), "ends before vector 2"),
        ("h.npy", b"\x93NUMPX\x01\x00".to_vec(), "does not begin"),
        ("i.fvecs", fvecs[..20].to_vec(), "could not read"),
        ("j.fvecs", vec![255; 16], "could not read"),
    ] {
        let file = place.path(name);
        std::fs::write(&file, bytes).unwrap();
        let output = place.command("import").args(["--table", "bad", text(&file)]).output().unwrap();
        assert!(!output.status.success(), "{name}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why), "{name}: {said}");
    }
}

#[test]
fn a_table_is_made_from_what_a_file_holds() {
    let place = Place::new();
    let file = place.write(
        "people.jsonl",
        "{\"id\": 1, \"name\": \"Ann\", \"v\": [0.5, 1], \"more\": {\"a\": 1}}\n{\"id\": 2, \"v\": null, \"at\": \"2024-01-01\"}\n",
    );
    let made = place.ok("import", &["--table", "people", text(&file)]);
    assert_eq!(
        made,
        "CREATE TABLE people (\n    id bigint,\n    name text,\n    v vector(2),\n    more jsonb,\n    at date\n);\n"
    );
    assert_eq!(all(&place, "people"), "id,name,v,more,at\n1,Ann,\"[0.5,1]\",\"{\"\"a\"\": 1}\",\n2,,,,2024-01-01\n");
}

#[test]
fn bad_rows_are_told_by_line_and_nothing_goes_in() {
    let place = Place::new();
    place.sql("CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL)");
    let file = place.write("bad.csv", "id,name\n1,one\n\"x\n\",two\n1,\"same\"\n4\n5,\n6,six\n");
    let ran = place.run("import", &["--table", "t", text(&file)], "");
    assert_eq!(ran.code, Some(1), "{}", ran.text);
    let name = text(&file);
    for line in [format!("{name}:3: 22P02: "), format!("{name}:6: 22P04: missing data for column \"name\"")] {
        assert!(ran.text.contains(&line), "{line} in {}", ran.text);
    }
    assert_eq!(place.sql("SELECT count(*) AS count FROM t"), "count\n0\n");
    let ran = place.run("import", &["--table", "t", "--skip-bad", name], "");
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    for line in [format!("{name}:5: 23505: "), format!("{name}:7: 23502: "), "imported 2 rows".to_owned()] {
        assert!(ran.text.contains(&line), "{line} in {}", ran.text);
    }
    assert!(ran.text.contains("4 rows skipped"), "{}", ran.text);
    assert_eq!(place.sql("SELECT * FROM t ORDER BY id"), "id,name\n1,one\n6,six\n");
}

#[test]
fn a_table_that_was_made_goes_when_nothing_goes_in() {
    let place = Place::new();
    let file = place.write("bad.csv", "id,name\n1,one\n2\n");
    let ran = place.run("import", &["--table", "t", text(&file)], "");
    assert_eq!(ran.code, Some(1), "{}", ran.text);
    assert!(ran.text.contains("nothing was imported: 1 bad row"), "{}", ran.text);
    let ran = place.run("sql", &["-c", "SELECT * FROM t"], "");
    assert!(ran.text.starts_with("ERROR:  42P01"), "{}", ran.text);
}

#[test]
fn many_rows_go_in_and_out() {
    let place = Place::new();
    let rows: String = (0..20_000).map(|n| format!("{n},name {n},{}.5\n", n % 7)).collect();
    let file = place.write("many.csv", &format!("id,name,x\n{rows}"));
    place.ok("import", &["--table", "many", "--primary-key", "id", text(&file)]);
    assert_eq!(
        place.sql("SELECT count(*) AS n, sum(id) AS ids, sum(x) AS xs FROM many"),
        "n,ids,xs\n20000,199990000,69997\n"
    );
    let out = place.path("out.csv");
    place.ok("export", &["--query", "SELECT * FROM many ORDER BY id", text(&out)]);
    assert_eq!(std::fs::read_to_string(out).unwrap(), std::fs::read_to_string(file).unwrap());
}

#[test]
fn wrong_usage_is_told() {
    let place = Place::new();
    place.sql("CREATE TABLE t (id int)");
    let file = place.write("x.csv", "id,more\n1,2\n");
    for (command, arguments, message) in [
        ("import", vec!["--table", "t", text(&file)], "a column \"more\" and the table has not"),
        ("import", vec!["--table", "u", "--primary-key", "no", text(&file)], "no column \"no\""),
        ("import", vec!["--table", "t", "no.csv"], "could not open no.csv"),
        ("export", vec!["--table", "t", "x.dat"], "does not say its format"),
        ("export", vec!["x.csv"], "required"),
    ] {
        let ran = place.run(command, &arguments, "");
        assert_eq!(ran.code, Some(2), "{}", ran.text);
        assert!(ran.text.contains(message), "{message} in {}", ran.text);
    }
}
