//! Documents asked one by one, without an index: the newest ones, for which an index is not worth making yet, and rows that
//! are tested by themselves. Matches and scores are those that tantivy gives (a property test compares them).

use super::analysis::Fields;
use super::wanted::{Placed, Wanted, terms};
use levenshtein_automata::{DFA, Distance, LevenshteinAutomatonBuilder};
use nodedb_base::Result;
use std::collections::HashMap;
use std::sync::LazyLock;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::query::{Bm25StatisticsProvider, Bm25Weight, Occur};
use tantivy::schema::Field;
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{TantivyError, Term};

/// tantivy drops what is longer.
const LONGEST_TERM: usize = u16::MAX as usize - 5;

/// By how many characters words may differ; neighbours that changed places count as one.
static AUTOMATA: [LazyLock<LevenshteinAutomatonBuilder>; 2] = [
    LazyLock::new(|| LevenshteinAutomatonBuilder::new(1, true)),
    LazyLock::new(|| LevenshteinAutomatonBuilder::new(2, true)),
];

/// What cuts the texts of documents.
pub(super) struct Analyzers(Vec<(Field, TextAnalyzer)>);

impl Analyzers {
    pub fn new(fields: &Fields) -> Result<Self> {
        let of_column = |(at, (_, field)): (usize, &(_, Field))| Ok((*field, fields.analyzer(at)?));
        fields.texts.iter().enumerate().map(of_column).collect::<Result<_>>().map(Self)
    }

    /// A document's terms.
    pub fn cut(&mut self, texts: &[String]) -> Terms {
        let columns = self.0.iter_mut().zip(texts);
        Terms(columns.map(|((field, analyzer), text)| (*field, Column::of(analyzer, text))).collect())
    }
}

/// The terms of a document, by column.
#[derive(Debug)]
pub(super) struct Terms(Vec<(Field, Column)>);

#[derive(Debug, Default)]
struct Column {
    /// Where each term stands.
    places: HashMap<String, Vec<usize>>,
    /// How many terms there are.
    length: u32,
}

impl Column {
    fn of(analyzer: &mut TextAnalyzer, text: &str) -> Self {
        let mut column = Self::default();
        // What has no text is in no index, though one tokenizer makes a term of it.
        if text.is_empty() {
            return column;
        }
        for (at, term) in terms(analyzer, text).into_iter().filter(|(_, term)| term.len() <= LONGEST_TERM) {
            column.length += 1;
            column.places.entry(term).or_default().push(at);
        }
        column
    }

    fn score(&self, weight: &Bm25Weight, times: usize) -> Option<f32> {
        let length = FieldNormReader::fieldnorm_to_id(self.length);
        (times > 0).then(|| weight.score(length, times as u32))
    }

    /// How often terms stand one behind the other as they are placed.
    fn times(&self, placed: &[Placed]) -> usize {
        let places = placed.iter().map(|(at, term)| Some((*at, self.places.get(term)?)));
        let Some(places) = places.collect::<Option<Vec<_>>>() else { return 0 };
        let Some((first, starts)) = places.iter().min_by_key(|(_, places)| places.len()) else { return 0 };
        // Places ascend.
        let is_there = |start: usize, (at, places): &(usize, &Vec<usize>)| {
            let place = (start + at).checked_sub(*first);
            place.is_some_and(|place| places.binary_search(&place).is_ok())
        };
        starts.iter().filter(|start| places.iter().all(|term| is_there(**start, term))).count()
    }
}

impl Terms {
    fn column(&self, field: Field) -> Option<&Column> {
        self.0.iter().find(|(of, _)| *of == field).map(|(_, column)| column)
    }
}

/// What documents alone add to what is known of how common words are.
impl Bm25StatisticsProvider for Terms {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        Ok(self.column(field).map_or(0, |column| u64::from(column.length)))
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(1)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        let (value, column) = (term.value(), self.column(term.field()));
        let text = value.as_str().ok_or_else(|| TantivyError::InternalError("a term that is no text".to_owned()))?;
        Ok(column.map_or(0, |column| u64::from(column.places.contains_key(text))))
    }
}

/// Documents by which alone it is known how common words are.
pub(super) struct Own<'a>(pub &'a [Terms]);

impl Bm25StatisticsProvider for Own<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        self.0.iter().map(|document| document.total_num_tokens(field)).sum()
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        self.0.iter().map(|document| document.doc_freq(term)).sum()
    }
}

/// A query with the weights of its terms.
pub(super) enum Matcher {
    Term(Field, String, Bm25Weight),
    Phrase(Field, Vec<Placed>, Bm25Weight),
    Beginning(Field, String, f32),
    Fuzzy(Field, DFA, f32),
    Group(Vec<(Occur, Matcher)>),
}

impl Matcher {
    /// A query by what is known of how common words are; `None` if it moves the terms of a phrase, which tantivy counts in a
    /// way of its own.
    ///
    /// # Errors
    /// Those of the statistics.
    pub fn new(wanted: &Wanted, statistics: &dyn Bm25StatisticsProvider) -> tantivy::Result<Option<Self>> {
        Self::boosted(wanted, 1.0, statistics)
    }

    fn boosted(wanted: &Wanted, boost: f32, statistics: &dyn Bm25StatisticsProvider) -> tantivy::Result<Option<Self>> {
        let weight = |field: Field, terms: &mut dyn Iterator<Item = &String>| {
            let terms: Vec<Term> = terms.map(|term| Term::from_field_text(field, term)).collect();
            Ok::<_, TantivyError>(Bm25Weight::for_terms(statistics, &terms)?.boost_by(boost))
        };
        Ok(Some(match wanted {
            Wanted::Term(field, term) => Self::Term(*field, term.clone(), weight(*field, &mut std::iter::once(term))?),
            Wanted::Phrase(field, terms, 0) => {
                Self::Phrase(*field, terms.clone(), weight(*field, &mut terms.iter().map(|(_, term)| term))?)
            }
            Wanted::Phrase(..) => return Ok(None),
            Wanted::Beginning(field, prefix) => Self::Beginning(*field, prefix.clone(), boost),
            Wanted::Fuzzy(field, term, distance) => {
                let [one, two] = &AUTOMATA;
                let automaton = if *distance == 1 { one } else { two };
                Self::Fuzzy(*field, automaton.build_dfa(term), boost)
            }
            Wanted::Group(parts) => {
                let mut group = Vec::with_capacity(parts.len());
                for (occur, part) in parts {
                    let Some(part) = Self::boosted(part, boost, statistics)? else { return Ok(None) };
                    group.push((*occur, part));
                }
                Self::Group(group)
            }
            Wanted::Boosted(part, more) => return Self::boosted(part, boost * more, statistics),
        }))
    }

    /// A document's score, if it matches.
    pub fn score(&self, document: &Terms) -> Option<f32> {
        match self {
            Self::Term(field, term, weight) => {
                let column = document.column(*field)?;
                column.score(weight, column.places.get(term)?.len())
            }
            Self::Phrase(field, terms, weight) => {
                let column = document.column(*field)?;
                column.score(weight, column.times(terms))
            }
            Self::Beginning(field, prefix, score) => {
                let mut terms = document.column(*field)?.places.keys();
                terms.any(|term| term.starts_with(prefix)).then_some(*score)
            }
            Self::Fuzzy(field, automaton, score) => {
                let mut terms = document.column(*field)?.places.keys();
                terms.any(|term| matches!(automaton.eval(term), Distance::Exact(_))).then_some(*score)
            }
            Self::Group(parts) => of_group(parts, document),
        }
    }
}

/// What must be there is, what must not is not, and of what may be there is something where that is all.
fn of_group(parts: &[(Occur, Matcher)], document: &Terms) -> Option<f32> {
    let (mut score, mut found, mut needed) = (0.0, false, false);
    for (occur, part) in parts {
        match (occur, part.score(document)) {
            (Occur::Must, None) | (Occur::MustNot, Some(_)) => return None,
            (Occur::Must, Some(more)) => {
                needed = true;
                score += more;
            }
            (Occur::Should, Some(more)) => {
                found = true;
                score += more;
            }
            (Occur::Should | Occur::MustNot, None) => {}
        }
    }
    (found || needed).then_some(score)
}
