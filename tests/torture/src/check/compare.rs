//! The database beside what the replay gives, by every access path.

use super::proved::{Proved, Side};
use crate::failure::{Failure, Result, ensure};
use crate::model::{AMOUNTS, Item, TAGS, VALS};
use crate::sql::{Client, no_such_table};
use nodedb::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The keys of rows, by a value that an index leads to.
type Found<K> = BTreeMap<i64, BTreeSet<K>>;

/// What the indexes must lead to.
#[derive(Default)]
struct Expected {
    by_val: Found<i64>,
    by_tag: BTreeMap<Option<String>, BTreeSet<i64>>,
    by_code: BTreeMap<String, i64>,
    parts: BTreeMap<(i64, i64), i64>,
    by_amount: Found<(i64, i64)>,
    vectors: BTreeMap<i64, Vec<f32>>,
}

/// Compares everything.
pub fn compare(client: &mut Client, proved: &Proved) -> Result<()> {
    slots(client, proved)?;
    accounts(client, proved)?;
    let expected = items(client, proved)?;
    by_key(client, proved)?;
    by_val(client, &expected)?;
    by_tag(client, &expected)?;
    by_code(client, &expected)?;
    by_nearness(client, &expected)?;
    by_words(client, &expected)?;
    parts(client, proved, &expected)?;
    by_amount(client, &expected)?;
    let mut sides = (0..).zip(&proved.sides);
    sides.try_for_each(|(id, side)| compare_side(client, id, side))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<()> {
    ensure(found == expected, || {
        let (mut found, mut expected) = (format!("{found:?}"), format!("{expected:?}"));
        [&mut found, &mut expected].into_iter().for_each(|text| cut(text, 600));
        format!("{what}: found {found}, expected {expected}")
    })
}

fn cut(text: &mut String, length: usize) {
    if let Some((at, _)) = text.char_indices().nth(length) {
        text.truncate(at);
    }
}

fn slots(client: &mut Client, proved: &Proved) -> Result<()> {
    let found = client.integers("SELECT id, ver, alive, life, session, seq FROM slots ORDER BY id", &[])?;
    let expected = (0..).zip(&proved.slots).map(|(id, slot)| {
        let who = slot.who;
        [id, slot.ver, i64::from(slot.alive), who.life, who.session, who.seq]
    });
    each_same("slots", &found, expected)
}

fn accounts(client: &mut Client, proved: &Proved) -> Result<()> {
    let found = client.integers("SELECT id, ver, balance FROM accounts ORDER BY id", &[])?;
    each_same("accounts", &found, (0..).zip(&proved.accounts).map(|(id, account)| [id, account.ver, account.balance]))
}

/// Rows one by one, so that a difference names its row.
fn each_same<const N: usize>(what: &str, found: &[[i64; N]], expected: impl Iterator<Item = [i64; N]>) -> Result<()> {
    let expected: Vec<[i64; N]> = expected.collect();
    ensure(found.len() == expected.len(), || format!("{what}: {} rows, not {}", found.len(), expected.len()))?;
    found.iter().zip(&expected).try_for_each(|(found, expected)| same(what, found, expected))
}

/// All items by a full scan; what the indexes must say then.
fn items(client: &mut Client, proved: &Proved) -> Result<Expected> {
    let mut expected = Expected::default();
    let mut seen = BTreeSet::new();
    for row in client.query("SELECT id, ver, val, tag, code, body, doc, vec FROM items", &[])? {
        let Some(Value::Int8(id)) = row.first() else {
            return Err(Failure::Wrong(format!("an item has no id: {row:?}")));
        };
        let slot = usize::try_from(*id).ok().and_then(|at| proved.slots.get(at)).filter(|slot| slot.alive);
        let slot = slot.ok_or_else(|| Failure::Wrong(format!("item {id} is there again")))?;
        ensure(seen.insert(*id), || format!("item {id} is there twice"))?;
        let item = Item::of(slot.who, *id, slot.ver);
        expected.note(*id, &item);
        same("items", &row, &item.row(*id, slot.ver).to_vec())?;
    }
    let alive = proved.slots.iter().filter(|slot| slot.alive).count();
    ensure(seen.len() == alive, || format!("{} items are there, not {alive}", seen.len()))?;
    Ok(expected)
}

impl Expected {
    fn note(&mut self, id: i64, item: &Item) {
        self.by_val.entry(item.val).or_default().insert(id);
        self.by_tag.entry(item.tag.clone()).or_default().insert(id);
        self.by_code.insert(item.code.clone(), id);
        self.vectors.extend(item.vec.clone().map(|vector| (id, vector)));
        for (no, amount) in (1..).zip(&item.parts) {
            self.parts.insert((id, no), *amount);
            self.by_amount.entry(*amount).or_default().insert((id, no));
        }
    }
}

/// Each slot's item by its key, there or not.
fn by_key(client: &mut Client, proved: &Proved) -> Result<()> {
    for (id, slot) in (0_i64..).zip(&proved.slots) {
        let found = client.integers("SELECT ver FROM items WHERE id = $1", &[id.into()])?;
        let expected = if slot.alive { vec![[slot.ver]] } else { Vec::new() };
        same("items by id", &found, &expected)?;
    }
    Ok(())
}

/// Ranges of the index, and the same by a condition that no index serves.
fn by_val(client: &mut Client, expected: &Expected) -> Result<()> {
    const STEP: i64 = VALS / 10;
    for from in (0..VALS).step_by(STEP as usize) {
        let range = [from.into(), (from + STEP).into()];
        let wanted: BTreeSet<i64> =
            expected.by_val.range(from..from + STEP).flat_map(|(_, ids)| ids).copied().collect();
        for sql in [
            "SELECT id FROM items WHERE val >= $1 AND val < $2",
            "SELECT id FROM items WHERE val + 0 >= $1 AND val + 0 < $2",
        ] {
            let found = client.integers::<1>(sql, &range)?;
            same(sql, &set(sql, found)?, &wanted.iter().map(|id| [*id]).collect())?;
        }
    }
    Ok(())
}

/// Neighbours that are asked for.
const NEAREST: usize = 10;
/// Vectors whose neighbours are asked for.
const ASKED: usize = 100;

/// The neighbours of some vectors by the index: never a row that is not there, never too few, seldom another one than by
/// comparing all.
fn by_nearness(client: &mut Client, expected: &Expected) -> Result<()> {
    const SQL: &str = "SELECT id FROM items WHERE vec IS NOT NULL ORDER BY vec <-> $1 LIMIT 10";
    let (mut hits, mut all) = (0, 0);
    let step = expected.vectors.len() / ASKED + 1;
    for (id, query) in expected.vectors.iter().step_by(step) {
        let distance = |vector: &[f32]| -> f64 {
            vector.iter().zip(query).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum()
        };
        let mut wanted: Vec<(f64, i64)> = expected.vectors.iter().map(|(id, vector)| (distance(vector), *id)).collect();
        wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
        wanted.truncate(NEAREST);
        let found: Vec<[i64; 1]> = client.integers(SQL, &[Value::Vector(query.clone())])?;
        let found = set(SQL, found)?;
        ensure(found.len() == wanted.len(), || {
            format!("{} neighbours of item {id}, not {}", found.len(), wanted.len())
        })?;
        let stranger = found.iter().find(|[id]| !expected.vectors.contains_key(id));
        ensure(stranger.is_none(), || format!("{stranger:?} among the neighbours of item {id}"))?;
        hits += wanted.iter().filter(|(_, id)| found.contains(&[*id])).count();
        all += wanted.len();
    }
    ensure(hits * 100 >= all * 97, || format!("of {all} neighbours only {hits} were found"))
}

/// Words that are asked for.
const WORDS: usize = 60;

/// The items with some words in them by the text index: those, and no others, that have them by reading all.
fn by_words(client: &mut Client, expected: &Expected) -> Result<()> {
    const SQL: &str = "SELECT id FROM items WHERE items @@@ $1";
    for tag in 0..TAGS {
        let query = format!("tag:\"tag {tag}\"");
        let found = set("items by tag and text", client.integers::<1>(SQL, &[query.as_str().into()])?)?;
        let tag = Some(format!("tag {tag}"));
        let wanted = expected.by_tag.get(&tag).into_iter().flatten().map(|id| [*id]).collect();
        same("items by tag and text", &found, &wanted)?;
    }
    let mut by_word: BTreeMap<String, BTreeSet<[i64; 1]>> = BTreeMap::new();
    for row in client.query("SELECT id, body FROM items", &[])? {
        let [Value::Int8(id), Value::Text(body)] = row.as_slice() else {
            return Err(Failure::Wrong(format!("{row:?} is no item")));
        };
        for word in body.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            by_word.entry(word.to_lowercase()).or_default().insert([*id]);
        }
    }
    let step = by_word.len() / WORDS + 1;
    for (word, wanted) in by_word.iter().step_by(step).filter(|(word, _)| word.len() < 200) {
        let query = format!("body:{word}");
        let found = set("items by word", client.integers::<1>(SQL, &[query.as_str().into()])?)?;
        same("items by word", &found, wanted)?;
    }
    Ok(())
}

/// As a set; no row may be found twice.
fn set<K: Ord + std::fmt::Debug>(what: &str, found: Vec<K>) -> Result<BTreeSet<K>> {
    let count = found.len();
    let set: BTreeSet<K> = found.into_iter().collect();
    ensure(set.len() == count, || format!("{what}: {} of {count} rows came twice", count - set.len()))?;
    Ok(set)
}

fn by_tag(client: &mut Client, expected: &Expected) -> Result<()> {
    let tags = (0..TAGS).map(|tag| Some(format!("tag {tag}"))).chain([None]);
    for tag in tags {
        let found = match &tag {
            Some(tag) => client.integers::<1>("SELECT id FROM items WHERE tag = $1", &[tag.as_str().into()])?,
            None => client.integers::<1>("SELECT id FROM items WHERE tag IS NULL", &[])?,
        };
        let wanted = expected.by_tag.get(&tag).into_iter().flatten().map(|id| [*id]).collect();
        same("items by tag", &set("items by tag", found)?, &wanted)?;
    }
    Ok(())
}

/// Every fourth code that is there, and some that are not.
fn by_code(client: &mut Client, expected: &Expected) -> Result<()> {
    const SQL: &str = "SELECT id FROM items WHERE code = $1";
    for (code, id) in expected.by_code.iter().step_by(4) {
        let found = client.integers(SQL, &[code.as_str().into()])?;
        same("items by code", &found, &vec![[*id]])?;
    }
    for number in (0..60_000).step_by(301) {
        let code = format!("c{number}");
        let found = client.integers(SQL, &[code.as_str().into()])?;
        same("items by code", &found, &expected.by_code.get(&code).map(|id| [*id]).into_iter().collect())?;
    }
    Ok(())
}

/// All parts by a full scan, and those of every eighth item by the front of their key.
fn parts(client: &mut Client, proved: &Proved, expected: &Expected) -> Result<()> {
    let found = client.integers::<3>("SELECT item, no, amount FROM parts", &[])?;
    let count = found.len();
    let found: BTreeMap<(i64, i64), i64> = found.into_iter().map(|[item, no, amount]| ((item, no), amount)).collect();
    ensure(found.len() == count, || format!("{} parts are there twice", count - found.len()))?;
    same("parts", &found, &expected.parts)?;
    for (id, _) in (0_i64..).zip(&proved.slots).step_by(8) {
        let found = client.integers("SELECT no, amount FROM parts WHERE item = $1 ORDER BY no", &[id.into()])?;
        let wanted = expected.parts.range((id, 0)..(id + 1, 0)).map(|((_, no), amount)| [*no, *amount]);
        same("parts by item", &found, &wanted.collect())?;
    }
    Ok(())
}

fn by_amount(client: &mut Client, expected: &Expected) -> Result<()> {
    const STEP: i64 = AMOUNTS / 10;
    for from in (0..AMOUNTS).step_by(STEP as usize) {
        let range = [from.into(), (from + STEP).into()];
        let found = client.integers("SELECT item, no FROM parts WHERE amount >= $1 AND amount < $2", &range)?;
        let wanted = expected.by_amount.range(from..from + STEP).flat_map(|(_, keys)| keys);
        let wanted = wanted.map(|(item, no)| [*item, *no]).collect();
        same("parts by amount", &set("parts by amount", found)?, &wanted)?;
    }
    Ok(())
}

/// A table that comes and goes: its row in `sides`, whether it is there, its rows, its index.
fn compare_side(client: &mut Client, id: i64, side: &Side) -> Result<()> {
    let known = client.integers("SELECT ver, alive, indexed, filled FROM sides WHERE id = $1", &[id.into()])?;
    let filled = i64::try_from(side.rows.len()).unwrap_or(i64::MAX);
    same("sides", &known, &vec![[side.ver, i64::from(side.alive), i64::from(side.indexed), filled]])?;
    let found = match client.query_once(&format!("SELECT k, v FROM side_{id} ORDER BY k"), &[]) {
        Ok(_) if !side.alive => return Err(Failure::Wrong(format!("table side_{id} is there again"))),
        Err(failure) if no_such_table(&failure) && !side.alive => return Ok(()),
        Err(failure) if no_such_table(&failure) => {
            return Err(Failure::Wrong(format!("LOST: table side_{id}")));
        }
        rows => rows?,
    };
    let wanted: Vec<Vec<Value>> = (0_i64..).zip(&side.rows).map(|(k, v)| vec![k.into(), (*v).into()]).collect();
    same(&format!("table side_{id}"), &found, &wanted)?;
    side_index(client, id, side)
}

fn side_index(client: &mut Client, id: i64, side: &Side) -> Result<()> {
    for middle in side.rows.iter().step_by(16) {
        let sql = format!("SELECT k FROM side_{id} WHERE v >= $1 ORDER BY k");
        let found = client.query_once(&sql, &[(*middle).into()])?;
        let wanted = (0_i64..).zip(&side.rows).filter(|(_, v)| *v >= middle).map(|(k, _)| vec![k.into()]);
        same(&sql, &found, &wanted.collect())?;
    }
    Ok(())
}
