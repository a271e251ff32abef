//! The checkpoint file: from where the log must be replayed, and what compaction may have dropped.
//!
//! `docs/format/directory.md` has the bytes. It is written aside, synced and renamed; the state before it
//! stays usable until then.

use crate::snapshot::Mark;
use nodedb_base::{Error, Lsn, Reader, Result, Writer};
use nodedb_env::Files;
use std::path::Path;

const MAGIC: &[u8; 8] = b"NDBCHKPT";
const VERSION: u8 = 1;

/// What is known of a database apart from its log and its trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The database's number, drawn at its creation.
    pub database: u64,
    /// Everything up to this commit is in the trees' files.
    pub flushed: Lsn,
    /// No state before this commit can be read.
    pub low_water: Lsn,
    /// A commit that was acknowledged; the log must reach it.
    pub last: Lsn,
    /// When it was committed.
    pub time: i64,
    /// When commits were made, a second apart.
    pub marks: Vec<Mark>,
}

impl Checkpoint {
    /// Writes the file.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(&self, files: &dyn Files, path: &Path) -> Result<()> {
        let mut w = Writer::new();
        w.raw(MAGIC);
        w.u8(VERSION);
        for number in [self.database, self.flushed.0, self.low_water.0, self.last.0] {
            w.u64(number);
        }
        w.u64(self.time.cast_unsigned());
        w.varint(self.marks.len() as u64);
        for mark in &self.marks {
            w.u64(mark.time.cast_unsigned());
            w.u64(mark.lsn.0);
        }
        write_checked(files, path, w)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `Damaged` if it is missing or not what was written; `Io`.
    pub fn read(files: &dyn Files, path: &Path) -> Result<Self> {
        let bytes = read_checked(files, path)?;
        let mut r = Reader::new(&bytes, "checkpoint file");
        if r.raw(MAGIC.len())? != MAGIC {
            return Err(r.damaged("it does not begin as one"));
        }
        if r.u8()? != VERSION {
            return Err(r.damaged("unknown version"));
        }
        let database = r.u64()?;
        let (flushed, low_water, last) = (Lsn(r.u64()?), Lsn(r.u64()?), Lsn(r.u64()?));
        let time = r.u64()?.cast_signed();
        let mut marks = Vec::new();
        for _ in 0..r.count()? {
            marks.push(Mark { time: r.u64()?.cast_signed(), lsn: Lsn(r.u64()?) });
        }
        r.end()?;
        Ok(Self { database, flushed, low_water, last, time, marks })
    }
}

/// Writes a small file with a checksum at its end, as a whole or not at all.
///
/// # Errors
/// `Io`.
pub fn write_checked(files: &dyn Files, path: &Path, mut w: Writer) -> Result<()> {
    let sum = xxhash_rust::xxh3::xxh3_64(&w.0);
    w.u64(sum);
    files.write_atomically(path, &w.0).map_err(|e| Error::io(format_args!("write {}", path.display()), &e))
}

/// Reads what [`write_checked`] wrote, without the checksum.
///
/// # Errors
/// `Damaged` if the file is missing or not what was written; `Io`.
pub fn read_checked(files: &dyn Files, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = files.read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::damaged(format!("file {} is missing", path.display())),
        _ => Error::io(format_args!("read {}", path.display()), &e),
    })?;
    let wrong = || Error::damaged(format!("file {} is damaged: its checksum is wrong", path.display()));
    let body = bytes.len().checked_sub(8).ok_or_else(wrong)?;
    let sum = bytes.last_chunk::<8>().map(|sum| u64::from_le_bytes(*sum));
    bytes.truncate(body);
    if sum == Some(xxhash_rust::xxh3::xxh3_64(&bytes)) { Ok(bytes) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodedb_env::MemoryFiles;

    #[test]
    fn every_flip_is_noticed() {
        let files = MemoryFiles::new();
        let path = Path::new("/CHECKPOINT");
        files.create_dir_all(Path::new("/")).unwrap();
        let mark = Mark { time: -5, lsn: Lsn(4) };
        let written =
            Checkpoint { database: 1, flushed: Lsn(2), low_water: Lsn(1), last: Lsn(4), time: 9, marks: vec![mark] };
        written.write(&files, path).unwrap();
        assert_eq!(Checkpoint::read(&files, path).unwrap(), written);
        let good = files.read(path).unwrap();
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            files.write_atomically(path, &bad).unwrap();
            assert_eq!(Checkpoint::read(&files, path).unwrap_err().sqlstate().as_str(), "XX001");
        }
        files.remove(path).unwrap();
        assert_eq!(Checkpoint::read(&files, path).unwrap_err().sqlstate().as_str(), "XX001");
    }
}
