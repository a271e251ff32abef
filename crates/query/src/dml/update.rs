//! UPDATE.

use super::{Change, affected_query, assigned_column, constant, returning, row_ids, stored_values, target};
use crate::engine::Engine;
use crate::outcome::Outcome;
use crate::parse;
use crate::statement::Statement;
use arrow::array::RecordBatch;
use nodedb_base::{Error, Result, RowId, Value};
use nodedb_store::Transaction;
use sqlparser::ast::{Expr, Statement as Ast, Update, UpdateTableFromKind};
use std::collections::BTreeMap;

/// Where the value of a column comes from.
enum Source {
    Constant(Value),
    /// A column of the affected rows' batch.
    Computed(usize),
}

/// Where the value of each assigned column comes from.
type Sources = Vec<(usize, Source)>;

/// Runs an UPDATE.
pub async fn run(engine: &Engine, statement: Statement<'_>, tx: &mut Transaction, update: &Update) -> Result<Outcome> {
    let (relation, alias) = target(&update.table)?;
    let mut change = Change::new(engine, statement, tx, &relation, "UPDATE", update.returning.is_some())?;
    let (sources, exprs) = sources(&change, update)?;
    let from = match update.from.clone() {
        Some(UpdateTableFromKind::AfterSet(from)) => from,
        Some(UpdateTableFromKind::BeforeSet(_)) => return Err(Error::unsupported("UPDATE t FROM ... SET")),
        None => Vec::new(),
    };
    let query = affected_query(update.table.clone(), &alias, exprs, from, update.selection.clone())?;
    let batches = change.select(&relation, query).await?;
    // A row that several rows of FROM match is changed once, by the first.
    let mut affected: BTreeMap<RowId, Vec<(usize, Value)>> = BTreeMap::new();
    for batch in &batches {
        collect(&change, batch, &sources, &mut affected)?;
    }
    drop(batches);
    let life = change.table().incarnation;
    for (id, assigned) in affected {
        if let Some(row) = change.tx.view().row(life, id)? {
            change.update(&row, assigned)?;
        }
    }
    change.finish()?;
    returning::outcome(change, "UPDATE", &alias, update.returning.clone()).await
}

fn sources(change: &Change<'_>, update: &Update) -> Result<(Sources, Vec<Expr>)> {
    let table = change.table();
    let (mut sources, mut exprs) = (Vec::new(), Vec::new());
    for assignment in &update.assignments {
        let column = assigned_column(table, assignment)?;
        if sources.iter().any(|(other, _)| *other == column) {
            let name = table.columns.get(column).map_or("?", |column| column.name.as_str());
            return Err(Error::statement("42601", format!("multiple assignments to same column \"{name}\"")));
        }
        let value = super::insert::with_default(table, column, assignment.value.clone())?;
        let Some(definition) = table.columns.get(column) else { continue };
        let source = match constant(&value, &definition.ty, &change.statement) {
            Some(value) => Source::Constant(value?),
            None => {
                exprs.push(value);
                Source::Computed(exprs.len())
            }
        };
        sources.push((column, source));
    }
    Ok((sources, exprs))
}

fn collect(
    change: &Change<'_>,
    batch: &RecordBatch,
    sources: &[(usize, Source)],
    affected: &mut BTreeMap<RowId, Vec<(usize, Value)>>,
) -> Result<()> {
    let mut columns = Vec::new();
    for (column, source) in sources {
        let Some(definition) = change.table().columns.get(*column) else { continue };
        columns.push(match source {
            Source::Constant(value) => vec![value.clone(); batch.num_rows()],
            Source::Computed(at) => stored_values(batch.column(*at), &definition.ty, &change.statement)?,
        });
    }
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    for id in row_ids(batch)? {
        let values = columns.iter_mut().map(|column| column.next().unwrap_or(Value::Null));
        let assigned = sources.iter().map(|(column, _)| *column).zip(values).collect();
        affected.entry(id).or_insert(assigned);
    }
    Ok(())
}

/// Fails if a part of the statement would be ignored.
pub fn expect_known(update: &Update) -> Result<()> {
    let Some(Ast::Update(template)) = parse::statement("UPDATE t SET a = 1")? else {
        return Err(Error::internal("the template of UPDATE is none"));
    };
    let known = Update {
        update_token: update.update_token.clone(),
        table: update.table.clone(),
        assignments: update.assignments.clone(),
        from: update.from.clone(),
        selection: update.selection.clone(),
        returning: update.returning.clone(),
        ..template
    };
    parse::expect_known("UPDATE", update, &known)
}
