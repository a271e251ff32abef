//! Every kernel that this processor can run against its scalar twin: at all lengths up to some hundred, from odd addresses.

use super::*;
use proptest::prelude::*;

/// The same numbers at an address that no vector load likes.
fn shifted<T: Copy + Default>(values: &[T], by: usize) -> Vec<T> {
    let mut all = vec![T::default(); by];
    all.extend_from_slice(values);
    all
}

fn close(found: f32, wanted: f64, scale: f64, what: &str) -> Result<(), TestCaseError> {
    let error = (f64::from(found) - wanted).abs();
    prop_assert!(error <= 1e-5 * scale + 1e-30, "{what}: {found} and not {wanted}");
    Ok(())
}

fn check_floats(pairs: &[(f32, f32)], by: usize) -> Result<(), TestCaseError> {
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    let exact = |f: fn(f64, f64) -> f64| pairs.iter().map(move |(a, b)| f(f64::from(*a), f64::from(*b)));
    let (a, b) = (shifted(&a, by), shifted(&b, by / 2));
    let (a, b) = (&a[by..], &b[by / 2..]);
    let squares: f64 = exact(|a, b| (a - b) * (a - b)).sum();
    let product: f64 = exact(|a, b| a * b).sum();
    let size: f64 = exact(|a, b| (a * b).abs()).sum();
    let sum: f64 = exact(|a, b| (a - b).abs()).sum();
    let largest = exact(|a, b| (a - b).abs()).fold(0.0, f64::max);
    for kernels in all() {
        close((kernels.f32.squares)(a, b), squares, squares, kernels.name)?;
        close((kernels.f32.product)(a, b), product, size, kernels.name)?;
        close((kernels.f32.sum)(a, b), sum, sum, kernels.name)?;
        close((kernels.f32.largest)(a, b), largest, largest, kernels.name)?;
    }
    Ok(())
}

/// Numbers of another kind against the same numbers as 32-bit ones.
fn check_mixed<T: Copy + Default>(
    (a, b): (&[f32], &[T]),
    by: usize,
    of: impl Fn(&Kernels) -> Floats<T>,
    wide: impl Fn(T) -> f32,
) -> Result<(), TestCaseError> {
    let widened: Vec<f32> = b.iter().map(|b| wide(*b)).collect();
    let (a, b) = (shifted(a, by), shifted(b, by / 2));
    let (a, b) = (&a[by..], &b[by / 2..]);
    let twin = scalar::KERNELS.f32;
    let size = |f: fn(f32, f32) -> f32| a.iter().zip(&widened).map(|(a, b)| f64::from(f(*a, *b))).sum::<f64>();
    for kernels in all() {
        let floats = of(&kernels);
        let (squares, sum) = (size(|a, b| (a - b) * (a - b)), size(|a, b| (a - b).abs()));
        close((floats.squares)(a, b), f64::from((twin.squares)(a, &widened)), squares, kernels.name)?;
        let product = f64::from((twin.product)(a, &widened));
        close((floats.product)(a, b), product, size(|a, b| (a * b).abs()), kernels.name)?;
        close((floats.sum)(a, b), f64::from((twin.sum)(a, &widened)), sum, kernels.name)?;
        prop_assert_eq!((floats.largest)(a, b), (twin.largest)(a, &widened), "{}", kernels.name);
    }
    Ok(())
}

fn check_bytes(pairs: &[(u8, u8)], by: usize) -> Result<(), TestCaseError> {
    let (a, b): (Vec<u8>, Vec<u8>) = pairs.iter().copied().unzip();
    let signed: Vec<i8> = b.iter().map(|b| b.cast_signed()).collect();
    let (a, b, signed) = (shifted(&a, by), shifted(&b, by / 2), shifted(&signed, by / 2));
    let (a, b, signed) = (&a[by..], &b[by / 2..], &signed[by / 2..]);
    let twin = scalar::KERNELS;
    for kernels in all() {
        prop_assert_eq!((kernels.code_product)(a, signed), (twin.code_product)(a, signed), "{}", kernels.name);
        prop_assert_eq!((kernels.differing)(a, b), (twin.differing)(a, b), "{}", kernels.name);
        prop_assert_eq!((kernels.shared)(a, b), (twin.shared)(a, b), "{}", kernels.name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn floats_are_as_the_twin_says(pairs in prop::collection::vec((-9.0_f32..9.0, -9.0_f32..9.0), 0..300), by in 0_usize..7) {
        check_floats(&pairs, by)?;
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
        let halves: Vec<u16> = b.iter().map(|b| half::f16::from_f32(*b).to_bits()).collect();
        check_mixed((&a, &halves), by, |kernels| kernels.f16, |b| half::f16::from_bits(b).to_f32())?;
        let bytes: Vec<i8> = b.iter().map(|b| (b * 14.0) as i8).collect();
        check_mixed((&a, &bytes), by, |kernels| kernels.i8, f32::from)?;
    }

    #[test]
    fn bytes_are_as_the_twin_says(pairs in prop::collection::vec(any::<(u8, u8)>(), 0..300), by in 0_usize..7) {
        check_bytes(&pairs, by)?;
    }
}

proptest! {
    #[test]
    fn planes_are_as_the_twin_says(words in prop::collection::vec(any::<u8>(), 0..400), bytes in prop::collection::vec(any::<i8>(), 0..400), planes in 1_usize..9) {
        let wanted = (scalar::KERNELS.plane_sum)(&words, &bytes, planes);
        for kernels in all() {
            prop_assert_eq!((kernels.plane_sum)(&words, &bytes, planes), wanted, "{}", kernels.name);
        }
    }
}

proptest! {
    #[test]
    fn many_rows_are_as_the_twin_says(rows in prop::collection::vec(any::<u8>(), 0..1200), query in prop::collection::vec(any::<i8>(), 0..200), room in 0_usize..40) {
        let (mut wanted, mut found) = (vec![7; room], vec![7; room]);
        (scalar::KERNELS.code_products)(&rows, &query, &mut wanted);
        for kernels in all() {
            (kernels.code_products)(&rows, &query, &mut found);
            prop_assert_eq!(&found, &wanted, "{}", kernels.name);
        }
        let first = rows.get(..query.len()).filter(|_| room > 0 && !query.is_empty());
        prop_assert!(first.is_none_or(|row| wanted[0] == (scalar::KERNELS.code_product)(row, &query)));
    }
}

#[test]
fn nothing_saturates() {
    let (high, low, top) = (vec![255_u8; 4096], vec![-128_i8; 4096], vec![127_i8; 4096]);
    for kernels in all() {
        assert_eq!((kernels.code_product)(&high, &low), -255 * 128 * 4096, "{}", kernels.name);
        assert_eq!((kernels.code_product)(&high, &top), 255 * 127 * 4096, "{}", kernels.name);
        assert_eq!((kernels.plane_sum)(&high, &low, 8), -255 * 128 * 4096, "{}", kernels.name);
    }
}

#[test]
fn the_longer_one_is_cut() {
    for kernels in all() {
        assert_eq!((kernels.f32.sum)(&[1.0; 40], &[0.0; 33]), 33.0, "{}", kernels.name);
        assert_eq!((kernels.differing)(&[1; 3], &[0; 70]), 3, "{}", kernels.name);
    }
}
