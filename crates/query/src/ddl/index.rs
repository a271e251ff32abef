//! CREATE INDEX.

use super::{Entries, Ids, already_exists, check, derived, done};
use crate::dml::no_column;
use crate::engine::Engine;
use crate::outcome::Outcome;
use crate::parse;
use crate::planner::{Planner, no_relation};
use crate::rules::RowExpr;
use nodedb_base::key::KeyOrder;
use nodedb_base::{Error, Incarnation, Result, RowId};
use nodedb_store::catalog::{Index, IndexColumn, IndexSource, Table};
use nodedb_store::{Transaction, keys};
use sqlparser::ast::{CreateIndex, Expr, IndexColumn as AstColumn, IndexType, Statement as Ast};

/// Runs a CREATE INDEX.
pub fn run(engine: &Engine, tx: &mut Transaction, create: &CreateIndex) -> Result<Outcome> {
    if derived::is_derived(create) {
        return derived::run(engine, tx, create);
    }
    check(tx, "CREATE INDEX")?;
    check_method(create)?;
    let relation = parse::relation(&create.table_name)?;
    let table = tx.catalog().table(&relation).ok_or_else(|| no_relation(&relation))?.clone();
    let columns = create.columns.iter().map(|column| index_column(engine, &table, column));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let name = match &create.name {
        Some(name) => parse::relation(name)?,
        None => tx.catalog().free_name(&default_name(&table, &columns), &[]),
    };
    if tx.catalog().has_relation(&name) {
        return if create.if_not_exists { Ok(done("CREATE INDEX")) } else { Err(already_exists(&name)) };
    }
    let mut ids = Ids::new(tx.catalog());
    let index = Index { id: Incarnation(ids.take()), name, unique: create.unique, columns, constraint: false };
    let id = index.id;
    let mut changed = Table::clone(&table);
    changed.indexes.push(index);
    let entries: Entries = vec![ids.entry(), (keys::table(table.id), Some(changed.encode()?))];
    tx.define(entries)?;
    fill(engine, tx, table.id, id)?;
    Ok(done("CREATE INDEX"))
}

/// Puts the keys of all rows into a new index. Nobody may change rows meanwhile.
pub fn fill(engine: &Engine, tx: &mut Transaction, table: u32, index: Incarnation) -> Result<()> {
    let table = tx.catalog().table_by_id(table).ok_or_else(|| Error::internal("a new index has no table"))?.clone();
    let rules = engine.rules(&table)?;
    let view = tx.view().clone();
    tx.require_quiet(table.incarnation);
    for row in view.rows(table.incarnation, RowId(0), RowId(u64::MAX), false)? {
        let row = row?;
        let values = rules.read(&view, &row, |_| false)?;
        if let Some(entry) = rules.key_in(index, &values, row.id)? {
            tx.add_key(table.incarnation, row.id, entry).map_err(|e| not_unique(e, &table, index))?;
        }
    }
    Ok(())
}

fn not_unique(error: Error, table: &Table, index: Incarnation) -> Error {
    let name = table.index(index).map_or("?", |index| index.name.as_str());
    match error {
        Error::Constraint(_) => Error::constraint("23505", format!("could not create unique index \"{name}\"")),
        other => other,
    }
}

fn check_method(create: &CreateIndex) -> Result<()> {
    match &create.using {
        None | Some(IndexType::BTree) => Ok(()),
        Some(IndexType::Custom(name)) if name.value.eq_ignore_ascii_case("ivfflat") => {
            Err(Error::unsupported("CREATE INDEX ... USING ivfflat")
                .with_hint("Use hnsw: CREATE INDEX ON table USING hnsw (column vector_cosine_ops)."))
        }
        Some(IndexType::Custom(name)) if !name.value.eq_ignore_ascii_case("btree") => {
            Err(Error::statement("42704", format!("access method \"{}\" does not exist", parse::name(name))))
        }
        Some(method) => Err(Error::unsupported(format!("CREATE INDEX ... USING {method}"))),
    }
}

fn index_column(engine: &Engine, table: &Table, column: &AstColumn) -> Result<IndexColumn> {
    if let Some(class) = &column.operator_class {
        return Err(Error::unsupported(format!("operator class {class}")));
    }
    if column.column.with_fill.is_some() {
        return Err(Error::unsupported("WITH FILL"));
    }
    let options = &column.column.options;
    let descending = options.asc == Some(false);
    let order = KeyOrder { descending, nulls_first: options.nulls_first.unwrap_or(descending) };
    let (source, ty) = match &column.column.expr {
        Expr::Identifier(ident) => {
            let name = parse::name(ident);
            let at = table
                .column(&name)
                .ok_or_else(|| Error::statement("42703", format!("column \"{name}\" does not exist")))?;
            let ty = table.columns.get(at).map(|column| column.ty.clone());
            (IndexSource::Column(at as u16), ty.ok_or_else(|| no_column(&name, &table.name))?)
        }
        expr => {
            let expr = if let Expr::Nested(inner) = expr { inner.as_ref() } else { expr };
            let planner = Planner::without_tables(engine, &[]);
            let compiled = RowExpr::compile(&planner, table, expr.clone())?;
            compiled.check_immutable()?;
            (IndexSource::Expression(expr.to_string()), compiled.ty()?)
        }
    };
    if !ty.is_orderable() {
        let name = crate::types::coerce::bare_name(&ty);
        let message = format!("data type {name} has no default operator class for access method \"btree\"");
        return Err(Error::statement("42704", message));
    }
    Ok(IndexColumn { source, ty, order })
}

fn default_name(table: &Table, columns: &[IndexColumn]) -> String {
    let parts = columns.iter().map(|column| match column.source {
        IndexSource::Column(at) => table.columns.get(usize::from(at)).map_or("expr", |column| column.name.as_str()),
        IndexSource::Expression(_) => "expr",
    });
    format!("{}_{}_idx", table.name, parts.collect::<Vec<_>>().join("_"))
}

/// Fails if a part of the statement would be ignored.
pub fn expect_known(create: &CreateIndex) -> Result<()> {
    let Some(Ast::CreateIndex(template)) = parse::statement("CREATE INDEX i ON t (a)")? else {
        return Err(Error::internal("the template of CREATE INDEX is none"));
    };
    let known = CreateIndex {
        name: create.name.clone(),
        table_name: create.table_name.clone(),
        using: create.using.clone(),
        columns: create.columns.clone(),
        unique: create.unique,
        if_not_exists: create.if_not_exists,
        with: if derived::is_derived(create) { create.with.clone() } else { Vec::new() },
        predicate: create.predicate.clone().filter(|_| derived::is_of_vectors(create)),
        ..template
    };
    parse::expect_known("CREATE INDEX", create, &known)
}

/// An index of a constraint: plain columns, in default order.
pub fn of_constraint(id: u32, name: String, unique: bool, table: &Table, columns: &[u16]) -> Result<Index> {
    let columns = columns.iter().map(|&at| {
        let column = table.columns.get(usize::from(at)).ok_or_else(|| Error::internal("a column is not there"))?;
        if !column.ty.is_orderable() {
            let ty = crate::types::coerce::bare_name(&column.ty);
            let message = format!("data type {ty} has no default operator class for access method \"btree\"");
            return Err(Error::statement("42704", message));
        }
        Ok(IndexColumn { source: IndexSource::Column(at), ty: column.ty.clone(), order: KeyOrder::default() })
    });
    Ok(Index { id: Incarnation(id), name, unique, columns: columns.collect::<Result<_>>()?, constraint: true })
}
