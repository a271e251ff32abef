#!/usr/bin/env python3
"""DuckDB's full text over the documents and words that benches/src/bin/text.rs has written to a directory.

It has no phrases: documents with both words are looked through, as its users do. One thread, as the others have.
"""
import json
import pathlib
import resource
import sys
import time

import duckdb
from duckdb_extensions import import_extension

MOST_SECONDS = 20


def processor():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(directory):
    db = duckdb.connect(str(directory / "db"))
    import_extension("fts", con=db)
    db.execute("LOAD fts")
    db.execute("SET threads = 1")
    began, began_processor = time.monotonic(), processor()
    lines = (directory / "documents.txt").read_text().split("\n")
    db.execute("CREATE TABLE docs (id BIGINT PRIMARY KEY, body VARCHAR)")
    import pyarrow as pa
    made = pa.table({"id": pa.array(range(len(lines)), pa.int64()), "body": pa.array(lines)})
    db.execute("INSERT INTO docs SELECT * FROM made")
    rows = time.monotonic() - began
    db.execute("PRAGMA create_fts_index('docs', 'id', 'body', stemmer='none', stopwords='none', "
               "ignore='[^a-zA-Z0-9]+', strip_accents=0, lower=1)")
    db.execute("CHECKPOINT")
    say("rows_s", rows)
    say("rows_and_index_s", time.monotonic() - began)
    say("rows_and_index_processor_s", processor() - began_processor)
    say("disk_mb", (directory / "db").stat().st_size / 1e6)
    kinds = {}
    for line in (directory / "queries.txt").read_text().splitlines():
        kind, words = line.split("\t")
        kinds.setdefault(kind, []).append(words)
    for kind, queries in kinds.items():
        began, began_processor, done = time.monotonic(), processor(), 0
        for words in queries:
            db.execute(statement(kind), [words] if "phrase" not in kind else [words, words]).fetchall()
            done += 1
            if time.monotonic() - began > MOST_SECONDS:
                break
        say(f"{kind}_per_s", done / (time.monotonic() - began))
        say(f"{kind}_per_processor_s", done / (processor() - began_processor))


def statement(kind):
    score = "fts_main_docs.match_bm25(id, ?, conjunctive := {})".format(0 if kind.startswith("top") else 1)
    if kind.startswith("top"):
        return f"SELECT id FROM (SELECT id, {score} AS s FROM docs) WHERE s IS NOT NULL ORDER BY s DESC LIMIT 10"
    more = " AND contains(lower(body), ?)" if "phrase" in kind else ""
    return f"SELECT count(*) FROM (SELECT body, {score} AS s FROM docs) WHERE s IS NOT NULL{more}"


def say(name, figure):
    print(json.dumps({"name": name, "duckdb": float(f"{figure:.4g}")}), flush=True)


main(pathlib.Path(sys.argv[1]))
