"""Forks: a conversation of its own from a copy of one branch of another.

Messages are copied with their times, under new ids; what they cost stays with the originals, so nothing is paid twice.
"""

from __future__ import annotations

import json
import re

from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import ConversationId, MessageId, new_id
from aichat_cli.storage.database import Database

_NUMBERED = re.compile(r"(?P<plain>.*) \(fork(?: (?P<number>\d{1,6}))?\)", re.DOTALL)


def fork(db: Database, conversation_id: ConversationId, head_id: MessageId | None = None) -> ConversationId:
    """Copy the branch that ends at `head_id`, or the one in use, into a new conversation, and return its id.

    An answer that is still being written is copied as far as it is, as `stopped`.

    Raises:
        NotFound: there is no such conversation, or no such message in it.
    """
    with db.transaction():
        source = db.row("SELECT title, head_id FROM conversations WHERE id = ?", (conversation_id,))
        if source is None:
            raise NotFound(f'There is no conversation "{conversation_id}".', hint="Run: aichat history list")
        path = _path(db, conversation_id, head_id or source[1])
        if head_id is not None and not path:
            raise NotFound(f"There is no message {head_id} in conversation {conversation_id}.")
        fork_id = ConversationId(new_id())
        db.execute(
            "INSERT INTO conversations (id, user_id, title, system_prompt, model, created_at, updated_at)"
            " SELECT ?, user_id, ?, system_prompt, model, created_at, ? FROM conversations WHERE id = ?",
            (fork_id, _title(source[0]), utc_now(), conversation_id),
        )
        new_ids = [new_id() for _ in path]
        copies = [list(copy) for copy in zip(path, new_ids, [None, *new_ids], strict=False)]
        _copy(db, fork_id, json.dumps(copies))
        db.execute("UPDATE conversations SET head_id = ? WHERE id = ?", (new_ids[-1] if new_ids else None, fork_id))
        return fork_id


def _path(db: Database, conversation_id: ConversationId, head_id: MessageId | None) -> list[int]:
    rows = db.rows(
        "WITH RECURSIVE path (seq, parent_id, depth) AS ("
        " SELECT seq, parent_id, 0 FROM messages WHERE id = ? AND conversation_id = ?"
        " UNION ALL"
        " SELECT m.seq, m.parent_id, path.depth + 1 FROM path JOIN messages m ON m.id = path.parent_id)"
        " SELECT seq FROM path ORDER BY depth DESC",
        (head_id, conversation_id),
    )
    return [row[0] for row in rows]


def _copy(db: Database, fork_id: ConversationId, copies: str) -> None:
    """Copy messages and their files; `copies` is JSON: [the original's seq, its new id, its parent's new id]."""
    db.execute(
        "INSERT INTO messages (id, conversation_id, parent_id, role, content, reasoning, status, model, finish_reason,"
        " error, extra, created_at, updated_at)"
        " SELECT copy.value ->> 1, ?, copy.value ->> 2, m.role, m.content, m.reasoning,"
        " CASE m.status WHEN 'streaming' THEN 'stopped' ELSE m.status END,"
        " m.model, m.finish_reason, m.error, m.extra, m.created_at, m.updated_at"
        " FROM json_each(?) copy JOIN messages m ON m.seq = copy.value ->> 0 ORDER BY copy.key",
        (fork_id, copies),
    )
    attached = db.rows(
        "SELECT a.seq, copy.value ->> 1 FROM json_each(?) copy JOIN messages m ON m.seq = copy.value ->> 0"
        " JOIN attachments a ON a.message_id = m.id ORDER BY a.seq",
        (copies,),
    )
    for seq, message_id in attached:
        db.execute(
            "INSERT INTO attachments (id, message_id, sha256, name, media_type, bytes, created_at)"
            " SELECT ?, ?, sha256, name, media_type, bytes, created_at FROM attachments WHERE seq = ?",
            (new_id(), message_id, seq),
        )


def _title(title: str) -> str:
    """`Rome` gives `Rome (fork)`, and that `Rome (fork 2)`."""
    numbered = _NUMBERED.fullmatch(title)
    if numbered is None:
        return f"{title} (fork)"
    return f"{numbered['plain']} (fork {int(numbered['number'] or 1) + 1})"
