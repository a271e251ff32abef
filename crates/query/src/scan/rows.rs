//! Rows of a table as batches of the wanted columns.

use super::access::Access;
use crate::types::ColumnBuilder;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, UInt64Builder};
use arrow::datatypes::SchemaRef;
use nodedb_base::{Error, Incarnation, Result, RowId, Type, Value};
use nodedb_store::catalog::Table;
use nodedb_store::row::{Cell, Cells};
use nodedb_store::{KeyRange, KeyRows, Row, Rows, View};
use std::ops::Bound;
use std::sync::Arc;

/// Rows in a batch.
const BATCH_ROWS: usize = 8192;
/// Room for rows in the first batch, since most reads by key find few.
const FIRST_ROOM: usize = 128;

/// What is read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The table.
    pub table: Arc<Table>,
    /// The types of its columns.
    pub types: Arc<[Type]>,
    /// What is seen of it.
    pub view: View,
    /// The columns that are wanted, by number; the one behind the last is the row id.
    pub columns: Arc<[usize]>,
    /// Whether few rows are wanted.
    pub limited: bool,
    /// Derived indexes that may be asked.
    pub asking: Option<super::Asking>,
}

/// Rows, one after the other.
enum Walk {
    Rows(Rows),
    Points(View, Arc<Table>, std::vec::IntoIter<RowId>),
    /// By whole keys of a unique index.
    Unique(View, Arc<Table>, Incarnation, std::vec::IntoIter<KeyRange>),
    Keys {
        view: View,
        table: Arc<Table>,
        index: Incarnation,
        ranges: Vec<KeyRange>,
        backward: bool,
        rows: Option<KeyRows>,
    },
}

impl Walk {
    fn new(source: &Source, access: Access, backward: bool) -> Result<Self> {
        let (view, table) = (source.view.clone(), source.table.clone());
        Ok(match access {
            Access::Nothing => Self::Points(view, table, Vec::new().into_iter()),
            Access::Rows(from, to) => Self::Rows(view.rows(table.incarnation, from, to, backward)?),
            Access::Points(mut rows) => {
                if backward {
                    rows.reverse();
                }
                Self::Points(view, table, rows.into_iter())
            }
            Access::Keys { index, mut ranges, unique: true, .. } => {
                if backward {
                    ranges.reverse();
                }
                Self::Unique(view, table, index, ranges.into_iter())
            }
            Access::Keys { index, mut ranges, .. } => {
                // They are taken from the end.
                if !backward {
                    ranges.reverse();
                }
                Self::Keys { view, table, index, ranges, backward, rows: None }
            }
        })
    }
}

impl Iterator for Walk {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Rows(rows) => rows.next(),
            Self::Points(view, table, rows) => rows.find_map(|row| view.row(table.incarnation, row).transpose()),
            Self::Unique(view, table, index, keys) => {
                keys.find_map(|key| unique_row(view, table, *index, &key).transpose())
            }
            Self::Keys { view, table, index, ranges, backward, rows } => loop {
                let Some(entries) = rows else {
                    match view.rows_of_keys(*index, &ranges.pop()?, *backward) {
                        Ok(entries) => *rows = Some(entries),
                        Err(e) => return Some(Err(e)),
                    }
                    continue;
                };
                match entries.next() {
                    Some(Ok(row)) => {
                        return Some(indexed_row(view, table, row));
                    }
                    Some(Err(e)) => return Some(Err(e)),
                    None => *rows = None,
                }
            },
        }
    }
}

fn unique_row(view: &View, table: &Table, index: Incarnation, key: &KeyRange) -> Result<Option<Row>> {
    let Bound::Included(key) = &key.lower else { return Err(Error::internal("a whole key without its bytes")) };
    match view.unique_key(index, key)? {
        Some(row) => indexed_row(view, table, row).map(Some),
        None => Ok(None),
    }
}

/// The row that an index names.
fn indexed_row(view: &View, table: &Table, row: RowId) -> Result<Row> {
    let dangling = || format!("an index of table {} names row {}, which is not there", table.name, row.0);
    view.row(table.incarnation, row)?.ok_or_else(|| Error::damaged(dangling()))
}

/// Rows as batches of the wanted columns.
pub struct BatchReader {
    source: Source,
    schema: SchemaRef,
    walk: Walk,
    left: Option<usize>,
    /// How many rows room is made for: few at first, then a batch.
    room: usize,
}

impl Iterator for BatchReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.left.map_or(BATCH_ROWS, |left| left.min(BATCH_ROWS));
        if rows == 0 {
            return None;
        }
        let batch = self.walk.next()?.and_then(|first| self.read(first, rows));
        self.left = match (&batch, self.left) {
            (Ok(batch), left) => left.map(|left| left - batch.num_rows()),
            (Err(_), _) => Some(0),
        };
        Some(batch)
    }
}

impl BatchReader {
    /// The columns of `source`, which are those of `schema`, of the rows of an access; at most `fetch` rows.
    ///
    /// # Errors
    /// Those of reading.
    pub fn new(
        source: Source,
        schema: SchemaRef,
        access: Access,
        backward: bool,
        fetch: Option<usize>,
    ) -> Result<Self> {
        let room = match &access {
            Access::Points(rows) => rows.len(),
            Access::Keys { ranges, unique: true, .. } => ranges.len(),
            _ => FIRST_ROOM,
        };
        let walk = Walk::new(&source, access, backward)?;
        Ok(Self { source, schema, walk, left: fetch, room: room.min(FIRST_ROOM) })
    }

    /// A batch of `first` and what follows it, in all `limit` rows at most.
    fn read(&mut self, first: Row, limit: usize) -> Result<RecordBatch> {
        let Source { table, types, view, columns, .. } = &self.source;
        let mut builders = Builders::new(types, columns, limit.min(self.room))?;
        builders.append(view, table, types, &first)?;
        let mut rows = 1;
        for row in self.walk.by_ref().take(limit - 1) {
            builders.append(view, table, types, &row?)?;
            rows += 1;
        }
        self.room = BATCH_ROWS;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), builders.finish(columns)?, &options)
            .map_err(|e| Error::internal(format!("could not make a batch of rows: {e}")))
    }
}

/// Batches of rows that an index has found as of the reader's commit, without reading them; `None` if other columns are wanted
/// than the row's number and the key that is one with it.
///
/// # Errors
/// `Internal` if the columns do not fit the schema.
pub fn of_numbers(source: &Source, schema: &SchemaRef, rows: &[RowId]) -> Result<Option<Vec<RecordBatch>>> {
    let Source { table, types, columns, .. } = source;
    let is_known = |column: &usize| *column == types.len() || Some(*column) == table.row_key();
    if !columns.iter().all(is_known) {
        return Ok(None);
    }
    rows.chunks(BATCH_ROWS).map(|rows| of_some_numbers(columns, types, schema, rows)).collect::<Result<_>>().map(Some)
}

fn of_some_numbers(columns: &[usize], types: &[Type], schema: &SchemaRef, rows: &[RowId]) -> Result<RecordBatch> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for column in columns {
        let Some(ty) = types.get(*column) else {
            arrays.push(Arc::new(rows.iter().map(|row| row.0).collect::<UInt64Array>()));
            continue;
        };
        let mut builder = ColumnBuilder::new(ty, rows.len())?;
        for row in rows {
            match ty {
                Type::Int2 => builder.append(&i16::try_from(row.to_key()).map_or(Value::Null, Value::Int2))?,
                Type::Int4 => builder.append(&i32::try_from(row.to_key()).map_or(Value::Null, Value::Int4))?,
                _ => builder.append(&Value::Int8(row.to_key()))?,
            }
        }
        arrays.push(builder.finish()?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
        .map_err(|e| Error::internal(format!("could not make a batch of keys: {e}")))
}

/// One builder for each column of the table that is wanted.
struct Builders {
    columns: Vec<Option<ColumnBuilder>>,
    row_ids: Option<UInt64Builder>,
    last: usize,
}

impl Builders {
    fn new(types: &[Type], wanted: &[usize], rows: usize) -> Result<Self> {
        let build = |(at, ty): (usize, &Type)| wanted.contains(&at).then(|| ColumnBuilder::new(ty, rows)).transpose();
        let columns = types.iter().enumerate().map(build).collect::<Result<Vec<_>>>()?;
        let last = columns.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
        let row_ids = wanted.contains(&types.len()).then(UInt64Builder::new);
        Ok(Self { columns, row_ids, last })
    }

    fn append(&mut self, view: &View, table: &Table, types: &[Type], row: &Row) -> Result<()> {
        if let Some(ids) = &mut self.row_ids {
            ids.append_value(row.id.0);
        }
        let mut cells = Cells::new(types, &row.bytes, row.lsn)?;
        for (column, (builder, ty)) in self.columns.iter_mut().zip(types).take(self.last).enumerate() {
            let cell = cells.take()?;
            let Some(builder) = builder else { continue };
            match cell {
                Cell::Null => builder.append_null(),
                Cell::Inline(bytes, _) => append_bytes(builder, ty, bytes)?,
                Cell::Large(..) => {
                    append_bytes(builder, ty, &view.large(table.incarnation, row.id, column as u16)?)?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, wanted: &[usize]) -> Result<Vec<ArrayRef>> {
        let mut built: Vec<Option<ArrayRef>> = Vec::with_capacity(self.columns.len() + 1);
        for builder in self.columns {
            built.push(builder.map(ColumnBuilder::finish).transpose()?);
        }
        built.push(self.row_ids.as_mut().map(|ids| Arc::new(ids.finish()) as ArrayRef));
        let missing = || Error::internal("a column was not read");
        wanted.iter().map(|&at| built.get(at).cloned().flatten().ok_or_else(missing)).collect()
    }
}

/// Appends the bytes of a value, without making a [`nodedb_base::Value`] where the type allows.
fn append_bytes(builder: &mut ColumnBuilder, ty: &Type, bytes: &[u8]) -> Result<()> {
    let damaged = || Error::damaged(format!("damaged row: a value is no {ty}"));
    match ty {
        Type::Int2 => builder.append_i16(i16::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)),
        Type::Int4 | Type::Date => builder.append_i32(i32::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)),
        Type::Int8 | Type::Time | Type::Timestamp | Type::Timestamptz => {
            builder.append_i64(i64::from_le_bytes(bytes.try_into().map_err(|_| damaged())?))
        }
        Type::Float4 => builder.append_f32(f32::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)),
        Type::Float8 => builder.append_f64(f64::from_le_bytes(bytes.try_into().map_err(|_| damaged())?)),
        Type::Text | Type::Varchar(_) | Type::Jsonb => {
            builder.append_str(std::str::from_utf8(bytes).map_err(|_| damaged())?)
        }
        Type::Bytea => builder.append_bytes(bytes),
        Type::Vector(_) => builder.append_vector_le(bytes),
        Type::Halfvec(_) => builder.append_halfvec_le(bytes),
        _ => builder.append(&nodedb_store::row::value(ty, bytes)?),
    }
}
