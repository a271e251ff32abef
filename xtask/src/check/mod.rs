//! `cargo xtask check`: the rules of the house, as functions that find what breaks them.
//!
//! Each rule takes the sources (or the crates) and returns its findings, and each has a test that sees it
//! find something. To change a rule, change the table at the top of its file.

mod crates;
mod fences;
mod foreign;
mod lengths;
mod rust;
mod sources;
mod words;

use crate::Result;
use sources::Source;
use std::fmt;
use std::path::Path;

/// One place that breaks one rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule, in a word or two.
    pub rule: &'static str,
    /// File, or file and line, or crate.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

impl Finding {
    fn new(rule: &'static str, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule, place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.place, self.message, self.rule)
    }
}

/// Checks everything and prints what it finds; whether that was nothing.
pub fn run(root: &Path, verbose: bool) -> Result<bool> {
    let sources = sources::read(root)?;
    let packages = crates::read(root)?;
    let mut findings = crates::check(&packages);
    findings.extend(foreign::check(&packages, &sources));
    findings.extend(fences::check(&sources));
    findings.extend(words::check(root, &sources));
    let lengths = lengths::measure(&sources);
    findings.extend(lengths.check());
    println!("{lengths}");
    if verbose {
        lengths.print_longest(20);
    }
    report(&findings, &sources);
    Ok(findings.is_empty())
}

fn report(findings: &[Finding], sources: &[Source]) {
    for finding in findings {
        println!("{finding}");
    }
    println!("{} files checked, {} findings", sources.len(), findings.len());
}
