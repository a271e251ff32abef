//! ON CONFLICT.

use super::{Change, assigned_column, no_column, store};
use crate::error::from_datafusion;
use crate::parse;
use crate::planner::Planner;
use crate::rules::evaluate;
use crate::scan::table_fields;
use crate::types::ColumnBuilder;
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use datafusion::common::{DFSchema, TableReference};
use datafusion::physical_expr::PhysicalExpr;
use nodedb_base::{Error, Incarnation, KeyEntry, Result, RowId, Value};
use nodedb_store::Row;
use nodedb_store::catalog::{IndexSource, Table};
use sqlparser::ast::{ConflictTarget, OnConflictAction, OnInsert};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What becomes of a row that INSERT has at hand.
pub enum Action {
    Insert,
    Nothing,
    Update(Row, Vec<(usize, Value)>),
}

/// Which key decides whether a row is there already.
enum Arbiter {
    /// Any unique key.
    Any,
    /// The primary key that is the row id.
    RowKey,
    /// A unique index.
    Index(Incarnation),
}

/// A compiled ON CONFLICT clause.
pub struct OnConflictRule {
    arbiter: Arbiter,
    update: Option<Update>,
    written: BTreeSet<RowId>,
}

struct Update {
    assignments: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    condition: Option<Arc<dyn PhysicalExpr>>,
    schema: Arc<Schema>,
}

impl OnConflictRule {
    pub fn compile(change: &Change<'_>, alias: &str, on: &OnInsert) -> Result<Self> {
        let OnInsert::OnConflict(on) = on else { return Err(Error::unsupported("ON DUPLICATE KEY UPDATE")) };
        let arbiter = arbiter(change.table(), on.conflict_target.as_ref())?;
        let update = match &on.action {
            OnConflictAction::DoNothing => None,
            OnConflictAction::DoUpdate(_) if matches!(arbiter, Arbiter::Any) => {
                let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
                return Err(Error::statement("42601", message).with_hint("For example, ON CONFLICT (column_name)."));
            }
            OnConflictAction::DoUpdate(action) => {
                let planner = Planner::new(change.engine, &change.statement, change.tx.view().clone());
                let fields = table_fields(change.table());
                let qualify = |name: &str| -> Vec<(Option<TableReference>, Arc<Field>)> {
                    let reference = TableReference::bare(name.to_owned());
                    fields.iter().map(|f| (Some(reference.clone()), Arc::new(f.clone().with_nullable(true)))).collect()
                };
                let both: Vec<_> = qualify(alias).into_iter().chain(qualify("excluded")).collect();
                let schema = Arc::new(Schema::new(both.iter().map(|(_, f)| f.clone()).collect::<Vec<_>>()));
                let named = DFSchema::new_with_metadata(both, Default::default()).map_err(from_datafusion)?;
                let compile = |expr: &sqlparser::ast::Expr| {
                    let expr = own_columns(change.table(), alias, expr.clone());
                    planner.expression(expr, &named)
                };
                let mut assignments = Vec::new();
                for assignment in &action.assignments {
                    let column = assigned_column(change.table(), assignment)?;
                    let value = super::insert::with_default(change.table(), column, assignment.value.clone())?;
                    assignments.push((column, compile(&value)?));
                }
                let condition = action.selection.as_ref().map(compile).transpose()?;
                Some(Update { assignments, condition, schema })
            }
        };
        Ok(Self { arbiter, update, written: BTreeSet::new() })
    }

    /// Notes that this statement has put a row.
    pub fn written(&mut self, id: RowId) {
        self.written.insert(id);
    }

    /// What to do with a row.
    pub fn decide(&mut self, change: &Change<'_>, id: RowId, row: &[Value], keys: &[KeyEntry]) -> Result<Action> {
        let Some(found) = self.find(change, id, keys)? else { return Ok(Action::Insert) };
        let Some(update) = &self.update else { return Ok(Action::Nothing) };
        if !self.written.insert(found.id) {
            let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
            return Err(Error::statement("21000", message).with_hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
        let old = change.rules.read(change.tx.view(), &found, |_| true)?;
        let batch = update.batch(change, &old, row)?;
        if let Some(condition) = &update.condition
            && !matches!(evaluate(condition, &batch)?, Value::Bool(true))
        {
            return Ok(Action::Nothing);
        }
        let mut assigned = Vec::new();
        for (column, expr) in &update.assignments {
            let Some(definition) = change.table().columns.get(*column) else { continue };
            assigned.push((*column, store(evaluate(expr, &batch)?, &definition.ty, &change.statement)?));
        }
        Ok(Action::Update(found, assigned))
    }

    fn find(&self, change: &Change<'_>, id: RowId, keys: &[KeyEntry]) -> Result<Option<Row>> {
        let (view, life) = (change.tx.view(), change.table().incarnation);
        let by_row = || if change.table().row_key().is_some() { view.row(life, id) } else { Ok(None) };
        let by_key = |wanted: Option<Incarnation>| -> Result<Option<Row>> {
            for entry in keys.iter().filter(|entry| entry.unique && wanted.is_none_or(|index| index == entry.index)) {
                if let Some(id) = view.unique_key(entry.index, &entry.key)? {
                    return view.row(life, id);
                }
            }
            Ok(None)
        };
        match self.arbiter {
            Arbiter::RowKey => by_row(),
            Arbiter::Index(index) => by_key(Some(index)),
            Arbiter::Any => by_row()?.map_or_else(|| by_key(None), |row| Ok(Some(row))),
        }
    }
}

impl Update {
    fn batch(&self, change: &Change<'_>, old: &[Value], excluded: &[Value]) -> Result<RecordBatch> {
        let types = change.rules.types();
        let mut arrays = Vec::with_capacity(types.len() * 2);
        for (ty, value) in types.iter().zip(old).chain(types.iter().zip(excluded)) {
            let mut builder = ColumnBuilder::new(ty, 1)?;
            builder.append(value)?;
            arrays.push(builder.finish()?);
        }
        RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(|e| Error::internal(format!("could not make the rows of a conflict: {e}")))
    }
}

/// An unqualified column means that of the table, not that of the row that was proposed.
fn own_columns(table: &Table, alias: &str, mut expr: sqlparser::ast::Expr) -> sqlparser::ast::Expr {
    use sqlparser::ast::{Expr, Ident, visit_expressions_mut};
    let _ = visit_expressions_mut(&mut expr, |expr| {
        if let Expr::Identifier(ident) = expr
            && table.column(&parse::name(ident)).is_some()
        {
            *expr = Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), ident.clone()]);
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    expr
}

fn arbiter(table: &Table, target: Option<&ConflictTarget>) -> Result<Arbiter> {
    match target {
        None => Ok(Arbiter::Any),
        Some(ConflictTarget::OnConstraint(name)) => by_constraint(table, &parse::relation(name)?),
        Some(ConflictTarget::Columns(names)) => {
            let mut columns = BTreeSet::new();
            for name in names.iter().map(parse::name) {
                let column = table.column(&name).ok_or_else(|| no_column(&name, &table.name))?;
                columns.insert(column as u16);
            }
            by_columns(table, &columns)
        }
    }
}

fn by_constraint(table: &Table, name: &str) -> Result<Arbiter> {
    if let Some(primary) = table.primary_key.as_ref().filter(|primary| primary.name == name) {
        return Ok(primary.index.map_or(Arbiter::RowKey, Arbiter::Index));
    }
    match table.indexes.iter().find(|index| index.name == name && index.unique) {
        Some(index) => Ok(Arbiter::Index(index.id)),
        None => {
            let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.name);
            Err(Error::statement("42704", message))
        }
    }
}

fn by_columns(table: &Table, columns: &BTreeSet<u16>) -> Result<Arbiter> {
    if let Some(primary) = &table.primary_key
        && primary.index.is_none()
        && primary.columns.iter().copied().collect::<BTreeSet<_>>() == *columns
    {
        return Ok(Arbiter::RowKey);
    }
    let of_index = |sources: &mut dyn Iterator<Item = &IndexSource>| -> Option<BTreeSet<u16>> {
        sources
            .map(|source| match source {
                IndexSource::Column(at) => Some(*at),
                IndexSource::Expression(_) => None,
            })
            .collect()
    };
    let found = table.indexes.iter().find(|index| {
        index.unique && of_index(&mut index.columns.iter().map(|column| &column.source)).as_ref() == Some(columns)
    });
    found.map(|index| Arbiter::Index(index.id)).ok_or_else(|| {
        let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        Error::statement("42P10", message)
    })
}
