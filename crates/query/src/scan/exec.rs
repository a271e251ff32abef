//! The operator that walks a table.

use super::access::{Access, estimated_rows, row_span};
use super::order;
use super::rows::{BatchReader, Source};
use crate::error::to_datafusion;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SortOrderPushdownResult,
};
use nodedb_base::{Result, RowId};
use nodedb_store::catalog::Table;
use std::fmt;
use std::sync::Arc;

/// Tables with fewer rows are read by one thread.
const SPLIT_ROWS: usize = 20_000;

/// Reads a table by one [`Access`] a partition.
#[derive(Debug)]
pub struct ScanExec {
    source: Source,
    schema: SchemaRef,
    parts: Vec<Access>,
    backward: bool,
    ordered: Option<Vec<PhysicalSortExpr>>,
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    /// A scan in one partition.
    pub fn new(source: Source, schema: SchemaRef, access: Access, fetch: Option<usize>) -> Self {
        let properties = properties(&schema, 1, None);
        let (parts, metrics) = (vec![access], ExecutionPlanMetricsSet::new());
        Self { source, schema, parts, backward: false, ordered: None, fetch, properties, metrics }
    }

    /// The same in several partitions, if the table is large and all of it is read.
    ///
    /// # Errors
    /// Those of reading.
    pub fn split(mut self, threads: usize) -> Result<Self> {
        if self.parts != [Access::ALL] || threads < 2 {
            return Ok(self);
        }
        let Source { table, view, .. } = &self.source;
        let Some(span) = row_span(table, view)?.filter(|span| estimated_rows(*span) >= SPLIT_ROWS) else {
            return Ok(self);
        };
        let (RowId(first), RowId(last)) = span;
        let step = (last - first) / threads as u64 + 1;
        let mut parts = Vec::new();
        let mut from = first;
        while from <= last {
            let to = from.saturating_add(step - 1).min(last);
            parts.push(Access::Rows(RowId(from), RowId(to)));
            if to == u64::MAX {
                break;
            }
            from = to + 1;
        }
        self.properties = properties(&self.schema, parts.len(), None);
        self.parts = parts;
        Ok(self)
    }

    /// The columns of the table that the columns of the output are.
    pub fn table_column(&self, output: usize) -> Option<usize> {
        self.source.columns.get(output).copied()
    }

    /// What is read.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The access; of several partitions together, it is all rows.
    pub fn access(&self) -> Option<&Access> {
        match self.parts.as_slice() {
            [access] => Some(access),
            parts => parts.first().map(|_| &Access::ALL),
        }
    }

    /// The same rows by another way that yields them in `order`.
    pub fn ordered_by(&self, access: Access, backward: bool, order: Vec<PhysicalSortExpr>) -> Self {
        Self {
            source: self.source.clone(),
            schema: self.schema.clone(),
            parts: vec![access],
            backward,
            properties: properties(&self.schema, 1, Some(&order)),
            ordered: Some(order),
            fetch: self.fetch,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

fn properties(schema: &SchemaRef, partitions: usize, order: Option<&Vec<PhysicalSortExpr>>) -> Arc<PlanProperties> {
    let mut equivalences = EquivalenceProperties::new(schema.clone());
    if let Some(order) = order {
        equivalences.add_ordering(order.iter().cloned());
    }
    Arc::new(PlanProperties::new(
        equivalences,
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = self.access().unwrap_or(&Access::Nothing);
        let order = self.ordered.iter().flatten().map(ToString::to_string).collect();
        let names = self.schema.fields().iter().map(|field| field.name().trim_start_matches('\0')).collect();
        f.write_str(&describe(&self.source.table, access, order, self.backward, self.fetch, names))
    }
}

/// A scan for EXPLAIN.
pub fn describe(
    table: &Table,
    access: &Access,
    order: Vec<String>,
    backward: bool,
    fetch: Option<usize>,
    columns: Vec<&str>,
) -> String {
    let mut line = format!("Scan: {}, {access}", table.name);
    if !order.is_empty() {
        line += &format!(", in order {}", order.join(", "));
    }
    if backward {
        line += ", backward";
    }
    if let Some(fetch) = fetch {
        line += &format!(", first {fetch}");
    }
    line + &format!(", columns [{}]", columns.join(", "))
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        (self.parts.len() == 1).then(|| {
            Arc::new(Self {
                source: self.source.clone(),
                schema: self.schema.clone(),
                parts: self.parts.clone(),
                backward: self.backward,
                ordered: self.ordered.clone(),
                fetch: limit,
                properties: self.properties.clone(),
                metrics: ExecutionPlanMetricsSet::new(),
            }) as Arc<dyn ExecutionPlan>
        })
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> DfResult<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        Ok(match order::by_key(self, order) {
            Some(scan) => SortOrderPushdownResult::Exact { inner: Arc::new(scan) },
            None => SortOrderPushdownResult::Unsupported,
        })
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let access = self.parts.get(partition).cloned().unwrap_or(Access::Nothing);
        let (source, schema) = (self.source.clone(), self.schema.clone());
        let reader = BatchReader::new(source, schema, access, self.backward, self.fetch).map_err(to_datafusion)?;
        Ok(stream(reader, &self.schema, BaselineMetrics::new(&self.metrics, partition)))
    }
}

/// The rows of a search, which begins when the first is asked for.
pub enum Batches {
    Waiting(Box<dyn FnOnce() -> Result<Batches> + Send>),
    Found(std::vec::IntoIter<RecordBatch>),
    Read(Box<BatchReader>),
}

impl Batches {
    /// Begins, if it has not begun.
    fn begin(&mut self) -> Result<()> {
        if let Self::Waiting(_) = self
            && let Self::Waiting(search) = std::mem::replace(self, Self::Found(Vec::new().into_iter()))
        {
            *self = search()?;
        }
        Ok(())
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(e) = self.begin() {
            return Some(Err(e));
        }
        match self {
            Self::Waiting(_) => None,
            Self::Found(batches) => batches.next().map(Ok),
            Self::Read(reader) => reader.next(),
        }
    }
}

/// Batches as the output of an operator, which is measured.
pub fn stream(
    batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    schema: &SchemaRef,
    metrics: BaselineMetrics,
) -> SendableRecordBatchStream {
    let mut batches = batches;
    let measured = std::iter::from_fn(move || {
        let _timer = metrics.elapsed_compute().timer();
        let batch = batches.next()?;
        if let Ok(batch) = &batch {
            metrics.record_output(batch.num_rows());
        }
        Some(batch.map_err(to_datafusion))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema.clone(), futures::stream::iter(measured)))
}
