-- One statement a line.
SELECT * FROM t WHERE id = 2
SELECT id, name FROM t WHERE id IN (1, 2, NULL) ORDER BY name DESC NULLS LAST LIMIT 2 OFFSET 1
SELECT count(*), sum(n), avg(f), min(name), max(at) FROM t GROUP BY b HAVING count(*) > 1
SELECT DISTINCT ON (kind) kind, src FROM edge ORDER BY kind, src DESC
SELECT t.name, c.a FROM t LEFT JOIN child c ON c.parent = t.id WHERE c.d IS NOT NULL OR t.n BETWEEN 0 AND 5
SELECT doc -> 'b' ->> 1, doc #>> '{b,2}', doc @> '{"a": 1}', doc ? 'a', jsonb_typeof(doc) FROM t
SELECT doc || '{"z": 1}'::jsonb, doc - 'a', doc #- '{b,0}', jsonb_set(doc, '{a}', '7') FROM t WHERE id = 1
SELECT id, v <-> '[1,1,1]' AS d FROM t WHERE v IS NOT NULL ORDER BY v <=> '[0,1,0]' LIMIT 3
SELECT l2_distance(v, '[0,0,1]'::vector), v <#> v, vector_dims(v), l2_norm(v) FROM t
SELECT id, row_number() OVER (PARTITION BY b ORDER BY n), lag(n, 1, 0) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t
WITH RECURSIVE up(id, step) AS (SELECT 1, 0 UNION ALL SELECT e.dst, step + 1 FROM up JOIN edge e ON e.src = up.id WHERE step < 5) SELECT * FROM up
SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS x(n, s) UNION ALL SELECT id, name FROM t EXCEPT SELECT 1, 'a' INTERSECT SELECT 2, 'b'
SELECT CASE WHEN n > 0 THEN 'pos' WHEN n < 0 THEN 'neg' ELSE coalesce(name, 'none') END, nullif(b, true) FROM t
SELECT name LIKE '%o%', name ILIKE 'ONE', name ~ '^t', name SIMILAR TO 'o%', name || '-' || id::text FROM t
SELECT substring(name FROM 1 FOR 2), upper(name), trim(both 'o' from name), position('n' in name), replace(name, 'o', '0'), split_part('a,b', ',', 2) FROM t
SELECT '2024-01-31'::date + interval '1 month', age('2024-02-29', '2023-02-28'), date_trunc('month', at), extract(epoch from at), now() - at FROM t
SELECT '12:30'::time, '1 year -2 days'::interval * 3, make_date(2024, 2, 30), to_timestamp(0) AT TIME ZONE 'Europe/Berlin'
SELECT 1.5::numeric(10,1) / 3, 7 % 3, 2 ^ 10, abs(-5), round(2.345, 2), ceil(1.1), sqrt(2), power(10, 400), 1 / 0
SELECT ARRAY[1, 2, NULL] || 3, tags[1], 'p' = ANY(tags), array_length(tags, 1), unnest(tags), cardinality(tags), tags && ARRAY['p'] FROM t
SELECT string_agg(name, ', ' ORDER BY id), array_agg(id), bool_and(b), count(DISTINCT b) FILTER (WHERE n > 0) FROM t
SELECT * FROM generate_series(1, 10, 3) AS g(x) WHERE x > ALL (SELECT s FROM child) AND EXISTS (SELECT 1 FROM edge WHERE src = x)
SELECT (SELECT max(id) FROM t), id IN (SELECT dst FROM edge), $1 + 1, $2::text, $3::vector <-> v FROM t
SELECT encode(raw, 'hex'), md5(c), length(c), u::text, i::text, big::numeric FROM child
SELECT gen_random_uuid() IS NOT NULL, version(), current_database(), pg_typeof(1.0), quote_ident('a b'), num_nulls(1, NULL)
SELECT date_bin('15 minutes', at, '2000-01-01'), to_char(at, 'YYYY-MM-DD'), date_part('dow', d) FROM t, child
INSERT INTO t (id, name) VALUES (10, 'ten'), (11, DEFAULT) RETURNING id, name, at IS NOT NULL
INSERT INTO t VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET name = excluded.name || t.name, n = t.n + 1 WHERE t.b RETURNING *
INSERT INTO t (id, name) SELECT id + 100, name || 'x' FROM t ON CONFLICT DO NOTHING
INSERT INTO child (a, d, parent) VALUES ('z', '2024-01-01', $1)
INSERT INTO t (id, doc, v, tags) VALUES (20, '{"deep": [[[]]]}', '[1e3,-2,0.5]', '{a,"b,c",NULL}')
INSERT INTO edge SELECT n, n + 1, 'next' FROM generate_series(1, 100) AS s(n)
UPDATE t SET name = 'new' || id, n = n * 2, doc = doc || '{"u": true}' WHERE id > 1 RETURNING id, name
UPDATE t SET id = id + 1000, v = '[9,9,9]', tags = NULL WHERE id = 2
UPDATE t SET n = e.dst FROM edge e WHERE e.src = t.id AND e.kind = 'is'
UPDATE child SET c = 'toolong' WHERE a = 'x'
DELETE FROM edge USING t WHERE t.id = edge.src AND t.b RETURNING edge.*
DELETE FROM t WHERE id = 1
DELETE FROM edge
CREATE TABLE n (a serial, b int)
CREATE TABLE n (a bigint PRIMARY KEY, b text NOT NULL DEFAULT 'x' CHECK (length(b) < 5), c int UNIQUE, FOREIGN KEY (c) REFERENCES t (id))
CREATE TABLE IF NOT EXISTS n (a numeric(38,10), b vector(2), c int[], CONSTRAINT k PRIMARY KEY (a, c))
CREATE UNIQUE INDEX i ON edge (src, dst DESC NULLS LAST, (kind || 'x'))
CREATE INDEX ON t ((doc ->> 'a'))
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 16)
DROP TABLE IF EXISTS child, t CASCADE
DROP INDEX t_low
EXPLAIN SELECT * FROM t WHERE name = 'one' AND id < 10
EXPLAIN ANALYZE SELECT t.id FROM t JOIN edge ON src = t.id ORDER BY 1
EXPLAIN UPDATE t SET n = 1 WHERE name > 'a'
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY
COMMIT AND CHAIN
ROLLBACK
ROLLBACK;INSERT INTO edge VALUES (7, 8, 'auto');UPDATE t SET n = 5 WHERE id = 1;DELETE FROM child
SAVEPOINT a
ROLLBACK TO SAVEPOINT a
RELEASE SAVEPOINT a
SET TRANSACTION ISOLATION LEVEL READ COMMITTED
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SET TimeZone = 'Asia/Kolkata'
SET LOCAL nodedb.as_of = '1'
SET nodedb.as_of = '2026-01-01 00:00'
SHOW ALL
SHOW nodedb.lsn
RESET timezone
COPY t (id, name) FROM STDIN WITH (FORMAT csv, HEADER true, DELIMITER '|')
SELECT 'a''b', E'\n\x41', $$dollar$$, U&'\0061', B'101', X'ff', 1e5, .5, 1_000
SELECT "Quoted", t."name" FROM public.t AS "T" WHERE postgres.public.t.id IS DISTINCT FROM NULL
SELECT * FROM t TABLESAMPLE BERNOULLI (10) FOR UPDATE
SELECT id FROM t GROUP BY ROLLUP (id), CUBE (b) ORDER BY 1
SELECT * FROM t NATURAL JOIN child CROSS JOIN LATERAL (SELECT 1) x
MERGE INTO t USING edge ON t.id = edge.src WHEN MATCHED THEN DELETE
ALTER TABLE t ADD COLUMN z int
GRANT SELECT ON t TO public
TRUNCATE t
VALUES (1), (2), (NULL)
TABLE t
WITH x AS (DELETE FROM edge RETURNING *) SELECT * FROM x
SELECT (((((((((((((((((((((((((((((1)))))))))))))))))))))))))))))
SELECT repeat('x', 10000), lpad('a', 100, 'b'), chr(65), ascii('a'), reverse('abc'), initcap('a b')
SELECT jsonb_build_object('a', 1), jsonb_array_length('[1,2]'), jsonb_pretty(doc), jsonb_strip_nulls(doc), to_jsonb(1) FROM t
