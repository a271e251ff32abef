//! Searching: one query over all parts and the tail, as of a commit, with one set of statistics.

use super::alone::{Analyzers, Matcher, Own};
use super::analysis::{Fields, TextOptions};
use super::part::{Document, Part, error};
use super::query;
use super::tail::{Alone, Tail};
use super::wanted::Wanted;
use crate::lifecycle::Answers;
use nodedb_base::{Error, Lsn, Result, RowId};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as AtomicOrdering};
use tantivy::query::{Bm25StatisticsProvider, EmptyQuery, EnableScoring, Query, Weight};
use tantivy::schema::Field;
use tantivy::snippet::{SnippetGenerator, collapse_overlapped_ranges};
use tantivy::{Searcher, Term};

/// A query over the columns of an index, which can be asked of the index and of single rows.
pub struct TextQuery {
    pub(super) fields: Fields,
    /// `None` if nothing is left of it: it matches nothing.
    wanted: Option<Wanted>,
    /// The same in tantivy's terms.
    pub(super) query: Box<dyn Query>,
}

impl std::fmt::Debug for TextQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextQuery").field("query", &self.query).finish_non_exhaustive()
    }
}

/// A row that matches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The row.
    pub row: RowId,
    /// The commit that set its texts.
    pub version: Lsn,
    /// Its BM25 score; more is better.
    pub score: f32,
}

impl TextQuery {
    /// Reads a query; its language is described in `docs/search.md`. What names no column is looked for in `column`, or in all.
    ///
    /// # Errors
    /// `Statement`: 42601 if it cannot be read, 42703 for a column that the index does not cover, 0A000 for a phrase in a
    /// column that keeps no positions.
    pub fn new(options: &TextOptions, text: &str, column: Option<&str>) -> Result<Self> {
        let fields = Fields::new(options)?;
        let wanted = Wanted::of(&query::read(text)?, column, &fields)?;
        let query = wanted.as_ref().map_or_else(|| Box::new(EmptyQuery) as Box<dyn Query>, Wanted::query);
        Ok(Self { fields, wanted, query })
    }

    /// Whether rows match, by themselves.
    ///
    /// # Errors
    /// `Internal`.
    pub fn matches(&self, rows: impl IntoIterator<Item = Vec<String>>) -> Result<Vec<bool>> {
        let scores = self.own_scores(rows)?;
        Ok(scores.iter().map(Option::is_some).collect())
    }

    /// The scores of rows that match, as the index gives them: by what it knows of how common words are.
    ///
    /// # Errors
    /// `Internal`, and those of reading the index.
    pub fn scores(
        &self,
        rows: impl IntoIterator<Item = Vec<String>>,
        index: &TextSnapshot,
    ) -> Result<Vec<Option<f32>>> {
        self.scored(rows, Some(index).filter(|index| index.documents() > 0))
    }

    /// The scores of rows that match, by themselves: by how common words are among them.
    ///
    /// # Errors
    /// `Internal`.
    pub fn own_scores(&self, rows: impl IntoIterator<Item = Vec<String>>) -> Result<Vec<Option<f32>>> {
        self.scored(rows, None)
    }

    fn scored(
        &self,
        rows: impl IntoIterator<Item = Vec<String>>,
        statistics: Option<&TextSnapshot>,
    ) -> Result<Vec<Option<f32>>> {
        let mut analyzers = Analyzers::new(&self.fields)?;
        let (mut kept, mut terms) = (Vec::new(), Vec::new());
        for texts in rows {
            terms.push(analyzers.cut(&texts));
            kept.push(texts);
        }
        let own = Own(&terms);
        let statistics = statistics.map_or(&own as &dyn Bm25StatisticsProvider, |index| index);
        match self.matcher(statistics)? {
            Some(matcher) => Ok(terms.iter().map(|terms| matcher.score(terms)).collect()),
            None => self.by_tantivy(kept, statistics),
        }
    }

    /// The query for documents alone; `None` if only tantivy can tell, or if nothing is wanted.
    fn matcher(&self, statistics: &dyn Bm25StatisticsProvider) -> Result<Option<Matcher>> {
        let Some(wanted) = &self.wanted else { return Ok(None) };
        Matcher::new(wanted, statistics).map_err(error)
    }

    /// The scores of rows that match, by an index that is made of them.
    pub(super) fn by_tantivy(
        &self,
        rows: Vec<Vec<String>>,
        statistics: &dyn Bm25StatisticsProvider,
    ) -> Result<Vec<Option<f32>>> {
        let mut scores = vec![None; rows.len()];
        if self.wanted.is_none() || rows.is_empty() {
            return Ok(scores);
        }
        let document = |(at, texts)| Document { row: RowId(at as u64), version: Lsn::ZERO, texts };
        let documents: Vec<_> = rows.into_iter().enumerate().map(document).collect();
        let part = Part::in_memory(&self.fields, &documents)?;
        let mut set = |document: u32, score| {
            if let Some(of_row) = scores.get_mut(document as usize) {
                *of_row = Some(score);
            }
        };
        let weight = self.weight(statistics, part.searcher())?;
        weight.for_each(part.segment()?, &mut set).map_err(error)?;
        Ok(scores)
    }

    fn weight(&self, statistics: &dyn Bm25StatisticsProvider, searcher: &Searcher) -> Result<Box<dyn Weight>> {
        let scoring = EnableScoring::enabled_from_statistics_provider(statistics, searcher);
        self.query.weight(scoring).map_err(error)
    }

    /// The best passage of a column's text, at most so many characters long, and where in it the query's words stand.
    ///
    /// # Errors
    /// `Internal` if there is no such column.
    pub fn snippet(&self, column: usize, text: &str, most: usize) -> Result<(String, Vec<Range<usize>>)> {
        let Some((_, field)) = self.fields.texts.get(column) else {
            return Err(Error::internal(format!("a text index has no column {column}")));
        };
        let mut terms = BTreeMap::new();
        self.query.query_terms(&mut |term: &Term, _| {
            if let (true, Some(text)) = (term.field() == *field, term.value().as_str()) {
                terms.insert(text.to_owned(), 1.0);
            }
        });
        let generator = SnippetGenerator::new(terms, self.fields.analyzer(column)?, *field, most);
        let snippet = generator.snippet(text);
        if snippet.is_empty() {
            return Ok((text.chars().take(most).collect(), Vec::new()));
        }
        let end = snippet.fragment().len();
        let places = collapse_overlapped_ranges(snippet.highlighted()).into_iter();
        let places = places.map(|place| place.start.min(end)..place.end.min(end)).collect();
        Ok((snippet.fragment().to_owned(), places))
    }
}

/// An index at a moment. It can be asked as of that time and earlier ones.
#[derive(Debug)]
pub struct TextSnapshot {
    /// In files, of a tail that is being written, of the tail.
    pub(super) parts: Vec<Arc<Part>>,
    /// How many of the parts are files.
    pub(super) sealed: usize,
    /// Where the parts of a tail end that is being written.
    pub(super) building: usize,
    /// Documents in no part.
    pub(super) few: Vec<Arc<Alone>>,
    pub(super) tails: Vec<Arc<Tail>>,
    pub(super) answers: Arc<Counts>,
}

/// Rows that were found: in files, in a tail that was being written, in the tail.
#[derive(Debug, Default)]
pub(super) struct Counts {
    sealed: AtomicU64,
    building: AtomicU64,
    growing: AtomicU64,
}

impl Counts {
    pub fn get(&self) -> Answers {
        let [sealed, building, growing] =
            [&self.sealed, &self.building, &self.growing].map(|count| count.load(AtomicOrdering::Relaxed));
        Answers { growing, building, sealed }
    }
}

/// What a document is compared by: the better one is less.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ranked {
    found: Match,
    /// The part that it was in.
    part: usize,
}

impl Eq for Ranked {}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        other.found.score.total_cmp(&self.found.score).then(self.found.row.cmp(&other.found.row))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The score that a row must pass to be among the best.
fn least(best: &BinaryHeap<Ranked>, k: usize) -> f32 {
    match best.peek() {
        Some(worst) if best.len() >= k => worst.found.score,
        _ => f32::MIN,
    }
}

impl TextSnapshot {
    /// So many rows were found in a part, by its place; what is in none comes behind all.
    fn count(&self, part: usize, rows: usize) {
        let count = match part {
            sealed if sealed < self.sealed => &self.answers.sealed,
            building if building < self.building => &self.answers.building,
            _ => &self.answers.growing,
        };
        count.fetch_add(rows as u64, AtomicOrdering::Relaxed);
    }

    /// Documents, ended ones included.
    #[must_use]
    pub fn documents(&self) -> usize {
        self.few.len() + self.parts.iter().map(|part| part.len()).sum::<usize>()
    }

    /// How many parts are searched: in files, and in memory.
    #[must_use]
    pub const fn parts(&self) -> (usize, usize) {
        (self.sealed, self.parts.len() - self.sealed)
    }

    /// Whether no newer document has taken the place of this one as of a commit.
    fn stays(&self, row: RowId, version: Lsn, at: Lsn) -> bool {
        version <= at && self.tails.iter().all(|tail| tail.leaves(row, version, at))
    }

    /// The row of a document that is there as of a commit.
    fn visible(&self, part: &Part, document: u32, at: Lsn) -> Option<(RowId, Lsn)> {
        let (row, version) = part.key(document);
        (!part.has_ended(document, at) && self.stays(row, version, at)).then_some((row, version))
    }

    /// The documents in no part that are there as of a commit.
    fn visible_few(&self, at: Lsn) -> impl Iterator<Item = &Arc<Alone>> {
        self.few.iter().filter(move |alone| self.stays(alone.document.row, alone.document.version, at))
    }

    /// Those of them that match.
    fn of_few(&self, query: &TextQuery, at: Lsn) -> Result<Vec<Match>> {
        let few: Vec<_> = self.visible_few(at).collect();
        if few.is_empty() {
            return Ok(Vec::new());
        }
        let scores = match query.matcher(self)? {
            Some(matcher) => few.iter().map(|alone| matcher.score(&alone.terms)).collect(),
            None => query.by_tantivy(few.iter().map(|alone| alone.document.texts.clone()).collect(), self)?,
        };
        let found = |(alone, score): (&Arc<Alone>, Option<f32>)| {
            Some(Match { row: alone.document.row, version: alone.document.version, score: score? })
        };
        Ok(few.into_iter().zip(scores).filter_map(found).collect())
    }

    /// The `k` best rows as of a commit, the best first.
    ///
    /// # Errors
    /// `Damaged` if a file is.
    pub fn top(&self, query: &TextQuery, k: usize, at: Lsn) -> Result<Vec<Match>> {
        let mut best: BinaryHeap<Ranked> = BinaryHeap::with_capacity(k.min(10_000) + 1);
        if k == 0 {
            return Ok(Vec::new());
        }
        for (place, part) in self.parts.iter().enumerate().filter(|(_, part)| part.len() > 0) {
            let weight = query.weight(self, part.searcher())?;
            let threshold = least(&best, k);
            let mut take = |document, score| {
                if let Some((row, version)) = self.visible(part, document, at) {
                    best.push(Ranked { found: Match { row, version, score }, part: place });
                    if best.len() > k {
                        best.pop();
                    }
                }
                least(&best, k)
            };
            weight.for_each_pruning(threshold, part.segment()?, &mut take).map_err(error)?;
        }
        let part = self.parts.len();
        best.extend(self.of_few(query, at)?.into_iter().map(|found| Ranked { found, part }));
        let best = best.into_sorted_vec().into_iter().take(k);
        Ok(best.inspect(|ranked| self.count(ranked.part, 1)).map(|ranked| ranked.found).collect())
    }

    /// All rows as of a commit, by their numbers.
    ///
    /// # Errors
    /// `Damaged` if a row is there twice.
    pub fn rows(&self, at: Lsn) -> Result<Vec<RowId>> {
        let visible = |part: &Arc<Part>| {
            let documents = 0..part.len() as u32;
            documents.filter_map(|document| self.visible(part, document, at)).map(|(row, _)| row).collect::<Vec<_>>()
        };
        let few = self.visible_few(at).map(|alone| alone.document.row);
        let mut rows: Vec<RowId> = self.parts.iter().flat_map(visible).chain(few).collect();
        rows.sort_unstable();
        match rows.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(Error::damaged(format!("a text index has row {:?} twice", pair.first()))),
            None => Ok(rows),
        }
    }

    /// All rows that match as of a commit, by their numbers.
    ///
    /// # Errors
    /// `Damaged` if a file is.
    pub fn all(&self, query: &TextQuery, at: Lsn) -> Result<Vec<RowId>> {
        let mut rows: Vec<RowId> = self.of_few(query, at)?.iter().map(|found| found.row).collect();
        self.count(self.parts.len(), rows.len());
        let is_quiet = self.tails.iter().all(|tail| tail.begins_after(at));
        for (place, part) in self.parts.iter().enumerate().filter(|(_, part)| part.len() > 0) {
            let before = rows.len();
            let is_whole = is_quiet && part.is_whole(at);
            let mut take = |documents: &[u32]| match is_whole {
                true => part.rows(documents, &mut rows),
                false => rows.extend(documents.iter().filter_map(|of| Some(self.visible(part, *of, at)?.0))),
            };
            if query.wanted.as_ref().is_some_and(Wanted::moves) {
                // Without scores tantivy takes a phrase with moves for one where each may be moved.
                let weight = query.weight(self, part.searcher())?;
                weight.for_each(part.segment()?, &mut |document, _| take(&[document])).map_err(error)?;
            } else {
                let weight = query.query.weight(EnableScoring::disabled_from_searcher(part.searcher()));
                weight.map_err(error)?.for_each_no_score(part.segment()?, &mut take).map_err(error)?;
            }
            self.count(place, rows.len() - before);
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }
}

impl Bm25StatisticsProvider for TextSnapshot {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        let of_parts = self.parts.iter().map(|part| part.searcher().total_num_tokens(field));
        of_parts.chain(self.few.iter().map(|alone| alone.terms.total_num_tokens(field))).sum()
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.documents() as u64)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let of_parts = self.parts.iter().map(|part| part.searcher().doc_freq(term));
        of_parts.chain(self.few.iter().map(|alone| alone.terms.doc_freq(term))).sum()
    }
}
