//! The language of queries.
//!
//! ```text
//! query   = clause { [OR] clause }            any of them; the more, the better
//! clause  = signed { AND signed }             all of them
//! signed  = [ + | - | NOT ] part              must be there, must not be there
//! part    = [ column : ] item [ ^ number ]    counts so much more
//! item    = ( query ) | "a phrase" [~ slop] | word | word* | word~ [1 | 2]
//! ```
//!
//! A backslash takes the meaning from the character behind it.

use super::analysis::{Cut, Fields, LONGEST_WORD, TextColumn};
use nodedb_base::{Error, Result};
use tantivy::Term;
use tantivy::query::{BooleanQuery, BoostQuery, EmptyQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::{LowerCaser, SimpleTokenizer, TextAnalyzer, TokenStream};

/// How deep parentheses may be nested.
const DEEPEST: usize = 32;
/// Most words and phrases of a query.
const MOST_ITEMS: usize = 1024;

/// A query that was read.
#[derive(Clone, Debug, PartialEq)]
struct Clause {
    column: Option<String>,
    boost: f32,
    item: Item,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Group(Vec<(Occur, Clause)>),
    Word(String),
    Phrase(String, u32),
    Prefix(String),
    Fuzzy(String, u8),
}

/// Reads a query and says it in tantivy's terms. What names no column is looked for in `column`, or in all.
///
/// # Errors
/// `Statement`: 42601 if it cannot be read, 42703 for a column that the index does not cover, 0A000 for a phrase in a column
/// that keeps no positions, 54001 and 54000 if it is too deep or too long.
pub(super) fn parse(text: &str, column: Option<&str>, fields: &Fields) -> Result<Box<dyn Query>> {
    let mut reader = Reader { text, rest: text, items: 0 };
    let clauses = reader.clauses(0)?;
    if !reader.rest.is_empty() {
        return Err(reader.near());
    }
    Ok(group(&clauses, column, fields)?.unwrap_or_else(|| Box::new(EmptyQuery)))
}

struct Reader<'q> {
    text: &'q str,
    rest: &'q str,
    items: usize,
}

impl Reader<'_> {
    fn near(&self) -> Error {
        let found = self.rest.chars().next().map_or("its end".to_owned(), |c| format!("\"{c}\""));
        Error::statement("42601", format!("syntax error in text query at {found}: {}", self.text))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        self.rest.strip_prefix(c).map(|rest| self.rest = rest).is_some()
    }

    /// A word in capitals that stands alone.
    fn eat_word(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == '('));
        rest.map(|rest| self.rest = rest).is_some()
    }

    fn clauses(&mut self, depth: usize) -> Result<Vec<(Occur, Clause)>> {
        if depth > DEEPEST {
            return Err(Error::statement("54001", "a text query is nested too deeply"));
        }
        let mut clauses = Vec::new();
        loop {
            self.skip_space();
            if self.rest.is_empty() || self.rest.starts_with(')') {
                return Ok(clauses);
            }
            if !clauses.is_empty() && self.eat_word("OR") {
                self.skip_space();
            }
            let mut all = vec![self.signed(depth)?];
            loop {
                self.skip_space();
                if !self.eat_word("AND") {
                    break;
                }
                all.push(self.signed(depth)?);
            }
            match (all.len(), all.pop()) {
                (1, Some(only)) => clauses.push(only),
                (_, last) => {
                    let must = |occur| if occur == Occur::Should { Occur::Must } else { occur };
                    let all = all.into_iter().chain(last).map(|(occur, clause)| (must(occur), clause)).collect();
                    clauses.push((Occur::Should, Clause { column: None, boost: 1.0, item: Item::Group(all) }));
                }
            }
        }
    }

    fn signed(&mut self, depth: usize) -> Result<(Occur, Clause)> {
        self.skip_space();
        let occur = if self.eat('+') {
            Occur::Must
        } else if self.eat('-') || self.eat_word("NOT") {
            Occur::MustNot
        } else {
            Occur::Should
        };
        self.skip_space();
        Ok((occur, self.part(depth)?))
    }

    fn part(&mut self, depth: usize) -> Result<Clause> {
        self.items += 1;
        if self.items > MOST_ITEMS {
            return Err(Error::limit("54000", format!("a text query has more than {MOST_ITEMS} parts")));
        }
        let before = self.rest;
        let column = match self.word() {
            word if !word.is_empty() && self.eat(':') => Some(word),
            _ => {
                self.rest = before;
                None
            }
        };
        let item = self.item(depth)?;
        let boost = if self.eat('^') { self.number()? } else { 1.0 };
        Ok(Clause { column, boost, item })
    }

    fn item(&mut self, depth: usize) -> Result<Item> {
        if self.eat('(') {
            let clauses = self.clauses(depth + 1)?;
            return if self.eat(')') { Ok(Item::Group(clauses)) } else { Err(self.near()) };
        }
        if self.eat('"') {
            let phrase = self.until('"')?;
            let slop = if self.eat('~') { self.number::<u32>()? } else { 0 };
            return Ok(Item::Phrase(phrase, slop));
        }
        let word = self.word();
        if word.is_empty() {
            return Err(self.near());
        }
        if self.eat('*') {
            return Ok(Item::Prefix(word));
        }
        if !self.eat('~') {
            return Ok(Item::Word(word));
        }
        let distance = if self.rest.starts_with(|c: char| c.is_ascii_digit()) { self.number::<u8>()? } else { 1 };
        if !(1..=2).contains(&distance) {
            return Err(Error::statement(
                "22023",
                format!("a word may differ by 1 or 2 characters, not by {distance}"),
            ));
        }
        Ok(Item::Fuzzy(word, distance))
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        let mut chars = self.rest.chars();
        let mut rest = self.rest;
        while let Some(c) = chars.next() {
            match c {
                '\\' => word.extend(chars.next()),
                c if c.is_whitespace() || matches!(c, '(' | ')' | '"' | ':' | '^' | '~' | '*') => break,
                c => word.push(c),
            }
            rest = chars.as_str();
        }
        self.rest = rest;
        word
    }

    fn until(&mut self, end: char) -> Result<String> {
        let mut text = String::new();
        let mut chars = self.rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => text.extend(chars.next()),
                c if c == end => {
                    self.rest = chars.as_str();
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        self.rest = "";
        Err(self.near())
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T> {
        let end = self.rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        let number = number.parse().map_err(|_| self.near())?;
        self.rest = rest;
        Ok(number)
    }
}

type Part = Option<Box<dyn Query>>;

/// `None` if nothing is left of it: stop words, punctuation.
fn group(clauses: &[(Occur, Clause)], column: Option<&str>, fields: &Fields) -> Result<Part> {
    let mut parts = Vec::with_capacity(clauses.len());
    for (occur, clause) in clauses {
        if let Some(part) = bound(clause, column, fields)? {
            parts.push((*occur, part));
        }
    }
    if !parts.is_empty() && parts.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        return Err(Error::statement("42601", "a text query that only says what must not be there")
            .with_hint("Say NOT (notes @@@ '...') instead."));
    }
    Ok(match parts.len() {
        0 => None,
        1 => parts.pop().map(|(_, part)| part),
        _ => Some(Box::new(BooleanQuery::new(parts))),
    })
}

fn bound(clause: &Clause, column: Option<&str>, fields: &Fields) -> Result<Part> {
    let column = clause.column.as_deref().or(column);
    let part = match &clause.item {
        Item::Group(clauses) => group(clauses, column, fields)?,
        item => in_columns(item, column, fields)?,
    };
    Ok(part.map(|part| boosted(part, clause.boost)))
}

fn boosted(part: Box<dyn Query>, boost: f32) -> Box<dyn Query> {
    if boost == 1.0 { part } else { Box::new(BoostQuery::new(part, boost)) }
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
            parts.push((Occur::Should, boosted(part, definition.boost)));
        }
    }
    if let (false, Some(column)) = (known, column) {
        return Err(Error::statement("42703", format!("column \"{column}\" is not in the text index"))
            .with_hint("A colon that names no column wants a backslash or quotes around the text."));
    }
    Ok(match parts.len() {
        0 => None,
        1 => parts.pop().map(|(_, part)| part),
        _ => Some(Box::new(BooleanQuery::new(parts))),
    })
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
        Item::Word(text) if matches!(column.cut, Cut::Ngram(..)) || !column.positions => all_of(&cut(text)?, field),
        Item::Word(text) => phrase(&cut(text)?, field, 0),
        Item::Phrase(text, slop) => {
            let terms = cut(text)?;
            if terms.len() > 1 && (!column.positions || matches!(column.cut, Cut::Ngram(..))) {
                let message = format!("column \"{}\" keeps no positions, which a phrase needs", column.name);
                return Err(Error::statement("0A000", message));
            }
            phrase(&terms, field, *slop)
        }
        Item::Prefix(text) => match column.cut {
            Cut::Prefix(..) => all_of(&cut(text)?, field),
            Cut::Ngram(_, most) if text.chars().count() > usize::from(most) => all_of(&cut(text)?, field),
            Cut::Cjk if text.chars().count() > 2 && !text.is_ascii() => phrase(&cut(text)?, field, 0),
            Cut::Raw => Some(beginning(check_length(text)?, field)),
            Cut::Whitespace | Cut::Ngram(..) => Some(beginning(&check_length(text)?.to_lowercase(), field)),
            Cut::Words | Cut::Cjk => {
                let mut words = plain_words(check_length(text)?, None);
                let Some((_, last)) = words.pop() else { return Ok(None) };
                let before = words.iter().map(|(_, term)| single(term, field));
                let mut parts: Vec<_> = before.map(|part| (Occur::Must, part)).collect();
                parts.push((Occur::Must, beginning(&last, field)));
                match parts.len() {
                    1 => parts.pop().map(|(_, part)| part),
                    _ => Some(Box::new(BooleanQuery::new(parts))),
                }
            }
        },
        Item::Fuzzy(text, distance) => {
            let fuzzy = |(_, term): &(usize, String)| -> Box<dyn Query> {
                Box::new(FuzzyTermQuery::new(Term::from_field_text(field, term), *distance, true))
            };
            let parts: Vec<_> = cut(check_length(text)?)?.iter().map(|term| (Occur::Must, fuzzy(term))).collect();
            (!parts.is_empty()).then(|| Box::new(BooleanQuery::new(parts)) as Box<dyn Query>)
        }
    })
}

/// What has to be compared letter by letter must not be long.
fn check_length(word: &str) -> Result<&str> {
    if word.len() <= LONGEST_WORD {
        return Ok(word);
    }
    Err(Error::limit("54000", format!("a word of a text query has more than {LONGEST_WORD} bytes")))
}

fn beginning(prefix: &str, field: Field) -> Box<dyn Query> {
    Box::new(FuzzyTermQuery::new_prefix(Term::from_field_text(field, prefix), 0, false))
}

fn single(term: &str, field: Field) -> Box<dyn Query> {
    Box::new(TermQuery::new(Term::from_field_text(field, term), IndexRecordOption::WithFreqs))
}

fn all_of(terms: &[(usize, String)], field: Field) -> Part {
    match terms {
        [] => None,
        [(_, term)] => Some(single(term, field)),
        terms => {
            let parts = terms.iter().map(|(_, term)| (Occur::Must, single(term, field))).collect();
            Some(Box::new(BooleanQuery::new(parts)))
        }
    }
}

fn phrase(terms: &[(usize, String)], field: Field, slop: u32) -> Part {
    match terms {
        [] => None,
        [(_, term)] => Some(single(term, field)),
        terms => {
            let placed = terms.iter().map(|(at, term)| (*at, Term::from_field_text(field, term))).collect();
            Some(Box::new(PhraseQuery::new_with_offset_and_slop(placed, slop)))
        }
    }
}

/// The terms of a text and their places.
fn terms(analyzer: &mut TextAnalyzer, text: &str) -> Vec<(usize, String)> {
    let mut stream = analyzer.token_stream(text);
    let mut terms = Vec::new();
    while let Some(token) = stream.next() {
        terms.push((token.position, token.text.clone()));
    }
    terms
}

/// Words in lower case as they are written, not longer than so many characters.
fn plain_words(text: &str, most: Option<u8>) -> Vec<(usize, String)> {
    let mut analyzer = TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).build();
    let mut words = terms(&mut analyzer, text);
    if let Some(most) = most {
        words.iter_mut().for_each(|(_, word)| *word = word.chars().take(usize::from(most)).collect());
    }
    words
}
