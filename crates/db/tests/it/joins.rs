//! Joins of a few rows with a large table: the same by columns that keys know as by others, and none that waits for ever.

use nodedb::Database;
use nodedb_env::{Spawn, Threads};

const TABLES: [&str; 5] = [
    "CREATE TABLE large (id int PRIMARY KEY, kind int, name text)",
    // Enough for two threads to share them.
    "INSERT INTO large SELECT i, CASE WHEN i % 50 > 0 THEN i % 5000 END, 'name ' || i % 3000 FROM generate_series(1, 25000) AS t(i)",
    "CREATE INDEX ON large (kind)",
    "CREATE TABLE small (n int, big bigint, name text)",
    "INSERT INTO small VALUES (7, 7, 'name 7'), (7, 13000, 'name 8'), (24000, -1, 'none'), (NULL, NULL, NULL), (99999, 4999, 'name 2999')",
];

fn rows(session: &mut nodedb::blocking::Session, sql: &str) -> Vec<String> {
    let rows = session.query(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut rows: Vec<String> = rows.iter().map(|row| format!("{:?}", row.values().unwrap())).collect();
    rows.sort();
    rows
}

#[test]
fn joins_by_keys_say_the_same() {
    let db = Database::memory().unwrap();
    let mut session = db.blocking();
    for sql in TABLES {
        session.execute(sql, &[]).unwrap();
    }
    let joins = [
        "SELECT s.n, l.* FROM small s JOIN large l ON l.id = s.n",
        "SELECT s.n, l.* FROM small s JOIN large l ON l.id = s.big",
        "SELECT s.n, l.* FROM small s JOIN large l ON l.kind = s.n",
        "SELECT s.n, l.* FROM large l JOIN small s ON l.kind = s.n AND l.name = s.name",
        "SELECT l.* FROM large l WHERE l.id IN (SELECT n FROM small)",
        "SELECT l.* FROM large l WHERE EXISTS (SELECT 1 FROM small s WHERE s.n = l.kind)",
        "SELECT count(*) FROM large l WHERE l.id NOT IN (SELECT n FROM small WHERE n IS NOT NULL)",
        "SELECT s.n, l.* FROM small s LEFT JOIN large l ON l.id = s.n",
        "SELECT count(*), count(s.n) FROM small s RIGHT JOIN large l ON l.id = s.n",
        "SELECT count(*), count(s.n), count(l.id) FROM small s FULL JOIN large l ON l.id = s.n",
        "SELECT s.n, l.* FROM small s JOIN large l ON l.name = s.name",
        "SELECT a.id, l.id FROM (SELECT id FROM large ORDER BY id DESC LIMIT 3) a JOIN large l ON l.id = a.id - 5",
        "SELECT count(*) FROM large a JOIN large l ON l.id = a.kind",
        "SELECT s.n, l.id FROM small s JOIN large l ON l.id = s.n WHERE l.kind > 3",
        "SELECT l.id FROM small s JOIN large l ON l.id = s.n WHERE s.n > 100000",
    ];
    for within in [false, true] {
        if within {
            session.execute("BEGIN", &[]).unwrap();
            session.execute("DELETE FROM large WHERE id = 7", &[]).unwrap();
            session.execute("UPDATE large SET kind = 7 WHERE id IN (24000, 100, 20000)", &[]).unwrap();
            session.execute("INSERT INTO large VALUES (99999, 7, 'new')", &[]).unwrap();
        }
        // Each round of a recursion asks for other rows.
        let walk = "WITH RECURSIVE walk(id) AS (SELECT 3 UNION SELECT l.id + 1 FROM walk w JOIN large l ON l.id = w.id WHERE l.name <> 'name 12')
            SELECT id FROM walk ORDER BY id";
        assert_eq!(rows(&mut session, walk).len(), if within { 5 } else { 10 });
        for sql in joins {
            // No key knows these columns.
            let unknown = "(SELECT coalesce(id, NULL) AS id, coalesce(kind, NULL) AS kind, name FROM large) l";
            let plain = sql.replace("large l", unknown);
            assert_ne!(plain, sql);
            assert_eq!(rows(&mut session, sql), rows(&mut session, &plain), "{sql}");
        }
    }
}

/// A join with an empty side of one partition asks that partition of its other side for nothing; a join below that waited
/// until all its partitions were asked would wait for ever.
#[test]
fn no_join_waits_for_a_partition_that_nobody_asks() {
    let options = nodedb::Options { threads: Some(2), ..nodedb::Options::default() };
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open_with(dir.path(), options).unwrap();
    let mut session = db.blocking();
    for sql in [
        "CREATE TABLE big1 (id int PRIMARY KEY, k int, x int)",
        "CREATE TABLE big2 (id int PRIMARY KEY, k int, y int)",
        "CREATE INDEX ON big2 (k)",
        "CREATE TABLE s (k int PRIMARY KEY, z int)",
        "INSERT INTO big1 SELECT g * 100, 7, g FROM generate_series(1, 3000) AS g(g)",
        "INSERT INTO big2 SELECT g * 100000, g % 2000, g FROM generate_series(1, 9000) AS g(g)",
        "INSERT INTO s SELECT g, g FROM generate_series(1, 100) AS g(g)",
    ] {
        session.execute(sql, &[]).unwrap();
    }
    let (said, answers) = std::sync::mpsc::channel();
    // A thread of its own: one that waits for ever must fail the test, not hold it up.
    let asking = move || {
        for sql in [
            "SELECT count(*) FROM big1 JOIN (SELECT * FROM (SELECT k, count(*) AS n FROM big2 GROUP BY k) g
             WHERE g.k IN (SELECT k FROM s)) h ON big1.k = h.k",
            "SELECT o.k FROM big1 o WHERE o.k IN (SELECT k FROM big2 GROUP BY k HAVING k IN (SELECT k FROM s)) LIMIT 3",
        ] {
            said.send(rows(&mut session, sql)).unwrap();
        }
    };
    Threads.spawn("asking", Box::new(asking)).unwrap();
    for wanted in [vec!["[Int8(3000)]"], vec!["[Int4(7)]"; 3]] {
        assert_eq!(answers.recv_timeout(std::time::Duration::from_secs(30)).unwrap(), wanted);
    }
}
