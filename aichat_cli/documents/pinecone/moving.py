"""A collection's vectors on their way to Pinecone: sent in the order of their chunks, checked, and only then searched there.

Where it was stopped it goes on: how far it came is noted after every batch, and what changed of what was sent is noted as
it is changed. Meanwhile the vectors are searched where they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aichat_cli.core.documents import Collection
from aichat_cli.core.errors import BadResponse
from aichat_cli.core.interrupts import shielded
from aichat_cli.core.struct import Struct
from aichat_cli.documents.pinecone.service import FETCHED_AT_ONCE, FoundIndex, PineconeService
from aichat_cli.documents.pinecone.vectors import send_changes, send_vectors
from aichat_cli.documents.quantising import unpacked
from aichat_cli.documents.vectors import UNREACHABLE
from aichat_cli.storage import chunks, namespaces, vectors
from aichat_cli.storage.database import Database
from aichat_cli.storage.namespaces import Namespace

SENT_TOGETHER = 4000
"""Vectors, in some requests at the same time; after them it is noted how far it came."""
TOLERANCE = 1e-3
"""Of a value that is read back: it is stored there as float32."""
PATIENCE_SECONDS = 20.0
"""So long the count may stand still before what is there is looked through."""
ROUNDS = 3


class Sending(Struct, frozen=True):
    """How vectors are sent.

    Attributes:
        report: is told how many vectors are there, also those from before.
        patience: seconds that the count may stand still before what is there is looked through.
    """

    service: PineconeService
    report: Callable[[int], None]
    patience: float = PATIENCE_SECONDS


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
        AichatError: as the service does; the same again goes on from there.
    """
    with shielded(), database.transaction():
        namespace = namespaces.find(database, collection.seq, "filling")
        if namespace is not None and (namespace.index_name, namespace.host) != (index.name, index.host):
            namespaces.leave_one(database, namespace)
            namespace = None
        if namespace is None:
            namespace = namespaces.create(database, collection.seq, index.name, index.host)
    before = sent = namespaces.count_up_to(database, collection.seq, namespace.filled_to)
    sending.report(sent)
    last = namespace.filled_to
    while batch := _next(database, namespace, last):
        send_vectors(namespace, sending.service, batch)
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
        send_changes(database, namespace, sending.service)
        is_right = _has_count(database, namespace, sending)
        is_alike = _is_like_here(database, namespace, sending.service)
        if is_right and is_alike and not every_id:
            return vectors.stored_count(database, namespace.collection)
        changed = _put_right(database, namespace, sending.service, every_vector=is_right and not is_alike)
        if is_right and is_alike and not changed:
            return vectors.stored_count(database, namespace.collection)
    there = sending.service.count(namespace.host, namespace.name)
    here = vectors.stored_count(database, namespace.collection)
    raise BadResponse(
        f"The index {namespace.index_name} at Pinecone has {there:,} vectors where {here:,} were sent, or others than those.",
        hint="Nothing is lost. The same command again goes on from there",
    )


def clear_away(database: Database, service: Callable[[], PineconeService]) -> None:
    """Delete at Pinecone what is neither searched nor filled any more; raises as the service does."""
    for namespace in namespaces.in_state(database, "leaving"):
        try:
            # Its client reads no answer to a deletion; whoever else may be there does not know how to count.
            service().count(namespace.host, namespace.name)
            service().delete_namespace(namespace.host, namespace.name)
        except UNREACHABLE:
            # With its index every namespace is gone.
            if namespace.index_name in service().indexes():
                raise
        with shielded(), database.transaction():
            namespaces.forget(database, namespace)


def _next(database: Database, namespace: Namespace, after: int) -> dict[int, bytes]:
    """The next vectors to send; what changes of them is noted from now on, and after the last, whatever changes."""
    with shielded(), database.transaction():
        batch = namespaces.vectors_after(database, namespace.collection, after, SENT_TOGETHER)
        namespaces.note_up_to(database, namespace, max(batch, default=namespaces.EVERY_CHUNK))
    return batch


def _has_count(database: Database, namespace: Namespace, sending: Sending) -> bool:
    """Wait until as many are counted there as are here, for as long as the count moves."""
    seen, since, pause = -1, time.monotonic(), 0.05
    while True:
        there = sending.service.count(namespace.host, namespace.name)
        if there == vectors.stored_count(database, namespace.collection):
            return True
        if there != seen:
            seen, since = there, time.monotonic()
        elif time.monotonic() - since > sending.patience:
            return False
        time.sleep(min(pause, sending.patience / 4))
        pause = min(2 * pause, 2.0)


def _is_like_here(database: Database, namespace: Namespace, service: PineconeService) -> bool:
    """Whether a sample of the vectors there is what is stored here."""
    every = chunks.in_collection(database, namespace.collection)
    sample = every[:: max(1, len(every) // FETCHED_AT_ONCE)][:FETCHED_AT_ONCE]
    stored = chunks.vectors_of(database, sample)
    if not stored:
        return True
    there = service.fetch(namespace.host, namespace.name, [str(seq) for seq in stored])
    return all(_is_close(there.get(str(seq)), vector) for seq, vector in stored.items())


def _is_close(there: object, stored: bytes) -> bool:
    import numpy as np

    here = unpacked(stored)
    values = np.asarray(there if there is not None else [], dtype=np.float32)
    return values.shape == here.shape and bool(np.abs(values - here).max() <= TOLERANCE)


def _put_right(database: Database, namespace: Namespace, service: PineconeService, *, every_vector: bool) -> int:
    """Compare the ids of all vectors; note what is missing there, delete what is there beyond. How many that were.

    Args:
        every_vector: note all of them, whatever is there.
    """
    missing = namespaces.stored_seqs(database, namespace.collection)
    there: set[int] = set()
    beyond: list[str] = []
    for page in service.ids(namespace.host, namespace.name):
        for id_ in page:
            seq = int(id_) if id_.isdecimal() else -1
            if seq in missing:
                there.add(seq)
            else:
                beyond.append(id_)
    if beyond:
        service.delete(namespace.host, namespace.name, beyond)
    if not every_vector:
        missing -= there
    if missing:
        with shielded(), database.transaction():
            namespaces.note(database, namespace.collection, sorted(missing))
    return len(missing) + len(beyond)
