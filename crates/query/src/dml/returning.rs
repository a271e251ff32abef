//! RETURNING: a SELECT over the rows that were changed.

use super::Change;
use crate::error::from_datafusion;
use crate::outcome::{Outcome, Tag};
use crate::parse;
use crate::planner::Planner;
use crate::scan::table_fields;
use crate::types::build;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::datasource::MemTable;
use nodedb_base::{Error, Result};
use sqlparser::ast::{SelectItem, SetExpr, Statement as Ast, TableFactor, TableWithJoins};
use std::sync::Arc;

/// What a statement that changed rows answers.
pub async fn outcome(
    change: Change<'_>,
    verb: &'static str,
    alias: &str,
    returning: Option<Vec<SelectItem>>,
) -> Result<Outcome> {
    let tag = Tag::rows_changed(verb, change.count);
    let (Some(items), Some(rows)) = (returning, change.returned.as_ref()) else { return Ok(Outcome::Done(tag)) };
    let fields = table_fields(change.table()).into_iter().map(|field| field.with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let types = change.rules.types();
    let columns = types.iter().enumerate().map(|(at, ty)| build::column(ty, rows.iter().filter_map(|row| row.get(at))));
    let batch = RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)
        .map_err(|e| Error::internal(format!("could not make the rows of RETURNING: {e}")))?;
    let mut planner = Planner::new(change.engine, &change.statement, change.tx.view().clone());
    let table = MemTable::try_new(schema, vec![vec![batch]]).map_err(from_datafusion)?;
    planner.define(alias, Arc::new(table));
    let Some(Ast::Query(mut query)) = parse::statement("SELECT 1 FROM t")? else {
        return Err(Error::internal("the template of a query is none"));
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        if let Some(TableWithJoins { relation: TableFactor::Table { name, .. }, .. }) = select.from.first_mut() {
            *name = super::object_name(alias);
        }
    }
    let plan = planner.query(*query)?;
    let plan = planner.physical(&plan).await?;
    let stream = planner.run(plan)?;
    Outcome::rows(stream, Some(tag))
}
