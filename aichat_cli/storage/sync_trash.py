"""What lost to another device, kept on this one: a conversation with changes of its own, or a title. Restoring makes a
new conversation of it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import LOCAL_PROFILE, ConversationId, new_id
from aichat_cli.core.sync import TrashEntry, TrashKind
from aichat_cli.storage.database import Database

_COLUMNS = ("id", "parent_id", "role", "content", "reasoning", "status", "model", "finish_reason", "error", "extra")
_LISTED = "SELECT id, kind, conversation_id, title, created_at FROM sync_trash"


def listing(db: Database) -> tuple[TrashEntry, ...]:
    """What is kept, the newest first."""
    return tuple(TrashEntry(*row) for row in db.rows(f"{_LISTED} ORDER BY seq DESC"))


def keep_value(db: Database, kind: TrashKind, conversation_id: str, title: str, value: str | None) -> TrashEntry:
    """Keep what a field was, inside the caller's transaction."""
    return _keep(db, kind, conversation_id, title, {"value": value})


def keep_conversation(db: Database, conversation_id: str) -> TrashEntry | None:
    """Keep a conversation as it is, inside the caller's transaction; None where it is not here."""
    row = db.row(
        "SELECT title, system_prompt, model, head_id, created_at FROM conversations WHERE id = ?", (conversation_id,)
    )
    if row is None:
        return None
    names = ("title", "system_prompt", "model", "head_id", "created_at")
    messages = [
        {**dict(zip(_COLUMNS, fields, strict=True)), "created_at": created_at, "files": _files(db, fields[0])}
        for *fields, created_at in db.rows(
            f"SELECT {', '.join(_COLUMNS)}, created_at FROM messages WHERE conversation_id = ? ORDER BY seq",  # noqa: S608
            (conversation_id,),
        )
    ]
    content = {**dict(zip(names, row, strict=True)), "messages": messages}
    return _keep(db, "conversation", conversation_id, row[0], content)


def find(db: Database, reference: str) -> TrashEntry:
    """The entry whose id begins so; raises NotFound."""
    found = [entry for entry in listing(db) if entry.id.startswith(reference)] if reference else []
    if len(found) != 1:
        several = "several entries" if found else "no entry"
        raise NotFound(f'There is {several} "{reference}" in the trash of sync.', hint="Run: aichat sync trash")
    return found[0]


def content(db: Database, entry: TrashEntry) -> dict[str, Any]:
    """What is kept of an entry."""
    [(text,)] = db.rows("SELECT content FROM sync_trash WHERE id = ?", (entry.id,))
    kept: dict[str, Any] = json.loads(text)
    return kept


def remove(db: Database, entry: TrashEntry) -> None:
    """Delete an entry for good."""
    with db.transaction():
        db.execute("DELETE FROM sync_trash WHERE id = ?", (entry.id,))


def restore(db: Database, entry: TrashEntry) -> ConversationId:
    """Make a new conversation of one that is kept, and take the entry out.

    Raises:
        NotFound: it is a field, or its conversation is gone.
    """
    kept = content(db, entry)
    with db.transaction(durable=True):
        conversation_id = _restored(db, kept)
        db.execute("DELETE FROM sync_trash WHERE id = ?", (entry.id,))
    return conversation_id


def _restored(db: Database, kept: dict[str, Any]) -> ConversationId:
    conversation_id = ConversationId(new_id())
    now = utc_now()
    db.execute(
        "INSERT INTO conversations (id, user_id, title, system_prompt, model, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (conversation_id, LOCAL_PROFILE, kept["title"], kept["system_prompt"], kept["model"], kept["created_at"], now),
    )
    new_ids = {message["id"]: new_id() for message in kept["messages"]}
    for message in kept["messages"]:
        status = "stopped" if message["status"] == "streaming" else message["status"]
        values = {
            **message,
            "id": new_ids[message["id"]],
            "parent_id": new_ids.get(message["parent_id"]),
            "status": status,
        }
        db.execute(
            f"INSERT INTO messages (conversation_id, {', '.join(_COLUMNS)}, created_at, updated_at)"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (conversation_id, *(values[name] for name in _COLUMNS), message["created_at"], now),
        )
        for file in message["files"]:
            if file["content"] is not None:
                data = b64decode(file["content"])
                db.execute("INSERT OR IGNORE INTO blobs (sha256, content) VALUES (?, ?)", (file["sha256"], data))
            db.execute(
                "INSERT INTO attachments (id, message_id, sha256, name, media_type, bytes, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    new_id(),
                    values["id"],
                    file["sha256"],
                    file["name"],
                    file["media_type"],
                    file["bytes"],
                    message["created_at"],
                ),
            )
    head_id = new_ids.get(kept["head_id"])
    db.execute("UPDATE conversations SET head_id = ? WHERE id = ?", (head_id, conversation_id))
    return conversation_id


def _keep(db: Database, kind: TrashKind, conversation_id: str, title: str, content: dict[str, Any]) -> TrashEntry:
    entry = TrashEntry(new_id(), kind, conversation_id, title, utc_now())
    db.execute(
        "INSERT INTO sync_trash (id, kind, conversation_id, title, content, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (
            entry.id,
            kind,
            conversation_id,
            title,
            json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"),
            entry.created_at,
        ),
    )
    return entry


def _files(db: Database, message_id: str) -> list[dict[str, Any]]:
    rows = db.rows(
        "SELECT a.sha256, a.name, a.media_type, a.bytes, b.content FROM attachments a"
        " LEFT JOIN blobs b ON b.sha256 = a.sha256 WHERE a.message_id = ? ORDER BY a.seq",
        (message_id,),
    )
    return [
        {
            "sha256": sha256,
            "name": name,
            "media_type": media_type,
            "bytes": size,
            "content": None if data is None else b64encode(data).decode(),
        }
        for sha256, name, media_type, size, data in rows
    ]
