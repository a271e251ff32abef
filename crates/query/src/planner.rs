//! From syntax to plans: `DataFusion`'s planner over our tables, functions and types.

use crate::arithmetic::{check_arithmetic, map_plan, narrow, narrow_literals};
use crate::casts::{cast_field, rewrite_casts};
use crate::engine::Engine;
use crate::error::{from_datafusion, to_datafusion};
use crate::parse;
use crate::scan::{Asking, TableScan};
use crate::settings::Settings;
use crate::statement::Statement;
use crate::text::TextFunctions;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::default_table_source::{DefaultTableSource, provider_as_source};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, Result as DfResult, TableReference};
use datafusion::execution::context::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use futures::StreamExt;
use nodedb_base::{Error, Result, Type, Value};
use nodedb_index::vector::Hardness;
use nodedb_store::View;
use sqlparser::ast::{self, Visit, Visitor};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Plans the parts of one statement, at one snapshot.
pub struct Planner<'a> {
    engine: &'a Engine,
    state: SessionState,
    view: Option<View>,
    /// Tables that stand in for those of the catalogue: the target of an UPDATE, the rows of a RETURNING.
    tables: HashMap<String, Arc<dyn TableProvider>>,
    parameters: &'a [Value],
    limited: bool,
    hardness: Hardness,
    /// Whether rows that an index leaves out come, too.
    seqscan: bool,
}

impl<'a> Planner<'a> {
    /// A planner for a statement that starts now.
    pub fn new(engine: &'a Engine, statement: &Statement<'a>, view: View) -> Self {
        let mut state = engine.state().clone();
        state.execution_props_mut().query_execution_start_time = chrono::DateTime::from_timestamp_micros(statement.now);
        let zone = statement.settings.time_zone.clone();
        state.config_mut().options_mut().execution.time_zone = Some(zone);
        let hardness = statement.settings.hardness();
        Self {
            state,
            view: Some(view),
            hardness,
            seqscan: statement.settings.seqscan,
            ..Self::without_tables(engine, statement.parameters)
        }
    }

    /// A planner for expressions that may not look into tables.
    pub fn without_tables(engine: &'a Engine, parameters: &'a [Value]) -> Self {
        let state = engine.state().clone();
        let hardness = Settings::default().hardness();
        Self { engine, state, view: None, tables: HashMap::new(), parameters, limited: false, hardness, seqscan: true }
    }

    /// The statement wants few rows.
    pub const fn set_limited(&mut self, limited: bool) {
        self.limited = limited;
    }

    /// Lets `name` mean another table.
    pub fn define(&mut self, name: &str, table: Arc<dyn TableProvider>) {
        self.tables.insert(name.to_owned(), table);
    }

    fn text_functions(&self, view: &View) -> TextFunctions {
        TextFunctions { catalog: view.catalog().clone(), indexes: self.engine.indexes().clone() }
    }

    /// The engine.
    pub const fn engine(&self) -> &Engine {
        self.engine
    }

    /// The plan of a query that rows are read by: where they are sorted by their distance from what a subquery gives, that is
    /// found out first.
    ///
    /// # Errors
    /// As [`Planner::query`] and [`Planner::physical`].
    pub async fn reading(&self, mut query: ast::Query) -> Result<LogicalPlan> {
        self.expand(&mut query)?;
        for target in crate::rewrite::targets(&query) {
            // One that has no answer by itself stays where it is.
            let Ok(plan) = self.expanded(target.clone()) else { continue };
            if let Some(value) = self.only_value(&plan).await? {
                crate::rewrite::put(&mut query, &target, &value);
            }
        }
        self.expanded(query)
    }

    /// The value of a query that gives one.
    async fn only_value(&self, plan: &LogicalPlan) -> Result<Option<Value>> {
        let mut stream = self.run(self.physical(plan).await?)?;
        let mut found = None;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(from_datafusion)?;
            let rows = batch.num_rows() + usize::from(found.is_some());
            if rows > 1 || batch.num_columns() != 1 {
                return Ok(None);
            }
            if batch.num_rows() == 1 {
                found = Some(crate::types::value_at(batch.column(0), 0, None)?);
            }
        }
        Ok(found)
    }

    /// The plan of a query, with its parameters in place.
    ///
    /// # Errors
    /// `Statement`, with PostgreSQL's SQLSTATEs.
    pub fn query(&self, mut query: ast::Query) -> Result<LogicalPlan> {
        self.expand(&mut query)?;
        self.expanded(query)
    }

    /// Puts what they stand for in the place of table functions and text queries.
    fn expand(&self, query: &mut ast::Query) -> Result<()> {
        check_query(query)?;
        match &self.view {
            Some(view) => crate::text::rewrite(query, view.catalog()),
            None => Ok(()),
        }
    }

    fn expanded(&self, mut query: ast::Query) -> Result<LogicalPlan> {
        if let Some(view) = self.view.as_ref().filter(|_| !self.seqscan) {
            crate::rewrite::only_indexed(&mut query, view.catalog());
        }
        crate::rewrite::query(&mut query)?;
        let sql = SqlToRel::new_with_options(self, options());
        let plan = sql.sql_statement_to_plan(ast::Statement::Query(Box::new(query))).map_err(from_datafusion)?;
        check_recursion(&plan)?;
        self.with_parameters(plan)
    }

    fn with_parameters(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = if first_placeholder(&plan).is_some() {
            let bind = |expr: Expr| expr.transform_up(|expr| self.bind_parameter(expr));
            map_plan(plan, &bind).map_err(from_datafusion)?
        } else {
            plan
        };
        narrow_literals(plan).map_err(from_datafusion)
    }

    /// The operators that run a plan.
    ///
    /// # Errors
    /// `Statement`, `Limit`, and those of reading.
    pub async fn physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        self.state.create_physical_plan(plan).await.map_err(from_datafusion)
    }

    /// Runs operators.
    ///
    /// # Errors
    /// As [`Planner::physical`].
    pub fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        execute_stream(plan, self.task()).map_err(from_datafusion)
    }

    /// What operators run in.
    pub fn task(&self) -> Arc<TaskContext> {
        self.state.task_ctx()
    }

    /// An expression over rows of a schema, ready to run.
    ///
    /// # Errors
    /// `Statement`.
    pub fn expression(&self, expr: ast::Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = self.typed_expression(expr, schema)?;
        self.state.create_physical_expr(expr, schema).map_err(from_datafusion)
    }

    /// An expression over rows of a table, in the form that a filter has when it reaches the table's scan.
    ///
    /// # Errors
    /// `Statement`.
    pub fn filter_form(&self, expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
        let expr = self.typed_expression(expr, schema)?;
        let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
        ExprSimplifier::new(context).simplify(expr).map(unnormalize_col).map_err(from_datafusion)
    }

    fn typed_expression(&self, mut expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
        crate::rewrite::expression(&mut expr)?;
        let sql = SqlToRel::new_with_options(self, options());
        let expr = sql.sql_to_expr(expr, schema, &mut PlannerContext::new()).map_err(from_datafusion)?;
        let expr = rewrite_casts(expr, schema).map_err(from_datafusion)?;
        let expr = expr.transform_up(|expr| self.bind_parameter(expr)).data().map_err(from_datafusion)?;
        narrow(expr).data().and_then(|expr| self.coerced(expr, schema)).map_err(from_datafusion)
    }

    fn bind_parameter(&self, expr: Expr) -> DfResult<Transformed<Expr>> {
        let Expr::Placeholder(placeholder) = &expr else { return Ok(Transformed::no(expr)) };
        let at = placeholder.id.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
        let value = at.and_then(|at| self.parameters.get(at.checked_sub(1)?));
        let value = value.ok_or_else(|| to_datafusion(no_parameter(&placeholder.id)))?;
        let scalar = crate::types::scalar::of_value(value, None).map_err(to_datafusion)?;
        let literal = Expr::Literal(scalar, None);
        // A text that stands where another type is wanted is read as a literal would be.
        let wanted = placeholder.field.as_ref().filter(|_| matches!(value, Value::Text(_)));
        let wanted = wanted.and_then(|field| crate::types::arrow::type_of_field(field).ok());
        Ok(Transformed::yes(match wanted {
            Some(Type::Text | Type::Varchar(_)) | None => literal,
            Some(ty) => crate::functions::cast_expr(literal, ty),
        }))
    }

    /// The same expression with its types in order, and checked arithmetic.
    fn coerced(&self, expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
        let schema: DFSchemaRef = Arc::new(schema.clone());
        let context = SimplifyContext::builder().with_schema(schema.clone()).build();
        let expr = ExprSimplifier::new(context).coerce(expr, &schema)?;
        check_arithmetic(expr, schema.as_ref())
    }
}

/// The error of a parameter that was not given.
pub fn no_parameter(name: &str) -> Error {
    Error::statement("42P02", format!("there is no parameter {name}"))
}

fn first_placeholder(plan: &LogicalPlan) -> Option<String> {
    plan.get_parameter_names().ok()?.into_iter().next()
}

fn options() -> ParserOptions {
    ParserOptions {
        parse_float_as_decimal: true,
        enable_ident_normalization: true,
        support_varchar_with_length: true,
        enable_options_value_normalization: false,
        collect_spans: false,
        map_string_types_to_utf8view: false,
        default_null_ordering: NullOrdering::NullsMax,
    }
}

/// Refuses an aggregate over the rows of the last round of a recursive query: it gives a row of none, and never ends.
fn check_recursion(plan: &LogicalPlan) -> Result<()> {
    let mut aggregates = false;
    let looked = plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::RecursiveQuery(query) = plan {
            query.recursive_term.apply(|part| {
                let counts = matches!(part, LogicalPlan::Aggregate(grouped) if !grouped.aggr_expr.is_empty());
                aggregates |= counts && reads_last_round(part, &query.name)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    looked.map_err(from_datafusion)?;
    if aggregates {
        let message = "aggregate functions are not allowed in a recursive query's recursive term";
        return Err(Error::statement("42P19", message));
    }
    Ok(())
}

fn reads_last_round(plan: &LogicalPlan, name: &str) -> DfResult<bool> {
    plan.exists(|part| {
        let LogicalPlan::TableScan(scan) = part else { return Ok(false) };
        let source = scan.source.downcast_ref::<DefaultTableSource>();
        let round = source.and_then(|source| source.table_provider.downcast_ref::<CteWorkTable>());
        Ok(round.is_some_and(|round| round.name() == name))
    })
}

/// Parts of a query that the planner would pass over in silence.
fn check_query(query: &ast::Query) -> Result<()> {
    if let Some(lock) = query.locks.first() {
        return Err(Error::unsupported(format!("SELECT ... {lock}"))
            .with_hint("Transactions do not lock: the first to commit wins, and the other is told (40001)."));
    }
    if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
        return Err(Error::unsupported("FOR XML, FOR JSON, SETTINGS or FORMAT"));
    }
    if let ast::SetExpr::Select(select) = query.body.as_ref()
        && let Some(into) = &select.into
    {
        return Err(Error::unsupported(format!("SELECT ... {into}")));
    }
    match query.visit(&mut IgnoredParts) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(Error::unsupported(what)),
    }
}

/// Parts of the tables of a FROM that the planner would pass over in silence.
struct IgnoredParts;

impl Visitor for IgnoredParts {
    type Break = &'static str;

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            ast::TableFactor::Table { sample: Some(_), .. } => ControlFlow::Break("TABLESAMPLE"),
            ast::TableFactor::Table { with_ordinality: true, .. }
            | ast::TableFactor::UNNEST { with_ordinality: true, .. } => ControlFlow::Break("WITH ORDINALITY"),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl ContextProvider for Planner<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        if let Some(table) = self.tables.get(name.table()).filter(|_| name.schema().is_none()) {
            return Ok(provider_as_source(table.clone()));
        }
        let known = matches!(name.schema(), None | Some("public")) && matches!(name.catalog(), None | Some("postgres"));
        let Some(view) = &self.view else { return Err(to_datafusion(Error::unsupported("a subquery here"))) };
        match view.catalog().table(name.table()).filter(|_| known) {
            Some(table) => {
                let scan = TableScan::new(self.engine, table.clone(), view.clone(), false, self.limited);
                let text = self.text_functions(view);
                let asking = Asking {
                    indexes: self.engine.indexes().clone(),
                    hardness: self.hardness,
                    text,
                    partial: Arc::default(),
                };
                Ok(provider_as_source(Arc::new(scan.map_err(to_datafusion)?.asking(asking))))
            }
            None => match crate::views::named(name.table(), self.engine, view).map_err(to_datafusion)? {
                Some(table) if known => Ok(provider_as_source(table)),
                _ => Err(to_datafusion(no_relation(&name.to_string()))),
            },
        }
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DfResult<Arc<dyn TableSource>> {
        let Some(function) = self.state.table_functions().get(name) else {
            return Err(to_datafusion(Error::statement("42883", format!("function {name}() does not exist"))));
        };
        let args = datafusion::catalog::TableFunctionArgs::new(&args, &self.state);
        Ok(provider_as_source(function.create_table_provider_with_args(args)?))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DfResult<Arc<dyn TableSource>> {
        let table = CteWorkTable::new(name, schema);
        Ok(provider_as_source(Arc::new(table)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(SqlTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let text = || self.text_functions(self.view.as_ref()?).named(name);
        self.state.scalar_functions().get(name).cloned().or_else(text)
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

/// The error of a table that is not there.
pub fn no_relation(name: &str) -> Error {
    Error::statement("42P01", format!("relation \"{name}\" does not exist"))
}

/// What SQL's type names mean to `DataFusion`.
#[derive(Debug)]
struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, ty: &ast::DataType) -> DfResult<Option<FieldRef>> {
        use ast::{DataType as Sql, ExactNumberInfo};
        // A cast to numeric keeps whatever digits there are; only columns must say how many.
        if let Sql::Numeric(ExactNumberInfo::None) | Sql::Decimal(ExactNumberInfo::None) = ty {
            return Ok(Some(Arc::new(cast_field(&Type::Numeric { precision: 38, scale: 10 }, true))));
        }
        let ty = parse::sql_type(ty).map_err(to_datafusion)?;
        Ok(Some(Arc::new(cast_field(&ty, matches!(ty, Type::Vector(0) | Type::Halfvec(0))))))
    }
}
