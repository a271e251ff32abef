//! Full text: a scan under `@@@` reads the rows that an index finds, and under `ORDER BY bm25_score(...) DESC LIMIT k` the
//! best of them.
//!
//! What the index may not be asked for, the rows are read for: within a transaction that has written, while the index is
//! being filled, of a time before it was made.

use super::access::Access;
use super::exec::{Batches, stream};
use super::nearest::{Filter, asked, passing};
use super::rows::{BatchReader, Source, of_numbers};
use super::table_fields;
use crate::error::to_datafusion;
use crate::text::{TextFunctions, TextTest};
use crate::types::value_at;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use nodedb_base::{Error, Result, RowId, Value};
use nodedb_index::{Index, TextQuery, TextSnapshot};
use nodedb_store::catalog::{DerivedIndex, Table};
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How many times as many candidates are asked for when too few rows pass.
const MORE: usize = 4;

/// A text query that is asked of an index.
#[derive(Clone, Debug)]
struct Asked {
    definition: DerivedIndex,
    test: TextTest,
    query: Arc<TextQuery>,
}

/// The rows that match text queries; or some of the best that pass a filter, in no particular order, at least as many as
/// are wanted, if there are.
#[derive(Clone, Debug)]
pub struct TextExec {
    source: Source,
    schema: SchemaRef,
    /// All of them must match.
    asked: Vec<Asked>,
    /// How many of the best by the first query, and what else they must pass.
    best: Option<(usize, Filter)>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TextExec {
    /// A scan under `@@@`, if a filter is one.
    ///
    /// # Errors
    /// `Statement` if a query cannot be read.
    pub fn of_filters(
        source: &Source,
        schema: &SchemaRef,
        functions: &TextFunctions,
        filters: &[Expr],
    ) -> Result<Option<Self>> {
        let mut asked: Vec<Asked> = Vec::new();
        for test in filters.iter().filter_map(|filter| test_of(&source.table, filter)) {
            let definition = source.table.derived.iter().find(|index| index.id == test.index).cloned();
            let definition =
                definition.ok_or_else(|| Error::statement("42704", "the text index does not exist any more"))?;
            let query = Arc::new(functions.read(&test)?);
            asked.push(Asked { definition, test, query });
        }
        if asked.is_empty() {
            return Ok(None);
        }
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let (source, schema, metrics) = (source.clone(), schema.clone(), ExecutionPlanMetricsSet::new());
        Ok(Some(Self { source, schema, asked, best: None, properties, metrics }))
    }

    /// The same for the `k` best that pass a filter, if `order` is the score of what is searched for.
    pub fn best(&self, order: &Arc<dyn PhysicalExpr>, k: usize, filter: Filter) -> Option<Self> {
        let call = order.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.name() == crate::text::SCORE)?;
        let [index, query, column, texts @ ..] = call.args() else { return None };
        let constant = |expr: &Arc<dyn PhysicalExpr>| Some(expr.downcast_ref::<Literal>()?.value().clone());
        let test = TextTest::of_constants(&constant(index)?, &constant(query)?, &constant(column)?)?;
        let names = texts.iter().map(|text| text.downcast_ref::<Column>().map(Column::name));
        if !are_of_index(&self.source.table, &test, names) {
            return None;
        }
        let first = self.asked.iter().position(|asked| asked.test == test)?;
        if self.best.is_some() || self.indexes().is_none() {
            return None;
        }
        let mut best = Self { best: Some((k, filter)), ..self.clone() };
        best.asked.swap(0, first);
        Some(best)
    }

    /// The indexes, if they may be asked.
    fn indexes(&self) -> Option<Vec<Arc<Index>>> {
        let asking = self.source.asking.as_ref()?;
        let index = |of: &Asked| asked(&asking.indexes, &of.definition, &self.source.table, &self.source.view);
        self.asked.iter().map(index).collect()
    }

    fn run(&self) -> Result<Batches> {
        // What an index cannot answer, the rows can.
        match self.indexes().map(|indexes| self.by_indexes(&indexes)) {
            Some(Ok(batches)) => Ok(batches),
            _ => self.by_rows(),
        }
    }

    fn by_indexes(&self, indexes: &[Arc<Index>]) -> Result<Batches> {
        let Source { view, table, .. } = &self.source;
        view.note_table(table.incarnation)?;
        let [first, others @ ..] = indexes else { return Err(Error::internal("a search without an index")) };
        let [query, other_queries @ ..] = &self.asked[..] else {
            return Err(Error::internal("a search without a query"));
        };
        let mut allowed: Option<HashSet<RowId>> = None;
        for (index, of) in others.iter().zip(other_queries) {
            let rows = on(index, |snapshot| snapshot.all(&of.query, view.lsn()))?;
            let both = rows.into_iter().filter(|row| allowed.as_ref().is_none_or(|allowed| allowed.contains(row)));
            allowed = Some(both.collect());
        }
        let is_allowed = |row: &RowId| allowed.as_ref().is_none_or(|allowed| allowed.contains(row));
        let Some((k, filter)) = &self.best else {
            let mut rows = on(first, |snapshot| snapshot.all(&query.query, view.lsn()))?;
            rows.retain(is_allowed);
            return Ok(match of_numbers(&self.source, &self.schema, &rows)? {
                Some(batches) => Batches::Found(batches.into_iter()),
                None => Batches::Read(self.read(rows)?),
            });
        };
        let (mut batches, mut passed, mut seen, mut candidates) = (Vec::new(), 0, HashSet::new(), *k);
        loop {
            let found = on(first, |snapshot| snapshot.top(&query.query, candidates, view.lsn()))?;
            let fresh = found.iter().map(|found| found.row).filter(is_allowed);
            let fresh = fresh.filter(|row| seen.insert(*row)).collect();
            for batch in self.read(fresh)? {
                let batch = passing(filter, batch?)?;
                passed += batch.num_rows();
                batches.push(batch);
            }
            if passed >= *k || found.len() < candidates {
                return Ok(Batches::Found(batches.into_iter()));
            }
            candidates = candidates.saturating_mul(MORE);
        }
    }

    /// Which rows match all queries; the columns of each query lie behind those of the one before.
    fn matches(&self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let (mut all, mut from) = (vec![true; batch.num_rows()], 0);
        for of in &self.asked {
            let columns = from..from + of.definition.columns.len();
            from = columns.end;
            let matches = of.query.matches(texts(batch, columns)?)?;
            all.iter_mut().zip(matches).for_each(|(all, matches)| *all &= matches);
        }
        Ok(all)
    }

    fn read(&self, rows: Vec<RowId>) -> Result<Box<BatchReader>> {
        let (source, schema) = (self.source.clone(), self.schema.clone());
        Ok(Box::new(BatchReader::new(source, schema, Access::Points(rows), false, None)?))
    }

    /// Every row's texts are looked at.
    fn by_rows(&self) -> Result<Batches> {
        let indexes = self.source.asking.iter().map(|asking| &asking.indexes);
        for (indexes, of) in indexes.zip(&self.asked) {
            indexes.get(of.definition.id).iter().for_each(|index| index.note_scan());
        }
        let number = self.source.table.columns.len();
        let of_queries = self.asked.iter().flat_map(|of| &of.definition.columns).map(|at| usize::from(*at));
        let columns: Vec<usize> = of_queries.chain([number]).collect();
        let fields = table_fields(&self.source.table).into_iter().chain([super::row_id_field()]).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields).project(&columns).map_err(|e| Error::internal(e.to_string()))?);
        let source = Source { columns: columns.into(), ..self.source.clone() };
        let mut rows = Vec::new();
        for batch in BatchReader::new(source, schema, Access::ALL, false, None)? {
            let batch = batch?;
            let matches = self.matches(&batch)?;
            let found = filter_record_batch(&batch, &BooleanArray::from(matches))
                .map_err(|e| Error::internal(format!("could not filter rows: {e}")))?;
            rows.extend(super::row_ids(&found)?.iter().map(|row| RowId(*row)));
        }
        Ok(Batches::Read(self.read(rows)?))
    }
}

/// Asks an index as it is now; if it cannot answer, it has failed.
fn on<T>(index: &Index, ask: impl FnOnce(&TextSnapshot) -> Result<T>) -> Result<T> {
    let matches = index.kind().as_matches().ok_or_else(|| Error::internal("a text index that finds no text"))?;
    matches.snapshot().and_then(|snapshot| ask(&snapshot)).inspect_err(|e| index.note(e))
}

/// The texts of rows in some columns.
fn texts(batch: &RecordBatch, columns: Range<usize>) -> Result<Vec<Vec<String>>> {
    let text = |row, column: usize| match value_at(batch.column(column), row, None)? {
        Value::Text(text) => Ok(text),
        _ => Ok(String::new()),
    };
    (0..batch.num_rows()).map(|row| columns.clone().map(|column| text(row, column)).collect()).collect()
}

/// What a filter tests, if it is one of text.
pub fn test_of(table: &Table, filter: &Expr) -> Option<TextTest> {
    let Expr::ScalarFunction(call) = filter else { return None };
    let [Expr::Literal(index, _), Expr::Literal(query, _), Expr::Literal(column, _), texts @ ..] = &call.args[..]
    else {
        return None;
    };
    let test = TextTest::of_constants(index, query, column)?;
    let names = texts.iter().map(|text| match text {
        Expr::Column(column) => Some(column.name.as_str()),
        _ => None,
    });
    let is_search = call.func.name() == crate::text::MATCHES && are_of_index(table, &test, names);
    is_search.then_some(test)
}

/// Whether these are the columns of the index, as the table has them: other texts of the same names no index knows.
fn are_of_index<'n>(table: &'n Table, test: &TextTest, names: impl Iterator<Item = Option<&'n str>>) -> bool {
    let Some(definition) = table.derived.iter().find(|index| index.id == test.index) else { return false };
    let name = |at: &u16| table.columns.get(usize::from(*at)).map(|column| column.name.as_str());
    names.eq(definition.columns.iter().map(name))
}

impl DisplayAs for TextExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text: {}", self.source.table.name)?;
        let indexes = self.indexes().unwrap_or_default();
        for (at, Asked { definition, test, .. }) in self.asked.iter().enumerate() {
            let how = match indexes.get(at) {
                Some(index) => format!("exact, {}", index.kind().size()),
                None => "not to be asked now: all rows are read".to_owned(),
            };
            write!(f, ", index {} ({how}), query {:?}", definition.name, test.query)?;
        }
        if let Some((k, filter)) = &self.best {
            write!(f, ", best {k}")?;
            if let Some(filter) = filter {
                write!(f, ", where {filter}")?;
            }
        }
        let names: Vec<_> = self.schema.fields().iter().map(|field| field.name().trim_start_matches('\0')).collect();
        write!(f, ", columns [{}]", names.join(", "))
    }
}

impl ExecutionPlan for TextExec {
    fn name(&self) -> &'static str {
        "TextExec"
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
        if partition != 0 {
            return Err(to_datafusion(Error::internal("a text search has one partition")));
        }
        let search = self.clone();
        let batches = Batches::Waiting(Box::new(move || search.run()));
        Ok(stream(batches, &self.schema, BaselineMetrics::new(&self.metrics, partition)))
    }
}
