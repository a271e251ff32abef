//! A session of the database with prepared statements, and values out of its answers.

use crate::failure::{Failure, Result, ensure};
use nodedb::blocking::{Prepared, Session};
use nodedb::{Database, Value};
use std::collections::HashMap;

/// A session that prepares each statement once.
pub struct Client {
    /// For statements that are run once.
    pub session: Session,
    prepared: HashMap<&'static str, Prepared>,
}

impl Client {
    /// A new session.
    pub fn new(database: &Database) -> Self {
        Self { session: database.blocking(), prepared: HashMap::new() }
    }

    /// Runs a statement; the number of rows that it touched.
    pub fn execute(&mut self, sql: &'static str, parameters: &[Value]) -> Result<u64> {
        if !self.prepared.contains_key(sql) {
            self.prepared.insert(sql, self.session.prepare(sql)?);
        }
        match self.prepared.get(sql) {
            Some(prepared) => Ok(self.session.execute_prepared(prepared, parameters)?),
            None => Err(Failure::Outside("a statement was not kept".to_owned())),
        }
    }

    /// Runs a statement that must touch so many rows.
    pub fn touch(&mut self, rows: u64, sql: &'static str, parameters: &[Value]) -> Result<()> {
        let touched = self.execute(sql, parameters)?;
        ensure(touched == rows, || format!("`{sql}` with {parameters:?} touched {touched} rows instead of {rows}"))
    }

    /// Runs a query; all its rows.
    pub fn query(&mut self, sql: &'static str, parameters: &[Value]) -> Result<Vec<Vec<Value>>> {
        if !self.prepared.contains_key(sql) {
            self.prepared.insert(sql, self.session.prepare(sql)?);
        }
        match self.prepared.get(sql) {
            Some(prepared) => values(&self.session.query_prepared(prepared, parameters)?),
            None => Err(Failure::Outside("a statement was not kept".to_owned())),
        }
    }

    /// Runs a query that is not prepared; all its rows.
    pub fn query_once(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>> {
        values(&self.session.query(sql, parameters)?)
    }

    /// The integers of a query with so many columns.
    pub fn integers<const N: usize>(&mut self, sql: &'static str, parameters: &[Value]) -> Result<Vec<[i64; N]>> {
        self.query(sql, parameters)?.iter().map(|row| integers(row)).collect()
    }

    /// The one integer that a query gives.
    pub fn integer(&mut self, sql: &'static str, parameters: &[Value]) -> Result<i64> {
        match self.integers::<1>(sql, parameters)?.as_slice() {
            [[one]] => Ok(*one),
            rows => Err(Failure::Wrong(format!("`{sql}` gave {} rows instead of one", rows.len()))),
        }
    }
}

fn values(rows: &nodedb::Rows) -> Result<Vec<Vec<Value>>> {
    Ok(rows.iter().map(|row| row.values()).collect::<nodedb::Result<_>>()?)
}

/// A row of integers.
pub fn integers<const N: usize>(row: &[Value]) -> Result<[i64; N]> {
    let all: Vec<i64> = row.iter().map(integer).collect::<Result<_>>()?;
    all.try_into().map_err(|_| Failure::Wrong(format!("a row has {} columns instead of {N}", row.len())))
}

/// An integer of whatever width; NULL is none, and so wrong here.
pub fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Bool(v) => Ok(i64::from(*v)),
        Value::Int2(v) => Ok(i64::from(*v)),
        Value::Int4(v) => Ok(i64::from(*v)),
        Value::Int8(v) => Ok(*v),
        Value::Numeric(v) if v.normalized().scale == 0 => {
            i64::try_from(v.normalized().unscaled).map_err(|_| Failure::Wrong(format!("{v} is out of range")))
        }
        other => Err(Failure::Wrong(format!("{other:?} where an integer was expected"))),
    }
}

/// Whether a transaction has merely lost a race, or a value is taken that somebody else has.
pub fn lost_a_race(failure: &Failure) -> bool {
    matches!(failure, Failure::Reported(error) if matches!(error.sqlstate().as_str(), "40001" | "23505" | "23503"))
}

/// Whether a table was not there.
pub fn no_such_table(failure: &Failure) -> bool {
    matches!(failure, Failure::Reported(error) if error.sqlstate().as_str() == "42P01")
}
