//! Which way into a table: by row id, by the keys of an index, or all of it.
//!
//! An equality with all columns of a unique key beats everything; then the index with the longest prefix of
//! equalities; then a range. A range that turns out to hold much of the table is not worth its lookups, so
//! ranges are tried out: a few entries are counted before one is chosen.

use super::bounds::{Bounds, MAX_POINTS, SourceBounds, encoded};
use nodedb_base::key::{self, KeyOrder};
use nodedb_base::{Incarnation, Result, RowId, Value};
use nodedb_store::catalog::{Index, IndexSource, Table};
use nodedb_store::{KeyRange, View};
use std::fmt;
use std::ops::Bound;

/// A way into a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Rows with ids between two, both included.
    Rows(RowId, RowId),
    /// Certain rows.
    Points(Vec<RowId>),
    /// The rows of an index's keys in some ranges, in order.
    Keys {
        /// The index.
        index: Incarnation,
        /// Its name, for EXPLAIN.
        name: String,
        /// Where to look.
        ranges: Vec<KeyRange>,
        /// How many columns, from the first, have one value in all of them.
        fixed: usize,
        /// Whether each range is the whole key of one row at most.
        unique: bool,
        /// What the ranges mean, for EXPLAIN.
        condition: String,
    },
    /// Nothing can match.
    Nothing,
}

impl Access {
    /// All rows.
    pub const ALL: Self = Self::Rows(RowId(0), RowId(u64::MAX));

    /// Whether there may be many rows this way: not where keys or numbers of rows are given one by one.
    pub const fn may_have_many(&self) -> bool {
        matches!(self, Self::Rows(..) | Self::Keys { unique: false, .. })
    }

    /// The best way in under these bounds.
    ///
    /// # Errors
    /// Those of reading, since ranges are tried out.
    pub fn choose(table: &Table, view: &View, bounds: &Bounds) -> Result<Self> {
        if bounds.impossible {
            return Ok(Self::Nothing);
        }
        if let Some(access) = by_row_key(table, bounds) {
            return Ok(access);
        }
        let best = candidates(table, bounds).into_iter().next();
        match best {
            Some(best) if best.is_certain() || is_selective(table, view, &best.access)? => Ok(best.access),
            _ => Ok(Self::ALL),
        }
    }

    /// The ways in whose rows are those within the bounds and no others, the best first.
    pub fn exact(table: &Table, bounds: &Bounds) -> Vec<Self> {
        if bounds.impossible {
            return vec![Self::Nothing];
        }
        if !bounds.is_exact() {
            return Vec::new();
        }
        if bounds.sources.is_empty() {
            return vec![Self::ALL];
        }
        let by_row_key = by_row_key(table, bounds).filter(|_| bounds.sources.len() == 1);
        let by_index = candidates(table, bounds).into_iter().filter(|found| found.used == bounds.sources.len());
        by_row_key.into_iter().chain(by_index.map(|found| found.access)).collect()
    }

    /// All keys of an index.
    pub fn whole_index(index: &Index) -> Self {
        let (ranges, name) = (vec![KeyRange::prefix(&[])], index.name.clone());
        Self::Keys { index: index.id, name, ranges, fixed: 0, unique: false, condition: String::new() }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(RowId(0), RowId(u64::MAX)) => f.write_str("all rows"),
            Self::Rows(from, to) => write!(f, "rows by primary key from {} to {}", from.to_key(), to.to_key()),
            Self::Points(rows) => write!(f, "rows by primary key: {}", rows.len()),
            Self::Keys { name, condition, .. } if condition.is_empty() => write!(f, "index {name}"),
            Self::Keys { name, condition, .. } => write!(f, "index {name} where {condition}"),
            Self::Nothing => f.write_str("no rows"),
        }
    }
}

fn by_row_key(table: &Table, bounds: &Bounds) -> Option<Access> {
    let bounds = bounds.get(&IndexSource::Column(u16::try_from(table.row_key()?).ok()?))?;
    if let Some(values) = &bounds.any_of {
        let mut rows: Vec<_> = values.iter().filter_map(integer).map(RowId::from_key).collect();
        rows.sort_unstable();
        rows.dedup();
        return Some(Access::Points(rows));
    }
    let from = match &bounds.lower {
        Bound::Included(value) => integer(value)?,
        Bound::Excluded(value) => integer(value)?.checked_add(1)?,
        Bound::Unbounded => i64::MIN,
    };
    let to = match &bounds.upper {
        Bound::Included(value) => integer(value)?,
        Bound::Excluded(value) => integer(value)?.checked_sub(1)?,
        Bound::Unbounded => i64::MAX,
    };
    if from > to {
        return Some(Access::Nothing);
    }
    (from != i64::MIN || to != i64::MAX).then(|| Access::Rows(RowId::from_key(from), RowId::from_key(to)))
}

/// The integer in a value of an integer type.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int2(v) => Some(i64::from(*v)),
        Value::Int4(v) => Some(i64::from(*v)),
        Value::Int8(v) => Some(*v),
        _ => None,
    }
}

/// A way through an index.
struct Candidate {
    access: Access,
    score: usize,
    /// How many columns that have bounds it makes use of.
    used: usize,
}

impl Candidate {
    /// Whether it finds one row at most, so that nothing can be better. Even a single equality may hold for half of
    /// a table.
    const fn is_certain(&self) -> bool {
        self.score >= CERTAIN
    }
}

/// The score of a unique key that is known as a whole.
const CERTAIN: usize = 1000;

/// The ways that the bounds leave, the best first.
fn candidates(table: &Table, bounds: &Bounds) -> Vec<Candidate> {
    let mut found: Vec<_> = table.indexes.iter().filter_map(|index| through(table, index, bounds)).collect();
    found.sort_by_key(|candidate| std::cmp::Reverse(candidate.score));
    found
}

/// The ranges of an index that the bounds leave, and how good they are.
fn through(table: &Table, index: &Index, bounds: &Bounds) -> Option<Candidate> {
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    let (mut equal, mut condition) = (0, Vec::new());
    let mut range = None;
    for part in &index.columns {
        let Some(bounds) = bounds.get(&part.source) else { break };
        let name = source_name(table, &part.source);
        let Some(values) = &bounds.any_of else {
            range = range_of(bounds, part.order).map(|range| (range, name));
            break;
        };
        if values.len() * prefixes.len() > MAX_POINTS {
            break;
        }
        let keys: Option<Vec<_>> = values.iter().map(|value| encoded(value, part.order)).collect();
        let keys = keys?;
        prefixes = prefixes.iter().flat_map(|p| keys.iter().map(|k| [p.as_slice(), k].concat())).collect();
        condition.push(if values.len() == 1 { format!("{name} =") } else { format!("{name} in {}", values.len()) });
        equal += 1;
    }
    if let Some((_, name)) = &range {
        condition.push(format!("{name} in range"));
    }
    if equal == 0 && range.is_none() {
        return None;
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    let ranges: Vec<_> = match &range {
        Some((range, _)) => prefixes.iter().map(|prefix| within(prefix, range)).collect(),
        None => prefixes.iter().map(|prefix| KeyRange::prefix(prefix)).collect(),
    };
    let unique = index.unique && equal == index.columns.len();
    let score = if unique { CERTAIN } else { 0 } + equal * 10 + usize::from(range.is_some()) * 5;
    let (index, name, condition) = (index.id, index.name.clone(), condition.join(" and "));
    let fixed = if ranges.len() == 1 { equal } else { 0 };
    let access = Access::Keys { index, name, ranges, fixed, unique, condition };
    Some(Candidate { access, score, used: equal + usize::from(range.is_some()) })
}

fn source_name<'t>(table: &'t Table, source: &'t IndexSource) -> &'t str {
    match source {
        IndexSource::Column(at) => table.columns.get(usize::from(*at)).map_or("?", |column| column.name.as_str()),
        IndexSource::Expression(text) => text,
    }
}

/// A range of one column as bytes behind a prefix. NULLs are outside of every range.
fn range_of(bounds: &SourceBounds, order: KeyOrder) -> Option<KeyRange> {
    if matches!((&bounds.lower, &bounds.upper), (Bound::Unbounded, Bound::Unbounded)) {
        return None;
    }
    let side = |bound: &Bound<Value>| match bound {
        Bound::Included(value) => encoded(value, order).map(Bound::Included),
        Bound::Excluded(value) => encoded(value, order).map(Bound::Excluded),
        Bound::Unbounded => Some(Bound::Unbounded),
    };
    let (mut low, mut high) = (side(&bounds.lower)?, side(&bounds.upper)?);
    if order.descending {
        std::mem::swap(&mut low, &mut high);
    }
    // Other columns follow behind the key, so "up to and including" and "behind" mean all that starts with it.
    let lower = match low {
        Bound::Excluded(key) => key::after_prefix(&key).map_or(Bound::Unbounded, Bound::Included),
        Bound::Unbounded => Bound::Included(vec![1]),
        included => included,
    };
    let upper = match high {
        Bound::Included(key) => key::after_prefix(&key).map_or(Bound::Unbounded, Bound::Excluded),
        Bound::Unbounded => Bound::Excluded(vec![2]),
        excluded => excluded,
    };
    Some(KeyRange { lower, upper })
}

fn within(prefix: &[u8], range: &KeyRange) -> KeyRange {
    let whole = KeyRange::prefix(prefix);
    let place = |bound: &Bound<Vec<u8>>, open: Bound<Vec<u8>>| match bound {
        Bound::Included(key) => Bound::Included([prefix, key].concat()),
        Bound::Excluded(key) => Bound::Excluded([prefix, key].concat()),
        Bound::Unbounded => open,
    };
    KeyRange { lower: place(&range.lower, whole.lower), upper: place(&range.upper, whole.upper) }
}

/// Entries that are counted before a range is believed to be long.
const TRIED_ENTRIES: usize = 1_000;

/// Whether an access is likely to read less than all rows would: few entries, or a small part of its rows.
///
/// # Errors
/// Those of reading.
pub fn is_selective(table: &Table, view: &View, access: &Access) -> Result<bool> {
    let Access::Keys { index, ranges, unique: false, .. } = access else { return Ok(true) };
    let (mut seen, mut limit) = (0, TRIED_ENTRIES);
    for range in ranges {
        for row in view.rows_of_keys(*index, range, false)? {
            row?;
            seen += 1;
            // How large the table is matters only when the first entries have not been all.
            if seen == TRIED_ENTRIES {
                let rows = row_span(table, view)?.map_or(0, estimated_rows);
                limit = (rows / 20).clamp(TRIED_ENTRIES, 20 * TRIED_ENTRIES);
            }
            if seen >= limit {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The first and the last row id of a table.
///
/// # Errors
/// Those of reading.
pub fn row_span(table: &Table, view: &View) -> Result<Option<(RowId, RowId)>> {
    let end = |backward| -> Result<Option<RowId>> {
        let mut rows = view.rows(table.incarnation, RowId(0), RowId(u64::MAX), backward)?;
        Ok(rows.next().transpose()?.map(|row| row.id))
    };
    Ok(end(false)?.zip(end(true)?))
}

/// A guess at the number of rows between two ids, which is right where ids are dense.
pub fn estimated_rows((first, last): (RowId, RowId)) -> usize {
    usize::try_from(last.0 - first.0).unwrap_or(usize::MAX).saturating_add(1)
}
