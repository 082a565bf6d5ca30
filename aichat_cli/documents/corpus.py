"""What a search asks of a collection, wherever its chunks are: in the local database, or on a hosted Postgres.

`tests/documents/corpus_contract.py` is what each has to keep. What is fused, judged and shown is the same for all of them,
in `search.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from aichat_cli.core.documents import Passage
from aichat_cli.core.struct import Struct
from aichat_cli.documents.embedding.base import Embedder, Matrix
from aichat_cli.documents.query import Word
from aichat_cli.documents.vectors import Neighbour
from aichat_cli.storage.database import Database


class Found(Struct, frozen=True):
    """The candidates for the answer to one query, before they are fused.

    Attributes:
        words: of the query, with their stems, in their order.
        frequencies: in how many chunks each stem is; those that are in none may be left out.
        chunk_count: of the collection.
        by_words: scores of chunks that hold the words, by their seq, best first; higher is better.
        nearest: the nearest by their vectors, nearest first; empty where no vector was given.
        notice: why there are none, where a vector was given and what finds the nearest cannot be asked.
    """

    words: list[Word]
    frequencies: dict[str, int]
    chunk_count: int
    by_words: dict[int, float]
    nearest: list[Neighbour]
    notice: str | None = None


class Corpus(Protocol):
    """One collection of documents, as a search sees it. Chunks have numbers of their own in each corpus."""

    @property
    def embedding_model(self) -> str | None:
        """The model of its vectors, None where there are none. One elsewhere may learn better when it is first asked."""
        ...

    def find(self, words: Sequence[str], vector: Matrix | None, limit: int, *, shown: int) -> Found:
        """The best `limit` by words and the nearest `limit` to a vector.

        Args:
            words: of the query, in lower case, each once.
            vector: of the query, shape (1, d); None searches by words alone.
            shown: how many of the best will be wanted as passages.
        """
        ...

    def passages(self, chunk_seqs: Sequence[int]) -> dict[int, Passage]:
        """Chunks with their places; those that are gone are left out."""
        ...

    def stems(self, words: Sequence[str]) -> list[str]:
        """Words as they are compared, in the same order."""
        ...

    def compared(self, chunk_seqs: Sequence[int], query: Matrix, model: Embedder, *, most_new: int) -> dict[int, float]:
        """The cosines of chunks with a query by another model, by seq; see `reranking.rerank_similarities`.

        Raises:
            EmbeddingError: the model is not here or does not run.
        """
        ...


CorpusFor: TypeAlias = Callable[[Database, str], Corpus]
"""The corpus of a collection by its name; the database is a connection of the calling thread. Raises NotFound."""
