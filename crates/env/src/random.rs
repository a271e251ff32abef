//! Random numbers.

use crate::sys;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::RefUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random numbers.
pub trait Random: Send + Sync + RefUnwindSafe {
    /// 64 random bits.
    fn u64(&self) -> u64;

    /// Fills `buf` with random bytes.
    fn fill(&self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(self.u64().to_le_bytes()) {
                *to = from;
            }
        }
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        match sys::random(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            // The standard library's hash maps are keyed by the same source.
            Err(_) => RandomState::new().build_hasher().finish(),
        }
    }
}

/// Numbers that follow from a seed (SplitMix64), so that a test can be run again.
#[derive(Debug)]
pub struct SeededRandom {
    state: AtomicU64,
}

impl SeededRandom {
    /// The numbers of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// A number below `n`; 0 if `n` is 0.
    #[must_use]
    pub fn below(&self, n: u64) -> u64 {
        self.u64().checked_rem(n).unwrap_or(0)
    }
}

impl Random for SeededRandom {
    fn u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        mix(self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }
}

/// SplitMix64's finish: every bit of `z` reaches every bit of the result.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_numbers() {
        let random = SeededRandom::new(1_234_567);
        assert_eq!(random.u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        assert_ne!(SystemRandom.u64(), SystemRandom.u64());
        let mut bytes = [0; 19];
        SystemRandom.fill(&mut bytes);
        assert_ne!(bytes, [0; 19]);
    }
}
