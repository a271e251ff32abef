//! DROP TABLE, DROP INDEX.

use super::{Entries, check, done, ended};
use crate::outcome::Outcome;
use crate::parse;
use nodedb_base::{Error, Result};
use nodedb_store::catalog::Table;
use nodedb_store::{Transaction, keys};
use sqlparser::ast::{ObjectName, ObjectType};
use std::sync::Arc;

/// What to drop.
pub struct Drop {
    pub kind: ObjectType,
    pub if_exists: bool,
    pub names: Vec<ObjectName>,
    pub cascade: bool,
}

/// Runs a DROP.
pub fn run(tx: &mut Transaction, drop: &Drop) -> Result<Outcome> {
    match drop.kind {
        ObjectType::Table => {
            check(tx, "DROP TABLE")?;
            drop_tables(tx, drop)?;
            Ok(done("DROP TABLE"))
        }
        ObjectType::Index => {
            check(tx, "DROP INDEX")?;
            for name in &drop.names {
                drop_index(tx, &parse::relation(name)?, drop.if_exists)?;
            }
            Ok(done("DROP INDEX"))
        }
        kind => Err(Error::unsupported(format!("DROP {kind}"))),
    }
}

fn drop_tables(tx: &mut Transaction, drop: &Drop) -> Result<()> {
    let mut tables: Vec<Arc<Table>> = Vec::new();
    for name in &drop.names {
        let name = parse::relation(name)?;
        match tx.catalog().table(&name) {
            Some(table) => tables.push(table.clone()),
            None if drop.if_exists => {}
            None if tx.catalog().has_relation(&name) => {
                return Err(Error::statement("42809", format!("\"{name}\" is not a table")));
            }
            None => return Err(Error::statement("42P01", format!("table \"{name}\" does not exist"))),
        }
    }
    let mut entries = Entries::new();
    for table in &tables {
        let dropped = |id: u32| tables.iter().any(|other| other.id == id);
        let children: Vec<_> = tx.catalog().references_to(table.id).filter(|(child, _)| !dropped(child.id)).collect();
        if let Some((child, key)) = children.first()
            && !drop.cascade
        {
            let message = format!("cannot drop table {} because other objects depend on it", table.name);
            let detail = format!("constraint {} on table {} depends on table {}", key.name, child.name, table.name);
            let hint = "Use DROP ... CASCADE to drop the dependent objects too.";
            return Err(Error::statement("2BP01", message).with_detail(detail).with_hint(hint));
        }
        for (child, _) in children {
            forget_parent(child, table.id, &mut entries)?;
        }
        entries.push((keys::table(table.id), None));
        entries.extend(table.lives().map(ended));
    }
    tx.define(entries)
}

/// A child without its foreign keys to a parent that goes.
fn forget_parent(child: &Table, parent: u32, entries: &mut Entries) -> Result<()> {
    let mut child = child.clone();
    let (gone, kept) = child.foreign_keys.into_iter().partition(|key| key.parent == parent);
    child.foreign_keys = kept;
    let gone: Vec<nodedb_store::catalog::ForeignKey> = gone;
    for key in gone {
        child.indexes.retain(|index| index.id != key.index);
        entries.push(ended(key.index));
    }
    entries.push((keys::table(child.id), Some(child.encode()?)));
    Ok(())
}

fn drop_index(tx: &mut Transaction, name: &str, if_exists: bool) -> Result<()> {
    if let Some((table, index)) = tx.catalog().derived_index(name) {
        let (id, mut table) = (index.id, Table::clone(table));
        table.derived.retain(|index| index.id != id);
        return tx.define(vec![(keys::table(table.id), Some(table.encode()?))]);
    }
    let Some((table, index)) = tx.catalog().index(name) else {
        return match tx.catalog().has_relation(name) {
            false if if_exists => Ok(()),
            false => Err(Error::statement("42704", format!("index \"{name}\" does not exist"))),
            true => Err(Error::statement("42809", format!("\"{name}\" is not an index"))),
        };
    };
    if index.constraint {
        let message = format!("cannot drop index {name} because a constraint of table {} requires it", table.name);
        return Err(Error::statement("2BP01", message));
    }
    let (id, mut table) = (index.id, Table::clone(table));
    table.indexes.retain(|index| index.id != id);
    let entry = (keys::table(table.id), Some(table.encode()?));
    tx.define(vec![entry, ended(id)])
}
