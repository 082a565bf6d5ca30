"""Where the vectors of a collection are searched: one interface for SQLite, Postgres and Pinecone.

`tests/documents/vector_contract.py` is what each store has to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aichat_cli.documents.embedding.base import Matrix


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A chunk and the cosine of its vector with the query's."""

    chunk_seq: int
    similarity: float


class VectorStore(Protocol):
    """The vectors of one collection, by the seq of their chunk."""

    def add(self, chunk_seqs: Sequence[int], vectors: Matrix) -> None:
        """Add vectors of chunks that have none yet; rows of zeros are left out. Part of the caller's transaction
        where the store has transactions.
        """
        ...

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Take vectors out; chunks without one are no error. Part of the caller's transaction, as `add`."""
        ...

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """The nearest to one query, shape (1, dimensions), nearest first, at most `limit`."""
        ...

    def count(self) -> int:
        """How many vectors it holds."""
        ...

    def maintain(self) -> None:
        """After many changes: make the index anew where that makes it faster. Outside a transaction."""
        ...
