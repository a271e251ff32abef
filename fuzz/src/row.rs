//! Row bytes: they are decoded or refused, and what is decoded encodes to the same bytes. Updates keep what they
//! leave alone, with the commit that set it.

use crate::values::{any_type, any_value};
use arbitrary::{Result, Unstructured};
use nodedb_base::{Lsn, Type, Value};
use nodedb_store::row::{Cell, Cells, Encoded, Field, LARGE_VALUE_BYTES, encode, large_columns, value, value_bytes};
use std::collections::BTreeMap;

const FIRST: Lsn = Lsn(5);
const SECOND: Lsn = Lsn(9);

/// Values out of line, by column.
type Large = BTreeMap<u16, Vec<u8>>;

fn apply(encoded: &Encoded, large: &mut Large) {
    for change in &encoded.large {
        match &change.value {
            Some(bytes) => large.insert(change.column, bytes.clone()),
            // What goes was there.
            None => Some(large.remove(&change.column).expect("a value that goes was there")),
        };
    }
}

/// The values of a row with the Lsns that its versioned columns say.
fn read(types: &[Type], row: &[u8], lsn: Lsn, large: &Large) -> Vec<(Value, Lsn)> {
    let mut cells = Cells::new(types, row, lsn).expect("a row");
    let mut values = Vec::new();
    for (column, ty) in types.iter().enumerate() {
        values.push(match cells.take().expect("a cell") {
            Cell::Null => (Value::Null, Lsn::ZERO),
            Cell::Inline(bytes, version) => {
                assert!(!ty.is_versioned() || bytes.len() <= LARGE_VALUE_BYTES);
                (value(ty, bytes).expect("a value"), version)
            }
            Cell::Large(length, version) => {
                let bytes = large.get(&(column as u16)).expect("the value lies out of line");
                assert_eq!(bytes.len(), length);
                (value(ty, bytes).expect("a value"), version)
            }
        });
    }
    cells.end().expect("the end");
    values
}

fn structured(types: &[Type], u: &mut Unstructured<'_>) -> Result<()> {
    let any = |ty: &Type, u: &mut Unstructured<'_>| if u.arbitrary()? { any_value(ty, u) } else { Ok(Value::Null) };
    let old: Vec<Value> = types.iter().map(|ty| any(ty, u)).collect::<Result<_>>()?;
    let fields: Vec<_> = old.iter().map(Field::Set).collect();
    let first = encode(types, &fields, None).expect("a row");
    let mut large = Large::new();
    apply(&first, &mut large);
    let read_old = read(types, &first.row, FIRST, &large);
    for ((ty, value), (found, version)) in types.iter().zip(&old).zip(&read_old) {
        assert_eq!(value, found);
        assert_eq!(*version, if ty.is_versioned() && !value.is_null() { FIRST } else { Lsn::ZERO });
    }
    check_large(types, &first.row, &large);

    let new: Vec<Option<Value>> =
        types.iter().map(|ty| if u.arbitrary()? { any(ty, u).map(Some) } else { Ok(None) }).collect::<Result<_>>()?;
    let fields: Vec<_> = new.iter().map(|value| value.as_ref().map_or(Field::Keep, Field::Set)).collect();
    let second = encode(types, &fields, Some((&first.row, FIRST))).expect("a row");
    apply(&second, &mut large);
    check_large(types, &second.row, &large);
    let read_new = read(types, &second.row, SECOND, &large);
    for (at, (found, version)) in read_new.iter().enumerate() {
        let expected = new[at].as_ref().unwrap_or(&old[at]);
        assert_eq!(expected, found, "column {at}");
        if !types[at].is_versioned() || expected.is_null() {
            continue;
        }
        let is_large = value_bytes(&types[at], expected).expect("bytes").len() > LARGE_VALUE_BYTES;
        let untouched = new[at].is_none() || (*expected == old[at] && !is_large);
        assert_eq!(*version, if untouched { FIRST } else { SECOND }, "column {at}");
    }
    Ok(())
}

fn check_large(types: &[Type], row: &[u8], large: &Large) {
    let columns = large_columns(types, row).expect("a row");
    assert_eq!(columns, large.keys().copied().collect::<Vec<_>>());
}

/// Any bytes: refused, or a row that encodes to the same bytes.
fn hostile(types: &[Type], bytes: &[u8]) {
    for ty in types {
        if let Ok(value) = value(ty, bytes) {
            assert_eq!(value_bytes(ty, &value).expect("bytes"), bytes, "{ty}: {value:?} has two forms");
        }
    }
    let _ = large_columns(types, bytes);
    let Ok(mut cells) = Cells::new(types, bytes, Lsn::ZERO) else { return };
    for _ in 0..types.len() {
        if cells.take().is_err() {
            return;
        }
    }
    if cells.end().is_err() {
        return;
    }
    let fields = vec![Field::Keep; types.len()];
    let again = encode(types, &fields, Some((bytes, Lsn::ZERO))).expect("a row that was read");
    assert!(again.large.is_empty());
    let (mut a, mut b) =
        (Cells::new(types, bytes, Lsn(3)).expect("a row"), Cells::new(types, &again.row, Lsn(3)).expect("a row"));
    for _ in types {
        assert_eq!(a.take().expect("a cell"), b.take().expect("a cell"));
    }
    // A row that is older than the last columns becomes one that has them.
    if bytes.get(1) == again.row.get(1) {
        assert_eq!(again.row, bytes, "a row has two forms");
    }
}

fn input(u: &mut Unstructured<'_>) -> Result<()> {
    let mut types = Vec::new();
    for _ in 0..u.int_in_range(0..=10)? {
        types.push(any_type(u)?);
    }
    if u.arbitrary()? {
        structured(&types, u)
    } else {
        // Most bytes are no row at all, so the beginning of one is given now and then.
        let mut bytes = if u.arbitrary()? { vec![1, types.len() as u8] } else { Vec::new() };
        bytes.extend(u.bytes(u.len())?);
        hostile(&types, &bytes);
        Ok(())
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    // Too little data is no input.
    let _ = input(&mut Unstructured::new(data));
}
