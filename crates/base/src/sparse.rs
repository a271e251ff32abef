//! Vectors with few numbers that are not zero, and strings of bits.

/// A vector of which only the numbers other than zero are kept.
#[derive(Clone, Debug, Default)]
pub struct SparseVector {
    /// How many numbers it has, zeros included.
    pub dimensions: u32,
    /// Where the numbers stand, from 0, ascending.
    pub indices: Vec<u32>,
    /// The numbers, none of them zero, infinite or NaN.
    pub values: Vec<f32>,
}

/// That of the bits of its numbers.
impl PartialEq for SparseVector {
    fn eq(&self, other: &Self) -> bool {
        let bits = |v: &Self| v.values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        self.dimensions == other.dimensions && self.indices == other.indices && bits(self) == bits(other)
    }
}

const LESS: u8 = 0;
const GREATER: u8 = 2;

impl SparseVector {
    /// Of all numbers, zeros included.
    #[must_use]
    pub fn of_dense(numbers: &[f32]) -> Self {
        let some = (0..).zip(numbers).filter(|(_, x)| **x != 0.0);
        let (indices, values) = some.map(|(at, x): (u32, &f32)| (at, *x)).unzip();
        Self { dimensions: u32::try_from(numbers.len()).unwrap_or(u32::MAX), indices, values }
    }

    /// Bytes whose order is that of the vectors: number by number, then by length. They are also how Arrow arrays have them.
    ///
    /// A number above zero is greater the earlier it comes, one below zero less; the end is less than any number.
    #[must_use]
    pub fn to_ordered_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 * (self.values.len() + 1));
        for (index, value) in self.indices.iter().zip(&self.values) {
            let place = if *value > 0.0 { !index } else { *index };
            out.push(if *value > 0.0 { GREATER } else { LESS });
            out.extend(place.to_be_bytes());
            let bits = value.to_bits();
            out.extend((if bits >> 31 == 1 { !bits } else { bits ^ (1 << 31) }).to_be_bytes());
        }
        out.push(LESS);
        out.extend(self.dimensions.to_be_bytes());
        out.extend([0; 4]);
        out
    }

    /// The vector of such bytes; `None` if they are of none.
    #[must_use]
    pub fn from_ordered_bytes(bytes: &[u8]) -> Option<Self> {
        let (items, rest) = bytes.as_chunks::<9>();
        let (end, items) = items.split_last()?;
        let word = |item: &[u8; 9], at: usize| item.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let mut vector = Self { dimensions: word(end, 1)?, ..Self::default() };
        for item in items {
            let (place, bits) = (word(item, 1)?, word(item, 5)?);
            vector.indices.push(if item[0] == GREATER { !place } else { place });
            vector.values.push(f32::from_bits(if bits >> 31 == 1 { bits ^ (1 << 31) } else { !bits }));
        }
        (rest.is_empty() && end[0] == LESS && word(end, 5)? == 0).then_some(vector)
    }
}

/// A string of bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BitString {
    /// How many bits.
    pub len: u32,
    /// Bit `i` is bit `i % 8`, the lowest first, of byte `i / 8`. Bits behind the last are zero.
    pub bytes: Vec<u8>,
}

impl FromIterator<bool> for BitString {
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let mut string = Self::default();
        for bit in bits {
            if string.len % 8 == 0 {
                string.bytes.push(0);
            }
            if let Some(last) = string.bytes.last_mut() {
                *last |= u8::from(bit) << (string.len % 8);
            }
            string.len += 1;
        }
        string
    }
}

impl BitString {
    /// The bits.
    pub fn bits(&self) -> impl Iterator<Item = bool> + '_ {
        (0..self.len).map(|at| self.bytes.get(at as usize / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1))
    }

    /// The first `len` bits, with zeros behind the last.
    #[must_use]
    pub fn resized(&self, len: u32) -> Self {
        self.bits().chain(std::iter::repeat(false)).take(len as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dense() -> impl Strategy<Value = Vec<f32>> {
        let number = prop_oneof![3 => Just(0.0_f32), 1 => -2.0_f32..2.0];
        prop::collection::vec(number, 0..8)
    }

    proptest! {
        #[test]
        fn the_order_of_bytes_is_that_of_the_numbers(a in dense(), b in dense()) {
            let (x, y) = (SparseVector::of_dense(&a), SparseVector::of_dense(&b));
            prop_assert_eq!(x.to_ordered_bytes().cmp(&y.to_ordered_bytes()), a.partial_cmp(&b).unwrap());
            prop_assert_eq!(SparseVector::from_ordered_bytes(&x.to_ordered_bytes()), Some(x));
        }

        #[test]
        fn bits_are_what_they_were(bits in prop::collection::vec(any::<bool>(), 0..40), len in 0..50_u32) {
            let string: BitString = bits.iter().copied().collect();
            prop_assert_eq!(string.bits().collect::<Vec<_>>(), bits.clone());
            let mut wanted = bits;
            wanted.resize(len as usize, false);
            prop_assert_eq!(string.resized(len), wanted.into_iter().collect());
        }
    }
}
