//! Subqueries where `DataFusion` knows them only in other forms.

use super::{exprs, last_name};
use crate::parse;
use nodedb_base::{Error, Result};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut, visit_expressions,
};
use std::ops::ControlFlow;

/// A scalar subquery that is no aggregate becomes one, of its first two rows: `DataFusion` knows no other kind that
/// refers to the outer query, and takes a missing row for a value that cannot be NULL. Tells whether it did.
pub fn few_rows(query: &mut Query) -> bool {
    let plain =
        query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none() && query.with.is_none();
    let SetExpr::Select(select) = query.body.as_mut() else { return false };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty())
        && select.having.is_none()
        && select.distinct.is_none();
    if !plain || !ungrouped || select.projection.len() != 1 {
        return false;
    }
    if let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = select.projection.first_mut()
        && !is_aggregate(expr)
    {
        *expr = exprs::call("nodedb_few", vec![expr.clone()]);
        return true;
    }
    false
}

/// Aggregates, by name. One that is missing here is refused as nested.
const AGGREGATES: [&str; 32] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "every",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "corr",
    "covar_pop",
    "covar_samp",
    "median",
    "bit_and",
    "bit_or",
    "bit_xor",
    "percentile_cont",
    "approx_distinct",
    "regr_count",
    "regr_slope",
    "regr_intercept",
    "regr_r2",
    "regr_avgx",
    "regr_avgy",
    "nodedb_few",
];

fn is_aggregate(expr: &Expr) -> bool {
    let mut found = false;
    let _ = visit_expressions(expr, |expr| {
        if let Expr::Function(function) = expr {
            let name = last_name(&function.name);
            found |= AGGREGATES.contains(&name.as_str()) || function.over.is_some() || name == "unnest";
            // The function of that name gives rows.
            found |= name == "generate_series";
        }
        ControlFlow::<()>::Continue(())
    });
    found
}

/// EXISTS needs no columns.
pub fn exists(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if select.projection.is_empty() {
        select.projection.push(SelectItem::UnnamedExpr(exprs::number("1")));
    }
}

/// EXISTS and IN among the columns of a SELECT become scalar subqueries.
pub fn in_items(select: &mut Select) -> Result<()> {
    if matches!(&select.distinct, Some(Distinct::On(_))) {
        return Ok(());
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
            && let ControlFlow::Break(error) = VisitMut::visit(expr, &mut Items { depth: 0 })
        {
            return Err(error);
        }
    }
    Ok(())
}

/// How many rows a query has; within the query itself where that can be, since it may refer to the outer one.
fn counted(query: &Query) -> String {
    let mut inner = query.clone();
    if few_rows(&mut inner)
        && let SetExpr::Select(select) = inner.body.as_mut()
        && let Ok(count) = parse::expression("count(*)")
    {
        select.projection = vec![SelectItem::UnnamedExpr(count)];
        return format!("({inner})");
    }
    format!("(SELECT count(*) FROM ({query}) AS \"nodedb.q\")")
}

struct Items {
    depth: usize,
}

impl VisitorMut for Items {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let text = match expr {
            Expr::Exists { subquery, negated } => {
                exists(subquery);
                format!("({} {} 0)", counted(subquery), if *negated { "=" } else { ">" })
            }
            Expr::InSubquery { expr, subquery, negated } if !matches!(expr.as_ref(), Expr::Tuple(_)) => {
                membership(expr, subquery, *negated)
            }
            _ => return ControlFlow::Continue(()),
        };
        match parse::expression(&text) {
            Ok(new) => *expr = new,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// `x IN (SELECT ...)` by counting: the same values, all values, NULLs.
pub fn membership(expr: &Expr, query: &Query, negated: bool) -> String {
    let of = |what: &str| format!("(SELECT {what} FROM ({query}) AS \"nodedb.q\"(\"nodedb.c\")");
    let (all, nulls) = (of("count(*)"), of("count(*) - count(\"nodedb.c\")"));
    let (yes, no) = if negated { ("false", "true") } else { ("true", "false") };
    format!(
        "(CASE WHEN {all} WHERE \"nodedb.c\" = ({expr})) > 0 THEN {yes} WHEN {all}) = 0 THEN {no} \
         WHEN ({expr}) IS NULL OR {nulls}) > 0 THEN NULL ELSE {no} END)"
    )
}
