"""The books: exact, written once, never changed."""

from __future__ import annotations

import pytest

from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import StorageError
from aichat_cli.storage import usage
from aichat_cli.storage.database import Database
from tests.storage.support import said, usage_record


def test_a_call_is_recorded_as_it_was_counted(memory: Database) -> None:
    record = usage_record(cost_nano=10_000_001)
    usage.insert(memory, record, conversation_id=None, message_id=None)
    assert usage.is_recorded(memory, record.request_id)
    assert memory.rows(
        "SELECT type, provider, model, served_model, provider_id, input_tokens, cached_tokens, cache_write_tokens,"
        " output_tokens, reasoning_tokens, cost_nano, provenance, raw, status FROM usage"
    ) == [
        (
            "chat",
            "openai",
            "gpt-4o-mini",
            "gpt-4o-mini-2024-07-18",
            "chatcmpl-1",
            10,
            4,
            2,
            5,
            1,
            10_000_001,
            "calculated",
            '{"a": 1}',
            "complete",
        )
    ]


@pytest.mark.parametrize(
    ("nano", "cents"), [(0, 0), (1, 1), (9_999_999, 1), (10_000_000, 1), (10_000_001, 2), (None, None)]
)
def test_cents_are_rounded_up_and_unknown_stays_unknown(memory: Database, nano: int | None, cents: int | None) -> None:
    usage.insert(memory, usage_record(cost_nano=nano), conversation_id=None, message_id=None)
    assert memory.row("SELECT cost_cents FROM usage") == (cents,)


REPLACE = """
REPLACE INTO usage SELECT request_id, user_id, NULL, NULL, type, provider, model, NULL, NULL, 0, 0, 0, 0, 0, 0,
  provenance, NULL, status, created_at FROM usage
"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage SET cost_nano = 0",
        "UPDATE usage SET raw = NULL",
        "UPDATE usage SET message_id = (SELECT id FROM messages WHERE role = 'user')",
        "UPDATE usage SET created_at = '1999'",
        "DELETE FROM usage",
        REPLACE,
    ],
)
def test_a_recorded_call_cannot_be_changed(memory: Database, statement: str) -> None:
    said(memory)
    before = memory.rows("SELECT * FROM usage")
    with pytest.raises(StorageError, match=r"usage is immutable|already recorded"):
        memory.execute(statement)
    assert memory.rows("SELECT * FROM usage") == before


def test_a_call_is_recorded_once(memory: Database) -> None:
    record = usage_record()
    usage.insert(memory, record, conversation_id=None, message_id=None)
    with pytest.raises(StorageError, match="already recorded"):
        usage.insert(memory, record, conversation_id=None, message_id=None)


def test_a_conversation_costs_the_sum_of_its_calls(memory: Database) -> None:
    turn = said(memory, cost_nano=100)
    said(memory, cost_nano=5, conversation_id=turn.conversation_id)
    said(memory, cost_nano=1_000)
    assert usage.conversation_cost(memory, turn.conversation_id) == 105
    said(memory, cost_nano=None, conversation_id=turn.conversation_id)
    assert usage.conversation_cost(memory, turn.conversation_id) is None


def test_a_conversation_without_calls_costs_nothing(memory: Database) -> None:
    turn = said(memory)
    memory.execute("UPDATE usage SET conversation_id = NULL")
    assert usage.conversation_cost(memory, turn.conversation_id) == 0


def test_what_was_spent_counts_from_a_moment_on(memory: Database) -> None:
    said(memory, cost_nano=100)
    said(memory, cost_nano=None)
    assert usage.spent_since(memory, "2000-01-01T00:00:00.000Z") == 100
    assert usage.spent_since(memory, utc_now().replace("20", "21", 1)) == 0
