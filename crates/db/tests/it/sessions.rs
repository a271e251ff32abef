//! Sessions: in and outside runtimes, cancelled, retried; the typed API; loads; limits; what outlives what.

use futures::executor::block_on;
use nodedb::arrow::array::{ArrayRef, Int64Array, StringArray};
use nodedb::arrow::record_batch::RecordBatch;
use nodedb::blocking::Session;
use nodedb::{Database, Error, Options, Result, Value};
use nodedb_env::faulty::{Fault, Faults, FaultyFiles};
use nodedb_env::{Env, MemoryFiles};
use nodedb_store::TreesKind;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

fn memory(schema: &[&str]) -> Database {
    let db = Database::memory().unwrap();
    run(&mut db.blocking(), schema);
    db
}

fn run(session: &mut Session, statements: &[&str]) {
    for sql in statements {
        session.execute(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

fn count(db: &Database, table: &str) -> i64 {
    db.blocking().query(&format!("SELECT count(*) FROM {table}"), &[]).unwrap().get(0, 0).unwrap()
}

fn code<T>(outcome: Result<T>) -> &'static str {
    outcome.err().map_or("no error", |e| e.sqlstate().0)
}

/// Files in memory under a database that rebuilds its trees: what was written can be looked at as after a kill.
fn in_files(files: impl nodedb_env::Files + 'static) -> Database {
    let env = Env { files: Arc::new(files), ..Env::memory() };
    Database::open_in(env, Path::new("/data"), TreesKind::Rebuilt, &Options::default()).unwrap()
}

const T: &str = "CREATE TABLE t (id bigint PRIMARY KEY, name text UNIQUE)";
const FILL: &str = "INSERT INTO t SELECT n, 'n' || n FROM generate_series(1, 1000) AS g(n)";

// Runtimes.

async fn use_async(db: &Database) -> Result<i64> {
    let session = db.session();
    session.execute("CREATE TABLE a (n bigint)", &[]).await?;
    session.execute("INSERT INTO a SELECT * FROM generate_series(1, 10000)", &[]).await?;
    let mut rows = session.query("SELECT n FROM a ORDER BY n", &[]).await?;
    let mut seen = 0;
    while let Some(batch) = rows.next().await {
        seen += batch?.num_rows() as i64;
    }
    Ok(seen)
}

#[test]
fn asynchronous_sessions_run_on_any_executor() {
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    assert_eq!(block_on(use_async(&memory(&[]))).unwrap(), 10_000);
    assert_eq!(current.block_on(use_async(&memory(&[]))).unwrap(), 10_000);
    let in_task = async { use_async(&memory(&[])).await };
    assert_eq!(many.block_on(async { tokio::spawn(in_task).await.unwrap() }).unwrap(), 10_000);
}

/// More queries than a task may poll before it must yield.
fn use_blocking() {
    let db = memory(&[T, FILL]);
    let mut session = db.blocking();
    for n in 0..50_i64 {
        let rows = session.query("SELECT max(id) FROM t WHERE id <= $1", &[(n + 1).into()]).unwrap();
        assert_eq!(rows.get::<i64>(0, 0).unwrap(), n + 1);
    }
}

#[test]
fn blocking_sessions_run_in_and_outside_runtimes() {
    use_blocking();
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    current.block_on(async { use_blocking() });
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    many.block_on(async { tokio::spawn(async { use_blocking() }).await.unwrap() });
}

#[test]
fn a_database_may_be_dropped_within_a_runtime() {
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    current.block_on(async {
        let db = memory(&[T, FILL]);
        let rows = db.session().query("SELECT * FROM t", &[]).await.unwrap();
        drop(db);
        drop(rows);
    });
}

// Cancelling.

/// Polls a future some times and drops it.
fn cancel_after(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    (0..polls).any(|_| {
        std::thread::yield_now();
        matches!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
    })
}

#[test]
fn a_cancelled_statement_fails_its_block() {
    let db = memory(&[T]);
    let session = db.session();
    block_on(session.execute("BEGIN", &[])).unwrap();
    block_on(session.execute("INSERT INTO t VALUES (0, 'a')", &[])).unwrap();
    assert!(!cancel_after(1, session.execute(FILL, &[])));
    assert_eq!(code(block_on(session.execute("INSERT INTO t VALUES (-1, 'b')", &[]))), "25P02");
    block_on(session.execute("COMMIT", &[])).unwrap();
    assert_eq!(count(&db, "t"), 0);
    block_on(session.execute("INSERT INTO t VALUES (0, 'a')", &[])).unwrap();
    assert_eq!(count(&db, "t"), 1);
}

#[test]
fn a_cancelled_query_outside_a_block_leaves_nothing_behind() {
    let db = memory(&[T, FILL]);
    let session = db.session();
    let heavy = "SELECT count(*) FROM t a, t b, t c WHERE a.id + b.id + c.id < 0";
    assert!(!cancel_after(3, session.execute(heavy, &[])));
    assert_eq!(block_on(session.execute("DELETE FROM t WHERE id = 1", &[])).unwrap(), 1);
}

#[test]
fn a_cancelled_commit_has_happened_or_not() {
    let db = memory(&["CREATE TABLE c (round bigint, n bigint)"]);
    let session = db.session();
    for round in 0..60_i64 {
        block_on(session.execute("BEGIN", &[])).unwrap();
        let insert = "INSERT INTO c SELECT $1, n FROM generate_series(1, 3) AS g(n)";
        block_on(session.execute(insert, &[round.into()])).unwrap();
        let polls = 1 + (round as usize % 12) * 40;
        let ended = cancel_after(polls, session.execute("COMMIT", &[]));
        _ = block_on(session.execute("ROLLBACK", &[]));
        let rows = db.blocking().query("SELECT count(*) FROM c WHERE round = $1", &[round.into()]).unwrap();
        let there = rows.get::<i64>(0, 0).unwrap();
        assert!(there == 3 || (there == 0 && !ended), "{there} of 3 rows, {ended}");
    }
}

#[test]
fn a_dropped_transaction_is_rolled_back() {
    let db = memory(&[T]);
    let session = db.session();
    let (sender, receiver) = futures::channel::oneshot::channel::<()>();
    let mut receiver = Some(receiver);
    {
        let left = session.transaction(async |tx: &nodedb::Session| {
            tx.execute("INSERT INTO t VALUES (1, 'left behind')", &[]).await?;
            if let Some(never) = receiver.take() {
                _ = never.await;
            }
            Ok(())
        });
        let mut left = pin!(left);
        while db.blocking().query("SHOW nodedb.lsn", &[]).is_ok() && sender_is_awaited(&mut left) {}
    }
    drop(sender);
    block_on(session.execute("INSERT INTO t VALUES (2, 'mine')", &[])).unwrap();
    assert_eq!(count(&db, "t"), 1);
    let twice =
        session.transaction(async |tx: &nodedb::Session| tx.execute("INSERT INTO t VALUES (3, 'c')", &[]).await);
    block_on(twice).unwrap();
    assert_eq!(count(&db, "t"), 2);
}

/// Polls on until nothing but the other end of the channel can help: a few thousand polls are enough.
fn sender_is_awaited(left: &mut (impl Future<Output = Result<()>> + Unpin)) -> bool {
    for _ in 0..20_000 {
        assert!(left.poll_unpin_once().is_pending());
        std::thread::yield_now();
    }
    false
}

trait PollOnce: Future + Unpin {
    fn poll_unpin_once(&mut self) -> Poll<Self::Output> {
        std::pin::Pin::new(self).poll(&mut Context::from_waker(Waker::noop()))
    }
}

impl<F: Future + Unpin> PollOnce for F {}

// Failures.

#[test]
fn a_failed_sync_ends_writing_and_not_reading() {
    let files = FaultyFiles::new();
    let db = in_files(files.clone());
    let mut session = db.blocking();
    run(&mut session, &[T, "INSERT INTO t VALUES (1, 'a')"]);
    let fault = Fault { at: files.calls() + 2, kind: std::io::ErrorKind::Other, forever: false };
    files.set_faults(Faults { fail: Some(fault), ..Faults::default() });
    assert_eq!(code(session.execute("INSERT INTO t VALUES (2, 'b')", &[])), "58030");
    assert_eq!(code(session.execute("INSERT INTO t VALUES (3, 'c')", &[])), "57P02");
    assert_eq!(code(db.table("t").put([4_i64.into(), "d".into()])), "57P02");
    assert_eq!(count(&db, "t"), 1);
    drop((session, db));
    let db = in_files(files.power_cut(1));
    assert!((1..=2).contains(&count(&db, "t")));
    db.check().unwrap();
}

#[test]
fn everything_fails_after_closing_and_the_directory_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path()).unwrap();
    let mut session = db.blocking();
    run(&mut session, &[T, FILL]);
    db.clone().close().unwrap();
    assert!(matches!(session.execute("INSERT INTO t VALUES (0, 'x')", &[]), Err(Error::Closed(_))));
    assert!(matches!(session.query("SELECT * FROM t", &[]), Err(Error::Closed(_))));
    assert!(matches!(db.table("t").get(1_i64), Err(Error::Closed(_))));
    assert!(matches!(db.checkpoint(), Err(Error::Closed(_))));
    assert_eq!(count(&Database::open(dir.path()).unwrap(), "t"), 1000);
}

const CHILD: &str = "NODEDB_TEST_OPENS";

/// Run by the next test in a process of its own.
#[test]
fn opens_what_it_is_told_to() {
    if let Some(dir) = std::env::var_os(CHILD) {
        assert_eq!(code(Database::open(dir)), "55006");
    }
}

#[test]
fn a_second_process_cannot_open_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path()).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "sessions::opens_what_it_is_told_to"]).env(CHILD, dir.path());
    assert!(child.output().unwrap().status.success());
    drop(db);
    assert!(!child.output().unwrap().status.success(), "it is not locked any more");
}

// Statements and transactions.

#[test]
fn prepared_statements_outlive_ddl() {
    let db = memory(&[T, "INSERT INTO t VALUES (1, 'a')"]);
    let mut session = db.blocking();
    let all = session.prepare("SELECT * FROM t WHERE id = $1").unwrap();
    let insert = session.prepare("INSERT INTO t (id, name) VALUES ($1, $2)").unwrap();
    assert_eq!(session.query_prepared(&all, &[1_i64.into()]).unwrap().columns().len(), 2);
    run(&mut db.blocking(), &["CREATE INDEX by_name ON t (name, id)", "DROP INDEX by_name"]);
    assert_eq!(session.query_prepared(&all, &[1_i64.into()]).unwrap().len(), 1);
    session.execute_prepared(&insert, &[2_i64.into(), "b".into()]).unwrap();
    run(&mut db.blocking(), &["DROP TABLE t"]);
    assert_eq!(code(session.query_prepared(&all, &[1_i64.into()])), "42P01");
    run(&mut db.blocking(), &["CREATE TABLE t (name text, id bigint)", "INSERT INTO t VALUES ('z', 1)"]);
    assert_eq!(session.query_prepared(&all, &[1_i64.into()]).unwrap().get::<String>(0, 0).unwrap(), "z");
    session.execute_prepared(&insert, &[2_i64.into(), "b".into()]).unwrap();
    assert_eq!(count(&db, "t"), 2);
}

fn race(db: &Database, increment: impl Fn(&Database, &mut Session) + Sync) -> i64 {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut session = db.blocking();
                (0..100).for_each(|_| increment(db, &mut session));
            });
        }
    });
    db.blocking().query("SELECT n FROM c", &[]).unwrap().get(0, 0).unwrap()
}

const COUNTER: [&str; 2] = ["CREATE TABLE c (id int PRIMARY KEY, n bigint)", "INSERT INTO c VALUES (1, 0)"];

#[test]
fn a_single_statement_that_loses_a_race_is_run_again() {
    let db = memory(&COUNTER);
    assert_eq!(race(&db, |_, session| run(session, &["UPDATE c SET n = n + 1"])), 200);
}

#[test]
fn a_transaction_that_loses_a_race_is_run_again() {
    let read_and_write = |tx: &mut Session| {
        let n: i64 = tx.query("SELECT n FROM c", &[])?.get(0, 0)?;
        tx.execute("UPDATE c SET n = $1", &[(n + 1).into()])
    };
    assert_eq!(race(&memory(&COUNTER), |_, session| _ = session.transaction(read_and_write).unwrap()), 200);
    let later = |db: &Database, _: &mut Session| {
        let session = db.session();
        block_on(session.transaction(async |tx: &nodedb::Session| tx.execute("UPDATE c SET n = n + 1", &[]).await))
            .map(|_| ())
            .unwrap();
    };
    assert_eq!(race(&memory(&COUNTER), later), 200);
}

#[test]
fn a_transaction_that_passes_over_an_error_is_not_said_to_have_committed() {
    let db = memory(&[T, "INSERT INTO t VALUES (1, 'a')"]);
    let mut session = db.blocking();
    let careless = session.transaction(|tx| {
        tx.execute("INSERT INTO t VALUES (2, 'b')", &[])?;
        _ = tx.execute("INSERT INTO t VALUES (1, 'twice')", &[]);
        Ok(())
    });
    assert_eq!(code(careless), "25P02");
    assert!(!session.in_transaction());
    let session = db.session();
    let careless = session.transaction(async |tx: &nodedb::Session| {
        _ = tx.execute("INSERT INTO t VALUES (1, 'twice')", &[]).await;
        Ok(())
    });
    assert_eq!(code(block_on(careless)), "25P02");
    assert_eq!(count(&db, "t"), 1);
}

#[test]
fn a_transaction_is_not_begun_within_another() {
    let db = memory(&[T]);
    let mut session = db.blocking();
    run(&mut session, &["BEGIN", "INSERT INTO t VALUES (1, 'a')"]);
    assert_eq!(code(session.transaction(|_| Ok(()))), "25001");
    run(&mut session, &["COMMIT"]);
    assert_eq!(count(&db, "t"), 1);
    let session = db.session();
    block_on(session.execute("BEGIN", &[])).unwrap();
    assert_eq!(code(block_on(session.transaction(async |_: &nodedb::Session| Ok(())))), "25001");
    block_on(session.execute("INSERT INTO t VALUES (2, 'b')", &[])).unwrap();
    block_on(session.execute("COMMIT", &[])).unwrap();
    assert_eq!(count(&db, "t"), 2);
}

#[test]
fn a_panic_within_a_transaction_leaves_it_rolled_back() {
    let db = memory(&[T]);
    let mut session = db.blocking();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        session.transaction(|tx| -> Result<()> {
            tx.execute("INSERT INTO t VALUES (1, 'a')", &[])?;
            panic!("on purpose")
        })
    }));
    assert!(outcome.is_err() && !session.in_transaction());
    session.transaction(|tx| tx.execute("INSERT INTO t VALUES (2, 'b')", &[])).unwrap();
    assert_eq!(count(&db, "t"), 1);
}

#[test]
fn definitions_roll_back_like_rows() {
    let db = memory(&[T, FILL]);
    let mut session = db.blocking();
    run(
        &mut session,
        &[
            "BEGIN",
            "CREATE TABLE u (id int PRIMARY KEY)",
            "INSERT INTO u VALUES (1)",
            "SAVEPOINT s",
            "DROP TABLE t",
            "CREATE INDEX ui ON u (id)",
            "ROLLBACK TO s",
            "INSERT INTO t VALUES (0, 'zero')",
        ],
    );
    assert_eq!(code(db.blocking().query("SELECT * FROM u", &[])), "42P01");
    run(&mut session, &["COMMIT"]);
    assert_eq!((count(&db, "t"), count(&db, "u")), (1001, 1));
    run(
        &mut session,
        &["BEGIN", "DROP TABLE u", "CREATE TABLE u (a text)", "CREATE INDEX x ON t (name, id)", "ROLLBACK"],
    );
    assert_eq!(count(&db, "u"), 1);
    assert_eq!(code(session.execute("DROP INDEX x", &[])), "42704");
    db.check().unwrap();
}

#[test]
fn a_snapshot_stays_while_the_writer_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes: Some(64 << 10), retention: Duration::ZERO, ..Options::default() };
    let db = Database::open_with(dir.path(), options).unwrap();
    let (mut reader, mut writer) = (db.blocking(), db.blocking());
    run(&mut writer, &[T, FILL]);
    run(&mut reader, &["BEGIN"]);
    let sum = "SELECT sum(length(name)), count(*) FROM t";
    let text =
        |session: &mut Session| format!("{:?}", session.query(sum, &[]).unwrap().iter().next().unwrap().values());
    let before = text(&mut reader);
    for n in 0..20 {
        let change = format!("UPDATE t SET name = 'a rather long name {n}-' || id");
        run(&mut writer, &[change.as_str(), "DELETE FROM t WHERE id = (SELECT min(id) FROM t)"]);
        db.checkpoint().unwrap();
    }
    assert_eq!(text(&mut reader), before);
    assert_ne!(text(&mut writer), before);
    let low_water = db.stats().low_water;
    run(&mut reader, &["COMMIT"]);
    run(&mut writer, &["DELETE FROM t"]);
    db.checkpoint().unwrap();
    assert!(db.stats().low_water > low_water);
}

#[test]
fn limits_and_modes_are_kept() {
    let db = Database::open_in(
        Env::memory(),
        Path::new("/data"),
        TreesKind::Volatile,
        &Options { write_set_bytes: Some(64 << 10), ..Options::default() },
    )
    .unwrap();
    let mut session = db.blocking();
    run(&mut session, &[T, "INSERT INTO t VALUES (0, 'a')"]);
    assert_eq!(code(session.execute(FILL, &[])), "54000");
    assert_eq!(count(&db, "t"), 1);
    run(&mut session, &["BEGIN READ ONLY"]);
    assert_eq!(code(session.execute("DELETE FROM t", &[])), "25006");
    run(&mut session, &["ROLLBACK", "SET default_transaction_read_only = on"]);
    assert_eq!(code(session.execute("DROP TABLE t", &[])), "25006");
    assert_eq!(code(session.table("t").put([2_i64.into(), "b".into()])), "25006");
    assert_eq!(session.query("SELECT * FROM t", &[]).unwrap().len(), 1);
}

// The typed API.

#[test]
fn tables_are_read_and_written_by_every_kind_of_key() {
    let db = memory(&[
        T,
        "CREATE TABLE words (word text PRIMARY KEY, n int)",
        "CREATE TABLE pairs (a text, b int, v int, PRIMARY KEY (a, b))",
    ]);
    let mut numbers = db.table("t");
    for id in [-5_i64, 3, 7, i64::MIN, i64::MAX] {
        numbers.put([id.into(), format!("n{id}").into()]).unwrap();
    }
    let ids = |rows: Box<dyn Iterator<Item = Result<nodedb::Row>> + Send>| -> Vec<i64> {
        rows.map(|row| row.unwrap().get(0).unwrap()).collect()
    };
    assert_eq!(ids(numbers.scan::<i64>(..).unwrap()), [i64::MIN, -5, 3, 7, i64::MAX]);
    assert_eq!(ids(numbers.scan(-5_i64..7).unwrap()), [-5, 3]);
    assert_eq!(ids(numbers.scan(4_i64..=i64::MAX).unwrap()), [7, i64::MAX]);
    assert!(numbers.delete(3_i64).unwrap() && !numbers.delete(3_i64).unwrap());
    assert_eq!(code(numbers.put([9_i64.into(), "n7".into()])), "23505");

    let mut words = db.table("words");
    for word in ["b", "", "a\0", "a", "aa"] {
        words.put([word.into(), Value::from(word.len() as i32)]).unwrap();
    }
    let texts: Vec<String> = words.scan("a".."b").unwrap().map(|row| row.unwrap().get(0).unwrap()).collect();
    assert_eq!(texts, ["a", "a\0", "aa"]);
    assert_eq!(words.get("").unwrap().unwrap().by_name::<i32>("n").unwrap(), 0);

    let mut pairs = db.table("pairs");
    for (a, b) in [("x", 2), ("x", -1), ("y", 0), ("", 5)] {
        pairs.put([a.into(), Value::from(b), Value::from(b * 10)]).unwrap();
    }
    let key = |a: &str, b: i32| vec![Value::from(a), Value::from(b)];
    assert_eq!(pairs.get(key("x", 2)).unwrap().unwrap().get::<i32>(2).unwrap(), 20);
    assert_eq!(pairs.scan(vec![Value::from("x")]..vec![Value::from("y")]).unwrap().count(), 2);
    assert_eq!(pairs.scan(key("x", 0)..=key("y", 0)).unwrap().count(), 2);
    assert_eq!(code(pairs.get("x")), "42601");
    assert!(pairs.delete(key("x", -1)).unwrap());
    assert_eq!(count(&db, "pairs"), 3);
    assert_eq!(code(db.table("nothing").get(1)), "42P01");
    db.check().unwrap();
}

#[test]
fn collections_hold_documents() {
    let db = memory(&["CREATE TABLE plain (id text PRIMARY KEY, doc text)"]);
    let mut notes = db.collection("My Notes").unwrap();
    for n in 0..20 {
        notes.put(&format!("n{n:02}"), &format!(r#"{{"n": {n}, "even": {}}}"#, n % 2 == 0)).unwrap();
    }
    notes.put("n00", r#"{"n": 100, "even": true}"#).unwrap();
    assert_eq!(notes.find(r#"{"even": true}"#).unwrap().len(), 10);
    assert!(notes.get("n00").unwrap().unwrap().contains("100"));
    assert!(notes.delete("n01").unwrap() && notes.get("n01").unwrap().is_none());
    assert_eq!(code(notes.put("bad", "{")), "22P02");
    assert_eq!(db.collection("My Notes").unwrap().find("{}").unwrap().len(), 19);
    assert_eq!(code(db.collection("plain")), "42809");
}

#[test]
fn fields_of_documents_have_columns() {
    let db = memory(&[]);
    let fields = [("big \"n\"", "bigint"), ("embedding", "vector(2)"), ("body", "text")];
    let mut notes = db.collection_with("notes", &fields).unwrap();
    notes.put("a", r#"{"big \"n\"": 7, "embedding": [1, 0.5], "body": "red \"fox\"", "more": 1}"#).unwrap();
    notes.put("b", r#"{"body": null, "embedding": [2, 2]}"#).unwrap();
    notes.put("b", r#"{"body": {"x": 1}}"#).unwrap();
    assert_eq!(code(notes.put("c", r#"{"embedding": [1, 2, 3]}"#)), "22000");
    assert_eq!(code(notes.put("c", r#"{"big \"n\"": "many"}"#)), "22P02");
    assert_eq!(code(notes.put("c", "no JSON")), "22P02");
    // Too deep for its fields to be read: it is refused rather than kept where no search finds it.
    let deep = format!(r#"{{"body": "deep", "x": {}{}}}"#, "[".repeat(150), "]".repeat(150));
    assert_eq!(code(notes.put("c", &deep)), "22P02");
    let rows =
        db.blocking().query("SELECT \"big \"\"n\"\"\", embedding::text, body FROM notes ORDER BY id", &[]).unwrap();
    let rows: Vec<String> = rows.iter().map(|row| format!("{:?}", row.values().unwrap())).collect();
    let first = r#"[Int8(7), Text("[1,0.5]"), Text("red \"fox\"")]"#;
    assert_eq!(rows, [first, r#"[Null, Null, Text("{\"x\":1}")]"#]);
    // Whoever opens it again need not say which fields there are.
    db.collection("notes").unwrap().put("c", r#"{"body": "blue fox"}"#).unwrap();
    assert_eq!(code(db.collection_with("notes", &[("other", "int")])), "42703");
    db.blocking().execute("CREATE INDEX ON notes USING bm25 (body)", &[]).unwrap();
    let found = notes.search().text("blue fox").k(5).rows().unwrap();
    let found: Vec<String> = found.iter().map(|row| row.by_name("id").unwrap()).collect();
    assert_eq!(found, ["c", "a"]);
}

// Loads.

fn batch(from: i64, rows: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + rows));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((from..from + rows).map(|n| format!("n{n}"))));
    RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
}

#[test]
fn a_load_appears_at_once_or_not_at_all() {
    let files = MemoryFiles::new();
    let db = in_files(files.clone());
    run(&mut db.blocking(), &[T]);
    let mut load = db.load("t").unwrap();
    // More than one step, so that rows are in the log before they are published.
    load.append(&batch(0, 20_000)).unwrap();
    load.append(&batch(20_000, 500)).unwrap();
    assert_eq!(count(&db, "t"), 0);
    let killed = files.fork();
    assert_eq!(load.finish().unwrap(), 20_500);
    assert_eq!(count(&db, "t"), 20_500);
    assert_eq!(db.table("t").get(20_499_i64).unwrap().unwrap().get::<String>(1).unwrap(), "n20499");
    db.check().unwrap();
    for (image, rows) in [(killed, 0), (files.fork(), 20_500)] {
        let db = in_files(image);
        assert_eq!(count(&db, "t"), rows);
        db.check().unwrap();
        run(&mut db.blocking(), &["INSERT INTO t VALUES (-1, 'after')"]);
    }
}

#[test]
fn a_load_says_what_is_wrong_with_its_rows() {
    let db = memory(&[T, "CREATE TABLE child (id bigint PRIMARY KEY, name text REFERENCES t (name))"]);
    let mut load = db.load("t").unwrap();
    load.append(&batch(0, 10)).unwrap();
    assert_eq!(code(load.append(&batch(5, 10))), "23505");
    load.append(&batch(10, 10)).unwrap();
    assert_eq!(load.finish().unwrap(), 20);
    let mut load = db.load("child").unwrap();
    load.append(&batch(0, 20)).unwrap();
    load.append(&batch(20, 1)).unwrap();
    assert_eq!(code(load.finish()), "23503");
    assert_eq!(count(&db, "child"), 0);
    let mut load = db.load("child").unwrap();
    load.append(&batch(0, 20)).unwrap();
    load.finish().unwrap();
    assert_eq!(code(db.blocking().execute("DELETE FROM t WHERE id = 3", &[])), "23503");
    db.check().unwrap();
}

#[test]
fn a_load_into_a_table_with_rows_is_one_transaction() {
    let db = memory(&[T, "INSERT INTO t VALUES (1000, 'a')"]);
    let mut load = db.load("t").unwrap();
    load.append(&batch(0, 500)).unwrap();
    assert_eq!(count(&db, "t"), 1);
    assert_eq!(code(load.append(&batch(1000, 1))), "23505");
    assert_eq!(load.finish().unwrap(), 500);
    assert_eq!(count(&db, "t"), 501);
}

#[test]
fn a_load_into_a_table_that_others_fill_does_not_lose_their_rows() {
    let db = memory(&[T]);
    let mut load = db.load("t").unwrap();
    load.append(&batch(0, 10)).unwrap();
    run(&mut db.blocking(), &["INSERT INTO t VALUES (1, 'first')"]);
    assert_eq!(code(load.finish()), "40001");
    assert_eq!(count(&db, "t"), 1);
    db.check().unwrap();
}

/// A parent is removed by a transaction that began before the children were published.
#[test]
fn a_parent_cannot_go_while_its_children_are_published() {
    let db = memory(&[T, FILL, "CREATE TABLE child (id bigint PRIMARY KEY, name text REFERENCES t (name))"]);
    let mut remover = db.blocking();
    run(&mut remover, &["BEGIN", "DELETE FROM t WHERE id = 3"]);
    let mut load = db.load("child").unwrap();
    load.append(&batch(1, 20)).unwrap();
    load.finish().unwrap();
    assert_eq!(code(remover.execute("COMMIT", &[])), "40001");
    db.check().unwrap();
}

#[test]
fn what_is_dropped_gives_its_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes: Some(256 << 10), retention: Duration::ZERO, ..Options::default() };
    let db = Database::open_with(dir.path(), options).unwrap();
    let mut session = db.blocking();
    run(&mut session, &[T]);
    let mut load = db.load("t").unwrap();
    (0..3).for_each(|step| _ = load.append(&batch(step * 20_000, 20_000)).unwrap());
    load.finish().unwrap();
    db.checkpoint().unwrap();
    let full = db.stats().trees.disk_bytes;
    run(&mut session, &["DROP TABLE t", "CREATE TABLE u (id bigint PRIMARY KEY, name text UNIQUE)"]);
    for n in 0..12 {
        let more =
            format!("INSERT INTO u SELECT n, 'some other name ' || n FROM generate_series({n}000, {n}999) AS g(n)");
        run(&mut session, &[more.as_str(), "DELETE FROM u"]);
        db.checkpoint().unwrap();
    }
    let left = db.stats().trees.disk_bytes;
    assert!(left * 2 < full, "{left} of {full} bytes are left");
    db.check().unwrap();
}
