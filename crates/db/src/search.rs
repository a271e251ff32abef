//! Searching a table by a vector, a text or both, without SQL.

use crate::blocking::Session;
use crate::rows::Rows;
use nodedb_base::{Result, Value};

/// A search that is being put together; [`Search::rows`] runs it.
///
/// The rows have the table's columns, and `score`, `text_score` and `vector_distance`; the best come first. It is
/// `hybrid_search` in SQL, which `docs/search.md` describes.
///
/// ```
/// # fn main() -> nodedb::Result<()> {
/// let db = nodedb::Database::memory()?;
/// let mut session = db.blocking();
/// session.execute("CREATE TABLE notes (id int PRIMARY KEY, body text, stars int, embedding vector(2))", &[])?;
/// session.execute("CREATE INDEX ON notes USING bm25 (body)", &[])?;
/// session.execute("CREATE INDEX ON notes USING hnsw (embedding vector_cosine_ops)", &[])?;
/// session.execute("INSERT INTO notes VALUES (1, 'red fox', 3, '[1,0]'), (2, 'blue fox', 5, '[0,1]')", &[])?;
/// let found = db.table("notes").search().vector(vec![0.1_f32, 0.9]).text("blue fox").filter("stars > 2").k(10).rows()?;
/// let first = found.iter().next().unwrap();
/// assert_eq!(first.by_name::<i32>("id")?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is searched before its rows are asked for"]
pub struct Search<'s> {
    session: &'s mut Session,
    table: String,
    vector: Option<Value>,
    text: Option<String>,
    filter: Option<String>,
    weights: Option<(f64, f64)>,
    k: usize,
}

/// Rows that are wanted, unless it is said.
const FEW: usize = 10;

impl<'s> Search<'s> {
    pub(crate) fn new(session: &'s mut Session, table: &str) -> Self {
        let (vector, text, filter, weights) = (None, None, None, None);
        Self { session, table: table.to_owned(), vector, text, filter, weights, k: FEW }
    }

    /// What the rows are to be near to: a `Vec<f32>`, or any value of a vector type.
    pub fn vector(mut self, vector: impl Into<Value>) -> Self {
        self.vector = Some(vector.into());
        self
    }

    /// The words that they are to have, in the language of `@@@`.
    pub fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// What must hold of them, as SQL says it: `"stars > 3"`.
    pub fn filter(mut self, condition: &str) -> Self {
        self.filter = Some(condition.to_owned());
        self
    }

    /// How much the text counts, and how much the vector; 1 and 1 unless it is said.
    pub const fn weights(mut self, text: f64, vector: f64) -> Self {
        self.weights = Some((text, vector));
        self
    }

    /// How many rows; 10 unless it is said.
    pub const fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// The rows, the best first.
    ///
    /// # Errors
    /// `Statement`: 42P01 if there is no such table, 42704 if it has no text index, 22023 if neither vector nor text was
    /// given; and those of reading.
    pub fn rows(self) -> Result<Rows> {
        let (mut arguments, mut values) = (vec![literal(&self.table)], Vec::new());
        for (name, value) in [("text", self.text.map(Value::Text)), ("vector", self.vector)] {
            if let Some(value) = value {
                values.push(value);
                arguments.push(format!("{name} => ${}", values.len()));
            }
        }
        arguments.extend(self.filter.map(|filter| format!("filter => {}", literal(&filter))));
        arguments.extend(self.weights.map(|(text, vector)| format!("weights => ARRAY[{text}, {vector}]")));
        arguments.push(format!("k => {}", self.k));
        let sql = format!("SELECT * FROM hybrid_search({}) ORDER BY score DESC", arguments.join(", "));
        self.session.query(&sql, &values)
    }
}

/// A text as a literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
