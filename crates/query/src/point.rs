//! The point path: single rows by their primary key, straight from the store.
//!
//! It knows `SELECT columns FROM t WHERE key = constant`, and UPDATE and DELETE of that form. Everything else
//! goes the general way; both give the same answers.

use crate::dml::{Change, assigned_column, constant, returning_free};
use crate::engine::Engine;
use crate::outcome::{Column, Outcome, Tag};
use crate::parse;
use crate::rules::RowExpr;
use crate::statement::Statement;
use crate::types::{ColumnBuilder, arrow as mapping};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use nodedb_base::{Error, Result, RowId, Type, Value};
use nodedb_store::Transaction;
use nodedb_store::catalog::Table;
use nodedb_store::row::Cells;
use sqlparser::ast::{
    BinaryOperator, Delete, Expr, FromTable, GroupByExpr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, Statement as Ast, TableFactor, TableWithJoins, Update,
};
use std::sync::{Arc, Mutex, PoisonError};

/// The point plan of a statement, made once for each definition of its table.
#[derive(Debug, Default)]
pub struct PointCache(Mutex<Option<Cached>>);

#[derive(Clone, Debug)]
enum Cached {
    /// No point path, whatever the tables are.
    Never,
    Plan(Arc<Plan>),
}

/// A statement over one row.
#[derive(Debug)]
struct Plan {
    table: Arc<Table>,
    types: Vec<Type>,
    key: Expr,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Select { columns: Vec<usize>, named: Arc<[Column]>, schema: SchemaRef },
    Update(Vec<(usize, Assigned)>),
    Delete,
}

#[derive(Debug)]
enum Assigned {
    Constant(Box<Expr>),
    Computed(RowExpr),
}

impl PointCache {
    /// Runs the statement if it is one of these.
    pub fn run(
        &self,
        engine: &Engine,
        ast: &Ast,
        statement: &Statement<'_>,
        tx: &mut Transaction,
    ) -> Result<Option<Outcome>> {
        let Some(plan) = self.plan(engine, ast, tx)? else { return Ok(None) };
        plan.run(engine, statement, tx).map(Some)
    }

    /// What EXPLAIN says of it.
    pub fn explain(&self, ast: Ast, tx: &Transaction) -> Result<Option<String>> {
        let Ast::Query(query) = &ast else { return Ok(None) };
        let Some(plan) = select_plan(query, tx)? else { return Ok(None) };
        Ok(Some(format!("Point: {}, row by primary key where {}", plan.table.name, plan.key_name())))
    }

    fn plan(&self, engine: &Engine, ast: &Ast, tx: &Transaction) -> Result<Option<Arc<Plan>>> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match cached.as_ref() {
            Some(Cached::Never) => return Ok(None),
            Some(Cached::Plan(plan)) if plan.is_current(tx) => return Ok(Some(plan.clone())),
            _ => {}
        }
        let plan = match ast {
            Ast::Query(query) => select_plan(query, tx)?,
            Ast::Update(update) => update_plan(engine, update, tx)?,
            Ast::Delete(delete) => delete_plan(delete, tx)?,
            _ => None,
        };
        let plan = plan.map(Arc::new);
        *cached = Some(plan.clone().map_or(Cached::Never, Cached::Plan));
        Ok(plan)
    }
}

impl Plan {
    /// Whether the table's definition is still the one that the plan was made for.
    fn is_current(&self, tx: &Transaction) -> bool {
        tx.catalog().table_by_id(self.table.id).is_some_and(|table| Arc::ptr_eq(table, &self.table))
    }

    fn key_name(&self) -> String {
        let column = self.table.row_key().and_then(|at| self.table.columns.get(at));
        format!("{} = {}", column.map_or("?", |column| column.name.as_str()), self.key)
    }

    /// The row that the key names; `None` if no row can have it.
    fn row_id(&self, statement: &Statement<'_>) -> Result<Option<RowId>> {
        let column = self.table.row_key().and_then(|at| self.table.columns.get(at));
        let column = column.ok_or_else(|| Error::internal("a table without a row key on the point path"))?;
        match constant(&self.key, &column.ty, statement) {
            Some(Ok(Value::Null)) => Ok(None),
            Some(Ok(value)) => crate::dml::row_of_key(Some(&value)).map(Some),
            // A number that the column cannot hold is equal to none of its values.
            Some(Err(e)) if e.sqlstate().as_str() == "22003" => Ok(None),
            Some(Err(e)) => Err(e),
            None => Err(Error::internal("a key on the point path is no constant")),
        }
    }

    fn run(&self, engine: &Engine, statement: &Statement<'_>, tx: &mut Transaction) -> Result<Outcome> {
        let id = self.row_id(statement)?;
        let verb = match &self.action {
            Action::Select { columns, named, schema } => return self.select(tx, id, columns, named, schema),
            Action::Update(_) => "UPDATE",
            Action::Delete => "DELETE",
        };
        let mut change = Change::new(engine, *statement, tx, &self.table.name, verb, false)?;
        let row = match id {
            Some(id) => change.tx.view().row(self.table.incarnation, id)?,
            None => None,
        };
        if let Some(row) = row {
            match &self.action {
                Action::Update(assignments) => {
                    let assigned = self.assigned(&change, &row, assignments)?;
                    change.update(&row, assigned)?;
                }
                _ => change.delete(&row)?,
            }
            change.finish()?;
        }
        Ok(Outcome::Done(Tag::rows_changed(verb, change.count)))
    }

    fn assigned(
        &self,
        change: &Change<'_>,
        row: &nodedb_store::Row,
        assignments: &[(usize, Assigned)],
    ) -> Result<Vec<(usize, Value)>> {
        let mut old = None;
        let mut assigned = Vec::with_capacity(assignments.len());
        for (column, value) in assignments {
            let Some(definition) = self.table.columns.get(*column) else { continue };
            let value = match value {
                Assigned::Constant(expr) => constant(expr, &definition.ty, &change.statement)
                    .ok_or_else(|| Error::internal("a constant on the point path is none"))??,
                Assigned::Computed(expr) => {
                    if old.is_none() {
                        old = Some(change.rules.read(change.tx.view(), row, |_| true)?);
                    }
                    let value = expr.of_row(old.as_deref().unwrap_or_default())?;
                    crate::dml::store(value, &definition.ty, &change.statement)?
                }
            };
            assigned.push((*column, value));
        }
        Ok(assigned)
    }

    fn select(
        &self,
        tx: &Transaction,
        id: Option<RowId>,
        columns: &[usize],
        named: &Arc<[Column]>,
        schema: &SchemaRef,
    ) -> Result<Outcome> {
        let (view, life) = (tx.view(), self.table.incarnation);
        let row = match id {
            Some(id) => view.row(life, id)?,
            None => None,
        };
        let mut values = vec![Value::Null; self.table.columns.len()];
        if let Some(row) = &row {
            let mut cells = Cells::new(&self.types, &row.bytes, row.lsn)?;
            for (at, (slot, ty)) in values.iter_mut().zip(&self.types).enumerate() {
                let cell = cells.take()?;
                if columns.contains(&at) {
                    *slot = view.cell_value(life, row.id, at as u16, ty, cell)?;
                }
            }
        }
        let mut arrays = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter().zip(named.iter()) {
            let mut builder = ColumnBuilder::new(&column.ty, 1)?;
            if row.is_some() {
                builder.append(values.get(*at).unwrap_or(&Value::Null))?;
            }
            arrays.push(builder.finish()?);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(usize::from(row.is_some())));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
            .map_err(|e| Error::internal(format!("could not make a row: {e}")))?;
        Ok(Outcome::of_batch(named.to_vec(), batch, None))
    }
}

/// The one table of a statement, its name in it, and the constant that its key is compared with.
fn keyed(from: &TableWithJoins, selection: Option<&Expr>, tx: &Transaction) -> Result<Option<(Arc<Table>, Expr)>> {
    let TableFactor::Table { name, alias: None, args: None, .. } = &from.relation else { return Ok(None) };
    if !from.joins.is_empty() {
        return Ok(None);
    }
    let Some(table) = tx.catalog().table(&parse::relation(name)?) else { return Ok(None) };
    let (Some(key), Some(Expr::BinaryOp { left, op: BinaryOperator::Eq, right })) = (table.row_key(), selection) else {
        return Ok(None);
    };
    let is_key =
        |expr: &Expr| matches!(expr, Expr::Identifier(ident) if table.column(&parse::name(ident)) == Some(key));
    let constant = match (is_key(left), is_key(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return Ok(None),
    };
    Ok(parse::literal(constant).is_some().then(|| (table.clone(), constant.as_ref().clone())))
}

fn select_plan(query: &Query, tx: &Transaction) -> Result<Option<Plan>> {
    let Some(select) = plain_select(query) else { return Ok(None) };
    let [from] = select.from.as_slice() else { return Ok(None) };
    let Some((table, key)) = keyed(from, select.selection.as_ref(), tx)? else { return Ok(None) };
    let mut columns = Vec::new();
    let mut named = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(options) if *options == Default::default() => {
                columns.extend(0..table.columns.len());
                named.extend(table.columns.iter().map(|column| column.name.clone()));
            }
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => {
                let Some(at) = table.column(&parse::name(ident)) else { return Ok(None) };
                columns.push(at);
                named.push(parse::name(ident));
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), _) => return Ok(None),
            _ => return Ok(None),
        }
    }
    let named: Vec<_> = columns
        .iter()
        .zip(named)
        .filter_map(|(at, name)| Some(Column { name, ty: table.columns.get(*at)?.ty.clone() }))
        .collect();
    let fields = named.iter().map(|column| mapping::field(&column.name, &column.ty, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(Some(Plan { types: table.types(), table, key, action: Action::Select { columns, named: named.into(), schema } }))
}

/// The SELECT of a query that is nothing else: no grouping, no order, no limit.
fn plain_select(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let template = parse::statement("SELECT 1").ok().flatten()?;
    let Ast::Query(template) = template else { return None };
    let SetExpr::Select(plain) = template.body.as_ref() else { return None };
    let known = Select {
        select_token: select.select_token.clone(),
        projection: select.projection.clone(),
        from: select.from.clone(),
        selection: select.selection.clone(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        ..plain.as_ref().clone()
    };
    let bare = Query { body: query.body.clone(), ..template.as_ref().clone() };
    (**select == known && *query == bare).then_some(select.as_ref())
}

fn update_plan(engine: &Engine, update: &Update, tx: &Transaction) -> Result<Option<Plan>> {
    if update.from.is_some() || !returning_free(update.returning.as_ref()) {
        return Ok(None);
    }
    let Some((table, key)) = keyed(&update.table, update.selection.as_ref(), tx)? else { return Ok(None) };
    let mut assigned: Vec<(usize, Assigned)> = Vec::new();
    for assignment in &update.assignments {
        let Ok(column) = assigned_column(&table, assignment) else { return Ok(None) };
        if assigned.iter().any(|(other, _)| *other == column) {
            return Ok(None);
        }
        let expr = crate::dml::insert::with_default(&table, column, assignment.value.clone())?;
        let value = if parse::literal(&expr).is_some() {
            Assigned::Constant(Box::new(expr))
        } else {
            let planner = crate::planner::Planner::without_tables(engine, &[]);
            match RowExpr::compile(&planner, &table, expr) {
                Ok(expr) if expr.check_immutable().is_ok() => Assigned::Computed(expr),
                _ => return Ok(None),
            }
        };
        assigned.push((column, value));
    }
    Ok(Some(Plan { types: table.types(), table, key, action: Action::Update(assigned) }))
}

fn delete_plan(delete: &Delete, tx: &Transaction) -> Result<Option<Plan>> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [table] = from.as_slice() else { return Ok(None) };
    let plain = delete.using.is_none() && returning_free(delete.returning.as_ref());
    if !plain {
        return Ok(None);
    }
    let found = keyed(table, delete.selection.as_ref(), tx)?;
    Ok(found.map(|(table, key)| Plan { types: table.types(), table, key, action: Action::Delete }))
}
