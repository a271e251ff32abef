//! The past, read by Lsn and by time, while the present is written, flushed, compacted and reopened.

use nodedb::blocking::Session;
use nodedb::{Database, Options, Result};
use nodedb_env::{Env, ManualClock, Random, SeededRandom};
use nodedb_store::TreesKind;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ROWS: u64 = 200;
const STEP: Duration = Duration::from_millis(10);

type State = BTreeMap<i64, i64>;

struct World {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    retention: Duration,
}

impl World {
    fn new(retention: Duration) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::new(0)), retention }
    }

    fn open(&self) -> Database {
        let options = Options { memtable_bytes: Some(16 << 10), retention: self.retention, ..Options::default() };
        let env = Env { clock: self.clock.clone(), ..Env::real() };
        let path: &Path = self.dir.path();
        Database::open_in(env, path, TreesKind::Files, &options).unwrap()
    }
}

/// A commit: its Lsn, its time, and the row that it changed.
struct Commit {
    lsn: u64,
    time: i64,
    row: i64,
    value: Option<i64>,
}

/// Writes commits, and checkpoints from time to time.
fn write(db: &Database, clock: &ManualClock, random: &SeededRandom, commits: usize, model: &mut Vec<Commit>) {
    use nodedb_env::Clock;
    let mut session = db.blocking();
    for n in 0..commits {
        clock.advance(STEP);
        let (row, value) = (random.below(ROWS) as i64, (random.u64() >> 1) as i64);
        let value = if random.below(5) == 0 && session.table("t").delete(row).unwrap() {
            None
        } else {
            session.table("t").put([row.into(), value.into()]).unwrap();
            Some(value)
        };
        let lsn = session.last_commit().unwrap().0;
        model.push(Commit { lsn, time: clock.now(), row, value });
        if n % 997 == 996 {
            db.checkpoint().unwrap();
        }
    }
}

/// The rows as of a point, as a session sees them.
fn as_of(session: &mut Session, point: &str) -> Result<State> {
    session.execute(&format!("SET nodedb.as_of = '{point}'"), &[])?;
    let rows = session.table("t").scan(0_i64..)?;
    rows.map(|row| row.and_then(|row| Ok((row.get(0)?, row.get(1)?)))).collect()
}

fn timestamp(micros: i64) -> String {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    format!("1970-01-01 {:02}:{:02}:{:02}.{rest:06}+00", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Compares the state at `points` (how many commits of the model have happened) with what `name` reads there.
fn compare(db: &Database, model: &[Commit], points: &[usize], name: impl Fn(&Commit) -> String) {
    let mut session = db.blocking();
    let (mut state, mut done) = (State::new(), 0);
    for &point in points {
        for commit in &model[done..=point] {
            match commit.value {
                Some(value) => state.insert(commit.row, value),
                None => state.remove(&commit.row),
            };
        }
        done = point + 1;
        let name = name(&model[point]);
        assert_eq!(as_of(&mut session, &name).unwrap(), state, "as of {name}, commit {point}");
    }
}

fn points(random: &SeededRandom, from: usize, to: usize, n: usize) -> Vec<usize> {
    let mut points: Vec<_> = (0..n).map(|_| from + random.below((to - from) as u64) as usize).collect();
    points.sort_unstable();
    points
}

/// The last commits of whole seconds, which are told apart however old they are.
fn seconds(model: &[Commit], points: &[usize]) -> Vec<usize> {
    let second = |at: usize| model[at].time / 1_000_000;
    let last = |&at: &usize| (at..model.len()).take_while(|&next| second(next) == second(at)).last().unwrap_or(at);
    points.iter().map(last).collect()
}

fn travel(commits: usize, reads: usize) {
    let world = World::new(Duration::from_secs(1_000_000));
    let (random, mut model) = (SeededRandom::new(9), Vec::new());
    let db = world.open();
    db.blocking().execute("CREATE TABLE t (id bigint PRIMARY KEY, value bigint)", &[]).unwrap();
    write(&db, &world.clock, &random, commits / 2, &mut model);
    let by_lsn = |commit: &Commit| commit.lsn.to_string();
    compare(&db, &model, &points(&random, 0, model.len(), reads / 4), by_lsn);
    compare(&db, &model, &points(&random, 0, model.len(), reads / 4), |commit| timestamp(commit.time));
    db.close().unwrap();

    let db = world.open();
    let reopened = model.len();
    write(&db, &world.clock, &random, commits / 2, &mut model);
    let stats = db.stats();
    assert!(stats.trees.flushes > 1 && stats.trees.compactions > 0 && stats.low_water.0 == 0, "{stats:?}");
    compare(&db, &model, &points(&random, 0, model.len(), reads), by_lsn);
    let whole = seconds(&model, &points(&random, 0, model.len(), reads / 4));
    compare(&db, &model, &whole, |commit| timestamp(commit.time / 1_000_000 * 1_000_000 + 999_999));
    compare(&db, &model, &points(&random, reopened, model.len(), reads / 4), |commit| timestamp(commit.time));
    println!("{} commits, {reads} states by Lsn and {} by time, {stats:?}", model.len(), reads / 2);
    db.check().unwrap();
}

#[test]
fn the_past_is_what_it_was() {
    travel(2_000, 60);
}

#[test]
#[ignore = "minutes; prints what it has seen"]
fn the_past_is_what_it_was_a_hundred_thousand_commits_ago() {
    travel(100_000, 1_000);
}

fn code<T: std::fmt::Debug>(outcome: Result<T>) -> &'static str {
    outcome.unwrap_err().sqlstate().0
}

#[test]
fn beyond_retention_the_past_is_gone_and_its_space_too() {
    let world = World::new(Duration::from_secs(5));
    let (random, mut model) = (SeededRandom::new(3), Vec::new());
    let db = world.open();
    db.blocking().execute("CREATE TABLE t (id bigint PRIMARY KEY, value bigint)", &[]).unwrap();
    let mut sizes = Vec::new();
    for _ in 0..8 {
        write(&db, &world.clock, &random, 1_500, &mut model);
        world.clock.advance(Duration::from_secs(60));
        db.checkpoint().unwrap();
        sizes.push(db.stats().trees.disk_bytes);
    }
    let mut session = db.blocking();
    let low_water = db.stats().low_water.0;
    assert!(low_water > model[model.len() - 1_400].lsn, "{low_water} of {}", db.last_lsn());
    assert_eq!(code(as_of(&mut session, &(low_water - 1).to_string())), "72000");
    assert_eq!(code(as_of(&mut session, &timestamp(model[0].time))), "72000");
    assert_eq!(code(as_of(&mut session, &(db.last_lsn().0 + 1).to_string())), "22023");
    let (early, late) = sizes.split_at(3);
    assert!(late.iter().max() < early.iter().max().map(|most| most * 2).as_ref(), "versions pile up: {sizes:?}");
    compare(&db, &model, &[model.len() - 1], |commit| commit.lsn.to_string());
    drop((session, db));
    let db = world.open();
    assert_eq!(code(as_of(&mut db.blocking(), &(low_water - 1).to_string())), "72000");
}

#[test]
fn a_clock_that_goes_back_disturbs_nothing() {
    let world = World::new(Duration::from_secs(5));
    let (random, mut model) = (SeededRandom::new(3), Vec::new());
    let db = world.open();
    db.blocking().execute("CREATE TABLE t (id bigint PRIMARY KEY, value bigint)", &[]).unwrap();
    world.clock.advance(Duration::from_secs(100));
    write(&db, &world.clock, &random, 50, &mut model);
    world.clock.set(1_000_000);
    write(&db, &world.clock, &random, 50, &mut model);
    let now = timestamp(101_000_000);
    let newest = as_of(&mut db.blocking(), &db.last_lsn().to_string()).unwrap();
    assert_eq!(as_of(&mut db.blocking(), &now).unwrap(), newest, "times of commits do not go back");
    db.checkpoint().unwrap();
    drop(db);
    let db = world.open();
    assert_eq!(as_of(&mut db.blocking(), &now).unwrap(), newest);
    write(&db, &world.clock, &random, 50, &mut model);
    compare(&db, &model, &[model.len() - 1], |commit| commit.lsn.to_string());
}
