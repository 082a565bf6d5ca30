"""The list of conversations: in order, a page at a time, by parts of titles; forks of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.storage import conversations, messages, search, sidebar
from aichat_cli.storage.database import Database
from tests.storage.support import said


def titles(db: Database, text: str, *, limit: int = 100) -> list[str]:
    return [summary.title for summary in sidebar.titled(db, text, limit=limit)]


def test_ids_come_newest_first_and_without_those_in_the_trash(memory: Database) -> None:
    talks = []
    for _ in range(4):
        talks.append(said(memory).conversation_id)
        time.sleep(0.002)
    conversations.move_to_trash(memory, talks[1])
    assert sidebar.newest_ids(memory, limit=None) == [talks[3], talks[2], talks[0]]
    assert sidebar.newest_ids(memory, limit=2) == [talks[3], talks[2]]


def test_ids_are_read_in_the_order_of_an_index(memory: Database) -> None:
    plan = str(
        memory.rows(
            "EXPLAIN QUERY PLAN SELECT json_group_array(id) FROM (SELECT id FROM conversations"
            " WHERE deleted_at IS NULL ORDER BY updated_at DESC, id DESC LIMIT 10)"
        )
    )
    assert "INDEX conversations_by_update" in plan
    assert "TEMP B-TREE" not in plan


def test_lines_of_what_is_gone_are_left_out(memory: Database) -> None:
    kept, gone = said(memory, title="kept").conversation_id, said(memory).conversation_id
    conversations.move_to_trash(memory, gone)
    lines = sidebar.summaries(memory, [kept, gone])
    assert {talk: line.title for talk, line in lines.items()} == {kept: "kept"}
    assert lines[kept].model == "gpt-4o-mini"


@pytest.mark.parametrize(
    "text", ["R", "om", "TRIP", "rome trip", "ip to", "größ", "GRÖß", "日本", "100%", "a_b", "[x]", "*"]
)
def test_any_part_of_a_title_finds_it_whatever_its_case(memory: Database, text: str) -> None:
    title = "Trip to Rome, Größe 日本語 100% a_b [x] *"
    said(memory, title=title)
    assert titles(memory, text) == [title]


@pytest.mark.parametrize("text", ["rome paris", "xo", "1%0", "axb", "ö%", "[R]", "\0", "", "  ", "\ud800"])
def test_what_is_not_in_a_title_does_not_find_it(memory: Database, text: str) -> None:
    said(memory, title="Trip to Rome, Größe 100")
    assert titles(memory, text) == []


def test_the_newest_titles_come_first_and_no_more_than_the_limit(memory: Database) -> None:
    for number in range(5):
        said(memory, title=f"Trip {number}")
        time.sleep(0.002)
    assert titles(memory, "trip", limit=3) == ["Trip 4", "Trip 3", "Trip 2"]


def test_titles_far_down_the_list_are_found(memory: Database) -> None:
    said(memory, title="the needle")
    memory.execute(
        "INSERT INTO conversations (id, user_id, title, created_at, updated_at)"
        " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " SELECT 'c' || i, user_id, 'hay', '2999', '2999' FROM n, (SELECT user_id FROM conversations)"
    )
    assert titles(memory, "needle") == ["the needle"]
    memory.execute("UPDATE conversations SET title = 'new needle' WHERE id = 'c4000'")
    assert titles(memory, "needle") == ["new needle", "the needle"]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_a_title_is_found_by_each_of_its_words_in_either_case(title: str) -> None:
    with Database.in_memory() as db:
        said(db, title=title)
        for word in title.split()[: sidebar.MOST_WORDS]:
            assert titles(db, word) == [title]
            swapped = word.swapcase()
            if len(swapped) == len(word) and swapped.swapcase() == word and swapped.lower() == word.lower():
                assert titles(db, swapped) == [title]


def test_a_search_may_leave_titles_out(memory: Database) -> None:
    said(memory, title="zebra", prompt="hello", answer="-")
    turn = said(memory, title="other", prompt="a zebra", answer="-")
    (hit,) = search.search(memory, "zebra", limit=5, titles=False)
    assert hit.message_id == turn.user_message_id


def test_the_tail_of_a_branch_is_its_last_messages_cut(memory: Database) -> None:
    turn = said(memory, "one", "two")
    last = said(memory, "three", "four" * 100, conversation_id=turn.conversation_id, parent_id=turn.message_id)
    said(memory, "other", conversation_id=turn.conversation_id, parent_id=turn.message_id)
    tail = messages.tail(memory, last.message_id, limit=3, longest=5)
    assert [(each.role, each.text) for each in tail] == [
        ("assistant", "two"),
        ("user", "three"),
        ("assistant", "fourf"),
    ]
    assert messages.tail(memory, None, limit=3, longest=5) == []


def test_an_outline_is_all_branches_in_the_order_they_were_written(memory: Database) -> None:
    turn = said(memory, "one", "two")
    said(memory, "three", "four", conversation_id=turn.conversation_id, parent_id=turn.message_id)
    said(memory, "elsewhere")
    outline = messages.outline(memory, turn.conversation_id, longest=3)
    assert [each.text for each in outline] == ["one", "two", "thr", "fou"]
    assert outline[2].parent_id == turn.message_id


def test_a_running_query_is_interrupted_from_another_thread(memory: Database) -> None:
    import threading

    from aichat_cli.core.errors import StorageError

    ended = threading.Event()

    def run() -> None:
        with memory.reopen() as other:
            connections.append(other)
            started.set()
            with pytest.raises(StorageError):
                other.rows("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
            ended.set()

    connections: list[Database] = []
    started = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    for _ in range(100):
        connections[0].interrupt()
        if ended.wait(0.1):
            break
    thread.join(10)
    assert ended.is_set()
