"""The vectors of a collection in the local database: sqlite-vec finds candidates by int8 vectors, the stored float16
vectors rank them exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from aichat_cli.core.documents import Collection, CollectionSeq
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.vectors import Neighbour
from aichat_cli.storage import chunks, vectors
from aichat_cli.storage.database import Database

REBUILT_TOGETHER = 5000
SPARE = 2
"""So many times the wanted number are taken from the index, to be ranked exactly."""


class SqliteVectors:
    """A `VectorStore` in SQLite.

    Args:
        database: a connection of the calling thread.
    """

    def __init__(self, database: Database, collection: CollectionSeq) -> None:
        self._database = database
        self._collection = collection

    def add(self, chunk_seqs: Sequence[int], vectors_: Matrix) -> None:
        """Add vectors; see `VectorStore.add`."""
        kept = [row for row in range(len(chunk_seqs)) if vectors_[row].any()]
        chunks.add_vectors(self._database, ((chunk_seqs[row], packed(vectors_[row])) for row in kept))
        vectors.add(self._database, self._collection, ((chunk_seqs[row], quantised(vectors_[row])) for row in kept))

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Take vectors out; see `VectorStore.remove`."""
        vectors.remove(self._database, self._collection, chunk_seqs)
        chunks.remove_vectors(self._database, chunk_seqs)

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """The nearest; see `VectorStore.nearest`."""
        import numpy as np

        found = vectors.nearest(self._database, self._collection, quantised(query[0]), SPARE * limit)
        exact = chunks.vectors_of(self._database, [seq for seq, _ in found])
        if not exact:
            return []
        matrix = np.stack([unpacked(vector) for vector in exact.values()])
        similarities = matrix @ query[0]
        ranked = sorted(zip(exact, similarities.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
        return [Neighbour(seq, similarity) for seq, similarity in ranked[:limit]]

    def count(self) -> int:
        """How many vectors; see `VectorStore.count`."""
        return vectors.count(self._database, self._collection)

    def maintain(self) -> None:
        """Nothing to do while all are compared with all; see `VectorStore.maintain`."""


def rebuild(database: Database, collection: Collection) -> None:
    """Make the index anew from the stored vectors, inside the caller's transaction."""
    if collection.dimensions is None:
        return
    vectors.drop(database, collection.seq)
    vectors.create(database, collection.seq, collection.dimensions)
    after = 0
    while stored := chunks.stored_vectors(database, collection.seq, after=after, limit=REBUILT_TOGETHER):
        after = max(stored)
        rows = ((chunk_seq, quantised(unpacked(vector))) for chunk_seq, vector in stored.items())
        vectors.add(database, collection.seq, rows)


def quantised(vector: Matrix) -> bytes:
    """A vector of unit length as int8, on a scale of its own: what is compared is its direction."""
    import numpy as np

    largest = float(np.abs(vector).max()) or 1.0
    scaled: bytes = np.rint(vector * (127.0 / largest)).astype(np.int8).tobytes()
    return scaled


def packed(vector: Matrix) -> bytes:
    """A vector as it is stored: little-endian float16."""
    return vector.astype("<f2").tobytes()


def unpacked(stored: bytes) -> Matrix:
    """A stored vector."""
    import numpy as np

    return np.frombuffer(stored, dtype="<f2").astype(np.float32)
