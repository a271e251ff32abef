//! The targets on random input, without sanitizers and without libFuzzer: a quick look whether they work. With
//! `NODEDB_FUZZ_SECONDS` they run for longer.

use nodedb_env::{Random, SeededRandom};
use std::time::{Duration, Instant};

/// Runs a target on inputs of all lengths. The seed is fixed: who runs longer sees more, not other inputs.
fn run(target: fn(&[u8])) {
    let seconds = std::env::var("NODEDB_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut seed = 0;
    while Instant::now() < end {
        let random = SeededRandom::new(seed);
        let length = 1 << random.below(12);
        let mut input = vec![0; random.below(length) as usize];
        random.fill(&mut input);
        // Small numbers are what most choices are made of.
        if random.below(2) == 0 {
            input.iter_mut().filter(|_| random.below(3) > 0).for_each(|byte| *byte &= 3);
        }
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "seed {seed}: {input:?}");
        seed += 1;
    }
    println!("{seed} inputs");
}

#[test]
fn key() {
    run(nodedb_fuzz::key::run);
}

#[test]
fn row() {
    run(nodedb_fuzz::row::run);
}

#[test]
fn log() {
    run(nodedb_fuzz::log::run);
}

#[cfg(feature = "sql")]
#[test]
fn sql() {
    let seconds = std::env::var("NODEDB_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut seed = 0;
    while Instant::now() < end {
        // A statement of the seeds, changed up to four times.
        let mut text = nodedb_fuzz::sql::seed(seed / 5).to_owned();
        for change in 0..seed % 5 {
            text = nodedb_fuzz::sql::mutate(text.as_bytes(), 5 * seed + change).unwrap_or(text);
        }
        nodedb_fuzz::sql::run(text.as_bytes());
        seed += 1;
    }
    println!("{seed} inputs");
}
