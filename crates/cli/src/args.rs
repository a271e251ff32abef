//! What can be said on the command line.

use crate::console::Failure;
use crate::print::Format;
use clap::{Parser, Subcommand};
use nodedb::{Database, Options};
use std::path::{Path, PathBuf};

/// NodeDB: a local-first, multi-modal database that speaks PostgreSQL's SQL
#[derive(Debug, Parser)]
#[command(
    name = "nodedb",
    version,
    max_term_width = 100,
    after_help = "\
Set NODEDB_LOG (to info, say, or nodedb=debug) to see on standard error what the database does."
)]
pub struct Args {
    /// Directory of the database, made if missing [default: nodedb-data; for demo a temporary one]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Memory for the database, for instance 512MB [default: 1GB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Sql(SqlArgs),
    Import(ImportArgs),
    Export(ExportArgs),
    /// Check a database: checksums, keys against rows, the log, the catalogue
    ///
    /// Prints what was looked at. The exit code is 0 for a sound database and 1 for a damaged one.
    Check,
    Demo(DemoArgs),
    /// The process that the demo kills
    #[command(hide = true)]
    DemoWriter,
}

/// Run SQL from the command line, from files or from standard input
///
/// Prints results as psql does, each as soon as its statement ends. After an error the next
/// statement runs. Of psql's backslash commands there are \q, and \. after the data of
/// COPY ... FROM STDIN. The data are the lines that follow the statement; a -c without such lines
/// takes them from standard input.
///
/// The statements of one -c run up to the first that fails. Each statement outside
/// BEGIN ... COMMIT is a transaction of its own.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_long_help = "\
Exit codes:
  0  all went well; or statements of the last source failed, it was a file or standard input, and
     --stop-on-error was not given
  1  the last source was a -c and failed; or a -c failed and --stop-on-error was given; or the
     database could not be opened
  2  wrong usage, or a file could not be opened
  3  a statement of a file or of standard input failed, and --stop-on-error was given"
)]
pub struct SqlArgs {
    /// Run these statements; may be repeated and mixed with -f, in order
    #[arg(short, long = "command", value_name = "SQL", allow_hyphen_values = true)]
    pub command: Vec<String>,

    /// Run the statements of a file, `-` for standard input; may be repeated
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,

    /// How results are printed. JSON: an array of objects for each statement
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,

    /// Leave out command tags, such as INSERT 0 1
    #[arg(short, long)]
    pub quiet: bool,

    /// End at the first error
    #[arg(long)]
    pub stop_on_error: bool,
}

/// Fill a table from a CSV, JSON lines or Parquet file, or from a file of vectors
///
/// The columns of the file go to the columns of the table with the same names; a column of the
/// table that the file lacks stays NULL. A table that does not exist is made, with types that fit
/// the first rows of the file, and the CREATE TABLE is shown: lists of fractions that have one
/// length become vector(n), JSON objects jsonb. The columns of .npy and .fvecs files are embedding,
/// a vector(n), and id, its number from 0 on.
///
/// All rows go in or none. Rows that are wrong are reported as FILE:LINE: SQLSTATE: message, ten
/// at most; in a Parquet file the row counts as the line. The exit code is 1 if none went in.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ImportArgs {
    /// The file
    pub file: PathBuf,

    /// Name of the table, as it is: upper case stays upper case
    #[arg(long, value_name = "NAME")]
    pub table: String,

    /// Leave out rows that are wrong, and count them, instead of giving up
    #[arg(long)]
    pub skip_bad: bool,

    /// Columns of the primary key of a table that is made
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub primary_key: Vec<String>,

    /// Rows that are looked at to find the types of columns; 0 for all
    #[arg(long, value_name = "ROWS", default_value_t = 20_480)]
    pub sample: u64,

    /// How the file is written
    #[command(flatten)]
    pub file_format: FileFormatArgs,
}

/// Write a table or the rows of a query to a CSV, JSON lines or Parquet file
///
/// What import reads back: Parquet keeps every type (jsonb and interval as strings with a note in
/// the metadata of the column). CSV and JSON lines keep every value; import them into a table that
/// exists if types matter.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, group = clap::ArgGroup::new("what").required(true).args(["table", "query"]))]
pub struct ExportArgs {
    /// The file; one that exists is replaced when all rows have been written
    pub file: PathBuf,

    /// Name of the table, as it is: upper case stays upper case
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,

    /// A query
    #[arg(long, value_name = "SQL")]
    pub query: Option<String>,

    /// How the file is written
    #[command(flatten)]
    pub file_format: FileFormatArgs,
}

/// How a file of rows is written.
#[derive(Debug, clap::Args)]
pub struct FileFormatArgs {
    /// Format of the file [default: by extension: .csv, .tsv, .jsonl, .ndjson, .json, .parquet, .npy, .fvecs]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FileFormat>,

    /// CSV: what stands between fields, one ASCII character [default: a comma; a tab for .tsv]
    #[arg(long, value_name = "CHARACTER", value_parser = parse_delimiter)]
    pub delimiter: Option<u8>,

    /// CSV: what stands for NULL when it is not quoted [default: nothing]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub null: String,
}

/// Formats of files of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    #[value(alias = "json", alias = "ndjson")]
    Jsonl,
    /// Apache Parquet
    Parquet,
    /// NumPy's table of floats; import only
    Npy,
    /// Vectors of floats, each behind its length; import only
    Fvecs,
}

/// Load a small real data set, ask questions across modalities, survive a kill
///
/// The exit code is 0 if every answer is as it should be.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Show only what is asked and answered, without the notes
    #[arg(short, long)]
    pub quiet: bool,
}

impl Args {
    /// The directory of the database.
    pub fn directory(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new("nodedb-data"))
    }

    /// Opens the database.
    pub fn open(&self) -> Result<Database, Failure> {
        self.open_at(self.directory())
    }

    /// Opens the database in another place.
    pub fn open_at(&self, directory: &Path) -> Result<Database, Failure> {
        let mut options = Options::default();
        options.memory = self.memory.unwrap_or(options.memory);
        Ok(Database::open_with(directory, options)?)
    }
}

/// `512MB`, `2GiB`, `1000000`. All units are powers of 1,024, as in PostgreSQL.
fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "want a whole number and a unit, as in 512MB".to_owned())?;
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err("units are B, kB, MB, GB and TB".to_owned()),
    };
    number.checked_mul(1 << (10 * power)).filter(|n| *n > 0).ok_or_else(|| "out of range".to_owned())
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'"' | b'\r' | b'\n'] => Err("this character has another meaning in CSV".to_owned()),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ if text == "\\t" => Ok(b'\t'),
        _ => Err("want one ASCII character".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_fit_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("512MB"), Ok(512 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("65536"), Ok(65_536));
        for bad in ["", "MB", "1.5GB", "0", "-1", "1 parsec", "99999999999TB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
