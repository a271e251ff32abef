//! What is being done for an index, for whoever looks.

use parking_lot::Mutex;

/// Kinds of work that take time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// The rows of the table are read.
    Fill,
    /// What was taken in is made quick: graphs, parts, merges.
    Build,
    /// What is held is written down.
    Checkpoint,
}

impl JobKind {
    /// Its name in system views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::Build => "build",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// Work that is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Of which kind.
    pub kind: JobKind,
    /// Since when, in microseconds since 1970.
    pub began: i64,
    /// Rows that are done.
    pub done: u64,
    /// Rows that there are to be done, about; 0 if nobody knows.
    pub total: u64,
}

/// What is being done; nothing most of the time.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<Option<Job>>);

impl Desk {
    pub fn job(&self) -> Option<Job> {
        *self.0.lock()
    }

    pub fn put(&self, job: Option<Job>) -> Option<Job> {
        std::mem::replace(&mut self.0.lock(), job)
    }

    pub fn advance(&self, done: u64) {
        if let Some(job) = &mut *self.0.lock() {
            job.done = done;
            job.total = if job.total == 0 { 0 } else { job.total.max(done) };
        }
    }
}

/// Work that ends with this.
#[derive(Debug)]
pub struct Working<'i> {
    pub(super) desk: &'i Desk,
    /// What this is a part of.
    pub(super) outer: Option<Job>,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.desk.put(self.outer.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_while_it_goes_on() {
        let desk = Desk::default();
        let job = |kind, total| Some(Job { kind, began: 7, done: 0, total });
        let fill = Working { desk: &desk, outer: desk.put(job(JobKind::Fill, 10)) };
        desk.advance(4);
        assert_eq!(desk.job().map(|job| (job.kind, job.done, job.total)), Some((JobKind::Fill, 4, 10)));
        let inner = Working { desk: &desk, outer: desk.put(job(JobKind::Build, 0)) };
        desk.advance(1);
        assert_eq!(desk.job().map(|job| (job.kind.name(), job.total)), Some(("build", 0)));
        drop(inner);
        desk.advance(12);
        assert_eq!(desk.job().map(|job| (job.kind, job.done, job.total)), Some((JobKind::Fill, 12, 12)));
        drop(fill);
        assert_eq!(desk.job(), None);
    }
}
