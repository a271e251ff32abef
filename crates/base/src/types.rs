//! The SQL types that a column can have.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A SQL type, as it stands in the catalogue. The page `docs/format/types.md` maps each to its row bytes,
/// key bytes, Arrow type and OID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// `boolean`
    Bool,
    /// `smallint`, 16 bits
    Int2,
    /// `integer`, 32 bits
    Int4,
    /// `bigint`, 64 bits
    Int8,
    /// `real`, IEEE 754 single
    Float4,
    /// `double precision`, IEEE 754 double
    Float8,
    /// `numeric(precision, scale)`: at most 38 digits in all, `scale` of them behind the point
    Numeric {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits behind the point, 0 to `precision`.
        scale: u8,
    },
    /// `text`, at most 1 GiB of UTF-8 without U+0000
    Text,
    /// `varchar(n)`: at most `n` characters
    Varchar(u32),
    /// `bytea`, at most 1 GiB
    Bytea,
    /// `uuid`
    Uuid,
    /// `date`: days since 1970-01-01
    Date,
    /// `time`: microseconds since midnight, 24:00 included
    Time,
    /// `timestamp`: microseconds since 1970-01-01, without a zone
    Timestamp,
    /// `timestamptz`: microseconds since 1970-01-01 UTC
    Timestamptz,
    /// `interval`: months, days, microseconds
    Interval,
    /// `jsonb`: kept as the text that PostgreSQL prints for it
    Jsonb,
    /// `T[]`: one dimension, elements of one type
    Array(Box<Self>),
    /// `vector(n)`: `n` single-precision numbers, none of them infinite or NaN; any number of them if `n` is 0
    Vector(u32),
    /// `halfvec(n)`: the same of half-precision numbers (IEEE 754 binary16)
    Halfvec(u32),
    /// `sparsevec(n)`: the same of single-precision numbers, of which only those other than zero are kept
    Sparsevec(u32),
    /// `bit(n)`: `n` bits
    Bit(u32),
    /// `bit varying(n)`: at most `n` bits; any number of them if `n` is 0
    Varbit(u32),
}

impl Type {
    /// Whether values of the type have an order and can stand in a key.
    #[must_use]
    pub fn is_orderable(&self) -> bool {
        match self {
            Self::Array(element) => element.is_orderable(),
            _ => true,
        }
    }

    /// Whether this is `vector`, `halfvec` or `sparsevec`.
    #[must_use]
    pub const fn is_vector(&self) -> bool {
        matches!(self, Self::Vector(_) | Self::Halfvec(_) | Self::Sparsevec(_))
    }

    /// Whether a column of this type can be the subject of a derived index or lie out of line; such
    /// columns carry the Lsn that last set them.
    #[must_use]
    pub const fn is_versioned(&self) -> bool {
        self.is_vector()
            || matches!(
                self,
                Self::Text
                    | Self::Varchar(_)
                    | Self::Bytea
                    | Self::Jsonb
                    | Self::Array(_)
                    | Self::Bit(_)
                    | Self::Varbit(_)
            )
    }
}

/// As PostgreSQL's `format_type` prints it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("boolean"),
            Self::Int2 => f.write_str("smallint"),
            Self::Int4 => f.write_str("integer"),
            Self::Int8 => f.write_str("bigint"),
            Self::Float4 => f.write_str("real"),
            Self::Float8 => f.write_str("double precision"),
            Self::Numeric { precision, scale } => write!(f, "numeric({precision},{scale})"),
            Self::Text => f.write_str("text"),
            Self::Varchar(n) => write!(f, "character varying({n})"),
            Self::Bytea => f.write_str("bytea"),
            Self::Uuid => f.write_str("uuid"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time without time zone"),
            Self::Timestamp => f.write_str("timestamp without time zone"),
            Self::Timestamptz => f.write_str("timestamp with time zone"),
            Self::Interval => f.write_str("interval"),
            Self::Jsonb => f.write_str("jsonb"),
            Self::Array(element) => write!(f, "{element}[]"),
            Self::Vector(0) => f.write_str("vector"),
            Self::Vector(n) => write!(f, "vector({n})"),
            Self::Halfvec(0) => f.write_str("halfvec"),
            Self::Halfvec(n) => write!(f, "halfvec({n})"),
            Self::Sparsevec(0) => f.write_str("sparsevec"),
            Self::Sparsevec(n) => write!(f, "sparsevec({n})"),
            Self::Bit(n) => write!(f, "bit({n})"),
            Self::Varbit(0) => f.write_str("bit varying"),
            Self::Varbit(n) => write!(f, "bit varying({n})"),
        }
    }
}
