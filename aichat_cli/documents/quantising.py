"""How vectors are written: float16 as they are stored, int8 as they are searched."""

from __future__ import annotations

from aichat_cli.documents.embedding.base import Matrix

LARGEST_SIGMA = 5.0
"""Components of a unit vector beyond so many times their usual size are cut off in int8; the exact ranking has them."""


def quantised(vectors: Matrix) -> Matrix:
    """Unit vectors, shape (n, dimensions), as int8 of one scale for all.

    With a scale for each row, L2 distances between rows would no longer rank as cosines do; sqlite-vec's own cosine
    does, and takes twice the time.
    """
    import numpy as np

    largest = min(1.0, LARGEST_SIGMA / float(vectors.shape[1]) ** 0.5)
    return np.clip(np.rint(vectors * (127.0 / largest)), -127, 127).astype(np.int8)  # type: ignore[no-any-return]


def packed(vector: Matrix) -> bytes:
    """A vector as it is stored: little-endian float16."""
    return vector.astype("<f2").tobytes()


def unpacked(stored: bytes) -> Matrix:
    """A stored vector."""
    import numpy as np

    return np.frombuffer(stored, dtype="<f2").astype(np.float32)


def unpacked_rows(stored: list[bytes]) -> Matrix:
    """Stored vectors, one a row."""
    import numpy as np

    return np.frombuffer(b"".join(stored), dtype="<f2").reshape(len(stored), -1).astype(np.float32)
