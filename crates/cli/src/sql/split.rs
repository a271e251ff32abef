//! Cuts text into statements, as psql does: at semicolons outside quotes, comments and parentheses.
//!
//! Text comes in pieces of any size, as a pipe delivers them; a statement comes out as soon as its semicolon
//! is there. All marks that matter are ASCII, so the splitter works on bytes and a piece may end inside a character.

use super::data::{self, CopyData};

/// What was found in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A statement without its semicolon. Its bytes need not be UTF-8.
    Statement(Vec<u8>),
    /// A backslash command: the name, without the backslash. Its arguments are dropped.
    Command(String),
}

/// Where the next byte stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Normal,
    /// In a name, keyword or number. `escape` while it is a lone `e`, which makes the next quote an `E''`.
    Word {
        escape: bool,
    },
    Dash,
    Slash,
    LineComment,
    /// How deep, and the byte before if it may begin `*/` or `/*`.
    Block {
        depth: u32,
        before: u8,
    },
    Quoted(u8),
    Escapes,
    Escaped,
    /// Behind the closing quote of an `E''`, which a second quote (or one on a later line) continues.
    EscapesEnded {
        blank: bool,
        newline: bool,
    },
    DollarTag(Vec<u8>),
    /// The whole delimiter, and how much of it the latest bytes match.
    DollarBody {
        delimiter: Vec<u8>,
        matched: usize,
    },
    Backslash(Vec<u8>),
}

/// Finds statements in text that comes in pieces.
#[derive(Debug)]
pub struct Splitter {
    input: Vec<u8>,
    at: usize,
    ended: bool,
    state: State,
    parentheses: u32,
    statement: Vec<u8>,
    /// Whether the statement has anything but blanks and comments.
    substance: bool,
}

impl Splitter {
    /// A splitter that has seen nothing.
    pub const fn new() -> Self {
        Self {
            input: Vec::new(),
            at: 0,
            ended: false,
            state: State::Normal,
            parentheses: 0,
            statement: Vec::new(),
            substance: false,
        }
    }

    /// More text.
    pub fn push(&mut self, text: &[u8]) {
        self.input.drain(..self.at);
        self.at = 0;
        self.input.extend_from_slice(text);
    }

    /// There is no more text: what is left is the last statement.
    pub const fn end(&mut self) {
        self.ended = true;
    }

    /// Whether a statement has begun and waits for more text.
    pub const fn in_statement(&self) -> bool {
        self.substance
    }

    /// The next statement or command that is complete, or `None` until more text comes.
    pub fn next(&mut self) -> Option<Item> {
        while let Some(byte) = self.input.get(self.at).copied() {
            self.at += 1;
            if let Some(item) = self.step(byte) {
                return Some(item);
            }
        }
        if self.ended { self.last() } else { None }
    }

    fn last(&mut self) -> Option<Item> {
        if let State::Backslash(name) = &self.state {
            let name = command_name(name);
            self.state = State::Normal;
            return Some(Item::Command(name));
        }
        // A `-` at the very end begins no comment, and a comment that does not end is an error worth telling.
        self.substance |= matches!(self.state, State::Dash | State::Slash | State::Block { .. });
        self.take()
    }

    fn take(&mut self) -> Option<Item> {
        self.state = State::Normal;
        self.parentheses = 0;
        let statement = std::mem::take(&mut self.statement);
        std::mem::take(&mut self.substance).then(|| Item::Statement(statement.trim_ascii().to_vec()))
    }

    /// Looks at one byte. Most states keep it; those that only looked ahead hand it on to `Normal`.
    fn step(&mut self, byte: u8) -> Option<Item> {
        let state = std::mem::replace(&mut self.state, State::Normal);
        self.state = match state {
            State::Normal => return self.normal(byte),
            State::Word { escape } => return self.word(byte, escape),
            State::Dash if byte == b'-' => State::LineComment,
            State::Slash if byte == b'*' => State::Block { depth: 1, before: 0 },
            State::Dash | State::Slash => {
                self.begin(1);
                return self.normal(byte);
            }
            State::LineComment if matches!(byte, b'\n' | b'\r') => State::Normal,
            State::LineComment => State::LineComment,
            State::Block { depth, before } => block(depth, before, byte),
            State::Quoted(quote) if byte == quote => State::Normal,
            State::Quoted(quote) => State::Quoted(quote),
            State::Escapes => match byte {
                b'\\' => State::Escaped,
                b'\'' => State::EscapesEnded { blank: false, newline: false },
                _ => State::Escapes,
            },
            State::Escaped => State::Escapes,
            State::EscapesEnded { blank, newline } => match byte {
                b'\'' if newline || !blank => State::Escapes,
                b'\n' | b'\r' => State::EscapesEnded { blank: true, newline: true },
                b' ' | b'\t' | 0x0c => State::EscapesEnded { blank: true, newline },
                _ => return self.normal(byte),
            },
            State::DollarTag(tag) => return self.dollar_tag(tag, byte),
            State::DollarBody { delimiter, matched } => dollar_body(delimiter, matched, byte),
            State::Backslash(name) => return self.backslash(name, byte),
        };
        self.statement.push(byte);
        None
    }

    fn normal(&mut self, byte: u8) -> Option<Item> {
        self.state = match byte {
            b';' if self.parentheses == 0 => return self.take(),
            b'\\' => {
                self.state = State::Backslash(Vec::new());
                return None;
            }
            b'-' => State::Dash,
            b'/' => State::Slash,
            b'\'' | b'"' => State::Quoted(byte),
            b'$' => State::DollarTag(vec![b'$']),
            byte if is_word(byte) => State::Word { escape: matches!(byte, b'e' | b'E') },
            _ => State::Normal,
        };
        match byte {
            b'(' => self.parentheses += 1,
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
        if !byte.is_ascii_whitespace() && !matches!(byte, b'-' | b'/') {
            self.begin(0);
        }
        self.keep(byte);
        None
    }

    /// There is more than comments; those before it, all but the latest `keep` bytes, are no part of the statement.
    fn begin(&mut self, keep: usize) {
        if !self.substance {
            let comments = self.statement.len().saturating_sub(keep);
            self.statement.drain(..comments);
            self.substance = true;
        }
    }

    /// Blanks before a statement are no part of it.
    fn keep(&mut self, byte: u8) {
        if !self.statement.is_empty() || !byte.is_ascii_whitespace() {
            self.statement.push(byte);
        }
    }

    fn word(&mut self, byte: u8, escape: bool) -> Option<Item> {
        if !is_word(byte) && byte != b'$' && !(escape && byte == b'\'') {
            return self.normal(byte);
        }
        self.state = if byte == b'\'' { State::Escapes } else { State::Word { escape: false } };
        self.statement.push(byte);
        None
    }

    fn dollar_tag(&mut self, mut tag: Vec<u8>, byte: u8) -> Option<Item> {
        let begins = tag.len() == 1;
        if byte != b'$' && (!is_word(byte) || begins && byte.is_ascii_digit()) {
            return self.normal(byte);
        }
        tag.push(byte);
        let whole = byte == b'$';
        self.state = if whole { State::DollarBody { delimiter: tag, matched: 0 } } else { State::DollarTag(tag) };
        self.statement.push(byte);
        None
    }

    /// `\;` and `\:` stand for the second character; all else is a command, up to the end of its line.
    fn backslash(&mut self, mut name: Vec<u8>, byte: u8) -> Option<Item> {
        if name.is_empty() && matches!(byte, b';' | b':') {
            self.begin(0);
            self.keep(byte);
            return None;
        }
        if byte == b'\n' {
            self.keep(byte);
            return Some(Item::Command(command_name(&name)));
        }
        // The arguments of a command mean nothing here, however long they are.
        if name.len() < 256 {
            name.push(byte);
        }
        self.state = State::Backslash(name);
        None
    }

    /// The next lines as data for `COPY`; to be called until it says that the data has ended.
    pub fn copy_data(&mut self) -> CopyData {
        data::take(&mut self.input, &mut self.at, self.ended)
    }

    /// All text that has not been taken, whatever it is.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.input.drain(..std::mem::take(&mut self.at));
        std::mem::take(&mut self.input)
    }

    /// Whether there are lines behind the statement that was just taken.
    pub fn has_lines(&self) -> bool {
        let rest = self.input.get(self.at..).unwrap_or_default();
        rest.iter().position(|b| *b == b'\n').is_some_and(|end| end + 1 < rest.len())
    }

    /// Takes back what stands after the statement on its own line, so that data can be taken from the lines behind.
    pub fn set_aside(&mut self) -> Option<Vec<u8>> {
        data::set_aside(&self.input, &mut self.at, self.ended)
    }

    /// Puts back what was set aside.
    pub fn put_back(&mut self, aside: Vec<u8>) {
        let rest = self.input.split_off(self.at);
        self.input = aside;
        self.input.extend(rest);
        self.at = 0;
    }

    /// Forgets the statement that has begun, and all text.
    pub fn clear(&mut self) {
        *self = Self { ended: self.ended, ..Self::new() };
    }
}

fn block(depth: u32, before: u8, byte: u8) -> State {
    match (before, byte) {
        (b'*', b'/') if depth == 1 => State::Normal,
        (b'*', b'/') => State::Block { depth: depth - 1, before: 0 },
        (b'/', b'*') => State::Block { depth: depth.saturating_add(1), before: 0 },
        _ => State::Block { depth, before: byte },
    }
}

fn dollar_body(delimiter: Vec<u8>, matched: usize, byte: u8) -> State {
    let matched = match delimiter.get(matched) {
        Some(expected) if *expected == byte => matched + 1,
        _ => usize::from(byte == b'$'),
    };
    if matched == delimiter.len() { State::Normal } else { State::DollarBody { delimiter, matched } }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn command_name(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.split(|c: char| c.is_whitespace() || c == '\\').next().unwrap_or_default().to_owned()
}
