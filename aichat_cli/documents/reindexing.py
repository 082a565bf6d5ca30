"""Indexes made anew from what is stored, and a collection's change to another embedding model.

The old vectors are searched until all the new ones are there; then they are exchanged in one transaction. Whatever
was embedded before an interruption is kept and not embedded again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aichat_cli.core.documents import Collection
from aichat_cli.core.errors import EmbeddingError
from aichat_cli.core.ingest import IngestPreview, IngestProgress
from aichat_cli.core.interrupts import shielded
from aichat_cli.core.struct import Struct
from aichat_cli.documents import sqlite_vectors
from aichat_cli.documents.chunking.embedded_text import embedding_text
from aichat_cli.documents.chunking.tokenizer import Tokenizer
from aichat_cli.documents.embedding.base import Embedder
from aichat_cli.documents.vectors import VectorStore
from aichat_cli.storage import chunks, collections, staging
from aichat_cli.storage.database import Database

Confirm = Callable[[IngestPreview], bool]
ReportProgress = Callable[[IngestProgress], None]
Missing = Callable[[int, int], list[chunks.IndexedText]]
"""Chunks to embed, from beyond a seq, at most so many."""

COUNTED_TOGETHER = 1000


class ReindexDeps(Struct, frozen=True):
    """What reindexing needs: the vectors of a collection, and how tokens are counted for a preview of the cost."""

    store_for: Callable[[Database, Collection], VectorStore]
    tokenizer: Tokenizer
    confirm: Confirm
    progress: ReportProgress


def reindex(database: Database, collection: Collection, embedder: Embedder | None, deps: ReindexDeps) -> int:
    """Make both indexes anew, with vectors of `embedder`, None for words alone; how many vectors were made.

    Raises:
        EmbeddingError: the cost was not agreed to.
        AichatError: of a provider or the database; the old indexes are as they were.
    """
    made = 0
    if embedder is not None and embedder.name != collection.embedding_model:
        made = _stage(database, collection, embedder, deps)
    while not _exchanged(database, collection, embedder):
        assert embedder is not None
        made += _stage(database, collection, embedder, deps)
    with shielded(), database.transaction():
        chunks.rebuild_words(database, collection.seq)
    current = collections.get(database, collection.name)
    if embedder is not None:
        made += complete(database, current, embedder, deps)
        deps.store_for(database, current).maintain()
    return made


def complete(database: Database, collection: Collection, embedder: Embedder, deps: ReindexDeps) -> int:
    """Make the vectors that are missing, a batch in a transaction, and an index that lacks some; how many were made."""
    sqlite_vectors.mend(database, collection)
    store = deps.store_for(database, collection)

    def missing(after: int, limit: int) -> list[chunks.IndexedText]:
        return chunks.without_vectors(database, collection.seq, after=after, limit=limit)

    _require_agreement(missing, collection, embedder, deps)
    made = after = 0
    while texts := missing(after, embedder.batch):
        after = texts[-1].chunk_seq
        vectors = embedder.embed(_embedding_texts(texts))
        with shielded(), database.transaction():
            present = set(chunks.passages(database, [text.chunk_seq for text in texts]))
            rows = [row for row, text in enumerate(texts) if text.chunk_seq in present]
            store.add([texts[row].chunk_seq for row in rows], vectors[rows])
        made += int(vectors.any(axis=1).sum())
        deps.progress(IngestProgress(made, None, 0, ""))
    return made


def _stage(database: Database, collection: Collection, embedder: Embedder, deps: ReindexDeps) -> int:
    """Embed what is not staged yet."""

    def missing(after: int, limit: int) -> list[chunks.IndexedText]:
        return staging.unstaged(database, collection.seq, embedder.name, after=after, limit=limit)

    _require_agreement(missing, collection, embedder, deps)
    made = after = 0
    while texts := missing(after, embedder.batch):
        after = texts[-1].chunk_seq
        vectors = embedder.embed(_embedding_texts(texts))
        packed = [sqlite_vectors.packed(vector) for vector in vectors]
        with shielded(), database.transaction():
            staging.add(database, embedder.name, zip((text.chunk_seq for text in texts), packed, strict=True))
        made += len(texts)
        deps.progress(IngestProgress(made, collection.chunk_count, 0, ""))
    return made


def _require_agreement(missing: Missing, collection: Collection, embedder: Embedder, deps: ReindexDeps) -> None:
    """Ask before a paid model embeds what is missing."""
    if embedder.cost_nano(1_000_000) == 0:
        return
    tokens = after = 0
    while texts := missing(after, COUNTED_TOGETHER):
        after = texts[-1].chunk_seq
        tokens += sum(deps.tokenizer.count(text) for text in _embedding_texts(texts))
    preview = IngestPreview(embedder.name, collection.document_count, tokens, embedder.cost_nano(tokens))
    if tokens and not deps.confirm(preview):
        raise EmbeddingError("Nothing was embedded: it was not agreed to.")


def _exchanged(database: Database, collection: Collection, embedder: Embedder | None) -> bool:
    """Put the staged vectors in the place of the old ones; False where some are missing for chunks that are new."""
    model = embedder.name if embedder else None
    with shielded(), database.transaction():
        current = collections.get(database, collection.name)
        if model != current.embedding_model:
            if model is not None and staging.unstaged(database, current.seq, model, after=0, limit=1):
                return False
            collections.set_embedding(
                database, current, model=model, dimensions=embedder.dimensions if embedder else None
            )
            if model is not None:
                staging.promote(database, current.seq, model)
        if embedder is not None:
            sqlite_vectors.rebuild(database, collections.get(database, collection.name))
    return True


def _embedding_texts(texts: Sequence[chunks.IndexedText]) -> list[str]:
    return [embedding_text(text.title, text.heading, text.content) for text in texts]
