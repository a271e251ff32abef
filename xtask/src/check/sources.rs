//! The text files of the repository.

use super::rust;
use crate::{Result, shell};
use std::path::Path;

/// One text file.
#[derive(Debug)]
pub struct Source {
    /// Its path from the root, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// Of a Rust file: its code, with comments, strings and tests blanked out. Empty where all of it is a test.
    pub code: String,
    /// How many of its lines belong to tests.
    pub test_lines: usize,
}

impl Source {
    /// A file with this path and text.
    pub fn new(path: &str, text: &str) -> Self {
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: String::new(),
            test_lines: text.lines().count(),
        };
        if source.is_rust() && !is_test_path(path) {
            let blank = rust::blank(text);
            let tests = rust::test_ranges(&blank);
            source.test_lines = tests.iter().filter_map(|range| blank.get(range.clone())).map(lines).sum();
            source.code = rust::without(&blank, &tests);
        }
        source
    }

    /// Whether it is a Rust file.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is a file of prose.
    pub fn is_prose(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Lines that are not tests.
    pub fn lines(&self) -> usize {
        self.text.lines().count().saturating_sub(self.test_lines)
    }

    /// The file and the line of a place in its code.
    pub fn place(&self, offset: usize) -> String {
        let line = self.code.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        format!("{}:{line}", self.path)
    }
}

fn lines(text: &str) -> usize {
    text.matches('\n').count() + 1
}

/// Whether a path says that all of the file is tests.
fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/').rev();
    let file = parts.next().unwrap_or_default();
    file == "tests.rs" || file.ends_with("_tests.rs") || parts.any(|part| matches!(part, "tests" | "benches" | "fuzz"))
}

/// Every text file that git knows, or would know if it were added.
pub fn read(root: &Path) -> Result<Vec<Source>> {
    let names = shell::output(root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let mut paths: Vec<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    // What is not UTF-8 is data, and what is not there any more is no concern of ours.
    let mut sources: Vec<Source> = Vec::new();
    for path in paths {
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            sources.push(Source::new(path, &text));
        }
    }
    blank_test_modules(&mut sources);
    Ok(sources)
}

/// `#[cfg(test)] mod name;` makes a test of another file.
fn blank_test_modules(sources: &mut [Source]) {
    let tests: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for source in sources.iter_mut().filter(|source| source.is_rust()) {
        let path = source.path.as_str();
        if tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/"))) {
            source.code.clear();
            source.test_lines = source.text.lines().count();
        }
    }
}

/// Paths, without `.rs`, of the modules that a file declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let Some((folder, file)) = source.path.rsplit_once('/') else { return Vec::new() };
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let folder = if matches!(stem, "lib" | "main" | "mod") { folder.to_owned() } else { format!("{folder}/{stem}") };
    if !source.is_rust() {
        return Vec::new();
    }
    let blank = rust::blank(&source.text);
    let items = rust::test_ranges(&blank);
    let names = items.iter().filter_map(|range| blank.get(range.clone())).filter_map(rust::declared_module);
    names.map(|name| format!("{folder}/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_lines_do_not_count() {
        let source = Source::new("crates/x/src/a.rs", "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
        assert_eq!(source.lines(), 2);
        assert!(source.code.contains("fn a"));
        assert!(!source.code.contains("fn b"));
    }

    #[test]
    fn whole_files_can_be_tests() {
        for path in ["crates/x/tests/a.rs", "crates/x/src/a/tests.rs", "crates/x/benches/b.rs"] {
            assert_eq!(Source::new(path, "fn a() {}\n").lines(), 0, "{path}");
        }
    }

    #[test]
    fn a_module_declared_for_tests_is_a_test() {
        let mut sources = vec![
            Source::new("crates/x/src/lib.rs", "#[cfg(test)]\nmod model;\nmod real;\n"),
            Source::new("crates/x/src/model.rs", "fn a() {}\n"),
            Source::new("crates/x/src/real.rs", "fn a() {}\n"),
        ];
        blank_test_modules(&mut sources);
        let lines: Vec<usize> = sources.iter().map(Source::lines).collect();
        assert_eq!(lines, [1, 0, 1]);
    }
}
