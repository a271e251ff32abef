//! `nodedb import` and `nodedb export`: rows between tables and files.
//!
//! A file is read twice: a look at its first rows to find types, then all of it, in batches. Each format turns
//! its rows into [`Cell`]s; from there on all formats are alike.

mod csv;
mod export;
mod import;
mod infer;
mod jsonl;
mod load;
mod names;
mod parquet;
mod progress;
#[cfg(test)]
mod tests;
mod vectors;

pub use csv::Dialect;
pub use export::run as export;
pub use import::{Input, fill, run as import};
pub use nodedb_query::copy::Cell;

use crate::args::{FileFormat, FileFormatArgs};
use crate::console::Failure;
use nodedb::{Error, Result, Type};
use std::fs::File;
use std::path::Path;

/// Rows in a batch on the way in.
pub const BATCH_ROWS: usize = 4096;

/// Bytes of text in a batch on the way in, give or take a row.
pub const BATCH_BYTES: usize = 32 << 20;

/// A row of a file, its cells in the order of the columns that were asked for.
#[derive(Clone, Debug)]
pub struct Row {
    /// The line where it begins, or its number in a file without lines.
    pub line: u64,
    /// The cells, or what is wrong with the row as a whole.
    pub cells: Result<Vec<Cell>>,
    /// How many bytes it has, about.
    pub bytes: usize,
}

/// A file that is read row by row.
pub trait Source {
    /// The next row. An error is one of the file; that of a row stands in the row.
    fn next(&mut self) -> Result<Option<Row>, Failure>;

    /// How far reading has come, in the unit of the total that the format told.
    fn position(&self) -> u64;
}

/// A column that was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The type that the file says, or that fits the values that were looked at.
    pub ty: Type,
}

impl FileFormatArgs {
    fn format(&self, path: &Path) -> Result<FileFormat, Failure> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match extension.as_str() {
            "csv" | "tsv" => Ok(FileFormat::Csv),
            "jsonl" | "ndjson" | "json" => Ok(FileFormat::Jsonl),
            "parquet" => Ok(FileFormat::Parquet),
            "npy" => Ok(FileFormat::Npy),
            "fvecs" => Ok(FileFormat::Fvecs),
            _ => Err(Failure::Usage(format!(
                "the name of {} does not say its format: give --format csv, jsonl or parquet",
                path.display()
            ))),
        }
    }

    fn delimiter(&self, path: &Path) -> u8 {
        let tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        self.delimiter.unwrap_or(if tabs { b'\t' } else { b',' })
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| unusable("open", path, error))
}

fn unusable(doing: &str, path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::Usage(format!("could not {doing} {}: {error}", path.display()))
}

/// A row that has more or fewer fields than its columns, or is not well formed.
fn malformed(message: impl Into<String>) -> Error {
    Error::statement("22P04", message)
}
