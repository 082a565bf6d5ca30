"""What a place elsewhere does for the vectors of collections. Everything else about it is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from aichat_cli.core.struct import Struct
from aichat_cli.documents.embedding.base import Matrix

OF_A_SAMPLE = 100
"""Vectors that `Place.is_like` is asked about, at most."""


class FoundIndex(Struct, frozen=True):
    """Where vectors of some dimensions are kept at a place.

    Attributes:
        host: how the place finds it again.
        is_new: whether it was made for them.
    """

    name: str
    host: str
    is_new: bool = False


class Place(Protocol):
    """Namespaces of vectors, each in an index that is known by its host. Vectors have ids, numbers as text.

    Whatever is asked raises one of `documents.vectors.UNREACHABLE`.
    """

    name: str
    """As collections and namespaces have it."""
    count_patience: float
    """Seconds that its count may stand still although it is not through with what was sent."""

    def told(self, index_name: str) -> str:
        """What messages call an index, at the beginning of a sentence."""
        ...

    def index_for(self, dimensions: int) -> FoundIndex:
        """Where vectors of some dimensions are kept."""
        ...

    def indexes(self) -> list[str]:
        """The names of all indexes there are."""
        ...

    def upsert(self, host: str, namespace: str, ids: Sequence[str], vectors: Matrix) -> None:
        """Put vectors there, any number of them, in the place of those that have the ids."""
        ...

    def delete(self, host: str, namespace: str, ids: Sequence[str]) -> None:
        """Delete vectors, any number of them; those that are not there are no error."""
        ...

    def delete_namespace(self, host: str, namespace: str) -> None:
        """Delete a namespace with its vectors; one that is not there is no error."""
        ...

    def nearest(self, host: str, namespace: str, query: Sequence[float], limit: int) -> list[str]:
        """The ids of the vectors nearest to a query, about `limit` of them."""
        ...

    def count(self, host: str, namespace: str) -> int:
        """How many vectors a namespace has; what is new may not be counted yet."""
        ...

    def ids(self, host: str, namespace: str) -> Iterator[list[str]]:
        """The ids of all vectors of a namespace, some at a time."""
        ...

    def is_like(self, host: str, namespace: str, vectors: Mapping[str, Matrix]) -> bool:
        """Whether some vectors, by their ids, are there as they are here."""
        ...


PlaceFor = Callable[[str], Place]
"""The place of a name; raises ConfigError where there is none."""
