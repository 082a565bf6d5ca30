"""The vec0 tables of the collections: the one that is searched, and beside it one that is being filled to take its place.

A table is flat, or has a partition for each cluster of vectors. Vectors come as int8 of one scale, so that their L2
distances rank as their cosines do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from shlex import quote

from aichat_cli.core.documents import CollectionSeq
from aichat_cli.core.errors import StorageError
from aichat_cli.core.struct import Struct
from aichat_cli.storage import liveness
from aichat_cli.storage.database import Database

MOST_NEIGHBOURS = 4096
"""More at once sqlite-vec refuses."""
FEWEST_OF_A_CLUSTER = 24
"""Or half of what is wanted: the nearest of all are hardly ever all in one cluster."""
_BLOCK_BYTES = 65_536
_BLOCK_ROWS, _CLUSTER_BLOCK_ROWS = 256, 128
"""Vectors that vec0 keeps in one blob, at most: a cluster has a few hundred, and its last blob is mostly empty; of a flat
index every blob is looked through for each neighbour wanted, so that fewer are faster.
"""
_SHADOWS = ("info", "chunks", "rowids", "vector_chunks00")
_FIRST_BUILD = 1 << 30
"""In the file of live locks, where those of the indexes begin: beyond those of the turns."""
_INDEX = """
SELECT seq, collection_seq, is_searched, trained_on, centroids IS NOT NULL,
       (SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN (
          i.name, i.name || '_info', i.name || '_chunks', i.name || '_rowids', i.name || '_vector_chunks00')) = 5
FROM (SELECT *, 'chunk_vectors_' || collection_seq || '_' || seq AS name FROM vector_indexes) i
"""
"""Where one of its own tables is missing, sqlite-vec does not fail but brings the process down."""


class VectorIndex(Struct, frozen=True):
    """An index of a collection's vectors.

    Attributes:
        is_searched: False while it is being filled.
        trained_on: how many vectors there were when its clusters were found; 0 for a flat one.
        has_tables: False where its table, or one of those that vec0 keeps for it, was lost.
    """

    seq: int
    collection: CollectionSeq
    is_searched: bool
    trained_on: int
    has_clusters: bool
    has_tables: bool

    @property
    def table(self) -> str:
        """Its table: rowid is the chunk's seq."""
        return f"chunk_vectors_{self.collection}_{self.seq}"


def of_collection(db: Database, collection: CollectionSeq) -> list[VectorIndex]:
    """The index that is searched, if there is one, and the one that is being filled, if there is one."""
    rows = db.rows(f"{_INDEX} WHERE collection_seq = ? ORDER BY is_searched DESC", (collection,))
    return [
        VectorIndex(seq, of, bool(is_searched), trained_on, bool(has_clusters), bool(has_tables))
        for seq, of, is_searched, trained_on, has_clusters, has_tables in rows
    ]


def searched(db: Database, collection: CollectionSeq) -> VectorIndex:
    """The index that is searched.

    Raises:
        StorageError: it was lost.
    """
    for index in of_collection(db, collection):
        if index.is_searched and index.has_tables:
            return index
    raise lost(db, collection)


def lost(db: Database, collection: CollectionSeq) -> StorageError:
    """What is said of an index that cannot be searched."""
    [(name,)] = db.rows("SELECT name FROM collections WHERE seq = ?", (collection,)) or [("",)]
    return StorageError(
        f'The index of the vectors of "{name}" is damaged or lost.',
        hint=f"Run: aichat docs reindex --collection {quote(name)}",
    )


def dimensions(db: Database, collection: CollectionSeq) -> int | None:
    """Of the vectors the collection has now; None where it has none, or is gone."""
    row = db.row("SELECT dimensions FROM collections WHERE seq = ?", (collection,))
    return row[0] if row else None


def is_here(db: Database, collection: CollectionSeq) -> bool:
    """Whether the vectors of a collection are searched in this database."""
    return db.row("SELECT 1 FROM collections WHERE seq = ? AND searched_in = 'local'", (collection,)) is not None


def create(
    db: Database,
    collection: CollectionSeq,
    dimensions: int,
    *,
    centroids: bytes | None = None,
    trained_on: int = 0,
    is_searched: bool = True,
) -> VectorIndex:
    """Make an index, inside the caller's transaction; `centroids` of its clusters are float32, None makes it flat."""
    db.load_vector_extension()
    db.execute(
        "INSERT INTO vector_indexes (collection_seq, is_searched, trained_on, centroids) VALUES (?, ?, ?, ?)",
        (collection, is_searched, trained_on, centroids),
    )
    [(seq,)] = db.rows("SELECT last_insert_rowid()")
    index = VectorIndex(seq, collection, is_searched, trained_on, centroids is not None, has_tables=True)
    key = "cluster integer partition key, " if index.has_clusters else ""
    most_rows = _CLUSTER_BLOCK_ROWS if index.has_clusters else _BLOCK_ROWS
    block = max(8, min(most_rows, _BLOCK_BYTES // dimensions) // 8 * 8)
    db.execute(
        f"CREATE VIRTUAL TABLE {index.table} USING vec0 ({key}vector int8[{int(dimensions)}], chunk_size = {block})"
    )
    if index.has_clusters:
        # Without it every look-up of a cluster reads the rows of all of them.
        db.change_shadow_tables(f"CREATE INDEX {index.table}_by_cluster ON {index.table}_chunks (partition00)")
    return index


def drop(db: Database, index: VectorIndex) -> None:
    """Drop an index, also a damaged one, inside the caller's transaction."""
    db.load_vector_extension()
    db.execute("DELETE FROM vector_indexes WHERE seq = ?", (index.seq,))
    # vec0 drops nothing at all where one of its own tables is missing.
    names = {name for (name,) in db.rows("SELECT name FROM sqlite_schema WHERE name GLOB ?", (f"{index.table}*",))}
    shadows = [f"{index.table}_{suffix}" for suffix in _SHADOWS]
    for shadow in shadows:
        if index.table in names and shadow not in names:
            db.change_shadow_tables(f"CREATE TABLE {shadow} (lost)")
    db.execute(f"DROP TABLE IF EXISTS {index.table}")
    for shadow in names.intersection(shadows) if index.table not in names else ():
        db.execute(f"DROP TABLE {shadow}")


def drop_all(db: Database, collection: CollectionSeq) -> None:
    """Drop the indexes of a collection, inside the caller's transaction."""
    for index in of_collection(db, collection):
        drop(db, index)


def switch(db: Database, filled: VectorIndex) -> None:
    """Search the index that is filled instead of the present one, inside the caller's transaction."""
    for index in of_collection(db, filled.collection):
        if index.is_searched:
            drop(db, index)
    db.execute("UPDATE vector_indexes SET is_searched = 1 WHERE seq = ?", (filled.seq,))


def hold(db: Database, index: VectorIndex) -> None:
    """Mark an index as being filled by this process. Call before the transaction that shows it commits."""
    liveness.hold(db.path, _FIRST_BUILD + index.seq)


def release(db: Database, index: VectorIndex) -> None:
    """It is filled, or given up."""
    liveness.release(db.path, _FIRST_BUILD + index.seq)


def is_abandoned(db: Database, index: VectorIndex) -> bool:
    """Whether nobody is filling an index any more that is not filled."""
    return not index.is_searched and bool(liveness.abandoned(db.path, [_FIRST_BUILD + index.seq]))


def centroids(db: Database, index: VectorIndex) -> bytes | None:
    """The centres of its clusters, float32 one after the other; None for a flat one and for one that is gone."""
    row = db.row("SELECT centroids FROM vector_indexes WHERE seq = ?", (index.seq,))
    return row[0] if row else None


def add(db: Database, index: VectorIndex, rows: Iterable[tuple[int, bytes]]) -> None:
    """Add (chunk seq, int8 vector) rows to a flat index."""
    db.load_vector_extension()
    db.execute_many(f"INSERT INTO {index.table} (rowid, vector) VALUES (?, vec_int8(?))", rows)  # noqa: S608


def add_clustered(db: Database, index: VectorIndex, rows: Iterable[tuple[int, int, bytes]]) -> None:
    """Add (chunk seq, cluster, int8 vector) rows to an index of clusters."""
    db.load_vector_extension()
    db.execute_many(f"INSERT INTO {index.table} (rowid, cluster, vector) VALUES (?, ?, vec_int8(?))", rows)  # noqa: S608


def remove(db: Database, index: VectorIndex, chunk_seqs: Sequence[int]) -> None:
    """Take rows out; those it does not have are no error."""
    db.load_vector_extension()
    db.execute_many(f"DELETE FROM {index.table} WHERE rowid = ?", ((seq,) for seq in chunk_seqs))  # noqa: S608


def missing(db: Database, index: VectorIndex, chunk_seqs: Sequence[int]) -> set[int]:
    """Those chunks that have a stored vector which is not in the index."""
    rows = db.rows(
        "SELECT v.chunk_seq FROM chunk_vectors v WHERE v.chunk_seq IN (SELECT value FROM json_each(?))"  # noqa: S608
        f" AND NOT EXISTS (SELECT 1 FROM {index.table}_rowids r WHERE r.rowid = v.chunk_seq)",
        (json.dumps(list(chunk_seqs)),),
    )
    return {seq for (seq,) in rows}


def nearest(db: Database, index: VectorIndex, query: bytes, limit: int) -> list[int]:
    """Chunks of a flat index by the L2 distance of their int8 vectors, nearest first."""
    db.load_vector_extension()
    rows = db.rows(
        f"SELECT rowid FROM {index.table} WHERE vector MATCH vec_int8(?) AND k = ? ORDER BY distance",  # noqa: S608
        (query, min(limit, MOST_NEIGHBOURS)),
    )
    return [seq for (seq,) in rows]


def nearest_in_clusters(db: Database, index: VectorIndex, query: bytes, probed: Sequence[int], limit: int) -> list[int]:
    """As `nearest`, in some clusters of an index that has them."""
    db.load_vector_extension()
    # vec0 answers with k rows of each cluster, in no order, and goes through it once for each of them.
    few = min(limit, max(limit // 2, FEWEST_OF_A_CLUSTER))
    found = _of_clusters(db, index, query, probed, limit, of_each=few)
    if len(found) < limit and few < limit:
        return _of_clusters(db, index, query, probed, limit, of_each=limit)
    return found


def _of_clusters(
    db: Database, index: VectorIndex, query: bytes, probed: Sequence[int], limit: int, *, of_each: int
) -> list[int]:
    # The sum keeps vec0 from sorting by itself, which it refuses.
    rows = db.rows(
        f"SELECT rowid FROM {index.table} WHERE vector MATCH vec_int8(?) AND k = ?"  # noqa: S608
        " AND cluster IN (SELECT value FROM json_each(?)) ORDER BY distance + 0, rowid LIMIT ?",
        (query, min(of_each, MOST_NEIGHBOURS), json.dumps(list(probed)), limit),
    )
    return [seq for (seq,) in rows]


def count(db: Database, index: VectorIndex) -> int:
    """How many vectors it has."""
    [(number,)] = db.rows(f"SELECT count(*) FROM {index.table}_rowids")  # noqa: S608
    return int(number)


def room(db: Database, index: VectorIndex) -> int:
    """For how many vectors it has places: those of removed ones stay empty."""
    [(places,)] = db.rows(f"SELECT coalesce(sum(size), 0) FROM {index.table}_chunks")  # noqa: S608
    return int(places)


def is_whole(db: Database, index: VectorIndex) -> bool:
    """Whether its own tables are there and agree with each other."""
    if not index.has_tables:
        return False
    taken = db.rows(f"SELECT validity FROM {index.table}_chunks")  # noqa: S608
    [(blobs,)] = db.rows(f"SELECT count(*) FROM {index.table}_vector_chunks00")  # noqa: S608
    places = sum(int.from_bytes(bits, "little").bit_count() for (bits,) in taken)
    return bool(blobs == len(taken) and places == count(db, index))


def stored_count(db: Database, collection: CollectionSeq) -> int:
    """How many vectors of a collection are stored, whatever its index has."""
    [(number,)] = db.rows(
        "SELECT count(*) FROM documents d JOIN document_chunks c ON c.document_seq = d.seq"
        " JOIN chunk_vectors v ON v.chunk_seq = c.seq WHERE d.collection_seq = ?",
        (collection,),
    )
    return int(number)
