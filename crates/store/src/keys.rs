//! The key map: every key of every tree, on one page.
//!
//! | tree | key | value |
//! |---|---|---|
//! | rows | incarnation `u32`, row id `u64` | the row ([`crate::row`]) |
//! | large | incarnation `u32`, row id `u64`, column `u16` | the value's bytes |
//! | keys, unique | index `u32`, columns ([`nodedb_base::key`]) | row id `u64` |
//! | keys, other | index `u32`, columns, row id `u64` | nothing |
//! | catalog | `'i'` | the next unused object id, `u32` |
//! | catalog | `'r'`, incarnation `u32`, row id `u64` | nothing: no row of that life has this id or a greater one |
//! | catalog | `'t'`, table `u32` | the table's definition |
//! | catalog | `'u'`, incarnation `u32` | nothing: a life that is being loaded and not published |
//! | catalog | `'x'`, incarnation `u32` | nothing: a life that has ended, whose entries may be dropped |
//!
//! All numbers are big-endian, so that keys sort as numbers do.

use crate::kv::TreeId as Tree;
use nodedb_base::{Incarnation, KeyEntry, RowId};

/// The row's key in the tree of rows.
#[must_use]
pub fn row(incarnation: Incarnation, row: RowId) -> [u8; 12] {
    let mut key = [0; 12];
    let (head, tail) = key.split_at_mut(4);
    head.copy_from_slice(&incarnation.0.to_be_bytes());
    tail.copy_from_slice(&row.0.to_be_bytes());
    key
}

/// The row id at the end of a key of the tree of rows, or of a key entry that is not unique.
#[must_use]
pub fn trailing_row(key: &[u8]) -> Option<RowId> {
    key.last_chunk::<8>().map(|bytes| RowId(u64::from_be_bytes(*bytes)))
}

/// The incarnation at the start of a key.
#[must_use]
pub fn leading_incarnation(key: &[u8]) -> Option<Incarnation> {
    key.first_chunk::<4>().map(|bytes| Incarnation(u32::from_be_bytes(*bytes)))
}

/// The key of a value that lies out of line.
#[must_use]
pub fn large(incarnation: Incarnation, id: RowId, column: u16) -> [u8; 14] {
    let mut key = [0; 14];
    let (head, tail) = key.split_at_mut(12);
    head.copy_from_slice(&row(incarnation, id));
    tail.copy_from_slice(&column.to_be_bytes());
    key
}

/// The key of an index entry in the tree of keys.
#[must_use]
pub fn index(entry: &KeyEntry) -> Vec<u8> {
    index_key(entry.index, &entry.key)
}

/// The key of an index entry, or of a prefix of one.
#[must_use]
pub fn index_key(index: Incarnation, columns: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + columns.len());
    key.extend(index.0.to_be_bytes());
    key.extend(columns);
    key
}

/// The counter of object ids.
pub const NEXT_OBJECT: &[u8] = b"i";
/// What the definitions of tables start with.
pub const TABLES: &[u8] = b"t";
/// What lives under load start with.
pub const LOADING: &[u8] = b"u";
/// What ended lives start with.
pub const ENDED: &[u8] = b"x";
/// What row id bounds start with.
pub const ROW_BOUNDS: &[u8] = b"r";

/// A table's definition.
#[must_use]
pub fn table(id: u32) -> Vec<u8> {
    [TABLES, &id.to_be_bytes()].concat()
}

/// A catalogue entry that is named by an incarnation.
#[must_use]
pub fn life(kind: &[u8], incarnation: Incarnation) -> Vec<u8> {
    [kind, &incarnation.0.to_be_bytes()].concat()
}

/// A bound of row ids.
#[must_use]
pub fn row_bound(incarnation: Incarnation, bound: u64) -> Vec<u8> {
    [ROW_BOUNDS, &incarnation.0.to_be_bytes(), &bound.to_be_bytes()].concat()
}

/// A key of one of the trees.
pub type TreeKey = (Tree, Vec<u8>);
