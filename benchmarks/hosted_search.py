"""Measures search on a hosted Postgres: a million chunks of one user, and beside them a small library of another.

python -m benchmarks.hosted_search DSN [--chunks 1000000] [--texts FOLDER ...]

The database is an empty one that schema.sql can be applied to, on a server that may use some gigabytes; one that is filled
already is only measured. A search is timed as a client waits for it, on one connection, without the embedding of the question.
"""

from __future__ import annotations

import argparse
import statistics
import struct
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import psycopg

from aichat_cli.documents import query as queries
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.embedding.static import StaticEmbedder
from benchmarks import vector_data
from benchmarks.table import Row, table, verdict

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

SCHEMA = Path(__file__).parent.parent / "schema.sql"
MILLION, SMALL, FOUND = 1_000_000, 200, 10
LARGE_SEED, SMALL_SEED = 1, 3
IN_A_DOCUMENT = 100
WRITERS = 2
MAINTENANCE_MEMORY = "4GB"
P50_SECONDS, RECALL = 0.050, 0.95
DIMENSIONS = StaticEmbedder.dimensions
COPY = "COPY arriving (document_id, chunk_index, content, embedding) FROM STDIN (FORMAT binary)"
STORE_DOCUMENTS = """
INSERT INTO documents (user_id, id, seq, stamp, collection, name, path, media_type, chunk_count, created_at, updated_at)
SELECT %s, document_id, %s + row_number() OVER (), '', 'default',
  document_id || '.txt', '/' || document_id, 'text/plain', count(*), now(), now() FROM arriving GROUP BY document_id
"""
STORE_CHUNKS = """
INSERT INTO document_chunks (user_id, document_id, collection, chunk_index, content, start_char, end_char, line,
  token_count, hash, embedding_model, embedding, words)
SELECT %s, document_id, 'default', chunk_index, content, 0, length(content), 1, length(content) / 4, '', %s, embedding,
  aichat.words_of(NULL, '', content) FROM arriving
"""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A user, the numbers of their chunks, and the vector of each."""

    user: UUID
    ids: Sequence[int]
    vectors: Matrix

    def nearest(self, vector: Matrix) -> set[int]:
        """What comparing with every stored vector finds."""
        return {self.ids[place] for place in np.argpartition(-(self.vectors @ vector), FOUND)[:FOUND]}


@dataclass(frozen=True, slots=True)
class Taken:
    """What some searches took, in seconds, and which part of the true ten they found."""

    seconds: Sequence[float]
    recall: float = 1.0

    def __str__(self) -> str:
        half, most = statistics.median(self.seconds), statistics.quantiles(self.seconds, n=20)[-1]
        return f"p50 {half * 1000:.1f} ms, p95 {most * 1000:.1f} ms"


def main() -> None:
    """Build the database, and print what it took and the table."""
    parser = argparse.ArgumentParser(description="Measure search on a hosted Postgres.")
    parser.add_argument("dsn", help="an empty database, or one that this has filled with the same texts")
    parser.add_argument("--chunks", type=int, default=MILLION)
    parser.add_argument("--texts", type=Path, nargs="*", default=[], help="folders in BEIR form whose texts are stored")
    arguments = parser.parse_args()
    source = vector_data.texts(arguments.texts)
    with psycopg.connect(arguments.dsn, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('aichat.library_sizes')").fetchone() == (None,):
            _fill(arguments.dsn, connection, source, arguments.chunks)
        small = _tenant(connection, source, SMALL, seed=SMALL_SEED)
        large = _tenant(connection, source, arguments.chunks, seed=LARGE_SEED)
        print(table(_rows(connection, large, small, source)), flush=True)


def _fill(dsn: str, connection: Connection, source: vector_data.Texts, count: int) -> None:
    """As whoever loads a large library does: the indexes after the rows, with memory and all cores."""
    connection.execute(SCHEMA.read_bytes())
    connection.execute(f"DROP INDEX document_chunks_nearest_{DIMENSIONS}, document_chunks_by_word")
    connection.execute(f"SET maintenance_work_mem = '{MAINTENANCE_MEMORY}'")
    connection.execute("SET max_parallel_maintenance_workers = 2")
    began = time.perf_counter()
    for size, seed in ((SMALL, SMALL_SEED), (count, LARGE_SEED)):
        _store_tenant(dsn, connection, source, size, seed)
    _say("chunks with their words", began)
    began = time.perf_counter()
    connection.execute("SELECT aichat.index_embeddings(%s)", (DIMENSIONS,))
    _say("index of the vectors", began)
    began = time.perf_counter()
    connection.execute(SCHEMA.read_bytes())
    _say("index of the words", began)
    connection.execute("VACUUM ANALYZE document_chunks")
    connection.execute("VACUUM ANALYZE aichat.word_counts")


def _say(what: str, began: float) -> None:
    print(f"{what}: {time.perf_counter() - began:.0f} s", flush=True)


def _store_tenant(dsn: str, connection: Connection, source: vector_data.Texts, count: int, seed: int) -> None:
    user = UUID(int=seed)
    connection.execute("INSERT INTO auth.users (id) VALUES (%s)", (user,))
    sentences = [sentence for each in source.documents for sentence in each]
    with ThreadPoolExecutor(WRITERS) as writers:
        pending: list[Future[None]] = []
        for number, mixed in enumerate(vector_data.mixtures(source, count, seed=seed)):
            texts = [" ".join(sentences[each] for each in row) for row in mixed.sentences.tolist()]
            pending.append(writers.submit(_store, dsn, user, number * vector_data.BATCH, texts, mixed.vectors))
            if len(pending) > WRITERS:
                pending.pop(0).result()
        for each in pending:
            each.result()


def _tenant(connection: Connection, source: vector_data.Texts, count: int, *, seed: int) -> Tenant:
    rows = connection.execute(
        "SELECT id FROM document_chunks WHERE user_id = %s ORDER BY document_id, chunk_index", (UUID(int=seed),)
    )
    ids = [chunk_id for (chunk_id,) in rows]
    vectors = np.concatenate(
        [mixed.vectors.astype(np.float16) for mixed in vector_data.mixtures(source, count, seed=seed)]
    )
    return Tenant(UUID(int=seed), ids, vectors.astype(np.float32))


def _store(dsn: str, user: UUID, first: int, texts: Sequence[str], vectors: Matrix) -> None:
    halves = vectors.astype(">f2")
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE arriving (document_id uuid, chunk_index integer, content text, embedding halfvec)"
        )
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for place, text in enumerate(texts, first):
                content = text.replace("\0", "").encode()
                copy.write(
                    struct.pack(">hi", 4, 16)
                    + (place // IN_A_DOCUMENT).to_bytes(16)
                    + struct.pack(">iii", 4, place % IN_A_DOCUMENT, len(content))
                    + content
                    + struct.pack(">ihh", 4 + 2 * DIMENSIONS, DIMENSIONS, 0)
                    + halves[place - first].tobytes()
                )
            copy.write(b"\xff\xff")
        connection.execute(STORE_DOCUMENTS, (user, first))
        connection.execute(STORE_CHUNKS, (user, StaticEmbedder.name))


def _rows(connection: Connection, large: Tenant, small: Tenant, source: vector_data.Texts) -> list[Row]:
    questions = StaticEmbedder().embed(source.questions, is_query=True)
    alike = vector_data.held_out(source)
    rows = []
    for tenant in (large, small):
        nearest, of_questions = _nearest(connection, tenant, alike), _nearest(connection, tenant, questions)
        who = f"{len(tenant.ids):,} chunks x {DIMENSIONS}"
        found = f"{nearest}, recall {nearest.recall:.3f}, of questions {of_questions.recall:.3f}"
        is_kept = _p50(nearest) <= P50_SECONDS and nearest.recall >= RECALL
        budget = f"p50 at most {P50_SECONDS * 1000:g} ms, recall at least {RECALL}"
        rows += [
            Row(f"hosted: nearest {FOUND} of {who}", found, "comparing with all", "", budget, verdict(is_kept)),
            _hybrid_row(f"hosted: words and vectors, {who}", _hybrid(connection, tenant, source.questions, questions)),
        ]
    common = _common_words(connection, large.user)
    taken = _hybrid(connection, large, common, questions)
    rows.append(_hybrid_row(f'hosted: the same for words as common as "{common[0]}"', taken))
    return rows


def _hybrid_row(what: str, taken: Taken) -> Row:
    return Row(what, str(taken), "", "", f"p50 at most {P50_SECONDS * 1000:g} ms", verdict(_p50(taken) <= P50_SECONDS))


def _p50(taken: Taken) -> float:
    return statistics.median(taken.seconds)


def _common_words(connection: Connection, user: UUID) -> Sequence[str]:
    """Questions of three words each, which are in more chunks than any others."""
    rows = connection.execute(
        "SELECT word FROM aichat.word_counts WHERE user_id = %s AND word <> ALL (%s) ORDER BY chunks DESC LIMIT 20",
        (user, [*queries.STOPWORDS, "i", "thi", "ar", "wa"]),
    )
    words = [word for (word,) in rows]
    return [" ".join(words[start : start + 3]) for start in range(18)]


def _nearest(connection: Connection, tenant: Tenant, vectors: Matrix) -> Taken:
    seconds, recalls = [], []
    for row in (vectors[0], *vectors):
        began = time.perf_counter()
        found = connection.execute(
            "SELECT chunk_id FROM match_user_documents(%s, %s, %s, -1)", (_text(row), tenant.user, FOUND)
        ).fetchall()
        seconds.append(time.perf_counter() - began)
        recalls.append(len({chunk_id for (chunk_id,) in found} & tenant.nearest(row)) / FOUND)
    return Taken(seconds[1:], statistics.fmean(recalls[1:]))


def _hybrid(connection: Connection, tenant: Tenant, questions: Sequence[str], vectors: Matrix) -> Taken:
    seconds = []
    for question, row in zip((questions[0], *questions), (vectors[0], *vectors), strict=False):
        words, vector = queries.words_of(question), _text(row)
        began = time.perf_counter()
        connection.execute(
            "SELECT aichat.search_documents(%s, 'default', %s, %s, %s)",
            (tenant.user, words, vector, StaticEmbedder.name),
        ).fetchall()
        seconds.append(time.perf_counter() - began)
    return Taken(seconds[1:])


def _text(vector: Matrix) -> str:
    return f"[{','.join(map(str, vector.tolist()))}]"


if __name__ == "__main__":
    main()
