//! System views: what is known of the database itself, as tables.

use crate::engine::Engine;
use crate::error::from_datafusion;
use crate::types::arrow::field;
use crate::types::build;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use nodedb_base::{Error, Result, Type, Value};
use nodedb_store::View;
use std::sync::Arc;

/// The view of that name, as it is now.
///
/// # Errors
/// `Internal` if it cannot be built.
pub fn named(name: &str, engine: &Engine, view: &View) -> Result<Option<Arc<dyn TableProvider>>> {
    match name {
        "nodedb_indexes" => indexes(engine, view).map(Some),
        _ => Ok(None),
    }
}

/// The derived indexes: what each is doing, what it holds and up to where.
fn indexes(engine: &Engine, view: &View) -> Result<Arc<dyn TableProvider>> {
    let columns = [
        ("table_name", Type::Text),
        ("index_name", Type::Text),
        ("method", Type::Text),
        ("state", Type::Text),
        ("since", Type::Int8),
        ("durable", Type::Int8),
        ("entries", Type::Int8),
        ("tail", Type::Int8),
        ("memory_bytes", Type::Int8),
        ("file_bytes", Type::Int8),
        ("error", Type::Text),
    ];
    let mut rows = Vec::new();
    for table in view.catalog().tables() {
        for definition in &table.derived {
            let index = engine.indexes().get(definition.id);
            let (status, durable, size) =
                index.map_or_else(Default::default, |index| (index.status(), index.durable(), index.kind().size()));
            let number = |n: u64| Value::Int8(i64::try_from(n).unwrap_or(i64::MAX));
            rows.push(vec![
                Value::Text(table.name.clone()),
                Value::Text(definition.name.clone()),
                Value::Text(definition.method.name().to_owned()),
                Value::Text(status.state.name().to_owned()),
                number(status.since.0),
                number(durable.0),
                number(size.entries as u64),
                number(size.tail as u64),
                number(size.memory as u64),
                number(size.files as u64),
                status.why.map_or(Value::Null, Value::Text),
            ]);
        }
    }
    table(&columns, &rows)
}

fn table(columns: &[(&str, Type)], rows: &[Vec<Value>]) -> Result<Arc<dyn TableProvider>> {
    let mut arrays = Vec::with_capacity(columns.len());
    for (at, (_, ty)) in columns.iter().enumerate() {
        let values: Vec<Value> = rows.iter().filter_map(|row| row.get(at)).cloned().collect();
        arrays.push(build::column(ty, &values)?);
    }
    let schema = Arc::new(Schema::new(columns.iter().map(|(name, ty)| field(name, ty, true)).collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema.clone(), arrays)
        .map_err(|e| Error::internal(format!("could not show a system view: {e}")))?;
    let table = MemTable::try_new(schema, vec![vec![batch]]).map_err(from_datafusion)?;
    Ok(Arc::new(table))
}
