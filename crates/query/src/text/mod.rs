//! Full text in SQL: `notes @@@ 'query'`, `bm25_score(notes)`, `snippet(body)`.
//!
//! The front end says them with what the index knows ([`rewrite`]): the index's id, the query, and the texts of the row. As
//! functions of these they are right for every row, whoever reads it ([`functions`]); where a table is scanned under
//! `@@@`, the scan asks the index instead ([`crate::scan`]).

mod functions;
mod hybrid;
mod rewrite;

pub use functions::{MATCHES, SCORE, TextFunctions, TextTest};
pub use rewrite::rewrite;

use nodedb_base::{Error, Result};
use nodedb_index::text::{TextColumn, TextOptions};
use nodedb_store::catalog::{Bm25, DerivedIndex, Table};

/// How a text index is made, from its definition.
///
/// # Errors
/// `Damaged` if the definition names what is not there.
pub fn text_options(table: &Table, definition: &DerivedIndex, bm25: &Bm25) -> Result<TextOptions> {
    let damaged = || Error::damaged(format!("the definition of index {} is not whole", definition.name));
    if definition.columns.is_empty() || definition.columns.len() != bm25.columns.len() {
        return Err(damaged());
    }
    let columns = definition.columns.iter().zip(&bm25.columns).map(|(at, said)| {
        let column = table.columns.get(usize::from(*at)).ok_or_else(damaged)?;
        Ok(TextColumn {
            name: column.name.clone(),
            cut: said.tokenizer.parse()?,
            language: said.language.clone(),
            stopwords: said.stopwords,
            positions: said.positions,
            boost: said.boost as f32 / 100.0,
        })
    });
    Ok(TextOptions { columns: columns.collect::<Result<_>>()? })
}
