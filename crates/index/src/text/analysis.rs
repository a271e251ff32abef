//! From a text to the terms that are searched for: tokenizers, languages, and the fields of tantivy's schema.

use nodedb_base::{Error, Result};
use std::str::FromStr;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions as FieldOptions,
};
use tantivy::tokenizer::{
    Language, LowerCaser, NgramTokenizer, RawTokenizer, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter,
    TextAnalyzer, Token, TokenStream, Tokenizer, TokenizerManager, WhitespaceTokenizer,
};

/// Words of more bytes are no words.
pub(super) const LONGEST_WORD: usize = 255;

/// How a text is cut into terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Into words: runs of letters and digits, in lower case.
    #[default]
    Words,
    /// At white space alone, in lower case.
    Whitespace,
    /// Not at all: the whole text is one term.
    Raw,
    /// Into all runs of so many characters, in lower case: for code, and for parts of words.
    Ngram(u8, u8),
    /// Into the beginnings of words, so many characters long: for completion while somebody types.
    Prefix(u8, u8),
    /// Words, but Chinese, Japanese and Korean into pairs of characters.
    Cjk,
}

/// How one column is indexed.
#[derive(Clone, Debug, PartialEq)]
pub struct TextColumn {
    /// Its name, as queries say it.
    pub name: String,
    /// How it is cut into terms.
    pub cut: Cut,
    /// The language whose word endings are taken off; one of [`LANGUAGES`].
    pub language: Option<String>,
    /// Whether words that say nothing in that language are left out.
    pub stopwords: bool,
    /// Whether it is known where terms stand, as phrases need it.
    pub positions: bool,
    /// How much a match counts.
    pub boost: f32,
}

/// How a text index is made.
#[derive(Clone, Debug, PartialEq)]
pub struct TextOptions {
    /// The columns, at least one.
    pub columns: Vec<TextColumn>,
}

/// The languages whose word endings are known: those of the Snowball project.
pub const LANGUAGES: [(&str, Language); 18] = [
    ("arabic", Language::Arabic),
    ("danish", Language::Danish),
    ("dutch", Language::Dutch),
    ("english", Language::English),
    ("finnish", Language::Finnish),
    ("french", Language::French),
    ("german", Language::German),
    ("greek", Language::Greek),
    ("hungarian", Language::Hungarian),
    ("italian", Language::Italian),
    ("norwegian", Language::Norwegian),
    ("portuguese", Language::Portuguese),
    ("romanian", Language::Romanian),
    ("russian", Language::Russian),
    ("spanish", Language::Spanish),
    ("swedish", Language::Swedish),
    ("tamil", Language::Tamil),
    ("turkish", Language::Turkish),
];

fn language(name: &str) -> Result<Language> {
    let found = LANGUAGES.iter().find(|(known, _)| *known == name);
    found.map(|(_, language)| *language).ok_or_else(|| {
        let known: Vec<_> = LANGUAGES.iter().map(|(name, _)| *name).collect();
        Error::statement("22023", format!("invalid value for option \"language\": {name}"))
            .with_hint(format!("It is one of {}.", known.join(", ")))
    })
}

impl FromStr for Cut {
    type Err = Error;

    /// `words`, `whitespace`, `raw`, `cjk`, `ngram(2,3)`, `prefix(1,10)`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::statement("22023", format!("invalid value for option \"tokenizer\": {text}"))
                .with_hint("It is words, whitespace, raw, cjk, ngram(2,3) or prefix(1,10).")
        };
        let (name, range) = match text.split_once('(') {
            Some((name, range)) => (name, range.strip_suffix(')').and_then(|range| range.split_once(','))),
            None => (text, None),
        };
        let sizes = || -> Result<(u8, u8)> {
            let (least, most) = range.ok_or_else(wrong)?;
            let size = |text: &str| text.trim().parse().map_err(|_| wrong());
            let (least, most) = (size(least)?, size(most)?);
            if (1..=most).contains(&least) && most <= 32 { Ok((least, most)) } else { Err(wrong()) }
        };
        match (name, range) {
            ("words", None) => Ok(Self::Words),
            ("whitespace", None) => Ok(Self::Whitespace),
            ("raw", None) => Ok(Self::Raw),
            ("cjk", None) => Ok(Self::Cjk),
            ("ngram", _) => sizes().map(|(least, most)| Self::Ngram(least, most)),
            ("prefix", _) => sizes().map(|(least, most)| Self::Prefix(least, most)),
            _ => Err(wrong()),
        }
    }
}

/// The fields of the schema, and what makes terms of their texts.
#[derive(Clone)]
pub(super) struct Fields {
    pub schema: Schema,
    pub row: Field,
    pub version: Field,
    /// Of each column.
    pub texts: Vec<(TextColumn, Field)>,
    pub tokenizers: TokenizerManager,
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fields").field("texts", &self.texts).finish_non_exhaustive()
    }
}

impl Fields {
    /// # Errors
    /// `Statement` (22023) if the options cannot be.
    pub fn new(options: &TextOptions) -> Result<Self> {
        let mut schema = Schema::builder();
        let row = schema.add_u64_field("row", INDEXED | FAST);
        let version = schema.add_u64_field("version", FAST);
        // The default ones are what fields without text ask for.
        let tokenizers = TokenizerManager::default();
        let mut texts = Vec::new();
        for (at, column) in options.columns.iter().enumerate() {
            // Named by number, so that no name of a column is one of ours.
            let name = format!("text{at}");
            tokenizers.register(&name, analyzer(column)?);
            let record = match column.positions {
                true => IndexRecordOption::WithFreqsAndPositions,
                false => IndexRecordOption::WithFreqs,
            };
            let indexing = TextFieldIndexing::default().set_tokenizer(&name).set_index_option(record);
            let field = schema.add_text_field(&name, FieldOptions::default().set_indexing_options(indexing));
            texts.push((column.clone(), field));
        }
        Ok(Self { schema: schema.build(), row, version, texts, tokenizers })
    }

    /// What cuts a column's texts.
    pub fn analyzer(&self, column: usize) -> Result<TextAnalyzer> {
        let found = self.tokenizers.get(&format!("text{column}"));
        found.ok_or_else(|| Error::internal(format!("column {column} of a text index has no tokenizer")))
    }
}

fn analyzer(column: &TextColumn) -> Result<TextAnalyzer> {
    let ngrams = |least: u8, most: u8, prefix: bool| {
        NgramTokenizer::new(usize::from(least), usize::from(most), prefix)
            .map_err(|e| Error::statement("22023", e.to_string()))
    };
    let long = RemoveLongFilter::limit(LONGEST_WORD);
    let mut analyzer = match column.cut {
        Cut::Raw => return Ok(TextAnalyzer::from(RawTokenizer::default())),
        Cut::Words => TextAnalyzer::builder(SimpleTokenizer::default()).filter(long).filter(LowerCaser).dynamic(),
        Cut::Whitespace => {
            TextAnalyzer::builder(WhitespaceTokenizer::default()).filter(long).filter(LowerCaser).dynamic()
        }
        Cut::Cjk => TextAnalyzer::builder(CjkTokenizer::default()).filter(long).filter(LowerCaser).dynamic(),
        Cut::Ngram(least, most) => {
            return Ok(TextAnalyzer::builder(ngrams(least, most, false)?).filter(LowerCaser).build());
        }
        Cut::Prefix(least, most) => {
            return Ok(TextAnalyzer::builder(PrefixTokenizer::new(least, most)).filter(LowerCaser).build());
        }
    };
    if let Some(name) = &column.language {
        let language = language(name)?;
        if column.stopwords
            && let Some(stopwords) = StopWordFilter::new(language)
        {
            analyzer = analyzer.filter_dynamic(stopwords);
        }
        analyzer = analyzer.filter_dynamic(Stemmer::new(language));
    }
    Ok(analyzer.build())
}

/// Tokens that were made beforehand.
struct Made<'a> {
    tokens: std::vec::IntoIter<Token>,
    token: &'a mut Token,
}

impl TokenStream for Made<'_> {
    fn advance(&mut self) -> bool {
        self.tokens.next().is_some_and(|token| {
            *self.token = token;
            true
        })
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// Runs of letters and digits; those of Chinese, Japanese and Korean characters as overlapping pairs, since nothing stands
/// between their words. Lucene's `CJKBigramFilter` does the same.
#[derive(Clone, Default)]
struct CjkTokenizer {
    token: Token,
}

impl Tokenizer for CjkTokenizer {
    type TokenStream<'a> = Box<dyn TokenStream + 'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        let mut tokens = Vec::new();
        for (from, to, is_cjk) in runs(text) {
            let run = text.get(from..to).unwrap_or_default();
            let ends: Vec<usize> = run.char_indices().map(|(at, c)| from + at + c.len_utf8()).collect();
            if !is_cjk || ends.len() < 3 {
                push(&mut tokens, text, from, to);
                continue;
            }
            let starts = std::iter::once(from).chain(ends.iter().copied());
            for (start, end) in starts.zip(ends.iter().skip(1)) {
                push(&mut tokens, text, start, *end);
            }
        }
        Box::new(Made { tokens: tokens.into_iter(), token: &mut self.token })
    }
}

fn push(tokens: &mut Vec<Token>, text: &str, offset_from: usize, offset_to: usize) {
    let position = tokens.len();
    let text = text.get(offset_from..offset_to).unwrap_or_default().to_owned();
    tokens.push(Token { offset_from, offset_to, position, text, position_length: 1 });
}

/// Runs of letters and digits, and whether each is of Chinese, Japanese or Korean.
fn runs(text: &str) -> Vec<(usize, usize, bool)> {
    let mut runs: Vec<(usize, usize, bool)> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
        let (end, cjk) = (at + c.len_utf8(), is_cjk(c));
        match runs.last_mut() {
            Some((_, to, kind)) if *to == at && *kind == cjk => *to = end,
            _ => runs.push((at, end, cjk)),
        }
    }
    runs
}

const fn is_cjk(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3040}'..='\u{30ff}' | '\u{3100}'..='\u{318f}' | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3134f}')
}

/// The beginnings of words, all at the word's place.
#[derive(Clone)]
struct PrefixTokenizer {
    sizes: (u8, u8),
    token: Token,
}

impl PrefixTokenizer {
    fn new(least: u8, most: u8) -> Self {
        Self { sizes: (least, most), token: Token::default() }
    }
}

impl Tokenizer for PrefixTokenizer {
    type TokenStream<'a> = Made<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Made<'a> {
        let (least, most) = (usize::from(self.sizes.0), usize::from(self.sizes.1));
        let mut tokens = Vec::new();
        let mut words = SimpleTokenizer::default();
        let mut stream = words.token_stream(text);
        while let Some(word) = stream.next() {
            let ends = word.text.char_indices().map(|(at, c)| at + c.len_utf8());
            for end in ends.skip(least - 1).take(most + 1 - least) {
                let text = word.text.get(..end).unwrap_or_default().to_owned();
                tokens.push(Token { text, offset_to: word.offset_from + end, ..word.clone() });
            }
        }
        Made { tokens: tokens.into_iter(), token: &mut self.token }
    }
}
