"""The vec0 tables of the collections, one for each: flat, or with a partition for each cluster of a large one.

Vectors come as int8 of one scale, so that their L2 distances rank as their cosines do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aichat_cli.core.documents import CollectionSeq
from aichat_cli.core.ids import new_id
from aichat_cli.storage.database import Database

MOST_NEIGHBOURS = 4096
"""More at once sqlite-vec refuses."""
CHUNK_ROWS = 256
"""Vectors that vec0 keeps together: a cluster has a few hundred."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """The centres of a collection's clusters: float32, one after the other. `training` changes when they do."""

    training: str
    trained_on: int
    centroids: bytes


def table(collection: CollectionSeq) -> str:
    """The name of its index: rowid is the chunk's seq."""
    return f"chunk_vectors_{int(collection)}"


def create(db: Database, collection: CollectionSeq, dimensions: int) -> None:
    """Make a flat index, inside the caller's transaction."""
    db.load_vector_extension()
    db.execute(f"CREATE VIRTUAL TABLE {table(collection)} USING vec0 (vector int8[{int(dimensions)}])")


def create_clustered(
    db: Database, collection: CollectionSeq, dimensions: int, *, centroids: bytes, trained_on: int
) -> None:
    """Make an index of clusters, inside the caller's transaction."""
    db.load_vector_extension()
    name = table(collection)
    db.execute(
        f"CREATE VIRTUAL TABLE {name} USING vec0"
        f" (cluster integer partition key, vector int8[{int(dimensions)}], chunk_size = {CHUNK_ROWS})"
    )
    # Without it every look-up of a cluster reads the rows of all of them.
    db.index_shadow_table(f"CREATE INDEX {name}_by_cluster ON {name}_chunks (partition00)")
    db.execute(
        "INSERT INTO vector_clusters (collection_seq, training, trained_on, centroids) VALUES (?, ?, ?, ?)",
        (collection, new_id(), trained_on, centroids),
    )


def drop(db: Database, collection: CollectionSeq) -> None:
    """Drop the index where there is one, inside the caller's transaction."""
    db.load_vector_extension()
    db.execute("DELETE FROM vector_clusters WHERE collection_seq = ?", (collection,))
    db.execute(f"DROP TABLE IF EXISTS {table(collection)}")


def training(db: Database, collection: CollectionSeq) -> str | None:
    """Which training its clusters come from; None where the index is flat."""
    row = db.row("SELECT training FROM vector_clusters WHERE collection_seq = ?", (collection,))
    return None if row is None else str(row[0])


def clusters(db: Database, collection: CollectionSeq) -> Clusters | None:
    """The clusters of a collection; None where the index is flat."""
    row = db.row("SELECT training, trained_on, centroids FROM vector_clusters WHERE collection_seq = ?", (collection,))
    return None if row is None else Clusters(*row)


def add(db: Database, collection: CollectionSeq, rows: Iterable[tuple[int, bytes]]) -> None:
    """Add (chunk seq, int8 vector) rows to a flat index."""
    db.load_vector_extension()
    db.execute_many(f"INSERT INTO {table(collection)} (rowid, vector) VALUES (?, vec_int8(?))", rows)  # noqa: S608


def add_clustered(db: Database, collection: CollectionSeq, rows: Iterable[tuple[int, int, bytes]]) -> None:
    """Add (chunk seq, cluster, int8 vector) rows to an index of clusters."""
    db.load_vector_extension()
    db.execute_many(
        f"INSERT INTO {table(collection)} (rowid, cluster, vector) VALUES (?, ?, vec_int8(?))",  # noqa: S608
        rows,
    )


def remove(db: Database, collection: CollectionSeq, chunk_seqs: Sequence[int]) -> None:
    """Take rows out."""
    db.load_vector_extension()
    db.execute_many(f"DELETE FROM {table(collection)} WHERE rowid = ?", ((seq,) for seq in chunk_seqs))  # noqa: S608


def nearest(db: Database, collection: CollectionSeq, query: bytes, limit: int) -> list[tuple[int, float]]:
    """(chunk seq, L2 distance between the int8 vectors) of a flat index, nearest first."""
    db.load_vector_extension()
    return db.rows(
        f"SELECT rowid, distance FROM {table(collection)} WHERE vector MATCH vec_int8(?) AND k = ? ORDER BY distance",  # noqa: S608
        (query, min(limit, MOST_NEIGHBOURS)),
    )


def nearest_in_clusters(
    db: Database, collection: CollectionSeq, query: bytes, probed: Sequence[int], limit: int
) -> list[tuple[int, float]]:
    """As `nearest`, in some clusters of an index that has them."""
    db.load_vector_extension()
    # vec0 answers with so many rows of each cluster, in no order.
    found: list[tuple[int, float]] = db.rows(
        f"SELECT rowid, distance FROM {table(collection)} WHERE vector MATCH vec_int8(?) AND k = ?"  # noqa: S608
        " AND cluster IN (SELECT value FROM json_each(?))",
        (query, min(limit, MOST_NEIGHBOURS), json.dumps(list(probed))),
    )
    return sorted(found, key=lambda row: (row[1], row[0]))[:limit]


def count(db: Database, collection: CollectionSeq) -> int:
    """How many rows it has."""
    db.load_vector_extension()
    [(number,)] = db.rows(f"SELECT count(*) FROM {table(collection)}_rowids")  # noqa: S608
    return int(number)
