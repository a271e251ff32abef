//! What only a few files may do: unsafe code, clocks, threads.

use super::sources::Source;
use super::{Finding, rust};

/// The files that may hold `unsafe`. Each says at its top what makes its use sound.
const MAY_BE_UNSAFE: &[&str] = &[
    "crates/env/src/sys.rs",
    "crates/allocator/src/giving_back.rs",
    "crates/vector/src/kernels/x86.rs",
    // A promise of a trait, and no code.
    "crates/index/src/text/directory.rs",
];

/// Calls to the outside world that go through a trait of `env`.
const OUTSIDE: &[&str] = &["Instant::now", "SystemTime::now", "thread::spawn", "thread::Builder"];

/// Where the outside world is at home: behind the traits, and in programs that are no part of the database.
const AT_HOME: &[&str] =
    &["crates/env/", "crates/vector/examples/", "crates/db/examples/", "tests/", "benches/", "xtask/"];

/// All rules about what only a few files may do.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let rust = sources.iter().filter(|source| source.is_rust());
    rust.flat_map(|source| unsafe_code(source).into_iter().chain(outside(source))).collect()
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    if MAY_BE_UNSAFE.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let code = rust::blank(&source.text);
    let places = rust::places_of(&code, "unsafe");
    let line = |at| code.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
    let message = "unsafe code belongs into the files that xtask/src/check/fences.rs lists";
    places.into_iter().map(|at| Finding::new("unsafe", format!("{}:{}", source.path, line(at)), message)).collect()
}

fn outside(source: &Source) -> Vec<Finding> {
    if AT_HOME.iter().any(|home| source.path.starts_with(home)) {
        return Vec::new();
    }
    let calls =
        OUTSIDE.iter().flat_map(|call| rust::places_of(&source.code, call).into_iter().map(move |at| (at, call)));
    calls
        .map(|(at, call)| Finding::new("outside", source.place(at), format!("{call} goes through a trait of env")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[Source::new(path, text)]).len()
    }

    #[test]
    fn unsafe_outside_its_files_is_found_in_tests_too() {
        assert_eq!(count("crates/store/src/a.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(count("crates/store/tests/a.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(count("crates/env/src/sys.rs", "fn f() { unsafe { g() } }"), 0);
        assert_eq!(count("crates/store/src/a.rs", "#![forbid(unsafe_code)] // unsafe"), 0);
    }

    #[test]
    fn clocks_and_threads_outside_env_are_found() {
        assert_eq!(count("crates/store/src/a.rs", "fn f() { std::time::Instant::now(); thread::spawn(g); }"), 2);
        assert_eq!(count("crates/env/src/real.rs", "fn f() { std::time::Instant::now(); }"), 0);
        assert_eq!(count("crates/store/src/a.rs", "#[cfg(test)] mod tests { fn f() { Instant::now(); } }"), 0);
    }
}
