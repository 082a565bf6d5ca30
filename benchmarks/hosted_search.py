"""Measures search on a hosted Postgres: a million chunks of one user, and beside them a small library of another.

python -m benchmarks.hosted_search DSN [--chunks 1000000] [--texts FOLDER ...]

The database is an empty one that schema.sql can be applied to, on a server that may use some gigabytes. A search is timed
as a client waits for it, on one connection, without the embedding of the question.
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
        return {self.ids[place] for place in np.argsort(-(self.vectors @ vector), kind="stable")[:FOUND]}


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
    parser.add_argument("dsn", help="an empty database")
    parser.add_argument("--chunks", type=int, default=MILLION)
    parser.add_argument("--texts", type=Path, nargs="*", default=[], help="folders in BEIR form whose texts are stored")
    arguments = parser.parse_args()
    source = vector_data.texts(arguments.texts)
    with psycopg.connect(arguments.dsn, autocommit=True) as connection:
        connection.execute(SCHEMA.read_bytes())
        small = _filled(arguments.dsn, connection, source, SMALL, seed=3)
        connection.execute(f"DROP INDEX document_chunks_nearest_{DIMENSIONS}, document_chunks_by_word")
        began = time.perf_counter()
        large = _filled(arguments.dsn, connection, source, arguments.chunks, seed=1)
        _say("chunks with their words", began)
        _index(connection)
        print(table(_rows(connection, large, small, source)), flush=True)


def _say(what: str, began: float) -> None:
    print(f"{what}: {time.perf_counter() - began:.0f} s", flush=True)


def _filled(dsn: str, connection: Connection, source: vector_data.Texts, count: int, *, seed: int) -> Tenant:
    """A user with so many chunks."""
    [(user,)] = connection.execute("INSERT INTO auth.users DEFAULT VALUES RETURNING id").fetchall()
    sentences = [sentence for each in source.documents for sentence in each]
    vectors = np.empty((count, DIMENSIONS), np.float16)
    with ThreadPoolExecutor(WRITERS) as writers:
        pending: list[Future[None]] = []
        for number, mixed in enumerate(vector_data.mixtures(source, count, seed=seed)):
            first = number * vector_data.BATCH
            vectors[first : first + len(mixed.vectors)] = mixed.vectors
            texts = [" ".join(sentences[each] for each in row) for row in mixed.sentences.tolist()]
            pending.append(writers.submit(_store, dsn, user, first, texts, mixed.vectors))
            if len(pending) > WRITERS:
                pending.pop(0).result()
        for each in pending:
            each.result()
    rows = connection.execute(
        "SELECT id FROM document_chunks WHERE user_id = %s ORDER BY document_id, chunk_index", (user,)
    )
    return Tenant(user, [chunk_id for (chunk_id,) in rows], vectors.astype(np.float32))


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


def _index(connection: Connection) -> None:
    """As whoever loads a large library does: with memory and all cores."""
    connection.execute(f"SET maintenance_work_mem = '{MAINTENANCE_MEMORY}'")
    connection.execute("SET max_parallel_maintenance_workers = 2")
    began = time.perf_counter()
    connection.execute("SELECT aichat.index_embeddings(%s)", (DIMENSIONS,))
    _say("index of the vectors", began)
    began = time.perf_counter()
    connection.execute(SCHEMA.read_bytes())
    _say("index of the words", began)
    began = time.perf_counter()
    connection.execute("VACUUM ANALYZE document_chunks")
    connection.execute("VACUUM ANALYZE aichat.word_counts")
    _say("vacuum", began)


def _rows(connection: Connection, large: Tenant, small: Tenant, source: vector_data.Texts) -> list[Row]:
    questions = StaticEmbedder().embed(source.questions, is_query=True)
    alike = vector_data.held_out(source)
    rows = []
    for tenant in (large, small):
        of_passages, of_questions = _nearest(connection, tenant, alike), _nearest(connection, tenant, questions)
        hybrid = _hybrid(connection, tenant, source.questions, questions)
        what = f"{len(tenant.ids):,} chunks x {DIMENSIONS}"
        rows += [
            _row(f"match_user_documents: nearest {FOUND} of {what}", of_passages, f", recall {of_passages.recall:.3f}"),
            _row("the same for questions", of_questions, f", recall {of_questions.recall:.3f}"),
            _row("search_documents: words and vectors", hybrid, ""),
        ]
    commonest = [
        word
        for (word,) in connection.execute(
            "SELECT word FROM aichat.word_counts WHERE user_id = %s ORDER BY chunks DESC LIMIT 60", (large.user,)
        )
        if word not in queries.STOPWORDS and len(word) > 2
    ]
    common = [" ".join(commonest[start : start + 3]) for start in range(12)]
    rows.append(
        _row(f'the same, large, of words as common as "{common[0]}"', _hybrid(connection, large, common, questions), "")
    )
    return rows


def _row(what: str, taken: Taken, more: str) -> Row:
    is_kept = statistics.median(taken.seconds) <= P50_SECONDS and taken.recall >= RECALL
    budget = f"p50 at most {P50_SECONDS * 1000:g} ms, recall at least {RECALL}"
    return Row(what, f"{taken}{more}", "", "", budget, verdict(is_kept))


def _nearest(connection: Connection, tenant: Tenant, vectors: Matrix) -> Taken:
    seconds, recalls = [], []
    for row in (vectors[0], *vectors):
        began = time.perf_counter()
        found = connection.execute(
            "SELECT chunk_id FROM match_user_documents(%s::vector, %s, %s, -1)", (_text(row), tenant.user, FOUND)
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
            "SELECT aichat.search_documents(%s, 'default', %s, %s::vector, %s)",
            (tenant.user, words, vector, StaticEmbedder.name),
        ).fetchall()
        seconds.append(time.perf_counter() - began)
    return Taken(seconds[1:])


def _text(vector: Matrix) -> str:
    return f"[{','.join(map(str, vector.tolist()))}]"


if __name__ == "__main__":
    main()
