from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.chat import trash
from aichat_cli.core.ids import ConversationId
from aichat_cli.storage import conversations
from aichat_cli.storage.database import Database
from tests import blank
from tests.storage.support import said


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with Database.open(blank.put(tmp_path / "aichat.db")) as database:
        yield database


def in_trash(db: Database, *, since: str | None = None) -> ConversationId:
    talk = said(db).conversation_id
    conversations.move_to_trash(db, talk)
    if since is not None:
        db.execute("UPDATE conversations SET deleted_at = ? WHERE id = ?", (since, talk))
    return talk


def left(db: Database) -> set[str]:
    return {row[0] for row in db.rows("SELECT id FROM conversations")}


def test_what_was_deleted_a_day_ago_is_gone_for_good_and_what_is_fresh_stays(db: Database) -> None:
    in_trash(db, since="2020-01-01T00:00:00.000Z")
    fresh, kept = in_trash(db), said(db).conversation_id
    assert trash.purge(db) == 1
    assert left(db) == {fresh, kept}


def test_a_session_empties_its_own_trash_but_not_what_it_took_back_nor_that_of_another(db: Database) -> None:
    own, taken_back, of_another = in_trash(db), in_trash(db), in_trash(db)
    conversations.restore(db, taken_back)
    assert trash.purge(db, [own, taken_back]) == 1
    assert left(db) == {taken_back, of_another}


def test_an_empty_trash_needs_no_write(db: Database) -> None:
    said(db)
    with db.reopen() as other, other.transaction():
        assert trash.purge(db) == 0


def test_a_database_that_cannot_be_written_keeps_its_trash(db: Database, tmp_path: Path) -> None:
    in_trash(db, since="2020-01-01T00:00:00.000Z")
    with Database.open(tmp_path / "aichat.db", read_only=True) as reader:
        assert trash.purge(reader) == 0
