//! Numbers as PostgreSQL counts them: integer literals are `integer` when they fit, and nothing overflows, or is
//! divided by zero, in silence.

use crate::casts::rewrite_expressions;
use crate::functions::checked_call;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{ExprSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Makes the integer literals of a plan as narrow as PostgreSQL does.
///
/// A plan that has its types written down in places is left alone: a recursive query, and one with references
/// to a `bigint` of an outer query.
///
/// # Errors
/// If the types of a part do not fit any more.
pub fn narrow_literals(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    if is_fixed(&plan)? {
        return Ok(plan);
    }
    map_plan(plan, &narrow)
}

/// Changes the expressions of a plan, and then what it says about their types.
///
/// # Errors
/// Those of `change`, and if the types of a part do not fit any more.
pub fn map_plan(plan: LogicalPlan, change: &dyn Fn(Expr) -> DfResult<Transformed<Expr>>) -> DfResult<LogicalPlan> {
    let mapped = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Values(values) => {
            let rows = values.values.into_iter().map(|row| row.into_iter().map(|e| change(e).data()).collect());
            let rows = rows.collect::<DfResult<Vec<_>>>()?;
            LogicalPlanBuilder::values(rows)?.build().map(Transformed::yes)
        }
        LogicalPlan::Union(union) => {
            Union::try_new_with_loose_types(union.inputs).map(LogicalPlan::Union).map(Transformed::yes)
        }
        plan => {
            let names = NamePreserver::new(&plan);
            let plan = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(change(expr)?.update_data(|expr| name.restore(expr)))
            })?;
            plan.data.recompute_schema().map(Transformed::yes)
        }
    });
    mapped.data()
}

fn is_fixed(plan: &LogicalPlan) -> DfResult<bool> {
    let mut fixed = false;
    plan.apply_with_subqueries(|plan| {
        fixed |= matches!(plan, LogicalPlan::RecursiveQuery(_));
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                fixed |= matches!(expr, Expr::OuterReferenceColumn(field, _) if *field.data_type() == DataType::Int64);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(fixed)
}

/// Makes the integer literals of an expression as narrow as PostgreSQL does.
///
/// # Errors
/// None.
pub fn narrow(expr: Expr) -> DfResult<Transformed<Expr>> {
    expr.transform_down(|expr| {
        Ok(match expr {
            Expr::Literal(ScalarValue::Int64(Some(n)), metadata) => match i32::try_from(n) {
                Ok(n) => Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(n)), metadata)),
                Err(_) => Transformed::no(Expr::Literal(ScalarValue::Int64(Some(n)), metadata)),
            },
            Expr::Literal(ScalarValue::UInt64(Some(n)), metadata) => {
                Transformed::yes(Expr::Literal(ScalarValue::Decimal128(Some(n.into()), 38, 0), metadata))
            }
            // count(*) is known by its literal.
            expr if is_count(&expr) => Transformed::new(expr, false, TreeNodeRecursion::Jump),
            expr => Transformed::no(expr),
        })
    })
}

fn is_count(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(call) => call.func.name() == "count",
        Expr::WindowFunction(call) => {
            matches!(&call.fun, WindowFunctionDefinition::AggregateUDF(function) if function.name() == "count")
        }
        _ => false,
    }
}

/// Puts arithmetic that fails where it overflows in the place of `DataFusion`'s, which wraps around. It needs the
/// final types, so it comes after the rule that finds them.
#[derive(Debug)]
pub struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| check(expr, schema))
    }

    fn name(&self) -> &'static str {
        "checked_arithmetic"
    }
}

/// The same for one expression.
///
/// # Errors
/// If the type of a part cannot be told.
pub fn check_arithmetic(expr: Expr, schema: &dyn ExprSchema) -> DfResult<Expr> {
    expr.transform_up(|expr| check(expr, schema)).data()
}

fn check(expr: Expr, schema: &dyn ExprSchema) -> DfResult<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Ok(Transformed::no(expr)) };
    let types = (left.get_type(schema)?, right.get_type(schema)?);
    let integers = types.0 == types.1 && types.0.is_signed_integer();
    let floats = types.0 == types.1 && matches!(types.0, DataType::Float32 | DataType::Float64);
    let checked = match op {
        Operator::Plus | Operator::Minus | Operator::Multiply => integers,
        Operator::Divide => integers || floats,
        _ => false,
    };
    if !checked {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    }
    Ok(Transformed::yes(checked_call(op, *left, *right)))
}

/// `DataFusion`'s rules, and ours around them.
pub fn with_checks(rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>>) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    rules.into_iter().chain(std::iter::once(Arc::new(CheckedArithmetic) as _)).collect()
}
