//! Sessions: the lifetime of transactions, settings, and the statements that only concern these.
//!
//! [`Core`] is what both kinds of session share. It is asynchronous; a statement that needs no threads (the point
//! path, DDL, session statements) is done when its future is polled the first time.

use crate::copy::needs_blocking;
use crate::database::Inner;
use futures::future::BoxFuture;
use nodedb_base::{Error, Lsn, Result, Type, Value};
use nodedb_query::types::{TextStyle, arrow as mapping, build};
use nodedb_query::{
    Column, Command, CopyIn, Modes, Outcome, Runnable, SessionStatement, Settings, Statement, Tag, as_of, front,
    isolation_name,
};
use nodedb_store::{AsOf, Transaction, TransactionOptions};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use nodedb_query::RowStream;

/// How often a statement outside a transaction block is run again when it loses a race.
const MAX_RETRIES: usize = 100;
/// How many statements a session keeps in their parsed form.
const MAX_PARSED: usize = 256;

/// What both kinds of session share.
#[derive(Debug)]
pub(crate) struct Core {
    pub db: Arc<Inner>,
    settings: Settings,
    block: Option<Block>,
    last_commit: Option<Lsn>,
    parsed: HashMap<String, Arc<Command>>,
}

/// A transaction block.
#[derive(Debug)]
struct Block {
    tx: Transaction,
    /// What `now()` gives.
    now: i64,
    /// Whether a statement has run.
    touched: bool,
    /// Whether a statement has failed when its rows were taken.
    lost: Arc<AtomicBool>,
    /// The settings to go back to on ROLLBACK.
    before: Settings,
    /// The settings to go back to on COMMIT: those that were not SET LOCAL.
    kept: Settings,
}

/// What one statement answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Rows(RowStream),
    Done(Tag),
    CopyIn(CopyIn),
}

impl Core {
    pub fn new(db: Arc<Inner>) -> Self {
        Self { db, settings: Settings::default(), block: None, last_commit: None, parsed: HashMap::new() }
    }

    pub const fn last_commit(&self) -> Option<Lsn> {
        self.last_commit
    }

    pub const fn in_block(&self) -> bool {
        self.block.is_some()
    }

    pub const fn style(&self) -> TextStyle {
        self.settings.style
    }

    /// The parsed form of a statement, kept for the next time.
    pub fn parse(&mut self, sql: &str) -> Result<Arc<Command>> {
        if let Some(found) = self.parsed.get(sql) {
            return Ok(found.clone());
        }
        let command = Arc::new(front::parse(sql)?);
        if self.parsed.len() >= MAX_PARSED {
            self.parsed.clear();
        }
        self.parsed.insert(sql.to_owned(), command.clone());
        Ok(command)
    }

    /// Runs one statement.
    pub async fn run(&mut self, sql: &str, params: &[Value]) -> Result<Answer> {
        let command = match self.parse(sql) {
            Ok(command) => command,
            Err(e) => {
                self.fail();
                return Err(e);
            }
        };
        self.run_parsed(&command, params).await
    }

    pub async fn run_parsed(&mut self, command: &Command, params: &[Value]) -> Result<Answer> {
        if self.block.as_ref().is_some_and(|block| block.lost.load(Ordering::Relaxed)) {
            self.fail();
        }
        let span = tracing::debug_span!("statement");
        let answer = {
            let _entered = span.enter();
            match command {
                Command::Empty => return Ok(Answer::Done(Tag::plain(""))),
                Command::Session(statement) => Some(self.session_statement(statement)),
                _ => None,
            }
        };
        let outcome = match (answer, command) {
            (Some(Finish::Answer(answer)), _) => answer,
            (Some(Finish::Commit { chain }), _) => self.commit(chain).await,
            (None, Command::Run(runnable)) => self.run_statement(runnable, params).await,
            (None, Command::CopyIn(copy)) => self.start_copy(copy).await,
            (None, _) => Err(Error::internal("a statement of no kind")),
        };
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    /// A statement has failed: in a block, nothing but its end can follow.
    pub fn fail(&mut self) {
        if let Some(block) = &mut self.block {
            block.tx.fail();
        }
    }

    fn now(&self) -> i64 {
        self.db.env.clock.now()
    }

    async fn run_statement(&mut self, runnable: &Runnable, params: &[Value]) -> Result<Answer> {
        let run = Work::Statement(runnable, params);
        self.work(run).await
    }

    /// Runs work in the block, or in a transaction of its own that is run again when it loses a race.
    pub async fn work(&mut self, work: Work<'_>) -> Result<Answer> {
        if let Some(block) = &mut self.block {
            block.tx.start_statement()?;
            block.touched = true;
            let now = block.now;
            let mut running = Running { tx: &mut block.tx, ended: false };
            let outcome = work.run(&self.db, &self.settings, now, running.tx).await;
            running.ended = true;
            drop(running);
            let lost = block.lost.clone();
            return outcome.map(|answer| match answer {
                Answer::Rows(rows) => Answer::Rows(rows.telling(lost)),
                other => other,
            });
        }
        if work.writes() {
            self.db.derived.room().await;
        }
        for attempt in 0.. {
            let now = self.now();
            let mut tx = self.db.store.begin(self.transaction_options(Modes::default())?)?;
            let outcome = work.run(&self.db, &self.settings, now, &mut tx).await;
            let outcome = match outcome {
                Ok(answer) if work.writes() => tx.commit_async().await.map(|lsn| {
                    self.last_commit = Some(lsn);
                    answer
                }),
                other => other,
            };
            if outcome.is_ok() && work.makes_index() {
                self.db.derived.filled().await;
            }
            match outcome {
                Err(Error::Retry(_)) if attempt < MAX_RETRIES => {}
                other => return other,
            }
        }
        Err(Error::internal("a statement was never run"))
    }

    /// Runs something that does not wait, in the block or in a transaction of its own.
    pub fn with_transaction<T>(
        &mut self,
        writes: bool,
        mut f: impl FnMut(&Inner, Statement<'_>, &mut Transaction) -> Result<T>,
    ) -> Result<T> {
        if let Some(block) = &mut self.block {
            block.tx.start_statement()?;
            block.touched = true;
            let statement = Statement { settings: &self.settings, parameters: &[], now: block.now };
            let mut running = Running { tx: &mut block.tx, ended: false };
            let outcome = f(&self.db, statement, running.tx);
            running.ended = outcome.is_ok();
            return outcome;
        }
        for attempt in 0.. {
            let mut tx = self.db.store.begin(self.transaction_options(Modes::default())?)?;
            let statement = Statement { settings: &self.settings, parameters: &[], now: self.now() };
            let outcome = f(&self.db, statement, &mut tx);
            let outcome = match outcome {
                Ok(value) if writes => tx.commit().map(|lsn| {
                    self.last_commit = Some(lsn);
                    value
                }),
                other => other,
            };
            match outcome {
                Err(Error::Retry(_)) if attempt < MAX_RETRIES => {}
                other => return other,
            }
        }
        Err(Error::internal("a transaction was never run"))
    }

    fn transaction_options(&self, modes: Modes) -> Result<TransactionOptions> {
        Ok(TransactionOptions {
            isolation: modes.isolation.unwrap_or(self.settings.isolation),
            read_only: modes.read_only.unwrap_or(self.settings.read_only),
            as_of: as_of(&self.settings.as_of, &self.settings.style)?,
        })
    }

    fn session_statement(&mut self, statement: &SessionStatement) -> Finish {
        let done = |verb| Ok(Answer::Done(Tag::plain(verb)));
        Finish::Answer(match statement {
            SessionStatement::Begin(modes) => self.begin(*modes).and_then(|()| done("BEGIN")),
            SessionStatement::Commit { chain } => return Finish::Commit { chain: *chain },
            SessionStatement::Rollback { chain } => self.roll_back(*chain).and_then(|()| done("ROLLBACK")),
            SessionStatement::RollbackTo(name) => {
                self.in_transaction("ROLLBACK TO SAVEPOINT", |tx| tx.roll_back_to(name)).and_then(|()| done("ROLLBACK"))
            }
            SessionStatement::Savepoint(name) => self
                .in_transaction("SAVEPOINT", |tx| {
                    tx.check_active()?;
                    tx.savepoint(name);
                    Ok(())
                })
                .and_then(|()| done("SAVEPOINT")),
            SessionStatement::Release(name) => self
                .in_transaction("RELEASE SAVEPOINT", |tx| {
                    tx.check_active()?;
                    tx.release(name)
                })
                .and_then(|()| done("RELEASE")),
            SessionStatement::SetTransaction(modes) => self.set_transaction(*modes).and_then(|()| done("SET")),
            SessionStatement::SetCharacteristics(modes) => self.set_characteristics(*modes).and_then(|()| done("SET")),
            SessionStatement::Set { local, name, value } => {
                self.set(*local, name, value.as_deref()).and_then(|()| done("SET"))
            }
            SessionStatement::Show(name) => self.show(name),
            SessionStatement::ShowAll => self.show_all(),
        })
    }

    /// Starts a block. In a block already, nothing happens, as in PostgreSQL.
    pub fn begin(&mut self, modes: Modes) -> Result<()> {
        if let Some(block) = &self.block {
            return block.tx.check_active();
        }
        let tx = self.db.store.begin(self.transaction_options(modes)?)?;
        let (before, kept) = (self.settings.clone(), self.settings.clone());
        self.block = Some(Block { tx, now: self.now(), touched: false, lost: Arc::default(), before, kept });
        Ok(())
    }

    /// Starts a block for a closure, which must not find itself in the midst of another one.
    pub fn begin_closure(&mut self) -> Result<()> {
        if self.block.is_some() {
            return Err(Error::closed("25001", "there is already a transaction in progress"));
        }
        self.begin(Modes::default())
    }

    /// Commits what a closure has done. Unlike COMMIT it does not pass over a failed statement: the closure has kept
    /// its error to itself, and its caller must not think that anything was written.
    pub async fn commit_closure(&mut self) -> Result<()> {
        let active = self.block.as_ref().map_or(Ok(()), |block| block.tx.check_active());
        if active.is_err() {
            self.roll_back(false)?;
            return active;
        }
        self.commit(false).await.map(|_| ())
    }

    /// Ends the block; a failed one is rolled back.
    pub async fn commit(&mut self, chain: bool) -> Result<Answer> {
        let Some(block) = self.block.take() else { return self.no_block(chain, "COMMIT") };
        let options = block.tx.options();
        let tag = if block.tx.is_failed() {
            self.settings = block.before;
            "ROLLBACK"
        } else {
            self.settings = block.kept;
            self.db.derived.room().await;
            self.last_commit = Some(block.tx.commit_async().await?);
            "COMMIT"
        };
        self.chain(chain, options)?;
        Ok(Answer::Done(Tag::plain(tag)))
    }

    pub fn roll_back(&mut self, chain: bool) -> Result<()> {
        let Some(block) = self.block.take() else { return self.no_block(chain, "ROLLBACK").map(|_| ()) };
        self.settings = block.before;
        self.chain(chain, block.tx.options())
    }

    fn no_block(&self, chain: bool, verb: &'static str) -> Result<Answer> {
        if chain {
            let message = format!("{verb} AND CHAIN can only be used in transaction blocks");
            return Err(Error::closed("25P01", message));
        }
        Ok(Answer::Done(Tag::plain(verb)))
    }

    fn chain(&mut self, chain: bool, options: TransactionOptions) -> Result<()> {
        if !chain {
            return Ok(());
        }
        self.begin(Modes { isolation: Some(options.isolation), read_only: Some(options.read_only) })
    }

    fn in_transaction(&mut self, what: &str, f: impl FnOnce(&mut Transaction) -> Result<()>) -> Result<()> {
        match &mut self.block {
            Some(block) => f(&mut block.tx),
            None => Err(Error::closed("25P01", format!("{what} can only be used in transaction blocks"))),
        }
    }

    fn set_transaction(&mut self, modes: Modes) -> Result<()> {
        // Outside a block it would have no effect; PostgreSQL only warns, we do not pretend.
        self.in_transaction("SET TRANSACTION", |tx| tx.check_active())?;
        let Some(block) = &mut self.block else { return Ok(()) };
        let mut options = block.tx.options();
        options.isolation = modes.isolation.unwrap_or(options.isolation);
        options.read_only = modes.read_only.unwrap_or(options.read_only);
        block.tx.set_options(options, block.touched)
    }

    fn set_characteristics(&mut self, modes: Modes) -> Result<()> {
        if let Some(isolation) = modes.isolation {
            self.set(false, "default_transaction_isolation", Some(isolation_name(isolation)))?;
        }
        match modes.read_only {
            Some(read_only) => {
                self.set(false, "default_transaction_read_only", Some(if read_only { "on" } else { "off" }))
            }
            None => Ok(()),
        }
    }

    fn set(&mut self, local: bool, name: &str, value: Option<&str>) -> Result<()> {
        if let Some(block) = &self.block {
            block.tx.check_active()?;
        }
        let modes = match (name, value) {
            ("transaction_isolation", Some(value)) => {
                Some(Modes { isolation: Some(nodedb_query::isolation(name, value)?), read_only: None })
            }
            ("transaction_read_only", Some(value)) => {
                Some(Modes { isolation: None, read_only: Some(nodedb_query::boolean(name, value)?) })
            }
            _ => None,
        };
        if let Some(modes) = modes {
            return self.set_transaction(modes);
        }
        if local && self.block.is_none() {
            return Err(Error::closed("25P01", "SET LOCAL can only be used in transaction blocks"));
        }
        let mut settings = self.settings.clone();
        settings.set(name, value)?;
        if name == "nodedb.as_of" {
            self.transaction_as_of(&settings)?;
        }
        if let Some(block) = self.block.as_mut().filter(|_| !local) {
            block.kept.set(name, value)?;
        }
        self.settings = settings;
        Ok(())
    }

    /// Reads an earlier state, or the present again.
    pub fn read_as_of(&mut self, as_of: Option<AsOf>) -> Result<()> {
        let text = as_of.map(|as_of| match as_of {
            AsOf::Lsn(lsn) => lsn.to_string(),
            AsOf::Time(time) => nodedb_query::types::print(&Value::Timestamptz(time), &self.settings.style),
        });
        self.set(false, "nodedb.as_of", text.as_deref())
    }

    /// The open transaction, too, reads the earlier state.
    fn transaction_as_of(&mut self, settings: &Settings) -> Result<()> {
        let as_of = as_of(&settings.as_of, &settings.style)?;
        let Some(block) = &mut self.block else { return Ok(()) };
        let options = TransactionOptions { as_of, ..block.tx.options() };
        block.tx.set_options(options, block.touched)
    }

    fn shown(&self, name: &str) -> Result<String> {
        let options = self.block.as_ref().map(|block| block.tx.options());
        match name {
            "transaction_isolation" => {
                Ok(isolation_name(options.map_or(self.settings.isolation, |options| options.isolation)).to_owned())
            }
            "transaction_read_only" => {
                let read_only = options.map_or(self.settings.read_only, |options| options.read_only);
                Ok(if read_only { "on" } else { "off" }.to_owned())
            }
            "nodedb.lsn" => Ok(self.db.store.last().to_string()),
            _ => self.settings.show(name),
        }
    }

    fn show(&self, name: &str) -> Result<Answer> {
        if let Some(block) = &self.block {
            block.tx.check_active()?;
        }
        let title = if name == "timezone" { "TimeZone" } else { name };
        text_rows(&[title], &[vec![self.shown(name)?]])
    }

    fn show_all(&self) -> Result<Answer> {
        let names = Settings::names().into_iter();
        let rows: Result<Vec<_>> = names.map(|name| Ok(vec![name.to_owned(), self.shown(name)?])).collect();
        text_rows(&["name", "setting"], &rows?)
    }
}

/// A statement of a block while it runs. One that is cancelled or panics has done nobody knows which part of its
/// work, so that its block has failed.
struct Running<'t> {
    tx: &'t mut Transaction,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.tx.fail();
        }
    }
}

/// How a session statement goes on.
enum Finish {
    Answer(Result<Answer>),
    Commit { chain: bool },
}

fn text_rows(names: &[&str], rows: &[Vec<String>]) -> Result<Answer> {
    let mut arrays = Vec::new();
    for at in 0..names.len() {
        let values: Vec<_> = rows.iter().filter_map(|row| row.get(at)).map(|text| Value::from(text.as_str())).collect();
        arrays.push(build::column(&Type::Text, &values)?);
    }
    let fields: Vec<_> = names.iter().map(|name| mapping::field(name, &Type::Text, false)).collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let batch = arrow::record_batch::RecordBatch::try_new(schema, arrays)
        .map_err(|e| Error::internal(format!("could not show settings: {e}")))?;
    let columns: Vec<_> = names.iter().map(|name| Column { name: (*name).to_owned(), ty: Type::Text }).collect();
    match Outcome::of_batch(columns, batch, Some(Tag::plain("SHOW"))) {
        Outcome::Rows(rows) => Ok(Answer::Rows(rows)),
        Outcome::Done(tag) => Ok(Answer::Done(tag)),
    }
}

/// What runs in a transaction, perhaps more than once.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    Statement(&'a Runnable, &'a [Value]),
    Copy(&'a CopyIn),
}

impl Work<'_> {
    fn writes(&self) -> bool {
        match self {
            Self::Statement(runnable, _) => runnable.writes(),
            Self::Copy(_) => true,
        }
    }

    fn makes_index(&self) -> bool {
        matches!(self, Self::Statement(runnable, _) if runnable.makes_index())
    }

    async fn run(&self, db: &Inner, settings: &Settings, now: i64, tx: &mut Transaction) -> Result<Answer> {
        match self {
            Self::Statement(runnable, parameters) => {
                let statement = Statement { settings, parameters, now };
                Ok(match runnable.run(&db.engine, statement, tx).await? {
                    Outcome::Rows(rows) => Answer::Rows(rows),
                    Outcome::Done(tag) => Answer::Done(tag),
                })
            }
            Self::Copy(copy) => {
                let statement = Statement { settings, parameters: &[], now };
                copy.finish(&db.engine, statement, tx).await.map(Answer::Done)
            }
        }
    }
}

/// A session whose statements can be awaited, from any executor. They run on the database's own threads; one that
/// is dropped is cancelled, and its transaction block fails.
#[derive(Clone, Debug)]
pub struct Session {
    core: Arc<tokio::sync::Mutex<Core>>,
    /// Whether the block that is open was left behind by a transaction that nobody waits for any more.
    abandoned: Arc<AtomicBool>,
    /// Whether the last statement was cancelled, and nobody knows how far it came.
    cancelled: Arc<AtomicBool>,
    db: Arc<Inner>,
}

impl Session {
    pub(crate) fn new(core: Core) -> Self {
        let db = core.db.clone();
        Self { core: Arc::new(tokio::sync::Mutex::new(core)), abandoned: Arc::default(), cancelled: Arc::default(), db }
    }

    /// Runs one statement, and tells how many rows it changed or returned.
    ///
    /// # Errors
    /// Every kind.
    pub async fn execute(&self, sql: &str, params: &[Value]) -> Result<u64> {
        let (sql, params) = (sql.to_owned(), params.to_vec());
        self.on_runtime(|core| {
            Box::pin(async move {
                match core.run(&sql, &params).await? {
                    Answer::Done(tag) => Ok(tag.rows().unwrap_or(0)),
                    Answer::CopyIn(_) => Err(needs_blocking()),
                    Answer::Rows(mut rows) => {
                        while let Some(batch) = rows.next().await {
                            batch.inspect_err(|_| core.fail())?;
                        }
                        Ok(rows.tag().rows().unwrap_or(0))
                    }
                }
            })
        })
        .await
    }

    /// Runs one statement; its rows come as a stream of record batches. A statement without rows gives none.
    ///
    /// # Errors
    /// Every kind; the stream's items, too.
    pub async fn query(&self, sql: &str, params: &[Value]) -> Result<RowStream> {
        let (sql, params) = (sql.to_owned(), params.to_vec());
        let rows = self.on_runtime(|core| {
            Box::pin(async move {
                match core.run(&sql, &params).await? {
                    Answer::Rows(rows) => Ok(rows),
                    Answer::Done(tag) => Ok(RowStream::empty(tag)),
                    Answer::CopyIn(_) => Err(needs_blocking()),
                }
            })
        });
        Ok(rows.await?.spawned_on(self.db.runtime.handle()?))
    }

    /// Runs `f` between BEGIN and COMMIT; again, from the start, when it loses a race (40001).
    ///
    /// If its future is dropped, the transaction is rolled back.
    ///
    /// # Errors
    /// What `f` returns, after a ROLLBACK, and what COMMIT says; `Closed` (25P02) if `f` passed over a failed statement,
    /// (25001) in a transaction block.
    pub async fn transaction<T, F>(&self, mut f: F) -> Result<T>
    where
        F: AsyncFnMut(&Self) -> Result<T>,
    {
        for attempt in 0.. {
            let guard = AbandonOnDrop(Some(&self.abandoned));
            if let Err(e) = self.on_runtime(|core| Box::pin(async { core.begin_closure() })).await {
                guard.disarm();
                return Err(e);
            }
            let outcome = match f(self).await {
                Ok(value) => self.on_runtime(|core| Box::pin(core.commit_closure())).await.map(|()| value),
                Err(e) => {
                    self.on_runtime(|core| Box::pin(async { core.roll_back(false) })).await?;
                    Err(e)
                }
            };
            guard.disarm();
            match outcome {
                Err(Error::Retry(_)) if attempt < MAX_RETRIES => {}
                other => return other,
            }
        }
        Err(Error::internal("a transaction was never run"))
    }

    /// Reads an earlier state from now on; see [`crate::blocking::Session::read_as_of`].
    ///
    /// # Errors
    /// `Closed` (25001).
    pub async fn read_as_of(&self, as_of: Option<AsOf>) -> Result<()> {
        self.core.lock().await.read_as_of(as_of)
    }

    /// The newest commit of this session.
    pub async fn last_commit(&self) -> Option<Lsn> {
        self.core.lock().await.last_commit()
    }

    async fn on_runtime<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Core) -> BoxFuture<'c, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut core = self.core.clone().lock_owned().await;
        if self.abandoned.swap(false, Ordering::AcqRel) {
            core.roll_back(false)?;
        }
        if self.cancelled.swap(false, Ordering::AcqRel) {
            core.fail();
        }
        let task = self.db.runtime.handle()?.spawn(async move { work(&mut core).await });
        let mut guard = AbortOnDrop { task: task.abort_handle(), cancelled: Some(&self.cancelled) };
        let outcome = task.await;
        guard.cancelled = None;
        drop(guard);
        outcome.unwrap_or_else(|e| Err(Error::internal(format!("a statement panicked: {e}"))))
    }
}

/// Tells the next statement of the session that the block is not its own.
struct AbandonOnDrop<'s>(Option<&'s AtomicBool>);

impl AbandonOnDrop<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(abandoned) = self.0 {
            abandoned.store(true, Ordering::Release);
        }
    }
}

/// Cancels a statement that nobody waits for any more.
struct AbortOnDrop<'s> {
    task: tokio::task::AbortHandle,
    cancelled: Option<&'s AtomicBool>,
}

impl Drop for AbortOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(cancelled) = self.cancelled {
            cancelled.store(true, Ordering::Release);
        }
        self.task.abort();
    }
}
