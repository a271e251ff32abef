//! One segment file: its header page, its witness slots, its creation.

use super::directory::segment_path;
use nodedb_base::{Error, Lsn, Result, Writer};
use nodedb_env::{File, Files, OpenMode};
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const MAGIC: [u8; 8] = *b"NDBLOG01";
/// The unit that is thought to break at once.
pub(super) const PAGE: u64 = 4096;
/// Where the records begin.
pub(super) const DATA: u64 = 3 * PAGE;

/// What is known of a segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Lsn of the first record that it holds or will hold.
    pub(super) first: Lsn,
    /// Length of the file.
    pub(super) length: u64,
    /// Sum of the header page; seeds all other sums in the file.
    pub(super) salt: u64,
    /// Where some of the records begin, in order, so that a reader need not start at the first.
    pub(super) marks: Vec<(Lsn, u64)>,
}

/// Distance between marks, in bytes.
const MARK_EVERY: u64 = 64 << 10;

impl Segment {
    /// Remembers that a record begins at `offset`, if the last mark is far enough away.
    pub(super) fn mark(&mut self, lsn: Lsn, offset: u64) {
        let last = self.marks.last().map_or(DATA, |&(_, offset)| offset);
        if offset >= last + MARK_EVERY {
            self.marks.push((lsn, offset));
        }
    }

    /// The last known beginning of a record at or before `lsn`.
    pub(super) fn nearest(&self, lsn: Lsn) -> (Lsn, u64) {
        let i = self.marks.partition_point(|&(l, _)| l <= lsn);
        i.checked_sub(1).and_then(|i| self.marks.get(i)).copied().unwrap_or((self.first, DATA))
    }

    pub(super) fn open(&self, files: &dyn Files, dir: &Path, mode: OpenMode) -> std::io::Result<Arc<dyn File>> {
        files.open(&segment_path(dir, self.number), mode)
    }
}

/// What a header page says.
pub(super) struct Header {
    pub(super) database: u64,
    pub(super) number: u64,
    pub(super) length: u64,
    pub(super) first: Lsn,
    /// Sum of the last record of the segment before.
    pub(super) previous: u64,
}

impl Header {
    /// The page, and its sum.
    fn encode(&self) -> (Vec<u8>, u64) {
        let mut w = Writer::new();
        w.raw(&MAGIC);
        for field in [self.database, self.number, self.length, self.first.0, self.previous] {
            w.u64(field);
        }
        w.0.resize(PAGE as usize - 8, 0);
        let salt = xxh3_64(&w.0);
        w.u64(salt);
        (w.0, salt)
    }

    /// What the page says, and its sum; or what is wrong with it.
    pub(super) fn decode(page: &[u8]) -> Result<(Self, u64), &'static str> {
        let (body, sum) = page.split_last_chunk::<8>().ok_or("its header ends too early")?;
        let salt = u64::from_le_bytes(*sum);
        if xxh3_64(body) != salt {
            return Err("the checksum of its header is wrong");
        }
        let word = |i: usize| body.chunks_exact(8).nth(i).and_then(|w| w.try_into().ok()).map_or(0, u64::from_le_bytes);
        if word(0) != u64::from_le_bytes(MAGIC) {
            return Err("it is of another kind or version");
        }
        let header =
            Self { database: word(1), number: word(2), length: word(3), first: Lsn(word(4)), previous: word(5) };
        Ok((header, salt))
    }
}

/// Makes a segment, durably. Nothing names it yet.
pub(super) fn create(files: &dyn Files, dir: &Path, header: &Header) -> Result<(Segment, Arc<dyn File>)> {
    let path = segment_path(dir, header.number);
    let (mut head, salt) = header.encode();
    // The witness slots are filled from the start, as the rest is before it is used.
    head.resize(DATA as usize, 0);
    let make = || {
        let file = files.open(&path, OpenMode::Replace)?;
        file.allocate(header.length)?;
        file.write_all_at(&head, 0)?;
        file.sync()?;
        files.sync_dir(dir)?;
        Ok(file)
    };
    let file = make().map_err(|e| {
        // Gives back the space. If this fails too, the next opening removes what nothing names.
        _ = files.remove(&path);
        Error::io(format_args!("create the log segment {}", path.display()), &e)
    })?;
    let (number, first, length) = (header.number, header.first, header.length);
    Ok((Segment { number, first, length, salt, marks: Vec::new() }, file))
}

/// Where witness slot `slot` lies.
pub(super) const fn witness_offset(slot: u64) -> u64 {
    PAGE * (1 + slot % 2)
}

/// The bytes of a witness slot.
pub(super) fn encode_witness(lsn: Lsn, salt: u64, offset: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (head, tail) = bytes.split_at_mut(8);
    head.copy_from_slice(&lsn.0.to_le_bytes());
    tail.copy_from_slice(&xxh3_64_with_seed(&lsn.0.to_le_bytes(), salt.wrapping_add(offset)).to_le_bytes());
    bytes
}

/// The Lsn in a witness slot, if its sum is right.
pub(super) fn decode_witness(bytes: [u8; 16], salt: u64, offset: u64) -> Option<Lsn> {
    let lsn = Lsn(u64::from_le_bytes(*bytes.first_chunk()?));
    (encode_witness(lsn, salt, offset) == bytes).then_some(lsn)
}
