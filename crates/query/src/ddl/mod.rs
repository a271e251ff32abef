//! CREATE and DROP: changed definitions, as entries of the catalogue in the statement's transaction.

mod bm25;
pub mod derived;
pub mod drop;
pub mod index;
pub mod reindex;
pub mod table;
pub mod truncate;

use crate::outcome::{Outcome, Tag};
use nodedb_base::{Error, Incarnation, Result};
use nodedb_store::Transaction;
use nodedb_store::catalog::Catalog;
use nodedb_store::keys;

/// Entries of the catalogue that a statement puts or removes.
pub type Entries = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Hands out object ids, and says in the catalogue that they are used.
pub struct Ids {
    next: u32,
}

impl Ids {
    /// Starts behind the ids that are used.
    pub fn new(catalog: &Catalog) -> Self {
        Self { next: catalog.next_object() }
    }

    /// An id that nothing ever had.
    pub const fn take(&mut self) -> u32 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// The entry that says so.
    pub fn entry(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (keys::NEXT_OBJECT.to_vec(), Some(self.next.to_be_bytes().to_vec()))
    }
}

/// The entry that ends a life.
pub fn ended(life: Incarnation) -> (Vec<u8>, Option<Vec<u8>>) {
    (keys::life(keys::ENDED, life), Some(Vec::new()))
}

fn already_exists(name: &str) -> Error {
    Error::statement("42P07", format!("relation \"{name}\" already exists"))
}

fn done(verb: &'static str) -> Outcome {
    Outcome::Done(Tag::plain(verb))
}

fn check(tx: &Transaction, what: &str) -> Result<()> {
    tx.check_writable(what)
}
