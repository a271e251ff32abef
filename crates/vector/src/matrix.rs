//! Rows side by side.

use crate::graph::Space;
use crate::kernels::{self, Kernels};
use crate::section::Section;
use crate::shape::{Query, Row, Shape};
use crate::{Error, Result};

/// The factors of rows that have none.
const ONES: [f32; 1024] = [1.0; 1024];

/// Vectors of one shape.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// What they have in common.
    pub shape: Shape,
    rows: Section<u8>,
    factors: Option<Section<f32>>,
}

impl Matrix {
    /// Rows, and their factors where the shape has them.
    ///
    /// # Errors
    /// `Damaged` if there are not as many as `count`.
    pub fn new(shape: Shape, count: usize, rows: Section<u8>, factors: Option<Section<f32>>) -> Result<Self> {
        let fits = Some(rows.len()) == count.checked_mul(shape.row_bytes())
            && factors.is_some() == shape.has_factors()
            && factors.as_ref().is_none_or(|factors| factors.len() == count);
        if fits { Ok(Self { shape, rows, factors }) } else { Err(Error::damaged("rows that do not fit their number")) }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len() / self.shape.row_bytes().max(1)
    }

    /// All rows and all factors, as they lie in memory.
    pub fn sections(&self) -> (&[u8], Option<&[f32]>) {
        (&self.rows, self.factors.as_deref())
    }

    /// So many rows at a time, with their factors: the number of the first, and them.
    pub fn blocks(&self, rows: usize) -> impl Iterator<Item = (u32, (&[u8], &[f32]))> {
        let (bytes, factors) = self.sections();
        let starts = (0..self.len()).step_by(rows.max(1));
        bytes.chunks(rows.max(1) * self.shape.row_bytes()).zip(starts).map(move |(some, start)| {
            let end = (start + rows).min(self.len());
            let factors = factors.map_or(ONES.get(..end - start), |factors| factors.get(start..end));
            (start as u32, (some, factors.unwrap_or_default()))
        })
    }

    /// The same in memory of our own.
    pub fn load(&self) -> Result<Self> {
        let no_memory = |e| Error::Io("no memory to load a part".to_owned(), e);
        let factors = match &self.factors {
            Some(factors) => Some(Section::of(factors).map_err(no_memory)?),
            None => None,
        };
        Ok(Self { shape: self.shape, rows: Section::of(&self.rows).map_err(no_memory)?, factors })
    }

    /// Out of its sections.
    pub fn space(&self) -> RowSpace<'_> {
        let (rows, factors) = self.sections();
        RowSpace { shape: self.shape, bytes: self.shape.row_bytes(), rows, factors, kernels: kernels::best() }
    }
}

/// Rows themselves as the place of a graph's nodes, and to compare candidates exactly.
#[derive(Clone, Copy, Debug)]
pub struct RowSpace<'m> {
    shape: Shape,
    bytes: usize,
    rows: &'m [u8],
    factors: Option<&'m [f32]>,
    kernels: &'static Kernels,
}

impl<'m> RowSpace<'m> {
    /// A row; an empty one if it is not there.
    pub fn row(&self, number: u32) -> Row<'m> {
        let start = number as usize * self.bytes;
        let bytes = self.rows.get(start..start + self.bytes).unwrap_or_default();
        let factor = self.factors.map_or(Some(&1.0), |factors| factors.get(number as usize));
        Row { bytes, factor: factor.copied().unwrap_or(f32::NAN) }
    }
}

impl Space for RowSpace<'_> {
    type Query = Query;

    fn len(&self) -> usize {
        self.rows.len() / self.bytes.max(1)
    }

    #[inline]
    fn distance(&self, query: &Query, node: u32) -> f32 {
        self.shape.distance(self.kernels, query, self.row(node))
    }

    fn as_query(&self, node: u32, query: &mut Query) {
        self.shape.as_query(self.row(node), query);
    }

    fn no_query(&self) -> Query {
        self.shape.no_query()
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        kernels::prefetch(self.row(node).bytes);
    }
}
