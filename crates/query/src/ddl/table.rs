//! CREATE TABLE.

use super::{Entries, Ids, already_exists, check, done, index::of_constraint};
use crate::engine::Engine;
use crate::outcome::Outcome;
use crate::parse;
use crate::planner::Planner;
use crate::rules::RowExpr;
use nodedb_base::{Error, Incarnation, Result, Type};
use nodedb_store::catalog::{Check, Column, ForeignKey, IndexSource, PUBLIC_SCHEMA, PrimaryKey, Table};
use nodedb_store::{Transaction, keys};
use sqlparser::ast::{
    CheckConstraint, ColumnDef, ColumnOption, CreateTable, Expr, ForeignKeyConstraint, Ident, IndexColumn,
    NullsDistinctOption, ReferentialAction, Statement as Ast, TableConstraint,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most columns of a table, as in PostgreSQL.
const MAX_COLUMNS: usize = 1600;

/// Runs a CREATE TABLE.
pub fn run(engine: &Engine, tx: &mut Transaction, create: &CreateTable) -> Result<Outcome> {
    check(tx, "CREATE TABLE")?;
    let name = parse::relation(&create.name)?;
    if tx.catalog().has_relation(&name) {
        return if create.if_not_exists { Ok(done("CREATE TABLE")) } else { Err(already_exists(&name)) };
    }
    let mut build = Build::new(engine, tx, name);
    for column in &create.columns {
        build.column(column)?;
    }
    if build.table.columns.len() > MAX_COLUMNS {
        return Err(Error::statement("54011", format!("tables can have at most {MAX_COLUMNS} columns")));
    }
    for column in &create.columns {
        build.column_constraints(column)?;
    }
    for constraint in &create.constraints {
        build.constraint(constraint)?;
    }
    build.compile_expressions()?;
    let entries = build.entries()?;
    tx.define(entries)?;
    Ok(done("CREATE TABLE"))
}

struct Build<'a> {
    engine: &'a Engine,
    tx: &'a Transaction,
    ids: Ids,
    table: Table,
    /// Parents whose definition must not change before this commits.
    parents: Vec<Arc<Table>>,
}

impl<'a> Build<'a> {
    fn new(engine: &'a Engine, tx: &'a Transaction, name: String) -> Self {
        let mut ids = Ids::new(tx.catalog());
        let table = Table {
            id: ids.take(),
            schema: PUBLIC_SCHEMA,
            name,
            incarnation: Incarnation(ids.take()),
            columns: Vec::new(),
            primary_key: None,
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            derived: Vec::new(),
        };
        Self { engine, tx, ids, table, parents: Vec::new() }
    }

    fn column(&mut self, column: &ColumnDef) -> Result<()> {
        let name = parse::name(&column.name);
        if self.table.column(&name).is_some() {
            return Err(Error::statement("42701", format!("column \"{name}\" specified more than once")));
        }
        let ty = parse::sql_type(&column.data_type)?;
        let (mut not_null, mut default) = (None, None);
        for option in &column.options {
            match &option.option {
                ColumnOption::Null if not_null != Some(true) => not_null = Some(false),
                ColumnOption::NotNull if not_null != Some(false) => not_null = Some(true),
                ColumnOption::Null | ColumnOption::NotNull => {
                    let message = format!(
                        "conflicting NULL/NOT NULL declarations for column \"{name}\" of table \"{}\"",
                        self.table.name
                    );
                    return Err(Error::statement("42601", message));
                }
                ColumnOption::Default(expr) => default = Some(expr.to_string()),
                ColumnOption::PrimaryKey(_)
                | ColumnOption::Unique(_)
                | ColumnOption::ForeignKey(_)
                | ColumnOption::Check(_) => {}
                other => return Err(Error::unsupported(format!("column option {other}"))),
            }
        }
        self.table.columns.push(Column { name, ty, not_null: not_null == Some(true), default });
        Ok(())
    }

    fn column_constraints(&mut self, column: &ColumnDef) -> Result<()> {
        let own = std::slice::from_ref(&column.name);
        for option in &column.options {
            let name = option.name.as_ref().map(parse::name);
            match &option.option {
                ColumnOption::PrimaryKey(key) => {
                    plain_key(key.characteristics.is_some(), !key.index_options.is_empty())?;
                    self.primary_key(name, &self.numbers(own)?)?;
                }
                ColumnOption::Unique(key) => {
                    plain_key(key.characteristics.is_some(), key.nulls_distinct == NullsDistinctOption::NotDistinct)?;
                    self.unique(name, &self.numbers(own)?)?;
                }
                ColumnOption::ForeignKey(key) => self.foreign_key(name, &self.numbers(own)?, key)?,
                ColumnOption::Check(check) => {
                    let base = format!("{}_{}_check", self.table.name, parse::name(&column.name));
                    self.check(name.or_else(|| check.name.as_ref().map(parse::name)), &base, check)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn constraint(&mut self, constraint: &TableConstraint) -> Result<()> {
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                plain_key(key.characteristics.is_some(), !key.index_options.is_empty())?;
                let columns = self.numbers(&plain_columns(&key.columns)?)?;
                self.primary_key(key.name.as_ref().map(parse::name), &columns)
            }
            TableConstraint::Unique(key) => {
                plain_key(key.characteristics.is_some(), key.nulls_distinct == NullsDistinctOption::NotDistinct)?;
                let columns = self.numbers(&plain_columns(&key.columns)?)?;
                self.unique(key.name.as_ref().map(parse::name), &columns)
            }
            TableConstraint::ForeignKey(key) => {
                let columns = self.numbers(&key.columns)?;
                self.foreign_key(key.name.as_ref().map(parse::name), &columns, key)
            }
            TableConstraint::Check(check) => {
                let base = format!("{}_check", self.table.name);
                self.check(check.name.as_ref().map(parse::name), &base, check)
            }
            other => Err(Error::unsupported(format!("constraint {other}"))),
        }
    }

    fn numbers(&self, names: &[Ident]) -> Result<Vec<u16>> {
        let mut columns = Vec::new();
        for name in names.iter().map(parse::name) {
            let column = self
                .table
                .column(&name)
                .ok_or_else(|| Error::statement("42703", format!("column \"{name}\" named in key does not exist")))?;
            if columns.contains(&(column as u16)) {
                return Err(Error::statement("42701", format!("column \"{name}\" appears twice in a constraint")));
            }
            columns.push(column as u16);
        }
        Ok(columns)
    }

    fn names(&self, columns: &[u16]) -> String {
        let names = columns.iter().filter_map(|at| self.table.columns.get(usize::from(*at)));
        names.map(|column| column.name.as_str()).collect::<Vec<_>>().join("_")
    }

    /// A name for something of this table, given or made up.
    fn free_name(&self, given: Option<String>, base: &str) -> Result<String> {
        let own = self.own_names();
        match given {
            Some(name) if own.contains(&name.as_str()) || self.tx.catalog().has_relation(&name) => {
                Err(already_exists(&name))
            }
            Some(name) => Ok(name),
            None => Ok(self.tx.catalog().free_name(base, &own)),
        }
    }

    fn own_names(&self) -> Vec<&str> {
        let indexes = self.table.indexes.iter().map(|index| index.name.as_str());
        let keys = self.table.foreign_keys.iter().map(|key| key.name.as_str());
        let checks = self.table.checks.iter().map(|check| check.name.as_str());
        let primary = self.table.primary_key.iter().map(|key| key.name.as_str());
        std::iter::once(self.table.name.as_str()).chain(indexes).chain(keys).chain(checks).chain(primary).collect()
    }

    fn primary_key(&mut self, name: Option<String>, columns: &[u16]) -> Result<()> {
        if self.table.primary_key.is_some() {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", self.table.name);
            return Err(Error::statement("42P16", message));
        }
        let name = self.free_name(name, &format!("{}_pkey", self.table.name))?;
        for at in columns {
            if let Some(column) = self.table.columns.get_mut(usize::from(*at)) {
                column.not_null = true;
            }
        }
        let single = match columns {
            [at] => self.table.columns.get(usize::from(*at)).map(|column| &column.ty),
            _ => None,
        };
        let index = if matches!(single, Some(Type::Int2 | Type::Int4 | Type::Int8)) {
            None
        } else {
            let index = of_constraint(self.ids.take(), name.clone(), true, &self.table, columns)?;
            let id = index.id;
            self.table.indexes.push(index);
            Some(id)
        };
        self.table.primary_key = Some(PrimaryKey { name, columns: columns.to_vec(), index });
        Ok(())
    }

    fn unique(&mut self, name: Option<String>, columns: &[u16]) -> Result<()> {
        let name = self.free_name(name, &format!("{}_{}_key", self.table.name, self.names(columns)))?;
        let index = of_constraint(self.ids.take(), name, true, &self.table, columns)?;
        self.table.indexes.push(index);
        Ok(())
    }

    fn check(&mut self, name: Option<String>, base: &str, check: &CheckConstraint) -> Result<()> {
        if check.enforced.is_some() {
            return Err(Error::unsupported("CHECK ... [NOT] ENFORCED"));
        }
        let name = self.free_name(name, base)?;
        self.table.checks.push(Check { name, expression: check.expr.to_string() });
        Ok(())
    }

    fn foreign_key(&mut self, name: Option<String>, columns: &[u16], key: &ForeignKeyConstraint) -> Result<()> {
        for action in [key.on_delete, key.on_update].into_iter().flatten() {
            if !matches!(action, ReferentialAction::NoAction | ReferentialAction::Restrict) {
                return Err(Error::unsupported(format!("FOREIGN KEY ... {action}")));
            }
        }
        if key.characteristics.is_some() || key.match_kind.is_some() || key.index_name.is_some() {
            return Err(Error::unsupported("a FOREIGN KEY with MATCH or DEFERRABLE"));
        }
        let parent_name = parse::relation(&key.foreign_table)?;
        let parent = self.parent(&parent_name)?;
        let (parent_columns, parent_index) = referenced(&parent, &key.referred_columns)?;
        self.check_types(columns, &parent, &parent_columns, parent_index.is_none())?;
        let name = self.free_name(name, &format!("{}_{}_fkey", self.table.name, self.names(columns)))?;
        let index_name = self.free_name(None, &format!("{}_{}_fkey_idx", self.table.name, self.names(columns)))?;
        let index = of_constraint(self.ids.take(), index_name, false, &self.table, columns)?;
        self.table.foreign_keys.push(ForeignKey {
            name,
            columns: columns.to_vec(),
            parent: parent.id,
            parent_columns,
            parent_index,
            index: index.id,
        });
        self.table.indexes.push(index);
        if parent.id != self.table.id {
            self.parents.push(parent);
        }
        Ok(())
    }

    fn parent(&self, name: &str) -> Result<Arc<Table>> {
        if name == self.table.name {
            return Ok(Arc::new(self.table.clone()));
        }
        self.tx.catalog().table(name).cloned().ok_or_else(|| crate::planner::no_relation(name))
    }

    fn check_types(&self, columns: &[u16], parent: &Table, theirs: &[u16], row_key: bool) -> Result<()> {
        if columns.len() != theirs.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(Error::statement("42830", message));
        }
        for (own, their) in columns.iter().zip(theirs) {
            let own = self.table.columns.get(usize::from(*own));
            let their = parent.columns.get(usize::from(*their));
            let (Some(own), Some(their)) = (own, their) else { continue };
            let integer = matches!(own.ty, Type::Int2 | Type::Int4 | Type::Int8);
            if !(own.ty == their.ty || (row_key && integer)) {
                let message = format!(
                    "foreign key: column \"{}\" is {}, but \"{}\" is {}",
                    own.name, own.ty, their.name, their.ty
                );
                return Err(Error::statement("42804", message).with_hint("Give both columns the same type."));
            }
        }
        Ok(())
    }

    /// Defaults and checks must mean something now, not at the first row.
    fn compile_expressions(&self) -> Result<()> {
        let planner = Planner::without_tables(self.engine, &[]);
        for check in &self.table.checks {
            let expr = RowExpr::compile(&planner, &self.table, parse::expression(&check.expression)?)?;
            if expr.ty()? != Type::Bool {
                let message = format!("argument of CHECK must be type boolean, not type {}", expr.ty()?);
                return Err(Error::statement("42804", message));
            }
        }
        let bare = Table { columns: Vec::new(), ..self.table.clone() };
        for column in &self.table.columns {
            let Some(default) = &column.default else { continue };
            let expr = parse::expression(default)?;
            if let Some(parse::LiteralText::Unknown(text)) = parse::literal(&expr) {
                crate::types::parse(&text, &column.ty, &crate::types::TextStyle::default())?;
            } else if parse::literal(&expr).is_none() {
                RowExpr::compile(&planner, &bare, expr)?;
            }
        }
        Ok(())
    }

    fn entries(self) -> Result<Entries> {
        let mut entries = vec![self.ids.entry(), (keys::table(self.table.id), Some(self.table.encode()?))];
        for parent in self.parents {
            // The same definition again: transactions that know nothing of this child must start anew.
            entries.push((keys::table(parent.id), Some(parent.encode()?)));
        }
        Ok(entries)
    }
}

/// The columns of a parent that a foreign key names, and the key that they are.
fn referenced(parent: &Table, names: &[Ident]) -> Result<(Vec<u16>, Option<Incarnation>)> {
    if names.is_empty() {
        let primary = parent.primary_key.as_ref().ok_or_else(|| {
            Error::statement("42704", format!("there is no primary key for referenced table \"{}\"", parent.name))
        })?;
        return Ok((primary.columns.clone(), primary.index));
    }
    let mut columns = Vec::new();
    for name in names.iter().map(parse::name) {
        let message = || format!("column \"{name}\" referenced in foreign key constraint does not exist");
        columns.push(parent.column(&name).ok_or_else(|| Error::statement("42703", message()))? as u16);
    }
    if let Some(primary) = parent.primary_key.as_ref().filter(|key| key.index.is_none() && key.columns == columns) {
        return Ok((primary.columns.clone(), None));
    }
    let same: BTreeSet<_> = columns.iter().copied().collect();
    for index in parent.indexes.iter().filter(|index| index.unique) {
        let own: Option<Vec<u16>> = index
            .columns
            .iter()
            .map(|column| match column.source {
                IndexSource::Column(at) if column.order == Default::default() => Some(at),
                _ => None,
            })
            .collect();
        if own.as_ref() == Some(&columns) {
            return Ok((columns, Some(index.id)));
        }
        if own.is_some_and(|own| own.iter().copied().collect::<BTreeSet<_>>() == same) {
            return Err(Error::unsupported("a foreign key whose columns stand in another order than those of the key"));
        }
    }
    let message = format!("there is no unique constraint matching given keys for referenced table \"{}\"", parent.name);
    Err(Error::statement("42830", message))
}

fn plain_columns(columns: &[IndexColumn]) -> Result<Vec<Ident>> {
    columns
        .iter()
        .map(|column| match &column.column.expr {
            Expr::Identifier(ident) => Ok(ident.clone()),
            other => Err(Error::unsupported(format!("a constraint over {other}"))),
        })
        .collect()
}

fn plain_key(characteristics: bool, options: bool) -> Result<()> {
    if characteristics || options {
        return Err(Error::unsupported("a key with DEFERRABLE, NULLS NOT DISTINCT or index options"));
    }
    Ok(())
}

/// Fails if a part of the statement would be ignored.
pub fn expect_known(create: &CreateTable) -> Result<()> {
    let Some(Ast::CreateTable(template)) = parse::statement("CREATE TABLE t (a int)")? else {
        return Err(Error::internal("the template of CREATE TABLE is none"));
    };
    let known = CreateTable {
        name: create.name.clone(),
        columns: create.columns.clone(),
        constraints: create.constraints.clone(),
        if_not_exists: create.if_not_exists,
        ..template
    };
    parse::expect_known("CREATE TABLE", create, &known)
}
