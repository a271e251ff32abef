//! COPY ... FROM: rows as text, CSV, Parquet, or vectors of `.npy` and `.fvecs`, from STDIN or a file; all or nothing.

mod cell;
pub mod parquet;
mod text;
pub mod vectors;

pub use cell::Cell;

use crate::dml::{Change, no_column};
use crate::engine::Engine;
use crate::outcome::Tag;
use crate::parse;
use crate::planner::no_relation;
use crate::statement::Statement;
use crate::types::parse as parse_text;
use nodedb_base::{Error, Result, Value};
use nodedb_store::Transaction;
use nodedb_store::catalog::Table;
use parquet::ParquetReader;
use sqlparser::ast::{CopyOption, CopySource, CopyTarget, Statement as Ast};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use text::{Records, TextFormat};
use vectors::{VectorFormat, VectorReader};

/// Most bytes of one COPY.
const MAX_COPY_BYTES: usize = 256 << 20;

/// A COPY ... FROM that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyIn {
    table: String,
    columns: Vec<String>,
    format: Format,
    file: Option<PathBuf>,
    data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Text(TextFormat),
    Cells(CellFormat),
}

/// Formats whose values have types of their own, and whose columns have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CellFormat {
    Parquet,
    Vectors(VectorFormat),
}

impl CellFormat {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "npy" => Some(Self::Vectors(VectorFormat::Npy)),
            "fvecs" => Some(Self::Vectors(VectorFormat::Fvecs)),
            _ => None,
        }
    }
}

impl CopyIn {
    /// The COPY that `ast` is, if it is one.
    ///
    /// # Errors
    /// `Statement` (0A000, 22023).
    pub fn bind(ast: &Ast) -> Result<Option<Self>> {
        let Ast::Copy { source, to, target, options, legacy_options, values } = ast else { return Ok(None) };
        let CopySource::Table { table_name, columns } = source else {
            return Err(Error::unsupported("COPY of a query"));
        };
        let file = match target {
            CopyTarget::Stdin => None,
            CopyTarget::File { filename } => Some(PathBuf::from(filename)),
            CopyTarget::Stdout | CopyTarget::Program { .. } => return Err(not_from()),
        };
        if *to || !values.is_empty() {
            return Err(not_from());
        }
        let format = match cell_format(options, file.as_deref())? {
            Some(format) if legacy_options.is_empty() => Format::Cells(format),
            Some(_) => return Err(only_text(&legacy_options.iter().map(ToString::to_string).collect::<String>())),
            None => Format::Text(TextFormat::from_options(options, legacy_options)?),
        };
        let (table, columns) = (parse::relation(table_name)?, columns.iter().map(parse::name).collect());
        Ok(Some(Self { table, columns, format, file, data: Vec::new() }))
    }

    /// The file that the data are to be read from; `None` if they are to be given.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether the data are lines of text, which end with a line `\.` where other text follows.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        matches!(self.format, Format::Text(_))
    }

    /// Takes more data.
    ///
    /// # Errors
    /// `Limit` (54000).
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        if self.data.len() + data.len() > MAX_COPY_BYTES {
            return Err(Error::limit("54000", format!("COPY of more than {MAX_COPY_BYTES} bytes"))
                .with_hint("Use import for bulk loads, or copy in parts."));
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    /// Fails unless the table and the columns are there.
    ///
    /// # Errors
    /// `Statement` (42P01, 42703).
    pub fn check(&self, tx: &Transaction) -> Result<()> {
        tx.check_writable("COPY FROM")?;
        let table = tx.catalog().table(&self.table).ok_or_else(|| no_relation(&self.table))?;
        self.target_columns(table).map(|_| ())
    }

    fn target_columns(&self, table: &Table) -> Result<Vec<usize>> {
        if self.columns.is_empty() {
            return Ok((0..table.columns.len()).collect());
        }
        let column = |name: &String| table.column(name).ok_or_else(|| no_column(name, &table.name));
        distinct(self.columns.iter().map(column).collect::<Result<_>>()?, table)
    }

    /// Puts all rows.
    ///
    /// # Errors
    /// `Statement` (22P04 and those of the values), `Constraint`, `Limit`.
    pub async fn finish(&self, engine: &Engine, statement: Statement<'_>, tx: &mut Transaction) -> Result<Tag> {
        let mut change = Change::new(engine, statement, tx, &self.table, "COPY FROM", false)?;
        match &self.format {
            Format::Text(format) => self.put_lines(&mut change, format).await?,
            Format::Cells(format) => self.put_cells(&mut change, *format).await?,
        }
        change.finish()?;
        Ok(Tag::rows_changed("COPY", change.count))
    }

    async fn put_lines(&self, change: &mut Change<'_>, format: &TextFormat) -> Result<()> {
        let text = std::str::from_utf8(&self.data)
            .map_err(|_| Error::statement("22021", "invalid byte sequence for encoding \"UTF8\""))?;
        let columns = self.target_columns(change.table())?;
        let mut records = Records::new(text, format)?;
        while let Some(record) = records.next() {
            let context = |e| self.at(e, "line", records.line);
            let row = self.row(change, &columns, record?).map_err(context)?;
            put(change, &columns, row).await.map_err(context)?;
        }
        Ok(())
    }

    fn row(&self, change: &Change<'_>, columns: &[usize], record: Vec<Option<String>>) -> Result<Vec<Value>> {
        if record.len() > columns.len() {
            return Err(malformed("extra data after last expected column"));
        }
        let mut row = Vec::with_capacity(columns.len());
        let mut fields = record.into_iter();
        for at in columns {
            let Some(column) = change.table().columns.get(*at) else { continue };
            let Some(field) = fields.next() else {
                return Err(malformed(format!("missing data for column \"{}\"", column.name)));
            };
            row.push(match field {
                Some(text) => parse_text(&text, &column.ty, change.statement.style())?,
                None => Value::Null,
            });
        }
        Ok(row)
    }

    async fn put_cells(&self, change: &mut Change<'_>, format: CellFormat) -> Result<()> {
        let mut rows = CellRows::new(format, &self.data).map_err(|e| self.at(e, "row", 0))?;
        let (columns, places) = self.places(change.table(), &rows)?;
        let mut number = 0;
        loop {
            number += 1;
            let context = |e| self.at(e, "row", number);
            let Some(cells) = rows.next_row().map_err(context)? else { return Ok(()) };
            let row = cells.and_then(|cells| stored(change, &columns, &places, cells)).map_err(context)?;
            put(change, &columns, row).await.map_err(context)?;
        }
    }

    /// The columns of the table that are given, and for each of them which column of the file it gets: those that are listed
    /// get the file's in order, else names tell. A list of one column gets the vectors of a file of vectors.
    fn places(&self, table: &Table, rows: &CellRows<'_>) -> Result<(Vec<usize>, Vec<usize>)> {
        let names = rows.names();
        if self.columns.is_empty() {
            let column = |name: &String| {
                let same = || table.columns.iter().position(|other| other.name.eq_ignore_ascii_case(name));
                table.column(name).or_else(same).ok_or_else(|| no_column(name, &table.name))
            };
            let columns = distinct(names.iter().map(column).collect::<Result<_>>()?, table)?;
            return Ok((columns, (0..names.len()).collect()));
        }
        let columns = self.target_columns(table)?;
        let places = match rows {
            CellRows::Vectors(_) if columns.len() == 1 => vec![1],
            _ => (0..names.len()).collect(),
        };
        if places.len() != columns.len() {
            let message = format!("the file has {} columns, and COPY lists {}", names.len(), columns.len());
            return Err(malformed(message));
        }
        Ok((columns, places))
    }

    /// Says where an error came up.
    fn at(&self, error: Error, what: &str, number: usize) -> Error {
        match (&error.report().detail, number) {
            (Some(_), _) => error,
            (None, 0) => error.with_detail(format!("COPY {}", self.table)),
            (None, _) => error.with_detail(format!("COPY {}, {what} {number}", self.table)),
        }
    }
}

fn distinct(columns: Vec<usize>, table: &Table) -> Result<Vec<usize>> {
    let twice =
        (1..).zip(&columns).find(|(next, column)| columns.get(*next..).is_some_and(|rest| rest.contains(column)));
    let name = twice.and_then(|(_, column)| table.columns.get(*column)).map(|column| &column.name);
    let error = |name| Error::statement("42701", format!("column \"{name}\" specified more than once"));
    name.map_or(Ok(columns), |name| Err(error(name)))
}

/// Puts one row, whose other columns get their defaults.
async fn put(change: &mut Change<'_>, columns: &[usize], row: Vec<Value>) -> Result<()> {
    let row = crate::dml::insert::fill_defaults(change, columns, row).await?;
    change.insert(row)
}

/// The cells at `places` as the values of `columns`.
fn stored(change: &Change<'_>, columns: &[usize], places: &[usize], mut cells: Vec<Cell>) -> Result<Vec<Value>> {
    let mut row = Vec::with_capacity(columns.len());
    for (column, place) in columns.iter().zip(places) {
        let Some(column) = change.table().columns.get(*column) else { continue };
        let cell = cells.get_mut(*place).map_or(Cell::Null, |cell| std::mem::replace(cell, Cell::Null));
        row.push(cell.stored(&column.ty, change.statement.style())?);
    }
    Ok(row)
}

/// The rows of a file whose values have types.
enum CellRows<'a> {
    Parquet(Box<ParquetReader>),
    Vectors(VectorReader<&'a [u8]>),
}

impl<'a> CellRows<'a> {
    fn new(format: CellFormat, data: &'a [u8]) -> Result<Self> {
        Ok(match format {
            CellFormat::Parquet => Self::Parquet(Box::new(ParquetReader::new(bytes::Bytes::copy_from_slice(data))?)),
            CellFormat::Vectors(format) => Self::Vectors(VectorReader::new(format, data)?),
        })
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Parquet(rows) => rows.names().to_vec(),
            Self::Vectors(_) => vectors::NAMES.map(str::to_owned).into(),
        }
    }

    fn next_row(&mut self) -> Result<Option<Result<Vec<Cell>>>> {
        match self {
            Self::Parquet(rows) => rows.next_row(),
            Self::Vectors(rows) => rows.next_row(),
        }
    }
}

/// The format that is none of text: the one that is named, else the one that the file's name ends with.
fn cell_format(options: &[CopyOption], file: Option<&Path>) -> Result<Option<CellFormat>> {
    let (mut named, mut other) = (None, None);
    for option in options {
        match option {
            CopyOption::Format(_) if named.is_some() => {
                return Err(Error::statement("42601", "conflicting or redundant options"));
            }
            CopyOption::Format(name) => named = Some(name.value.as_str()),
            option => other = Some(option),
        }
    }
    let format = match named {
        None => file.and_then(Path::extension).and_then(|end| CellFormat::named(&end.to_string_lossy())),
        Some(name) if ["csv", "text"].iter().any(|text| name.eq_ignore_ascii_case(text)) => None,
        Some(name) if name.eq_ignore_ascii_case("binary") => {
            return Err(Error::unsupported("COPY ... (FORMAT binary)"));
        }
        Some(name) => {
            let unknown = || Error::statement("22023", format!("COPY format \"{name}\" not recognized"));
            Some(CellFormat::named(name).ok_or_else(unknown)?)
        }
    };
    match other.filter(|_| format.is_some()) {
        Some(other) => Err(only_text(&other.to_string())),
        None => Ok(format),
    }
}

fn not_from() -> Error {
    Error::unsupported("COPY other than FROM STDIN or a file")
}

fn only_text(option: &str) -> Error {
    Error::statement("0A000", format!("COPY ... ({option}) is for text and CSV"))
}

/// A file is not what its format says.
fn malformed(message: impl Display) -> Error {
    Error::statement("22P04", message.to_string())
}
