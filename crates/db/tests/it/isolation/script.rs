//! What transactions of these tests do, by chance.

use crate::isolation::checker::{Key, Table};
use nodedb_env::{Random, SeededRandom};
use std::ops::Range;

/// Rows of each table: few, so that transactions meet.
pub const ROWS: i32 = 24;

#[derive(Clone, Debug)]
pub enum Step {
    Read(Key),
    Scan(Table, Range<i32>),
    Put(Key),
    Delete(Key),
}

pub struct Script {
    pub serializable: bool,
    pub steps: Vec<Step>,
    pub commits: bool,
}

fn key(random: &SeededRandom) -> Key {
    let table = match random.below(4) {
        0 => Table::Parent,
        1 => Table::Child,
        _ => Table::Register,
    };
    // Small families, so that now and then a parent goes while its child comes.
    let rows = if table == Table::Register { ROWS as u64 } else { 5 };
    (table, random.below(rows) as i32)
}

fn step(random: &SeededRandom) -> Vec<Step> {
    let key = key(random);
    match random.below(20) {
        0..5 => vec![Step::Read(key)],
        5..7 => vec![Step::Scan(key.0, key.1..key.1 + 6)],
        7..10 => vec![Step::Read(key), Step::Read((key.0, (key.1 + 1) % ROWS)), Step::Read(key)],
        10..16 => vec![Step::Read(key), Step::Put(key)],
        16..18 if key.0 == Table::Register => vec![Step::Put(key)],
        _ => vec![Step::Delete(key)],
    }
}

/// One transaction.
pub fn script(random: &SeededRandom) -> Script {
    let steps = (0..1 + random.below(4)).flat_map(|_| step(random)).collect();
    Script { serializable: random.u64() & 1 == 0, steps, commits: random.below(12) > 0 }
}
