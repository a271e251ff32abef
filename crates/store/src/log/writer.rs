//! The log in files: appending, rolling over to new segments, cutting old ones.

use super::reader::{LogReader, Shared};
use super::record::{HEAD, Head, Kind, MAX_PAYLOAD, size_of};
use super::recovery::{self, Place, Scan};
use super::segment::{self, DATA, Header, PAGE, Segment, encode_witness, witness_offset};
use super::{CommitLog, LogOptions, Record, Recovered, directory};
use nodedb_base::{Error, Lsn, Result};
use nodedb_env::{File, Files};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// How much of the buffer is kept between groups.
const KEEP_BUFFER: usize = 1 << 20;
/// How far ahead of the records a segment is filled with zeros, in bytes.
const FILL: u64 = 1 << 20;

/// The commit log in files. One writer; [`FileLog::reader`] gives readers.
pub struct FileLog {
    reader: LogReader,
    database: u64,
    options: LogOptions,
    current: Current,
    buffer: Vec<u8>,
    poisoned: bool,
    created: u64,
}

/// The segment that is being written.
struct Current {
    file: Arc<dyn File>,
    number: u64,
    length: u64,
    salt: u64,
    /// Behind the last record.
    offset: u64,
    /// Up to here zeros were written and synced.
    filled: u64,
    /// The last record, and its sum.
    last: Lsn,
    previous: u64,
    /// What seal and witness say.
    witnessed: Lsn,
    slot: u64,
}

impl FileLog {
    /// Starts a log, whose first record will have Lsn 1.
    ///
    /// # Errors
    /// `Io`; `Statement` (58P02) if there is one already.
    pub fn create(files: Arc<dyn Files>, dir: &Path, database: u64, options: LogOptions) -> Result<Self> {
        let io = |e: std::io::Error| Error::io(format_args!("create {}", dir.display()), &e);
        files.create_dir_all(dir).map_err(io)?;
        if directory::exists(&*files, dir)? {
            return Err(Error::statement("58P02", format!("there is a log already in {}", dir.display())));
        }
        if let Some(parent) = dir.parent() {
            files.sync_dir(parent).map_err(io)?;
        }
        let length = options.segment_length(0);
        let header = Header { database, number: 1, length, first: Lsn(1), previous: 0 };
        let (segment, file) = segment::create(&*files, dir, &header)?;
        directory::store(&*files, dir, database, std::slice::from_ref(&segment))?;
        let current = Current::start(&segment, file, Lsn::ZERO, 0);
        Ok(Self { created: 1, ..Self::new(files, dir, database, options, vec![segment], current) })
    }

    /// Opens a log: verifies it, erases a torn tail, makes durable what is kept, and then hands `each` all
    /// records behind `after`. `witness` is the highest Lsn that the caller knows was acknowledged.
    ///
    /// Segments that end at or before `after` are verified by name, length and header only; [`super::check`] reads them.
    ///
    /// # Errors
    /// `Damaged` says what, where, and what can be saved; nothing was changed then. `Io`. What `each` returns.
    pub fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        database: u64,
        after: Lsn,
        witness: Lsn,
        options: LogOptions,
        each: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<(Self, Recovered)> {
        let place = Place { files: &*files, dir, database, after, witness };
        let scan = recovery::scan(place)?;
        let oldest = scan.segments.first().map_or(Lsn::ZERO, |s| s.first);
        if after.next() < oldest {
            let what = format!("the commit log in {} starts at {oldest}", dir.display());
            return Err(Error::damaged(format!("{what}, but the state reaches only to {after}")));
        }
        let file = recovery::mend(place, &scan)?;
        let Scan { segments, tail, .. } = scan;
        let count = segments.len();
        let cut_bytes = tail.torn_bytes();
        let last = segments.last().ok_or_else(|| Error::internal("a log without segments"))?;
        let current = Current {
            offset: tail.offset,
            // Behind the seal, which is not to be touched.
            filled: (tail.offset + HEAD as u64).next_multiple_of(PAGE),
            slot: tail.slot,
            witnessed: Lsn::ZERO,
            ..Current::start(last, file, tail.last, tail.previous)
        };
        let mut log = Self::new(files, dir, database, options, segments, current);
        log.idle()?;
        let mut records = 0;
        for record in log.reader.read(after.next())? {
            each(record?)?;
            records += 1;
        }
        let recovered = Recovered { oldest, last: log.last(), records, cut_bytes, segments: count };
        Ok((log, recovered))
    }

    fn new(
        files: Arc<dyn Files>,
        dir: &Path,
        database: u64,
        options: LogOptions,
        segments: Vec<Segment>,
        current: Current,
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared { segments, last: current.last }));
        let reader = LogReader { files, dir: Arc::new(dir.to_owned()), shared };
        Self { reader, database, options, current, buffer: Vec::new(), poisoned: false, created: 0 }
    }

    /// Tells the disk, without waiting for it, what has been synced; to be called when no commit waits.
    /// From then on no single damage hides a commit. Does nothing if nothing was appended since.
    ///
    /// # Errors
    /// `Io`, and from then on `Closed`.
    pub fn idle(&mut self) -> Result<()> {
        self.usable()?;
        let current = &mut self.current;
        if current.witnessed == current.last {
            return Ok(());
        }
        let mut seal = Vec::with_capacity(HEAD);
        let seed = current.salt.wrapping_add(current.offset);
        Head::seal(current.last, current.previous as u32).encode(&[], seed, &mut seal);
        let place = witness_offset(current.slot);
        let witness = encode_witness(current.last, current.salt, place);
        let written = current.file.write_all_at(&seal, current.offset);
        let written = written.and_then(|()| current.file.write_all_at(&witness, place));
        if let Err(e) = written {
            return Err(self.poison("write the witness into", &e));
        }
        current.witnessed = current.last;
        current.slot ^= 1;
        Ok(())
    }

    /// Removes the oldest segments as long as all their records are below `below`. The newest stays.
    ///
    /// # Errors
    /// `Io`. If the list of segments could not be written, `Closed` from then on.
    pub fn cut(&mut self, below: Lsn) -> Result<()> {
        self.usable()?;
        let mut kept = self.reader.shared.lock().segments.clone();
        let gone = kept.iter().skip(1).take_while(|next| next.first <= below).count();
        if gone == 0 {
            return Ok(());
        }
        let removed: Vec<_> = kept.drain(..gone).collect();
        self.name_segments(kept)?;
        for segment in removed {
            let path = directory::segment_path(&self.reader.dir, segment.number);
            let done = self.reader.files.remove(&path);
            done.map_err(|e| Error::io(format_args!("remove {}", path.display()), &e))?;
        }
        Ok(())
    }

    /// A reader of what is durable.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// The oldest Lsn that is still there, or will be the first one.
    #[must_use]
    pub fn oldest(&self) -> Lsn {
        self.reader.oldest()
    }

    /// The last Lsn.
    #[must_use]
    pub const fn last(&self) -> Lsn {
        self.current.last
    }

    /// How many bytes the segments take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.reader.shared.lock().segments.iter().map(|s| s.length).sum()
    }

    /// How many segments this writer has made.
    #[must_use]
    pub const fn segments_created(&self) -> u64 {
        self.created
    }

    /// Ends: seal and witness become durable.
    ///
    /// # Errors
    /// `Io`; all commits are durable nevertheless. `Closed` after an earlier failure.
    pub fn close(mut self) -> Result<()> {
        self.idle()?;
        self.current.file.sync().map_err(|e| self.poison("sync", &e))
    }

    /// Whether no failure has ended this writer.
    #[must_use]
    pub const fn takes_more(&self) -> bool {
        !self.poisoned
    }

    fn usable(&self) -> Result<()> {
        if !self.poisoned {
            return Ok(());
        }
        let what = "the commit log takes nothing more, since a write or a sync failed";
        Err(Error::closed("57P03", what).with_hint("look at the disk, then reopen the database"))
    }

    /// After a failure nobody knows what is on disk.
    fn poison(&mut self, doing: &str, error: &std::io::Error) -> Error {
        self.poisoned = true;
        let path = directory::segment_path(&self.reader.dir, self.current.number);
        Error::io(format_args!("{doing} {}", path.display()), error)
            .with_hint("look at the disk, then reopen the database")
    }

    /// Writes the list of segments and then believes it.
    fn name_segments(&mut self, segments: Vec<Segment>) -> Result<()> {
        let stored = directory::store(&*self.reader.files, &self.reader.dir, self.database, &segments);
        if stored.is_err() {
            self.poisoned = true;
        }
        stored?;
        self.reader.shared.lock().segments = segments;
        Ok(())
    }

    /// Goes on in a new segment with room for `bytes`.
    fn roll(&mut self, bytes: u64) -> Result<()> {
        let Current { number, last, previous, .. } = self.current;
        let number = number + 1;
        let length = self.options.segment_length(bytes);
        let header = Header { database: self.database, number, length, first: last.next(), previous };
        let made = segment::create(&*self.reader.files, &self.reader.dir, &header);
        // Nothing was written into the log yet, so a full disk may be tried again.
        self.poisoned = made.as_ref().is_err_and(|e| e.sqlstate().as_str() != "53100");
        let (segment, file) = made?;
        self.created += 1;
        let mut segments = self.reader.shared.lock().segments.clone();
        segments.push(segment.clone());
        self.name_segments(segments)?;
        self.current = Current::start(&segment, file, last, previous);
        Ok(())
    }

    /// Fills the segment with zeros up to `end` and beyond, so that the sync of a group has nothing to do but write its
    /// bytes. `docs/decisions/0005-log-segments-are-filled-ahead.md` says what else it would have to do.
    fn fill(&mut self, end: u64) -> Result<()> {
        let Current { ref file, filled, length, .. } = self.current;
        if end <= filled {
            return Ok(());
        }
        let until = end.max(filled + FILL).min(length);
        match recovery::erase(&**file, filled..until).and_then(|()| file.sync()) {
            Ok(()) => self.current.filled = until,
            // Nothing was written into the log yet, so a full disk may be tried again.
            Err(e) if e.kind() == std::io::ErrorKind::StorageFull => {
                let path = directory::segment_path(&self.reader.dir, self.current.number);
                return Err(Error::io(format_args!("fill {}", path.display()), &e));
            }
            Err(e) => return Err(self.poison("fill", &e)),
        }
        Ok(())
    }

    /// A group is durable: readers may see it.
    fn appended(&mut self, records: u64, bytes: u64, previous: u64) -> Lsn {
        let current = &mut self.current;
        let mut shared = self.reader.shared.lock();
        if let Some(segment) = shared.segments.last_mut() {
            segment.mark(current.last.next(), current.offset);
        }
        current.offset += bytes;
        current.previous = previous;
        current.last = Lsn(current.last.0 + records);
        shared.last = current.last;
        current.last
    }

    /// Puts the group into the buffer; returns the sum of the last record.
    fn encode(&mut self, time: i64, group: &[Vec<u8>]) -> u64 {
        let Current { offset, salt, last: synced, mut previous, .. } = self.current;
        let mut lsn = synced;
        self.buffer.clear();
        for payload in group {
            lsn = lsn.next();
            let place = offset + self.buffer.len() as u64;
            let (length, kind) = (payload.len() as u32, Kind::Commit);
            let head = Head { lsn, time, synced, previous: previous as u32, length, kind };
            previous = head.encode(payload, salt.wrapping_add(place), &mut self.buffer);
        }
        previous
    }
}

impl CommitLog for FileLog {
    fn append(&mut self, expected: Lsn, time: i64, group: &[Vec<u8>]) -> Result<Lsn> {
        self.usable()?;
        if expected != self.current.last.next() {
            let last = self.current.last;
            return Err(Error::internal(format!("append of {expected} to a log that ends at {last}")));
        }
        if let Some(large) = group.iter().find(|payload| payload.len() > MAX_PAYLOAD) {
            let what = format!("a commit of {} bytes is over the limit of {MAX_PAYLOAD}", large.len());
            return Err(Error::limit("54000", what));
        }
        if group.is_empty() {
            return Ok(self.current.last);
        }
        let bytes: u64 = group.iter().map(|payload| size_of(payload.len()) as u64).sum();
        if self.current.offset + bytes + HEAD as u64 > self.current.length {
            self.roll(bytes)?;
        }
        self.fill(self.current.offset + bytes + HEAD as u64)?;
        let previous = self.encode(time, group);
        let Current { file, offset, .. } = &self.current;
        if let Err(e) = file.write_all_at(&self.buffer, *offset) {
            return Err(self.poison("write", &e));
        }
        if let Err(e) = file.sync() {
            return Err(self.poison("sync", &e));
        }
        self.buffer.shrink_to(KEEP_BUFFER);
        Ok(self.appended(group.len() as u64, bytes, previous))
    }
}

impl Current {
    /// An empty segment, which follows the record `last`.
    fn start(segment: &Segment, file: Arc<dyn File>, last: Lsn, previous: u64) -> Self {
        let Segment { number, length, salt, .. } = *segment;
        let (offset, filled) = (DATA, DATA);
        Self { file, number, length, salt, offset, filled, last, previous, witnessed: last, slot: 0 }
    }
}

impl LogOptions {
    /// The length of a segment that has room for `bytes` and a seal.
    fn segment_length(self, bytes: u64) -> u64 {
        let needed = DATA + bytes + HEAD as u64;
        self.segment_bytes.max(needed).max(DATA + PAGE).next_multiple_of(PAGE)
    }
}

impl std::fmt::Debug for FileLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileLog").field("dir", &self.reader.dir).field("last", &self.last()).finish_non_exhaustive()
    }
}
