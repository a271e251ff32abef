//! The names of columns that a SELECT does not name, as PostgreSQL chooses them.
//!
//! `DataFusion` wants different names where PostgreSQL does not care, so a name that is taken gets a NUL and a
//! number behind it, which nobody sees.

use super::{last_name, quoted};
use crate::parse;
use sqlparser::ast::{
    DataType, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, TrimWhereField, Value as Literal,
    visit_expressions,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Between a name and its number.
const MARK: char = '\0';
/// The name of what has none.
const UNKNOWN: &str = "?column?";

/// A column's name without its number.
#[must_use]
pub fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// Gives every column of a SELECT a name of its own.
pub fn name_items(select: &mut Select, outermost: bool) {
    let grouped = grouping_names(select);
    let wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut taken = HashSet::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let (plain, name) = (is_column(expr), column_name(expr));
                // What a wildcard brings may have any name, too.
                let hidden = if plain { wildcard && outermost } else { grouped.contains(&name) };
                let free = taken.insert((qualified(expr), name.clone()));
                if plain && free && !hidden {
                    continue;
                }
                let alone = !taken.iter().any(|(qualifier, other)| *qualifier != qualified(expr) && *other == name);
                let alias = if free && alone && !hidden { name } else { format!("{name}{MARK}{at}") };
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: quoted(&alias) };
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = parse::name(alias);
                if !taken.insert((None, name.clone())) && !name.contains(MARK) {
                    *alias = quoted(&format!("{name}{MARK}{at}"));
                }
            }
            _ => {}
        }
    }
}

/// The names that GROUP BY mentions: those mean columns of the tables first, so no alias may hide them.
fn grouping_names(select: &Select) -> HashSet<String> {
    let mut names = HashSet::new();
    if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
        for expr in exprs {
            let _ = visit_expressions(expr, |expr| {
                if is_column(expr) {
                    names.insert(column_name(expr));
                }
                ControlFlow::<()>::Continue(())
            });
        }
    }
    names
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) => is_column(inner),
        _ => false,
    }
}

/// The table that a column is said to be of.
fn qualified(expr: &Expr) -> Option<String> {
    match expr {
        Expr::CompoundIdentifier(parts) => parts.iter().rev().nth(1).map(parse::name),
        Expr::Nested(inner) => qualified(inner),
        _ => None,
    }
}

/// The name that PostgreSQL gives a column.
fn column_name(expr: &Expr) -> String {
    strong_name(expr).unwrap_or_else(|| match expr {
        Expr::Case { .. } => "case".to_owned(),
        Expr::Cast { data_type, .. } => type_name(data_type),
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::Value(value) if matches!(value.value, Literal::Boolean(_)) => "bool".to_owned(),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => column_name(inner),
        _ => UNKNOWN.to_owned(),
    })
}

/// A name that also a cast or a CASE around the expression takes.
fn strong_name(expr: &Expr) -> Option<String> {
    let name = match expr {
        Expr::Identifier(name) => return Some(parse::name(name)),
        Expr::CompoundIdentifier(parts) => return parts.last().map(parse::name),
        Expr::Function(function) => return Some(last_name(&function.name)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } | Expr::Cast { expr: inner, .. } => {
            return strong_name(inner);
        }
        Expr::CompoundFieldAccess { root, .. } => return strong_name(root),
        Expr::Case { else_result, .. } => return else_result.as_deref().and_then(strong_name),
        Expr::Subquery(query) => return subquery_name(query),
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Extract { .. } => "extract",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::Position { .. } => "position",
        Expr::Substring { .. } => "substring",
        Expr::Overlay { .. } => "overlay",
        Expr::Exists { .. } => "exists",
        Expr::Array(_) => "array",
        Expr::Tuple(_) => "row",
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        },
        _ => return None,
    };
    Some(name.to_owned())
}

/// A subquery has the name of its only column.
fn subquery_name(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => Some(column_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(parse::name(alias)),
        _ => None,
    }
}

/// PostgreSQL's own name of a type.
fn type_name(ty: &DataType) -> String {
    use nodedb_base::Type;
    let known = match parse::sql_type(ty) {
        Ok(known) => known,
        Err(_) if matches!(ty, DataType::Numeric(_) | DataType::Decimal(_)) => return "numeric".to_owned(),
        Err(_) => return ty.to_string().to_lowercase(),
    };
    let name = match (&known, ty) {
        (Type::Text, DataType::Text) => "text",
        (Type::Text | Type::Varchar(_), _) => "varchar",
        (Type::Bool, _) => "bool",
        (Type::Int2, _) => "int2",
        (Type::Int4, _) => "int4",
        (Type::Int8, _) => "int8",
        (Type::Float4, _) => "float4",
        (Type::Float8, _) => "float8",
        (Type::Numeric { .. }, _) => "numeric",
        (Type::Time, _) => "time",
        (Type::Timestamp, _) => "timestamp",
        (Type::Timestamptz, _) => "timestamptz",
        (Type::Vector(_), _) => "vector",
        (Type::Halfvec(_), _) => "halfvec",
        (Type::Sparsevec(_), _) => "sparsevec",
        (Type::Bit(_), _) => "bit",
        (Type::Varbit(_), _) => "varbit",
        (Type::Array(_), DataType::Array(sqlparser::ast::ArrayElemTypeDef::SquareBracket(inner, _))) => {
            return type_name(inner);
        }
        _ => return known.to_string(),
    };
    name.to_owned()
}
