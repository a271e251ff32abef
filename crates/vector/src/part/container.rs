//! The file of a part: a header page, sections, a checksum for each block. `docs/format/vector.md` draws it.
//!
//! Opening reads the header and the table of checksums. A block is held against its checksum when it is used first.

use crate::bytes::{Reader, Writer};
use crate::section::Section;
use crate::{Error, Result};
use nodedb_env::{Files, Mapping, OpenMode};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 8] = *b"NDBVPART";
const VERSION: u32 = 1;
/// The header, and what sections are aligned to.
const PAGE: usize = 4096;
/// What one checksum is for.
const BLOCK: usize = 64 << 10;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sealed part: entries and a graph.
    Graph = 1,
    /// The ids and versions of a part once more, so that what is lost with it has a name.
    Ids = 2,
}

/// An array in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Ids = 1,
    Versions = 2,
    /// Rows in the order of their ids and versions.
    Order = 3,
    Rows = 4,
    Factors = 5,
    Codes = 6,
    Links = 7,
    Upper = 8,
    Centre = 9,
}

/// Writes a file, durably. Its name is another one until it is whole.
pub fn write(
    files: &dyn Files,
    path: &Path,
    (kind, number): (Kind, u64),
    meta: &[u8],
    sections: &[(Tag, &[u8])],
) -> Result<()> {
    let aside = path.with_extension("tmp");
    let failed = || Error::io("write", &aside);
    let file = files.open(&aside, OpenMode::Replace).map_err(failed())?;
    let (mut places, mut at) = (Vec::new(), PAGE);
    for (tag, bytes) in sections {
        places.push((*tag, at, bytes.len()));
        at = (at + bytes.len()).next_multiple_of(PAGE);
    }
    file.set_len(at as u64).map_err(failed())?;
    let mut sums = Sums::default();
    for ((_, bytes), (_, place, length)) in sections.iter().zip(&places) {
        file.write_all_at(bytes, *place as u64).map_err(failed())?;
        sums.add(bytes);
        sums.zeros(length.next_multiple_of(PAGE) - length);
    }
    let sums = sums.finish();
    file.write_all_at(&sums, at as u64).map_err(failed())?;
    let header = header((kind, number), &places, (at, &sums), meta)?;
    file.write_all_at(&header, 0).map_err(failed())?;
    file.sync().map_err(Error::io("sync", &aside))?;
    drop(file);
    files.rename(&aside, path).map_err(Error::io("rename", &aside))?;
    files.sync_dir(path.parent().unwrap_or(Path::new(""))).map_err(Error::io("sync the directory of", path))
}

fn header(
    (kind, number): (Kind, u64),
    places: &[(Tag, usize, usize)],
    (sums_at, sums): (usize, &[u8]),
    meta: &[u8],
) -> Result<Vec<u8>> {
    let mut out = Writer(MAGIC.to_vec());
    out.u32(VERSION);
    out.u32(kind as u32);
    out.u64(number);
    out.u64(sums_at as u64);
    out.u64(sums.len() as u64);
    out.u64(xxh3_64(sums));
    out.u32(places.len() as u32);
    for (tag, at, length) in places {
        out.u32(*tag as u32);
        out.u64(*at as u64);
        out.u64(*length as u64);
    }
    out.u64(meta.len() as u64);
    out.0.extend_from_slice(meta);
    if out.0.len() > PAGE - 8 {
        return Err(Error::invalid("the header of a part would not fit its page"));
    }
    out.0.resize(PAGE - 8, 0);
    let sum = xxh3_64(&out.0);
    out.u64(sum);
    Ok(out.0)
}

/// Checksums of blocks of what comes in pieces.
#[derive(Default)]
struct Sums {
    block: Vec<u8>,
    sums: Writer,
}

impl Sums {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(head);
            bytes = rest;
            if self.block.len() == BLOCK {
                self.close();
            }
        }
    }

    fn zeros(&mut self, n: usize) {
        self.add([0; PAGE].get(..n).unwrap_or_default());
    }

    fn close(&mut self) {
        self.sums.u64(xxh3_64(&self.block));
        self.block.clear();
    }

    fn finish(mut self) -> Vec<u8> {
        if !self.block.is_empty() {
            self.close();
        }
        self.sums.0
    }
}

/// An open file.
pub struct Container {
    path: PathBuf,
    memory: Arc<dyn Mapping>,
    places: Vec<(u32, Range<usize>)>,
    meta: Vec<u8>,
    sums: Vec<u64>,
    /// A bit for each block that was found right.
    right: Vec<AtomicU64>,
    all_right: AtomicBool,
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Container {
    /// Opens a file. Its header and table of checksums are verified.
    pub fn open(files: &dyn Files, path: &Path, kind: Kind, number: u64) -> Result<Self> {
        let memory = files.map(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::damaged(format!("{} is not there", path.display())),
            _ => Error::io("open", path)(e),
        })?;
        let damaged = |what: &str| Error::damaged(format!("{}: {what}", path.display()));
        let bytes = memory.bytes();
        let header = bytes.get(..PAGE).ok_or_else(|| damaged("no header"))?;
        let (body, sum) = header.split_at_checked(PAGE - 8).unwrap_or_default();
        if sum != xxh3_64(body).to_le_bytes() {
            return Err(damaged("the header is not what was written"));
        }
        let mut reader = Reader::new(body, "the header of a part");
        if reader.take(8)? != MAGIC || reader.u32()? != VERSION {
            return Err(damaged("no part, or one of a later version"));
        }
        if reader.u32()? != kind as u32 || reader.u64()? != number {
            return Err(damaged("another file than its name says"));
        }
        let (sums_at, sums_len, sums_sum) = (reader.size()?, reader.size()?, reader.u64()?);
        let table = sums_at.checked_add(sums_len).filter(|end| *end == bytes.len()).and_then(|_| bytes.get(sums_at..));
        let table = table.ok_or_else(|| damaged("of another length than was written"))?;
        let blocks = sums_at.saturating_sub(PAGE).div_ceil(BLOCK);
        if xxh3_64(table) != sums_sum || table.len() != blocks * 8 {
            return Err(damaged("the table of checksums is not what was written"));
        }
        let sums = table.chunks_exact(8).filter_map(|sum| sum.try_into().ok()).map(u64::from_le_bytes).collect();
        let mut places = Vec::new();
        for _ in 0..reader.u32()? {
            let (tag, at, length) = (reader.u32()?, reader.size()?, reader.size()?);
            let end = at.checked_add(length).filter(|end| at >= PAGE && *end <= sums_at);
            places.push((tag, at..end.ok_or_else(|| damaged("a section outside the file"))?));
        }
        let length = reader.count(1)?;
        let meta = reader.take(length)?.to_vec();
        let right = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { path: path.to_owned(), memory, places, meta, sums, right, all_right: AtomicBool::new(false) })
    }

    /// What the form keeps in the header.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// The length of the file.
    pub fn len(&self) -> usize {
        self.memory.bytes().len()
    }

    pub fn damaged(&self, what: &str) -> Error {
        Error::damaged(format!("{}: {what}", self.path.display()))
    }

    fn place(&self, tag: Tag) -> Result<Range<usize>> {
        let found = self.places.iter().find(|(found, _)| *found == tag as u32).map(|(_, range)| range.clone());
        found.ok_or_else(|| self.damaged(&format!("no section {tag:?}")))
    }

    /// A section, which is not verified yet.
    pub fn section<T: bytemuck::Pod>(&self, tag: Tag) -> Result<Section<T>> {
        let section = Section::new(&self.memory, self.place(tag)?);
        section.ok_or_else(|| self.damaged(&format!("a section {tag:?} that is no array")))
    }

    /// Verifies a section.
    pub fn verify(&self, tag: Tag) -> Result<()> {
        self.verify_range(self.place(tag)?)
    }

    /// Verifies some bytes of a section.
    pub fn verify_in(&self, tag: Tag, range: Range<usize>) -> Result<()> {
        if self.all_right.load(Ordering::Acquire) {
            return Ok(());
        }
        let place = self.place(tag)?;
        self.verify_range(place.start + range.start..(place.start + range.end).min(place.end))
    }

    /// Says that a section will be read here and there.
    pub fn at_random(&self, tag: Tag) -> Result<()> {
        self.memory.at_random(self.place(tag)?);
        Ok(())
    }

    /// Verifies everything.
    pub fn verify_all(&self) -> Result<()> {
        if self.all_right.load(Ordering::Acquire) {
            return Ok(());
        }
        self.memory.will_need();
        self.verify_range(PAGE..PAGE + self.sums.len() * BLOCK)?;
        self.all_right.store(true, Ordering::Release);
        Ok(())
    }

    /// Verifies everything again, as if it had never been.
    pub fn scrub(&self) -> Result<()> {
        self.all_right.store(false, Ordering::Release);
        self.right.iter().for_each(|word| word.store(0, Ordering::Release));
        self.verify_all()
    }

    fn verify_range(&self, range: Range<usize>) -> Result<()> {
        if range.is_empty() || self.all_right.load(Ordering::Acquire) {
            return Ok(());
        }
        for block in (range.start - PAGE) / BLOCK..=(range.end - 1 - PAGE) / BLOCK {
            self.verify_block(block)?;
        }
        Ok(())
    }

    fn verify_block(&self, block: usize) -> Result<()> {
        let (word, bit) = (self.right.get(block / 64), 1 << (block % 64));
        if word.is_some_and(|word| word.load(Ordering::Acquire) & bit != 0) {
            return Ok(());
        }
        let data = self.memory.bytes();
        let end = (PAGE + (block + 1) * BLOCK).min(data.len() - self.sums.len() * 8);
        let sum = data.get(PAGE + block * BLOCK..end).map(xxh3_64);
        if sum.is_none() || sum != self.sums.get(block).copied() {
            return Err(self.damaged(&format!("block {block} is not what was written")));
        }
        if let Some(word) = word {
            word.fetch_or(bit, Ordering::AcqRel);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use nodedb_env::MemoryFiles;

    fn written() -> (MemoryFiles, PathBuf, Vec<u32>) {
        let (files, path) = (MemoryFiles::new(), PathBuf::from("1.part"));
        let numbers: Vec<u32> = (0..50_000).collect();
        let sections = [(Tag::Links, bytemuck::cast_slice(&numbers)), (Tag::Rows, &[1, 2, 3][..])];
        write(&files, &path, (Kind::Graph, 1), b"meta", &sections).unwrap();
        (files, path, numbers)
    }

    #[test]
    fn what_was_written_is_read() {
        let (files, path, numbers) = written();
        let container = Container::open(&files, &path, Kind::Graph, 1).unwrap();
        container.verify_all().unwrap();
        assert_eq!(container.meta(), b"meta");
        assert_eq!(*container.section::<u32>(Tag::Links).unwrap(), numbers[..]);
        assert_eq!(*container.section::<u8>(Tag::Rows).unwrap(), [1, 2, 3]);
        assert!(container.section::<u32>(Tag::Rows).is_err() && container.section::<u8>(Tag::Ids).is_err());
        assert!(Container::open(&files, &path, Kind::Graph, 2).is_err());
        assert!(Container::open(&files, &path, Kind::Ids, 1).is_err());
    }

    /// Every byte of the header and the table counts, and every byte of a section.
    #[test]
    fn no_byte_can_change_unnoticed() {
        let (files, path, _) = written();
        let bytes = files.read(&path).unwrap();
        for at in (0..bytes.len()).step_by(97).chain([0, PAGE - 1, PAGE, bytes.len() - 1]) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            files.write_atomically(&path, &bytes).unwrap();
            let opened = Container::open(&files, &path, Kind::Graph, 1);
            assert!(opened.and_then(|container| container.verify_all()).is_err(), "byte {at}");
        }
        for length in [0, 5, PAGE, bytes.len() / 2, bytes.len() - 1] {
            files.write_atomically(&path, &bytes[..length]).unwrap();
            assert!(Container::open(&files, &path, Kind::Graph, 1).is_err(), "length {length}");
        }
    }
}
