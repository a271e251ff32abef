//! CREATE INDEX ... USING bm25.

use crate::parse;
use nodedb_base::{Error, Result, Type};
use nodedb_index::text::LANGUAGES;
use nodedb_store::catalog::{Bm25, Bm25Column, Method, Table};
use sqlparser::ast::{Expr, IndexColumn};

/// The columns of the index, and how they are indexed.
///
/// # Errors
/// `Statement`: 42703, 42804 for columns that cannot be, 22023 for options that cannot be.
pub fn columns_and_method(table: &Table, columns: &[IndexColumn], with: &[Expr]) -> Result<(Vec<u16>, Method)> {
    let columns = columns.iter().map(|column| text_column(table, column)).collect::<Result<Vec<_>>>()?;
    let plain =
        Bm25Column { tokenizer: "words".to_owned(), language: None, stopwords: false, positions: true, boost: 100 };
    let mut bm25 = Bm25 { columns: vec![plain; columns.len()] };
    for option in with {
        let (column, name, value) = super::derived::option_of(option)?;
        match column {
            None => bm25.columns.iter_mut().try_for_each(|column| set(column, &name, &value))?,
            Some(of) => {
                let at = table.column(&of).and_then(|at| columns.iter().position(|column| usize::from(*column) == at));
                let column = at.and_then(|at| bm25.columns.get_mut(at)).ok_or_else(|| {
                    Error::statement("42703", format!("column \"{of}\" is not among those of the index"))
                })?;
                set(column, &name, &value)?;
            }
        }
    }
    let has_endings = |column: &Bm25Column| matches!(column.tokenizer.as_str(), "words" | "whitespace" | "cjk");
    if let Some(column) = bm25.columns.iter().find(|column| column.language.is_some() && !has_endings(column)) {
        let message = format!("tokenizer {} makes no words, which a language needs", column.tokenizer);
        return Err(Error::statement("22023", message));
    }
    Ok((columns, Method::Bm25(bm25)))
}

fn text_column(table: &Table, column: &IndexColumn) -> Result<u16> {
    let options = &column.column.options;
    if options.asc.is_some() || options.nulls_first.is_some() || column.column.with_fill.is_some() {
        return Err(Error::statement("0A000", "access method \"bm25\" does not support ASC/DESC options"));
    }
    if let Some(class) = &column.operator_class {
        return Err(Error::statement(
            "42704",
            format!("operator class \"{class}\" does not exist for access method \"bm25\""),
        ));
    }
    let Expr::Identifier(ident) = &column.column.expr else {
        return Err(Error::unsupported("a text index of an expression"));
    };
    let name = parse::name(ident);
    let at =
        table.column(&name).ok_or_else(|| Error::statement("42703", format!("column \"{name}\" does not exist")))?;
    match table.columns.get(at).map(|column| &column.ty) {
        Some(Type::Text | Type::Varchar(_)) => Ok(at as u16),
        ty => {
            let ty = ty.map(crate::types::coerce::bare_name).unwrap_or_default();
            let message = format!("data type {ty} has no default operator class for access method \"bm25\"");
            Err(Error::statement("42704", message).with_hint("It indexes text and varchar."))
        }
    }
}

fn set(column: &mut Bm25Column, name: &str, value: &str) -> Result<()> {
    match name {
        "tokenizer" => {
            value.parse::<nodedb_index::text::Cut>()?;
            column.tokenizer = value.to_owned();
        }
        "language" => {
            let known = LANGUAGES.iter().any(|(known, _)| *known == value);
            if !known && value != "none" {
                let known: Vec<_> = LANGUAGES.iter().map(|(name, _)| *name).collect();
                return Err(Error::statement("22023", format!("invalid value for option \"language\": {value}"))
                    .with_hint(format!("It is none, {}.", known.join(", "))));
            }
            column.language = known.then(|| value.to_owned());
        }
        "stopwords" => column.stopwords = crate::settings::boolean(name, value)?,
        "positions" => column.positions = crate::settings::boolean(name, value)?,
        "boost" => {
            let boost: f64 = value.parse().ok().filter(|boost| (0.01..=100.0).contains(boost)).ok_or_else(|| {
                Error::statement("22023", format!("invalid value for option \"boost\": {value}"))
                    .with_hint("It is a number from 0.01 to 100.")
            })?;
            column.boost = (boost * 100.0).round() as u32;
        }
        _ => {
            return Err(Error::statement("22023", format!("unrecognized parameter \"{name}\"")).with_hint(
                "It is tokenizer, language, stopwords, positions or boost, for all columns or as column.option.",
            ));
        }
    }
    Ok(())
}
