//! JSON documents by id: sugar over a table `(id text PRIMARY KEY, doc jsonb NOT NULL)`, which may have further columns: each
//! holds the field of its name, so that indexes can be made of it.

use crate::blocking::Session;
use crate::search::Search;
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
///
/// Fields that are to be searched have columns of their own:
///
/// ```
/// # fn main() -> nodedb::Result<()> {
/// let db = nodedb::Database::memory()?;
/// let mut notes = db.collection_with("notes", &[("body", "text"), ("embedding", "vector(2)"), ("stars", "int")])?;
/// db.blocking().execute("CREATE INDEX ON notes USING bm25 (body)", &[])?;
/// db.blocking().execute("CREATE INDEX ON notes USING hnsw (embedding vector_cosine_ops)", &[])?;
/// notes.put("n1", r#"{"body": "red fox", "embedding": [1, 0], "stars": 3}"#)?;
/// notes.put("n2", r#"{"body": "blue fox", "embedding": [0, 1], "stars": 5}"#)?;
/// let found = notes.search().vector(vec![0.1_f32, 0.9]).text("fox").filter("stars > 2").k(10).rows()?;
/// assert_eq!(found.iter().next().unwrap().by_name::<String>("id")?, "n2");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Collection {
    session: Session,
    name: String,
    quoted: String,
    /// The fields that have columns, in their order.
    fields: Vec<String>,
}

impl Collection {
    pub(crate) fn open(mut session: Session, name: &str, fields: &[(&str, &str)]) -> Result<Self> {
        let quoted = quoted(name);
        let further: String = fields.iter().map(|(field, ty)| format!(", {} {ty}", self::quoted(field))).collect();
        let create = format!("CREATE TABLE IF NOT EXISTS {quoted} (id text PRIMARY KEY, doc jsonb NOT NULL{further})");
        session.execute(&create, &[])?;
        let columns = session.core().with_transaction(false, |_, _, tx| record::columns(tx, name))?;
        let types: Vec<_> = columns.iter().map(|column| (column.name.as_str(), &column.ty)).collect();
        let Some((&[("id", Type::Text), ("doc", Type::Jsonb)], others)) = types.split_first_chunk() else {
            return Err(Error::statement("42809", format!("table {quoted} is not a collection")).with_hint(
                "A collection is a table (id text PRIMARY KEY, doc jsonb NOT NULL), with columns of fields behind.",
            ));
        };
        if let Some((missing, _)) = fields.iter().find(|(field, _)| others.iter().all(|(other, _)| other != field)) {
            return Err(Error::statement(
                "42703",
                format!("collection {quoted} has no column for field \"{missing}\""),
            ));
        }
        let fields = others.iter().map(|(field, _)| (*field).to_owned()).collect();
        Ok(Self { session, name: name.to_owned(), quoted, fields })
    }

    /// The document with this id, as JSON text.
    ///
    /// # Errors
    /// Those of reading.
    pub fn get(&mut self, id: &str) -> Result<Option<String>> {
        let row = self.session.table(&self.name).get(id)?;
        row.map(|row| row.get(1)).transpose()
    }

    /// Puts a document, in place of the one with the same id if there is one. Fields at its top that have columns go there,
    /// too: texts as they are, everything else by its JSON text, so that an array of numbers is a vector.
    ///
    /// # Errors
    /// `Statement` (22P02) if it is no JSON, is nested deeper than 127 levels where fields have columns, or a field is none of its column's type (22000 for a vector of other
    /// dimensions); `Io`, `Closed`, `Limit`.
    pub fn put(&mut self, id: &str, doc: &str) -> Result<()> {
        let mut row = vec![Value::from(id), Value::from(doc)];
        if !self.fields.is_empty() {
            let read: serde_json::Value = serde_json::from_str(doc)
                .map_err(|e| Error::statement("22P02", format!("invalid input syntax for type json: {e}")))?;
            row.extend(self.fields.iter().map(|field| match read.get(field) {
                None | Some(serde_json::Value::Null) => Value::Null,
                Some(serde_json::Value::String(text)) => Value::Text(text.clone()),
                Some(other) => Value::Text(other.to_string()),
            }));
        }
        self.session.table(&self.name).put(row)
    }

    /// A search by a vector, a text or both, for which the fields' columns have indexes.
    pub fn search(&mut self) -> Search<'_> {
        Search::new(&mut self.session, &self.name)
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

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
