"""What a hosted Postgres is asked by a search; what it answers is told at `aichat.search_documents` in schema.sql."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from aichat_cli.core.documents import DocumentId, Passage
from aichat_cli.core.struct import Struct

WORDS_SHARE = 0.7
"""Of a score, as in `documents.search`: here it only decides which passages come along with the candidates."""
_SEARCH = "SELECT aichat.search_documents(%s, %s, %s, %s, %s, %s, %s, %s)"
_PASSAGES = """
SELECT c.id, d.id, d.name, d.path, d.title, c.heading, c.start_char, c.end_char, c.line, c.page, c.content, c.hash
FROM document_chunks c JOIN documents d ON (d.user_id, d.id) = (c.user_id, c.document_id)
WHERE c.user_id = %s AND c.id = ANY (%s)
"""


_FINGERPRINTS = """
SELECT d.id::text, array_agg(c.hash || CASE WHEN c.embedding IS NULL THEN '' ELSE '+' END ORDER BY c.chunk_index)
FROM documents d JOIN document_chunks c ON (c.user_id, c.document_id) = (d.user_id, d.id)
WHERE d.user_id = %s AND d.collection = %s GROUP BY d.id
"""


class Asked(Protocol):
    """A connection to a hosted database, as a search uses it."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement; raises AichatError."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Query(Struct, frozen=True):
    """What is looked for.

    Attributes:
        words: in lower case, each once.
        vector: of the model `embedding_model`, None for words alone.
        limit: how many by words, and how many by the vector.
        shown: of how many of the best the passages come along.
    """

    words: Sequence[str]
    vector: Sequence[float] | None
    embedding_model: str | None
    limit: int
    shown: int


class HostedPassage(Struct, frozen=True):
    """A passage, and the hash of what is embedded of it, by which devices know it."""

    passage: Passage
    hash: str


class Answer(Struct, frozen=True):
    """The candidates for a query.

    Attributes:
        chunk_count: of the collection.
        embedding_models: of its vectors, that of the most first.
        frequencies: in how many chunks each word of the query is, in their order.
        by_words: scores by chunk id, best first.
        nearest: cosines by chunk id, nearest first, of equals the older.
        passages: of those that are best when both are taken together, by chunk id.
    """

    chunk_count: int
    embedding_models: list[str]
    frequencies: list[int]
    by_words: dict[int, float]
    nearest: dict[int, float]
    passages: dict[int, HostedPassage]


def search(connection: Asked, user: UUID, collection: str, query: Query) -> Answer:
    """Ask for the candidates, in one round trip; of a collection that is not there, there are none."""
    vector = None if query.vector is None else f"[{','.join(map(repr, query.vector))}]"
    parameters = (
        user,
        collection,
        list(query.words),
        vector,
        query.embedding_model,
        query.limit,
        query.shown,
        WORDS_SHARE,
    )
    [(told,)] = connection.rows(_SEARCH, parameters)
    candidates = told["candidates"]
    return Answer(
        chunk_count=told["chunks"],
        embedding_models=told["models"],
        frequencies=told["frequencies"],
        by_words=_ranked(candidates, "words_score"),
        nearest=_ranked(candidates, "similarity"),
        passages={
            each["chunk_id"]: HostedPassage(_passage(each), each["hash"])
            for each in candidates
            if each["document_id"] is not None
        },
    )


def passages(connection: Asked, user: UUID, chunk_ids: Sequence[int]) -> dict[int, HostedPassage]:
    """Chunks with their places, by id; those that are gone are left out."""
    rows = connection.rows(_PASSAGES, (user, list(chunk_ids)))
    return {row[0]: HostedPassage(Passage(row[0], DocumentId(str(row[1])), *row[2:11]), row[11]) for row in rows}


def fingerprints(connection: Asked, user: UUID, collection: str) -> dict[str, list[str]]:
    """For each document of a collection that has chunks, by its id, what tells them; as `storage.chunks.fingerprints`."""
    return dict(connection.rows(_FINGERPRINTS, (user, collection)))


def _ranked(candidates: Sequence[dict[str, Any]], score: str) -> dict[int, float]:
    scored = [(-float(each[score]), each["chunk_id"]) for each in candidates if each[score] is not None]
    return {chunk_id: -negative for negative, chunk_id in sorted(scored)}


def _passage(told: dict[str, Any]) -> Passage:
    return Passage(
        chunk_seq=told["chunk_id"],
        document_id=DocumentId(told["document_id"]),
        document=told["name"],
        path=told["path"],
        title=told["title"],
        heading=told["heading"],
        start=told["start_char"],
        end=told["end_char"],
        line=told["line"],
        page=told["page"],
        text=told["content"],
    )
