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

use nodedb_base::{Error, Result};
use tantivy::query::Occur;

/// How deep parentheses may be nested.
const DEEPEST: usize = 32;
/// Most words and phrases of a query.
pub(super) const MOST_ITEMS: usize = 1024;

/// A query that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Clause {
    pub column: Option<String>,
    pub boost: f32,
    pub item: Item,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Group(Vec<(Occur, Clause)>),
    Word(String),
    Phrase(String, u32),
    Prefix(String),
    Fuzzy(String, u8),
}

/// Reads a query.
///
/// # Errors
/// `Statement`: 42601 if it cannot be read, 54001 and 54000 if it is too deep or too long.
pub(super) fn read(text: &str) -> Result<Vec<(Occur, Clause)>> {
    let mut reader = Reader { text, rest: text, items: 0 };
    let clauses = reader.clauses(0)?;
    if reader.rest.is_empty() { Ok(clauses) } else { Err(reader.near()) }
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
