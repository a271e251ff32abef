//! The blocking facade: the same sessions without `await`.
//!
//! A statement runs on the caller's thread, inside a runtime or not: it is polled there, and only what a query
//! spreads over threads goes to the database's own.

use crate::rows::Rows;
use crate::session::{Answer, Core, Work};
use crate::table::Table;
use arrow::record_batch::RecordBatch;
use nodedb_base::{Error, Lsn, Result, Value};
use nodedb_query::types::TextStyle;
use nodedb_query::{Column, Command, Tag};
use nodedb_store::AsOf;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// How often a transaction is run again when it loses a race.
const MAX_RETRIES: usize = 100;

/// A session whose statements block.
#[derive(Debug)]
pub struct Session {
    core: Core,
}

/// A statement that was read and can be run again and again.
#[derive(Clone, Debug)]
pub struct Prepared(Arc<Command>);

/// What one statement answers.
#[derive(Debug)]
pub enum Outcome<'s> {
    /// Rows.
    Rows(RowStream),
    /// That it is done.
    Done(Tag),
    /// That it waits for data: COPY ... FROM STDIN.
    CopyIn(CopyIn<'s>),
}

impl Session {
    pub(crate) const fn new(core: Core) -> Self {
        Self { core }
    }

    /// Runs one statement, and tells how many rows it changed or returned. Parameters are `$1`, `$2` ...
    ///
    /// # Errors
    /// Every kind.
    pub fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        let prepared = self.prepare(sql)?;
        self.execute_prepared(&prepared, params)
    }

    /// Runs one statement and collects its rows.
    ///
    /// # Errors
    /// Every kind.
    pub fn query(&mut self, sql: &str, params: &[Value]) -> Result<Rows> {
        let prepared = self.prepare(sql)?;
        self.query_prepared(&prepared, params)
    }

    /// Runs one statement whose rows are streamed, or that takes data.
    ///
    /// # Errors
    /// Every kind.
    pub fn run(&mut self, sql: &str, params: &[Value]) -> Result<Outcome<'_>> {
        let prepared = self.prepare(sql)?;
        Ok(match self.answer(&prepared, params)? {
            Answer::Rows(rows) => Outcome::Rows(RowStream { rows, runtime: self.core.db.runtime.handle()?.clone() }),
            Answer::Done(tag) => Outcome::Done(tag),
            Answer::CopyIn(copy) => Outcome::CopyIn(CopyIn { session: self, copy }),
        })
    }

    /// Reads a statement, to be run again and again.
    ///
    /// # Errors
    /// `Statement` (42601, 0A000); like every error it ends a transaction block.
    pub fn prepare(&mut self, sql: &str) -> Result<Prepared> {
        self.core.parse(sql).map(Prepared).inspect_err(|_| self.core.fail())
    }

    /// [`Session::execute`] of a prepared statement.
    ///
    /// # Errors
    /// Every kind.
    pub fn execute_prepared(&mut self, prepared: &Prepared, params: &[Value]) -> Result<u64> {
        match self.answer(prepared, params)? {
            Answer::Done(tag) => Ok(tag.rows().unwrap_or(0)),
            Answer::Rows(rows) => self.collect(rows).map(|rows| rows.tag().rows().unwrap_or(0)),
            Answer::CopyIn(_) => Err(Error::statement("42601", "COPY FROM STDIN needs its data: use run()")),
        }
    }

    /// [`Session::query`] of a prepared statement.
    ///
    /// # Errors
    /// Every kind.
    pub fn query_prepared(&mut self, prepared: &Prepared, params: &[Value]) -> Result<Rows> {
        match self.answer(prepared, params)? {
            Answer::Rows(rows) => self.collect(rows),
            Answer::Done(tag) => Ok(Rows { columns: Arc::default(), batches: Vec::new(), tag }),
            Answer::CopyIn(_) => Err(Error::statement("42601", "COPY FROM STDIN needs its data: use run()")),
        }
    }

    fn answer(&mut self, prepared: &Prepared, params: &[Value]) -> Result<Answer> {
        let runtime = self.core.db.runtime.handle()?.clone();
        wait(&runtime, self.core.run_parsed(&prepared.0, params))
    }

    fn collect(&mut self, mut rows: nodedb_query::RowStream) -> Result<Rows> {
        let runtime = self.core.db.runtime.handle()?.clone();
        let mut batches = Vec::new();
        while let Some(batch) = wait(&runtime, rows.next()) {
            batches.push(batch.inspect_err(|_| self.core.fail())?);
        }
        Ok(Rows { columns: rows.columns().clone(), tag: rows.tag(), batches })
    }

    /// Runs `f` between BEGIN and COMMIT; again, from the start, when it loses a race (40001).
    ///
    /// ```
    /// # fn main() -> nodedb::Result<()> {
    /// # let db = nodedb::Database::memory()?;
    /// let mut session = db.blocking();
    /// session.execute("CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL)", &[])?;
    /// session.execute("INSERT INTO account VALUES (1, 100), (2, 0)", &[])?;
    /// session.transaction(|tx| {
    ///     tx.execute("UPDATE account SET balance = balance - $1 WHERE id = 1", &[30_i64.into()])?;
    ///     tx.execute("UPDATE account SET balance = balance + $1 WHERE id = 2", &[30_i64.into()])
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `f` returns, after a ROLLBACK, and what COMMIT says; `Closed` (25P02) if `f` passed over a failed statement,
    /// (25001) in a transaction block.
    pub fn transaction<T>(&mut self, mut f: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        for attempt in 0.. {
            self.core.begin_closure()?;
            let open = Open(self);
            let outcome = match f(open.0) {
                Ok(value) => open.0.commit().map(|()| value),
                Err(e) => {
                    open.0.core.roll_back(false)?;
                    Err(e)
                }
            };
            drop(open);
            match outcome {
                Err(Error::Retry(_)) if attempt < MAX_RETRIES => {}
                other => return other,
            }
        }
        Err(Error::internal("a transaction was never run"))
    }

    fn commit(&mut self) -> Result<()> {
        let runtime = self.core.db.runtime.handle()?.clone();
        wait(&runtime, self.core.commit_closure())
    }

    /// Single rows of a table by primary key, within this session's transaction.
    #[must_use]
    pub fn table<'s>(&'s mut self, name: &str) -> Table<'s> {
        Table::borrowed(self, name)
    }

    /// Reads an earlier state from now on, and so only reads; `None` goes back to the present. The same as
    /// `SET nodedb.as_of`.
    ///
    /// # Errors
    /// `Closed` (25001) in a transaction that has run a statement. Whether the state is still kept shows at the
    /// next statement (72000).
    pub fn read_as_of(&mut self, as_of: Option<AsOf>) -> Result<()> {
        self.core.read_as_of(as_of)
    }

    /// The newest commit of this session.
    #[must_use]
    pub const fn last_commit(&self) -> Option<Lsn> {
        self.core.last_commit()
    }

    /// Whether a transaction block is open.
    #[must_use]
    pub const fn in_transaction(&self) -> bool {
        self.core.in_block()
    }

    /// How this session prints values.
    #[must_use]
    pub const fn text_style(&self) -> TextStyle {
        self.core.style()
    }

    pub(crate) const fn core(&mut self) -> &mut Core {
        &mut self.core
    }
}

/// A closure's transaction. If the closure panics, it is rolled back.
struct Open<'s>(&'s mut Session);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.0.in_transaction()
            && let Err(e) = self.0.core.roll_back(false)
        {
            tracing::warn!(error = %e, "a transaction could not be rolled back");
        }
    }
}

/// Rows on their way.
#[derive(Debug)]
pub struct RowStream {
    rows: nodedb_query::RowStream,
    runtime: tokio::runtime::Handle,
}

impl RowStream {
    /// Their columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        self.rows.columns()
    }

    /// The next batch.
    pub fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        wait(&self.runtime, self.rows.next())
    }

    /// The command tag; of a SELECT it is right once all rows are through.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.rows.tag()
    }
}

/// A COPY ... FROM STDIN that takes data. Dropping it cancels it.
#[derive(Debug)]
pub struct CopyIn<'s> {
    session: &'s mut Session,
    copy: nodedb_query::CopyIn,
}

impl CopyIn<'_> {
    /// Whether the data are lines of text.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        self.copy.is_text()
    }

    /// Takes more data.
    ///
    /// # Errors
    /// `Limit` (54000).
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        self.copy.write(data)
    }

    /// Puts all rows, or none.
    ///
    /// # Errors
    /// `Statement`, `Constraint`, `Limit`.
    pub fn finish(self) -> Result<Tag> {
        let runtime = self.session.core.db.runtime.handle()?.clone();
        wait(&runtime, self.session.core.work(Work::Copy(&self.copy)))
            .and_then(|answer| match answer {
                Answer::Done(tag) => Ok(tag),
                _ => Err(Error::internal("COPY answered with rows")),
            })
            .inspect_err(|_| self.session.core.fail())
    }
}

/// Polls a future on this thread until it is ready. What it spawns goes to `runtime`. Inside another runtime this
/// blocks its thread, as the name of the module says, and nothing else.
fn wait<F: Future>(runtime: &tokio::runtime::Handle, future: F) -> F::Output {
    let _entered = runtime.enter();
    // Inside a task of a runtime, the task's share of polls would run out and come back only once the task yields,
    // which it cannot while it waits here.
    let mut future = pin!(tokio::task::unconstrained(future));
    // Most statements are ready at once; only those that wait need somebody to wake them.
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return output;
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
