//! The row codec. `docs/format/row.md` is the reference.
//!
//! A row is read cell by cell, in column order, without copying; [`value`] turns one cell into a value.
//! Columns of a versioned type ([`Type::is_versioned`]) carry the Lsn that last set them, where 0 means the
//! commit that wrote this row; so a row can be encoded before its commit has a number.

use half::f16;
use nodedb_base::{
    Array, BitString, Interval, LargeValue, Lsn, Numeric, Reader, Result, SparseVector, Type, Value, Writer,
};

const ROW_VERSION: u8 = 1;

/// Values longer than this lie out of line, so that reading other columns stays cheap.
pub const LARGE_VALUE_BYTES: usize = 1024;

/// One column of a row as it lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// NULL, or a column that is younger than the row.
    Null,
    /// The value's bytes, and the Lsn that set it ([`Lsn::ZERO`] for types without versions).
    Inline(&'a [u8], Lsn),
    /// The value's length and the Lsn that set it; its bytes are in the tree of large values.
    Large(usize, Lsn),
}

/// What becomes of a column when a row is written.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// It gets this value.
    Set(&'a Value),
    /// It stays what it is in the old row, its version too.
    Keep,
}

/// A row that was encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The row's bytes.
    pub row: Vec<u8>,
    /// Values that come, change or go out of line.
    pub large: Vec<LargeValue>,
}

/// How wide the inline bytes of a type are, where that is always the same.
const fn fixed_width(ty: &Type) -> Option<usize> {
    match ty {
        Type::Bool => Some(1),
        Type::Int2 => Some(2),
        Type::Int4 | Type::Float4 | Type::Date => Some(4),
        Type::Int8 | Type::Float8 | Type::Time | Type::Timestamp | Type::Timestamptz => Some(8),
        Type::Uuid | Type::Interval => Some(16),
        _ => None,
    }
}

/// Encodes a row of columns `types`. `old` is the row as it was and the Lsn that wrote it; without it no
/// field may be [`Field::Keep`].
///
/// # Errors
/// `Internal` if a value is not of its column's type.
pub fn encode(types: &[Type], fields: &[Field<'_>], old: Option<(&[u8], Lsn)>) -> Result<Encoded> {
    let mut old_cells = match old {
        Some((bytes, lsn)) => Some(Cells::new(types, bytes, lsn)?),
        None => None,
    };
    let mut row = Writer(Vec::with_capacity(16 + types.len() * 8));
    row.u8(ROW_VERSION);
    row.varint(types.len() as u64);
    let nulls = row.0.len();
    row.0.resize(nulls + types.len().div_ceil(8), 0);
    let mut large = Vec::new();
    for (at, (ty, field)) in types.iter().zip(fields).enumerate() {
        let before = old_cells.as_mut().map_or(Ok(Cell::Null), Cells::take)?;
        let is_null = match field {
            Field::Keep => write_cell(&mut row, ty, before),
            Field::Set(value) => set_cell(&mut row, ty, value, before, at as u16, &mut large)?,
        };
        if is_null && let Some(byte) = row.0.get_mut(nulls + at / 8) {
            *byte |= 1 << (at % 8);
        }
    }
    Ok(Encoded { row: row.0, large })
}

/// The out-of-line values of a row, which go when the row goes.
///
/// # Errors
/// `Damaged` if the bytes are no row of these columns.
pub fn large_columns(types: &[Type], row: &[u8]) -> Result<Vec<u16>> {
    let mut cells = Cells::new(types, row, Lsn::ZERO)?;
    let mut columns = Vec::new();
    for column in 0..types.len() as u16 {
        if let Cell::Large(..) = cells.take()? {
            columns.push(column);
        }
    }
    Ok(columns)
}

fn write_cell(row: &mut Writer, ty: &Type, cell: Cell<'_>) -> bool {
    match cell {
        Cell::Null => return true,
        Cell::Inline(bytes, version) => write_inline(row, ty, bytes, version),
        Cell::Large(len, version) => {
            row.varint(version.0);
            row.varint((len as u64) << 1 | 1);
        }
    }
    false
}

fn write_inline(row: &mut Writer, ty: &Type, bytes: &[u8], version: Lsn) {
    if ty.is_versioned() {
        row.varint(version.0);
        row.varint((bytes.len() as u64) << 1);
    } else if fixed_width(ty).is_none() {
        row.varint(bytes.len() as u64);
    }
    row.raw(bytes);
}

/// Writes a new value; one that is the same as before keeps its version. Tells whether it is NULL.
fn set_cell(
    row: &mut Writer,
    ty: &Type,
    value: &Value,
    before: Cell<'_>,
    column: u16,
    large: &mut Vec<LargeValue>,
) -> Result<bool> {
    let was_large = matches!(before, Cell::Large(..));
    if value.is_null() {
        if was_large {
            large.push(LargeValue { column, value: None });
        }
        return Ok(true);
    }
    let bytes = value_bytes(ty, value)?;
    if ty.is_versioned() && bytes.len() > LARGE_VALUE_BYTES {
        write_cell(row, ty, Cell::Large(bytes.len(), Lsn::ZERO));
        large.push(LargeValue { column, value: Some(bytes) });
        return Ok(false);
    }
    if was_large {
        large.push(LargeValue { column, value: None });
    }
    let version = match before {
        Cell::Inline(old, version) if old == bytes => version,
        _ => Lsn::ZERO,
    };
    write_inline(row, ty, &bytes, version);
    Ok(false)
}

/// The bytes of a value that is not NULL, without length or version.
///
/// # Errors
/// `Internal` if the value is not of type `ty`.
pub fn value_bytes(ty: &Type, value: &Value) -> Result<Vec<u8>> {
    Ok(match (ty, value) {
        (Type::Bool, Value::Bool(v)) => vec![u8::from(*v)],
        (Type::Int2, Value::Int2(v)) => v.to_le_bytes().to_vec(),
        (Type::Int4, Value::Int4(v)) | (Type::Date, Value::Date(v)) => v.to_le_bytes().to_vec(),
        (Type::Int8, Value::Int8(v))
        | (Type::Time, Value::Time(v))
        | (Type::Timestamp, Value::Timestamp(v))
        | (Type::Timestamptz, Value::Timestamptz(v)) => v.to_le_bytes().to_vec(),
        (Type::Float4, Value::Float4(v)) => v.to_le_bytes().to_vec(),
        (Type::Float8, Value::Float8(v)) => v.to_le_bytes().to_vec(),
        (Type::Numeric { .. }, Value::Numeric(v)) => numeric_bytes(*v),
        (Type::Text | Type::Varchar(_), Value::Text(v)) | (Type::Jsonb, Value::Jsonb(v)) => v.as_bytes().to_vec(),
        (Type::Bytea, Value::Bytea(v)) => v.clone(),
        (Type::Uuid, Value::Uuid(v)) => v.to_vec(),
        (Type::Interval, Value::Interval(v)) => {
            [&v.months.to_le_bytes()[..], &v.days.to_le_bytes(), &v.micros.to_le_bytes()].concat()
        }
        (Type::Array(element), Value::Array(v)) => array_bytes(element, v)?,
        (Type::Vector(n), Value::Vector(v)) if fits(*n, v.len()) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        (Type::Halfvec(n), Value::Halfvec(v)) if fits(*n, v.len()) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        (Type::Sparsevec(n), Value::Sparsevec(v)) if fits(*n, v.dimensions as usize) => sparse_bytes(v),
        (Type::Bit(n), Value::Bit(v)) if v.len == *n => bit_bytes(v),
        (Type::Varbit(n), Value::Bit(v)) if *n == 0 || v.len <= *n => bit_bytes(v),
        _ => return Err(nodedb_base::Error::internal(format!("a value does not fit its column of type {ty}"))),
    })
}

/// Whether a vector of so many numbers fits a type of `n`, where 0 is any.
const fn fits(n: u32, len: usize) -> bool {
    n == 0 || len == n as usize
}

/// Dimensions, how many numbers, where they stand, the numbers.
fn sparse_bytes(v: &SparseVector) -> Vec<u8> {
    let head = [v.dimensions, u32::try_from(v.values.len()).unwrap_or(u32::MAX)];
    let words = head.iter().chain(&v.indices).flat_map(|word| word.to_le_bytes());
    words.chain(v.values.iter().flat_map(|x| x.to_le_bytes())).collect()
}

/// How many bits, and eight of them a byte, the lowest first.
fn bit_bytes(v: &BitString) -> Vec<u8> {
    v.len.to_le_bytes().into_iter().chain(v.bytes.iter().copied()).collect()
}

fn numeric_bytes(v: Numeric) -> Vec<u8> {
    let bytes = v.unscaled.to_le_bytes();
    let sign = if v.unscaled < 0 { 0xff } else { 0 };
    // Bytes that only repeat the sign can go, as long as the highest bit left still shows it.
    let mut len = bytes.len();
    while len > 1 && bytes.get(len - 1) == Some(&sign) && bytes.get(len - 2).is_some_and(|b| (b ^ sign) & 0x80 == 0) {
        len -= 1;
    }
    std::iter::once(v.scale).chain(bytes.into_iter().take(len)).collect()
}

fn array_bytes(element: &Type, array: &Array) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    w.varint(array.items.len() as u64);
    for item in &array.items {
        if item.is_null() {
            w.u8(0);
        } else {
            w.u8(1);
            w.bytes(&value_bytes(element, item)?);
        }
    }
    Ok(w.0)
}

/// Reads the cells of a row one after the other.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    types: std::slice::Iter<'a, Type>,
    nulls: &'a [u8],
    at: usize,
    stored: usize,
    r: Reader<'a>,
    lsn: Lsn,
}

impl<'a> Cells<'a> {
    /// The cells of a row that was written by commit `lsn`.
    ///
    /// # Errors
    /// `Damaged` if the bytes are no row.
    pub fn new(types: &'a [Type], row: &'a [u8], lsn: Lsn) -> Result<Self> {
        let mut r = Reader::new(row, "row");
        if r.u8()? != ROW_VERSION {
            return Err(r.damaged("unknown version"));
        }
        let stored = usize::try_from(r.varint()?).unwrap_or(usize::MAX);
        if stored > types.len() {
            return Err(r.damaged("it has more columns than its table"));
        }
        let nulls = r.raw(stored.div_ceil(8))?;
        if stored % 8 != 0 && nulls.last().is_some_and(|byte| byte >> (stored % 8) != 0) {
            return Err(r.damaged("it marks columns that it does not have"));
        }
        Ok(Self { types: types.iter(), nulls, at: 0, stored, r, lsn })
    }

    /// The next cell. Behind the last column all are [`Cell::Null`].
    ///
    /// # Errors
    /// `Damaged` if the bytes are no row of these columns.
    pub fn take(&mut self) -> Result<Cell<'a>> {
        let Some(ty) = self.types.next() else { return Ok(Cell::Null) };
        let at = self.at;
        self.at += 1;
        if at >= self.stored || self.nulls.get(at / 8).is_none_or(|byte| byte & 1 << (at % 8) != 0) {
            return Ok(Cell::Null);
        }
        if let Some(width) = fixed_width(ty) {
            return Ok(Cell::Inline(self.r.raw(width)?, Lsn::ZERO));
        }
        if !ty.is_versioned() {
            return Ok(Cell::Inline(self.r.bytes()?, Lsn::ZERO));
        }
        let version = match self.r.varint()? {
            0 => self.lsn,
            version => Lsn(version),
        };
        let header = self.r.varint()?;
        let len = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        if header & 1 == 1 { Ok(Cell::Large(len, version)) } else { Ok(Cell::Inline(self.r.raw(len)?, version)) }
    }

    /// Fails unless the row ends where its last column ends.
    ///
    /// # Errors
    /// `Damaged` otherwise.
    pub fn end(&self) -> Result<()> {
        self.r.end()
    }
}

/// The value that lies in `bytes`.
///
/// # Errors
/// `Damaged` if the bytes are no value of type `ty`.
pub fn value(ty: &Type, bytes: &[u8]) -> Result<Value> {
    let mut r = Reader::new(bytes, "value");
    let value = read_value(ty, &mut r)?;
    r.end()?;
    Ok(value)
}

fn read_value(ty: &Type, r: &mut Reader<'_>) -> Result<Value> {
    Ok(match ty {
        Type::Bool => match r.u8()? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err(r.damaged("a boolean is neither true nor false")),
        },
        Type::Int2 => Value::Int2(i16::from_le_bytes(r.array()?)),
        Type::Int4 => Value::Int4(i32::from_le_bytes(r.array()?)),
        Type::Int8 => Value::Int8(i64::from_le_bytes(r.array()?)),
        Type::Float4 => Value::Float4(f32::from_le_bytes(r.array()?)),
        Type::Float8 => Value::Float8(f64::from_le_bytes(r.array()?)),
        Type::Numeric { .. } => Value::Numeric(read_numeric(r)?),
        Type::Text | Type::Varchar(_) => Value::Text(read_text(r)?),
        Type::Jsonb => Value::Jsonb(read_text(r)?),
        Type::Bytea => Value::Bytea(r.raw(r.rest().len())?.to_vec()),
        Type::Uuid => Value::Uuid(r.array()?),
        Type::Date => Value::Date(i32::from_le_bytes(r.array()?)),
        Type::Time => Value::Time(i64::from_le_bytes(r.array()?)),
        Type::Timestamp => Value::Timestamp(i64::from_le_bytes(r.array()?)),
        Type::Timestamptz => Value::Timestamptz(i64::from_le_bytes(r.array()?)),
        Type::Interval => Value::Interval(Interval {
            months: i32::from_le_bytes(r.array()?),
            days: i32::from_le_bytes(r.array()?),
            micros: i64::from_le_bytes(r.array()?),
        }),
        Type::Array(element) => Value::Array(read_array(element, r)?),
        Type::Vector(n) => Value::Vector(read_vector(*n, r)?),
        Type::Halfvec(n) => Value::Halfvec(read_halves(*n, r)?),
        Type::Sparsevec(n) => Value::Sparsevec(read_sparse(*n, r)?),
        Type::Bit(_) | Type::Varbit(_) => Value::Bit(read_bits(ty, r)?),
    })
}

/// The number in the bytes of a numeric.
///
/// # Errors
/// `Damaged` if there is none.
pub fn read_numeric(r: &mut Reader<'_>) -> Result<Numeric> {
    let scale = r.u8()?;
    let bytes = r.raw(r.rest().len())?;
    if scale > Numeric::MAX_DIGITS || bytes.is_empty() || bytes.len() > 16 {
        return Err(r.damaged("a number is too long"));
    }
    let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    if let [.., below, last] = bytes
        && *last == sign
        && (below ^ sign) & 0x80 == 0
    {
        return Err(r.damaged("a number is not in its only form"));
    }
    let mut wide = [sign; 16];
    wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Ok(Numeric { unscaled: i128::from_le_bytes(wide), scale })
}

fn read_text(r: &mut Reader<'_>) -> Result<String> {
    let bytes = r.raw(r.rest().len())?;
    String::from_utf8(bytes.to_vec()).map_err(|_| r.damaged("a text is not UTF-8"))
}

fn read_array(element: &Type, r: &mut Reader<'_>) -> Result<Array> {
    let mut items = Vec::new();
    for _ in 0..r.count()? {
        items.push(match r.u8()? {
            0 => Value::Null,
            1 => value(element, r.bytes()?)?,
            _ => return Err(r.damaged("unknown mark of an element")),
        });
    }
    Ok(Array { element: element.clone(), items })
}

fn read_vector(n: u32, r: &mut Reader<'_>) -> Result<Vec<f32>> {
    let bytes = r.raw(r.rest().len())?;
    let (chunks, rest) = bytes.as_chunks::<4>();
    if !fits(n, chunks.len()) || !rest.is_empty() {
        return Err(r.damaged("a vector has the wrong length"));
    }
    Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
}

fn read_halves(n: u32, r: &mut Reader<'_>) -> Result<Vec<f16>> {
    let (chunks, rest) = r.raw(r.rest().len())?.as_chunks::<2>();
    if !fits(n, chunks.len()) || !rest.is_empty() {
        return Err(r.damaged("a vector has the wrong length"));
    }
    Ok(chunks.iter().map(|chunk| f16::from_le_bytes(*chunk)).collect())
}

fn read_sparse(n: u32, r: &mut Reader<'_>) -> Result<SparseVector> {
    let (dimensions, count) = (u32::from_le_bytes(r.array()?), u32::from_le_bytes(r.array()?) as usize);
    let (words, rest) = r.raw(r.rest().len())?.as_chunks::<4>();
    let (Some((indices, values)), true, true) = (
        words.split_at_checked(count).filter(|(_, values)| values.len() == count),
        rest.is_empty(),
        fits(n, dimensions as usize),
    ) else {
        return Err(r.damaged("a sparse vector has the wrong length"));
    };
    let indices: Vec<u32> = indices.iter().map(|word| u32::from_le_bytes(*word)).collect();
    if !indices.is_sorted_by(|a, b| a < b) || indices.last().is_some_and(|last| *last >= dimensions) {
        return Err(r.damaged("the numbers of a sparse vector are out of order"));
    }
    Ok(SparseVector { dimensions, indices, values: values.iter().map(|word| f32::from_le_bytes(*word)).collect() })
}

fn read_bits(ty: &Type, r: &mut Reader<'_>) -> Result<BitString> {
    let len = u32::from_le_bytes(r.array()?);
    let bytes = r.raw(r.rest().len())?.to_vec();
    let fits = match ty {
        Type::Bit(n) => len == *n,
        Type::Varbit(n) => *n == 0 || len <= *n,
        _ => false,
    };
    let is_clean = len % 8 == 0 || bytes.last().is_none_or(|last| last >> (len % 8) == 0);
    if !fits || bytes.len() != len.div_ceil(8) as usize || !is_clean {
        return Err(r.damaged("a string of bits has the wrong length"));
    }
    Ok(BitString { len, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn types() -> Vec<Type> {
        vec![
            Type::Int8,
            Type::Text,
            Type::Bool,
            Type::Numeric { precision: 20, scale: 4 },
            Type::Vector(3),
            Type::Array(Box::new(Type::Int4)),
            Type::Uuid,
            Type::Interval,
            Type::Float4,
            Type::Halfvec(0),
            Type::Sparsevec(4),
            Type::Varbit(20),
        ]
    }

    fn rows() -> impl Strategy<Value = Vec<Value>> {
        let interval = any::<(i32, i32, i64)>().prop_map(|(months, days, micros)| Interval { months, days, micros });
        let numeric = any::<i64>().prop_map(|n| Numeric { unscaled: n.into(), scale: 4 });
        let array = any::<Vec<Option<i32>>>()
            .prop_map(|items| Array { element: Type::Int4, items: items.into_iter().map(Value::from).collect() });
        let bits = proptest::option::of(proptest::collection::vec(any::<bool>(), 0..20));
        let vectors = (any::<Option<Vec<u16>>>(), any::<Option<[i8; 4]>>(), bits);
        (
            any::<Option<i64>>(),
            proptest::option::of("[a-z]{0,8}|x{1020,1030}"),
            any::<Option<bool>>(),
            proptest::option::of(numeric),
            proptest::option::of(any::<[f32; 3]>().prop_map(|v| v.to_vec())),
            proptest::option::of(array),
            any::<Option<[u8; 16]>>(),
            proptest::option::of(interval),
            any::<Option<f32>>(),
            vectors,
        )
            .prop_map(|(a, b, c, d, e, f, g, h, i, (j, k, l))| {
                let first = [a.into(), b.into(), c.into(), d.into(), e.into(), f.into(), g.into(), h.into(), i.into()];
                let halves: Option<Vec<f16>> = j.map(|v: Vec<u16>| v.into_iter().map(f16::from_bits).collect());
                let sparse = k.map(|v: [i8; 4]| SparseVector::of_dense(&v.map(f32::from)));
                let bits = l.map(|v: Vec<bool>| v.into_iter().collect::<BitString>());
                first.into_iter().chain([halves.into(), sparse.into(), bits.into()]).collect()
            })
    }

    fn encode_new(values: &[Value]) -> Encoded {
        let fields: Vec<_> = values.iter().map(Field::Set).collect();
        encode(&types(), &fields, None).unwrap()
    }

    fn decode(encoded: &Encoded) -> Vec<Value> {
        let types = types();
        let mut cells = Cells::new(&types, &encoded.row, Lsn(7)).unwrap();
        let values = (0..types.len() as u16)
            .map(|column| match cells.take().unwrap() {
                Cell::Null => Value::Null,
                Cell::Inline(bytes, _) => value(&types[column as usize], bytes).unwrap(),
                Cell::Large(len, _) => {
                    let large = encoded.large.iter().find(|l| l.column == column).unwrap();
                    let bytes = large.value.as_ref().unwrap();
                    assert_eq!(bytes.len(), len);
                    value(&types[column as usize], bytes).unwrap()
                }
            })
            .collect();
        cells.end().unwrap();
        values
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(row in rows()) {
            prop_assert_eq!(decode(&encode_new(&row)), row);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let types = types();
            if let Ok(mut cells) = Cells::new(&types, &bytes, Lsn(1)) {
                for ty in &types {
                    match cells.take() {
                        Ok(Cell::Inline(bytes, _)) => drop(value(ty, bytes)),
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
            }
            for ty in &types {
                let _ = value(ty, &bytes);
            }
        }
    }

    #[test]
    fn a_row_has_one_form() {
        let types = [Type::Bool, Type::Text];
        let row = |bytes: &[u8]| {
            let mut cells = Cells::new(&types, bytes, Lsn(1))?;
            cells.take()?;
            cells.take()?;
            cells.end()
        };
        row(&[1, 2, 0b10, 1]).unwrap();
        row(&[1, 2, 0b110, 1]).unwrap_err();
        row(&[1, 0x82, 0, 0b10, 1]).unwrap_err();
        row(&[1, 2, 0b01, 0x80, 0, 0]).unwrap_err();
        let numeric = Type::Numeric { precision: 4, scale: 2 };
        for (ty, bytes) in [
            (Type::Bool, &[2][..]),
            (numeric.clone(), &[2, 5, 0]),
            (numeric, &[2, 0xfb, 0xff]),
            (Type::Array(Box::new(Type::Bool)), &[1, 2, 1, 1]),
        ] {
            assert_eq!(value(&ty, bytes).unwrap_err().sqlstate().as_str(), "XX001", "{ty} {bytes:?}");
        }
    }

    #[test]
    fn a_column_that_is_left_alone_keeps_its_version() {
        let types = [Type::Text, Type::Text];
        let (a, b) = (Value::from("a"), Value::from("b"));
        let first = encode(&types, &[Field::Set(&a), Field::Set(&a)], None).unwrap();
        let second = encode(&types, &[Field::Keep, Field::Set(&b)], Some((&first.row, Lsn(5)))).unwrap();
        let mut cells = Cells::new(&types, &second.row, Lsn(9)).unwrap();
        assert_eq!(cells.take().unwrap(), Cell::Inline(b"a", Lsn(5)));
        assert_eq!(cells.take().unwrap(), Cell::Inline(b"b", Lsn(9)));
    }

    #[test]
    fn a_value_that_shrinks_leaves_the_tree_of_large_values() {
        let types = [Type::Text];
        let (long, short) = (Value::from("x".repeat(2000)), Value::from("x"));
        let first = encode(&types, &[Field::Set(&long)], None).unwrap();
        assert_eq!(large_columns(&types, &first.row).unwrap(), [0]);
        let second = encode(&types, &[Field::Set(&short)], Some((&first.row, Lsn(5)))).unwrap();
        assert_eq!(second.large, [LargeValue { column: 0, value: None }]);
    }
}
