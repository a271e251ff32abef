//! What one commit changes. `docs/format/log.md` has the bytes.

use crate::{Incarnation, Reader, Result, RowId, Writer};

/// Everything that one commit changes, as the log keeps it and as derived indexes see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Changed rows, at most one entry a row (and one of [`RowOp::Index`]).
    pub rows: Vec<RowChange>,
    /// Changed entries of the catalogue.
    pub catalog: Vec<CatalogChange>,
}

/// Who is told of each commit, in order, before anybody can see it.
pub trait CommitObserver: Send + Sync {
    /// A commit is durable. Whatever goes wrong with the observer is no failure of the commit.
    fn committed(&self, lsn: crate::Lsn, batch: &Batch, stored: &dyn StoredRows);
}

/// What a batch does not say of the rows that it changes.
pub trait StoredRows {
    /// The row as it was before the commit, and the commit that wrote it; `None` if it is not there or not known.
    ///
    /// # Errors
    /// Those of reading.
    fn before(&self, incarnation: Incarnation, row: RowId) -> Result<Option<(crate::Lsn, Vec<u8>)>>;

    /// A value that lies out of line and that the commit has left as it was; `None` if it is not there any more.
    ///
    /// # Errors
    /// Those of reading.
    fn large(&self, incarnation: Incarnation, row: RowId, column: u16) -> Result<Option<Vec<u8>>>;
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOp {
    /// It was not there before.
    Insert,
    /// It was there and has new contents.
    Update,
    /// It is gone.
    Delete,
    /// It stays as it is; only keys come, as when an index is made.
    Index,
}

/// One changed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The table's life.
    pub incarnation: Incarnation,
    /// The row.
    pub row: RowId,
    /// What happened to it.
    pub op: RowOp,
    /// The new row, encoded; empty unless it is inserted or updated.
    pub new: Vec<u8>,
    /// Values that lie out of line and come, change or go.
    pub large: Vec<LargeValue>,
    /// Keys that go.
    pub keys_gone: Vec<KeyEntry>,
    /// Keys that come.
    pub keys_come: Vec<KeyEntry>,
}

/// A value that lies out of line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeValue {
    /// The column's number in the row.
    pub column: u16,
    /// The value's bytes, or `None` when it goes.
    pub value: Option<Vec<u8>>,
}

/// An entry of a key index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyEntry {
    /// The index's life.
    pub index: Incarnation,
    /// Whether the key alone names the row; otherwise `key` ends with the row id.
    pub unique: bool,
    /// The encoded columns ([`crate::key`]), then the row id unless the key is unique.
    pub key: Vec<u8>,
}

/// A changed entry of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogChange {
    /// The entry's key.
    pub key: Vec<u8>,
    /// Its new value, or `None` when it goes.
    pub value: Option<Vec<u8>>,
}

const BATCH_VERSION: u8 = 1;

impl Batch {
    /// Whether nothing changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.catalog.is_empty()
    }

    /// The bytes of the batch.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.rows.iter().map(RowChange::roughly).sum());
        w.u8(BATCH_VERSION);
        w.varint(self.catalog.len() as u64);
        for change in &self.catalog {
            w.bytes(&change.key);
            write_optional(&mut w, change.value.as_deref());
        }
        w.varint(self.rows.len() as u64);
        for row in &self.rows {
            row.encode(&mut w);
        }
        w.0
    }

    /// Reads what [`Batch::encode`] wrote.
    ///
    /// # Errors
    /// `Damaged` if the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "batch");
        if r.u8()? != BATCH_VERSION {
            return Err(r.damaged("unknown version"));
        }
        let mut batch = Self::default();
        for _ in 0..r.count()? {
            let key = r.bytes()?.to_vec();
            batch.catalog.push(CatalogChange { key, value: read_optional(&mut r)? });
        }
        for _ in 0..r.count()? {
            batch.rows.push(RowChange::decode(&mut r)?);
        }
        r.end()?;
        Ok(batch)
    }
}

impl RowChange {
    /// One of which only the keys are known.
    #[must_use]
    pub fn of_keys(
        (incarnation, row): (Incarnation, RowId),
        op: RowOp,
        keys_gone: Vec<KeyEntry>,
        keys_come: Vec<KeyEntry>,
    ) -> Self {
        Self { incarnation, row, op, new: Vec::new(), large: Vec::new(), keys_gone, keys_come }
    }

    /// The keys that go and then those that come, and whether each comes.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyEntry, bool)> {
        let gone = self.keys_gone.iter().map(|entry| (entry, false));
        gone.chain(self.keys_come.iter().map(|entry| (entry, true)))
    }

    /// About how many bytes its encoding has.
    fn roughly(&self) -> usize {
        let keys = self.keys().map(|(entry, _)| entry.key.len() + 8);
        let large = self.large.iter().filter_map(|large| large.value.as_ref()).map(|value| value.len() + 8);
        32 + self.new.len() + keys.chain(large).sum::<usize>()
    }

    fn encode(&self, w: &mut Writer) {
        w.u8(match self.op {
            RowOp::Insert => 0,
            RowOp::Update => 1,
            RowOp::Delete => 2,
            RowOp::Index => 3,
        });
        w.u32(self.incarnation.0);
        w.u64(self.row.0);
        w.bytes(&self.new);
        w.varint(self.large.len() as u64);
        for large in &self.large {
            w.varint(u64::from(large.column));
            write_optional(w, large.value.as_deref());
        }
        for keys in [&self.keys_gone, &self.keys_come] {
            w.varint(keys.len() as u64);
            for key in keys {
                w.u8(u8::from(key.unique));
                w.u32(key.index.0);
                w.bytes(&key.key);
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self> {
        let op = match r.u8()? {
            0 => RowOp::Insert,
            1 => RowOp::Update,
            2 => RowOp::Delete,
            3 => RowOp::Index,
            _ => return Err(r.damaged("unknown row operation")),
        };
        let incarnation = Incarnation(r.u32()?);
        let row = RowId(r.u64()?);
        let new = r.bytes()?.to_vec();
        let mut large = Vec::new();
        for _ in 0..r.count()? {
            let column = u16::try_from(r.varint()?).map_err(|_| r.damaged("a column number is too large"))?;
            large.push(LargeValue { column, value: read_optional(r)? });
        }
        let keys_gone = read_keys(r)?;
        let keys_come = read_keys(r)?;
        Ok(Self { incarnation, row, op, new, large, keys_gone, keys_come })
    }
}

fn read_keys(r: &mut Reader<'_>) -> Result<Vec<KeyEntry>> {
    let mut keys = Vec::new();
    for _ in 0..r.count()? {
        let unique = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(r.damaged("unknown kind of key")),
        };
        keys.push(KeyEntry { unique, index: Incarnation(r.u32()?), key: r.bytes()?.to_vec() });
    }
    Ok(keys)
}

fn write_optional(w: &mut Writer, value: Option<&[u8]>) {
    match value {
        None => w.u8(0),
        Some(value) => {
            w.u8(1);
            w.bytes(value);
        }
    }
}

fn read_optional(r: &mut Reader<'_>) -> Result<Option<Vec<u8>>> {
    match r.u8()? {
        0 => Ok(None),
        1 => Ok(Some(r.bytes()?.to_vec())),
        _ => Err(r.damaged("unknown mark of presence")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key_entry() -> impl Strategy<Value = KeyEntry> {
        (any::<u32>(), any::<bool>(), any::<Vec<u8>>()).prop_map(|(i, unique, key)| KeyEntry {
            index: Incarnation(i),
            unique,
            key,
        })
    }

    fn row_change() -> impl Strategy<Value = RowChange> {
        let op = prop_oneof![Just(RowOp::Insert), Just(RowOp::Update), Just(RowOp::Delete), Just(RowOp::Index)];
        let large = (any::<u16>(), any::<Option<Vec<u8>>>()).prop_map(|(column, value)| LargeValue { column, value });
        let keys = || prop::collection::vec(key_entry(), 0..3);
        (any::<u32>(), any::<u64>(), op, any::<Vec<u8>>(), prop::collection::vec(large, 0..3), keys(), keys()).prop_map(
            |(i, row, op, new, large, keys_gone, keys_come)| RowChange {
                incarnation: Incarnation(i),
                row: RowId(row),
                op,
                new,
                large,
                keys_gone,
                keys_come,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in prop::collection::vec(row_change(), 0..4),
            catalog in prop::collection::vec((any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 0..3),
        ) {
            let catalog = catalog.into_iter().map(|(key, value)| CatalogChange { key, value }).collect();
            let batch = Batch { rows, catalog };
            prop_assert_eq!(Batch::decode(&batch.encode()).unwrap(), batch);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _ = Batch::decode(&bytes);
        }
    }
}
