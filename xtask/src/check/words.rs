//! Rules about names and links.

use super::sources::Source;
use super::{Finding, rust};
use std::path::{Path, PathBuf};

/// A module is named after what it holds. These words hold anything.
const VAGUE: &[&str] = &["utils", "util", "helpers", "helper", "manager", "common", "misc"];

/// Hosts of package registries. Where packages come from is a matter of whoever builds, so no file names one.
/// (Each is written in two parts, or this file would break its own rule.)
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".com"),
    concat!("npmjs", ".org"),
    concat!("yarnpkg", ".com"),
    concat!("proxy.golang", ".org"),
    concat!("rubygems", ".org"),
    concat!("maven.apache", ".org"),
];

/// Files that a tool writes, which name registries whether we like it or not.
const GENERATED: &[&str] = &["Cargo.lock", "package-lock.json", "uv.lock"];

/// Folders whose mention in prose or comments must be true.
const FOLDERS: &[&str] = &["crates/", "docs/", "tests/", "xtask/", "demo/", "fuzz/", "benches/", ".ci/"];

/// All rules about names and links.
pub fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(module_name(source));
        findings.extend(registries(source));
        findings.extend(links(root, source));
        findings.extend(paths(root, source));
    }
    findings
}

fn module_name(source: &Source) -> Option<Finding> {
    if !source.is_rust() {
        return None;
    }
    let parts = source.path.trim_end_matches(".rs").split('/').flat_map(|part| part.split('_'));
    let inside = VAGUE.iter().copied().find(|word| !rust::places_of(&source.code, &format!("mod {word}")).is_empty());
    let vague = parts.into_iter().find(|part| VAGUE.contains(part)).or(inside)?;
    Some(Finding::new("names", &source.path, format!("`{vague}` says nothing: name it after what it holds")))
}

fn registries(source: &Source) -> Vec<Finding> {
    let file = source.path.rsplit('/').next().unwrap_or_default();
    if GENERATED.contains(&file) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for host in REGISTRIES.iter().filter(|host| line.contains(**host)) {
            let place = format!("{}:{}", source.path, number + 1);
            findings.push(Finding::new("registries", place, format!("names the host {host}")));
        }
    }
    findings
}

/// Links to files lead somewhere.
fn links(root: &Path, source: &Source) -> Vec<Finding> {
    if !source.is_prose() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in prose_lines(&source.text) {
        for target in link_targets(&line) {
            if !resolve(root, &source.path, target).exists() {
                let place = format!("{}:{number}", source.path);
                findings.push(Finding::new("links", place, format!("{target} is not there")));
            }
        }
    }
    findings
}

/// Numbered lines outside code blocks, with inline code taken out.
fn prose_lines(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let plain: Vec<&str> = line.split('`').step_by(2).collect();
            lines.push((number + 1, plain.join("`")));
        }
    }
    lines
}

/// What `[text](target)` and `[name]: target` point to, as far as it is a file.
fn link_targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
    let files = inline.chain(definition).map(|target| target.split('#').next().unwrap_or_default());
    files.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")).collect()
}

fn resolve(root: &Path, from: &str, target: &str) -> PathBuf {
    match target.strip_prefix('/') {
        Some(absolute) => root.join(absolute),
        None => root.join(from).parent().unwrap_or(root).join(target),
    }
}

/// Paths of the repository that prose and comments put in backticks are there.
fn paths(root: &Path, source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for path in mentioned_paths(source, line) {
            if !root.join(path).exists() {
                let place = format!("{}:{}", source.path, number + 1);
                findings.push(Finding::new("paths", place, format!("`{path}` is not there")));
            }
        }
    }
    findings
}

fn mentioned_paths<'a>(source: &Source, line: &'a str) -> Vec<&'a str> {
    let comment = source.is_rust() && line.trim_start().starts_with("//");
    if !source.is_prose() && !comment {
        return Vec::new();
    }
    let quoted = line.split('`').skip(1).step_by(2);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    quoted.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)) && word.chars().all(plain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&crate::shell::root(), &[Source::new(path, text)]).len()
    }

    #[test]
    fn vague_module_names_are_found() {
        assert_eq!(count("crates/x/src/utils.rs", ""), 1);
        assert_eq!(count("crates/x/src/lock_manager.rs", ""), 1);
        assert_eq!(count("crates/x/src/common/mod.rs", ""), 1);
        assert_eq!(count("crates/x/src/commit.rs", "mod helpers { fn f() {} }"), 1);
        assert_eq!(count("crates/x/src/commit.rs", "// mod utils"), 0);
    }

    #[test]
    fn registry_hosts_are_found() {
        let text = format!("see https://{}/x", REGISTRIES.concat());
        assert_eq!(count("CONTRIBUTING.md", &text), REGISTRIES.len());
        assert_eq!(count("Cargo.lock", &text), 0);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        assert_eq!(count("docs/a.md", "[x](no-such-page.md) and [y](../no/such.md#part)"), 2);
        assert_eq!(count("docs/a.md", "[x]: no-such-page.md"), 1);
        assert_eq!(
            count("docs/a.md", "[x](../Cargo.toml) [y](/xtask/src/main.rs#L1) [z](https://a.b/c) [w](#here)"),
            0
        );
        assert_eq!(count("docs/a.md", "`[x](no.md)`\n```\n[x](no.md)\n```\n"), 0);
    }

    #[test]
    fn paths_that_are_not_there_are_found() {
        assert_eq!(count("crates/x/src/a.rs", "// see `docs/no-such-page.md`\nlet x = \"`docs/no`\";"), 1);
        assert_eq!(count("README.md", "`xtask/src/main.rs`, `tests/slt/<name>.slt`, `src/none.rs`"), 0);
    }
}
