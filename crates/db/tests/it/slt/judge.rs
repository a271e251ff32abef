//! Compares what a record gave with what it wants, by sqllogictest's rules.

use super::record::{Record, Sort, Want};
use nodedb::text::TextStyle;
use nodedb::{Error, Rows, Value};
use std::collections::HashMap;

/// What a record gave.
#[derive(Clone, Debug)]
pub enum Given {
    /// So many rows were changed.
    Done(Option<u64>),
    Rows {
        columns: usize,
        rows: Vec<Vec<Value>>,
        style: TextStyle,
    },
    Error(String, String),
    /// A panic, or no answer in time.
    Lost(String),
}

impl From<Error> for Given {
    fn from(error: Error) -> Self {
        Self::Error(error.sqlstate().as_str().to_owned(), error.to_string())
    }
}

impl Given {
    pub fn rows(rows: &Rows, style: TextStyle) -> Self {
        let values = rows.iter().map(|row| row.values()).collect::<Result<Vec<_>, _>>();
        match values {
            Ok(values) => Self::Rows { columns: rows.columns().len(), rows: values, style },
            Err(error) => error.into(),
        }
    }
}

/// What is kept from record to record of a file.
#[derive(Debug)]
pub struct Judge {
    pub threshold: usize,
    /// One line a value, and not one a row.
    pub by_value: bool,
    hashes: HashMap<String, String>,
}

impl Judge {
    pub fn new(by_value: bool) -> Self {
        Self { threshold: if by_value { 8 } else { 0 }, by_value, hashes: HashMap::new() }
    }

    /// The difference, if there is one.
    pub fn judge(&mut self, record: &Record, given: &Given) -> Result<(), String> {
        let said = |given: &Given| match given {
            Given::Error(code, message) => format!("error {code}: {message}"),
            Given::Lost(how) => how.clone(),
            Given::Done(n) => format!("done, {n:?} rows"),
            Given::Rows { rows, .. } => format!("{} rows", rows.len()),
        };
        match (&record.want, given) {
            (Want::Restart, Given::Done(_)) | (Want::Ok(None), Given::Done(_) | Given::Rows { .. }) => Ok(()),
            (Want::Ok(Some(wanted)), Given::Done(Some(n))) if n == wanted => Ok(()),
            (Want::Error(wanted), Given::Error(code, message)) => {
                let full = format!("{code}: {message}");
                match wanted {
                    Some(wanted) if wanted != code && *wanted != full => {
                        Err(format!("wanted error {wanted}\ngot error {full}"))
                    }
                    _ => Ok(()),
                }
            }
            (Want::Rows { types, .. }, Given::Rows { columns, .. }) if types.len() != *columns => {
                Err(format!("wanted {} columns, got {columns}", types.len()))
            }
            (Want::Rows { label, .. }, Given::Rows { .. }) => {
                let lines = self.lines(record, given);
                self.same_as_labelled(label.as_deref(), &lines)?;
                let same = lines.iter().map(|line| line.trim_end()).eq(record.lines.iter().map(|l| l.trim_end()));
                if same { Ok(()) } else { Err(difference(&record.lines, &lines)) }
            }
            (wanted, given) => Err(format!("wanted {wanted:?}\ngot {}", said(given))),
        }
    }

    fn same_as_labelled(&mut self, label: Option<&str>, lines: &[String]) -> Result<(), String> {
        let (Some(label), true) = (label, self.by_value) else { return Ok(()) };
        let hash = md5(lines.join("\n").as_bytes());
        let first = self.hashes.entry(label.to_owned()).or_insert_with(|| hash.clone());
        if *first == hash { Ok(()) } else { Err(format!("not the rows that {label} gave before")) }
    }

    /// The rows as the lines of a file.
    pub fn lines(&self, record: &Record, given: &Given) -> Vec<String> {
        let (Want::Rows { types, sort, .. }, Given::Rows { rows, style, .. }) = (&record.want, given) else {
            return Vec::new();
        };
        let cell = |(value, ty): (&Value, char)| cell(value, ty, style);
        let mut rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().zip(types.chars()).map(cell).collect()).collect();
        if *sort == Sort::Rows {
            rows.sort();
        }
        if !self.by_value {
            return rows.iter().map(|row| row.join(" | ").replace('\n', "\\n")).collect();
        }
        let mut values: Vec<String> = rows.into_iter().flatten().collect();
        if *sort == Sort::Values {
            values.sort();
        }
        if self.threshold == 0 || values.len() <= self.threshold {
            return values;
        }
        let text: String = values.iter().map(|value| format!("{value}\n")).collect();
        vec![format!("{} values hashing to {}", values.len(), md5(text.as_bytes()))]
    }
}

fn difference(wanted: &[String], got: &[String]) -> String {
    let show = |lines: &[String]| lines.iter().take(40).map(|line| format!("  {line}\n")).collect::<String>();
    format!("wanted\n{}got\n{}", show(wanted), show(got))
}

fn cell(value: &Value, ty: char, style: &TextStyle) -> String {
    let text = match value {
        Value::Null => return "NULL".to_owned(),
        Value::Bool(v) if ty == 'I' => u8::from(*v).to_string(),
        other => nodedb::text::print(other, style),
    };
    match ty {
        'I' if text.parse::<i128>().is_ok() => text,
        'I' => (text.parse::<f64>().unwrap_or(0.0) as i64).to_string(),
        'R' => format!("{:.3}", text.parse::<f64>().unwrap_or(0.0)),
        _ if text.is_empty() => "(empty)".to_owned(),
        _ => text.chars().map(|c| if c == '\n' || c >= ' ' { c } else { '@' }).collect(),
    }
}

/// MD5, which is how these files name long results.
pub fn md5(data: &[u8]) -> String {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = data.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64) + if padded.len() % 64 > 56 { 64 } else { 0 }, 0);
    let length = padded.len() - 8;
    padded[length..].copy_from_slice(&(data.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks(64) {
        let words: Vec<u32> = block.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64 {
            let (f, g) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            let constant = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(f).wrapping_add(constant).wrapping_add(words[g]);
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4]));
        }
        for (total, part) in state.iter_mut().zip([a, b, c, d]) {
            *total = total.wrapping_add(part);
        }
    }
    state.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn md5_is_md5() {
    assert_eq!(md5(b""), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(md5(b"The quick brown fox jumps over the lazy dog"), "9e107d9d372bb6826bd81d3542a419d6");
    assert_eq!(md5(&[b'a'; 60]), "cc7ed669cf88f201c3297c6a91e1d18d");
}
