//! Derived indexes beside the store: they are told of each commit before anybody can see it, filled from the rows when
//! they are made or have failed, and brought up to date from the log when the database is opened.
//!
//! One thread does all that takes time: filling, building, merging, checkpoints.

mod check;
mod follow;

pub use check::CheckedIndexes;
pub(crate) use check::check;

use crate::options::Options;
use follow::Follower;
use nodedb_base::{Error, Incarnation, Lsn, Result, RowId, StoredRows, Type};
use nodedb_env::{Env, Join};
use nodedb_index::vector::{VectorIndex, VectorOptions};
use nodedb_index::{Alarm, Index, Indexes, JobKind, Kind, State, Subject, TextIndex};
use nodedb_query::{Engine, RowPredicate};
use nodedb_store::catalog::{DerivedIndex, Hnsw, Method, Table, VectorClass};
use nodedb_store::{LogHold, Store, Transaction, TransactionOptions, View};
use nodedb_vector::{Element, Metric, Quantisation};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;

/// What the thread is asked for.
pub(crate) enum Message {
    /// Fill an index from the rows.
    Build {
        table: u32,
        index: Incarnation,
    },
    /// Look whether there is anything to do.
    Work,
    /// Let go of the files of an index over these rows.
    Forget {
        rows: Incarnation,
        index: Incarnation,
    },
    Stop,
}

/// The derived indexes of a database.
pub(crate) struct Derived {
    messages: Sender<Message>,
    thread: Mutex<Option<Box<dyn Join>>>,
    signals: Arc<Signals>,
}

/// What the thread, the committer and the sessions tell each other.
pub(crate) struct Signals {
    /// Indexes that were made and are not filled.
    filling: watch::Sender<usize>,
    /// Whether more vectors come than graphs are built for.
    crowded: watch::Sender<bool>,
    stopping: AtomicBool,
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Derived").finish_non_exhaustive()
    }
}

impl Derived {
    /// Opens all indexes of the catalogue, and follows the store from now on.
    ///
    /// # Errors
    /// `Io` if there is no thread.
    pub fn start(env: &Env, store: &Arc<Store>, engine: &Arc<Engine>, options: &Options) -> Result<Self> {
        let indexes = engine.indexes();
        let (messages, inbox) = channel();
        let (filling, crowded) = (watch::channel(0).0, watch::channel(false).0);
        let signals = Arc::new(Signals { filling, crowded, stopping: AtomicBool::new(false) });
        let follower = Arc::new(Follower::new(indexes.clone(), messages.clone(), signals.clone(), options));
        let worker = Worker {
            env: env.clone(),
            store: store.clone(),
            indexes: indexes.clone(),
            engine: engine.clone(),
            follower: follower.clone(),
            signals: signals.clone(),
            messages: messages.clone(),
            seal_threshold: options.vector_seal_threshold,
            build_threads: options.threads(),
            checkpoint_bytes: options.index_checkpoint_bytes,
            memory: options.memory / 4,
            holds: HashMap::new(),
            attempts: HashMap::new(),
        };
        let worker = worker.open();
        store.committer().observe(follower);
        let work = Box::new(move || worker.run(&inbox));
        let thread = env.spawn.spawn("nodedb-index", work).map_err(|e| Error::io("start a thread", &e))?;
        Ok(Self { messages, thread: Mutex::new(Some(thread)), signals })
    }

    /// Waits until no index is being filled.
    pub async fn filled(&self) {
        let _ = self.signals.filling.subscribe().wait_for(|filling| *filling == 0).await;
    }

    /// Waits while too many vectors wait to be built: before a commit, which itself waits for nobody.
    pub async fn room(&self) {
        if *self.signals.crowded.borrow() {
            let _ = self.signals.crowded.subscribe().wait_for(|crowded| !*crowded).await;
        }
    }

    /// Makes all indexes durable, and ends the thread.
    pub fn stop(&self) {
        if let Some(thread) = self.thread.lock().take() {
            self.signals.stopping.store(true, Ordering::Release);
            let _ = self.messages.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Derived {
    fn drop(&mut self) {
        self.stop();
    }
}

/// So many times the bytes that one index takes in are committed, whatever they change, before all are made durable, so
/// that the log can be cut.
const ALL_AFTER: u64 = 4;
/// Rows that are handed over at a time.
const SOME_ROWS: usize = 256;
/// Rows whose numbers are in a longer span are not counted by it.
const LONGEST_SPAN: u64 = 1 << 33;
/// So few commits are caught up with while others wait.
const FEW_COMMITS: u64 = 64;
/// How often an index that fails is filled anew before that is left to the next opening.
const MOST_ATTEMPTS: u32 = 3;

struct Worker {
    env: Env,
    store: Arc<Store>,
    indexes: Arc<Indexes>,
    engine: Arc<Engine>,
    follower: Arc<Follower>,
    signals: Arc<Signals>,
    messages: Sender<Message>,
    seal_threshold: usize,
    build_threads: usize,
    checkpoint_bytes: u64,
    /// For all indexes together.
    memory: u64,
    /// The log that each index still needs.
    holds: HashMap<Incarnation, LogHold>,
    /// How often each was filled in vain.
    attempts: HashMap<Incarnation, u32>,
}

impl Worker {
    /// Brings the indexes that there are up to date; those that cannot be are filled anew.
    fn open(mut self) -> Self {
        let catalog = self.store.committer().catalog();
        // Nothing is cut until each index holds what it needs.
        let all = self.store.hold_log(Lsn(1));
        self.remove_strangers(&catalog);
        for table in catalog.tables() {
            self.follower.know(table);
            for definition in &table.derived {
                if let Err(why) = self.reopen(table, definition) {
                    tracing::warn!(index = %definition.name, %why, "an index is filled anew");
                    self.follower.ask_to_fill(table.id, definition.id);
                }
            }
        }
        drop(all);
        self
    }

    fn remove_strangers(&self, catalog: &nodedb_store::catalog::Catalog) {
        let (files, dir) = (&*self.env.files, self.store.index_dir());
        let of_table = |table: &Arc<Table>| -> Vec<PathBuf> {
            table.derived.iter().map(|index| self.dir(table.incarnation, index.id)).collect()
        };
        let known: Vec<PathBuf> = catalog.tables().flat_map(of_table).collect();
        for path in files.list(&dir).unwrap_or_default().into_iter().map(|name| dir.join(name)) {
            if !known.contains(&path)
                && let Err(why) = files.remove_dir_all(&path)
            {
                tracing::warn!(path = %path.display(), %why, "what belongs to no index could not be removed");
            }
        }
    }

    /// Named by the life of the rows, too: rows that come as a whole need an index from nothing.
    fn dir(&self, rows: Incarnation, index: Incarnation) -> PathBuf {
        self.store.index_dir().join(format!("{}-{}", index.0, rows.0))
    }

    fn alarm(&self) -> Alarm {
        let messages = self.messages.clone();
        Alarm(Arc::new(move || drop(messages.send(Message::Work))))
    }

    fn reopen(&mut self, table: &Arc<Table>, definition: &DerivedIndex) -> Result<()> {
        let dir = self.dir(table.incarnation, definition.id);
        let (kind, upper) = self.open_kind(table, definition, &dir)?;
        if upper > self.store.last() {
            return Err(Error::damaged(format!("an index that knows commit {upper}, which is not there")));
        }
        self.holds.insert(definition.id, self.store.hold_log(upper.next()));
        let named = (definition.id, definition.name.clone());
        let subject = self.subject(table, definition)?;
        let index = Arc::new(Index::new(named, (kind, subject), upper, self.alarm()));
        let last = self.catch_up(table, &index, upper, true)?;
        self.indexes.follow(table.incarnation, index.clone());
        // What was read behind the checkpoint was read as it is now.
        index.become_ready(last);
        self.indexes.put(index);
        Ok(())
    }

    /// What an index is told of.
    fn subject(&self, table: &Table, definition: &DerivedIndex) -> Result<Subject> {
        let predicate = nodedb_query::row_predicate(&self.engine, table, definition)?;
        let (mut columns, covered) = (definition.columns.clone(), definition.columns.len());
        columns.extend(predicate.iter().flat_map(RowPredicate::columns).map(|(at, _)| at));
        Ok(Subject { columns, covered, predicate: predicate.map(|predicate| Box::new(predicate) as _) })
    }

    fn open_kind(&self, table: &Table, definition: &DerivedIndex, dir: &Path) -> Result<(Box<dyn Kind>, Lsn)> {
        let env = self.env.clone();
        Ok(match &definition.method {
            Method::Hnsw(hnsw) => {
                let options = vector_options(table, definition, hnsw, (self.seal_threshold, self.build_threads))?;
                let (index, upper) = VectorIndex::open(env, dir, &options)?;
                (Box::new(index), upper)
            }
            Method::Bm25(bm25) => {
                let (index, upper) = TextIndex::open(env, dir, &nodedb_query::text_options(table, definition, bm25)?)?;
                (Box::new(index), upper)
            }
        })
    }

    fn create_kind(&self, table: &Table, definition: &DerivedIndex, dir: &Path) -> Result<Box<dyn Kind>> {
        let env = self.env.clone();
        Ok(match &definition.method {
            Method::Hnsw(hnsw) => {
                let options = vector_options(table, definition, hnsw, (self.seal_threshold, self.build_threads))?;
                Box::new(VectorIndex::create(env, dir, &options)?)
            }
            Method::Bm25(bm25) => {
                Box::new(TextIndex::create(env, dir, &nodedb_query::text_options(table, definition, bm25)?)?)
            }
        })
    }

    /// Fails if nobody wants the work any more.
    fn check_wanted(&self, index: &Index) -> Result<()> {
        if self.signals.stopping.load(Ordering::Acquire) || index.is_dropping() {
            return Err(Error::closed("57P03", "the database is closed, or the index is dropped"));
        }
        index.status().why.map_or(Ok(()), |why| Err(Error::internal(why)))
    }

    /// Takes in what the log has behind a commit; the last commit that it had.
    fn catch_up(&self, table: &Table, index: &Index, after: Lsn, works: bool) -> Result<Lsn> {
        let mut last = after;
        if self.store.log().last() <= after {
            return Ok(last);
        }
        let tx = self.reader()?;
        let now = Now(tx.view());
        for record in self.store.log().read(after.next())? {
            let record = record?;
            // What is not seen yet comes in the next round.
            if record.lsn > tx.view().lsn() {
                break;
            }
            let batch = nodedb_base::Batch::decode(&record.payload)?;
            let change = (record.lsn, &batch);
            follow::each_change(change, table, index.columns(), &now, &mut |change| index.apply(change))?;
            self.check_wanted(index)?;
            while works && record.lsn.0.is_multiple_of(SOME_ROWS as u64) && index.kind().work()? {}
            last = record.lsn;
        }
        Ok(last)
    }

    fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            match catch_unwind(AssertUnwindSafe(|| self.handle(message))) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => tracing::error!("work on an index has panicked"),
            }
        }
        // Their files are free from now on, whoever still has a session.
        self.indexes.clear();
        self.signals.filling.send_replace(0);
        self.signals.crowded.send_replace(false);
    }

    /// Does what a message asks for; `false` to end.
    fn handle(&mut self, message: Message) -> bool {
        match message {
            Message::Build { table, index } => {
                self.fill(table, index);
                self.signals.filling.send_modify(|filling| *filling = filling.saturating_sub(1));
            }
            Message::Work => self.follower.hear_again(),
            Message::Forget { rows, index } => {
                self.holds.remove(&index);
                let dir = self.dir(rows, index);
                if let Err(why) = self.env.files.remove_dir_all(&dir) {
                    tracing::debug!(dir = %dir.display(), %why, "the files of an index stay until the next opening");
                }
            }
            Message::Stop => {
                self.indexes.all().iter().for_each(|index| self.make_durable(index));
                return false;
            }
        }
        self.work();
        true
    }

    fn work(&mut self) {
        let low_water = self.store.low_water();
        let all = self.indexes.all();
        let share = self.memory / all.len().max(1) as u64;
        let behind = self.follower.logged() / ALL_AFTER > self.checkpoint_bytes;
        for index in &all {
            index.kind().raise_since(low_water);
            index.kind().set_budget(share);
            self.do_jobs(index);
            if index.pending() > self.checkpoint_bytes || behind {
                self.make_durable(index);
            }
            if index.status().state == State::Failed {
                self.mend(index);
            }
        }
        if behind {
            self.follower.forget_logged();
        }
        self.follower.look_for_room();
    }

    fn now(&self) -> i64 {
        self.env.clock.now()
    }

    /// About how many rows there are.
    fn rows_of(&self, table: &Table) -> Result<u64> {
        let tx = self.reader()?;
        let mut ends = [false, true].into_iter().map(|backward| -> Result<u64> {
            let mut rows = tx.view().rows(table.incarnation, RowId(0), RowId(u64::MAX), backward)?;
            Ok(rows.next().transpose()?.map_or(0, |row| row.id.0))
        });
        let (Some(first), Some(last)) = (ends.next(), ends.next()) else { return Ok(0) };
        let span = last?.saturating_sub(first?).saturating_add(1);
        // Numbers far apart say nothing of how many there are.
        Ok(if span < LONGEST_SPAN { span } else { 0 })
    }

    fn do_jobs(&self, index: &Index) {
        while self.check_wanted(index).is_ok() {
            let working = index.begin(JobKind::Build, self.now(), 0);
            let worked = catch_unwind(AssertUnwindSafe(|| index.kind().work()));
            drop(working);
            match worked.unwrap_or_else(|_| Err(Error::internal("work on an index has panicked"))) {
                Ok(true) => self.follower.look_for_room(),
                Ok(false) => break,
                Err(why) => index.fail(&why),
            }
        }
    }

    /// Fills an index that has failed anew, unless that has failed too often.
    fn mend(&mut self, index: &Index) {
        let catalog = self.store.committer().catalog();
        let table = catalog.tables().find(|table| table.derived.iter().any(|other| other.id == index.id));
        let attempts = self.attempts.entry(index.id).or_default();
        *attempts += 1;
        if let (Some(table), true) = (table, *attempts <= MOST_ATTEMPTS) {
            self.fill(table.id, index.id);
        }
    }

    /// Writes an index down.
    fn make_durable(&mut self, index: &Index) {
        // Whatever can be seen has been taken in.
        let upper = self.store.last();
        if index.status().state != State::Ready || (index.durable() >= upper && index.pending() == 0) {
            return;
        }
        let working = index.begin(JobKind::Checkpoint, self.now(), 0);
        let written = index.checkpoint(upper);
        drop(working);
        if let Err(why) = written {
            tracing::warn!(index = %index.name, %why, "an index could not be made durable; the log is kept for it");
            return;
        }
        let kept = self.holds.get(&index.id).is_some_and(|hold| hold.advance(upper.next()).is_ok());
        if !kept {
            // The log was cut beyond it. From here on it is kept again.
            self.holds.insert(index.id, self.store.hold_log(upper.next()));
        }
    }

    fn fill(&mut self, table: u32, id: Incarnation) {
        let catalog = self.store.committer().catalog();
        let Some(table) = catalog.table_by_id(table).cloned() else { return };
        let Some(definition) = table.derived.iter().find(|index| index.id == id).cloned() else { return };
        let span = tracing::info_span!("fill index", index = %definition.name);
        let _entered = span.enter();
        let filled = catch_unwind(AssertUnwindSafe(|| self.fill_from_rows(&table, &definition)));
        match filled.unwrap_or_else(|_| Err(Error::internal("filling an index has panicked"))) {
            Ok(()) => _ = self.attempts.remove(&id),
            Err(why) => {
                self.holds.remove(&id);
                match self.indexes.get(id) {
                    Some(index) => index.fail(&why),
                    None => tracing::error!(index = %definition.name, %why, "an index could not be made"),
                }
            }
        }
    }

    fn fill_from_rows(&mut self, table: &Arc<Table>, definition: &DerivedIndex) -> Result<()> {
        let (dir, files) = (self.dir(table.incarnation, definition.id), self.env.files.clone());
        let io = |e: std::io::Error| Error::io(format_args!("make {}", dir.display()), &e);
        self.indexes.remove(definition.id);
        if files.exists(&dir).map_err(io)? {
            files.remove_dir_all(&dir).map_err(io)?;
        }
        files.create_dir_all(&dir).map_err(io)?;
        let kind = self.create_kind(table, definition, &dir)?;
        let named = (definition.id, definition.name.clone());
        let subject = self.subject(table, definition)?;
        let index = Arc::new(Index::new(named, (kind, subject), Lsn::ZERO, self.alarm()));
        index.begin_backfill();
        self.indexes.put(index.clone());
        let working = index.begin(JobKind::Fill, self.now(), self.rows_of(table)?);
        let hold = self.store.hold_log(self.store.last().next());
        let since = self.take_rows(table, &index)?;
        index.kind().filled()?;
        let mut last = since;
        while self.store.last().0.saturating_sub(last.0) > FEW_COMMITS {
            last = self.catch_up(table, &index, last, true)?;
        }
        while index.kind().work()? {
            self.check_wanted(&index)?;
        }
        // Between two groups of commits nothing can be missed.
        let quiet = self.store.committer().between_groups();
        last = self.catch_up(table, &index, last, false)?;
        if self.follower.still_has(table, definition.id) {
            self.indexes.follow(table.incarnation, index.clone());
            // What was read behind the snapshot was read as it was then.
            index.become_ready(last);
        } else {
            self.indexes.remove(definition.id);
        }
        drop((quiet, working));
        self.holds.insert(definition.id, hold);
        self.make_durable(&index);
        Ok(())
    }

    fn reader(&self) -> Result<Transaction> {
        self.store.begin(TransactionOptions { read_only: true, ..TransactionOptions::default() })
    }

    /// Takes all rows in, as of now; the commit that this is.
    fn take_rows(&self, table: &Table, index: &Index) -> Result<Lsn> {
        let tx = self.reader()?;
        let (view, types) = (tx.view(), table.types());
        for (at, row) in view.rows(table.incarnation, RowId(0), RowId(u64::MAX), false)?.enumerate() {
            let row = row?;
            let large = |column| view.large(table.incarnation, row.id, column).map(|bytes| Some(bytes.to_vec()));
            follow::row_as_change(&types, &row, index.columns(), large, |change| index.apply(change))?;
            if at % SOME_ROWS == 0 {
                index.advance(at as u64);
                self.check_wanted(index)?;
                while index.kind().work()? {
                    self.check_wanted(index)?;
                }
            }
        }
        self.check_wanted(index)?;
        Ok(view.lsn())
    }
}

/// The rows as they are, for whoever reads the log behind them: what a later commit has changed comes later.
struct Now<'v>(&'v View);

impl StoredRows for Now<'_> {
    fn before(&self, _: Incarnation, _: RowId) -> Result<Option<(Lsn, Vec<u8>)>> {
        Ok(None)
    }

    fn large(&self, incarnation: Incarnation, row: RowId, column: u16) -> Result<Option<Vec<u8>>> {
        match self.0.large(incarnation, row, column) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(Error::Damaged(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// How the vector collection of an index is made.
fn vector_options(
    table: &Table,
    definition: &DerivedIndex,
    Hnsw { class, m, ef_construction, code_bits }: &Hnsw,
    (seal_threshold, build_threads): (usize, usize),
) -> Result<VectorOptions> {
    let column = definition.columns.first().and_then(|at| table.columns.get(usize::from(*at)));
    let ty = column.map(|column| &column.ty);
    let (element, dimension) = match ty {
        Some(Type::Vector(n)) => (Element::F32, n),
        Some(Type::Halfvec(n)) => (Element::F16, n),
        Some(Type::Bit(n)) => (Element::Bits, n),
        _ => return Err(Error::damaged(format!("index {} is of a column that is no vector", definition.name))),
    };
    Ok(VectorOptions {
        metric: match class {
            VectorClass::L2 => Metric::L2,
            VectorClass::InnerProduct => Metric::InnerProduct,
            VectorClass::Cosine => Metric::Cosine,
            VectorClass::L1 => Metric::Manhattan,
            VectorClass::Linf => Metric::Chebyshev,
            VectorClass::Pearson => Metric::Pearson,
            VectorClass::Hamming => Metric::Hamming,
            VectorClass::Jaccard => Metric::Jaccard,
        },
        element,
        dimension: *dimension as usize,
        m: usize::from(*m),
        ef_construction: usize::from(*ef_construction),
        quantisation: match code_bits {
            0 => Quantisation::None,
            8 => Quantisation::Bytes,
            bits => Quantisation::Bits(*bits),
        },
        seal_threshold,
        build_threads,
    })
}
