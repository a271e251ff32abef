//! Derived indexes beside the store: they are told of each commit before anybody can see it, filled from the rows when
//! they are made or have failed, and brought up to date from the log when the database is opened.
//!
//! One thread does all that takes time: filling, building, merging, checkpoints.

mod follow;

use crate::options::Options;
use follow::Follower;
use nodedb_base::{Error, Incarnation, Lsn, Result, RowId};
use nodedb_env::{Env, Join};
use nodedb_index::vector::{VectorIndex, VectorOptions};
use nodedb_index::{Index, Indexes};
use nodedb_store::catalog::{DerivedIndex, Hnsw, Method, Table, VectorClass};
use nodedb_store::{LogHold, Store, TransactionOptions};
use nodedb_vector::{Metric, Quantisation};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
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
    fills: watch::Receiver<usize>,
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
    /// `Io` if there is no thread, or the directory cannot be read.
    pub fn start(env: &Env, store: &Arc<Store>, indexes: &Arc<Indexes>, options: &Options) -> Result<Self> {
        let (messages, inbox) = channel();
        let (filling, fills) = watch::channel(0);
        let filling = Arc::new(filling);
        let follower = Arc::new(Follower::new(indexes.clone(), messages.clone(), filling.clone()));
        let worker = Worker {
            env: env.clone(),
            store: store.clone(),
            indexes: indexes.clone(),
            follower: follower.clone(),
            seal_threshold: options.vector_seal_threshold,
            holds: HashMap::new(),
        };
        let worker = worker.open()?;
        store.committer().observe(follower);
        let work = Box::new(move || worker.run(&inbox, &filling));
        let thread = env.spawn.spawn("nodedb-index", work).map_err(|e| Error::io("start a thread", &e))?;
        Ok(Self { messages, thread: Mutex::new(Some(thread)), fills })
    }

    /// Waits until no index is being filled.
    pub async fn filled(&self) {
        let _ = self.fills.clone().wait_for(|filling| *filling == 0).await;
    }

    /// Makes all indexes durable, and ends the thread.
    pub fn stop(&self) {
        if let Some(thread) = self.thread.lock().take() {
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

/// Bytes that an index takes in before it is made durable.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// Rows that are handed over at a time.
const SOME_ROWS: usize = 256;
/// So few commits are caught up with while others wait.
const FEW_COMMITS: u64 = 64;

struct Worker {
    env: Env,
    store: Arc<Store>,
    indexes: Arc<Indexes>,
    follower: Arc<Follower>,
    seal_threshold: usize,
    /// The log that each index still needs.
    holds: HashMap<Incarnation, LogHold>,
}

impl Worker {
    /// Brings the indexes that there are up to date; those that cannot be are filled anew.
    fn open(mut self) -> Result<Self> {
        let catalog = self.store.committer().catalog();
        self.remove_strangers(&catalog)?;
        for table in catalog.tables() {
            self.follower.know(table);
            for definition in &table.derived {
                if let Err(why) = self.reopen(table, definition) {
                    tracing::warn!(index = %definition.name, %why, "an index is filled anew");
                    self.follower.ask_to_fill(table.id, definition.id);
                }
            }
        }
        Ok(self)
    }

    fn remove_strangers(&self, catalog: &nodedb_store::catalog::Catalog) -> Result<()> {
        let (files, dir) = (&*self.env.files, self.store.index_dir());
        let io = |e: std::io::Error| Error::io(format_args!("look into {}", dir.display()), &e);
        if !files.exists(&dir).map_err(io)? {
            return Ok(());
        }
        let known: Vec<PathBuf> = catalog
            .tables()
            .flat_map(|table| table.derived.iter().map(|index| self.dir(table.incarnation, index.id)))
            .collect();
        for name in files.list(&dir).map_err(io)? {
            let path = dir.join(name);
            if !known.contains(&path) {
                files.remove_dir_all(&path).map_err(io)?;
            }
        }
        Ok(())
    }

    /// Named by the life of the rows, too: rows that come as a whole need an index from nothing.
    fn dir(&self, rows: Incarnation, index: Incarnation) -> PathBuf {
        self.store.index_dir().join(format!("{}-{}", index.0, rows.0))
    }

    fn reopen(&mut self, table: &Arc<Table>, definition: &DerivedIndex) -> Result<()> {
        let options = options(table, definition, self.seal_threshold)?;
        let (kind, upper) = VectorIndex::open(self.env.clone(), &self.dir(table.incarnation, definition.id), &options)?;
        self.holds.insert(definition.id, self.store.hold_log(upper.next()));
        let index = Arc::new(Index::new(definition.id, definition.name.clone(), Box::new(kind), upper));
        self.catch_up((table, definition), &index, upper)?;
        self.indexes.follow(table.incarnation, definition.column, index.clone());
        index.become_ready(upper);
        self.indexes.put(index);
        Ok(())
    }

    /// Takes in what the log has behind a commit; the last commit that it had.
    fn catch_up(&self, (table, definition): (&Table, &DerivedIndex), index: &Index, after: Lsn) -> Result<Lsn> {
        let mut last = after;
        if self.store.log().last() <= after {
            return Ok(last);
        }
        for record in self.store.log().read(after.next())? {
            let record = record?;
            let batch = nodedb_base::Batch::decode(&record.payload)?;
            follow::each_change(&batch, record.lsn, table, definition.column, &mut |change| index.apply(&[change]))?;
            last = record.lsn;
        }
        match index.status().why {
            Some(why) => Err(Error::internal(why)),
            None => Ok(last),
        }
    }

    fn run(mut self, inbox: &Receiver<Message>, filling: &watch::Sender<usize>) {
        while let Ok(message) = inbox.recv() {
            let is_fill = matches!(message, Message::Build { .. });
            let done = catch_unwind(AssertUnwindSafe(|| self.handle(message)));
            if is_fill {
                filling.send_modify(|filling| *filling -= 1);
            }
            match done {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => tracing::error!("work on an index has panicked"),
            }
        }
    }

    /// Does what a message asks for; `false` to end.
    fn handle(&mut self, message: Message) -> bool {
        match message {
            Message::Build { table, index } => self.fill(table, index),
            Message::Work => self.follower.hear_again(),
            Message::Forget { rows, index } => {
                self.holds.remove(&index);
                let dir = self.dir(rows, index);
                if let Err(why) = self.env.files.remove_dir_all(&dir) {
                    tracing::debug!(dir = %dir.display(), %why, "the files of an index stay until the next opening");
                }
            }
            Message::Stop => {
                self.indexes.all().iter().for_each(|index| self.make_durable(index, 0));
                return false;
            }
        }
        self.work();
        true
    }

    fn work(&mut self) {
        let low_water = self.store.low_water();
        for index in self.indexes.all() {
            index.kind().raise_since(low_water);
            loop {
                match index.kind().work() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(why) => {
                        index.fail(&why);
                        break;
                    }
                }
            }
            self.make_durable(&index, CHECKPOINT_BYTES);
            if index.status().state == nodedb_index::State::Failed {
                self.follower.ask_to_fill_again(index.id);
            }
        }
    }

    /// Writes an index down if it has taken in more than so much.
    fn make_durable(&mut self, index: &Index, more_than: u64) {
        if index.status().state != nodedb_index::State::Ready || index.pending() <= more_than {
            return;
        }
        // Whatever can be seen has been taken in.
        let upper = self.store.last();
        let written = index.checkpoint(upper).and_then(|()| match self.holds.get(&index.id) {
            Some(hold) => hold.advance(upper.next()),
            None => Ok(()),
        });
        if let Err(why) = written {
            tracing::warn!(index = %index.name, %why, "an index could not be made durable; the log is kept for it");
        }
    }

    fn fill(&mut self, table: u32, id: Incarnation) {
        let catalog = self.store.committer().catalog();
        let Some(table) = catalog.table_by_id(table).cloned() else { return };
        let Some(definition) = table.derived.iter().find(|index| index.id == id).cloned() else { return };
        let span = tracing::info_span!("fill index", index = %definition.name);
        let _entered = span.enter();
        if let Err(why) = self.fill_from_rows(&table, &definition) {
            tracing::error!(index = %definition.name, %why, "an index could not be filled; its queries compare all rows");
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
        let kind = VectorIndex::create(self.env.clone(), &dir, &options(table, definition, self.seal_threshold)?)?;
        let index = Arc::new(Index::new(definition.id, definition.name.clone(), Box::new(kind), Lsn::ZERO));
        index.begin_backfill();
        self.indexes.put(index.clone());
        let hold = self.store.hold_log(self.store.last().next());
        let since = self.take_rows(table, definition, &index)?;
        let mut last = since;
        while self.store.last().0 - last.0 > FEW_COMMITS {
            last = self.catch_up((table, definition), &index, last)?;
        }
        // Between two groups of commits nothing can be missed.
        let quiet = self.store.committer().between_groups();
        self.catch_up((table, definition), &index, last)?;
        if self.follower.still_has(table, definition.id) {
            self.indexes.follow(table.incarnation, definition.column, index.clone());
            index.become_ready(since);
        } else {
            self.indexes.remove(definition.id);
        }
        drop(quiet);
        self.holds.insert(definition.id, hold);
        self.make_durable(&index, 0);
        Ok(())
    }

    /// Takes all rows in, as of now; the commit that this is.
    fn take_rows(&self, table: &Table, definition: &DerivedIndex, index: &Index) -> Result<Lsn> {
        let tx = self.store.begin(TransactionOptions { read_only: true, ..TransactionOptions::default() })?;
        let (view, types) = (tx.view(), table.types());
        let mut some: Vec<(RowId, Lsn, Vec<u8>)> = Vec::new();
        let hand_over = |some: &mut Vec<(RowId, Lsn, Vec<u8>)>| -> Result<()> {
            let change = |(row, version, value): &(RowId, Lsn, Vec<u8>)| (*row, *version, value.clone());
            for (row, version, value) in some.iter().map(change) {
                index.apply(&[nodedb_index::Change { row, version, value: Some(&value) }]);
            }
            some.clear();
            index.status().why.map_or(Ok(()), |why| Err(Error::internal(why)))
        };
        for row in view.rows(table.incarnation, RowId(0), RowId(u64::MAX), false)? {
            let row = row?;
            if let Some((value, version)) = follow::column_of(&types, &row, definition.column, |column| {
                view.large(table.incarnation, row.id, column).map(|bytes| bytes.to_vec())
            })? {
                some.push((row.id, version, value));
            }
            if some.len() == SOME_ROWS {
                hand_over(&mut some)?;
                while index.kind().work()? {}
            }
        }
        hand_over(&mut some)?;
        Ok(view.lsn())
    }
}

/// How the vector collection of an index is made.
fn options(table: &Table, definition: &DerivedIndex, seal_threshold: usize) -> Result<VectorOptions> {
    let Method::Hnsw(Hnsw { class, m, ef_construction, code_bits }) = &definition.method;
    let ty = table.columns.get(usize::from(definition.column)).map(|column| &column.ty);
    let Some(nodedb_base::Type::Vector(dimension)) = ty else {
        return Err(Error::damaged(format!("index {} is of a column that is no vector", definition.name)));
    };
    Ok(VectorOptions {
        metric: match class {
            VectorClass::L2 => Metric::L2,
            VectorClass::InnerProduct => Metric::InnerProduct,
            VectorClass::Cosine => Metric::Cosine,
        },
        dimension: *dimension as usize,
        m: usize::from(*m),
        ef_construction: usize::from(*ef_construction),
        quantisation: match code_bits {
            0 => Quantisation::None,
            8 => Quantisation::Bytes,
            bits => Quantisation::Bits(*bits),
        },
        seal_threshold,
    })
}
