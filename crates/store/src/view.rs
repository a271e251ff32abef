//! Reading: a snapshot of the trees with the uncommitted writes of one transaction laid over it.

use crate::catalog::Catalog;
use crate::kv::{self, TreeId as Tree, Trees};
use crate::read_set::ReadSet;
use crate::snapshot::Snapshot;
use crate::write_set::WriteSet;
use crate::{keys, row};
use nodedb_base::{Error, Incarnation, Lsn, Result, RowId};
use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::{Bound, Deref};
use std::sync::Arc;

/// What one statement sees. Cheap to clone; a clone goes on seeing the same while the transaction writes on.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) trees: Arc<Trees>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) writes: Arc<WriteSet>,
    pub(crate) reads: Option<Arc<ReadSet>>,
    pub(crate) catalog: Arc<Catalog>,
}

/// Bytes of a row or a value, wherever they lie.
#[derive(Clone, Debug)]
pub enum Stored {
    /// In the trees.
    Tree(kv::Bytes),
    /// In the transaction's own writes.
    Own(Arc<Vec<u8>>),
}

impl Deref for Stored {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Tree(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// A row as it was read.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: RowId,
    /// The commit that wrote it; [`Lsn::MAX`] if that commit is still to come.
    pub lsn: Lsn,
    /// Its bytes.
    pub bytes: Stored,
}

/// Rows in order of their ids.
pub type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

/// Entries of a key index: the encoded columns (with the row id, unless the key is unique) and the row.
pub type Keys = Box<dyn Iterator<Item = Result<(Vec<u8>, RowId)>> + Send>;

/// Row ids, one by one.
pub type KeyRows = Box<dyn Iterator<Item = Result<RowId>> + Send>;

/// A range of encoded keys of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Where it starts.
    pub lower: Bound<Vec<u8>>,
    /// Where it ends.
    pub upper: Bound<Vec<u8>>,
}

impl KeyRange {
    /// All keys that start with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let upper = nodedb_base::key::after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self { lower: Bound::Included(prefix.to_vec()), upper }
    }

    /// The range in the tree of keys.
    fn within(&self, index: Incarnation) -> Self {
        let whole = Self::prefix(&index.0.to_be_bytes());
        let place = |bound: &Bound<Vec<u8>>, open: Bound<Vec<u8>>| match bound {
            Bound::Included(key) => Bound::Included(keys::index_key(index, key)),
            Bound::Excluded(key) => Bound::Excluded(keys::index_key(index, key)),
            Bound::Unbounded => open,
        };
        Self { lower: place(&self.lower, whole.lower), upper: place(&self.upper, whole.upper) }
    }

    fn lower(&self) -> Bound<&[u8]> {
        self.lower.as_ref().map(Vec::as_slice)
    }

    fn upper(&self) -> Bound<&[u8]> {
        self.upper.as_ref().map(Vec::as_slice)
    }

    /// Whether nothing can lie in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (&self.lower, &self.upper) {
            (Bound::Included(low), Bound::Included(high)) => low > high,
            (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
            _ => false,
        }
    }
}

impl View {
    /// The definitions that the statement binds against.
    #[must_use]
    pub const fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The last commit that is seen.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.snapshot.lsn()
    }

    /// Whether the transaction itself has written rows of a table.
    #[must_use]
    pub fn has_written(&self, incarnation: Incarnation) -> bool {
        self.writes.rows((incarnation, RowId(0)), (incarnation, RowId(u64::MAX))).next().is_some()
    }

    /// Whether the transaction itself has written entries of a key index, as when it has made it.
    #[must_use]
    pub fn has_written_keys(&self, index: Incarnation) -> bool {
        let all = KeyRange::prefix(&index.0.to_be_bytes());
        self.writes.keys((all.lower(), all.upper())).next().is_some()
    }

    /// Notes that the answer depends on all rows of a table, as when an index has chosen among them.
    ///
    /// # Errors
    /// `Limit` if the transaction has read too much to remember.
    pub fn note_table(&self, incarnation: Incarnation) -> Result<()> {
        let (low, high) = (keys::row(incarnation, RowId(0)), keys::row(incarnation, RowId(u64::MAX)));
        self.note_range(Tree::Rows, Bound::Included(&low), Bound::Included(&high))
    }

    /// One row.
    ///
    /// # Errors
    /// `Damaged`, `Io` if it cannot be read.
    pub fn row(&self, incarnation: Incarnation, id: RowId) -> Result<Option<Row>> {
        if let Some(write) = self.writes.row((incarnation, id)) {
            return Ok(write.row().map(|bytes| Row { id, lsn: Lsn::MAX, bytes: Stored::Own(bytes.clone()) }));
        }
        let key = keys::row(incarnation, id);
        self.note_point(Tree::Rows, &key)?;
        let found = self.trees.get(Tree::Rows, &key, self.lsn())?;
        Ok(found.map(|(lsn, bytes)| Row { id, lsn, bytes: Stored::Tree(bytes) }))
    }

    /// The rows with ids from `from` to `to`, both included.
    ///
    /// # Errors
    /// `Damaged`, `Io`; also from each item.
    pub fn rows(&self, incarnation: Incarnation, from: RowId, to: RowId, backward: bool) -> Result<Rows> {
        let (low, high) = (keys::row(incarnation, from), keys::row(incarnation, to));
        self.note_range(Tree::Rows, Bound::Included(&low), Bound::Included(&high))?;
        let stored = self.trees.range(Tree::Rows, Bound::Included(&low), Bound::Included(&high), self.lsn())?;
        let stored = directed(stored, backward).map(|entry| {
            let (key, lsn, bytes) = entry?;
            let id = keys::trailing_row(&key).ok_or_else(|| Error::damaged("damaged tree of rows: a short key"))?;
            Ok(Row { id, lsn, bytes: Stored::Tree(bytes) })
        });
        if from > to {
            return Ok(Box::new(std::iter::empty()));
        }
        let own: Vec<_> = self.writes.rows((incarnation, from), (incarnation, to)).collect();
        if own.is_empty() {
            return Ok(Box::new(stored));
        }
        let own = own.into_iter().map(|((_, id), write)| {
            let row = write.row().map(|bytes| Row { id: *id, lsn: Lsn::MAX, bytes: Stored::Own(bytes.clone()) });
            (*id, row)
        });
        let own = directed(own.collect::<Vec<_>>().into_iter(), backward);
        Ok(Box::new(Layered { below: stored.peekable(), above: own.peekable(), key: |row: &Row| row.id, backward }))
    }

    /// The row that has this key in a unique index. `key` is the encoded columns.
    ///
    /// # Errors
    /// `Damaged`, `Io` if it cannot be read.
    pub fn unique_key(&self, index: Incarnation, key: &[u8]) -> Result<Option<RowId>> {
        let key = keys::index_key(index, key);
        if let Some(own) = self.writes.key(&key) {
            return Ok(own);
        }
        self.note_point(Tree::Keys, &key)?;
        match self.trees.get(Tree::Keys, &key, self.lsn())? {
            Some((_, value)) => entry_row(&key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// The entries of an index in a range.
    ///
    /// # Errors
    /// `Damaged`, `Io`; also from each item.
    pub fn keys(&self, index: Incarnation, range: &KeyRange, backward: bool) -> Result<Keys> {
        let range = range.within(index);
        if range.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        self.note_range(Tree::Keys, range.lower(), range.upper())?;
        let stored = self.trees.range(Tree::Keys, range.lower(), range.upper(), self.lsn())?;
        let stored = directed(stored, backward).map(|entry| {
            let (key, _, value) = entry?;
            Ok((key.get(4..).unwrap_or_default().to_vec(), entry_row(&key, &value)?))
        });
        let own: Vec<_> = self.writes.keys((range.lower(), range.upper())).collect();
        if own.is_empty() {
            return Ok(Box::new(stored));
        }
        let own = own.into_iter().map(|(key, row)| {
            let columns = key.get(4..).unwrap_or_default().to_vec();
            (columns.clone(), row.map(|row| (columns, row)))
        });
        let own = directed(own.collect::<Vec<_>>().into_iter(), backward);
        let key = |entry: &(Vec<u8>, RowId)| entry.0.clone();
        Ok(Box::new(Layered { below: stored.peekable(), above: own.peekable(), key, backward }))
    }

    /// The rows of the entries of a key index in a range, in order of their keys.
    ///
    /// # Errors
    /// As [`View::keys`].
    pub fn rows_of_keys(&self, index: Incarnation, range: &KeyRange, backward: bool) -> Result<KeyRows> {
        let within = range.within(index);
        if within.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        if self.writes.keys((within.lower(), within.upper())).next().is_some() {
            return Ok(Box::new(self.keys(index, range, backward)?.map(|entry| entry.map(|(_, row)| row))));
        }
        // Nothing lies over what is stored, so that no key is needed to tell where it would.
        self.note_range(Tree::Keys, within.lower(), within.upper())?;
        let stored = self.trees.range(Tree::Keys, within.lower(), within.upper(), self.lsn())?;
        let rows = directed(stored, backward).map(|entry| {
            let (key, _, value) = entry?;
            entry_row(&key, &value)
        });
        Ok(Box::new(rows))
    }

    /// The bytes of a value that lies out of line.
    ///
    /// # Errors
    /// `Damaged` if it is missing: the row says that it is there.
    pub fn large(&self, incarnation: Incarnation, id: RowId, column: u16) -> Result<Stored> {
        if let Some(own) = self.writes.row((incarnation, id)).and_then(|write| write.large(column)) {
            return own.cloned().map(Stored::Own).ok_or_else(|| missing_value(id, column));
        }
        match self.trees.get(Tree::Large, &keys::large(incarnation, id, column), self.lsn())? {
            Some((_, bytes)) => Ok(Stored::Tree(bytes)),
            None => Err(missing_value(id, column)),
        }
    }

    /// The bytes of a cell, from wherever they lie; `None` for NULL.
    ///
    /// # Errors
    /// `Damaged`, `Io` if they cannot be read.
    pub fn cell_value(
        &self,
        incarnation: Incarnation,
        id: RowId,
        column: u16,
        ty: &nodedb_base::Type,
        cell: row::Cell<'_>,
    ) -> Result<nodedb_base::Value> {
        match cell {
            row::Cell::Null => Ok(nodedb_base::Value::Null),
            row::Cell::Inline(bytes, _) => row::value(ty, bytes),
            row::Cell::Large(..) => row::value(ty, &self.large(incarnation, id, column)?),
        }
    }

    fn note_point(&self, tree: Tree, key: &[u8]) -> Result<()> {
        self.note_range(tree, Bound::Included(key), Bound::Included(key))
    }

    fn note_range(&self, tree: Tree, lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> Result<()> {
        self.reads.as_ref().map_or(Ok(()), |reads| reads.note(tree, lower, upper))
    }
}

fn missing_value(id: RowId, column: u16) -> Error {
    Error::damaged(format!("the value of column {column} of row {} is missing", id.0))
}

/// The row that an entry of the tree of keys names.
pub(crate) fn entry_row(key: &[u8], value: &[u8]) -> Result<RowId> {
    let row = if value.is_empty() { keys::trailing_row(key) } else { keys::trailing_row(value) };
    row.ok_or_else(|| Error::damaged("damaged tree of keys: an entry without a row"))
}

fn directed<I: DoubleEndedIterator + Send + 'static>(
    items: I,
    backward: bool,
) -> Box<dyn Iterator<Item = I::Item> + Send> {
    if backward { Box::new(items.rev()) } else { Box::new(items) }
}

/// Two sorted sequences as one, where the upper one replaces or hides what has the same key below.
struct Layered<B: Iterator, A: Iterator, F> {
    below: Peekable<B>,
    above: Peekable<A>,
    key: F,
    backward: bool,
}

impl<T, K, B, A, F> Iterator for Layered<B, A, F>
where
    K: Ord,
    B: Iterator<Item = Result<T>>,
    A: Iterator<Item = (K, Option<T>)>,
    F: Fn(&T) -> K,
{
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.below.peek(), self.above.peek()) {
                (_, None) | (Some(Err(_)), _) => return self.below.next(),
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok(below)), Some((above, _))) => {
                    let order = (self.key)(below).cmp(above);
                    if self.backward { order.reverse() } else { order }
                }
            };
            match order {
                Ordering::Less => return self.below.next(),
                Ordering::Equal => drop(self.below.next()),
                Ordering::Greater => {}
            }
            if let Some(item) = self.above.next().and_then(|(_, item)| item) {
                return Some(Ok(item));
            }
        }
    }
}
