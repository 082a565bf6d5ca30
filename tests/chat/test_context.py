from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.context import build
from aichat_cli.core.errors import ContextTooLong
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import ChatMessage, Message, Role
from aichat_cli.core.models import Model

SMALL = Model("small", "small", "test", "openai", context_tokens=400, max_output_tokens=100)
UNKNOWN = Model("unknown", "unknown", "test", "openai")


def message(role: Role, content: str) -> Message:
    return Message(
        id=MessageId("m"),
        conversation_id=ConversationId("c"),
        parent_id=None,
        role=role,
        content=content,
        reasoning="",
        status="complete",
        model=None,
        finish_reason=None,
        error=None,
        input_tokens=None,
        output_tokens=None,
        cost_nano=None,
        created_at="",
    )


def exchange(number: int, words: int = 1) -> list[Message]:
    return [message("user", f"q{number} " * words), message("assistant", f"a{number} " * words)]


def test_a_short_conversation_is_shown_whole() -> None:
    context = build([*exchange(1), *exchange(2)], "q3", "be brief", SMALL)

    assert [m.content.strip() for m in context.messages] == ["q1", "a1", "q2", "a2", "q3"]
    assert context.left_out == 0


def test_the_oldest_messages_are_left_out_and_counted_where_the_window_is_full() -> None:
    context = build([*exchange(1, 200), *exchange(2, 20), *exchange(3, 20)], "q4", None, SMALL)

    assert [m.content.split()[0] for m in context.messages] == ["q2", "a2", "q3", "a3", "q4"]
    assert context.left_out == 2


def test_what_is_shown_never_begins_with_half_an_exchange() -> None:
    branch = [message("user", "long " * 300), message("assistant", "short")]

    context = build(branch, "next", None, SMALL)

    assert context.messages == (ChatMessage("user", "next"),)
    assert context.left_out == 2


def test_a_system_prompt_takes_its_share_of_the_window() -> None:
    branch = [*exchange(1, 60), *exchange(2, 10)]

    assert build(branch, "q", None, SMALL).left_out == 0
    assert build(branch, "q", "rule " * 200, SMALL).left_out > 0


def test_replies_without_a_word_are_not_shown() -> None:
    branch = [message("user", "q1"), message("assistant", "")]

    assert build(branch, "q2", None, SMALL).messages == (ChatMessage("user", "q1\n\nq2"),)


def test_speakers_alternate_as_many_servers_demand() -> None:
    branch = [message("user", "q1"), message("user", "q2"), message("assistant", "a"), message("user", "q3")]

    roles = [m.role for m in build(branch, "q4", None, SMALL).messages]

    assert roles == ["user", "assistant", "user"]


def test_a_branch_that_ends_with_the_question_needs_no_prompt() -> None:
    assert build([message("user", "q1")], None, None, SMALL).messages == (ChatMessage("user", "q1"),)


def test_a_model_of_unknown_window_is_shown_everything() -> None:
    assert build(exchange(1, 100_000), "q", None, UNKNOWN).left_out == 0


def test_a_prompt_that_cannot_fit_is_refused_with_both_sizes() -> None:
    with pytest.raises(ContextTooLong, match=r"about [\d,]+ tokens, and the window of small holds 400"):
        build([], "word " * 2000, None, SMALL)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=12), st.integers(1, 300))
def test_the_newest_is_always_shown_and_nothing_is_lost_uncounted(sizes: list[tuple[int, int]], last: int) -> None:
    branch = [m for q, a in sizes for m in (message("user", "w " * q), message("assistant", "w " * a))]

    context = build(branch, "w " * last, None, SMALL)

    with_text = [m for m in branch if m.content]
    assert context.messages[-1].content.endswith("w " * last)
    shown = sum(m.content.count("\n\n") + 1 for m in context.messages)
    assert shown + context.left_out == len(with_text) + 1
    assert context.messages[0].role == "user" or context.left_out == 0
