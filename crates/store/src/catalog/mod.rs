//! The catalogue: what tables there are, as rows of the store.
//!
//! A [`Catalog`] is the catalogue as of one Lsn, in memory and immutable. Statements bind against one; DDL
//! makes a changed copy and puts the changed definitions into its transaction like any other write.
//! `docs/format/catalog.md` has the entries.

mod table;

pub use table::{
    Bm25, Bm25Column, Check, Column, DerivedIndex, ForeignKey, Hnsw, Index, IndexColumn, IndexSource, Method,
    PrimaryKey, Table, VectorClass,
};

use crate::keys;
use nodedb_base::{Error, Incarnation, Lsn, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The OID of the first database; PostgreSQL, too, leaves the numbers below 16384 to itself.
pub const FIRST_DATABASE: u32 = 5;
/// The OID of schema `public`.
pub const PUBLIC_SCHEMA: u32 = 2200;
/// The first object id that users get.
pub const FIRST_OBJECT: u32 = 16384;

/// All definitions, as of one Lsn.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    lsn: Lsn,
    next_object: u32,
    tables: BTreeMap<u32, Arc<Table>>,
    names: BTreeMap<String, u32>,
    loading: Vec<Incarnation>,
}

impl Catalog {
    /// The catalogue before the first commit.
    #[must_use]
    pub fn empty() -> Self {
        Self { next_object: FIRST_OBJECT, ..Self::default() }
    }

    /// Reads the entries of the tree of the catalogue, as of `lsn`.
    ///
    /// # Errors
    /// `Damaged` if an entry cannot be read.
    pub fn load(lsn: Lsn, entries: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>>) -> Result<Self> {
        let mut catalog = Self::empty();
        for entry in entries {
            let (key, value) = entry?;
            catalog.apply(&key, Some(&value))?;
        }
        catalog.lsn = lsn;
        Ok(catalog)
    }

    /// The last commit that is seen here.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// A copy with these changed entries, as of `lsn`.
    ///
    /// # Errors
    /// `Damaged` if an entry cannot be read.
    pub fn changed<'a>(&self, lsn: Lsn, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Result<Self> {
        let mut copy = self.clone();
        for (key, value) in changes {
            copy.apply(key, value)?;
        }
        copy.lsn = lsn;
        Ok(copy)
    }

    /// Whether an entry with this key changes what a `Catalog` holds.
    #[must_use]
    pub fn is_definition(key: &[u8]) -> bool {
        [keys::TABLES, keys::NEXT_OBJECT, keys::LOADING].iter().any(|kind| key.starts_with(kind))
    }

    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if key == keys::NEXT_OBJECT {
            let bytes = value.and_then(|v| v.first_chunk::<4>());
            let bytes = bytes.ok_or_else(|| Error::damaged("damaged catalogue: the counter of object ids"))?;
            self.next_object = u32::from_be_bytes(*bytes);
        } else if let Some(id) = key.strip_prefix(keys::TABLES) {
            let id = id.first_chunk::<4>().ok_or_else(|| Error::damaged("damaged catalogue: a table's key"))?;
            self.set_table(u32::from_be_bytes(*id), value)?;
        } else if let Some(id) = key.strip_prefix(keys::LOADING).and_then(keys::leading_incarnation) {
            match value {
                Some(_) => self.loading.push(id),
                None => self.loading.retain(|&other| other != id),
            }
        }
        Ok(())
    }

    fn set_table(&mut self, id: u32, value: Option<&[u8]>) -> Result<()> {
        if let Some(old) = self.tables.remove(&id) {
            self.names.retain(|_, owner| *owner != old.id);
        }
        let Some(value) = value else { return Ok(()) };
        let table = Table::decode(value)?;
        self.names.insert(table.name.clone(), id);
        for index in &table.indexes {
            self.names.insert(index.name.clone(), id);
        }
        for index in &table.derived {
            self.names.insert(index.name.clone(), id);
        }
        if let Some(primary) = table.primary_key.as_ref() {
            self.names.insert(primary.name.clone(), id);
        }
        self.tables.insert(id, Arc::new(table));
        Ok(())
    }

    /// The table of that name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.names.get(name).and_then(|id| self.tables.get(id)).filter(|table| table.name == name)
    }

    /// The table with that id.
    #[must_use]
    pub fn table_by_id(&self, id: u32) -> Option<&Arc<Table>> {
        self.tables.get(&id)
    }

    /// All tables, in order of their ids.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// The table that has an index of that name, and the index.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<(&Arc<Table>, &Index)> {
        let table = self.names.get(name).and_then(|id| self.tables.get(id))?;
        Some((table, table.indexes.iter().find(|index| index.name == name)?))
    }

    /// The table that has a derived index of that name, and the index.
    #[must_use]
    pub fn derived_index(&self, name: &str) -> Option<(&Arc<Table>, &DerivedIndex)> {
        let table = self.names.get(name).and_then(|id| self.tables.get(id))?;
        Some((table, table.derived.iter().find(|index| index.name == name)?))
    }

    /// Whether a table, an index or a primary key has that name: they share one space of names.
    #[must_use]
    pub fn has_relation(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// A name in PostgreSQL's way that is not taken: `base`, then `base1`, `base2` and so on.
    #[must_use]
    pub fn free_name(&self, base: &str, taken: &[&str]) -> String {
        let free = |name: &String| !self.has_relation(name) && !taken.contains(&name.as_str());
        let mut names = std::iter::once(base.to_owned()).chain((1_u32..).map(|n| format!("{base}{n}")));
        names.find(free).unwrap_or_default()
    }

    /// Tables that refer to this one, with the foreign keys that do.
    pub fn references_to(&self, parent: u32) -> impl Iterator<Item = (&Arc<Table>, &ForeignKey)> {
        self.tables.values().flat_map(move |table| {
            table.foreign_keys.iter().filter(move |key| key.parent == parent).map(move |key| (table, key))
        })
    }

    /// The next unused object id.
    #[must_use]
    pub const fn next_object(&self) -> u32 {
        self.next_object
    }

    /// Lives that are being loaded and were not published.
    #[must_use]
    pub fn loading(&self) -> &[Incarnation] {
        &self.loading
    }
}
