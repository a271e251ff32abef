//! Numbers that follow from a seed, the same on every machine and in every version.

/// A sequence of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of some numbers that name it.
    pub fn of(names: &[u64]) -> Self {
        let mix = names.iter().fold(0x243f_6a88_85a3_08d3, |seed, name| Self(seed ^ *name).next());
        Self(mix)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `end`, which is not 0.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// The next number below `end`, as SQL has it.
    pub const fn int(&mut self, end: i64) -> i64 {
        self.below(end.unsigned_abs()).cast_signed()
    }

    /// True once in `n` times.
    pub const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Letters, digits and a few others, some of them longer than a byte.
    pub fn text(&mut self, length: u64) -> String {
        const LETTERS: &[char] = &[
            'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u',
            'v', 'w', 'x', 'y', 'z', 'A', 'E', 'I', 'O', 'U', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ' ',
            '\'', '"', '\\', '%', '_', '\n', 'ä', 'ß', '€', '𝄞',
        ];
        let letter = |number: u64| LETTERS.get(number as usize % LETTERS.len()).copied().unwrap_or('?');
        let mut text = String::new();
        let mut bits = 0;
        for at in 0..length {
            if at % 8 == 0 {
                bits = self.next();
            }
            text.push(letter(bits & 0xff));
            bits >>= 8;
        }
        text
    }

    /// Numbers that `real` holds exactly.
    pub fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| f32::from(self.below(4096) as u16) / 64.0 - 32.0).collect()
    }
}
