//! `SEGMENTS`: which segments there are.

use super::record::MAX_LSN;
use super::segment::{DATA, Segment};
use nodedb_base::{Error, Lsn, Reader, Result, Writer};
use nodedb_env::{Files, OpenMode};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 8] = *b"NDBSEGS1";
const NAME: &str = "SEGMENTS";
/// Two million segments; a longer file is no list of ours.
const MAX_SIZE: u64 = 64 << 20;

/// The name of a segment's file.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

/// The number in the name of a segment's file.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|d| d.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Whether there is a log.
pub(super) fn exists(files: &dyn Files, dir: &Path) -> Result<bool> {
    let path = dir.join(NAME);
    files.exists(&path).map_err(|e| Error::io(format_args!("look for {}", path.display()), &e))
}

/// Writes the list, durably.
pub(super) fn store(files: &dyn Files, dir: &Path, database: u64, segments: &[Segment]) -> Result<()> {
    let path = dir.join(NAME);
    files
        .write_atomically(&path, &encode(database, segments))
        .map_err(|e| Error::io(format_args!("write {}", path.display()), &e))
}

/// Reads the list.
pub(super) fn load(files: &dyn Files, dir: &Path, database: u64) -> Result<Vec<Segment>> {
    let path = dir.join(NAME);
    let named = |why: &dyn std::fmt::Display| Error::damaged(format!("{}: {why}", path.display())).with_detail(SAVED);
    if !exists(files, dir)? {
        return Err(named(&"the file that names the segments of the log is missing"));
    }
    let io = |e: std::io::Error| Error::io(format_args!("read {}", path.display()), &e);
    let file = files.open(&path, OpenMode::Read).map_err(io)?;
    let size = file.size().map_err(io)?;
    if size > MAX_SIZE {
        return Err(named(&"damaged list of segments: it is too long"));
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, 0).map_err(io)?;
    decode(&bytes, database).map_err(|e| named(&e))
}

const SAVED: &str = "the segments themselves were not touched and may be whole";

fn encode(database: u64, segments: &[Segment]) -> Vec<u8> {
    let mut w = Writer::new();
    w.raw(&MAGIC);
    w.u64(database);
    w.u32(segments.len() as u32);
    w.u32(0);
    for segment in segments {
        w.u64(segment.number);
        w.u64(segment.first.0);
        w.u64(segment.length);
        w.u64(segment.salt);
    }
    let sum = xxh3_64(&w.0);
    w.u64(sum);
    w.0
}

fn decode(bytes: &[u8], database: u64) -> Result<Vec<Segment>> {
    let Some((body, sum)) = bytes.split_last_chunk::<8>() else {
        return Err(Error::damaged("damaged list of segments: it ends too early"));
    };
    let mut r = Reader::new(body, "list of segments");
    if xxh3_64(body) != u64::from_le_bytes(*sum) {
        return Err(r.damaged("its checksum is wrong"));
    }
    if r.array()? != MAGIC {
        return Err(r.damaged("it is of another kind or version"));
    }
    if r.u64()? != database {
        return Err(r.damaged("it belongs to another database"));
    }
    let count = r.u32()?;
    r.u32()?;
    let mut segments = Vec::new();
    for _ in 0..count {
        let (number, first, length, salt) = (r.u64()?, Lsn(r.u64()?), r.u64()?, r.u64()?);
        segments.push(Segment { number, first, length, salt, marks: Vec::new() });
    }
    r.end()?;
    let follows = |(a, b): (&Segment, &Segment)| a.number.checked_add(1) == Some(b.number) && a.first <= b.first;
    let in_order = segments.iter().zip(segments.iter().skip(1)).all(follows);
    let long = segments.iter().all(|s| s.length >= DATA && s.first > Lsn::ZERO && s.first <= MAX_LSN);
    if segments.is_empty() || !in_order || !long {
        return Err(r.damaged("its entries do not fit together"));
    }
    Ok(segments)
}
