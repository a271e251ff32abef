//! What filters say of the columns, and of the expressions, that a table's keys are made of.

use crate::types::{assign, text::TextStyle};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, expr::InList};
use nodedb_base::key::{self, KeyOrder};
use nodedb_base::{Result, Type, Value};
use nodedb_store::catalog::{IndexSource, Table};
use nodedb_store::row::{Cell, Cells, value};
use nodedb_store::{Row, View};
use std::ops::Bound;

/// An expression that an index is made of, in the form that filters have when they reach a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedExpr {
    /// As the catalogue has it.
    pub source: IndexSource,
    /// Over the columns of the table, without the table's name.
    pub expr: Expr,
    /// The type of its keys.
    pub ty: Type,
}

/// What is said of one source of keys.
#[derive(Clone, Debug)]
pub struct SourceBounds {
    source: IndexSource,
    /// It is one of these.
    pub any_of: Option<Vec<Value>>,
    /// It is above this.
    pub lower: Bound<Value>,
    /// It is below this.
    pub upper: Bound<Value>,
}

/// What all filters together say; every one of them must hold.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Of each source that they say something of.
    pub sources: Vec<SourceBounds>,
    /// No row can match.
    pub impossible: bool,
    /// Something was said that is not kept.
    is_wider: bool,
}

/// More values than this in an IN list are not looked up one by one.
pub const MAX_POINTS: usize = 256;

impl Bounds {
    /// What filters say.
    pub fn of_filters(table: &Table, expressions: &[IndexedExpr], filters: &[Expr]) -> Self {
        let (mut bounds, names) = (Self::default(), Names { table, expressions });
        for filter in filters {
            bounds.add(&names, filter);
        }
        bounds
    }

    /// What one filter says, if it says that of columns and nothing more; that a column is not NULL is a range without ends.
    pub fn just(table: &Table, filter: &Expr) -> Option<Self> {
        let names = Names { table, expressions: &[] };
        let mut bounds = Self::default();
        match filter {
            Expr::IsNotNull(inner) => _ = bounds.of(names.source(inner)?.0),
            filter => bounds.add(&names, filter),
        }
        (bounds.is_exact() && !bounds.impossible && !bounds.sources.is_empty()).then_some(bounds)
    }

    /// Whether all rows within these bounds are within those others, which are exact.
    pub fn imply(&self, other: &Self) -> bool {
        other.sources.iter().all(|outer| self.get(&outer.source).is_some_and(|inner| inner.is_within(outer)))
    }

    /// The bounds that others, which hold as well, do not imply.
    #[must_use]
    pub fn without_implied(mut self, held: &Self) -> Self {
        self.sources.retain(|outer| !held.get(&outer.source).is_some_and(|inner| inner.is_within(outer)));
        self
    }

    /// Whether the rows within the bounds are just those for which everything that was said is true.
    pub fn is_exact(&self) -> bool {
        let is_one_kind = |bounds: &SourceBounds| {
            let open = matches!((&bounds.lower, &bounds.upper), (Bound::Unbounded, Bound::Unbounded));
            open || bounds.any_of.is_none()
        };
        !self.is_wider && self.sources.iter().all(is_one_kind)
    }

    /// Whether a row is within the bounds, as far as they are of columns.
    ///
    /// # Errors
    /// `Damaged` if the row is, and those of reading a value that lies out of line.
    pub fn admit(&self, table: &Table, types: &[Type], view: &View, row: &Row) -> Result<bool> {
        let mut cells = Cells::new(types, &row.bytes, row.lsn)?;
        for (at, ty) in types.iter().enumerate() {
            let cell = cells.take()?;
            let Some(bounds) = self.get(&IndexSource::Column(at as u16)) else { continue };
            let value = match cell {
                Cell::Null => return Ok(false),
                Cell::Inline(bytes, _) => value(ty, bytes)?,
                Cell::Large(..) => value(ty, &view.large(table.incarnation, row.id, at as u16)?)?,
            };
            if !bounds.admit(&value) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is said of a source.
    pub fn get(&self, source: &IndexSource) -> Option<&SourceBounds> {
        self.sources.iter().find(|bounds| bounds.source == *source)
    }

    fn add(&mut self, names: &Names<'_>, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.add(names, left);
                self.add(names, right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let (Some(source), Some(value)) = (names.source(left), constant(right)) {
                    self.add_comparison(source, *op, value);
                } else if let (Some(value), Some(source)) = (constant(left), names.source(right))
                    && let Some(op) = op.swap()
                {
                    self.add_comparison(source, op, value);
                }
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                let values: Option<Vec<_>> = list.iter().map(constant).collect();
                if let (Some(source), Some(values)) = (names.source(expr), values) {
                    self.add_list(source, &values);
                }
            }
            _ => {}
        }
    }

    fn add_comparison(&mut self, (source, ty): (IndexSource, &Type), op: Operator, value: &ScalarValue) {
        if value.is_null() && matches!(op, Operator::Eq) {
            self.impossible = true;
        } else if let Some(value) = converted(ty, value) {
            self.compare(source, op, value);
        }
    }

    /// Adds that `source op value` is true, where `value` is of the source's type and not NULL.
    pub fn compare(&mut self, source: IndexSource, op: Operator, value: Value) {
        match op {
            Operator::Eq => return self.any_of(source, vec![value]),
            Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {}
            _ => return self.is_wider = true,
        }
        let bounds = self.of(source);
        match op {
            Operator::Gt => tighten(&mut bounds.lower, Bound::Excluded(value), true),
            Operator::GtEq => tighten(&mut bounds.lower, Bound::Included(value), true),
            Operator::Lt => tighten(&mut bounds.upper, Bound::Excluded(value), false),
            _ => tighten(&mut bounds.upper, Bound::Included(value), false),
        }
    }

    fn add_list(&mut self, (source, ty): (IndexSource, &Type), list: &[&ScalarValue]) {
        let values = list.iter().filter(|value| !value.is_null()).map(|value| converted(ty, value));
        if let Some(values) = values.collect() {
            self.any_of(source, values);
        }
    }

    fn any_of(&mut self, source: IndexSource, values: Vec<Value>) {
        self.impossible |= values.is_empty();
        let bounds = self.of(source);
        let is_shorter = bounds.any_of.as_ref().is_none_or(|old| old.len() > values.len());
        let is_wider = bounds.any_of.is_some() || values.len() > MAX_POINTS;
        if is_shorter && values.len() <= MAX_POINTS {
            bounds.any_of = Some(values);
        }
        self.is_wider |= is_wider;
    }

    fn of(&mut self, source: IndexSource) -> &mut SourceBounds {
        let at = match self.sources.iter().position(|bounds| bounds.source == source) {
            Some(at) => at,
            None => {
                let (lower, upper) = (Bound::Unbounded, Bound::Unbounded);
                self.sources.push(SourceBounds { source, any_of: None, lower, upper });
                self.sources.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "`at` was just found or pushed")]
        &mut self.sources[at]
    }
}

impl SourceBounds {
    /// Whether all values within these bounds are within those others.
    fn is_within(&self, outer: &Self) -> bool {
        if let Some(values) = &self.any_of {
            return values.iter().all(|value| outer.admit(value));
        }
        let key = |value: &Value| encoded(value, KeyOrder::default());
        let is_inside = |inner: &Bound<Value>, outer: &Bound<Value>, is_lower: bool| match (inner, outer) {
            (_, Bound::Unbounded) => true,
            (Bound::Unbounded, _) => false,
            (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
                let (Some(a), Some(b)) = (key(a), key(b)) else { return false };
                let is_open = matches!(inner, Bound::Excluded(_)) || matches!(outer, Bound::Included(_));
                if a == b { is_open } else { (a > b) == is_lower }
            }
        };
        outer.any_of.is_none()
            && is_inside(&self.lower, &outer.lower, true)
            && is_inside(&self.upper, &outer.upper, false)
    }

    /// Whether a value is within the bounds, by its key bytes, as an index would have it.
    fn admit(&self, value: &Value) -> bool {
        let key = |value: &Value| encoded(value, KeyOrder::default());
        let Some(own) = key(value) else { return false };
        if let Some(values) = &self.any_of {
            return values.iter().any(|value| key(value).as_ref() == Some(&own));
        }
        let is_above = match &self.lower {
            Bound::Included(lower) => key(lower).is_some_and(|lower| own >= lower),
            Bound::Excluded(lower) => key(lower).is_some_and(|lower| own > lower),
            Bound::Unbounded => true,
        };
        is_above
            && match &self.upper {
                Bound::Included(upper) => key(upper).is_some_and(|upper| own <= upper),
                Bound::Excluded(upper) => key(upper).is_some_and(|upper| own < upper),
                Bound::Unbounded => true,
            }
    }
}

/// What the names in filters mean.
struct Names<'t> {
    table: &'t Table,
    expressions: &'t [IndexedExpr],
}

impl<'t> Names<'t> {
    fn source(&self, expr: &Expr) -> Option<(IndexSource, &'t Type)> {
        if let Expr::Column(column) = expr {
            let at = self.table.column(&column.name)?;
            let ty = &self.table.columns.get(at)?.ty;
            return Some((IndexSource::Column(u16::try_from(at).ok()?), ty));
        }
        let found = self.expressions.iter().find(|indexed| indexed.expr == *expr)?;
        Some((found.source.clone(), &found.ty))
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
        (Some(a), Some(b)) if a == b => matches!(new, Bound::Excluded(_)),
        (Some(a), Some(b)) if is_lower => b > a,
        (Some(a), Some(b)) => b < a,
        (_, None) => false,
    };
    if narrower {
        *old = new;
    }
}

/// The key bytes of a value.
pub fn encoded(value: &Value, order: KeyOrder) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    key::encode(value, order, &mut bytes).ok().map(|()| bytes)
}

fn constant(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn converted(ty: &Type, scalar: &ScalarValue) -> Option<Value> {
    let array = scalar.to_array().ok()?;
    same_value(crate::types::value_at(&array, 0, None).ok()?, ty)
}

/// A constant as a value of another type, or `None` if it has no exact counterpart there.
pub fn same_value(value: Value, ty: &Type) -> Option<Value> {
    let fits = match (&value, ty) {
        (Value::Int2(_) | Value::Int4(_) | Value::Int8(_), Type::Int2 | Type::Int4 | Type::Int8) => true,
        // As it is: an assignment would cut blanks from its end.
        (Value::Text(_), Type::Text | Type::Varchar(_)) => return Some(value),
        (Value::Numeric(v), Type::Numeric { scale, .. }) => v.normalized().scale <= *scale,
        (Value::Date(_), Type::Date) | (Value::Time(_), Type::Time) | (Value::Uuid(_), Type::Uuid) => true,
        (Value::Timestamp(_), Type::Timestamp) | (Value::Timestamptz(_), Type::Timestamptz) => true,
        (Value::Bool(_), Type::Bool) | (Value::Bytea(_), Type::Bytea) => true,
        (Value::Float4(_), Type::Float4) | (Value::Float8(_), Type::Float8) => true,
        _ => false,
    };
    // A constant that does not fit the type at all is left to the filter.
    if fits { assign(value, ty, &TextStyle::default()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodedb_base::Value::Int4;

    fn bounds(said: &[(Operator, i32)]) -> Bounds {
        let mut bounds = Bounds::default();
        said.iter().for_each(|(op, value)| bounds.compare(IndexSource::Column(0), *op, Int4(*value)));
        bounds
    }

    #[test]
    fn narrower_bounds_imply_wider_ones() {
        use Operator::{Eq, Gt, GtEq, Lt, LtEq};
        let said: [&[(Operator, i32)]; 9] = [
            &[(Eq, 5)],
            &[(Gt, 4)],
            &[(GtEq, 4)],
            &[(GtEq, 5)],
            &[(Lt, 6)],
            &[(LtEq, 5)],
            &[(Gt, 3), (Lt, 6)],
            &[(Gt, 4), (LtEq, 6)],
            &[(Eq, 7)],
        ];
        // Twice the numbers, so that there is something between any two of them.
        let admits = |said: &[(Operator, i32)], n: i32| {
            said.iter().all(|(op, value)| match op {
                Eq => n == 2 * value,
                Gt => n > 2 * value,
                GtEq => n >= 2 * value,
                Lt => n < 2 * value,
                _ => n <= 2 * value,
            })
        };
        for (a, b) in said.iter().flat_map(|a| said.iter().map(move |b| (a, b))) {
            let truly = (-40..40).all(|n| !admits(a, n) || admits(b, n));
            assert_eq!(bounds(a).imply(&bounds(b)), truly, "{a:?} {b:?}");
            assert_eq!(bounds(b).without_implied(&bounds(a)).sources.is_empty(), truly, "{a:?} {b:?}");
        }
        assert!(!Bounds::default().imply(&bounds(&[(Eq, 5)])) && bounds(&[(Eq, 5)]).imply(&Bounds::default()));
    }
}
