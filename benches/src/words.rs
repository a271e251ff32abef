//! Short documents made of glosses, and words to look for in them, the same for every seed.

use crate::Result;
use nodedb::blocking::Session;
use std::collections::HashMap;

/// The glosses of WordNet, from a database with its table `synsets`.
///
/// # Errors
/// Those of reading.
pub fn glosses(session: &mut Session) -> Result<Vec<String>> {
    let rows = session.query("SELECT definition FROM synsets ORDER BY id", &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect::<nodedb::Result<_>>()?)
}

/// Numbers that follow from a seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number below `end`, which is not 0.
    pub const fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> Option<&'t T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }
}

/// A document: runs of four to nine words out of two or three glosses.
pub fn document(glosses: &[String], random: &mut Random) -> String {
    let mut document: Vec<&str> = Vec::new();
    for _ in 0..2 + random.below(2) {
        let words: Vec<&str> = random.pick(glosses).map(|gloss| gloss.split(' ').collect()).unwrap_or_default();
        let length = (4 + random.below(6)).min(words.len());
        let from = random.below(words.len() - length + 1);
        document.extend(words.into_iter().skip(from).take(length));
    }
    document.join(" ")
}

/// Words of a document as the indexes have them: runs of letters and digits, in lower case.
pub fn words_of(document: &str) -> impl Iterator<Item = String> {
    let words = document.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase)
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// How many documents have a word.
    One,
    /// How many have two words.
    Two,
    /// How many have two words one behind the other.
    Phrase,
    /// The ten best for a word.
    BestOfOne,
    /// The ten best for two words, of which one is enough.
    BestOfTwo,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::One, Self::Two, Self::Phrase, Self::BestOfOne, Self::BestOfTwo];

    /// Its name in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "count_of_one_word",
            Self::Two => "count_of_two_words",
            Self::Phrase => "count_of_a_phrase",
            Self::BestOfOne => "top_10_of_one_word",
            Self::BestOfTwo => "top_10_of_two_words",
        }
    }

    /// Whether the best are wanted rather than a number.
    #[must_use]
    pub const fn is_best(self) -> bool {
        matches!(self, Self::BestOfOne | Self::BestOfTwo)
    }
}

/// What can be looked for in documents.
pub struct Vocabulary<'d> {
    documents: &'d [String],
    /// ASCII words, the most common first, and a document that has each.
    words: Vec<(String, usize)>,
}

impl<'d> Vocabulary<'d> {
    /// Of documents.
    #[must_use]
    pub fn new(documents: &'d [String]) -> Self {
        let mut times: HashMap<String, (usize, usize)> = HashMap::new();
        for (at, document) in documents.iter().enumerate() {
            for word in words_of(document).filter(|word| word.is_ascii()) {
                let of_word = times.entry(word).or_default();
                *of_word = (of_word.0 + 1, at);
            }
        }
        let mut counted: Vec<_> = times.into_iter().filter(|(_, (times, _))| *times >= 10).collect();
        counted.sort_unstable_by(|(a, (m, _)), (b, (n, _))| n.cmp(m).then_with(|| a.cmp(b)));
        Self { documents, words: counted.into_iter().map(|(word, (_, document))| (word, document)).collect() }
    }

    /// A word, so that each order of magnitude of frequency comes as often, and another one of a document that has it.
    fn pair(&self, random: &mut Random) -> Option<(String, String)> {
        let magnitudes = (self.words.len() as f64).ln();
        let rank = (random.below(1 << 20) as f64 / f64::from(1 << 20) * magnitudes).exp() as usize;
        let (word, document) = self.words.get(rank.saturating_sub(1))?;
        let others: Vec<_> = words_of(self.documents.get(*document)?).filter(|w| w != word && w.is_ascii()).collect();
        Some((word.clone(), random.pick(&others)?.clone()))
    }

    /// Two words that stand one behind the other somewhere.
    fn neighbours(&self, random: &mut Random) -> Option<(String, String)> {
        let words: Vec<_> = words_of(random.pick(self.documents)?).collect();
        match words.get(random.below(words.len().max(2) - 1)..)? {
            [a, b, ..] if a.is_ascii() && b.is_ascii() => Some((a.clone(), b.clone())),
            _ => None,
        }
    }

    /// So many words or pairs to look for.
    pub fn queries(&self, kind: Kind, count: usize, random: &mut Random) -> Vec<Vec<String>> {
        let mut next = || match kind {
            Kind::One | Kind::BestOfOne => self.pair(random).map(|(word, _)| vec![word]),
            Kind::Two | Kind::BestOfTwo => self.pair(random).map(|(word, other)| vec![word, other]),
            Kind::Phrase => self.neighbours(random).map(|(word, other)| vec![word, other]),
        };
        std::iter::from_fn(|| Some(next())).flatten().take(count).collect()
    }
}
