//! Ways into a table: whatever keys it has, a query gives the rows that it gives without any.

use nodedb::{Database, Value};
use proptest::prelude::*;

const ROWS: i32 = 300;

/// The same rows twice: `t` has keys of all sorts, `u` none.
fn database() -> Database {
    let db = Database::memory().unwrap();
    let mut session = db.blocking();
    for statement in [
        "CREATE TABLE t (id int PRIMARY KEY, a int, b text NOT NULL, c varchar(4) UNIQUE, d timestamp, e numeric(8,2))",
        "CREATE TABLE u (id int, a int, b text, c varchar(4), d timestamp, e numeric(8,2))",
        "CREATE INDEX ON t (a)",
        "CREATE INDEX ON t (b, a, e)",
        "CREATE INDEX ON t (d DESC NULLS LAST, id)",
        "CREATE INDEX ON t (lower(b), a)",
        "CREATE INDEX ON t ((a + 1))",
    ] {
        session.execute(statement, &[]).unwrap();
    }
    let rows = format!(
        "SELECT i, nullif(i * 37 % 11, 5), chr(65 + i * 7 % 5) || chr(97 + i % 3), 'c' || i, \
         timestamp '2026-01-01' + (i * 13 % 17) * interval '1 day', (i * 31 % 23) / 4.0 FROM generate_series(1, {ROWS}) i"
    );
    session.execute(&format!("INSERT INTO t {rows}"), &[]).unwrap();
    session.execute("INSERT INTO u SELECT * FROM t", &[]).unwrap();
    drop(session);
    db
}

fn condition() -> impl Strategy<Value = String> {
    let op = prop_oneof![3 => Just("="), 1 => Just("<"), 1 => Just("<="), 1 => Just(">"), 1 => Just(">=")];
    let of = prop_oneof![
        (-5..ROWS + 5).prop_map(|v| ("id", v.to_string())),
        (-1..12_i32).prop_map(|v| ("a", v.to_string())),
        Just(("a", "2.5".to_owned())),
        Just(("a", "NULL".to_owned())),
        (0..5_u8, 0..3_u8).prop_map(|(x, y)| ("b", format!("'{}{}'", (65 + x) as char, (97 + y) as char))),
        (0..5_u8, 0..3_u8).prop_map(|(x, y)| ("lower(b)", format!("'{}{}'", (97 + x) as char, (97 + y) as char))),
        (0..ROWS).prop_map(|v| ("c", format!("'c{v}'"))),
        Just(("c", "'c12 '".to_owned())),
        (0..13_i32).prop_map(|v| ("a + 1", v.to_string())),
        (0..17_i32).prop_map(|v| ("d", format!("'2026-01-{:02}'", v + 1))),
        (0..24_i32).prop_map(|v| ("e", format!("{:.2}", f64::from(v) / 4.0))),
        Just(("e", "1.251".to_owned())),
    ];
    prop_oneof![
        6 => (of, op).prop_map(|((of, value), op)| format!("{of} {op} {value}")),
        1 => (0..9_i32, 0..9_i32).prop_map(|(low, high)| format!("a BETWEEN {low} AND {high}")),
        1 => proptest::collection::vec(0..ROWS, 1..4).prop_map(|ids| format!("id IN ({})", list(&ids))),
        1 => proptest::collection::vec(0..12, 1..4).prop_map(|list_of| format!("a IN ({})", list(&list_of))),
    ]
}

fn list(numbers: &[i32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Debug)]
struct Query {
    conditions: Vec<String>,
    order: Vec<(&'static str, &'static str)>,
    limit: Option<usize>,
}

impl Query {
    fn sql(&self, table: &str) -> String {
        let mut sql = format!("SELECT * FROM {table}");
        if !self.conditions.is_empty() {
            sql += &format!(" WHERE {}", self.conditions.join(" AND "));
        }
        if !self.order.is_empty() {
            let order: Vec<_> = self.order.iter().map(|(column, order)| format!("{column} {order}")).collect();
            sql += &format!(" ORDER BY {}", order.join(", "));
        }
        self.limit.iter().for_each(|limit| sql += &format!(" LIMIT {limit}"));
        sql
    }
}

fn query() -> impl Strategy<Value = Query> {
    let column = prop::sample::select(vec!["id", "a", "b", "d", "e"]);
    let order = prop::sample::select(vec!["", "DESC", "NULLS FIRST", "DESC NULLS LAST"]);
    let conditions = proptest::collection::vec(condition(), 0..4);
    (conditions, proptest::collection::vec((column, order), 0..3), proptest::option::of(0..20_usize))
        .prop_map(|(conditions, order, limit)| Query { conditions, order, limit })
}

/// The rows, and apart from them the columns that they are sorted by.
fn run(db: &Database, query: &Query, table: &str) -> (Vec<String>, Vec<Vec<Value>>) {
    const COLUMNS: [&str; 6] = ["id", "a", "b", "c", "d", "e"];
    let rows = db.blocking().query(&query.sql(table), &[]).unwrap();
    let (mut all, mut sorted_by) = (Vec::new(), Vec::new());
    for row in rows.iter() {
        let at = |name: &str| COLUMNS.iter().position(|column| *column == name).unwrap();
        sorted_by.push(query.order.iter().map(|(column, _)| row.value(at(column)).unwrap()).collect());
        all.push(format!("{:?}", (0..COLUMNS.len()).map(|at| row.value(at).unwrap()).collect::<Vec<_>>()));
    }
    all.sort();
    (all, sorted_by)
}

#[test]
fn keys_change_no_answer() {
    let db = database();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 400, ..Default::default() });
    let check = |query: Query| {
        let (with, with_order) = run(&db, &query, "t");
        let (without, without_order) = run(&db, &query, "u");
        prop_assert_eq!(with_order, without_order, "order of {}", query.sql("t"));
        // Which of several equal rows come first is open.
        if query.limit.is_none() {
            prop_assert_eq!(with, without, "{}", query.sql("t"));
        } else {
            prop_assert_eq!(with.len(), without.len(), "{}", query.sql("t"));
        }
        Ok(())
    };
    runner.run(&query(), check).unwrap();
}

/// A query whose rows are all known, within another one that sorts them anew.
#[test]
fn keys_change_no_answer_within_a_query() {
    let db = database();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 200, ..Default::default() });
    let within =
        (query(), 1..20_usize, prop::sample::select(vec!["id", "id DESC", "a, id", "b DESC, id"]), 1..20_usize);
    let check = |(mut query, limit, order, outer): (Query, usize, &str, usize)| {
        query.order.push(("id", "DESC"));
        query.limit = Some(limit);
        let run = |table: &str| {
            let sql = format!("SELECT * FROM ({}) q ORDER BY {order} LIMIT {outer}", query.sql(table));
            let rows = db.blocking().query(&sql, &[]).unwrap();
            rows.iter().map(|row| format!("{:?}", row.value(0).unwrap())).collect::<Vec<_>>()
        };
        prop_assert_eq!(run("t"), run("u"), "{} sorted by {}", query.sql("t"), order);
        Ok(())
    };
    runner.run(&within, check).unwrap();
}
