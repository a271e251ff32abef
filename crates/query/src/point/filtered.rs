//! The nearest of the rows that meet conditions.
//!
//! Where a key gives few rows, their numbers are read from the key and the index is asked for the nearest among them. Where
//! it gives many, the index proposes candidates and the conditions are looked at in their rows, of which more are asked for
//! as the share that passes wants; if hardly any passes, the key is read after all, and so it is when candidates have cost as
//! much as that would. What a key has given is kept in the filter cache for the next query, and the entries that were read in
//! the key cache. Which of these comes first is learnt from the last time that the statement was executed.

use super::keys::KeyReader;
use crate::scan::access::{Access, row_span};
use crate::scan::bounds::Bounds;
use nodedb_base::{Result, RowId, Type};
use nodedb_index::filters::{Filter, FilterCache};
use nodedb_index::vector::{Hardness, Neighbourhood};
use nodedb_index::{Index, KeyCache, Nearest, Stretch};
use nodedb_store::View;
use nodedb_store::catalog::Table;
use nodedb_vector::Vector;
use roaring::RoaringTreemap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where nobody knows, so many candidates are looked at for a row that passes.
const FIRST: f64 = 1.5;
/// With so many candidates and still too few rows, the general way must tell.
const MOST_CANDIDATES: usize = 10_000;
/// If fewer than one in so many candidates passes, a key is read for those that do.
const RARE: usize = 16;
/// A row that is looked at costs as much as so many entries of a key, and a search rather more.
const ENTRIES_PER_ROW: f64 = 16.0;
/// Ranges of row numbers are not longer.
const LONGEST_RANGE: u64 = 1 << 32;

/// If more than this share of all rows passes, candidates are looked at first even where the rows that pass are known.
const MOST_OF_ALL: f64 = 0.5;
/// More entries are not read for the sake of the next query.
const MOST_ENTRIES: f64 = 1e6;

/// What is known of the rows that pass before the index is asked.
struct Way<'a> {
    /// A way into the table that gives just these.
    access: Option<&'a Access>,
    /// The same, as the filter cache knows it.
    filter: Option<Filter>,
}

/// What the filter cache knows an access by.
fn filter_of(access: &Access) -> Option<Filter> {
    let Access::Keys { index, ranges, unique: false, .. } = access else { return None };
    let stretches = ranges.iter().map(|range| Stretch::new(&range.lower, &range.upper)).collect();
    Some(Filter { index: *index, stretches })
}

/// A search.
pub struct Filtered<'a> {
    /// The index.
    pub index: &'a Index,
    /// The same, as what finds neighbours.
    pub nearest: &'a dyn Nearest,
    /// What is near.
    pub vector: Vector<'a>,
    /// How many rows are wanted.
    pub k: usize,
    /// How hard to look.
    pub hardness: Hardness,
    /// The table.
    pub table: &'a Table,
    /// The types of its columns.
    pub types: &'a [Type],
    /// What is seen of it.
    pub view: &'a View,
    /// What the rows must meet; they say just that.
    pub bounds: &'a Bounds,
    /// The rows that keys have given before.
    pub filters: &'a FilterCache,
    /// What was read of keys before.
    pub keys: &'a KeyCache,
    /// What searches like this one have learnt.
    pub experience: &'a Experience,
}

/// The share of candidates that met the conditions when the statement was executed the last time, if no key gave few rows
/// then: where the next execution begins. It decides how rows are looked for, never which.
#[derive(Debug, Default)]
pub struct Experience {
    share: AtomicU32,
    executions: AtomicU32,
}

impl Experience {
    const ONE: f64 = 1e9;
    /// Candidates that passed rarely are tried again after so many executions.
    const AGAIN: u32 = 32;

    fn get(&self) -> Option<f64> {
        let share = self.share.load(Ordering::Relaxed);
        (share > 0).then(|| f64::from(share) / Self::ONE)
    }

    fn set(&self, share: Option<f64>) {
        let parts = |share: f64| (share.clamp(0.0, 1.0) * Self::ONE) as u32 + 1;
        self.share.store(share.map_or(0, parts), Ordering::Relaxed);
    }

    /// Whether a key is to be read first even if it gives many rows, as this share of the candidates passes: where the
    /// rows that pass lie far from what is searched for, candidates were in vain.
    fn is_rare(&self, share: f64) -> bool {
        let again = || self.executions.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_multiple_of(Self::AGAIN);
        share * (RARE as f64) < 1.0 && !again()
    }
}

impl Filtered<'_> {
    /// The rows, nearest first; `None` where the general way must tell.
    ///
    /// # Errors
    /// Those of reading.
    pub fn rows(&self) -> Result<Option<Vec<RowId>>> {
        if self.bounds.sources.is_empty() {
            return Ok(self.ask(self.k, None).filter(|found| found.len() == self.k));
        }
        let way = self.access();
        let filter = way.as_ref().and_then(filter_of);
        if let Some(rows) = filter.as_ref().and_then(|filter| self.filters.get(filter, self.view.lsn())) {
            return self.by_set(&rows);
        }
        let way = Way { access: way.as_ref(), filter };
        let learnt = self.experience.get();
        let most = match learnt {
            None => self.few(),
            Some(share) if self.experience.is_rare(share) => self.entries_worth(share),
            Some(_) => 0,
        };
        if let Some(rows) = self.by_key(&way, most)? {
            return self.among(&rows, learnt);
        }
        let share = learnt.unwrap_or(1.0 / FIRST);
        self.by_candidates(&way, share.max(1.0 / RARE as f64))
    }

    /// What gives the rows that pass. Entries that the transaction itself has written, of a key that it has made, are nothing to
    /// be kept for others: after a rollback the next key has the same number.
    fn access(&self) -> Option<Access> {
        let is_shared = |way: &Access| match way {
            Access::Keys { index, .. } => !self.view.has_written_keys(*index),
            _ => true,
        };
        Access::exact(self.table, self.bounds).into_iter().next().filter(is_shared)
    }

    /// The rows that pass are known.
    fn by_set(&self, rows: &RoaringTreemap) -> Result<Option<Vec<RowId>>> {
        let share = rows.len() as f64 / self.entries().max(1.0);
        if share > MOST_OF_ALL
            && let Some(found) = self.ask(self.enough(share), None)
        {
            let passing: Vec<RowId> = found.into_iter().filter(|row| rows.contains(row.0)).take(self.k).collect();
            if passing.len() == self.k {
                return Ok(Some(passing));
            }
        }
        self.among(rows, Some(share))
    }

    fn by_candidates(&self, way: &Way<'_>, share: f64) -> Result<Option<Vec<RowId>>> {
        let (mut candidates, mut passes) = (self.enough(share), HashMap::new());
        loop {
            let Some(found) = self.ask(candidates, None) else { return Ok(None) };
            let (passing, seen) = self.passing(&found, &mut passes)?;
            let share = passing.len() as f64 / seen.max(1) as f64;
            if passing.len() >= self.k {
                self.experience.set(Some(share));
                self.spend(way, passes.len(), share)?;
                return Ok(Some(passing));
            }
            if found.len() < candidates || candidates >= MOST_CANDIDATES {
                return Ok(None);
            }
            let is_rare = passing.len() * RARE < seen;
            let most = if is_rare { usize::MAX } else { self.entries_worth(share) };
            if let Some(rows) = self.by_key(way, most)? {
                return self.among(&rows, Some(share));
            }
            if is_rare {
                return Ok(None);
            }
            candidates = self.enough(share).max(candidates * 2).min(MOST_CANDIDATES);
        }
    }

    /// Has the key read for the next query, once looking at rows has cost as much as that does.
    fn spend(&self, way: &Way<'_>, looked_at: usize, share: f64) -> Result<()> {
        let (Some(filter), cost) = (&way.filter, share * self.entries()) else { return Ok(()) };
        if cost < MOST_ENTRIES
            && self.filters.spend(filter, ENTRIES_PER_ROW * looked_at as f64) >= cost
            && self.by_key(way, 2 * MOST_ENTRIES as usize)?.is_none()
        {
            self.filters.give_up(filter);
        }
        Ok(())
    }

    /// As many candidates as should do if this share of them passes, and half as many again.
    fn enough(&self, share: f64) -> usize {
        ((1.5 * self.k as f64 / share.max(1e-4)) as usize).clamp(self.k + 2, MOST_CANDIDATES)
    }

    /// The first of some rows that meet the conditions, and how many were looked at to find them.
    fn passing(&self, found: &[RowId], passes: &mut HashMap<RowId, bool>) -> Result<(Vec<RowId>, usize)> {
        let mut passing = Vec::with_capacity(self.k);
        for (seen, row) in (1..).zip(found) {
            let is_passing = match passes.get(row) {
                Some(known) => *known,
                None => self.passes(*row)?,
            };
            passes.insert(*row, is_passing);
            passing.extend(is_passing.then_some(*row));
            if passing.len() == self.k {
                return Ok((passing, seen));
            }
        }
        Ok((passing, found.len()))
    }

    /// As many entries of a key as it costs to find the rows among candidates, of which this share passes; none if the
    /// key would have more.
    fn entries_worth(&self, share: f64) -> usize {
        let worth = ENTRIES_PER_ROW * self.k as f64 / share.max(1e-6);
        if share * self.entries() < worth { worth as usize } else { 0 }
    }

    /// For fewer entries of a key than this, reading them is cheaper than to look at candidates: with n rows, of which the
    /// share s passes, n s entries cost as much as some k / s rows.
    fn few(&self) -> usize {
        (ENTRIES_PER_ROW * self.entries().sqrt()) as usize
    }

    /// What EXPLAIN says of the conditions: how the rows are found that meet them, and about how many do.
    ///
    /// # Errors
    /// Those of reading.
    pub fn describe(&self) -> Result<String> {
        if self.bounds.sources.is_empty() {
            return Ok(String::new());
        }
        let access = self.access();
        let kept = access.as_ref().and_then(filter_of).and_then(|filter| self.filters.get(&filter, self.view.lsn()));
        let percent = |rows: u64| 100.0 * rows as f64 / self.entries().max(1.0);
        let few = match &kept {
            Some(_) => kept.clone(),
            None => self.by_key(&Way { access: access.as_ref(), filter: None }, self.few())?,
        };
        let when = if kept.is_some() { "before" } else { "first" };
        Ok(match (few, access) {
            (Some(rows), Some(way)) => {
                format!(", filter: {} rows ({:.2} %) by {way} {when}", rows.len(), percent(rows.len()).min(100.0))
            }
            (_, Some(way)) => {
                format!(", filter: candidates are looked at; more than {:.2} % by {way}", percent(self.few() as u64))
            }
            (_, None) => ", filter: candidates are looked at; no key tells how many pass".to_owned(),
        })
    }

    /// `None` if the index cannot tell.
    fn ask(&self, k: usize, among: Option<&RoaringTreemap>) -> Option<Vec<RowId>> {
        let asked = Neighbourhood { vector: self.vector, at: self.view.lsn(), hardness: self.hardness, among };
        let found = self.nearest.nearest(&asked, k).inspect_err(|why| self.index.note(why)).ok()?;
        Some(found.iter().map(|neighbour| neighbour.row).collect())
    }

    fn entries(&self) -> f64 {
        self.index.kind().entries() as f64
    }

    /// The nearest of these rows, which are this share of the candidates.
    fn among(&self, rows: &RoaringTreemap, share: Option<f64>) -> Result<Option<Vec<RowId>>> {
        let is_few = rows.len() <= self.few() as u64;
        self.experience.set(share.filter(|_| !is_few));
        let wanted = usize::try_from(rows.len()).map_or(self.k, |rows| rows.min(self.k));
        if wanted == 0 {
            return Ok(Some(Vec::new()));
        }
        // Rows without a vector are in no index.
        Ok(self.ask(wanted, Some(rows)).filter(|found| found.len() == wanted))
    }

    /// The numbers of the rows that a key gives, if they are not more than so many.
    fn by_key(&self, way: &Way<'_>, most: usize) -> Result<Option<Arc<RoaringTreemap>>> {
        let mut rows = RoaringTreemap::new();
        if most == 0 {
            return Ok(None);
        }
        match way.access {
            Some(Access::Points(points)) => rows.extend(points.iter().map(|row| row.0)),
            Some(Access::Rows(from, to)) => {
                let Some((first, last)) = row_span(self.table, self.view)? else {
                    return Ok(Some(Arc::new(rows)));
                };
                let (from, to) = (from.0.max(first.0), to.0.min(last.0));
                if from <= to && to - from >= LONGEST_RANGE {
                    return Ok(None);
                }
                if from <= to {
                    rows.insert_range(from..=to);
                }
            }
            Some(Access::Keys { index, ranges, .. }) => {
                let reader = KeyReader { keys: self.keys, view: self.view, index: *index };
                match reader.rows(ranges, most)? {
                    Some(found) => rows.extend(found),
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        }
        let rows = Arc::new(rows);
        if let Some(filter) = &way.filter {
            self.filters.put(filter.clone(), self.view.lsn(), rows.clone());
        }
        Ok(Some(rows))
    }

    fn passes(&self, row: RowId) -> Result<bool> {
        match self.view.row(self.table.incarnation, row)? {
            Some(row) => self.bounds.admit(self.table, self.types, self.view, &row),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_in_vain_are_tried_again_from_time_to_time() {
        let experience = Experience::default();
        assert_eq!(experience.get(), None);
        experience.set(Some(0.0));
        let share = experience.get().unwrap_or(1.0);
        assert!(experience.is_rare(share));
        let tries = (1..10 * Experience::AGAIN).filter(|_| !experience.is_rare(share)).count();
        assert_eq!(tries, 10);
        assert!((0..10).all(|_| !experience.is_rare(0.5)));
    }
}
