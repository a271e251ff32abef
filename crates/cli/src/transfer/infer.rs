//! What type fits the values of a column.

use nodedb::text::{self, TextStyle};
use nodedb::{Result, Type, Value};
use serde_json::Value as Json;

/// Most dimensions of a `vector`.
const MOST_DIMENSIONS: usize = 16_000;

/// The types that texts are tried for, the narrower first: the first that takes all of them is the one.
const TEXTS: [Type; 12] = [
    Type::Bool,
    Type::Int8,
    WHOLE,
    Type::Float8,
    Type::Date,
    Type::Time,
    Type::Timestamp,
    Type::Timestamptz,
    Type::Uuid,
    Type::Bytea,
    Type::Vector(0),
    Type::Jsonb,
];

/// For whole numbers beyond `bigint`.
const WHOLE: Type = Type::Numeric { precision: 38, scale: 0 };

/// What the values of a column have in common so far.
#[derive(Clone, Debug, Default)]
pub struct Guess {
    texts: Texts,
    lists: Lists,
    /// Objects, lists of lists, and lists beside other values: only `jsonb` takes them.
    document: bool,
}

/// What texts have in common.
#[derive(Clone, Debug)]
struct Texts {
    seen: bool,
    /// For each of [`TEXTS`], whether all texts fit it.
    fit: [bool; TEXTS.len()],
    dimensions: Dimensions,
    /// Whether a number in a list is none that is whole. Lists of whole numbers may be anything.
    fraction: bool,
}

/// What lists have in common.
#[derive(Clone, Debug, Default)]
struct Lists {
    seen: bool,
    null: bool,
    number: bool,
    fraction: bool,
    string: bool,
    boolean: bool,
    dimensions: Dimensions,
}

/// The length of all lists, if they have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Dimensions {
    #[default]
    Unknown,
    All(usize),
    Differ,
}

impl Dimensions {
    fn and(&mut self, length: usize) {
        *self = match *self {
            Self::Unknown => Self::All(length),
            Self::All(other) if other == length => Self::All(length),
            _ => Self::Differ,
        };
    }

    fn vector(self) -> Option<Type> {
        match self {
            Self::All(n) if (1..=MOST_DIMENSIONS).contains(&n) => u32::try_from(n).ok().map(Type::Vector),
            _ => None,
        }
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self { seen: false, fit: [true; TEXTS.len()], dimensions: Dimensions::default(), fraction: false }
    }
}

impl Guess {
    /// A text that could stand for anything, as in CSV.
    pub fn text(&mut self, text: &str) {
        self.texts.add(text, |_| true);
    }

    /// A JSON value.
    pub fn json(&mut self, value: &Json) {
        match value {
            Json::Null => {}
            Json::Bool(v) => self.texts.add(&v.to_string(), |ty| *ty == Type::Bool),
            Json::Number(v) => self.texts.add(&v.to_string(), is_number),
            // A string says that it is no number, whatever its characters are.
            Json::String(v) => self.texts.add(v, |ty| {
                matches!(ty, Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz | Type::Uuid | Type::Bytea)
            }),
            Json::Array(items) => self.document |= !self.lists.add(items),
            Json::Object(_) => self.document = true,
        }
    }

    /// A list of numbers of single or double precision.
    pub fn floats(&mut self, length: usize, nulls: bool) {
        self.lists.seen = true;
        self.lists.number = true;
        self.lists.fraction = true;
        self.lists.null |= nulls;
        self.lists.dimensions.and(length);
    }

    /// The type that takes all values; `text` if there were none.
    pub fn ty(&self) -> Type {
        if self.document || self.lists.seen && self.texts.seen {
            return Type::Jsonb;
        }
        if self.lists.seen { self.lists.ty() } else { self.texts.ty() }
    }
}

impl Texts {
    fn add(&mut self, text: &str, may_be: impl Fn(&Type) -> bool) {
        self.seen = true;
        for (fit, ty) in self.fit.iter_mut().zip(&TEXTS) {
            *fit = *fit && may_be(ty) && fits(text, ty);
        }
        if let (true, Ok(Value::Vector(numbers))) = (text.starts_with('['), parse(text, &Type::Vector(0))) {
            self.dimensions.and(numbers.len());
            self.fraction |= numbers.iter().any(|n| n.fract() != 0.0);
        }
    }

    fn ty(&self) -> Type {
        let vector = self.dimensions.vector().filter(|_| self.fraction);
        let fitting = TEXTS.iter().zip(self.fit).filter(|(_, fit)| *fit && self.seen).map(|(ty, _)| ty);
        let mut named = fitting.filter_map(|ty| if *ty == Type::Vector(0) { vector.clone() } else { Some(ty.clone()) });
        named.next().unwrap_or(Type::Text)
    }
}

impl Lists {
    /// `false` if no array takes the items.
    fn add(&mut self, items: &[Json]) -> bool {
        self.seen = true;
        self.dimensions.and(items.len());
        for item in items {
            match item {
                Json::Null => self.null = true,
                Json::Bool(_) => self.boolean = true,
                Json::Number(n) => {
                    self.number = true;
                    self.fraction |= !n.is_i64();
                }
                Json::String(_) => self.string = true,
                Json::Array(_) | Json::Object(_) => return false,
            }
        }
        true
    }

    fn ty(&self) -> Type {
        let element = match (self.number, self.string, self.boolean) {
            (true, false, false) if self.fraction => match self.dimensions.vector() {
                Some(vector) if !self.null => return vector,
                _ => Type::Float8,
            },
            (true, false, false) => Type::Int8,
            (false, true, false) => Type::Text,
            (false, false, true) => Type::Bool,
            _ => return Type::Jsonb,
        };
        Type::Array(Box::new(element))
    }
}

fn is_number(ty: &Type) -> bool {
    matches!(ty, Type::Int8 | Type::Numeric { .. } | Type::Float8)
}

/// Whether a text is of a type in the form that the type is usually written in. The types accept more than that
/// (`1` is a boolean, `now` a date), which says nothing about what somebody meant.
fn fits(text: &str, ty: &Type) -> bool {
    let usual = match ty {
        Type::Bool => ["t", "f", "true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)),
        Type::Int8 | Type::Numeric { .. } => is_whole(text),
        Type::Float8 => is_fraction(text),
        Type::Date => text.len() == 10 && is_date(text),
        Type::Time => text.len() >= 8 && has_marks(text, &[(2, b":"), (5, b":")]) && !has_zone(text),
        Type::Timestamp => is_date(text) && (text.len() == 10 || is_timestamp(text) && !has_zone(text)),
        Type::Timestamptz => is_timestamp(text) && has_zone(text),
        Type::Uuid => text.len() == 36 && text.as_bytes().get(8) == Some(&b'-'),
        Type::Bytea => text.starts_with("\\x"),
        Type::Vector(_) => text.starts_with('['),
        Type::Jsonb => text.starts_with(['{', '[']),
        _ => false,
    };
    usual && parse(text, ty).is_ok()
}

fn parse(text: &str, ty: &Type) -> Result<Value> {
    text::parse(text, ty, &TextStyle::default())
}

/// A number, but no code: those begin with zeros.
fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'))
}

/// A number that double precision keeps as it is.
fn is_fraction(text: &str) -> bool {
    let number = text.strip_prefix('-').unwrap_or(text);
    if matches!(number, "NaN" | "Infinity") {
        return true;
    }
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let zero = number.len() > 1 && number.starts_with('0') && !number.starts_with("0.") && !number.starts_with("0e");
    number.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits <= 17 && !zero
}

/// Whether a text has one of the bytes at each of the places.
fn has_marks(text: &str, marks: &[(usize, &[u8])]) -> bool {
    let bytes = text.as_bytes();
    marks.iter().all(|(at, any)| bytes.get(*at).is_some_and(|b| any.contains(b)))
}

fn is_date(text: &str) -> bool {
    has_marks(text, &[(4, b"-"), (7, b"-")])
}

fn is_timestamp(text: &str) -> bool {
    is_date(text) && has_marks(text, &[(10, b" T"), (13, b":")])
}

/// Whether there is a `Z` or an offset behind a time.
fn has_zone(text: &str) -> bool {
    let time = text.get(if is_date(text) { 11 } else { 0 }..).unwrap_or_default();
    time.contains(['Z', 'z', '+', '-'])
}
