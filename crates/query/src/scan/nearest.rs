//! Nearest neighbours: a scan under `ORDER BY distance LIMIT k` reads the rows that an index proposes.
//!
//! The sort stays on top and the distances are computed from the rows, so that the index decides only which rows are
//! read. A filter is asked here, too, so that k rows come whenever k rows pass: more and more candidates are asked for, and
//! in the end all rows.

use super::access::{Access, row_span};
use super::exec::{Batches, ScanExec, stream};
use super::rows::{BatchReader, Source};
use super::text::TextExec;
use crate::partial;
use crate::text::TextFunctions;
use crate::types::{TextStyle, cast, value_at};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Volatility;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, replace_children_if_necessary};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use nodedb_base::{BitString, Error, Incarnation, Result, RowId, Type, Value};
use nodedb_index::vector::{Hardness, Neighbourhood};
use nodedb_index::{Index, Indexes, Nearest};
use nodedb_store::View;
use nodedb_store::catalog::{DerivedIndex, Table, VectorClass};
use nodedb_vector::Vector;
use roaring::RoaringTreemap;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// For more rows than this all are compared.
pub const MOST_ROWS: usize = 2_500;
/// With so many candidates and still too few rows, all rows are compared.
const MOST_CANDIDATES: usize = 10_000;
/// How many times as many candidates as rows are asked for at first, and how many at least, where a filter must be passed.
const MORE: usize = 4;
const FIRST: usize = 64;
/// If fewer than one in so many candidates passes, it is looked first which rows do.
const RARE: usize = 16;
/// Rows that EXPLAIN looks at to say what share passes, and how many it must have found.
const SAMPLE: u64 = 200;
const LEAST_SAMPLE: usize = 20;
/// So few rows are compared one by one.
const FEW_ROWS: usize = 500;

/// The derived indexes that a statement may ask, and how hard.
#[derive(Clone, Debug)]
pub struct Asking {
    /// All of the database.
    pub indexes: Arc<Indexes>,
    /// How hard to look for neighbours.
    pub hardness: Hardness,
    /// What text queries are read by.
    pub text: TextFunctions,
    /// The indexes that hold all rows that pass a scan's filters, of those that do not hold all rows.
    pub partial: Arc<[Incarnation]>,
}

/// What is asked of an index.
#[derive(Clone, Debug)]
struct Question {
    index: Arc<Index>,
    vector: Target,
    k: usize,
    hardness: Hardness,
}

/// What rows are near to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Numbers.
    Numbers(Vec<f32>),
    /// Bits, as an index has them.
    Bits(BitString),
}

impl Target {
    /// A value as what rows of a column are near to; `None` if it has another length, or is of another kind.
    pub fn of_value(value: Value, column: &Type) -> Option<Self> {
        let as_column = |to: &Type| cast(value.clone(), to, &TextStyle::default());
        match column {
            Type::Vector(n) | Type::Halfvec(n) => match as_column(&Type::Vector(0)) {
                Ok(Value::Vector(v)) if v.len() == *n as usize => Some(Self::Numbers(v)),
                _ => None,
            },
            Type::Bit(n) => match as_column(&Type::Varbit(0)) {
                Ok(Value::Bit(v)) if v.len == *n => Some(Self::Bits(v)),
                _ => None,
            },
            _ => None,
        }
    }

    /// As an index is asked.
    pub fn vector(&self) -> Vector<'_> {
        match self {
            Self::Numbers(numbers) => Vector::F32(numbers),
            Self::Bits(bits) => Vector::Bits(&bits.bytes),
        }
    }
}

/// The rows nearest to a vector that pass a filter, in no particular order; at least as many as are wanted, if there
/// are.
#[derive(Debug)]
pub struct NearestExec {
    source: Source,
    schema: SchemaRef,
    question: Question,
    /// The way to the rows that could be, if not all can.
    access: Access,
    filter: Filter,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DisplayAs for NearestExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Question { index, k, hardness, .. } = &self.question;
        let table = &self.source.table.name;
        let size = index.kind().size();
        write!(f, "Nearest: {table}, index {} (approximate, {hardness}, {size}), first {k}", index.name)?;
        if let Some(filter) = &self.filter {
            write!(f, ", where {filter}")?;
            if let Some(share) = self.sampled() {
                write!(f, " (of a sample {:.0} %)", 100.0 * share)?;
            }
        }
        if self.access != Access::ALL {
            write!(f, ", or by {}", self.access)?;
        }
        let names: Vec<_> = self.schema.fields().iter().map(|field| field.name().trim_start_matches('\0')).collect();
        write!(f, ", columns [{}]", names.join(", "))
    }
}

impl NearestExec {
    /// The share of some rows that pass the filter, for EXPLAIN; `None` if too few were found.
    fn sampled(&self) -> Option<f64> {
        let Source { table, view, .. } = &self.source;
        let (first, last) = row_span(table, view).ok()??;
        // Spread by the golden ratio, since what is in a row may repeat itself at any step.
        let span = u128::from(last.0 - first.0) + 1;
        let place = |at: u64| (u128::from(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * span) >> 64;
        let rows = (0..SAMPLE).map(|at| RowId(first.0 + place(at) as u64));
        let (source, schema) = (self.source.clone(), self.schema.clone());
        let reader = BatchReader::new(source, schema, Access::Points(rows.collect()), false, None).ok()?;
        let (mut seen, mut passed) = (0, 0);
        for batch in reader {
            let batch = batch.ok()?;
            seen += batch.num_rows();
            passed += passing(&self.filter, batch).ok()?.num_rows();
        }
        (seen >= LEAST_SAMPLE).then(|| passed as f64 / seen as f64)
    }
}

impl ExecutionPlan for NearestExec {
    fn name(&self) -> &'static str {
        "NearestExec"
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

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let search = Search {
            source: self.source.clone(),
            schema: self.schema.clone(),
            question: self.question.clone(),
            access: self.access.clone(),
            filter: self.filter.clone(),
            counts: Counts::new(&self.metrics, partition),
        };
        let batches = Batches::Waiting(Box::new(move || search.run()));
        Ok(stream(batches, &self.schema, BaselineMetrics::new(&self.metrics, partition)))
    }
}

struct Search {
    source: Source,
    schema: SchemaRef,
    question: Question,
    access: Access,
    filter: Filter,
    counts: Counts,
}

/// What a search has done, for EXPLAIN ANALYZE.
struct Counts {
    /// Rows that the index has proposed.
    candidates: Count,
    /// Of these, rows that passed.
    confirmed: Count,
    /// Rows that were found to pass before the index was asked.
    chosen: Count,
    /// Whether all rows that could be were compared.
    exact: Count,
}

impl Counts {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let count = |name| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            candidates: count("candidates"),
            confirmed: count("confirmed"),
            chosen: count("chosen"),
            exact: count("exact"),
        }
    }
}

impl Search {
    fn run(&self) -> Result<Batches> {
        let Source { view, table, .. } = &self.source;
        // It may have failed since the plan was made.
        let index = Some(&self.question.index).filter(|index| index.serves(view.lsn()));
        let Some(nearest) = index.and_then(|index| index.kind().as_nearest()) else { return self.all() };
        view.note_table(table.incarnation)?;
        if self.access != Access::ALL && self.has_few(&self.access)? {
            return self.all();
        }
        // What an index cannot answer, the rows can.
        match self.by_index(nearest) {
            Ok(Some(batches)) => Ok(batches),
            Ok(None) => self.all(),
            Err(e) => {
                self.question.index.note(&e);
                self.all()
            }
        }
    }

    /// Asks for more and more candidates, or, where few of them pass, first looks which rows do.
    fn by_index(&self, nearest: &dyn Nearest) -> Result<Option<Batches>> {
        let k = self.question.k;
        let (mut batches, mut passed, mut seen) = (Vec::new(), 0, HashSet::new());
        let mut candidates = if self.filter.is_some() { (k * MORE).max(FIRST) } else { k };
        loop {
            let found = self.ask(nearest, candidates, None)?;
            let fresh: Vec<RowId> = found.into_iter().filter(|row| seen.insert(*row)).collect();
            for batch in self.read(fresh)? {
                let batch = passing(&self.filter, batch?)?;
                passed += batch.num_rows();
                self.counts.confirmed.add(batch.num_rows());
                batches.push(batch);
            }
            if passed >= k {
                return Ok(Some(Batches::Found(batches.into_iter())));
            }
            if seen.len() < candidates || candidates >= MOST_CANDIDATES {
                return Ok(None);
            }
            if passed * RARE < seen.len() {
                return self.among_passing(nearest).map(Some);
            }
            // As many as should do if the others pass as often, and half as many again.
            candidates = (3 * k * seen.len() / (2 * passed).max(1)).max(candidates * 2).min(MOST_CANDIDATES);
        }
    }

    fn ask(&self, nearest: &dyn Nearest, k: usize, among: Option<&RoaringTreemap>) -> Result<Vec<RowId>> {
        let Question { vector, hardness, .. } = &self.question;
        let at = self.source.view.lsn();
        let asked = Neighbourhood { vector: vector.vector(), at, hardness: *hardness, among };
        let found = nearest.nearest(&asked, k)?;
        self.counts.candidates.add(found.len());
        Ok(found.iter().map(|neighbour| neighbour.row).collect())
    }

    /// Few rows pass: these are looked for first, and the index is asked for the nearest among them.
    fn among_passing(&self, nearest: &dyn Nearest) -> Result<Batches> {
        let rows = self.passing_rows()?;
        self.counts.chosen.add(usize::try_from(rows.len()).unwrap_or(usize::MAX));
        if rows.len() > FEW_ROWS as u64 {
            let found = self.ask(nearest, self.question.k, Some(&rows))?;
            if found.len() >= self.question.k {
                return Ok(Batches::Read(Box::new(self.read(found)?)));
            }
        }
        self.counts.exact.add(1);
        Ok(Batches::Read(Box::new(self.read(rows.iter().map(RowId).collect())?)))
    }

    /// The rows that pass the filter, of which only the columns are read that it needs.
    fn passing_rows(&self) -> Result<RoaringTreemap> {
        let Some(filter) = &self.filter else { return Err(Error::internal("rows that pass no filter")) };
        let number = self.source.table.columns.len();
        let mut used: Vec<usize> = collect_columns(filter).iter().map(Column::index).collect();
        used.sort_unstable();
        let places = used.iter().filter_map(|at| self.source.columns.get(*at).copied());
        let columns: Vec<usize> = places.chain([number]).collect();
        let fields = used.iter().map(|at| self.schema.field(*at).clone()).chain([super::row_id_field()]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let filter = reassign_expr_columns(filter.clone(), &schema).map_err(crate::error::from_datafusion)?;
        let source = Source { columns: columns.into(), ..self.source.clone() };
        let mut rows = RoaringTreemap::new();
        for batch in BatchReader::new(source, schema, self.access.clone(), false, None)? {
            let batch = passing(&Some(filter.clone()), batch?)?;
            rows.extend(super::row_ids(&batch)?.iter().copied());
        }
        Ok(rows)
    }

    /// Whether so few rows come this way that they are compared one by one.
    fn has_few(&self, access: &Access) -> Result<bool> {
        let number = self.source.table.columns.len();
        let schema = Arc::new(Schema::new(vec![super::row_id_field()]));
        let source = Source { columns: [number].into(), ..self.source.clone() };
        let reader = BatchReader::new(source, schema, access.clone(), false, Some(FEW_ROWS + 1))?;
        let mut rows = 0;
        for batch in reader {
            rows += batch?.num_rows();
        }
        Ok(rows <= FEW_ROWS)
    }

    /// All rows that could be: what an exact search compares.
    fn all(&self) -> Result<Batches> {
        self.counts.exact.add(1);
        self.question.index.note_scan();
        let reader = BatchReader::new(self.source.clone(), self.schema.clone(), self.access.clone(), false, None)?;
        Ok(Batches::Read(Box::new(reader)))
    }

    fn read(&self, rows: Vec<RowId>) -> Result<BatchReader> {
        BatchReader::new(self.source.clone(), self.schema.clone(), Access::Points(rows), false, None)
    }
}

/// The rows of a batch that pass a filter.
pub fn passing(filter: &Filter, batch: RecordBatch) -> Result<RecordBatch> {
    let Some(filter) = filter else { return Ok(batch) };
    let passes = filter.evaluate(&batch).and_then(|passes| passes.into_array(batch.num_rows()));
    let passes = passes.map_err(crate::error::from_datafusion)?;
    let passes = passes.as_boolean_opt().ok_or_else(|| Error::internal("a filter that says neither yes nor no"))?;
    filter_record_batch(&batch, passes).map_err(|e| Error::internal(format!("could not filter rows: {e}")))
}

/// Puts the proposals of an index in the place of the scan under a sort by distance, or by score, with a limit.
#[derive(Debug)]
pub struct TopByIndex;

impl PhysicalOptimizerRule for TopByIndex {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|plan| {
            let Some(sort) = plan.downcast_ref::<SortExec>() else { return Ok(Transformed::no(plan)) };
            let (Some(k), [by]) = (sort.fetch(), &sort.expr()[..]) else { return Ok(Transformed::no(plan)) };
            Ok(match through(sort.input(), by.clone(), (k, None))? {
                Some(input) => Transformed::yes(replace_children_if_necessary(plan, vec![input])?),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "top_by_index"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

type Replaced = Option<Arc<dyn ExecutionPlan>>;
/// What rows must pass.
pub type Filter = Option<Arc<dyn PhysicalExpr>>;

/// The same operators over an index in the place of the scan, if the order is one that an index knows.
fn through(
    plan: &Arc<dyn ExecutionPlan>,
    mut order: PhysicalSortExpr,
    (k, filter): (usize, Filter),
) -> DfResult<Replaced> {
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        return Ok(nearest(scan, &order, k, filter));
    }
    if let Some(scan) = plan.downcast_ref::<TextExec>() {
        let best = if order.options.descending { scan.best(&order.expr, k, filter) } else { None };
        return Ok(best.map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>));
    }
    let (input, order, filter) = if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        if filter.is_some() {
            return Ok(None);
        }
        let places: Vec<_> = projection.expr().iter().map(|column| column.expr.clone()).collect();
        order.expr = behind(order.expr, &places)?;
        (projection.input(), order, None)
    } else if let Some(operator) = plan.downcast_ref::<FilterExec>() {
        // A filter that says something else each time may be asked only once.
        if filter.is_some() || operator.fetch().is_some() || is_volatile(operator.predicate())? {
            return Ok(None);
        }
        if let Some(projection) = operator.projection() {
            let schema = operator.input().schema();
            let column = |at: &usize| Arc::new(Column::new(schema.field(*at).name(), *at)) as Arc<dyn PhysicalExpr>;
            order.expr = behind(order.expr, &projection.iter().map(column).collect::<Vec<_>>())?;
        }
        (operator.input(), order, Some(operator.predicate().clone()))
    } else if let Some(spread) = plan.downcast_ref::<RepartitionExec>() {
        if !matches!(spread.partitioning(), Partitioning::RoundRobinBatch(_)) {
            return Ok(None);
        }
        // Few rows are not worth spreading.
        return through(spread.input(), order, (k, filter));
    } else if let Some(cooperative) = plan.downcast_ref::<CooperativeExec>() {
        (cooperative.input(), order, filter)
    } else {
        return Ok(None);
    };
    match through(input, order, (k, filter))? {
        Some(input) => replace_children_if_necessary(plan.clone(), vec![input]).map(Some),
        None => Ok(None),
    }
}

fn is_volatile(expr: &Arc<dyn PhysicalExpr>) -> DfResult<bool> {
    let volatile = |expr: &Arc<dyn PhysicalExpr>| {
        let call = expr.downcast_ref::<ScalarFunctionExpr>();
        Ok(call.is_some_and(|call| call.fun().signature().volatility == Volatility::Volatile))
    };
    expr.exists(volatile)
}

/// An expression over the output of an operator as one over its input.
fn behind(expr: Arc<dyn PhysicalExpr>, places: &[Arc<dyn PhysicalExpr>]) -> DfResult<Arc<dyn PhysicalExpr>> {
    let replaced = expr.transform_down(|expr| {
        let place = expr.downcast_ref::<Column>().and_then(|column| places.get(column.index()));
        Ok(match place {
            // What stands in its place is over the input already.
            Some(place) => Transformed::new(place.clone(), true, TreeNodeRecursion::Jump),
            None => Transformed::no(expr),
        })
    });
    replaced.data()
}

fn nearest(scan: &ScanExec, order: &PhysicalSortExpr, k: usize, filter: Filter) -> Replaced {
    // Rows without a vector are in no index: they come last, or an index is of no use.
    if order.options.descending || order.options.nulls_first || !(1..=MOST_ROWS).contains(&k) {
        return None;
    }
    let source = scan.source();
    let asking = source.asking.as_ref()?;
    let access = scan.access().filter(|access| access.may_have_many())?.clone();
    if scan.fetch().is_some() {
        return None;
    }
    let (class, column, constant) = distance(&order.expr)?;
    let column = scan.table_column(column)?;
    let vector = Target::of_value(constant, &source.table.columns.get(column)?.ty)?;
    let mut candidates = partial::candidates(&source.table, (column, class), |id| asking.partial.contains(&id));
    let index = candidates.find_map(|index| asked(&asking.indexes, index, &source.table, &source.view))?;
    let schema = scan.schema();
    let properties = Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema.clone()),
        Partitioning::UnknownPartitioning(1),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ));
    let question = Question { index, vector, k, hardness: asking.hardness };
    let (source, metrics) = (source.clone(), ExecutionPlanMetricsSet::new());
    Some(Arc::new(NearestExec { source, schema, question, access, filter, properties, metrics }))
}

/// An index that may be asked: it is complete for this reader, whose transaction has written nothing that no index knows.
pub fn asked(indexes: &Indexes, index: &DerivedIndex, table: &Table, view: &View) -> Option<Arc<Index>> {
    let index = indexes.of_rows(table.incarnation, index.id);
    index.filter(|index| index.serves(view.lsn()) && !view.has_written(table.incarnation))
}

/// The parts of a distance between a column and a constant.
fn distance(order: &Arc<dyn PhysicalExpr>) -> Option<(VectorClass, usize, Value)> {
    let call = order.downcast_ref::<ScalarFunctionExpr>()?;
    let name = if call.name() == "l2_squared_distance" { "l2_distance" } else { call.name() };
    let class = VectorClass::of_function(name)?;
    let [a, b] = call.args() else { return None };
    let (column, constant) = match (a.downcast_ref::<Column>(), b.downcast_ref::<Column>()) {
        (Some(column), None) => (column, b),
        (None, Some(column)) => (column, a),
        _ => return None,
    };
    let array = constant.downcast_ref::<Literal>()?.value().to_array().ok()?;
    Some((class, column.index(), value_at(&array, 0, None).ok()?))
}
