//! Explicit casts become PostgreSQL's: before types are coerced, so that what `DataFusion` adds stays its own.

use crate::functions::{cast_expr, open_cast_expr};
use crate::types::arrow::type_of_field;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result as DfResult};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use nodedb_base::Type;
use std::collections::HashMap;

/// Metadata of the field of a cast whose type was written without length, precision or dimensions.
const OPEN: &str = "nodedb.open";

/// The field that stands for a type in a cast.
#[must_use]
pub fn cast_field(ty: &Type, open: bool) -> Field {
    let field = crate::types::arrow::field("", ty, true);
    if !open {
        return field;
    }
    let metadata: HashMap<_, _> = field.metadata().clone().into_iter().chain([(OPEN.into(), String::new())]).collect();
    field.with_metadata(metadata)
}

/// Rewrites the casts of a plan.
#[derive(Debug)]
pub struct PgCasts;

impl AnalyzerRule for PgCasts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| rewrite(expr, schema))
    }

    fn name(&self) -> &'static str {
        "pg_casts"
    }
}

/// Rewrites all expressions of a plan, its subqueries included, from the leaves up. `rewrite` gets the schema of the
/// plan's inputs; the names of columns stay.
///
/// # Errors
/// What `rewrite` returns.
pub fn rewrite_expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> DfResult<Transformed<Expr>>,
) -> DfResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    })
    .data()
}

/// Rewrites the casts of one expression.
///
/// # Errors
/// If the type of a part cannot be told.
pub fn rewrite_casts(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    expr.transform_up(|expr| rewrite(expr, schema)).data()
}

fn rewrite(expr: Expr, schema: &dyn ExprSchema) -> DfResult<Transformed<Expr>> {
    let Expr::Cast(Cast { expr: inner, field }) = expr else { return Ok(Transformed::no(expr)) };
    let from = match inner.as_ref() {
        // A parameter has no type before it has a value.
        Expr::Placeholder(_) => DataType::Null,
        other => other.get_type(schema)?,
    };
    if is_exact(&from, &field) {
        return Ok(Transformed::no(Expr::Cast(Cast { expr: inner, field })));
    }
    let to = type_of_field(&field).map_err(crate::error::to_datafusion)?;
    let cast = if field.metadata().contains_key(OPEN) { open_cast_expr } else { cast_expr };
    Ok(Transformed::yes(cast(*inner, to)))
}

/// Casts that `DataFusion` does as PostgreSQL does: those that lose nothing.
fn is_exact(from: &DataType, field: &FieldRef) -> bool {
    use DataType::{Float32, Float64, Int16, Int32, Int64};
    if field.metadata().contains_key(OPEN) || !field.metadata().is_empty() {
        return false;
    }
    let to = field.data_type();
    (from == to && !matches!(to, DataType::Null))
        || matches!(
            (from, to),
            (Int16, Int32 | Int64 | Float32 | Float64) | (Int32, Int64 | Float64) | (Float32, Float64)
        )
}
