//! Reading JSON. Of our own, because the digits of numbers, the last of equal keys, the depth and the errors
//! all have to be PostgreSQL's.

use super::{Json, compare_keys};
use crate::types::text::decimal_parts;
use nodedb_base::{Error, Result};

/// Deepest nesting: each level is a few stack frames.
const MAX_DEPTH: usize = 512;

/// Most digits that exponents may add up to in one text.
const MAX_EXPANSION: usize = 1 << 20;

pub(super) fn parse(text: &str) -> Result<Json> {
    let mut parser = Parser { rest: text, depth: 0, expansion: MAX_EXPANSION };
    let value = parser.value()?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(value) } else { Err(parser.unexpected()) }
}

/// The string that a quoted text means.
pub(crate) fn unquote(quoted: &str) -> Result<String> {
    Parser { rest: quoted, depth: 0, expansion: 0 }.string()
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    expansion: usize,
}

fn invalid(detail: impl Into<String>) -> Error {
    Error::statement("22P02", "invalid input syntax for type json").with_detail(detail)
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\n', '\t', '\r']);
    }

    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    #[cold]
    fn unexpected(&self) -> Error {
        let word = |c: char| c.is_alphanumeric() || c == '_' || !c.is_ascii();
        let mut end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        if end == 0 {
            end = self.rest.chars().next().map_or(0, char::len_utf8);
        }
        match self.rest.get(..end) {
            None | Some("") => invalid("The input string ended unexpectedly."),
            Some(token) => invalid(format!("Token \"{token}\" is invalid.")),
        }
    }

    fn value(&mut self) -> Result<Json> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Json>) -> Result<Json> {
        if self.depth == MAX_DEPTH {
            return Err(Error::limit("54001", "stack depth limit exceeded")
                .with_hint(format!("A json value can be nested {MAX_DEPTH} levels deep.")));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self) -> Result<Json> {
        for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if let Some(rest) = self.rest.strip_prefix(word)
                && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(self.unexpected())
    }

    fn array(&mut self) -> Result<Json> {
        let mut items = Vec::new();
        self.eat('[');
        if self.eat(']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.eat(']') {
                return Ok(Json::Array(items));
            }
            if !self.eat(',') {
                return Err(self.unexpected());
            }
        }
    }

    fn object(&mut self) -> Result<Json> {
        let mut members = Vec::new();
        self.eat('{');
        if self.eat('}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            let key = self.string()?;
            if !self.eat(':') {
                return Err(self.unexpected());
            }
            members.push((key, self.value()?));
            if self.eat('}') {
                return Ok(Json::Object(in_order(members)));
            }
            if !self.eat(',') {
                return Err(self.unexpected());
            }
        }
    }

    fn number(&mut self) -> Result<Json> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-')));
        let (token, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len())).unwrap_or((self.rest, ""));
        if !is_number(token) {
            return Err(self.unexpected());
        }
        let digits = self.plain_digits(token)?;
        self.rest = rest;
        Ok(Json::Number(digits))
    }

    /// Writes an exponent out as zeros; a minus before zero goes.
    fn plain_digits(&mut self, token: &str) -> Result<String> {
        let negative_zero = token.starts_with('-') && !mantissa(token).contains(|c| matches!(c, '1'..='9'));
        let token = if negative_zero { token.trim_start_matches('-') } else { token };
        if !token.contains(['e', 'E']) {
            return Ok(token.to_owned());
        }
        let overflow = || Error::statement("22003", "value overflows numeric format");
        let (digits, scale) = decimal_parts(token).ok_or_else(overflow)?;
        let added = usize::try_from(scale.unsigned_abs()).map_err(|_| overflow())?;
        self.expansion = self.expansion.checked_sub(added).ok_or_else(overflow)?;
        Ok(plain(&digits, scale))
    }

    fn string(&mut self) -> Result<String> {
        self.rest = self.rest.strip_prefix('"').unwrap_or(self.rest);
        let mut out = String::new();
        loop {
            let end = self.rest.find(|c: char| matches!(c, '"' | '\\') || (c as u32) < 0x20);
            let (plain, rest) = end
                .and_then(|end| self.rest.split_at_checked(end))
                .ok_or_else(|| invalid("The input string ended unexpectedly."))?;
            out.push_str(plain);
            let mut chars = rest.chars();
            match chars.next() {
                Some('"') => {
                    self.rest = chars.as_str();
                    return Ok(out);
                }
                Some('\\') => {
                    self.rest = chars.as_str();
                    out.push(self.escape()?);
                }
                Some(c) => {
                    return Err(invalid(format!("Character with value 0x{:02x} must be escaped.", c as u32)));
                }
                None => return Err(invalid("The input string ended unexpectedly.")),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let mut chars = self.rest.chars();
        let c = chars.next().ok_or_else(|| invalid("The input string ended unexpectedly."))?;
        self.rest = chars.as_str();
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            c => return Err(invalid(format!("Escape sequence \"\\{c}\" is invalid."))),
        })
    }

    fn unicode(&mut self) -> Result<char> {
        let high = self.hex4()?;
        if high == 0 {
            return Err(Error::statement("22P05", "unsupported Unicode escape sequence")
                .with_detail("\\u0000 cannot be converted to text."));
        }
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high).ok_or_else(lone_surrogate);
        }
        self.rest = self.rest.strip_prefix("\\u").ok_or_else(lone_surrogate)?;
        let low = self.hex4()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(lone_surrogate());
        }
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(lone_surrogate)
    }

    fn hex4(&mut self) -> Result<u32> {
        let wrong = || invalid("\"\\u\" must be followed by four hexadecimal digits.");
        let (digits, rest) = self.rest.split_at_checked(4).ok_or_else(wrong)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        self.rest = rest;
        u32::from_str_radix(digits, 16).map_err(|_| wrong())
    }
}

fn lone_surrogate() -> Error {
    invalid("Unicode low surrogate must follow a high surrogate.")
}

/// Sorts members; of those with the same key the last one stays.
pub(super) fn in_order(mut members: Vec<(String, Json)>) -> Vec<(String, Json)> {
    // The sort is stable, so reversed the last one of equals comes first.
    members.reverse();
    members.sort_by(|(a, _), (b, _)| compare_keys(a, b));
    members.dedup_by(|later, first| later.0 == first.0);
    members
}

fn mantissa(token: &str) -> &str {
    token.split(['e', 'E']).next().unwrap_or_default()
}

/// JSON's grammar of numbers, which is narrower than SQL's.
fn is_number(token: &str) -> bool {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let body = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    digits(whole)
        && !leading_zero
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

/// `digits * 10^-scale` without an exponent.
fn plain(digits: &str, scale: i64) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let size = usize::try_from(scale.unsigned_abs()).unwrap_or(0);
    if scale <= 0 {
        let all = format!("{digits}{}", "0".repeat(size));
        let significant = all.trim_start_matches('0');
        return format!("{sign}{}", if significant.is_empty() { "0" } else { significant });
    }
    let padded = format!("{}{digits}", "0".repeat((size + 1).saturating_sub(digits.len())));
    let (whole, fraction) = padded.split_at_checked(padded.len() - size).unwrap_or((&padded, ""));
    let significant = whole.trim_start_matches('0');
    format!("{sign}{}.{fraction}", if significant.is_empty() { "0" } else { significant })
}
