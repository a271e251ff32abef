//! Eight bits a number: what graphs are searched by, before the few best are compared exactly.
//!
//! A number `x` becomes `c = round((x - low) / step)`, with one `low` and one `step` for all of a part, so that
//! distances of codes are distances of vectors but for the factor. With `u = c - 128` of a stored vector and `v` of the
//! other one:
//!
//! ```text
//!  sum((u - v)^2)         = sum(u^2) - 2 sum(u v) + sum(v^2)
//!  -sum((m + u) (m + v))  = -m sum(u) - sum(u v) + ...         m = (low + 128 step) / step
//!  sum(u v)               = sum(c v) - 128 sum(v)
//! ```
//!
//! What depends on `v` alone does not change the order. So a distance is `term[row] - factor * sum(c v)`: one product of
//! unsigned and signed bytes, and one number that is stored with the code.

use crate::Geometry;
use crate::graph::Space;
use crate::kernels::Kernels;

/// Which share of the numbers on each side is cut off, so that a few outliers do not make all others coarse.
const CUT: f64 = 0.0005;
/// How many numbers the bounds are taken from.
const SAMPLED: usize = 200_000;

/// How numbers become codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f32,
    step: f32,
}

impl Scale {
    /// Bounds for these numbers.
    #[must_use]
    pub fn fit(values: &[f32]) -> Self {
        let stride = (values.len() / SAMPLED).max(1);
        // An odd stride meets all columns of a matrix.
        let mut sample: Vec<f32> = values.iter().step_by(stride | 1).copied().collect();
        sample.sort_unstable_by(f32::total_cmp);
        let cut = (sample.len() as f64 * CUT) as usize;
        let low = sample.get(cut).copied().unwrap_or(0.0);
        let high = sample.len().checked_sub(cut + 1).and_then(|at| sample.get(at)).copied().unwrap_or(0.0);
        Self { low, step: ((high - low) / 255.0).max(f32::MIN_POSITIVE) }
    }

    fn code(self, x: f32) -> u8 {
        ((x - self.low) / self.step).round().clamp(0.0, 255.0) as u8
    }

    /// The signed codes of a vector that others are compared with.
    pub fn query(self, vector: &[f32], codes: &mut Vec<i8>) {
        codes.clear();
        codes.extend(vector.iter().map(|x| (self.code(*x) ^ 0x80).cast_signed()));
    }
}

/// The codes of many vectors.
#[derive(Clone, Debug)]
pub struct Codes {
    scale: Scale,
    dimension: usize,
    /// From one row to the next, so that each begins on a line of the cache.
    stride: usize,
    bytes: Vec<u8>,
    terms: Vec<f32>,
    factor: f32,
    /// `m` of the formula, for products; 0 for squares.
    middle: f32,
}

/// Bytes of a line of the cache.
const LINE: usize = 64;

impl Codes {
    /// Codes of the rows of a matrix, for one of the two geometries that have them.
    #[must_use]
    pub fn of(geometry: Geometry, dimension: usize, rows: &[f32]) -> Option<Self> {
        let (factor, is_product) = match geometry {
            Geometry::Squares => (2.0, false),
            Geometry::Product => (1.0, true),
            _ => return None,
        };
        let scale = Scale::fit(rows);
        let middle = if is_product { scale.low / scale.step + 128.0 } else { 0.0 };
        let stride = dimension.next_multiple_of(LINE);
        let count = rows.len() / dimension.max(1);
        let (bytes, terms) = (Vec::with_capacity(count * stride), Vec::with_capacity(count));
        let mut codes = Self { scale, dimension, stride, bytes, terms, factor, middle };
        rows.chunks_exact(dimension.max(1)).for_each(|row| codes.push(row, is_product));
        Some(codes)
    }

    fn push(&mut self, row: &[f32], is_product: bool) {
        let (mut sum, mut squares) = (0_i64, 0_i64);
        for x in row {
            let code = self.scale.code(*x);
            let u = i64::from(code) - 128;
            sum += u;
            squares += u * u;
            self.bytes.push(code);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(self.stride), 0);
        self.terms.push(if is_product { -self.middle * sum as f32 } else { squares as f32 });
    }

    /// How numbers became these codes.
    #[must_use]
    pub const fn scale(&self) -> Scale {
        self.scale
    }

    /// How many vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    fn code(&self, row: u32) -> &[u8] {
        let start = row as usize * self.stride;
        self.bytes.get(start..start + self.dimension).unwrap_or_default()
    }

    /// About how far a row is from a query, in units of its own.
    #[must_use]
    pub fn distance(&self, kernels: &Kernels, query: &[i8], row: u32) -> f32 {
        let term = self.terms.get(row as usize).copied().unwrap_or(f32::INFINITY);
        term - self.factor * (kernels.code_product)(self.code(row), query) as f32
    }

    /// What makes a row the query.
    pub fn as_query(&self, row: u32, query: &mut Vec<i8>) {
        query.clear();
        query.extend(self.code(row).iter().map(|code| (code ^ 0x80).cast_signed()));
    }

    /// Asks the processor to bring a row closer.
    pub fn prefetch(&self, row: u32) {
        crate::kernels::prefetch(self.code(row));
    }
}

/// Codes as the place of a graph's nodes.
#[derive(Clone, Copy, Debug)]
pub struct CodeSpace<'c> {
    codes: &'c Codes,
    kernels: &'static Kernels,
}

impl<'c> CodeSpace<'c> {
    /// The rows of `codes`.
    #[must_use]
    pub fn new(codes: &'c Codes) -> Self {
        Self { codes, kernels: crate::kernels::best() }
    }
}

impl Space for CodeSpace<'_> {
    type Query = Vec<i8>;

    fn len(&self) -> usize {
        self.codes.len()
    }

    fn distance(&self, query: &Vec<i8>, node: u32) -> f32 {
        self.codes.distance(self.kernels, query, node)
    }

    fn as_query(&self, node: u32, query: &mut Vec<i8>) {
        self.codes.as_query(node, query);
    }

    fn no_query(&self) -> Vec<i8> {
        Vec::new()
    }

    fn prefetch(&self, node: u32) {
        self.codes.prefetch(node);
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
        for (metric, shift) in
            [(Metric::L2, 1.0), (Metric::L2, -4.0), (Metric::InnerProduct, 0.4), (Metric::Cosine, 0.9)]
        {
            let dimension = 70;
            let mut rows = vectors(400, dimension, shift);
            rows.chunks_exact_mut(dimension).for_each(|row| metric.prepare(row).unwrap());
            let codes = Codes::of(metric.geometry(), dimension, &rows).unwrap();
            let kernels = kernels::best();
            let query = &rows[..dimension];
            let mut signed = Vec::new();
            codes.scale().query(query, &mut signed);
            let exact =
                |row: usize| metric.geometry().between(kernels, query, &rows[row * dimension..(row + 1) * dimension]);
            let mut by_code: Vec<u32> = (0..400).collect();
            by_code
                .sort_by(|a, b| codes.distance(kernels, &signed, *a).total_cmp(&codes.distance(kernels, &signed, *b)));
            let mut by_distance: Vec<u32> = (0..400).collect();
            by_distance.sort_by(|a, b| exact(*a as usize).total_cmp(&exact(*b as usize)));
            let found = by_distance[..20].iter().filter(|row| by_code[..24].contains(row)).count();
            assert!(found >= 19, "{metric:?}: {found} of 20");
        }
    }

    #[test]
    fn numbers_that_are_all_the_same_have_codes_too() {
        let codes = Codes::of(Geometry::Squares, 3, &[7.0; 9]).unwrap();
        let mut query = Vec::new();
        codes.scale().query(&[7.0; 3], &mut query);
        let distances: Vec<f32> = (0..3).map(|row| codes.distance(kernels::best(), &query, row)).collect();
        assert!(distances.iter().all(|d| d.is_finite() && *d == distances[0]), "{distances:?}");
        assert!(Codes::of(Geometry::Sum, 3, &[7.0; 9]).is_none());
    }
}
