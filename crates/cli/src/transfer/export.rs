//! `nodedb export`.

use super::csv::{self, Dialect};
use super::names::quote;
use super::parquet;
use super::progress::{Progress, Total};
use super::unusable;
use crate::args::{Args, ExportArgs, FileFormat};
use crate::console::Failure;
use crate::print::{for_each_row, json};
use arrow::record_batch::RecordBatch;
use nodedb::blocking::{Outcome, RowStream};
use nodedb::text::TextStyle;
use nodedb::{Column, Error};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &Args, export: &ExportArgs) -> Result<ExitCode, Failure> {
    let format = export.file_format.format(&export.file)?;
    let sql = match (&export.query, &export.table) {
        (Some(query), _) => query.clone(),
        (None, Some(table)) => format!("SELECT * FROM {}", quote(table)),
        (None, None) => return Err(Failure::Usage("say what to export: --table or --query".to_owned())),
    };
    let delimiter = export.file_format.delimiter(&export.file);
    let dialect = Dialect { delimiter, null: export.file_format.null.clone() };
    let database = args.open()?;
    let mut session = database.blocking();
    // What is read back must not depend on where it was written.
    let style = TextStyle::default();
    match session.run(&sql, &[])? {
        Outcome::Rows(mut rows) => write(&mut rows, &export.file, format, dialect, style)?,
        _ => return Err(Error::statement("42601", "only a query can be exported").into()),
    }
    drop(session);
    database.close()?;
    Ok(ExitCode::SUCCESS)
}

/// Writes beside the file, and puts it in its place when it is whole.
fn write(
    rows: &mut RowStream,
    path: &Path,
    format: FileFormat,
    dialect: Dialect,
    style: TextStyle,
) -> Result<(), Failure> {
    let partial = partial(path);
    let outcome = write_partial(rows, &partial, format, dialect, style);
    match outcome {
        Ok(()) => std::fs::rename(&partial, path).map_err(|error| unusable("write", path, error)),
        Err(failure) => {
            // The failure is what counts; a file that cannot be removed bears a name that says what it is.
            let _ = std::fs::remove_file(&partial);
            Err(failure)
        }
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

fn write_partial(
    rows: &mut RowStream,
    path: &Path,
    format: FileFormat,
    dialect: Dialect,
    style: TextStyle,
) -> Result<(), Failure> {
    let columns = rows.columns().to_vec();
    let file = File::create(path).map_err(|error| unusable("write", path, error))?;
    let mut writer = Writer::new(file, format, &columns, dialect, style)?;
    let progress = Progress::new(Total::Unknown);
    let mut count = 0;
    while let Some(batch) = rows.next_batch() {
        let batch = batch?;
        writer.write(&batch, &columns)?;
        count += batch.num_rows() as u64;
        progress.set(count);
    }
    writer.finish()?.sync_all()?;
    progress.end();
    progress.say(&format!("exported {}", progress.summary(count)));
    Ok(())
}

/// Writes a file of any format.
pub enum Writer {
    /// CSV
    Csv(csv::Writer<BufWriter<File>>),
    /// JSON lines
    Jsonl { out: BufWriter<File>, keys: Vec<String>, style: TextStyle },
    /// Parquet
    Parquet(Box<parquet::Writer>),
}

impl Writer {
    /// Begins a file.
    pub fn new(
        file: File,
        format: FileFormat,
        columns: &[Column],
        dialect: Dialect,
        style: TextStyle,
    ) -> Result<Self, Failure> {
        Ok(match format {
            FileFormat::Csv => Self::Csv(csv::Writer::new(BufWriter::new(file), columns, dialect, style)?),
            FileFormat::Jsonl => Self::Jsonl { out: BufWriter::new(file), keys: json::keys(columns), style },
            FileFormat::Parquet => Self::Parquet(Box::new(parquet::Writer::new(file, columns, style)?)),
            FileFormat::Npy | FileFormat::Fvecs => {
                return Err(Failure::Usage("vectors are exported to csv, jsonl or parquet".to_owned()));
            }
        })
    }

    /// Writes rows.
    pub fn write(&mut self, batch: &RecordBatch, columns: &[Column]) -> Result<(), Failure> {
        match self {
            Self::Csv(writer) => for_each_row(batch, columns, |values| Ok(writer.write(values)?)),
            Self::Jsonl { out, keys, style } => {
                let mut line = String::new();
                for_each_row(batch, columns, |values| {
                    line.clear();
                    json::object(keys, values, style, &mut line);
                    line.push('\n');
                    Ok(out.write_all(line.as_bytes())?)
                })
            }
            Self::Parquet(writer) => writer.write(batch),
        }
    }

    /// No more rows.
    pub fn finish(self) -> Result<File, Failure> {
        Ok(match self {
            Self::Csv(writer) => writer.finish()?.into_inner().map_err(|error| error.into_error())?,
            Self::Jsonl { out, .. } => out.into_inner().map_err(|error| error.into_error())?,
            Self::Parquet(writer) => writer.finish()?,
        })
    }
}
