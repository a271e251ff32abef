//! Which entries of a part something newer has come after.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A bit for each entry, and how many are set. Which version came after an entry, the collection's history tells.
#[derive(Debug)]
pub struct Ended {
    bits: Vec<AtomicU64>,
    count: AtomicUsize,
}

impl Ended {
    /// None of so many.
    pub fn new(entries: usize) -> Self {
        Self { bits: (0..entries.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(), count: AtomicUsize::new(0) }
    }

    /// Marks one.
    pub fn set(&self, row: u32) {
        let bit = 1 << (row % 64);
        if let Some(word) = self.bits.get(row as usize / 64)
            && word.fetch_or(bit, Ordering::AcqRel) & bit == 0
        {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether one is marked.
    pub fn get(&self, row: u32) -> bool {
        self.bits.get(row as usize / 64).is_some_and(|word| word.load(Ordering::Acquire) >> (row % 64) & 1 == 1)
    }

    /// How many are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}
