CREATE TABLE t (id int PRIMARY KEY, name text UNIQUE, doc jsonb, v vector(3), n numeric(10,2) CHECK (n <> 13), at timestamptz DEFAULT now(), tags text[], f double precision, b boolean NOT NULL DEFAULT true);
CREATE INDEX t_low ON t (lower(name), n DESC);
CREATE TABLE child (a text, parent int REFERENCES t, u uuid, d date, i interval, raw bytea, c varchar(5), s smallint, big bigint, PRIMARY KEY (a, d));
CREATE TABLE edge (src int, dst int, kind text);
INSERT INTO t VALUES (1, 'one', '{"a": 1, "b": [1, 2.5, null, "x"]}', '[1,0,0]', 1.5, '2026-01-01 00:00Z', ARRAY['p', NULL], 1e10, true), (2, 'two', '[]', '[0,1,0]', -2, '2026-06-01 12:30Z', '{}', 'NaN', false), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true), (-5, '', '"text"', '[0,0,2]', 0, '1970-01-01 00:00Z', ARRAY['a,b'], '-Infinity', true);
INSERT INTO child VALUES ('x', 1, '6f1c0c5e-9d3b-4a9e-8f0a-0123456789ab', '2024-02-29', '1 mon 2 days 03:04:05', '\x00ff', 'abc', -1, 9223372036854775807), ('y', NULL, NULL, '2025-01-01', '-1 day', '', '', 7, 0);
INSERT INTO edge VALUES (1, 2, 'is'), (2, 3, 'is'), (3, 1, 'has'), (1, 1, 'self');
