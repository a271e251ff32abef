//! Asks the derived indexes: words exactly, neighbours nearly so.

use super::tables::{LARGE, Table, WIDE};
use crate::failure::{Result, ensure};
use crate::sql::Client;
use nodedb::Value;
use std::collections::{BTreeSet, HashMap};

/// Of a table, every so many rows are looked for.
const STEP: usize = 16;
/// Of a hundred rows, so many at least are the nearest to their own vector.
const LEAST_PERCENT: usize = 98;

/// Fails unless what was written is found by its words and by its vector.
pub fn searches(client: &mut Client, rows: u64) -> Result<()> {
    words(client, &WIDE, rows, (8, "SELECT id FROM wide WHERE t @@@ $1"))?;
    words(client, &LARGE, rows, (1, "SELECT id FROM large WHERE body @@@ $1"))?;
    neighbours(client, &WIDE, rows, (18, "SELECT id FROM wide ORDER BY v <-> $1 LIMIT 1"))?;
    neighbours(client, &LARGE, rows, (2, "SELECT id FROM large ORDER BY emb <-> $1 LIMIT 1"))
}

/// Words as the index has them: runs of letters and digits, in lower case.
fn words_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Each word that is looked for is found in all rows that have it, and in no other.
fn words(client: &mut Client, table: &Table, rows: u64, (column, sql): (usize, &str)) -> Result<()> {
    let mut having: HashMap<String, Vec<i64>> = HashMap::new();
    for number in 0..table.rows(rows) {
        let row = table.expected(number).unwrap_or_default();
        let Some(Value::Text(text)) = row.get(column) else { continue };
        for word in words_of(text) {
            having.entry(word).or_default().push(number.cast_signed());
        }
    }
    let mut words: Vec<_> = having.into_iter().filter(|(word, _)| word.is_ascii()).collect();
    words.sort_unstable();
    let step = words.len().div_ceil(200);
    for (word, expected) in words.iter().step_by(step.max(1)) {
        let mut found = ids(client, sql, Value::Text(format!("\"{word}\"")))?;
        found.sort_unstable();
        ensure(found == *expected, || format!("`{sql}` with {word}: {found:?} instead of {expected:?}"))?;
    }
    Ok(())
}

/// Nearly each row is the nearest to its own vector.
fn neighbours(client: &mut Client, table: &Table, rows: u64, (column, sql): (usize, &str)) -> Result<()> {
    let (mut asked, mut right) = (0, 0);
    for number in (0..table.rows(rows)).step_by(STEP) {
        let row = table.expected(number).unwrap_or_default();
        let Some(vector @ Value::Vector(_)) = row.get(column) else { continue };
        let found = ids(client, sql, vector.clone())?;
        asked += 1;
        right += usize::from(found == [number.cast_signed()]);
        ensure(found.len() == 1, || format!("`{sql}` gave {} rows", found.len()))?;
    }
    ensure(right * 100 >= asked * LEAST_PERCENT, || format!("`{sql}` was right {right} times of {asked}"))
}

fn ids(client: &mut Client, sql: &str, value: Value) -> Result<Vec<i64>> {
    let rows = client.query_once(sql, &[value])?;
    Ok(rows.iter().filter_map(|row| if let [Value::Int8(id)] = row[..] { Some(id) } else { None }).collect())
}
