//! Each foreign library is named in one room.

use super::crates::Package;
use super::sources::Source;
use super::{Finding, rust};

/// Where a library may be named.
struct Room {
    /// The library's name in code; its relatives `name_...` and, in manifests, `name-...` are meant too.
    library: &'static str,
    /// Crates whose manifest may name it. Empty: all but those of `never`.
    crates: &'static [&'static str],
    /// The beginnings of the paths that may name it. Empty: the sources of those crates.
    paths: &'static [&'static str],
    /// Crates that must not name it.
    never: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room { library: "lsm_tree", crates: &["nodedb-store"], paths: &["crates/store/src/kv"], never: &[] },
    Room { library: "tantivy", crates: &["nodedb-index"], paths: &["crates/index/src/text"], never: &[] },
    Room { library: "datafusion", crates: &["nodedb-query"], paths: &[], never: &[] },
    Room { library: "sqlparser", crates: &["nodedb-query"], paths: &[], never: &[] },
    Room { library: "loro", crates: &["nodedb-sync"], paths: &[], never: &[] },
    Room { library: "pgwire", crates: &["nodedb-server"], paths: &[], never: &[] },
    Room {
        library: "arrow",
        crates: &["nodedb-query", "nodedb", "nodedb-cli", "nodedb-server"],
        paths: &[],
        never: &[],
    },
    // No async below `query`.
    Room {
        library: "tokio",
        crates: &[],
        paths: &[],
        never: &["nodedb-env", "nodedb-base", "nodedb-vector", "nodedb-store"],
    },
];

impl Room {
    fn admits(&self, package: &str) -> bool {
        !self.never.contains(&package) && (self.crates.is_empty() || self.crates.contains(&package))
    }

    fn admits_path(&self, package: &str, path: &str) -> bool {
        self.admits(package) && (self.paths.is_empty() || self.paths.iter().any(|start| path.starts_with(start)))
    }

    fn is_in_manifest(&self, dependency: &str) -> bool {
        is_or_extends(&dependency.replace('-', "_"), self.library)
    }
}

/// Whether a name is the library's, or begins with it and `_`.
fn is_or_extends(name: &str, library: &str) -> bool {
    name.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// All rules about foreign libraries.
pub fn check(packages: &[Package], sources: &[Source]) -> Vec<Finding> {
    let manifests = packages.iter().filter(|package| package.is_room()).flat_map(manifest);
    manifests.chain(sources.iter().flat_map(source)).collect()
}

fn manifest(package: &Package) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dependency in package.dependencies.iter().filter(|dependency| !dependency.is_dev()) {
        let closed = ROOMS.iter().any(|room| room.is_in_manifest(&dependency.name) && !room.admits(&package.name));
        if closed {
            let message = format!("Cargo.toml must not name {}", dependency.name);
            findings.push(Finding::new("foreign", &package.name, message));
        }
    }
    findings
}

fn source(source: &Source) -> Vec<Finding> {
    let Some(package) = package_of(&source.path) else { return Vec::new() };
    let closed = ROOMS.iter().filter(|room| !room.admits_path(&package, &source.path));
    closed.flat_map(|room| named(source, room.library)).collect()
}

/// The crate of a path below `crates/`.
fn package_of(path: &str) -> Option<String> {
    let (folder, _) = path.strip_prefix("crates/")?.split_once('/')?;
    Some(if folder == "db" { "nodedb".to_owned() } else { format!("nodedb-{folder}") })
}

/// Where code names a library: at the head of a path, or behind `use`.
fn named(source: &Source, library: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, _) in source.code.match_indices(library) {
        let (before, rest) = source.code.split_at(at);
        let name: String = rest.chars().take_while(|&c| rust::is_word(c)).collect();
        let after = rest.get(name.len()..).unwrap_or_default().trim_start();
        if is_or_extends(&name, library) && is_head(before) && (after.starts_with("::") || follows_use(before)) {
            findings.push(Finding::new("foreign", source.place(at), format!("must not name {name}")));
        }
    }
    findings
}

/// Whether what comes next begins a path: it is not the rest of a word, and not behind `name::`.
fn is_head(before: &str) -> bool {
    let inside = before.chars().next_back().is_some_and(rust::is_word);
    let path = before.trim_end().strip_suffix("::").is_some_and(|head| head.ends_with(rust::is_word));
    !inside && !path
}

fn follows_use(before: &str) -> bool {
    let before = before.trim_end();
    before.ends_with("use") || before.ends_with("extern crate")
}

#[cfg(test)]
mod tests {
    use super::super::crates::tests::package;
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[], &[Source::new(path, text)]).len()
    }

    #[test]
    fn a_library_outside_its_room_is_found() {
        for (path, text) in [
            ("crates/store/src/commit.rs", "use lsm_tree::AnyTree;"),
            ("crates/index/src/vector/mod.rs", "fn f(x: tantivy::Term) {}"),
            ("crates/db/src/session.rs", "use datafusion::prelude::*;"),
            ("crates/db/src/session.rs", "use sqlparser;"),
            ("crates/db/src/session.rs", "use datafusion_expr::Expr;"),
            ("crates/base/src/types.rs", "fn f() -> ::arrow::Schema {}"),
            ("crates/store/src/log.rs", "use tokio::sync;"),
        ] {
            assert_eq!(count(path, text), 1, "{path}: {text}");
        }
    }

    #[test]
    fn a_library_in_its_room_passes() {
        for (path, text) in [
            ("crates/store/src/kv.rs", "use lsm_tree::AnyTree;"),
            ("crates/store/src/kv/tree.rs", "use lsm_tree::AnyTree;"),
            ("crates/query/src/table.rs", "use datafusion::prelude::*;"),
            ("crates/db/src/session.rs", "use arrow::array::ArrayRef; use tokio::sync;"),
            ("crates/base/src/types.rs", "// arrow::Schema\nuse crate::arrow::x; let narrow = arrows::f();"),
            ("crates/store/src/a.rs", "#[cfg(test)]\nmod tests { use tokio::sync; }"),
            ("tests/torture/src/main.rs", "use tokio::sync;"),
        ] {
            assert_eq!(count(path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn a_manifest_that_names_it_is_found() {
        let found = |name, dependency, kind| check(&[package(name, dependency, kind)], &[]).len();
        assert_eq!(found("nodedb-server", "datafusion", None), 1);
        assert_eq!(found("nodedb-base", "arrow-schema", None), 1);
        assert_eq!(found("nodedb-store", "tokio", Some("build")), 1);
        assert_eq!(found("nodedb-store", "tokio", Some("dev")), 0);
        assert_eq!(found("nodedb-query", "datafusion-functions-json", None), 0);
    }
}
