//! Expressions.

use super::last_name;
use crate::parse;
use nodedb_base::{Error, Result};
use sqlparser::ast::{
    Array, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Interval, ObjectName, Query, UnaryOperator, Value as Literal,
};

/// Rewrites one expression, whose parts are done already.
pub fn rewrite(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Subquery(query) => {
            if super::subqueries::few_rows(query) {
                *expr = call("nodedb_only", vec![expr.clone()]);
            }
            return Ok(());
        }
        Expr::Exists { subquery, .. } => super::subqueries::exists(subquery),
        _ => {}
    }
    if let Some(new) = rewritten(expr)? {
        *expr = new;
    }
    Ok(())
}

fn rewritten(expr: &Expr) -> Result<Option<Expr>> {
    Ok(Some(match expr {
        Expr::AtTimeZone { timestamp, time_zone } => {
            call("timezone", vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()])
        }
        Expr::Extract { field, expr, .. } => extract(&field.to_string().to_lowercase(), expr),
        Expr::Interval(interval) => return interval_literal(interval),
        Expr::UnaryOp { op, expr } => return Ok(unary(*op, expr)),
        Expr::BinaryOp { left, op, right } => return binary(left, op, right),
        Expr::IsNull(inner) => return Ok(row_parts(inner).map(|parts| all(parts, |part| Expr::IsNull(Box::new(part))))),
        Expr::IsNotNull(inner) => {
            return Ok(row_parts(inner).map(|parts| all(parts, |part| Expr::IsNotNull(Box::new(part)))));
        }
        // A constant is in it or not: nothing that a join could find out.
        Expr::InSubquery { expr, subquery, negated } if parse::literal(expr).is_some() => {
            parse::expression(&super::subqueries::membership(expr, subquery, *negated))?
        }
        Expr::InSubquery { expr, subquery, negated } => return row_in_subquery(expr, subquery, *negated),
        Expr::InList { expr, list, negated } => return row_in_list(expr, list, *negated),
        Expr::SimilarTo { negated, expr, pattern, escape_char: None } => similar(expr, pattern, *negated)?,
        Expr::SimilarTo { .. } => return Err(Error::unsupported("SIMILAR TO ... ESCAPE")),
        Expr::Function(function) => return function_call(function),
        Expr::Value(value) => match &value.value {
            Literal::SingleQuotedByteStringLiteral(bits) => bit_literal(bits),
            _ => return Ok(None),
        },
        Expr::Array(array) => return Ok(array_of_one_type(array)),
        _ => return Ok(None),
    }))
}

/// `ANY (SELECT ...)`, `ALL (SELECT ...)`: these are done before their parts, since their subquery has many rows.
pub fn rewrite_quantified(expr: &mut Expr) -> Result<()> {
    let new = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => match unnested(right) {
            Expr::Subquery(query) => quantified(left, compare_op, query, true)?,
            _ => return Ok(()),
        },
        Expr::AllOp { left, compare_op, right } => match unnested(right) {
            Expr::Subquery(query) => quantified(left, compare_op, query, false)?,
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    *expr = new;
    Ok(())
}

fn unnested(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => unnested(inner),
        other => other,
    }
}

/// A number as it is written.
pub fn number(text: &str) -> Expr {
    Expr::Value(Literal::Number(text.to_owned(), false).with_empty_span())
}

pub fn string(text: impl Into<String>) -> Expr {
    Expr::Value(Literal::SingleQuotedString(text.into()).with_empty_span())
}

pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn op(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

/// `INTERVAL '1 day 02:00'` is read by us.
fn interval_literal(interval: &Interval) -> Result<Option<Expr>> {
    let Interval {
        value,
        leading_field,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    } = interval
    else {
        return Err(Error::unsupported(interval));
    };
    let Expr::Value(literal) = value.as_ref() else { return Err(Error::unsupported(interval)) };
    let (Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text)) = &literal.value else {
        return Err(Error::unsupported(interval));
    };
    let text = match leading_field {
        None => text.clone(),
        Some(field) if text.parse::<f64>().is_ok() => format!("{text} {}", field.to_string().to_lowercase()),
        Some(_) => return Err(Error::unsupported(interval)),
    };
    Ok(Some(cast_to(string(text), DataType::Interval { fields: None, precision: None })))
}

/// `B'101'`
fn bit_literal(bits: &str) -> Expr {
    cast_to(string(bits), DataType::VarBit(None))
}

pub fn cast_to(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

/// `ARRAY['[1,2]'::vector, '[3,4]']`: literals are of the type that another element says.
fn array_of_one_type(array: &Array) -> Option<Expr> {
    let said = array.elem.iter().find_map(|item| match item {
        Expr::Cast { data_type: data_type @ DataType::Custom(..), .. } => Some(data_type.clone()),
        _ => None,
    })?;
    let is_bare =
        |item: &Expr| matches!(parse::literal(item), Some(parse::LiteralText::Unknown(_) | parse::LiteralText::Null));
    if !array.elem.iter().any(is_bare) {
        return None;
    }
    let typed = |item: &Expr| if is_bare(item) { cast_to(item.clone(), said.clone()) } else { item.clone() };
    Some(Expr::Array(Array { elem: array.elem.iter().map(typed).collect(), named: array.named }))
}

/// `array_fill(x, ARRAY[n])`
fn array_fill(arguments: &[Expr]) -> Option<Expr> {
    let [value, Expr::Array(lengths)] = arguments else { return None };
    let [length] = lengths.elem.as_slice() else { return None };
    Some(call("array_repeat", vec![value.clone(), length.clone()]))
}

/// EXTRACT: the part decides how many digits the result has behind the point.
fn extract(part: &str, expr: &Expr) -> Expr {
    let part = part.trim_matches('\'');
    let name = match part {
        "second" | "seconds" | "epoch" => "nodedb_extract_s",
        "millisecond" | "milliseconds" => "nodedb_extract_ms",
        _ => "nodedb_extract",
    };
    call(name, vec![string(part), expr.clone()])
}

fn unary(operator: UnaryOperator, expr: &Expr) -> Option<Expr> {
    let one = |name| Some(call(name, vec![expr.clone()]));
    match operator {
        UnaryOperator::PGAbs => one("abs"),
        UnaryOperator::PGSquareRoot => one("sqrt"),
        UnaryOperator::PGCubeRoot => one("cbrt"),
        // ~x, in two's complement
        UnaryOperator::BitwiseNot => Some(nested(op(number("-1"), BinaryOperator::Minus, nested(expr.clone())))),
        _ => None,
    }
}

fn binary(left: &Expr, operator: &BinaryOperator, right: &Expr) -> Result<Option<Expr>> {
    if *operator == BinaryOperator::PGStartsWith {
        return Ok(Some(call("starts_with", vec![left.clone(), right.clone()])));
    }
    let (Some(left), Some(right)) = (row_parts(left), row_parts(right)) else { return Ok(None) };
    compare_rows(left, operator, right).map(Some)
}

/// The parts of `(a, b)` or `ROW(a, b)`.
fn row_parts(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(parts) => Some(parts.clone()),
        Expr::Nested(inner) => row_parts(inner),
        Expr::Function(function) if last_name(&function.name) == "row" => arguments(function),
        _ => None,
    }
}

fn arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    plain.collect()
}

fn all(parts: Vec<Expr>, test: impl Fn(Expr) -> Expr) -> Expr {
    joined(parts.into_iter().map(test), &BinaryOperator::And)
}

fn joined(parts: impl Iterator<Item = Expr>, operator: &BinaryOperator) -> Expr {
    let whole = parts.reduce(|a, b| op(a, operator.clone(), b));
    nested(whole.unwrap_or_else(|| Expr::Value(Literal::Boolean(true).with_empty_span())))
}

/// Rows are compared part by part, from the left.
fn compare_rows(left: Vec<Expr>, operator: &BinaryOperator, right: Vec<Expr>) -> Result<Expr> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    if left.len() != right.len() {
        return Err(Error::statement("42601", "unequal number of entries in row expressions"));
    }
    let pairs = left.into_iter().zip(right);
    Ok(match operator {
        Eq => joined(pairs.map(|(a, b)| op(a, Eq, b)), &And),
        NotEq => joined(pairs.map(|(a, b)| op(a, NotEq, b)), &Or),
        Lt | LtEq | Gt | GtEq => {
            let strict = if matches!(operator, Lt | LtEq) { Lt } else { Gt };
            let mut whole: Option<Expr> = None;
            for (a, b) in pairs.rev() {
                whole = Some(nested(match whole {
                    None => op(a, operator.clone(), b),
                    Some(rest) => op(op(a.clone(), strict.clone(), b.clone()), Or, nested(op(op(a, Eq, b), And, rest))),
                }));
            }
            whole.ok_or_else(|| Error::unsupported("a row without columns"))?
        }
        other => return Err(Error::unsupported(format!("rows compared by {other}"))),
    })
}

fn row_in_list(expr: &Expr, list: &[Expr], negated: bool) -> Result<Option<Expr>> {
    let Some(parts) = row_parts(expr) else { return Ok(None) };
    let mut tests = Vec::with_capacity(list.len());
    for item in list {
        let Some(other) = row_parts(item) else { return Err(Error::unsupported("IN of a row and a value")) };
        tests.push(compare_rows(parts.clone(), &BinaryOperator::Eq, other)?);
    }
    let any = joined(tests.into_iter(), &BinaryOperator::Or);
    Ok(Some(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) } } else { any }))
}

fn row_in_subquery(expr: &Expr, query: &Query, negated: bool) -> Result<Option<Expr>> {
    let Some(parts) = row_parts(expr) else { return Ok(None) };
    if negated {
        // Which rows are unknown, and not just others, EXISTS cannot tell.
        return Err(Error::unsupported("NOT IN of rows and a subquery").with_hint("Say NOT EXISTS."));
    }
    let names: Vec<String> = (0..parts.len()).map(|n| format!("\"nodedb.c{n}\"")).collect();
    let tests: Vec<String> =
        parts.iter().zip(&names).map(|(part, name)| format!("({part}) = \"nodedb.q\".{name}")).collect();
    let (columns, tests) = (names.join(", "), tests.join(" AND "));
    let text = format!("EXISTS (SELECT 1 FROM ({query}) AS \"nodedb.q\"({columns}) WHERE {tests})");
    parse::expression(&text).map(Some)
}

/// `x > ANY (SELECT ...)` by the least or the greatest value of the subquery, and whether it has NULLs.
fn quantified(left: &Expr, operator: &BinaryOperator, query: &Query, any: bool) -> Result<Expr> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let list = |negated| Expr::InSubquery { expr: Box::new(left.clone()), subquery: Box::new(query.clone()), negated };
    let of = |aggregate: &str| format!("(SELECT {aggregate} FROM ({query}) AS \"nodedb.q\"(\"nodedb.c\"))");
    let (least, greatest) = (of("min(\"nodedb.c\")"), of("max(\"nodedb.c\")"));
    let test = match (operator, any) {
        (Eq, true) => return Ok(list(false)),
        (NotEq, false) => return Ok(list(true)),
        (Eq, false) => format!("(({left}) = {least} AND ({left}) = {greatest})"),
        (NotEq, true) => format!("(({left}) <> {least} OR ({left}) <> {greatest})"),
        (Gt | GtEq, true) | (Lt | LtEq, false) => format!("(({left}) {operator} {least})"),
        (Gt | GtEq, false) | (Lt | LtEq, true) => format!("(({left}) {operator} {greatest})"),
        _ => return Err(Error::unsupported(format!("{operator} {}", if any { "ANY" } else { "ALL" }))),
    };
    let (decided, decision, empty) =
        if any { (&*test, "true", "false") } else { (&*format!("NOT {test}"), "false", "true") };
    let (count, nulls) = (of("count(*)"), of("count(*) - count(\"nodedb.c\")"));
    parse::expression(&format!(
        "(CASE WHEN {decided} THEN {decision} WHEN {count} = 0 THEN {empty} WHEN {nulls} > 0 THEN NULL ELSE {test} END)"
    ))
}

/// A SQL regular expression as one of the common kind.
fn similar(expr: &Expr, pattern: &Expr, negated: bool) -> Result<Expr> {
    let Some(parse::LiteralText::Unknown(pattern)) = parse::literal(pattern) else {
        return Err(Error::unsupported("SIMILAR TO with a pattern that is not a literal"));
    };
    let (mut regex, mut chars) = (String::from("(?s)^(?:"), pattern.chars());
    while let Some(c) = chars.next() {
        match c {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '.' | '^' | '$' => regex.extend(['\\', c]),
            '\\' => match chars.next() {
                Some(escaped) if escaped.is_alphanumeric() => regex.push(escaped),
                Some(escaped) => regex.extend(['\\', escaped]),
                None => return Err(Error::statement("22025", "LIKE pattern must not end with escape character")),
            },
            other => regex.push(other),
        }
    }
    regex.push_str(")$");
    let operator = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    Ok(op(expr.clone(), operator, string(regex)))
}

/// Calls that are something else here.
fn function_call(function: &Function) -> Result<Option<Expr>> {
    let name = last_name(&function.name);
    let bare = matches!(function.args, FunctionArguments::None);
    match name.as_str() {
        "current_user" | "session_user" | "user" | "current_role" if bare => return Ok(Some(string("postgres"))),
        "current_catalog" if bare => return Ok(Some(call("current_database", Vec::new()))),
        "localtimestamp" if bare => return parse::expression("now()::timestamp").map(Some),
        "localtime" if bare => return parse::expression("now()::time").map(Some),
        _ => {}
    }
    let Some(arguments) = arguments(function) else { return Ok(None) };
    match (name.as_str(), arguments.len()) {
        ("count", 0) => {
            Err(Error::statement("42809", "count(*) must be used to call a parameterless aggregate function"))
        }
        ("mod", 2) => {
            let mut parts = arguments.into_iter().map(nested);
            let (Some(a), Some(b)) = (parts.next(), parts.next()) else { return Ok(None) };
            Ok(Some(nested(op(a, BinaryOperator::Modulo, b))))
        }
        ("array_fill", 2) => Ok(array_fill(&arguments)),
        // The function of that name makes an array; PostgreSQL's gives rows.
        ("generate_series", _) => Ok(Some(call("unnest", vec![Expr::Function(function.clone())]))),
        _ => Ok(None),
    }
}
