//! Entries of a key index in order.

use std::ops::Range;

/// Keys one behind the other, with the row of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    keys: Vec<u8>,
    /// Where each key ends.
    ends: Vec<u32>,
    rows: Vec<u64>,
}

impl Run {
    /// Runs of so many entries and bytes at most, but of one at least; at least one run.
    pub(super) fn of_entries(entries: &[(Vec<u8>, u64)], most: usize, most_bytes: usize) -> Vec<Self> {
        let (mut runs, mut run) = (Vec::new(), Self::default());
        for (key, row) in entries {
            if run.len() == most || (run.len() > 0 && run.bytes() > most_bytes) {
                runs.push(std::mem::take(&mut run));
            }
            run.insert_at(run.len(), key, *row);
        }
        runs.push(run);
        runs
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// In memory.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() + 12 * self.rows.len()
    }

    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    pub(super) fn first(&self) -> Option<&[u8]> {
        (self.len() > 0).then(|| self.key(0))
    }

    fn begin(&self, at: usize) -> usize {
        at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize)
    }

    fn key(&self, at: usize) -> &[u8] {
        self.keys.get(self.begin(at)..self.begin(at + 1)).unwrap_or_default()
    }

    /// The first entry whose key is not less.
    fn position(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The entries from one key to before another.
    pub(super) fn within(&self, from: &[u8], to: Option<&[u8]>) -> Range<usize> {
        self.position(from)..to.map_or(self.len(), |to| self.position(to))
    }

    pub(super) fn insert(&mut self, key: &[u8], row: u64) {
        let at = self.position(key);
        let is_there = at < self.len() && self.key(at) == key;
        match self.rows.get_mut(at).filter(|_| is_there) {
            Some(there) => *there = row,
            None => self.insert_at(at, key, row),
        }
    }

    fn insert_at(&mut self, at: usize, key: &[u8], row: u64) {
        let begin = self.begin(at);
        self.keys.splice(begin..begin, key.iter().copied());
        self.ends.insert(at, (begin + key.len()) as u32);
        self.ends.iter_mut().skip(at + 1).for_each(|end| *end += key.len() as u32);
        self.rows.insert(at, row);
    }

    /// Removes an entry, if it is that row's.
    pub(super) fn remove(&mut self, key: &[u8], row: u64) {
        let at = self.position(key);
        if self.rows.get(at) != Some(&row) || self.key(at) != key {
            return;
        }
        self.keys.drain(self.begin(at)..self.begin(at + 1));
        self.ends.remove(at);
        self.ends.iter_mut().skip(at).for_each(|end| *end -= key.len() as u32);
        self.rows.remove(at);
    }

    /// Adds what lies behind all that is here.
    pub(super) fn append(&mut self, other: &Self) {
        let behind = self.keys.len() as u32;
        self.keys.extend_from_slice(&other.keys);
        self.ends.extend(other.ends.iter().map(|end| end + behind));
        self.rows.extend_from_slice(&other.rows);
    }

    /// Takes away the second half, with its first key.
    pub(super) fn split(&mut self) -> Option<(Vec<u8>, Self)> {
        let half = self.len() / 2;
        let begin = self.begin(half);
        let ends = self.ends.split_off(half);
        let ends = ends.into_iter().map(|end| end - begin as u32).collect();
        let run = Self { keys: self.keys.split_off(begin), ends, rows: self.rows.split_off(half) };
        run.first().map(<[u8]>::to_vec).map(|first| (first, run))
    }
}
