//! What has been committed and is in no file yet: documents, and which rows they replace.

use super::analysis::Fields;
use super::part::{Document, Part};
use nodedb_base::{Lsn, Result, RowId};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The newest changes. A commit only appends; whoever searches first makes a part of what has come since.
#[derive(Debug, Default)]
pub(super) struct Tail {
    documents: RwLock<Vec<Arc<Document>>>,
    /// When each row changed.
    changed: RwLock<HashMap<RowId, Vec<Lsn>>>,
    /// Parts in memory of the documents from a number on, each larger than the next.
    parts: Mutex<Vec<(usize, Arc<Part>)>>,
    bytes: AtomicUsize,
    /// Bytes of the parts.
    indexed: AtomicUsize,
}

impl Tail {
    /// A row has changed: it is this document now, or in the index no more. Twice is as good as once.
    pub fn push(&self, row: RowId, version: Lsn, texts: Option<Vec<String>>) {
        {
            let mut changed = self.changed.write();
            let changes = changed.entry(row).or_default();
            if changes.contains(&version) {
                return;
            }
            changes.push(version);
        }
        let bytes = 64 + texts.iter().flatten().map(String::len).sum::<usize>();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(texts) = texts {
            self.documents.write().push(Arc::new(Document { row, version, texts }));
        }
    }

    /// Documents.
    pub fn len(&self) -> usize {
        self.documents.read().len()
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.changed.read().is_empty()
    }

    /// Bytes of the documents, about.
    pub fn written_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        self.written_bytes() + self.indexed.load(Ordering::Relaxed)
    }

    /// Whether a row has not changed between a version and a commit.
    pub fn leaves(&self, row: RowId, version: Lsn, at: Lsn) -> bool {
        let changed = self.changed.read();
        changed.get(&row).is_none_or(|changes| !changes.iter().any(|change| *change > version && *change <= at))
    }

    /// When a document's row changed next.
    pub fn end_of(&self, document: &Document) -> Option<Lsn> {
        let changed = self.changed.read();
        let changes = changed.get(&document.row)?.iter();
        changes.filter(|change| **change > document.version).min().copied()
    }

    /// All documents.
    pub fn documents(&self) -> Vec<Arc<Document>> {
        self.documents.read().clone()
    }

    /// All changed rows, and when each changed first.
    pub fn changes(&self) -> Vec<(RowId, Lsn)> {
        let changed = self.changed.read();
        changed.iter().filter_map(|(row, changes)| Some((*row, *changes.iter().min()?))).collect()
    }

    /// Parts in memory that hold all documents. Small ones are made one as they come, so that there are few: each document
    /// is written anew as often as the number of documents has doubled.
    pub fn parts(&self, fields: &Fields) -> Result<Vec<Arc<Part>>> {
        let mut parts = self.parts.lock();
        let (covered, fresh) = {
            let documents = self.documents.read();
            let covered = parts.last().map_or(0, |(from, part)| from + part.len());
            (covered, documents.len() - covered)
        };
        if fresh > 0 {
            let mut from = covered;
            while let Some((start, part)) = parts.last()
                && part.len() <= covered + fresh - from
            {
                from = *start;
                parts.pop();
            }
            let documents: Vec<_> = self.documents.read().get(from..covered + fresh).unwrap_or_default().to_vec();
            parts.push((from, Arc::new(Part::in_memory(fields, documents.iter().map(|d| &**d))?)));
            self.indexed.store(parts.iter().map(|(_, part)| part.bytes).sum(), Ordering::Relaxed);
        }
        Ok(parts.iter().map(|(_, part)| part.clone()).collect())
    }
}
