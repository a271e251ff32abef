//! Values of the SQL types.

use crate::{BitString, Numeric, SparseVector, Type};
use half::f16;

/// One value. `docs/format/types.md` says how each lies in rows, keys and Arrow arrays.
///
/// Equality is that of the bits, floats included, so that a value that went to disk and back can be compared.
#[derive(Clone, Debug)]
pub enum Value {
    /// SQL's NULL, of any type
    Null,
    /// `boolean`
    Bool(bool),
    /// `smallint`
    Int2(i16),
    /// `integer`
    Int4(i32),
    /// `bigint`
    Int8(i64),
    /// `real`
    Float4(f32),
    /// `double precision`
    Float8(f64),
    /// `numeric`
    Numeric(Numeric),
    /// `text`, `varchar`
    Text(String),
    /// `bytea`
    Bytea(Vec<u8>),
    /// `uuid`
    Uuid([u8; 16]),
    /// `date`: days since 1970-01-01
    Date(i32),
    /// `time`: microseconds since midnight
    Time(i64),
    /// `timestamp`: microseconds since 1970-01-01
    Timestamp(i64),
    /// `timestamptz`: microseconds since 1970-01-01 UTC
    Timestamptz(i64),
    /// `interval`
    Interval(Interval),
    /// `jsonb`, as the text that PostgreSQL prints for it
    Jsonb(String),
    /// `T[]`
    Array(Array),
    /// `vector(n)`
    Vector(Vec<f32>),
    /// `halfvec(n)`
    Halfvec(Vec<f16>),
    /// `sparsevec(n)`
    Sparsevec(SparseVector),
    /// `bit(n)`, `bit varying(n)`
    Bit(BitString),
}

/// A length of time in three parts that do not convert into each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Months, years included.
    pub months: i32,
    /// Days, weeks included.
    pub days: i32,
    /// Microseconds, hours included.
    pub micros: i64,
}

impl Interval {
    /// The length that PostgreSQL compares by: a month has 30 days, a day 24 hours.
    #[must_use]
    pub fn comparable(self) -> i128 {
        const DAY: i128 = 86_400_000_000;
        (i128::from(self.months) * 30 + i128::from(self.days)) * DAY + i128::from(self.micros)
    }
}

/// A one-dimensional array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The type of every element.
    pub element: Type,
    /// The elements, NULLs among them.
    pub items: Vec<Value>,
}

impl Value {
    /// Whether this is NULL.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int2(a), Self::Int2(b)) => a == b,
            (Self::Int4(a), Self::Int4(b)) | (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Int8(a), Self::Int8(b))
            | (Self::Time(a), Self::Time(b))
            | (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::Timestamptz(a), Self::Timestamptz(b)) => a == b,
            (Self::Float4(a), Self::Float4(b)) => a.to_bits() == b.to_bits(),
            (Self::Float8(a), Self::Float8(b)) => a.to_bits() == b.to_bits(),
            (Self::Numeric(a), Self::Numeric(b)) => a == b,
            (Self::Text(a), Self::Text(b)) | (Self::Jsonb(a), Self::Jsonb(b)) => a == b,
            (Self::Bytea(a), Self::Bytea(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Interval(a), Self::Interval(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Vector(a), Self::Vector(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
            }
            (Self::Halfvec(a), Self::Halfvec(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
            }
            (Self::Sparsevec(a), Self::Sparsevec(b)) => a == b,
            (Self::Bit(a), Self::Bit(b)) => a == b,
            _ => false,
        }
    }
}

macro_rules! from {
    ($($rust:ty => $variant:ident),* $(,)?) => {$(
        impl From<$rust> for Value {
            fn from(v: $rust) -> Self {
                Self::$variant(v.into())
            }
        }
    )*};
}

from! {
    bool => Bool, i16 => Int2, i32 => Int4, i64 => Int8, f32 => Float4, f64 => Float8, Numeric => Numeric,
    &str => Text, String => Text, &[u8] => Bytea, Vec<u8> => Bytea, [u8; 16] => Uuid, Interval => Interval,
    &[f32] => Vector, Vec<f32> => Vector, Array => Array, Vec<f16> => Halfvec, SparseVector => Sparsevec,
    BitString => Bit,
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Null, Into::into)
    }
}
