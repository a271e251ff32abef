//! The twins that all others are held against, and what runs where there is nothing better. Sums run in eight lanes, so
//! that the compiler can use whatever vectors the processor has (NEON, SIMD128).

use super::Kernels;

/// Works everywhere.
pub(super) const KERNELS: Kernels =
    Kernels { name: "portable", squares, product, sum, largest, code_product, differing, shared };

const LANES: usize = 8;

/// Adds up `term` of all pairs.
fn lanes(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32, add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (tail_a, tail_b) = (a.remainder(), b.remainder());
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = add(*sum, term(*a, *b));
        }
    }
    let rest = tail_a.iter().zip(tail_b).fold(0.0, |sum, (a, b)| add(sum, term(*a, *b)));
    sums.into_iter().fold(rest, add)
}

fn same<'v, T>(a: &'v [T], b: &'v [T]) -> (&'v [T], &'v [T]) {
    let n = a.len().min(b.len());
    (a.get(..n).unwrap_or_default(), b.get(..n).unwrap_or_default())
}

fn squares(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = same(a, b);
    lanes(a, b, |a, b| (a - b) * (a - b), |x, y| x + y)
}

fn product(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = same(a, b);
    lanes(a, b, |a, b| a * b, |x, y| x + y)
}

fn sum(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = same(a, b);
    lanes(a, b, |a, b| (a - b).abs(), |x, y| x + y)
}

fn largest(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = same(a, b);
    lanes(a, b, |a, b| (a - b).abs(), f32::max)
}

fn code_product(a: &[u8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

fn differing(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

fn shared(a: &[u8], b: &[u8]) -> (u32, u32) {
    let pairs = a.iter().zip(b);
    pairs.fold((0, 0), |(both, either), (a, b)| (both + (a & b).count_ones(), either + (a | b).count_ones()))
}
