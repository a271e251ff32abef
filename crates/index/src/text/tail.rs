//! What has been committed and is in no file yet: documents, and which rows they replace.

use super::alone::{Analyzers, Terms};
use super::analysis::Fields;
use super::part::{Document, Part};
use nodedb_base::{Lsn, Result, RowId};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// So few documents are looked at one by one: tantivy clears 8 MB of memory for each part that it makes.
const FEW: usize = if cfg!(test) { 4 } else { 64 };

/// And no more than so many bytes of them, whose words take several times as many.
const FEW_BYTES: usize = 256 << 10;

/// The newest changes. A commit only appends; whoever searches first takes the words of what has come since, or makes a part
/// of it if it is much.
#[derive(Debug)]
pub(super) struct Tail {
    documents: RwLock<Vec<Arc<Document>>>,
    /// When each row changed.
    changed: RwLock<HashMap<RowId, Vec<Lsn>>>,
    /// When the first of them did, less one: all are newer.
    before: AtomicU64,
    made: Mutex<Made>,
    bytes: AtomicUsize,
    /// Bytes of the parts.
    indexed: AtomicUsize,
}

impl Default for Tail {
    fn default() -> Self {
        let (documents, changed, made, bytes, indexed) = Default::default();
        Self { documents, changed, before: AtomicU64::new(u64::MAX), made, bytes, indexed }
    }
}

/// What searches have made of the documents.
#[derive(Debug, Default)]
struct Made {
    /// Parts in memory of the documents from a number on, each larger than the next.
    parts: Vec<(usize, Arc<Part>)>,
    /// The documents behind those of the parts.
    few: Vec<Arc<Alone>>,
    /// Bytes of the documents that the parts hold.
    covered: usize,
}

/// What a search finds of a tail: parts in memory, and documents beside them, which together are all.
#[derive(Debug)]
pub(super) struct Searched {
    pub parts: Vec<Arc<Part>>,
    pub few: Vec<Arc<Alone>>,
}

/// A document that is in no part yet.
#[derive(Debug)]
pub(super) struct Alone {
    pub document: Arc<Document>,
    pub terms: Terms,
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
            self.before.fetch_min(version.0.saturating_sub(1), Ordering::Release);
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

    /// Whether nothing has changed as of a commit, which all of whose changes are here.
    pub fn begins_after(&self, at: Lsn) -> bool {
        at.0 <= self.before.load(Ordering::Acquire)
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

    /// All documents, to be searched. Small parts are made one as they come, so that there are few: each document is
    /// written anew as often as the number of documents has doubled.
    pub fn made(&self, fields: &Fields) -> Result<Searched> {
        let mut made = self.made.lock();
        let covered = made.parts.last().map_or(0, |(from, part)| from + part.len());
        let all = self.len();
        let bytes = self.written_bytes();
        if all - covered > FEW || bytes.saturating_sub(made.covered) > FEW_BYTES && all > covered {
            made.few.clear();
            made.covered = bytes;
            self.cover(&mut made.parts, covered, all, fields)?;
        } else if all > covered + made.few.len() {
            let mut analyzers = Analyzers::new(fields)?;
            let fresh = self.documents.read().get(covered + made.few.len()..all).unwrap_or_default().to_vec();
            made.few.extend(fresh.into_iter().map(|document| {
                let terms = analyzers.cut(&document.texts);
                Arc::new(Alone { document, terms })
            }));
        }
        Ok(Searched { parts: made.parts.iter().map(|(_, part)| part.clone()).collect(), few: made.few.clone() })
    }

    fn cover(&self, parts: &mut Vec<(usize, Arc<Part>)>, covered: usize, all: usize, fields: &Fields) -> Result<()> {
        let mut from = covered;
        while let Some((start, _)) = parts.pop_if(|(_, part)| part.len() <= all - from) {
            from = start;
        }
        let documents = self.documents.read().get(from..all).unwrap_or_default().to_vec();
        parts.push((from, Arc::new(Part::in_memory(fields, documents.iter().map(|d| &**d))?)));
        self.indexed.store(parts.iter().map(|(_, part)| part.bytes).sum(), Ordering::Relaxed);
        Ok(())
    }
}
