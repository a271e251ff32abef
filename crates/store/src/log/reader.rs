//! Reading the log while it is written.

use super::Record;
use super::directory::segment_path;
use super::record::Walk;
use super::segment::Segment;
use nodedb_base::{Error, Lsn, Result};
use nodedb_env::{Files, OpenMode};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// What the writer and its readers share.
pub(super) struct Shared {
    /// Oldest first, never empty while the log is open.
    pub(super) segments: Vec<Segment>,
    /// The last Lsn that is durable.
    pub(super) last: Lsn,
}

impl Shared {
    pub(super) fn oldest(&self) -> Lsn {
        self.segments.first().map_or(Lsn::ZERO, |s| s.first)
    }

    /// The segment that holds `lsn`, and the last Lsn that it holds.
    fn find(&self, lsn: Lsn) -> Option<(&Segment, Lsn)> {
        let i = self.segments.partition_point(|s| s.first <= lsn);
        let last = self.segments.get(i).map_or(self.last, |next| next.first.previous());
        Some((self.segments.get(i.checked_sub(1)?)?, last))
    }
}

/// Reads what is durable in the log. Clones are cheap; each thread may have its own.
#[derive(Clone)]
pub struct LogReader {
    pub(super) files: Arc<dyn Files>,
    pub(super) dir: Arc<PathBuf>,
    pub(super) shared: Arc<Mutex<Shared>>,
}

impl LogReader {
    /// The oldest Lsn that is still there, or will be the first one.
    #[must_use]
    pub fn oldest(&self) -> Lsn {
        self.shared.lock().oldest()
    }

    /// The last Lsn that is durable.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.shared.lock().last
    }

    /// The records from `from` on, up to what is durable now.
    ///
    /// # Errors
    /// `Limit` (55000) if `from` was cut away. The records themselves may be `Damaged`, or cut away while they are read.
    pub fn read(&self, from: Lsn) -> Result<LogRecords> {
        let from = from.max(Lsn(1));
        let (oldest, last) = {
            let shared = self.shared.lock();
            (shared.oldest(), shared.last)
        };
        if from < oldest {
            return Err(was_cut(from, oldest));
        }
        Ok(LogRecords { log: self.clone(), next: from, last, walk: None })
    }

    /// A walk that stands before `lsn`.
    fn walk_to(&self, lsn: Lsn) -> Result<Place> {
        let shared = self.shared.lock();
        let Some((segment, last)) = shared.find(lsn) else { return Err(was_cut(lsn, shared.oldest())) };
        let (segment, last) = (segment.clone(), last);
        drop(shared);
        let path = segment_path(&self.dir, segment.number);
        let failed = |e: std::io::Error| Error::io(format_args!("read {}", path.display()), &e);
        let file = match segment.open(&*self.files, &self.dir, OpenMode::Read) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.oldest() > lsn => {
                return Err(was_cut(lsn, self.oldest()));
            }
            file => file.map_err(failed)?,
        };
        let mut walk = Walk::near(&segment, file, lsn);
        while walk.last.next() < lsn {
            if walk.step().map_err(failed)?.is_none() {
                return Err(broken(&path, &walk));
            }
        }
        Ok(Place { path, walk, last })
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("dir", &self.dir).finish_non_exhaustive()
    }
}

struct Place {
    path: PathBuf,
    walk: Walk,
    /// The last Lsn in this segment.
    last: Lsn,
}

/// Records in order, without gaps. Ends after the first error.
pub struct LogRecords {
    log: LogReader,
    next: Lsn,
    last: Lsn,
    walk: Option<Place>,
}

impl LogRecords {
    fn read(&mut self) -> Result<Record> {
        let place = match self.walk.take() {
            Some(place) if self.next <= place.last => place,
            _ => self.log.walk_to(self.next)?,
        };
        let place = self.walk.insert(place);
        let failed = |e: std::io::Error| Error::io(format_args!("read {}", place.path.display()), &e);
        match place.walk.step().map_err(failed)? {
            Some((head, payload)) => Ok(Record { lsn: head.lsn, time: head.time, payload: payload.to_vec() }),
            None => Err(broken(&place.path, &place.walk)),
        }
    }
}

impl Iterator for LogRecords {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.last {
            return None;
        }
        let record = self.read();
        self.next = if record.is_ok() { self.next.next() } else { Lsn::MAX };
        Some(record)
    }
}

impl std::fmt::Debug for LogRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogRecords").field("next", &self.next).field("last", &self.last).finish_non_exhaustive()
    }
}

fn was_cut(lsn: Lsn, oldest: Lsn) -> Error {
    Error::limit("55000", format!("the log no longer holds Lsn {lsn}: it was cut and now starts at {oldest}"))
        .with_hint("start anew from a snapshot")
}

fn broken(path: &std::path::Path, walk: &Walk) -> Error {
    let (lsn, offset) = (walk.last.next(), walk.offset);
    Error::damaged(format!("{} is damaged at byte {offset}: record {lsn} cannot be read", path.display()))
}
