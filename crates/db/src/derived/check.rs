//! Derived indexes compared with the rows.

use super::follow;
use nodedb_base::{Error, Result, RowId};
use nodedb_index::{Index, Indexes};
use nodedb_store::View;
use nodedb_store::catalog::{DerivedIndex, Table};

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedIndexes {
    /// Indexes that could be asked; others are compared when they are ready.
    pub indexes: u64,
    /// Their entries.
    pub entries: u64,
}

/// Compares all indexes that may be asked with the rows that a view sees.
///
/// # Errors
/// `Damaged` if an index has a row that it should not have, or lacks one; those of reading.
pub(crate) fn check(indexes: &Indexes, view: &View) -> Result<CheckedIndexes> {
    let mut checked = CheckedIndexes::default();
    for table in view.catalog().tables() {
        for definition in &table.derived {
            let index = indexes.of_rows(table.incarnation, definition.id);
            if let Some(index) = index.filter(|index| index.serves(view.lsn())) {
                checked.entries += compare(&index, (table, definition), view).inspect_err(|e| index.note(e))?;
                checked.indexes += 1;
            }
        }
    }
    Ok(checked)
}

/// How many entries there are.
fn compare(index: &Index, (table, definition): (&Table, &DerivedIndex), view: &View) -> Result<u64> {
    let found = index.kind().rows(view.lsn())?;
    let (types, mut wanted) = (table.types(), Vec::with_capacity(found.len()));
    for row in view.rows(table.incarnation, RowId(0), RowId(u64::MAX), false)? {
        let row = row?;
        let large = |column| view.large(table.incarnation, row.id, column).map(|bytes| Some(bytes.to_vec()));
        let mut is_held = Ok(false);
        follow::row_as_change(&types, &row, index.columns(), large, |change| is_held = index.holds(change.values))?;
        if is_held? {
            wanted.push(row.id);
        }
    }
    if found == wanted {
        return Ok(found.len() as u64);
    }
    let odd = found.iter().zip(&wanted).position(|(a, b)| a != b).unwrap_or(found.len().min(wanted.len()));
    let (has, lacks) = (found.get(odd), wanted.get(odd));
    Err(Error::damaged(format!(
        "index {} has {} rows where the table has {}; the first that differs is {:?} and should be {:?}",
        definition.name,
        found.len(),
        wanted.len(),
        has.map(|row| row.0),
        lacks.map(|row| row.0)
    ))
    .with_hint(format!("It is made anew by itself, or by REINDEX INDEX {}.", definition.name)))
}
