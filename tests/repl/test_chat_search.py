"""The search behind the sidebar: the newest question is answered, in full, also after many others."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from aichat_cli.core.errors import StorageError
from aichat_cli.repl.picker.chat_search import MOST_TITLES, ChatSearch, Found
from aichat_cli.storage.database import Database
from tests.storage.support import said


@pytest.fixture
def db() -> Iterator[Database]:
    with Database.in_memory() as database:
        yield database


class Asked:
    """A search, and what it delivered."""

    def __init__(self, db: Database) -> None:
        self.delivered: queue.Queue[Found] = queue.Queue()
        self.search = ChatSearch(db.reopen, self.delivered.put, lambda _: None)
        self.search.start()

    def titles(self, text: str) -> list[str]:
        """The titles of the whole answer."""
        number = self.search.ask(text)
        while True:
            found = self.delivered.get(timeout=20)
            if found.number == number and found.is_final:
                return [summary.title for summary in found.by_title]


@pytest.fixture
def asked(db: Database) -> Iterator[Asked]:
    asked = Asked(db)
    yield asked
    asked.search.close()


def test_a_longer_text_also_finds_what_a_shorter_one_had_no_room_for(db: Database, asked: Asked) -> None:
    said(db, title="trip to the needle")
    db.execute(
        "INSERT INTO conversations (id, user_id, title, created_at, updated_at)"
        " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " SELECT 'c' || i, user_id, 'trip ' || i, '2999', '2999' FROM n, (SELECT user_id FROM conversations)",
        (2 * MOST_TITLES,),
    )
    assert len(asked.titles("trip")) == MOST_TITLES
    assert asked.titles("trip n") == ["trip to the needle"]
    assert asked.titles("trip needle") == ["trip to the needle"]
    assert asked.titles("trip needles") == []
    assert asked.titles("TO needle") == ["trip to the needle"]


def test_only_the_newest_of_many_questions_is_surely_answered(db: Database, asked: Asked) -> None:
    said(db, title="Rome")
    for text in ["r", "ro", "x", "rom"] * 20:
        asked.search.ask(text)
    assert asked.titles("rome") == ["Rome"]


def test_what_fails_is_delivered_as_the_error_it_is(db: Database) -> None:
    def refused() -> Database:
        raise StorageError("no database")

    delivered: queue.Queue[Found] = queue.Queue()
    search = ChatSearch(refused, delivered.put, lambda _: None)
    search.start()
    found = delivered.get(timeout=20)
    assert found.is_final
    assert str(found.error) == "no database"
    search.close()
