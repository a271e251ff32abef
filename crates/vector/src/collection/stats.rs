//! Figures.

use super::VectorCollection;
use crate::part::Entries;
use crate::part::sealed::Tier;
use std::sync::atomic::Ordering;

/// What a collection holds now, and what has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries in the growing part.
    pub growing: usize,
    /// Full parts that wait to be built, and their entries.
    pub frozen: (usize, usize),
    /// Entries of each sealed part, the largest first.
    pub sealed: Vec<usize>,
    /// Entries that something newer has come after and that are still kept.
    pub ended: usize,
    /// Sealed parts all of which is in memory.
    pub in_memory: usize,
    /// Sealed parts of which only the codes and the graph are.
    pub with_codes: usize,
    /// Sealed parts that are searched in their mapped files.
    pub mapped: usize,
    /// How often a search had to look into a part that was not all in memory.
    pub fallbacks: u64,
    /// Entries that searches have found in growing, building and sealed parts.
    pub answers: [u64; 3],
    /// Bytes of memory that sealed parts take.
    pub sealed_bytes: usize,
    /// Bytes of memory that the others take.
    pub growing_bytes: usize,
    /// Bytes of the files of sealed parts.
    pub file_bytes: usize,
    /// Events of ids that more has happened to than one insertion.
    pub events: usize,
    /// Entries that were lost with damaged files and were not given again.
    pub missing: usize,
}

impl VectorCollection {
    /// Entries of all parts, ended ones included.
    #[must_use]
    pub fn len_with_ended(&self) -> usize {
        let parts = self.parts();
        let unsealed = parts.frozen.iter().chain([&parts.growing]).map(|part| part.len());
        unsealed.chain(parts.sealed.iter().map(|part| part.len())).sum()
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let missing = self.writer.lock().missing.len();
        let parts = self.parts();
        let mut stats = Stats {
            growing: parts.growing.len(),
            frozen: (parts.frozen.len(), parts.frozen.iter().map(|part| part.len()).sum()),
            sealed: parts.sealed.iter().map(|part| part.len()).collect(),
            fallbacks: self.fallbacks.load(Ordering::Relaxed),
            answers: self.answers.each_ref().map(|count| count.load(Ordering::Relaxed)),
            growing_bytes: parts.frozen.iter().chain([&parts.growing]).map(|part| part.bytes()).sum(),
            events: self.history.read().len(),
            missing,
            ..Stats::default()
        };
        stats.sealed.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        for part in &parts.sealed {
            let tier = part.tier();
            match tier {
                Tier::Memory => stats.in_memory += 1,
                Tier::Codes => stats.with_codes += 1,
                Tier::Mapped => stats.mapped += 1,
            }
            stats.sealed_bytes += part.tier_bytes(tier);
            stats.file_bytes += part.file_bytes();
            stats.ended += part.ended.count();
        }
        stats.ended += parts.frozen.iter().chain([&parts.growing]).map(|part| part.ended.count()).sum::<usize>();
        stats
    }
}
