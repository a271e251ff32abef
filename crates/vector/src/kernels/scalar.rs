//! The twins that all others are held against, and what runs where there is nothing better. Sums run in eight lanes, so
//! that the compiler can use whatever vectors the processor has (NEON, SIMD128).

use super::{Floats, Kernels};
use half::f16;

macro_rules! floats {
    ($to:expr) => {
        Floats {
            squares: |a, b| lanes(a, b, $to, |a, b| (a - b) * (a - b), |x, y| x + y),
            product: |a, b| lanes(a, b, $to, |a, b| a * b, |x, y| x + y),
            sum: |a, b| lanes(a, b, $to, |a, b| (a - b).abs(), |x, y| x + y),
            largest: |a, b| lanes(a, b, $to, |a, b| (a - b).abs(), f32::max),
        }
    };
}

/// Works everywhere.
pub(super) const KERNELS: Kernels = Kernels {
    name: "portable",
    f32: floats!(|b: f32| b),
    f16: floats!(|b: u16| f16::from_bits(b).to_f32()),
    i8: floats!(|b: i8| f32::from(b)),
    code_product,
    code_products,
    plane_sum,
    differing,
    shared,
};

const LANES: usize = 8;

/// Adds up `term` of all pairs.
fn lanes<T: Copy>(
    a: &[f32],
    b: &[T],
    to: impl Fn(T) -> f32,
    term: impl Fn(f32, f32) -> f32,
    add: impl Fn(f32, f32) -> f32,
) -> f32 {
    let n = a.len().min(b.len());
    let (a, b) = (a.get(..n).unwrap_or_default(), b.get(..n).unwrap_or_default());
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (tail_a, tail_b) = (a.remainder(), b.remainder());
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = add(*sum, term(*a, to(*b)));
        }
    }
    let rest = tail_a.iter().zip(tail_b).fold(0.0, |sum, (a, b)| add(sum, term(*a, to(*b))));
    sums.into_iter().fold(rest, add)
}

fn code_product(a: &[u8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

fn code_products(rows: &[u8], query: &[i8], out: &mut [i32]) {
    for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
        *out = code_product(row, query);
    }
}

fn plane_sum(words: &[u8], bytes: &[i8], planes: usize) -> i32 {
    let mut sum = 0;
    for (words, bytes) in words.chunks_exact(8 * planes.max(1)).zip(bytes.chunks_exact(64)) {
        for (plane, word) in words.chunks_exact(8).enumerate() {
            for (bits, bytes) in word.iter().zip(bytes.chunks_exact(8)) {
                let set = bytes.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
                sum += set.map(|(_, byte)| i32::from(*byte)).sum::<i32>() << plane;
            }
        }
    }
    sum
}

fn differing(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

fn shared(a: &[u8], b: &[u8]) -> (u32, u32) {
    let pairs = a.iter().zip(b);
    pairs.fold((0, 0), |(both, either), (a, b)| (both + (a & b).count_ones(), either + (a | b).count_ones()))
}
