//! Reads everything through every access path, and compares it with what the seed says.
//!
//! The database's own check comes last: whoever reads damaged data must be told while reading.

use super::fill::{options, rows};
use super::search::searches;
use super::tables::{DAYS, GROUPS, I4, LARGE, NARROW, PAIRS, RUN, TABLES, TEXTS, Table, WIDE, is_changed, text};
use crate::failure::{Failure, Result, ensure};
use crate::sql::Client;
use nodedb::{Database, Value};
use std::path::Path;

/// Fails unless everything is there, and nothing else.
pub fn run(dir: &Path) -> Result<()> {
    let database = Database::open_with(dir, options())?;
    let mut client = Client::new(&database);
    let rows = rows(&mut client)?;
    for table in TABLES {
        let mut cover = Cover::new(&table, rows);
        cover.read(&mut client, &format!("SELECT * FROM {}", table.name), &[])?;
        cover.end("full scan")?;
        points(&mut client, &table, rows)?;
    }
    wide(&mut client, rows)?;
    narrow(&mut client, rows)?;
    pairs(&mut client, rows)?;
    ranges(&mut client, &LARGE, rows, "id", LARGE.rows(rows).cast_signed(), 4)?;
    searches(&mut client, rows)?;
    database.check()?;
    drop(client);
    Ok(database.close()?)
}

/// Rows of a table, ticked off one by one.
struct Cover<'a> {
    table: &'a Table,
    seen: Vec<bool>,
    count: u64,
}

impl<'a> Cover<'a> {
    fn new(table: &'a Table, rows: u64) -> Self {
        Self { table, seen: vec![false; table.rows(rows) as usize], count: 0 }
    }

    /// Each row of a query must be right, and must not have come before.
    fn read(&mut self, client: &mut Client, sql: &str, parameters: &[Value]) -> Result<()> {
        for row in client.query_once(sql, parameters)? {
            self.tick(sql, &row)?;
        }
        Ok(())
    }

    fn tick(&mut self, sql: &str, row: &[Value]) -> Result<()> {
        let number = (self.table.number)(row);
        let seen = number.and_then(|number| self.seen.get_mut(usize::try_from(number).ok()?));
        let (Some(number), Some(seen)) = (number, seen) else {
            return Err(Failure::Wrong(format!("`{sql}` gave a row that nobody wrote: {}", short(&row))));
        };
        ensure(!std::mem::replace(seen, true), || format!("`{sql}` gave row {number} twice"))?;
        let expected = self.table.expected(number);
        ensure(expected.as_deref() == Some(row), || {
            format!("`{sql}` gave {} instead of {}", short(&row), short(&expected))
        })?;
        self.count += 1;
        Ok(())
    }

    /// Nothing may be missing.
    fn end(self, path: &str) -> Result<()> {
        let expected = (0..self.seen.len() as u64).filter(|number| self.table.expected_there(*number)).count() as u64;
        ensure(self.count == expected, || {
            format!("{} of {} rows of table {} by {path}", self.count, expected, self.table.name)
        })
    }
}

impl Table {
    const fn expected_there(&self, number: u64) -> bool {
        !super::tables::is_deleted(number)
    }
}

fn short(what: &impl std::fmt::Debug) -> String {
    format!("{what:?}").chars().take(400).collect()
}

/// Every sixteenth row by its key, those included that are deleted.
fn points(client: &mut Client, table: &Table, rows: u64) -> Result<()> {
    for number in (0..table.rows(rows)).step_by(16) {
        let found = client.query(table.select, &table.key(number))?;
        let expected: Vec<_> = table.expected(number).into_iter().collect();
        ensure(found == expected, || {
            format!("row {number} of table {} is {} instead of {}", table.name, short(&found), short(&expected))
        })?;
    }
    Ok(())
}

/// All rows in ranges of an integer column that begins at 0.
fn ranges(client: &mut Client, table: &Table, rows: u64, column: &str, end: i64, parts: i64) -> Result<()> {
    let sql = format!("SELECT * FROM {} WHERE {column} >= $1 AND {column} < $2", table.name);
    let mut cover = Cover::new(table, rows);
    for part in 0..parts {
        cover.read(client, &sql, &[(end * part / parts).into(), (end * (part + 1) / parts).into()])?;
    }
    cover.end(column)
}

fn wide(client: &mut Client, rows: u64) -> Result<()> {
    ranges(client, &WIDE, rows, "id", WIDE.rows(rows).cast_signed(), 10)?;
    ranges(client, &WIDE, rows, "i4", I4, 20)?;
    let mut cover = Cover::new(&WIDE, rows);
    for number in 0..TEXTS {
        cover.read(client, "SELECT * FROM wide WHERE t = $1", &[text(number).into()])?;
    }
    cover.read(client, "SELECT * FROM wide WHERE t IS NULL", &[])?;
    cover.end("t")?;
    let mut cover = Cover::new(&WIDE, rows);
    for part in 0..10 {
        let range = [DAYS * part / 10, DAYS * (part + 1) / 10].map(|day| Value::Date(day as i32));
        cover.read(client, "SELECT * FROM wide WHERE d >= $1 AND d < $2", &range)?;
    }
    cover.read(client, "SELECT * FROM wide WHERE d IS NULL", &[])?;
    cover.end("d")?;
    uuids(client, rows)
}

/// By the unique index: what is there, and what the rows had before they were changed.
fn uuids(client: &mut Client, rows: u64) -> Result<()> {
    for number in (0..WIDE.rows(rows)).step_by(13) {
        for version in [1, 2] {
            let row = (WIDE.row)(number, version);
            let Some(uuid) = row.get(11) else { continue };
            let newest = version == if is_changed(number) { 2 } else { 1 };
            let expected = if newest { WIDE.expected(number).into_iter().collect() } else { Vec::new() };
            let found = client.query("SELECT * FROM wide WHERE u = $1", std::slice::from_ref(uuid))?;
            ensure(found == expected, || format!("by uuid: {} instead of {}", short(&found), short(&expected)))?;
        }
    }
    Ok(())
}

fn narrow(client: &mut Client, rows: u64) -> Result<()> {
    ranges(client, &NARROW, rows, "val", NARROW.rows(rows).cast_signed() * 2, 20)?;
    let mut cover = Cover::new(&NARROW, rows);
    for group in 0..GROUPS {
        cover.read(client, "SELECT * FROM narrow WHERE grp = $1", &[Value::Int4(group as i32)])?;
    }
    cover.end("grp")?;
    let mut cover = Cover::new(&NARROW, rows);
    let digits: Vec<char> = "0123456789abcdefg".chars().collect();
    for digits in digits.windows(2) {
        let range: Vec<Value> = digits.iter().map(|digit| digit.to_string().into()).collect();
        cover.read(client, "SELECT * FROM narrow WHERE k >= $1 AND k < $2", &range)?;
    }
    cover.end("k")
}

fn pairs(client: &mut Client, rows: u64) -> Result<()> {
    let mut cover = Cover::new(&PAIRS, rows);
    for a in 0..=PAIRS.rows(rows) / RUN {
        cover.read(client, "SELECT * FROM pairs WHERE a = $1", &[Value::Int4(a as i32)])?;
    }
    cover.end("a")?;
    let mut cover = Cover::new(&PAIRS, rows);
    let end = f64::from(1 << 30) / 64.0;
    for part in 0..10 {
        let range = [part, part + 1].map(|part| Value::Float8(end * f64::from(part) / 10.0));
        cover.read(client, "SELECT * FROM pairs WHERE w >= $1 AND w < $2", &range)?;
    }
    cover.end("w")
}
