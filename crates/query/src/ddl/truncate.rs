//! TRUNCATE: the table gets a new life, without rows.

use super::{Entries, Ids, check, done, ended};
use crate::outcome::Outcome;
use crate::parse;
use crate::planner::no_relation;
use nodedb_base::{Error, Incarnation, Result};
use nodedb_store::catalog::Table;
use nodedb_store::{Transaction, keys};
use sqlparser::ast::{CascadeOption, Statement as Ast, Truncate, TruncateIdentityOption};
use std::collections::HashMap;

/// Runs a TRUNCATE.
///
/// # Errors
/// `Statement`: 42P01, 0A000 if rows of another table refer to the rows.
pub fn run(tx: &mut Transaction, truncate: &Truncate) -> Result<Outcome> {
    check(tx, "TRUNCATE")?;
    let mut tables = Vec::new();
    for target in &truncate.table_names {
        let name = parse::relation(&target.name)?;
        tables.push(tx.catalog().table(&name).ok_or_else(|| no_relation(&name))?.clone());
    }
    for table in &tables {
        let mut children = tx.catalog().references_to(table.id).map(|(child, _)| child);
        if let Some(child) = children.find(|child| tables.iter().all(|other| other.id != child.id)) {
            let message = "cannot truncate a table referenced in a foreign key constraint";
            return Err(Error::statement("0A000", message)
                .with_detail(format!("Table \"{}\" references \"{}\".", child.name, table.name))
                .with_hint(format!("Truncate table \"{}\" at the same time.", child.name)));
        }
    }
    let (mut ids, mut entries) = (Ids::new(tx.catalog()), Entries::new());
    let lives: Vec<Incarnation> = tables.iter().flat_map(|table| table.lives()).collect();
    let fresh: HashMap<_, _> = lives.iter().map(|life| (*life, Incarnation(ids.take()))).collect();
    for table in &tables {
        entries.push((keys::table(table.id), Some(renewed(table, &fresh).encode()?)));
    }
    entries.extend(lives.into_iter().map(ended));
    entries.push(ids.entry());
    tx.define(entries)?;
    Ok(done("TRUNCATE TABLE"))
}

/// The table with new lives for its rows and keys.
fn renewed(table: &Table, fresh: &HashMap<Incarnation, Incarnation>) -> Table {
    let renew = |life: &mut Incarnation| *life = fresh.get(life).copied().unwrap_or(*life);
    let mut table = table.clone();
    renew(&mut table.incarnation);
    table.indexes.iter_mut().for_each(|index| renew(&mut index.id));
    table.primary_key.iter_mut().filter_map(|key| key.index.as_mut()).for_each(renew);
    for key in &mut table.foreign_keys {
        renew(&mut key.index);
        key.parent_index.iter_mut().for_each(renew);
    }
    table
}

/// Fails if a part of the statement would be ignored.
///
/// # Errors
/// `Statement` (0A000).
pub fn expect_known(truncate: &Truncate) -> Result<()> {
    let Some(Ast::Truncate(template)) = parse::statement("TRUNCATE t")? else {
        return Err(Error::internal("the template of TRUNCATE is none"));
    };
    let identity = truncate.identity.clone().filter(|identity| matches!(identity, TruncateIdentityOption::Continue));
    let cascade = truncate.cascade.clone().filter(|cascade| matches!(cascade, CascadeOption::Restrict));
    let (table_names, table) = (truncate.table_names.clone(), truncate.table);
    parse::expect_known("TRUNCATE", truncate, &Truncate { table_names, table, identity, cascade, ..template })
}
