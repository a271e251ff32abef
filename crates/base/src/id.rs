//! Names that are never reused: commits, rows, and the lives of tables and indexes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a commit. Dense, starts at 1; 0 is the state before the first commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The state before the first commit.
    pub const ZERO: Self = Self(0);
    /// Later than every commit.
    pub const MAX: Self = Self(u64::MAX);

    /// The commit after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The commit before this one; `ZERO` stays `ZERO`.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a row of one table for its life.
///
/// A table whose primary key is a single integer uses the key itself ([`RowId::from_key`]); all other
/// rows get the next number of a durable counter, so that no number is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u64);

impl RowId {
    /// The row of an integer primary key. Keeps the order of the integers.
    #[must_use]
    pub const fn from_key(key: i64) -> Self {
        Self(key.cast_unsigned() ^ (1 << 63))
    }

    /// The integer that [`RowId::from_key`] was given.
    #[must_use]
    pub const fn to_key(self) -> i64 {
        (self.0 ^ (1 << 63)).cast_signed()
    }
}

/// Names one life of a table or of a key index. A table that is dropped and made anew, or emptied as a
/// whole, gets another one; so nothing that a former life left behind is ever seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_keys_keep_their_order_as_row_ids() {
        let keys = [i64::MIN, -2, -1, 0, 1, i64::MAX];
        let ids: Vec<_> = keys.iter().map(|&k| RowId::from_key(k)).collect();
        assert!(ids.is_sorted());
        assert!(keys.iter().zip(&ids).all(|(&k, id)| id.to_key() == k));
    }
}
