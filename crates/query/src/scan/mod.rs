//! Tables as DataFusion sees them: a provider that turns filters, projection, order and limit into the
//! cheapest way through the keys ([`access`]), and the operator ([`exec`]) that walks it ([`rows`]).
//!
//! Filters are pushed down as *inexact*: whatever a key range has excluded, the filter itself stays on top.

pub mod access;
pub mod bounds;
mod exec;
mod nearest;
pub mod order;
mod rows;
mod text;

pub use bounds::IndexedExpr;
pub use exec::{ScanExec, describe};
pub use nearest::{Asking, MOST_ROWS, Target, TopByIndex, asked};
pub use order::OrderByKey;
pub use rows::{BatchReader, Source, of_numbers};

use crate::engine::Engine;
use crate::error::to_datafusion;
use crate::partial::PartialIndex;
use crate::types::arrow::field;
use access::Access;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use async_trait::async_trait;
use bounds::Bounds;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use nodedb_base::{Error, Result, Type};
use nodedb_store::View;
use nodedb_store::catalog::{IndexSource, Table};
use std::sync::Arc;
use text::TextExec;

/// The name of the column that carries the row id, for statements that change rows. No SQL identifier is it.
pub const ROW_ID: &str = "\u{0}row";

/// A table at a snapshot.
#[derive(Debug)]
pub struct TableScan {
    source: Source,
    expressions: Arc<[IndexedExpr]>,
    partial: Arc<[PartialIndex]>,
    schema: SchemaRef,
}

impl TableScan {
    /// `table` as `view` sees it; `with_row_id` adds [`ROW_ID`] behind its columns. `limited` says that the statement
    /// wants few rows, so that an order that a key has is worth more than a fast scan.
    ///
    /// # Errors
    /// `Damaged` if an expression of the catalogue cannot be compiled.
    pub fn new(engine: &Engine, table: Arc<Table>, view: View, with_row_id: bool, limited: bool) -> Result<Self> {
        let mut fields = table_fields(&table);
        if with_row_id {
            fields.push(row_id_field());
        }
        let mut parts = table.indexes.iter().flat_map(|index| &index.columns);
        let has_expressions = parts.any(|part| matches!(part.source, IndexSource::Expression(_)));
        let (expressions, partial) = match has_expressions || table.has_partial_indexes() {
            true => {
                let rules = engine.rules(&table)?;
                (rules.indexed_expressions().clone(), rules.partial_indexes().clone())
            }
            false => Default::default(),
        };
        let (types, columns): (Arc<[Type]>, _) = (table.types().into(), (0..fields.len()).collect());
        let source = Source { table, types, view, columns, limited, asking: None };
        Ok(Self { source, expressions, partial, schema: Arc::new(Schema::new(fields)) })
    }
}

impl TableScan {
    /// The same, which may ask derived indexes.
    #[must_use]
    pub fn asking(mut self, asking: Asking) -> Self {
        self.source.asking = Some(asking);
        self
    }
}

/// The row ids of a batch, of which they are the last column.
fn row_ids(batch: &RecordBatch) -> Result<&[u64]> {
    let last = batch.columns().last().and_then(|last| last.as_primitive_opt::<UInt64Type>());
    last.map(|last| &last.values()[..]).ok_or_else(|| Error::internal("rows without their numbers"))
}

/// The column of row ids.
fn row_id_field() -> Field {
    Field::new(ROW_ID, DataType::UInt64, false)
}

/// The columns of a table as Arrow fields.
pub fn table_fields(table: &Table) -> Vec<Field> {
    table.columns.iter().map(|column| field(&column.name, &column.ty, !column.not_null)).collect()
}

#[async_trait]
impl TableProvider for TableScan {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let is_text =
            |filter: &Expr| self.source.asking.is_some() && text::test_of(&self.source.table, filter).is_some();
        let of = |filter: &&Expr| match is_text(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut source = self.source.clone();
        if let Some(projection) = projection {
            source.columns = projection.as_slice().into();
        }
        let schema = Arc::new(self.schema.project(&source.columns)?);
        if let Some(asking) = &source.asking {
            let scan = TextExec::of_filters(&source, &schema, &asking.text, filters).map_err(to_datafusion)?;
            if let Some(scan) = scan {
                return Ok(Arc::new(scan));
            }
        }
        let bounds = Bounds::of_filters(&source.table, &self.expressions, filters);
        if let Some(asking) = &mut source.asking {
            let covering = self.partial.iter().filter(|index| index.covers(filters, &bounds));
            asking.partial = covering.map(PartialIndex::id).collect();
        }
        let access = Access::choose(&source.table, &source.view, &bounds).map_err(to_datafusion)?;
        // With a filter on top, the first rows of the scan need not be the rows that are wanted.
        let fetch = if filters.is_empty() { limit } else { None };
        let scan = ScanExec::new(source, schema, access, fetch);
        let threads = if fetch.is_none() { session.config().target_partitions() } else { 1 };
        Ok(Arc::new(scan.split(threads).map_err(to_datafusion)?))
    }
}
