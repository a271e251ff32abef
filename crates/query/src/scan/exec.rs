//! The operator that walks a table.

use super::access::{Access, estimated_rows};
use super::order;
use crate::error::to_datafusion;
use crate::types::ColumnBuilder;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Builder};
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
use nodedb_base::{Error, Result, RowId, Type};
use nodedb_store::catalog::Table;
use nodedb_store::row::{Cell, Cells};
use nodedb_store::{KeyRange, Keys, Row, Rows, View};
use std::fmt;
use std::sync::Arc;

/// Rows in a batch.
const BATCH_ROWS: usize = 8192;
/// Tables with fewer rows are read by one thread.
const SPLIT_ROWS: usize = 20_000;

/// What is read.
#[derive(Clone, Debug)]
pub struct Source {
    pub table: Arc<Table>,
    pub types: Arc<[Type]>,
    pub view: View,
    /// The columns that are wanted, by number; the one behind the last is the row id.
    pub columns: Arc<[usize]>,
    pub limited: bool,
}

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
        if estimated_rows(table, view)? < SPLIT_ROWS {
            return Ok(self);
        }
        let end = |backward| -> Result<RowId> {
            let mut rows = view.rows(table.incarnation, RowId(0), RowId(u64::MAX), backward)?;
            Ok(rows.next().transpose()?.map_or(RowId(0), |row| row.id))
        };
        let (first, last) = (end(false)?.0, end(true)?.0);
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

    /// The table.
    pub fn table(&self) -> &Table {
        &self.source.table
    }

    /// Whether the statement wants few rows.
    pub const fn is_limited(&self) -> bool {
        self.source.limited
    }

    /// The access, where there is one partition.
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
        write!(f, "Scan: {}, {access}", self.source.table.name)?;
        if let Some(order) = &self.ordered {
            let order: Vec<_> = order.iter().map(ToString::to_string).collect();
            write!(f, ", in order {}", order.join(", "))?;
        }
        if self.backward {
            f.write_str(", backward")?;
        }
        if let Some(fetch) = self.fetch {
            write!(f, ", first {fetch}")?;
        }
        let names = self.schema.fields().iter().map(|field| field.name().trim_start_matches('\0'));
        write!(f, ", columns [{}]", names.collect::<Vec<_>>().join(", "))
    }
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
        let walk = Walk::new(&self.source, access, self.backward).map_err(to_datafusion)?;
        let reader = BatchReader { source: self.source.clone(), schema: self.schema.clone(), walk, left: self.fetch };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = futures::stream::iter(reader.map(move |batch| {
            let _timer = metrics.elapsed_compute().timer();
            if let Ok(batch) = &batch {
                metrics.record_output(batch.num_rows());
            }
            batch.map_err(to_datafusion)
        }));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }
}

/// Rows, one after the other.
enum Walk {
    Rows(Rows),
    Points(View, Arc<Table>, std::vec::IntoIter<RowId>),
    Keys {
        view: View,
        table: Arc<Table>,
        index: nodedb_base::Incarnation,
        ranges: Vec<KeyRange>,
        backward: bool,
        keys: Option<Keys>,
    },
}

impl Walk {
    fn new(source: &Source, access: Access, backward: bool) -> Result<Self> {
        let (view, table) = (source.view.clone(), source.table.clone());
        Ok(match access {
            Access::Nothing => Self::Points(view, table, Vec::new().into_iter()),
            Access::Rows(from, to) => Self::Rows(view.rows(table.incarnation, from, to, backward)?),
            Access::Points(mut rows) => {
                if backward {
                    rows.reverse();
                }
                Self::Points(view, table, rows.into_iter())
            }
            Access::Keys { index, mut ranges, .. } => {
                // They are taken from the end.
                if !backward {
                    ranges.reverse();
                }
                Self::Keys { view, table, index, ranges, backward, keys: None }
            }
        })
    }
}

impl Iterator for Walk {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Rows(rows) => rows.next(),
            Self::Points(view, table, rows) => rows.find_map(|row| view.row(table.incarnation, row).transpose()),
            Self::Keys { view, table, index, ranges, backward, keys } => loop {
                let Some(entries) = keys else {
                    match view.keys(*index, &ranges.pop()?, *backward) {
                        Ok(entries) => *keys = Some(entries),
                        Err(e) => return Some(Err(e)),
                    }
                    continue;
                };
                match entries.next() {
                    Some(Ok((_, row))) => {
                        let found = view.row(table.incarnation, row);
                        return Some(found.and_then(|found| found.ok_or_else(|| dangling(&table.name, row))));
                    }
                    Some(Err(e)) => return Some(Err(e)),
                    None => *keys = None,
                }
            },
        }
    }
}

fn dangling(table: &str, row: RowId) -> Error {
    Error::damaged(format!("an index of table {table} names row {}, which is not there", row.0))
}

/// Rows as batches of the wanted columns.
struct BatchReader {
    source: Source,
    schema: SchemaRef,
    walk: Walk,
    left: Option<usize>,
}

impl Iterator for BatchReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.left.map_or(BATCH_ROWS, |left| left.min(BATCH_ROWS));
        if rows == 0 {
            return None;
        }
        match self.read(rows) {
            Ok(batch) if batch.num_rows() == 0 => None,
            Ok(batch) => {
                self.left = self.left.map(|left| left - batch.num_rows());
                Some(Ok(batch))
            }
            Err(e) => {
                self.left = Some(0);
                Some(Err(e))
            }
        }
    }
}

impl BatchReader {
    fn read(&mut self, limit: usize) -> Result<RecordBatch> {
        let Source { table, types, view, columns, .. } = &self.source;
        let mut builders = Builders::new(types, columns, limit.min(1024))?;
        let mut rows = 0;
        for row in self.walk.by_ref().take(limit) {
            builders.append(view, table, types, &row?)?;
            rows += 1;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), builders.finish(columns)?, &options)
            .map_err(|e| Error::internal(format!("could not make a batch of rows: {e}")))
    }
}

/// One builder for each column of the table that is wanted.
struct Builders {
    columns: Vec<Option<ColumnBuilder>>,
    row_ids: Option<UInt64Builder>,
    last: usize,
}

impl Builders {
    fn new(types: &[Type], wanted: &[usize], rows: usize) -> Result<Self> {
        let build = |(at, ty): (usize, &Type)| wanted.contains(&at).then(|| ColumnBuilder::new(ty, rows)).transpose();
        let columns = types.iter().enumerate().map(build).collect::<Result<Vec<_>>>()?;
        let last = columns.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
        let row_ids = wanted.contains(&types.len()).then(UInt64Builder::new);
        Ok(Self { columns, row_ids, last })
    }

    fn append(&mut self, view: &View, table: &Table, types: &[Type], row: &Row) -> Result<()> {
        if let Some(ids) = &mut self.row_ids {
            ids.append_value(row.id.0);
        }
        let mut cells = Cells::new(types, &row.bytes, row.lsn)?;
        for (column, (builder, ty)) in self.columns.iter_mut().zip(types).take(self.last).enumerate() {
            let cell = cells.take()?;
            let Some(builder) = builder else { continue };
            match cell {
                Cell::Null => builder.append_null(),
                Cell::Inline(bytes, _) => append_bytes(builder, ty, bytes)?,
                Cell::Large(..) => {
                    append_bytes(builder, ty, &view.large(table.incarnation, row.id, column as u16)?)?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, wanted: &[usize]) -> Result<Vec<ArrayRef>> {
        let mut built: Vec<Option<ArrayRef>> = Vec::with_capacity(self.columns.len() + 1);
        for builder in self.columns {
            built.push(builder.map(ColumnBuilder::finish).transpose()?);
        }
        built.push(self.row_ids.as_mut().map(|ids| Arc::new(ids.finish()) as ArrayRef));
        let missing = || Error::internal("a column was not read");
        wanted.iter().map(|&at| built.get(at).cloned().flatten().ok_or_else(missing)).collect()
    }
}

/// Appends the bytes of a value, without making a [`nodedb_base::Value`] where the type allows.
fn append_bytes(builder: &mut ColumnBuilder, ty: &Type, bytes: &[u8]) -> Result<()> {
    let damaged = || Error::damaged(format!("damaged row: a value is no {ty}"));
    match ty {
        Type::Int2 => builder.append_i16(i16::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)),
        Type::Int4 | Type::Date => builder.append_i32(i32::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)),
        Type::Int8 | Type::Time | Type::Timestamp | Type::Timestamptz => {
            builder.append_i64(i64::from_le_bytes(bytes.try_into().map_err(|_| damaged())?))
        }
        Type::Float4 => builder.append_f32(f32::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)),
        Type::Float8 => builder.append_f64(f64::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)),
        Type::Text | Type::Varchar(_) | Type::Jsonb => {
            builder.append_str(std::str::from_utf8(bytes).map_err(|_| damaged())?)
        }
        Type::Bytea => builder.append_bytes(bytes),
        Type::Vector(_) => builder.append_vector_le(bytes),
        _ => builder.append(&nodedb_store::row::value(ty, bytes)?),
    }
}
