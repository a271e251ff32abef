//! `SELECT columns FROM t [WHERE comparisons] ORDER BY embedding <=> $1 LIMIT k`: nearest neighbours without a planner.

use super::condition::{Condition, bounds, conditions};
use super::filtered::{Experience, Filtered};
use super::select::{output, plain_select};
use super::{column, only_table};
use crate::engine::Engine;
use crate::outcome::{Column, Outcome};
use crate::parse::{self, LiteralText};
use crate::partial;
use crate::scan::access::{Access, integer};
use crate::scan::bounds::Bounds;
use crate::scan::{BatchReader, MOST_ROWS, Source, Target, asked, of_numbers};
use crate::statement::Statement;
use crate::types::arrow as mapping;
use arrow::datatypes::{Schema, SchemaRef};
use nodedb_base::{Result, Type, Value};
use nodedb_index::{Index, Nearest};
use nodedb_store::catalog::{Table, VectorClass};
use nodedb_store::{Transaction, View};
use sqlparser::ast::{Expr, LimitClause, OrderBy, OrderByKind, Query};
use std::sync::Arc;

/// A SELECT of the nearest rows.
#[derive(Debug)]
pub struct NearestPlan {
    table: Arc<Table>,
    types: Arc<[Type]>,
    columns: Arc<[usize]>,
    named: Arc<[Column]>,
    schema: SchemaRef,
    /// The column whose distance rows are sorted by, and of which class that is.
    sorted_by: (usize, VectorClass),
    column: Type,
    conditions: Vec<Condition>,
    experience: Experience,
    constant: Expr,
    limit: Expr,
}

/// What is asked this time.
struct Question {
    vector: Target,
    k: usize,
}

impl NearestPlan {
    /// The table.
    pub const fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The rows, nearest first; `None` where an index cannot tell.
    ///
    /// # Errors
    /// Those of reading.
    pub fn run(&self, engine: &Engine, statement: &Statement<'_>, view: &View) -> Result<Option<Outcome>> {
        let Some(Question { vector, k }) = self.question(statement) else { return Ok(None) };
        let Some(bounds) = self.bounds(statement) else { return Ok(None) };
        let Some((index, bounds)) = self.index(engine, bounds, view)? else { return Ok(None) };
        let Some(nearest) = index.kind().as_nearest() else { return Ok(None) };
        view.note_table(self.table.incarnation)?;
        let search = self.filtered(engine, (&index, nearest), (&vector, k), &bounds, statement, view);
        let Some(rows) = search.rows()? else { return Ok(None) };
        let source = Source {
            table: self.table.clone(),
            types: self.types.clone(),
            view: view.clone(),
            columns: self.columns.clone(),
            limited: true,
            asking: None,
        };
        if let Some(batches) = of_numbers(&source, &self.schema, &rows)? {
            return Ok(Some(Outcome::of_batches(self.named.clone(), batches.into_iter().map(Ok), None)));
        }
        let batches = BatchReader::new(source, self.schema.clone(), Access::Points(rows), false, None)?;
        Ok(Some(Outcome::of_batches(self.named.clone(), batches, None)))
    }

    /// What EXPLAIN says of it.
    pub fn explain(&self, engine: &Engine, statement: &Statement<'_>, view: &View) -> Option<String> {
        let Question { vector, k } = self.question(statement)?;
        let (asked, bounds) = self.index(engine, self.bounds(statement)?, view).ok()??;
        let nearest = asked.kind().as_nearest()?;
        let search = self.filtered(engine, (&asked, nearest), (&vector, k), &bounds, statement, view);
        let filter = search.describe().ok()?;
        let (how, size) = (statement.settings.hardness(), asked.kind().size());
        let names: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let (table, index, names) = (&self.table.name, &asked.name, names.join(", "));
        Some(format!(
            "Nearest: {table}, index {index} (approximate, {how}, {size}), first {k}, in order{filter}, columns [{names}]"
        ))
    }

    /// What the conditions say this time, if they say just that.
    fn bounds(&self, statement: &Statement<'_>) -> Option<Bounds> {
        bounds(&self.table, &self.conditions, statement).filter(|bounds| bounds.is_exact() && !bounds.impossible)
    }

    /// The index to ask, and what of the bounds is left to be met by the rows that it holds.
    fn index(&self, engine: &Engine, bounds: Bounds, view: &View) -> Result<Option<(Arc<Index>, Bounds)>> {
        let table = &self.table;
        let partial = match table.has_partial_indexes() {
            true => engine.rules(table)?.partial_indexes().clone(),
            false => Arc::default(),
        };
        let of = |id| partial.iter().find(|index| index.id() == id);
        let covers = |id| of(id).is_some_and(|index| index.covers(&[], &bounds));
        let found = partial::candidates(table, self.sorted_by, covers)
            .find_map(|index| Some((asked(engine.indexes(), index, table, view)?, of(index.id))));
        Ok(found.map(|(index, partial)| match partial {
            Some(partial) => (index, partial.left_of(&bounds)),
            None => (index, bounds),
        }))
    }

    fn filtered<'a>(
        &'a self,
        engine: &'a Engine,
        (index, nearest): (&'a Index, &'a dyn Nearest),
        (vector, k): (&'a Target, usize),
        bounds: &'a Bounds,
        statement: &Statement<'_>,
        view: &'a View,
    ) -> Filtered<'a> {
        let (vector, hardness) = (vector.vector(), statement.settings.hardness());
        let (table, types) = (&*self.table, &*self.types);
        let (filters, keys) = (engine.indexes().filters(), engine.indexes().keys());
        let experience = &self.experience;
        Filtered { index, nearest, vector, k, hardness, table, types, view, bounds, filters, keys, experience }
    }

    fn question(&self, statement: &Statement<'_>) -> Option<Question> {
        let value = match parse::literal(&self.constant)? {
            LiteralText::Unknown(text) => Value::Text(text),
            LiteralText::Parameter(n) => statement.parameters.get(n.checked_sub(1)?)?.clone(),
            _ => return None,
        };
        let vector = Target::of_value(value, &self.column)?;
        let k = match parse::literal(&self.limit)? {
            LiteralText::Number(text) => text.parse().ok()?,
            LiteralText::Parameter(n) => integer(statement.parameters.get(n.checked_sub(1)?)?)?,
            _ => return None,
        };
        let k = usize::try_from(k).ok().filter(|k| (1..=MOST_ROWS).contains(k))?;
        Some(Question { vector, k })
    }
}

/// The plan of a SELECT.
///
/// # Errors
/// `Statement` if its table's name is none.
pub fn plan(query: &Query, tx: &Transaction) -> Result<Option<NearestPlan>> {
    let Some(select) = plain_select(query) else { return Ok(None) };
    let [from] = select.from.as_slice() else { return Ok(None) };
    let Some(table) = only_table(from, tx)? else { return Ok(None) };
    let parts = || {
        let Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by }) = &query.limit_clause else {
            return None;
        };
        let (class, at, constant) = distance(&table, query.order_by.as_ref()?)?;
        let column = table.columns.get(at)?.ty.clone();
        table.vector_indexes(at, class).next()?;
        let (columns, named) = output(&table, select)?;
        let conditions = conditions(&table, select.selection.as_ref())?;
        limit_by.is_empty().then(|| (columns, named, (at, class), column, conditions, constant.clone(), limit.clone()))
    };
    let Some((columns, named, sorted_by, column, conditions, constant, limit)) = parts() else { return Ok(None) };
    let fields = named.iter().map(|column| mapping::field(&column.name, &column.ty, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let (types, columns, named) = (table.types().into(), columns.into(), named.into());
    Ok(Some(NearestPlan {
        table,
        types,
        columns,
        named,
        schema,
        sorted_by,
        column,
        conditions,
        experience: Experience::default(),
        constant,
        limit,
    }))
}

/// The one distance that rows are sorted by: what is near, the column, and the constant.
fn distance<'q>(table: &Table, order: &'q OrderBy) -> Option<(VectorClass, usize, &'q Expr)> {
    let OrderBy { kind: OrderByKind::Expressions(exprs), interpolate: None } = order else { return None };
    let [sort] = exprs.as_slice() else { return None };
    if sort.with_fill.is_some() || sort.options.asc == Some(false) || sort.options.nulls_first == Some(true) {
        return None;
    }
    let Expr::BinaryOp { left, op, right } = &sort.expr else { return None };
    let class = VectorClass::of_operator(&op.to_string())?;
    match (column(table, left), column(table, right)) {
        (Some(at), None) => Some((class, at, right)),
        (None, Some(at)) => Some((class, at, left)),
        _ => None,
    }
}
