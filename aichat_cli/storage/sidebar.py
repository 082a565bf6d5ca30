"""What a list of conversations is drawn from: their ids in order, the few that are on the screen, and titles by a part.

Each call is quick with 100,000 conversations: ids come in the order of an index, everything else only for those asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from aichat_cli.core.ids import ConversationId
from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database

MOST_WORDS = 16

_NEWEST = (
    "(SELECT id, title, model, updated_at, deleted_at FROM conversations WHERE deleted_at IS NULL"
    " ORDER BY updated_at DESC, id DESC LIMIT 4000)"
)
_CASED = "(octet_length(title) <> length(title) AND title GLOB ?)"


class Summary(Struct, frozen=True):
    """One conversation as a line of a list."""

    id: ConversationId
    title: str
    model: str | None
    updated_at: str


def newest_ids(db: Database, *, limit: int | None) -> list[ConversationId]:
    """Ids of conversations, the last written to first; all of them where `limit` is None."""
    # One JSON array is read several times faster than as many rows, and other threads run meanwhile.
    [(ids,)] = db.rows(
        "SELECT json_group_array(id) FROM ("
        " SELECT id FROM conversations WHERE deleted_at IS NULL ORDER BY updated_at DESC, id DESC LIMIT ?)",
        (-1 if limit is None else limit,),
    )
    return list(map(ConversationId, json.loads(ids)))


def summaries(db: Database, ids: Iterable[ConversationId]) -> dict[ConversationId, Summary]:
    """The lines of some conversations; those that are gone, or in the trash, are left out."""
    rows = db.rows(
        "SELECT id, title, model, updated_at FROM conversations"
        " WHERE id IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL",
        (json.dumps(list(ids)),),
    )
    return {row[0]: Summary(*row) for row in rows}


def titled(db: Database, text: str, *, limit: int) -> list[Summary]:
    """Conversations with every word of `text` somewhere in their title, the last written to first.

    Letter case is ignored; a word may be a single letter, or the middle of a longer word.
    """
    words = list(dict.fromkeys(_storable(text).split()))[:MOST_WORDS]
    if not words:
        return []
    # What many titles hold is found among the newest; for what is rare, a walk over the table beats one over an index.
    found = _titled(db, _NEWEST, words, limit)
    return found if len(found) == limit else _titled(db, "conversations NOT INDEXED", words, limit)


def _titled(db: Database, place: str, words: list[str], limit: int) -> list[Summary]:
    conditions = " AND ".join("title LIKE ? ESCAPE '\\'" if _is_caseless(word) else _CASED for word in words)
    rows = db.rows(
        f"SELECT id, title, model, updated_at FROM {place}"  # noqa: S608
        f" WHERE {conditions} AND deleted_at IS NULL ORDER BY updated_at DESC, id DESC LIMIT ?",
        (*(_like(word) if _is_caseless(word) else _glob(word) for word in words), limit),
    )
    return [Summary(*row) for row in rows]


def _is_caseless(word: str) -> bool:
    """Whether SQLite's LIKE, which folds the case of ASCII letters only, is right for a word."""
    return all(character.isascii() or character.lower() == character.upper() for character in word)


def _like(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _glob(word: str) -> str:
    """A pattern for a word with letters whose case SQLite's LIKE does not know."""
    return f"*{''.join(map(_either_case, word))}*"


def _either_case(character: str) -> str:
    variants = dict.fromkeys([character, character.lower(), character.upper(), character.title()])
    single = "".join(variant for variant in variants if len(variant) == 1)
    return f"[{single}]" if len(single) > 1 or character in "*?[" else character


def _storable(text: str) -> str:
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
