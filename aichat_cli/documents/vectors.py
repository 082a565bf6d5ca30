"""Where the vectors of a local collection are searched: one interface for SQLite and services that hold nothing else.

`tests/documents/vector_contract.py` is what each store has to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aichat_cli.core.struct import Struct
from aichat_cli.documents.embedding.base import Matrix


class Neighbour(Struct, frozen=True):
    """A chunk and the cosine of its vector with the query's."""

    chunk_seq: int
    similarity: float


class VectorStore(Protocol):
    """The vectors of one collection (a namespace, where a service has those), by the seq of their chunk.

    A store keeps numbers alone: text and everything else about a chunk is in the database, and a chunk that is found
    but gone from there is passed over. `add` and `remove` are part of the caller's transaction where the store has
    transactions. Where it has none, chunks are added after the caller's transaction and removed before it, a vector
    without its chunk does no harm, and what an interruption left out is added again from the stored vectors.
    """

    def add(self, chunk_seqs: Sequence[int], vectors: Matrix) -> None:
        """Add vectors of chunks that have none yet, any number of them; rows of zeros are left out.

        A store that takes only so many in one call cuts them up itself.
        """
        ...

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Take vectors out, any number of them; chunks without one are no error."""
        ...

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """The nearest to one query, shape (1, dimensions), by their cosines, nearest first, at most `limit` (1 or more).

        Equal ones come in the order of their seqs. A large collection may be searched in part: of the true nearest at
        least 95 of 100 are found.
        """
        ...

    def count(self) -> int:
        """How many vectors it holds."""
        ...

    def maintain(self) -> None:
        """After many changes: make the index anew where that makes it faster. Outside a transaction; others may read
        and write meanwhile, and it may be killed at any moment.
        """
        ...
