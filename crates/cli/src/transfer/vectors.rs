//! Files of vectors: `.npy` and `.fvecs`. A row is a vector, `embedding`, and its number from 0 on, `id`.

use super::{Found, Row, Source, open, unusable};
use crate::console::Failure;
use nodedb::{Error, Type};
use nodedb_query::copy::vectors::{NAMES, VectorFormat, VectorReader};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The columns of a file.
pub fn columns(path: &Path, format: VectorFormat) -> Result<Vec<Found>, Failure> {
    let dimensions = begin(path, format)?.dimensions();
    let types = [Type::Int8, Type::Vector(u32::try_from(dimensions).unwrap_or(u32::MAX))];
    Ok(NAMES.iter().zip(types).map(|(name, ty)| Found { name: (*name).to_owned(), ty }).collect())
}

fn begin(path: &Path, format: VectorFormat) -> Result<VectorReader<BufReader<File>>, Failure> {
    VectorReader::new(format, BufReader::new(open(path)?)).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &Error) -> Failure {
    unusable("read", path, &error.report().message)
}

/// The rows of a file.
pub struct Reader {
    path: PathBuf,
    rows: VectorReader<BufReader<File>>,
    row: u64,
    places: Vec<Option<usize>>,
}

impl Reader {
    /// Opens a file. `place` says for the names in the file which column of the table gets which.
    pub fn open(
        path: &Path,
        format: VectorFormat,
        place: impl FnOnce(&[String]) -> Result<Vec<Option<usize>>, Failure>,
    ) -> Result<Self, Failure> {
        let rows = begin(path, format)?;
        let places = place(&NAMES.map(str::to_owned))?;
        Ok(Self { path: path.to_owned(), rows, row: 0, places })
    }
}

impl Source for Reader {
    fn next(&mut self) -> Result<Option<Row>, Failure> {
        let row = self.rows.next_row().map_err(|error| unreadable(&self.path, &error))?;
        let Some(cells) = row else { return Ok(None) };
        self.row += 1;
        let cells = cells.map(|cells| super::import::arrange(cells, &self.places));
        Ok(Some(Row { line: self.row, cells, bytes: self.rows.dimensions() * 4 }))
    }

    fn position(&self) -> u64 {
        self.rows.position()
    }
}
