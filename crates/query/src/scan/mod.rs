//! Tables as DataFusion sees them: a provider that turns filters, projection, order and limit into the
//! cheapest way through the keys ([`access`]), and the operator that walks it ([`exec`]).
//!
//! Filters are pushed down as *inexact*: whatever a key range has excluded, the filter itself stays on top.

pub mod access;
mod exec;
mod order;

pub use exec::ScanExec;
pub use order::OrderByKey;

use crate::error::to_datafusion;
use crate::types::arrow::field;
use access::Access;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use nodedb_base::Type;
use nodedb_store::View;
use nodedb_store::catalog::Table;
use std::sync::Arc;

/// The name of the column that carries the row id, for statements that change rows. No SQL identifier is it.
pub const ROW_ID: &str = "\u{0}row";

/// A table at a snapshot.
#[derive(Debug)]
pub struct TableScan {
    table: Arc<Table>,
    types: Arc<[Type]>,
    view: View,
    schema: SchemaRef,
    /// Whether the statement wants few rows, so that an order that a key has is worth more than a fast scan.
    limited: bool,
}

impl TableScan {
    /// `table` as `view` sees it; `with_row_id` adds [`ROW_ID`] behind its columns.
    pub fn new(table: Arc<Table>, view: View, with_row_id: bool, limited: bool) -> Self {
        let mut fields = table_fields(&table);
        if with_row_id {
            fields.push(Field::new(ROW_ID, DataType::UInt64, false));
        }
        let types = table.types().into();
        Self { table, types, view, schema: Arc::new(Schema::new(fields)), limited }
    }
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
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let access = Access::choose(&self.table, &self.view, filters).map_err(to_datafusion)?;
        // With a filter on top, the first rows of the scan need not be the rows that are wanted.
        let fetch = if filters.is_empty() { limit } else { None };
        let scan = ScanExec::new(
            exec::Source {
                table: self.table.clone(),
                types: self.types.clone(),
                view: self.view.clone(),
                columns: columns.into(),
                limited: self.limited,
            },
            schema,
            access,
            fetch,
        );
        let threads = if fetch.is_none() { session.config().target_partitions() } else { 1 };
        Ok(Arc::new(scan.split(threads).map_err(to_datafusion)?))
    }
}
