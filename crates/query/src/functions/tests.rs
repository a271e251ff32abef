use super::error::to_datafusion;
use super::*;
use crate::types::text::TextStyle;
use crate::types::{print, value_at};
use arrow::array::Array;
use datafusion::prelude::{SessionConfig, SessionContext};
use nodedb_base::{Error, Type};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn context() -> SessionContext {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    let mut context = SessionContext::new_with_config(config);
    let counter = AtomicU64::new(1);
    let surroundings = Surroundings {
        database: "postgres".into(),
        schema: "public".into(),
        version: "PostgreSQL 15.0 (NodeDB)".into(),
        random: Arc::new(move || counter.fetch_add(1, Ordering::Relaxed)),
    };
    register(&mut context, &surroundings).unwrap();
    context.register_expr_planner(Arc::new(Operators)).unwrap();
    // A literal in a derived table would be folded; these columns are not.
    let docs = crate::types::build::column(
        &Type::Jsonb,
        &[
            nodedb_base::Value::Jsonb("{\"a\": 1, \"b\": {\"c\": [1, 2, {\"d\": \"x\"}]}, \"n\": null}".into()),
            nodedb_base::Value::Null,
            nodedb_base::Value::Jsonb("[1, \"two\", null, {\"k\": 3.50}]".into()),
        ],
    );
    let vectors = crate::types::build::column(
        &Type::Vector(3),
        &[vec![1.0_f32, 2.0, 3.0].into(), nodedb_base::Value::Null, vec![0.0_f32, 0.0, 0.0].into()],
    );
    let texts = crate::types::build::column(&Type::Text, &["1".into(), nodedb_base::Value::Null, "x".into()]);
    let columns = [("j", docs), ("v", vectors), ("t", texts)].map(|(name, column)| (name, column.unwrap()));
    let batch = arrow::array::RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap();
    context.register_batch("docs", batch).unwrap();
    context
}

async fn rows(context: &SessionContext, sql: &str) -> datafusion::error::Result<Vec<String>> {
    let batches = context.sql(sql).await?.collect().await?;
    let mut out = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| {
                if column.is_null(row) || column.logical_null_count() == column.len() {
                    return "NULL".to_owned();
                }
                print(&value_at(column, row, None).unwrap(), &TextStyle::default())
            });
            out.push(cells.collect::<Vec<_>>().join(" | "));
        }
    }
    Ok(out)
}

fn run(sql: &str) -> Result<Vec<String>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(rows(&context(), sql)).map_err(error_from_datafusion)
}

fn answer(sql: &str) -> String {
    run(sql).map_or_else(|e| format!("{}: {e}", e.sqlstate()), |rows| rows.join("; "))
}

#[test]
fn json_operators() {
    let cases = [
        ("SELECT j->'a', j->>'a', j->'b'->'c'->2->>'d' FROM docs", "1 | 1 | x; NULL | NULL | NULL; NULL | NULL | NULL"),
        ("SELECT j#>'{b,c,0}', j#>>'{b,c,2,d}' FROM docs LIMIT 1", "1 | x"),
        (
            "SELECT j->'n', j->>'n', j->0, j->-1 FROM docs",
            "null | NULL | NULL | NULL; NULL | NULL | NULL | NULL; NULL | NULL | 1 | {\"k\": 3.50}",
        ),
        ("SELECT j @> '{\"a\": 1.0}', j <@ '{}' FROM docs", "t | f; NULL | NULL; f | f"),
        ("SELECT jsonb_typeof(j) FROM docs", "object; NULL; array"),
        ("SELECT j - 'b' - 'n' FROM docs LIMIT 1", "{\"a\": 1}"),
        ("SELECT j - 0 FROM docs WHERE jsonb_typeof(j) = 'array'", "[\"two\", null, {\"k\": 3.50}]"),
        ("SELECT j || '[5]' FROM docs OFFSET 2", "[1, \"two\", null, {\"k\": 3.50}, 5]"),
        ("SELECT j #- '{b,c}' FROM docs LIMIT 1", "{\"a\": 1, \"b\": {}, \"n\": null}"),
        ("SELECT jsonb_set(j, '{a}', '[1]') ->> 'a' FROM docs LIMIT 1", "[1]"),
        ("SELECT jsonb_extract_path_text(j, 'b', 'c', '1') FROM docs LIMIT 1", "2"),
        ("SELECT jsonb_array_length(j->'b'->'c') FROM docs LIMIT 1", "3"),
        ("SELECT jsonb_array_length('{}')", "22023: cannot get array length of a non-array"),
        (
            "SELECT jsonb_build_object('a', 1, 'b', NULL, 'c', make_array(1, 2), 'e', 1.5)",
            "{\"a\": 1, \"b\": null, \"c\": [1, 2], \"e\": 1.5}",
        ),
        ("SELECT jsonb_build_array(1, 'x', NULL, true)", "[1, \"x\", null, true]"),
        ("SELECT to_jsonb('a\"b'), to_jsonb(1)", "\"a\\\"b\" | 1"),
        ("SELECT count(*) FROM docs WHERE j->>'a' = '1'", "1"),
        ("SELECT count(*) FROM docs WHERE j->'b' = '{\"c\":[1,2,{\"d\":\"x\"}]}'", "1"),
        ("SELECT jsonb_exists(j, 'a'), jsonb_exists_any(j, '{x,two}') FROM docs", "t | f; NULL | NULL; f | t"),
        ("SELECT j->-1, 3>-1, 2*-1 FROM docs OFFSET 2", "{\"k\": 3.50} | t | -2"),
        ("SELECT j @> '{' FROM docs", "22P02: invalid input syntax for type json"),
    ];
    for (sql, rows) in cases {
        assert_eq!(answer(sql), rows, "{sql}");
    }
}

#[test]
fn vector_operators() {
    let cases = [
        ("SELECT v <-> '[4,6,3]' FROM docs", "5; NULL; 7.810249675906654"),
        ("SELECT v <#> '[1,1,1]' FROM docs", "-6; NULL; -0"),
        ("SELECT v <=> '[1,2,3]' FROM docs", "0; NULL; NaN"),
        ("SELECT l2_distance('[0,0]', '[3,4]')", "5"),
        ("SELECT v <-> make_array(4, 6, 3) FROM docs LIMIT 1", "5"),
        ("SELECT v <-> v FROM docs", "0; NULL; 0"),
        ("SELECT v <-> '[1,2]' FROM docs", "22000: different vector dimensions 3 and 2"),
        ("SELECT v <-> 'x' FROM docs", "22P02: invalid input syntax for type vector: \"x\""),
        (
            "SELECT inner_product(v, '[1,1,1]'), vector_dims(v), vector_norm(v) FROM docs",
            "6 | 3 | 3.7416573867739413; NULL | NULL | NULL; 0 | 3 | 0",
        ),
        ("SELECT l2_normalize(v) FROM docs OFFSET 2", "[0,0,0]"),
        ("SELECT t FROM docs WHERE v IS NOT NULL ORDER BY v <-> '[0,0,0]' LIMIT 1", "x"),
        ("SELECT v <-> NULL FROM docs LIMIT 1", "NULL"),
    ];
    for (sql, rows) in cases {
        assert_eq!(answer(sql), rows, "{sql}");
    }
}

#[test]
fn the_session() {
    assert_eq!(
        answer("SELECT version() LIKE 'PostgreSQL%', current_database(), current_schema()"),
        "t | postgres | public"
    );
    assert_eq!(
        answer("SELECT pg_typeof(1), pg_typeof('a'), pg_typeof(1.5), pg_typeof(NULL)"),
        "bigint | text | double precision | unknown"
    );
    assert_eq!(answer("SELECT count(DISTINCT u) FROM (SELECT gen_random_uuid() AS u FROM docs) x"), "3");
    assert_eq!(
        answer("SELECT pg_typeof(gen_random_uuid()), pg_typeof(string_agg(t, ',')) FROM docs GROUP BY 1"),
        "uuid | text"
    );
    assert_eq!(answer("SELECT string_agg(t, ',') FROM docs"), "1,x");
}

fn casting(from: &str, to: Type, exact: bool) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let result = runtime.block_on(async {
        let context = context();
        let plan = context.sql("SELECT * FROM docs").await?;
        let expr = plan.parse_sql_expr(from)?;
        let expr = if exact { cast_expr(expr, to) } else { open_cast_expr(expr, to) };
        let batches = plan.select(vec![expr.alias("x")])?.collect().await?;
        let column = batches.first().unwrap().column(0).clone();
        let cell = |row| match value_at(&column, row, None).unwrap() {
            nodedb_base::Value::Null => "NULL".to_owned(),
            value => print(&value, &TextStyle::default()),
        };
        Ok((0..column.len()).map(cell).collect::<Vec<_>>().join("; "))
    });
    result.map_err(error_from_datafusion).unwrap_or_else(|e: Error| format!("{}: {e}", e.sqlstate()))
}

#[test]
fn casts() {
    let numeric = Type::Numeric { precision: 38, scale: 0 };
    let cases = [
        ("v", Type::Text, "[1,2,3]; NULL; [0,0,0]"),
        ("'[1,2]'", Type::Vector(2), "[1,2]; [1,2]; [1,2]"),
        ("'[1,2]'", Type::Vector(3), "22000: expected 3 dimensions, not 2"),
        ("t", Type::Int4, "22P02: invalid input syntax for type integer: \"x\""),
        ("t", Type::Varchar(1), "1; NULL; x"),
        ("j->'a'", Type::Int4, "1; NULL; NULL"),
        ("NULL", Type::Uuid, "NULL; NULL; NULL"),
        ("true", Type::Text, "true; true; true"),
        ("70000", Type::Int2, "22003: smallint out of range"),
    ];
    for (from, to, rows) in cases {
        assert_eq!(casting(from, to.clone(), true), rows, "{from}::{to}");
    }
    assert_eq!(casting("'1.50'", numeric.clone(), false), "1.50; 1.50; 1.50");
    assert_eq!(casting("7", numeric, false), "7; 7; 7");
    assert_eq!(casting("'[1,2]'", Type::Vector(0), false), "[1,2]; [1,2]; [1,2]");
    assert_eq!(casting("t", Type::Vector(0), false), "22P02: invalid input syntax for type vector: \"1\"");
    assert_eq!(casting("v", Type::Halfvec(0), false), "[1,2,3]; NULL; [0,0,0]");
    assert_eq!(casting("v", Type::Sparsevec(0), true), "{1:1,2:2,3:3}/3; NULL; {}/3");
    assert_eq!(casting("'101'", Type::Bit(2), true), "10; 10; 10");
}

#[test]
fn errors_of_datafusion_get_their_codes() {
    let cases = [
        ("SELECT x FROM docs", "42703: column \"x\" does not exist"),
        ("SELECT docs.x FROM docs", "42703: column docs.x does not exist"),
        ("SELECT d.x FROM docs", "42P01: missing FROM-clause entry for table \"d\""),
        ("SELECT * FROM nowhere", "42P01: relation \"nowhere\" does not exist"),
        ("SELECT nofunction(1)", "42883: function nofunction does not exist"),
        ("SELECT 1 / (SELECT count(*) FROM docs WHERE false)", "22012: division by zero"),
        ("SELECT abs(-9223372036854775808)", "22003: bigint out of range"),
        ("SELECT 1 = true", "42883: operator does not exist: integer = boolean"),
        ("SELECT 'x' = 1", "22P02: invalid input syntax for type integer: \"x\""),
        ("SELECT t FROM docs a, docs b", "42702: column reference \"t\" is ambiguous"),
    ];
    for (sql, error) in cases {
        assert_eq!(answer(sql), error, "{sql}");
    }
    for (sql, code) in
        [("SELEC 1", "42601"), ("SELECT CAST(t AS INT) FROM docs", "22P02"), ("SELECT sum(t, 1) FROM docs", "42883")]
    {
        assert_eq!(run(sql).unwrap_err().sqlstate().as_str(), code, "{sql}");
    }
    let ours = Error::statement("22000", "mine");
    let wrapped = to_datafusion(ours).context("deep").context("deeper");
    let shared = datafusion::error::DataFusionError::Shared(Arc::new(wrapped));
    assert_eq!(error_from_datafusion(shared).to_string(), "mine");
}

#[test]
fn postgresql_names() {
    let cases = [
        ("SELECT age(timestamp '2024-03-01', timestamp '2023-01-31')", "1 year 1 mon 1 day"),
        ("SELECT age(date '2000-01-01', date '2020-06-15')", "-20 years -5 mons -14 days"),
        ("SELECT age(timestamp '2024-02-29', timestamp '2023-02-28'), age(NULL, NULL)", "1 year 1 day | NULL"),
        ("SELECT quote_ident('abc'), quote_ident('Abc'), quote_ident('select')", "abc | \"Abc\" | \"select\""),
        ("SELECT quote_literal('a''b'), quote_nullable(NULL), quote_literal(NULL)", "'a''b' | NULL | NULL"),
        ("SELECT num_nulls(1, NULL, 'x'), num_nonnulls(1, NULL, 'x')", "1 | 2"),
        ("SELECT array_upper(make_array(5, 6), 1), array_lower(make_array(5, 6), 1)", "2 | 1"),
    ];
    for (sql, rows) in cases {
        assert_eq!(answer(sql), rows, "{sql}");
    }
    assert_eq!(answer("SELECT ceiling(1.5), sign(-2.5)"), "2 | -1");
    assert_eq!(answer("SELECT every(t = '1'), variance(1) FROM docs"), "f | 0");
}

#[test]
fn parameters_get_types() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let types = |sql: &str| {
        let types = runtime.block_on(async { context().sql(sql).await.unwrap().logical_plan().get_parameter_types() });
        types.unwrap().get("$1").cloned().flatten()
    };
    use crate::types::arrow::data_type;
    assert_eq!(types("SELECT v <-> $1 FROM docs"), Some(data_type(&Type::Vector(3))));
    assert_eq!(types("SELECT t FROM docs ORDER BY $1 <=> v LIMIT 2"), Some(data_type(&Type::Vector(3))));
    assert_eq!(types("SELECT 1 FROM docs WHERE j @> $1"), Some(data_type(&Type::Jsonb)));
    assert_eq!(types("SELECT j -> $1 FROM docs"), Some(data_type(&Type::Text)));
    assert_eq!(types("SELECT 1 FROM docs WHERE j = $1"), Some(data_type(&Type::Jsonb)));
}
