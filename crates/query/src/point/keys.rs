//! The rows that ranges of a key give, by way of the key cache.

use nodedb_base::{Incarnation, Result};
use nodedb_index::key_cache::{ENTRY_BYTES, Part};
use nodedb_index::{KeyCache, Stretch};
use nodedb_store::{KeyRange, View};

/// Reads a key index.
pub struct KeyReader<'a> {
    /// What was read before.
    pub keys: &'a KeyCache,
    /// What is seen.
    pub view: &'a View,
    /// The key index.
    pub index: Incarnation,
}

impl KeyReader<'_> {
    /// The numbers of the rows within some ranges, ascending; `None` if they are more than so many.
    ///
    /// # Errors
    /// Those of reading.
    pub fn rows(&self, ranges: &[KeyRange], most: usize) -> Result<Option<Vec<u64>>> {
        let mut rows = Vec::new();
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let asked = Stretch::new(&range.lower, &range.upper);
            for part in self.keys.get(self.index, &asked, self.view.lsn()) {
                match part {
                    Part::Known(known) => rows.extend_from_slice(known.rows()),
                    Part::Unknown(stretch) => self.read(stretch, most, &mut rows)?,
                }
                if rows.len() > most {
                    return Ok(None);
                }
            }
        }
        rows.sort_unstable();
        Ok(Some(rows))
    }

    /// Adds the rows of a stretch, but not many more than so many in all.
    fn read(&self, stretch: Stretch, most: usize, rows: &mut Vec<u64>) -> Result<()> {
        let (lower, upper) = stretch.bounds();
        let (mut entries, mut room) = (Vec::new(), Some(self.keys.room()));
        let mut stored = self.view.keys(self.index, &KeyRange { lower, upper }, false)?;
        let is_whole = loop {
            if rows.len() > most {
                break false;
            }
            let Some(entry) = stored.next() else { break true };
            let (key, row) = entry?;
            rows.push(row.0);
            // What is more than will be kept is not gathered either.
            room = room.and_then(|room| room.checked_sub(key.len() + ENTRY_BYTES));
            if room.is_some() {
                entries.push((key, row.0));
            }
        };
        self.keys.put(self.index, stretch, self.view.lsn(), &entries, is_whole && room.is_some());
        Ok(())
    }
}
