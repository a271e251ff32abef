//! What all vectors of a collection have in common, and how they lie in memory and on disk.

use crate::kernels::Kernels;
use crate::{Error, Geometry, Metric, Result};
use half::f16;

/// What a vector is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floating-point numbers.
    F32,
    /// 16-bit floating-point numbers, IEEE 754 binary16.
    F16,
    /// Whole numbers from -128 to 127.
    I8,
    /// Bits, eight in a byte, the lowest first.
    Bits,
}

/// A vector as the caller has it.
#[derive(Clone, Copy, Debug)]
pub enum Vector<'v> {
    /// 32-bit floating-point numbers.
    F32(&'v [f32]),
    /// 16-bit floating-point numbers, by their bits.
    F16(&'v [u16]),
    /// Whole numbers from -128 to 127.
    I8(&'v [i8]),
    /// Packed bits: bit `i` is bit `i % 8`, the lowest first, of byte `i / 8`. Bits behind the last are zero.
    Bits(&'v [u8]),
}

impl<'v> From<&'v [f32]> for Vector<'v> {
    fn from(numbers: &'v [f32]) -> Self {
        Self::F32(numbers)
    }
}

/// Metric, element and dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What is near.
    pub metric: Metric,
    /// What a vector is made of.
    pub element: Element,
    /// How many numbers or bits a vector has: 1 to [`Shape::MOST_DIMENSIONS`].
    pub dimension: usize,
}

/// A vector that others are compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Prepared numbers.
    Numbers(Vec<f32>),
    /// Packed bits.
    Bits(Vec<u8>),
}

impl Query {
    /// Its numbers; none of bits.
    #[must_use]
    pub fn numbers(&self) -> &[f32] {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Bits(_) => &[],
        }
    }
}

/// A row: a stored vector, and the factor that it is multiplied by where the metric wants a length of 1 and the element
/// cannot hold one.
#[derive(Clone, Copy, Debug)]
pub struct Row<'r> {
    /// As many as [`Shape::row_bytes`] says, at an address that is a multiple of the element's size.
    pub bytes: &'r [u8],
    /// 1 where [`Shape::has_factors`] says no.
    pub factor: f32,
}

impl Shape {
    /// More would overflow the sums of codes.
    pub const MOST_DIMENSIONS: usize = 65_536;

    /// Whether there can be such vectors.
    ///
    /// # Errors
    /// `Invalid` for a dimension out of range, or a metric of bits over numbers or of numbers over bits.
    pub fn check(&self) -> Result<()> {
        if !(1..=Self::MOST_DIMENSIONS).contains(&self.dimension) {
            let most = Self::MOST_DIMENSIONS;
            return Err(Error::invalid(format!("{} dimensions, which must be 1 to {most}", self.dimension)));
        }
        if self.metric.is_binary() != (self.element == Element::Bits) {
            return Err(Error::invalid(format!("{:?} distance over {:?} elements", self.metric, self.element)));
        }
        Ok(())
    }

    /// Bytes of a stored vector.
    #[must_use]
    pub const fn row_bytes(&self) -> usize {
        match self.element {
            Element::F32 => 4 * self.dimension,
            Element::F16 => 2 * self.dimension,
            Element::I8 => self.dimension,
            Element::Bits => self.dimension.div_ceil(8),
        }
    }

    /// Whether rows have a factor: vectors of few bits are stored as they came, so that nothing is rounded.
    #[must_use]
    pub const fn has_factors(&self) -> bool {
        matches!(self.element, Element::F16 | Element::I8) && matches!(self.metric, Metric::Cosine | Metric::Pearson)
    }

    /// In what distances are computed.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.metric.geometry()
    }

    /// Appends a vector to rows; its factor.
    ///
    /// # Errors
    /// `Invalid` if it has another element or dimension, a number that is not finite, bits behind the last, or no
    /// direction where the metric needs one. Nothing is appended then.
    pub fn append(&self, vector: Vector<'_>, rows: &mut Vec<u8>) -> Result<f32> {
        match (self.element, vector) {
            (Element::F32, Vector::F32(_)) | (Element::Bits, Vector::Bits(_)) => match self.query(vector)? {
                Query::Numbers(numbers) => rows.extend_from_slice(bytemuck::cast_slice(&numbers)),
                Query::Bits(bits) => rows.extend_from_slice(&bits),
            },
            (Element::F16, Vector::F16(halves)) => {
                let factor = self.factor(vector)?;
                rows.extend_from_slice(bytemuck::cast_slice(halves));
                return Ok(factor);
            }
            (Element::I8, Vector::I8(bytes)) => {
                let factor = self.factor(vector)?;
                rows.extend_from_slice(bytemuck::cast_slice(bytes));
                return Ok(factor);
            }
            (Element::F16, Vector::F32(numbers)) => {
                let halves: Vec<u16> = numbers.iter().map(|x| f16::from_f32(*x).to_bits()).collect();
                return self.append(Vector::F16(&halves), rows);
            }
            _ => return Err(Error::invalid(format!("a vector of other elements than {:?}", self.element))),
        }
        Ok(1.0)
    }

    /// What brings a vector to a length of 1 once its mean is taken off.
    fn factor(&self, vector: Vector<'_>) -> Result<f32> {
        self.query(vector)?;
        if !self.has_factors() {
            return Ok(1.0);
        }
        let numbers = numbers(vector);
        let mean = if self.metric == Metric::Pearson { mean(&numbers) } else { 0.0 };
        let squares = numbers.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
        Ok((1.0 / squares.sqrt()) as f32)
    }

    /// Makes a vector ready to be compared with rows. It may be of other numbers than they are.
    ///
    /// # Errors
    /// As [`Shape::append`].
    pub fn query(&self, vector: Vector<'_>) -> Result<Query> {
        if let Vector::Bits(bits) = vector {
            return self.bits(bits);
        }
        let mut numbers = numbers(vector);
        if self.element == Element::Bits {
            return Err(Error::invalid("a vector of numbers among vectors of bits"));
        }
        self.check_dimension(numbers.len())?;
        self.metric.prepare(&mut numbers)?;
        Ok(Query::Numbers(numbers))
    }

    fn bits(&self, bits: &[u8]) -> Result<Query> {
        if self.element != Element::Bits {
            return Err(Error::invalid("a vector of bits among vectors of numbers"));
        }
        if bits.len() != self.row_bytes() {
            return self.check_dimension(bits.len() * 8).map(|()| Query::Bits(Vec::new()));
        }
        let used = self.dimension % 8;
        if used != 0 && bits.last().is_some_and(|last| last >> used != 0) {
            return Err(Error::invalid(format!("a vector with bits behind the last of its {}", self.dimension)));
        }
        Ok(Query::Bits(bits.to_vec()))
    }

    fn check_dimension(&self, found: usize) -> Result<()> {
        if found == self.dimension {
            return Ok(());
        }
        Err(Error::invalid(format!("a vector of {found} dimensions where there are {}", self.dimension)))
    }

    /// The distance in this shape's geometry; less is nearer. NaN if the row is not one of this shape.
    #[must_use]
    pub fn distance(&self, kernels: &Kernels, query: &Query, row: Row<'_>) -> f32 {
        let geometry = self.metric.geometry();
        match (self.element, query) {
            (Element::F32, Query::Numbers(q)) => geometry.between(&kernels.f32, q, words(row.bytes)),
            (Element::F16, Query::Numbers(q)) => row.factor * geometry.between(&kernels.f16, q, words(row.bytes)),
            (Element::I8, Query::Numbers(q)) => row.factor * geometry.between(&kernels.i8, q, words(row.bytes)),
            (Element::Bits, Query::Bits(q)) => geometry.between_bits(kernels, q, row.bytes),
            _ => f32::NAN,
        }
    }

    /// The distances of rows that lie side by side, with their factors, each as [`Shape::distance`] gives it.
    pub fn distances(&self, kernels: &Kernels, query: &Query, (rows, factors): (&[u8], &[f32]), out: &mut Vec<f32>) {
        out.clear();
        let bytes = self.row_bytes().max(1);
        // Most vectors are of this kind: what to do is found out once, not for each row.
        if let (Element::F32, Query::Numbers(query)) = (self.element, query) {
            let (geometry, numbers) = (self.geometry(), words::<f32>(rows));
            let each = numbers.chunks_exact(bytes / 4);
            return out.extend(each.map(|row| geometry.between(&kernels.f32, query, row)));
        }
        let rows = rows.chunks_exact(bytes).zip(factors);
        out.extend(rows.map(|(bytes, factor)| self.distance(kernels, query, Row { bytes, factor: *factor })));
    }

    /// A row as a vector that others are compared with.
    pub fn as_query(&self, row: Row<'_>, query: &mut Query) {
        match query {
            Query::Numbers(numbers) if self.element != Element::Bits => self.decode(row, numbers),
            Query::Bits(bits) if self.element == Element::Bits => {
                bits.clear();
                bits.extend_from_slice(row.bytes);
            }
            _ => *query = self.no_query(),
        }
    }

    /// An empty query, for [`Shape::as_query`].
    #[must_use]
    pub const fn no_query(&self) -> Query {
        match self.element {
            Element::Bits => Query::Bits(Vec::new()),
            _ => Query::Numbers(Vec::new()),
        }
    }

    /// A row's numbers, prepared; none of a row of bits.
    pub fn decode(&self, row: Row<'_>, numbers: &mut Vec<f32>) {
        numbers.clear();
        match self.element {
            Element::F32 => numbers.extend_from_slice(words(row.bytes)),
            Element::F16 => numbers.extend(words(row.bytes).iter().map(|x| f16::from_bits(*x).to_f32())),
            Element::I8 => numbers.extend(words::<i8>(row.bytes).iter().map(|x| f32::from(*x))),
            Element::Bits => {}
        }
        if !self.has_factors() {
            return;
        }
        let mean = if self.metric == Metric::Pearson { mean(numbers) as f32 } else { 0.0 };
        numbers.iter_mut().for_each(|x| *x = (*x - mean) * row.factor);
    }
}

/// Bytes as numbers; none if they do not lie or end as those must.
fn words<T: bytemuck::Pod>(bytes: &[u8]) -> &[T] {
    bytemuck::try_cast_slice(bytes).unwrap_or_default()
}

fn numbers(vector: Vector<'_>) -> Vec<f32> {
    match vector {
        Vector::F32(numbers) => numbers.to_vec(),
        Vector::F16(halves) => halves.iter().map(|x| f16::from_bits(*x).to_f32()).collect(),
        Vector::I8(bytes) => bytes.iter().map(|x| f32::from(*x)).collect(),
        Vector::Bits(_) => Vec::new(),
    }
}

fn mean(numbers: &[f32]) -> f64 {
    numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / numbers.len().max(1) as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::kernels;

    fn between(shape: Shape, a: Vector<'_>, b: Vector<'_>) -> f32 {
        let mut rows = Vec::new();
        let factor = shape.append(b, &mut rows).unwrap();
        // An address that suits every element.
        let pages = nodedb_env::Pages::copy(&rows).unwrap();
        let row = Row { bytes: &pages, factor };
        let (mut back, query) = (shape.no_query(), shape.query(a).unwrap());
        shape.as_query(row, &mut back);
        let (there, self_distance) =
            (shape.distance(kernels::best(), &query, row), shape.distance(kernels::best(), &back, row));
        let own = shape.metric.distance(self_distance);
        assert!(shape.metric == Metric::InnerProduct || own.abs() < 1e-3, "{shape:?}: {own} from itself");
        shape.metric.distance(there)
    }

    /// The same whole numbers give the same distances, whatever they are stored as.
    #[test]
    fn elements_agree() {
        let (a, b) = ([1_i8, -7, 30, 4, 9], [2_i8, 5, -3, 100, 0]);
        let wide = |v: &[i8]| v.iter().map(|x| f32::from(*x)).collect::<Vec<_>>();
        let half = |v: &[i8]| v.iter().map(|x| f16::from_f32(f32::from(*x)).to_bits()).collect::<Vec<_>>();
        for metric in Metric::ALL.into_iter().filter(|metric| !metric.is_binary()) {
            let shape = |element| Shape { metric, element, dimension: 5 };
            let wanted = between(shape(Element::F32), Vector::F32(&wide(&a)), Vector::F32(&wide(&b)));
            let halves = between(shape(Element::F16), Vector::F16(&half(&a)), Vector::F16(&half(&b)));
            let bytes = between(shape(Element::I8), Vector::F32(&wide(&a)), Vector::I8(&b));
            for found in [halves, bytes] {
                assert!((found - wanted).abs() <= 1e-5 * wanted.abs().max(1.0), "{metric:?}: {found}, not {wanted}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let l2 = Shape { metric: Metric::L2, element: Element::F32, dimension: 3 };
        let bits = Shape { metric: Metric::Hamming, element: Element::Bits, dimension: 11 };
        let mut rows = Vec::new();
        for bad in [Vector::F32(&[1.0; 2]), Vector::F32(&[f32::NAN; 3]), Vector::Bits(&[1]), Vector::I8(&[1; 3])] {
            assert!(l2.append(bad, &mut rows).is_err());
        }
        for bad in [Vector::Bits(&[1]), Vector::Bits(&[0, 8]), Vector::F32(&[1.0; 11])] {
            assert!(bits.append(bad, &mut rows).is_err());
        }
        assert!(rows.is_empty());
        assert!(bits.append(Vector::Bits(&[255, 7]), &mut rows).is_ok());
        let cosine = Shape { metric: Metric::Cosine, element: Element::I8, dimension: 3 };
        assert!(cosine.append(Vector::I8(&[0; 3]), &mut rows).is_err());
        assert!(Shape { dimension: 0, ..l2 }.check().is_err());
        assert!(Shape { metric: Metric::Jaccard, ..l2 }.check().is_err());
        assert!(l2.check().is_ok() && bits.check().is_ok());
    }
}
