//! The innermost loops, for each kind of processor.
//!
//! The best ones that the processor can run are chosen once. All give the same answers: whole numbers exactly, floating
//! point up to the order in which it is summed; `tests` holds each against its scalar twin, at all lengths and
//! alignments. On one machine the choice is always the same, and so are the bits of all distances.

mod scalar;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instructions that the compiler does not choose by itself; proofs at each block")]
mod x86;

use std::sync::OnceLock;

/// Loops over a vector of 32-bit numbers and one of another kind of number, of the same length; where one is longer, its
/// rest is left out.
#[derive(Clone, Copy, Debug)]
pub struct Floats<T> {
    /// `sum((a - b)^2)`
    pub squares: fn(&[f32], &[T]) -> f32,
    /// `sum(a * b)`
    pub product: fn(&[f32], &[T]) -> f32,
    /// `sum(|a - b|)`
    pub sum: fn(&[f32], &[T]) -> f32,
    /// `max(|a - b|)`
    pub largest: fn(&[f32], &[T]) -> f32,
}

/// All loops for one kind of processor.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// What they are made for, for logs and benches.
    pub name: &'static str,
    /// Over 32-bit numbers.
    pub f32: Floats<f32>,
    /// Over 16-bit floating-point numbers (IEEE 754 binary16), by their bits.
    pub f16: Floats<u16>,
    /// Over whole numbers of 8 bits.
    pub i8: Floats<i8>,
    /// `sum(a * b)` of unsigned and signed bytes; up to 65,536 of them, or it may overflow.
    pub code_product: fn(&[u8], &[i8]) -> i32,
    /// The same of each of the rows that lie side by side in the first, all as long as the second; as many as there is
    /// room for.
    pub code_products: fn(&[u8], &[i8], &mut [i32]),
    /// Sums of signed bytes by planes of bits. For each 64 bytes there is a word (8 bytes, the lowest bit first) of each
    /// plane, the lowest plane first; a bit of plane `p` adds its byte `2^p` times. 1 to 8 planes; bytes in multiples of
    /// 64, up to 65,536; what has no counterpart is left out.
    pub plane_sum: fn(&[u8], &[i8], usize) -> i32,
    /// Bits that differ.
    pub differing: fn(&[u8], &[u8]) -> u32,
    /// Bits that both have, and bits that at least one has.
    pub shared: fn(&[u8], &[u8]) -> (u32, u32),
}

/// Asks the processor to bring bytes closer, where it can be asked.
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// The best that this processor can run.
pub fn best() -> &'static Kernels {
    static BEST: OnceLock<Kernels> = OnceLock::new();
    BEST.get_or_init(|| all().pop().unwrap_or(scalar::KERNELS))
}

/// All that this processor can run, the best last.
#[must_use]
pub fn all() -> Vec<Kernels> {
    #[cfg(target_arch = "x86_64")]
    let more = x86::available();
    #[cfg(not(target_arch = "x86_64"))]
    let more = Vec::new();
    let mut all = vec![scalar::KERNELS];
    all.extend(more);
    all
}

#[cfg(test)]
mod tests;
