"""The vectors of a collection in the local database: sqlite-vec finds candidates by int8 vectors, the stored float16
vectors rank them exactly.

Up to `FLAT_LIMIT` vectors a query is compared with all of them; beyond that with those of the clusters nearest to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aichat_cli.core.documents import Collection
from aichat_cli.core.errors import StorageError
from aichat_cli.core.struct import Struct
from aichat_cli.documents import clusters, index_building
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.index_building import FLAT_LIMIT, is_complete, mend, rebuild
from aichat_cli.documents.quantising import packed, quantised, unpacked, unpacked_rows
from aichat_cli.documents.vectors import Neighbour
from aichat_cli.storage import chunks, namespaces, vectors
from aichat_cli.storage.database import Database
from aichat_cli.storage.vectors import VectorIndex

PROBES = 8
COMPARED = 4_500
"""As many clusters are looked into as hold about so many vectors, but at least `PROBES`: where clusters are small, so few of
them hold too few of the nearest."""
SPARE = 30
"""So many more than wanted are taken from the index, to be ranked exactly: with them int8 loses none. sqlite-vec goes
through each cluster once for each of them, so they are not for free."""


class _Clusters(Struct, frozen=True):
    """The centres in use and the index they belong to."""

    index_seq: int
    centroids: Matrix


class SqliteVectors:
    """A `VectorStore` in SQLite.

    Args:
        database: a connection of the calling thread.
        flat_limit: how many vectors are searched without clusters.
        probes: how many clusters are looked into for a query, at least.
        compared: how many vectors are compared with a query, at least and about.
    """

    def __init__(
        self,
        database: Database,
        collection: Collection,
        *,
        flat_limit: int = FLAT_LIMIT,
        probes: int = PROBES,
        compared: int = COMPARED,
    ) -> None:
        self._database = database
        self._collection = collection
        self._flat_limit = flat_limit
        self._probes = probes
        self._compared = compared
        self._clusters: _Clusters | None = None

    def add(self, chunk_seqs: Sequence[int], vectors_: Matrix) -> None:
        """Add vectors; see `VectorStore.add`."""
        kept = [row for row in range(len(chunk_seqs)) if vectors_[row].any()]
        seqs = [chunk_seqs[row] for row in kept]
        if not seqs:
            return
        chunks.add_vectors(self._database, ((seq, packed(vectors_[row])) for seq, row in zip(seqs, kept, strict=True)))
        self._for_each_index(
            lambda index: index_building.insert(self._database, index, seqs, vectors_[kept], self._centroids(index))
        )
        namespaces.note(self._database, self._collection.seq, seqs)

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Take vectors out; see `VectorStore.remove`."""
        chunks.remove_vectors(self._database, chunk_seqs)
        self._for_each_index(lambda index: vectors.remove(self._database, index, chunk_seqs))
        namespaces.note(self._database, self._collection.seq, chunk_seqs)

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """The nearest; see `VectorStore.nearest`. An index that was lost or damaged is made anew."""
        try:
            return self._nearest(query, limit)
        except StorageError as error:
            # Its kinds say that the whole file is locked or damaged.
            if type(error) is not StorageError or is_complete(self._database, self._collection):
                raise
            if not mend(self._database, self._collection):
                raise vectors.lost(self._database, self._collection.seq) from error
        return self._nearest(query, limit)

    def count(self) -> int:
        """How many vectors; see `VectorStore.count`."""
        return vectors.count(self._database, vectors.searched(self._database, self._collection.seq))

    def maintain(self) -> None:
        """Gather a collection that has grown in clusters, or in new ones; see `VectorStore.maintain`."""
        index_building.maintain(self._database, self._collection, flat_limit=self._flat_limit)

    def settle(self) -> None:
        """Nothing is left to be done; see `VectorStore.settle`."""

    def _nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        with self._database.snapshot():
            return ranked(self._database, self._candidates(query, SPARE + limit), query, limit)

    def _candidates(self, query: Matrix, limit: int) -> list[int]:
        index = vectors.searched(self._database, self._collection.seq)
        centroids = self._centroids(index)
        sought = quantised(query)[0].tobytes()
        if centroids is None:
            return vectors.nearest(self._database, index, sought, limit)
        probes = max(self._probes, round(self._compared * len(centroids) / max(index.trained_on, 1)))
        probed = clusters.nearest_clusters(query, centroids, probes)
        return vectors.nearest_in_clusters(self._database, index, sought, probed, limit)

    def _centroids(self, index: VectorIndex) -> Matrix | None:
        """The centres of an index, None where it is flat; those of the one that is searched are kept at hand."""
        if not index.has_clusters:
            return None
        if self._clusters is not None and self._clusters.index_seq == index.seq:
            return self._clusters.centroids
        found = index_building.centroids(self._database, index, self._collection)
        if index.is_searched and found is not None:
            self._clusters = _Clusters(index.seq, found)
        return found

    def _for_each_index(self, change: Callable[[VectorIndex], None]) -> None:
        """Change the index that is searched and one that is being filled; damaged ones are made anew instead.

        A collection that is searched elsewhere has none, or one that is being filled.
        """
        indexes = vectors.of_collection(self._database, self._collection.seq)
        if not indexes or not all(index.has_tables for index in indexes):
            rebuild(self._database, self._collection)
            return
        try:
            for index in indexes:
                change(index)
        except StorageError as error:
            if type(error) is not StorageError or all(vectors.is_whole(self._database, index) for index in indexes):
                raise
            rebuild(self._database, self._collection)


def ranked(database: Database, candidates: Sequence[int], query: Matrix, limit: int) -> list[Neighbour]:
    """Chunks by the cosines of their stored vectors with a query, nearest first, at most so many; those without are left out."""
    exact = chunks.vectors_of(database, candidates)
    if not exact:
        return []
    similarities = (unpacked_rows(list(exact.values())) @ query[0]).tolist()
    ordered = sorted(zip(exact, similarities, strict=True), key=lambda pair: (-pair[1], pair[0]))
    return [Neighbour(seq, similarity) for seq, similarity in ordered[:limit]]


__all__ = ["FLAT_LIMIT", "PROBES", "SqliteVectors", "is_complete", "mend", "packed", "ranked", "rebuild", "unpacked"]
