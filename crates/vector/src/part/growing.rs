//! The part that takes what comes in, and those that are full and wait to be built. Searched exactly.

use super::ended::Ended;
use super::{Entries, Key};
use crate::bounds::Bounds;
use crate::shape::{Row, Shape, Vector};
use crate::{Error, Result};
use nodedb_env::Pages;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Entries in a chunk. Readers keep the writer waiting only while they look at the last chunk.
const CHUNK: usize = 256;
const NONE: u32 = u32::MAX;

/// Entries in the order in which they came.
#[derive(Debug)]
pub struct Growing {
    /// Names its file.
    pub number: u64,
    shape: Shape,
    full: RwLock<Vec<Arc<Chunk>>>,
    last: RwLock<Chunk>,
    index: RwLock<Index>,
    /// Which of them something newer has come after.
    pub ended: Ended,
}

/// Some entries.
#[derive(Debug)]
pub struct Chunk {
    /// Their ids and versions.
    pub keys: Vec<Key>,
    factors: Vec<f32>,
    /// Has room for `CHUNK` rows.
    rows: Pages,
    row_bytes: usize,
    /// Where the shape has them.
    pub bounds: Option<Bounds>,
}

/// Where an id's entries are: the newest, and before each one the one before.
#[derive(Debug, Default)]
struct Index {
    newest: HashMap<u64, u32>,
    before: Vec<u32>,
}

impl Chunk {
    fn new(shape: Shape) -> Result<Self> {
        let row_bytes = shape.row_bytes();
        let rows = Pages::new(CHUNK * row_bytes).map_err(Error::io("find memory for", Path::new("a chunk")))?;
        let (keys, factors) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        Ok(Self { keys, factors, rows, row_bytes, bounds: Bounds::new(shape, CHUNK)? })
    }

    /// The vector of the entry with this number in the chunk.
    pub fn row(&self, at: usize) -> Option<Row<'_>> {
        let bytes = self.rows.get(at * self.row_bytes..(at + 1) * self.row_bytes)?;
        self.factors.get(at).map(|factor| Row { bytes, factor: *factor })
    }

    /// All vectors and their factors, side by side.
    pub fn rows(&self) -> (&[u8], &[f32]) {
        (self.rows.get(..self.keys.len() * self.row_bytes).unwrap_or_default(), &self.factors)
    }

    fn push(&mut self, key: Key, bytes: &[u8], factor: f32) {
        let at = self.keys.len() * self.row_bytes;
        if let Some(place) = self.rows.get_mut(at..at + self.row_bytes) {
            place.copy_from_slice(bytes);
            if let Some(bounds) = &mut self.bounds {
                bounds.push(bytemuck::try_cast_slice(place).unwrap_or_default());
            }
            self.factors.push(factor);
            self.keys.push(key);
        }
    }
}

impl Growing {
    /// No entries, with room for so many.
    pub fn new(number: u64, shape: Shape, capacity: usize) -> Result<Self> {
        let last = RwLock::new(Chunk::new(shape)?);
        let (full, index) = Default::default();
        Ok(Self { number, shape, full, last, index, ended: Ended::new(capacity) })
    }

    /// What its vectors have in common.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Appends an entry; its number. It can be found once this has returned.
    pub fn push(&self, key: Key, vector: Vector<'_>) -> Result<u32> {
        let mut bytes = Vec::with_capacity(self.shape.row_bytes());
        let factor = self.shape.append(vector, &mut bytes)?;
        self.push_row(key, Row { bytes: &bytes, factor })
    }

    /// Appends an entry whose vector is a row already.
    pub fn push_row(&self, key: Key, row: Row<'_>) -> Result<u32> {
        let mut last = self.last.write();
        if last.keys.len() == CHUNK {
            let fresh = Chunk::new(self.shape)?;
            self.full.write().push(Arc::new(std::mem::replace(&mut *last, fresh)));
        }
        let mut index = self.index.write();
        let number = index.before.len() as u32;
        let before = index.newest.insert(key.0, number).unwrap_or(NONE);
        index.before.push(before);
        last.push(key, row.bytes, row.factor);
        Ok(number)
    }

    /// The entries of an id.
    pub fn entries_of(&self, id: u64) -> Vec<(u64, u32)> {
        let numbers: Vec<u32> = {
            let index = self.index.read();
            let first = index.newest.get(&id).copied();
            let next = |row: &u32| index.before.get(*row as usize).copied().filter(|row| *row != NONE);
            std::iter::successors(first, next).collect()
        };
        numbers.into_iter().filter_map(|row| Some((self.key(row)?.1, row))).collect()
    }

    /// Calls `f` with each chunk and the number of its first entry, from one entry on.
    pub fn each_chunk(&self, from: u32, f: &mut dyn FnMut(u32, &Chunk) -> Result<()>) -> Result<()> {
        let mut at = from as usize / CHUNK;
        loop {
            // The list is copied, so that nobody waits for what is done with a chunk; the last one is held.
            let full: Vec<_> = self.full.read().get(at..).unwrap_or_default().to_vec();
            if full.is_empty() {
                let last = self.last.read();
                if self.full.read().len() > at {
                    continue;
                }
                return f((at * CHUNK) as u32, &last);
            }
            for chunk in full {
                f((at * CHUNK) as u32, &chunk)?;
                at += 1;
            }
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let chunks = self.full.read().len() + 1;
        let codes = if self.last.read().bounds.is_some() { self.shape.dimension + 12 } else { 0 };
        chunks * CHUNK * (self.shape.row_bytes() + codes + 20) + self.index.read().before.len() * 24
    }
}

impl Entries for Growing {
    fn len(&self) -> usize {
        self.index.read().before.len()
    }

    fn key(&self, row: u32) -> Option<Key> {
        let (chunk, at) = (row as usize / CHUNK, row as usize % CHUNK);
        if let Some(chunk) = self.full.read().get(chunk) {
            return chunk.keys.get(at).copied();
        }
        // It may have become a full one meanwhile.
        let last = self.last.read();
        match self.full.read().get(chunk) {
            Some(chunk) => chunk.keys.get(at).copied(),
            None => last.keys.get(at).copied(),
        }
    }

    fn is_ended(&self, row: u32) -> bool {
        self.ended.get(row)
    }

    fn each_row(&self, f: &mut dyn FnMut(u32, Row<'_>) -> Result<()>) -> Result<()> {
        self.each_chunk(0, &mut |first, chunk| {
            for (at, row) in (0..chunk.keys.len()).zip(first..) {
                chunk.row(at).map_or(Ok(()), |vector| f(row, vector))?;
            }
            Ok(())
        })
    }
}
