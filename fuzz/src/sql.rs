//! Hostile statements against a small database in memory.
//!
//! The input is text: statements, divided by semicolons. They run in a transaction block that is rolled back, so
//! that the next input meets the same database. Each must end by itself or when it is cancelled, with an answer or
//! with an error that has a SQLSTATE, and without a panic. XX001 (damaged data) is a finding in any case; XX000 (a
//! bug of ours) only with `NODEDB_FUZZ_STRICT=1`, since DataFusion has many ways to say "internal error".

use nodedb::{Database, Env, Error, Lsn, Options, Session, Value};
use nodedb_store::TreesKind;
use std::cell::RefCell;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

/// A statement that runs for so long is cancelled.
const PATIENCE: Duration = Duration::from_secs(2);
/// A statement that was cancelled must have ended by then.
const GRACE: Duration = Duration::from_secs(60);
/// Rows beyond these are not taken.
const ROWS: usize = 2_000;
/// Statements of one input beyond these are not run.
const STATEMENTS: usize = 6;

/// One statement a line; also what the mutator takes its words from.
const SEEDS: &str = include_str!("../seeds/statements.sql");
const TABLES: &str = include_str!("../seeds/tables.sql");

static STRICT: LazyLock<bool> = LazyLock::new(|| std::env::var_os("NODEDB_FUZZ_STRICT").is_some());

struct World {
    database: Database,
    made: Lsn,
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

impl World {
    fn new() -> Self {
        let options = Options { memory: 64 << 20, threads: Some(2), ..Options::default() };
        let database =
            Database::open_in(Env::memory(), Path::new("/fuzz"), TreesKind::Volatile, &options).expect("a database");
        let mut session = database.blocking();
        for statement in TABLES.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            session.execute(statement, &[]).unwrap_or_else(|e| panic!("{statement}: {e}"));
        }
        let made = database.last_lsn();
        Self { database, made }
    }
}

fn parameters() -> [Value; 4] {
    [2_i64.into(), "two".into(), vec![1.0_f32, 0.0, 0.5].into(), Value::Null]
}

/// Runs one statement and takes its first rows.
async fn take(session: &Session, sql: &str, parameters: &[Value]) -> Result<(), Error> {
    let mut rows = session.query(sql, parameters).await?;
    let mut seen = 0;
    while seen < ROWS
        && let Some(batch) = rows.next().await
    {
        seen += batch?.num_rows();
    }
    Ok(())
}

fn judge(sql: &str, error: &Error) {
    let code = error.sqlstate().as_str();
    assert_eq!(code.len(), 5, "{sql}: {error}");
    let bug = code == "XX001" || code == "XX002" || (*STRICT && code == "XX000");
    assert!(!bug, "{code} {error} {:?}\n{sql}", error.report().detail);
    assert!(!error.to_string().contains("a statement panicked"), "{error}\n{sql}");
}

/// Runs a statement, cancels it when it takes long, and fails when that does not help. Tells whether it has worked.
fn patiently(runtime: &tokio::runtime::Runtime, session: &Session, sql: &str, parameters: &[Value]) -> bool {
    let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, take(session, sql, parameters)).await });
    match outcome {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => judge(sql, &error),
        Err(_) => {
            // The session answers again when the statement has let go of it.
            let ended = runtime.block_on(async { tokio::time::timeout(GRACE, session.last_commit()).await });
            assert!(ended.is_ok(), "a statement was cancelled and did not end within {GRACE:?}\n{sql}");
        }
    }
    false
}

fn input(text: &str) {
    RUNTIME.with(|runtime| {
        WORLD.with_borrow_mut(|slot| {
            let world = slot.get_or_insert_with(World::new);
            let session = world.database.session();
            let parameters = parameters();
            patiently(runtime, &session, "BEGIN", &[]);
            let mut statements: Vec<&str> = text.split(';').filter(|part| !part.trim().is_empty()).collect();
            if statements.len() > 1 {
                // Semicolons in strings, too.
                statements.insert(0, text);
            }
            for statement in statements.into_iter().take(STATEMENTS) {
                // What fails is undone, so that the next statement has a transaction to run in.
                patiently(runtime, &session, "SAVEPOINT fuzz", &[]);
                let given: &[Value] = if statement.contains('$') { &parameters } else { &[] };
                let works = patiently(runtime, &session, statement, given);
                patiently(runtime, &session, if works { "RELEASE fuzz" } else { "ROLLBACK TO fuzz" }, &[]);
            }
            patiently(runtime, &session, "ROLLBACK", &[]);
            if world.database.last_lsn() != world.made {
                world.database.check().unwrap_or_else(|e| panic!("{e} {:?}\n{text}", e.report().detail));
                *slot = None;
            }
        });
    });
}

/// Runs one input.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        input(text);
    }
}

/// Numbers for the mutator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    fn of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.get(self.below(of.len())).copied().unwrap_or_default()
    }
}

static LINES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    SEEDS
        .lines()
        .map(|line| line.trim_end_matches(';'))
        .filter(|line| !line.is_empty() && !line.starts_with("--"))
        .collect()
});
static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut words: Vec<_> =
        LINES.iter().flat_map(|line| line.split([' ', ',', '(', ')'])).filter(|word| !word.is_empty()).collect();
    words.extend([",", "(", ")", "NULL", "-1", "0", "1e308", "9223372036854775807", "''", "'", "$1", "$9", "*", ";"]);
    words.sort_unstable();
    words.dedup();
    words
});

/// A statement of the seeds.
pub fn seed(number: u64) -> &'static str {
    LINES.get((number % LINES.len() as u64) as usize).copied().unwrap_or_default()
}

/// Another input, made from this one: words and whole statements of the seeds are put in or taken out. `None` if
/// bytes should be changed instead.
pub fn mutate(data: &[u8], seed: u64) -> Option<String> {
    let mut dice = Dice(seed << 16 | 0x9e37);
    // The first numbers of a small seed are small.
    (0..4).for_each(|_| _ = dice.below(2));
    let text = std::str::from_utf8(data).ok()?;
    let mut words: Vec<&str> = text.split_inclusive([' ', ',', '(', ')']).collect();
    let at = dice.below(words.len() + 1);
    Some(match dice.below(8) {
        0 => dice.of(&LINES).to_owned(),
        1 => format!("{text};{}", dice.of(&LINES)),
        2 | 3 => {
            let (before, after) = words.split_at(at);
            format!("{} {} {}", before.concat(), dice.of(&WORDS), after.concat())
        }
        4 if at < words.len() => {
            words[at] = dice.of(&WORDS);
            words.join(" ")
        }
        5 if at < words.len() => {
            // An expression of another statement in place of a word.
            let line = dice.of(&LINES);
            words[at] = line.find('(').and_then(|from| line.get(from..=line.rfind(')')?)).unwrap_or("(1)");
            words.join(" ")
        }
        6 if at < words.len() => {
            words.remove(at);
            words.concat()
        }
        _ => return None,
    })
}
