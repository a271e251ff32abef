//! COPY of files whose values have types: Parquet, `.npy` and `.fvecs`.

use arrow::array::{ArrayRef, Float32Builder, Int32Array, ListBuilder, RecordBatch, StringArray};
use nodedb::blocking::{Outcome, Session};
use nodedb::{Database, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROWS: [[f32; 3]; 2] = [[0.5, -1.0, 2.0], [3.0, 4.25, 5.0]];

struct Place {
    dir: tempfile::TempDir,
    session: Session,
}

impl Place {
    fn new() -> Self {
        let session = Database::memory().unwrap().blocking();
        Self { dir: tempfile::tempdir().unwrap(), session }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&mut self, sql: &str) {
        self.session.execute(sql, &[]).unwrap();
    }

    /// COPY from a file: how many rows, or the state and message of the error.
    fn copy(&mut self, table: &str, path: &Path, options: &str) -> std::result::Result<u64, String> {
        let outcome = self.session.execute(&format!("COPY {table} FROM '{}' {options}", path.display()), &[]);
        outcome.map_err(|e| said(&e))
    }

    /// COPY of bytes that are given.
    fn give(&mut self, sql: &str, bytes: &[u8]) -> Result<()> {
        let Outcome::CopyIn(mut copy) = self.session.run(sql, &[])? else { panic!("no COPY") };
        assert!(!copy.is_text());
        for piece in bytes.chunks(7) {
            copy.write(piece)?;
        }
        copy.finish().map(drop)
    }

    fn all(&mut self, sql: &str) -> Vec<String> {
        let rows = self.session.query(sql, &[]).unwrap();
        rows.iter().map(|row| row.get::<String>(0).unwrap()).collect()
    }
}

fn said(error: &nodedb::Error) -> String {
    let report = error.report();
    format!("{}: {} ({})", report.sqlstate, report.message, report.detail.as_deref().unwrap_or_default())
}

fn floats(rows: &[[f32; 3]]) -> Vec<u8> {
    rows.iter().flatten().flat_map(|n| n.to_le_bytes()).collect()
}

fn npy(descr: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), body].concat()
}

fn fvecs(rows: &[[f32; 3]]) -> Vec<u8> {
    rows.iter().flat_map(|row| [&3_i32.to_le_bytes()[..], &floats(&[*row])].concat()).collect()
}

fn parquet(rows: &[Option<[f32; 3]>]) -> Vec<u8> {
    let mut lists = ListBuilder::new(Float32Builder::new());
    for row in rows {
        row.iter().flatten().for_each(|n| lists.values().append_value(*n));
        lists.append(row.is_some());
    }
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(1..=rows.len() as i32));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("{row:?}"))));
    let lists: ArrayRef = Arc::new(lists.finish());
    let batch = RecordBatch::try_from_iter([("name", names), ("ID", ids), ("embedding", lists)]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn vectors_come_by_name_and_by_place() {
    let mut place = Place::new();
    place.run("CREATE TABLE t (embedding vector(3), kind text DEFAULT 'new', id int PRIMARY KEY)");
    let file = place.write("a.NPY", &npy("<f4", "(2, 3)", &floats(&ROWS)));
    assert_eq!(place.copy("t", &file, ""), Ok(2));
    let rows = "SELECT id || kind || embedding::text FROM t ORDER BY id";
    assert_eq!(place.all(rows), ["0new[0.5,-1,2]", "1new[3,4.25,5]"]);
    place.run("CREATE TABLE v (id int, e vector, n numeric(5))");
    let file = place.write("b", &fvecs(&ROWS));
    assert_eq!(place.copy("v (e)", &file, "(FORMAT fvecs)"), Ok(2));
    assert_eq!(place.copy("v (n, e)", &file, "(FORMAT Fvecs)"), Ok(2));
    let rows = "SELECT coalesce(n::text, 'none') || e::text FROM v ORDER BY n, e";
    assert_eq!(place.all(rows), ["0[0.5,-1,2]", "1[3,4.25,5]", "none[0.5,-1,2]", "none[3,4.25,5]"]);
}

#[test]
fn parquet_lists_become_vectors_from_files_and_from_stdin() {
    let mut place = Place::new();
    place.run("CREATE TABLE t (id bigint PRIMARY KEY, embedding halfvec(3), name text NOT NULL)");
    let bytes = parquet(&[Some(ROWS[0]), None, Some(ROWS[1])]);
    let file = place.write("rows.parquet", &bytes);
    assert_eq!(place.copy("t", &file, ""), Ok(3));
    let rows = "SELECT id || coalesce(embedding::text, 'none') FROM t ORDER BY id";
    assert_eq!(place.all(rows), ["1[0.5,-1,2]", "2none", "3[3,4.25,5]"]);
    place.run("DELETE FROM t");
    place.give("COPY t (name, id, embedding) FROM STDIN (FORMAT parquet)", &bytes).unwrap();
    assert_eq!(place.all(rows), ["1[0.5,-1,2]", "2none", "3[3,4.25,5]"]);
    place.run("DELETE FROM t");
    let refused = place.give("COPY t FROM STDIN (FORMAT parquet)", &bytes[..bytes.len() - 9]).unwrap_err();
    assert_eq!(refused.sqlstate().as_str(), "22P04");
    assert_eq!(place.all(rows), [""; 0]);
}

#[test]
fn text_comes_from_files_too() {
    let mut place = Place::new();
    place.run("CREATE TABLE t (id int, name text)");
    let file = place.write("a.txt", b"1\tone\n2\t\\N\n");
    assert_eq!(place.copy("t", &file, ""), Ok(2));
    let file = place.write("a.csv", b"id;name\n3;three\n");
    assert_eq!(place.copy("t", &file, "(FORMAT csv, HEADER, DELIMITER ';')"), Ok(1));
    assert_eq!(place.all("SELECT id || coalesce(name, '') FROM t ORDER BY id"), ["1one", "2", "3three"]);
}

#[test]
fn what_is_wrong_is_told_and_nothing_goes_in() {
    let mut place = Place::new();
    place.run("CREATE TABLE t (id int PRIMARY KEY, embedding vector(3))");
    place.run("CREATE TABLE other (number int)");
    let good = place.write("good.npy", &npy("<f4", "(2, 3)", &floats(&ROWS)));
    let infinite = [ROWS[0], [1.0, f32::NAN, 0.0]];
    for (table, name, bytes, options, expected) in [
        ("t", "a.npy", npy("<f4", "(3, 3)", &floats(&ROWS)), "", "22P04: it ends before vector 2 (COPY t, row 3)"),
        ("t", "b.npy", npy("<f4", "(2, 3)", &floats(&ROWS)[..20]), "", "22P04: it ends too early (COPY t, row 2)"),
        (
            "t",
            "c.npy",
            npy("<f4", "(2, 3)", &floats(&infinite)),
            "",
            "22000: NaN not allowed in vector (COPY t, row 2)",
        ),
        ("t", "d.npy", npy("<f4", "(3, 2)", &floats(&ROWS)), "", "22000: expected 3 dimensions, not 2 (COPY t, row 1)"),
        ("t", "e.npy", npy("<i4", "(2, 3)", &floats(&ROWS)), "", "22P04: it has numbers of type <i4"),
        ("t", "f.npy", b"no".to_vec(), "", "22P04: it ends too early (COPY t)"),
        (
            "t",
            "g.fvecs",
            [fvecs(&ROWS), vec![255; 4]].concat(),
            "",
            "22P04: vector 2 has -1 dimensions (COPY t, row 3)",
        ),
        ("t", "h.parquet", vec![0; 64], "", "22P04: "),
        ("other", "i.fvecs", fvecs(&ROWS), "", "42703: column \"id\" of relation \"other\" does not exist"),
        ("t (id, id)", "j.fvecs", fvecs(&ROWS), "", "42701: column \"id\" specified more than once"),
        ("t (id)", "k.parquet", parquet(&[None]), "", "22P04: the file has 3 columns, and COPY lists 1"),
        ("t", "l.fvecs", fvecs(&ROWS), "(HEADER)", "0A000: COPY ... (HEADER) is for text and CSV"),
        ("t", "m.fvecs", fvecs(&ROWS), "(FORMAT csv)", "22021: "),
    ] {
        let file = place.write(name, &bytes);
        let said = place.copy(table, &file, options).unwrap_err();
        assert!(said.starts_with(expected), "{name}: {said}");
    }
    let gone = good.with_file_name("gone.npy");
    assert!(place.copy("t", &gone, "").unwrap_err().starts_with("58P01: could not open file \""));
    assert_eq!(place.all("SELECT id::text FROM t"), [""; 0]);
    assert_eq!(place.copy("t", &good, ""), Ok(2));
    assert!(place.copy("t", &good, "").unwrap_err().starts_with("23505: "));
}
