//! Below what a distance cannot be, from eight bits a number: most rows of an exact scan are passed over without being
//! read.
//!
//! Each row, and the query, has a scale of its own: `x = s c + e` with whole `c` from -127 to 127, and the length of `e` is
//! known. So of the product of a query `q` and a row `x`, by Cauchy and Schwarz,
//!
//! ```text
//! |x q - s_x s_q c_x c_q|  =  |(s_x c_x) e_q + e_x q|  <=  (|x| + |e_x|) |e_q| + |e_x| |q|
//! ```
//!
//! and of squared differences by way of `|x|^2 + |q|^2 - 2 x q`. What the kernels may be off by in adding up is taken off,
//! too: `n / 2^22` of the lengths for `n` numbers.

use crate::kernels::Kernels;
use crate::shape::{Element, Query, Shape};
use crate::{Error, Geometry, Result};
use nodedb_env::Pages;

/// Added and taken away again, it leaves the nearest whole number: IEEE 754 has no bits for more in between.
const ROUNDS: f32 = 12_582_912.0;
/// What the length of an error may be off by itself.
const MARGIN: f32 = 1.0 + 1.0 / 1024.0;

/// The codes of some rows, and what these are off by.
#[derive(Debug)]
pub struct Bounds {
    dimension: usize,
    is_product: bool,
    codes: Pages,
    scales: Vec<f32>,
    errors: Vec<f32>,
    lengths: Vec<f32>,
}

/// What [`Bounds::lowers`] works in, and its result.
#[derive(Debug, Default)]
pub struct Lowers {
    products: Vec<i32>,
    /// For each row at most its distance.
    pub all: Vec<f32>,
}

/// Of a vector and its code.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    scale: f32,
    error: f32,
    length: f32,
}

/// A vector that is compared with codes.
#[derive(Debug)]
pub struct BoundQuery {
    codes: Vec<i8>,
    /// What the product has too much, as codes of rows are stored 128 too high.
    shift: i32,
    facts: Facts,
    /// What adding up may be off by, as a share of the lengths.
    slack: f32,
}

impl Bounds {
    /// For so many rows; `None` where the shape has no bounds, or they would save nothing.
    ///
    /// # Errors
    /// `Io` if there is no memory.
    pub fn new(shape: Shape, capacity: usize) -> Result<Option<Self>> {
        let is_product = match (shape.element, shape.geometry()) {
            (Element::F32, Geometry::Product) => true,
            (Element::F32, Geometry::Squares) => false,
            _ => return Ok(None),
        };
        let codes = Pages::new(capacity * shape.dimension);
        let codes = codes.map_err(|e| Error::Io("no memory for codes".to_owned(), e))?;
        let [scales, errors, lengths] = [(); 3].map(|()| Vec::with_capacity(capacity));
        Ok(Some(Self { dimension: shape.dimension, is_product, codes, scales, errors, lengths }))
    }

    /// Adds a row.
    pub fn push(&mut self, row: &[f32]) {
        let start = self.scales.len() * self.dimension;
        if let Some(place) = self.codes.get_mut(start..start + self.dimension) {
            let facts = Facts::of(row, |at, code| {
                if let Some(place) = place.get_mut(at) {
                    *place = (code as i32 + 128) as u8;
                }
            });
            self.scales.push(facts.scale);
            self.errors.push(facts.error);
            self.lengths.push(facts.length);
        }
    }

    /// For each row at most its distance; minus infinity for numbers that are too large for this.
    pub fn lowers(&self, kernels: &Kernels, query: &BoundQuery, out: &mut Lowers) {
        let Lowers { products, all } = out;
        products.clear();
        products.resize(self.scales.len(), 0);
        (kernels.code_products)(&self.codes, &query.codes, products);
        let (facts, slack) = (query.facts, query.slack);
        let own = facts.length * facts.length;
        let rows = products.iter().zip(&self.scales).zip(&self.errors).zip(&self.lengths);
        let most = |product: &i32, scale: &f32, error: &f32, length: &f32| {
            let off = (length + error) * facts.error + error * facts.length;
            product.wrapping_sub(query.shift) as f32 * (scale * facts.scale) + off
        };
        // Where something was too large for the numbers, nothing is known.
        let possible = |lower: f32| if lower < f32::INFINITY { lower } else { f32::NEG_INFINITY };
        all.clear();
        if self.is_product {
            all.extend(rows.map(|(((product, scale), error), length)| {
                possible(-most(product, scale, error, length) - slack * facts.length * length)
            }));
        } else {
            all.extend(rows.map(|(((product, scale), error), length)| {
                possible((length * length + own) * (1.0 - slack) - 2.0 * most(product, scale, error, length))
            }));
        }
    }
}

impl BoundQuery {
    /// A query to be compared with the rows of [`Bounds`]; `None` of bits.
    pub fn new(query: &Query) -> Option<Self> {
        let Query::Numbers(numbers) = query else { return None };
        let mut codes = Vec::with_capacity(numbers.len());
        let facts = Facts::of(numbers, |_, code| codes.push(code as i8));
        let shift = 128 * codes.iter().map(|code| i32::from(*code)).sum::<i32>();
        let slack = numbers.len().max(16) as f32 / (1 << 22) as f32;
        Some(Self { codes, shift, facts, slack })
    }
}

impl Facts {
    /// Makes the code of a vector, number by number.
    fn of(vector: &[f32], mut put: impl FnMut(usize, f32)) -> Self {
        let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
        let (mut errors, mut squares) = (0.0_f32, 0.0_f32);
        for (at, x) in vector.iter().enumerate() {
            let code = (x / scale + ROUNDS) - ROUNDS;
            put(at, code);
            let error = x - code * scale;
            errors += error * error;
            squares += x * x;
        }
        // Squares of tiny numbers vanish: what they could have been is added.
        let lost = (vector.len() as f32).sqrt() * 1e-19;
        Self { scale, error: errors.sqrt() * MARGIN + lost, length: squares.sqrt() + lost }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Metric, kernels};
    use proptest::prelude::*;

    fn numbers(dimension: usize) -> impl Strategy<Value = Vec<f32>> {
        let number = prop_oneof![6 => -1.0_f32..1.0, 1 => -1e-20_f32..1e-20, 1 => Just(0.0_f32)];
        let size = prop_oneof![Just(1.0_f32), Just(1e-25), Just(1e19), Just(3e37)];
        (prop::collection::vec(number, dimension), size)
            .prop_map(|(numbers, size)| numbers.into_iter().map(|x| x * size).collect())
    }

    fn vectors() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        (1_usize..200).prop_flat_map(|dimension| (numbers(dimension), numbers(dimension)))
    }

    fn lower(metric: Metric, query: &[f32], row: &[f32]) -> (f32, f32) {
        let shape = Shape { metric, element: Element::F32, dimension: row.len() };
        let mut bounds = Bounds::new(shape, 1).unwrap().unwrap();
        bounds.push(row);
        let all = Query::Numbers(query.to_vec());
        let exact = metric.geometry().between(&kernels::best().f32, query, row);
        let mut lowers = Lowers::default();
        bounds.lowers(kernels::best(), &BoundQuery::new(&all).unwrap(), &mut lowers);
        assert_eq!(lowers.all.len(), 1);
        (lowers.all[0], exact)
    }

    proptest! {
        #[test]
        fn no_distance_is_below_its_bound((query, row) in vectors()) {
            for metric in [Metric::L2, Metric::InnerProduct] {
                let (lower, exact) = lower(metric, &query, &row);
                prop_assert!(exact.is_nan() || lower <= exact, "{metric:?}: {lower} above {exact}");
            }
        }
    }

    /// Its lengths have squares whose sum is too large, but its distance is not.
    #[test]
    fn where_numbers_are_too_large_nothing_is_passed_over() {
        let (lower, exact) = lower(Metric::L2, &[1.4e19, 0.0], &[1.1e19, 0.9e19]);
        assert!(exact.is_finite() && lower <= exact, "{lower} above {exact}");
    }

    #[test]
    fn bounds_are_close() {
        let row: Vec<f32> = (0..100).map(|i| (i as f32 * 0.7).sin() / 7.0).collect();
        let query: Vec<f32> = (0..100).map(|i| (i as f32 * 0.3).cos() / 7.0).collect();
        for metric in [Metric::L2, Metric::InnerProduct] {
            let (lower, exact) = lower(metric, &query, &row);
            assert!(lower > exact - 0.05, "{metric:?}: {lower} for {exact}");
        }
        let shape = Shape { metric: Metric::L2, element: Element::F32, dimension: 3 };
        assert!(Bounds::new(Shape { metric: Metric::Manhattan, ..shape }, 4).unwrap().is_none());
    }
}
