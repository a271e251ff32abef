//! Foreign keys: what a statement did to them is checked at its end, and again at commit.

use crate::rules::RowRules;
use nodedb_base::key::{self, KeyOrder};
use nodedb_base::{Error, Result, RowId, Value};
use nodedb_store::Transaction;
use nodedb_store::catalog::{Catalog, ForeignKey, Table};
use nodedb_store::commit::{ParentKey, Requirement};

/// What must hold when the statement ends.
#[derive(Debug, Default)]
pub struct Pending {
    children: Vec<(ForeignKey, String, Vec<Value>)>,
    parents: Vec<Requirement>,
}

impl Pending {
    /// A row came or changed: its parents must be there.
    pub fn child(&mut self, rules: &RowRules, new: &[Value], old: Option<&[Value]>) -> Result<()> {
        for key in rules.foreign_keys() {
            let of = |row: &[Value]| RowRules::foreign_key(&key.columns, row);
            let Some(_) = of(new)?.filter(|new| old.map(of).transpose().ok().flatten().flatten().as_ref() != Some(new))
            else {
                continue;
            };
            let values = key.columns.iter().filter_map(|at| new.get(usize::from(*at)).cloned()).collect();
            self.children.push((key.clone(), rules.table().name.clone(), values));
        }
        Ok(())
    }

    /// A row went or changed: it may leave no children behind.
    pub fn parent(&mut self, catalog: &Catalog, rules: &RowRules, old: &[Value], new: Option<&[Value]>) -> Result<()> {
        for (child, key) in catalog.references_to(rules.table().id) {
            let Some(before) = child_key(child, key, old)? else { continue };
            let after = new.map(|new| child_key(child, key, new)).transpose()?.flatten();
            if after.as_ref() != Some(&before) {
                let error = still_referenced(&rules.table().name, &key.name, &child.name);
                self.parents.push(Requirement::NoChild { index: key.index, prefix: before, error });
            }
        }
        Ok(())
    }

    /// Checks all of it.
    pub fn check(self, tx: &mut Transaction) -> Result<()> {
        for requirement in self.parents {
            // A parent that came back under the same key in the same statement is a parent again.
            tx.require(requirement)?;
        }
        for (key, table, values) in self.children {
            let requirement = parent_requirement(tx.catalog(), &key, &table, &values)?;
            tx.require(requirement)?;
        }
        Ok(())
    }
}

/// Whether a stored row has its parents, without demanding that it has them at commit.
pub fn check_row(tx: &Transaction, rules: &RowRules, row: &[Value]) -> Result<()> {
    for key in rules.foreign_keys() {
        if RowRules::foreign_key(&key.columns, row)?.is_none() {
            continue;
        }
        let values: Vec<_> = key.columns.iter().filter_map(|at| row.get(usize::from(*at)).cloned()).collect();
        tx.holds(&parent_requirement(tx.catalog(), key, &rules.table().name, &values)?)?;
    }
    Ok(())
}

fn parent_requirement(catalog: &Catalog, key: &ForeignKey, table: &str, values: &[Value]) -> Result<Requirement> {
    let error = Error::constraint(
        "23503",
        format!("insert or update on table \"{table}\" violates foreign key constraint \"{}\"", key.name),
    );
    let key = match key.parent_index {
        Some(index) => {
            let mut bytes = Vec::new();
            for value in values {
                key::encode(value, KeyOrder::default(), &mut bytes)?;
            }
            ParentKey::Unique(index, bytes)
        }
        None => {
            let parent = catalog.table_by_id(key.parent).map(|parent| parent.incarnation);
            let parent = parent.ok_or_else(|| Error::internal("a foreign key without its parent"))?;
            let id = values.first().and_then(crate::scan::access::integer).map(RowId::from_key);
            ParentKey::Row(parent, id.ok_or_else(|| Error::internal("a foreign key is no integer"))?)
        }
    };
    Ok(Requirement::Parent { key, error })
}

/// The key that children of a row have in their index.
fn child_key(child: &Table, key: &ForeignKey, parent: &[Value]) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    for (own, theirs) in key.columns.iter().zip(&key.parent_columns) {
        let value = parent.get(usize::from(*theirs)).unwrap_or(&Value::Null);
        let Some(column) = child.columns.get(usize::from(*own)).filter(|_| !value.is_null()) else { return Ok(None) };
        // The child's type may be narrower: then no child can have this value.
        let Ok(value) = crate::types::assign(value.clone(), &column.ty, &crate::types::TextStyle::default()) else {
            return Ok(None);
        };
        key::encode(&value, KeyOrder::default(), &mut bytes)?;
    }
    Ok(Some(bytes))
}

fn still_referenced(parent: &str, key: &str, child: &str) -> Error {
    Error::constraint(
        "23503",
        format!(
            "update or delete on table \"{parent}\" violates foreign key constraint \"{key}\" on table \"{child}\""
        ),
    )
}

/// The columns of a table that others refer to.
pub fn referenced_columns(catalog: &Catalog, table: u32) -> Vec<usize> {
    catalog.references_to(table).flat_map(|(_, key)| key.parent_columns.iter().map(|at| usize::from(*at))).collect()
}
