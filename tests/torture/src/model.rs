//! The tables, what stands in them, and the journal.
//!
//! Each transaction writes one row into `journal`: who it is (life, session, number) and what it did, object by
//! object, each with the version that it gave it. What stands in a row follows from the transaction that wrote it and
//! the version. So the journal alone says what must be in the database, in which order each object changed, and that
//! a transaction is there whole.
//!
//! ```text
//! slots     one row for each item that could be, with its version; changes with the item, in one transaction
//! items     rows of all sizes, with a unique and two secondary indexes
//! parts     up to three rows for each item, with a key of two columns
//! accounts  what is taken from one is given to another
//! sides     one row for each table that comes and goes, with its version
//! side_N    those tables
//! lives     one row for each time that the writer was started, with figures
//! ```

use crate::failure::{Failure, Result};
use crate::random::Random;
use nodedb::Value;
use std::fmt;

/// Sessions that write.
pub const SESSIONS: u64 = 16;
/// Items that could be.
pub const SLOTS: i64 = 4000;
/// Accounts.
pub const ACCOUNTS: i64 = 256;
/// What each account has in the beginning.
pub const BALANCE: i64 = 1000;
/// Tables that come and go.
pub const SIDES: i64 = 64;
/// `val` is below this.
pub const VALS: i64 = 1000;
/// Tags that there are.
pub const TAGS: u64 = 40;
/// `amount` is below this.
pub const AMOUNTS: i64 = 10_000;
/// Numbers in a vector: enough for it to lie out of line.
pub const DIMENSIONS: usize = 320;

/// What makes the tables.
pub const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS lives (life BIGINT PRIMARY KEY, seed BIGINT NOT NULL, flushes BIGINT NOT NULL, \
     compactions BIGINT NOT NULL, checkpoints BIGINT NOT NULL, segments BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS journal (life BIGINT, session BIGINT, seq BIGINT, ops TEXT NOT NULL, \
     PRIMARY KEY (life, session, seq))",
    "CREATE TABLE IF NOT EXISTS accounts (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL, balance BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS slots (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL, alive BOOLEAN NOT NULL, \
     life BIGINT NOT NULL, session BIGINT NOT NULL, seq BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS items (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL, val BIGINT NOT NULL, tag TEXT, \
     code TEXT NOT NULL UNIQUE, body TEXT NOT NULL, doc JSONB, vec VECTOR(320))",
    "CREATE TABLE IF NOT EXISTS parts (item BIGINT REFERENCES items (id), no BIGINT, amount BIGINT NOT NULL, \
     PRIMARY KEY (item, no))",
    "CREATE TABLE IF NOT EXISTS sides (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL, alive BOOLEAN NOT NULL, \
     indexed BOOLEAN NOT NULL, filled BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS items_val ON items (val)",
    "CREATE INDEX IF NOT EXISTS items_tag ON items (tag, val)",
    "CREATE INDEX IF NOT EXISTS parts_amount ON parts (amount)",
    "CREATE INDEX IF NOT EXISTS items_vec ON items USING hnsw (vec vector_l2_ops) WITH (m = 8, ef_construction = 40)",
    "CREATE INDEX IF NOT EXISTS items_text ON items USING bm25 (tag, body)",
];

/// Names a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    /// Which start of the writer.
    pub life: i64,
    /// Which of its sessions.
    pub session: i64,
    /// Which commit of that session, from 1.
    pub seq: i64,
}

impl Who {
    /// The numbers that everything it writes follows from.
    fn random(self, kind: u64, id: i64, ver: i64) -> Random {
        let names = [self.life, self.session, self.seq, id, ver].map(i64::cast_unsigned);
        let [life, session, seq, id, ver] = names;
        Random::of(&[kind, life, session, seq, id, ver])
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.life, self.session, self.seq)
    }
}

/// What stands in a row of `items`, and in the `parts` of it.
#[derive(Debug, PartialEq)]
pub struct Item {
    /// Indexed; many items have the same.
    pub val: i64,
    /// Indexed with `val`; may be NULL.
    pub tag: Option<String>,
    /// Unique.
    pub code: String,
    /// Sometimes some kilobytes.
    pub body: String,
    /// A document.
    pub doc: String,
    /// Sometimes a vector.
    pub vec: Option<Vec<f32>>,
    /// The amounts of its parts.
    pub parts: Vec<i64>,
}

impl Item {
    /// What a transaction writes.
    pub fn of(who: Who, id: i64, ver: i64) -> Self {
        let mut random = who.random(1, id, ver);
        let val = random.int(VALS);
        let tag = (!random.one_in(10)).then(|| format!("tag {}", random.below(TAGS)));
        let code = format!("c{}", random.below(60_000));
        let length = if random.one_in(16) { 2000 + random.below(3000) } else { random.below(120) };
        let body = random.text(length);
        let doc = format!("{{\"n\": {}, \"ver\": {ver}, \"who\": \"{who}\"}}", random.below(1000));
        let vec = random.one_in(8).then(|| random.vector(DIMENSIONS));
        let parts = (0..random.below(4)).map(|_| random.int(AMOUNTS)).collect();
        Self { val, tag, code, body, doc, vec, parts }
    }

    /// The row, in the order of the columns.
    pub fn row(self, id: i64, ver: i64) -> [Value; 8] {
        let Self { val, tag, code, body, doc, vec, .. } = self;
        [id.into(), ver.into(), val.into(), tag.into(), code.into(), body.into(), Value::Jsonb(doc), vec.into()]
    }
}

/// The rows that a transaction puts into a table that comes and goes.
pub fn side_rows(who: Who, id: i64, ver: i64) -> Vec<i64> {
    let mut random = who.random(2, id, ver);
    (0..=random.below(12)).map(|_| random.int(1_000_000)).collect()
}

/// What a transaction did with one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The item is there, with what follows from the transaction.
    Put,
    /// The item is gone.
    Delete,
    /// The account has so much more.
    Give(i64),
    /// The table is there, with its first rows.
    Create,
    /// The table is gone.
    Drop,
    /// The table has an index.
    Index,
    /// The table has no index any more.
    Unindex,
    /// The table has more rows.
    Fill,
}

/// One change of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// What happened.
    pub act: Act,
    /// To which item, account or table.
    pub id: i64,
    /// The version that the object has now.
    pub ver: i64,
}

/// Objects that have versions of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Items and their slots.
    Slot,
    /// Accounts.
    Account,
    /// Tables that come and go.
    Side,
}

impl Op {
    /// What kind of object it is about.
    pub const fn kind(self) -> Kind {
        match self.act {
            Act::Put | Act::Delete => Kind::Slot,
            Act::Give(_) => Kind::Account,
            Act::Create | Act::Drop | Act::Index | Act::Unindex | Act::Fill => Kind::Side,
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let mut fields = word.split(':');
        let name = fields.next()?;
        let mut number = || fields.next()?.parse().ok();
        let (id, ver) = (number()?, number()?);
        let act = match name {
            "put" => Act::Put,
            "delete" => Act::Delete,
            "give" => Act::Give(number()?),
            "create" => Act::Create,
            "drop" => Act::Drop,
            "index" => Act::Index,
            "unindex" => Act::Unindex,
            "fill" => Act::Fill,
            _ => return None,
        };
        fields.next().is_none().then_some(Self { act, id, ver })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { act, id, ver } = self;
        match act {
            Act::Put => write!(f, "put:{id}:{ver}"),
            Act::Delete => write!(f, "delete:{id}:{ver}"),
            Act::Give(amount) => write!(f, "give:{id}:{ver}:{amount}"),
            Act::Create => write!(f, "create:{id}:{ver}"),
            Act::Drop => write!(f, "drop:{id}:{ver}"),
            Act::Index => write!(f, "index:{id}:{ver}"),
            Act::Unindex => write!(f, "unindex:{id}:{ver}"),
            Act::Fill => write!(f, "fill:{id}:{ver}"),
        }
    }
}

/// What the journal says of a transaction.
pub fn write_ops(ops: &[Op]) -> String {
    ops.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Reads it again.
pub fn parse_ops(text: &str) -> Result<Vec<Op>> {
    let parse = |word| Op::parse(word).ok_or_else(|| Failure::Wrong(format!("the journal says `{word}`")));
    text.split_whitespace().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_can_be_read_again() {
        let acts = [Act::Put, Act::Delete, Act::Give(-7), Act::Create, Act::Drop, Act::Index, Act::Unindex, Act::Fill];
        let ops: Vec<Op> = acts.into_iter().map(|act| Op { act, id: 3, ver: 9 }).collect();
        assert_eq!(parse_ops(&write_ops(&ops)).unwrap(), ops);
        for bad in ["put", "put:1", "put:1:x", "put:1:2:3", "give:1:2", "hop:1:2"] {
            assert!(parse_ops(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_follows_from_who_writes_it() {
        let who = Who { life: 1, session: 2, seq: 3 };
        assert_eq!(Item::of(who, 4, 5), Item::of(who, 4, 5));
        for other in [Item::of(who, 4, 6), Item::of(who, 5, 5), Item::of(Who { seq: 4, ..who }, 4, 5)] {
            assert_ne!(Item::of(who, 4, 5), other);
        }
    }
}
