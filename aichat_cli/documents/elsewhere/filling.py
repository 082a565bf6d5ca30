"""A collection's vectors on their way elsewhere: sent in the order of their chunks, checked, and only then searched there.

Where it was stopped it goes on: how far it came is noted after every batch, and what changed of what was sent is noted as
it is changed. Meanwhile the vectors are searched where they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aichat_cli.core.documents import Collection
from aichat_cli.core.errors import AichatError, BadResponse
from aichat_cli.core.interrupts import shielded
from aichat_cli.core.struct import Struct
from aichat_cli.documents.elsewhere.place import OF_A_SAMPLE, FoundIndex, Place, PlaceFor
from aichat_cli.documents.elsewhere.vectors import send_changes, send_vectors
from aichat_cli.documents.quantising import unpacked
from aichat_cli.documents.vectors import UNREACHABLE
from aichat_cli.storage import chunks, namespaces, vectors
from aichat_cli.storage.database import Database
from aichat_cli.storage.namespaces import Namespace

SENT_TOGETHER = 4000
"""Vectors, in some requests at the same time; after them it is noted how far it came."""
ROUNDS = 3


class Sending(Struct, frozen=True):
    """How vectors are sent.

    Attributes:
        report: is told how many vectors are there, also those from before.
        patience: seconds that the count may stand still before what is there is looked through, where they are not the place's.
    """

    place: Place
    report: Callable[[int], None]
    patience: float | None = None


class Sent(Struct, frozen=True):
    """What was done. `made_index` names the index that had to be made, `resumed_after` how many were there from before."""

    namespace: Namespace
    count: int
    made_index: str | None = None
    resumed_after: int = 0


def fill(database: Database, collection: Collection, index: FoundIndex, sending: Sending) -> Sent:
    """Send all vectors of a collection to an index, or those that are left from before, and check that they are there.

    It is neither searched there yet nor kept from being changed; by one process at a time.

    Raises:
        AichatError: as the place does; the same again goes on from there.
    """
    with shielded(), database.transaction():
        namespace = namespaces.find(database, collection.seq, "filling")
        if namespace is not None and not is_at(namespace, sending.place, index):
            namespaces.leave_one(database, namespace)
            namespace = None
        if namespace is None:
            namespace = namespaces.create(database, collection.seq, sending.place.name, index.name, index.host)
    before = sent = namespaces.count_up_to(database, collection.seq, namespace.filled_to)
    sending.report(sent)
    last = namespace.filled_to
    while batch := _next(database, namespace, last):
        send_vectors(namespace, sending.place, batch)
        last = max(batch)
        with shielded(), database.transaction():
            namespaces.advance(database, namespace, last)
        sent += len(batch)
        sending.report(sent)
    count = check(database, namespace, sending)
    return Sent(namespace, count, index.name if index.is_new else None, before)


def check(database: Database, namespace: Namespace, sending: Sending, *, every_id: bool = False) -> int:
    """See to it that what is there is what is here, and send or delete what is not; how many vectors it is.

    Args:
        every_id: compare the ids of all, also where their number is right.

    Raises:
        BadResponse: it is not so, also when it was put right.
    """
    for _ in range(ROUNDS):
        send_changes(database, namespace, sending.place)
        is_right = _has_count(database, namespace, sending)
        is_alike = _is_like_here(database, namespace, sending.place)
        if is_right and is_alike and not every_id:
            return vectors.stored_count(database, namespace.collection)
        changed = _put_right(database, namespace, sending.place, every_vector=is_right and not is_alike)
        if is_right and is_alike and not changed:
            return vectors.stored_count(database, namespace.collection)
    there = sending.place.count(namespace.host, namespace.name)
    here = vectors.stored_count(database, namespace.collection)
    raise BadResponse(
        f"{sending.place.told(namespace.index_name)} has {there:,} vectors where {here:,} were sent, or others than those.",
        hint="Nothing is lost. The same command again goes on from there",
    )


def is_at(namespace: Namespace, place: Place, index: FoundIndex) -> bool:
    """Whether a namespace is in this index."""
    return (namespace.place, namespace.index_name, namespace.host) == (place.name, index.name, index.host)


def clear_away(database: Database, place_for: PlaceFor) -> dict[str, AichatError]:
    """Delete what is neither searched nor filled any more; what keeps a place from it, by its name."""
    failures: dict[str, AichatError] = {}
    for namespace in namespaces.in_state(database, "leaving"):
        if namespace.place not in failures:
            try:
                _delete(namespace, place_for(namespace.place))
            except UNREACHABLE as error:
                failures[namespace.place] = error
            else:
                with shielded(), database.transaction():
                    namespaces.forget(database, namespace)
    return failures


def _delete(namespace: Namespace, place: Place) -> None:
    try:
        # Pinecone's client reads no answer to a deletion; whoever else may be there does not know how to count.
        place.count(namespace.host, namespace.name)
        place.delete_namespace(namespace.host, namespace.name)
    except UNREACHABLE:
        # With its index every namespace is gone.
        if namespace.index_name in place.indexes():
            raise


def _next(database: Database, namespace: Namespace, after: int) -> dict[int, bytes]:
    """The next vectors to send; what changes of them is noted from now on, and after the last, whatever changes."""
    with shielded(), database.transaction():
        batch = namespaces.vectors_after(database, namespace.collection, after, SENT_TOGETHER)
        namespaces.note_up_to(database, namespace, max(batch, default=namespaces.EVERY_CHUNK))
    return batch


def _has_count(database: Database, namespace: Namespace, sending: Sending) -> bool:
    """Wait until as many are counted there as are here, for as long as the count moves."""
    patience = sending.place.count_patience if sending.patience is None else sending.patience
    seen, since, pause = -1, time.monotonic(), 0.05
    while True:
        there = sending.place.count(namespace.host, namespace.name)
        if there == vectors.stored_count(database, namespace.collection):
            return True
        if there != seen:
            seen, since = there, time.monotonic()
        elif time.monotonic() - since > patience:
            return False
        time.sleep(min(pause, patience / 4))
        pause = min(2 * pause, 2.0)


def _is_like_here(database: Database, namespace: Namespace, place: Place) -> bool:
    """Whether a sample of the vectors there is what is stored here."""
    every = chunks.in_collection(database, namespace.collection)
    sample = every[:: max(1, len(every) // OF_A_SAMPLE)][:OF_A_SAMPLE]
    stored = chunks.vectors_of(database, sample)
    if not stored:
        return True
    return place.is_like(namespace.host, namespace.name, {str(seq): unpacked(vector) for seq, vector in stored.items()})


def _put_right(database: Database, namespace: Namespace, place: Place, *, every_vector: bool) -> int:
    """Compare the ids of all vectors; note what is missing there, delete what is there beyond. How many that were.

    Args:
        every_vector: note all of them, whatever is there.
    """
    missing = namespaces.stored_seqs(database, namespace.collection)
    there: set[int] = set()
    beyond: list[str] = []
    for page in place.ids(namespace.host, namespace.name):
        for id_ in page:
            seq = int(id_) if id_.isdecimal() else -1
            if seq in missing:
                there.add(seq)
            else:
                beyond.append(id_)
    if beyond:
        place.delete(namespace.host, namespace.name, beyond)
    if not every_vector:
        missing -= there
    if missing:
        with shielded(), database.transaction():
            namespaces.note(database, namespace.collection, sorted(missing))
    return len(missing) + len(beyond)
