//! INSERT, UPDATE, DELETE: a SELECT finds the affected rows, `RowRules` checks and keys them, the transaction
//! takes them.

pub mod conflict;
pub mod delete;
pub mod insert;
pub mod references;
pub mod returning;
pub mod update;

use crate::engine::Engine;
use crate::error::from_datafusion;
use crate::parse;
use crate::planner::{Planner, no_relation};
use crate::rules::RowRules;
use crate::scan::{ROW_ID, TableScan};
use crate::statement::Statement;
use crate::types::{assign, parse as parse_text, value_at};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use futures::StreamExt;
use nodedb_base::{Error, KeyEntry, Result, RowId, Type, Value};
use nodedb_store::catalog::Table;
use nodedb_store::row::{Field, encode};
use nodedb_store::{Row, Transaction};
use sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Ident, ObjectName, Query, SelectItem, Statement as Ast, TableFactor,
    TableWithJoins,
};
use std::sync::Arc;

/// What a statement that changes rows works with.
pub struct Change<'a> {
    pub engine: &'a Engine,
    pub statement: Statement<'a>,
    pub tx: &'a mut Transaction,
    pub rules: Arc<RowRules>,
    /// Rows that were changed.
    pub count: u64,
    /// The rows that RETURNING sees, when there is one.
    pub returned: Option<Vec<Vec<Value>>>,
    references: references::Pending,
}

impl<'a> Change<'a> {
    /// Starts a change of the named table.
    pub fn new(
        engine: &'a Engine,
        statement: Statement<'a>,
        tx: &'a mut Transaction,
        table: &str,
        what: &str,
        returning: bool,
    ) -> Result<Self> {
        tx.check_writable(what)?;
        let table = tx.catalog().table(table).ok_or_else(|| no_relation(table))?;
        let rules = engine.rules(&table.clone())?;
        let returned = returning.then(Vec::new);
        Ok(Self { engine, statement, tx, rules, count: 0, returned, references: references::Pending::default() })
    }

    pub fn table(&self) -> &Arc<Table> {
        self.rules.table()
    }

    /// Puts a new row. All its values are there.
    pub fn insert(&mut self, values: Vec<Value>) -> Result<()> {
        self.rules.check(&values)?;
        let id = self.new_row_id(&values)?;
        let keys = self.rules.keys(&values, id)?;
        self.insert_checked(id, values, keys)
    }

    /// The id of a new row: its primary key, or the next number.
    pub fn new_row_id(&self, values: &[Value]) -> Result<RowId> {
        let life = self.table().incarnation;
        match self.table().row_key() {
            None => Ok(self.tx.next_row_id(life)),
            Some(column) => row_of_key(values.get(column)),
        }
    }

    pub fn insert_checked(&mut self, id: RowId, values: Vec<Value>, keys: Vec<KeyEntry>) -> Result<()> {
        let life = self.table().incarnation;
        if self.table().row_key().is_some() {
            self.tx.check_row_free(life, id)?;
        }
        let fields: Vec<_> = values.iter().map(Field::Set).collect();
        let encoded = encode(self.rules.types(), &fields, None)?;
        self.tx.insert(life, id, encoded, keys)?;
        self.references.child(&self.rules, &values, None)?;
        self.note(values);
        Ok(())
    }

    /// Gives columns of a row new values.
    pub fn update(&mut self, row: &Row, assigned: Vec<(usize, Value)>) -> Result<()> {
        let rules = self.rules.clone();
        let (life, all) = (rules.table().incarnation, self.returned.is_some());
        let moves = rules.table().row_key().is_some_and(|key| assigned.iter().any(|(column, _)| *column == key));
        let old = rules.read(self.tx.view(), row, |_| all || moves)?;
        let mut new = old.clone();
        let mut fields = vec![Field::Keep; new.len()];
        for (column, value) in &assigned {
            self.check_not_null(*column, value)?;
            if let (Some(slot), Some(field)) = (new.get_mut(*column), fields.get_mut(*column)) {
                slot.clone_from(value);
                *field = Field::Set(value);
            }
        }
        rules.check_expressions(&new)?;
        let id = if moves { self.new_row_id(&new)? } else { row.id };
        if id != row.id {
            self.remove(row, &old)?;
            let keys = rules.keys(&new, id)?;
            return self.insert_checked(id, new, keys);
        }
        let keys = rules.keys(&new, id)?;
        let before = nodedb_store::OldRow { keys: rules.keys(&old, id)?, large: Vec::new() };
        let encoded = encode(rules.types(), &fields, Some((&row.bytes, own_version(row))))?;
        self.tx.update(life, id, before, encoded, keys)?;
        self.references.child(&rules, &new, Some(&old))?;
        self.references.parent(self.tx.catalog(), &rules, &old, Some(&new))?;
        self.note(new);
        Ok(())
    }

    /// Removes a row.
    pub fn delete(&mut self, row: &Row) -> Result<()> {
        let rules = self.rules.clone();
        let all = self.returned.is_some();
        let referenced = references::referenced_columns(self.tx.catalog(), rules.table().id);
        let old = rules.read(self.tx.view(), row, |column| all || referenced.contains(&column))?;
        self.remove(row, &old)?;
        self.note(old);
        Ok(())
    }

    fn remove(&mut self, row: &Row, old: &[Value]) -> Result<()> {
        let rules = self.rules.clone();
        let large = nodedb_store::row::large_columns(rules.types(), &row.bytes)?;
        let before = nodedb_store::OldRow { keys: rules.keys(old, row.id)?, large };
        self.tx.delete(rules.table().incarnation, row.id, before)?;
        self.references.parent(self.tx.catalog(), &rules, old, None)
    }

    fn check_not_null(&self, column: usize, value: &Value) -> Result<()> {
        self.table().columns.get(column).map_or(Ok(()), |definition| self.rules.check_not_null(definition, value))
    }

    fn note(&mut self, values: Vec<Value>) {
        self.count += 1;
        if let Some(returned) = &mut self.returned {
            returned.push(values);
        }
    }

    /// Ends the statement: what it did to foreign keys must hold now.
    pub fn finish(&mut self) -> Result<()> {
        std::mem::take(&mut self.references).check(self.tx)
    }

    /// Runs a SELECT over the target, which then carries its row ids, and hands over the batches.
    pub async fn select(&mut self, target: &str, query: Query) -> Result<Vec<RecordBatch>> {
        let mut planner = Planner::new(self.engine, &self.statement, self.tx.view().clone());
        let scan = TableScan::new(self.engine, self.table().clone(), self.tx.view().clone(), true, false)?;
        planner.define(target, Arc::new(scan));
        let plan = planner.query(query)?;
        let plan = planner.physical(&plan).await?;
        let mut stream = planner.run(plan)?;
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(from_datafusion)?;
            bytes += batch.get_array_memory_size();
            if bytes > MAX_AFFECTED_BYTES {
                return Err(nodedb_store_limit());
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}

/// Most bytes that the affected rows of one statement may take before they are written.
const MAX_AFFECTED_BYTES: usize = 512 << 20;

fn nodedb_store_limit() -> Error {
    Error::limit("54000", format!("statement affects more than {MAX_AFFECTED_BYTES} bytes of rows"))
        .with_hint("Change fewer rows at a time.")
}

/// The Lsn that a row's unversioned cells stand for. A row of this transaction has none yet, and says so again.
const fn own_version(row: &Row) -> nodedb_base::Lsn {
    if row.lsn.0 == u64::MAX { nodedb_base::Lsn::ZERO } else { row.lsn }
}

/// The row that an integer primary key names.
pub fn row_of_key(value: Option<&Value>) -> Result<RowId> {
    let key = value.and_then(crate::scan::access::integer);
    key.map(RowId::from_key).ok_or_else(|| Error::internal("a primary key is no integer"))
}

/// The row ids in the first column of a batch.
pub fn row_ids(batch: &RecordBatch) -> Result<Vec<RowId>> {
    let column = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let column = column.ok_or_else(|| Error::internal("the affected rows have no ids"))?;
    Ok(column.values().iter().map(|id| RowId(*id)).collect())
}

/// A value on its way into a column. A text that meets another type is read as a literal would be.
pub fn store(value: Value, ty: &Type, statement: &Statement<'_>) -> Result<Value> {
    match value {
        Value::Text(text) if !matches!(ty, Type::Text | Type::Varchar(_)) => parse_text(&text, ty, statement.style()),
        value => assign(value, ty, statement.style()),
    }
}

/// A literal or a parameter on its way into a column; `None` if the expression must be computed.
pub fn constant(expr: &Expr, ty: &Type, statement: &Statement<'_>) -> Option<Result<Value>> {
    use parse::LiteralText::{Bool, Null, Number, Parameter, Unknown};
    Some(match parse::literal(expr)? {
        Null => Ok(Value::Null),
        Bool(value) => store(Value::Bool(value), ty, statement),
        Unknown(text) => store(Value::Text(text), ty, statement),
        Parameter(n) => match n.checked_sub(1).and_then(|at| statement.parameters.get(at)) {
            Some(value) => store(value.clone(), ty, statement),
            None => Err(crate::planner::no_parameter(&format!("${n}"))),
        },
        Number(text) => {
            let Some(number) = parse::number(&text) else { return Some(parse_text(&text, ty, statement.style())) };
            if matches!(ty, Type::Text | Type::Varchar(_)) {
                assign(Value::Text(text), ty, statement.style())
            } else {
                store(number, ty, statement)
            }
        }
    })
}

/// The values of a column of a batch, on their way into a column of the table.
pub fn stored_values(array: &dyn Array, ty: &Type, statement: &Statement<'_>) -> Result<Vec<Value>> {
    (0..array.len()).map(|row| store(value_at(array, row, None)?, ty, statement)).collect()
}

/// The column that an assignment sets.
pub fn assigned_column(table: &Table, assignment: &Assignment) -> Result<usize> {
    let AssignmentTarget::ColumnName(target) = &assignment.target else {
        return Err(Error::unsupported("SET (column, ...) = (...)"));
    };
    let [part] = target.0.as_slice() else { return Err(Error::unsupported(format!("SET {target} = ..."))) };
    let name = part.as_ident().map(parse::name).unwrap_or_default();
    table.column(&name).ok_or_else(|| no_column(&name, &table.name))
}

/// The error of a column that is not there.
pub fn no_column(column: &str, table: &str) -> Error {
    Error::statement("42703", format!("column \"{column}\" of relation \"{table}\" does not exist"))
}

/// The one plain table of a FROM item, and the name that the statement uses for it.
pub fn target(table: &TableWithJoins) -> Result<(String, String)> {
    let (TableFactor::Table { name, alias, .. }, true) = (&table.relation, table.joins.is_empty()) else {
        return Err(Error::unsupported(format!("a change of {table}")));
    };
    let relation = parse::relation(name)?;
    let alias = alias.as_ref().map_or_else(|| relation.clone(), |alias| parse::name(&alias.name));
    Ok((relation, alias))
}

/// The query that finds the affected rows: their ids, then the expressions that are wanted of each.
pub fn affected_query(
    target: TableWithJoins,
    alias: &str,
    exprs: Vec<Expr>,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<Query> {
    let Some(Ast::Query(mut query)) = parse::statement("SELECT 1")? else {
        return Err(Error::internal("the template of a query is none"));
    };
    let sqlparser::ast::SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("the template of a query is none"));
    };
    let quoted = |name: &str| Ident::with_quote('"', name);
    let id = Expr::CompoundIdentifier(vec![quoted(alias), quoted(ROW_ID)]);
    let named = |(n, expr)| SelectItem::ExprWithAlias { expr, alias: quoted(&format!("\u{0}{n}")) };
    select.projection = std::iter::once(id).chain(exprs).enumerate().map(named).collect();
    select.from = std::iter::once(target).chain(from).collect();
    select.selection = selection;
    Ok(*query)
}

/// Whether a statement answers with nothing but its tag.
pub const fn returning_free(returning: Option<&Vec<SelectItem>>) -> bool {
    returning.is_none()
}

/// A table's name as syntax.
pub fn object_name(name: &str) -> ObjectName {
    ObjectName::from(vec![Ident::with_quote('"', name)])
}
