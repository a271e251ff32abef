//! The operator that walks a table.

use super::access::{Access, TRIED_ENTRIES, estimated_rows, row_span};
use super::lookups::Lookups;
use super::order;
use super::rows::{BatchReader, Source};
use crate::error::to_datafusion;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
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
/// Numbers of rows that span more than this say nothing of how many rows there are.
const MOST_BELIEVED: usize = 1 << 33;

/// Reads a table by one [`Access`] a partition.
#[derive(Debug)]
pub struct ScanExec {
    source: Source,
    schema: SchemaRef,
    parts: Vec<Access>,
    backward: bool,
    ordered: Option<Vec<PhysicalSortExpr>>,
    fetch: Option<usize>,
    lookups: Lookups,
    /// About how many rows there are, if anybody knows.
    rows: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    /// A scan in one partition.
    pub fn new(source: Source, schema: SchemaRef, access: Access, fetch: Option<usize>) -> Self {
        let properties = properties(&schema, 1, None);
        let (parts, metrics) = (vec![access], ExecutionPlanMetricsSet::new());
        let (lookups, ordered, rows) = Default::default();
        Self { source, schema, parts, backward: false, ordered, fetch, lookups, rows, properties, metrics }
    }

    /// The same with an idea of how many rows there are, in several partitions if the table is large and all of it is read.
    ///
    /// # Errors
    /// Those of reading.
    pub fn split(mut self, threads: usize) -> Result<Self> {
        let Source { table, view, .. } = &self.source;
        let span = if self.parts == [Access::ALL] { row_span(table, view)? } else { None };
        self.rows = match self.parts.as_slice() {
            [Access::Points(rows)] => Some(rows.len()),
            [Access::Keys { ranges, unique: true, .. }] => Some(ranges.len()),
            [Access::Keys { .. }] => Some(TRIED_ENTRIES),
            [Access::ALL] => Some(span.map_or(0, estimated_rows)).filter(|rows| *rows < MOST_BELIEVED),
            _ => None,
        };
        let Some(span) = span.filter(|span| threads > 1 && estimated_rows(*span) >= SPLIT_ROWS) else {
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
            parts: vec![access],
            backward,
            properties: properties(&self.schema, 1, Some(&order)),
            ordered: Some(order),
            lookups: Lookups::default(),
            ..self.again()
        }
    }

    /// The same, which has not run yet.
    fn again(&self) -> Self {
        Self {
            source: self.source.clone(),
            schema: self.schema.clone(),
            parts: self.parts.clone(),
            backward: self.backward,
            ordered: self.ordered.clone(),
            fetch: self.fetch,
            lookups: self.lookups.clone(),
            rows: self.rows,
            properties: self.properties.clone(),
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
        f.write_str(&describe(&self.source.table, access, order, self.backward, self.fetch, names))?;
        if self.lookups.is_empty() { Ok(()) } else { f.write_str(", or those that a join asks for") }
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
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        // By them a join learns that somebody wants to know its keys.
        for filter in self.lookups.filters() {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> DfResult<Arc<dyn ExecutionPlan>> {
        // What a join has said of one run says nothing of the next.
        Ok(Arc::new(Self { lookups: Lookups::default(), ..self.again() }))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        (self.parts.len() == 1).then(|| {
            // The first rows are not the first of those that a join asks for.
            let lookups = if limit.is_some() { Lookups::default() } else { self.lookups.clone() };
            Arc::new(Self { fetch: limit, lookups, ..self.again() }) as Arc<dyn ExecutionPlan>
        })
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> DfResult<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        // None of them is taken over: the rows are no more than what may pass.
        let filters = vec![PushedDown::No; pushed.parent_filters.len()];
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(filters);
        if self.ordered.is_some() || self.fetch.is_some() || !matches!(self.access(), Some(&Access::ALL)) {
            return Ok(propagation);
        }
        let lookups = self.lookups.with(&self.source, pushed.parent_filters.iter().map(|pushed| &pushed.filter));
        Ok(propagation.with_updated_node(Arc::new(Self { lookups, ..self.again() })))
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

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> DfResult<Arc<Statistics>> {
        let mut known = Statistics::new_unknown(&self.schema);
        if let Some(rows) = self.rows {
            let parts = if args.partition().is_some() { self.parts.len().max(1) } else { 1 };
            known.num_rows = Precision::Inexact(rows.min(self.fetch.unwrap_or(usize::MAX)).div_ceil(parts));
        }
        Ok(Arc::new(known))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let access = self.parts.get(partition).cloned().unwrap_or(Access::Nothing);
        let (source, schema) = (self.source.clone(), self.schema.clone());
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (backward, fetch, lookups) = (self.backward, self.fetch, self.lookups.clone());
        if lookups.is_empty() {
            let reader = BatchReader::new(source, schema, access, backward, fetch).map_err(to_datafusion)?;
            return Ok(stream(reader, &self.schema, metrics));
        }
        // A join says what it wants before it asks for the first row.
        let search = move || {
            let access = lookups.rows(&source, &access)?.map_or(access, Access::Points);
            Ok(Batches::Read(Box::new(BatchReader::new(source, schema, access, backward, fetch)?)))
        };
        Ok(stream(Batches::Waiting(Box::new(search)), &self.schema, metrics))
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
