//! Just enough of Rust's grammar to count and to search: comments, strings, braces, words.

use std::ops::Range;

/// The text with comments and the insides of strings and characters blanked out. Lines stay where they are.
pub fn blank(text: &str) -> String {
    let mut scanner = Scanner { chars: text.chars().collect(), at: 0, out: String::with_capacity(text.len()) };
    while scanner.at < scanner.chars.len() {
        scanner.step();
    }
    scanner.out
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn keep(&mut self) {
        self.out.push(self.peek(0));
        self.at += 1;
    }

    fn hide(&mut self, count: usize) {
        for _ in 0..count {
            self.out.push(if self.peek(0) == '\n' { '\n' } else { ' ' });
            self.at += 1;
        }
    }

    fn ended(&self) -> bool {
        self.at >= self.chars.len()
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.line_comment(),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            ('r', '"' | '#') if self.may_start_raw() => self.raw_string(),
            _ => self.keep(),
        }
    }

    fn line_comment(&mut self) {
        while !self.ended() && self.peek(0) != '\n' {
            self.hide(1);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while !self.ended() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.hide(1);
                    continue;
                }
            }
            self.hide(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep();
        while !self.ended() && self.peek(0) != '"' {
            self.hide(if self.peek(0) == '\\' { 2 } else { 1 });
        }
        self.keep();
    }

    /// A character, or the mark of a lifetime.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            self.hide(3);
            while !self.ended() && self.peek(0) != '\'' {
                self.hide(1);
            }
            self.hide(1);
        } else if self.peek(2) == '\'' {
            self.hide(3);
        } else {
            self.keep();
        }
    }

    /// Whether an `r` here stands alone or behind a single `b` or `c`, and not at the end of a word.
    fn may_start_raw(&self) -> bool {
        let mut before = self.out.chars().rev();
        match before.next() {
            Some('b' | 'c') => !before.next().is_some_and(is_word),
            Some(other) => !is_word(other),
            None => true,
        }
    }

    fn raw_string(&mut self) {
        let hashes = self.chars.iter().skip(self.at + 1).take_while(|&&c| c == '#').count();
        if self.peek(1 + hashes) != '"' {
            return self.keep();
        }
        self.hide(hashes + 2);
        while !self.ended() {
            let closes = self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#');
            self.hide(1);
            if closes {
                return self.hide(hashes);
            }
        }
    }
}

/// Whether a character can be part of a name.
pub const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where a name stands in blanked code, as a whole word.
pub fn places_of(code: &str, name: &str) -> Vec<usize> {
    let whole = |&at: &usize| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at + name.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    };
    code.match_indices(name).map(|(at, _)| at).filter(whole).collect()
}

/// The items in blanked code that only tests compile.
pub fn test_ranges(code: &str) -> Vec<Range<usize>> {
    if code.contains("#![cfg(test)]") {
        return std::iter::once(0..code.len()).collect();
    }
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for mark in ["#[cfg(test)]", "#[cfg(all(test", "#[test]"] {
        ranges.extend(code.match_indices(mark).map(|(at, _)| at..item_end(code, at).0));
    }
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut end = 0;
    ranges.retain(|range| {
        let outside = range.start >= end;
        end = end.max(range.end);
        outside
    });
    ranges
}

/// The code with these ranges blanked out.
pub fn without(code: &str, ranges: &[Range<usize>]) -> String {
    let hidden = |at: usize| ranges.iter().any(|range| range.contains(&at));
    code.char_indices().map(|(at, c)| if c != '\n' && hidden(at) { ' ' } else { c }).collect()
}

/// Where the item that starts here ends, and whether it has a body.
fn item_end(code: &str, start: usize) -> (usize, bool) {
    let (mut nested, mut braces, mut body) = (0_i32, 0_i32, false);
    for (at, c) in code.char_indices().skip_while(|&(at, _)| at < start) {
        match c {
            '(' | '[' if braces == 0 => nested += 1,
            ')' | ']' if braces == 0 => nested -= 1,
            '{' if nested == 0 => {
                braces += 1;
                body = true;
            }
            // What it stands in ends: it was a field or an arm.
            '}' if nested == 0 && braces == 0 => return (at, false),
            '}' if nested == 0 => braces -= 1,
            ';' if nested == 0 && braces == 0 => return (at + 1, false),
            _ => {}
        }
        if body && braces == 0 {
            return (at + 1, true);
        }
    }
    (code.len(), body)
}

/// The module that an item such as `#[cfg(test)] mod name;` declares, if it is one.
pub fn declared_module(item: &str) -> Option<&str> {
    let (_, name) = item.strip_suffix(';')?.rsplit_once("mod ")?;
    (!name.is_empty() && name.chars().all(is_word)).then_some(name)
}

/// A function of blanked code.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
}

/// The functions with a body.
pub fn functions(code: &str) -> Vec<Function> {
    places_of(code, "fn").into_iter().filter_map(|at| function(code, at)).collect()
}

fn function(code: &str, at: usize) -> Option<Function> {
    let rest = code.get(at + 2..)?.trim_start();
    let name: String = rest.chars().take_while(|&c| is_word(c)).collect();
    let (end, body) = item_end(code, at);
    if name.is_empty() || !body {
        return None;
    }
    let line = code.get(..at)?.matches('\n').count() + 1;
    let lines = code.get(at..end)?.matches('\n').count() + 1;
    Some(Function { name, line, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked() {
        let text = "a // b\nc /* d /* e */ f */ g\n\"h\\\"i\" r#\"j\"k\"# 'l' '\\'' '\\u{6d}' &'m n br\"o\" r#p b'q'";
        let blank = blank(text);
        assert_eq!(blank.lines().count(), text.lines().count());
        assert_eq!(blank.len(), text.len());
        let letters: String = blank.chars().filter(char::is_ascii_alphabetic).collect();
        assert_eq!(letters, "acgmnbrpb");
    }

    #[test]
    fn functions_are_measured_to_their_closing_brace() {
        let code =
            "fn a() {}\ntrait T { fn b(x: [u8; 3]); }\nfn c<F: Fn() -> u8>(f: fn(u8))\nwhere F: Copy\n{\n  { }\n}\n";
        let found: Vec<_> = functions(code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        assert_eq!(found, [("a".to_owned(), 1, 1), ("c".to_owned(), 3, 5)]);
    }

    #[test]
    fn test_items_are_found_once() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { #[test] fn b() {} }\nfn c() {}\n#[cfg(test)] mod m;\n";
        let ranges = test_ranges(code);
        assert_eq!(ranges.len(), 2);
        let names: Vec<_> = functions(&without(code, &ranges)).into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(code.get(ranges[1].clone()).and_then(declared_module), Some("m"));
    }

    #[test]
    fn a_field_for_tests_hides_no_more_than_its_struct() {
        let code = "struct S {\n#[cfg(test)]\na: u8,\n}\nfn b() {}\n";
        assert_eq!(functions(&without(code, &test_ranges(code))).len(), 1);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(places_of("unsafe_code unsafe { notunsafe }", "unsafe"), [12]);
    }
}
