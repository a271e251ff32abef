//! What a query wants of a document, in terms of the index: read once, asked of tantivy's parts and of documents alone.

use super::analysis::{Cut, Fields, LONGEST_WORD, TextColumn};
use super::query::{Clause, Item, MOST_ITEMS};
use nodedb_base::{Error, Result};
use tantivy::Term;
use tantivy::query::{BooleanQuery, BoostQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::{LowerCaser, SimpleTokenizer, TextAnalyzer, TokenStream};

/// A term and its place, as a text has them.
pub(super) type Placed = (usize, String);

/// What a document must have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    Term(Field, String),
    /// Terms at these places, moved by so much at most in all.
    Phrase(Field, Vec<Placed>, u32),
    /// Any term that begins so.
    Beginning(Field, String),
    /// Any term that differs in so many characters at most.
    Fuzzy(Field, String, u8),
    Group(Vec<(Occur, Wanted)>),
    /// What counts so much more.
    Boosted(Box<Wanted>, f32),
}

type Part = Option<Wanted>;

impl Wanted {
    /// What clauses want; `None` if nothing is left of them: stop words, punctuation. What names no column is looked for
    /// in `column`, or in all.
    ///
    /// # Errors
    /// `Statement`: 42601 if all of it must not be there, 42703 for a column that the index does not cover, 0A000 for a
    /// phrase in a column that keeps no positions.
    pub fn of(clauses: &[(Occur, Clause)], column: Option<&str>, fields: &Fields) -> Result<Option<Self>> {
        let mut parts = Vec::with_capacity(clauses.len());
        for (occur, clause) in clauses {
            let column = clause.column.as_deref().or(column);
            let part = match &clause.item {
                Item::Group(clauses) => Self::of(clauses, column, fields)?,
                item => in_columns(item, column, fields)?,
            };
            parts.extend(part.map(|part| (*occur, part.boosted(clause.boost))));
        }
        if !parts.is_empty() && parts.iter().all(|(occur, _)| *occur == Occur::MustNot) {
            return Err(Error::statement("42601", "a text query that only says what must not be there")
                .with_hint("Say NOT (notes @@@ '...') instead."));
        }
        Ok(Self::group(parts))
    }

    fn group(mut parts: Vec<(Occur, Self)>) -> Part {
        match parts.len() {
            0 => None,
            1 => parts.pop().map(|(_, part)| part),
            _ => Some(Self::Group(parts)),
        }
    }

    fn boosted(self, boost: f32) -> Self {
        if boost == 1.0 { self } else { Self::Boosted(Box::new(self), boost) }
    }

    fn all_of(terms: Vec<Placed>, field: Field) -> Part {
        Self::group(terms.into_iter().map(|(_, term)| (Occur::Must, Self::Term(field, term))).collect())
    }

    fn phrase(mut terms: Vec<Placed>, field: Field, slop: u32) -> Part {
        match terms.len() {
            0 | 1 => terms.pop().map(|(_, term)| Self::Term(field, term)),
            _ => Some(Self::Phrase(field, terms, slop)),
        }
    }

    /// Whether the terms of a phrase may be moved.
    pub fn moves(&self) -> bool {
        match self {
            Self::Phrase(_, _, slop) => *slop > 0,
            Self::Group(parts) => parts.iter().any(|(_, part)| part.moves()),
            Self::Boosted(part, _) => part.moves(),
            Self::Term(..) | Self::Beginning(..) | Self::Fuzzy(..) => false,
        }
    }

    /// The same in tantivy's terms.
    pub fn query(&self) -> Box<dyn Query> {
        match self {
            Self::Term(field, term) => {
                Box::new(TermQuery::new(Term::from_field_text(*field, term), IndexRecordOption::WithFreqs))
            }
            Self::Phrase(field, terms, slop) => {
                let placed = terms.iter().map(|(at, term)| (*at, Term::from_field_text(*field, term))).collect();
                Box::new(PhraseQuery::new_with_offset_and_slop(placed, *slop))
            }
            Self::Beginning(field, prefix) => {
                Box::new(FuzzyTermQuery::new_prefix(Term::from_field_text(*field, prefix), 0, false))
            }
            Self::Fuzzy(field, term, distance) => {
                Box::new(FuzzyTermQuery::new(Term::from_field_text(*field, term), *distance, true))
            }
            Self::Group(parts) => {
                let parts = parts.iter().map(|(occur, part)| (*occur, part.query())).collect();
                Box::new(BooleanQuery::new(parts))
            }
            Self::Boosted(part, boost) => Box::new(BoostQuery::new(part.query(), *boost)),
        }
    }
}

/// An item in the column that it names, or in any.
fn in_columns(item: &Item, column: Option<&str>, fields: &Fields) -> Result<Part> {
    let mut parts = Vec::new();
    let mut known = false;
    for (at, (definition, field)) in fields.texts.iter().enumerate() {
        if column.is_some_and(|column| column != definition.name) {
            continue;
        }
        known = true;
        if let Some(part) = in_column(item, definition, *field, || fields.analyzer(at))? {
            parts.push((Occur::Should, part.boosted(definition.boost)));
        }
    }
    if let (false, Some(column)) = (known, column) {
        return Err(Error::statement("42703", format!("column \"{column}\" is not in the text index"))
            .with_hint("A colon that names no column wants a backslash or quotes around the text."));
    }
    Ok(Wanted::group(parts))
}

fn in_column(
    item: &Item,
    column: &TextColumn,
    field: Field,
    analyzer: impl Fn() -> Result<TextAnalyzer>,
) -> Result<Part> {
    let cut = |text: &str| {
        let terms = match column.cut {
            // The index has the beginnings of words; who asks, asks for one of them.
            Cut::Prefix(_, most) => plain_words(text, Some(most)),
            _ => terms(&mut analyzer()?, text),
        };
        if terms.len() > MOST_ITEMS {
            return Err(Error::limit("54000", format!("a part of a text query has more than {MOST_ITEMS} terms")));
        }
        Ok(terms)
    };
    Ok(match item {
        Item::Group(_) => None,
        Item::Word(text) if matches!(column.cut, Cut::Ngram(..)) || !column.positions => {
            Wanted::all_of(cut(text)?, field)
        }
        Item::Word(text) => Wanted::phrase(cut(text)?, field, 0),
        Item::Phrase(text, slop) => {
            let terms = cut(text)?;
            if terms.len() > 1 && (!column.positions || matches!(column.cut, Cut::Ngram(..))) {
                let message = format!("column \"{}\" keeps no positions, which a phrase needs", column.name);
                return Err(Error::statement("0A000", message));
            }
            Wanted::phrase(terms, field, *slop)
        }
        Item::Prefix(text) => match column.cut {
            Cut::Prefix(..) => Wanted::all_of(cut(text)?, field),
            Cut::Ngram(_, most) if text.chars().count() > usize::from(most) => Wanted::all_of(cut(text)?, field),
            Cut::Cjk if text.chars().count() > 2 && !text.is_ascii() => Wanted::phrase(cut(text)?, field, 0),
            Cut::Raw => Some(Wanted::Beginning(field, check_length(text)?.to_owned())),
            Cut::Whitespace | Cut::Ngram(..) => Some(Wanted::Beginning(field, check_length(text)?.to_lowercase())),
            Cut::Words | Cut::Cjk => beginning_of_last(plain_words(check_length(text)?, None), field),
        },
        Item::Fuzzy(text, distance) => {
            let terms = cut(check_length(text)?)?.into_iter();
            let fuzzy = terms.map(|(_, term)| (Occur::Must, Wanted::Fuzzy(field, term, *distance))).collect();
            Wanted::group(fuzzy)
        }
    })
}

/// The last of some words is a beginning, the others are whole.
fn beginning_of_last(mut words: Vec<Placed>, field: Field) -> Part {
    let (_, last) = words.pop()?;
    let before = words.into_iter().map(|(_, word)| Wanted::Term(field, word));
    let parts = before.chain([Wanted::Beginning(field, last)]).map(|part| (Occur::Must, part));
    Wanted::group(parts.collect())
}

/// What has to be compared letter by letter must not be long.
fn check_length(word: &str) -> Result<&str> {
    if word.len() <= LONGEST_WORD {
        return Ok(word);
    }
    Err(Error::limit("54000", format!("a word of a text query has more than {LONGEST_WORD} bytes")))
}

/// The terms of a text and their places.
pub(super) fn terms(analyzer: &mut TextAnalyzer, text: &str) -> Vec<Placed> {
    let mut stream = analyzer.token_stream(text);
    let mut terms = Vec::new();
    while let Some(token) = stream.next() {
        terms.push((token.position, token.text.clone()));
    }
    terms
}

/// Words in lower case as they are written, not longer than so many characters.
fn plain_words(text: &str, most: Option<u8>) -> Vec<Placed> {
    let mut analyzer = TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).build();
    let mut words = terms(&mut analyzer, text);
    if let Some(most) = most {
        words.iter_mut().for_each(|(_, word)| *word = word.chars().take(usize::from(most)).collect());
    }
    words
}
