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
use nodedb_index::{Index, Job, Size, State, Status};
use nodedb_store::View;
use nodedb_store::catalog::{DerivedIndex, Table};
use std::sync::Arc;

/// The view of that name, as it is now.
///
/// # Errors
/// `Internal` if it cannot be built.
pub fn named(name: &str, engine: &Engine, view: &View) -> Result<Option<Arc<dyn TableProvider>>> {
    match name {
        "nodedb_indexes" => indexes(engine, view).map(Some),
        "nodedb_jobs" => jobs(engine, view).map(Some),
        _ => Ok(None),
    }
}

const INDEXES: [(&str, Type); 24] = [
    ("table_name", Type::Text),
    ("index_name", Type::Text),
    ("method", Type::Text),
    ("state", Type::Text),
    ("progress", Type::Float8),
    ("since", Type::Int8),
    ("upper", Type::Int8),
    ("lag", Type::Int8),
    ("entries", Type::Int8),
    ("tail", Type::Int8),
    ("parts_building", Type::Int8),
    ("parts_sealed", Type::Int8),
    ("parts_in_memory", Type::Int8),
    ("parts_with_codes", Type::Int8),
    ("parts_mapped", Type::Int8),
    ("memory_bytes", Type::Int8),
    ("file_bytes", Type::Int8),
    ("pending_bytes", Type::Int8),
    ("answers_growing", Type::Int8),
    ("answers_building", Type::Int8),
    ("answers_sealed", Type::Int8),
    ("exact_scans", Type::Int8),
    ("job", Type::Text),
    ("error", Type::Text),
];

const JOBS: [(&str, Type); 7] = [
    ("table_name", Type::Text),
    ("index_name", Type::Text),
    ("job", Type::Text),
    ("began", Type::Timestamptz),
    ("done", Type::Int8),
    ("total", Type::Int8),
    ("progress", Type::Float8),
];

/// Each derived index of a catalogue, and its table.
fn derived(view: &View) -> impl Iterator<Item = (&Table, &DerivedIndex)> {
    view.catalog().tables().flat_map(|table| table.derived.iter().map(move |index| (&**table, index)))
}

fn number(n: u64) -> Value {
    Value::Int8(i64::try_from(n).unwrap_or(i64::MAX))
}

fn name(name: &str) -> Value {
    Value::Text(name.to_owned())
}

/// The share of a job that is done, where it is known how much there is.
fn progress(job: &Job) -> Value {
    if job.total == 0 { Value::Null } else { Value::Float8(job.done as f64 / job.total as f64) }
}

/// The derived indexes: what each is doing, what it holds and up to where, and where its answers came from.
fn indexes(engine: &Engine, view: &View) -> Result<Arc<dyn TableProvider>> {
    let last = view.lsn();
    let row = |(of, definition): (&Table, &DerivedIndex)| {
        let index = engine.indexes().get(definition.id);
        let known = |what: fn(&Index) -> u64| index.as_deref().map_or(Value::Null, |index| number(what(index)));
        let size = index.as_ref().map_or_else(Size::default, |index| index.kind().size());
        let status = index.as_ref().map_or_else(Status::default, |index| index.status());
        let (job, durable) = index.as_ref().map_or_else(Default::default, |index| (index.job(), index.durable()));
        let so_far = match status.state {
            State::Ready => Value::Float8(1.0),
            _ => job.as_ref().map_or(Value::Null, progress),
        };
        let (parts, answers) = (size.parts, size.answers);
        let counts = [parts.building, parts.sealed, parts.in_memory, parts.with_codes, parts.mapped];
        let mut row = vec![name(&of.name), name(&definition.name), name(definition.method.name())];
        row.extend([name(status.state.name()), so_far, number(status.since.0), number(durable.0)]);
        row.extend([last.0.saturating_sub(durable.0), size.entries as u64, size.tail as u64].map(number));
        row.extend(counts.map(|count| number(count as u64)));
        row.extend([number(size.memory as u64), number(size.files as u64), known(Index::pending)]);
        row.extend([answers.growing, answers.building, answers.sealed].map(number));
        row.extend([known(Index::scans), job.map_or(Value::Null, |job| name(job.kind.name()))]);
        row.push(status.why.map_or(Value::Null, Value::Text));
        row
    };
    table(&INDEXES, &derived(view).map(row).collect::<Vec<_>>())
}

/// What is being done in the background.
fn jobs(engine: &Engine, view: &View) -> Result<Arc<dyn TableProvider>> {
    let row = |(of, definition): (&Table, &DerivedIndex)| {
        let job = engine.indexes().get(definition.id)?.job()?;
        let total = if job.total == 0 { Value::Null } else { number(job.total) };
        let began = Value::Timestamptz(job.began);
        let mut row = vec![name(&of.name), name(&definition.name), name(job.kind.name())];
        row.extend([began, number(job.done), total, progress(&job)]);
        Some(row)
    };
    table(&JOBS, &derived(view).filter_map(row).collect::<Vec<_>>())
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
