//! What a statement answers.

use crate::error::from_datafusion;
use crate::types::arrow::type_of_field;
use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::{BoxStream, StreamExt};
use nodedb_base::{Result, Type};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// PostgreSQL's command tag: what a statement did, in a word or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    verb: &'static str,
    rows: Option<u64>,
}

impl Tag {
    /// A statement that has no rows: `CREATE TABLE`.
    #[must_use]
    pub const fn plain(verb: &'static str) -> Self {
        Self { verb, rows: None }
    }

    /// A statement that returned or changed rows: `SELECT 3`, `INSERT 0 3`.
    #[must_use]
    pub const fn rows_changed(verb: &'static str, rows: u64) -> Self {
        Self { verb, rows: Some(rows) }
    }

    /// How many rows were returned or changed.
    #[must_use]
    pub const fn rows(&self) -> Option<u64> {
        self.rows
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows {
            Some(rows) => write!(f, "{} {rows}", self.verb),
            None => f.write_str(self.verb),
        }
    }
}

/// Rows on their way.
pub struct RowStream {
    columns: Arc<[Column]>,
    batches: BoxStream<'static, Result<RecordBatch>>,
    tag: Option<Tag>,
    seen: u64,
    failed: Option<Arc<AtomicBool>>,
}

impl RowStream {
    /// No rows, of a statement that has none.
    #[must_use]
    pub fn empty(tag: Tag) -> Self {
        Self {
            columns: Arc::default(),
            batches: futures::stream::empty().boxed(),
            tag: Some(tag),
            seen: 0,
            failed: None,
        }
    }

    /// The same rows, made by a task of a runtime, so that they can be taken from anywhere. The task ends when
    /// nobody takes rows any more.
    #[must_use]
    pub fn spawned_on(self, runtime: &tokio::runtime::Handle) -> Self {
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        let mut batches = self.batches;
        runtime.spawn(async move {
            while let Some(batch) = batches.next().await {
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        let batches = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|batch| (batch, receiver))
        });
        Self { columns: self.columns, batches: batches.boxed(), tag: self.tag, seen: self.seen, failed: self.failed }
    }

    /// The same rows, which set `failed` when they end with an error.
    #[must_use]
    pub fn telling(mut self, failed: Arc<AtomicBool>) -> Self {
        self.failed = Some(failed);
        self
    }

    /// Their columns.
    #[must_use]
    pub const fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// The next batch.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.batches.next().await;
        match &batch {
            Some(Ok(batch)) => self.seen += batch.num_rows() as u64,
            Some(Err(_)) => {
                if let Some(failed) = &self.failed {
                    failed.store(true, Ordering::Relaxed);
                }
            }
            None => {}
        }
        batch
    }

    /// The tag; of a SELECT it is right once all rows are through.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag.clone().unwrap_or(Tag::rows_changed("SELECT", self.seen))
    }
}

impl fmt::Debug for RowStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// What a statement answers.
#[derive(Debug)]
pub enum Outcome {
    /// Rows.
    Rows(RowStream),
    /// That it is done.
    Done(Tag),
}

impl Outcome {
    /// Rows from `DataFusion`.
    ///
    /// # Errors
    /// `Statement` (0A000) if a column has a type that is none of SQL's.
    pub fn rows(stream: SendableRecordBatchStream, tag: Option<Tag>) -> Result<Self> {
        let schema = stream.schema();
        let named = |name: &str| crate::rewrite::shown(name).to_owned();
        let columns =
            schema.fields().iter().map(|field| Ok(Column { name: named(field.name()), ty: type_of_field(field)? }));
        let columns: Result<Vec<_>> = columns.collect();
        let batches = stream.map(|batch| batch.map_err(from_datafusion)).boxed();
        Ok(Self::Rows(RowStream { columns: columns?.into(), batches, tag, seen: 0, failed: None }))
    }

    /// Rows that are all there.
    #[must_use]
    pub fn of_batch(columns: impl Into<Arc<[Column]>>, batch: RecordBatch, tag: Option<Tag>) -> Self {
        Self::of_batches(columns, std::iter::once(Ok(batch)), tag)
    }

    /// Rows that are read as they are asked for, on the thread that asks.
    #[must_use]
    pub fn of_batches(
        columns: impl Into<Arc<[Column]>>,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
        tag: Option<Tag>,
    ) -> Self {
        let batches = futures::stream::iter(batches).boxed();
        Self::Rows(RowStream { columns: columns.into(), batches, tag, seen: 0, failed: None })
    }
}
