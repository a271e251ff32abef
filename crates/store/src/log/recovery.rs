//! Where the log ends, and whether that is the truth: torn tails are told from damage here.
//!
//! `docs/format/log.md`, "Opening", has the rules. Reading (`scan`) and mending (`mend`) are apart, so that
//! damaged files stay as they are.

use super::Record;
use super::directory::{self, segment_number, segment_path};
use super::record::{HEAD, Head, Kind, Walk, Window};
use super::segment::{DATA, Header, PAGE, Segment, decode_witness, witness_offset};
use nodedb_base::{Error, Lsn, Result};
use nodedb_env::{File, Files, OpenMode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Where the log lies and what the caller knows of it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) dir: &'a Path,
    pub(super) database: u64,
    /// Segments that end at or before this are not read.
    pub(super) after: Lsn,
    /// The highest Lsn that somebody outside knows to have been synced.
    pub(super) witness: Lsn,
}

/// What is on disk.
pub(super) struct Scan {
    pub(super) segments: Vec<Segment>,
    pub(super) tail: Tail,
    /// How many records were read.
    pub(super) records: u64,
    /// Files that nothing names.
    leftovers: Vec<PathBuf>,
}

/// The end of the last segment.
pub(super) struct Tail {
    /// Behind the last record.
    pub(super) offset: u64,
    /// The last record.
    pub(super) last: Lsn,
    /// Its sum.
    pub(super) previous: u64,
    /// The witness slot to be written next.
    pub(super) slot: u64,
    /// The last group, unless a witness says that it was synced.
    unsure: std::ops::Range<u64>,
    /// Bytes of a torn group, which must be erased.
    torn: std::ops::Range<u64>,
}

impl Tail {
    /// How many bytes a torn group left behind.
    pub(super) const fn torn_bytes(&self) -> u64 {
        self.torn.end.saturating_sub(self.torn.start)
    }
}

/// Reads and verifies; changes nothing.
pub(super) fn scan(place: Place<'_>) -> Result<Scan> {
    let mut segments = directory::load(place.files, place.dir, place.database)?;
    let leftovers = leftovers(place, &segments)?;
    let nexts: Vec<_> = segments.iter().skip(1).map(|s| Some(s.first)).chain([None]).collect();
    let mut chain = None;
    let mut records = 0;
    let mut tail = None;
    for (segment, next) in segments.iter_mut().zip(nexts) {
        let (file, previous) = open_segment(place, segment)?;
        if chain.is_some_and(|sum| sum != previous) {
            let why = "it does not continue the segment before";
            return Err(damage(place, segment, 0, segment.first, why));
        }
        chain = None;
        if next.is_some_and(|next| next.previous() <= place.after) {
            continue;
        }
        let mut walk = Walk::from_start(segment, file, previous);
        let walked = walk_all(place, segment, &mut walk)?;
        records += walked.records;
        match next {
            Some(next) if walk.last.next() == next => chain = Some(walk.previous),
            Some(_) => {
                let why = "it is broken, although a later segment says that it was synced";
                return Err(damage(place, segment, walk.offset, walk.last.next(), why));
            }
            None => tail = Some(find_tail(place, segment, walk, walked.group)?),
        }
    }
    let tail = tail.ok_or_else(|| Error::internal("a log without segments"))?;
    Ok(Scan { segments, tail, records, leftovers })
}

/// Erases what a torn group left behind and makes durable what is kept. Returns the last segment's file.
pub(super) fn mend(place: Place<'_>, scan: &Scan) -> Result<Arc<dyn File>> {
    let mend = || {
        let last = scan.segments.last().ok_or(io::ErrorKind::NotFound)?;
        let file = last.open(place.files, place.dir, OpenMode::Edit)?;
        rewrite(&*file, scan.tail.unsure.clone())?;
        erase(&*file, scan.tail.torn.clone())?;
        file.sync()?;
        place.files.sync_dir(place.dir)?;
        scan.leftovers.iter().try_for_each(|path| place.files.remove(path))?;
        Ok(file)
    };
    mend().map_err(|e| Error::io(format_args!("prepare the log in {}", place.dir.display()), &e))
}

/// Writes bytes again that are there already. After a sync that failed, the system may show them and yet
/// believe that they need no writing; another sync alone would do nothing.
fn rewrite(file: &dyn File, range: std::ops::Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; chunk(&range)];
    pieces(range, |at, n| {
        let piece = buffer.get_mut(..n).unwrap_or_default();
        file.read_exact_at(piece, at)?;
        file.write_all_at(piece, at)
    })
}

/// Writes zeros.
pub(super) fn erase(file: &dyn File, range: std::ops::Range<u64>) -> io::Result<()> {
    pieces(range, |at, n| file.write_all_at(ZEROS.get(..n).unwrap_or_default(), at))
}

/// How much of a range is handled at once.
fn chunk(range: &std::ops::Range<u64>) -> usize {
    usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(ZEROS.len())
}

fn pieces(mut range: std::ops::Range<u64>, mut each: impl FnMut(u64, usize) -> io::Result<()>) -> io::Result<()> {
    while !range.is_empty() {
        let n = chunk(&range);
        each(range.start, n)?;
        range.start += n as u64;
    }
    Ok(())
}

/// Hands `each` the whole records behind `after`, up to the first damage; returns the last one.
pub(super) fn rescue(place: Place<'_>, each: &mut dyn FnMut(Record) -> Result<()>) -> Result<Lsn> {
    let segments = directory::load(place.files, place.dir, place.database)?;
    let beyond = segments.partition_point(|s| s.first <= place.after.next()).saturating_sub(1);
    let mut last = segments.get(beyond).map_or(Lsn::ZERO, |s| s.first.previous());
    for segment in segments.iter().skip(beyond) {
        let opened = match open_segment(place, segment) {
            Err(Error::Damaged(_)) => return Ok(last),
            opened => opened?,
        };
        if segment.first != last.next() {
            return Ok(last);
        }
        let (file, previous) = opened;
        let mut walk = Walk::from_start(segment, file, previous);
        while let Some((head, payload)) = walk.step().map_err(|e| failed(place, segment, &e))? {
            last = head.lsn;
            if last > place.after {
                each(Record { lsn: head.lsn, time: head.time, payload: payload.to_vec() })?;
            }
        }
    }
    Ok(last)
}

/// Files of ours that `SEGMENTS` does not name.
fn leftovers(place: Place<'_>, segments: &[Segment]) -> Result<Vec<PathBuf>> {
    let names = place.files.list(place.dir);
    let names = names.map_err(|e| Error::io(format_args!("list {}", place.dir.display()), &e))?;
    let newest = segments.last().map_or(0, |s| s.number);
    let mut leftovers = Vec::new();
    for name in names {
        let path = place.dir.join(&name);
        match segment_number(&name) {
            None if name == "SEGMENTS.tmp" => leftovers.push(path),
            None => {}
            Some(number) if segments.iter().any(|s| s.number == number) => {}
            Some(number) if number > newest && holds_records(place, &path)? => {
                let why =
                    "it holds commits, but SEGMENTS does not name it: SEGMENTS is not the file that was written last";
                return Err(Error::damaged(format!("{}: {why}", path.display())));
            }
            Some(_) => leftovers.push(path),
        }
    }
    Ok(leftovers)
}

fn holds_records(place: Place<'_>, path: &Path) -> Result<bool> {
    let look = || {
        let file = place.files.open(path, OpenMode::Read)?;
        let size = file.size()?;
        if size < DATA {
            return Ok(false);
        }
        let Ok((header, salt)) = Header::decode(&page(&*file)?) else { return Ok(false) };
        let (number, first) = (header.number, header.first);
        let segment = Segment { number, first, length: size, salt, marks: Vec::new() };
        let mut walk = Walk::from_start(&segment, file, header.previous);
        Ok(header.database == place.database && walk.step()?.is_some())
    };
    look().map_err(|e: io::Error| Error::io(format_args!("read {}", path.display()), &e))
}

fn page(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut page = vec![0; PAGE as usize];
    file.read_exact_at(&mut page, 0)?;
    Ok(page)
}

/// Opens a segment and verifies its length and header. Also returns the sum that its first record follows.
fn open_segment(place: Place<'_>, segment: &Segment) -> Result<(Arc<dyn File>, u64)> {
    let damage = |why: &str| damage(place, segment, 0, segment.first, why);
    let file = match segment.open(place.files, place.dir, OpenMode::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damage("the file is missing")),
        file => file.map_err(|e| failed(place, segment, &e))?,
    };
    let size = file.size().map_err(|e| failed(place, segment, &e))?;
    if size != segment.length {
        return Err(damage(&format!("the file has {size} bytes and not {}", segment.length)));
    }
    let page = page(&*file).map_err(|e| failed(place, segment, &e))?;
    let (header, salt) = Header::decode(&page).map_err(damage)?;
    if header.database != place.database {
        return Err(damage("it belongs to another database"));
    }
    let same = (header.number, header.length, header.first) == (segment.number, segment.length, segment.first);
    if !same || salt != segment.salt {
        return Err(damage("it is another segment than SEGMENTS says"));
    }
    Ok((file, header.previous))
}

/// What a walk through a segment met.
struct Walked {
    records: u64,
    /// Where the last group begins.
    group: u64,
}

/// Walks to the last whole record and leaves marks.
fn walk_all(place: Place<'_>, segment: &mut Segment, walk: &mut Walk) -> Result<Walked> {
    let mut walked = Walked { records: 0, group: walk.offset };
    let mut synced = Lsn::ZERO;
    loop {
        let offset = walk.offset;
        let step = walk.step().map_err(|e| failed(place, segment, &e))?;
        let Some((head, _)) = step else { return Ok(walked) };
        segment.mark(head.lsn, offset);
        walked.records += 1;
        if head.synced != synced {
            (synced, walked.group) = (head.synced, offset);
        }
    }
}

/// Decides whether the log ends where the walk ended.
fn find_tail(place: Place<'_>, segment: &Segment, walk: Walk, group: u64) -> Result<Tail> {
    let failed = |e: io::Error| failed(place, segment, &e);
    let Walk { mut window, offset, last, previous, .. } = walk;
    if offset + HEAD as u64 > segment.length {
        return Err(damage(
            place,
            segment,
            offset,
            last.next(),
            "it has no room for a seal, which the writer always leaves",
        ));
    }
    let [a, b] = witnesses(&mut window, segment.salt).map_err(failed)?;
    let mut behind = Behind { synced: Lsn::ZERO, torn: offset..offset };
    let seal = window.get(offset, HEAD).map_err(failed)?;
    let seal = seal.and_then(|bytes| Head::decode(bytes, segment.salt.wrapping_add(offset)));
    let is_seal =
        |(head, ..): (Head, u64, u64)| head.kind == Kind::Seal && head.lsn == last && head.previous == previous as u32;
    if seal.is_some_and(is_seal) {
        behind.torn = offset + HEAD as u64..offset + HEAD as u64;
    }
    behind.look(&mut window, segment).map_err(failed)?;
    let claims = [
        (behind.synced, "a later record"),
        (a.max(b), "the witness in its header"),
        (place.witness.max(place.after), "the checkpoint"),
    ];
    if let Some((synced, who)) = claims.into_iter().find(|(synced, _)| *synced > last) {
        let why = format!("it is broken or missing, although {who} says that all up to {synced} was synced");
        return Err(damage(place, segment, offset, last.next(), &why));
    }
    let unsure = if a.max(b) == last { offset..offset } else { group..offset };
    Ok(Tail { offset, last, previous, slot: u64::from(a >= b), unsure, torn: behind.torn })
}

/// What the witness slots say.
fn witnesses(window: &mut Window, salt: u64) -> io::Result<[Lsn; 2]> {
    let mut read = |slot| {
        let offset = witness_offset(slot);
        let bytes = window.get(offset, 16)?.and_then(|b| b.try_into().ok());
        io::Result::Ok(bytes.and_then(|b| decode_witness(b, salt, offset)).unwrap_or(Lsn::ZERO))
    };
    Ok([read(0)?, read(1)?])
}

/// What lies behind the last whole record.
struct Behind {
    /// The highest Lsn that a head there says was synced.
    synced: Lsn,
    /// From here to there it is not zero.
    torn: std::ops::Range<u64>,
}

impl Behind {
    fn look(&mut self, window: &mut Window, segment: &Segment) -> io::Result<()> {
        let mut at = self.torn.start;
        while at < segment.length {
            let n = usize::try_from(segment.length - at).unwrap_or(usize::MAX).min(ZEROS.len());
            let bytes = window.get(at, n)?.unwrap_or_default();
            if ZEROS.get(..n) != Some(bytes) {
                let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i as u64 + 1);
                self.torn.end = at + used;
                self.heads(window, segment, at..at + used)?;
            }
            at += n as u64;
        }
        Ok(())
    }

    fn heads(&mut self, window: &mut Window, segment: &Segment, range: std::ops::Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let Some(bytes) = window.get(at, HEAD)? else { return Ok(()) };
            if let Some((head, ..)) = Head::decode(bytes, segment.salt.wrapping_add(at)) {
                self.synced = self.synced.max(head.synced);
            }
            at += 8;
        }
        Ok(())
    }
}

fn failed(place: Place<'_>, segment: &Segment, error: &io::Error) -> Error {
    Error::io(format_args!("read {}", segment_path(place.dir, segment.number).display()), error)
}

/// The error for damage: what, where, and what can be saved.
fn damage(place: Place<'_>, segment: &Segment, offset: u64, lsn: Lsn, why: &str) -> Error {
    let path = segment_path(place.dir, segment.number);
    Error::damaged(format!("the commit log is damaged in {} at byte {offset}, record {lsn}: {why}", path.display()))
        .with_detail(format!("records up to Lsn {} are whole; nothing was changed", lsn.previous()))
        .with_hint("restore from a backup, or open for rescue what is whole")
}
