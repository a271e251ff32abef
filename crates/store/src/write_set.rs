//! What a transaction has written and not yet committed.

use crate::row::Encoded;
use crate::{keys, kv::TreeId as Tree};
use nodedb_base::{Batch, CatalogChange, Error, Incarnation, KeyEntry, LargeValue, Result, RowChange, RowId, RowOp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row's place: its table's life and its id.
pub type RowPlace = (Incarnation, RowId);

/// The uncommitted writes of a transaction, as a layer over its snapshot.
#[derive(Clone, Debug, Default)]
pub struct WriteSet {
    rows: BTreeMap<RowPlace, RowWrite>,
    /// Entries of the tree of keys that came (with their row) or went.
    keys: BTreeMap<Vec<u8>, Option<RowId>>,
    catalog: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Keys of rows that stay as they are, in indexes that are new.
    indexed: BTreeMap<RowPlace, Vec<KeyEntry>>,
    bytes: usize,
    /// How to go back to a savepoint; kept only while there is one.
    undo: Option<Vec<Undo>>,
}

/// What became of one row.
#[derive(Clone, Debug)]
pub struct RowWrite {
    existed: bool,
    row: Option<Arc<Vec<u8>>>,
    large: BTreeMap<u16, Option<Arc<Vec<u8>>>>,
    old_keys: Vec<KeyEntry>,
    keys: Vec<KeyEntry>,
}

#[derive(Clone, Debug)]
enum Undo {
    Row(RowPlace, Option<RowWrite>),
    Key(Vec<u8>, Option<Option<RowId>>),
    Catalog(Vec<u8>, Option<Option<Vec<u8>>>),
    Indexed(RowPlace),
}

/// A place in the history of a write set to which it can go back.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    undo: usize,
    bytes: usize,
}

/// A row as it was before a write, as far as the write must know it.
#[derive(Clone, Debug, Default)]
pub struct OldRow {
    /// Its keys.
    pub keys: Vec<KeyEntry>,
    /// Its columns that lie out of line; needed only when it is deleted.
    pub large: Vec<u16>,
}

impl RowWrite {
    /// The row's bytes; `None` if it was deleted.
    #[must_use]
    pub const fn row(&self) -> Option<&Arc<Vec<u8>>> {
        self.row.as_ref()
    }

    /// The out-of-line value of a column, where this transaction has written it.
    #[must_use]
    pub fn large(&self, column: u16) -> Option<Option<&Arc<Vec<u8>>>> {
        self.large.get(&column).map(Option::as_ref)
    }
}

impl WriteSet {
    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.catalog.is_empty()
    }

    /// About how much memory it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was written of a row.
    #[must_use]
    pub fn row(&self, place: RowPlace) -> Option<&RowWrite> {
        self.rows.get(&place)
    }

    /// The written rows between two places, both included.
    pub fn rows(&self, from: RowPlace, to: RowPlace) -> impl DoubleEndedIterator<Item = (&RowPlace, &RowWrite)> {
        self.rows.range(from..=to)
    }

    /// What was written of an entry of the tree of keys.
    #[must_use]
    pub fn key(&self, key: &[u8]) -> Option<Option<RowId>> {
        self.keys.get(key).copied()
    }

    /// The written entries of the tree of keys in a range.
    pub fn keys<R: std::ops::RangeBounds<[u8]>>(
        &self,
        range: R,
    ) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Option<RowId>)> {
        self.keys.range::<[u8], R>(range)
    }

    /// Puts a new row. There is none at `place` now.
    pub fn insert(&mut self, place: RowPlace, new: Encoded, keys: Vec<KeyEntry>) {
        let before = self.rows.get(&place).cloned();
        let mut write = before.clone().unwrap_or_else(|| RowWrite::unwritten(false, Vec::new()));
        self.come(&keys, place.1);
        self.replace(place, before, &mut write, new, keys);
    }

    /// Replaces a row that is there.
    pub fn update(&mut self, place: RowPlace, old: OldRow, new: Encoded, keys: Vec<KeyEntry>) {
        let before = self.rows.get(&place).cloned();
        self.go(&old.keys);
        self.come(&keys, place.1);
        let mut write = before.clone().unwrap_or_else(|| RowWrite::unwritten(true, old.keys));
        self.replace(place, before, &mut write, new, keys);
    }

    /// Removes a row that is there.
    pub fn delete(&mut self, place: RowPlace, old: OldRow) {
        let before = self.rows.get(&place).cloned();
        self.go(&old.keys);
        let mut write = before.clone().unwrap_or_else(|| RowWrite::unwritten(true, old.keys));
        self.note(|| Undo::Row(place, before));
        if !write.existed {
            self.rows.remove(&place);
            return;
        }
        write.row = None;
        write.keys = Vec::new();
        write.large.extend(old.large.into_iter().map(|column| (column, None)));
        self.bytes += 64;
        self.rows.insert(place, write);
    }

    /// Adds a key of a row that stays as it is.
    pub fn add_key(&mut self, place: RowPlace, entry: KeyEntry) {
        self.set_key(keys::index(&entry), Some(place.1));
        self.note(|| Undo::Indexed(place));
        self.bytes += 64 + entry.key.len();
        self.indexed.entry(place).or_default().push(entry);
    }

    fn replace(
        &mut self,
        place: RowPlace,
        before: Option<RowWrite>,
        write: &mut RowWrite,
        new: Encoded,
        keys: Vec<KeyEntry>,
    ) {
        self.note(|| Undo::Row(place, before));
        self.bytes += 128 + new.row.len();
        write.row = Some(Arc::new(new.row));
        write.keys = keys;
        for LargeValue { column, value } in new.large {
            self.bytes += value.as_ref().map_or(0, Vec::len);
            write.large.insert(column, value.map(Arc::new));
        }
        self.rows.insert(place, std::mem::replace(write, RowWrite::unwritten(false, Vec::new())));
    }

    fn go(&mut self, keys: &[KeyEntry]) {
        for entry in keys {
            self.set_key(keys::index(entry), None);
        }
    }

    fn come(&mut self, keys: &[KeyEntry], row: RowId) {
        for entry in keys {
            self.set_key(keys::index(entry), Some(row));
        }
    }

    fn set_key(&mut self, key: Vec<u8>, row: Option<RowId>) {
        self.bytes += 64 + 2 * key.len();
        if self.undo.is_some() {
            let before = self.keys.get(&key).copied();
            self.note(|| Undo::Key(key.clone(), before));
        }
        self.keys.insert(key, row);
    }

    /// Puts or removes an entry of the catalogue.
    pub fn set_catalog(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += 64 + key.len() + value.as_ref().map_or(0, Vec::len);
        let before = self.catalog.get(&key).cloned();
        self.note(|| Undo::Catalog(key.clone(), before));
        self.catalog.insert(key, value);
    }

    fn note(&mut self, undo: impl FnOnce() -> Undo) {
        if let Some(log) = self.undo.as_mut() {
            log.push(undo());
        }
    }

    /// Starts a savepoint.
    pub fn mark(&mut self) -> Mark {
        let undo = self.undo.get_or_insert_default();
        Mark { undo: undo.len(), bytes: self.bytes }
    }

    /// Goes back to a savepoint.
    pub fn roll_back(&mut self, mark: Mark) {
        let Some(log) = self.undo.as_mut() else { return };
        for undo in log.drain(mark.undo.min(log.len())..).rev() {
            match undo {
                Undo::Row(place, before) => restore(&mut self.rows, place, before),
                Undo::Key(key, before) => restore(&mut self.keys, key, before),
                Undo::Catalog(key, before) => restore(&mut self.catalog, key, before),
                Undo::Indexed(place) => {
                    if let Some(entries) = self.indexed.get_mut(&place) {
                        entries.pop();
                    }
                }
            }
        }
        self.bytes = mark.bytes;
    }

    /// Forgets how to go back: there is no savepoint left.
    pub fn forget_marks(&mut self) {
        self.undo = None;
    }

    /// What the transaction changes, all in all.
    ///
    /// # Errors
    /// `Limit` (54000) if it is more than `limit` bytes.
    pub fn into_batch(mut self, limit: usize) -> Result<Batch> {
        if self.bytes > limit {
            return Err(too_large(limit));
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        for (place, write) in self.rows {
            let added = self.indexed.remove(&place).unwrap_or_default();
            rows.push(write.into_change(place, &added));
        }
        rows.extend(
            self.indexed.into_iter().map(|(place, entries)| RowChange::of_keys(place, RowOp::Index, vec![], entries)),
        );
        let catalog = self.catalog.into_iter().map(|(key, value)| CatalogChange { key, value });
        Ok(Batch { rows, catalog: catalog.collect() })
    }

    /// The keys of the trees that a commit of this changes, for those who validate what they have read.
    pub fn touched(batch: &Batch) -> impl Iterator<Item = (Tree, Vec<u8>)> + '_ {
        batch.rows.iter().flat_map(|change| {
            let row = keys::row(change.incarnation, change.row).to_vec();
            std::iter::once((Tree::Rows, row)).chain(change.keys().map(|(entry, _)| (Tree::Keys, keys::index(entry))))
        })
    }
}

/// The error of a transaction that writes too much.
#[must_use]
pub fn too_large(limit: usize) -> Error {
    Error::limit("54000", format!("transaction writes more than {limit} bytes"))
        .with_hint("Commit in smaller steps, or use import for bulk loads.")
}

fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

impl RowWrite {
    const fn unwritten(existed: bool, old_keys: Vec<KeyEntry>) -> Self {
        Self { existed, row: None, large: BTreeMap::new(), old_keys, keys: Vec::new() }
    }

    /// `added` are keys that came for the row as it was; its stored state does not have them.
    fn into_change(self, (incarnation, row): RowPlace, added: &[KeyEntry]) -> RowChange {
        let op = match (self.existed, self.row.is_some()) {
            (false, _) => RowOp::Insert,
            (true, true) => RowOp::Update,
            (true, false) => RowOp::Delete,
        };
        let mut stored = self.old_keys;
        stored.retain(|entry| !added.contains(entry));
        let (mut keys_come, mut keys_gone) = (self.keys, Vec::new());
        if !stored.is_empty() {
            keys_gone = stored.iter().filter(|entry| !keys_come.contains(entry)).cloned().collect();
            keys_come.retain(|entry| !stored.contains(entry));
        }
        // Whoever still reads the rows that the transaction has written shares them.
        let bytes = |shared: Arc<Vec<u8>>| Arc::try_unwrap(shared).unwrap_or_else(|shared| shared.to_vec());
        let large = self.large.into_iter().map(|(column, value)| LargeValue { column, value: value.map(bytes) });
        let new = self.row.map(bytes).unwrap_or_default();
        RowChange { incarnation, row, op, new, large: large.collect(), keys_gone, keys_come }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &[u8]) -> KeyEntry {
        KeyEntry { index: Incarnation(9), unique: true, key: key.to_vec() }
    }

    fn encoded(row: &[u8]) -> Encoded {
        Encoded { row: row.to_vec(), large: Vec::new() }
    }

    const PLACE: RowPlace = (Incarnation(1), RowId(1));

    #[test]
    fn a_row_that_came_and_went_leaves_no_change() {
        let mut writes = WriteSet::default();
        writes.insert(PLACE, encoded(b"a"), vec![entry(b"k")]);
        writes.delete(PLACE, OldRow { keys: vec![entry(b"k")], large: vec![] });
        assert!(writes.into_batch(usize::MAX).unwrap().is_empty());
    }

    #[test]
    fn only_keys_that_differ_in_the_end_are_changed() {
        let mut writes = WriteSet::default();
        let old = |key: &[u8]| OldRow { keys: vec![entry(key)], large: vec![] };
        writes.update(PLACE, old(b"a"), encoded(b"1"), vec![entry(b"b")]);
        writes.update(PLACE, old(b"b"), encoded(b"2"), vec![entry(b"a")]);
        let batch = writes.clone().into_batch(usize::MAX).unwrap();
        let [change] = batch.rows.as_slice() else { panic!("one row") };
        assert_eq!((change.op, change.new.as_slice()), (RowOp::Update, &b"2"[..]));
        assert!(change.keys_gone.is_empty() && change.keys_come.is_empty());
    }

    #[test]
    fn going_back_restores_all() {
        let mut writes = WriteSet::default();
        writes.insert(PLACE, encoded(b"a"), vec![entry(b"k")]);
        let mark = writes.mark();
        writes.update(PLACE, OldRow { keys: vec![entry(b"k")], large: vec![] }, encoded(b"b"), vec![entry(b"l")]);
        writes.insert((Incarnation(1), RowId(2)), encoded(b"c"), vec![]);
        writes.roll_back(mark);
        let batch = writes.clone().into_batch(usize::MAX).unwrap();
        assert_eq!(batch.rows.len(), 1);
        assert_eq!(batch.rows[0].new, b"a");
        assert_eq!(writes.key(&keys::index(&entry(b"l"))), None);
        assert_eq!(writes.key(&keys::index(&entry(b"k"))), Some(Some(RowId(1))));
    }

    #[test]
    fn a_limit_is_a_limit() {
        let mut writes = WriteSet::default();
        writes.insert(PLACE, encoded(&[0; 100]), vec![]);
        assert_eq!(writes.into_batch(50).unwrap_err().sqlstate().as_str(), "54000");
    }
}
