//! Rows of about 300 bytes, each a function of its number.

/// Values of `a` and `b` are below this.
pub const SPREAD: u64 = 1_000_000_000;

/// A row of the table `t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The primary key. Keys of rows that follow each other are far from each other.
    pub id: i64,
    /// Indexed.
    pub a: i64,
    /// Indexed.
    pub b: i64,
    /// Some 270 letters.
    pub body: String,
}

/// What makes the table.
pub const SCHEMA: [&str; 3] = [
    "CREATE TABLE t (id BIGINT PRIMARY KEY, a BIGINT NOT NULL, b BIGINT NOT NULL, body TEXT NOT NULL)",
    "CREATE INDEX t_a ON t (a)",
    "CREATE INDEX t_b ON t (b)",
];

impl Row {
    /// Row `number`.
    #[must_use]
    pub fn of(number: u64) -> Self {
        let mut state = number;
        let mut next = || {
            state = mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
            state
        };
        let (a, b) = (next() % SPREAD, next() % SPREAD);
        let mut body = String::with_capacity(288);
        while body.len() < 270 {
            body.push_str(&format!("{:016x} ", next()));
        }
        Self { id: key(number), a: a.cast_signed(), b: b.cast_signed(), body }
    }
}

/// The key of row `number`: another one for each, in no order.
#[must_use]
pub const fn key(number: u64) -> i64 {
    const MASK: u64 = (1 << 40) - 1;
    let x = number ^ (number >> 17);
    let x = x.wrapping_mul(0x9e_3779_b97f) & MASK;
    let x = x ^ (x >> 21);
    let x = x.wrapping_mul(0x85_ebca_6b2d) & MASK;
    (x ^ (x >> 19)).cast_signed()
}

/// Keys are below this.
pub const KEYS: i64 = 1 << 40;

/// A number that looks like any other.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_differ() {
        let keys: HashSet<i64> = (0..100_000).map(key).collect();
        assert_eq!(keys.len(), 100_000);
        assert!(keys.iter().all(|key| (0..KEYS).contains(key)));
    }
}
