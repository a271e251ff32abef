//! What may go wrong between a snapshot, a commit and the thread that flushes.

use crate::world::{DIR, TABLE, World};
use nodedb_base::{Batch, Error, Lsn, RowChange, RowId, RowOp, Type, Value};
use nodedb_env::{Env, MemoryFiles};
use nodedb_store::commit::Request;
use nodedb_store::row::{Encoded, Field, encode};
use nodedb_store::{Isolation, OldRow, Store, StoreOptions, Transaction, TransactionOptions};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn begin(store: &Store) -> Transaction {
    store.begin(TransactionOptions::default()).unwrap()
}

fn row(text: &str) -> Encoded {
    encode(&[Type::Text], &[Field::Set(&Value::from(text))], None).unwrap()
}

fn put(store: &Store, id: u64, text: &str) -> nodedb_base::Result<Lsn> {
    let mut tx = begin(store);
    match tx.view().row(TABLE, RowId(id))? {
        Some(_) => tx.update(TABLE, RowId(id), OldRow::default(), row(text), vec![])?,
        None => tx.insert(TABLE, RowId(id), row(text), vec![])?,
    }
    tx.commit()
}

#[test]
fn a_row_whose_deletion_was_forgotten_is_not_updated() {
    let options = StoreOptions { retention: Duration::ZERO, ..StoreOptions::default() };
    let store = Store::memory(options).unwrap();
    let snapshot = put(&store, 1, "a").unwrap();
    let mut tx = begin(&store);
    tx.delete(TABLE, RowId(1), OldRow::default()).unwrap();
    tx.commit().unwrap();
    put(&store, 2, "b").unwrap();
    store.checkpoint().unwrap();
    store.checkpoint().unwrap();
    let (large, keys_gone, keys_come) = Default::default();
    let new = row("c").row;
    let change = RowChange { incarnation: TABLE, row: RowId(1), op: RowOp::Update, new, large, keys_gone, keys_come };
    let batch = Batch { rows: vec![change], catalog: vec![] };
    let outcome = store.committer().commit(Request { snapshot, batch, ..Request::default() });
    assert!(matches!(outcome, Err(Error::Retry(_))), "{outcome:?}");
}

#[test]
fn a_row_that_came_and_went_meanwhile_is_not_put() {
    let store = Store::memory(StoreOptions::default()).unwrap();
    let mut late = begin(&store);
    late.insert(TABLE, RowId(1), row("late"), vec![]).unwrap();
    put(&store, 1, "early").unwrap();
    let mut end = begin(&store);
    end.delete(TABLE, RowId(1), OldRow::default()).unwrap();
    end.commit().unwrap();
    assert!(matches!(late.commit(), Err(Error::Retry(_))));
    put(&store, 1, "again").unwrap();
}

/// A commit that waits keeps the versions that it is validated against.
#[test]
fn a_commit_under_way_holds_the_low_water_mark() {
    let options = StoreOptions { retention: Duration::ZERO, ..StoreOptions::default() };
    let store = Store::memory(options).unwrap();
    put(&store, 1, "a").unwrap();
    let mut tx = begin(&store);
    tx.update(TABLE, RowId(1), OldRow::default(), row("b"), vec![]).unwrap();
    let at = tx.view().lsn();
    let held = store.committer().between_groups();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tx.commit());
        // It leads as soon as it is in the queue, and then waits for what we hold.
        while !store.committer().is_led() {
            std::thread::yield_now();
        }
        assert_eq!(store.oldest_pin(), Some(at));
        drop(held);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(store.oldest_pin(), None);
}

#[test]
fn writers_are_told_when_flushing_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { memtable_bytes: 32 << 10, ..StoreOptions::default() };
    let store = Store::open(Env::real(), dir.path(), options).unwrap();
    std::fs::remove_dir_all(dir.path().join("db/5/trees")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                let failed = (0..100_000).find_map(|n| put(store, writer << 32 | n, &"x".repeat(500)).err());
                assert_eq!(failed.unwrap().sqlstate().as_str(), "57P02");
            });
        }
    });
}

/// Two transactions that each read what the other writes, started and ended at every moment of other commits.
#[test]
fn no_moment_is_wrong_to_start_a_serializable_transaction() {
    let store = Store::memory(StoreOptions::default()).unwrap();
    for id in [1, 2] {
        put(&store, id, "0").unwrap();
    }
    let stop = AtomicBool::new(false);
    let skewed = std::thread::scope(|scope| {
        for id in [1_u64, 2] {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    _ = put(store, id, "0");
                }
            });
        }
        let pairs = (0..3_000).filter(|_| skews(&store)).count();
        stop.store(true, Ordering::Relaxed);
        pairs
    });
    assert_eq!(skewed, 0);
}

/// Whether a serializable transaction committed although a row that it had read was written in between.
fn skews(store: &Store) -> bool {
    let isolation = Isolation::Serializable;
    let mut tx = store.begin(TransactionOptions { isolation, ..TransactionOptions::default() }).unwrap();
    let read = tx.view().row(TABLE, RowId(1)).unwrap().unwrap().lsn;
    let fresh = tx.next_row_id(TABLE);
    tx.insert(TABLE, RowId(fresh.0 + 1000), row("x"), vec![]).unwrap();
    let Ok(lsn) = tx.commit() else { return false };
    let options = TransactionOptions { as_of: Some(nodedb_store::AsOf::Lsn(lsn)), ..TransactionOptions::default() };
    let then = store.begin(options).unwrap().view().row(TABLE, RowId(1)).unwrap().unwrap().lsn;
    then != read
}

#[test]
fn a_savepoint_is_not_lost_to_another_isolation() {
    let store = Store::memory(StoreOptions::default()).unwrap();
    let mut tx = begin(&store);
    tx.savepoint("s");
    let options = TransactionOptions { isolation: Isolation::Serializable, ..tx.options() };
    assert_eq!(tx.set_options(options, false).unwrap_err().sqlstate().as_str(), "25001");
    tx.roll_back_to("s").unwrap();
}

#[test]
fn a_store_that_cannot_be_opened_leaves_no_thread_behind() {
    let files = MemoryFiles::new();
    drop(World::new(&files).open().unwrap());
    let lock = nodedb_env::Files::try_lock(&files, &Path::new(DIR).join("LOCK")).unwrap();
    assert_eq!(World::new(&files).open().unwrap_err().sqlstate().as_str(), "55006");
    drop(lock);
    World::new(&files).open().unwrap();
}
