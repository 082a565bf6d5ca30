"""What is known here of the vectors elsewhere: the namespaces of the collections, and what is still to be sent there.

A change is noted in the transaction that makes it, and sent after it; whether it is an addition or a removal is told by
`chunk_vectors` at that time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from aichat_cli.core.documents import CollectionSeq
from aichat_cli.core.ids import new_id
from aichat_cli.core.struct import Struct
from aichat_cli.storage import liveness
from aichat_cli.storage.database import Database

State = Literal["filling", "searched", "leaving"]

_FIRST_MOVE = (1 << 30) + (1 << 29)
"""In the file of live locks, where those of collections whose vectors are being sent begin."""
EVERY_CHUNK = (1 << 62) - 1
_NAMESPACE = "SELECT seq, collection_seq, place, name, index_name, host, state, filled_to FROM vector_namespaces"


class Namespace(Struct, frozen=True):
    """The vectors of one collection at a place elsewhere.

    Attributes:
        place: its name: pinecone, or that of another package's store.
        name: as the place knows it.
        host: of the index it is in, as the program reaches it.
        filled_to: while it is being filled, the last chunk that is there.
    """

    seq: int
    collection: CollectionSeq
    place: str
    name: str
    index_name: str
    host: str
    state: State
    filled_to: int


def find(db: Database, collection: CollectionSeq, state: State) -> Namespace | None:
    """The namespace of a collection that is searched, or that is being filled."""
    row = db.row(f"{_NAMESPACE} WHERE collection_seq = ? AND state = ?", (collection, state))
    return Namespace(*row) if row else None


def places(db: Database) -> list[str]:
    """The places that there is, or was and is still to be deleted, anything of this database at."""
    return [place for (place,) in db.rows("SELECT DISTINCT place FROM vector_namespaces ORDER BY place")]


def in_state(db: Database, state: State) -> list[Namespace]:
    """All of one state, of whatever collection."""
    return [Namespace(*row) for row in db.rows(f"{_NAMESPACE} WHERE state = ? ORDER BY seq", (state,))]


def create(db: Database, collection: CollectionSeq, place: str, index_name: str, host: str) -> Namespace:
    """One to be filled, inside the caller's transaction. Its name is that of no other, also not of one that was deleted."""
    [(user_id, id_)] = db.rows("SELECT user_id, id FROM collections WHERE seq = ?", (collection,))
    name = f"{user_id}.{id_}.{new_id()[-8:]}"
    db.execute(
        "INSERT INTO vector_namespaces (collection_seq, place, name, index_name, host, state)"
        " VALUES (?, ?, ?, ?, ?, 'filling')",
        (collection, place, name, index_name, host),
    )
    [(seq,)] = db.rows("SELECT last_insert_rowid()")
    return Namespace(seq, collection, place, name, index_name, host, "filling", 0)


def note_up_to(db: Database, namespace: Namespace, last: int) -> None:
    """Chunks up to one are about to be sent, inside the caller's transaction: what changes of them is noted from now on."""
    db.execute("UPDATE vector_namespaces SET noted_to = max(noted_to, ?) WHERE seq = ?", (last, namespace.seq))


def advance(db: Database, namespace: Namespace, last: int) -> None:
    """Chunks up to one are there."""
    db.execute("UPDATE vector_namespaces SET filled_to = max(filled_to, ?) WHERE seq = ?", (last, namespace.seq))


def search_here(db: Database, namespace: Namespace) -> None:
    """It is filled and searched from now on, inside the caller's transaction."""
    db.execute(
        "UPDATE vector_namespaces SET state = 'searched', noted_to = ? WHERE seq = ?", (EVERY_CHUNK, namespace.seq)
    )


def leave(db: Database, collection: CollectionSeq) -> None:
    """The namespaces of a collection are neither searched nor filled any more, inside the caller's transaction."""
    db.execute(
        "DELETE FROM vector_changes WHERE namespace_seq IN"
        " (SELECT seq FROM vector_namespaces WHERE collection_seq = ?)",
        (collection,),
    )
    db.execute("UPDATE vector_namespaces SET state = 'leaving' WHERE collection_seq = ?", (collection,))


def leave_one(db: Database, namespace: Namespace) -> None:
    """One namespace is neither searched nor filled any more, inside the caller's transaction."""
    db.execute("DELETE FROM vector_changes WHERE namespace_seq = ?", (namespace.seq,))
    db.execute("UPDATE vector_namespaces SET state = 'leaving' WHERE seq = ?", (namespace.seq,))


def forget(db: Database, namespace: Namespace) -> None:
    """It is deleted there."""
    db.execute("DELETE FROM vector_namespaces WHERE seq = ? AND state = 'leaving'", (namespace.seq,))


def note(db: Database, collection: CollectionSeq, chunk_seqs: Sequence[int]) -> None:
    """The vectors of chunks were added or removed, inside the caller's transaction."""
    db.execute(
        "INSERT OR REPLACE INTO vector_changes (namespace_seq, chunk_seq) SELECT n.seq, j.value"
        " FROM vector_namespaces n, json_each(?) j"
        " WHERE n.collection_seq = ? AND n.state <> 'leaving' AND j.value <= n.noted_to",
        (json.dumps(list(chunk_seqs)), collection),
    )


def unsent(db: Database, namespace: Namespace, *, limit: int) -> list[tuple[int, int]]:
    """(seq of the change, chunk seq) of what is to be sent, the oldest first."""
    return db.rows(
        "SELECT seq, chunk_seq FROM vector_changes WHERE namespace_seq = ? AND sent_at IS NULL ORDER BY seq LIMIT ?",
        (namespace.seq, limit),
    )


def unsent_count(db: Database, place: str) -> int:
    """How much is to be sent to a place where it is searched."""
    [(count,)] = db.rows(
        "SELECT count(*) FROM vector_changes c JOIN vector_namespaces n ON n.seq = c.namespace_seq"
        " WHERE n.state = 'searched' AND c.sent_at IS NULL AND n.place = ?",
        (place,),
    )
    return int(count)


def mark_sent(db: Database, changes: Sequence[int], now: int) -> None:
    """Changes were sent; what was changed again meanwhile is another change."""
    db.execute(
        "UPDATE vector_changes SET sent_at = ? WHERE seq IN (SELECT value FROM json_each(?))",
        (now, json.dumps(list(changes))),
    )


def forget_sent(db: Database, namespace: Namespace, *, before: int) -> None:
    """Forget changes that every answer shows by now."""
    db.execute("DELETE FROM vector_changes WHERE namespace_seq = ? AND sent_at < ?", (namespace.seq, before))


def unsettled(db: Database, namespace: Namespace, *, since: int) -> list[int]:
    """Chunks whose changes an answer may not show: not sent, or sent only lately."""
    rows = db.rows(
        "SELECT chunk_seq FROM vector_changes WHERE namespace_seq = ? AND (sent_at IS NULL OR sent_at >= ?)",
        (namespace.seq, since),
    )
    return [seq for (seq,) in rows]


def vectors_after(db: Database, collection: CollectionSeq, after: int, limit: int) -> dict[int, bytes]:
    """Stored vectors of a collection by chunk seq, in the order of the chunks, from beyond one."""
    return dict(
        db.rows(
            "SELECT v.chunk_seq, v.vector FROM chunk_vectors v JOIN document_chunks c ON c.seq = v.chunk_seq"
            " JOIN documents d ON d.seq = c.document_seq WHERE v.chunk_seq > ? AND d.collection_seq = ?"
            " ORDER BY v.chunk_seq LIMIT ?",
            (after, collection, limit),
        )
    )


def stored_seqs(db: Database, collection: CollectionSeq) -> set[int]:
    """The chunks of a collection that have a stored vector."""
    return {
        seq
        for (seq,) in db.rows(
            "SELECT v.chunk_seq FROM documents d JOIN document_chunks c ON c.document_seq = d.seq"
            " JOIN chunk_vectors v ON v.chunk_seq = c.seq WHERE d.collection_seq = ?",
            (collection,),
        )
    }


def count_up_to(db: Database, collection: CollectionSeq, last: int) -> int:
    """How many stored vectors a collection has up to a chunk."""
    [(count,)] = db.rows(
        "SELECT count(*) FROM documents d JOIN document_chunks c ON c.document_seq = d.seq"
        " JOIN chunk_vectors v ON v.chunk_seq = c.seq WHERE d.collection_seq = ? AND c.seq <= ?",
        (collection, last),
    )
    return int(count)


def claim(db: Database, collection: CollectionSeq) -> bool:
    """Whether this process alone may send vectors of a collection now; `release` ends it."""
    return liveness.claim(db.path, _FIRST_MOVE + collection)


def release(db: Database, collection: CollectionSeq) -> None:
    """Others may send."""
    liveness.release(db.path, _FIRST_MOVE + collection)
