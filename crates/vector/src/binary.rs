//! Few bits a number: codes that take an eighth to a hundredth of the memory, with an estimate of the distance that is
//! right on average.
//!
//! Gao, Long: RaBitQ (2024), arXiv:2405.12497; Gao and others: Practical and Asymptotically Optimal Quantization of
//! High-Dimensional Vectors (2024), arXiv:2409.09913, for more than one bit. A vector less the centre of its part is
//! turned by a random rotation, so that its numbers are alike whatever they were, and each is cut to `b` bits. With `r`
//! the turned vector, `v` its code, `mid = (2^b - 1) / 2` and `x = v - mid`:
//!
//! ```text
//!  <r, q>      is estimated as  |r|^2 / <x, r> * <x, q>        without bias, since the error of x is at right angles
//!  |r - q|^2   =  |r|^2 + |q|^2 - 2 <r, q>
//!  -<c + r, q> =  -<c, q> - <r, q>                             c the centre
//! ```
//!
//! The query is turned, too, and cut to 8 bits. A code lies in planes: of each 64 numbers the lowest bits, then the next.

use crate::Geometry;
use crate::bytes::{Reader, Writer};
use crate::codes::{Codes, Coding};
use crate::graph::Space;
use crate::kernels::Kernels;
use crate::{Error, Result};
use nodedb_env::{Random, SeededRandom};

/// Numbers of a word of a plane.
const WORD: usize = 64;
/// How often signs are turned and numbers mixed.
const ROUNDS: usize = 4;
/// How many ways to cut a vector are tried, where it has more than one bit a number.
const CUTS: usize = 24;

/// A rotation that takes `n log n` steps: signs turned at random, and numbers mixed by Hadamard's transform, in turns.
#[derive(Clone, Debug, PartialEq)]
struct Rotation {
    padded: usize,
    /// 1 or -1, for each round.
    signs: Vec<f32>,
}

impl Rotation {
    fn new(dimension: usize, seed: u64) -> Self {
        let padded = dimension.next_multiple_of(WORD);
        let random = SeededRandom::new(seed);
        let sign = |_| if random.u64() >> 63 == 1 { -1.0 } else { 1.0 };
        Self { padded, signs: (0..ROUNDS * padded).map(sign).collect() }
    }

    /// Turns a vector; zeros are put behind it.
    fn turn(&self, vector: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.extend_from_slice(vector);
        out.resize(self.padded, 0.0);
        let block = 1 << self.padded.ilog2();
        for (round, signs) in self.signs.chunks_exact(self.padded).enumerate() {
            out.iter_mut().zip(signs).for_each(|(x, sign)| *x *= sign);
            // Where the transform does not reach over all, it is the beginning's and the end's turn.
            let start = if round % 2 == 0 { 0 } else { self.padded - block };
            hadamard(out.get_mut(start..start + block).unwrap_or_default());
        }
    }
}

fn hadamard(numbers: &mut [f32]) {
    let mut half = 1;
    while half < numbers.len() {
        for pair in numbers.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (numbers.len() as f32).sqrt();
    numbers.iter_mut().for_each(|x| *x *= scale);
}

/// How vectors become codes.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryLayout {
    bits: usize,
    is_product: bool,
    seed: u64,
    rotation: Rotation,
    centre: Vec<f32>,
}

impl BinaryLayout {
    /// For vectors around a centre, with 1 to 8 bits a number, in one of the two geometries that have codes.
    #[must_use]
    pub fn new(geometry: Geometry, bits: usize, centre: Vec<f32>, seed: u64) -> Option<Self> {
        let is_product = match geometry {
            Geometry::Squares => false,
            Geometry::Product => true,
            _ => return None,
        };
        let rotation = Rotation::new(centre.len(), seed);
        (1..=8).contains(&bits).then_some(Self { bits, is_product, seed, rotation, centre })
    }

    fn middle(&self) -> f32 {
        ((1 << self.bits) - 1) as f32 / 2.0
    }

    const fn plane_bytes(&self) -> usize {
        self.bits * self.rotation.padded / 8
    }

    /// The code of a turned vector that points most nearly where it does, and the product of the two.
    fn cut(&self, turned: &[f32]) -> (Vec<u8>, f32) {
        let largest = turned.iter().fold(0.0_f32, |most, x| most.max(x.abs())).max(f32::MIN_POSITIVE);
        let half = (1 << (self.bits - 1)) as f32;
        let most = 2.0 * half - 1.0;
        let at = |scale: f32| {
            let values: Vec<u8> = turned.iter().map(|x| (x * scale + half).floor().clamp(0.0, most) as u8).collect();
            let code = values.iter().map(|v| f32::from(*v) - self.middle());
            let (mut along, mut squares) = (0.0, 0.0);
            for (x, r) in code.zip(turned) {
                along += x * r;
                squares += x * x;
            }
            (values, along, along / squares.sqrt())
        };
        let tries = if self.bits == 1 { 1 } else { CUTS };
        // From all numbers within the bounds to most of them far beyond.
        let scales = (0..tries).map(|n| half / largest * (1.0 + n as f32 * 3.0 / CUTS as f32));
        let best = scales.map(at).max_by(|a, b| a.2.total_cmp(&b.2));
        best.map_or((Vec::new(), 0.0), |(values, along, _)| (values, along))
    }

    /// Makes a vector ready to be compared with codes.
    pub fn query(&self, vector: &[f32], query: &mut BinaryQuery) {
        let BinaryQuery { codes, scale, shift, offset, less, turned } = query;
        less.clear();
        if self.is_product {
            less.extend_from_slice(vector);
        } else {
            less.extend(vector.iter().zip(&self.centre).map(|(x, c)| x - c));
        }
        self.rotation.turn(less, turned);
        let largest = turned.iter().fold(0.0_f32, |most, x| most.max(x.abs())).max(f32::MIN_POSITIVE);
        *scale = largest / 127.0;
        codes.clear();
        codes.extend(turned.iter().map(|x| (x / *scale).round() as i8));
        *shift = self.middle() * codes.iter().map(|q| i32::from(*q)).sum::<i32>() as f32;
        *offset = if self.is_product {
            -vector.iter().zip(&self.centre).map(|(x, c)| x * c).sum::<f32>()
        } else {
            less.iter().map(|x| x * x).sum()
        };
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u8(self.bits as u8);
        out.u64(self.seed);
    }

    pub(crate) fn read(geometry: Geometry, centre: Vec<f32>, reader: &mut Reader<'_>) -> Result<Self> {
        let (bits, seed) = (usize::from(reader.u8()?), reader.u64()?);
        let layout = Self::new(geometry, bits, centre, seed);
        layout.ok_or_else(|| Error::damaged("binary codes of an impossible layout"))
    }

    pub(crate) fn centre(&self) -> &[f32] {
        &self.centre
    }
}

impl Coding for BinaryLayout {
    /// From one row to the next: the planes, and two numbers.
    fn stride(&self) -> usize {
        (self.plane_bytes() + 8).next_multiple_of(16)
    }

    fn encode(&self, vector: &[f32], place: &mut [u8]) {
        let less: Vec<f32> = vector.iter().zip(&self.centre).map(|(x, c)| x - c).collect();
        let mut turned = Vec::new();
        self.rotation.turn(&less, &mut turned);
        let squares: f32 = turned.iter().map(|x| x * x).sum();
        let (values, along) = self.cut(&turned);
        let words = place.chunks_exact_mut(8);
        for (n, word) in words.take(self.plane_bytes() / 8).enumerate() {
            let (some, plane) = (n / self.bits, n % self.bits);
            let values = values.get(some * WORD..(some + 1) * WORD).unwrap_or_default();
            let bits = values.iter().enumerate().fold(0_u64, |bits, (i, v)| bits | u64::from(v >> plane & 1) << i);
            word.copy_from_slice(&bits.to_le_bytes());
        }
        let factor = if along > 0.0 { squares / along } else { 0.0 };
        let tail = [squares, factor].map(f32::to_le_bytes);
        if let Some(place) = place.get_mut(self.plane_bytes()..self.plane_bytes() + 8) {
            place.copy_from_slice(tail.as_flattened());
        }
    }
}

/// A vector that codes are compared with.
#[derive(Clone, Debug, Default)]
pub struct BinaryQuery {
    codes: Vec<i8>,
    scale: f32,
    shift: f32,
    offset: f32,
    less: Vec<f32>,
    turned: Vec<f32>,
}

/// The codes of many vectors.
pub type BinaryCodes = Codes<BinaryLayout>;

/// Binary codes as the place of a graph's nodes. They are searched, not built on.
#[derive(Clone, Copy, Debug)]
pub struct BinarySpace<'c> {
    layout: &'c BinaryLayout,
    stride: usize,
    plane_bytes: usize,
    bytes: &'c [u8],
    kernels: &'static Kernels,
}

impl<'c> BinarySpace<'c> {
    /// The rows of `codes`.
    #[must_use]
    pub fn new(codes: &'c BinaryCodes) -> Self {
        let layout = &codes.layout;
        let (stride, plane_bytes) = (layout.stride(), layout.plane_bytes());
        Self { layout, stride, plane_bytes, bytes: codes.bytes(), kernels: crate::kernels::best() }
    }

    fn row(&self, row: u32) -> &'c [u8] {
        let start = row as usize * self.stride;
        self.bytes.get(start..start + self.stride).unwrap_or_default()
    }
}

impl Space for BinarySpace<'_> {
    type Query = BinaryQuery;

    fn len(&self) -> usize {
        self.bytes.len() / self.stride
    }

    #[inline]
    fn distance(&self, query: &BinaryQuery, node: u32) -> f32 {
        let (planes, tail) = self.row(node).split_at_checked(self.plane_bytes).unwrap_or_default();
        let Some((squares, rest)) = tail.split_first_chunk::<4>() else { return f32::INFINITY };
        let Some(factor) = rest.first_chunk::<4>() else { return f32::INFINITY };
        let (squares, factor) = (f32::from_le_bytes(*squares), f32::from_le_bytes(*factor));
        let sum = (self.kernels.plane_sum)(planes, &query.codes, self.layout.bits);
        let product = factor * query.scale * (sum as f32 - query.shift);
        if self.layout.is_product { query.offset - product } else { squares + query.offset - 2.0 * product }
    }

    /// Codes of few bits are no place to build on.
    fn as_query(&self, _: u32, query: &mut BinaryQuery) {
        query.codes.clear();
    }

    fn no_query(&self) -> BinaryQuery {
        BinaryQuery::default()
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        crate::kernels::prefetch(self.row(node));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::kernels;
    use crate::section::Section;

    fn vectors(count: usize, dimension: usize) -> Vec<Vec<f32>> {
        let random = SeededRandom::new(5);
        let number = |_| (0..4).map(|_| (random.u64() % 2000) as f32 / 1000.0 - 0.8).sum::<f32>();
        (0..count).map(|_| (0..dimension).map(number).collect()).collect()
    }

    #[test]
    fn a_rotation_keeps_lengths_and_angles() {
        for dimension in [1, 63, 64, 100, 384, 784] {
            let rows = vectors(2, dimension);
            let rotation = Rotation::new(dimension, 7);
            let (mut a, mut b) = (Vec::new(), Vec::new());
            rotation.turn(&rows[0], &mut a);
            rotation.turn(&rows[1], &mut b);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let size = dot(&rows[0], &rows[0]);
            assert!((dot(&a, &a) - size).abs() < 1e-3 * size, "{dimension}");
            assert!((dot(&a, &b) - dot(&rows[0], &rows[1])).abs() < 1e-2 * size, "{dimension}");
        }
    }

    /// The mean of the errors is about nothing, and they fall by half with each bit.
    #[test]
    fn estimates_have_no_bias() {
        let dimension = 200;
        let rows = vectors(300, dimension);
        let centre: Vec<f32> = (0..dimension).map(|i| rows.iter().map(|row| row[i]).sum::<f32>() / 300.0).collect();
        for geometry in [Geometry::Squares, Geometry::Product] {
            let mut last = f64::INFINITY;
            for bits in [1, 2, 4] {
                let layout = BinaryLayout::new(geometry, bits, centre.clone(), 3).unwrap();
                let mut bytes = vec![0; rows.len() * layout.stride()];
                rows.iter()
                    .zip(bytes.chunks_exact_mut(layout.stride()))
                    .for_each(|(row, place)| layout.encode(row, place));
                let codes = BinaryCodes::new(layout, Section::of(&bytes).unwrap()).unwrap();
                let (space, mut query) = (BinarySpace::new(&codes), BinaryQuery::default());
                let (mut sum, mut squares, mut size, mut count) = (0.0, 0.0, 0.0, 0.0);
                for (n, q) in rows.iter().enumerate().take(40) {
                    codes.layout.query(q, &mut query);
                    for (m, row) in rows.iter().enumerate().filter(|(m, _)| *m != n) {
                        let exact = f64::from(geometry.between(&kernels::best().f32, q, row));
                        let error = f64::from(space.distance(&query, m as u32)) - exact;
                        sum += error;
                        squares += error * error;
                        size += exact.abs();
                        count += 1.0;
                    }
                }
                let (bias, spread, size): (f64, f64, f64) = (sum / count, (squares / count).sqrt(), size / count);
                assert!(bias.abs() < 0.01 * size, "{geometry:?}, {bits} bits: {bias} of {size}");
                assert!(spread < 0.6 * last, "{geometry:?}, {bits} bits: {spread} after {last}");
                last = spread;
            }
        }
    }
}
