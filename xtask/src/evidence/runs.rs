//! The table of longer runs. To add one, add an entry.
//!
//! A step is a line for `sh`, run in the root of the repository. In it stand
//! - `{bin}` for the folder of the release binaries,
//! - `{work}` for a folder that is made empty for the run and removed after it,
//! - `{shared}` for the tools and suites beside the repository (`NODEDB_SHARED`, or `../shared`); where they are
//!   not there, the run is skipped with a word.
//!
//! Other words in braces are the tools' own.

/// One run.
pub struct Run {
    /// Its name, and that of its file below `evidence/`.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// What it does, in order; the first step that fails ends it.
    pub steps: &'static [&'static str],
    /// The code that it says something about. While none of this changes, what it found stays true.
    pub covers: &'static [&'static str],
    /// What to keep of its output. Lines that are JSON objects are kept in any case.
    pub keep: Keep,
    /// When it has passed.
    pub passes: Passes,
}

/// Which lines of the output are figures.
pub enum Keep {
    /// The last line that is not blank.
    LastLine,
    /// Those that begin with this.
    StartingWith(&'static str),
    /// None but JSON objects, of which there must be one at least.
    Json,
}

/// When a run has passed.
#[derive(PartialEq, Eq)]
pub enum Passes {
    /// When all steps end with 0.
    OnSuccess,
    /// When there is a figure, since the figure is the point and 100 % is not expected.
    WithFigure,
}

const STORE: &[&str] = &["crates/env", "crates/base", "crates/store", "Cargo.lock"];
const VECTOR: &[&str] = &["crates/env", "crates/vector", "Cargo.lock"];
const ALL: &[&str] = &["crates", "tests/torture", "Cargo.lock"];
const BENCH: &[&str] =
    &["crates/env", "crates/base", "crates/store", "crates/query", "crates/db", "benches", "Cargo.lock"];

const DERIVED: &[&str] = &["crates", "benches", "Cargo.lock"];

/// WordNet as tables.
const IMPORT: &str = "{bin}/nodedb import --data {work}/wordnet {shared}/data/wordnet/synsets.parquet --table synsets";

/// All of it, since a part would choose other features of the libraries and so build them once more.
const BUILD: &str = "cargo build --release --workspace";

/// All runs.
pub const RUNS: &[Run] = &[
    Run {
        name: "power",
        about: "200 power cuts under sixteen writers: nothing acknowledged is lost, nothing is half there (needs root)",
        steps: &[
            BUILD,
            "{shared}/tools/powerloss.py --cycles 200 '{bin}/torture write {dir}' '{bin}/torture check {dir} {acks} --totals {work}/totals'",
        ],
        covers: ALL,
        keep: Keep::LastLine,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "kill",
        about: "300 kills under sixteen writers",
        steps: &[
            BUILD,
            "{shared}/tools/powerloss.py --method kill --cycles 300 '{bin}/torture write {dir}' '{bin}/torture check {dir} {acks} --totals {work}/totals'",
        ],
        covers: ALL,
        keep: Keep::LastLine,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "damage-clean",
        about: "a thousand faults in a database that was closed: each is harmless or reported",
        steps: &[
            BUILD,
            "{bin}/torture fill {work}/db",
            "{shared}/tools/damage.py --trials 200 {work}/db '{bin}/torture verify {dir}'",
        ],
        covers: ALL,
        keep: Keep::LastLine,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "damage-killed",
        about: "a thousand faults in a database that was killed: each is harmless or reported",
        steps: &[
            BUILD,
            "{bin}/torture fill {work}/db --kill",
            "{shared}/tools/damage.py --trials 200 {work}/db '{bin}/torture verify {dir}'",
        ],
        covers: ALL,
        keep: Keep::LastLine,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "kv-model",
        about: "millions of random operations on the trees against a map of all versions",
        steps: &["cargo test --release --workspace --test kv_model -- --ignored --nocapture"],
        covers: STORE,
        keep: Keep::StartingWith("test result:"),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "isolation",
        about: "concurrent histories: no anomaly that the isolation level forbids",
        steps: &["cargo test --release --workspace --test it -- --ignored isolation --nocapture"],
        covers: ALL,
        keep: Keep::StartingWith("test result:"),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "time-travel",
        about: "reads at old commits, in process and reopened, against a map of all versions",
        steps: &["cargo test --release --workspace --test it -- --ignored time_travel --nocapture"],
        covers: ALL,
        keep: Keep::StartingWith("test result:"),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "vector-life",
        about: "10,000 lives of a vector collection against a map of all versions, with kills, power cuts and failing calls",
        steps: &["NODEDB_VECTOR_LIVES=10000 cargo test --release -p nodedb-vector --test it lives -- --nocapture"],
        covers: VECTOR,
        keep: Keep::StartingWith("10000 lives"),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "vector-hostile",
        about: "5,000 damaged files of a vector collection: each harmless or reported, under AddressSanitizer",
        steps: &[
            "NODEDB_VECTOR_MUTATIONS=5000 RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan \
             cargo test --release -p nodedb-vector --lib --test it --target x86_64-unknown-linux-gnu -- --nocapture",
        ],
        covers: VECTOR,
        keep: Keep::StartingWith("5000 mutations"),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "bench-sqlite",
        about: "load, commits, point reads and scans beside SQLite with synchronous=FULL",
        steps: &[BUILD, "{bin}/sqlite {work}"],
        covers: BENCH,
        keep: Keep::Json,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "bench-growth",
        about: "bytes written per commit while the store grows: the cost follows the change",
        steps: &[BUILD, "{bin}/growth {work}"],
        covers: BENCH,
        keep: Keep::Json,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "bench-memory",
        about: "the highest resident memory of loads, scans, sorts and joins against the budget",
        steps: &[BUILD, "{bin}/memory {work}"],
        covers: BENCH,
        keep: Keep::Json,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "freshness",
        about: "200,000 commits of 16 sessions: each finds what it has committed through both indexes, and nothing that is gone",
        steps: &[BUILD, "{bin}/freshness {work}"],
        covers: DERIVED,
        keep: Keep::Json,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "bench-text",
        about: "full text beside SQLite's FTS5: a million short documents, words, phrases, the ten best",
        steps: &[BUILD, IMPORT, "{bin}/text {work}/text --from {work}/wordnet"],
        covers: DERIVED,
        keep: Keep::Json,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "text-top-ten",
        about: "the best ten of 500 queries over the glosses of WordNet, beside tantivy's own writer and query language",
        steps: &[
            BUILD,
            IMPORT,
            "{bin}/nodedb sql --data {work}/wordnet --format csv -c \"SELECT replace(text, chr(10), ' ') FROM synsets\" > {work}/texts",
            "NODEDB_TEXTS={work}/texts cargo test --release -p nodedb-index --lib -- --ignored --nocapture best_ten",
        ],
        covers: DERIVED,
        keep: Keep::StartingWith("best ten"),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "bench-hybrid",
        about: "how good words, vectors and both are at finding relatives in WordNet",
        steps: &[
            BUILD,
            IMPORT,
            "{bin}/nodedb import --data {work}/wordnet {shared}/data/wordnet/relations.parquet --table relations",
            "{bin}/hybrid {work}/wordnet --more \"fusion => 'rrf'\"",
        ],
        covers: DERIVED,
        keep: Keep::Json,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "bench-derived",
        about: "what a vector and a text index cost: rows a second, bytes written, disk, memory, opening",
        steps: &[BUILD, IMPORT, "{bin}/derived {work}/derived --from {work}/wordnet"],
        covers: DERIVED,
        keep: Keep::Json,
        passes: Passes::OnSuccess,
    },
    Run {
        name: "fuzz-sql",
        about: "ten minutes of hostile statements",
        steps: &["RUSTC_BOOTSTRAP=1 cargo fuzz run sql -- -max_total_time=600"],
        covers: ALL_FUZZ,
        keep: Keep::StartingWith("Done "),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "fuzz-row",
        about: "ten minutes of hostile row bytes",
        steps: &["RUSTC_BOOTSTRAP=1 cargo fuzz run --no-default-features row -- -max_total_time=600"],
        covers: STORE_FUZZ,
        keep: Keep::StartingWith("Done "),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "fuzz-key",
        about: "ten minutes of hostile key bytes",
        steps: &["RUSTC_BOOTSTRAP=1 cargo fuzz run --no-default-features key -- -max_total_time=600"],
        covers: STORE_FUZZ,
        keep: Keep::StartingWith("Done "),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "fuzz-log",
        about: "ten minutes of hostile log segments",
        steps: &["RUSTC_BOOTSTRAP=1 cargo fuzz run --no-default-features log -- -max_total_time=600"],
        covers: STORE_FUZZ,
        keep: Keep::StartingWith("Done "),
        passes: Passes::OnSuccess,
    },
    Run {
        name: "semantics",
        about: "queries with exact results, as PostgreSQL gives them",
        steps: &[
            BUILD,
            "{shared}/suites/run_cases.py {shared}/suites/semantics/cases.json --cmd '{bin}/nodedb sql --data {data} -f {file}'",
        ],
        covers: ALL,
        keep: Keep::StartingWith("TOTAL "),
        passes: Passes::WithFigure,
    },
    Run {
        name: "sqlstate",
        about: "statements that must fail, with the SQLSTATE that PostgreSQL gives",
        steps: &[
            BUILD,
            "{shared}/suites/run_cases.py {shared}/suites/sqlstate/cases.json --cmd '{bin}/nodedb sql --data {data} -f {file}'",
        ],
        covers: ALL,
        keep: Keep::StartingWith("TOTAL "),
        passes: Passes::WithFigure,
    },
    Run {
        name: "slt",
        about: "SQLite's sqllogictest files",
        steps: &[
            "NODEDB_SLT={shared}/suites/slt/test cargo test --release --workspace --test it -- --ignored slt::suite --nocapture",
        ],
        covers: ALL,
        keep: Keep::StartingWith("TOTAL "),
        passes: Passes::WithFigure,
    },
];

const ALL_FUZZ: &[&str] = &["crates", "fuzz", "Cargo.lock"];
const STORE_FUZZ: &[&str] = &["crates/env", "crates/base", "crates/store", "fuzz", "Cargo.lock"];
