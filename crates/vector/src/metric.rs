//! What is near: the metrics, and the few geometries that they come down to.
//!
//! A vector is *prepared* once, when it comes in; then all work is done in its geometry, where less is nearer, and only
//! what leaves the engine is turned into the metric's own distance.
//!
//! | metric | prepared | geometry | distance of `g` |
//! |---|---|---|---|
//! | L2 | as it is | squared differences | sqrt(g) |
//! | cosine | to length 1 | negative product | 1 + g |
//! | Pearson | less its mean, to length 1 | negative product | 1 + g |
//! | inner product | as it is | negative product | g |
//! | Manhattan | as it is | sum of differences | g |
//! | Chebyshev | as it is | largest difference | g |
//! | Hamming | packed bits | bits that differ | g |
//! | Jaccard | packed bits | share of bits | g |

use crate::kernels::{Floats, Kernels};
use crate::{Error, Result};

/// A distance between two vectors. Less is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Euclidean distance, `sqrt(sum((a - b)^2))`; pgvector's `<->`.
    L2,
    /// `1 - a.b / (|a| |b|)`, from 0 to 2; pgvector's `<=>`. A vector of zeros has none.
    Cosine,
    /// The negative inner product, `-a.b`; pgvector's `<#>`. No metric in the mathematical sense.
    InnerProduct,
    /// Taxicab distance, `sum(|a - b|)`; pgvector's `<+>`.
    Manhattan,
    /// `max(|a - b|)`; scipy's `chebyshev`.
    Chebyshev,
    /// `1 - r` with Pearson's correlation `r` of the two, from 0 to 2; scipy's `correlation`. A vector whose numbers are
    /// all equal has none.
    Pearson,
    /// How many bits differ; pgvector's `<~>`.
    Hamming,
    /// `1 - |a and b| / |a or b|`, 0 if both are empty; pgvector's `<%>`.
    Jaccard,
}

/// In what a distance is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// `sum((a - b)^2)`
    Squares,
    /// `-a.b`
    Product,
    /// `sum(|a - b|)`
    Sum,
    /// `max(|a - b|)`
    Largest,
    /// Bits that differ.
    Bits,
    /// `1 -` bits that both have `/` bits that one has.
    Share,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::L2,
        Self::Cosine,
        Self::InnerProduct,
        Self::Manhattan,
        Self::Chebyshev,
        Self::Pearson,
        Self::Hamming,
        Self::Jaccard,
    ];

    /// In what it is computed.
    #[must_use]
    pub const fn geometry(self) -> Geometry {
        match self {
            Self::L2 => Geometry::Squares,
            Self::Cosine | Self::Pearson | Self::InnerProduct => Geometry::Product,
            Self::Manhattan => Geometry::Sum,
            Self::Chebyshev => Geometry::Largest,
            Self::Hamming => Geometry::Bits,
            Self::Jaccard => Geometry::Share,
        }
    }

    /// The metric's distance, from that of its geometry.
    #[must_use]
    pub fn distance(self, geometric: f32) -> f32 {
        match self {
            Self::L2 => geometric.max(0.0).sqrt(),
            Self::Cosine | Self::Pearson => (1.0 + geometric).clamp(0.0, 2.0),
            Self::InnerProduct | Self::Manhattan | Self::Chebyshev | Self::Hamming | Self::Jaccard => geometric,
        }
    }

    /// Whether it is over packed bits.
    #[must_use]
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::Hamming | Self::Jaccard)
    }

    /// Brings a vector of numbers into the form in which it is stored and compared.
    ///
    /// # Errors
    /// `Invalid` if a number is not finite, or the vector has no direction where the metric needs one.
    pub fn prepare(self, vector: &mut [f32]) -> Result<()> {
        if let Some(at) = vector.iter().position(|v| !v.is_finite()) {
            return Err(Error::invalid(format!("element {at} of the vector is not a finite number")));
        }
        match self {
            Self::Pearson => {
                let mean = vector.iter().map(|v| f64::from(*v)).sum::<f64>() / vector.len().max(1) as f64;
                vector.iter_mut().for_each(|v| *v = (f64::from(*v) - mean) as f32);
                to_unit_length(vector, "all elements of the vector are equal, so that it has no correlation")
            }
            Self::Cosine => to_unit_length(vector, "the vector is zero, so that it has no direction"),
            _ => Ok(()),
        }
    }
}

/// Squares are summed in double precision: of tiny and of huge numbers, too, there is a length.
fn to_unit_length(vector: &mut [f32], why: &str) -> Result<()> {
    let length = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
    if length == 0.0 {
        return Err(Error::invalid(why));
    }
    vector.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
    Ok(())
}

impl Geometry {
    /// The distance of a prepared vector and a row of the same length, of whatever numbers; NaN in the geometries of
    /// packed bits.
    #[must_use]
    pub fn between<T>(self, floats: &Floats<T>, a: &[f32], b: &[T]) -> f32 {
        match self {
            Self::Squares => (floats.squares)(a, b),
            Self::Product => -(floats.product)(a, b),
            Self::Sum => (floats.sum)(a, b),
            Self::Largest => (floats.largest)(a, b),
            Self::Bits | Self::Share => f32::NAN,
        }
    }

    /// The distance of two rows of packed bits of the same length; NaN in the geometries of numbers.
    #[must_use]
    pub fn between_bits(self, kernels: &Kernels, a: &[u8], b: &[u8]) -> f32 {
        match self {
            Self::Share => {
                let (both, either) = (kernels.shared)(a, b);
                if either == 0 { 0.0 } else { 1.0 - both as f32 / either as f32 }
            }
            Self::Bits => (kernels.differing)(a, b) as f32,
            Self::Squares | Self::Product | Self::Sum | Self::Largest => f32::NAN,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests")]
mod tests {
    use super::*;
    use crate::kernels;

    fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
        let (mut a, mut b) = (a.to_vec(), b.to_vec());
        metric.prepare(&mut a).unwrap();
        metric.prepare(&mut b).unwrap();
        metric.distance(metric.geometry().between(&kernels::best().f32, &a, &b))
    }

    /// Computed by the definitions, in double precision, with another program.
    #[test]
    fn distances_are_those_of_the_definitions() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [2.0, -1.0, 0.5, 4.0]);
        let close = |metric, wanted: f32| {
            let found = distance(metric, &a, &b);
            assert!((found - wanted).abs() < 1e-5, "{metric:?}: {found} and not {wanted}");
        };
        close(Metric::L2, 4.031_129);
        close(Metric::Cosine, 0.306_897);
        close(Metric::InnerProduct, -17.5);
        close(Metric::Manhattan, 6.5);
        close(Metric::Chebyshev, 3.0);
        close(Metric::Pearson, 0.546_702);
        let bits = |metric: Metric| metric.geometry().between_bits(kernels::best(), &[0b1100, 1], &[0b1010, 1]);
        assert_eq!(bits(Metric::Hamming), 2.0);
        assert_eq!(bits(Metric::Jaccard), 0.5);
    }

    #[test]
    fn what_has_no_distance_is_refused() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(Metric::L2.prepare(&mut [0.0, bad]).is_err());
        }
        assert!(Metric::Cosine.prepare(&mut [0.0, -0.0]).is_err());
        assert!(Metric::Pearson.prepare(&mut [7.5, 7.5, 7.5]).is_err());
        assert!(Metric::L2.prepare(&mut [0.0, 0.0]).is_ok());
        let mut tiny = [1e-30, 0.0];
        Metric::Cosine.prepare(&mut tiny).unwrap();
        assert_eq!(tiny, [1.0, 0.0]);
    }
}
