//! Files of vectors: `.npy` ([NumPy's format](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), a
//! table of floats in C order) and `.fvecs` ([the format of the TEXMEX corpora](http://corpus-texmex.irisa.fr): before each
//! vector its length).
//!
//! A row is a vector, `embedding`, and its number from 0 on, `id`.

use super::{Cell, Found, Row, Source, malformed, open, unusable};
use crate::args::FileFormat;
use crate::console::Failure;
use nodedb::{Result, Type, Value};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The columns of such a file.
pub const NAMES: [&str; 2] = ["id", "embedding"];
/// Most dimensions of a `vector`.
const MOST_DIMENSIONS: usize = 16_000;
/// The header of a `.npy` file is no longer.
const LONGEST_HEADER: usize = 1 << 16;

/// How the numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    F16,
    F32,
    F64,
}

impl Number {
    const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Numbers of little-endian bytes.
    fn read(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
            Self::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Self::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        }
    }
}

/// What a file says of itself before its vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    dimensions: usize,
    /// How many there are, where the file says so.
    rows: Option<u64>,
    number: Number,
    /// Whether each vector says its length.
    with_lengths: bool,
}

/// The columns of a file.
pub fn columns(path: &Path, format: FileFormat) -> Result<Vec<Found>, Failure> {
    let (shape, _) = begin(path, format)?;
    let types = [Type::Int8, Type::Vector(u32::try_from(shape.dimensions).unwrap_or(u32::MAX))];
    Ok(NAMES.iter().zip(types).map(|(name, ty)| Found { name: (*name).to_owned(), ty }).collect())
}

/// What a file begins with, and the file behind that.
fn begin(path: &Path, format: FileFormat) -> Result<(Shape, BufReader<File>), Failure> {
    let mut file = BufReader::new(open(path)?);
    let shape = if format == FileFormat::Npy { npy(&mut file) } else { fvecs(path) };
    let shape = shape.map_err(|error| unusable("read", path, error))?;
    if !(1..=MOST_DIMENSIONS).contains(&shape.dimensions) {
        return Err(unusable("read", path, format!("a vector has {} dimensions", shape.dimensions)));
    }
    Ok((shape, file))
}

type Header<T> = Result<T, Box<dyn std::error::Error>>;

fn fvecs(path: &Path) -> Header<Shape> {
    let mut length = [0; 4];
    File::open(path)?.read_exact(&mut length)?;
    let dimensions = usize::try_from(i32::from_le_bytes(length))?;
    Ok(Shape { dimensions, rows: None, number: Number::F32, with_lengths: true })
}

fn npy(file: &mut impl Read) -> Header<Shape> {
    let mut start = [0; 8];
    file.read_exact(&mut start)?;
    let [magic @ .., major, _] = start;
    if magic != *b"\x93NUMPY" {
        return Err("it does not begin as a .npy file does".into());
    }
    let mut length = [0; 4];
    file.read_exact(if major == 1 { length.split_at_mut(2).0 } else { &mut length })?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST_HEADER {
        return Err("its header is too long".into());
    }
    let mut header = vec![0; length];
    file.read_exact(&mut header)?;
    shape_of(&String::from_utf8_lossy(&header))
}

/// A header is a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 384), }`.
fn shape_of(header: &str) -> Header<Shape> {
    let field = |name: &str| {
        let rest = header.split_once(&format!("'{name}':")).map(|(_, rest)| rest.trim_start());
        rest.ok_or_else(|| format!("its header has no {name}"))
    };
    let number = match field("descr")?.split('\'').nth(1) {
        Some("<f2") => Number::F16,
        Some("<f4") => Number::F32,
        Some("<f8") => Number::F64,
        other => return Err(format!("it has numbers of type {}, not of f2, f4 or f8", other.unwrap_or("?")).into()),
    };
    if !field("fortran_order")?.starts_with("False") {
        return Err("it is in Fortran's order: save np.ascontiguousarray of it".into());
    }
    let shape = field("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or("it has no shape")?.0;
    let lengths: Vec<u64> =
        shape.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
    let [rows, dimensions] = lengths[..] else {
        return Err(format!("its shape is ({shape}), not that of a table").into());
    };
    Ok(Shape { dimensions: usize::try_from(dimensions)?, rows: Some(rows), number, with_lengths: false })
}

/// The rows of a file.
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    shape: Shape,
    row: u64,
    position: u64,
    places: Vec<Option<usize>>,
}

impl Reader {
    /// Opens a file. `place` says for the names in the file which column of the table gets which.
    pub fn open(
        path: &Path,
        format: FileFormat,
        place: impl FnOnce(&[String]) -> Result<Vec<Option<usize>>, Failure>,
    ) -> Result<Self, Failure> {
        let (shape, file) = begin(path, format)?;
        let places = place(&NAMES.map(str::to_owned))?;
        Ok(Self { path: path.to_owned(), file, shape, row: 0, position: 0, places })
    }

    /// Fills a buffer, unless the file ends before it.
    fn take(&mut self, bytes: &mut [u8]) -> Result<bool, Failure> {
        let (first, rest) = bytes.split_at_mut(1);
        loop {
            match self.file.read(first) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unusable("read", &self.path, error)),
            }
        }
        self.file.read_exact(rest).map_err(|error| unusable("read", &self.path, error))?;
        self.position += bytes.len() as u64;
        Ok(true)
    }

    fn vector(&mut self) -> Result<Option<Result<Vec<f32>>>, Failure> {
        let mut dimensions = self.shape.dimensions;
        if self.shape.with_lengths {
            let mut length = [0; 4];
            if !self.take(&mut length)? {
                return Ok(None);
            }
            let length = i32::from_le_bytes(length);
            dimensions = usize::try_from(length)
                .ok()
                .filter(|n| (1..=MOST_DIMENSIONS).contains(n))
                .ok_or_else(|| unusable("read", &self.path, format!("vector {} has {length} dimensions", self.row)))?;
        } else if self.shape.rows == Some(self.row) {
            return Ok(None);
        }
        let mut bytes = vec![0; dimensions * self.shape.number.bytes()];
        if !self.take(&mut bytes)? {
            return Err(unusable("read", &self.path, format!("it ends before vector {}", self.row)));
        }
        let differs =
            || malformed(format!("a vector of {dimensions} dimensions among those of {}", self.shape.dimensions));
        let fits = dimensions == self.shape.dimensions;
        Ok(Some(if fits { Ok(self.shape.number.read(&bytes)) } else { Err(differs()) }))
    }
}

impl Source for Reader {
    fn next(&mut self) -> Result<Option<Row>, Failure> {
        let Some(vector) = self.vector()? else { return Ok(None) };
        let id = Value::Int8(self.row.cast_signed());
        self.row += 1;
        let cells = vector.map(|vector| {
            let cells = [id, Value::Vector(vector)].map(Cell::Value);
            super::import::arrange(cells.into(), &self.places)
        });
        Ok(Some(Row { line: self.row, cells, bytes: self.shape.dimensions * 4 }))
    }

    fn position(&self) -> u64 {
        self.position
    }
}
