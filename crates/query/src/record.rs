//! Single rows by their primary key, without SQL: what the typed API is made of.

use crate::ddl::{Entries, Ids};
use crate::dml::{Change, references, store};
use crate::engine::Engine;
use crate::outcome::Column;
use crate::planner::no_relation;
use crate::rules::RowRules;
use crate::statement::Statement;
use nodedb_base::{Error, Incarnation, Result, RowId, Value, key};
use nodedb_store::catalog::{Catalog, Index, IndexSource, Table};
use nodedb_store::commit::duplicate_key;
use nodedb_store::row::{Field, encode};
use nodedb_store::{KeyRange, Row, Transaction, View, keys};
use std::ops::Bound;
use std::sync::Arc;

/// The columns of a table.
///
/// # Errors
/// `Statement` (42P01).
pub fn columns(tx: &Transaction, table: &str) -> Result<Vec<Column>> {
    let table = find(tx, table)?;
    Ok(table.columns.iter().map(|column| Column { name: column.name.clone(), ty: column.ty.clone() }).collect())
}

/// The columns of a table and the values of one row.
pub type Record = (Arc<[Column]>, Vec<Value>);

/// The row with this primary key, and the columns of the table.
///
/// # Errors
/// `Statement` (42P01; 42704 if the table has no primary key), and those of reading.
pub fn get(
    engine: &Engine,
    statement: &Statement<'_>,
    tx: &Transaction,
    table: &str,
    key: &[Value],
) -> Result<Option<Record>> {
    let table = tx.catalog().table(table).ok_or_else(|| no_relation(table))?;
    let Some(row) = by_key(table, statement, tx.view(), key)? else { return Ok(None) };
    let rules = engine.rules(table)?;
    Ok(Some((rules.columns().clone(), rules.read(tx.view(), &row, |_| true)?)))
}

/// Puts a row: a new one, or in place of the one with the same primary key. All columns are given.
///
/// # Errors
/// `Statement`, `Constraint`, `Limit`.
pub fn put(engine: &Engine, statement: Statement<'_>, tx: &mut Transaction, table: &str, row: &[Value]) -> Result<()> {
    let definition = find(tx, table)?;
    if row.len() != definition.columns.len() {
        let message = format!("table {table} has {} columns, {} were given", definition.columns.len(), row.len());
        return Err(Error::statement("42601", message));
    }
    let pairs = row.iter().zip(&definition.columns);
    let row = pairs.map(|(value, column)| store(value.clone(), &column.ty, &statement)).collect::<Result<Vec<_>>>()?;
    let key = primary_key(&definition)?.iter().filter_map(|at| row.get(*at).cloned()).collect::<Vec<_>>();
    let found = by_key(&definition, &statement, tx.view(), &key)?;
    let mut change = Change::new(engine, statement, tx, table, "INSERT", false)?;
    match found {
        Some(old) => change.update(&old, row.into_iter().enumerate().collect())?,
        None => change.insert(row)?,
    }
    change.finish()
}

/// Removes the row with this primary key; whether there was one.
///
/// # Errors
/// `Statement`, `Constraint` (23503), `Limit`.
pub fn delete(
    engine: &Engine,
    statement: Statement<'_>,
    tx: &mut Transaction,
    table: &str,
    key: &[Value],
) -> Result<bool> {
    let definition = find(tx, table)?;
    let Some(row) = by_key(&definition, &statement, tx.view(), key)? else { return Ok(false) };
    let mut change = Change::new(engine, statement, tx, table, "DELETE", false)?;
    change.delete(&row)?;
    change.finish()?;
    Ok(true)
}

/// Rows in order of their primary key, between two keys.
///
/// # Errors
/// As [`get`]; also from each item.
pub fn scan(
    engine: &Engine,
    statement: &Statement<'_>,
    tx: &Transaction,
    table: &str,
    lower: Bound<&[Value]>,
    upper: Bound<&[Value]>,
) -> Result<impl Iterator<Item = Result<Vec<Value>>> + Send + use<>> {
    let table = find(tx, table)?;
    let rules = engine.rules(&table)?;
    let view = tx.view().clone();
    let rows = match key_index(&table)? {
        None => by_row_id(&table, statement, &view, lower, upper)?,
        Some(index) => by_index(&table, index, statement, &view, lower, upper)?,
    };
    Ok(rows.map(move |row| rules.read(&view, &row?, |_| true)))
}

type RowIter = Box<dyn Iterator<Item = Result<Row>> + Send>;

fn by_row_id(
    table: &Arc<Table>,
    statement: &Statement<'_>,
    view: &View,
    lower: Bound<&[Value]>,
    upper: Bound<&[Value]>,
) -> Result<RowIter> {
    let id = |key: &[Value]| row_id(table, statement, key);
    let from = match lower {
        Bound::Included(key) => id(key)?,
        Bound::Excluded(key) => RowId(id(key)?.0.saturating_add(1)),
        Bound::Unbounded => RowId(0),
    };
    let to = match upper {
        Bound::Included(key) => id(key)?,
        Bound::Excluded(key) => match id(key)?.0.checked_sub(1) {
            Some(to) => RowId(to),
            None => return Ok(Box::new(std::iter::empty())),
        },
        Bound::Unbounded => RowId(u64::MAX),
    };
    view.rows(table.incarnation, from, to, false)
}

fn by_index(
    table: &Arc<Table>,
    index: &Index,
    statement: &Statement<'_>,
    view: &View,
    lower: Bound<&[Value]>,
    upper: Bound<&[Value]>,
) -> Result<RowIter> {
    let behind =
        |bytes: Vec<u8>, open: fn(Vec<u8>) -> Bound<Vec<u8>>| key::after_prefix(&bytes).map_or(Bound::Unbounded, open);
    let lower = match lower {
        Bound::Included(key) => Bound::Included(encoded(table, index, statement, key)?),
        Bound::Excluded(key) => behind(encoded(table, index, statement, key)?, Bound::Included),
        Bound::Unbounded => Bound::Unbounded,
    };
    let upper = match upper {
        Bound::Included(key) => behind(encoded(table, index, statement, key)?, Bound::Excluded),
        Bound::Excluded(key) => Bound::Excluded(encoded(table, index, statement, key)?),
        Bound::Unbounded => Bound::Unbounded,
    };
    let keys = view.keys(index.id, &KeyRange { lower, upper }, false)?;
    let (view, life, name) = (view.clone(), table.incarnation, table.name.clone());
    Ok(Box::new(keys.map(move |entry| {
        let (_, id) = entry?;
        let row = view.row(life, id)?;
        row.ok_or_else(|| Error::damaged(format!("an index of table {name} names row {}, which is not there", id.0)))
    })))
}

fn find(tx: &Transaction, table: &str) -> Result<Arc<Table>> {
    tx.catalog().table(table).cloned().ok_or_else(|| no_relation(table))
}

fn primary_key(table: &Table) -> Result<Vec<usize>> {
    let key = table
        .primary_key
        .as_ref()
        .ok_or_else(|| Error::statement("42704", format!("table {} has no primary key", table.name)))?;
    Ok(key.columns.iter().map(|at| usize::from(*at)).collect())
}

/// The index of the primary key; `None` if the key is the row id.
fn key_index(table: &Table) -> Result<Option<&Index>> {
    primary_key(table)?;
    Ok(table.primary_key.as_ref().and_then(|key| key.index).and_then(|id| table.index(id)))
}

fn row_id(table: &Table, statement: &Statement<'_>, key: &[Value]) -> Result<RowId> {
    let column = table.row_key().and_then(|at| table.columns.get(at));
    let (Some(column), [value]) = (column, key) else {
        return Err(Error::statement("42601", format!("the primary key of table {} is one integer", table.name)));
    };
    let value = store(value.clone(), &column.ty, statement)?;
    crate::dml::row_of_key(Some(&value))
}

fn encoded(table: &Table, index: &Index, statement: &Statement<'_>, key: &[Value]) -> Result<Vec<u8>> {
    if key.len() > index.columns.len() {
        return Err(Error::statement("42601", format!("the primary key of table {} has fewer columns", table.name)));
    }
    let mut bytes = Vec::new();
    for (value, part) in key.iter().zip(&index.columns) {
        if let IndexSource::Column(_) = part.source {
            key::encode(&store(value.clone(), &part.ty, statement)?, part.order, &mut bytes)?;
        }
    }
    Ok(bytes)
}

fn by_key(table: &Table, statement: &Statement<'_>, view: &View, key: &[Value]) -> Result<Option<Row>> {
    let Some(index) = key_index(table)? else {
        return match row_id(table, statement, key) {
            Ok(id) => view.row(table.incarnation, id),
            Err(e) if e.sqlstate().as_str() == "22003" => Ok(None),
            Err(e) => Err(e),
        };
    };
    if key.len() != index.columns.len() {
        let message = format!("the primary key of table {} has {} columns", table.name, index.columns.len());
        return Err(Error::statement("42601", message));
    }
    match view.unique_key(index.id, &encoded(table, index, statement, key)?)? {
        Some(id) => view.row(table.incarnation, id),
        None => Ok(None),
    }
}

/// What a check of all tables has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedTables {
    /// Tables.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Entries of key indexes.
    pub keys: u64,
}

/// Reads every row of every table whole, and compares the keys of all indexes with the rows, both ways.
///
/// # Errors
/// `Damaged` names the table and the row.
pub fn check(engine: &Engine, view: &View) -> Result<CheckedTables> {
    let mut seen = CheckedTables::default();
    for table in view.catalog().tables() {
        seen.tables += 1;
        let rules = engine.rules(table)?;
        check_table(&rules, view, &mut seen).map_err(|e| {
            if e.report().detail.is_some() { e } else { e.with_detail(format!("table {}", table.name)) }
        })?;
    }
    Ok(seen)
}

fn check_table(rules: &RowRules, view: &View, seen: &mut CheckedTables) -> Result<()> {
    let table = rules.table();
    let mut expected = 0;
    for row in view.rows(table.incarnation, RowId(0), RowId(u64::MAX), false)? {
        let row = row?;
        let values = rules.read(view, &row, |_| true)?;
        rules.check(&values).map_err(|e| Error::damaged(format!("row {}: {e}", row.id.0)))?;
        if table.row_key().is_some_and(|at| crate::dml::row_of_key(values.get(at)).ok() != Some(row.id)) {
            return Err(Error::damaged(format!("row {} has the primary key of another row", row.id.0)));
        }
        for entry in rules.keys(&values, row.id)? {
            expected += 1;
            let found = if entry.unique {
                view.unique_key(entry.index, &entry.key)?
            } else {
                let exact =
                    KeyRange { lower: Bound::Included(entry.key.clone()), upper: Bound::Included(entry.key.clone()) };
                view.keys(entry.index, &exact, false)?.next().transpose()?.map(|(_, id)| id)
            };
            if found != Some(row.id) {
                let index = table.index(entry.index).map_or("?", |index| index.name.as_str());
                return Err(Error::damaged(format!("index {index} lacks the key of row {}", row.id.0)));
            }
        }
        seen.rows += 1;
    }
    let mut stored = 0;
    for index in &table.indexes {
        for entry in view.keys(index.id, &KeyRange::prefix(&[]), false)? {
            entry?;
            stored += 1;
        }
    }
    seen.keys += stored;
    if stored == expected {
        return Ok(());
    }
    Err(Error::damaged(format!("the indexes hold {stored} keys, the rows have {expected}")))
}

/// Puts a new row. All columns are given.
///
/// # Errors
/// `Statement`, `Constraint`, `Limit`.
pub fn insert(
    engine: &Engine,
    statement: Statement<'_>,
    tx: &mut Transaction,
    table: &str,
    row: Vec<Value>,
) -> Result<()> {
    let mut change = Change::new(engine, statement, tx, table, "INSERT", false)?;
    let row = stored(change.table(), row, &statement)?;
    change.insert(row)?;
    change.finish()
}

fn stored(table: &Table, row: Vec<Value>, statement: &Statement<'_>) -> Result<Vec<Value>> {
    row.into_iter().zip(&table.columns).map(|(value, column)| store(value, &column.ty, statement)).collect()
}

/// Loads rows into new lives of a table and its indexes, which nobody sees before they are published.
#[derive(Debug)]
pub struct Loader {
    /// The table as it was when the load started.
    before: Arc<Table>,
    rules: Arc<RowRules>,
}

impl Loader {
    /// Takes new lives for a table, and notes that they are under load.
    ///
    /// # Errors
    /// `Statement` (42P01).
    pub fn start(engine: &Engine, tx: &mut Transaction, table: &str) -> Result<Self> {
        let before = find(tx, table)?;
        let mut ids = Ids::new(tx.catalog());
        let mut loaded = Table::clone(&before);
        let mut entries = Vec::new();
        let mut renew = |life: &mut Incarnation| {
            let new = Incarnation(ids.take());
            entries.push((keys::life(keys::LOADING, new), Some(Vec::new())));
            std::mem::replace(life, new)
        };
        renew(&mut loaded.incarnation);
        for at in 0..loaded.indexes.len() {
            let Some(index) = loaded.indexes.get_mut(at) else { continue };
            let old = renew(&mut index.id);
            let new = index.id;
            if let Some(key) = loaded.primary_key.as_mut().filter(|key| key.index == Some(old)) {
                key.index = Some(new);
            }
            let own = loaded.id;
            for key in &mut loaded.foreign_keys {
                if key.index == old {
                    key.index = new;
                }
                if key.parent == own && key.parent_index == Some(old) {
                    key.parent_index = Some(new);
                }
            }
        }
        entries.push(ids.entry());
        tx.define(entries)?;
        let rules = Arc::new(RowRules::compile(engine, &Arc::new(loaded))?);
        Ok(Self { before, rules })
    }

    /// Puts a row. Foreign keys are left to [`Loader::publish`].
    ///
    /// # Errors
    /// `Statement`, `Constraint`, `Limit`.
    pub fn insert(&self, statement: Statement<'_>, tx: &mut Transaction, row: Vec<Value>) -> Result<()> {
        let table = self.rules.table();
        let row = stored(table, row, &statement)?;
        self.rules.check(&row)?;
        let id = match table.row_key() {
            None => tx.next_row_id(table.incarnation),
            Some(column) => crate::dml::row_of_key(row.get(column))?,
        };
        if table.row_key().is_some() && tx.view().row(table.incarnation, id)?.is_some() {
            let name = table.primary_key.as_ref().map_or("?", |key| key.name.as_str());
            return Err(duplicate_key(name));
        }
        let keys = self.rules.keys(&row, id)?;
        for entry in keys.iter().filter(|entry| entry.unique) {
            if tx.view().unique_key(entry.index, &entry.key)?.is_some() {
                return Err(duplicate_key(table.index(entry.index).map_or("?", |index| index.name.as_str())));
            }
        }
        let fields: Vec<_> = row.iter().map(Field::Set).collect();
        let encoded = encode(self.rules.types(), &fields, None)?;
        tx.insert(table.incarnation, id, encoded, keys)
    }

    /// Gives the table its new lives. It must be as empty as it was.
    ///
    /// # Errors
    /// `Retry` if it is not; `Constraint` (23503) if a row has no parent.
    pub fn publish(&self, engine: &Engine, tx: &mut Transaction) -> Result<()> {
        let same = tx.catalog().table_by_id(self.before.id).is_some_and(|now| **now == *self.before);
        let old = self.before.incarnation;
        if !same || tx.view().rows(old, RowId(0), RowId(u64::MAX), false)?.next().is_some() {
            return Err(Error::retry("could not publish a load: the table was changed meanwhile"));
        }
        let loaded = self.rules.table();
        let mut entries = vec![(keys::table(loaded.id), Some(loaded.encode()?))];
        entries.extend(loaded.lives().map(|life| (keys::life(keys::LOADING, life), None)));
        entries.extend(self.before.lives().map(crate::ddl::ended));
        self.point_children(tx.catalog(), &mut entries)?;
        tx.require_quiet(old);
        tx.define(entries)?;
        self.check_parents(engine, tx)
    }

    /// Foreign keys of other tables refer to the new life of a unique index.
    fn point_children(&self, catalog: &Catalog, entries: &mut Entries) -> Result<()> {
        for child in catalog.tables().filter(|child| child.id != self.before.id) {
            if !child.foreign_keys.iter().any(|key| key.parent == self.before.id) {
                continue;
            }
            let mut child = Table::clone(child);
            for key in child.foreign_keys.iter_mut().filter(|key| key.parent == self.before.id) {
                let at = self.before.indexes.iter().position(|index| Some(index.id) == key.parent_index);
                key.parent_index = at.and_then(|at| self.rules.table().indexes.get(at)).map(|index| index.id);
            }
            entries.push((keys::table(child.id), Some(child.encode()?)));
        }
        Ok(())
    }

    /// Every row has its parents, and they may not change before this commits.
    fn check_parents(&self, engine: &Engine, tx: &mut Transaction) -> Result<()> {
        let table = self.rules.table();
        if table.foreign_keys.is_empty() {
            return Ok(());
        }
        let rules = engine.rules(&find(tx, &table.name)?)?;
        for key in &table.foreign_keys {
            if let Some(parent) = tx.catalog().table_by_id(key.parent).map(|parent| parent.incarnation) {
                tx.require_quiet(parent);
            }
        }
        for row in tx.view().rows(table.incarnation, RowId(0), RowId(u64::MAX), false)? {
            let row = row?;
            let values = rules.read(tx.view(), &row, |_| false)?;
            references::check_row(tx, &rules, &values)?;
        }
        Ok(())
    }
}
