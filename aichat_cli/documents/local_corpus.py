"""A collection of the local database as a search sees it: FTS5, and the vectors beside it or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aichat_cli.core.documents import Collection, Passage
from aichat_cli.documents import query as queries
from aichat_cli.documents.corpus import Found
from aichat_cli.documents.embedding.base import Embedder, Matrix
from aichat_cli.documents.reranking import rerank_similarities
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.documents.vectors import UNREACHABLE, Neighbour, VectorStore
from aichat_cli.storage import chunks, collections
from aichat_cli.storage.database import Database


class LocalCorpus:
    """A `Corpus` in SQLite.

    Args:
        database: a connection of the calling thread.
        store_for: the vectors of the collection.
    """

    def __init__(
        self,
        database: Database,
        collection: Collection,
        store_for: Callable[[Database, Collection], VectorStore] = SqliteVectors,
    ) -> None:
        self._database = database
        self._collection = collection
        self._store_for = store_for

    @property
    def embedding_model(self) -> str | None:
        """The model of the collection."""
        return self._collection.embedding_model

    def find(self, words: Sequence[str], vector: Matrix | None, limit: int, *, shown: int) -> Found:  # noqa: ARG002
        """The candidates; see `Corpus.find`."""
        asked = [queries.Word(word, stem) for word, stem in zip(words, self.stems(words), strict=True)]
        seq = self._collection.seq
        frequencies = chunks.document_frequencies(self._database, seq, [word.stem for word in asked])
        telling = queries.telling(asked, frequencies)
        by_words = chunks.matching(self._database, seq, queries.expression(telling), limit) if telling.finding else []
        nearest, notice = ([], None) if vector is None else self._nearest(vector, limit)
        return Found(asked, frequencies, self._collection.chunk_count, dict(by_words), nearest, notice)

    def passages(self, chunk_seqs: Sequence[int]) -> dict[int, Passage]:
        """Chunks with their places."""
        return chunks.passages(self._database, chunk_seqs)

    def stems(self, words: Sequence[str]) -> list[str]:
        """Words as FTS5 has them."""
        return chunks.stems(self._database, words)

    def compared(self, chunk_seqs: Sequence[int], query: Matrix, model: Embedder, *, most_new: int) -> dict[int, float]:
        """The cosines by another model; see `Corpus.compared`. What is made for them is kept."""
        return rerank_similarities(self._database, chunk_seqs, query, model, most_new=most_new)

    def _nearest(self, vector: Matrix, limit: int) -> tuple[list[Neighbour], str | None]:
        """The nearest, or why they cannot be told: the words are here wherever the vectors are."""
        try:
            return self._store_for(self._database, self._collection).nearest(vector, limit), None
        except UNREACHABLE as error:
            return [], f"Searched by words alone: {error.message} {error.hint or ''}".rstrip()


def local_corpus(
    database: Database, name: str, store_for: Callable[[Database, Collection], VectorStore] = SqliteVectors
) -> LocalCorpus:
    """The collection of that name in the local database; raises NotFound."""
    return LocalCorpus(database, collections.get(database, name), store_for)
