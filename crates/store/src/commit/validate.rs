//! What must hold of the newest state before a commit may become part of it.
//!
//! Statements have checked all of this against their snapshot; here it is checked again against what others
//! have committed since, the members of the same group included. A transaction whose snapshot is still the
//! newest state has nothing to fear and is not looked at.

use super::{Request, State};
use crate::catalog::Catalog;
use crate::keys;
use crate::kv::{TreeId as Tree, Trees};
use crate::read_set::RecentWrites;
use crate::view::{KeyRange, entry_row};
use nodedb_base::{Batch, CatalogChange, Error, Incarnation, KeyEntry, Lsn, Result, RowChange, RowId, RowOp};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A condition of a foreign key.
#[derive(Clone, Debug)]
pub enum Requirement {
    /// A child needs its parent.
    Parent {
        /// The parent's key.
        key: ParentKey,
        /// What to say if it is not there.
        error: Error,
    },
    /// A parent that goes may leave no child.
    NoChild {
        /// The child's index over the columns of the foreign key.
        index: Incarnation,
        /// The encoded columns.
        prefix: Vec<u8>,
        /// What to say if there is one.
        error: Error,
    },
}

impl Requirement {
    /// Under which life it looks.
    const fn life(&self) -> Incarnation {
        match self {
            Self::Parent { key: ParentKey::Row(life, _) | ParentKey::Unique(life, _), .. } => *life,
            Self::NoChild { index, .. } => *index,
        }
    }
}

/// What names a parent row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentKey {
    /// The row id itself.
    Row(Incarnation, RowId),
    /// The encoded columns in a unique index.
    Unique(Incarnation, Vec<u8>),
}

/// A change that is not in the trees yet: who made it, and the row that the key leads to now.
type Change = (Lsn, Option<RowId>);

/// Validates the members of one group, one after the other.
pub(super) struct Validator<'a> {
    state: &'a State,
    trees: &'a Trees,
    recent: &'a RecentWrites,
    catalog: &'a Catalog,
    /// What accepted members of the group have changed.
    pending: BTreeMap<(Tree, Vec<u8>), Change>,
    pending_rows: BTreeMap<Incarnation, Lsn>,
    pending_catalog: BTreeMap<Vec<u8>, Lsn>,
}

impl<'a> Validator<'a> {
    pub(super) fn new(state: &'a State, trees: &'a Trees, recent: &'a RecentWrites, catalog: &'a Catalog) -> Self {
        let (pending, pending_rows, pending_catalog) = Default::default();
        Self { state, trees, recent, catalog, pending, pending_rows, pending_catalog }
    }

    /// Whether a request may follow commit `last`.
    pub(super) fn validate(&self, request: &Request, last: Lsn) -> Result<()> {
        if request.snapshot == last {
            return Ok(());
        }
        self.definitions(request)?;
        for change in &request.batch.catalog {
            self.catalog_entry(change, request.snapshot)?;
        }
        for change in &request.batch.rows {
            self.row(change, request.snapshot)?;
        }
        self.unique_keys(&request.batch)?;
        self.requirements(request)?;
        self.reads(request)
    }

    /// Notes what an accepted member changes, for those behind it.
    pub(super) fn accept(&mut self, request: &Request, lsn: Lsn) {
        let batch = &request.batch;
        self.pending.extend(changes(batch).map(|(key, row)| (key, (lsn, row))));
        self.pending_rows.extend(batch.rows.iter().map(|change| (change.incarnation, lsn)));
        self.pending_catalog.extend(batch.catalog.iter().map(|change| (change.key.clone(), lsn)));
    }

    /// The tables that are written, that foreign keys lead to, or that may not be written, have not changed under
    /// the transaction.
    fn definitions(&self, request: &Request) -> Result<()> {
        let defined = |life: Incarnation| self.state.defined.get(&life).is_some_and(|&lsn| lsn > request.snapshot);
        // A member of this group may have changed a definition; then nobody behind it can go on blindly.
        let defining = self.pending_catalog.keys().any(|key| Catalog::is_definition(key));
        let written = request.batch.rows.iter().map(|change| change.incarnation);
        let mut lives = written.chain(request.requires.iter().map(Requirement::life)).chain(read_lives(request));
        if defining || lives.any(defined) {
            return Err(Error::retry("could not serialize access due to a concurrent change of a table's definition"));
        }
        let changed = |life| {
            let newest = self.pending_rows.get(life).or_else(|| self.state.rows_changed.get(life));
            newest.is_some_and(|&lsn| lsn > request.snapshot)
        };
        if request.quiet.iter().any(changed) {
            return Err(Error::retry("could not serialize access due to concurrent changes of a table's rows"));
        }
        Ok(())
    }

    fn catalog_entry(&self, change: &CatalogChange, snapshot: Lsn) -> Result<()> {
        let newest = match self.pending_catalog.get(&change.key) {
            Some(&lsn) => Some(lsn),
            None => self.trees.newest(Tree::Catalog, &change.key)?,
        };
        if newest.is_some_and(|lsn| lsn > snapshot) && Catalog::is_definition(&change.key) {
            return Err(Error::retry("could not serialize access due to concurrent definition of an object"));
        }
        Ok(())
    }

    /// First committer wins; and a row that is new must not be there yet. Nor may it have come and gone again since
    /// the snapshot: others have written it then.
    fn row(&self, change: &RowChange, snapshot: Lsn) -> Result<()> {
        if change.op == RowOp::Index {
            return Ok(());
        }
        let key = keys::row(change.incarnation, change.row);
        let pending = self.pending.get(&(Tree::Rows, key.to_vec()));
        let newest = match pending {
            Some((lsn, _)) => Some(*lsn),
            None => self.trees.newest(Tree::Rows, &key)?,
        };
        if change.op == RowOp::Insert {
            let Some(newest) = newest else { return Ok(()) };
            let there = match pending {
                Some((_, row)) => row.is_some(),
                None => self.trees.get(Tree::Rows, &key, Lsn::MAX)?.is_some(),
            };
            return match there {
                true => Err(self.duplicate(change.incarnation, None)),
                false if newest > snapshot => Err(Error::retry("could not serialize access due to concurrent delete")),
                false => Ok(()),
            };
        }
        // A row that was there and has left no trace was deleted, and compaction has forgotten it.
        if newest.is_none_or(|lsn| lsn > snapshot) {
            return Err(Error::retry(match change.op {
                RowOp::Delete => "could not serialize access due to concurrent delete",
                _ => "could not serialize access due to concurrent update",
            }));
        }
        Ok(())
    }

    fn unique_keys(&self, batch: &Batch) -> Result<()> {
        for change in &batch.rows {
            for entry in change.keys_come.iter().filter(|entry| entry.unique) {
                let holder = self.newest_row(&(Tree::Keys, keys::index(entry)))?;
                if holder.is_some_and(|row| row != change.row) && !goes(batch, entry) {
                    return Err(self.duplicate(change.incarnation, Some(entry.index)));
                }
            }
        }
        Ok(())
    }

    fn requirements(&self, request: &Request) -> Result<()> {
        if request.requires.is_empty() {
            return Ok(());
        }
        let own: BTreeMap<_, _> = changes(&request.batch).collect();
        for requirement in &request.requires {
            match requirement {
                Requirement::Parent { key, error } => {
                    let key = match key {
                        ParentKey::Row(life, row) => (Tree::Rows, keys::row(*life, *row).to_vec()),
                        ParentKey::Unique(index, key) => (Tree::Keys, keys::index_key(*index, key)),
                    };
                    let row = own.get(&key).map_or_else(|| self.newest_row(&key), |row| Ok(*row))?;
                    row.map(|_| ()).ok_or_else(|| error.clone())?;
                }
                Requirement::NoChild { index, prefix, error } => {
                    if self.has_entry(&own, &keys::index_key(*index, prefix))? {
                        return Err(error.clone());
                    }
                }
            }
        }
        Ok(())
    }

    fn newest_row(&self, key: &(Tree, Vec<u8>)) -> Result<Option<RowId>> {
        if let Some((_, row)) = self.pending.get(key) {
            return Ok(*row);
        }
        match self.trees.get(key.0, &key.1, Lsn::MAX)? {
            Some((_, value)) if key.0 == Tree::Keys => entry_row(&key.1, &value).map(Some),
            Some(_) => Ok(keys::trailing_row(&key.1)),
            None => Ok(None),
        }
    }

    /// Whether the newest state has an entry of the tree of keys with this prefix.
    fn has_entry(&self, own: &BTreeMap<(Tree, Vec<u8>), Option<RowId>>, prefix: &[u8]) -> Result<bool> {
        let overlaid = |key: &(Tree, Vec<u8>)| own.get(key).copied().or_else(|| self.pending.get(key).map(|c| c.1));
        let from = (Tree::Keys, prefix.to_vec());
        let within = |key: &(Tree, Vec<u8>)| key.0 == Tree::Keys && key.1.starts_with(prefix);
        let own_come = own.range(from.clone()..).take_while(|(key, _)| within(key)).any(|(_, row)| row.is_some());
        let mut pending = self.pending.range(from..).take_while(|(key, _)| within(key));
        if own_come || pending.any(|(key, _)| overlaid(key).is_some_and(|row| row.is_some())) {
            return Ok(true);
        }
        let range = KeyRange::prefix(prefix);
        let (lower, upper) = (range.lower.as_ref().map(Vec::as_slice), range.upper.as_ref().map(Vec::as_slice));
        for entry in self.trees.range(Tree::Keys, lower, upper, Lsn::MAX)? {
            let (key, ..) = entry?;
            if overlaid(&(Tree::Keys, key.to_vec())).is_none_or(|row| row.is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Nothing that a serializable transaction has read has changed since.
    fn reads(&self, request: &Request) -> Result<()> {
        let Some((ranges, _)) = &request.reads else { return Ok(()) };
        let in_group = || {
            let keys = self.pending.keys().cloned().collect();
            ranges.iter().any(|range| crate::read_set::any_within(&keys, range))
        };
        if self.recent.touches(request.snapshot, ranges) || in_group() {
            return Err(Error::retry("could not serialize access due to read/write dependencies among transactions"));
        }
        Ok(())
    }

    /// The error of a key that is there already: of an index, or of the row id itself.
    fn duplicate(&self, life: Incarnation, index: Option<Incarnation>) -> Error {
        duplicate_in(self.catalog, life, index)
    }
}

/// The error of a key that is there already: of an index of the table with this life, or of its row id.
#[must_use]
pub fn duplicate_in(catalog: &Catalog, life: Incarnation, index: Option<Incarnation>) -> Error {
    let table = catalog.tables().find(|table| table.incarnation == life);
    let name = table.and_then(|table| match index {
        Some(index) => table.index(index).map(|index| index.name.as_str()),
        None => table.primary_key.as_ref().map(|key| key.name.as_str()),
    });
    duplicate_key(name.unwrap_or("?"))
}

/// The error of a key that is there already.
#[must_use]
pub fn duplicate_key(constraint: &str) -> Error {
    Error::constraint("23505", format!("duplicate key value violates unique constraint \"{constraint}\""))
}

/// The lives of what a serializable transaction has read.
fn read_lives(request: &Request) -> impl Iterator<Item = Incarnation> + '_ {
    let ranges = request.reads.iter().flat_map(|(ranges, _)| ranges);
    ranges.filter_map(|(_, lower, _)| match lower {
        Bound::Included(key) | Bound::Excluded(key) => keys::leading_incarnation(key),
        Bound::Unbounded => None,
    })
}

fn goes(batch: &Batch, entry: &KeyEntry) -> bool {
    batch.rows.iter().any(|change| change.keys_gone.contains(entry))
}

/// What a batch does to the trees of rows and keys: the row that each key leads to, if any. A key that goes
/// with one row and comes with another has come.
fn changes(batch: &Batch) -> impl Iterator<Item = ((Tree, Vec<u8>), Option<RowId>)> + '_ {
    let gone = batch
        .rows
        .iter()
        .flat_map(|change| change.keys_gone.iter().map(|entry| ((Tree::Keys, keys::index(entry)), None)));
    let rest = batch.rows.iter().flat_map(|change| {
        let row = (change.op != RowOp::Delete).then_some(change.row);
        let key = (Tree::Rows, keys::row(change.incarnation, change.row).to_vec());
        let come = change.keys_come.iter().map(|entry| ((Tree::Keys, keys::index(entry)), Some(change.row)));
        std::iter::once((key, row)).chain(come)
    });
    gone.chain(rest)
}
