//! The point path: rows by a key, straight from the store.
//!
//! It knows UPDATE and DELETE of the row with a primary key ([`change`]), SELECT of columns of one table where a key
//! gives just the wanted rows, in the wanted order ([`select`]), and SELECT of the rows nearest to a vector ([`nearest`]), also of those
//! that meet conditions ([`filtered`]). Everything else goes the general way; both give
//! the same answers.

mod change;
mod condition;
mod filtered;
mod keys;
mod nearest;
mod select;

use crate::engine::Engine;
use crate::outcome::Outcome;
use crate::parse;
use crate::statement::Statement;
use change::ChangePlan;
use nearest::NearestPlan;
use nodedb_base::Result;
use nodedb_store::Transaction;
use nodedb_store::catalog::Table;
use select::SelectPlan;
use sqlparser::ast::{Expr, Statement as Ast, TableFactor, TableWithJoins};
use std::sync::{Arc, Mutex, PoisonError};

/// The point plan of a statement, made once for each definition of its table.
#[derive(Debug, Default)]
pub struct PointCache(Mutex<Option<Cached>>);

#[derive(Clone, Debug)]
enum Cached {
    /// No point path, whatever the tables are.
    Never,
    Plan(Arc<Plan>),
}

#[derive(Debug)]
enum Plan {
    Select(SelectPlan),
    Nearest(Box<NearestPlan>),
    Change(ChangePlan),
}

impl PointCache {
    /// Runs the statement if it is one of these.
    pub fn run(
        &self,
        engine: &Engine,
        ast: &Ast,
        statement: &Statement<'_>,
        tx: &mut Transaction,
    ) -> Result<Option<Outcome>> {
        let Some(plan) = self.plan(engine, ast, tx)? else { return Ok(None) };
        match plan.as_ref() {
            Plan::Select(select) => select.run(statement, tx.view()),
            Plan::Nearest(nearest) => nearest.run(engine, statement, tx.view()),
            Plan::Change(change) => change.run(engine, statement, tx).map(Some),
        }
    }

    /// What EXPLAIN says of it.
    pub fn explain(
        &self,
        engine: &Engine,
        ast: &Ast,
        statement: &Statement<'_>,
        tx: &Transaction,
    ) -> Result<Option<String>> {
        let plan = self.plan(engine, ast, tx)?;
        match plan.as_deref() {
            Some(Plan::Select(select)) => select.explain(statement, tx.view()),
            Some(Plan::Nearest(nearest)) => Ok(nearest.explain(engine, statement, tx.view())),
            _ => Ok(None),
        }
    }

    fn plan(&self, engine: &Engine, ast: &Ast, tx: &Transaction) -> Result<Option<Arc<Plan>>> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match cached.as_ref() {
            Some(Cached::Never) => return Ok(None),
            Some(Cached::Plan(plan)) if is_current(plan.table(), tx) => return Ok(Some(plan.clone())),
            _ => {}
        }
        let plan = match ast {
            Ast::Query(query) => match select::plan(query, tx)? {
                Some(plan) => Some(Plan::Select(plan)),
                None => nearest::plan(query, tx)?.map(|plan| Plan::Nearest(Box::new(plan))),
            },
            Ast::Update(update) => change::update(engine, update, tx)?.map(Plan::Change),
            Ast::Delete(delete) => change::delete(delete, tx)?.map(Plan::Change),
            _ => None,
        };
        let plan = plan.map(Arc::new);
        *cached = Some(plan.clone().map_or(Cached::Never, Cached::Plan));
        Ok(plan)
    }
}

impl Plan {
    const fn table(&self) -> &Arc<Table> {
        match self {
            Self::Select(select) => select.table(),
            Self::Nearest(nearest) => nearest.table(),
            Self::Change(change) => change.table(),
        }
    }
}

/// Whether a table's definition is still the one that a plan was made for.
fn is_current(planned: &Arc<Table>, tx: &Transaction) -> bool {
    tx.catalog().table_by_id(planned.id).is_some_and(|table| Arc::ptr_eq(table, planned))
}

/// The one table that a statement is about, under its own name.
fn only_table(from: &TableWithJoins, tx: &Transaction) -> Result<Option<Arc<Table>>> {
    let TableFactor::Table { name, alias: None, args: None, sample: None, with_ordinality: false, .. } = &from.relation
    else {
        return Ok(None);
    };
    if !from.joins.is_empty() {
        return Ok(None);
    }
    Ok(tx.catalog().table(&parse::relation(name)?).cloned())
}

/// The column of a table that an expression is.
fn column(table: &Table, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Identifier(ident) => table.column(&parse::name(ident)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [of, ident] if parse::name(of) == table.name => table.column(&parse::name(ident)),
            _ => None,
        },
        Expr::Nested(inner) => column(table, inner),
        _ => None,
    }
}
