"""Where a collection's vectors are searched, changed: everything is there and compared before it is searched there, and only
then goes what was there before. The text, and the vectors as they were made, stay in the local database in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import quote

from aichat_cli.core.documents import Collection
from aichat_cli.core.errors import SyncError, UsageError
from aichat_cli.core.interrupts import shielded
from aichat_cli.core.struct import Struct
from aichat_cli.documents import index_building
from aichat_cli.documents.elsewhere import filling
from aichat_cli.documents.elsewhere.filling import Sending
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.storage import chunks, collections, namespaces, vectors
from aichat_cli.storage.database import Database


class Moved(Struct, frozen=True):
    """What a move did.

    Attributes:
        count: vectors that are searched there.
        was_there: nothing was switched: they were searched there before.
        resumed_after: how many were there from a move that was interrupted.
        made_index: the index at Pinecone that had to be made.
        given_up: whether a move elsewhere that was under way was given up by this.
    """

    count: int
    was_there: bool = False
    resumed_after: int = 0
    made_index: str | None = None
    given_up: bool = False


def to_elsewhere(database: Database, collection: Collection, sending: Sending) -> Moved:
    """Search a collection at a place elsewhere; one that is searched there already is compared, and put right.

    Raises:
        UsageError: it has no vectors, or another process is at it.
        AichatError: of the place; what is there by then stays, and the same again goes on from there.
    """
    dimensions = dimensions_of(collection)
    with _alone(database, collection):
        index = sending.place.index_for(dimensions)
        searched = namespaces.find(database, collection.seq, "searched")
        if searched is not None and filling.is_at(searched, sending.place, index) and not index.is_new:
            return Moved(filling.check(database, searched, sending, every_id=True), was_there=True)
        sent = filling.fill(database, collection, index, sending)
        with shielded(), database.transaction():
            if namespaces.find(database, collection.seq, "filling") is None:
                raise _changed_meanwhile(collection)
            if searched is not None:
                namespaces.leave_one(database, searched)
            namespaces.search_here(database, sent.namespace)
            collections.search_in(database, collection.seq, sending.place.name)
    return Moved(sent.count, resumed_after=sent.resumed_after, made_index=sent.made_index)


def to_local(database: Database, collection: Collection, report: Callable[[int], None]) -> Moved:
    """Search a collection in the local database again; raises UsageError where another process is moving it."""
    with _alone(database, collection):
        if collection.searched_in == "local":
            is_under_way = namespaces.find(database, collection.seq, "filling") is not None
            with shielded(), database.transaction():
                namespaces.leave(database, collection.seq)
            return Moved(vectors.stored_count(database, collection.seq), was_there=True, given_up=is_under_way)
        filled = None if collection.dimensions is None else _filled_beside(database, collection, report)
        with shielded(), database.transaction():
            count = vectors.stored_count(database, collection.seq)
            if filled is not None:
                here = vectors.of_collection(database, collection.seq)
                if (
                    filled not in here
                    or not vectors.is_whole(database, filled)
                    or vectors.count(database, filled) != count
                ):
                    raise _changed_meanwhile(collection)
                vectors.switch(database, filled)
            collections.search_in(database, collection.seq, "local")
        SqliteVectors(database, collection).maintain()
    return Moved(count)


def to_hosted(
    database: Database, collection: Collection, fingerprints: Callable[[str], dict[str, list[str]]], place: str
) -> Moved:
    """Search a collection on the hosted database, where sync has brought it.

    Args:
        fingerprints: what tells the chunks of each document of a collection there, as `storage.chunks.fingerprints`.
        place: what the hosted database is called.

    Raises:
        SyncError: not all of it is there.
    """
    there = fingerprints(collection.name)
    with _alone(database, collection), shielded(), database.transaction():
        now = collections.get(database, collection.name)
        here = chunks.fingerprints(database, now.seq)
        different = [id_ for id_, told in here.items() if there.get(id_, []) != told]
        if different:
            raise SyncError(
                f'{len(different):,} of {len(here):,} documents of "{now.name}" are not on {place} as they are here;'
                " it is searched where it was.",
                hint="What was sent stays there: run the same command again",
            )
        collections.search_in(database, now.seq, "hosted")
    return Moved(now.chunk_count, was_there=now.searched_in == "hosted")


def dimensions_of(collection: Collection) -> int:
    """Of the vectors of a collection; raises UsageError where it has none to move."""
    if collection.dimensions is None:
        raise UsageError(
            f'"{collection.name}" has no vectors to move: it is searched by its words alone.',
            hint=f"Run: aichat docs reindex --collection {quote(collection.name)} --embedding-model wordllama",
        )
    return collection.dimensions


def _filled_beside(database: Database, collection: Collection, report: Callable[[int], None]) -> vectors.VectorIndex:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        report(done)

    return index_building.fill_beside(database, collection, count)


@contextmanager
def _alone(database: Database, collection: Collection) -> Iterator[None]:
    if not namespaces.claim(database, collection.seq):
        raise UsageError(
            f'Another process is moving the vectors of "{collection.name}", or sending some.',
            hint="Run the same command again when it is done",
        )
    try:
        yield
    finally:
        namespaces.release(database, collection.seq)


def _changed_meanwhile(collection: Collection) -> UsageError:
    return UsageError(
        f'The vectors of "{collection.name}" were made anew or moved meanwhile; nothing was switched.',
        hint="Run the same command again",
    )
