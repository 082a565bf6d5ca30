"""Clusters of vectors: spherical k-means, trained on a sample, and which cluster a vector belongs to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aichat_cli.documents.embedding.base import Matrix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUNDS = 6
SAMPLE_PER_CLUSTER = 40
"""Vectors to train on for each cluster: more find hardly better ones."""
_BLOCK_ROWS = 16_384


def cluster_count(vectors: int) -> int:
    """How many clusters so many vectors are gathered in."""
    return max(1, round(2 * math.sqrt(vectors)))


def trained(sample: Matrix, count: int) -> Matrix:
    """Centres of unit length of a sample, at most `count`, shape (clusters, dimensions). The same for the same sample."""
    import numpy as np

    chance = np.random.default_rng(0)
    count = min(count, len(sample))
    centroids = sample[chance.choice(len(sample), count, replace=False)].copy()
    for _ in range(ROUNDS):
        members = assigned(sample, centroids)
        sums, sizes = _sums(sample, members, count)
        # A cluster nothing belongs to begins again at some vector.
        lonely = np.flatnonzero(sizes == 0)
        sums[lonely] = sample[chance.choice(len(sample), len(lonely))]
        centroids = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return centroids.astype(np.float32)


def _sums(sample: Matrix, members: NDArray[np.intp], count: int) -> tuple[Matrix, NDArray[np.intp]]:
    """The sum of each cluster's vectors, and how many it has."""
    import numpy as np

    order = np.argsort(members, kind="stable")
    sizes = np.bincount(members, minlength=count)
    present = np.flatnonzero(sizes)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))[present]
    sums = np.zeros((count, sample.shape[1]), dtype=np.float32)
    sums[present] = np.add.reduceat(sample[order], starts, axis=0)
    return sums, sizes


def assigned(vectors: Matrix, centroids: Matrix) -> NDArray[np.intp]:
    """The cluster of each vector, shape (n,): that of the nearest centre."""
    import numpy as np

    members = np.empty(len(vectors), dtype=np.intp)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS]
        members[start : start + len(block)] = (block @ centroids.T).argmax(axis=1)
    return members


def nearest_clusters(query: Matrix, centroids: Matrix, count: int) -> list[int]:
    """The clusters whose centres are nearest to a query, shape (1, dimensions)."""
    import numpy as np

    likeness = centroids @ query[0]
    count = min(count, len(centroids))
    best: list[int] = np.argpartition(-likeness, count - 1)[:count].tolist()
    return best
