//! Derived indexes: whatever happens to them, queries answer as if there were none.

use nodedb::{Database, Options};
use nodedb_env::{Env, Files, MemoryFiles, Random, SeededRandom};
use nodedb_store::TreesKind;
use std::path::Path;
use std::sync::Arc;

const SETUP: &str = "CREATE TABLE item (id int PRIMARY KEY, kind int, embedding vector(4))";
const INDEX: &str = "CREATE INDEX near ON item USING hnsw (embedding vector_l2_ops) WITH (m = 8, ef_construction = 40)";

fn open(files: &MemoryFiles) -> Database {
    let env = Env { files: Arc::new(files.clone()), ..Env::memory() };
    let options = Options { vector_seal_threshold: 64, index_checkpoint_bytes: 4096, ..Options::default() };
    Database::open_in(env, Path::new("/data"), TreesKind::Rebuilt, &options).unwrap()
}

fn ids(db: &Database, sql: &str) -> Vec<i32> {
    let mut session = db.blocking();
    session.execute("SET nodedb.recall = 0.99", &[]).unwrap();
    session.query(sql, &[]).unwrap().iter().map(|row| row.get(0).unwrap()).collect()
}

fn is_asked(db: &Database) -> bool {
    is_asked_where(db, "true")
}

/// Waits until no index is being filled: what CREATE INDEX does in the end.
fn wait_until_filled(db: &Database) {
    let again = INDEX.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS");
    db.blocking().execute(&again, &[]).unwrap();
}

fn is_asked_where(db: &Database, filter: &str) -> bool {
    let sql = format!("EXPLAIN SELECT id FROM item WHERE {filter} ORDER BY embedding <-> '[0,0,0,0]' LIMIT 1");
    let lines = db.blocking().query(&sql, &[]).unwrap();
    lines.iter().any(|row| row.get::<String>(0).unwrap().contains("Nearest: item"))
}

fn vector(random: &SeededRandom) -> String {
    let numbers: Vec<String> = (0..4).map(|_| (random.u64() % 1000).to_string()).collect();
    format!("[{}]", numbers.join(","))
}

fn change(db: &Database, random: &SeededRandom) {
    let (id, vector) = (random.u64() % 400, vector(random));
    let sql = match random.u64() % 8 {
        0 => format!("DELETE FROM item WHERE id = {id}"),
        1 => format!("UPDATE item SET kind = kind + 1 WHERE id = {id}"),
        2 => format!("INSERT INTO item VALUES ({id}, 0, NULL) ON CONFLICT (id) DO UPDATE SET embedding = NULL"),
        _ => format!(
            "INSERT INTO item VALUES ({id}, {id} % 7, '{vector}') ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding"
        ),
    };
    db.blocking().execute(&sql, &[]).unwrap();
}

/// The share of the true neighbours among those found; the number found is always right.
fn recall(db: &Database, random: &SeededRandom) -> f64 {
    let (mut hits, mut all) = (0, 0);
    for round in 0..12 {
        let (q, k) = (vector(random), 1 + random.u64() % 10);
        let filter = if round % 3 == 0 { "WHERE kind = 3" } else { "" };
        let near = ids(db, &format!("SELECT id FROM item {filter} ORDER BY embedding <-> '{q}' LIMIT {k}"));
        // No index knows this order.
        let exact = ids(db, &format!("SELECT id FROM item {filter} ORDER BY (embedding <-> '{q}') * 2 LIMIT {k}"));
        assert_eq!(near.len(), exact.len(), "{q}");
        hits += near.iter().filter(|id| exact.contains(id)).count();
        all += exact.len();
    }
    hits as f64 / all as f64
}

#[test]
fn an_index_is_like_none_but_quicker() {
    let (mut files, random) = (MemoryFiles::new(), SeededRandom::new(7));
    let mut db = open(&files);
    db.blocking().execute(SETUP, &[]).unwrap();
    for _ in 0..150 {
        change(&db, &random);
    }
    db.blocking().execute(INDEX, &[]).unwrap();
    for round in 0..12 {
        assert!(is_asked(&db), "round {round}");
        for _ in 0..60 {
            change(&db, &random);
        }
        let found = recall(&db, &random);
        assert!(found > 0.97, "round {round}: {found}");
        match round % 3 {
            // As a kill leaves it.
            0 => {
                files = files.fork();
                db = open(&files);
            }
            1 => {
                db.close().unwrap();
                db = open(&files);
            }
            _ => continue,
        }
        wait_until_filled(&db);
        let found = recall(&db, &random);
        assert!(is_asked(&db) && found > 0.97, "round {round}, opened again: {found}");
    }
}

#[test]
fn a_lost_or_damaged_index_is_made_anew() {
    let (files, random) = (MemoryFiles::new(), SeededRandom::new(8));
    let db = open(&files);
    db.blocking().execute(SETUP, &[]).unwrap();
    db.blocking().execute(INDEX, &[]).unwrap();
    for _ in 0..200 {
        change(&db, &random);
    }
    db.close().unwrap();
    let dir = Path::new("/data/db/5/index");
    for damage in ["delete", "flip"] {
        let sub = dir.join(files.list(dir).unwrap().first().unwrap());
        if damage == "delete" {
            files.remove_dir_all(&sub).unwrap();
        } else {
            for name in files.list(&sub).unwrap() {
                let mut bytes = files.read(&sub.join(&name)).unwrap();
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 1;
                    files.write_atomically(&sub.join(&name), &bytes).unwrap();
                }
            }
        }
        let db = open(&files);
        let found = recall(&db, &random);
        assert!(found > 0.97, "{damage}: {found}");
        wait_until_filled(&db);
        assert!(is_asked(&db), "{damage}: not made anew");
        db.close().unwrap();
        let db = open(&files);
        assert!(is_asked(&db), "{damage}");
        db.close().unwrap();
    }
    let db = open(&files);
    db.blocking().execute("DROP INDEX near", &[]).unwrap();
    assert!(!is_asked(&db));
    db.close().unwrap();
    assert!(files.list(dir).unwrap().is_empty());
}

#[test]
fn older_readers_see_their_own_time() {
    let files = MemoryFiles::new();
    let db = open(&files);
    db.blocking().execute(SETUP, &[]).unwrap();
    db.blocking().execute("INSERT INTO item VALUES (1, 0, '[1,1,1,1]'), (2, 0, '[5,5,5,5]')", &[]).unwrap();
    let mut early = db.blocking();
    early.execute("BEGIN ISOLATION LEVEL REPEATABLE READ", &[]).unwrap();
    early.execute("SELECT count(*) FROM item", &[]).unwrap();
    db.blocking().execute(INDEX, &[]).unwrap();
    let mut middle = db.blocking();
    middle.execute("BEGIN ISOLATION LEVEL REPEATABLE READ", &[]).unwrap();
    middle.execute("SELECT count(*) FROM item", &[]).unwrap();
    db.blocking().execute("UPDATE item SET embedding = '[9,9,9,9]' WHERE id = 1", &[]).unwrap();
    db.blocking().execute("DELETE FROM item WHERE id = 2", &[]).unwrap();
    let nearest = "SELECT id FROM item ORDER BY embedding <-> '[4,4,4,4]' LIMIT 2";
    for session in [&mut early, &mut middle] {
        let found: Vec<i32> = session.query(nearest, &[]).unwrap().iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(found, [2, 1]);
        session.execute("COMMIT", &[]).unwrap();
    }
    assert_eq!(ids(&db, nearest), [1]);
    // A filter that says something else each time must be asked once for each row.
    assert!(is_asked_where(&db, "kind < 7") && !is_asked_where(&db, "random() < 0.5"));
}
