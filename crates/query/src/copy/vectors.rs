//! Files of vectors: `.npy` ([NumPy's format](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), a
//! table of floats in C order) and `.fvecs` ([the format of the TEXMEX corpora](http://corpus-texmex.irisa.fr): before each
//! vector its length).
//!
//! A row is a vector, `embedding`, and its number from 0 on, `id`.

use super::{Cell, malformed};
use nodedb_base::{Error, Result, Value};
use std::io::{ErrorKind, Read};

/// The columns of such a file.
pub const NAMES: [&str; 2] = ["id", "embedding"];
/// Most dimensions of a `vector`.
const MOST_DIMENSIONS: usize = 16_000;
/// The header of a `.npy` file is no longer.
const LONGEST_HEADER: usize = 1 << 16;

/// How such a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorFormat {
    /// NumPy's, of two-, four- or eight-byte floats.
    Npy,
    /// Of the TEXMEX corpora: four-byte floats.
    Fvecs,
}

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
    number: Number,
    rows: Rows,
}

/// How one knows where the vectors end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// The file says how many there are.
    Count(u64),
    /// Before each vector stands its length; that of the first has been read with the shape.
    Lengths,
}

/// The vectors of a file, one by one.
#[derive(Debug)]
pub struct VectorReader<R> {
    input: R,
    shape: Shape,
    row: u64,
    position: u64,
}

impl<R: Read> VectorReader<R> {
    /// Reads what stands before the vectors.
    ///
    /// # Errors
    /// `Statement` (22P04) if it is no such file, or one of other numbers than floats or of vectors of no or more than 16,000
    /// dimensions; `Io`.
    pub fn new(format: VectorFormat, mut input: R) -> Result<Self> {
        let shape = match format {
            VectorFormat::Npy => npy(&mut input)?,
            VectorFormat::Fvecs => fvecs(&mut input)?,
        };
        if !(1..=MOST_DIMENSIONS).contains(&shape.dimensions) {
            return Err(malformed(format!("a vector has {} dimensions", shape.dimensions)));
        }
        Ok(Self { input, shape, row: 0, position: 0 })
    }

    /// Of each vector.
    pub const fn dimensions(&self) -> usize {
        self.shape.dimensions
    }

    /// How many bytes of vectors have been read.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The cells of the next row, in the order of [`NAMES`], or what is wrong with them.
    ///
    /// # Errors
    /// Those of the file: `Statement` (22P04) where it ends too early or has no vector in place of one, `Io`.
    pub fn next_row(&mut self) -> Result<Option<Result<Vec<Cell>>>> {
        let Some(dimensions) = self.next_dimensions()? else { return Ok(None) };
        let mut bytes = vec![0; dimensions * self.shape.number.bytes()];
        if !self.fill(&mut bytes)? {
            return Err(malformed(format!("it ends before vector {}", self.row)));
        }
        let id = Value::Int8(self.row.cast_signed());
        self.row += 1;
        if dimensions != self.shape.dimensions {
            let expected = self.shape.dimensions;
            return Ok(Some(Err(malformed(format!("a vector of {dimensions} dimensions among those of {expected}")))));
        }
        let vector = Value::Vector(self.shape.number.read(&bytes));
        Ok(Some(Ok([id, vector].map(Cell::Value).into())))
    }

    fn next_dimensions(&mut self) -> Result<Option<usize>> {
        match self.shape.rows {
            Rows::Count(count) => Ok((count != self.row).then_some(self.shape.dimensions)),
            Rows::Lengths if self.row == 0 => Ok(Some(self.shape.dimensions)),
            Rows::Lengths => {
                let mut length = [0; 4];
                if !self.fill(&mut length)? {
                    return Ok(None);
                }
                let length = i32::from_le_bytes(length);
                let fits = usize::try_from(length).ok().filter(|n| (1..=MOST_DIMENSIONS).contains(n));
                fits.map(Some).ok_or_else(|| malformed(format!("vector {} has {length} dimensions", self.row)))
            }
        }
    }

    /// Fills a buffer, unless the file ends before it.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool> {
        let (first, rest) = bytes.split_at_mut(1);
        loop {
            match self.input.read(first) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        self.input.read_exact(rest).map_err(|error| failed(&error))?;
        self.position += bytes.len() as u64;
        Ok(true)
    }
}

fn failed(error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => malformed("it ends too early"),
        _ => Error::io("read vectors", error),
    }
}

fn fvecs(input: &mut impl Read) -> Result<Shape> {
    let mut length = [0; 4];
    input.read_exact(&mut length).map_err(|error| failed(&error))?;
    let length = i32::from_le_bytes(length);
    let dimensions = usize::try_from(length).map_err(|_| malformed(format!("a vector has {length} dimensions")))?;
    Ok(Shape { dimensions, number: Number::F32, rows: Rows::Lengths })
}

fn npy(input: &mut impl Read) -> Result<Shape> {
    let mut take = |bytes: &mut [u8]| input.read_exact(bytes).map_err(|error| failed(&error));
    let mut start = [0; 8];
    take(&mut start)?;
    let [magic @ .., major, _] = start;
    if magic != *b"\x93NUMPY" {
        return Err(malformed("it does not begin as a .npy file does"));
    }
    let mut length = [0; 4];
    take(if major == 1 { length.split_at_mut(2).0 } else { &mut length })?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST_HEADER {
        return Err(malformed("its header is too long"));
    }
    let mut header = vec![0; length];
    take(&mut header)?;
    shape_of(&String::from_utf8_lossy(&header))
}

/// A header is a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 384), }`.
fn shape_of(header: &str) -> Result<Shape> {
    let field = |name: &str| {
        let rest = header.split_once(&format!("'{name}':")).map(|(_, rest)| rest.trim_start());
        rest.ok_or_else(|| malformed(format!("its header has no {name}")))
    };
    let number = match field("descr")?.split('\'').nth(1) {
        Some("<f2") => Number::F16,
        Some("<f4") => Number::F32,
        Some("<f8") => Number::F64,
        other => {
            let other = other.unwrap_or("?");
            return Err(malformed(format!("it has numbers of type {other}, not of f2, f4 or f8")));
        }
    };
    if !field("fortran_order")?.starts_with("False") {
        return Err(malformed("it is in Fortran's order: save np.ascontiguousarray of it"));
    }
    let shape = field("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let shape = shape.ok_or_else(|| malformed("it has no shape"))?.0;
    let no_table = || malformed(format!("its shape is ({shape}), not that of a table"));
    let lengths = shape.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::parse);
    let lengths: Vec<u64> = lengths.collect::<Result<_, _>>().map_err(|_| no_table())?;
    let [rows, dimensions] = lengths[..] else { return Err(no_table()) };
    let dimensions = usize::try_from(dimensions).map_err(|_| no_table())?;
    Ok(Shape { dimensions, number, rows: Rows::Count(rows) })
}
