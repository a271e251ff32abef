//! Histories of eight sessions that do all sorts of things at once, and a checker that finds what isolation forbids.

mod checker;
mod script;
mod toy;

use checker::{Anomaly, Cell, Key, Op, Outcome, Table, Txn, check};
use nodedb::blocking::Session;
use nodedb::{Database, Error, Options, Result, Row, Value};
use nodedb_env::SeededRandom;
use script::{Script, Step, script};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use toy::Flaw;

const SCHEMA: [&str; 3] = [
    "CREATE TABLE register (id int PRIMARY KEY, value bigint NOT NULL UNIQUE, link int)",
    "CREATE TABLE parent (id int PRIMARY KEY, value bigint NOT NULL, link int)",
    "CREATE TABLE child (id int PRIMARY KEY, value bigint NOT NULL, link int REFERENCES parent)",
];

const fn name(table: Table) -> &'static str {
    match table {
        Table::Register => "register",
        Table::Parent => "parent",
        Table::Child => "child",
    }
}

/// What all sessions share.
struct Shared {
    /// The newest commit that was acknowledged to anybody.
    acknowledged: AtomicU64,
    value: AtomicI64,
    seed: u64,
}

/// One of the sessions.
struct Client<'a> {
    session: Session,
    shared: &'a Shared,
    random: SeededRandom,
    ops: Vec<Op>,
}

fn cell(row: &Row, at: usize) -> Result<Cell> {
    Ok(Cell { value: row.get(at)?, link: row.get(at + 1)? })
}

impl Client<'_> {
    fn run(&mut self, transactions: usize) -> Vec<Txn> {
        (0..transactions).map(|_| self.transaction()).collect()
    }

    fn transaction(&mut self) -> Txn {
        let Script { serializable, steps, commits } = script(&self.random);
        let floor = self.shared.acknowledged.load(Ordering::SeqCst);
        let level = if serializable { "SERIALIZABLE" } else { "REPEATABLE READ" };
        self.session.execute(&format!("BEGIN ISOLATION LEVEL {level}"), &[]).unwrap();
        self.ops.clear();
        let done = steps.iter().try_for_each(|step| self.step(step)).is_ok_and(|()| commits);
        let outcome = if done { self.commit() } else { Outcome::Ended };
        if !done {
            self.session.execute("ROLLBACK", &[]).unwrap();
        }
        Txn { serializable, floor, ops: std::mem::take(&mut self.ops), outcome }
    }

    fn commit(&mut self) -> Outcome {
        let writes = self.ops.iter().any(|op| matches!(op, Op::Write(..)));
        match self.session.execute("COMMIT", &[]) {
            Ok(_) if writes => {
                let lsn = self.session.last_commit().unwrap().0;
                self.shared.acknowledged.fetch_max(lsn, Ordering::SeqCst);
                Outcome::Committed(lsn)
            }
            Ok(_) => Outcome::Ended,
            Err(Error::Retry(_) | Error::Constraint(_)) => Outcome::Ended,
            Err(e) => panic!("{e:?}"),
        }
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let done = match step {
            Step::Read(key) => self.read(*key),
            Step::Scan(table, range) => self.scan(*table, range.clone()),
            Step::Put(key) => self.put(*key),
            Step::Delete(key) => self.delete(*key),
        };
        done.inspect_err(|e| assert!(matches!(e, Error::Constraint(_)), "{step:?}: {e:?}"))
    }

    fn read(&mut self, key: Key) -> Result<()> {
        let seen = if self.random.below(3) == 0 {
            let sql = format!("SELECT value, link FROM {} WHERE id = $1", name(key.0));
            let rows = self.session.query(&sql, &[key.1.into()])?;
            rows.iter().next().map(|row| cell(&row, 0)).transpose()?
        } else {
            self.session.table(name(key.0)).get(key.1)?.map(|row| cell(&row, 1)).transpose()?
        };
        self.ops.push(Op::Read(key, seen));
        Ok(())
    }

    fn scan(&mut self, table: Table, range: std::ops::Range<i32>) -> Result<()> {
        let row = |row: &Row| Ok((row.get::<i32>(0)?, cell(row, 1)?));
        let rows: Result<_> = if self.random.below(4) == 0 {
            let sql = format!("SELECT id, value, link FROM {} WHERE id >= $1 AND id < $2", name(table));
            self.session.query(&sql, &[range.start.into(), range.end.into()])?.iter().map(|r| row(&r)).collect()
        } else {
            self.session.table(name(table)).scan(range.clone())?.map(|r| row(&r?)).collect()
        };
        self.ops.push(Op::Scan(table, range, rows?));
        Ok(())
    }

    fn put(&mut self, key: Key) -> Result<()> {
        let value = self.shared.value.fetch_add(1, Ordering::Relaxed);
        let link = if key.0 == Table::Child { key.1 } else { 0 };
        self.session.table(name(key.0)).put([key.1.into(), value.into(), Value::from(link)])?;
        self.ops.push(Op::Write(key, Some(Cell { value, link })));
        Ok(())
    }

    /// A row that this transaction has written itself stays, so that there always is something to commit.
    fn delete(&mut self, key: Key) -> Result<()> {
        let is_own = self.ops.iter().any(|op| matches!(op, Op::Write(written, _) if *written == key));
        if !is_own && self.session.table(name(key.0)).delete(key.1)? {
            self.ops.push(Op::Write(key, None));
        }
        Ok(())
    }
}

/// Eight sessions on a database in files, whose memtables are small and whose old versions go at once.
fn run(transactions: usize, seed: u64) -> Vec<Txn> {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { memtable_bytes: Some(256 << 10), retention: Duration::ZERO, threads: Some(2), ..Options::default() };
    let db = Database::open_with(dir.path(), options).unwrap();
    SCHEMA.iter().for_each(|sql| _ = db.blocking().execute(sql, &[]).unwrap());
    let acknowledged = AtomicU64::new(db.last_lsn().0);
    let shared = Shared { acknowledged, value: AtomicI64::new(1), seed };
    let history = std::thread::scope(|scope| {
        let client = |n: u64| {
            let random = SeededRandom::new(shared.seed ^ n << 32);
            let mut client = Client { session: db.blocking(), shared: &shared, random, ops: Vec::new() };
            scope.spawn(move || client.run(transactions / 8))
        };
        let clients: Vec<_> = (0..8).map(client).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    db.check().unwrap();
    history
}

/// How many transactions committed a write, and how many of these were serializable.
fn committed(history: &[Txn]) -> (usize, usize) {
    let committed = || history.iter().filter(|txn| matches!(txn.outcome, Outcome::Committed(_)));
    (committed().count(), committed().filter(|txn| txn.serializable).count())
}

#[test]
fn isolation_a_few_thousand() {
    let history = run(3_000, 1);
    let found = check(&history);
    assert!(found.is_empty(), "{found:#?}");
    let (all, serializable) = committed(&history);
    assert!(all > 500 && serializable > 100, "{all} {serializable}");
}

#[test]
#[ignore = "a minute or more in release; prints what it has seen"]
fn isolation_hundred_thousand() {
    let history = run(120_000, 2);
    let found = check(&history);
    let (all, serializable) = committed(&history);
    println!("{} transactions, {all} committed writes, {serializable} of them serializable", history.len());
    println!("anomalies: {:?}", found.iter().map(|(what, where_)| (what, where_.len())).collect::<Vec<_>>());
    assert!(found.is_empty(), "{:?}", found.values().map(|txns| &txns[0]).collect::<Vec<_>>());
}

fn flaws(flaw: Flaw) -> Vec<(Anomaly, usize)> {
    let found = check(&toy::history(flaw, 7, 4_000));
    found.into_iter().map(|(anomaly, txns)| (anomaly, txns.len())).collect()
}

#[test]
fn the_checker_finds_nothing_in_a_toy_that_works() {
    let history = toy::history(Flaw::None, 7, 4_000);
    assert!(committed(&history).1 > 200, "{:?}", committed(&history));
    assert_eq!(flaws(Flaw::None), []);
}

#[test]
fn the_checker_finds_each_anomaly_in_a_toy_that_has_it() {
    for (flaw, anomaly) in [
        (Flaw::ReadsUncommitted, Anomaly::DirtyRead),
        (Flaw::ReadsIntermediate, Anomaly::DirtyRead),
        (Flaw::OneSnapshotEachRead, Anomaly::NonRepeatableRead),
        (Flaw::OneSnapshotEachScan, Anomaly::Phantom),
        (Flaw::RowsBecomeVisibleApart, Anomaly::LongFork),
        (Flaw::SnapshotsLag, Anomaly::StaleRead),
        (Flaw::LastCommitterWins, Anomaly::LostUpdate),
        (Flaw::ReadsAreNotValidated, Anomaly::WriteSkew),
        (Flaw::ParentsAreNotValidated, Anomaly::Orphan),
        (Flaw::OwnWritesAreHidden, Anomaly::OwnWriteMissed),
    ] {
        let found = flaws(flaw);
        assert!(found.iter().any(|(what, times)| *what == anomaly && *times > 3), "{flaw:?}: {found:?}");
    }
}

/// What can only go wrong between two definite transactions.
#[test]
fn a_parent_that_goes_while_its_first_reference_is_made() {
    let db = Database::memory().unwrap();
    let (mut one, mut two) = (db.blocking(), db.blocking());
    one.execute("CREATE TABLE parent (id int PRIMARY KEY)", &[]).unwrap();
    one.execute("INSERT INTO parent VALUES (1)", &[]).unwrap();
    one.execute("BEGIN", &[]).unwrap();
    one.execute("DELETE FROM parent WHERE id = 1", &[]).unwrap();
    two.execute("CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)", &[]).unwrap();
    two.execute("INSERT INTO child VALUES (1, 1)", &[]).unwrap();
    assert_eq!(one.execute("COMMIT", &[]).unwrap_err().sqlstate().as_str(), "40001");
    db.check().unwrap();
}

#[test]
fn a_serializable_transaction_that_has_read_a_table_which_goes_is_told() {
    let db = Database::memory().unwrap();
    let (mut one, mut two) = (db.blocking(), db.blocking());
    for sql in ["CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)"] {
        one.execute(sql, &[]).unwrap();
    }
    one.execute("BEGIN ISOLATION LEVEL SERIALIZABLE", &[]).unwrap();
    assert_eq!(one.query("SELECT * FROM a", &[]).unwrap().len(), 0);
    one.execute("INSERT INTO b VALUES (1)", &[]).unwrap();
    two.execute("DROP TABLE a", &[]).unwrap();
    assert_eq!(one.execute("COMMIT", &[]).unwrap_err().sqlstate().as_str(), "40001");
}
