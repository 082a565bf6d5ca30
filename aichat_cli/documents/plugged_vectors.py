"""Stores of vectors that other packages add: what one is made from, and its answers, checked before they are believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import index as as_int
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aichat_cli.config import plugins
from aichat_cli.config.plugins import VECTOR_STORES, Plugin
from aichat_cli.core.errors import AichatError, BadResponse, ConfigError, TimedOut
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, field
from aichat_cli.documents.abandonable import Abandonable
from aichat_cli.documents.elsewhere.place import FoundIndex
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.vectors import UNREACHABLE, Neighbour, VectorStore

_T = TypeVar("_T")
_METHODS = ("add", "remove", "settle", "nearest", "count", "maintain", "seqs", "clear")
ASK_SECONDS = 15.0
"""For an answer to a search."""
_SEEN_AMONG = 30
"""So many of the nearest to a vector are looked through for the vector itself: texts that are the same have the same."""
_COMPARED = 10
_SAME = 0.999


class StoreSurroundings(Struct, frozen=True):
    """What a store of another package is made from: one for each collection.

    Attributes:
        collection: names the vectors of one collection; no other has it, and it is another whenever they are moved anew.
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


class PluggedStore(VectorStore, Protocol):
    """A `VectorStore` of another package, which tells what it holds, and lets go of it.

    One is made for each thing that is asked, in the thread that asks it, so that it sees what other processes did. What is
    settled is counted, listed and found from then on.
    """

    def seqs(self) -> Sequence[int]:
        """The chunks that it holds vectors of."""
        ...

    def clear(self) -> None:
        """Delete all vectors of the collection for good, files included; without any it is no error."""
        ...


def open_store(name: str, surroundings: StoreSurroundings) -> PluggedStore:
    """The store of that name for one collection.

    Raises:
        ConfigError: there is none, two packages add it, or it is broken; its methods raise it too.
    """
    plugin, make = _maker(name)
    with plugins.failing(plugin, "cannot be made"):
        store = make(surroundings)
    if not all(callable(getattr(store, method, None)) for method in _METHODS):
        raise plugins.wrong(plugin, "PluggedStore", store)
    return _Plugged(plugin, store)


def _maker(name: str) -> tuple[Plugin, Callable[[StoreSurroundings], PluggedStore]]:
    plugin = plugins.find(VECTOR_STORES, name)
    if plugin is None:
        known = ", ".join(plugins.names(VECTOR_STORES)) or "none"
        raise ConfigError(
            f'No package adds a vector store "{name}"; there are: {known}.',
            hint="Install the package that does, or search on this device again: aichat docs migrate --to local",
        )
    make = plugins.load(plugin)
    if not callable(make):
        raise plugins.wrong(plugin, "function that makes a PluggedStore", make)
    return plugin, make


class _Plugged:
    """A store of another package, as `PluggedStore`."""

    def __init__(self, plugin: Plugin, store: PluggedStore) -> None:
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
        plain = self._called(lambda: [Neighbour(as_int(each.chunk_seq), float(each.similarity)) for each in found])
        return sorted(plain, key=lambda each: (-each.similarity, each.chunk_seq))[:limit]

    def count(self) -> int:
        """How many it holds."""
        return self._called(lambda: as_int(self._store.count()))

    def maintain(self) -> None:
        """Let it tidy up."""
        self._called(self._store.maintain)

    def seqs(self) -> list[int]:
        """What it holds."""
        return self._called(lambda: [as_int(seq) for seq in self._store.seqs()])

    def clear(self) -> None:
        """Have it let go of everything."""
        self._called(self._store.clear)

    def _called(self, call: Callable[[], _T]) -> _T:
        with plugins.failing(self._plugin):
            try:
                return call()
            except UNREACHABLE:
                raise
            except AichatError as error:
                raise BadResponse(f"{self._plugin.title} failed: {error.message}", hint=error.hint) from None


class PluggedPlace:
    """The stores of one name as a `Place`; a namespace is a store, its host the dimensions of its vectors.

    Args:
        name: of the entry point.
        surroundings: of a store, from a name for its vectors and their dimensions; raises ConfigError.
        patience: seconds that a search is waited for.
    """

    count_patience = 0.0

    def __init__(
        self, name: str, surroundings: Callable[[str, int], StoreSurroundings], *, patience: float = ASK_SECONDS
    ) -> None:
        self.name = name
        self._surroundings = surroundings
        self._patience = patience

    def told(self, index_name: str) -> str:
        """What messages call it."""
        return f'The vector store "{index_name}"'

    def index_for(self, dimensions: int) -> FoundIndex:
        """There is one for any dimensions; raises ConfigError where no package adds it, or two."""
        _maker(self.name)
        return FoundIndex(self.name, str(dimensions))

    def indexes(self) -> list[str]:
        """Its own name: nothing can be known of what is gone with it."""
        return [self.name]

    def upsert(self, host: str, namespace: str, ids: Sequence[str], vectors: Matrix) -> None:
        """Put vectors there; see `Place.upsert`."""
        store, seqs = self._store(host, namespace), [int(each) for each in ids]
        store.remove(seqs)
        store.add(seqs, vectors)
        store.settle()

    def delete(self, host: str, namespace: str, ids: Sequence[str]) -> None:
        """Delete vectors; see `Place.delete`."""
        store = self._store(host, namespace)
        store.remove([int(each) for each in ids])
        store.settle()

    def delete_namespace(self, host: str, namespace: str) -> None:
        """Let go of a store's vectors; see `Place.delete_namespace`."""
        self._store(host, namespace).clear()

    def nearest(self, host: str, namespace: str, query: Sequence[float], limit: int) -> list[str]:
        """The nearest; see `Place.nearest`. One that hangs is given up."""
        import numpy as np

        sought = np.asarray([query], dtype=np.float32)
        asked = Abandonable(lambda _: self._store(host, namespace).nearest(sought, limit))
        try:
            return [str(each.chunk_seq) for each in asked.result(self._patience)]
        except TimeoutError:
            raise TimedOut(f"{self.told(self.name)} did not answer within {self._patience:.0f} s.") from None

    def count(self, host: str, namespace: str) -> int:
        """How many vectors; see `Place.count`."""
        return self._store(host, namespace).count()

    def ids(self, host: str, namespace: str) -> Iterator[list[str]]:
        """All ids; see `Place.ids`."""
        yield [str(seq) for seq in self._store(host, namespace).seqs()]

    def is_like(self, host: str, namespace: str, vectors: Mapping[str, Matrix]) -> bool:
        """Whether some of these vectors are found by themselves; see `Place.is_like`."""
        store = self._store(host, namespace)
        for id_ in list(vectors)[:: max(1, len(vectors) // _COMPARED)]:
            found = store.nearest(vectors[id_].reshape(1, -1), _SEEN_AMONG)
            itself = [each for each in found if each.chunk_seq == int(id_)]
            if not any(each.similarity >= _SAME for each in itself or found):
                return False
        return True

    def _store(self, host: str, namespace: str) -> PluggedStore:
        return open_store(self.name, self._surroundings(namespace, int(host)))
