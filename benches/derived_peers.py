#!/usr/bin/env python3
"""LanceDB or Qdrant Edge with the rows that benches/src/bin/derived.rs has written: `derived_peers.py lancedb DIRECTORY`.

Both get the rows in batches of 1,000 while a vector and a text index are there, and are then told to put into the indexes
what is in none yet. Opening and memory are measured in a process of their own.
"""
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

BATCH = 1000
DIMENSIONS = 384


class Lancedb:
    def __init__(self, dir):
        import lancedb
        self.db = lancedb.connect(dir)

    def rows(self, ids, texts, vectors):
        import pyarrow as pa
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
        return pa.table({"id": pa.array(ids, pa.int64()), "body": pa.array(texts), "seen": pa.array([0] * len(ids)),
                         "embedding": flat})

    def create(self, ids, texts, vectors):
        """An index wants some rows to begin with."""
        self.table = self.db.create_table("notes", self.rows(ids, texts, vectors))
        self.table.create_index("cosine", vector_column_name="embedding", index_type="IVF_HNSW_SQ", m=16,
                                ef_construction=200, num_partitions=1)
        self.table.create_fts_index("body", use_tantivy=False)

    def insert(self, ids, texts, vectors):
        self.table.add(self.rows(ids, texts, vectors))

    def settle(self):
        self.table.optimize()

    def open(self):
        self.table = self.db.open_table("notes")

    def near(self, vector):
        return self.table.search(vector, vector_column_name="embedding").distance_type("cosine").nprobes(1).ef(64) \
            .limit(10).select(["id"]).to_list()

    def words(self, word):
        return self.table.search(word, query_type="fts").limit(10).select(["id"]).to_list()

    def close(self):
        pass


class Qdrant:
    def __init__(self, dir):
        import qdrant_edge as q
        self.q, self.dir = q, dir
        pathlib.Path(dir).mkdir(exist_ok=True)
        codes = q.ScalarQuantizationConfig(q.ScalarType.Int8, quantile=.99, always_ram=True)
        self.config = q.EdgeConfig(
            q.EdgeVectorParams(DIMENSIONS, q.Distance.Cosine), hnsw_config=q.HnswIndexConfig(16, 200, 10000, 2),
            quantization_config=codes,
            optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000, max_segment_size=10**7),
            max_search_threads=1)

    def create(self, ids, texts, vectors):
        self.shard = self.q.EdgeShard.create(self.dir, self.config)
        self.shard.update(self.q.UpdateOperation.create_field_index("body", self.q.PayloadSchemaType.Text))
        self.insert(ids, texts, vectors)

    def insert(self, ids, texts, vectors):
        points = [self.q.Point(int(i), v.tolist(), {"body": t, "seen": 0}) for i, t, v in zip(ids, texts, vectors)]
        self.shard.update(self.q.UpdateOperation.upsert_points(points))
        self.shard.flush()

    def settle(self):
        self.shard.optimize()
        self.shard.flush()

    def open(self):
        self.shard = self.q.EdgeShard.load(self.dir, self.config)

    def near(self, vector):
        params = self.q.SearchParams(hnsw_ef=64, quantization=self.q.QuantizationSearchParams(rescore=True))
        return self.shard.search(self.q.SearchRequest(self.q.Query.Nearest(vector.tolist()), 10, params=params))

    def words(self, word):
        return None

    def close(self):
        self.shard.close()


def processor():
    return sum(getattr(resource.getrusage(resource.RUSAGE_SELF), name) for name in ("ru_utime", "ru_stime"))


def io():
    lines = dict(line.split(": ") for line in pathlib.Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"]), int(lines["wchar"])


def memory():
    lines = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    kib = lambda name: int(lines[name].split()[0]) * 1024
    return kib("RssAnon"), kib("RssFile") + kib("RssShmem")


def measure(engine, peer, dir):
    texts = (dir / "texts.txt").read_text().split("\n")
    vectors = np.fromfile(dir / "vectors.f32", np.float32).reshape(-1, DIMENSIONS)
    count = len(texts)
    before, began, began_processor = io(), time.monotonic(), processor()
    for at in range(0, count, BATCH):
        ids = range(at, min(at + BATCH, count))
        (engine.create if at == 0 else engine.insert)(ids, texts[at:at + BATCH], vectors[at:at + BATCH])
    inserted = time.monotonic()
    engine.settle()
    after = io()
    size = sum(len(text.encode()) + 4 * DIMENSIONS + 12 for text in texts)
    say(peer, "rows_per_s", count / (inserted - began))
    say(peer, "rows_per_s_until_settled", count / (time.monotonic() - began))
    say(peer, "rows_per_processor_s_until_settled", count / (processor() - began_processor))
    say(peer, "bytes_written_per_byte", (after[0] - before[0]) / size)
    say(peer, "bytes_handed_per_byte", (after[1] - before[1]) / size)
    engine.close()
    files = sum(file.stat().st_size for file in (dir / peer).rglob("*") if file.is_file())
    say(peer, "disk_mb_per_100_000", files / 1e6 / count * 1e5)


def opened(engine, peer):
    rng = np.random.default_rng(17)
    empty, began = memory(), time.monotonic()
    engine.open()
    say(peer, "open_ms", (time.monotonic() - began) * 1e3)
    began = time.monotonic()
    assert len(engine.near(rng.random(DIMENSIONS, np.float32) - .5)) == 10
    say(peer, "first_vector_query_ms", (time.monotonic() - began) * 1e3)
    began = time.monotonic()
    if engine.words("person") is not None:
        say(peer, "first_text_query_ms", (time.monotonic() - began) * 1e3)
    for _ in range(50):
        engine.near(rng.random(DIMENSIONS, np.float32) - .5)
    now = memory()
    say(peer, "private_mb_after_50_queries", (now[0] - empty[0]) / 1e6)
    say(peer, "mapped_mb_after_50_queries", (now[1] - empty[1]) / 1e6)


def say(peer, name, figure):
    print(json.dumps({"name": name, peer: float(f"{figure:.4g}")}), flush=True)


def main():
    peer, dir = sys.argv[1], pathlib.Path(sys.argv[2])
    engine = dict(lancedb=Lancedb, qdrant=Qdrant)[peer](str(dir / peer))
    if "--open" in sys.argv:
        opened(engine, peer)
        sys.stdout.flush()
        os._exit(0)
    measure(engine, peer, dir)
    subprocess.run([sys.executable, __file__, peer, str(dir), "--open"], check=True)


main()
