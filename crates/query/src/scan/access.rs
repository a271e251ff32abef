//! Which way into a table: by row id, by the keys of an index, or all of it.
//!
//! An equality with all columns of a unique key beats everything; then the index with the longest prefix of
//! equalities; then a range. A range that turns out to hold much of the table is not worth its lookups, so
//! ranges are tried out: a few entries are counted before one is chosen.

use crate::types::{assign, text::TextStyle};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, expr::InList};
use nodedb_base::key::{self, KeyOrder};
use nodedb_base::{Incarnation, Result, RowId, Type, Value};
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
        /// What the ranges mean, for EXPLAIN.
        condition: String,
    },
    /// Nothing can match.
    Nothing,
}

impl Access {
    /// All rows.
    pub const ALL: Self = Self::Rows(RowId(0), RowId(u64::MAX));

    /// The best way in under these filters, all of which must hold.
    ///
    /// # Errors
    /// Those of reading, since ranges are tried out.
    pub fn choose(table: &Table, view: &View, filters: &[Expr]) -> Result<Self> {
        let mut bounds = Bounds::default();
        for filter in filters {
            bounds.add(table, filter);
        }
        if bounds.impossible {
            return Ok(Self::Nothing);
        }
        if let Some(access) = by_row_key(table, &bounds) {
            return Ok(access);
        }
        by_index(table, view, &bounds).map(|found| found.unwrap_or(Self::ALL))
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

/// What the filters say of one column.
#[derive(Clone, Debug)]
struct ColumnBounds {
    column: usize,
    /// It is one of these.
    any_of: Option<Vec<Value>>,
    lower: Bound<Value>,
    upper: Bound<Value>,
}

#[derive(Debug, Default)]
struct Bounds {
    columns: Vec<ColumnBounds>,
    impossible: bool,
}

/// More values than this in an IN list are not looked up one by one.
const MAX_POINTS: usize = 256;

impl Bounds {
    fn add(&mut self, table: &Table, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.add(table, left);
                self.add(table, right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let (Some(column), Some(value)) = (column_of(table, left), constant(right)) {
                    self.compare(table, column, *op, value);
                } else if let (Some(value), Some(column)) = (constant(left), column_of(table, right))
                    && let Some(op) = op.swap()
                {
                    self.compare(table, column, op, value);
                }
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                let values: Option<Vec<_>> = list.iter().map(constant).collect();
                if let (Some(column), Some(values)) = (column_of(table, expr), values) {
                    self.any_of(table, column, values);
                }
            }
            _ => {}
        }
    }

    fn of(&mut self, column: usize) -> &mut ColumnBounds {
        let at = match self.columns.iter().position(|bounds| bounds.column == column) {
            Some(at) => at,
            None => {
                let (lower, upper) = (Bound::Unbounded, Bound::Unbounded);
                self.columns.push(ColumnBounds { column, any_of: None, lower, upper });
                self.columns.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "`at` was just found or pushed")]
        &mut self.columns[at]
    }

    fn get(&self, column: usize) -> Option<&ColumnBounds> {
        self.columns.iter().find(|bounds| bounds.column == column)
    }

    fn compare(&mut self, table: &Table, column: usize, op: Operator, value: &ScalarValue) {
        if op == Operator::Eq {
            return self.any_of(table, column, vec![value]);
        }
        if !matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) {
            return;
        }
        let Some(Converted::Value(value)) = convert(table, column, value) else { return };
        let bounds = self.of(column);
        match op {
            Operator::Gt => tighten(&mut bounds.lower, Bound::Excluded(value), true),
            Operator::GtEq => tighten(&mut bounds.lower, Bound::Included(value), true),
            Operator::Lt => tighten(&mut bounds.upper, Bound::Excluded(value), false),
            _ => tighten(&mut bounds.upper, Bound::Included(value), false),
        }
    }

    fn any_of(&mut self, table: &Table, column: usize, scalars: Vec<&ScalarValue>) {
        let mut values = Vec::new();
        for scalar in scalars {
            match convert(table, column, scalar) {
                Some(Converted::Value(value)) => values.push(value),
                Some(Converted::Nothing) => {}
                None => return,
            }
        }
        self.impossible |= values.is_empty();
        let bounds = self.of(column);
        if values.len() <= MAX_POINTS && bounds.any_of.as_ref().is_none_or(|old| old.len() > values.len()) {
            bounds.any_of = Some(values);
        }
    }
}

/// Keeps the narrower of two bounds, as far as their key bytes tell.
fn tighten(old: &mut Bound<Value>, new: Bound<Value>, is_lower: bool) {
    let bytes = |bound: &Bound<Value>| match bound {
        Bound::Included(value) | Bound::Excluded(value) => encoded(value, KeyOrder::default()),
        Bound::Unbounded => None,
    };
    let narrower = match (bytes(old), bytes(&new)) {
        (None, _) => true,
        (Some(a), Some(b)) if is_lower => b > a,
        (Some(a), Some(b)) => b < a,
        (_, None) => false,
    };
    if narrower {
        *old = new;
    }
}

fn encoded(value: &Value, order: KeyOrder) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    key::encode(value, order, &mut bytes).ok().map(|()| bytes)
}

fn column_of(table: &Table, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => table.column(&column.name),
        _ => None,
    }
}

fn constant(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

enum Converted {
    Value(Value),
    /// No value of the column is equal to it.
    Nothing,
}

/// A constant as a value of the column's type, or `None` if it has no exact counterpart there.
fn convert(table: &Table, column: usize, scalar: &ScalarValue) -> Option<Converted> {
    let ty = &table.columns.get(column)?.ty;
    if scalar.is_null() {
        return Some(Converted::Nothing);
    }
    let array = scalar.to_array().ok()?;
    let value = crate::types::value_at(&array, 0, None).ok()?;
    let fits = match (&value, ty) {
        (Value::Int2(_) | Value::Int4(_) | Value::Int8(_), Type::Int2 | Type::Int4 | Type::Int8) => true,
        (Value::Text(_), Type::Text | Type::Varchar(_)) => true,
        (Value::Numeric(v), Type::Numeric { scale, .. }) => v.normalized().scale <= *scale,
        (Value::Date(_), Type::Date) | (Value::Time(_), Type::Time) | (Value::Uuid(_), Type::Uuid) => true,
        (Value::Timestamp(_), Type::Timestamp) | (Value::Timestamptz(_), Type::Timestamptz) => true,
        (Value::Bool(_), Type::Bool) | (Value::Bytea(_), Type::Bytea) => true,
        (Value::Float4(_), Type::Float4) | (Value::Float8(_), Type::Float8) => true,
        _ => false,
    };
    // A constant that does not fit the type at all is left to the filter.
    let value = if fits { assign(value, ty, &TextStyle::default()).ok()? } else { return None };
    Some(Converted::Value(value))
}

fn by_row_key(table: &Table, bounds: &Bounds) -> Option<Access> {
    let bounds = bounds.get(table.row_key()?)?;
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

fn by_index(table: &Table, view: &View, bounds: &Bounds) -> Result<Option<Access>> {
    let mut best: Option<(usize, Access)> = None;
    for index in &table.indexes {
        let Some((score, access)) = through(table, index, bounds) else { continue };
        if best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, access));
        }
    }
    let Some((score, access)) = best else { return Ok(None) };
    // Even a single equality may hold for half of the table.
    let certain = score >= CERTAIN;
    Ok((certain || is_selective(table, view, &access)?).then_some(access))
}

/// The score of a unique key that is known as a whole.
const CERTAIN: usize = 1000;

/// The ranges of an index that the bounds leave, and how good they are.
fn through(table: &Table, index: &Index, bounds: &Bounds) -> Option<(usize, Access)> {
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    let (mut equal, mut condition) = (0, Vec::new());
    let mut range = None;
    for part in &index.columns {
        let IndexSource::Column(column) = part.source else { break };
        let Some(bounds) = bounds.get(column.into()) else { break };
        let name = table.columns.get(usize::from(column)).map_or("?", |column| column.name.as_str());
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
    let ranges = match &range {
        Some((range, _)) => prefixes.iter().map(|prefix| within(prefix, range)).collect(),
        None => prefixes.iter().map(|prefix| KeyRange::prefix(prefix)).collect(),
    };
    let whole = if index.unique && equal == index.columns.len() { CERTAIN } else { 0 };
    let score = whole + equal * 10 + usize::from(range.is_some()) * 5;
    let (index, name, condition) = (index.id, index.name.clone(), condition.join(" and "));
    Some((score, Access::Keys { index, name, ranges, condition }))
}

/// A range of one column as bytes behind a prefix. NULLs are outside of every range.
fn range_of(bounds: &ColumnBounds, order: KeyOrder) -> Option<KeyRange> {
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

/// Whether the ranges hold little of the table: few entries, or a small part of its rows.
fn is_selective(table: &Table, view: &View, access: &Access) -> Result<bool> {
    let Access::Keys { index, ranges, .. } = access else { return Ok(true) };
    let limit = (estimated_rows(table, view)? / 20).clamp(TRIED_ENTRIES, 20 * TRIED_ENTRIES);
    let mut seen = 0;
    for range in ranges {
        for entry in view.keys(*index, range, false)?.take(limit - seen) {
            entry?;
            seen += 1;
        }
        if seen >= limit {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A guess at the number of rows: from the first and the last id, which is right where ids are dense.
///
/// # Errors
/// Those of reading.
pub fn estimated_rows(table: &Table, view: &View) -> Result<usize> {
    let end = |backward| -> Result<Option<RowId>> {
        let mut rows = view.rows(table.incarnation, RowId(0), RowId(u64::MAX), backward)?;
        Ok(rows.next().transpose()?.map(|row| row.id))
    };
    Ok(match (end(false)?, end(true)?) {
        (Some(first), Some(last)) => usize::try_from(last.0 - first.0).unwrap_or(usize::MAX).saturating_add(1),
        _ => 0,
    })
}
