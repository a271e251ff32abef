//! Eight bits a number: what graphs are searched by, before the few best are compared exactly.
//!
//! A number `x` becomes `c = round((x - low) / step)`, with one `low` and one `step` for all of a part, so that
//! distances of codes are distances of vectors but for the factor. With `u = c - 128` of a stored vector and `v` of the
//! other one:
//!
//! ```text
//!  sum((u - v)^2)         = sum(u^2) - 2 sum(u v) + sum(v^2)
//!  -sum((m + u) (m + v))  = -m sum(u) - sum(u v) - m sum(v) - m^2 n         m = (low + 128 step) / step
//!  sum(u v)               = sum(c v) - 128 sum(v)
//! ```
//!
//! So a distance is `offset[v] + term[u] - factor * sum(c v)`: one product of unsigned and signed bytes, one number that
//! goes with the query and one that is stored behind the code. (The offset does not change the order of rows, but
//! whoever builds a graph compares distances of different queries.) Numbers that lie about evenly on both sides of 0 get
//! `m = 0`, and products of them need no term.

use crate::bytes::{Reader, Writer};
use crate::graph::Space;
use crate::kernels::Kernels;
use crate::section::Section;
use crate::{Error, Geometry, Result};
use nodedb_env::Pages;
use std::sync::Arc;

/// Which share of the numbers on each side is cut off, so that a few outliers do not make all others coarse.
const CUT: f64 = 0.00005;
/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Where the numbers lie so unevenly that bounds around 0 would waste more than this, the bounds are theirs.
const MOST_WASTE: f32 = 1.3;

/// How numbers become codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f32,
    step: f32,
}

impl Scale {
    /// Bounds for numbers like these. `around_zero`: the same on both sides of 0, if that wastes little.
    #[must_use]
    pub fn fit(mut sample: Vec<f32>, around_zero: bool) -> Self {
        sample.sort_unstable_by(f32::total_cmp);
        let cut = (sample.len() as f64 * CUT) as usize;
        let low = sample.get(cut).copied().unwrap_or(0.0);
        let high = sample.len().checked_sub(cut + 1).and_then(|at| sample.get(at)).copied().unwrap_or(0.0);
        let bound = low.abs().max(high.abs());
        if around_zero && 2.0 * bound < MOST_WASTE * (high - low) {
            let step = (bound / 127.5).max(f32::MIN_POSITIVE);
            return Self { low: -128.0 * step, step };
        }
        // Divided before they are subtracted, huge numbers stay finite; and so does `low / step` of numbers that are equal.
        let step = (high / 255.0 - low / 255.0).max(bound * 1e-6).max(f32::MIN_POSITIVE);
        Self { low, step }
    }

    fn code(self, x: f32) -> u8 {
        (x / self.step - self.low / self.step).round().clamp(0.0, 255.0) as u8
    }

    /// `m` of the formula.
    fn middle(self) -> f32 {
        self.low / self.step + 128.0
    }
}

/// The code of a vector that others are compared with.
#[derive(Clone, Debug, Default)]
pub struct CodeQuery {
    codes: Vec<i8>,
    offset: f32,
}

/// How codes lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// How numbers become codes.
    pub scale: Scale,
    dimension: usize,
    is_product: bool,
    has_terms: bool,
}

impl Layout {
    /// For vectors like those of a sample, in one of the two geometries that have codes.
    #[must_use]
    pub fn fit(geometry: Geometry, dimension: usize, sample: Vec<f32>) -> Option<Self> {
        let is_product = match geometry {
            Geometry::Squares => false,
            Geometry::Product => true,
            _ => return None,
        };
        let scale = Scale::fit(sample, is_product);
        let has_terms = !is_product || scale.middle() != 0.0;
        Some(Self { scale, dimension, is_product, has_terms })
    }

    /// Where the term of a row is.
    const fn term_at(&self) -> usize {
        self.dimension.next_multiple_of(4)
    }

    /// Makes a vector ready to be compared with codes.
    pub fn query(&self, vector: &[f32], query: &mut CodeQuery) {
        query.codes.clear();
        query.codes.extend(vector.iter().map(|x| (self.scale.code(*x) ^ 0x80).cast_signed()));
        self.set_offset(query);
    }

    fn set_offset(&self, query: &mut CodeQuery) {
        let (sum, squares) = query.codes.iter().fold((0_i64, 0_i64), |(sum, squares), v| {
            let v = i64::from(*v);
            (sum + v, squares + v * v)
        });
        query.offset = if self.is_product {
            let middle = self.scale.middle();
            (128 * sum) as f32 - middle * sum as f32 - middle * middle * self.dimension as f32
        } else {
            (squares + 256 * sum) as f32
        };
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.f32(self.scale.low);
        out.f32(self.scale.step);
        out.u8(u8::from(self.is_product));
        out.u8(u8::from(self.has_terms));
    }

    pub(crate) fn read(geometry: Geometry, dimension: usize, reader: &mut Reader<'_>) -> Result<Self> {
        let scale = Scale { low: reader.f32()?, step: reader.f32()? };
        let (is_product, has_terms) = (reader.u8()?, reader.u8()?);
        let suits = matches!((geometry, is_product), (Geometry::Squares, 0) | (Geometry::Product, 1));
        let is_possible =
            suits && has_terms <= 1 && scale.low.is_finite() && scale.step > 0.0 && scale.step.is_finite();
        if !is_possible {
            return Err(Error::damaged("codes of an impossible layout"));
        }
        Ok(Self { scale, dimension, is_product: is_product == 1, has_terms: has_terms == 1 })
    }
}

impl Coding for Layout {
    /// From one row to the next, so that each begins on a line of the cache.
    fn stride(&self) -> usize {
        let used = if self.has_terms { self.term_at() + 4 } else { self.dimension };
        used.next_multiple_of(LINE)
    }

    fn encode(&self, vector: &[f32], place: &mut [u8]) {
        let (mut sum, mut squares) = (0_i64, 0_i64);
        for (x, place) in vector.iter().zip(place.iter_mut()) {
            let code = self.scale.code(*x);
            let u = i64::from(code) - 128;
            sum += u;
            squares += u * u;
            *place = code;
        }
        if !self.has_terms {
            return;
        }
        let term = if self.is_product { -self.scale.middle() * sum as f32 } else { squares as f32 };
        if let Some(place) = place.get_mut(self.term_at()..self.term_at() + 4) {
            place.copy_from_slice(&term.to_le_bytes());
        }
    }
}

/// How vectors become codes that lie side by side.
pub trait Coding {
    /// Bytes from one row to the next.
    fn stride(&self) -> usize;

    /// Writes a vector's code, and what belongs to it, into a place of [`Coding::stride`] bytes.
    fn encode(&self, vector: &[f32], place: &mut [u8]);
}

/// The codes of many vectors.
#[derive(Clone, Debug)]
pub struct Codes<L = Layout> {
    /// How they lie.
    pub layout: L,
    bytes: Section<u8>,
}

impl Codes {
    /// Codes of the rows of a matrix of prepared vectors, for one of the two geometries that have them.
    #[must_use]
    pub fn of(geometry: Geometry, dimension: usize, rows: &[f32]) -> Option<Self> {
        let stride = (rows.len() / 200_000).max(1) | 1;
        let layout = Layout::fit(geometry, dimension, rows.iter().step_by(stride).copied().collect())?;
        let dimension = dimension.max(1);
        let row = |at: usize, numbers: &mut Vec<f32>| {
            numbers.clear();
            numbers.extend_from_slice(rows.get(at * dimension..(at + 1) * dimension).unwrap_or_default());
        };
        Self::encode(layout, rows.len() / dimension, row).ok()
    }
}

impl<L: Coding> Codes<L> {
    /// Codes of so many rows, each of which `row` gives.
    pub(crate) fn encode(layout: L, count: usize, row: impl Fn(usize, &mut Vec<f32>)) -> Result<Self> {
        let stride = layout.stride();
        let pages = Pages::new(count * stride);
        let mut pages = pages.map_err(|e| Error::Io("no memory for codes".to_owned(), e))?;
        let mut numbers = Vec::new();
        for (at, place) in pages.chunks_exact_mut(stride).enumerate() {
            row(at, &mut numbers);
            layout.encode(&numbers, place);
        }
        let length = pages.len();
        let codes = Section::new(&(Arc::new(pages) as Arc<_>), 0..length).and_then(|bytes| Self::new(layout, bytes));
        codes.ok_or_else(|| Error::damaged("codes that do not fill their memory"))
    }

    /// Codes that lie in memory already; `None` if they do not fill it evenly.
    pub(crate) fn new(layout: L, bytes: Section<u8>) -> Option<Self> {
        bytes.len().is_multiple_of(layout.stride()).then_some(Self { layout, bytes })
    }

    /// All of them, as they lie in memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.layout.stride()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Codes as the place of a graph's nodes.
#[derive(Clone, Copy, Debug)]
pub struct CodeSpace<'c> {
    layout: Layout,
    stride: usize,
    factor: f32,
    bytes: &'c [u8],
    kernels: &'static Kernels,
}

impl<'c> CodeSpace<'c> {
    /// The rows of `codes`.
    #[must_use]
    pub fn new(codes: &'c Codes) -> Self {
        let layout = codes.layout;
        let factor = if layout.is_product { 1.0 } else { 2.0 };
        Self { layout, stride: layout.stride(), factor, bytes: codes.bytes(), kernels: crate::kernels::best() }
    }

    fn row(&self, row: u32) -> &'c [u8] {
        let start = row as usize * self.stride;
        self.bytes.get(start..start + self.stride).unwrap_or_default()
    }

    fn code(&self, row: u32) -> &'c [u8] {
        self.row(row).get(..self.layout.dimension).unwrap_or_default()
    }
}

impl Space for CodeSpace<'_> {
    type Query = CodeQuery;

    fn len(&self) -> usize {
        self.bytes.len() / self.stride
    }

    #[inline]
    fn distance(&self, query: &CodeQuery, node: u32) -> f32 {
        let row = self.row(node);
        let (code, rest) = row.split_at_checked(self.layout.dimension).unwrap_or_default();
        let product = self.factor * (self.kernels.code_product)(code, &query.codes) as f32;
        if !self.layout.has_terms {
            return query.offset - product;
        }
        let padding = self.layout.term_at() - self.layout.dimension;
        let term = rest.get(padding..padding + 4).and_then(|term| term.try_into().ok());
        term.map_or(f32::INFINITY, |term| query.offset + (f32::from_le_bytes(term) - product))
    }

    fn as_query(&self, node: u32, query: &mut CodeQuery) {
        query.codes.clear();
        query.codes.extend(self.code(node).iter().map(|code| (code ^ 0x80).cast_signed()));
        self.layout.set_offset(query);
    }

    fn no_query(&self) -> CodeQuery {
        CodeQuery::default()
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        crate::kernels::prefetch(self.row(node));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Metric, kernels};
    use nodedb_env::{Random, SeededRandom};

    fn vectors(count: usize, dimension: usize, shift: f32) -> Vec<f32> {
        let random = SeededRandom::new(5);
        (0..count * dimension).map(|_| (random.u64() % 2000) as f32 / 1000.0 - shift).collect()
    }

    /// Codes put rows into nearly the same order as exact distances do.
    #[test]
    fn codes_keep_the_order() {
        let cases = [
            (Metric::L2, 1.0),
            (Metric::L2, -4.0),
            (Metric::InnerProduct, 0.4),
            (Metric::InnerProduct, 1.0),
            (Metric::Cosine, 0.9),
        ];
        for (metric, shift) in cases {
            let dimension = 70;
            let mut rows = vectors(400, dimension, shift);
            rows.chunks_exact_mut(dimension).for_each(|row| metric.prepare(row).unwrap());
            let codes = Codes::of(metric.geometry(), dimension, &rows).unwrap();
            let (space, kernels) = (CodeSpace::new(&codes), kernels::best());
            let query = &rows[..dimension];
            let mut signed = CodeQuery::default();
            codes.layout.query(query, &mut signed);
            let exact = |row: usize| {
                metric.geometry().between(&kernels.f32, query, &rows[row * dimension..(row + 1) * dimension])
            };
            let mut by_code: Vec<u32> = (0..400).collect();
            by_code.sort_by(|a, b| space.distance(&signed, *a).total_cmp(&space.distance(&signed, *b)));
            let mut by_distance: Vec<u32> = (0..400).collect();
            by_distance.sort_by(|a, b| exact(*a as usize).total_cmp(&exact(*b as usize)));
            let found = by_distance[..20].iter().filter(|row| by_code[..24].contains(row)).count();
            assert!(found >= 19, "{metric:?}: {found} of 20");
        }
    }

    /// A distance is about the true one, in squares of steps, whoever of the two asks.
    #[test]
    fn distances_of_different_queries_compare() {
        for (geometry, shift) in [(Geometry::Squares, 1.0), (Geometry::Squares, -4.0), (Geometry::Product, -3.0)] {
            let (dimension, count) = (70, 60);
            let rows = vectors(count, dimension, shift);
            let codes = Codes::of(geometry, dimension, &rows).unwrap();
            let (space, mut query) = (CodeSpace::new(&codes), CodeQuery::default());
            for a in 0..count {
                space.as_query(a as u32, &mut query);
                for b in 0..count {
                    let row = |n: usize| &rows[n * dimension..(n + 1) * dimension];
                    let true_one = geometry.between(&kernels::best().f32, row(a), row(b));
                    let found = space.distance(&query, b as u32) * codes.layout.scale.step.powi(2);
                    assert!(
                        (found - true_one).abs() < 0.01 * (1.0 + true_one.abs()),
                        "{geometry:?}: {found}, {true_one}"
                    );
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_all_the_same_have_codes_too() {
        let codes = Codes::of(Geometry::Squares, 3, &[7.0; 9]).unwrap();
        let (space, mut query) = (CodeSpace::new(&codes), CodeQuery::default());
        codes.layout.query(&[7.0; 3], &mut query);
        let distances: Vec<f32> = (0..3).map(|row| space.distance(&query, row)).collect();
        assert!(distances.iter().all(|d| d.is_finite() && *d == distances[0]), "{distances:?}");
        assert!(Codes::of(Geometry::Sum, 3, &[7.0; 9]).is_none());
        for geometry in [Geometry::Squares, Geometry::Product] {
            let scale = Layout::fit(geometry, 3, vec![3e38, -3e38, 1.0]).unwrap().scale;
            assert!(scale.step.is_finite() && scale.low.is_finite() && scale.middle().is_finite());
            assert_eq!((scale.code(3e38), scale.code(-3e38)), (255, 0));
        }
    }
}
