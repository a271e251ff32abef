#!/usr/bin/env python3
"""Makes demo/data/*.parquet from a WordNet 3.0 with embeddings.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pyarrow
    /tmp/venv/bin/python demo/make.py DIRECTORY

DIRECTORY holds synsets.parquet and relations.parquet, as demo/data/README.md describes them. The result
is in the repository; run this only to choose other rows. The same input gives the same rows.
"""
import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# WordNet keeps its synsets in numbered "lexicographer files". Whole ones are taken, so that counts mean something.
LEXFILES = {
    5: "noun.animal",
    8: "noun.body",
    12: "noun.feeling",
    13: "noun.food",
    34: "verb.consumption",
    37: "verb.emotion",
    38: "verb.motion",
}

SYNSETS = pa.schema([
    pa.field("id", pa.int32(), nullable=False),
    pa.field("synset", pa.string(), nullable=False),
    pa.field("word", pa.string(), nullable=False),
    pa.field("pos", pa.string(), nullable=False),
    pa.field("lexfile", pa.string(), nullable=False),
    pa.field("definition", pa.string(), nullable=False),
    pa.field("text", pa.string(), nullable=False),
    pa.field("meta", pa.string(), nullable=False),
    pa.field("embedding", pa.list_(pa.field("element", pa.float32(), nullable=False)), nullable=False),
])

RELATIONS = pa.schema([
    pa.field("src", pa.int32(), nullable=False),
    pa.field("relation", pa.string(), nullable=False),
    pa.field("dst", pa.int32(), nullable=False),
    pa.field("lexical", pa.bool_(), nullable=False),
])


def meta(row):
    """What is left of a synset when its plain columns are taken away, as a JSON document."""
    return json.dumps({
        "lemmas": row["lemmas"],
        "pos": row["pos"],
        "lexfile": LEXFILES[row["lexfile"]],
        "examples": row["text"].count('"') // 2,
    }, ensure_ascii=False)


def choose_synsets(source):
    """The synsets of the chosen files that have an embedding, in the order of their ids."""
    wanted = pc.and_(pc.is_in(source["lexfile"], pa.array(list(LEXFILES), pa.int16())), pc.is_valid(source["embedding"]))
    chosen = source.filter(wanted).sort_by("id")
    rows = chosen.drop_columns(["embedding"]).to_pylist()
    columns = {
        "id": chosen["id"],
        "synset": chosen["synset"],
        "word": [row["lemmas"][0] for row in rows],
        "pos": chosen["pos"],
        "lexfile": [LEXFILES[row["lexfile"]] for row in rows],
        "definition": chosen["definition"],
        "text": chosen["text"],
        "meta": [meta(row) for row in rows],
        "embedding": chosen["embedding"].combine_chunks().cast(SYNSETS.field("embedding").type),
    }
    return pa.table(columns, schema=SYNSETS)


def choose_relations(source, ids):
    """The relations between two chosen synsets, each once."""
    inside = pc.and_(pc.is_in(source["src"], ids), pc.is_in(source["dst"], ids))
    chosen = source.filter(inside).select(RELATIONS.names)
    unique = chosen.group_by(["src", "relation", "dst"]).aggregate([("lexical", "min")])
    unique = unique.rename_columns(["src", "relation", "dst", "lexical"])
    return unique.sort_by([("src", "ascending"), ("relation", "ascending"), ("dst", "ascending")]).cast(RELATIONS)


def write(table, path, **options):
    pq.write_table(table, path, compression="zstd", compression_level=19, store_schema=False, **options)
    print(f"{path}: {table.num_rows} rows, {path.stat().st_size:,} bytes")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).parent / "data"
    synsets = choose_synsets(pq.read_table(source / "synsets.parquet"))
    relations = choose_relations(pq.read_table(source / "relations.parquet"), synsets["id"].combine_chunks())
    # The embeddings are most of the bytes; split by byte, their exponents and empty low bits compress away.
    write(synsets, target / "synsets.parquet",
          use_dictionary=["pos", "lexfile"], use_byte_stream_split=["embedding.list.element"])
    write(relations, target / "relations.parquet", use_dictionary=["relation"])


main()
