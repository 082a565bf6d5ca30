"""Where the vectors of a local collection are searched: one interface for SQLite and services that hold nothing else.

`tests/documents/vector_contract.py` is what each store has to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aichat_cli.core.errors import AichatError, ApiKeyError, ConfigError, ProviderError, RateLimited
from aichat_cli.core.struct import Struct
from aichat_cli.documents.embedding.base import Matrix

UNREACHABLE = (ApiKeyError, ConfigError, ProviderError, RateLimited)
"""What a store elsewhere raises where it cannot be asked, or does not answer as it should."""


def unsettled_text(error: AichatError) -> str:
    """What is told where changes cannot be brought to where the vectors are."""
    return (f"Changes are kept on this device until they can be sent: {error.message} {error.hint or ''}").rstrip()


class Neighbour(Struct, frozen=True):
    """A chunk and the cosine of its vector with the query's."""

    chunk_seq: int
    similarity: float


class VectorStore(Protocol):
    """The vectors of one collection (a namespace, where a service has those), by the seq of their chunk.

    A store keeps numbers alone: text and everything else about a chunk is in the database, and so are the vectors
    themselves. `add` and `remove` are part of the caller's transaction. A store elsewhere notes in it what is to be done
    there, and `settle` does it: what an interruption or a far end that is down left out is done by the next `settle`, and
    until then searched here. A vector there whose chunk is gone is passed over.
    """

    def add(self, chunk_seqs: Sequence[int], vectors: Matrix) -> None:
        """Add vectors of chunks that have none yet, any number of them; rows of zeros are left out.

        A store that takes only so many in one call cuts them up itself.
        """
        ...

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Take vectors out, any number of them; chunks without one are no error."""
        ...

    def settle(self) -> None:
        """After a transaction that added or removed: do it where the vectors are searched, if that is elsewhere.

        Raises:
            AichatError: one of `UNREACHABLE`; what is to be done stays noted.
        """
        ...

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """The nearest to one query, shape (1, dimensions), by their cosines, nearest first, at most `limit` (1 or more).

        Equal ones come in the order of their seqs. A large collection may be searched in part: of the true nearest at
        least 95 of 100 are found.

        Raises:
            AichatError: one of `UNREACHABLE`, where the vectors are elsewhere.
        """
        ...

    def count(self) -> int:
        """How many vectors it holds, of what is settled; one elsewhere may take a moment to count what is new."""
        ...

    def maintain(self) -> None:
        """After many changes: make the index anew where that makes it faster. Outside a transaction; others may read
        and write meanwhile, and it may be killed at any moment.
        """
        ...
