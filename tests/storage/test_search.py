"""Search: any text is a query, all its words are required, the best comes first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.storage import search, turns
from aichat_cli.storage.database import Database
from tests.storage.support import opening, said


def prompts(db: Database, query: str, *, limit: int | None = 20) -> list[str]:
    """The texts found, whole, best first."""
    return [
        db.rows("SELECT content FROM messages WHERE id = ?", (hit.message_id,))[0][0]
        for hit in search.search(db, query, limit=limit)
        if hit.message_id
    ]


def test_a_hit_says_where_it_is_and_marks_the_words(memory: Database) -> None:
    turn = said(memory, prompt="Where do zebras live?", title="Animals", answer="In Africa.")
    (hit,) = search.search(memory, "zebra", limit=5, mark_open="[", mark_close="]")
    assert hit == search.SearchHit(
        turn.conversation_id, turn.user_message_id, "Animals", "user", "Where do [zebras] live?", turn.created_at
    )
    assert search.search(memory, "zebra", limit=5)[0].snippet == "Where do zebras live?"


def test_all_words_are_required_in_any_order_case_accent_and_form(memory: Database) -> None:
    said(memory, prompt="The Cafés were opening early", answer="-")
    said(memory, prompt="the cafe was shut", answer="-")
    assert prompts(memory, "OPENED cafe") == ["The Cafés were opening early"]
    assert len(prompts(memory, "café")) == 2
    assert prompts(memory, "cafe tea") == []


def test_a_quoted_phrase_is_found_as_it_stands(memory: Database) -> None:
    said(memory, prompt="red wine and white bread", answer="-")
    said(memory, prompt="white wine and red bread", answer="-")
    assert prompts(memory, '"red wine"') == ["red wine and white bread"]
    assert prompts(memory, 'bread "white wine') == ["white wine and red bread"]


def test_operators_are_words(memory: Database) -> None:
    said(memory, prompt="either this OR that", answer="-")
    said(memory, prompt="this", answer="-")
    assert prompts(memory, "this OR that") == ["either this OR that"]
    assert prompts(memory, "content:this") == []
    assert prompts(memory, "this -that") == ["either this OR that"]


def test_the_last_word_may_be_unfinished_where_no_whole_word_matches(memory: Database) -> None:
    said(memory, prompt="a chat about kubernetes", answer="-")
    assert prompts(memory, "chat kuber") == ["a chat about kubernetes"]
    assert prompts(memory, "ku") == []
    assert prompts(memory, "kuber chat") == []


def test_the_message_that_says_most_about_a_word_comes_first(memory: Database) -> None:
    said(memory, prompt="zebra zebra zebra", answer="-")
    said(memory, prompt="a long text that mentions one zebra among a great many other things and animals", answer="-")
    assert prompts(memory, "zebra")[0] == "zebra zebra zebra"


def test_a_rare_word_ranks_and_a_frequent_one_is_only_required(memory: Database) -> None:
    turn = said(memory, prompt="common gem gem gem", answer="-")
    memory.execute(
        "INSERT INTO messages (id, conversation_id, role, content, status, created_at, updated_at)"
        " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= ?)"
        " SELECT 'm' || i, ?, 'user', 'common ' || i, 'complete', '', '' FROM n",
        (search.RARE, turn.conversation_id),
    )
    said(memory, prompt="gem among other common things", answer="-")
    assert prompts(memory, "common gem") == ["common gem gem gem", "gem among other common things"]
    newest = prompts(memory, "common", limit=3)
    assert newest == ["gem among other common things", f"common {search.RARE + 1}", f"common {search.RARE}"]
    assert len(search.search(memory, "common", limit=None)) == search.RARE + 3


def test_the_limit_holds_and_none_is_all(memory: Database) -> None:
    for _ in range(5):
        said(memory, prompt="zebra", answer="-")
    assert len(search.search(memory, "zebra", limit=3)) == 3
    assert len(search.search(memory, "zebra", limit=None)) == 5
    assert search.search(memory, "zebra", limit=0) == []


def test_a_conversation_found_by_its_title_comes_first_and_only_once(memory: Database) -> None:
    named = said(memory, prompt="hello", title="Zebra plans")
    both = said(memory, prompt="a zebra", title="Zebra again", answer="-")
    by_title, by_text = search.search(memory, "zebra", limit=5, mark_open="<", mark_close=">")
    assert (by_title.conversation_id, by_title.message_id, by_title.role) == (named.conversation_id, None, None)
    assert by_title.snippet == "<Zebra> plans"
    assert (by_text.conversation_id, by_text.snippet) == (both.conversation_id, "a <zebra>")


def test_an_answer_still_being_written_is_not_found(memory: Database) -> None:
    turn = turns.begin(memory, opening("question"))
    turns.checkpoint(memory, turn, "a zebra", "")
    assert search.search(memory, "zebra", limit=5) == []


@pytest.mark.parametrize("query", ["", "  ", '"', '""', "-- !?", "\0", "^*()", "\ud800"])
def test_a_query_without_a_word_finds_nothing(memory: Database, query: str) -> None:
    said(memory)
    assert search.search(memory, query, limit=5) == []


@pytest.fixture(scope="module")
def library() -> Iterator[Database]:
    with Database.in_memory() as db:
        said(db, prompt="AND OR NOT NEAR( content: * ^ zebra + - { } \u00e9 \u4e2d\u6587", title='"quoted" title')
        yield db


@given(
    st.one_of(
        st.text(), st.text(alphabet='"*^():{}+-,. \0aANDORNEAR\u4e2d\ud800'), st.text(alphabet="ab ", min_size=200)
    )
)
def test_no_text_is_a_syntax_error(library: Database, query: str) -> None:
    search.search(library, query, limit=5)


@given(
    st.lists(st.sampled_from(["AND", "OR", "NOT", "NEAR", "zebra", "content", "\u00e9", "\u4e2d\u6587"]), min_size=1)
)
def test_words_of_a_text_find_it(library: Database, words: list[str]) -> None:
    assert len(search.search(library, " ".join(words), limit=5)) == 1
