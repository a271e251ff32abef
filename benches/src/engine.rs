//! What a database must be able to do to be measured.

use crate::Result;
use crate::rows::Row;
use std::path::Path;

/// A database that is open.
pub trait Engine: Sized + Sync {
    /// A connection of one thread.
    type Session: Session + Send;

    /// Opens the database in a directory that is there.
    ///
    /// # Errors
    /// The database's own, here and below.
    fn open(dir: &Path) -> Result<Self>;
    /// Connects.
    ///
    /// # Errors
    /// As above.
    fn session(&self) -> Result<Self::Session>;
    /// Brings everything to where it stays, as it would be some time later.
    ///
    /// # Errors
    /// As above.
    fn settle(&self) -> Result<()>;
    /// Closes it.
    ///
    /// # Errors
    /// As above.
    fn close(self) -> Result<()>;
}

/// A connection.
pub trait Session {
    /// Runs a statement.
    ///
    /// # Errors
    /// The database's own, here and below.
    fn run(&mut self, sql: &str) -> Result<()>;
    /// Begins a transaction that will write.
    ///
    /// # Errors
    /// As above.
    fn begin(&mut self) -> Result<()>;
    /// Puts a row; a commit of its own where no transaction was begun.
    ///
    /// # Errors
    /// As above.
    fn insert(&mut self, row: &Row) -> Result<()>;
    /// Reads a row by its key; its length in bytes.
    ///
    /// # Errors
    /// As above; also if the row is not there.
    fn point(&mut self, id: i64) -> Result<usize>;
    /// As [`Session::point`], without SQL where there is such a way.
    ///
    /// # Errors
    /// As above.
    fn get(&mut self, id: i64) -> Result<usize> {
        self.point(id)
    }
    /// Reads the rows of a range of `a`; how many there are.
    ///
    /// # Errors
    /// As above.
    fn range(&mut self, from: i64, to: i64) -> Result<usize>;
    /// The sum of `b` over a range of keys.
    ///
    /// # Errors
    /// As above.
    fn sum(&mut self, keys: std::ops::Range<i64>) -> Result<i64>;
    /// Reads all columns of all rows in a range of keys; how many rows there are.
    ///
    /// # Errors
    /// As above.
    fn read_all(&mut self, keys: std::ops::Range<i64>) -> Result<usize>;
}

/// Makes the table and puts the rows with these numbers, in transactions of 10,000.
///
/// # Errors
/// The database's own.
pub fn load<S: Session>(session: &mut S, numbers: std::ops::Range<u64>) -> Result<()> {
    let mut from = numbers.start;
    while from < numbers.end {
        let to = (from + 10_000).min(numbers.end);
        session.begin()?;
        (from..to).try_for_each(|number| session.insert(&Row::of(number)))?;
        session.run("COMMIT")?;
        from = to;
    }
    Ok(())
}
