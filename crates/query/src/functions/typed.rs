//! Operators whose meaning depends on the types of both sides: times and intervals, numerics, and comparisons
//! that there are none of.

use super::arith::{Exact, exact_call, exact_scale};
use super::cast::cast_expr;
use super::error::to_datafusion;
use super::times;
use crate::types::arrow::type_of;
use crate::types::coerce::bare_name;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ScalarUDF, cast, lit};
use nodedb_base::{Error, Type};
use sqlparser::ast::BinaryOperator;
use std::sync::{Arc, LazyLock};

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(times::functions);

/// Beyond these digits behind the point, a product is rounded: there is room for 38 in all.
const MAX_PRODUCT_SCALE: u8 = 20;

/// Plans an operator over operands of known types.
pub(super) fn plan(expr: RawBinaryExpr, left: &DataType, right: &DataType) -> Result<PlannerResult<RawBinaryExpr>> {
    use BinaryOperator::{Divide, Minus, Multiply, Plus};
    if is_comparison(&expr.op) {
        return comparison(expr, left, right);
    }
    let (stamps, intervals) =
        ((times::is_stamp(left), times::is_stamp(right)), (is_interval(left), is_interval(right)));
    let planned = match expr.op {
        Plus if stamps.0 && intervals.1 => call("nodedb_stamp_add", expr.left, expr.right),
        Plus if intervals.0 && stamps.1 => call("nodedb_stamp_add", expr.right, expr.left),
        Minus if stamps.0 && intervals.1 => {
            let back = call("nodedb_interval_scale", expr.right, lit(-1.0))?;
            call("nodedb_stamp_add", expr.left, back)
        }
        Minus if stamps == (true, true) && (left, right) != (&DataType::Date32, &DataType::Date32) => {
            let (a, b) = same_zone(expr, left, right);
            call("nodedb_stamp_diff", a, b)
        }
        Multiply if intervals.0 && right.is_numeric() => call("nodedb_interval_scale", expr.left, expr.right),
        Multiply if intervals.1 && left.is_numeric() => call("nodedb_interval_scale", expr.right, expr.left),
        Divide if intervals.0 && right.is_numeric() => {
            let inverse = lit(1.0) / cast(expr.right, DataType::Float64);
            call("nodedb_interval_scale", expr.left, inverse)
        }
        Divide | Multiply if has_numeric(left, right) => {
            let what = match expr.op {
                Divide => Exact::Divide,
                _ if product_scale(left, right) > MAX_PRODUCT_SCALE => Exact::Multiply,
                _ => return Ok(PlannerResult::Original(expr)),
            };
            Ok(exact_call(what, vec![expr.left, expr.right]))
        }
        _ => return Ok(PlannerResult::Original(expr)),
    };
    planned.map(PlannerResult::Planned)
}

pub(super) const fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

const fn is_interval(ty: &DataType) -> bool {
    matches!(ty, DataType::Interval(_))
}

/// Whether both are exact numbers, and not both integers.
fn has_numeric(left: &DataType, right: &DataType) -> bool {
    let decimal = |ty: &DataType| matches!(ty, DataType::Decimal128(..));
    exact_scale(left).is_some() && exact_scale(right).is_some() && (decimal(left) || decimal(right))
}

fn product_scale(left: &DataType, right: &DataType) -> u8 {
    exact_scale(left).unwrap_or(0).saturating_add(exact_scale(right).unwrap_or(0))
}

fn same_zone(expr: RawBinaryExpr, left: &DataType, right: &DataType) -> (Expr, Expr) {
    let zoned = |ty: &DataType| matches!(ty, DataType::Timestamp(_, Some(_)));
    let (a, b) = (zoned(left), zoned(right));
    let shift = |expr, already: bool| if (a || b) && !already { cast_expr(expr, Type::Timestamptz) } else { expr };
    (shift(expr.left, a), shift(expr.right, b))
}

fn call(name: &str, a: Expr, b: Expr) -> Result<Expr> {
    of(name, vec![a, b])
}

fn of(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let function = FUNCTIONS.iter().find(|function| function.name() == name);
    let function = function.ok_or_else(|| to_datafusion(Error::internal(format!("the function {name} is missing"))))?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), args)))
}

/// Kinds of types whose values can be compared with each other.
fn kind(ty: &DataType) -> Option<u8> {
    Some(match type_of(ty).ok()? {
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 | Type::Numeric { .. } => 0,
        Type::Text | Type::Varchar(_) => 1,
        Type::Bool => 2,
        Type::Date | Type::Timestamp | Type::Timestamptz => 3,
        Type::Time => 4,
        Type::Interval => 5,
        Type::Jsonb => 6,
        Type::Uuid => 7,
        Type::Bytea => 8,
        Type::Array(_) => 9,
        Type::Vector(_) => 10,
        Type::Halfvec(_) => 11,
        Type::Sparsevec(_) => 12,
        Type::Bit(_) | Type::Varbit(_) => 13,
    })
}

fn comparison(mut expr: RawBinaryExpr, left: &DataType, right: &DataType) -> Result<PlannerResult<RawBinaryExpr>> {
    let (Some(a), Some(b)) = (kind(left), kind(right)) else { return Ok(PlannerResult::Original(expr)) };
    if a != b {
        let name = |ty| type_of(ty).map_or_else(|_| "unknown".to_owned(), |ty| bare_name(&ty));
        return Err(to_datafusion(no_operator(&name(left), &expr.op.to_string(), &name(right))));
    }
    if is_interval(left) && is_interval(right) {
        expr.left = of("nodedb_interval_order", vec![expr.left])?;
        expr.right = of("nodedb_interval_order", vec![expr.right])?;
    }
    Ok(PlannerResult::Original(expr))
}

fn no_operator(left: &str, op: &str, right: &str) -> Error {
    Error::statement("42883", format!("operator does not exist: {left} {op} {right}"))
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}
