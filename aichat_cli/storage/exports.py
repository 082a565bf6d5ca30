"""Whole conversations, read for an export: one at a time, so that memory is bounded by the largest."""

from __future__ import annotations

from aichat_cli.core.export import ExportedConversation, ExportedMessage
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.storage import attachments, conversations, messages
from aichat_cli.storage.database import Database


def read(db: Database, conversation_id: ConversationId) -> ExportedConversation:
    """A conversation with all its branches, attachments and extras; raises NotFound."""
    conversation = conversations.get(db, conversation_id)
    every = messages.of_conversation(db, conversation_id)
    extras: dict[MessageId, str] = dict(
        db.rows("SELECT id, extra FROM messages WHERE conversation_id = ? AND extra IS NOT NULL", (conversation_id,))
    )
    with_files = db.rows(
        "SELECT DISTINCT a.message_id FROM messages m JOIN attachments a ON a.message_id = m.id"
        " WHERE m.conversation_id = ?",
        (conversation_id,),
    )
    files = attachments.of_messages(db, [row[0] for row in with_files]) if with_files else {}
    return ExportedConversation(
        conversation,
        tuple(ExportedMessage(each, extras.get(each.id), files.get(each.id, ())) for each in every),
    )
