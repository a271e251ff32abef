//! Snapshots: an Lsn, and a pin that keeps the versions it sees.
//!
//! ```text
//!   low-water mark          pins               published
//!        |                 |   |                   |
//! -------+-----------------+---+-------------------+-----> Lsn
//!  gone  |   can be read as of any Lsn             | not yet visible
//! ```
//!
//! The low-water mark is the least Lsn that can be read. It only rises: to the oldest pin, to what
//! retention allows, and never before the checkpoint file has it ([`Snapshots::announce`]), so that a
//! database that was killed and reopened knows what a compaction may have dropped.

use nodedb_base::{Error, Lsn, Result};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Times are kept no finer than this, in microseconds.
const MARK_MICROS: i64 = 1_000;

/// All snapshots of a store, and what they may see.
#[derive(Debug, Default)]
pub struct Snapshots {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    published: Lsn,
    low_water: Lsn,
    pins: BTreeMap<Lsn, usize>,
    /// When commits were published, in order.
    marks: VecDeque<Mark>,
}

/// The last commit at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Microseconds since 1970-01-01 UTC.
    pub time: i64,
    /// The last commit at that time.
    pub lsn: Lsn,
}

/// A state of the database that stays readable as long as this lives.
#[derive(Debug)]
pub struct Snapshot {
    lsn: Lsn,
    all: Arc<Snapshots>,
}

impl Snapshot {
    /// The last commit that is seen.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.lsn
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut state = self.all.state.lock();
        if let Some(count) = state.pins.get_mut(&self.lsn) {
            *count -= 1;
            if *count == 0 {
                state.pins.remove(&self.lsn);
            }
        }
    }
}

impl Snapshots {
    /// Starts with what a checkpoint knew.
    #[must_use]
    pub fn new(published: Lsn, low_water: Lsn, marks: VecDeque<Mark>) -> Self {
        Self { state: Mutex::new(State { published, low_water, marks, ..State::default() }) }
    }

    /// The newest state.
    #[must_use]
    pub fn latest(self: &Arc<Self>) -> Snapshot {
        let mut state = self.state.lock();
        let lsn = state.published;
        *state.pins.entry(lsn).or_default() += 1;
        Snapshot { lsn, all: self.clone() }
    }

    /// The state as of an earlier commit.
    ///
    /// # Errors
    /// `Statement` (22023) if there was no such commit yet, (72000) if retention has let it go.
    pub fn at(self: &Arc<Self>, lsn: Lsn) -> Result<Snapshot> {
        let mut state = self.state.lock();
        if lsn > state.published {
            let message = format!("cannot read as of Lsn {lsn}: the newest commit is {}", state.published);
            return Err(Error::statement("22023", message));
        }
        if lsn < state.low_water {
            return Err(too_old(&format!("Lsn {lsn}"), state.low_water));
        }
        *state.pins.entry(lsn).or_default() += 1;
        Ok(Snapshot { lsn, all: self.clone() })
    }

    /// The last commit at or before a time, in microseconds since 1970.
    ///
    /// # Errors
    /// `Statement` (72000) if retention has let it go.
    pub fn lsn_at(&self, time: i64) -> Result<Lsn> {
        let state = self.state.lock();
        let after = state.marks.partition_point(|mark| mark.time <= time);
        match after.checked_sub(1).and_then(|at| state.marks.get(at)) {
            Some(mark) => Ok(mark.lsn),
            None if state.low_water == Lsn::ZERO => Ok(Lsn::ZERO),
            None => Err(too_old("that time", state.low_water)),
        }
    }

    /// Makes commits up to `lsn` visible.
    pub fn publish(&self, lsn: Lsn, time: i64) {
        let mut state = self.state.lock();
        state.published = lsn;
        note(&mut state.marks, Mark { time, lsn });
    }

    /// The newest commit that is visible.
    #[must_use]
    pub fn published(&self) -> Lsn {
        self.state.lock().published
    }

    /// The oldest state that somebody holds.
    #[must_use]
    pub fn oldest_pin(&self) -> Option<Lsn> {
        self.state.lock().pins.keys().next().copied()
    }

    /// The least Lsn that can be read.
    #[must_use]
    pub fn low_water(&self) -> Lsn {
        self.state.lock().low_water
    }

    /// What the low-water mark could rise to at time `now`, and the marks that would be left, a second apart.
    #[must_use]
    pub fn plan(&self, now: i64, retention: Duration) -> (Lsn, Vec<Mark>) {
        let state = self.state.lock();
        let horizon = now.saturating_sub(i64::try_from(retention.as_micros()).unwrap_or(i64::MAX));
        let kept = state.marks.partition_point(|mark| mark.time <= horizon);
        let retained = match kept.checked_sub(1).and_then(|at| state.marks.get(at)) {
            Some(mark) => mark.lsn,
            None => state.low_water,
        };
        let pinned = state.pins.keys().next().copied().unwrap_or(Lsn::MAX);
        let low_water = retained.min(pinned).min(state.published).max(state.low_water);
        let mut marks: Vec<Mark> = Vec::new();
        for mark in state.marks.iter().filter(|mark| mark.lsn >= low_water) {
            match marks.last_mut() {
                Some(last) if mark.time / 1_000_000 == last.time / 1_000_000 => *last = *mark,
                _ => marks.push(*mark),
            }
        }
        (low_water, marks)
    }

    /// Raises the low-water mark to what a checkpoint has written down, unless somebody has pinned an older
    /// state meanwhile. Returns the mark as it is now.
    pub fn announce(&self, low_water: Lsn) -> Lsn {
        let mut state = self.state.lock();
        let pinned = state.pins.keys().next().copied().unwrap_or(Lsn::MAX);
        state.low_water = state.low_water.max(low_water.min(pinned));
        let low_water = state.low_water;
        while state.marks.get(1).is_some_and(|next| next.lsn <= low_water) {
            state.marks.pop_front();
        }
        low_water
    }
}

/// Adds the newest mark, or moves the one before it if they are too close to each other.
pub fn note(marks: &mut VecDeque<Mark>, mark: Mark) {
    match marks.back_mut() {
        Some(last) if mark.time.saturating_sub(last.time) < MARK_MICROS => last.lsn = mark.lsn,
        _ => marks.push_back(mark),
    }
}

fn too_old(what: &str, low_water: Lsn) -> Error {
    Error::statement("72000", format!("snapshot too old: cannot read as of {what}"))
        .with_detail(format!("The oldest state that is kept is Lsn {low_water}."))
        .with_hint("Retention decides how long old versions are kept.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_holds_the_low_water_mark() {
        let all = Arc::new(Snapshots::new(Lsn(10), Lsn::ZERO, VecDeque::new()));
        all.publish(Lsn(11), 1_000_000);
        let pinned = all.latest();
        all.publish(Lsn(12), 9_000_000);
        assert_eq!(all.plan(100_000_000, Duration::ZERO).0, Lsn(11));
        assert_eq!(all.announce(Lsn(12)), Lsn(11));
        drop(pinned);
        assert_eq!(all.announce(Lsn(12)), Lsn(12));
        assert_eq!(all.at(Lsn(11)).unwrap_err().sqlstate().as_str(), "72000");
        assert_eq!(all.at(Lsn(13)).unwrap_err().sqlstate().as_str(), "22023");
    }

    #[test]
    fn a_time_means_the_last_commit_before_it() {
        let all = Arc::new(Snapshots::new(Lsn::ZERO, Lsn::ZERO, VecDeque::new()));
        all.publish(Lsn(1), 10_000);
        all.publish(Lsn(2), 20_000);
        assert_eq!(all.lsn_at(9_999).unwrap(), Lsn::ZERO);
        assert_eq!(all.lsn_at(19_999).unwrap(), Lsn(1));
        assert_eq!(all.lsn_at(i64::MAX).unwrap(), Lsn(2));
    }

    /// A forged log may say any time.
    #[test]
    fn times_may_be_as_far_apart_as_numbers_go() {
        let all = Arc::new(Snapshots::new(Lsn::ZERO, Lsn::ZERO, VecDeque::new()));
        all.publish(Lsn(1), i64::MIN);
        all.publish(Lsn(2), i64::MAX);
        assert_eq!(all.lsn_at(0).unwrap(), Lsn(1));
        assert_eq!(all.plan(i64::MIN, Duration::MAX).0, Lsn(1));
    }

    #[test]
    fn retention_keeps_what_was_visible_at_its_horizon() {
        let all = Snapshots::new(Lsn::ZERO, Lsn::ZERO, VecDeque::new());
        all.publish(Lsn(1), 0);
        all.publish(Lsn(2), 5_000_000);
        all.publish(Lsn(3), 9_000_000);
        assert_eq!(all.plan(10_000_000, Duration::from_secs(3)).0, Lsn(2));
    }
}
