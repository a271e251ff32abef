//! The rules of a table's rows, compiled: defaults, NOT NULL, CHECK, and the keys of its indexes.
//!
//! Every entrance of writes uses them: SQL, the typed API, import. The store below sees finished rows and keys.

use crate::engine::Engine;
use crate::error::from_datafusion;
use crate::outcome::Column;
use crate::parse;
use crate::partial::PartialIndex;
use crate::planner::Planner;
use crate::scan::IndexedExpr;
use crate::types::{ColumnBuilder, arrow as mapping, value_at};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use nodedb_base::key::{self, KeyOrder};
use nodedb_base::{Error, Incarnation, KeyEntry, Result, RowId, Type, Value};
use nodedb_store::View;
use nodedb_store::catalog::{ForeignKey, Index, IndexSource, Table};
use nodedb_store::row::Cells;
use sqlparser::ast::{Expr, visit_expressions};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The compiled rules of a table.
#[derive(Debug)]
pub struct RowRules {
    table: Arc<Table>,
    types: Vec<Type>,
    checks: Vec<(String, RowExpr)>,
    indexes: Vec<IndexRule>,
    /// Columns that keys, checks and foreign keys are computed from.
    needed: Vec<bool>,
    columns: Arc<[Column]>,
    indexed: Arc<[IndexedExpr]>,
    partial: Arc<[PartialIndex]>,
}

#[derive(Debug)]
struct IndexRule {
    id: Incarnation,
    unique: bool,
    parts: Vec<(Part, KeyOrder)>,
}

#[derive(Debug)]
enum Part {
    Column(usize),
    Computed(RowExpr, Type),
}

/// An expression over some columns of a table's row.
#[derive(Debug)]
pub struct RowExpr {
    expr: Arc<dyn PhysicalExpr>,
    columns: Vec<(usize, Type)>,
    schema: SchemaRef,
}

impl RowExpr {
    /// Compiles an expression over the columns of a table.
    ///
    /// # Errors
    /// `Statement`.
    pub fn compile(planner: &Planner<'_>, table: &Table, expr: Expr) -> Result<Self> {
        let columns = columns_of(table, &expr);
        let (schema, qualified) = schema_of(table, &columns)?;
        let expr = planner.expression(expr, &qualified)?;
        Ok(Self { expr, columns, schema })
    }

    /// The columns that it is over, ascending, with their types.
    pub fn columns(&self) -> &[(usize, Type)] {
        &self.columns
    }

    /// The type of the result.
    ///
    /// # Errors
    /// `Statement` (0A000) if it is none of SQL's.
    pub fn ty(&self) -> Result<Type> {
        let ty = self.expr.data_type(&self.schema).map_err(from_datafusion)?;
        mapping::type_of(&ty)
    }

    /// Fails unless the same row always gives the same value, as an index needs it.
    ///
    /// # Errors
    /// `Statement` (42P17).
    pub fn check_immutable(&self) -> Result<()> {
        if self.expr.is_volatile_node() || datafusion::physical_expr_common::physical_expr::is_volatile(&self.expr) {
            return Err(Error::statement("42P17", "functions in index expression must be marked IMMUTABLE"));
        }
        Ok(())
    }

    /// The value for a row.
    ///
    /// # Errors
    /// `Statement`, as the expression says.
    pub fn of_row(&self, row: &[Value]) -> Result<Value> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (at, ty) in &self.columns {
            let mut builder = ColumnBuilder::new(ty, 1)?;
            builder.append(row.get(*at).unwrap_or(&Value::Null))?;
            arrays.push(builder.finish()?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|e| Error::internal(format!("could not make a row: {e}")))?;
        evaluate(&self.expr, &batch)
    }
}

/// The columns of a table that an expression names, and their types.
fn columns_of(table: &Table, expr: &Expr) -> Vec<(usize, Type)> {
    let mut columns: Vec<usize> = Vec::new();
    let _ = visit_expressions(expr, |expr| {
        let name = match expr {
            Expr::Identifier(ident) => Some(parse::name(ident)),
            Expr::CompoundIdentifier(parts) => parts.last().map(parse::name),
            _ => None,
        };
        columns.extend(name.and_then(|name| table.column(&name)));
        ControlFlow::<()>::Continue(())
    });
    columns.sort_unstable();
    columns.dedup();
    columns.into_iter().filter_map(|at| Some((at, table.columns.get(at)?.ty.clone()))).collect()
}

/// Rows of these columns, and the same with the table's name.
fn schema_of(table: &Table, columns: &[(usize, Type)]) -> Result<(SchemaRef, DFSchema)> {
    let fields = columns
        .iter()
        .filter_map(|(at, ty)| table.columns.get(*at).map(|column| mapping::field(&column.name, ty, true)));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let qualified = DFSchema::try_from_qualified_schema(table.name.as_str(), &schema).map_err(from_datafusion)?;
    Ok((schema, qualified))
}

/// An expression over the columns of a table in the form that filters have when they reach a scan.
///
/// # Errors
/// `Statement`.
pub fn filter_form(planner: &Planner<'_>, table: &Table, expr: Expr) -> Result<datafusion::logical_expr::Expr> {
    let (_, schema) = schema_of(table, &columns_of(table, &expr))?;
    planner.filter_form(expr, &schema)
}

/// The expressions that a table's indexes are made of, as filters name them.
fn indexed_expressions(planner: &Planner<'_>, table: &Table) -> Result<Arc<[IndexedExpr]>> {
    let parts = table.indexes.iter().flat_map(|index| &index.columns);
    let indexed = parts.filter_map(|part| match &part.source {
        IndexSource::Column(_) => None,
        IndexSource::Expression(text) => Some((part, text)),
    });
    let compiled = indexed.map(|(part, text)| {
        let expr = parse::expression(text)?;
        let (source, ty) = (part.source.clone(), part.ty.clone());
        Ok(IndexedExpr { source, expr: filter_form(planner, table, expr)?, ty })
    });
    compiled.collect()
}

/// The value of an expression for the one row of a batch.
///
/// # Errors
/// `Statement`, as the expression says.
pub fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<Value> {
    match expr.evaluate(batch).map_err(from_datafusion)? {
        ColumnarValue::Array(array) => value_at(&array, 0, None),
        ColumnarValue::Scalar(scalar) => crate::types::scalar::to_value(&scalar),
    }
}

impl RowRules {
    pub(crate) fn compile(engine: &Engine, table: &Arc<Table>) -> Result<Self> {
        let planner = Planner::without_tables(engine, &[]);
        let compile = |text: &str| RowExpr::compile(&planner, table, parse::expression(text)?);
        let checks = table.checks.iter().map(|check| Ok((check.name.clone(), compile(&check.expression)?)));
        let checks = checks.collect::<Result<Vec<_>>>()?;
        let indexes = table.indexes.iter().map(|index| IndexRule::compile(index, &compile));
        let indexes = indexes.collect::<Result<Vec<_>>>()?;
        let column =
            |column: &nodedb_store::catalog::Column| Column { name: column.name.clone(), ty: column.ty.clone() };
        let columns = table.columns.iter().map(column).collect();
        let (indexed, types) = (indexed_expressions(&planner, table)?, table.types());
        let (partial, needed) = (PartialIndex::of_table(&planner, table)?, Vec::new());
        let mut rules = Self { table: table.clone(), types, checks, indexes, needed, columns, indexed, partial };
        rules.needed = rules.find_needed();
        Ok(rules)
    }

    fn find_needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.types.len()];
        let mut need = |at: usize| {
            if let Some(column) = needed.get_mut(at) {
                *column = true;
            }
        };
        let computed = self.indexes.iter().flat_map(|index| &index.parts).filter_map(|(part, _)| match part {
            Part::Column(_) => None,
            Part::Computed(expr, _) => Some(expr),
        });
        for expr in self.checks.iter().map(|(_, expr)| expr).chain(computed) {
            expr.columns.iter().for_each(|(at, _)| need(*at));
        }
        for (part, _) in self.indexes.iter().flat_map(|index| &index.parts) {
            if let Part::Column(at) = part {
                need(*at);
            }
        }
        self.table.foreign_keys.iter().flat_map(|key| &key.columns).for_each(|at| need(usize::from(*at)));
        self.table.row_key().into_iter().for_each(&mut need);
        needed
    }

    /// The table.
    pub const fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Its columns, as results have them.
    pub const fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// The types of its columns.
    pub fn types(&self) -> &[Type] {
        &self.types
    }

    /// The expressions that its indexes are made of.
    pub const fn indexed_expressions(&self) -> &Arc<[IndexedExpr]> {
        &self.indexed
    }

    /// Its indexes that hold some rows only.
    pub const fn partial_indexes(&self) -> &Arc<[PartialIndex]> {
        &self.partial
    }

    /// Whether keys, checks or foreign keys are computed from a column.
    pub fn needs(&self, column: usize) -> bool {
        self.needed.get(column).copied().unwrap_or(false)
    }

    /// The values of a stored row; those that nothing needs and `also` does not want are left out (as NULL).
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn read(&self, view: &View, row: &nodedb_store::Row, also: impl Fn(usize) -> bool) -> Result<Vec<Value>> {
        let mut cells = Cells::new(&self.types, &row.bytes, row.lsn)?;
        let mut values = Vec::with_capacity(self.types.len());
        for (at, ty) in self.types.iter().enumerate() {
            let cell = cells.take()?;
            let wanted = self.needs(at) || also(at);
            let life = self.table.incarnation;
            values.push(if wanted { view.cell_value(life, row.id, at as u16, ty, cell)? } else { Value::Null });
        }
        Ok(values)
    }

    /// Checks NOT NULL and CHECK.
    ///
    /// # Errors
    /// `Constraint` (23502, 23514).
    pub fn check(&self, row: &[Value]) -> Result<()> {
        for (column, value) in self.table.columns.iter().zip(row) {
            self.check_not_null(column, value)?;
        }
        self.check_expressions(row)
    }

    /// Checks NOT NULL of one column.
    ///
    /// # Errors
    /// `Constraint` (23502).
    pub fn check_not_null(&self, column: &nodedb_store::catalog::Column, value: &Value) -> Result<()> {
        if !column.not_null || !value.is_null() {
            return Ok(());
        }
        let (name, table) = (&column.name, &self.table.name);
        let message = format!("null value in column \"{name}\" of relation \"{table}\" violates not-null constraint");
        Err(Error::constraint("23502", message))
    }

    /// Checks CHECK alone.
    ///
    /// # Errors
    /// `Constraint` (23514).
    pub fn check_expressions(&self, row: &[Value]) -> Result<()> {
        for (name, expr) in &self.checks {
            if matches!(expr.of_row(row)?, Value::Bool(false)) {
                let table = &self.table.name;
                let message = format!("new row for relation \"{table}\" violates check constraint \"{name}\"");
                return Err(Error::constraint("23514", message));
            }
        }
        Ok(())
    }

    /// The keys of a row in all indexes.
    ///
    /// # Errors
    /// `Statement`, from index expressions; `Limit` (54000) for keys that are too long.
    pub fn keys(&self, row: &[Value], id: RowId) -> Result<Vec<KeyEntry>> {
        self.indexes.iter().map(|index| index.key(row, id)).collect()
    }

    /// The key of a row in one index.
    ///
    /// # Errors
    /// As [`RowRules::keys`].
    pub fn key_in(&self, index: Incarnation, row: &[Value], id: RowId) -> Result<Option<KeyEntry>> {
        self.indexes.iter().find(|rule| rule.id == index).map(|rule| rule.key(row, id)).transpose()
    }

    /// The encoded columns of a foreign key, as both sides have them; `None` if one is NULL.
    ///
    /// # Errors
    /// Those of the key codec.
    pub fn foreign_key(columns: &[u16], row: &[Value]) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        for column in columns {
            let value = row.get(usize::from(*column)).unwrap_or(&Value::Null);
            if value.is_null() {
                return Ok(None);
            }
            key::encode(value, KeyOrder::default(), &mut bytes)?;
        }
        Ok(Some(bytes))
    }

    /// The foreign keys of the table.
    pub fn foreign_keys(&self) -> &[ForeignKey] {
        &self.table.foreign_keys
    }
}

/// Longest key of an index, in bytes.
const MAX_KEY_BYTES: usize = 8192;

impl IndexRule {
    fn compile(index: &Index, compile: &impl Fn(&str) -> Result<RowExpr>) -> Result<Self> {
        let parts = index.columns.iter().map(|column| {
            let part = match &column.source {
                IndexSource::Column(at) => Part::Column(usize::from(*at)),
                IndexSource::Expression(text) => Part::Computed(compile(text)?, column.ty.clone()),
            };
            Ok((part, column.order))
        });
        Ok(Self { id: index.id, unique: index.unique, parts: parts.collect::<Result<_>>()? })
    }

    fn key(&self, row: &[Value], id: RowId) -> Result<KeyEntry> {
        let (mut bytes, mut has_null) = (Vec::with_capacity(24), false);
        for (part, order) in &self.parts {
            match part {
                Part::Column(at) => {
                    let value = row.get(*at).unwrap_or(&Value::Null);
                    has_null |= value.is_null();
                    key::encode(value, *order, &mut bytes)?;
                }
                Part::Computed(expr, ty) => {
                    let value = crate::types::assign(expr.of_row(row)?, ty, &crate::types::TextStyle::default())?;
                    has_null |= value.is_null();
                    key::encode(&value, *order, &mut bytes)?;
                }
            }
        }
        if bytes.len() > MAX_KEY_BYTES {
            let message = format!("index row size {} exceeds the maximum of {MAX_KEY_BYTES} bytes", bytes.len());
            return Err(Error::limit("54000", message).with_hint("Index a hash or a prefix of the value instead."));
        }
        // NULLs are never the same, so a key with one names no row by itself.
        let unique = self.unique && !has_null;
        if !unique {
            bytes.extend(id.0.to_be_bytes());
        }
        Ok(KeyEntry { index: self.id, unique, key: bytes })
    }
}
