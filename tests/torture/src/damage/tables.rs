//! What must be in the database: four tables, each row a function of its number and its version.
//!
//! Rows are made with version 1; some are then changed, which gives them version 2, and some are deleted.

use crate::random::Random;
use nodedb::{Interval, Numeric, Value};

/// All tables.
pub const TABLES: [Table; 4] = [WIDE, NARROW, PAIRS, LARGE];

/// A value of every type; beside the key three indexes, and two derived ones of small entries.
pub const WIDE: Table = Table {
    name: "wide",
    percent: 20,
    schema: &[
        "CREATE TABLE wide (id BIGINT PRIMARY KEY, b BOOLEAN, i2 SMALLINT, i4 INTEGER NOT NULL, i8 BIGINT, f4 REAL, \
         f8 DOUBLE PRECISION, n NUMERIC(20, 4), t TEXT, c VARCHAR(60), y BYTEA, u UUID NOT NULL UNIQUE, d DATE, \
         ti TIME, ts TIMESTAMP, tz TIMESTAMPTZ, iv INTERVAL, j JSONB, v VECTOR(8))",
        "CREATE INDEX wide_i4 ON wide (i4)",
        "CREATE INDEX wide_t ON wide (t)",
        "CREATE INDEX wide_d ON wide (d, i2)",
        "CREATE INDEX wide_near ON wide USING hnsw (v vector_l2_ops)",
        "CREATE INDEX wide_words ON wide USING bm25 (t)",
    ],
    insert: "INSERT INTO wide VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
             $18, $19)",
    update: "UPDATE wide SET b = $2, i2 = $3, i4 = $4, i8 = $5, f4 = $6, f8 = $7, n = $8, t = $9, c = $10, y = $11, \
             u = $12, d = $13, ti = $14, ts = $15, tz = $16, iv = $17, j = $18, v = $19 WHERE id = $1",
    delete: "DELETE FROM wide WHERE id = $1",
    select: "SELECT * FROM wide WHERE id = $1",
    keys: 1,
    row: wide,
    number: first_integer,
};

/// Many small rows; the key is a text.
pub const NARROW: Table = Table {
    name: "narrow",
    percent: 60,
    schema: &[
        "CREATE TABLE narrow (k TEXT PRIMARY KEY, val BIGINT NOT NULL UNIQUE, grp INTEGER NOT NULL)",
        "CREATE INDEX narrow_grp ON narrow (grp)",
    ],
    insert: "INSERT INTO narrow VALUES ($1, $2, $3)",
    update: "UPDATE narrow SET val = $2, grp = $3 WHERE k = $1",
    delete: "DELETE FROM narrow WHERE k = $1",
    select: "SELECT * FROM narrow WHERE k = $1",
    keys: 1,
    row: narrow,
    number: narrow_number,
};

/// A key of two columns.
pub const PAIRS: Table = Table {
    name: "pairs",
    percent: 18,
    schema: &[
        "CREATE TABLE pairs (a INTEGER, b INTEGER, w DOUBLE PRECISION, PRIMARY KEY (a, b))",
        "CREATE INDEX pairs_w ON pairs (w DESC)",
    ],
    insert: "INSERT INTO pairs VALUES ($1, $2, $3)",
    update: "UPDATE pairs SET w = $3 WHERE a = $1 AND b = $2",
    delete: "DELETE FROM pairs WHERE a = $1 AND b = $2",
    select: "SELECT * FROM pairs WHERE a = $1 AND b = $2",
    keys: 2,
    row: pairs,
    number: pairs_number,
};

/// Values that lie out of line, and two derived indexes of them.
pub const LARGE: Table = Table {
    name: "large",
    percent: 2,
    schema: &[
        "CREATE TABLE large (id BIGINT PRIMARY KEY, body TEXT NOT NULL, emb VECTOR(384))",
        "CREATE INDEX large_near ON large USING hnsw (emb vector_l2_ops)",
        "CREATE INDEX large_words ON large USING bm25 (body)",
    ],
    insert: "INSERT INTO large VALUES ($1, $2, $3)",
    update: "UPDATE large SET body = $2, emb = $3 WHERE id = $1",
    delete: "DELETE FROM large WHERE id = $1",
    select: "SELECT * FROM large WHERE id = $1",
    keys: 1,
    row: large,
    number: first_integer,
};

/// A table.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its share of all rows.
    percent: u64,
    /// What makes it.
    pub schema: &'static [&'static str],
    /// Puts a row; the values are those of the row.
    pub insert: &'static str,
    /// Changes the row; likewise.
    pub update: &'static str,
    /// Deletes a row; the values are those of its key.
    pub delete: &'static str,
    /// Reads a row; likewise.
    pub select: &'static str,
    /// How many columns the key has; they come first.
    keys: usize,
    /// A row, by its number and version.
    pub row: fn(u64, u64) -> Vec<Value>,
    /// The number of a row.
    pub number: fn(&[Value]) -> Option<u64>,
}

impl Table {
    /// How many rows it has, those included that are deleted.
    pub const fn rows(&self, all: u64) -> u64 {
        all * self.percent / 100
    }

    /// The key of a row, which all its versions have.
    pub fn key(&self, number: u64) -> Vec<Value> {
        let mut row = (self.row)(number, 1);
        row.truncate(self.keys);
        row
    }

    /// What must be there in the end.
    pub fn expected(&self, number: u64) -> Option<Vec<Value>> {
        if is_deleted(number) {
            return None;
        }
        Some((self.row)(number, if is_changed(number) { 2 } else { 1 }))
    }
}

/// Whether the row is changed once.
pub const fn is_changed(number: u64) -> bool {
    number % 7 == 3
}

/// Whether the row is deleted, perhaps after it was changed.
pub const fn is_deleted(number: u64) -> bool {
    number % 11 == 5
}

/// `i4` is below this.
pub const I4: i64 = 50_000;
/// `t` is one of so many texts.
pub const TEXTS: u64 = 300;
/// `d` is below this.
pub const DAYS: i64 = 20_000;
/// `grp` is below this.
pub const GROUPS: i64 = 500;
/// Rows of `pairs` with the same `a`.
pub const RUN: u64 = 20;

/// One of the texts.
pub fn text(number: u64) -> String {
    let mut random = Random::of(&[7, number]);
    format!("{number} {}", random.text(5 + number % 40))
}

fn wide(number: u64, version: u64) -> Vec<Value> {
    let mut random = Random::of(&[1, number, version]);
    let micros = |random: &mut Random| random.int(4_000_000_000_000_000) - 1_000_000_000_000_000;
    let uuid = [random.next(), random.next()].map(u64::to_be_bytes).concat();
    let mut row = vec![
        Value::Int8(number.cast_signed()),
        Value::Bool(random.one_in(2)),
        Value::Int2((random.int(60_000) - 30_000) as i16),
        Value::Int4(random.int(I4) as i32),
        Value::Int8(random.next().cast_signed()),
        Value::Float4(random.int(1 << 20) as f32 / 256.0 - 1000.0),
        Value::Float8(if random.one_in(50) { f64::INFINITY } else { random.int(1 << 50) as f64 / 1024.0 - 5e8 }),
        Value::Numeric(Numeric { unscaled: i128::from(random.int(1 << 60)) - (1 << 59), scale: 4 }),
        Value::Text(text(random.below(TEXTS))),
        Value::Text(text(number % 1000)),
        Value::Bytea(random.text(1 + number % 30).into_bytes()),
        Value::Uuid(uuid.try_into().unwrap_or_default()),
        Value::Date(random.int(DAYS) as i32),
        Value::Time(random.int(86_400_000_000)),
        Value::Timestamp(micros(&mut random)),
        Value::Timestamptz(micros(&mut random)),
        Value::Interval(interval(&mut random)),
        Value::Jsonb(format!("{{\"a\": [{number}, null, true], \"bc\": {{\"x\": \"{version}\"}}}}")),
        Value::Vector(random.vector(8)),
    ];
    for (at, value) in row.iter_mut().enumerate() {
        if random.one_in(12) && !matches!(at, 0 | 3 | 11) {
            *value = Value::Null;
        }
    }
    row
}

fn interval(random: &mut Random) -> Interval {
    Interval { months: random.int(100) as i32, days: random.int(60) as i32 - 30, micros: random.int(86_400_000_000) }
}

fn narrow(number: u64, version: u64) -> Vec<Value> {
    let mut random = Random::of(&[2, number, version]);
    let key = format!("{:016x}-{number}", Random::of(&[3, number]).next());
    let val = number.cast_signed() * 2 + version.cast_signed() - 1;
    vec![key.into(), val.into(), Value::Int4(random.int(GROUPS) as i32)]
}

fn narrow_number(row: &[Value]) -> Option<u64> {
    match row {
        [Value::Text(key), ..] => key.split_once('-')?.1.parse().ok(),
        _ => None,
    }
}

fn pairs(number: u64, version: u64) -> Vec<Value> {
    let mut random = Random::of(&[4, number, version]);
    let weight = random.int(1 << 30) as f64 / 64.0;
    vec![Value::Int4((number / RUN) as i32), Value::Int4((number % RUN) as i32), Value::Float8(weight)]
}

fn pairs_number(row: &[Value]) -> Option<u64> {
    match row {
        [Value::Int4(a), Value::Int4(b), ..] => Some(u64::try_from(*a).ok()? * RUN + u64::try_from(*b).ok()?),
        _ => None,
    }
}

fn large(number: u64, version: u64) -> Vec<Value> {
    let mut random = Random::of(&[5, number, version]);
    let length = 2000 + random.below(3000);
    vec![number.cast_signed().into(), random.text(length).into(), random.vector(384).into()]
}

fn first_integer(row: &[Value]) -> Option<u64> {
    match row {
        [Value::Int8(number), ..] => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_knows_its_number() {
        for table in TABLES {
            for number in 0..200 {
                for version in [1, 2] {
                    assert_eq!((table.number)(&(table.row)(number, version)), Some(number), "{}", table.name);
                }
                let keys = [1, 2].map(|version| (table.row)(number, version)[..table.keys].to_vec());
                assert_eq!(keys[0], keys[1], "{}", table.name);
            }
        }
    }

    #[test]
    fn all_rows_are_in_some_table() {
        assert_eq!(TABLES.iter().map(|table| table.rows(1000)).sum::<u64>(), 1000);
    }
}
