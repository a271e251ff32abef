//! The key cache: stretches of key indexes in memory, so that a range that differs from query to query is read from the
//! store once.
//!
//! A *piece* is all that a stretch of the tree of keys holds. Pieces have nothing in common, are made of what queries read,
//! and are small, so that a commit changes one at the cost of moving a few kilobytes. Like a set of the [filter
//! cache](crate::filters), a piece is right for every reader as of the commit that it was last changed by, or a later one.
//! A reader may take a while to read a stretch; the commits of that while are kept in a log and caught up with. Room is made
//! by the clock algorithm: what was asked for since the hand last came by is spared once.

mod run;

use crate::stretch::{Stretch, is_before};
use nodedb_base::{Batch, Incarnation, KeyEntry, Lsn};
use parking_lot::Mutex;
use run::Run;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;

/// What is known of a part of a stretch.
#[derive(Debug)]
pub enum Part {
    /// Its rows.
    Known(Known),
    /// Nothing.
    Unknown(Stretch),
}

/// Rows in order of their keys.
#[derive(Debug)]
pub struct Known {
    run: Arc<Run>,
    within: Range<usize>,
}

/// Pieces of key indexes, as many as fit a budget.
#[derive(Debug)]
pub struct KeyCache(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    pieces: BTreeMap<Place, Piece>,
    /// The indexes of which changes are kept in the log, with the last commit before that began.
    followed: HashMap<Incarnation, Lsn>,
    log: VecDeque<Logged>,
    /// Commits after this one are in the log.
    logged_from: Lsn,
    /// The last commit there was.
    last: Lsn,
    /// Where room was made last.
    hand: Place,
    budget: usize,
    bytes: usize,
}

/// Where a piece begins.
type Place = (Incarnation, Vec<u8>);

#[derive(Debug)]
struct Piece {
    to: Option<Vec<u8>>,
    run: Arc<Run>,
    /// It is right as of this commit and later ones.
    since: Lsn,
    is_used: bool,
}

#[derive(Debug)]
struct Logged {
    lsn: Lsn,
    entry: KeyEntry,
    row: u64,
    comes: bool,
}

/// A piece has no more entries.
const MOST_ENTRIES: usize = 512;
/// Or bytes of keys, unless it is of one entry.
const MOST_BYTES: usize = 32 << 10;
/// So many changes are kept for those who are reading.
const MOST_LOGGED: usize = 4096;
/// So many indexes are followed.
const MOST_INDEXES: usize = 256;
/// What a piece takes beside its entries, in bytes.
const OVERHEAD: usize = 256;
/// What an entry takes beside its key, with its part of what its piece does; more where keys are long.
pub const ENTRY_BYTES: usize = 16;
/// What is put at once may take this part of the budget.
const SHARE: usize = 4;

/// The end that comes first.
fn earlier<'a>(a: Option<&'a [u8]>, b: Option<&'a [u8]>) -> Option<&'a [u8]> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, None) => a,
        (None, b) => b,
    }
}

impl Known {
    /// The numbers of the rows.
    #[must_use]
    pub fn rows(&self) -> &[u64] {
        self.run.rows().get(self.within.clone()).unwrap_or_default()
    }
}

impl KeyCache {
    /// An empty one that may take so many bytes.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self(Mutex::new(Cache { budget, ..Cache::default() }))
    }

    /// Entries of which each takes [`ENTRY_BYTES`] and its key are kept when they are put at once, if they take no more.
    #[must_use]
    pub fn room(&self) -> usize {
        // What pieces take beside their entries counts where keys are long.
        self.0.lock().budget / SHARE / 8 * 7
    }

    /// What a reader as of a commit is told of a stretch, in order.
    #[must_use]
    pub fn get(&self, index: Incarnation, asked: &Stretch, at: Lsn) -> Vec<Part> {
        let mut cache = self.0.lock();
        cache.follow(index);
        cache.parts(index, asked, at)
    }

    /// Keeps what a reader as of a commit has read of a stretch: all its entries up to the last of `entries`, or to its
    /// end if `is_whole`.
    pub fn put(&self, index: Incarnation, read: Stretch, at: Lsn, entries: &[(Vec<u8>, u64)], is_whole: bool) {
        let read = match entries.last() {
            _ if is_whole => read,
            Some((last, _)) => read.up_to(last),
            None => return,
        };
        let runs: Vec<Run> = Run::of_entries(entries, MOST_ENTRIES, MOST_BYTES);
        let mut cache = self.0.lock();
        let bytes: usize = runs.iter().map(|run| run.bytes() + OVERHEAD).sum();
        if bytes <= cache.budget / SHARE && cache.is_news(index, &read, at) {
            cache.put(index, &read, at, runs);
            cache.make_room();
        }
    }

    /// Takes in what a commit changes, before anybody can see it.
    pub fn committed(&self, lsn: Lsn, batch: &Batch) {
        let mut cache = self.0.lock();
        cache.last = lsn;
        if cache.followed.is_empty() {
            return;
        }
        for change in &batch.rows {
            for (entry, comes) in change.keys() {
                if cache.followed.contains_key(&entry.index) {
                    let row = change.row.0;
                    cache.take_in(Logged { lsn, entry: entry.clone(), row, comes });
                }
            }
        }
        cache.make_room();
    }
}

impl Cache {
    fn follow(&mut self, index: Incarnation) {
        if self.followed.contains_key(&index) {
            return;
        }
        if self.followed.len() >= MOST_INDEXES {
            // Which of them are still there is not known here.
            let (budget, last) = (self.budget, self.last);
            *self = Self { budget, last, logged_from: last, ..Self::default() };
        }
        self.followed.insert(index, self.last);
    }

    /// The pieces that have something in common with a stretch, in order.
    fn overlapping<'a>(
        &'a mut self,
        index: Incarnation,
        asked: &'a Stretch,
    ) -> impl Iterator<Item = (&'a Place, &'a mut Piece)> {
        let place = (index, asked.from.clone());
        let before = self.pieces.range(..=&place).next_back();
        let reaches = |(at, piece): &(&Place, &Piece)| at.0 == index && is_before(&asked.from, piece.to.as_deref());
        let first = before.filter(reaches).map_or(place, |(at, _)| at.clone());
        let is_within = move |at: &Place| at.0 == index && is_before(&at.1, asked.to.as_deref());
        self.pieces.range_mut(first..).take_while(move |(at, _)| is_within(at))
    }

    fn parts(&mut self, index: Incarnation, asked: &Stretch, at: Lsn) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut unknown = Some(asked.from.clone());
        let part = |from: Vec<u8>, to: Option<&[u8]>| Part::Unknown(Stretch { from, to: to.map(<[u8]>::to_vec) });
        for ((_, low), piece) in self.overlapping(index, asked) {
            if piece.since > at {
                // A reader of the past reads this too, with what lies before it.
                continue;
            }
            piece.is_used = true;
            let begin = low.max(&asked.from);
            if let Some(from) = unknown.filter(|from| from < begin) {
                parts.push(part(from, Some(begin)));
            }
            let end = earlier(piece.to.as_deref(), asked.to.as_deref());
            let within = piece.run.within(begin, end);
            parts.push(Part::Known(Known { run: piece.run.clone(), within }));
            unknown = piece.to.clone();
        }
        if let Some(from) = unknown.filter(|from| is_before(from, asked.to.as_deref())) {
            parts.push(part(from, asked.to.as_deref()));
        }
        parts
    }

    /// Whether what a reader as of a commit has read can be caught up with, and is not known.
    fn is_news(&mut self, index: Incarnation, read: &Stretch, at: Lsn) -> bool {
        let begun = self.followed.get(&index).is_some_and(|from| *from <= at);
        begun && self.logged_from <= at && self.overlapping(index, read).next().is_none()
    }

    /// Adds what was read, and what has been committed since.
    fn put(&mut self, index: Incarnation, read: &Stretch, at: Lsn, runs: Vec<Run>) {
        let mut to = read.to.clone();
        for (n, run) in runs.into_iter().enumerate().rev() {
            let from = run.first().filter(|_| n > 0).unwrap_or(&read.from).to_vec();
            let piece = Piece { to: to.replace(from.clone()), run: Arc::new(run), since: at, is_used: true };
            self.add((index, from), piece);
        }
        let log = std::mem::take(&mut self.log);
        let missed = log.range(log.partition_point(|change| change.lsn <= at)..);
        missed.filter(|change| change.entry.index == index && read.has(&change.entry.key)).for_each(|c| self.change(c));
        self.log = log;
    }

    /// Adds a piece, to the one before it if that ends there and is small.
    fn add(&mut self, place: Place, piece: Piece) {
        let before = self.pieces.range_mut(..&place).next_back();
        let joined = before.filter(|(at, before)| at.0 == place.0 && before.to.as_deref() == Some(&place.1));
        if let Some((_, before)) = joined
            && before.run.len() + piece.run.len() <= MOST_ENTRIES
            && before.run.bytes() + piece.run.bytes() <= MOST_BYTES
        {
            self.bytes -= before.bytes();
            Arc::make_mut(&mut before.run).append(&piece.run);
            before.to = piece.to;
            before.since = before.since.max(piece.since);
            self.bytes += before.bytes();
            return;
        }
        self.bytes += piece.bytes();
        self.pieces.insert(place, piece);
    }

    fn take_in(&mut self, change: Logged) {
        self.change(&change);
        self.log.push_back(change);
        if self.log.len() > MOST_LOGGED
            && let Some(forgotten) = self.log.pop_front()
        {
            self.logged_from = forgotten.lsn;
        }
    }

    /// Changes the piece that a key lies in.
    fn change(&mut self, change: &Logged) {
        let key = change.entry.key.as_slice();
        let place = (change.entry.index, key.to_vec());
        let Some((at, piece)) = self.pieces.range_mut(..=place).next_back() else { return };
        if at.0 != change.entry.index || !is_before(key, piece.to.as_deref()) {
            return;
        }
        self.bytes -= piece.bytes();
        piece.since = piece.since.max(change.lsn);
        let run = Arc::make_mut(&mut piece.run);
        match change.comes {
            true => run.insert(key, change.row),
            false => run.remove(key, change.row),
        }
        let is_large = run.len() > 1 && (run.len() > 2 * MOST_ENTRIES || run.bytes() > 2 * MOST_BYTES);
        let half = if is_large { run.split() } else { None };
        if let Some((begin, half)) = half {
            let (since, is_used) = (piece.since, piece.is_used);
            let new = Piece { to: piece.to.replace(begin.clone()), run: Arc::new(half), since, is_used };
            self.bytes += piece.bytes() + new.bytes();
            self.pieces.insert((change.entry.index, begin), new);
        } else {
            self.bytes += piece.bytes();
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.budget {
            let beyond = (Bound::Excluded(&self.hand), Bound::Unbounded);
            let next = self.pieces.range(beyond).next().or_else(|| self.pieces.first_key_value());
            let Some(place) = next.map(|(place, _)| place.clone()) else { return };
            match self.pieces.get_mut(&place) {
                Some(piece) if piece.is_used => piece.is_used = false,
                _ => self.bytes -= self.pieces.remove(&place).map_or(0, |gone| gone.bytes()),
            }
            self.hand = place;
        }
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        OVERHEAD + self.run.bytes()
    }
}

#[cfg(test)]
mod tests;
