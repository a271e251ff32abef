//! CREATE INDEX ... USING hnsw or bm25.

use super::{Ids, already_exists, bm25, check, done};
use crate::engine::Engine;
use crate::outcome::Outcome;
use crate::parse;
use crate::planner::no_relation;
use nodedb_base::{Error, Incarnation, Result, Type};
use nodedb_store::catalog::{DerivedIndex, Hnsw, Method, Table, VectorClass};
use nodedb_store::{Transaction, keys};
use sqlparser::ast::{BinaryOperator, CreateIndex, Expr, IndexColumn, IndexType, Value};

/// Whether a statement makes a derived index.
pub fn is_derived(create: &CreateIndex) -> bool {
    matches!(method_of(create).as_deref(), Some("hnsw" | "bm25"))
}

/// Whether a statement makes an index of vectors.
pub fn is_of_vectors(create: &CreateIndex) -> bool {
    method_of(create).as_deref() == Some("hnsw")
}

fn method_of(create: &CreateIndex) -> Option<String> {
    match &create.using {
        Some(IndexType::Custom(name)) => Some(parse::name(name)),
        _ => None,
    }
}

/// Runs it: the index is filled once the statement has committed.
pub fn run(engine: &Engine, tx: &mut Transaction, create: &CreateIndex) -> Result<Outcome> {
    check(tx, "CREATE INDEX")?;
    let is_text = !is_of_vectors(create);
    if create.unique {
        let method = if is_text { "bm25" } else { "hnsw" };
        return Err(Error::statement("0A000", format!("access method \"{method}\" does not support unique indexes")));
    }
    let relation = parse::relation(&create.table_name)?;
    let table = tx.catalog().table(&relation).ok_or_else(|| no_relation(&relation))?.clone();
    let (columns, method) = match is_text {
        true => bm25::columns_and_method(&table, &create.columns, &create.with)?,
        false => hnsw(&table, &create.columns, &create.with)?,
    };
    let name = match &create.name {
        Some(name) => parse::relation(name)?,
        None => {
            let name = |at: &u16| table.columns.get(usize::from(*at)).map(|column| column.name.as_str());
            let names: Vec<_> = columns.iter().filter_map(name).collect();
            tx.catalog().free_name(&format!("{}_{}_idx", table.name, names.join("_")), &[])
        }
    };
    if tx.catalog().has_relation(&name) {
        return if create.if_not_exists { Ok(done("CREATE INDEX")) } else { Err(already_exists(&name)) };
    }
    let mut ids = Ids::new(tx.catalog());
    let predicate = create.predicate.as_ref().map(|expr| {
        crate::partial::of_expression(engine, &table, expr.clone())?;
        Ok(expr.to_string())
    });
    let predicate = predicate.transpose()?;
    let index = DerivedIndex { id: Incarnation(ids.take()), name, columns, method, predicate };
    let mut changed = Table::clone(&table);
    changed.derived.push(index);
    tx.define(vec![ids.entry(), (keys::table(table.id), Some(changed.encode()?))])?;
    Ok(done("CREATE INDEX"))
}

fn hnsw(table: &Table, columns: &[IndexColumn], with: &[Expr]) -> Result<(Vec<u16>, Method)> {
    let [column] = columns else {
        return Err(Error::statement("0A000", "access method \"hnsw\" does not support multicolumn indexes"));
    };
    let (column, class) = column_and_class(table, column)?;
    Ok((vec![column], Method::Hnsw(parameters(class, with)?)))
}

fn column_and_class(table: &Table, column: &IndexColumn) -> Result<(u16, VectorClass)> {
    let options = &column.column.options;
    if options.asc.is_some() || options.nulls_first.is_some() || column.column.with_fill.is_some() {
        return Err(Error::statement("0A000", "access method \"hnsw\" does not support ASC/DESC options"));
    }
    let Expr::Identifier(ident) = &column.column.expr else {
        return Err(Error::unsupported("a vector index of an expression"));
    };
    let name = parse::name(ident);
    let at =
        table.column(&name).ok_or_else(|| Error::statement("42703", format!("column \"{name}\" does not exist")))?;
    let ty = table.columns.get(at).map(|column| &column.ty);
    let ty = ty.ok_or_else(|| Error::internal("a column that is not there"))?;
    let named = crate::types::coerce::bare_name(ty);
    let (dimension, most) = match ty {
        Type::Vector(n) | Type::Halfvec(n) => (*n, parse::MAX_DIMENSIONS),
        Type::Bit(n) => (*n, MAX_BITS),
        Type::Sparsevec(_) => {
            return Err(Error::unsupported("a vector index of a sparsevec column")
                .with_hint("Such columns are compared row by row, exactly."));
        }
        Type::Varbit(_) => return Err(Error::statement("0A000", "type not supported for hnsw index")),
        _ => {
            let message = format!("data type {named} has no default operator class for access method \"hnsw\"");
            return Err(Error::statement("42704", message));
        }
    };
    if dimension == 0 {
        return Err(Error::statement("22023", "column does not have dimensions"));
    }
    if dimension > most {
        let message = format!("column cannot have more than {most} dimensions for hnsw index");
        return Err(Error::limit("54000", message));
    }
    let Some(class) = &column.operator_class else {
        let message = format!("data type {named} has no default operator class for access method \"hnsw\"");
        return Err(Error::statement("42704", message)
            .with_hint("You must specify an operator class for the index, such as vector_cosine_ops."));
    };
    Ok((at as u16, class_of(&parse::relation(class)?, &named)?))
}

/// Most bits of a string in an index.
const MAX_BITS: u32 = 64_000;

/// The class of a type that has this name.
fn class_of(name: &str, ty: &str) -> Result<VectorClass> {
    let class = |ty: &str| Some((ty.to_owned(), name.strip_prefix(ty)?.strip_prefix('_')?.strip_suffix("_ops")?));
    let found = ["vector", "halfvec", "bit"].into_iter().find_map(class);
    let found = found.and_then(|(of, said)| {
        let class = VectorClass::ALL.into_iter().find(|class| class.class() == said)?;
        (class.is_of_bits() == (of == "bit")).then_some((of, class))
    });
    match found {
        Some((of, class)) if of == ty => Ok(class),
        Some(_) => {
            let message = format!("operator class \"{name}\" does not accept data type {ty}");
            Err(Error::statement("42804", message))
        }
        None => {
            let message = format!("operator class \"{name}\" does not exist for access method \"hnsw\"");
            Err(Error::statement("42704", message))
        }
    }
}

/// What WITH says. pgvector's names and ranges, but 200 candidates where nothing is said.
fn parameters(class: VectorClass, with: &[Expr]) -> Result<Hnsw> {
    let code_bits = if class.is_of_bits() { 0 } else { 8 };
    let mut hnsw = Hnsw { class, m: 16, ef_construction: 200, code_bits };
    for option in with {
        let (column, name, value) = option_of(option)?;
        match name.as_str() {
            _ if column.is_some() => return Err(unknown(&name)),
            "m" => hnsw.m = number(&name, &value, 2, 100)?,
            "ef_construction" => hnsw.ef_construction = number(&name, &value, 4, 1000)?,
            "quantization" if class.is_of_bits() && value != "none" => {
                return Err(Error::statement("22023", "strings of bits have no smaller codes"));
            }
            "quantization" => hnsw.code_bits = self::code_bits(&value)?,
            _ => return Err(unknown(&name)),
        }
    }
    if hnsw.ef_construction < 2 * hnsw.m {
        return Err(Error::statement("22023", "ef_construction must be greater than or equal to 2 * m"));
    }
    Ok(hnsw)
}

fn unknown(name: &str) -> Error {
    Error::statement("22023", format!("unrecognized parameter \"{name}\""))
}

/// An option of WITH: the column that it is for, if it says one, its name and its value.
pub fn option_of(option: &Expr) -> Result<(Option<String>, String, String)> {
    if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = option
        && let Some((column, name)) = option_name(left)
    {
        let value = match right.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(text, _) | Value::SingleQuotedString(text) => Some(text.clone()),
                Value::Boolean(value) => Some(value.to_string()),
                _ => None,
            },
            Expr::Identifier(word) => Some(word.value.clone()),
            _ => None,
        };
        if let Some(value) = value {
            return Ok((column, name, value));
        }
    }
    Err(Error::statement("42601", format!("syntax error at or near \"{option}\"")))
}

fn option_name(expr: &Expr) -> Option<(Option<String>, String)> {
    match expr {
        Expr::Identifier(name) => Some((None, parse::name(name))),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [column, name] => Some((Some(parse::name(column)), parse::name(name))),
            _ => None,
        },
        _ => None,
    }
}

fn number(name: &str, value: &str, least: u16, most: u16) -> Result<u16> {
    let number: i64 = value
        .parse()
        .map_err(|_| Error::statement("22023", format!("invalid value for integer option \"{name}\": {value}")))?;
    let fitting = u16::try_from(number).ok().filter(|number| (least..=most).contains(number));
    fitting.ok_or_else(|| {
        Error::statement("22023", format!("value {value} out of bounds for option \"{name}\""))
            .with_detail(format!("Valid values are between \"{least}\" and \"{most}\"."))
    })
}

fn code_bits(value: &str) -> Result<u8> {
    Ok(match value {
        "none" => 0,
        "sq8" => 8,
        "rabitq" => 1,
        other => {
            return Err(Error::statement("22023", format!("invalid value for option \"quantization\": {other}"))
                .with_hint("It is none, sq8 (the default: one byte a number) or rabitq (one bit a number)."));
        }
    })
}
