//! Conditions that keys can answer: comparisons of columns with constants, all of which must hold.

use super::column;
use crate::parse::{self, LiteralText};
use crate::scan::bounds::{Bounds, same_value};
use crate::statement::Statement;
use datafusion::logical_expr::Operator;
use nodedb_base::{Type, Value};
use nodedb_store::catalog::{IndexSource, Table};
use sqlparser::ast::{BinaryOperator, Expr};

/// `column op constant`
#[derive(Debug)]
pub struct Condition {
    /// The column's number.
    pub column: usize,
    /// Equal, less, greater.
    pub op: Operator,
    /// A literal or a parameter.
    pub constant: Expr,
}

/// The comparisons of which an expression is the conjunction; `None` if it is more than that.
pub fn conditions(table: &Table, selection: Option<&Expr>) -> Option<Vec<Condition>> {
    let mut conditions = Vec::new();
    if let Some(selection) = selection {
        add(table, selection, &mut conditions)?;
    }
    Some(conditions)
}

fn add(table: &Table, expr: &Expr, conditions: &mut Vec<Condition>) -> Option<()> {
    let mut push = |column, op, constant: &Expr| {
        parse::literal(constant)?;
        conditions.push(Condition { column, op, constant: constant.clone() });
        Some(())
    };
    match expr {
        Expr::Nested(inner) => add(table, inner, conditions),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            add(table, left, conditions)?;
            add(table, right, conditions)
        }
        Expr::BinaryOp { left, op, right } => match (column(table, left), column(table, right)) {
            (Some(column), None) => push(column, comparison(op)?, right),
            (None, Some(column)) => push(column, comparison(op)?.swap()?, left),
            _ => None,
        },
        Expr::Between { expr, negated: false, low, high } => {
            let column = column(table, expr)?;
            push(column, Operator::GtEq, low)?;
            push(column, Operator::LtEq, high)
        }
        _ => None,
    }
}

const fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// What conditions say of the columns this time; `None` where the general way must tell.
pub fn bounds(table: &Table, conditions: &[Condition], statement: &Statement<'_>) -> Option<Bounds> {
    let mut bounds = Bounds::default();
    for Condition { column, op, constant } in conditions {
        let value = value(table, *column, constant, statement)?;
        bounds.compare(IndexSource::Column(u16::try_from(*column).ok()?), *op, value);
    }
    Some(bounds)
}

/// A constant as a value of a column; `None` if it is NULL or has no exact counterpart there.
pub fn value(table: &Table, column: usize, constant: &Expr, statement: &Statement<'_>) -> Option<Value> {
    let ty = &table.columns.get(column)?.ty;
    let value = match parse::literal(constant)? {
        LiteralText::Null => return None,
        LiteralText::Bool(value) => Value::Bool(value),
        LiteralText::Unknown(text) => Value::Text(text),
        LiteralText::Parameter(n) => statement.parameters.get(n.checked_sub(1)?)?.clone(),
        LiteralText::Number(text) => parse::number(&text)?,
    };
    match value {
        // It is read as a literal of the column's type would be.
        Value::Text(text) if matches!(ty, Type::Uuid | Type::Date | Type::Timestamp | Type::Timestamptz) => {
            crate::types::parse(&text, ty, statement.style()).ok()
        }
        value => same_value(value, ty),
    }
}
