"""What was changed here and is not confirmed by the hosted database yet. Triggers fill it (migration 0005)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database

_WAITING = """
WITH RECURSIVE waiting (id) AS (
  SELECT id FROM messages WHERE status = 'streaming'
  UNION
  SELECT m.id FROM waiting JOIN messages m ON m.parent_id = waiting.id
)
SELECT o.seq FROM outbox o WHERE o.mid IS NULL AND (
  (o.kind = 'message' AND o.id IN waiting)
  OR (o.kind = 'conversation' AND o.field = 'head_id' AND (o.value ->> 'head_id') IN waiting)
  OR (o.kind = 'usage' AND EXISTS (SELECT 1 FROM usage u WHERE u.request_id = o.id AND u.message_id IN waiting))
)
"""
"""What hangs on an answer that is still being written."""

_TOO_EARLY = """
SELECT o.seq FROM outbox o
LEFT JOIN messages m ON o.kind = 'message' AND m.id = o.id
LEFT JOIN usage u ON o.kind = 'usage' AND u.request_id = o.id
JOIN outbox named ON named.kind = 'message' AND ifnull(named.mid, 0) = 0 AND +named.seq > o.seq
  AND named.id = CASE o.kind WHEN 'message' THEN m.parent_id WHEN 'usage' THEN u.message_id ELSE o.value ->> 'head_id' END
WHERE o.mid IS NULL ORDER BY o.seq
"""
"""What names a message that comes after it: what was written below an answer before that was complete. Written so that the
message is looked up by its id, and not sought in the whole outbox."""


class Change(Struct, frozen=True):
    """A change that has its number."""

    mid: int
    uid: str
    clock: int
    kind: str
    id: str
    field: str
    value: str | None


def number(db: Database) -> int:
    """Give numbers to all changes that can be sent, in their order; how many wait for an answer to be complete.

    Changes that a later one makes pointless are dropped before they have a number.
    """
    if db.row("SELECT 1 FROM outbox WHERE mid IS NULL LIMIT 1") is None:
        return 0
    with db.transaction():
        db.execute(
            "DELETE FROM outbox WHERE mid IS NULL AND kind <> 'message' AND EXISTS ("
            " SELECT 1 FROM outbox later WHERE later.id = outbox.id AND later.kind = outbox.kind"
            " AND later.field = outbox.field AND later.seq > outbox.seq)"
        )
        # Any other change of a conversation brings the time of its last one along.
        db.execute(
            "DELETE FROM outbox WHERE mid IS NULL AND field = 'updated_at' AND EXISTS ("
            " SELECT 1 FROM outbox other WHERE other.id = outbox.id AND other.kind = 'conversation'"
            " AND other.field <> 'updated_at' AND other.mid IS NULL)"
        )
        while too_early := db.rows(_TOO_EARLY):
            db.execute_many("UPDATE outbox SET seq = (SELECT max(seq) + 1 FROM outbox) WHERE seq = ?", too_early)
        waiting = [seq for (seq,) in db.rows(_WAITING)]
        db.execute(
            "UPDATE outbox SET mid = given.mid FROM ("
            " SELECT seq, (SELECT last_mid FROM sync_state) + row_number() OVER (ORDER BY seq) AS mid FROM outbox"
            " WHERE mid IS NULL AND seq NOT IN (SELECT value FROM json_each(?))) AS given"
            " WHERE outbox.seq = given.seq",
            (json.dumps(waiting),),
        )
        db.execute("UPDATE sync_state SET last_mid = max(last_mid, (SELECT coalesce(max(mid), 0) FROM outbox))")
        return len(waiting)


def numbered(db: Database, *, after: int, limit: int) -> list[Change]:
    """Changes with a number, in its order, from beyond one."""
    rows = db.rows(
        "SELECT mid, uid, clock, kind, id, field, value FROM outbox WHERE mid > ? ORDER BY mid LIMIT ?", (after, limit)
    )
    return [Change(*row) for row in rows]


def uid_of(db: Database, mid: int) -> str | None:
    """The name of the change with a number, None where it is not in the outbox."""
    row = db.row("SELECT uid FROM outbox WHERE mid = ?", (mid,))
    return None if row is None else str(row[0])


def acknowledge(db: Database, mid: int, uid: str | None) -> None:
    """All changes up to a number were received."""
    with db.transaction():
        db.execute("DELETE FROM outbox WHERE mid <= ?", (mid,))
        db.execute("UPDATE sync_state SET acked_mid = ?1, acked_uid = ?2 WHERE acked_mid < ?1", (mid, uid))


def pending(db: Database) -> dict[str, int]:
    """How many changes are not confirmed, by kind."""
    return dict(db.rows("SELECT replace(kind, '_delete', ''), count(*) FROM outbox GROUP BY 1"))


def pending_fields(db: Database, conversation_id: str) -> dict[str, int]:
    """The fields of a conversation that were set here and are not confirmed, each with the clock of the last time."""
    found: dict[str, int] = {}
    for clock, value in db.rows(
        "SELECT clock, value FROM outbox WHERE id = ? AND kind = 'conversation' ORDER BY seq", (conversation_id,)
    ):
        found |= dict.fromkeys(json.loads(value), clock)
    return found


def is_pending(db: Database, kind: str, id_: str) -> bool:
    """Whether there is an unconfirmed change of that kind."""
    return db.row("SELECT 1 FROM outbox WHERE id = ? AND kind = ? LIMIT 1", (id_, kind)) is not None


def has_changes_in(db: Database, conversation_id: str) -> bool:
    """Whether anything in a conversation was changed here and is not confirmed: a field, or a message."""
    return (
        db.row(
            "SELECT 1 FROM outbox WHERE id = ?1 AND kind = 'conversation' UNION ALL"
            " SELECT 1 FROM messages m JOIN outbox o ON o.id = m.id AND o.kind = 'message'"
            " WHERE m.conversation_id = ?1 LIMIT 1",
            (conversation_id,),
        )
        is not None
    )


def forget(db: Database, kinds: Sequence[str], ids: Iterable[str]) -> None:
    """Take changes out that have no number yet, inside the caller's transaction."""
    db.execute(
        "DELETE FROM outbox WHERE mid IS NULL AND kind IN (SELECT value FROM json_each(?))"
        " AND id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(kinds)), json.dumps(list(ids))),
    )


def enqueue_missing(db: Database) -> None:
    """Put all that is here, and not among what was staged, into the outbox, inside the caller's transaction."""
    missing = "NOT IN (SELECT id FROM sync_staged WHERE kind = '{}') AND {} NOT IN (SELECT id FROM outbox)"
    db.execute(
        "INSERT INTO outbox (kind, id, field, value) SELECT 'conversation', id, '*', json_object('title', title,"  # noqa: S608
        " 'system_prompt', system_prompt, 'model', model, 'trashed_at', deleted_at)"
        f" FROM conversations WHERE id {missing.format('conversation', 'id')} ORDER BY seq"
    )
    # Parents first: a message has a greater seq than what it answers, but for imports, which name both at once.
    db.execute(
        "INSERT INTO outbox (kind, id) SELECT 'message', id FROM messages"  # noqa: S608
        f" WHERE status <> 'streaming' AND id {missing.format('message', 'id')} ORDER BY seq"
    )
    db.execute(
        "INSERT INTO outbox (kind, id, field, value)"
        " SELECT 'conversation', c.id, 'head_id', json_object('head_id', c.head_id) FROM conversations c"
        " LEFT JOIN messages m ON m.id = c.head_id"
        " WHERE c.head_id IS NOT NULL AND m.status IS NOT 'streaming'"
        " AND c.id NOT IN (SELECT id FROM sync_staged WHERE kind = 'conversation')"
        " AND c.id NOT IN (SELECT id FROM outbox WHERE field = 'head_id') ORDER BY c.seq"
    )
    db.execute(
        f"INSERT INTO outbox (kind, id) SELECT 'usage', request_id FROM usage"  # noqa: S608
        f" WHERE request_id {missing.format('usage', 'request_id')} ORDER BY created_at"
    )
    db.execute(
        "INSERT INTO outbox (kind, id) SELECT 'document', id FROM documents"  # noqa: S608
        f" WHERE (SELECT with_documents FROM sync_state) = 1 AND id {missing.format('document', 'id')} ORDER BY seq"
    )


def enqueue_field(db: Database, conversation_id: str, field: str, value: str | None) -> None:
    """Put one field of a conversation into the outbox, inside the caller's transaction."""
    db.execute(
        "INSERT INTO outbox (kind, id, field, value) VALUES ('conversation', ?1, ?2, json_object(?2, ?3))",
        (conversation_id, field, value),
    )


def conversations_to_send(db: Database, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """When conversations were made and last changed, by id."""
    rows = db.rows(
        "SELECT id, created_at, updated_at FROM conversations WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


_MESSAGE_FIELDS = (
    "id",
    "conversation_id",
    "parent_id",
    "role",
    "content",
    "reasoning",
    "status",
    "model",
    "finish_reason",
    "error",
    "extra",
    "created_at",
)
USAGE_FIELDS = (
    "type",
    "provider",
    "model",
    "served_model",
    "provider_id",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano",
    "provenance",
    "raw",
    "status",
    "created_at",
)
"""Of a call, besides what it belongs to."""
_DOCUMENT_FIELDS = (
    "name",
    "path",
    "root",
    "title",
    "media_type",
    "size",
    "etag",
    "settings",
    "chunk_count",
    "created_at",
    "updated_at",
)


def messages_to_send(db: Database, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Complete messages with their attachments listed, as they are sent, by id."""
    wanted = json.dumps(list(ids))
    files: dict[str, list[dict[str, Any]]] = {}
    for message_id, *file in db.rows(
        "SELECT message_id, id, sha256, name, media_type, bytes, created_at FROM attachments"
        " WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY seq",
        (wanted,),
    ):
        names = ("id", "sha256", "name", "media_type", "bytes", "created_at")
        files.setdefault(message_id, []).append(dict(zip(names, file, strict=True)))
    rows = db.rows(
        f"SELECT {', '.join(_MESSAGE_FIELDS)} FROM messages"  # noqa: S608
        " WHERE id IN (SELECT value FROM json_each(?)) AND status <> 'streaming'",
        (wanted,),
    )
    found = (dict(zip(_MESSAGE_FIELDS, row, strict=True)) for row in rows)
    return {each["id"]: {**each, "attachments": files.get(each["id"], [])} for each in found}


def sizes(db: Database, ids: Sequence[str]) -> dict[str, int]:
    """About how many bytes messages take, by id."""
    return dict(
        db.rows(
            "SELECT id, length(content) + length(reasoning) + 500 FROM messages"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
    )


def usage_to_send(db: Database, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Calls as they are sent, by the id of their request."""
    rows = db.rows(
        f"SELECT request_id, conversation_id, message_id, {', '.join(USAGE_FIELDS)} FROM usage"  # noqa: S608
        " WHERE request_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return {row[0]: dict(zip(("conversation_id", "message_id", *USAGE_FIELDS), row[1:], strict=True)) for row in rows}


def document_to_send(db: Database, document_id: str) -> tuple[int, dict[str, Any]] | None:
    """The seq of a document, and the document as it is sent; None where it is gone."""
    row = db.row(
        f"SELECT d.seq, c.name, c.embedding_model, c.dimensions, lower(hex(d.sha256)), d.{', d.'.join(_DOCUMENT_FIELDS)}"  # noqa: S608
        " FROM documents d JOIN collections c ON c.seq = d.collection_seq WHERE d.id = ?",
        (document_id,),
    )
    if row is None:
        return None
    names = ("collection", "embedding_model", "dimensions", "sha256", *_DOCUMENT_FIELDS)
    return row[0], dict(zip(names, row[1:], strict=True))


def chunks_to_send(db: Database, document_seq: int) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """The chunks of a document in their order as they are sent, each with its vector, float16, where it has one."""
    names = ("chunk_index", "content", "heading", "start_char", "end_char", "line", "page", "token_count", "hash")
    after = -1
    while rows := db.rows(
        "SELECT c.chunk_index, c.content, c.heading, c.start_char, c.end_char, c.line, c.page, c.token_count,"
        " lower(hex(c.hash)), v.vector FROM document_chunks c LEFT JOIN chunk_vectors v ON v.chunk_seq = c.seq"
        " WHERE c.document_seq = ? AND c.chunk_index > ? ORDER BY c.chunk_index LIMIT 200",
        (document_seq, after),
    ):
        for *chunk, vector in rows:
            yield dict(zip(names, chunk, strict=True)), vector
        after = rows[-1][0]


def file_content(db: Database, sha256: str) -> bytes | None:
    """The content of an attached file, None where it is not on this device."""
    row = db.row("SELECT content FROM blobs WHERE sha256 = ?", (sha256,))
    return None if row is None else row[0]


def has_numbered(db: Database) -> bool:
    """Whether anything can be sent."""
    return db.row("SELECT 1 FROM outbox WHERE mid IS NOT NULL LIMIT 1") is not None
