"""Finding, listing, changing and deleting conversations, and reading their messages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from aichat_cli.core.errors import NotFound, UsageError
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.storage import conversations, messages, search, turns, usage
from aichat_cli.storage.database import Database
from tests.storage.support import index_agrees, opening, outcome, said, usage_record

NOWHERE = ConversationId("nowhere")


def test_the_listing_is_newest_first_with_the_number_of_messages(memory: Database) -> None:
    first = said(memory, title="one")
    said(memory, title="two")
    time.sleep(0.002)
    said(memory, conversation_id=first.conversation_id, parent_id=first.message_id)
    listed = conversations.listing(memory, limit=None)
    assert [(talk.title, talk.message_count) for talk in listed] == [("one", 4), ("two", 2)]
    assert conversations.listing(memory, limit=1) == listed[:1]
    assert conversations.listing(memory, limit=0) == []
    assert conversations.latest(memory) == listed[0]
    assert conversations.count(memory) == 2


def test_an_empty_database_has_no_latest_conversation(memory: Database) -> None:
    assert conversations.latest(memory) is None


def test_a_listing_reads_its_index_and_counts_only_what_it_lists(memory: Database) -> None:
    plan = str(
        memory.rows(
            "EXPLAIN QUERY PLAN SELECT id, (SELECT count(*) FROM messages WHERE conversation_id = conversations.id)"
            " FROM conversations WHERE deleted_at IS NULL ORDER BY updated_at DESC, id DESC LIMIT 50"
        )
    )
    assert "conversations_by_update" in plan
    assert "messages_by_conversation" in plan
    assert "TEMP B-TREE" not in plan


def test_a_conversation_is_found_by_id_start_of_id_title_and_part_of_a_title(memory: Database) -> None:
    wanted = said(memory, title="Über die Größe").conversation_id
    time.sleep(0.002)
    others = [said(memory, title="Über").conversation_id, said(memory, title="Rome").conversation_id]
    for reference in (wanted, wanted.upper(), "über die GRÖSSE", "größe", " die "):
        assert conversations.find(memory, reference).id == wanted
    assert conversations.find(memory, "über").title == "Über"
    telling = next(length for length in range(4, 37) if not any(other.startswith(wanted[:length]) for other in others))
    assert conversations.find(memory, wanted[:telling]).id == wanted


def test_a_whole_title_is_found_among_many_newer_ones_that_contain_it(memory: Database) -> None:
    wanted = {title: said(memory, title=title).conversation_id for title in (" Trip\t", "Größe", "100%_a")}
    for number in range(10):
        said(memory, title=f"trip {number}")
        said(memory, title=f"größe {number}")
        said(memory, title=f"100%_a {number}, 100xxa")
    assert conversations.find(memory, "TRIP").id == wanted[" Trip\t"]
    assert conversations.find(memory, "GRÖSSE").id == wanted["Größe"]
    assert conversations.find(memory, "100%_A").id == wanted["100%_a"]
    with pytest.raises(NotFound):
        conversations.find(memory, "tr%p")


def test_three_characters_of_an_id_are_not_enough(memory: Database) -> None:
    turn = said(memory)
    assert conversations.find(memory, turn.conversation_id[:4]).id == turn.conversation_id
    with pytest.raises(NotFound):
        conversations.find(memory, turn.conversation_id[:3])


def test_what_matches_nothing_is_not_found_and_names_the_listing(memory: Database) -> None:
    said(memory)
    acts: list[Callable[[], object]] = [
        lambda: conversations.find(memory, "nothing like it"),
        lambda: conversations.get(memory, NOWHERE),
        lambda: messages.get(memory, MessageId("nobody")),
    ]
    for act in acts:
        with pytest.raises(NotFound) as caught:
            act()
        assert caught.value.hint == "Run: aichat history list"


def test_what_matches_several_names_up_to_five_of_them(memory: Database) -> None:
    talks = [said(memory, title=f"Trip {number}") for number in range(3)]
    with pytest.raises(UsageError) as caught:
        conversations.find(memory, "trip")
    assert all(f'{talk.conversation_id} "Trip {number}"' in caught.value.message for number, talk in enumerate(talks))
    assert "more" not in caught.value.message
    for number in range(3, 7):
        said(memory, title=f"Trip {number}")
    for reference in ("trip", talks[0].conversation_id[:4]):
        with pytest.raises(UsageError, match="and more") as caught:
            conversations.find(memory, reference)
        assert len(re.findall('"Trip', caught.value.message)) == 5


def test_an_empty_reference_is_a_wrong_use(memory: Database) -> None:
    with pytest.raises(UsageError):
        conversations.find(memory, "  ")


def test_a_conversation_can_be_renamed_and_given_another_model_and_prompt(memory: Database) -> None:
    talk = said(memory, title="before").conversation_id
    updated = conversations.get(memory, talk).updated_at
    conversations.rename(memory, talk, "after")
    conversations.set_model(memory, talk, "claude")
    conversations.set_system_prompt(memory, talk, None)
    changed = conversations.get(memory, talk)
    assert (changed.title, changed.model, changed.system_prompt, changed.updated_at) == (
        "after",
        "claude",
        None,
        updated,
    )
    assert search.search(memory, "before", limit=5) == []
    assert [hit.title for hit in search.search(memory, "after", limit=5)] == ["after"]
    index_agrees(memory)


def test_the_head_moves_over_the_messages_of_its_own_conversation_only(memory: Database) -> None:
    turn, other = said(memory), said(memory)
    conversations.move_head(memory, turn.conversation_id, turn.user_message_id)
    assert conversations.get(memory, turn.conversation_id).head_id == turn.user_message_id
    conversations.move_head(memory, turn.conversation_id, None)
    assert conversations.get(memory, turn.conversation_id).head_id is None
    with pytest.raises(NotFound):
        conversations.move_head(memory, turn.conversation_id, other.message_id)


def test_changing_what_does_not_exist_is_not_found(memory: Database) -> None:
    acts: list[Callable[[], None]] = [
        lambda: conversations.rename(memory, NOWHERE, "x"),
        lambda: conversations.set_model(memory, NOWHERE, "x"),
        lambda: conversations.set_system_prompt(memory, NOWHERE, "x"),
        lambda: conversations.move_head(memory, NOWHERE, None),
        lambda: conversations.delete(memory, NOWHERE),
    ]
    for act in acts:
        with pytest.raises(NotFound):
            act()


def test_a_deleted_conversation_leaves_its_usage_and_nothing_else(memory: Database) -> None:
    gone, kept = said(memory, prompt="zebra"), said(memory, prompt="zebra")
    conversations.delete(memory, gone.conversation_id)
    assert [hit.conversation_id for hit in search.search(memory, "zebra", limit=5)] == [kept.conversation_id]
    assert messages.of_conversation(memory, gone.conversation_id) == []
    assert usage.spent_since(memory, "2000") == 3_000
    assert memory.row("SELECT count(*) FROM usage WHERE conversation_id IS NULL AND message_id IS NULL") == (1,)
    index_agrees(memory)


def test_a_branch_of_ten_thousand_messages_is_read_and_deleted(memory: Database) -> None:
    turn = said(memory)
    memory.execute(
        "INSERT INTO messages (id, conversation_id, parent_id, role, content, status, created_at, updated_at)"
        " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
        " SELECT 'm' || i, ?, CASE i WHEN 1 THEN ? ELSE 'm' || (i - 1) END, 'user', 'text', 'complete', '', '' FROM n",
        (turn.conversation_id, turn.message_id),
    )
    branch = messages.branch(memory, MessageId("m10000"))
    assert len(branch) == 10_002
    assert all(below.parent_id == above.id for above, below in pairwise(branch))
    conversations.delete(memory, turn.conversation_id)
    assert memory.row("SELECT count(*) FROM messages") == (0,)


def test_the_branch_of_no_message_is_empty(memory: Database) -> None:
    assert messages.branch(memory, None) == []
    assert messages.branch(memory, MessageId("nobody")) == []


def test_all_branches_of_a_conversation_are_read_in_the_order_they_were_written(memory: Database) -> None:
    first = said(memory, "one")
    talk = first.conversation_id
    second = said(memory, "two", conversation_id=talk)
    third = said(memory, "three", conversation_id=talk, parent_id=first.message_id)
    written = [identifier for turn in (first, second, third) for identifier in (turn.user_message_id, turn.message_id)]
    assert [message.id for message in messages.of_conversation(memory, talk)] == written
    assert [message.content for message in messages.children(memory, None, talk)] == ["one", "two"]
    assert [message.content for message in messages.children(memory, first.message_id, talk)] == ["three"]


def test_a_message_sums_the_usage_of_all_its_calls(memory: Database) -> None:
    turn = turns.begin(memory, opening())
    with memory.transaction():
        usage.insert(
            memory, usage_record(cost_nano=100), conversation_id=turn.conversation_id, message_id=turn.message_id
        )
    turns.settle(memory, turn, outcome(usage=usage_record(cost_nano=11)))
    question, answer = messages.branch(memory, turn.message_id)
    assert (answer.input_tokens, answer.output_tokens, answer.cost_nano) == (20, 10, 111)
    assert (question.input_tokens, question.output_tokens, question.cost_nano) == (None, None, None)


def test_a_message_with_one_call_of_unknown_price_has_no_known_cost(memory: Database) -> None:
    turn = turns.begin(memory, opening())
    for cost in (None, 100):
        usage.insert(
            memory, usage_record(cost_nano=cost), conversation_id=turn.conversation_id, message_id=turn.message_id
        )
    assert messages.get(memory, turn.message_id).cost_nano is None
    assert messages.get(memory, turn.message_id).input_tokens == 20


def test_what_is_in_the_trash_is_neither_listed_nor_found_until_it_is_restored(memory: Database) -> None:
    turn = said(memory)
    conversations.move_to_trash(memory, turn.conversation_id)
    assert conversations.listing(memory, limit=None) == []
    assert conversations.count(memory) == 0
    assert search.search(memory, "hello", limit=None) == []
    with pytest.raises(NotFound):
        conversations.find(memory, turn.conversation_id)
    conversations.restore(memory, turn.conversation_id)
    assert [listed.id for listed in conversations.listing(memory, limit=None)] == [turn.conversation_id]
    assert conversations.find(memory, turn.conversation_id).message_count == 2


def test_a_purge_deletes_what_was_in_the_trash_before_a_moment_and_nothing_else(memory: Database) -> None:
    kept, trashed = said(memory), said(memory)
    conversations.move_to_trash(memory, trashed.conversation_id)
    assert conversations.purge(memory, before="2000-01-01T00:00:00.000Z") == 0
    assert conversations.purge(memory, before="2999-01-01T00:00:00.000Z") == 1
    with pytest.raises(NotFound):
        conversations.get(memory, trashed.conversation_id)
    assert conversations.get(memory, kept.conversation_id).message_count == 2


@pytest.mark.parametrize(
    ("extra", "tool_name"),
    [('{"name": "browser"}', "browser"), ("{}", None), ("[1]", None), ("5", None), ("no JSON", None), (None, None)],
)
def test_an_imported_message_of_a_tool_names_it_where_that_is_known(
    memory: Database, extra: str | None, tool_name: str | None
) -> None:
    turn = said(memory)
    memory.execute("UPDATE messages SET role = 'tool', extra = ? WHERE id = ?", (extra, turn.user_message_id))
    assert [message.tool_name for message in messages.branch(memory, turn.message_id)] == [tool_name, None]
