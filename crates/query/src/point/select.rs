//! SELECT of columns of one table, where a key gives just the wanted rows in the wanted order.

use super::condition::{Condition, bounds, conditions, value};
use super::{column, only_table};
use crate::outcome::{Column, Outcome};
use crate::parse::{self, LiteralText};
use crate::scan::access::{Access, is_selective};
use crate::scan::order::{Wanted, in_order};
use crate::scan::{BatchReader, Source, describe};
use crate::statement::Statement;
use crate::types::arrow as mapping;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::Operator;
use nodedb_base::key::KeyOrder;
use nodedb_base::{Result, RowId, Type};
use nodedb_store::catalog::Table;
use nodedb_store::{Transaction, View};
use sqlparser::ast::{
    Expr, GroupByExpr, LimitClause, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, Statement as Ast,
};
use std::sync::Arc;

/// A SELECT by a key.
#[derive(Debug)]
pub struct SelectPlan {
    table: Arc<Table>,
    types: Arc<[Type]>,
    columns: Arc<[usize]>,
    named: Arc<[Column]>,
    schema: SchemaRef,
    conditions: Vec<Condition>,
    order: Vec<Wanted>,
    limit: Option<Expr>,
}

/// How the rows are found this time.
struct Way {
    access: Access,
    backward: bool,
    fetch: Option<usize>,
}

impl SelectPlan {
    /// The table.
    pub const fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The rows; `None` if no key gives just these.
    ///
    /// # Errors
    /// Those of reading.
    pub fn run(&self, statement: &Statement<'_>, view: &View) -> Result<Option<Outcome>> {
        let Some(way) = self.way(statement, view)? else { return Ok(None) };
        let source = Source {
            table: self.table.clone(),
            types: self.types.clone(),
            view: view.clone(),
            columns: self.columns.clone(),
            limited: self.limit.is_some(),
            asking: None,
        };
        let batches = BatchReader::new(source, self.schema.clone(), way.access, way.backward, way.fetch)?;
        Ok(Some(Outcome::of_batches(self.named.clone(), batches, None)))
    }

    /// What EXPLAIN says of it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn explain(&self, statement: &Statement<'_>, view: &View) -> Result<Option<String>> {
        let Some(way) = self.way(statement, view)? else { return Ok(None) };
        if let ([Condition { column, op: Operator::Eq, constant }], Access::Points(_)) =
            (self.conditions.as_slice(), &way.access)
        {
            let name = self.table.columns.get(*column).map_or("?", |column| column.name.as_str());
            return Ok(Some(format!("Point: {}, row by primary key where {name} = {constant}", self.table.name)));
        }
        let order = self.order.iter().filter_map(|(column, order)| {
            let name = &self.table.columns.get(*column)?.name;
            let direction = if order.descending { "DESC" } else { "ASC" };
            let nulls = if order.nulls_first { "FIRST" } else { "LAST" };
            Some(format!("{name} {direction} NULLS {nulls}"))
        });
        let names = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        Ok(Some(describe(&self.table, &way.access, order.collect(), way.backward, way.fetch, names)))
    }

    fn way(&self, statement: &Statement<'_>, view: &View) -> Result<Option<Way>> {
        let Some(fetch) = self.fetch(statement) else { return Ok(None) };
        let Some(ways) = self.ways(statement) else { return Ok(None) };
        for access in ways {
            let ordered = match self.order.as_slice() {
                [] => Some((access, false)),
                order => in_order(&self.table, &access, order, fetch.is_some()),
            };
            let Some((access, backward)) = ordered else { continue };
            // Whoever stops early need not know how much there would be.
            if fetch.is_some() || is_selective(&self.table, view, &access)? {
                return Ok(Some(Way { access, backward, fetch }));
            }
        }
        Ok(None)
    }

    /// The accesses that give just the wanted rows, the best first.
    fn ways(&self, statement: &Statement<'_>) -> Option<Vec<Access>> {
        if let [Condition { column, op: Operator::Eq, constant }] = self.conditions.as_slice()
            && self.table.row_key() == Some(*column)
            && let Some(key) = crate::scan::access::integer(&value(&self.table, *column, constant, statement)?)
        {
            return Some(vec![Access::Points(vec![RowId::from_key(key)])]);
        }
        Some(Access::exact(&self.table, &bounds(&self.table, &self.conditions, statement)?))
    }

    /// The rows that are wanted at most; `None` where the general way must tell.
    fn fetch(&self, statement: &Statement<'_>) -> Option<Option<usize>> {
        let Some(limit) = &self.limit else { return Some(None) };
        let number = match parse::literal(limit)? {
            LiteralText::Number(text) => text.parse().ok()?,
            LiteralText::Parameter(n) => crate::scan::access::integer(statement.parameters.get(n.checked_sub(1)?)?)?,
            _ => return None,
        };
        usize::try_from(number).ok().map(Some)
    }
}

/// The plan of a SELECT.
///
/// # Errors
/// `Statement` if its table's name is none.
pub fn plan(query: &Query, tx: &Transaction) -> Result<Option<SelectPlan>> {
    let Some(select) = plain_select(query) else { return Ok(None) };
    let [from] = select.from.as_slice() else { return Ok(None) };
    let Some(table) = only_table(from, tx)? else { return Ok(None) };
    Ok(plan_of(table, query, select))
}

fn plan_of(table: Arc<Table>, query: &Query, select: &Select) -> Option<SelectPlan> {
    let (columns, named) = output(&table, select)?;
    let conditions = conditions(&table, select.selection.as_ref())?;
    let order = match &query.order_by {
        Some(order) => wanted_order(&table, (&columns, &named), order)?,
        None => Vec::new(),
    };
    let limit = match &query.limit_clause {
        None => None,
        Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by }) if limit_by.is_empty() => {
            Some(limit.clone())
        }
        Some(_) => return None,
    };
    // All rows of a table are the work of several threads.
    if conditions.is_empty() && limit.is_none() {
        return None;
    }
    let fields = named.iter().map(|column| mapping::field(&column.name, &column.ty, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let (types, columns, named) = (table.types().into(), columns.into(), named.into());
    Some(SelectPlan { types, table, columns, named, schema, conditions, order, limit })
}

/// The SELECT of a query that is nothing more: no grouping, no set operation, no WITH.
pub fn plain_select(query: &Query) -> Option<&Select> {
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
    let (order_by, limit_clause) = (query.order_by.clone(), query.limit_clause.clone());
    let bare = Query { body: query.body.clone(), order_by, limit_clause, ..template.as_ref().clone() };
    (**select == known && *query == bare).then_some(select.as_ref())
}

/// The columns of the result, and their names.
pub fn output(table: &Table, select: &Select) -> Option<(Vec<usize>, Vec<Column>)> {
    let mut columns = Vec::new();
    let mut named = Vec::new();
    let mut add = |at: usize, name: Option<String>| {
        let column = table.columns.get(at)?;
        columns.push(at);
        named.push(Column { name: name.unwrap_or_else(|| column.name.clone()), ty: column.ty.clone() });
        Some(())
    };
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(options) if *options == Default::default() => {
                (0..table.columns.len()).try_for_each(|at| add(at, None))?;
            }
            SelectItem::UnnamedExpr(expr) => add(column(table, expr)?, None)?,
            SelectItem::ExprWithAlias { expr, alias } => add(column(table, expr)?, Some(parse::name(alias)))?,
            _ => return None,
        }
    }
    Some((columns, named))
}

fn wanted_order(table: &Table, output: (&[usize], &[Column]), order: &OrderBy) -> Option<Vec<Wanted>> {
    let OrderBy { kind: OrderByKind::Expressions(exprs), interpolate: None } = order else { return None };
    let wanted = exprs.iter().map(|sort| {
        if sort.with_fill.is_some() {
            return None;
        }
        let descending = sort.options.asc == Some(false);
        let order = KeyOrder { descending, nulls_first: sort.options.nulls_first.unwrap_or(descending) };
        Some((sorted_column(table, output, &sort.expr)?, order))
    });
    wanted.collect()
}

/// The column that rows are sorted by: a name means a column of the result before it means one of the table.
fn sorted_column(table: &Table, (columns, named): (&[usize], &[Column]), expr: &Expr) -> Option<usize> {
    let Expr::Identifier(ident) = expr else { return column(table, expr) };
    let name = parse::name(ident);
    let mut found = columns.iter().zip(named).filter(|(_, column)| column.name == name).map(|(at, _)| *at);
    let Some(first) = found.next() else { return column(table, expr) };
    found.all(|other| other == first).then_some(first)
}
