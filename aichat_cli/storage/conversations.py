"""Conversations: found, listed, renamed, moved over, put in the trash and deleted. `turns.begin` makes them.

What is in the trash is neither listed nor found; only its whole id reaches it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import NotFound, UsageError
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Conversation
from aichat_cli.storage.database import Database, Value

SHORTEST_PREFIX = 4
MOST_CANDIDATES = 5

_CONVERSATION = """
SELECT id, title, system_prompt, model, head_id, created_at, updated_at,
       (SELECT count(*) FROM messages WHERE conversation_id = conversations.id)
FROM conversations
"""


def get(db: Database, conversation_id: ConversationId) -> Conversation:
    """One conversation by its whole id; raises NotFound."""
    row = db.row(f"{_CONVERSATION} WHERE id = ?", (conversation_id,))
    if row is None:
        raise _not_found(conversation_id)
    return Conversation(*row)


def latest(db: Database) -> Conversation | None:
    """The conversation that was last written to, None where there is none."""
    found = listing(db, limit=1)
    return found[0] if found else None


def listing(db: Database, *, limit: int | None) -> list[Conversation]:
    """Conversations, the last written to first; all of them where `limit` is None."""
    rows = db.rows(
        f"{_CONVERSATION} WHERE deleted_at IS NULL ORDER BY updated_at DESC, id DESC LIMIT ?",
        (-1 if limit is None else max(limit, 0),),
    )
    return [Conversation(*row) for row in rows]


def count(db: Database) -> int:
    """How many there are."""
    [(number,)] = db.rows("SELECT count(*) FROM conversations WHERE deleted_at IS NULL")
    return int(number)


def find(db: Database, reference: str) -> Conversation:
    """The conversation a user means: by id, start of an id (4 characters or more), title, or part of a title.

    The first of these that matches anything decides; letter case is ignored.

    Raises:
        UsageError: several match; up to five of them are named.
        NotFound: none does.
    """
    wanted = reference.strip().casefold()
    if not wanted:
        raise UsageError("An empty name matches no conversation.", hint="Run: aichat history list")
    candidates = _by_id(db, wanted) or _by_title(db, wanted)
    if not candidates:
        raise _not_found(reference)
    if len(candidates) > 1:
        raise _ambiguous(reference, candidates)
    return get(db, candidates[0][0])


def rename(db: Database, conversation_id: ConversationId, title: str) -> None:
    """Give a conversation another title; its place in the listing stays. Raises NotFound."""
    _set(db, conversation_id, "title = ?", (title,))


def rename_untouched(db: Database, conversation_id: ConversationId, old_title: str, title: str) -> bool:
    """Give a conversation a better title, unless it was renamed or deleted meanwhile; whether it has it now."""
    with db.transaction():
        sql = "UPDATE conversations SET title = ? WHERE id = ? AND title = ?"
        return db.execute(sql, (title, conversation_id, old_title)) > 0


def set_system_prompt(db: Database, conversation_id: ConversationId, system_prompt: str | None) -> None:
    """The system prompt of the turns to come. Raises NotFound."""
    _set(db, conversation_id, "system_prompt = ?", (system_prompt,))


def set_model(db: Database, conversation_id: ConversationId, model: str | None) -> None:
    """The model of the turns to come. Raises NotFound."""
    _set(db, conversation_id, "model = ?", (model,))


def move_head(db: Database, conversation_id: ConversationId, message_id: MessageId | None) -> None:
    """Make another message the tip of the branch in use; None goes back before the first. Raises NotFound."""
    with db.transaction():
        if message_id is not None and not db.row(
            "SELECT 1 FROM messages WHERE id = ? AND conversation_id = ?", (message_id, conversation_id)
        ):
            raise NotFound(f"There is no message {message_id} in conversation {conversation_id}.")
        sql = "UPDATE conversations SET head_id = ?, updated_at = ? WHERE id = ?"
        if not db.execute(sql, (message_id, utc_now(), conversation_id)):
            raise _not_found(conversation_id)


def delete(db: Database, conversation_id: ConversationId) -> None:
    """Delete a conversation with its messages. What it cost stays in the books. Raises NotFound."""
    with db.transaction(durable=True):
        if not db.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,)):
            raise _not_found(conversation_id)


def move_to_trash(db: Database, conversation_id: ConversationId) -> None:
    """Hide a conversation until it is restored or purged. Raises NotFound."""
    _set(db, conversation_id, "deleted_at = ?", (utc_now(),))


def restore(db: Database, conversation_id: ConversationId) -> None:
    """Take a conversation out of the trash again. Raises NotFound."""
    _set(db, conversation_id, "deleted_at = NULL", ())


def last_in_trash(db: Database) -> ConversationId | None:
    """What was put in the trash last, by any session."""
    row = db.row("SELECT id FROM conversations WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC, id DESC LIMIT 1")
    return ConversationId(row[0]) if row else None


def purge(db: Database, *, before: str, also: Iterable[ConversationId] = ()) -> int:
    """Delete for good what was put in the trash before a moment (ISO 8601, UTC); returns how many.

    Those of `also` that are in the trash are deleted too, whenever they were put there.
    """
    ids = json.dumps(list(also))
    in_trash = "deleted_at < ? OR (deleted_at IS NOT NULL AND id IN (SELECT value FROM json_each(?)))"
    # Most often there is nothing to do, which needs no write.
    if db.row(f"SELECT 1 FROM conversations WHERE {in_trash} LIMIT 1", (before, ids)) is None:  # noqa: S608
        return 0
    with db.transaction(durable=True):
        return db.execute(f"DELETE FROM conversations WHERE {in_trash}", (before, ids))  # noqa: S608


def _set(db: Database, conversation_id: ConversationId, assignment: str, values: tuple[Value, ...]) -> None:
    with db.transaction():
        if not db.execute(f"UPDATE conversations SET {assignment} WHERE id = ?", (*values, conversation_id)):  # noqa: S608
            raise _not_found(conversation_id)


def _by_id(db: Database, wanted: str) -> list[tuple[ConversationId, str]]:
    if len(wanted) < SHORTEST_PREFIX:
        return []
    rows = db.rows(
        "SELECT id, title FROM conversations WHERE id >= ? AND id < ? AND deleted_at IS NULL ORDER BY id DESC LIMIT ?",
        (wanted, wanted + "\x7f", MOST_CANDIDATES + 1),
    )
    exact = [(row[0], row[1]) for row in rows if row[0] == wanted]
    return exact or [(row[0], row[1]) for row in rows]


def _by_title(db: Database, wanted: str) -> list[tuple[ConversationId, str]]:
    """The newest conversations called `wanted`, else with it in their title; not many more than can be named are read."""
    escaped = wanted.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    # SQLite folds the case of ASCII letters only: titles with others are compared here.
    plain = db.rows(
        "SELECT id, title, updated_at FROM conversations NOT INDEXED"
        " WHERE title LIKE ? ESCAPE '\\' AND octet_length(title) = length(title) AND deleted_at IS NULL"
        " ORDER BY trim(title, char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32)) LIKE ? ESCAPE '\\' DESC,"
        " updated_at DESC, id DESC LIMIT ?",
        (f"%{escaped}%", escaped, MOST_CANDIDATES + 1),
    )
    others = db.rows(
        "SELECT id, title, updated_at FROM conversations NOT INDEXED"
        " WHERE octet_length(title) <> length(title) AND deleted_at IS NULL"
    )
    newest = sorted([*plain, *others], key=lambda row: (row[2], row[0]), reverse=True)
    folded = [(identifier, title, title.casefold()) for identifier, title, _ in newest]
    exact = [(identifier, title) for identifier, title, text in folded if text.strip() == wanted]
    return exact or [(identifier, title) for identifier, title, text in folded if wanted in text]


def _not_found(reference: str) -> NotFound:
    return NotFound(f'There is no conversation "{reference}".', hint="Run: aichat history list")


def _ambiguous(reference: str, candidates: list[tuple[ConversationId, str]]) -> UsageError:
    named = "; ".join(f'{identifier} "{title}"' for identifier, title in candidates[:MOST_CANDIDATES])
    more = ", and more" if len(candidates) > MOST_CANDIDATES else ""
    return UsageError(f'Several conversations match "{reference}": {named}{more}.', hint="Give the whole id of one")
