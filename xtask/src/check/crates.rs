//! Who may depend on whom, and that nobody goes without the lints.

use super::Finding;
use crate::{Result, shell};
use serde::Deserialize;
use std::path::Path;

/// The house, from the ground up: a crate, its floor, and the crates that it may build on.
const HOUSE: &[(&str, u8, &[&str])] = &[
    ("nodedb-allocator", 0, &[]),
    ("nodedb-env", 0, &[]),
    ("nodedb-base", 1, &["nodedb-env"]),
    ("nodedb-vector", 1, &["nodedb-env"]),
    ("nodedb-store", 2, &["nodedb-env", "nodedb-base"]),
    ("nodedb-index", 2, &["nodedb-env", "nodedb-base", "nodedb-vector"]),
    ("nodedb-query", 3, &["nodedb-env", "nodedb-base", "nodedb-vector", "nodedb-store", "nodedb-index"]),
    ("nodedb", 4, &["nodedb-env", "nodedb-base", "nodedb-vector", "nodedb-store", "nodedb-index", "nodedb-query"]),
    ("nodedb-sync", 5, BELOW_DOORS),
    ("nodedb-server", 5, BELOW_DOORS),
    ("nodedb-cli", 6, BELOW_CLI),
];

const BELOW_DOORS: &[&str] =
    &["nodedb-env", "nodedb-base", "nodedb-vector", "nodedb-store", "nodedb-index", "nodedb-query", "nodedb"];

const BELOW_CLI: &[&str] = &[
    "nodedb-allocator",
    "nodedb-env",
    "nodedb-base",
    "nodedb-vector",
    "nodedb-store",
    "nodedb-index",
    "nodedb-query",
    "nodedb",
    "nodedb-sync",
    "nodedb-server",
];

/// A crate of the workspace, as `cargo metadata` describes it.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    manifest_path: String,
    /// The text of its `Cargo.toml`; cargo does not tell it.
    #[serde(skip)]
    manifest: String,
}

/// One line of a crate's dependencies.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The name of the crate it needs.
    pub name: String,
    /// `None`, `dev` or `build`.
    pub kind: Option<String>,
}

impl Package {
    /// Whether it is a room of the house, rather than a test program or a task.
    pub fn is_room(&self) -> bool {
        self.manifest_path.contains("/crates/")
    }
}

impl Dependency {
    /// Whether only tests need it.
    pub fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The crates of the workspace.
pub fn read(root: &Path) -> Result<Vec<Package>> {
    let text = shell::output(root, &shell::cargo(), &["metadata", "--format-version", "1", "--no-deps"])?;
    let mut metadata: Metadata =
        serde_json::from_str(&text).map_err(|error| format!("could not read cargo metadata: {error}"))?;
    for package in &mut metadata.packages {
        let path = &package.manifest_path;
        package.manifest = std::fs::read_to_string(path).map_err(|error| format!("could not read {path}: {error}"))?;
    }
    Ok(metadata.packages)
}

/// All rules about crates.
pub fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(|package| direction(package).into_iter().chain(lints(package))).collect()
}

/// Dependencies point down. Tests may look at any lower floor, neighbours excepted.
fn direction(package: &Package) -> Vec<Finding> {
    if !package.is_room() {
        return Vec::new();
    }
    let Some(&(_, floor, may)) = HOUSE.iter().find(|(name, ..)| *name == package.name) else {
        let message = "is not in the table of xtask/src/check/crates.rs: what may it depend on?";
        return vec![Finding::new("direction", &package.name, message)];
    };
    let allowed = |dependency: &&Dependency| {
        let below = HOUSE.iter().any(|(name, other, _)| *name == dependency.name && *other < floor);
        let foreign = !dependency.name.starts_with("nodedb");
        foreign || may.contains(&dependency.name.as_str()) || (dependency.is_dev() && below)
    };
    let wrong = package.dependencies.iter().filter(|dependency| !allowed(dependency));
    wrong.map(|other| Finding::new("direction", &package.name, format!("must not know {}", other.name))).collect()
}

/// Every crate takes the lints of the workspace.
fn lints(package: &Package) -> Vec<Finding> {
    let mut lines = package.manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]");
    let inherits = lines.next().is_some()
        && lines.take_while(|line| !line.starts_with('[')).any(|line| line.replace(' ', "") == "workspace=true");
    if inherits {
        return Vec::new();
    }
    vec![Finding::new("lints", &package.name, "Cargo.toml lacks `[lints] workspace = true`")]
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A room with one dependency.
    pub fn package(name: &str, dependency: &str, kind: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            dependencies: vec![Dependency { name: dependency.to_owned(), kind: kind.map(str::to_owned) }],
            manifest_path: "/w/crates/x/Cargo.toml".to_owned(),
            manifest: "[package]\n[lints]\nworkspace = true\n".to_owned(),
        }
    }

    #[test]
    fn what_points_down_passes() {
        for (name, dependency) in [
            ("nodedb-base", "nodedb-env"),
            ("nodedb-query", "nodedb-store"),
            ("nodedb-query", "datafusion"),
            ("nodedb-cli", "nodedb-server"),
        ] {
            assert_eq!(check(&[package(name, dependency, None)]), [], "{name} -> {dependency}");
        }
        assert_eq!(check(&[package("nodedb-query", "nodedb-store", Some("dev"))]), []);
    }

    #[test]
    fn what_points_up_or_sideways_is_found() {
        for (name, dependency) in [
            ("nodedb-env", "nodedb-base"),
            ("nodedb-vector", "nodedb-base"),
            ("nodedb-store", "nodedb-index"),
            ("nodedb-index", "nodedb-store"),
            ("nodedb-server", "nodedb-sync"),
            ("nodedb-query", "nodedb"),
            ("nodedb-attic", "nodedb"),
        ] {
            assert_eq!(check(&[package(name, dependency, None)]).len(), 1, "{name} -> {dependency}");
        }
        assert_eq!(check(&[package("nodedb-store", "nodedb-index", Some("dev"))]).len(), 1);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        for manifest in ["[package]\n", "[lints]\n[features]\nworkspace = true\n"] {
            let package = Package { manifest: manifest.to_owned(), ..package("nodedb", "libc", None) };
            assert_eq!(check(&[package]).len(), 1);
        }
    }
}
