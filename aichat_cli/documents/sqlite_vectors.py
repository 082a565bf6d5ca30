"""The vectors of a collection in the local database: sqlite-vec finds candidates by int8 vectors, the stored float16
vectors rank them exactly.

Up to `FLAT_LIMIT` vectors a query is compared with all of them; beyond that with those of the clusters nearest to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from aichat_cli.core.documents import Collection, CollectionSeq
from aichat_cli.core.interrupts import shielded
from aichat_cli.documents import clusters
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.vectors import Neighbour
from aichat_cli.storage import chunks, vectors
from aichat_cli.storage.database import Database

FLAT_LIMIT = 50_000
PROBES = 32
SPARE = 6
"""So many times the wanted number are taken from the index, to be ranked exactly."""
READ_TOGETHER = 20_000
LARGEST_SIGMA = 5.0
"""Components of a unit vector beyond so many times their usual size are cut off in int8; the exact ranking has them."""


@dataclass(frozen=True, slots=True)
class _Trained:
    """The clusters in use and the training they come from."""

    training: str
    centroids: Matrix


class SqliteVectors:
    """A `VectorStore` in SQLite.

    Args:
        database: a connection of the calling thread.
        flat_limit: how many vectors are searched without clusters.
        probes: how many clusters are looked into for a query.
    """

    def __init__(
        self, database: Database, collection: Collection, *, flat_limit: int = FLAT_LIMIT, probes: int = PROBES
    ) -> None:
        self._database = database
        self._collection = collection
        self._flat_limit = flat_limit
        self._probes = probes
        self._trained: _Trained | None = None

    def add(self, chunk_seqs: Sequence[int], vectors_: Matrix) -> None:
        """Add vectors; see `VectorStore.add`."""
        kept = [row for row in range(len(chunk_seqs)) if vectors_[row].any()]
        seqs = [chunk_seqs[row] for row in kept]
        chunks.add_vectors(self._database, ((seq, packed(vectors_[row])) for seq, row in zip(seqs, kept, strict=True)))
        if kept:
            _index(self._database, self._collection.seq, seqs, vectors_[kept], self._centroids())

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Take vectors out; see `VectorStore.remove`."""
        vectors.remove(self._database, self._collection.seq, chunk_seqs)
        chunks.remove_vectors(self._database, chunk_seqs)

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """The nearest; see `VectorStore.nearest`."""
        import numpy as np

        found = self._candidates(query, SPARE * limit)
        exact = chunks.vectors_of(self._database, [seq for seq, _ in found])
        if not exact:
            return []
        stored = np.frombuffer(b"".join(exact.values()), dtype="<f2").reshape(len(exact), -1).astype(np.float32)
        similarities = (stored @ query[0]).tolist()
        ranked = sorted(zip(exact, similarities, strict=True), key=lambda pair: (-pair[1], pair[0]))
        return [Neighbour(seq, similarity) for seq, similarity in ranked[:limit]]

    def count(self) -> int:
        """How many vectors; see `VectorStore.count`."""
        return vectors.count(self._database, self._collection.seq)

    def maintain(self) -> None:
        """Gather a collection that has grown in clusters, or in new ones; see `VectorStore.maintain`.

        The clusters are found while others write; only putting the vectors in their places is one transaction.
        """
        number = self.count()
        known = vectors.clusters(self._database, self._collection.seq)
        if number <= self._flat_limit or (known is not None and number < 2 * known.trained_on):
            return
        sample = _sample(self._database, self._collection.seq, clusters.cluster_count(number))
        centroids = clusters.trained(sample, clusters.cluster_count(number))
        with shielded(), self._database.transaction():
            _fill(self._database, self._collection, centroids, trained_on=number)

    def _candidates(self, query: Matrix, limit: int) -> list[tuple[int, float]]:
        centroids = self._centroids()
        if centroids is None:
            return vectors.nearest(self._database, self._collection.seq, quantised(query)[0].tobytes(), limit)
        probed = clusters.nearest_clusters(query, centroids, self._probes)
        return vectors.nearest_in_clusters(
            self._database, self._collection.seq, quantised(query)[0].tobytes(), probed, limit
        )

    def _centroids(self) -> Matrix | None:
        """The centres in use, None where the index is flat; read again where another process found new ones."""
        training = vectors.training(self._database, self._collection.seq)
        if training is None:
            return None
        if self._trained is None or self._trained.training != training:
            known = vectors.clusters(self._database, self._collection.seq)
            assert known is not None
            self._trained = _Trained(known.training, _matrix(known.centroids, self._collection))
        return self._trained.centroids


def rebuild(database: Database, collection: Collection) -> None:
    """Make the index anew from the stored vectors, inside the caller's transaction."""
    if collection.dimensions is None:
        return
    known = vectors.clusters(database, collection.seq)
    is_usable = known is not None and len(known.centroids) % (4 * collection.dimensions) == 0
    if known is not None and is_usable:
        _fill(database, collection, _matrix(known.centroids, collection), trained_on=known.trained_on)
    else:
        _fill(database, collection, None, trained_on=0)


def quantised(vectors_: Matrix) -> Matrix:
    """Unit vectors, shape (n, dimensions), as int8 of one scale for all."""
    import numpy as np

    largest = min(1.0, LARGEST_SIGMA / float(vectors_.shape[1]) ** 0.5)
    return np.clip(np.rint(vectors_ * (127.0 / largest)), -127, 127).astype(np.int8)  # type: ignore[no-any-return]


def packed(vector: Matrix) -> bytes:
    """A vector as it is stored: little-endian float16."""
    return vector.astype("<f2").tobytes()


def unpacked(stored: bytes) -> Matrix:
    """A stored vector."""
    import numpy as np

    return np.frombuffer(stored, dtype="<f2").astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Block:
    """Stored vectors with the seqs of their chunks."""

    chunk_seqs: list[int]
    matrix: Matrix


def _blocks(database: Database, collection: CollectionSeq) -> Iterator[_Block]:
    import numpy as np

    after = 0
    while stored := chunks.stored_vectors(database, collection, after=after, limit=READ_TOGETHER):
        after = max(stored)
        matrix = np.frombuffer(b"".join(stored.values()), dtype="<f2").reshape(len(stored), -1).astype(np.float32)
        yield _Block(list(stored), matrix)


def _sample(database: Database, collection: CollectionSeq, count: int) -> Matrix:
    """About as many vectors as training needs, from all parts of the collection."""
    import numpy as np

    wanted = count * clusters.SAMPLE_PER_CLUSTER
    stored = chunks.sampled_vectors(database, collection, limit=wanted)
    return np.frombuffer(b"".join(stored), dtype="<f2").reshape(len(stored), -1).astype(np.float32)


def _fill(database: Database, collection: Collection, centroids: Matrix | None, *, trained_on: int) -> None:
    """Make the index anew, with these clusters or flat, inside the caller's transaction."""
    assert collection.dimensions is not None
    vectors.drop(database, collection.seq)
    if centroids is None:
        vectors.create(database, collection.seq, collection.dimensions)
    else:
        vectors.create_clustered(
            database,
            collection.seq,
            collection.dimensions,
            centroids=centroids.astype("<f4").tobytes(),
            trained_on=trained_on,
        )
    for block in _blocks(database, collection.seq):
        _index(database, collection.seq, block.chunk_seqs, block.matrix, centroids)


def _index(
    database: Database, collection: CollectionSeq, seqs: Sequence[int], matrix: Matrix, centroids: Matrix | None
) -> None:
    rows = [row.tobytes() for row in quantised(matrix)]
    if centroids is None:
        vectors.add(database, collection, zip(seqs, rows, strict=True))
        return
    members = clusters.assigned(matrix, centroids).tolist()
    # Neighbours are written one after the other: each cluster is a place of its own in the file.
    vectors.add_clustered(database, collection, sorted(zip(seqs, members, rows, strict=True), key=itemgetter(1)))


def _matrix(centroids: bytes, collection: Collection) -> Matrix:
    import numpy as np

    assert collection.dimensions is not None
    return np.frombuffer(centroids, dtype="<f4").reshape(-1, collection.dimensions)
