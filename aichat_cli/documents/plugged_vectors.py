"""Stores of vectors that other packages add: what one is made from, and its answers, checked before they are believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aichat_cli.config import plugins
from aichat_cli.config.plugins import VECTOR_STORES, Plugin
from aichat_cli.core.errors import ConfigError
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, field
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.vectors import Neighbour, VectorStore

_T = TypeVar("_T")
_METHODS = ("add", "remove", "settle", "nearest", "count", "maintain")


class StoreSurroundings(Struct, frozen=True):
    """What a store of another package is made from: one for each collection.

    Attributes:
        collection: the id of the collection, which no other has.
        dimensions: of its vectors.
        folder: of the user's data, to keep files in.
        find_key: the key of a name, None where there is none; raises ConfigError where it cannot be read.
        options: the table `[plugins.NAME]` of the settings file.
    """

    collection: str
    dimensions: int
    folder: Path
    find_key: Callable[[str], Secret | None] = lambda _: None
    options: Mapping[str, Any] = field(default_factory=dict)


def open_store(name: str, surroundings: StoreSurroundings) -> VectorStore:
    """The store of that name for one collection.

    Raises:
        ConfigError: there is none, two packages add it, or it is broken; its methods raise it too.
    """
    plugin = plugins.find(VECTOR_STORES, name)
    if plugin is None:
        known = ", ".join(plugins.names(VECTOR_STORES)) or "none"
        raise ConfigError(f'No package adds a vector store "{name}"; there are: {known}.', hint="Run: aichat doctor")
    make = plugins.load(plugin)
    if not callable(make):
        raise plugins.wrong(plugin, "function that makes a VectorStore", make)
    with plugins.failing(plugin, "cannot be made"):
        store = make(surroundings)
    if not all(callable(getattr(store, method, None)) for method in _METHODS):
        raise plugins.wrong(plugin, "VectorStore", store)
    return _Plugged(plugin, store)


class _Plugged:
    """A store of another package, as `vectors.VectorStore`."""

    def __init__(self, plugin: Plugin, store: VectorStore) -> None:
        self._plugin = plugin
        self._store = store

    def add(self, chunk_seqs: Sequence[int], vectors: Matrix) -> None:
        """Add vectors."""
        self._called(lambda: self._store.add(chunk_seqs, vectors))

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Take vectors out."""
        self._called(lambda: self._store.remove(chunk_seqs))

    def settle(self) -> None:
        """Have it keep what was changed."""
        self._called(self._store.settle)

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """What is near, in the order that every store keeps."""
        found = self._called(lambda: list(self._store.nearest(query, limit)))
        for each in found:
            if not isinstance(each, Neighbour) or not -1.01 <= each.similarity <= 1.01:
                raise plugins.wrong(self._plugin, "vector store: what it finds is no Neighbour", each)
        plain = [Neighbour(int(each.chunk_seq), float(each.similarity)) for each in found]
        return sorted(plain, key=lambda each: (-each.similarity, each.chunk_seq))[:limit]

    def count(self) -> int:
        """How many it holds."""
        return int(self._called(self._store.count))

    def maintain(self) -> None:
        """Let it tidy up."""
        self._called(self._store.maintain)

    def _called(self, call: Callable[[], _T]) -> _T:
        with plugins.failing(self._plugin):
            return call()
