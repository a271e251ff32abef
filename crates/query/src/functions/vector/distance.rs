//! Distances. Less is nearer.

use super::super::scalar::{Arity, Call, Function};
use super::operand::{Kind, Operand};
use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;
use nodedb_base::{BitString, Error, Result, SparseVector};
use std::sync::Arc;

type OfDense = fn(&[f32], &[f32]) -> f64;
type OfSparse = fn(&SparseVector, &SparseVector) -> f64;
type OfBits = fn(&BitString, &BitString) -> f64;

/// A distance, for the kinds that have it.
#[derive(Clone, Copy)]
struct Distance {
    dense: Option<OfDense>,
    sparse: Option<OfSparse>,
    bits: Option<OfBits>,
}

pub(super) fn functions() -> Vec<Function> {
    let numbers = |name, dense: OfDense, sparse: OfSparse| {
        function(name, Distance { dense: Some(dense), sparse: Some(sparse), bits: None })
    };
    let dense = |name, dense: OfDense| function(name, Distance { dense: Some(dense), sparse: None, bits: None });
    let bits = |name, bits: OfBits| function(name, Distance { dense: None, sparse: None, bits: Some(bits) });
    vec![
        numbers("l2_distance", |a, b| f64::from(l2_squared(a, b)).sqrt(), |a, b| sparse_l2(a, b).sqrt()),
        numbers("l2_squared_distance", |a, b| f64::from(l2_squared(a, b)), sparse_l2),
        numbers("cosine_distance", cosine, sparse_cosine),
        numbers("inner_product", |a, b| f64::from(inner(a, b)), |a, b| f64::from(sparse_inner(a, b))),
        numbers("vector_negative_inner_product", |a, b| -f64::from(inner(a, b)), |a, b| -f64::from(sparse_inner(a, b))),
        numbers("l1_distance", |a, b| f64::from(lanes(a, b, |x, y| (x - y).abs())), sparse_l1),
        dense("linf_distance", |a, b| a.iter().zip(b).map(|(x, y)| f64::from((x - y).abs())).fold(0.0, f64::max)),
        dense("pearson_distance", pearson),
        bits("hamming_distance", hamming),
        bits("jaccard_distance", jaccard),
    ]
}

fn function(name: &'static str, distance: Distance) -> Function {
    Function::new(name, Arity::Exactly(2), DataType::Float64, move |call| distances(call, name, distance))
}

fn distances(call: &Call<'_>, name: &str, distance: Distance) -> Result<ArrayRef> {
    let kind = match Kind::of(&call.types()) {
        Kind::Vector if distance.bits.is_some() => Kind::Bits,
        kind => kind,
    };
    let (a, b) = (Operand::of(call.arg(0)?, kind)?, Operand::of(call.arg(1)?, kind)?);
    let none = || Error::statement("42883", format!("function {name}({0}, {0}) does not exist", kind.name()));
    let mut out = Float64Array::builder(call.rows);
    for row in 0..call.rows {
        if let (Some(n), Some(m)) = (a.dimensions(row), b.dimensions(row)) {
            kind.check_same(n, m)?;
        }
        let found = match (&a, &b) {
            (Operand::Dense(a, _), Operand::Dense(b, _)) => {
                let f = distance.dense.ok_or_else(none)?;
                a.get(row).zip(b.get(row)).map(|(a, b)| f(a, b))
            }
            (Operand::Sparse(a), Operand::Sparse(b)) => {
                let f = distance.sparse.ok_or_else(none)?;
                a.get(row).zip(b.get(row)).map(|(a, b)| f(a, b))
            }
            (Operand::Bits(a), Operand::Bits(b)) => {
                let f = distance.bits.ok_or_else(none)?;
                a.get(row).zip(b.get(row)).map(|(a, b)| f(a, b))
            }
            _ => return Err(none()),
        };
        out.append_option(found);
    }
    Ok(Arc::new(out.finish()))
}

/// Sums in eight lanes, which the compiler turns into vector instructions.
fn lanes(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (x, y) in a8.iter().zip(b8) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += f(*x, *y);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| f(*x, *y)).sum();
    sums.iter().sum::<f32>() + rest
}

fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| (x - y) * (x - y))
}

fn inner(a: &[f32], b: &[f32]) -> f32 {
    lanes(a, b, |x, y| x * y)
}

/// One minus the cosine of the angle; NaN if a vector is zero, as pgvector has it.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    of_products(inner(a, b), inner(a, a), inner(b, b))
}

fn of_products(both: f32, a: f32, b: f32) -> f64 {
    let similarity = f64::from(both) / (f64::from(a) * f64::from(b)).sqrt();
    if similarity.is_nan() { f64::NAN } else { 1.0 - similarity.clamp(-1.0, 1.0) }
}

/// One minus Pearson's correlation; NaN if all numbers of a vector are equal. scipy's `correlation`.
fn pearson(a: &[f32], b: &[f32]) -> f64 {
    let mean = |v: &[f32]| v.iter().map(|x| f64::from(*x)).sum::<f64>() / v.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x) - mean_a, f64::from(*y) - mean_b);
        both += x * y;
        of_a += x * x;
        of_b += y * y;
    }
    let r: f64 = both / (of_a * of_b).sqrt();
    if r.is_nan() { f64::NAN } else { 1.0 - r.clamp(-1.0, 1.0) }
}

/// Calls `f` with the numbers of both at each place where one of them has one.
fn pairs(a: &SparseVector, b: &SparseVector, mut f: impl FnMut(f32, f32)) {
    let mut left = a.indices.iter().zip(&a.values).peekable();
    let mut right = b.indices.iter().zip(&b.values).peekable();
    loop {
        match (left.peek(), right.peek()) {
            (Some((i, x)), Some((j, y))) if i == j => {
                f(**x, **y);
                left.next();
                right.next();
            }
            (Some((i, x)), Some((j, _))) if i < j => {
                f(**x, 0.0);
                left.next();
            }
            (_, Some((_, y))) => {
                f(0.0, **y);
                right.next();
            }
            (Some((_, x)), None) => {
                f(**x, 0.0);
                left.next();
            }
            (None, None) => return,
        }
    }
}

fn sum_of_pairs(a: &SparseVector, b: &SparseVector, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sum = 0.0;
    pairs(a, b, |x, y| sum += f(x, y));
    sum
}

fn sparse_l2(a: &SparseVector, b: &SparseVector) -> f64 {
    f64::from(sum_of_pairs(a, b, |x, y| (x - y) * (x - y)))
}

fn sparse_l1(a: &SparseVector, b: &SparseVector) -> f64 {
    f64::from(sum_of_pairs(a, b, |x, y| (x - y).abs()))
}

fn sparse_inner(a: &SparseVector, b: &SparseVector) -> f32 {
    sum_of_pairs(a, b, |x, y| x * y)
}

fn sparse_cosine(a: &SparseVector, b: &SparseVector) -> f64 {
    of_products(sparse_inner(a, b), sparse_inner(a, a), sparse_inner(b, b))
}

/// How many bits of both bytes differ, and how many one has, and both have.
fn counts(a: &BitString, b: &BitString) -> (u32, u32, u32) {
    let each =
        a.bytes.iter().zip(&b.bytes).map(|(x, y)| ((x ^ y).count_ones(), (x | y).count_ones(), (x & y).count_ones()));
    each.fold((0, 0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1, sum.2 + next.2))
}

fn hamming(a: &BitString, b: &BitString) -> f64 {
    f64::from(counts(a, b).0)
}

/// 1 if both have no bit set, as pgvector has it.
fn jaccard(a: &BitString, b: &BitString) -> f64 {
    let (_, either, both) = counts(a, b);
    if both == 0 { 1.0 } else { 1.0 - f64::from(both) / f64::from(either) }
}
