"""The vec0 tables of the collections, one for each. Vectors come and go as blobs: int8 of a fixed scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aichat_cli.core.documents import CollectionSeq
from aichat_cli.storage.database import Database

MOST_NEIGHBOURS = 4096
"""More at once sqlite-vec refuses."""


def table(collection: CollectionSeq) -> str:
    """The name of its index: rowid is the chunk's seq."""
    return f"chunk_vectors_{int(collection)}"


def create(db: Database, collection: CollectionSeq, dimensions: int) -> None:
    """Make the index, inside the caller's transaction."""
    db.load_vector_extension()
    db.execute(f"CREATE VIRTUAL TABLE {table(collection)} USING vec0 (vector int8[{int(dimensions)}])")


def drop(db: Database, collection: CollectionSeq) -> None:
    """Drop the index where there is one, inside the caller's transaction."""
    db.load_vector_extension()
    db.execute("DELETE FROM vector_clusters WHERE collection_seq = ?", (collection,))
    db.execute(f"DROP TABLE IF EXISTS {table(collection)}")


def add(db: Database, collection: CollectionSeq, rows: Iterable[tuple[int, bytes]]) -> None:
    """Add (chunk seq, int8 vector) rows."""
    db.load_vector_extension()
    db.execute_many(f"INSERT INTO {table(collection)} (rowid, vector) VALUES (?, vec_int8(?))", rows)  # noqa: S608


def remove(db: Database, collection: CollectionSeq, chunk_seqs: Sequence[int]) -> None:
    """Take rows out."""
    db.load_vector_extension()
    db.execute_many(f"DELETE FROM {table(collection)} WHERE rowid = ?", ((seq,) for seq in chunk_seqs))  # noqa: S608


def nearest(db: Database, collection: CollectionSeq, query: bytes, limit: int) -> list[tuple[int, float]]:
    """(chunk seq, L2 distance between the int8 vectors), nearest first."""
    db.load_vector_extension()
    return db.rows(
        f"SELECT rowid, distance FROM {table(collection)} WHERE vector MATCH vec_int8(?) AND k = ? ORDER BY distance",  # noqa: S608
        (query, min(limit, MOST_NEIGHBOURS)),
    )


def count(db: Database, collection: CollectionSeq) -> int:
    """How many rows it has."""
    db.load_vector_extension()
    [(number,)] = db.rows(f"SELECT count(*) FROM {table(collection)}")  # noqa: S608
    return int(number)
