"""Files attached to messages. One content is stored once, under its SHA-256."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aichat_cli.core.clock import utc_now
from aichat_cli.core.ids import ConversationId, MessageId, new_id
from aichat_cli.core.messages import Attachment
from aichat_cli.storage.database import Database


@dataclass(frozen=True, slots=True)
class AttachmentInfo:
    """What a file is called, what it is, and how many bytes it has."""

    name: str
    media_type: str
    size: int


def insert(db: Database, message_id: MessageId, attachments: Iterable[Attachment]) -> None:
    """Attach files to a stored message, inside the caller's transaction."""
    for attachment in attachments:
        db.execute(
            "INSERT OR IGNORE INTO blobs (sha256, content) VALUES (?, ?)", (attachment.sha256, attachment.content)
        )
        db.execute(
            "INSERT INTO attachments (id, message_id, sha256, name, media_type, bytes, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                new_id(),
                message_id,
                attachment.sha256,
                attachment.name,
                attachment.media_type,
                len(attachment.content),
                utc_now(),
            ),
        )


def of_messages(db: Database, message_ids: Iterable[MessageId]) -> dict[MessageId, tuple[Attachment, ...]]:
    """The files of some messages, in the order they were attached; messages without any are left out."""
    import json

    rows = db.rows(
        "SELECT a.message_id, a.name, a.media_type, b.content FROM attachments a JOIN blobs b ON b.sha256 = a.sha256"
        " WHERE a.message_id IN (SELECT value FROM json_each(?)) ORDER BY a.seq",
        (json.dumps(list(message_ids)),),
    )
    found: dict[MessageId, tuple[Attachment, ...]] = {}
    for message_id, name, media_type, content in rows:
        found[message_id] = (*found.get(message_id, ()), Attachment(name, media_type, content))
    return found


def described(db: Database, conversation_id: ConversationId) -> dict[MessageId, list[AttachmentInfo]]:
    """The files of a conversation's messages without their content; messages without any are left out."""
    rows = db.rows(
        "SELECT a.message_id, a.name, a.media_type, a.bytes FROM messages m JOIN attachments a ON a.message_id = m.id"
        " WHERE m.conversation_id = ? ORDER BY a.seq",
        (conversation_id,),
    )
    found: dict[MessageId, list[AttachmentInfo]] = {}
    for message_id, name, media_type, size in rows:
        found.setdefault(message_id, []).append(AttachmentInfo(name, media_type, size))
    return found
