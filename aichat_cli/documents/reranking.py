"""The best hits of a search compared with the query by a better model, whose vectors of chunks are kept: made in the
background after ingest, or when a search first needs them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from aichat_cli.core.documents import CollectionSeq
from aichat_cli.core.errors import StorageError
from aichat_cli.core.interrupts import shielded
from aichat_cli.documents.chunking.embedded_text import embedding_text
from aichat_cli.documents.embedding.base import Embedder, Matrix
from aichat_cli.documents.sqlite_vectors import packed, unpacked
from aichat_cli.storage import chunks
from aichat_cli.storage.chunks import IndexedText
from aichat_cli.storage.database import Database

FILLED_TOGETHER = 16
"""Chunks in one transaction of `fill`; few, so that it can be stopped soon."""
_BATCHES_IN_SIGHT = 16
_LONGEST_WAIT_S = 0.2
"""How long a search waits for another process that writes, before it leaves its new vectors unkept."""


def rerank_similarities(
    database: Database, chunk_seqs: Sequence[int], query_vector: Matrix, model: Embedder, *, most_new: int
) -> dict[int, float]:
    """The cosines of chunks with a query, by seq; none where the query has no word that the model knows.

    Args:
        chunk_seqs: the best first.
        query_vector: of `model`, shape (1, d).
        most_new: how many vectors may be made now; chunks beyond that, and those that are gone, are left out.

    Raises:
        EmbeddingError: the model is not here or does not run.
    """
    if not query_vector.any():
        return {}
    stored = chunks.rerank_vectors_of(database, chunk_seqs)
    missing = [chunk_seq for chunk_seq in chunk_seqs if chunk_seq not in stored][: max(most_new, 0)]
    if missing:
        made = _made(model, chunks.texts_of(database, missing))
        _keep(database, made)
        stored |= made
    return {chunk_seq: float(unpacked(vector) @ query_vector[0]) for chunk_seq, vector in stored.items()}


def fill(
    database: Database,
    collection: CollectionSeq,
    model: Embedder,
    *,
    stop: Callable[[], bool],
    progress: Callable[[int], None] | None = None,
) -> int:
    """Make the vectors that a collection's chunks lack, a few in a transaction; how many were made.

    Several processes may do this at once, and any may be killed: each takes a random few of those that are next.

    Args:
        stop: asked before each few; true ends it.
        progress: called with how many were made so far.

    Raises:
        EmbeddingError: the model is not here or does not run.
        StorageError: the database cannot be written.
    """
    made = after = 0
    while not stop():
        missing = chunks.without_rerank_vectors(
            database, collection, after=after, limit=FILLED_TOGETHER * _BATCHES_IN_SIGHT
        )
        if not missing:
            break
        after = missing[0].chunk_seq - 1
        start = FILLED_TOGETHER * secrets.randbelow(-(-len(missing) // FILLED_TOGETHER))
        vectors = _made(model, missing[start : start + FILLED_TOGETHER])
        with shielded(), database.transaction():
            chunks.add_rerank_vectors(database, vectors.items())
        made += len(vectors)
        if progress is not None:
            progress(made)
    return made


def _made(model: Embedder, texts: Sequence[IndexedText]) -> dict[int, bytes]:
    vectors = model.embed([embedding_text(text.title, text.heading, text.content) for text in texts])
    return {text.chunk_seq: packed(vector) for text, vector in zip(texts, vectors, strict=True)}


def _keep(database: Database, made: dict[int, bytes]) -> None:
    """Store vectors where that is possible at once: a search does not fail, nor wait long, for want of it."""
    if database.is_read_only:
        return
    try:
        with shielded(), database.transaction(longest_wait_s=_LONGEST_WAIT_S):
            chunks.add_rerank_vectors(database, made.items())
    except StorageError:
        return
