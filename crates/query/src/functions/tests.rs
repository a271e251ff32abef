use super::*;
use crate::types::text::TextStyle;
use crate::types::{print, value_at};
use arrow::array::Array;
use datafusion::prelude::{SessionConfig, SessionContext};
use nodedb_base::{Error, Type};
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
        ("SELECT j->'n', j->>'n', j->0, j->-1 FROM docs", "null | NULL | NULL | NULL; NULL | NULL | NULL | NULL; NULL | NULL | 1 | {\"k\": 3.50}"),
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
        ("SELECT jsonb_build_object('a', 1, 'b', NULL, 'c', make_array(1, 2), 'e', 1.5)", "{\"a\": 1, \"b\": null, \"c\": [1, 2], \"e\": 1.5}"),
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
        ("SELECT inner_product(v, '[1,1,1]'), vector_dims(v), vector_norm(v) FROM docs", "6 | 3 | 3.7416573867739413; NULL | NULL | NULL; 0 | 3 | 0"),
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
    assert_eq!(answer("SELECT version() LIKE 'PostgreSQL%', current_database(), current_schema()"), "t | postgres | public");
    assert_eq!(answer("SELECT pg_typeof(1), pg_typeof('a'), pg_typeof(1.5), pg_typeof(NULL)"), "bigint | text | double precision | unknown");
    assert_eq!(answer("SELECT count(DISTINCT u) FROM (SELECT gen_random_uuid() AS u FROM docs) x"), "3");
    assert_eq!(answer("SELECT pg_typeof(gen_random_uuid()), pg_typeof(string_agg(t, ',')) FROM docs GROUP BY 1"), "uuid | text");
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
    assert!(casting("t", Type::Vector(0), false).starts_with("0A000"));
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
        ("SELECT 1 = true", "42883: operator does not exist: bigint = boolean"),
        ("SELECT 'x' = 1", "22P02: invalid input syntax for type bigint: \"x\""),
        ("SELECT t FROM docs a, docs b", "42702: column reference \"t\" is ambiguous"),
    ];
    for (sql, error) in cases {
        assert_eq!(answer(sql), error, "{sql}");
    }
    for (sql, code) in [("SELEC 1", "42601"), ("SELECT CAST(t AS INT) FROM docs", "22P02"), ("SELECT sum(t, 1) FROM docs", "42883")] {
        assert_eq!(run(sql).unwrap_err().sqlstate().as_str(), code, "{sql}");
    }
    let ours = Error::statement("22000", "mine");
    let wrapped = to_datafusion(ours).context("deep").context("deeper");
    let shared = datafusion::error::DataFusionError::Shared(Arc::new(wrapped));
    assert_eq!(error_from_datafusion(shared).to_string(), "mine");
}

#[test]
#[ignore]
fn probe() {
    let list = "length('a')|char_length('a')|octet_length('a')|bit_length('a')|substring('abc' FROM 2 FOR 1)|substr('abc',2)|position('b' IN 'abc')|strpos('abc','b')|concat_ws(',','a','b')|concat('a',1)|left('abc',1)|right('abc',1)|lpad('a',3,'x')|rpad('a',3)|initcap('ab cd')|split_part('a,b',',',1)|regexp_replace('abc','b','x')|regexp_match('abc','b')|regexp_matches('abc','b')|regexp_split_to_array('a,b',',')|age(timestamp '2024-03-01', timestamp '2023-01-31')|date_trunc('month', timestamp '2024-05-17')|date_part('day', date '2024-01-02')|extract(day from date '2024-01-02')|extract(epoch from timestamp '2024-01-01')|make_date(2024,1,2)|make_interval(1)|make_timestamp(2024,1,1,1,1,1)|make_time(1,2,3)|to_char(date '2024-01-01','YYYY')|to_char(1.5,'9.9')|to_date('2024-01-01','YYYY-MM-DD')|to_timestamp(0)|to_number('1','9')|now()|current_date|current_timestamp|localtimestamp|clock_timestamp()|date_bin(interval '1 day', timestamp '2024-02-11', timestamp '2001-01-01')|isfinite(date '2024-01-01')|justify_days(interval '45 days')|generate_series(1,3)|array_agg(t)|string_agg(t,',')|bool_and(true)|bool_or(true)|every(true)|stddev(1.0)|stddev_pop(1.0)|stddev_samp(1.0)|variance(1.0)|var_pop(1)|var_samp(1)|percentile_cont(0.5) within group (order by 1.0)|percentile_disc(0.5) within group (order by 1.0)|mode() within group (order by 1)|corr(1,1)|covar_pop(1,1)|regr_slope(1,1)|bit_and(1)|bit_or(1)|bit_xor(1)|array_length(make_array(1),1)|cardinality(make_array(1))|array_append(make_array(1),2)|array_prepend(0,make_array(1))|array_cat(make_array(1),make_array(2))|array_position(make_array(1),1)|array_positions(make_array(1),1)|array_remove(make_array(1),1)|array_replace(make_array(1),1,2)|array_to_string(make_array(1),',')|string_to_array('a,b',',')|array_upper(make_array(1),1)|array_lower(make_array(1),1)|array_ndims(make_array(1))|array_dims(make_array(1))|array_fill(1,make_array(2))|trim_array(make_array(1),1)|unnest(make_array(1))|nullif(1,2)|coalesce(1,2)|greatest(1,2)|least(1,2)|abs(-1)|sign(-1)|ceil(1.5)|ceiling(1.5)|floor(1.5)|round(1.5)|round(1.55,1)|trunc(1.5)|mod(5,3)|div(5,3)|power(2,3)|pow(2,3)|sqrt(4)|cbrt(8)|exp(1)|ln(2)|log(100)|log10(100)|log(2.0,64.0)|pi()|degrees(1)|radians(1)|sin(0)|cos(0)|tan(0)|cot(1)|asin(0)|acos(0)|atan(0)|atan2(1,1)|sinh(1)|gcd(12,18)|lcm(4,6)|factorial(5)|random()|setseed(0.5)|width_bucket(5.3,0,10,5)|scale(1.5)|trim_scale(1.50)|md5('a')|sha256('a')|encode('a','hex')|decode('YQ==','base64')|convert_from('a','UTF8')|ascii('a')|chr(65)|reverse('ab')|repeat('a',2)|replace('a','a','b')|translate('a','a','b')|overlay('Txxxxas' placing 'hom' from 2 for 4)|starts_with('ab','a')|to_hex(255)|quote_ident('a')|quote_literal('a')|format('%s','a')|btrim(' a ')|ltrim(' a')|rtrim('a ')|trim(' a ')|trim(both 'x' from 'xax')|upper('a')|lower('A')|num_nulls(1,NULL)|num_nonnulls(1)|nextval('s')|row_number() over ()|rank() over (order by 1)|dense_rank() over (order by 1)|percent_rank() over (order by 1)|cume_dist() over (order by 1)|ntile(2) over (order by 1)|lag(1) over (order by 1)|lead(1) over (order by 1)|first_value(1) over (order by 1)|last_value(1) over (order by 1)|nth_value(1,1) over (order by 1)|grouping(t)|2 ^ 3|5 # 3|~5|1 << 3|'a' ~ 'a'|'a' ~* 'A'|'a' !~ 'b'|'a' LIKE 'a'|'a' ILIKE 'A'|'a' SIMILAR TO 'a'|make_array(1) && make_array(1)|ARRAY[1,2] @> ARRAY[1]|ARRAY['a'] && '{a}'|'a' || 1|1 IS DISTINCT FROM 2|7/2|-7%3|1=ANY(ARRAY[1])|date '2024-01-01' + 1|date '2024-01-02' - date '2024-01-01'|date '2024-01-31' + interval '1 month'|timestamp '2024-03-01' - timestamp '2024-02-01'|interval '1 day' * 2|timestamp '2024-01-01' AT TIME ZONE 'UTC'|pg_backend_pid()|current_user|session_user|current_setting('x')|set_config('x','y',false)|txid_current()|pg_sleep(0)|'{\"a\":1}'::jsonb|x'1F'|j ? 'a'|j ?| ARRAY['a']|j #>> ARRAY['a']|5 > -1|count(*) FILTER (WHERE true)|string_agg(t, ',' ORDER BY t DESC)";
    for item in list.replace("?|", "?\u{1}").split('|').map(|i| i.replace('\u{1}', "|")).filter(|i| !i.is_empty()) {
        eprintln!("PROBE {item} => {}", answer(&format!("SELECT {item} FROM docs LIMIT 1")));
    }
}
