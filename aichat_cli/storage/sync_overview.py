"""What people are told of sync: how much there is here, what waits to be sent."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database


class Contents(Struct, frozen=True):
    """How much a database holds."""

    conversations: int
    messages: int
    documents: int


def contents(db: Database) -> Contents:
    """How much there is here."""
    [row] = db.rows(
        "SELECT (SELECT count(*) FROM conversations WHERE deleted_at IS NULL), (SELECT count(*) FROM messages m"
        " JOIN conversations c ON c.id = m.conversation_id WHERE c.deleted_at IS NULL), (SELECT count(*) FROM documents)"
    )
    return Contents(*row)


def pending(db: Database) -> dict[str, int]:
    """Of how many things changes are not confirmed, by kind; deletions are a kind of their own."""
    return dict(db.rows("SELECT kind, count(DISTINCT id) FROM outbox GROUP BY kind"))


def writing(db: Database) -> int:
    """How many answers are being written: what hangs on them waits."""
    [(count,)] = db.rows("SELECT count(*) FROM messages WHERE status = 'streaming'")
    return int(count)


def pending_titles(db: Database, *, limit: int) -> list[str]:
    """The titles of conversations in which something is not confirmed, the last changed first."""
    rows = db.rows(
        "SELECT c.title FROM conversations c WHERE c.id IN (SELECT id FROM outbox WHERE kind = 'conversation'"
        " UNION SELECT m.conversation_id FROM outbox o JOIN messages m ON m.id = o.id WHERE o.kind = 'message')"
        " ORDER BY c.updated_at DESC LIMIT ?",
        (limit,),
    )
    return [title for (title,) in rows]


def pending_documents(db: Database, *, limit: int) -> list[str]:
    """The names of documents that are not confirmed, the last read first."""
    rows = db.rows(
        "SELECT name FROM documents WHERE id IN (SELECT id FROM outbox WHERE kind = 'document')"
        " ORDER BY updated_at DESC LIMIT ?",
        (limit,),
    )
    return [name for (name,) in rows]


def present(db: Database, kind: str, ids: Sequence[str]) -> int:
    """How many of some conversations or documents are here."""
    table = {"conversation": "conversations", "document": "documents"}[kind]
    [(count,)] = db.rows(
        f"SELECT count(*) FROM {table} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608 (the names are ours)
        (json.dumps(list(ids)),),
    )
    return int(count)


class Where(Struct, frozen=True):
    """What another device may have done to a conversation: `is_deleted` also where it is in the trash."""

    is_deleted: bool
    title: str
    head_id: str | None


def where(db: Database, conversation_id: str) -> Where:
    """How a conversation is now."""
    row = db.row("SELECT deleted_at IS NOT NULL, title, head_id FROM conversations WHERE id = ?", (conversation_id,))
    return Where(True, "", None) if row is None else Where(bool(row[0]), row[1], row[2])
