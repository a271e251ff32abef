//! Derived indexes: whatever happens to them, queries answer as if there were none.

use nodedb::{Database, Options};
use nodedb_env::{Env, Files, MemoryFiles, Random, SeededRandom};
use nodedb_store::TreesKind;
use std::path::Path;
use std::sync::Arc;

const SETUP: &str = "CREATE TABLE item (id int PRIMARY KEY, kind int, embedding vector(4), note text, more text)";
const INDEX: &str = "CREATE INDEX near ON item USING hnsw (embedding vector_l2_ops) WITH (m = 8, ef_construction = 40)";
const TEXT_INDEX: &str = "CREATE INDEX words ON item USING bm25 (note, more)";
const PARTIAL: &str = "CREATE INDEX few ON item USING hnsw (embedding vector_l2_ops) WITH (m = 8, ef_construction = 40) \
                       WHERE kind < 4 AND note IS NOT NULL";
const WORDS: [&str; 6] = ["red", "green", "blue", "fox", "hen", "owl"];

fn open(files: &MemoryFiles) -> Database {
    open_with(files, 64)
}

fn open_with(files: &MemoryFiles, vector_seal_threshold: usize) -> Database {
    let env = Env { files: Arc::new(files.clone()), ..Env::memory() };
    let options = Options { vector_seal_threshold, index_checkpoint_bytes: 4096, ..Options::default() };
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

/// Whether the index of some rows is asked where its predicate holds.
fn few_is_asked(db: &Database) -> bool {
    let near = "ORDER BY embedding <-> '[0,0,0,0]' LIMIT 1";
    let sql = format!("EXPLAIN SELECT id FROM item WHERE kind < 3 AND note IS NOT NULL {near}");
    let lines = db.blocking().query(&sql, &[]).unwrap();
    lines.iter().any(|row| row.get::<String>(0).unwrap().contains("index few"))
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

/// Some words; sometimes so much beside them that they lie out of line.
fn note(random: &SeededRandom) -> String {
    let some = random.u64() % 4;
    let words: Vec<&str> = (0..some).map(|_| WORDS[(random.u64() % 6) as usize]).collect();
    let long = if random.u64().is_multiple_of(5) { "x".repeat(1500) } else { String::new() };
    format!("{} {long}", words.join(" "))
}

fn change(db: &Database, random: &SeededRandom) {
    let (id, vector) = (random.u64() % 400, vector(random));
    let (words, more) = (note(random), note(random));
    let sql = match random.u64() % 14 {
        12 => format!("UPDATE item SET kind = NULL WHERE id = {id}"),
        13 => format!("UPDATE item SET kind = 1, note = '{words}' WHERE id = {id}"),
        8 => format!("UPDATE item SET note = '{words}' WHERE id = {id}"),
        9 => format!("UPDATE item SET more = '{more}' WHERE id = {id}"),
        10 => format!("UPDATE item SET note = NULL WHERE id = {id}"),
        11 => format!("UPDATE item SET note = NULL, more = NULL WHERE id = {id}"),
        0 => format!("DELETE FROM item WHERE id = {id}"),
        1 => format!("UPDATE item SET kind = kind + 1 WHERE id = {id}"),
        2 => format!(
            "INSERT INTO item VALUES ({id}, 0, NULL, '{words}') ON CONFLICT (id) DO UPDATE SET embedding = NULL"
        ),
        _ => format!(
            "INSERT INTO item VALUES ({id}, {id} % 7, '{vector}', '{words}', '{more}') ON CONFLICT (id) DO UPDATE \
             SET embedding = excluded.embedding, note = excluded.note"
        ),
    };
    db.blocking().execute(&sql, &[]).unwrap();
}

/// The share of the true neighbours among those found; the number found is always right.
fn recall(db: &Database, random: &SeededRandom) -> f64 {
    words_are_right(db, "");
    let (mut hits, mut all) = (0, 0);
    for round in 0..12 {
        let (q, k) = (vector(random), 1 + random.u64() % 10);
        let filter = match round % 4 {
            0 => "WHERE kind = 3",
            1 => "WHERE kind < 4 AND note IS NOT NULL",
            2 => "WHERE kind = 2 AND note IS NOT NULL AND id > 100",
            _ => "",
        };
        let near = ids(db, &format!("SELECT id FROM item {filter} ORDER BY embedding <-> '{q}' LIMIT {k}"));
        // No index knows this order.
        let exact = ids(db, &format!("SELECT id FROM item {filter} ORDER BY (embedding <-> '{q}') * 2 LIMIT {k}"));
        assert_eq!(near.len(), exact.len(), "{q}");
        hits += near.iter().filter(|id| exact.contains(id)).count();
        all += exact.len();
    }
    hits as f64 / all as f64
}

/// What the text index finds is what reading all rows finds, and the best are the best.
fn words_are_right(db: &Database, after: &str) {
    for word in WORDS {
        let found = ids(db, &format!("SELECT id FROM item WHERE item @@@ '{word}' ORDER BY id{after}"));
        let like = |column: &str| format!("' ' || coalesce({column}, '') || ' ' LIKE '% {word} %'");
        let (note, more) = (like("note"), like("more"));
        assert_eq!(found, ids(db, &format!("SELECT id FROM item WHERE {note} OR {more} ORDER BY id{after}")), "{word}");
        let score = "bm25_score(item)";
        let best = ids(
            db,
            &format!("SELECT id FROM item WHERE item @@@ '{word}' AND kind < 5 ORDER BY {score} DESC, id LIMIT 5"),
        );
        let all = ids(
            db,
            &format!("SELECT id FROM item WHERE item @@@ '{word}' AND kind < 5 ORDER BY {score} * 2 DESC, id LIMIT 5"),
        );
        assert_eq!(best, all, "{word}");
    }
}

#[test]
fn rows_that_rarely_pass_a_filter_are_found() {
    let files = MemoryFiles::new();
    let db = open_with(&files, 4096);
    db.blocking().execute(SETUP, &[]).unwrap();
    // The farther away, the higher the kind: near rows never pass.
    let fill =
        "INSERT INTO item SELECT i, i / 600, ('[' || i || ',1,2,3]')::vector FROM generate_series(1, 3000) AS t(i)";
    db.blocking().execute(fill, &[]).unwrap();
    db.blocking().execute(INDEX, &[]).unwrap();
    let explained = |filter: &str| {
        let sql =
            format!("EXPLAIN ANALYZE SELECT id FROM item WHERE {filter} ORDER BY embedding <-> '[0,1,2,3]' LIMIT 3");
        let lines = db.blocking().query(&sql, &[]).unwrap();
        let lines: Vec<String> = lines.iter().map(|row| row.get::<String>(0).unwrap()).collect();
        lines.into_iter().find(|line| line.contains("Nearest: item")).unwrap()
    };
    for (filter, found, how) in [
        ("kind = 4", [2400, 2401, 2402], "chosen=600"),
        ("kind = 4 AND id % 100 = 7", [2407, 2507, 2607], "exact=1"),
        ("kind = 0 AND id % 2 = 0", [2, 4, 6], "exact=0"),
    ] {
        let sql = format!("SELECT id FROM item WHERE {filter} ORDER BY embedding <-> '[0,1,2,3]' LIMIT 3");
        assert_eq!(ids(&db, &sql), found, "{filter}");
        let line = explained(filter);
        assert!(line.contains(how), "{filter}: {line}");
    }
}

/// Comparisons of columns: by a key that gives few rows, by one that gives many, by none.
#[test]
fn conditions_are_met_without_a_planner() {
    let files = MemoryFiles::new();
    let db = open_with(&files, 1024);
    db.blocking().execute(SETUP, &[]).unwrap();
    let fill = "INSERT INTO item SELECT i, i * 7919 % 1000, ('[' || i * 31 % 997 || ',' || i * 17 % 991 || ',2,3]')::vector,
        CASE WHEN i % 9 > 0 THEN 'note ' || i % 5 END, repeat('more', 300 * (i % 2)) FROM generate_series(1, 4000) AS t(i)";
    db.blocking().execute(fill, &[]).unwrap();
    for index in [INDEX, "CREATE INDEX kinds ON item (kind)"] {
        db.blocking().execute(index, &[]).unwrap();
    }
    db.blocking().execute("UPDATE item SET kind = kind + 500 WHERE id % 10 = 3", &[]).unwrap();
    db.blocking().execute("DELETE FROM item WHERE id % 10 = 4", &[]).unwrap();
    for (filter, how) in [
        ("kind = 77", "rows (0."),
        ("kind >= 100 AND kind < 120", "by index kinds"),
        ("kind BETWEEN 100 AND 800", "more than"),
        ("kind > 1400", "by index kinds"),
        ("note = 'note 3'", "no key tells"),
        ("note > 'note 2' AND kind < 900", "no key tells"),
        ("id > 3000 AND id <= 3500", "rows by primary key"),
        ("more > 'moremore' AND kind > 20", "no key tells"),
        ("kind < 3", "by index kinds"),
    ] {
        let sql = |order: &str| format!("SELECT id FROM item WHERE {filter} ORDER BY {order} LIMIT 7");
        let near = sql("embedding <-> '[300,400,2,3]'");
        let exact = ids(&db, &sql("(embedding <-> '[300,400,2,3]') + 0"));
        assert_eq!(ids(&db, &near), exact, "{filter}");
        let plan = db.blocking().query(&format!("EXPLAIN {near}"), &[]).unwrap();
        let plan: String = plan.get(0, 0).unwrap();
        assert!(plan.contains("filter: ") && plan.contains(how), "{filter}: {plan}");
    }
    // What is no comparison needs a planner, which looks at some rows to say how many pass.
    let half = "EXPLAIN SELECT id FROM item WHERE kind % 2 = 0 ORDER BY embedding <-> '[300,400,2,3]' LIMIT 3";
    let plan = db.blocking().query(half, &[]).unwrap();
    let plan: String = plan.iter().map(|row| row.get::<String>(0).unwrap()).collect();
    let share = plan.split("of a sample ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(share.is_some_and(|share| (30.0..70.0).contains(&share)), "{plan}");
    let wide = "SELECT id FROM item WHERE id BETWEEN 1 AND 1000000000 ORDER BY embedding <-> '[300,400,2,3]' LIMIT 3";
    assert_eq!(ids(&db, wide).len(), 3);
    // What the transaction has written no index knows.
    let mut session = db.blocking();
    session.execute("BEGIN", &[]).unwrap();
    session.execute("INSERT INTO item VALUES (9000, 77, '[300,400,2,3]')", &[]).unwrap();
    let found = "SELECT id FROM item WHERE kind = 77 ORDER BY embedding <-> '[300,400,2,3]' LIMIT 1";
    assert_eq!(session.query(found, &[]).unwrap().get::<i32>(0, 0).unwrap(), 9000);
}

/// What keys have said of rows is kept, and follows each commit; readers of an older one still see their own time.
#[test]
fn kept_filters_follow_the_commits() {
    let (files, random) = (MemoryFiles::new(), SeededRandom::new(11));
    let db = open_with(&files, 1024);
    db.blocking().execute(SETUP, &[]).unwrap();
    let fill = "INSERT INTO item SELECT i, i * 7919 % 1000, ('[' || i * 31 % 997 || ',' || i * 17 % 991 || ',2,3]')::vector \
                FROM generate_series(1, 3000) AS t(i)";
    for sql in [fill, INDEX, "CREATE INDEX kinds ON item (kind)"] {
        db.blocking().execute(sql, &[]).unwrap();
    }
    let (mut older, mut kept) = (None, 0);
    for round in 0..60 {
        let (id, kind) = (1 + random.u64() % 3300, random.u64() % 1000);
        let near = format!("embedding <-> '[{},{},2,3]'", random.u64() % 1000, random.u64() % 1000);
        let filter = ["kind < 900", "kind < 100", "kind BETWEEN 700 AND 720"][round % 3];
        let change = match round % 4 {
            0 => format!("UPDATE item SET kind = {kind} WHERE id BETWEEN {id} AND {id} + 40"),
            1 => format!("DELETE FROM item WHERE id BETWEEN {id} AND {id} + 5"),
            2 => format!("INSERT INTO item VALUES ({id}, 50, '[1,2,2,3]') ON CONFLICT (id) DO UPDATE SET kind = NULL"),
            _ => format!("UPDATE item SET kind = kind + 1 WHERE kind > {kind}"),
        };
        db.blocking().execute(&change, &[]).unwrap();
        let sql = |order: &str| format!("SELECT id FROM item WHERE {filter} ORDER BY {order}, id LIMIT 7");
        let (near, exact) = (sql(&near).replace(", id", ""), sql(&format!("({near}) + 0")));
        for _ in 0..2 {
            let (found, wanted) = (ids(&db, &near), ids(&db, &exact));
            let hits = found.iter().filter(|id| wanted.contains(id)).count();
            assert!(found.len() == wanted.len() && hits + 1 >= wanted.len(), "{round} {filter}: {found:?} {wanted:?}");
        }
        let plan: String = db.blocking().query(&format!("EXPLAIN {near}"), &[]).unwrap().get(0, 0).unwrap();
        kept += usize::from(plan.contains("by index kinds where kind in range before"));
        if round % 10 == 0 {
            let mut session = db.blocking();
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ", &[]).unwrap();
            let rows = session.query(&exact, &[]).unwrap();
            let wanted: Vec<i32> = rows.iter().map(|row| row.get(0).unwrap()).collect();
            older = Some((session, near.clone(), wanted));
        }
        if let Some((session, near, wanted)) = &mut older {
            let found: Vec<i32> = session.query(near, &[]).unwrap().iter().map(|row| row.get(0).unwrap()).collect();
            let hits = found.iter().filter(|id| wanted.contains(id)).count();
            assert!(found.len() == wanted.len() && hits + 1 >= wanted.len(), "{round}: {found:?} {wanted:?}");
        }
    }
    assert!(kept > 30, "{kept}");
}

/// More rows than the index is ever asked for at once.
#[test]
fn many_rows_of_many_are_found() {
    let files = MemoryFiles::new();
    let db = open_with(&files, 8192);
    db.blocking().execute(SETUP, &[]).unwrap();
    let fill = "INSERT INTO item SELECT i, i % 100, ('[' || i * 31 % 997 || ',' || i * 17 % 991 || ',2,3]')::vector
        FROM generate_series(1, 16000) AS t(i)";
    db.blocking().execute(fill, &[]).unwrap();
    db.blocking().execute(INDEX, &[]).unwrap();
    for filter in ["kind < 40", "kind < 40 OR id < 0"] {
        let sql = format!("SELECT id FROM item WHERE {filter} ORDER BY embedding <-> '[300,400,2,3]' LIMIT 2400");
        assert_eq!(db.blocking().query(&sql, &[]).unwrap().iter().count(), 2400, "{filter}");
    }
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
    db.blocking().execute(TEXT_INDEX, &[]).unwrap();
    db.blocking().execute(PARTIAL, &[]).unwrap();
    for round in 0..12 {
        assert!(is_asked(&db) && few_is_asked(&db), "round {round}");
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
        assert!(is_asked(&db) && few_is_asked(&db) && found > 0.97, "round {round}, opened again: {found}");
        assert_eq!(db.check().unwrap().indexes.indexes, 3);
    }
}

/// Flips a bit in the middle of each file of a directory.
fn flip_all(files: &MemoryFiles, dir: &Path) {
    for path in files.list(dir).unwrap().iter().map(|name| dir.join(name)) {
        let Ok(mut bytes) = files.read(&path) else {
            flip_all(files, &path);
            continue;
        };
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
            files.write_atomically(&path, &bytes).unwrap();
        }
    }
}

#[test]
fn a_lost_or_damaged_index_is_made_anew() {
    let (files, random) = (MemoryFiles::new(), SeededRandom::new(8));
    let db = open(&files);
    db.blocking().execute(SETUP, &[]).unwrap();
    db.blocking().execute(INDEX, &[]).unwrap();
    db.blocking().execute(TEXT_INDEX, &[]).unwrap();
    db.blocking().execute(PARTIAL, &[]).unwrap();
    for _ in 0..200 {
        change(&db, &random);
    }
    db.close().unwrap();
    let dir = Path::new("/data/db/5/index");
    for damage in ["delete", "flip"] {
        let subs: Vec<_> = files.list(dir).unwrap().iter().map(|name| dir.join(name)).collect();
        assert_eq!(subs.len(), 3);
        for sub in subs {
            if damage == "delete" {
                files.remove_dir_all(&sub).unwrap();
            } else {
                flip_all(&files, &sub);
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
    db.blocking().execute("DROP INDEX near, words, few", &[]).unwrap();
    assert!(!is_asked(&db));
    db.close().unwrap();
    assert!(files.list(dir).unwrap().is_empty());
}

#[test]
fn older_readers_see_their_own_time() {
    let files = MemoryFiles::new();
    let db = open(&files);
    db.blocking().execute(SETUP, &[]).unwrap();
    db.blocking()
        .execute("INSERT INTO item VALUES (1, 0, '[1,1,1,1]', 'red fox'), (2, 0, '[5,5,5,5]', 'fox')", &[])
        .unwrap();
    db.blocking().execute(TEXT_INDEX, &[]).unwrap();
    let mut early = db.blocking();
    early.execute("BEGIN ISOLATION LEVEL REPEATABLE READ", &[]).unwrap();
    early.execute("SELECT count(*) FROM item", &[]).unwrap();
    db.blocking().execute(INDEX, &[]).unwrap();
    let mut middle = db.blocking();
    middle.execute("BEGIN ISOLATION LEVEL REPEATABLE READ", &[]).unwrap();
    middle.execute("SELECT count(*) FROM item", &[]).unwrap();
    db.blocking().execute("UPDATE item SET embedding = '[9,9,9,9]', note = 'hen' WHERE id = 1", &[]).unwrap();
    db.blocking().execute("DELETE FROM item WHERE id = 2", &[]).unwrap();
    let nearest = "SELECT id FROM item ORDER BY embedding <-> '[4,4,4,4]' LIMIT 2";
    for session in [&mut early, &mut middle] {
        let found: Vec<i32> = session.query(nearest, &[]).unwrap().iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(found, [2, 1]);
        let fox = "SELECT id FROM item WHERE item @@@ 'fox' ORDER BY bm25_score(item) DESC LIMIT 9";
        let mut found: Vec<i32> = session.query(fox, &[]).unwrap().iter().map(|row| row.get(0).unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, [1, 2]);
        session.execute("COMMIT", &[]).unwrap();
    }
    assert_eq!(ids(&db, nearest), [1]);
    words_are_right(&db, "");
    // A filter that says something else each time must be asked once for each row.
    assert!(is_asked_where(&db, "kind < 7") && !is_asked_where(&db, "random() < 0.5"));
}

#[test]
fn a_hybrid_search_near_a_subquery_asks_the_index() {
    let db = open(&MemoryFiles::new());
    for sql in [SETUP, INDEX, TEXT_INDEX] {
        db.blocking().execute(sql, &[]).unwrap();
    }
    let fill = "INSERT INTO item SELECT i, 0, ('[' || i || ',1,2,3]')::vector, 'red ' || i FROM generate_series(1, 500) AS t(i)";
    db.blocking().execute(fill, &[]).unwrap();
    let near = "(SELECT embedding FROM item WHERE id = 40)";
    let sql = format!(
        "SELECT id FROM hybrid_search('item', text => 'red', vector => {near}, k => 3) ORDER BY score DESC, id"
    );
    assert_eq!(ids(&db, &sql).first(), Some(&40));
    let plan = db.blocking().query(&format!("EXPLAIN ANALYZE {sql}"), &[]).unwrap();
    let plan: String = plan.iter().map(|row| row.get::<String>(0).unwrap() + "\n").collect();
    assert!(plan.contains("Nearest: item, index near"), "{plan}");
}
