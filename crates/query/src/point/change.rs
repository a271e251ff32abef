//! UPDATE and DELETE of the row with a primary key.

use super::{column, only_table};
use crate::dml::{Change, assigned_column, constant, returning_free, row_of_key};
use crate::engine::Engine;
use crate::outcome::{Outcome, Tag};
use crate::parse;
use crate::planner::Planner;
use crate::rules::RowExpr;
use crate::statement::Statement;
use nodedb_base::{Error, Result, RowId, Value};
use nodedb_store::catalog::Table;
use nodedb_store::{Row, Transaction};
use sqlparser::ast::{BinaryOperator, Delete, Expr, FromTable, TableWithJoins, Update};
use std::sync::Arc;

/// A change of the row that a key names.
#[derive(Debug)]
pub struct ChangePlan {
    table: Arc<Table>,
    key: Expr,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Update(Vec<(usize, Assigned)>),
    Delete,
}

#[derive(Debug)]
enum Assigned {
    Constant(Box<Expr>),
    Computed(RowExpr),
}

impl ChangePlan {
    /// The table.
    pub const fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Changes the row, if there is one.
    ///
    /// # Errors
    /// Those of UPDATE and DELETE.
    pub fn run(&self, engine: &Engine, statement: &Statement<'_>, tx: &mut Transaction) -> Result<Outcome> {
        let id = self.row_id(statement)?;
        let verb = match &self.action {
            Action::Update(_) => "UPDATE",
            Action::Delete => "DELETE",
        };
        let mut change = Change::new(engine, *statement, tx, &self.table.name, verb, false)?;
        let row = match id {
            Some(id) => change.tx.view().row(self.table.incarnation, id)?,
            None => None,
        };
        if let Some(row) = row {
            match &self.action {
                Action::Update(assignments) => {
                    let assigned = self.assigned(&change, &row, assignments)?;
                    change.update(&row, assigned)?;
                }
                Action::Delete => change.delete(&row)?,
            }
            change.finish()?;
        }
        Ok(Outcome::Done(Tag::rows_changed(verb, change.count)))
    }

    /// The row that the key names; `None` if no row can have it.
    fn row_id(&self, statement: &Statement<'_>) -> Result<Option<RowId>> {
        let column = self.table.row_key().and_then(|at| self.table.columns.get(at));
        let column = column.ok_or_else(|| Error::internal("a table without a row key on the point path"))?;
        match constant(&self.key, &column.ty, statement) {
            Some(Ok(Value::Null)) => Ok(None),
            Some(Ok(value)) => row_of_key(Some(&value)).map(Some),
            // A number that the column cannot hold is equal to none of its values.
            Some(Err(e)) if e.sqlstate().as_str() == "22003" => Ok(None),
            Some(Err(e)) => Err(e),
            None => Err(Error::internal("a key on the point path is no constant")),
        }
    }

    fn assigned(
        &self,
        change: &Change<'_>,
        row: &Row,
        assignments: &[(usize, Assigned)],
    ) -> Result<Vec<(usize, Value)>> {
        let mut old = None;
        let mut assigned = Vec::with_capacity(assignments.len());
        for (column, value) in assignments {
            let Some(definition) = self.table.columns.get(*column) else { continue };
            let value = match value {
                Assigned::Constant(expr) => constant(expr, &definition.ty, &change.statement)
                    .ok_or_else(|| Error::internal("a constant on the point path is none"))??,
                Assigned::Computed(expr) => {
                    if old.is_none() {
                        old = Some(change.rules.read(change.tx.view(), row, |_| true)?);
                    }
                    let value = expr.of_row(old.as_deref().unwrap_or_default())?;
                    crate::dml::store(value, &definition.ty, &change.statement)?
                }
            };
            assigned.push((*column, value));
        }
        Ok(assigned)
    }
}

/// The table of a statement, and the constant that its primary key is compared with.
fn keyed(from: &TableWithJoins, selection: Option<&Expr>, tx: &Transaction) -> Result<Option<(Arc<Table>, Expr)>> {
    let Some(table) = only_table(from, tx)? else { return Ok(None) };
    let (Some(key), Some(Expr::BinaryOp { left, op: BinaryOperator::Eq, right })) = (table.row_key(), selection) else {
        return Ok(None);
    };
    let constant = match (column(&table, left), column(&table, right)) {
        (Some(column), None) if column == key => right,
        (None, Some(column)) if column == key => left,
        _ => return Ok(None),
    };
    Ok(parse::literal(constant).is_some().then(|| (table, constant.as_ref().clone())))
}

/// The plan of an UPDATE.
///
/// # Errors
/// `Statement` if its names mean nothing.
pub fn update(engine: &Engine, update: &Update, tx: &Transaction) -> Result<Option<ChangePlan>> {
    if update.from.is_some() || !returning_free(update.returning.as_ref()) {
        return Ok(None);
    }
    let Some((table, key)) = keyed(&update.table, update.selection.as_ref(), tx)? else { return Ok(None) };
    let mut assigned: Vec<(usize, Assigned)> = Vec::new();
    for assignment in &update.assignments {
        let Ok(column) = assigned_column(&table, assignment) else { return Ok(None) };
        if assigned.iter().any(|(other, _)| *other == column) {
            return Ok(None);
        }
        let expr = crate::dml::insert::with_default(&table, column, assignment.value.clone())?;
        let value = if parse::literal(&expr).is_some() {
            Assigned::Constant(Box::new(expr))
        } else {
            let planner = Planner::without_tables(engine, &[]);
            match RowExpr::compile(&planner, &table, expr) {
                Ok(expr) if expr.check_immutable().is_ok() => Assigned::Computed(expr),
                _ => return Ok(None),
            }
        };
        assigned.push((column, value));
    }
    Ok(Some(ChangePlan { table, key, action: Action::Update(assigned) }))
}

/// The plan of a DELETE.
///
/// # Errors
/// `Statement` if its names mean nothing.
pub fn delete(delete: &Delete, tx: &Transaction) -> Result<Option<ChangePlan>> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [table] = from.as_slice() else { return Ok(None) };
    let plain = delete.using.is_none() && returning_free(delete.returning.as_ref());
    if !plain {
        return Ok(None);
    }
    let found = keyed(table, delete.selection.as_ref(), tx)?;
    Ok(found.map(|(table, key)| ChangePlan { table, key, action: Action::Delete }))
}
