//! Files with one JSON object a line.

use super::infer::Guess;
use super::{Cell, Found, Row, Source, malformed, open, unusable};
use crate::console::Failure;
use nodedb::{Error, Result};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longest line.
const LONGEST: u64 = 256 << 20;

/// A line, or what is wrong with it.
type Object = Result<Map<String, Json>>;

/// Reads lines, as objects.
struct Objects {
    reader: BufReader<File>,
    line: u64,
    position: u64,
}

impl Objects {
    fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self { reader: BufReader::with_capacity(1 << 20, open(path)?), line: 0, position: 0 })
    }

    /// The next line that is not blank, and how long it is.
    fn next(&mut self) -> io::Result<Option<(usize, Object)>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = (&mut self.reader).take(LONGEST).read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.position += length as u64;
            if length as u64 == LONGEST && !line.ends_with(b"\n") {
                return Ok(Some((length, Err(malformed(format!("a line is longer than {LONGEST} bytes"))))));
            }
            let text = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line).trim_ascii();
            if !text.is_empty() {
                return Ok(Some((length, object(text))));
            }
        }
    }
}

fn object(text: &[u8]) -> Object {
    match serde_json::from_slice(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(malformed("the line is no JSON object")),
        Err(error) => Err(Error::statement("22P02", format!("invalid input syntax for type json: {error}"))),
    }
}

/// The columns of a file: the keys of its first rows, with types that fit them.
pub fn columns(path: &Path, sample: u64) -> Result<Vec<Found>, Failure> {
    let mut objects = Objects::open(path)?;
    let mut names: Vec<String> = Vec::new();
    let mut guesses: HashMap<String, Guess> = HashMap::new();
    let mut rows = 0;
    while rows < sample {
        let Some((_, object)) = objects.next().map_err(|error| unusable("read", path, error))? else { break };
        // Lines that are wrong are told of when they are read for good.
        for (key, value) in object.unwrap_or_default() {
            let guess = guesses.entry(key).or_insert_with_key(|key| {
                names.push(key.clone());
                Guess::default()
            });
            guess.json(&value);
        }
        rows += 1;
    }
    let found = |name: String| Found { ty: guesses.get(&name).map_or(nodedb::Type::Text, Guess::ty), name };
    Ok(names.into_iter().map(found).collect())
}

/// The rows of a file.
pub struct Reader {
    objects: Objects,
    columns: Vec<String>,
    path: PathBuf,
}

impl Reader {
    /// Opens a file for a table with these columns.
    pub fn open(path: &Path, columns: Vec<String>) -> Result<Self, Failure> {
        Ok(Self { objects: Objects::open(path)?, columns, path: path.to_owned() })
    }

    fn cells(&self, mut object: Map<String, Json>) -> Result<Vec<Cell>> {
        let mut cells = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            cells.push(match object.remove(column) {
                None | Some(Json::Null) => Cell::Null,
                Some(value) => Cell::Json(value),
            });
        }
        match object.keys().next() {
            Some(key) => Err(Error::statement("42703", format!("the table has no column \"{key}\""))),
            None => Ok(cells),
        }
    }
}

impl Source for Reader {
    fn next(&mut self) -> Result<Option<Row>, Failure> {
        let next = self.objects.next().map_err(|error| unusable("read", &self.path, error))?;
        let Some((bytes, object)) = next else { return Ok(None) };
        Ok(Some(Row { line: self.objects.line, cells: object.and_then(|object| self.cells(object)), bytes }))
    }

    fn position(&self) -> u64 {
        self.objects.position
    }
}
