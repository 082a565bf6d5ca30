"""A database of 100,000 conversations and 1,000,000 messages, built in bulk and kept for the next run."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from aichat_cli.core.ids import LOCAL_PROFILE
from aichat_cli.storage.database import Database

CONVERSATIONS = 100_000
MESSAGES_EACH = 10
BATCH = 2_000
SECONDS_BETWEEN = 900
"""Conversations are a quarter of an hour apart: nearly three years of them."""

_SYLLABLES = (
    "ka",
    "ro",
    "mi",
    "ten",
    "sol",
    "var",
    "ne",
    "li",
    "do",
    "pra",
    "es",
    "un",
    "tor",
    "bel",
    "ix",
    "an",
    "lum",
)
_KNOWN = (
    "python",
    "kubernetes",
    "garden",
    "travel",
    "italy",
    "database",
    "error",
    "recipe",
    "budget",
    "letter",
    "music",
)


def built(folder: Path, *, conversations: int = CONVERSATIONS) -> Path:
    """The database file in a folder; made there where it is missing."""
    path = folder / f"history-{conversations}.db"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        for suffix in ("", "-wal", "-shm"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
        with Database.open(partial) as database:
            _fill(database, conversations)
        partial.rename(path)
    return path


def _fill(database: Database, conversations: int) -> None:
    # The index is built once at the end, which is several times faster than row by row.
    triggers = database.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '%_fts_%'")
    texts = _Texts(random.Random(3))
    with database.transaction():
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        for start in range(0, conversations, BATCH):
            _insert(database, texts, range(start, min(start + BATCH, conversations)), conversations)
        for table in ("messages_fts", "titles_fts"):
            database.execute(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")
        for _, sql in triggers:
            database.execute(sql)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert(database: Database, texts: _Texts, numbers: range, total: int) -> None:
    newest = time.time() - 60
    talks, said = [], []
    for number in numbers:
        moment = _iso(newest - (total - 1 - number) * SECONDS_BETWEEN)
        talk = f"{number:08x}-0000-7000-8000-{number:012x}"
        last = f"{number:08x}-{MESSAGES_EACH - 1:04x}-7000-8000-{number:012x}"
        talks.append((talk, texts.title(number), last, moment))
        said += [(*message, moment) for message in texts.messages(number, talk)]
    database.execute("PRAGMA defer_foreign_keys = ON")
    database.execute(
        "INSERT INTO conversations (id, user_id, title, model, head_id, created_at, updated_at)"
        " SELECT value ->> 0, ?, value ->> 1, 'gpt-4o-mini', value ->> 2, value ->> 3, value ->> 3 FROM json_each(?)",
        (LOCAL_PROFILE, json.dumps(talks)),
    )
    database.execute(
        "INSERT INTO messages"
        " (id, conversation_id, parent_id, role, content, status, model, created_at, updated_at)"
        " SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, 'complete', 'gpt-4o-mini',"
        " value ->> 5, value ->> 5 FROM json_each(?)",
        (json.dumps(said),),
    )


class _Texts:
    """Sentences of a vocabulary in which, as in every language, few words are frequent and most are rare."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        words = [*_KNOWN, *("".join(dice.choices(_SYLLABLES, k=dice.randint(1, 5))) for _ in range(30_000))]
        self._words = list(dict.fromkeys(words))
        weights = list(accumulate(1 / (rank + 8) for rank in range(len(self._words))))
        self._sentences = [
            " ".join(dice.choices(self._words, cum_weights=weights, k=dice.randint(5, 14))).capitalize() + "."
            for _ in range(60_000)
        ]

    def title(self, number: int) -> str:
        """Up to eight words and a number nothing else has."""
        return f"{' '.join(self._dice.choice(self._sentences).split()[:7])} {number}"

    def messages(self, number: int, talk: str) -> Iterator[tuple[str, str, str | None, str, str]]:
        """One branch: id, conversation, parent, role and text."""
        above: str | None = None
        for place in range(MESSAGES_EACH):
            identifier = f"{number:08x}-{place:04x}-7000-8000-{number:012x}"
            text = " ".join(self._dice.choices(self._sentences, k=1 if place % 2 == 0 else 4))
            yield identifier, talk, above, "assistant" if place % 2 else "user", text
            above = identifier


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + ".000Z"
