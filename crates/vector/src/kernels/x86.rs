//! AVX2 with FMA, and AVX-512 with VNNI and VPOPCNTDQ.
//!
//! Each kernel is a safe function around an `unsafe` call of one with a `target_feature`; it comes into a table only
//! where the processor has that feature ([`available`]), and the functions are private to this file.
//! All loads are unaligned ones, of places that the slices' lengths vouch for; what is behind the last whole vector is
//! loaded under a mask (AVX-512) or done by the portable twin (AVX2).

use super::{Floats, Kernels, scalar};
use std::arch::x86_64::*;

/// What this processor can run, the best last.
pub(super) fn available() -> Vec<Kernels> {
    let mut found = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
        found.push(AVX2);
    }
    let has_512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    if has_512 && is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vpopcntdq") {
        found.push(AVX512);
    }
    found
}

/// Asks for all lines of the cache that bytes lie in.
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        // SAFETY: a prefetch reads nothing and cannot fail; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Makes a safe function of an unsafe one over two slices of which the longer is cut.
macro_rules! safe {
    ($name:ident($a:ty, $b:ty) -> $out:ty = $inner:path) => {
        fn $name(a: &[$a], b: &[$b]) -> $out {
            let n = a.len().min(b.len());
            let (a, b) = (a.get(..n).unwrap_or_default(), b.get(..n).unwrap_or_default());
            // SAFETY: the table that holds this function was made after the processor's features were asked for
            // (`available`), and the two slices are of the same length.
            unsafe { $inner(a, b) }
        }
    };
}

/// The four loops of a module over one kind of number.
macro_rules! table {
    ($module:ident, $element:ty, $squares:ident, $product:ident, $sum:ident, $largest:ident) => {{
        safe!(squares(f32, $element) -> f32 = $module::$squares);
        safe!(product(f32, $element) -> f32 = $module::$product);
        safe!(sum(f32, $element) -> f32 = $module::$sum);
        safe!(largest(f32, $element) -> f32 = $module::$largest);
        Floats { squares, product, sum, largest }
    }};
}

const AVX2: Kernels = {
    safe!(code_product(u8, i8) -> i32 = avx2::code_product);
    Kernels {
        name: "avx2",
        f32: table!(avx2, f32, squares_f32, product_f32, sum_f32, largest_f32),
        f16: table!(avx2, u16, squares_f16, product_f16, sum_f16, largest_f16),
        i8: table!(avx2, i8, squares_i8, product_i8, sum_i8, largest_i8),
        code_product,
        code_products: |rows, query, out| {
            // SAFETY: the table that holds this was made after the processor's features were asked for (`available`).
            unsafe { avx2::code_products(rows, query, out) }
        },
        plane_sum: |words, bytes, planes| {
            // SAFETY: the table that holds this was made after the processor's features were asked for (`available`).
            unsafe { avx2::plane_sum(words, bytes, planes) }
        },
        differing: scalar::KERNELS.differing,
        shared: scalar::KERNELS.shared,
    }
};

const AVX512: Kernels = {
    safe!(code_product(u8, i8) -> i32 = avx512::code_product);
    safe!(differing(u8, u8) -> u32 = avx512::differing);
    safe!(shared(u8, u8) -> (u32, u32) = avx512::shared);
    Kernels {
        name: "avx512",
        f32: table!(avx512, f32, squares_f32, product_f32, sum_f32, largest_f32),
        f16: table!(avx512, u16, squares_f16, product_f16, sum_f16, largest_f16),
        i8: table!(avx512, i8, squares_i8, product_i8, sum_i8, largest_i8),
        code_product,
        code_products: |rows, query, out| {
            // SAFETY: the table that holds this was made after the processor's features were asked for (`available`).
            unsafe { avx512::code_products(rows, query, out) }
        },
        plane_sum: |words, bytes, planes| {
            // SAFETY: the table that holds this was made after the processor's features were asked for (`available`).
            unsafe { avx512::plane_sum(words, bytes, planes) }
        },
        differing,
        shared,
    }
};

mod avx2 {
    use super::*;

    /// Four sums of eight lanes each, so that the additions need not wait for each other.
    macro_rules! floats {
        ($name:ident, $element:ty, $kind:ident, $twin:ident, |$p:ident| $load:expr,
         |$sum:ident, $a:ident, $b:ident| $step:expr, $join:ident, $finish:expr) => {
            #[target_feature(enable = "avx2,fma,f16c")]
            pub(super) unsafe fn $name(a: &[f32], b: &[$element]) -> f32 {
                let mut sums = [_mm256_setzero_ps(); 4];
                let (wide_a, wide_b) = (a.chunks_exact(32), b.chunks_exact(32));
                let (rest_a, rest_b) = (wide_a.remainder(), wide_b.remainder());
                for (a, b) in wide_a.zip(wide_b) {
                    for (i, $sum) in sums.iter_mut().enumerate() {
                        // SAFETY: both chunks have 32 numbers, `i` is below 4, and eight numbers are loaded of each.
                        let ($a, $b) = unsafe {
                            let $p = b.as_ptr().add(8 * i);
                            (_mm256_loadu_ps(a.as_ptr().add(8 * i)), $load)
                        };
                        *$sum = $step;
                    }
                }
                let [s0, s1, s2, s3] = sums;
                let joined = $join($join(s0, s1), $join(s2, s3));
                let mut lanes = [0.0_f32; 8];
                // SAFETY: `lanes` has room for eight numbers.
                unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), joined) };
                let rest = (scalar::KERNELS.$kind.$twin)(rest_a, rest_b);
                lanes.into_iter().fold(rest, $finish)
            }
        };
    }

    /// The four loops over one kind of number, which `load` brings into eight lanes.
    macro_rules! all_floats {
        ($element:ty, $kind:ident, $squares:ident, $product:ident, $sum:ident, $largest:ident, |$p:ident| $load:expr) => {
            floats!(
                $squares,
                $element,
                $kind,
                squares,
                |$p| $load,
                |sum, a, b| {
                    let d = _mm256_sub_ps(a, b);
                    _mm256_fmadd_ps(d, d, *sum)
                },
                _mm256_add_ps,
                |x: f32, y: f32| x + y
            );
            floats!(
                $product,
                $element,
                $kind,
                product,
                |$p| $load,
                |sum, a, b| _mm256_fmadd_ps(a, b, *sum),
                _mm256_add_ps,
                |x: f32, y: f32| x + y
            );
            floats!(
                $sum,
                $element,
                $kind,
                sum,
                |$p| $load,
                |sum, a, b| {
                    let d = _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(a, b));
                    _mm256_add_ps(*sum, d)
                },
                _mm256_add_ps,
                |x: f32, y: f32| x + y
            );
            floats!(
                $largest,
                $element,
                $kind,
                largest,
                |$p| $load,
                |sum, a, b| {
                    let d = _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(a, b));
                    _mm256_max_ps(*sum, d)
                },
                _mm256_max_ps,
                f32::max
            );
        };
    }

    all_floats!(f32, f32, squares_f32, product_f32, sum_f32, largest_f32, |p| _mm256_loadu_ps(p));
    all_floats!(u16, f16, squares_f16, product_f16, sum_f16, largest_f16, |p| _mm256_cvtph_ps(_mm_loadu_si128(
        p.cast()
    )));
    all_floats!(i8, i8, squares_i8, product_i8, sum_i8, largest_i8, |p| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(
        _mm_loadl_epi64(p.cast())
    )));

    /// Each byte of a mask is spread over the eight bytes that its bits stand for.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn plane_sum(words: &[u8], bytes: &[i8], planes: usize) -> i32 {
        let mut sum = _mm256_setzero_si256();
        let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
        let bits = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
        for (words, bytes) in words.chunks_exact(8 * planes.max(1)).zip(bytes.chunks_exact(64)) {
            for (plane, word) in words.chunks_exact(8).enumerate() {
                let weight = _mm256_set1_epi8(1_u8.wrapping_shl(plane as u32).cast_signed());
                for (half, bytes) in word.chunks_exact(4).zip(bytes.chunks_exact(32)) {
                    let mask = _mm256_set1_epi32(half.try_into().map_or(0, i32::from_le_bytes));
                    let chosen = _mm256_and_si256(_mm256_shuffle_epi8(mask, spread), bits);
                    let weights = _mm256_and_si256(_mm256_cmpeq_epi8(chosen, bits), weight);
                    // SAFETY: the chunk has 32 bytes.
                    let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
                    // Two products of at most 128 * 128 fit 16 bits: -32768 is the least.
                    let pairs = _mm256_maddubs_epi16(weights, bytes);
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                }
            }
        }
        let mut lanes = [0_i32; 8];
        // SAFETY: `lanes` has room for eight numbers.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.into_iter().sum()
    }

    /// Bytes are widened to 16 bits, since the shorter way (`maddubs`) saturates.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn code_product(a: &[u8], b: &[i8]) -> i32 {
        let mut sums = [_mm256_setzero_si256(); 2];
        let (wide_a, wide_b) = (a.chunks_exact(32), b.chunks_exact(32));
        let (rest_a, rest_b) = (wide_a.remainder(), wide_b.remainder());
        for (a, b) in wide_a.zip(wide_b) {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: both chunks have 32 bytes, and `i` is below 2.
                let (a, b) = unsafe {
                    (_mm_loadu_si128(a.as_ptr().add(16 * i).cast()), _mm_loadu_si128(b.as_ptr().add(16 * i).cast()))
                };
                let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(a), _mm256_cvtepi8_epi16(b));
                *sum = _mm256_add_epi32(*sum, products);
            }
        }
        let [s0, s1] = sums;
        let mut lanes = [0_i32; 8];
        // SAFETY: `lanes` has room for eight numbers.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), _mm256_add_epi32(s0, s1)) };
        lanes.into_iter().sum::<i32>() + (scalar::KERNELS.code_product)(rest_a, rest_b)
    }

    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn code_products(rows: &[u8], query: &[i8], out: &mut [i32]) {
        for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
            // SAFETY: the processor has what this function needs, too; the two slices are of the same length, or the
            // query is empty and nothing is loaded.
            *out = unsafe { code_product(row.get(..query.len()).unwrap_or_default(), query) };
        }
    }
}

mod avx512 {
    use super::*;

    /// A plane's bits choose the bytes that are multiplied with its weight.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn plane_sum(words: &[u8], bytes: &[i8], planes: usize) -> i32 {
        let mut sum = _mm512_setzero_si512();
        for (words, bytes) in words.chunks_exact(8 * planes.max(1)).zip(bytes.chunks_exact(64)) {
            // SAFETY: the chunk has 64 bytes.
            let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            for (plane, word) in words.chunks_exact(8).enumerate() {
                let mask = word.try_into().map_or(0, u64::from_le_bytes);
                let weights = _mm512_maskz_set1_epi8(mask, 1_u8.wrapping_shl(plane as u32).cast_signed());
                sum = _mm512_dpbusd_epi32(sum, weights, bytes);
            }
        }
        _mm512_reduce_add_epi32(sum)
    }

    /// The mask of the last `n` lanes of 16, where `n` is below 16.
    const fn mask16(n: usize) -> __mmask16 {
        (1 << n) - 1
    }

    /// The mask of the last `n` lanes of 64, where `n` is below 64.
    const fn mask64(n: usize) -> __mmask64 {
        (1 << n) - 1
    }

    /// Four sums of 16 lanes each; what is behind the last whole 16 is loaded under a mask.
    macro_rules! floats {
        ($name:ident, $element:ty, |$p:ident, $mask:ident| $load:expr,
         |$sum:ident, $a:ident, $b:ident| $step:expr, $join:ident, $reduce:ident) => {
            #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
            pub(super) unsafe fn $name(a: &[f32], b: &[$element]) -> f32 {
                let mut sums = [_mm512_setzero_ps(); 4];
                let (wide_a, wide_b) = (a.chunks_exact(64), b.chunks_exact(64));
                let (rest_a, rest_b) = (wide_a.remainder().chunks(16), wide_b.remainder().chunks(16));
                for (a, b) in wide_a.zip(wide_b) {
                    for (i, $sum) in sums.iter_mut().enumerate() {
                        // SAFETY: both chunks have 64 numbers, `i` is below 4, and 16 numbers are loaded of each.
                        let ($a, $b) = unsafe {
                            let ($p, $mask) = (b.as_ptr().add(16 * i), !0);
                            (_mm512_loadu_ps(a.as_ptr().add(16 * i)), $load)
                        };
                        *$sum = $step;
                    }
                }
                for ((a, b), $sum) in rest_a.zip(rest_b).zip(&mut sums) {
                    // SAFETY: only the lanes of the mask are read, which are as many as both chunks have numbers.
                    let ($a, $b) = unsafe {
                        let $mask = if a.len() < 16 { mask16(a.len()) } else { !0 };
                        let $p = b.as_ptr();
                        (_mm512_maskz_loadu_ps($mask, a.as_ptr()), $load)
                    };
                    *$sum = $step;
                }
                let [s0, s1, s2, s3] = sums;
                $reduce($join($join(s0, s1), $join(s2, s3)))
            }
        };
    }

    /// The four loops over one kind of number, of which `load` brings those of a mask into 16 lanes.
    macro_rules! all_floats {
        ($element:ty, $squares:ident, $product:ident, $sum:ident, $largest:ident, |$p:ident, $mask:ident| $load:expr) => {
            floats!(
                $squares,
                $element,
                |$p, $mask| $load,
                |sum, a, b| {
                    let d = _mm512_sub_ps(a, b);
                    _mm512_fmadd_ps(d, d, *sum)
                },
                _mm512_add_ps,
                _mm512_reduce_add_ps
            );
            floats!(
                $product,
                $element,
                |$p, $mask| $load,
                |sum, a, b| _mm512_fmadd_ps(a, b, *sum),
                _mm512_add_ps,
                _mm512_reduce_add_ps
            );
            floats!(
                $sum,
                $element,
                |$p, $mask| $load,
                |sum, a, b| _mm512_add_ps(*sum, _mm512_abs_ps(_mm512_sub_ps(a, b))),
                _mm512_add_ps,
                _mm512_reduce_add_ps
            );
            floats!(
                $largest,
                $element,
                |$p, $mask| $load,
                |sum, a, b| _mm512_max_ps(*sum, _mm512_abs_ps(_mm512_sub_ps(a, b))),
                _mm512_max_ps,
                _mm512_reduce_max_ps
            );
        };
    }

    all_floats!(f32, squares_f32, product_f32, sum_f32, largest_f32, |p, mask| _mm512_maskz_loadu_ps(mask, p));
    all_floats!(u16, squares_f16, product_f16, sum_f16, largest_f16, |p, mask| _mm512_cvtph_ps(
        _mm256_maskz_loadu_epi16(mask, p.cast())
    ));
    all_floats!(i8, squares_i8, product_i8, sum_i8, largest_i8, |p, mask| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(
        _mm_maskz_loadu_epi8(mask, p)
    )));

    /// Bytes from both slices, 64 at a time, the last ones filled up with zeros.
    macro_rules! bytes {
        ($a:ident, $b:ident, |$x:ident, $y:ident| $step:expr) => {
            let (wide_a, wide_b) = ($a.chunks_exact(64), $b.chunks_exact(64));
            let (rest_a, rest_b) = (wide_a.remainder(), wide_b.remainder());
            for (a, b) in wide_a.zip(wide_b) {
                // SAFETY: both chunks have 64 bytes.
                let ($x, $y) =
                    unsafe { (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast())) };
                $step;
            }
            if !rest_a.is_empty() {
                let mask = mask64(rest_a.len());
                // SAFETY: only the lanes of the mask are read, which are as many as both slices have bytes.
                let ($x, $y) = unsafe {
                    (
                        _mm512_maskz_loadu_epi8(mask, rest_a.as_ptr().cast()),
                        _mm512_maskz_loadu_epi8(mask, rest_b.as_ptr().cast()),
                    )
                };
                $step;
            }
        };
    }

    /// Two sums, so that one product need not wait for the other.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn code_product(a: &[u8], b: &[i8]) -> i32 {
        let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        let (wide_a, wide_b) = (a.chunks_exact(128), b.chunks_exact(128));
        let (rest_a, rest_b) = (wide_a.remainder(), wide_b.remainder());
        for (a, b) in wide_a.zip(wide_b) {
            // SAFETY: both chunks have 128 bytes.
            unsafe {
                let (x, y) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
                even = _mm512_dpbusd_epi32(even, x, y);
                let (x, y) =
                    (_mm512_loadu_si512(a.as_ptr().add(64).cast()), _mm512_loadu_si512(b.as_ptr().add(64).cast()));
                odd = _mm512_dpbusd_epi32(odd, x, y);
            }
        }
        bytes!(rest_a, rest_b, |x, y| even = _mm512_dpbusd_epi32(even, x, y));
        _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn code_products(rows: &[u8], query: &[i8], out: &mut [i32]) {
        for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
            // SAFETY: the processor has what this function needs, too; the two slices are of the same length, or the
            // query is empty and nothing is loaded.
            *out = unsafe { code_product(row.get(..query.len()).unwrap_or_default(), query) };
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    pub(super) unsafe fn differing(a: &[u8], b: &[u8]) -> u32 {
        let mut count = _mm512_setzero_si512();
        bytes!(a, b, |x, y| count = _mm512_add_epi64(count, _mm512_popcnt_epi64(_mm512_xor_si512(x, y))));
        _mm512_reduce_add_epi64(count) as u32
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    pub(super) unsafe fn shared(a: &[u8], b: &[u8]) -> (u32, u32) {
        let (mut both, mut either) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        bytes!(a, b, |x, y| {
            both = _mm512_add_epi64(both, _mm512_popcnt_epi64(_mm512_and_si512(x, y)));
            either = _mm512_add_epi64(either, _mm512_popcnt_epi64(_mm512_or_si512(x, y)));
        });
        (_mm512_reduce_add_epi64(both) as u32, _mm512_reduce_add_epi64(either) as u32)
    }
}
