"""Messages, read: one, a branch from root to tip, or all of a conversation. `turns` writes them.

Attachments are named, never read: `attachments.of_messages` does that.
"""

from __future__ import annotations

import json
from typing import Any

from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import AttachmentSummary, Message, Role, Status
from aichat_cli.core.struct import Struct
from aichat_cli.storage import sources
from aichat_cli.storage.database import Database

# The cost of a message is unknown (NULL) as soon as one of its calls has no known price.
_MESSAGE = """
SELECT m.id, m.conversation_id, m.parent_id, m.role, m.content, m.reasoning, m.status, m.model, m.finish_reason,
       m.error, sum(u.input_tokens), sum(u.output_tokens),
       CASE WHEN count(u.cost_nano) = count(u.request_id) THEN sum(u.cost_nano) END, m.created_at,
       (SELECT json_group_array(json_array(a.name, a.media_type, a.bytes) ORDER BY a.seq)
        FROM attachments a WHERE a.message_id = m.id),
       CASE WHEN m.role = 'tool' AND json_valid(m.extra) THEN m.extra ->> 'name' END,
       CASE WHEN m.role = 'assistant' AND json_valid(m.extra) THEN m.extra -> 'passages' END
"""


class Excerpt(Struct, frozen=True):
    """A message as a list or a preview shows it: `text` is the beginning of its content."""

    id: MessageId
    parent_id: MessageId | None
    role: Role
    text: str
    status: Status
    model: str | None
    created_at: str


def get(db: Database, message_id: MessageId) -> Message:
    """One message; raises NotFound."""
    sql = f"{_MESSAGE} FROM messages m LEFT JOIN usage u ON u.message_id = m.id WHERE m.id = ? GROUP BY m.seq"
    row = db.row(sql, (message_id,))
    if row is None:
        raise NotFound(f"There is no message {message_id}.", hint="Run: aichat history list")
    return _message(row)


def branch(db: Database, head_id: MessageId | None) -> list[Message]:
    """The messages from the root to `head_id`; none where it is None or does not exist."""
    # UNION ALL with a depth keeps the order of the walk, which creation times need not have.
    sql = f"""
    WITH RECURSIVE path (seq, parent_id, depth) AS (
      SELECT seq, parent_id, 0 FROM messages WHERE id = ?
      UNION ALL
      SELECT m.seq, m.parent_id, path.depth + 1 FROM path JOIN messages m ON m.id = path.parent_id
    )
    {_MESSAGE} FROM path JOIN messages m ON m.seq = path.seq LEFT JOIN usage u ON u.message_id = m.id
    GROUP BY m.seq ORDER BY path.depth DESC
    """  # noqa: S608 (the text is ours)
    return [_message(row) for row in db.rows(sql, (head_id,))]


def of_conversation(db: Database, conversation_id: ConversationId) -> list[Message]:
    """All messages of a conversation, all branches, in the order they were written."""
    sql = f"""{_MESSAGE} FROM messages m LEFT JOIN usage u ON u.message_id = m.id
    WHERE m.conversation_id = ? GROUP BY m.seq ORDER BY m.seq"""
    return [_message(row) for row in db.rows(sql, (conversation_id,))]


def children(db: Database, message_id: MessageId | None, conversation_id: ConversationId) -> list[Message]:
    """The messages that follow one, oldest first; the roots where `message_id` is None."""
    sql = f"""{_MESSAGE} FROM messages m LEFT JOIN usage u ON u.message_id = m.id
    WHERE m.conversation_id = ? AND m.parent_id IS ? GROUP BY m.seq ORDER BY m.seq"""
    return [_message(row) for row in db.rows(sql, (conversation_id, message_id))]


def outline(db: Database, conversation_id: ConversationId, *, longest: int) -> list[Excerpt]:
    """All messages of a conversation in the order they were written, at most `longest` characters of each."""
    rows = db.rows(
        "SELECT id, parent_id, role, substr(content, 1, ?), status, model, created_at FROM messages"
        " WHERE conversation_id = ? ORDER BY seq",
        (longest, conversation_id),
    )
    return [Excerpt(*row) for row in rows]


def tail(db: Database, head_id: MessageId | None, *, limit: int, longest: int) -> list[Excerpt]:
    """The last messages of the branch that ends at `head_id`, oldest first, at most `longest` characters of each."""
    rows = db.rows(
        "WITH RECURSIVE path (seq, parent_id, depth) AS ("
        " SELECT seq, parent_id, 1 FROM messages WHERE id = ?"
        " UNION ALL"
        " SELECT m.seq, m.parent_id, path.depth + 1 FROM path JOIN messages m ON m.id = path.parent_id"
        " WHERE path.depth < ?)"
        " SELECT m.id, m.parent_id, m.role, substr(m.content, 1, ?), m.status, m.model, m.created_at"
        " FROM path JOIN messages m ON m.seq = path.seq ORDER BY path.depth DESC",
        (head_id, limit, longest),
    )
    return [Excerpt(*row) for row in rows]


def _message(row: tuple[Any, ...]) -> Message:
    *fields, attached, tool_name, passages = row
    return Message(*(*fields, _summaries(attached), tool_name, sources.parsed(passages)))


def _summaries(listed: str) -> tuple[AttachmentSummary, ...]:
    return tuple(AttachmentSummary(*file) for file in json.loads(listed)) if listed != "[]" else ()
