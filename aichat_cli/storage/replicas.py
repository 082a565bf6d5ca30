"""Conversations, messages and usage as other devices changed them, written here. All inside the caller's transaction, in
which nothing is recorded (`sync_state.applying`), and with foreign keys checked at its end.
"""

from __future__ import annotations

from typing import Any

from aichat_cli.core.ids import LOCAL_PROFILE
from aichat_cli.storage import outbox, usage
from aichat_cli.storage.database import Database

FIELDS = {"title": "title", "system_prompt": "system_prompt", "model": "model", "trashed_at": "deleted_at"}
"""The fields of a conversation that are merged, besides its head, and their columns."""


def conversation(db: Database, conversation_id: str) -> dict[str, Any] | None:
    """A conversation as it is here, None where it is not."""
    row = db.row(
        "SELECT title, system_prompt, model, deleted_at, head_id, updated_at FROM conversations WHERE id = ?",
        (conversation_id,),
    )
    names = ("title", "system_prompt", "model", "trashed_at", "head_id", "updated_at")
    return None if row is None else dict(zip(names, row, strict=True))


def insert_conversation(db: Database, change: dict[str, Any]) -> None:
    """Write a conversation that is not here; its head comes after its messages."""
    db.execute(
        "INSERT INTO conversations (id, user_id, title, system_prompt, model, created_at, updated_at, deleted_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            change["id"],
            LOCAL_PROFILE,
            change["title"],
            change["system_prompt"],
            change["model"],
            change["created_at"],
            change["updated_at"],
            change["trashed_at"],
        ),
    )


def set_field(db: Database, conversation_id: str, field: str, value: str | None) -> None:
    """Set one of FIELDS."""
    db.execute(f"UPDATE conversations SET {FIELDS[field]} = ? WHERE id = ?", (value, conversation_id))  # noqa: S608


def set_updated(db: Database, conversation_id: str, updated_at: str) -> None:
    """Set when a conversation was last written to."""
    db.execute(
        "UPDATE conversations SET updated_at = ?1 WHERE id = ?2 AND updated_at <> ?1", (updated_at, conversation_id)
    )


def set_head(db: Database, conversation_id: str, head_id: str | None) -> None:
    """Set the head; one that is not here changes nothing, nor is a head taken away that is still being written."""
    db.execute(
        "UPDATE conversations SET head_id = ?1 WHERE id = ?2 AND head_id IS NOT ?1"
        " AND (?1 IS NULL OR EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND conversation_id = ?2))"
        " AND NOT EXISTS (SELECT 1 FROM messages WHERE id = head_id AND status = 'streaming')",
        (head_id, conversation_id),
    )


def delete_conversation(db: Database, conversation_id: str) -> bool:
    """Delete a conversation for good; whether it was here."""
    return db.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,)) > 0


def is_being_written(db: Database, conversation_id: str) -> bool:
    """Whether an answer in it is still being written."""
    sql = "SELECT 1 FROM messages WHERE conversation_id = ? AND status = 'streaming' LIMIT 1"
    return db.row(sql, (conversation_id,)) is not None


def defer_deletion(db: Database, conversation_id: str) -> None:
    """Delete it once nobody writes in it any more."""
    db.execute("INSERT OR IGNORE INTO sync_deferred (conversation_id) VALUES (?)", (conversation_id,))


def deferred_deletions(db: Database) -> list[str]:
    """What was put off and can be done now."""
    rows = db.rows(
        "SELECT conversation_id FROM sync_deferred d WHERE NOT EXISTS"
        " (SELECT 1 FROM messages m WHERE m.conversation_id = d.conversation_id AND m.status = 'streaming')"
    )
    return [row[0] for row in rows]


def settle_deferred(db: Database, conversation_id: str) -> None:
    """It is deleted."""
    db.execute("DELETE FROM sync_deferred WHERE conversation_id = ?", (conversation_id,))


def insert_message(db: Database, change: dict[str, Any]) -> bool:
    """Write a message that is not here into a conversation that is; whether it was written."""
    written = db.execute(
        "INSERT INTO messages (id, conversation_id, parent_id, role, content, reasoning, status, model, finish_reason,"
        " error, extra, created_at, updated_at)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12"
        " WHERE EXISTS (SELECT 1 FROM conversations WHERE id = ?2) AND NOT EXISTS (SELECT 1 FROM messages WHERE id = ?1)",
        (
            change["id"],
            change["conversation_id"],
            change["parent_id"],
            change["role"],
            change["content"],
            change["reasoning"],
            change["status"],
            change["model"],
            change["finish_reason"],
            change["error"],
            change["extra"],
            change["created_at"],
        ),
    )
    if not written:
        return False
    for file in change["attachments"]:
        db.execute(
            "INSERT OR IGNORE INTO attachments (id, message_id, sha256, name, media_type, bytes, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                file["id"],
                change["id"],
                file["sha256"],
                file["name"],
                file["media_type"],
                file["bytes"],
                file["created_at"],
            ),
        )
    return True


def insert_usage(db: Database, change: dict[str, Any]) -> bool:
    """Write a call that is not in the books here; whether it was written.

    Of one that is, what it belongs to is filled in where only one side knows: here, or there with the next that is sent.
    """
    places = ", ".join(f"?{number}" for number in range(5, 5 + len(outbox.USAGE_FIELDS)))
    written = db.execute(
        f"INSERT INTO usage (request_id, user_id, conversation_id, message_id, {', '.join(outbox.USAGE_FIELDS)})"  # noqa: S608
        " SELECT ?1, ?2, (SELECT id FROM conversations WHERE id = ?3), (SELECT id FROM messages WHERE id = ?4),"
        f" {places} WHERE NOT EXISTS (SELECT 1 FROM usage WHERE request_id = ?1)",
        (
            change["id"],
            LOCAL_PROFILE,
            change["conversation_id"],
            change["message_id"],
            *(change[name] for name in outbox.USAGE_FIELDS),
        ),
    )
    if written:
        return True
    usage.refer(db, change["id"], change["conversation_id"], change["message_id"])
    db.execute(
        "INSERT INTO outbox (kind, id) SELECT 'usage', request_id FROM usage WHERE request_id = ?1"
        " AND (conversation_id IS NOT NULL AND ?2 IS NULL OR message_id IS NOT NULL AND ?3 IS NULL)"
        " AND NOT EXISTS (SELECT 1 FROM outbox WHERE kind = 'usage' AND id = ?1)",
        (change["id"], change["conversation_id"], change["message_id"]),
    )
    return False


def absent_conversations(db: Database) -> list[str]:
    """Conversations that are here, are not among all that was staged, and were not begun here since."""
    rows = db.rows(
        "SELECT id FROM conversations c WHERE id NOT IN (SELECT id FROM sync_staged WHERE kind = 'conversation')"
        " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = c.id AND o.kind = 'conversation' AND o.field = '*')"
    )
    return [row[0] for row in rows]


def finish(db: Database, cursor: int) -> None:
    """All up to `cursor` is applied."""
    db.execute("UPDATE sync_state SET cursor = ?1, staged_to = ?1, resync = ''", (cursor,))
