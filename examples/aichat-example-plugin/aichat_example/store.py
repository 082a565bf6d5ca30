"""A store of vectors in one file, searched by comparing with all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aichat_cli.plugins import Matrix, Neighbour, StoreSurroundings


class NpzStore:
    """The vectors of one collection."""

    def __init__(self, surroundings: StoreSurroundings) -> None:
        self._path = surroundings.folder / f"{surroundings.collection}.npz"
        self._seqs = np.empty(0, np.int64)
        self._vectors: Matrix = np.empty((0, surroundings.dimensions), np.float32)
        if self._path.exists():
            with np.load(self._path) as kept:
                self._seqs, self._vectors = kept["seqs"], kept["vectors"]

    def add(self, chunk_seqs: Sequence[int], vectors: Matrix) -> None:
        """Vectors have length 1; zeros, which are like nothing, are left out."""
        lengths = np.linalg.norm(vectors, axis=1)
        kept = lengths > 0
        self._seqs = np.concatenate((self._seqs, np.asarray(chunk_seqs, np.int64)[kept]))
        self._vectors = np.concatenate((self._vectors, vectors[kept] / lengths[kept, None])).astype(np.float32)

    def remove(self, chunk_seqs: Sequence[int]) -> None:
        """Chunks that it does not have are no error."""
        kept = ~np.isin(self._seqs, np.asarray(chunk_seqs, np.int64))
        self._seqs, self._vectors = self._seqs[kept], self._vectors[kept]

    def settle(self) -> None:
        """What was added and removed is to stay: the new file or the old one, whatever happens meanwhile."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".tmp.npz")
        np.savez(written, seqs=self._seqs, vectors=self._vectors)
        written.replace(self._path)

    def nearest(self, query: Matrix, limit: int) -> list[Neighbour]:
        """Equal ones in the order of their chunks."""
        length = float(np.linalg.norm(query))
        cosines = self._vectors @ (query[0] / (length or 1.0))
        order = np.lexsort((self._seqs, -cosines))[:limit]
        return [Neighbour(int(self._seqs[place]), float(cosines[place])) for place in order]

    def count(self) -> int:
        """How many it holds."""
        return len(self._seqs)

    def maintain(self) -> None:
        """There is no index to make anew."""

    def seqs(self) -> list[int]:
        """What it holds."""
        return [int(seq) for seq in self._seqs]

    def clear(self) -> None:
        """The file is all there is."""
        self._path.unlink(missing_ok=True)
