//! From text to syntax: PostgreSQL's dialect, and a check that no part of a statement is one that we would
//! silently ignore.

use nodedb_base::{Error, Numeric, Result, Type, Value};
use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, Expr, Ident, ObjectName, Statement, TimezoneInfo,
    UnaryOperator, Value as Literal, ValueWithSpan, VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use std::ops::ControlFlow;

/// How deep expressions and subqueries may be nested.
const MAX_DEPTH: usize = 64;

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// The one statement in `sql`, or `None` if there is none.
///
/// # Errors
/// `Statement` (42601) if it cannot be read, or is followed by another one; (54001) if it is nested too deeply.
pub fn statement(sql: &str) -> Result<Option<Statement>> {
    let mut parser = parser(sql)?;
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token().token == Token::EOF {
        return Ok(None);
    }
    let mut statement = parser.parse_statement().map_err(syntax_error)?;
    let _ = VisitMut::visit(&mut statement, &mut Printable);
    while parser.consume_token(&Token::SemiColon) {}
    match parser.peek_token().token {
        Token::EOF => Ok(Some(statement)),
        token if starts_statement(&token) => {
            Err(Error::statement("42601", "cannot insert multiple commands into a prepared statement"))
        }
        token => Err(near(&token.to_string())),
    }
}

/// What stands behind the first word of a statement, if it is this one.
#[must_use]
pub fn after_word<'s>(sql: &'s str, word: &str) -> Option<&'s str> {
    let sql = sql.trim_start();
    let (first, rest) = sql.split_at_checked(word.len())?;
    (first.eq_ignore_ascii_case(word) && rest.starts_with(char::is_whitespace)).then_some(rest)
}

/// A SQL expression, as the catalogue keeps those of defaults, checks and indexes.
///
/// # Errors
/// `Statement` (42601).
pub fn expression(sql: &str) -> Result<Expr> {
    let mut parser = parser(sql)?;
    let mut expr = parser.parse_expr().map_err(syntax_error)?;
    let _ = VisitMut::visit(&mut expr, &mut Printable);
    match parser.peek_token().token {
        Token::EOF => Ok(expr),
        token => Err(near(&token.to_string())),
    }
}

fn parser(sql: &str) -> Result<Parser<'static>> {
    let tokens = Tokenizer::new(&DIALECT, sql).tokenize_with_location().map_err(|e| syntax_error(e.into()))?;
    let parser = Parser::new(&DIALECT).with_recursion_limit(MAX_DEPTH);
    Ok(parser.with_tokens_with_locations(with_our_operators(tokens)))
}

/// Parts of statements are printed and read again. The parser prints a quote behind a backslash, or beside another quote, as
/// if it were doubled already; with a backslash before each it is read as it was.
struct Printable;

impl VisitorMut for Printable {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Literal::SingleQuotedString(text) = &value.value
            && text.contains('\'')
        {
            value.value = Literal::EscapedStringLiteral(text.clone());
        }
        ControlFlow::Continue(())
    }
}

/// `@@@` and `<+>`, which the tokenizer takes for several operators each; and without UNLOGGED, since every table here is
/// logged.
fn with_our_operators(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for next in tokens {
        let operator = match (joined.as_slice(), &next.token) {
            ([.., at], Token::AtSign) if at.token == Token::AtAt => Some(("@@@", 1)),
            ([.., less, plus], Token::Gt) if less.token == Token::Lt && plus.token == Token::Plus => Some(("<+>", 2)),
            _ => None,
        };
        match operator {
            Some((operator, parts)) => {
                joined.truncate(joined.len() - parts);
                joined.push(TokenWithSpan { token: Token::CustomBinaryOperator(operator.to_owned()), ..next });
            }
            None if is_word(&next.token, "UNLOGGED") && last_word(&joined, "CREATE") => {}
            None => joined.push(next),
        }
    }
    joined
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

fn last_word(tokens: &[TokenWithSpan], word: &str) -> bool {
    let mut before = tokens.iter().rev().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    before.next().is_some_and(|token| is_word(&token.token, word))
}

fn starts_statement(token: &Token) -> bool {
    const WORDS: [&str; 12] = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "BEGIN", "COMMIT", "ROLLBACK", "SET", "SHOW", "WITH",
    ];
    matches!(token, Token::Word(word) if WORDS.contains(&word.value.to_uppercase().as_str()))
}

fn syntax_error(error: ParserError) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::statement("54001", "stack depth limit exceeded")
                .with_hint(format!("Statements may be nested {MAX_DEPTH} levels deep."));
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let text = text.split(" at Line: ").next().unwrap_or(&text);
    match text.rsplit_once("found: ") {
        Some((_, "EOF")) => Error::statement("42601", "syntax error at end of input"),
        Some((_, found)) => near(found),
        None if text.contains("Unterminated") => {
            Error::statement("42601", format!("unterminated quoted string: {text}"))
        }
        None => Error::statement("42601", format!("syntax error: {text}")),
    }
}

fn near(token: &str) -> Error {
    Error::statement("42601", format!("syntax error at or near \"{token}\""))
}

/// Fails unless `statement` is what is left of it when only what we know is kept: `known` was made from the
/// statement's known parts, all else as the parser leaves it when it is not there.
///
/// # Errors
/// `Statement` (0A000) that names the construct.
pub fn expect_known<T: PartialEq + std::fmt::Display>(what: &str, statement: &T, known: &T) -> Result<()> {
    if statement == known {
        return Ok(());
    }
    let (said, kept) = (statement.to_string(), known.to_string());
    let same = said.split_whitespace().zip(kept.split_whitespace()).take_while(|(a, b)| a == b).count();
    let construct: Vec<_> = said.split_whitespace().skip(same).take(4).collect();
    let construct = construct.join(" ");
    Err(Error::unsupported(if construct.is_empty() { what.to_owned() } else { format!("{what} ... {construct}") }))
}

/// The folded form of an identifier: lower case unless quoted.
#[must_use]
pub fn name(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The name of a table or an index in schema `public`.
///
/// # Errors
/// `Statement` (3F000, 0A000) for another schema or database.
pub fn relation(object: &ObjectName) -> Result<String> {
    let parts: Option<Vec<String>> = object.0.iter().map(|part| part.as_ident().map(name)).collect();
    match parts.as_deref() {
        Some([table]) => Ok(table.clone()),
        Some([schema, table]) if schema == "public" => Ok(table.clone()),
        Some([database, schema, table]) if database == "postgres" && schema == "public" => Ok(table.clone()),
        Some([schema, _]) => Err(Error::statement("3F000", format!("schema \"{schema}\" does not exist"))),
        _ => Err(Error::statement("0A000", format!("cross-database references are not implemented: {object}"))),
    }
}

/// What a literal says, as text: `'x'`, `-1`, `true`. `None` for anything that must be computed.
#[must_use]
pub fn literal(expr: &Expr) -> Option<LiteralText> {
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::Value(value) => match &value.value {
            Literal::Number(text, _) => Some(LiteralText::Number(text.clone())),
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => {
                Some(LiteralText::Unknown(text.clone()))
            }
            Literal::DollarQuotedString(text) => Some(LiteralText::Unknown(text.value.clone())),
            Literal::Boolean(value) => Some(LiteralText::Bool(*value)),
            Literal::Null => Some(LiteralText::Null),
            Literal::Placeholder(name) => name.strip_prefix('$')?.parse().ok().map(LiteralText::Parameter),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            LiteralText::Number(text) if !text.starts_with('-') => Some(LiteralText::Number(format!("-{text}"))),
            _ => None,
        },
        _ => None,
    }
}

/// The value that the digits of a literal have by themselves; `None` if they are more than any number here holds.
pub fn number(text: &str) -> Option<Value> {
    match text.parse() {
        Ok(number) => Some(Value::Int8(number)),
        Err(_) => Numeric::parse(text).map(Value::Numeric),
    }
}

/// A literal before it has a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiteralText {
    /// `NULL`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `12`, `-1.5`
    Number(String),
    /// `'text'`, whose type its place decides
    Unknown(String),
    /// `$1`, counted from 1
    Parameter(usize),
}

/// The type that a SQL type name means.
///
/// # Errors
/// `Statement` (0A000) for types that are not built, (42704) for names that mean nothing, (22023) for
/// precisions out of range.
pub fn sql_type(ty: &DataType) -> Result<Type> {
    Ok(match ty {
        DataType::Bool | DataType::Boolean => Type::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => Type::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Type::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => Type::Int8,
        DataType::Real | DataType::Float4 => Type::Float4,
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(ExactNumberInfo::None) => Type::Float8,
        DataType::Float(info) => float(info)?,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text => Type::Text,
        DataType::Varchar(None) | DataType::CharacterVarying(None) | DataType::CharVarying(None) => Type::Text,
        DataType::Varchar(Some(n)) | DataType::CharacterVarying(Some(n)) | DataType::CharVarying(Some(n)) => {
            varchar(n)?
        }
        DataType::Bytea => Type::Bytea,
        DataType::Uuid => Type::Uuid,
        DataType::Date => Type::Date,
        DataType::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Type::Time,
        DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Type::Timestamp,
        DataType::Timestamp(None, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => Type::Timestamptz,
        DataType::Interval { fields: None, precision: None } => Type::Interval,
        DataType::JSONB => Type::Jsonb,
        DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) => Type::Array(Box::new(element(inner)?)),
        DataType::Bit(n) => Type::Bit(bit_length("bit", n.unwrap_or(1))?),
        DataType::BitVarying(None) | DataType::VarBit(None) => Type::Varbit(0),
        DataType::BitVarying(Some(n)) | DataType::VarBit(Some(n)) => Type::Varbit(bit_length("bit varying", *n)?),
        DataType::Custom(name, arguments) => custom(name, arguments)?,
        other => return Err(Error::unsupported(format!("type {}", other.to_string().to_lowercase()))),
    })
}

fn element(inner: &DataType) -> Result<Type> {
    match sql_type(inner)? {
        Type::Array(_) => Err(Error::unsupported("an array of more than one dimension")),
        element => Ok(element),
    }
}

fn custom(name: &ObjectName, arguments: &[String]) -> Result<Type> {
    let unknown = || Error::statement("42704", format!("type \"{}\" does not exist", name.to_string().to_lowercase()));
    let (name, of, most): (_, fn(u32) -> Type, _) = match name.to_string().to_lowercase().as_str() {
        "vector" => ("vector", Type::Vector, MAX_DIMENSIONS),
        "halfvec" => ("halfvec", Type::Halfvec, MAX_DIMENSIONS),
        "sparsevec" => ("sparsevec", Type::Sparsevec, MAX_SPARSE_DIMENSIONS),
        _ => return Err(unknown()),
    };
    match arguments {
        [] => Ok(of(0)),
        [n] => match n.parse::<u32>() {
            Ok(0) => Err(Error::statement("22023", format!("dimensions for type {name} must be at least 1"))),
            Ok(n) if n <= most => Ok(of(n)),
            Err(_) if n.parse::<i64>().is_err() => {
                let said = n.trim_matches('\'');
                Err(Error::statement("22P02", format!("invalid input syntax for type integer: \"{said}\"")))
            }
            _ => Err(Error::statement("22023", format!("dimensions for type {name} cannot exceed {most}"))),
        },
        _ => Err(Error::statement("22023", "invalid type modifier")),
    }
}

/// Most bits of a string, as in PostgreSQL.
const MAX_BITS: u64 = 83_886_080;

fn bit_length(name: &str, n: u64) -> Result<u32> {
    match n {
        0 => Err(Error::statement("22023", format!("length for type {name} must be at least 1"))),
        n if n <= MAX_BITS => Ok(n as u32),
        _ => Err(Error::statement("22023", format!("length for type {name} cannot exceed {MAX_BITS}"))),
    }
}

/// Most dimensions of a vector, and of a sparse one, as in pgvector.
pub const MAX_DIMENSIONS: u32 = 16_000;
const MAX_SPARSE_DIMENSIONS: u32 = 1_000_000_000;

fn float(info: &ExactNumberInfo) -> Result<Type> {
    match info {
        ExactNumberInfo::None => Ok(Type::Float8),
        ExactNumberInfo::Precision(1..=24) => Ok(Type::Float4),
        ExactNumberInfo::Precision(25..=53) => Ok(Type::Float8),
        _ => Err(Error::statement("22023", "precision for type float must be between 1 and 53 bits")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<Type> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => {
            return Err(Error::unsupported("numeric without a precision").with_hint("Say numeric(38,10), for example."));
        }
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=1000).contains(&precision) {
        return Err(Error::statement("22023", format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if precision > 38 {
        return Err(Error::unsupported(format!("numeric with {precision} digits")).with_hint("At most 38 digits."));
    }
    match u8::try_from(scale) {
        Ok(scale) if u64::from(scale) <= precision => Ok(Type::Numeric { precision: precision as u8, scale }),
        _ => Err(Error::unsupported(format!("numeric({precision},{scale})")).with_hint("0 <= scale <= precision.")),
    }
}

fn varchar(length: &CharacterLength) -> Result<Type> {
    match length {
        CharacterLength::IntegerLength { length, unit: None } => match u32::try_from(*length) {
            Ok(0) => Err(Error::statement("22023", "length for type varchar must be at least 1")),
            Ok(n) if n <= 10_485_760 => Ok(Type::Varchar(n)),
            _ => Err(Error::statement("22023", "length for type varchar cannot exceed 10485760")),
        },
        other => Err(Error::unsupported(format!("varchar({other})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where() {
        let error = |sql: &str| statement(sql).unwrap_err().to_string();
        assert_eq!(error("SELEC 1"), "syntax error at or near \"SELEC\"");
        assert_eq!(error("SELECT 1 +"), "syntax error at end of input");
        assert_eq!(error("SELECT 1)"), "syntax error at or near \")\"");
        assert!(statement(" ; ; ").unwrap().is_none());
        assert!(statement("SELECT 1; ").unwrap().is_some());
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(statement(&deep).unwrap_err().sqlstate().as_str(), "54001");
    }

    #[test]
    fn types_have_limits() {
        let ty = |text: &str| {
            let Some(Statement::CreateTable(table)) = statement(&format!("CREATE TABLE t (a {text})")).unwrap() else {
                panic!("no table")
            };
            sql_type(&table.columns[0].data_type).map_err(|e| e.sqlstate().0)
        };
        assert_eq!(ty("numeric(10,2)"), Ok(Type::Numeric { precision: 10, scale: 2 }));
        assert_eq!(ty("vector(3)"), Ok(Type::Vector(3)));
        assert_eq!(ty("int[]"), Ok(Type::Array(Box::new(Type::Int4))));
        assert_eq!(ty("timestamp with time zone"), Ok(Type::Timestamptz));
        assert_eq!(ty("vector(20000)"), Err("22023"));
        assert_eq!(ty("nosuchtype"), Err("42704"));
        assert_eq!(ty("xml"), Err("42704"));
    }
}
