"""Collections whose chunks are nothing but vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aichat_cli.core.documents import Chunk, Collection
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.documents.vectors import VectorStore
from aichat_cli.storage import chunks, collections, documents
from aichat_cli.storage.database import Database


def collection(database: Database, dimensions: int, name: str = "default") -> Collection:
    """An empty collection of vectors."""
    return collections.create(database, name, embedding_model="any", dimensions=dimensions)


def new_chunks(database: Database, where: Collection, count: int) -> list[int]:
    """So many chunks without vectors, inside the caller's transaction; their seqs."""
    rows = [chunks.NewChunk(Chunk(place, place + 1, "", 1, None, 1), "x", bytes(16)) for place in range(count)]
    [(number,)] = database.rows("SELECT count(*) FROM documents")
    new = documents.NewDocument("d", f"/{number}", None, None, "text/plain", count, 1, None, bytes(32), "")
    return chunks.insert(database, [(documents.store(database, where.seq, new, chunk_count=count), rows)])


def filled(database: Database, where: Collection, store: VectorStore, vectors: Matrix) -> list[int]:
    """Add vectors, each of a chunk of its own; the seqs of the chunks."""
    with database.transaction():
        seqs = new_chunks(database, where, len(vectors))
        store.add(seqs, vectors)
    return seqs


def unit(values: Matrix | NDArray[np.float64]) -> Matrix:
    """Rows of length 1; rows of zeros stay."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-9), dtype=np.float32)


def random_vectors(count: int, dimensions: int = 32, seed: int = 0) -> Matrix:
    """Vectors without any order: the hardest to find."""
    return unit(np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32))


def clustered_vectors(count: int, dimensions: int = 32, topics: int = 40, seed: int = 0) -> Matrix:
    """Vectors around topics, as those of texts are."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((topics, dimensions))
    noise = chance.standard_normal((count, dimensions))
    return unit((centres[chance.integers(topics, size=count)] + 0.6 * noise).astype(np.float32))


def nearest_of_all(seqs: Sequence[int], vectors: Matrix, query: Matrix, limit: int) -> list[int]:
    """The seqs of the nearest by comparing with all, nearest first."""
    order = np.argsort(-(vectors @ query[0]), kind="stable")[:limit]
    return [seqs[place] for place in order]


def opened(path: Path) -> SqliteVectors:
    """The store of the default collection of a database file, small enough to have clusters."""
    database = Database.open(path)
    return SqliteVectors(database, collections.get(database, "default"), flat_limit=100)
