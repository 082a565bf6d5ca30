"""The vectors of a collection that is searched elsewhere: the place there finds candidates, the stored vectors rank them exactly.

A collection has a namespace of its own, named by the ids of its profile and of the collection and by chance. The id of a
collection is made at random on each device, also where sync keeps the collections of two devices alike: no name that a
user gave is told, and no two devices write into one namespace. They do not share one either, since vectors are known there
by the numbers of their chunks, which are those of one database. Only a copy of the database file has the same namespace.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from shlex import quote

from aichat_cli.core.documents import Collection
from aichat_cli.core.errors import BadResponse
from aichat_cli.core.interrupts import shielded
from aichat_cli.documents.elsewhere.place import Place, PlaceFor
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.quantising import unpacked_rows
from aichat_cli.documents.sqlite_vectors import SPARE, SqliteVectors, ranked
from aichat_cli.documents.vectors import Neighbour
from aichat_cli.storage import chunks, namespaces, vectors
from aichat_cli.storage.database import Database
from aichat_cli.storage.namespaces import Namespace

SETTLED_SECONDS = 120
"""After that long every answer shows what was sent; usually it takes a few seconds."""
SENT_TOGETHER = 4000


class VectorsElsewhere:
    """A `VectorStore` elsewhere.

    Args:
        database: a connection of the calling thread.
    """

    def __init__(self, database: Database, collection: Collection, place_for: PlaceFor) -> None:
        self._database = database
        self._collection = collection
        self._place_for = place_for
        self._here = SqliteVectors(database, collection)

    def add(self, chunk_seqs: Sequence[int], vectors_: Matrix) -> None:
        """Add vectors; see `VectorStore.add`."""
        self._here.add(chunk_seqs, vectors_)

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Take vectors out; see `VectorStore.remove`."""
        self._here.remove(chunk_seqs)

    def settle(self) -> None:
        """Send what was changed; see `VectorStore.settle`. What another process is sending is left to it."""
        namespace = self._searched()
        if namespace is None or not namespaces.unsent(self._database, namespace, limit=1):
            return
        if not namespaces.claim(self._database, self._collection.seq):
            return
        try:
            send_changes(self._database, namespace, self._place_for(namespace.place))
        finally:
            namespaces.release(self._database, self._collection.seq)

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """The nearest; see `VectorStore.nearest`. What an answer may not show yet is looked up here."""
        namespace = self._searched()
        if namespace is None:
            return []
        new = namespaces.unsettled(self._database, namespace, since=int(time.time()) - SETTLED_SECONDS)
        wanted = limit + SPARE + len(new)
        place = self._place_for(namespace.place)
        ids = place.nearest(namespace.host, namespace.name, query[0].tolist(), wanted)
        found = [int(each) for each in ids if each.isdecimal()]
        with self._database.snapshot():
            nearest = ranked(self._database, list({*found, *new}), query, limit)
            is_answer = bool(chunks.vectors_of(self._database, found))
            stored = vectors.stored_count(self._database, self._collection.seq)
        if not is_answer and stored > len(new):
            raise BadResponse(
                f'{place.told(namespace.index_name)} has none of the vectors of "{self._collection.name}".',
                hint=f"Run: aichat docs migrate --to {quote(namespace.place)} --collection {quote(self._collection.name)}",
            )
        return nearest

    def count(self) -> int:
        """How many vectors; see `VectorStore.count`."""
        namespace = self._searched()
        return 0 if namespace is None else self._place_for(namespace.place).count(namespace.host, namespace.name)

    def maintain(self) -> None:
        """Nothing is to be done there; see `VectorStore.maintain`."""

    def _searched(self) -> Namespace | None:
        return namespaces.find(self._database, self._collection.seq, "searched")


def send_changes(database: Database, namespace: Namespace, place: Place) -> None:
    """Send what was changed and is not sent; by one process at a time, outside a transaction. Raises as the place does."""
    while changes := namespaces.unsent(database, namespace, limit=SENT_TOGETHER):
        stored = chunks.vectors_of(database, [chunk_seq for _, chunk_seq in changes])
        gone = [str(chunk_seq) for _, chunk_seq in changes if chunk_seq not in stored]
        if stored:
            send_vectors(namespace, place, stored)
        if gone:
            place.delete(namespace.host, namespace.name, gone)
        with shielded(), database.transaction():
            namespaces.mark_sent(database, [change for change, _ in changes], int(time.time()))
    namespaces.forget_sent(database, namespace, before=int(time.time()) - SETTLED_SECONDS)


def send_vectors(namespace: Namespace, place: Place, stored: dict[int, bytes]) -> None:
    """Send stored vectors, by the seqs of their chunks; raises as the place does."""
    place.upsert(namespace.host, namespace.name, [str(seq) for seq in stored], unpacked_rows(list(stored.values())))
