//! INSERT.

use super::conflict::{Action, OnConflictRule};
use super::{Change, constant, no_column, returning, stored_values};
use crate::engine::Engine;
use crate::error::from_datafusion;
use crate::outcome::Outcome;
use crate::parse;
use crate::planner::Planner;
use crate::statement::Statement;
use futures::StreamExt;
use nodedb_base::{Error, Result, Value};
use nodedb_store::Transaction;
use nodedb_store::catalog::Table;
use sqlparser::ast::{Expr, Insert, Query, SelectItem, SetExpr, Statement as Ast, TableObject, Values};

/// Runs an INSERT.
pub async fn run(engine: &Engine, statement: Statement<'_>, tx: &mut Transaction, insert: &Insert) -> Result<Outcome> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::unsupported("INSERT INTO a function or a query"));
    };
    let relation = parse::relation(name)?;
    let alias = insert.table_alias.as_ref().map_or_else(|| relation.clone(), |alias| parse::name(&alias.alias));
    let mut change = Change::new(engine, statement, tx, &relation, "INSERT", insert.returning.is_some())?;
    let columns = columns(change.table(), insert)?;
    let mut on_conflict = match &insert.on {
        Some(on) => Some(OnConflictRule::compile(&change, &alias, on)?),
        None => None,
    };
    match insert.source.as_deref() {
        None => {
            let row = fill_defaults(&change, &[], Vec::new()).await?;
            put(&mut change, row, &mut on_conflict)?;
        }
        Some(source) => match plain_values(source) {
            Some(values) => insert_values(&mut change, &columns, values, &mut on_conflict).await?,
            None => insert_query(&mut change, &columns, source.clone(), &mut on_conflict).await?,
        },
    }
    change.finish()?;
    returning::outcome(change, "INSERT 0", &alias, insert.returning.clone()).await
}

fn columns(table: &Table, insert: &Insert) -> Result<Vec<usize>> {
    if insert.columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut columns = Vec::new();
    for name in &insert.columns {
        let name = name.0.last().and_then(|part| part.as_ident()).map(parse::name).unwrap_or_default();
        let column = table.column(&name).ok_or_else(|| no_column(&name, &table.name))?;
        if columns.contains(&column) {
            return Err(Error::statement("42701", format!("column \"{name}\" specified more than once")));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// The rows of a source that is nothing but VALUES.
fn plain_values(source: &Query) -> Option<&Values> {
    let plain = source.with.is_none() && source.order_by.is_none() && source.limit_clause.is_none();
    match source.body.as_ref() {
        SetExpr::Values(values) if plain => Some(values),
        _ => None,
    }
}

async fn insert_values(
    change: &mut Change<'_>,
    columns: &[usize],
    values: &Values,
    on_conflict: &mut Option<OnConflictRule>,
) -> Result<()> {
    let mut rows = Vec::with_capacity(values.rows.len());
    let mut computed = Vec::new();
    for exprs in &values.rows {
        let exprs: &[Expr] = exprs;
        check_width(columns.len(), exprs.len(), change.table().columns.len())?;
        let mut row = Vec::with_capacity(exprs.len());
        for (column, expr) in columns.iter().zip(exprs) {
            let table = change.table();
            let default;
            let expr = if is_default(expr) {
                default = with_default(table, *column, expr.clone())?;
                &default
            } else {
                expr
            };
            let ty = table.columns.get(*column).map(|column| &column.ty);
            let ty = ty.ok_or_else(|| Error::internal("a column is not there"))?;
            row.push(match constant(expr, ty, &change.statement) {
                Some(value) => value?,
                None => {
                    computed.push((rows.len(), row.len(), expr.clone(), ty.clone()));
                    Value::Null
                }
            });
        }
        rows.push(row);
    }
    compute(change, &mut rows, computed).await?;
    for row in rows {
        let row = fill_defaults(change, columns, row).await?;
        put(change, row, on_conflict)?;
    }
    Ok(())
}

/// Computes what is no constant, all of it in one go.
async fn compute(
    change: &Change<'_>,
    rows: &mut [Vec<Value>],
    computed: Vec<(usize, usize, Expr, nodedb_base::Type)>,
) -> Result<()> {
    if computed.is_empty() {
        return Ok(());
    }
    let planner = Planner::new(change.engine, &change.statement, change.tx.view().clone());
    let exprs = computed.iter().map(|(_, _, expr, _)| expr.clone()).collect();
    let batch = select_one(&planner, exprs).await?;
    for (n, (row, at, _, ty)) in computed.into_iter().enumerate() {
        let value = stored_values(batch.column(n), &ty, &change.statement)?.pop().unwrap_or(Value::Null);
        if let Some(slot) = rows.get_mut(row).and_then(|row| row.get_mut(at)) {
            *slot = value;
        }
    }
    Ok(())
}

/// The one row of `SELECT exprs`.
async fn select_one(planner: &Planner<'_>, exprs: Vec<Expr>) -> Result<arrow::array::RecordBatch> {
    let Some(Ast::Query(mut query)) = parse::statement("SELECT 1")? else {
        return Err(Error::internal("the template of a query is none"));
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        let quoted = |n| sqlparser::ast::Ident::with_quote('"', format!("\u{0}{n}"));
        let item = |(n, expr)| SelectItem::ExprWithAlias { expr, alias: quoted(n) };
        select.projection = exprs.into_iter().enumerate().map(item).collect();
    }
    let plan = planner.query(*query)?;
    let plan = planner.physical(&plan).await?;
    let mut stream = planner.run(plan)?;
    let batch = stream.next().await.ok_or_else(|| Error::internal("a row of values is empty"))?;
    batch.map_err(from_datafusion)
}

/// `DEFAULT` as the expression that it stands for.
pub fn with_default(table: &Table, column: usize, expr: Expr) -> Result<Expr> {
    if !is_default(&expr) {
        return Ok(expr);
    }
    let default = table.columns.get(column).and_then(|column| column.default.as_deref());
    parse::expression(default.unwrap_or("NULL"))
}

fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// A whole row from the given columns and the defaults of the others.
pub async fn fill_defaults(change: &Change<'_>, columns: &[usize], values: Vec<Value>) -> Result<Vec<Value>> {
    let table = change.table().clone();
    let identity = values.len() == table.columns.len() && columns.is_sorted();
    if identity {
        return Ok(values);
    }
    let mut row = vec![None; table.columns.len()];
    for (column, value) in columns.iter().zip(values) {
        if let Some(slot) = row.get_mut(*column) {
            *slot = Some(value);
        }
    }
    let mut whole = Vec::with_capacity(row.len());
    for (slot, column) in row.into_iter().zip(&table.columns) {
        whole.push(match (slot, &column.default) {
            (Some(value), _) => value,
            (None, None) => Value::Null,
            (None, Some(default)) => default_value(change, default, &column.ty).await?,
        });
    }
    Ok(whole)
}

async fn default_value(change: &Change<'_>, default: &str, ty: &nodedb_base::Type) -> Result<Value> {
    let expr = parse::expression(default)?;
    if let Some(value) = constant(&expr, ty, &change.statement) {
        return value;
    }
    let planner = Planner::new(change.engine, &change.statement, change.tx.view().clone());
    let batch = select_one(&planner, vec![expr]).await?;
    Ok(stored_values(batch.column(0), ty, &change.statement)?.pop().unwrap_or(Value::Null))
}

async fn insert_query(
    change: &mut Change<'_>,
    columns: &[usize],
    source: Query,
    on_conflict: &mut Option<OnConflictRule>,
) -> Result<()> {
    let mut stream = {
        let planner = Planner::new(change.engine, &change.statement, change.tx.view().clone());
        let plan = planner.query(source)?;
        check_width(columns.len(), plan.schema().fields().len(), change.table().columns.len())?;
        let plan = planner.physical(&plan).await?;
        planner.run(plan)?
    };
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(from_datafusion)?;
        let mut values = Vec::new();
        for (column, array) in columns.iter().zip(batch.columns()) {
            let ty = change.table().columns.get(*column).map(|column| column.ty.clone());
            let ty = ty.ok_or_else(|| Error::internal("a column is not there"))?;
            values.push(stored_values(array, &ty, &change.statement)?.into_iter());
        }
        for _ in 0..batch.num_rows() {
            let row = values.iter_mut().map(|column| column.next().unwrap_or(Value::Null)).collect();
            let given: Vec<usize> = columns.iter().copied().take(values.len()).collect();
            let row = fill_defaults(change, &given, row).await?;
            put(change, row, on_conflict)?;
        }
    }
    Ok(())
}

fn check_width(columns: usize, values: usize, all: usize) -> Result<()> {
    if values > columns {
        return Err(Error::statement("42601", "INSERT has more expressions than target columns"));
    }
    if values < columns && columns != all {
        return Err(Error::statement("42601", "INSERT has more target columns than expressions"));
    }
    Ok(())
}

fn put(change: &mut Change<'_>, row: Vec<Value>, on_conflict: &mut Option<OnConflictRule>) -> Result<()> {
    let Some(rule) = on_conflict else { return change.insert(row) };
    change.rules.check(&row)?;
    let id = change.new_row_id(&row)?;
    let keys = change.rules.keys(&row, id)?;
    match rule.decide(change, id, &row, &keys)? {
        Action::Insert => {
            rule.written(id);
            change.insert_checked(id, row, keys)
        }
        Action::Nothing => Ok(()),
        Action::Update(old, assigned) => change.update(&old, assigned),
    }
}

/// Fails if a part of the statement would be ignored.
pub fn expect_known(insert: &Insert) -> Result<()> {
    let Some(Ast::Insert(template)) = parse::statement("INSERT INTO t VALUES (1)")? else {
        return Err(Error::internal("the template of INSERT is none"));
    };
    let known = Insert {
        insert_token: insert.insert_token.clone(),
        table: insert.table.clone(),
        table_alias: insert.table_alias.clone(),
        columns: insert.columns.clone(),
        source: insert.source.clone(),
        on: insert.on.clone(),
        returning: insert.returning.clone(),
        ..template
    };
    parse::expect_known("INSERT", insert, &known)
}
