//! Searching all parts and putting together what they give.

use super::{Part, Parts, VectorCollection};
use crate::bounds::{BoundQuery, Lowers};
use crate::history::History;
use crate::kernels;
use crate::part::curve::Setting;
use crate::part::form::{Desk, Width};
use crate::part::growing::Growing;
use crate::part::sealed::{Loaded, Sealed, Tier};
use crate::part::{Entries, Key};
use crate::shape::{Query, Vector};
use crate::{Error, Result};
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How hard to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// Compare everything: the answer is exact.
    Exact,
    /// As hard as it takes to find this share of the true neighbours, on average; from 0 to below 1. Each sealed part
    /// has found out by sampling what that is.
    Recall(f32),
    /// So many candidates in each sealed part, of which so many are compared exactly.
    Setting(Setting),
}

/// Which ids count.
#[derive(Clone, Copy, Default)]
pub enum Filter<'f> {
    /// All.
    #[default]
    All,
    /// These.
    Ids(&'f RoaringTreemap),
    /// These few, in any order. Each is looked for, so that beyond some ten thousand another kind is quicker.
    List(&'f [u64]),
    /// Those that this says yes to.
    Passing(&'f (dyn Fn(u64) -> bool + Sync)),
}

impl std::fmt::Debug for Filter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Ids(ids) => f.debug_tuple("Ids").field(&ids.len()).finish(),
            Self::List(ids) => f.debug_tuple("List").field(&ids.len()).finish(),
            Self::Passing(_) => f.write_str("Passing"),
        }
    }
}

impl Filter<'_> {
    fn passes(&self, id: u64) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.contains(id),
            Self::List(ids) => ids.contains(&id),
            Self::Passing(passes) => passes(id),
        }
    }
}

/// How many queries of a batch a thread takes at a time.
const SHARE: usize = 16;
/// Desks that are kept for searches to come.
const MOST_DESKS: usize = 16;
/// How many rows of a sealed part are compared before the near ones are picked.
const SCANNED: usize = 256;

/// How many rows ahead of the one that is compared are asked for.
const AHEAD: usize = 2;

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'f> {
    /// How many neighbours.
    pub k: usize,
    /// As of which version; `None` for now.
    pub at: Option<u64>,
    /// How hard.
    pub effort: Effort,
    /// Among which ids.
    pub filter: Filter<'f>,
}

impl Search<'_> {
    /// The `k` nearest now, with a recall of 0.95.
    #[must_use]
    pub const fn nearest(k: usize) -> Self {
        Self { k, at: None, effort: Effort::Recall(0.95), filter: Filter::All }
    }
}

/// An entry that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: u64,
    /// Its version.
    pub version: u64,
    /// Its distance in the collection's metric.
    pub distance: f32,
}

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Nearest first; of equal ones the lower id first.
    pub hits: Vec<Hit>,
    /// Whether everything was compared.
    pub is_exact: bool,
    /// How many distances were computed, or found to be too large by a bound.
    pub distances: u64,
}

/// If no more rows than this pass a filter, they are all looked at.
const FEW: u64 = 7_000;
/// From so many ids on a walk may be quicker than to look at all.
const WALKED: u64 = 2_000;
/// How many ids are tried to find out how many pass.
const TRIED: u32 = 256;
/// How many rows that pass a walk starts from.
const SEEDS: usize = 12;
/// If one row in so many counts, they are looked at in order.
const MANY: usize = 64;
/// How many of a few rows are compared exactly.
const RERANKED_FEW: usize = 40;

/// A search that has begun.
struct Asked<'a> {
    query: Query,
    search: &'a Search<'a>,
    at: u64,
    history: &'a parking_lot::RwLock<History>,
}

impl Asked<'_> {
    /// Whether an entry is seen.
    fn sees(&self, key: Key, is_ended: bool) -> bool {
        key.1 <= self.at && (!is_ended || self.history.read().end(key) > self.at)
    }
}

/// The nearest so far, sorted.
struct Nearest {
    k: usize,
    hits: Vec<(f32, Key)>,
    distances: u64,
    is_exact: bool,
}

impl Nearest {
    fn keys(&self) -> HashSet<Key> {
        self.hits.iter().map(|hit| hit.1).collect()
    }

    fn worst(&self) -> f32 {
        if self.hits.len() < self.k { f32::INFINITY } else { self.hits.last().map_or(f32::INFINITY, |hit| hit.0) }
    }

    fn add(&mut self, distance: f32, key: Key) {
        // While an id changes its place, it may be met twice.
        if let Some(at) = self.hits.iter().position(|hit| hit.1.0 == key.0) {
            if self.hits.get(at).is_none_or(|hit| hit.1.1 >= key.1) {
                return;
            }
            self.hits.remove(at);
        }
        let before = |hit: &(f32, Key)| hit.0.total_cmp(&distance).then(hit.1.cmp(&key)).is_lt();
        let at = self.hits.partition_point(before);
        if at < self.k {
            self.hits.truncate(self.k - 1);
            self.hits.insert(at, (distance, key));
        }
    }
}

impl VectorCollection {
    /// The nearest entries.
    ///
    /// # Errors
    /// `Invalid` if the query or the effort cannot be, or `at` is below `since`; `Damaged` if a file is.
    pub fn search(&self, query: Vector<'_>, search: &Search<'_>) -> Result<Found> {
        let mut desk = self.desks.lock().pop().unwrap_or_default();
        let found = self.begin(search).and_then(|at| self.search_at(&self.parts(), query, (search, at), &mut desk));
        self.give_back(desk);
        found
    }

    /// Keeps a desk for searches to come, unless there are enough.
    fn give_back(&self, desk: Desk) {
        let mut desks = self.desks.lock();
        if desks.len() < MOST_DESKS {
            desks.push(desk);
        }
    }

    /// The nearest entries to each of many, all as of one moment, by so many threads. What is found for one query is
    /// what a search for it alone finds.
    ///
    /// # Errors
    /// As [`VectorCollection::search`].
    pub fn search_batch(&self, queries: &[Vector<'_>], search: &Search<'_>, threads: usize) -> Result<Vec<Found>> {
        let (at, parts) = (self.begin(search)?, self.parts());
        let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(queries.len())));
        self.env.spawn.together(threads.min(queries.len().div_ceil(SHARE)), &|| {
            let mut desk = self.desks.lock().pop().unwrap_or_default();
            loop {
                let first = next.fetch_add(SHARE, Ordering::Relaxed);
                let Some(some) = queries.get(first..).filter(|rest| !rest.is_empty()) else { break };
                let some = some.iter().take(SHARE);
                let found: Result<Vec<Found>> =
                    some.map(|query| self.search_at(&parts, *query, (search, at), &mut desk)).collect();
                results.lock().push((first, found));
            }
            self.give_back(desk);
        });
        let mut results = results.into_inner();
        results.sort_unstable_by_key(|result| result.0);
        let shares: Result<Vec<Vec<Found>>> = results.into_iter().map(|result| result.1).collect();
        Ok(shares?.into_iter().flatten().collect())
    }

    /// Checks the effort; as of when to look.
    fn begin(&self, search: &Search<'_>) -> Result<u64> {
        match search.effort {
            Effort::Recall(recall) if !(0.0..1.0).contains(&recall) => {
                Err(Error::invalid(format!("a recall of {recall}, which must be from 0 to below 1")))
            }
            _ => self.moment(search.at),
        }
    }

    fn found(&self, nearest: Nearest) -> Found {
        let metric = self.options.shape.metric;
        let hit = |(distance, (id, version)): (f32, Key)| Hit { id, version, distance: metric.distance(distance) };
        let hits = nearest.hits.into_iter().map(hit).collect();
        Found { hits, is_exact: nearest.is_exact, distances: nearest.distances }
    }

    /// A part that is about to be searched.
    fn visit(&self, part: &Sealed) -> Result<Arc<Loaded>> {
        let loaded = part.loaded()?;
        if loaded.tier != Tier::Memory {
            self.fallbacks.fetch_add(1, Ordering::Relaxed);
        }
        Ok(loaded)
    }

    fn search_at(
        &self,
        parts: &Parts,
        query: Vector<'_>,
        (search, at): (&Search<'_>, u64),
        desk: &mut Desk,
    ) -> Result<Found> {
        let query = Asked { query: self.options.shape.query(query)?, search, at, history: &self.history };
        let mut nearest = Nearest { k: search.k, hits: Vec::new(), distances: 0, is_exact: true };
        if search.k > 0 {
            self.search_parts(parts, &query, &mut nearest, desk)?;
        }
        Ok(self.found(nearest))
    }

    fn search_parts(&self, parts: &Parts, query: &Asked<'_>, nearest: &mut Nearest, desk: &mut Desk) -> Result<()> {
        match query.search.filter {
            Filter::Ids(ids) if ids.len() <= FEW => return look_up(parts, query, &|| ids.iter(), (nearest, desk)),
            Filter::List(ids) => return look_up(parts, query, &|| ids.iter().copied(), (nearest, desk)),
            _ => {}
        }
        // What is old is looked at first: an entry that ends meanwhile is found in its new place.
        for part in &parts.sealed {
            let loaded = self.visit(part)?;
            match query.search.effort {
                Effort::Exact => scan_sealed(part, &loaded, query, nearest)?,
                _ => search_sealed(part, &loaded, query, nearest, desk)?,
            }
        }
        let in_sealed = nearest.keys();
        scan_all_of(&parts.frozen, query, nearest)?;
        let in_building = nearest.keys();
        scan_all_of(std::slice::from_ref(&parts.growing), query, nearest)?;
        self.count_answers(nearest, &in_sealed, &in_building);
        Ok(())
    }

    /// Remembers in which state the parts were that the answer comes from.
    fn count_answers(&self, nearest: &Nearest, in_sealed: &HashSet<Key>, in_building: &HashSet<Key>) {
        let mut answers = [0; 3];
        for (_, key) in &nearest.hits {
            let place = if in_sealed.contains(key) { 2 } else { usize::from(in_building.contains(key)) };
            answers.iter_mut().skip(place).take(1).for_each(|count| *count += 1);
        }
        for (count, more) in self.answers.iter().zip(answers).filter(|(_, more)| *more > 0) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// All entries within a distance of the metric, nearest first.
    ///
    /// # Errors
    /// As [`VectorCollection::search`].
    pub fn within(&self, query: Vector<'_>, radius: f32, search: &Search<'_>) -> Result<Found> {
        let mut k = search.k.max(16);
        loop {
            let mut found = self.search(query, &Search { k, ..*search })?;
            let inside = found.hits.partition_point(|hit| hit.distance <= radius);
            if inside < k {
                found.hits.truncate(inside);
                return Ok(found);
            }
            k *= 4;
        }
    }

    /// A search that goes on as long as it is asked to.
    #[must_use]
    pub const fn cursor<'c>(&'c self, query: Vector<'c>, search: Search<'c>) -> Cursor<'c> {
        Cursor { collection: self, query, search, given: Vec::new(), ahead: Vec::new(), is_done: false }
    }
}

/// The next nearest, for callers that reject some. Each time it has given what it had, it searches for twice as many.
#[derive(Debug)]
pub struct Cursor<'c> {
    collection: &'c VectorCollection,
    query: Vector<'c>,
    search: Search<'c>,
    given: Vec<u64>,
    ahead: Vec<Hit>,
    is_done: bool,
}

impl Cursor<'_> {
    /// The next nearest entry; `None` when there is none left.
    ///
    /// # Errors
    /// As [`VectorCollection::search`].
    pub fn next_hit(&mut self) -> Result<Option<Hit>> {
        while self.ahead.is_empty() && !self.is_done {
            // What comes in later is not seen, so that nothing is given twice or out of order.
            self.search.at = Some(self.collection.moment(self.search.at)?);
            self.search.k = (2 * self.given.len()).max(self.search.k).max(10);
            let found = self.collection.search(self.query, &self.search)?;
            self.is_done = found.hits.len() < self.search.k;
            let given: HashSet<u64> = self.given.iter().copied().collect();
            self.ahead = found.hits.into_iter().filter(|hit| !given.contains(&hit.id)).collect();
            self.ahead.reverse();
            self.is_done |= self.ahead.is_empty();
        }
        let next = self.ahead.pop();
        self.given.extend(next.map(|hit| hit.id));
        Ok(next)
    }
}

/// The few ids that count, each where it is.
fn look_up<I: Iterator<Item = u64>>(
    parts: &Parts,
    query: &Asked<'_>,
    ids: &dyn Fn() -> I,
    (nearest, desk): (&mut Nearest, &mut Desk),
) -> Result<()> {
    for part in parts.all().filter(|part| part.len() > 0) {
        match part {
            Part::Growing(part) => {
                let wanted: HashSet<u32> = ids().flat_map(|id| part.entries_of(id)).map(|(_, row)| row).collect();
                if !wanted.is_empty() {
                    scan_some(part, query, nearest, &|row| wanted.contains(&row))?;
                }
            }
            Part::Sealed(part) => {
                let loaded = part.loaded()?;
                if !walk_nearby(part, &loaded, query, (nearest, desk))? {
                    let few = rows_of(part, query, ids())?;
                    scan_few(part, &loaded, query, &few, (nearest, desk))?;
                }
            }
        }
    }
    Ok(())
}

/// Walks to the nearest of the ids that count, if so many of these lie around the query that it is quicker than comparing them all.
/// Whether it was so.
fn walk_nearby(
    part: &Sealed,
    loaded: &Loaded,
    query: &Asked<'_>,
    (nearest, desk): (&mut Nearest, &mut Desk),
) -> Result<bool> {
    let Filter::Ids(wanted) = query.search.filter else { return Ok(false) };
    if wanted.len() < WALKED || query.search.effort == Effort::Exact {
        return Ok(false);
    }
    let (setting, ids, may_hide) = (setting_for(part, loaded, query.search), part.ids(), may_hide(part, query));
    let passes = |row: u32| {
        let counts = ids.get(row as usize).is_some_and(|id| wanted.contains(*id));
        counts && (!may_hide || is_seen(part, query, row))
    };
    let width = Width::nearby(setting.ef, wanted.len() as usize);
    let pool = loaded.form.candidates(&loaded.rows, &query.query, width, Some((&passes, &[])), desk);
    let candidates: Vec<u32> = pool.iter().take(setting.rerank).map(|(_, row)| row).collect();
    nearest.distances += desk.scratch.distances;
    if candidates.len() < query.search.k {
        return Ok(false);
    }
    nearest.is_exact = false;
    rerank(part, loaded, query, &candidates, nearest)?;
    Ok(true)
}

/// The rows of ids that are seen.
fn rows_of(part: &Sealed, query: &Asked<'_>, ids: impl Iterator<Item = u64>) -> Result<Vec<u32>> {
    let mut rows = Vec::new();
    if may_hide(part, query) {
        part.each_row_of(ids, |row| rows.extend(is_seen(part, query, row).then_some(row)))?;
    } else {
        part.each_row_of(ids, |row| rows.push(row))?;
    }
    if rows.is_sorted_by(|a, b| a < b) {
        return Ok(rows);
    }
    if rows.len() * MANY > part.len() {
        in_order(&mut rows, part.len());
    } else {
        rows.sort_unstable();
        rows.dedup();
    }
    Ok(rows)
}

/// Whether some rows of a part are not seen. Where all are, nothing needs to be asked of each.
fn may_hide(part: &Sealed, query: &Asked<'_>) -> bool {
    part.ended.count() > 0 || part.newest > query.at
}

fn is_seen(part: &Sealed, query: &Asked<'_>, row: u32) -> bool {
    part.key(row).is_some_and(|key| query.sees(key, part.ended.get(row)))
}

/// Sorts rows by marking them. Memory is read fastest in order.
fn in_order(rows: &mut Vec<u32>, all: usize) {
    let mut marks = vec![0_u64; all.div_ceil(64)];
    for row in rows.iter() {
        if let Some(word) = marks.get_mut(*row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }
    rows.clear();
    for (mut word, first) in marks.into_iter().zip((0_u32..).step_by(64)) {
        while word != 0 {
            rows.push(first + word.trailing_zeros());
            word &= word - 1;
        }
    }
}

/// The nearest of some rows: by their codes first, where there are more than a few.
fn scan_few(
    part: &Sealed,
    loaded: &Loaded,
    query: &Asked<'_>,
    few: &[u32],
    (nearest, desk): (&mut Nearest, &mut Desk),
) -> Result<()> {
    let keep = RERANKED_FEW.max(3 * query.search.k);
    if few.len() <= keep || query.search.effort == Effort::Exact {
        return rerank(part, loaded, query, few, nearest);
    }
    let pool = loaded.form.scan(&loaded.rows, &query.query, few, keep, desk);
    let candidates: Vec<u32> = pool.iter().map(|(_, row)| row).collect();
    nearest.distances += few.len() as u64;
    nearest.is_exact = false;
    rerank(part, loaded, query, &candidates, nearest)
}

fn scan_all_of(unsealed: &[Arc<Growing>], query: &Asked<'_>, nearest: &mut Nearest) -> Result<()> {
    let (mut lowers, mut distances) = (Lowers::default(), Vec::new());
    let bound = BoundQuery::new(&query.query);
    unsealed.iter().try_for_each(|part| scan_all(part, query, bound.as_ref(), (nearest, &mut lowers, &mut distances)))
}

/// Compares with every entry of a part.
fn scan_all(
    part: &Growing,
    query: &Asked<'_>,
    bound: Option<&BoundQuery>,
    (nearest, lowers, distances): (&mut Nearest, &mut Lowers, &mut Vec<f32>),
) -> Result<()> {
    let (shape, kernels) = (part.shape(), kernels::best());
    part.each_chunk(0, &mut |first, chunk| {
        let take = |nearest: &mut Nearest, at: usize, distance: f32| {
            let Some(key) = chunk.keys.get(at) else { return };
            let is_seen = distance <= nearest.worst() && query.sees(*key, part.ended.get(first + at as u32));
            if is_seen && query.search.filter.passes(key.0) {
                nearest.add(distance, *key);
            }
        };
        nearest.distances += chunk.keys.len() as u64;
        let (Some(bounds), Some(bound)) = (&chunk.bounds, bound) else {
            shape.distances(kernels, &query.query, chunk.rows(), distances);
            distances.iter().enumerate().for_each(|(at, distance)| take(nearest, at, *distance));
            return Ok(());
        };
        bounds.lowers(kernels, bound, lowers);
        let mut worst = nearest.worst();
        for (at, lower) in lowers.all.iter().enumerate() {
            if *lower <= worst
                && let Some(row) = chunk.row(at)
            {
                take(nearest, at, shape.distance(kernels, &query.query, row));
                worst = nearest.worst();
            }
        }
        Ok(())
    })
}

fn scan_some(part: &Growing, query: &Asked<'_>, nearest: &mut Nearest, wanted: &dyn Fn(u32) -> bool) -> Result<()> {
    let (shape, kernels) = (part.shape(), kernels::best());
    part.each_chunk(0, &mut |first, chunk| {
        for ((at, key), row) in chunk.keys.iter().enumerate().zip(first..) {
            if !wanted(row) {
                continue;
            }
            let Some(vector) = chunk.row(at) else { continue };
            let distance = shape.distance(kernels, &query.query, vector);
            nearest.distances += 1;
            let may_count = distance <= nearest.worst() && query.sees(*key, part.ended.get(row));
            if may_count && query.search.filter.passes(key.0) {
                nearest.add(distance, *key);
            }
        }
        Ok(())
    })
}

fn scan_sealed(part: &Sealed, loaded: &Loaded, query: &Asked<'_>, nearest: &mut Nearest) -> Result<()> {
    part.verify()?;
    let (shape, kernels) = (loaded.rows.shape, kernels::best());
    let mut distances = Vec::new();
    for (first, rows) in loaded.rows.blocks(SCANNED) {
        shape.distances(kernels, &query.query, rows, &mut distances);
        nearest.distances += distances.len() as u64;
        for (distance, row) in distances.iter().zip(first..) {
            if *distance > nearest.worst() {
                continue;
            }
            let Some(key) = part.key(row) else { continue };
            if query.sees(key, part.ended.get(row)) && query.search.filter.passes(key.0) {
                nearest.add(*distance, key);
            }
        }
    }
    Ok(())
}

/// How hard to search a part.
fn setting_for(part: &Sealed, loaded: &Loaded, search: &Search<'_>) -> Setting {
    let k = search.k.min(part.len());
    let wanted = match search.effort {
        Effort::Setting(setting) => setting,
        Effort::Recall(recall) => loaded.form.curve().setting(recall, k),
        Effort::Exact => Setting { ef: part.len(), rerank: part.len() },
    };
    let ef = wanted.ef.max(k).min(part.len().max(1));
    Setting { ef, rerank: if loaded.form.is_exact() { ef } else { wanted.rerank.max(k) } }
}

fn search_sealed(
    part: &Sealed,
    loaded: &Loaded,
    query: &Asked<'_>,
    nearest: &mut Nearest,
    desk: &mut Desk,
) -> Result<()> {
    let setting = setting_for(part, loaded, query.search);
    let is_filtered = !matches!(query.search.filter, Filter::All);
    let may_hide = may_hide(part, query);
    nearest.is_exact = false;
    if !is_filtered && !may_hide {
        let pool = loaded.form.candidates(&loaded.rows, &query.query, Width::of(setting.ef), None, desk);
        let candidates: Vec<u32> = pool.iter().take(setting.rerank).map(|(_, row)| row).collect();
        nearest.distances += desk.scratch.distances;
        return rerank(part, loaded, query, &candidates, nearest);
    }
    let ids = part.ids();
    let passes = |row: u32| {
        ids.get(row as usize).is_some_and(|id| query.search.filter.passes(*id))
            && (!may_hide || is_seen(part, query, row))
    };
    among(part, loaded, query, (&passes, setting), (nearest, desk))
}

/// The nearest among the rows that pass: all of which are looked at, if they are few, or those that a walk finds.
fn among(
    part: &Sealed,
    loaded: &Loaded,
    query: &Asked<'_>,
    (passes, setting): (&dyn Fn(u32) -> bool, Setting),
    (nearest, desk): (&mut Nearest, &mut Desk),
) -> Result<()> {
    let rows = part.len() as u32;
    let step = (rows / TRIED).max(1) | 1;
    let tried = (0..rows).step_by(step as usize);
    let all = tried.len();
    let seeds: Vec<u32> = tried.filter(|row| passes(*row)).collect();
    let share = seeds.len() as f64 / all.max(1) as f64;
    if (share * f64::from(rows)) as u64 <= FEW {
        let few: Vec<u32> = match query.search.filter {
            Filter::Ids(ids) if ids.len() < u64::from(rows) / 2 => rows_of(part, query, ids.iter())?,
            _ => (0..rows).filter(|row| passes(*row)).collect(),
        };
        return scan_few(part, loaded, query, &few, (nearest, desk));
    }
    let every = (seeds.len() / SEEDS).max(1);
    let seeds: Vec<u32> = seeds.into_iter().step_by(every).collect();
    let is_filtered = !matches!(query.search.filter, Filter::All);
    let width = Width::among(setting.ef, share as f32, is_filtered);
    let pool = loaded.form.candidates(&loaded.rows, &query.query, width, Some((passes, &seeds)), desk);
    // Where the walk was made wider, more is compared exactly.
    let more = (pool.capacity() / setting.ef.max(1)).clamp(1, 3);
    let candidates: Vec<u32> = pool.iter().take(setting.rerank * more).map(|(_, row)| row).collect();
    nearest.distances += desk.scratch.distances;
    rerank(part, loaded, query, &candidates, nearest)
}

fn rerank(part: &Sealed, loaded: &Loaded, query: &Asked<'_>, candidates: &[u32], nearest: &mut Nearest) -> Result<()> {
    let space = loaded.rows.space();
    let prefetch = |row: &u32| crate::graph::Space::prefetch(&space, *row);
    candidates.iter().take(AHEAD).for_each(prefetch);
    for (at, row) in candidates.iter().enumerate() {
        candidates.get(at + AHEAD).into_iter().for_each(prefetch);
        let distance = part.distance(loaded, &query.query, *row)?;
        if distance <= nearest.worst()
            && let Some(key) = part.key(*row)
        {
            nearest.add(distance, key);
        }
    }
    nearest.distances += candidates.len() as u64;
    Ok(())
}
