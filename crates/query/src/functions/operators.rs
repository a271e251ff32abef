//! PostgreSQL's and pgvector's operators as calls of functions, chosen by the types of the operands.

use super::arith::{Exact, exact_call};
use super::cast::{cast_expr, open_cast_expr};
use super::{jsonb, typed as typing, vector};
use crate::types::arrow::type_of;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_nested::expr_fn::array_has_any;
use datafusion::logical_expr::expr::{
    AggregateFunction, Placeholder, ScalarFunction, WindowFunction, WindowFunctionDefinition, WindowFunctionParams,
};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawWindowExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF, cast};
use nodedb_base::{Error, Type};
use sqlparser::ast::BinaryOperator;
use std::sync::{Arc, LazyLock};

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> =
    LazyLock::new(|| jsonb::functions().into_iter().chain(vector::functions()).collect());

const JSONB: DataType = DataType::LargeUtf8;

/// Plans the operators that DataFusion does not know.
#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let expr = apart_from_sign(expr);
        let left = type_of_operand(&expr.left, schema);
        let right = type_of_operand(&expr.right, schema);
        if let Some(name) = of_vectors(&expr.op, left.as_ref(), right.as_ref()) {
            return vector_call(name, expr, (left, right));
        }
        let name = match function_of(&expr.op, left.as_ref(), right.as_ref()) {
            Some(name) => name,
            None => {
                let planned = overlap(expr, left.as_ref(), right.as_ref())?;
                return literals(planned, left, right).and_then(|planned| by_types(planned, schema));
            }
        };
        let left_type = left.or(Some(JSONB));
        let right_type = right.unwrap_or_else(|| argument_type(name));
        call(name, vec![typed(expr.left, left_type), typed(expr.right, Some(right_type))])
    }

    /// `string_agg` returns the Arrow type that stands for `jsonb` here, so it is brought back to text. `avg` and
    /// `sum` of exact numbers are exact.
    fn plan_aggregate(&self, expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let name = expr.func.name().to_owned();
        let (inner, outer) = around(&name);
        let has_cast = expr.args.iter().any(|arg| matches!(arg, Expr::Cast(_)));
        if inner.is_none() && name != "string_agg" && !has_cast {
            return Ok(PlannerResult::Original(expr));
        }
        let RawAggregateExpr { func, args, distinct, filter, order_by, null_treatment } = expr;
        let args = wrapped(args, inner);
        let call = AggregateFunction::new_udf(func, args, distinct, filter, order_by, null_treatment);
        let call = Expr::AggregateFunction(call);
        Ok(PlannerResult::Planned(match outer {
            _ if name == "string_agg" => cast(call, DataType::Utf8),
            Some(what) => exact_call(what, vec![call]),
            None => call,
        }))
    }

    fn plan_window(&self, mut expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let WindowFunctionDefinition::AggregateUDF(function) = &expr.func_def else {
            return Ok(PlannerResult::Original(expr));
        };
        let (inner, outer) = around(function.name());
        if inner.is_none() {
            return Ok(PlannerResult::Original(expr));
        }
        expr.args = wrapped(expr.args, inner);
        let params = WindowFunctionParams {
            args: expr.args,
            partition_by: expr.partition_by,
            order_by: expr.order_by,
            window_frame: expr.window_frame,
            filter: expr.filter,
            null_treatment: expr.null_treatment,
            distinct: expr.distinct,
        };
        let call = Expr::WindowFunction(Box::new(WindowFunction { fun: expr.func_def, params }));
        Ok(PlannerResult::Planned(match outer {
            Some(what) => exact_call(what, vec![call]),
            None => call,
        }))
    }
}

/// What goes around the argument of an aggregate, and around its result.
fn around(aggregate: &str) -> (Option<Exact>, Option<Exact>) {
    match aggregate {
        "avg" => (Some(Exact::Mean), Some(Exact::Rounded)),
        "sum" => (Some(Exact::Sum), None),
        _ => (None, None),
    }
}

fn wrapped(args: Vec<Expr>, inner: Option<Exact>) -> Vec<Expr> {
    let wrap = |arg| match (inner, &arg) {
        (Some(what), _) => exact_call(what, vec![arg]),
        // The names of columns leave casts out, and two of one name cannot be told apart.
        (None, Expr::Cast(_)) => exact_call(Exact::Same, vec![arg]),
        _ => arg,
    };
    args.into_iter().map(wrap).collect()
}

/// What is left is decided by the types of both sides, where they are known.
fn by_types(planned: PlannerResult<RawBinaryExpr>, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
    let PlannerResult::Original(expr) = planned else { return Ok(planned) };
    let (left, right) = (type_of_operand(&expr.left, schema), type_of_operand(&expr.right, schema));
    match (left, right) {
        (Some(left), Some(right)) => typing::plan(expr, &left, &right),
        _ => Ok(PlannerResult::Original(expr)),
    }
}

/// The tokenizer takes `->-1` and `>-1` for operators of their own; PostgreSQL ends an operator before its
/// last `-`.
fn apart_from_sign(expr: RawBinaryExpr) -> RawBinaryExpr {
    let op = match &expr.op {
        BinaryOperator::Custom(op) => match op.as_str() {
            "->-" => BinaryOperator::Arrow,
            "->>-" => BinaryOperator::LongArrow,
            ">-" => BinaryOperator::Gt,
            ">=-" => BinaryOperator::GtEq,
            "<>-" => BinaryOperator::NotEq,
            "=-" => BinaryOperator::Eq,
            "*-" => BinaryOperator::Multiply,
            "/-" => BinaryOperator::Divide,
            "%-" => BinaryOperator::Modulo,
            "+-" => BinaryOperator::Plus,
            _ => return expr,
        },
        _ => return expr,
    };
    RawBinaryExpr { op, left: expr.left, right: Expr::Negative(Box::new(expr.right)) }
}

/// `None` for a parameter whose type nobody has said yet, and for a bare NULL.
fn type_of_operand(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    if let Expr::Literal(ScalarValue::Int64(Some(n)), _) = expr
        && i32::try_from(*n).is_ok()
    {
        return Some(DataType::Int32);
    }
    expr.get_type(schema).ok().filter(|ty| *ty != DataType::Null)
}

/// Vectors and strings of bits.
fn is_vector(ty: &DataType) -> bool {
    type_of(ty).is_ok_and(|ty| ty.is_vector() || matches!(ty, Type::Bit(_) | Type::Varbit(_)))
}

/// The function that an operator over vectors is.
fn of_vectors(op: &BinaryOperator, left: Option<&DataType>, right: Option<&DataType>) -> Option<&'static str> {
    let distance = match op {
        BinaryOperator::LtDashGt => Some("l2_distance"),
        BinaryOperator::Spaceship => Some("cosine_distance"),
        BinaryOperator::Custom(op) => match op.as_str() {
            "<#>" => Some("vector_negative_inner_product"),
            "<+>" => Some("l1_distance"),
            "<~>" => Some("hamming_distance"),
            "<%>" => Some("jaccard_distance"),
            _ => None,
        },
        _ => None,
    };
    if distance.is_some() || !(left.is_some_and(is_vector) || right.is_some_and(is_vector)) {
        return distance;
    }
    match op {
        BinaryOperator::Plus => Some("nodedb_vector_add"),
        BinaryOperator::Minus => Some("nodedb_vector_subtract"),
        BinaryOperator::Multiply => Some("nodedb_vector_multiply"),
        BinaryOperator::StringConcat => Some("nodedb_vector_concat"),
        op if typing::is_comparison(op) => Some(vector::ORDER),
        _ => None,
    }
}

/// The call of such a function. A parameter is taken for what the other side is.
fn vector_call(
    name: &str,
    expr: RawBinaryExpr,
    (left, right): (Option<DataType>, Option<DataType>),
) -> Result<PlannerResult<RawBinaryExpr>> {
    let of = |ty: &Option<DataType>| ty.clone().filter(is_vector);
    let (left_type, right_type) = (left.clone().or_else(|| of(&right)), right.clone().or_else(|| of(&left)));
    let planned = call(name, vec![typed(expr.left, left_type), typed(expr.right, right_type)])?;
    match planned {
        PlannerResult::Planned(order) if name == vector::ORDER => {
            let zero = Expr::Literal(ScalarValue::Int32(Some(0)), None);
            Ok(PlannerResult::Planned(compared(order, &expr.op, zero)))
        }
        planned => Ok(planned),
    }
}

fn compared(left: Expr, op: &BinaryOperator, right: Expr) -> Expr {
    match op {
        BinaryOperator::Eq => left.eq(right),
        BinaryOperator::NotEq => left.not_eq(right),
        BinaryOperator::Lt => left.lt(right),
        BinaryOperator::LtEq => left.lt_eq(right),
        BinaryOperator::Gt => left.gt(right),
        _ => left.gt_eq(right),
    }
}

const fn is_list(ty: &DataType) -> bool {
    matches!(ty, DataType::List(_) | DataType::LargeList(_))
}

fn function_of(op: &BinaryOperator, left: Option<&DataType>, right: Option<&DataType>) -> Option<&'static str> {
    let json = |ty: Option<&DataType>| ty == Some(&JSONB);
    let by_index = right.is_some_and(DataType::is_integer);
    Some(match op {
        BinaryOperator::Arrow if by_index => "jsonb_array_element",
        BinaryOperator::Arrow => "jsonb_object_field",
        BinaryOperator::LongArrow if by_index => "jsonb_array_element_text",
        BinaryOperator::LongArrow => "jsonb_object_field_text",
        BinaryOperator::HashArrow => "nodedb_jsonb_path",
        BinaryOperator::HashLongArrow => "nodedb_jsonb_path_text",
        BinaryOperator::HashMinus => "jsonb_delete_path",
        BinaryOperator::Question => "jsonb_exists",
        BinaryOperator::QuestionPipe => "jsonb_exists_any",
        BinaryOperator::QuestionAnd => "jsonb_exists_all",
        BinaryOperator::AtArrow if json(left) || json(right) => "jsonb_contains",
        BinaryOperator::ArrowAt if json(left) || json(right) => "jsonb_contained",
        BinaryOperator::StringConcat if json(left) => "jsonb_concat",
        BinaryOperator::Minus if json(left) => "jsonb_delete",
        _ => return None,
    })
}

/// What a parameter on the right of an operator is taken for.
fn argument_type(function: &str) -> DataType {
    match function {
        "jsonb_contains" | "jsonb_contained" | "jsonb_concat" => JSONB,
        "nodedb_jsonb_path"
        | "nodedb_jsonb_path_text"
        | "jsonb_delete_path"
        | "jsonb_exists_any"
        | "jsonb_exists_all" => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        _ => DataType::Utf8,
    }
}

/// Gives a parameter its type, if it has none.
fn typed(expr: Expr, ty: Option<DataType>) -> Expr {
    match (expr, ty) {
        (Expr::Placeholder(Placeholder { id, field: None }), Some(ty)) => {
            let field = Arc::new(Field::new(&id, ty, true));
            Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))
        }
        (expr, _) => expr,
    }
}

fn call(name: &str, args: Vec<Expr>) -> Result<PlannerResult<RawBinaryExpr>> {
    let function = FUNCTIONS
        .iter()
        .find(|f| f.name() == name)
        .ok_or_else(|| super::error::to_datafusion(Error::internal(format!("the function {name} is missing"))))?;
    let call = ScalarFunction::new_udf(Arc::clone(function), args);
    Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
}

/// `&&` of two arrays, either of them perhaps a literal.
fn overlap(
    expr: RawBinaryExpr,
    left: Option<&DataType>,
    right: Option<&DataType>,
) -> Result<PlannerResult<RawBinaryExpr>> {
    let lists = left.is_some_and(is_list) || right.is_some_and(is_list);
    if expr.op != BinaryOperator::PGOverlap || !lists {
        return Ok(PlannerResult::Original(expr));
    }
    let (a, b) = (literal_as(expr.left, right), literal_as(expr.right, left));
    Ok(PlannerResult::Planned(array_has_any(a, b)))
}

/// In a comparison, a literal is read as a value of the other side's type where DataFusion would compare
/// texts or refuse.
fn literals(
    planned: PlannerResult<RawBinaryExpr>,
    left: Option<DataType>,
    right: Option<DataType>,
) -> Result<PlannerResult<RawBinaryExpr>> {
    use BinaryOperator::{ArrowAt, AtArrow, Divide, Minus, Modulo, Multiply, Plus};
    let PlannerResult::Original(mut expr) = planned else { return Ok(planned) };
    let comparison = typing::is_comparison(&expr.op);
    let arrays = matches!(expr.op, AtArrow | ArrowAt);
    let arithmetic = matches!(expr.op, Plus | Minus | Multiply | Divide | Modulo);
    let minus = expr.op == Minus;
    let read = |ty: &Option<DataType>| {
        let wanted = |ty: &&DataType| {
            comparison && needs_reading(ty)
                || arrays && is_list(ty)
                || arithmetic && ty.is_numeric()
                || minus && (ty.is_temporal() && !matches!(ty, DataType::Interval(_)))
        };
        ty.as_ref().filter(wanted).cloned()
    };
    expr.left = literal_as(expr.left, read(&right).as_ref());
    expr.right = literal_as(expr.right, read(&left).as_ref());
    if arrays && (read(&left).is_some() || read(&right).is_some()) {
        use datafusion::functions_nested::expr_fn::array_has_all;
        let planned = match expr.op {
            AtArrow => array_has_all(expr.left, expr.right),
            _ => array_has_all(expr.right, expr.left),
        };
        return Ok(PlannerResult::Planned(planned));
    }
    Ok(PlannerResult::Original(expr))
}

const fn needs_reading(ty: &DataType) -> bool {
    !matches!(ty, DataType::Utf8 | DataType::Utf8View | DataType::Null)
}

/// A text literal, and a parameter without a type, as a value of type `ty`.
fn literal_as(expr: Expr, ty: Option<&DataType>) -> Expr {
    let Some(ty) = ty else { return expr };
    let target = type_of(ty).ok().filter(|t| *t != Type::Text);
    match (expr, target) {
        // A literal keeps its digits, also those that the other side has no room for.
        (expr @ Expr::Literal(ScalarValue::Utf8(Some(_)), _), Some(target @ Type::Numeric { .. })) => {
            open_cast_expr(expr, target)
        }
        (expr @ Expr::Literal(ScalarValue::Utf8(Some(_)), _), Some(target)) => cast_expr(expr, target),
        (expr, _) => typed(expr, Some(ty.clone())),
    }
}
