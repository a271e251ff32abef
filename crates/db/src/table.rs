//! Single rows by primary key, without SQL.

use crate::blocking::Session;
use crate::rows::Row;
use crate::search::Search;
use nodedb_base::{Result, Value};
use nodedb_query::{Column, record};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// A table, for single rows by primary key.
///
/// ```
/// # fn main() -> nodedb::Result<()> {
/// let db = nodedb::Database::memory()?;
/// db.blocking().execute("CREATE TABLE kv (key text PRIMARY KEY, value bigint)", &[])?;
/// let mut kv = db.table("kv");
/// kv.put(["a".into(), 1_i64.into()])?;
/// kv.put(["b".into(), 2_i64.into()])?;
/// assert_eq!(kv.get("a")?.unwrap().by_name::<i64>("value")?, 1);
/// assert_eq!(kv.scan("b"..)?.count(), 1);
/// assert!(kv.delete("a")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Table<'s> {
    session: Of<'s>,
    name: String,
}

#[derive(Debug)]
enum Of<'s> {
    Own(Box<Session>),
    Borrowed(&'s mut Session),
}

/// A primary key: one value, or several for a key of several columns.
pub trait IntoKey {
    /// The values of the key's columns.
    fn into_key(self) -> Vec<Value>;
}

macro_rules! single_keys {
    ($($ty:ty),*) => {$(
        impl IntoKey for $ty {
            fn into_key(self) -> Vec<Value> {
                vec![self.into()]
            }
        }
    )*};
}

single_keys! { &str, String, i16, i32, i64, bool, [u8; 16], Value }

impl IntoKey for Vec<Value> {
    fn into_key(self) -> Vec<Value> {
        self
    }
}

impl IntoKey for &[Value] {
    fn into_key(self) -> Vec<Value> {
        self.to_vec()
    }
}

impl<'s> Table<'s> {
    pub(crate) fn owned(session: Session, name: &str) -> Self {
        Self { session: Of::Own(Box::new(session)), name: name.to_owned() }
    }

    pub(crate) fn borrowed(session: &'s mut Session, name: &str) -> Self {
        Self { session: Of::Borrowed(session), name: name.to_owned() }
    }

    fn session(&mut self) -> (&mut Session, &str) {
        let session = match &mut self.session {
            Of::Own(session) => session.as_mut(),
            Of::Borrowed(session) => session,
        };
        (session, &self.name)
    }

    /// The row with this primary key.
    ///
    /// # Errors
    /// `Statement` (42P01; 42704 if the table has no primary key), and those of reading.
    pub fn get(&mut self, key: impl IntoKey) -> Result<Option<Row>> {
        let key = key.into_key();
        let (session, name) = self.session();
        session.core().with_transaction(false, |db, statement, tx| {
            let found = record::get(&db.engine, &statement, tx, name, &key)?;
            Ok(found.map(|(columns, values)| Row::of_values(columns, values)))
        })
    }

    /// Puts a row, given all its columns: a new one, or in place of the one with the same primary key.
    ///
    /// # Errors
    /// `Statement`, `Constraint`, `Limit`, `Io`, `Closed`.
    pub fn put(&mut self, row: impl AsRef<[Value]>) -> Result<()> {
        let (session, name) = self.session();
        let row = row.as_ref();
        session.core().with_transaction(true, |db, statement, tx| record::put(&db.engine, statement, tx, name, row))
    }

    /// Removes the row with this primary key; whether there was one.
    ///
    /// # Errors
    /// As [`Table::put`].
    pub fn delete(&mut self, key: impl IntoKey) -> Result<bool> {
        let key = key.into_key();
        let (session, name) = self.session();
        session.core().with_transaction(true, |db, statement, tx| record::delete(&db.engine, statement, tx, name, &key))
    }

    /// A search by a vector, a text or both.
    pub fn search(&mut self) -> Search<'_> {
        let (session, name) = self.session();
        Search::new(session, name)
    }

    /// Rows in order of their primary key.
    ///
    /// # Errors
    /// As [`Table::get`]; also from each item.
    pub fn scan<K: IntoKey + Clone>(
        &mut self,
        range: impl RangeBounds<K>,
    ) -> Result<Box<dyn Iterator<Item = Result<Row>> + Send>> {
        let key = |bound: Bound<&K>| bound.map(|key| key.clone().into_key());
        let (lower, upper) = (key(range.start_bound()), key(range.end_bound()));
        let (session, name) = self.session();
        session.core().with_transaction(false, |db, statement, tx| {
            let columns: Arc<[Column]> = record::columns(tx, name)?.into();
            let (lower, upper) = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
            let rows = record::scan(&db.engine, &statement, tx, name, lower, upper)?;
            let rows = rows.map(move |row| Ok(Row::of_values(columns.clone(), row?)));
            Ok(Box::new(rows) as Box<dyn Iterator<Item = _> + Send>)
        })
    }
}
