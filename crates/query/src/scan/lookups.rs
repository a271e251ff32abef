//! Rows that a join asks for. A hash join knows all keys of its smaller side before the other is read; where these are few and
//! the other side has a key for them, its rows are looked up rather than all read.
//!
//! The join stays as it is and the filter says only which rows it can make use of, so that whatever is not known in time costs
//! nothing but the scan that there would have been.

use super::access::Access;
use super::bounds::Bounds;
use super::rows::Source;
use crate::types::value_at;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, DynamicFilterPhysicalExpr, InListExpr, Literal};
use nodedb_base::{Result, RowId, Value};
use nodedb_store::catalog::IndexSource;
use std::sync::Arc;

/// What joins will say of a scan's rows.
#[derive(Clone, Debug, Default)]
pub struct Lookups(Vec<Arc<dyn PhysicalExpr>>);

impl Lookups {
    /// Whether no join says anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What joins say, each by an expression that changes once it is known.
    pub fn filters(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.0
    }

    /// These, and those among the filters that come with a join and are about a column that a key begins with.
    pub fn with<'f>(&self, source: &Source, filters: impl Iterator<Item = &'f Arc<dyn PhysicalExpr>>) -> Self {
        let is_of_key = |filter: &&Arc<dyn PhysicalExpr>| {
            let Some(dynamic) = filter.downcast_ref::<DynamicFilterPhysicalExpr>() else { return false };
            dynamic.children().iter().any(|child| key_column(source, child).is_some())
        };
        Self(self.0.iter().cloned().chain(filters.filter(is_of_key).cloned()).collect())
    }

    /// The rows of an access that joins have asked for by now, ascending; `None` if too little is known.
    ///
    /// # Errors
    /// Those of reading.
    pub fn rows(&self, source: &Source, all: &Access) -> Result<Option<Vec<RowId>>> {
        let (Access::Rows(from, to), Source { table, view, .. }) = (all, source) else { return Ok(None) };
        let mut bounds = Bounds::default();
        for filter in &self.0 {
            let said = filter.downcast_ref::<DynamicFilterPhysicalExpr>().and_then(|filter| filter.current().ok());
            said.iter().for_each(|said| add(source, said, &mut bounds));
        }
        if bounds.sources.is_empty() {
            return Ok(None);
        }
        let mut rows = match Access::choose(table, view, &bounds)? {
            Access::Nothing => Vec::new(),
            Access::Points(rows) => rows,
            Access::Keys { index, ranges, .. } => {
                let mut rows = Vec::new();
                for range in &ranges {
                    for row in view.rows_of_keys(index, range)? {
                        rows.push(row?);
                    }
                }
                rows
            }
            Access::Rows(..) => return Ok(None),
        };
        rows.retain(|row| (*from..=*to).contains(row));
        rows.sort_unstable();
        rows.dedup();
        Ok(Some(rows))
    }
}

/// The column of the table that an expression over the output is, if the row's number or an index begins with it.
fn key_column(source: &Source, expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let column = *source.columns.get(expr.downcast_ref::<Column>()?.index())?;
    let begins = |index: &nodedb_store::catalog::Index| {
        index.columns.first().is_some_and(|part| part.source == IndexSource::Column(column as u16))
    };
    (source.table.row_key() == Some(column) || source.table.indexes.iter().any(begins)).then_some(column)
}

/// Adds what a filter says of columns being one of some values.
fn add(source: &Source, said: &Arc<dyn PhysicalExpr>, bounds: &mut Bounds) {
    if let Some(both) = said.downcast_ref::<BinaryExpr>()
        && *both.op() == Operator::And
    {
        add(source, both.left(), bounds);
        add(source, both.right(), bounds);
    }
    let Some(list) = said.downcast_ref::<InListExpr>().filter(|list| !list.negated()) else { return };
    let Some(column) = key_column(source, list.expr()) else { return };
    if let Some(values) = list.list().iter().map(value).collect::<Option<Vec<_>>>() {
        let values = values.into_iter().filter(|value| !value.is_null());
        bounds.one_of(&source.table, column, values.collect());
    }
}

fn value(literal: &Arc<dyn PhysicalExpr>) -> Option<Value> {
    let array = literal.downcast_ref::<Literal>()?.value().to_array().ok()?;
    value_at(&array, 0, None).ok()
}
