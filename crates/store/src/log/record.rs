//! The bytes of a record, and walking from one to the next.

use super::segment::{DATA, Segment};
use nodedb_base::Lsn;
use nodedb_env::File;
use std::io;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes before the payload.
pub(super) const HEAD: usize = 48;
/// The longest payload.
pub(super) const MAX_PAYLOAD: usize = 1 << 30;
/// The highest Lsn: the trees hold no higher one.
pub(super) const MAX_LSN: Lsn = Lsn(u64::MAX >> 1);
/// How much is read at once.
const WINDOW: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit = 1,
    Seal = 2,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) lsn: Lsn,
    pub(super) time: i64,
    /// The highest Lsn that was durable before this was written.
    pub(super) synced: Lsn,
    /// Low half of the sum of the record before.
    pub(super) previous: u32,
    pub(super) length: u32,
    pub(super) kind: Kind,
}

/// How many bytes a payload takes, with its head and the zeros behind it.
pub(super) const fn size_of(payload: usize) -> usize {
    HEAD + payload.next_multiple_of(8)
}

impl Head {
    pub(super) const fn seal(last: Lsn, previous: u32) -> Self {
        Self { lsn: last, time: 0, synced: last, previous, length: 0, kind: Kind::Seal }
    }

    /// Appends the record to `out`; `seed` is the segment's salt plus the record's place. Returns its sum.
    pub(super) fn encode(&self, payload: &[u8], seed: u64, out: &mut Vec<u8>) -> u64 {
        let start = out.len();
        out.resize(start + HEAD, 0);
        out.extend_from_slice(payload);
        out.resize(start + size_of(payload.len()), 0);
        let (head, body) = out.get_mut(start..).unwrap_or_default().split_at_mut(HEAD);
        let ahead = self.lsn.0.wrapping_sub(1).wrapping_sub(self.synced.0) as u32;
        let mut rest = head;
        let mut put = |bytes: &[u8]| {
            if let Some((to, left)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
                to.copy_from_slice(bytes);
                rest = left;
            }
        };
        put(&[0; 8]);
        put(&xxh3_64(body).to_le_bytes());
        put(&self.lsn.0.to_le_bytes());
        put(&self.time.to_le_bytes());
        put(&self.previous.to_le_bytes());
        put(&ahead.to_le_bytes());
        put(&self.length.to_le_bytes());
        put(&(self.kind as u32).to_le_bytes());
        let head = out.get_mut(start..start + HEAD).unwrap_or_default();
        let sum = xxh3_64_with_seed(head.get(8..).unwrap_or_default(), seed);
        if let Some(to) = head.first_chunk_mut::<8>() {
            *to = sum.to_le_bytes();
        }
        sum
    }

    /// The head at the start of `bytes`, if there is one: with its own sum and that of its body.
    pub(super) fn decode(bytes: &[u8], seed: u64) -> Option<(Self, u64, u64)> {
        let head = bytes.first_chunk::<HEAD>()?;
        let word = |i: usize| head.chunks_exact(8).nth(i).and_then(|w| w.try_into().ok()).map_or(0, u64::from_le_bytes);
        let (sum, body, lsn, time) = (word(0), word(1), Lsn(word(2)), word(3).cast_signed());
        let (chain, tail) = (word(4), word(5));
        let kind = match tail >> 32 {
            1 => Kind::Commit,
            2 => Kind::Seal,
            _ => return None,
        };
        let (previous, ahead, length) = (chain as u32, (chain >> 32) as u32, tail as u32);
        let synced = match kind {
            Kind::Commit => Lsn(lsn.0.checked_sub(1)?.checked_sub(u64::from(ahead))?),
            Kind::Seal => lsn,
        };
        if lsn > MAX_LSN || length as usize > MAX_PAYLOAD || xxh3_64_with_seed(head.get(8..)?, seed) != sum {
            return None;
        }
        Some((Self { lsn, time, synced, previous, length, kind }, sum, body))
    }
}

/// A part of a file in memory, which moves as it is asked for other parts.
pub(super) struct Window {
    file: Arc<dyn File>,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Shows `file` up to `end`, which its length reaches.
    pub(super) const fn new(file: Arc<dyn File>, end: u64) -> Self {
        Self { file, end, start: 0, bytes: Vec::new() }
    }

    /// `len` bytes from `offset`, or `None` behind the end. Never takes more memory than the file has bytes.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.end) {
            return Ok(None);
        }
        let inside = |start: u64, have: usize| {
            let skip = usize::try_from(offset.checked_sub(start)?).ok()?;
            (skip.checked_add(len)? <= have).then_some(skip)
        };
        let skip = match inside(self.start, self.bytes.len()) {
            Some(skip) => skip,
            None => {
                self.fill(offset, len)?;
                0
            }
        };
        Ok(self.bytes.get(skip..skip + len))
    }

    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        let n = WINDOW.max(len).min(left);
        if self.bytes.capacity() > 8 * WINDOW && n <= WINDOW {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.resize(n, 0);
        self.start = offset;
        self.file.read_exact_at(&mut self.bytes, offset)
    }
}

/// Goes from record to record through one segment.
pub(super) struct Walk {
    pub(super) window: Window,
    salt: u64,
    /// Where the next record begins, if there is one.
    pub(super) offset: u64,
    /// The Lsn of the record before.
    pub(super) last: Lsn,
    /// The sum of the record before.
    pub(super) previous: u64,
    /// Whether `previous` is known.
    linked: bool,
}

impl Walk {
    /// Starts before the first record.
    pub(super) const fn from_start(segment: &Segment, file: Arc<dyn File>, previous: u64) -> Self {
        let window = Window::new(file, segment.length);
        Self { window, salt: segment.salt, offset: DATA, last: segment.first.previous(), previous, linked: true }
    }

    /// Starts at the last mark before `lsn`; what came before that is taken on trust.
    pub(super) fn near(segment: &Segment, file: Arc<dyn File>, lsn: Lsn) -> Self {
        let (at, offset) = segment.nearest(lsn);
        let window = Window::new(file, segment.length);
        Self { window, salt: segment.salt, offset, last: at.previous(), previous: 0, linked: false }
    }

    /// The next record, or `None` where no whole one follows.
    pub(super) fn step(&mut self) -> io::Result<Option<(Head, &[u8])>> {
        let seed = self.salt.wrapping_add(self.offset);
        let Some(bytes) = self.window.get(self.offset, HEAD)? else { return Ok(None) };
        let Some((head, sum, body_sum)) = Head::decode(bytes, seed) else { return Ok(None) };
        let follows = !self.linked || self.previous as u32 == head.previous;
        if head.kind != Kind::Commit || head.lsn != self.last.next() || !follows {
            return Ok(None);
        }
        let length = head.length as usize;
        let size = size_of(length);
        let Some(bytes) = self.window.get(self.offset, size)? else { return Ok(None) };
        let body = bytes.get(HEAD..).unwrap_or_default();
        if xxh3_64(body) != body_sum {
            return Ok(None);
        }
        self.offset += size as u64;
        self.last = head.lsn;
        (self.previous, self.linked) = (sum, true);
        Ok(Some((head, body.get(..length).unwrap_or_default())))
    }
}
