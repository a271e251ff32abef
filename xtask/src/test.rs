//! `cargo xtask test`: every test of the workspace.

use crate::{Result, shell};
use std::path::Path;

/// Runs all tests. What follows `test` on the command line goes to the runner, and narrows them down.
pub fn run(root: &Path, rest: &[&str]) -> Result<bool> {
    let cargo = shell::cargo();
    if !shell::succeeds(root, &cargo, &["nextest", "--version"]) {
        return shell::show(root, &cargo, &[&["test"], scope(rest), rest].concat());
    }
    let tests = shell::show(root, &cargo, &[&["nextest", "run"], scope(rest), &["--no-tests=pass"], rest].concat())?;
    // cargo-nextest leaves out the examples in the documentation.
    let documentation = || shell::show(root, &cargo, &["test", "--workspace", "--doc"]);
    Ok(tests && (!rest.is_empty() || documentation()?))
}

/// The whole workspace, unless packages are named.
fn scope(rest: &[&str]) -> &'static [&'static str] {
    let named = rest.iter().any(|word| word.starts_with("-p") || word.starts_with("--package"));
    if named { &[] } else { &["--workspace"] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_packages_are_tested_alone() {
        assert_eq!(scope(&[]), ["--workspace"]);
        assert_eq!(scope(&["some_test"]), ["--workspace"]);
        assert!(scope(&["-p", "xtask"]).is_empty());
    }
}
