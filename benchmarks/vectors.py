"""Measures the search of vectors: ours as a search has it, exact ranking included, beside `llm similar`, lancedb and
sqlite-vec by itself.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apsw
import sqlite_vec

from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.storage.database import Database
from benchmarks import contenders, vector_data
from benchmarks.table import Row, times, verdict

FOUND = 10
HUNDRED_THOUSAND, MILLION = 100_000, 1_000_000
LLM_BUDGET, LANCEDB_BUDGET = 1 / 50, 1 / 5
MILLION_BUDGET_SECONDS, RECALL_BUDGET = 0.010, 0.95


@dataclass(frozen=True, slots=True)
class Searched:
    """The median of the queries in seconds, and which part of the true ten they found."""

    p50: float
    recall: float


def rows(cache: Path, peers: Path, folders: Sequence[Path]) -> list[Row]:
    """Lines of the table: 100,000 vectors beside the peers, and a million."""
    source = vector_data.texts(folders)
    queries = vector_data.embedded_questions(source)
    alike = vector_data.held_out(source)
    return [*_hundred_thousand(source, queries, cache, peers), *_million(source, queries, alike, cache)]


def _hundred_thousand(source: vector_data.Texts, queries: Matrix, cache: Path, peers: Path) -> list[Row]:
    ours = _searched(_built(source, cache, HUNDRED_THOUSAND).path, queries)
    dimensions = queries.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        vectors, asked = Path(folder) / "vectors", Path(folder) / "queries"
        with vectors.open("wb") as file:
            for matrix in vector_data.passages(source, HUNDRED_THOUSAND):
                file.write(matrix.tobytes())
        asked.write_bytes(queries.tobytes())
        llm, lancedb = (_peer(peer, peers, vectors, asked, dimensions) for peer in ("llm", "lancedb"))
        plain = _sqlite_vec(vectors.read_bytes(), queries)
    what = f"vectors: nearest {FOUND} of {HUNDRED_THOUSAND:,} x {dimensions} (recall {ours.recall:.3f})"
    return [
        times(what, ours.p50, "llm similar", llm, LLM_BUDGET, digits=1),
        times(what, ours.p50, "lancedb, flat", lancedb, LANCEDB_BUDGET, digits=1),
        times(what, ours.p50, "sqlite-vec, flat", plain, None, digits=1),
    ]


def _million(source: vector_data.Texts, queries: Matrix, alike: Matrix, cache: Path) -> list[Row]:
    built = _built(source, cache, MILLION)
    ours = _searched(built.path, queries)
    passages_recall = _searched(built.path, alike).recall
    is_kept = ours.p50 <= MILLION_BUDGET_SECONDS and passages_recall >= RECALL_BUDGET
    lines = [
        Row(
            f"vectors: nearest {FOUND} of {MILLION:,} x {queries.shape[1]}",
            f"p50 {ours.p50 * 1000:.1f} ms, recall {passages_recall:.3f}, of questions {ours.recall:.3f}",
            "comparing with all",
            "",
            f"p50 at most {MILLION_BUDGET_SECONDS * 1000:g} ms, recall at least {RECALL_BUDGET}",
            verdict(is_kept),
        )
    ]
    if built.adding_seconds:
        rate = f"{MILLION / built.adding_seconds:,.0f} a second, clusters in {built.maintaining_seconds:.0f} s"
        lines.append(Row(f"vectors: adding {MILLION:,}", rate, "", "", "", ""))
    return lines


def _built(source: vector_data.Texts, cache: Path, count: int) -> vector_data.Built:
    # Other texts are other vectors.
    name = f"vectors-{count}-{len(source.documents)}"
    return vector_data.built(cache, name, vector_data.passages(source, count))


def _searched(path: Path, queries: Matrix) -> Searched:
    with Database.open(path, read_only=True) as database:
        collection = vector_data.collection_of(database)
        truth = vector_data.exact_nearest(database, queries, FOUND)

        def found(query: Matrix) -> set[int]:
            # A store for each query, as a search makes one.
            store = SqliteVectors(database, collection)
            return {neighbour.chunk_seq for neighbour in store.nearest(query, FOUND)}

        found(queries[:1])
        taken, recalls = [], []
        for row, true_seqs in enumerate(truth):
            began = time.perf_counter()
            seqs = found(queries[row : row + 1])
            taken.append(time.perf_counter() - began)
            recalls.append(len(seqs & true_seqs) / FOUND)
    return Searched(statistics.median(taken), statistics.fmean(recalls))


def _peer(peer: str, peers: Path, vectors: Path, queries: Path, dimensions: int) -> float:
    python = contenders.interpreter(peer, peers)
    script = Path(__file__).with_name("peer_vectors.py")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(each) for each in (python, script, peer, vectors, queries, dimensions, folder)]
        environment = {"HOME": folder, "LLM_USER_PATH": folder, "PATH": os.defpath}
        done = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    taken: list[float] = json.loads(done.stdout)
    return statistics.median(taken)


def _sqlite_vec(stored: bytes, queries: Matrix) -> float:
    """A vec0 table of float32 as its documentation makes one."""
    size = 4 * queries.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        connection = apsw.Connection(str(Path(folder) / "vectors.db"))
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        connection.execute(f"CREATE VIRTUAL TABLE passages USING vec0 (vector float[{queries.shape[1]}])")
        with connection:
            blobs = ((stored[start : start + size],) for start in range(0, len(stored), size))
            connection.executemany("INSERT INTO passages (vector) VALUES (?)", blobs)

        def found(query: Matrix) -> None:
            sql = "SELECT rowid, distance FROM passages WHERE vector MATCH ? AND k = ? ORDER BY distance"
            connection.execute(sql, (query.tobytes(), FOUND)).fetchall()

        found(queries[0])
        taken = [_timed(partial(found, query)) for query in queries]
        connection.close()
    return statistics.median(taken)


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
