//! How long functions and files are. The numbers may fall, never rise: lower them when they allow it.

use super::sources::Source;
use super::{Finding, rust};
use std::fmt;

/// The 90th percentile of function lengths must not pass this.
const P90: usize = 30;
/// A function is long beyond this ...
const LONG: usize = 70;
/// ... and of a thousand functions so many may be long ...
const LONG_PER_THOUSAND: usize = 8;
/// ... but none longer than this.
const LONGEST: usize = 100;
/// A file beyond this is listed, ...
const FILE_LISTED: usize = 600;
/// ... and beyond this, refused. Lines of tests do not count.
const FILE_REFUSED: usize = 1000;

/// The lengths of everything that is not a test.
#[derive(Debug, Default)]
pub struct Lengths {
    /// Lines and places of functions, shortest first.
    functions: Vec<(usize, String)>,
    /// Lines and paths of files.
    files: Vec<(usize, String)>,
}

/// Measures the Rust sources.
pub fn measure(sources: &[Source]) -> Lengths {
    let mut lengths = Lengths::default();
    for source in sources.iter().filter(|source| !source.code.is_empty()) {
        lengths.files.push((source.lines(), source.path.clone()));
        for function in rust::functions(&source.code) {
            let place = format!("{}:{} {}", source.path, function.line, function.name);
            lengths.functions.push((function.lines, place));
        }
    }
    lengths.functions.sort();
    lengths.files.sort();
    lengths
}

impl Lengths {
    fn percentile(&self, percent: usize) -> usize {
        let at = self.functions.len().saturating_sub(1) * percent / 100;
        self.functions.get(at).map_or(0, |(lines, _)| *lines)
    }

    fn long(&self) -> usize {
        self.functions.iter().filter(|(lines, _)| *lines > LONG).count()
    }

    /// What is too long.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.percentile(90) > P90 {
            let message = format!("the 90th percentile is {} lines, more than {P90}", self.percentile(90));
            findings.push(Finding::new("length", "functions", message));
        }
        if self.long() * 1000 > self.functions.len() * LONG_PER_THOUSAND {
            let places: Vec<&str> =
                self.functions.iter().filter(|(lines, _)| *lines > LONG).map(|(_, place)| place.as_str()).collect();
            let message = format!(
                "{} of {} are longer than {LONG} lines, more than {LONG_PER_THOUSAND} per thousand: {}",
                places.len(),
                self.functions.len(),
                places.join(", ")
            );
            findings.push(Finding::new("length", "functions", message));
        }
        findings.extend(too_long(&self.functions, LONGEST));
        findings.extend(too_long(&self.files, FILE_REFUSED));
        findings
    }

    /// Prints the longest functions and the longest files.
    pub fn print_longest(&self, count: usize) {
        for (lines, place) in self.functions.iter().rev().take(count).chain(self.files.iter().rev().take(count)) {
            println!("{lines:5}  {place}");
        }
    }
}

fn too_long(all: &[(usize, String)], limit: usize) -> Vec<Finding> {
    let long = all.iter().filter(|(lines, _)| *lines > limit);
    long.map(|(lines, place)| Finding::new("length", place, format!("{lines} lines, more than {limit}"))).collect()
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p90, p99] = [50, 90, 99].map(|percent| self.percentile(percent));
        let (count, long) = (self.functions.len(), self.long());
        write!(f, "{count} functions: median {median}, p90 {p90}, p99 {p99} lines; {long} longer than {LONG}")?;
        for (lines, path) in self.files.iter().filter(|(lines, _)| *lines > FILE_LISTED) {
            write!(f, "\n{path}: {lines} lines, more than {FILE_LISTED}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2))
    }

    fn findings(functions: &[usize]) -> usize {
        let text: String = functions.iter().map(|&lines| function(lines)).collect();
        measure(&[Source::new("crates/x/src/a.rs", &text)]).check().len()
    }

    #[test]
    fn short_functions_pass() {
        assert_eq!(findings(&[5; 50]), 0);
    }

    #[test]
    fn a_slow_rise_is_found() {
        assert_eq!(findings(&[31; 30]), 1);
    }

    #[test]
    fn too_many_long_functions_are_found() {
        let mut functions = vec![3; 124];
        functions.push(71);
        assert_eq!(findings(&functions), 0);
        functions.push(71);
        assert_eq!(findings(&functions), 1);
    }

    #[test]
    fn one_very_long_function_is_found() {
        let mut functions = vec![3; 124];
        functions.push(101);
        assert_eq!(findings(&functions), 1);
    }

    #[test]
    fn a_very_long_file_is_found_and_its_tests_do_not_count() {
        assert_eq!(findings(&[5; 201]), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(2000));
        assert_eq!(measure(&[Source::new("crates/x/src/a.rs", &tests)]).check(), []);
    }
}
