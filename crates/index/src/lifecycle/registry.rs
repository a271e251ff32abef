//! All indexes of a database, by id and by the rows that they follow.

use super::Index;
use crate::filters::FilterCache;
use crate::key_cache::KeyCache;
use nodedb_base::Incarnation;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// All indexes of a database.
#[derive(Debug)]
pub struct Indexes {
    filters: FilterCache,
    keys: KeyCache,
    all: RwLock<HashMap<Incarnation, Arc<Index>>>,
    following: RwLock<HashMap<Incarnation, Vec<Arc<Index>>>>,
}

impl Indexes {
    /// None, and a filter cache and a key cache that may take so many bytes each.
    #[must_use]
    pub fn new(cache_bytes: usize) -> Self {
        let (all, following) = Default::default();
        Self { filters: FilterCache::new(cache_bytes), keys: KeyCache::new(cache_bytes), all, following }
    }

    /// What keys have said of rows.
    #[must_use]
    pub const fn filters(&self) -> &FilterCache {
        &self.filters
    }

    /// What was read of keys.
    #[must_use]
    pub const fn keys(&self) -> &KeyCache {
        &self.keys
    }

    /// The index with that id.
    #[must_use]
    pub fn get(&self, id: Incarnation) -> Option<Arc<Index>> {
        self.all.read().get(&id).cloned()
    }

    /// The index with that id, if it follows these rows.
    #[must_use]
    pub fn of_rows(&self, rows: Incarnation, id: Incarnation) -> Option<Arc<Index>> {
        let following = self.following.read();
        following.get(&rows)?.iter().find(|index| index.id == id).cloned()
    }

    /// All of them, by their names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Index>> {
        let mut all: Vec<_> = self.all.read().values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Adds one, or puts it in the place of another with its id.
    pub fn put(&self, index: Arc<Index>) {
        self.all.write().insert(index.id, index);
    }

    /// Tells an index of changes of its columns of some rows from now on.
    pub fn follow(&self, rows: Incarnation, index: Arc<Index>) {
        let mut following = self.following.write();
        let of_rows = following.entry(rows).or_default();
        of_rows.retain(|other| other.id != index.id);
        of_rows.push(index);
    }

    /// Who follows some rows.
    #[must_use]
    pub fn following(&self, rows: Incarnation) -> Vec<Arc<Index>> {
        self.following.read().get(&rows).cloned().unwrap_or_default()
    }

    /// Forgets one; it is told nothing any more.
    pub fn remove(&self, id: Incarnation) -> Option<Arc<Index>> {
        let mut following = self.following.write();
        for of_rows in following.values_mut() {
            of_rows.retain(|index| index.id != id);
        }
        following.retain(|_, of_rows| !of_rows.is_empty());
        let gone = self.all.write().remove(&id);
        if let Some(index) = &gone {
            index.drop_it();
        }
        gone
    }

    /// Forgets all, so that their files are free.
    pub fn clear(&self) {
        self.following.write().clear();
        self.all.write().clear();
    }
}
