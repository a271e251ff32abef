//! JSON documents by id: sugar over a table `(id text PRIMARY KEY, doc jsonb NOT NULL)`.

use crate::blocking::Session;
use nodedb_base::{Error, Result, Type, Value};
use nodedb_query::record;

/// A collection of JSON documents.
///
/// ```
/// # fn main() -> nodedb::Result<()> {
/// let db = nodedb::Database::memory()?;
/// let mut notes = db.collection("notes")?;
/// notes.put("n1", r#"{"title": "milk", "done": false}"#)?;
/// assert_eq!(notes.get("n1")?.as_deref(), Some(r#"{"done": false, "title": "milk"}"#));
/// assert_eq!(notes.find(r#"{"done": false}"#)?.len(), 1);
/// assert!(notes.delete("n1")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Collection {
    session: Session,
    name: String,
    quoted: String,
}

impl Collection {
    pub(crate) fn open(mut session: Session, name: &str) -> Result<Self> {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let create = format!("CREATE TABLE IF NOT EXISTS {quoted} (id text PRIMARY KEY, doc jsonb NOT NULL)");
        session.execute(&create, &[])?;
        let columns = session.core().with_transaction(false, |_, _, tx| record::columns(tx, name))?;
        let types: Vec<_> = columns.iter().map(|column| (column.name.as_str(), &column.ty)).collect();
        if types != [("id", &Type::Text), ("doc", &Type::Jsonb)] {
            return Err(Error::statement("42809", format!("table {quoted} is not a collection"))
                .with_hint("A collection is a table (id text PRIMARY KEY, doc jsonb NOT NULL)."));
        }
        Ok(Self { session, name: name.to_owned(), quoted })
    }

    /// The document with this id, as JSON text.
    ///
    /// # Errors
    /// Those of reading.
    pub fn get(&mut self, id: &str) -> Result<Option<String>> {
        let row = self.session.table(&self.name).get(id)?;
        row.map(|row| row.get(1)).transpose()
    }

    /// Puts a document, in place of the one with the same id if there is one.
    ///
    /// # Errors
    /// `Statement` (22P02) if it is no JSON; `Io`, `Closed`, `Limit`.
    pub fn put(&mut self, id: &str, doc: &str) -> Result<()> {
        self.session.table(&self.name).put([Value::from(id), Value::from(doc)])
    }

    /// Removes a document; whether there was one.
    ///
    /// # Errors
    /// `Io`, `Closed`.
    pub fn delete(&mut self, id: &str) -> Result<bool> {
        self.session.table(&self.name).delete(id)
    }

    /// The documents that contain `filter` (as `@>` does), with their ids, in order of these.
    ///
    /// # Errors
    /// `Statement` (22P02) if the filter is no JSON, and those of reading.
    pub fn find(&mut self, filter: &str) -> Result<Vec<(String, String)>> {
        let sql = format!("SELECT id, doc FROM {} WHERE doc @> $1::jsonb ORDER BY id", self.quoted);
        let rows = self.session.query(&sql, &[filter.into()])?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }
}
