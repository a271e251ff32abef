//! Indexes that hold some rows only: `CREATE INDEX ... WHERE predicate`.
//!
//! Such an index may be asked where what the query says implies its predicate: each part of the predicate is said by the
//! query, too, or is a comparison that the query's own comparisons imply.

use crate::engine::Engine;
use crate::error::from_datafusion;
use crate::parse;
use crate::planner::Planner;
use crate::rules::{RowExpr, filter_form};
use crate::scan::bounds::Bounds;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, Volatility};
use nodedb_base::{Error, Incarnation, Result, Type, Value};
use nodedb_index::Predicate;
use nodedb_store::catalog::{DerivedIndex, Table, VectorClass};
use nodedb_store::row::value;
use sqlparser::ast;
use std::sync::Arc;

/// A predicate of an index, for its rows.
#[derive(Debug)]
pub struct RowPredicate {
    expr: RowExpr,
}

impl RowPredicate {
    /// The columns that it is about.
    pub fn columns(&self) -> impl Iterator<Item = (u16, &Type)> {
        self.expr.columns().iter().map(|(at, ty)| (*at as u16, ty))
    }
}

impl Predicate for RowPredicate {
    fn admits(&self, values: &[Option<&[u8]>]) -> Result<bool> {
        let mut row = Vec::new();
        for ((at, ty), bytes) in self.columns().zip(values) {
            row.resize(usize::from(at), Value::Null);
            row.push(bytes.map_or(Ok(Value::Null), |bytes| value(ty, bytes))?);
        }
        // Whoever asks for rows by the same expression is told what is wrong with it.
        Ok(matches!(self.expr.of_row(&row), Ok(Value::Bool(true))))
    }
}

/// The predicate of an index, if it has one.
///
/// # Errors
/// `Statement` if it can be none: it is not boolean, or is not the same for the same row each time.
pub fn row_predicate(engine: &Engine, table: &Table, index: &DerivedIndex) -> Result<Option<RowPredicate>> {
    let Some(text) = &index.predicate else { return Ok(None) };
    of_expression(engine, table, parse::expression(text)?).map(Some)
}

/// A predicate.
///
/// # Errors
/// As [`row_predicate`].
pub fn of_expression(engine: &Engine, table: &Table, expr: ast::Expr) -> Result<RowPredicate> {
    let planner = Planner::without_tables(engine, &[]);
    // Stable functions, too: what they say of a row may be something else for the next session.
    let varies = |expr: &Expr| match expr {
        Expr::ScalarFunction(call) => Ok(call.func.signature().volatility != Volatility::Immutable),
        _ => Ok(false),
    };
    if filter_form(&planner, table, expr.clone())?.exists(varies).map_err(from_datafusion)? {
        return Err(Error::statement("42P17", "functions in index predicate must be marked IMMUTABLE"));
    }
    let expr = RowExpr::compile(&planner, table, expr)?;
    match expr.ty()? {
        Type::Bool => Ok(RowPredicate { expr }),
        ty => {
            let name = crate::types::coerce::bare_name(&ty);
            Err(Error::statement("42804", format!("argument of WHERE must be type boolean, not type {name}")))
        }
    }
}

/// An index that holds some rows, as queries see it.
#[derive(Debug)]
pub struct PartialIndex {
    id: Incarnation,
    /// All of these hold for its rows, in the form that filters have when they reach a scan.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    expr: Expr,
    /// What it says of columns, if it says no more than that.
    bounds: Option<Bounds>,
}

impl PartialIndex {
    /// The indexes of a table that hold some rows only.
    ///
    /// # Errors
    /// As [`row_predicate`].
    pub fn of_table(planner: &Planner<'_>, table: &Table) -> Result<Arc<[Self]>> {
        let partial = table.derived.iter().filter_map(|index| Some((index.id, index.predicate.as_ref()?)));
        let compiled = partial.map(|(id, text)| {
            let expr = parse::expression(text)?;
            let parts = split_conjunction_owned(filter_form(planner, table, expr)?).into_iter();
            let part = |expr: Expr| Part { bounds: Bounds::just(table, &expr), expr };
            Ok(Self { id, parts: parts.map(part).collect() })
        });
        compiled.collect()
    }

    /// Names the index.
    pub const fn id(&self) -> Incarnation {
        self.id
    }

    /// Whether all rows that pass these filters, and are within these bounds, are in the index.
    pub fn covers(&self, filters: &[Expr], bounds: &Bounds) -> bool {
        self.parts.iter().all(|part| {
            let is_said = || filters.contains(&part.expr);
            part.bounds.as_ref().is_some_and(|own| bounds.imply(own)) || is_said()
        })
    }

    /// What is left of bounds for rows of the index: what its predicate does not imply.
    pub fn left_of(&self, bounds: &Bounds) -> Bounds {
        let own = self.parts.iter().filter_map(|part| part.bounds.as_ref());
        own.fold(bounds.clone(), |left, own| left.without_implied(own))
    }
}

/// The indexes of vectors in a column that may be asked under some bounds and filters: those that hold few rows first.
pub fn candidates(
    table: &Table,
    (column, class): (usize, VectorClass),
    implied: impl Fn(Incarnation) -> bool,
) -> impl Iterator<Item = &DerivedIndex> {
    let of =
        move |partial| table.vector_indexes(column, class).filter(move |index| index.predicate.is_some() == partial);
    of(true).filter(move |index| implied(index.id)).chain(of(false))
}
