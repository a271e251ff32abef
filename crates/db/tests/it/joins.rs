//! Joins of a few rows with a large table look its rows up, and say the same as if they read them all.

use nodedb::Database;

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
fn few_keys_are_looked_up() {
    let db = Database::memory().unwrap();
    let mut session = db.blocking();
    for sql in TABLES {
        session.execute(sql, &[]).unwrap();
    }
    let joins = [
        ("SELECT s.n, l.* FROM small s JOIN large l ON l.id = s.n", true),
        ("SELECT s.n, l.* FROM small s JOIN large l ON l.id = s.big", false),
        ("SELECT s.n, l.* FROM small s JOIN large l ON l.kind = s.n", true),
        ("SELECT s.n, l.* FROM large l JOIN small s ON l.kind = s.n AND l.name = s.name", false),
        ("SELECT l.* FROM large l WHERE l.id IN (SELECT n FROM small)", true),
        ("SELECT l.* FROM large l WHERE EXISTS (SELECT 1 FROM small s WHERE s.n = l.kind)", true),
        ("SELECT count(*) FROM large l WHERE l.id NOT IN (SELECT n FROM small WHERE n IS NOT NULL)", false),
        ("SELECT s.n, l.* FROM small s LEFT JOIN large l ON l.id = s.n", true),
        ("SELECT count(*), count(s.n) FROM small s RIGHT JOIN large l ON l.id = s.n", false),
        ("SELECT count(*), count(s.n), count(l.id) FROM small s FULL JOIN large l ON l.id = s.n", false),
        ("SELECT s.n, l.* FROM small s JOIN large l ON l.name = s.name", false),
        (
            "SELECT a.id, l.id FROM (SELECT id FROM large ORDER BY id DESC LIMIT 3) a JOIN large l ON l.id = a.id - 5",
            true,
        ),
        ("SELECT count(*) FROM large a JOIN large l ON l.id = a.kind", false),
        ("SELECT s.n, l.id FROM small s JOIN large l ON l.id = s.n WHERE l.kind > 3", true),
        ("SELECT l.id FROM small s JOIN large l ON l.id = s.n WHERE s.n > 100000", false),
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
        for (sql, is_looked_up) in joins {
            // No key knows these columns.
            let unknown = "(SELECT coalesce(id, NULL) AS id, coalesce(kind, NULL) AS kind, name FROM large) l";
            let plain = sql.replace("large l", unknown);
            assert_ne!(plain, sql);
            assert_eq!(rows(&mut session, sql), rows(&mut session, &plain), "{sql}");
            let plan = session.query(&format!("EXPLAIN ANALYZE {sql}"), &[]).unwrap();
            let plan: String = plan.iter().map(|row| row.get::<String>(0).unwrap() + "\n").collect();
            let scan = plan.lines().find(|line| line.contains("that a join asks for"));
            let found =
                scan.and_then(|line| line.split("output_rows=").nth(1)?.split(',').next()?.parse::<usize>().ok());
            assert!(found.is_some_and(|rows| rows < 100) || !is_looked_up, "{sql}\n{plan}");
        }
    }
}
