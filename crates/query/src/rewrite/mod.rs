//! From PostgreSQL's syntax to what `DataFusion`'s planner understands in the same way: the parts that it would
//! refuse, or take for something else.

mod exprs;
mod indexed;
mod names;
mod subqueries;
mod tables;
mod targets;

use nodedb_base::{Error, Result};
use sqlparser::ast::{
    Expr, Ident, LimitClause, ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier,
    TableFactor, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

pub use exprs::call;
pub use indexed::only_indexed;
pub use names::shown;
pub use targets::{put, targets};

/// Rewrites a query.
///
/// # Errors
/// `Statement` for what cannot be said, in PostgreSQL or here.
pub fn query(query: &mut Query) -> Result<()> {
    ended(VisitMut::visit(query, &mut Walk { depth: 0 }))
}

/// Rewrites an expression.
///
/// # Errors
/// As [`query`].
pub fn expression(expr: &mut Expr) -> Result<()> {
    ended(VisitMut::visit(expr, &mut Walk { depth: 1 }))
}

fn ended(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Walk {
    /// How many queries we are within.
    depth: usize,
}

impl VisitorMut for Walk {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        fetch_as_limit(query)?;
        let before = columns_of(query);
        set_expr(&mut query.body, self.depth == 0)?;
        order_by_names(query, &before);
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        flow(tables::check_from(select).and_then(|()| subqueries::in_items(select)))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        tables::name_columns(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        flow(exprs::rewrite_quantified(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        flow(exprs::rewrite(expr))
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// Names the columns of a body; `outermost` ones are seen by nobody but the client.
fn set_expr(body: &mut SetExpr, outermost: bool) -> ControlFlow<Error> {
    match body {
        SetExpr::Select(select) => {
            names::name_items(select, outermost);
            ControlFlow::Continue(())
        }
        SetExpr::SetOperation { left, op, set_quantifier, right } => {
            if *set_quantifier == SetQuantifier::All && *op != SetOperator::Union {
                return ControlFlow::Break(Error::unsupported(format!("{op} ALL")));
            }
            set_expr(left, false)?;
            set_expr(right, false)
        }
        // A query in parentheses comes by itself.
        _ => ControlFlow::Continue(()),
    }
}

/// The columns of a query that is one SELECT.
fn columns_of(query: &Query) -> Vec<Option<Expr>> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Vec::new() };
    let expr = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) if query.order_by.is_some() => Some(expr.clone()),
        _ => None,
    };
    select.projection.iter().map(expr).collect()
}

/// What ORDER BY says as a column says it is that column, by the name that it got.
fn order_by_names(query: &mut Query, before: &[Option<Expr>]) {
    let (SetExpr::Select(select), Some(order_by)) = (query.body.as_ref(), &mut query.order_by) else { return };
    let OrderByKind::Expressions(orders) = &mut order_by.kind else { return };
    for order in orders {
        let same = before.iter().position(|expr| expr.as_ref() == Some(&order.expr));
        if let Some(SelectItem::ExprWithAlias { alias, .. }) = same.and_then(|at| select.projection.get(at)) {
            order.expr = Expr::Identifier(alias.clone());
        }
    }
}

/// `FETCH FIRST n ROWS ONLY` is LIMIT n.
fn fetch_as_limit(query: &mut Query) -> ControlFlow<Error> {
    let Some(fetch) = query.fetch.take() else { return ControlFlow::Continue(()) };
    if fetch.with_ties || fetch.percent {
        return ControlFlow::Break(Error::unsupported(fetch));
    }
    let count = fetch.quantity.unwrap_or_else(|| exprs::number("1"));
    match query.limit_clause.get_or_insert(LimitClause::LimitOffset { limit: None, offset: None, limit_by: Vec::new() })
    {
        LimitClause::LimitOffset { limit: limit @ None, .. } => *limit = Some(count),
        _ => return ControlFlow::Break(Error::statement("42601", "multiple LIMIT clauses not allowed")),
    }
    ControlFlow::Continue(())
}

/// The last part of a name, folded.
fn last_name(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(crate::parse::name).unwrap_or_default()
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}
