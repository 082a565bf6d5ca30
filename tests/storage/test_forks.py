"""Forks: a copy of a branch that is a conversation of its own, and costs nothing."""

from __future__ import annotations

import pytest

from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Attachment, Message
from aichat_cli.storage import attachments, conversations, forks, messages, search, turns, usage
from aichat_cli.storage.database import Database
from tests.storage.support import index_agrees, opening, said


def texts(db: Database, talk: ConversationId) -> list[str]:
    return [message.content for message in messages.of_conversation(db, talk)]


def branch_of(db: Database, talk: ConversationId) -> list[Message]:
    return messages.branch(db, conversations.get(db, talk).head_id)


def test_a_fork_is_the_branch_in_use_with_its_times_under_new_ids(memory: Database) -> None:
    first = said(memory, "one", "two", title="Rome")
    said(memory, "aside", "left", conversation_id=first.conversation_id, parent_id=first.message_id)
    said(memory, "three", "four", conversation_id=first.conversation_id, parent_id=first.message_id)
    before = branch_of(memory, first.conversation_id)

    forked = conversations.get(memory, forks.fork(memory, first.conversation_id))

    copies = branch_of(memory, forked.id)
    assert texts(memory, forked.id) == ["one", "two", "three", "four"]
    assert [(m.role, m.content, m.reasoning, m.status, m.model, m.created_at) for m in copies] == [
        (m.role, m.content, m.reasoning, m.status, m.model, m.created_at) for m in before
    ]
    assert not {m.id for m in copies} & {m.id for m in before}
    assert (forked.title, forked.system_prompt, forked.model) == ("Rome (fork)", "be brief", "gpt-4o-mini")
    assert conversations.latest(memory) == forked
    assert branch_of(memory, first.conversation_id) == before
    assert len(search.search(memory, "three", limit=None)) == 2
    index_agrees(memory)


def test_a_fork_costs_nothing(memory: Database) -> None:
    turn = said(memory, cost_nano=1_500)
    forked = forks.fork(memory, turn.conversation_id)
    assert usage.conversation_cost(memory, forked) == 0
    assert usage.spent_since(memory, "2000") == 1_500
    assert [message.cost_nano for message in branch_of(memory, forked)] == [None, None]


def test_a_fork_can_end_at_any_message(memory: Database) -> None:
    first = said(memory, "one", "two")
    said(memory, "three", "four", conversation_id=first.conversation_id, parent_id=first.message_id)
    forked = forks.fork(memory, first.conversation_id, first.user_message_id)
    assert texts(memory, forked) == ["one"]


def test_forks_of_forks_are_numbered(memory: Database) -> None:
    talk = said(memory, title="Rome").conversation_id
    names = []
    for _ in range(3):
        talk = forks.fork(memory, talk)
        names.append(conversations.get(memory, talk).title)
    assert names == ["Rome (fork)", "Rome (fork 2)", "Rome (fork 3)"]


def test_attached_files_go_with_their_messages(memory: Database) -> None:
    turn = said(memory)
    picture = Attachment("cat.png", "image/png", b"\x89PNG")
    attachments.insert(memory, turn.user_message_id, [picture])
    forked = forks.fork(memory, turn.conversation_id)
    conversations.delete(memory, turn.conversation_id)
    question = branch_of(memory, forked)[0]
    assert attachments.of_messages(memory, [question.id]) == {question.id: (picture,)}
    assert memory.row("SELECT count(*) FROM blobs") == (1,)


def test_an_answer_that_is_still_written_is_copied_as_far_as_it_is(memory: Database) -> None:
    turn = turns.begin(memory, opening())
    turns.checkpoint(memory, turn, "half an ans", "")
    forked = forks.fork(memory, turn.conversation_id)
    copy = branch_of(memory, forked)[-1]
    assert (copy.content, copy.status) == ("half an ans", "stopped")


def test_an_empty_conversation_has_an_empty_fork(memory: Database) -> None:
    turn = said(memory)
    conversations.move_head(memory, turn.conversation_id, None)
    forked = forks.fork(memory, turn.conversation_id)
    assert conversations.get(memory, forked).head_id is None
    assert texts(memory, forked) == []


def test_what_does_not_exist_has_no_fork_and_nothing_is_stored(memory: Database) -> None:
    turn, other = said(memory), said(memory)
    with pytest.raises(NotFound):
        forks.fork(memory, ConversationId("nowhere"))
    with pytest.raises(NotFound):
        forks.fork(memory, turn.conversation_id, other.message_id)
    with pytest.raises(NotFound):
        forks.fork(memory, turn.conversation_id, MessageId("nobody"))
    assert conversations.count(memory) == 2


def test_a_branch_of_ten_thousand_messages_is_forked(memory: Database) -> None:
    turn = said(memory)
    memory.execute(
        "INSERT INTO messages (id, conversation_id, parent_id, role, content, status, created_at, updated_at)"
        " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
        " SELECT 'm' || i, ?, CASE i WHEN 1 THEN ? ELSE 'm' || (i - 1) END, 'user', 't' || i, 'complete', '', '' FROM n",
        (turn.conversation_id, turn.message_id),
    )
    forked = forks.fork(memory, turn.conversation_id, MessageId("m10000"))
    assert [message.content for message in branch_of(memory, forked)][-2:] == ["t9999", "t10000"]
    assert len(branch_of(memory, forked)) == 10_002
