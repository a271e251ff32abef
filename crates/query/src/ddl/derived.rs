//! CREATE INDEX ... USING hnsw.

use super::{Ids, already_exists, check, done};
use crate::outcome::Outcome;
use crate::parse;
use crate::planner::no_relation;
use nodedb_base::{Error, Incarnation, Result, Type};
use nodedb_store::catalog::{DerivedIndex, Hnsw, Method, Table, VectorClass};
use nodedb_store::{Transaction, keys};
use sqlparser::ast::{BinaryOperator, CreateIndex, Expr, IndexColumn, IndexType, Value};

/// Whether a statement makes a derived index.
pub fn is_derived(create: &CreateIndex) -> bool {
    matches!(&create.using, Some(IndexType::Custom(name)) if name.value.eq_ignore_ascii_case("hnsw"))
}

/// Runs it: the index is filled once the statement has committed.
pub fn run(tx: &mut Transaction, create: &CreateIndex) -> Result<Outcome> {
    check(tx, "CREATE INDEX")?;
    if create.unique {
        return Err(Error::statement("0A000", "access method \"hnsw\" does not support unique indexes"));
    }
    let relation = parse::relation(&create.table_name)?;
    let table = tx.catalog().table(&relation).ok_or_else(|| no_relation(&relation))?.clone();
    let [column] = create.columns.as_slice() else {
        return Err(Error::statement("0A000", "access method \"hnsw\" does not support multicolumn indexes"));
    };
    let (column, class) = column_and_class(&table, column)?;
    let name = match &create.name {
        Some(name) => parse::relation(name)?,
        None => {
            let column = table.columns.get(usize::from(column)).map_or("expr", |column| column.name.as_str());
            tx.catalog().free_name(&format!("{}_{column}_idx", table.name), &[])
        }
    };
    if tx.catalog().has_relation(&name) {
        return if create.if_not_exists { Ok(done("CREATE INDEX")) } else { Err(already_exists(&name)) };
    }
    let method = Method::Hnsw(parameters(class, &create.with)?);
    let mut ids = Ids::new(tx.catalog());
    let index = DerivedIndex { id: Incarnation(ids.take()), name, column, method };
    let mut changed = Table::clone(&table);
    changed.derived.push(index);
    tx.define(vec![ids.entry(), (keys::table(table.id), Some(changed.encode()?))])?;
    Ok(done("CREATE INDEX"))
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
    let Some(Type::Vector(dimension)) = ty else {
        let ty = ty.map(crate::types::coerce::bare_name).unwrap_or_default();
        let message = format!("data type {ty} has no default operator class for access method \"hnsw\"");
        return Err(Error::statement("42704", message));
    };
    if *dimension == 0 {
        return Err(Error::statement("22023", "column does not have dimensions"));
    }
    let Some(class) = &column.operator_class else {
        let message = "data type vector has no default operator class for access method \"hnsw\"";
        return Err(Error::statement("42704", message)
            .with_hint("You must specify an operator class for the index, such as vector_cosine_ops."));
    };
    Ok((at as u16, class_of(&parse::relation(class)?)?))
}

fn class_of(name: &str) -> Result<VectorClass> {
    Ok(match name {
        "vector_l2_ops" => VectorClass::L2,
        "vector_ip_ops" => VectorClass::InnerProduct,
        "vector_cosine_ops" => VectorClass::Cosine,
        other => {
            let message = format!("operator class \"{other}\" does not exist for access method \"hnsw\"");
            return Err(Error::statement("42704", message));
        }
    })
}

/// What WITH says. pgvector's names and ranges, but 200 candidates where nothing is said.
fn parameters(class: VectorClass, with: &[Expr]) -> Result<Hnsw> {
    let mut hnsw = Hnsw { class, m: 16, ef_construction: 200, code_bits: 8 };
    for option in with {
        let (name, value) = option_of(option)?;
        match name.as_str() {
            "m" => hnsw.m = number(&name, &value, 2, 100)?,
            "ef_construction" => hnsw.ef_construction = number(&name, &value, 4, 1000)?,
            "quantization" => hnsw.code_bits = code_bits(&value)?,
            _ => return Err(Error::statement("22023", format!("unrecognized parameter \"{name}\""))),
        }
    }
    if hnsw.ef_construction < 2 * hnsw.m {
        return Err(Error::statement("22023", "ef_construction must be greater than or equal to 2 * m"));
    }
    Ok(hnsw)
}

fn option_of(option: &Expr) -> Result<(String, String)> {
    if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = option
        && let Expr::Identifier(name) = left.as_ref()
    {
        let value = match right.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(text, _) | Value::SingleQuotedString(text) => Some(text.clone()),
                _ => None,
            },
            Expr::Identifier(word) => Some(word.value.clone()),
            _ => None,
        };
        if let Some(value) = value {
            return Ok((parse::name(name), value));
        }
    }
    Err(Error::statement("42601", format!("syntax error at or near \"{option}\"")))
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
