//! `nodedb import`.

use super::csv::Dialect;
use super::load::Batches;
use super::names::quote;
use super::progress::{Progress, Total};
use super::{Cell, Found, Source, csv, jsonl, parquet, unusable, vectors};
use crate::args::{Args, FileFormat, ImportArgs};
use crate::console::{Failure, counted};
use nodedb::{Column, Database, Error, Load};
use nodedb_query::copy::vectors::VectorFormat;
use std::path::Path;
use std::process::ExitCode;

/// A file and how it is written.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Its format.
    pub format: FileFormat,
    /// Its dialect, if it is CSV.
    pub dialect: Dialect,
}

/// Runs the command.
pub fn run(args: &Args, import: &ImportArgs) -> Result<ExitCode, Failure> {
    let path = import.file.as_path();
    let delimiter = import.file_format.delimiter(path);
    let dialect = Dialect { delimiter, null: import.file_format.null.clone() };
    let input = Input { path, format: import.file_format.format(path)?, dialect };
    let found = input.columns(if import.sample == 0 { u64::MAX } else { import.sample })?;
    let database = args.open()?;
    let (load, made) = target(&database, import, &found)?;
    let outcome = fill(load, &input, import.skip_bad, false);
    if made && !matches!(outcome, Ok(Some(_))) {
        database.blocking().execute(&format!("DROP TABLE {}", quote(&import.table)), &[])?;
    }
    let done = outcome?.is_some();
    database.close()?;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The table, and whether it was made just now.
fn target(database: &Database, import: &ImportArgs, found: &[Found]) -> Result<(Load, bool), Failure> {
    match database.load(&import.table) {
        Ok(load) if import.primary_key.is_empty() => Ok((load, false)),
        Ok(_) => Err(Failure::Usage(format!("{} exists: --primary-key is for a table that is made", import.table))),
        Err(error) if error.sqlstate().as_str() == "42P01" => {
            let sql = create_table(&import.table, found, &import.primary_key)?;
            println!("{sql};");
            database.blocking().execute(&sql, &[])?;
            Ok((database.load(&import.table)?, true))
        }
        Err(error) => Err(error.into()),
    }
}

/// The statement that makes a table for the columns that were found.
pub fn create_table(table: &str, found: &[Found], primary_key: &[String]) -> Result<String, Failure> {
    if found.is_empty() {
        return Err(Failure::Usage("the file has no columns".to_owned()));
    }
    for (i, column) in found.iter().enumerate() {
        if found.iter().take(i).any(|other| other.name == column.name) {
            return Err(Failure::Usage(format!("the file has two columns \"{}\"", column.name)));
        }
    }
    if let Some(name) = primary_key.iter().find(|name| !found.iter().any(|column| column.name == **name)) {
        return Err(Failure::Usage(format!("the file has no column \"{name}\" for the primary key")));
    }
    let mut lines: Vec<String> =
        found.iter().map(|column| format!("    {} {}", quote(&column.name), column.ty)).collect();
    if !primary_key.is_empty() {
        let names: Vec<String> = primary_key.iter().map(|name| quote(name)).collect();
        lines.push(format!("    PRIMARY KEY ({})", names.join(", ")));
    }
    Ok(format!("CREATE TABLE {} (\n{}\n)", quote(table), lines.join(",\n")))
}

/// Fills a table. `None` if bad rows forbade it; they have been told then.
pub fn fill(load: Load, input: &Input<'_>, skip_bad: bool, quiet: bool) -> Result<Option<u64>, Failure> {
    let progress = Progress::new(input.total()?);
    let mut source = input.open(load.columns(), &progress)?;
    let mut batches = Batches::new(load, nodedb::text::TextStyle::default(), skip_bad);
    let tell = |batches: &mut Batches| {
        for bad in batches.bad_rows() {
            progress.say(&line_of(input.path, bad.line, &bad.error));
        }
    };
    let mut more = true;
    while more {
        let Some(row) = source.next()? else { break };
        more = batches.push(row)?;
        tell(&mut batches);
        progress.set(source.position());
    }
    batches.send()?;
    tell(&mut batches);
    progress.end();
    let bad = batches.bad_count();
    if bad > 0 && !skip_bad {
        let least = if more { "" } else { "at least " };
        progress.say(&format!("nothing was imported: {least}{}", counted(bad, "bad row")));
        return Ok(None);
    }
    let rows = batches.finish()?;
    let skipped = if bad > 0 { format!(", {} skipped", counted(bad, "row")) } else { String::new() };
    if !quiet {
        progress.say(&format!("imported {}{skipped}", progress.summary(rows)));
    }
    Ok(Some(rows))
}

/// `FILE:LINE: SQLSTATE: message (detail)`
fn line_of(path: &Path, line: u64, error: &Error) -> String {
    let report = error.report();
    // Where the row stood in its batch is nobody's business.
    let detail = report.detail.as_ref().filter(|detail| !detail.ends_with("of the batch"));
    let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{}:{line}: {}: {}{detail}", path.display(), report.sqlstate, report.message)
}

impl Input<'_> {
    /// The columns of the file.
    pub fn columns(&self, sample: u64) -> Result<Vec<Found>, Failure> {
        match self.format {
            FileFormat::Csv => csv::columns(self.path, &self.dialect, sample),
            FileFormat::Jsonl => jsonl::columns(self.path, sample),
            FileFormat::Parquet => parquet::columns(self.path, sample),
            FileFormat::Npy => vectors::columns(self.path, VectorFormat::Npy),
            FileFormat::Fvecs => vectors::columns(self.path, VectorFormat::Fvecs),
        }
    }

    fn total(&self) -> Result<Total, Failure> {
        if self.format == FileFormat::Parquet {
            return Ok(Total::Rows(parquet::count(self.path)?));
        }
        let length = std::fs::metadata(self.path).map_err(|error| unusable("open", self.path, error))?.len();
        Ok(Total::Bytes(length))
    }

    /// The rows, for a table with these columns.
    pub fn open(&self, columns: &[Column], progress: &Progress) -> Result<Box<dyn Source>, Failure> {
        let place = |names: &[String]| places(names, columns, progress);
        Ok(match self.format {
            FileFormat::Csv => Box::new(csv::Reader::open(self.path, self.dialect.clone(), place)?),
            FileFormat::Jsonl => {
                let names = columns.iter().map(|column| column.name.clone()).collect();
                Box::new(jsonl::Reader::open(self.path, names)?)
            }
            FileFormat::Parquet => Box::new(parquet::Reader::open(self.path, place)?),
            FileFormat::Npy => Box::new(vectors::Reader::open(self.path, VectorFormat::Npy, place)?),
            FileFormat::Fvecs => Box::new(vectors::Reader::open(self.path, VectorFormat::Fvecs, place)?),
        })
    }
}

/// For each column of the table, where the file has it. Names are compared as they are, then without case.
fn places(names: &[String], columns: &[Column], progress: &Progress) -> Result<Vec<Option<usize>>, Failure> {
    let place = |column: &Column| {
        let exact = names.iter().position(|name| *name == column.name);
        exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(&column.name)))
    };
    let places: Vec<Option<usize>> = columns.iter().map(place).collect();
    let unknown = (0..).zip(names).find(|(i, _)| !places.contains(&Some(*i)));
    if let Some((_, name)) = unknown {
        return Err(Failure::Usage(format!("the file has a column \"{name}\" and the table has not")));
    }
    let missing: Vec<&str> = columns
        .iter()
        .zip(&places)
        .filter(|(_, place)| place.is_none())
        .map(|(column, _)| column.name.as_str())
        .collect();
    if !missing.is_empty() {
        progress.say(&format!("the file lacks columns of the table, which stay NULL: {}", missing.join(", ")));
    }
    Ok(places)
}

/// Puts the cells of a file into the order of the table's columns.
pub fn arrange(mut cells: Vec<Cell>, places: &[Option<usize>]) -> Vec<Cell> {
    let take = |place: &Option<usize>| {
        let cell = place.and_then(|place| cells.get_mut(place));
        cell.map_or(Cell::Null, |cell| std::mem::replace(cell, Cell::Null))
    };
    places.iter().map(take).collect()
}
