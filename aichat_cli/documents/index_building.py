"""Indexes of vectors made anew from the stored vectors: when one is lost, and when a collection has outgrown its own.

A new index is filled beside the one that is searched, in steps that each hold the lock for a moment. Meanwhile whoever
adds or removes vectors does so in both. The exchange is one transaction; a process that dies before leaves an index that
nobody searches, and the next one clears it away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING

from aichat_cli.core.documents import Collection, CollectionSeq
from aichat_cli.core.errors import StorageError
from aichat_cli.core.interrupts import shielded
from aichat_cli.core.struct import Struct
from aichat_cli.documents import clusters
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.quantising import quantised, unpacked_rows
from aichat_cli.storage import chunks, vectors
from aichat_cli.storage.database import Database
from aichat_cli.storage.vectors import VectorIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLAT_LIMIT = 50_000
"""So many vectors are searched without clusters."""
READ_TOGETHER = 20_000
WRITTEN_TOGETHER = 10_000
"""The lock is held for so many: about a fifth of a second."""
SPARSE, SPARSE_FROM = 3, 20_000
"""An index with so many times the places it needs, beyond a number, is made anew: empty places are searched too."""


class _Members(Struct, frozen=True):
    """All stored vectors by the seqs of their chunks and the cluster of each, in the order of the clusters."""

    chunk_seqs: NDArray[np.int64]
    clusters: NDArray[np.intp]


class _Step(Struct, frozen=True):
    """Vectors that are read and ready to be inserted together."""

    chunk_seqs: list[int]
    clusters: list[int]
    vectors: list[bytes]


def maintain(database: Database, collection: Collection, *, flat_limit: int = FLAT_LIMIT) -> None:
    """Exchange the index of a collection that has outgrown it. Outside a transaction; others may write meanwhile."""
    indexes = vectors.of_collection(database, collection.seq)
    for index in indexes:
        if vectors.is_abandoned(database, index):
            with shielded(), database.transaction():
                vectors.drop(database, index)
    indexes = vectors.of_collection(database, collection.seq)
    if len(indexes) != 1 or not indexes[0].is_searched:
        return  # another process is at it, or there is nothing
    present = indexes[0]
    number = vectors.count(database, present)
    if number > flat_limit and number >= 2 * present.trained_on:
        sample = _sample(database, collection.seq, clusters.cluster_count(number))
        _replace(database, collection, present, clusters.trained(sample, clusters.cluster_count(number)), number)
    elif vectors.room(database, present) > SPARSE * number + SPARSE_FROM:
        _replace(database, collection, present, centroids(database, present, collection), present.trained_on)


def rebuild(database: Database, collection: Collection) -> None:
    """Make the index anew from the stored vectors, inside the caller's transaction, with the clusters it had.

    A collection that is searched elsewhere has none.
    """
    dimensions = vectors.dimensions(database, collection.seq)
    if dimensions is None or not vectors.is_here(database, collection.seq):
        return
    present = next((each for each in vectors.of_collection(database, collection.seq) if each.is_searched), None)
    centres = centroids(database, present, collection) if present else None
    trained_on = present.trained_on if present and centres is not None else 0
    vectors.drop_all(database, collection.seq)
    index = _created(database, collection.seq, dimensions, centres, trained_on, is_searched=True)
    for step in _steps(database, _members(database, collection.seq, centres)):
        _insert(database, index, step)


def mend(database: Database, collection: Collection) -> bool:
    """Make an index anew that is damaged; False where it is whole, or cannot be written now."""
    if database.is_read_only or database.in_transaction or is_complete(database, collection):
        return False
    with shielded(), database.transaction():
        rebuild(database, collection)
    return True


def is_complete(database: Database, collection: Collection) -> bool:
    """Whether the index has every stored vector of the collection, and its tables agree with each other.

    So it has where there is none to be had: of a collection without vectors, or one that is searched elsewhere.
    """
    with database.snapshot():
        if vectors.dimensions(database, collection.seq) is None or not vectors.is_here(database, collection.seq):
            return True
        indexes = vectors.of_collection(database, collection.seq)
        if not indexes or not indexes[0].is_searched or not vectors.is_whole(database, indexes[0]):
            return False
        return vectors.count(database, indexes[0]) == vectors.stored_count(database, collection.seq)


def insert(database: Database, index: VectorIndex, seqs: Sequence[int], matrix: Matrix, centres: Matrix | None) -> None:
    """Put vectors into one index, inside the caller's transaction."""
    rows = [row.tobytes() for row in quantised(matrix)]
    members = [0] * len(rows) if centres is None else clusters.assigned(matrix, centres).tolist()
    _insert(database, index, _Step(list(seqs), members, rows))


def fill_beside(database: Database, collection: Collection, report: Callable[[int], None]) -> VectorIndex:
    """Make an index of a collection that is searched elsewhere, or go on with one that an interruption left half filled.

    Who adds or removes vectors meanwhile does so in it as well. To search it is left to the caller.

    Args:
        report: is told how many more vectors were gone through.
    """
    with shielded(), database.transaction():
        present = vectors.of_collection(database, collection.seq)
        dimensions = vectors.dimensions(database, collection.seq)
        assert dimensions is not None
        filled = present[0] if present else _created(database, collection.seq, dimensions, None, 0, is_searched=False)
        vectors.hold(database, filled)
    try:
        for step in _steps(database, _members(database, collection.seq, None)):
            with shielded(), database.transaction():
                if filled not in vectors.of_collection(database, collection.seq):
                    break
                _insert(database, filled, _still_missing(database, filled, step))
            report(len(step.chunk_seqs))
    finally:
        vectors.release(database, filled)
    return filled


def centroids(database: Database, index: VectorIndex, collection: Collection) -> Matrix | None:
    """The centres of an index; None where it is flat, or what is stored cannot be that."""
    import numpy as np

    stored = vectors.centroids(database, index)
    if stored is None or not collection.dimensions or not stored or len(stored) % (4 * collection.dimensions):
        return None
    return np.frombuffer(stored, dtype="<f4").reshape(-1, collection.dimensions)


def _replace(
    database: Database, collection: Collection, present: VectorIndex, centres: Matrix | None, trained_on: int
) -> None:
    """Fill a new index beside the present one, then exchange them."""
    with shielded(), database.transaction():
        if vectors.of_collection(database, collection.seq) != [present] or collection.dimensions is None:
            return  # another process began, or the model was changed
        filled = _created(database, collection.seq, collection.dimensions, centres, trained_on, is_searched=False)
        vectors.hold(database, filled)
    try:
        _fill(database, collection.seq, filled, centres)
    except BaseException:
        # Where this fails too, whoever maintains the collection next clears it away.
        with suppress(StorageError), shielded(), database.transaction():
            vectors.drop(database, filled)
        raise
    finally:
        vectors.release(database, filled)


def _fill(database: Database, collection: CollectionSeq, filled: VectorIndex, centres: Matrix | None) -> None:
    """Put all there is into an index that others add to, then search it; give up where somebody dropped it."""
    for step in _steps(database, _members(database, collection, centres)):
        with shielded(), database.transaction():
            if filled not in vectors.of_collection(database, collection):
                return
            _insert(database, filled, _still_missing(database, filled, step))
    with shielded(), database.transaction():
        if filled in vectors.of_collection(database, collection):
            vectors.switch(database, filled)


def _created(
    database: Database,
    collection: CollectionSeq,
    dimensions: int,
    centres: Matrix | None,
    trained_on: int,
    *,
    is_searched: bool,
) -> VectorIndex:
    stored = None if centres is None else centres.astype("<f4").tobytes()
    return vectors.create(
        database, collection, dimensions, centroids=stored, trained_on=trained_on, is_searched=is_searched
    )


def _members(database: Database, collection: CollectionSeq, centres: Matrix | None) -> _Members:
    import numpy as np

    seqs: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    members: list[NDArray[np.intp]] = [np.empty(0, np.intp)]
    every_chunk = chunks.in_collection(database, collection)
    for start in range(0, len(every_chunk), READ_TOGETHER):
        stored = chunks.vectors_of(database, every_chunk[start : start + READ_TOGETHER])
        seqs.append(np.fromiter(stored, np.int64, len(stored)))
        if centres is None or not stored:
            members.append(np.zeros(len(stored), np.intp))
        else:
            members.append(clusters.assigned(unpacked_rows(list(stored.values())), centres))
    every_seq, every_member = np.concatenate(seqs), np.concatenate(members)
    # Neighbours are written one after the other: each cluster is a place of its own in the file.
    order = np.argsort(every_member, kind="stable")
    return _Members(every_seq[order], every_member[order])


def _steps(database: Database, members: _Members) -> Iterator[_Step]:
    for start in range(0, len(members.chunk_seqs), WRITTEN_TOGETHER):
        wanted = members.chunk_seqs[start : start + WRITTEN_TOGETHER].tolist()
        cluster_of = dict(zip(wanted, members.clusters[start : start + WRITTEN_TOGETHER].tolist(), strict=True))
        stored = chunks.vectors_of(database, wanted)
        if stored:
            rows = [row.tobytes() for row in quantised(unpacked_rows(list(stored.values())))]
            yield _Step(list(stored), [cluster_of[seq] for seq in stored], rows)


def _still_missing(database: Database, index: VectorIndex, step: _Step) -> _Step:
    """Without what was removed since it was read, and what was added again: that is in the index already."""
    missing = vectors.missing(database, index, step.chunk_seqs)
    kept = [row for row, seq in enumerate(step.chunk_seqs) if seq in missing]
    return _Step(
        [step.chunk_seqs[row] for row in kept],
        [step.clusters[row] for row in kept],
        [step.vectors[row] for row in kept],
    )


def _insert(database: Database, index: VectorIndex, step: _Step) -> None:
    if index.has_clusters:
        rows = sorted(zip(step.chunk_seqs, step.clusters, step.vectors, strict=True), key=itemgetter(1))
        vectors.add_clustered(database, index, rows)
    else:
        vectors.add(database, index, zip(step.chunk_seqs, step.vectors, strict=True))


def _sample(database: Database, collection: CollectionSeq, count: int) -> Matrix:
    """About as many vectors as training needs, from all parts of the collection."""
    wanted = count * clusters.SAMPLE_PER_CLUSTER
    return unpacked_rows(chunks.sampled_vectors(database, collection, limit=wanted))
