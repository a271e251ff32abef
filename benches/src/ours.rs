//! This database.

use crate::engine::{Engine, Session};
use crate::{Result, wrong};
use nodedb::arrow::array::{Array, Int64Array};
use nodedb::blocking::{Outcome, Prepared};
use nodedb::{Database, Options, Row, Value};
use std::path::Path;

/// This database.
#[derive(Clone)]
pub struct Ours {
    /// The handle.
    pub database: Database,
}

/// A session, with its statements prepared.
pub struct OurSession {
    /// The session.
    pub session: nodedb::blocking::Session,
    prepared: Option<Statements>,
}

struct Statements {
    insert: Prepared,
    point: Prepared,
    range: Prepared,
}

impl Ours {
    /// Opens it with other settings than the default.
    ///
    /// # Errors
    /// The database's own.
    pub fn open_with(dir: &Path, options: Options) -> Result<Self> {
        Ok(Self { database: Database::open_with(dir, options)? })
    }
}

impl Engine for Ours {
    type Session = OurSession;

    fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, Options::default())
    }

    fn session(&self) -> Result<OurSession> {
        Ok(OurSession { session: self.database.blocking(), prepared: None })
    }

    fn settle(&self) -> Result<()> {
        Ok(self.database.checkpoint()?)
    }

    fn close(self) -> Result<()> {
        Ok(self.database.close()?)
    }
}

impl Session for OurSession {
    fn run(&mut self, sql: &str) -> Result<()> {
        self.session.execute(sql, &[])?;
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.run("BEGIN")
    }

    fn insert(&mut self, row: &crate::rows::Row) -> Result<()> {
        let values = [row.id.into(), row.a.into(), row.b.into(), row.body.as_str().into()];
        let (session, statements) = self.prepared()?;
        session.execute_prepared(&statements.insert, &values)?;
        Ok(())
    }

    fn point(&mut self, id: i64) -> Result<usize> {
        let (session, statements) = self.prepared()?;
        let rows = session.query_prepared(&statements.point, &[id.into()])?;
        length(id, rows.iter().next())
    }

    fn get(&mut self, id: i64) -> Result<usize> {
        let row = self.session.table("t").get(id)?;
        length(id, row)
    }

    fn range(&mut self, from: i64, to: i64) -> Result<usize> {
        let (session, statements) = self.prepared()?;
        Ok(session.query_prepared(&statements.range, &[from.into(), to.into()])?.len())
    }

    fn sum(&mut self, keys: std::ops::Range<i64>) -> Result<i64> {
        let sql = "SELECT sum(b) FROM t WHERE id >= $1 AND id < $2";
        let rows = self.session.query(sql, &[keys.start.into(), keys.end.into()])?;
        match rows.iter().next().map(|row| row.value(0)).transpose()? {
            Some(Value::Int8(sum)) => Ok(sum),
            Some(Value::Numeric(sum)) => Ok(sum.to_string().parse()?),
            other => wrong(format!("a sum is {other:?}")),
        }
    }

    fn read_all(&mut self, keys: std::ops::Range<i64>) -> Result<usize> {
        let sql = "SELECT * FROM t WHERE id >= $1 AND id < $2";
        self.stream(sql, &[keys.start.into(), keys.end.into()])
    }
}

impl OurSession {
    fn prepared(&mut self) -> Result<(&mut nodedb::blocking::Session, &Statements)> {
        let statements = match self.prepared.take() {
            Some(statements) => statements,
            None => Statements {
                insert: self.session.prepare("INSERT INTO t VALUES ($1, $2, $3, $4)")?,
                point: self.session.prepare("SELECT * FROM t WHERE id = $1")?,
                range: self.session.prepare("SELECT * FROM t WHERE a >= $1 AND a < $2")?,
            },
        };
        Ok((&mut self.session, self.prepared.insert(statements)))
    }

    /// Runs a query and lets its batches pass by; how many rows there were.
    ///
    /// # Errors
    /// The database's own.
    pub fn stream(&mut self, sql: &str, parameters: &[Value]) -> Result<usize> {
        let Outcome::Rows(mut stream) = self.session.run(sql, parameters)? else {
            return wrong(format!("`{sql}` gives no rows"));
        };
        let mut count = 0;
        while let Some(batch) = stream.next_batch() {
            let batch = batch?;
            count += batch.num_rows();
            // As somebody who reads them would.
            for column in batch.columns() {
                let sum = column.as_any().downcast_ref::<Int64Array>().map(|array| array.values().iter().sum::<i64>());
                std::hint::black_box((sum, column.get_buffer_memory_size()));
            }
        }
        Ok(count)
    }
}

/// The length of a row of `t`, all of whose values are read.
fn length(id: i64, row: Option<Row>) -> Result<usize> {
    let Some(row) = row else { return wrong(format!("row {id} is not there")) };
    std::hint::black_box([row.value(0)?, row.value(1)?, row.value(2)?]);
    match row.value(3)? {
        Value::Text(body) => Ok(24 + body.len()),
        other => wrong(format!("the body of row {id} is {other:?}")),
    }
}
