//! Transactions: what they see, what they may not do, and what is left of them.

use nodedb_base::{Incarnation, KeyEntry, Lsn, RowId, Type, Value};
use nodedb_env::Env;
use nodedb_store::commit::{ParentKey, Requirement};
use nodedb_store::row::{Encoded, Field, encode};
use nodedb_store::{AsOf, Isolation, KeyRange, OldRow, Store, StoreOptions, Transaction, TransactionOptions};

const TABLE: Incarnation = Incarnation(20_000);
const INDEX: Incarnation = Incarnation(20_001);
const CHILDREN: Incarnation = Incarnation(20_002);
const CHILD_INDEX: Incarnation = Incarnation(20_003);

fn row(text: &str) -> Encoded {
    encode(&[Type::Text], &[Field::Set(&Value::from(text))], None).unwrap()
}

fn key(text: &str) -> Vec<KeyEntry> {
    vec![KeyEntry { index: INDEX, unique: true, key: text.as_bytes().to_vec() }]
}

fn old(text: &str) -> OldRow {
    OldRow { keys: key(text), large: vec![] }
}

fn store() -> Store {
    Store::memory(StoreOptions::default()).unwrap()
}

fn begin(store: &Store) -> Transaction {
    store.begin(TransactionOptions::default()).unwrap()
}

fn serializable(store: &Store) -> Transaction {
    let isolation = Isolation::Serializable;
    store.begin(TransactionOptions { isolation, ..TransactionOptions::default() }).unwrap()
}

fn put(store: &Store, id: u64, text: &str) -> Lsn {
    let mut tx = begin(store);
    tx.insert(TABLE, RowId(id), row(text), key(text)).unwrap();
    tx.commit().unwrap()
}

fn ids(tx: &Transaction) -> Vec<u64> {
    let rows = tx.view().rows(TABLE, RowId(0), RowId(u64::MAX), false).unwrap();
    rows.map(|row| row.unwrap().id.0).collect()
}

fn code(error: nodedb_base::Error) -> &'static str {
    error.sqlstate().0
}

#[test]
fn a_transaction_sees_its_snapshot_and_its_own_writes() {
    let store = store();
    put(&store, 1, "a");
    let mut tx = begin(&store);
    put(&store, 2, "b");
    tx.insert(TABLE, RowId(3), row("c"), key("c")).unwrap();
    tx.delete(TABLE, RowId(1), old("a")).unwrap();
    assert_eq!(ids(&tx), [3]);
    assert_eq!(tx.view().unique_key(INDEX, b"a").unwrap(), None);
    let keys = tx.view().keys(INDEX, &KeyRange::prefix(b""), true).unwrap();
    assert_eq!(keys.map(|k| k.unwrap().1.0).collect::<Vec<_>>(), [3]);
    tx.commit().unwrap();
    assert_eq!(ids(&begin(&store)), [2, 3]);
}

#[test]
fn the_first_committer_wins() {
    let store = store();
    put(&store, 1, "a");
    let (mut one, mut two) = (begin(&store), begin(&store));
    one.update(TABLE, RowId(1), old("a"), row("b"), key("b")).unwrap();
    two.update(TABLE, RowId(1), old("a"), row("c"), key("c")).unwrap();
    one.commit().unwrap();
    assert_eq!(code(two.commit().unwrap_err()), "40001");
}

#[test]
fn a_unique_key_is_checked_at_the_statement_and_at_commit() {
    let store = store();
    put(&store, 1, "a");
    let mut tx = begin(&store);
    assert_eq!(code(tx.insert(TABLE, RowId(2), row("a"), key("a")).unwrap_err()), "23505");
    let (mut one, mut two) = (begin(&store), begin(&store));
    one.insert(TABLE, RowId(2), row("b"), key("b")).unwrap();
    two.insert(TABLE, RowId(3), row("b"), key("b")).unwrap();
    one.commit().unwrap();
    assert_eq!(code(two.commit().unwrap_err()), "23505");
}

#[test]
fn a_child_and_the_end_of_its_parent_cannot_both_commit() {
    let store = store();
    put(&store, 1, "parent");
    let error = || nodedb_base::Error::constraint("23503", "foreign key");
    let (mut child, mut end) = (begin(&store), begin(&store));
    let entry = KeyEntry { index: CHILD_INDEX, unique: false, key: b"parent\0\0\0\0\0\0\0\x09".to_vec() };
    child.insert(CHILDREN, RowId(9), row("x"), vec![entry]).unwrap();
    child.require(Requirement::Parent { key: ParentKey::Unique(INDEX, b"parent".to_vec()), error: error() }).unwrap();
    end.delete(TABLE, RowId(1), old("parent")).unwrap();
    end.require(Requirement::NoChild { index: CHILD_INDEX, prefix: b"parent".to_vec(), error: error() }).unwrap();
    child.commit().unwrap();
    assert_eq!(code(end.commit().unwrap_err()), "23503");
}

#[test]
fn serializable_transactions_do_not_skew_each_other() {
    let store = store();
    put(&store, 1, "a");
    put(&store, 2, "b");
    let run = |begin: fn(&Store) -> Transaction| {
        let (mut one, mut two) = (begin(&store), begin(&store));
        assert_eq!(ids(&one).len(), ids(&two).len());
        let next = |tx: &Transaction| RowId(ids(tx).len() as u64 + 100);
        let (a, b) = (next(&one), RowId(next(&two).0 + 1000));
        one.insert(TABLE, a, row("x"), vec![]).unwrap();
        two.insert(TABLE, b, row("y"), vec![]).unwrap();
        one.commit().unwrap();
        two.commit()
    };
    assert!(run(begin).is_ok(), "snapshot isolation allows write skew");
    assert_eq!(code(run(serializable).unwrap_err()), "40001");
}

#[test]
fn a_savepoint_takes_back_what_came_after_it() {
    let store = store();
    let mut tx = begin(&store);
    tx.insert(TABLE, RowId(1), row("a"), key("a")).unwrap();
    tx.savepoint("s");
    tx.insert(TABLE, RowId(2), row("b"), key("b")).unwrap();
    tx.fail();
    assert_eq!(code(tx.check_active().unwrap_err()), "25P02");
    tx.roll_back_to("s").unwrap();
    assert_eq!(code(tx.roll_back_to("t").unwrap_err()), "3B001");
    tx.commit().unwrap();
    assert_eq!(ids(&begin(&store)), [1]);
}

#[test]
fn the_past_can_be_read_and_not_written() {
    let store = store();
    let first = put(&store, 1, "a");
    put(&store, 2, "b");
    let options = TransactionOptions { as_of: Some(AsOf::Lsn(first)), ..TransactionOptions::default() };
    let mut tx = store.begin(options).unwrap();
    assert_eq!(ids(&tx), [1]);
    assert_eq!(code(tx.insert(TABLE, RowId(3), row("c"), vec![]).unwrap_err()), "25006");
}

#[test]
fn what_was_committed_is_there_after_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4_u64 {
        let store = Store::open(Env::real(), dir.path(), StoreOptions::default()).unwrap();
        assert_eq!(ids(&begin(&store)), (0..round * 2).collect::<Vec<_>>());
        put(&store, round * 2, &format!("a{round}"));
        if round % 2 == 0 {
            store.checkpoint().unwrap();
        }
        put(&store, round * 2 + 1, &format!("b{round}"));
        store.verify().unwrap();
        if round < 2 {
            store.close().unwrap();
        }
    }
}

#[test]
fn a_second_process_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(Env::real(), dir.path(), StoreOptions::default()).unwrap();
    let second = Store::open(Env::real(), dir.path(), StoreOptions::default());
    assert_eq!(code(second.unwrap_err()), "55006");
}

#[test]
fn many_writers_share_their_syncs_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Env::real(), dir.path(), StoreOptions { memtable_bytes: 64 << 10, ..Default::default() });
    let store = store.unwrap();
    std::thread::scope(|scope| {
        for writer in 0..16_u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..100 {
                    put(store, writer * 1000 + n, &format!("{writer}-{n}"));
                }
            });
        }
    });
    assert_eq!(store.last(), Lsn(1600));
    drop(store);
    let store = Store::open(Env::real(), dir.path(), StoreOptions::default()).unwrap();
    assert_eq!(ids(&begin(&store)).len(), 1600);
}
