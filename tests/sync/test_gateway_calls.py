"""A call through a gateway is written down twice, by the gateway and by the device, and counts once everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from aichat_cli.accounts.postgres import PostgresAccounts, PostgresCalls
from aichat_cli.core.accounts import NewCall
from aichat_cli.core.errors import CallKnown
from aichat_cli.core.ids import ProfileId, RequestId, new_id
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.secret import Secret
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage import turns, usage_reports
from aichat_cli.storage.turns import OpenTurn, TurnOutcome
from tests.sync.conftest import Ask, NewDevice
from tests.sync.devices import DeviceSim

EVER = usage_reports.TimeRange("2000", usage_reports.FOREVER)


class Gateway:
    """What a gateway does about a call, beside answering it."""

    def __init__(self, calls: PostgresCalls, there: Ask) -> None:
        self._calls = calls
        self._there = there

    def admit(self, request_id: str | None = None) -> RequestId:
        [(user, key)] = self._there("SELECT p.id::text, (SELECT id::text FROM api_keys) FROM profiles p")
        admitted = RequestId(request_id or new_id())
        self._calls.admit(NewCall(admitted, ProfileId(user), key, 1_000_000, '{"type": "chat"}'))
        return admitted

    def settle(self, request_id: RequestId) -> None:
        self._calls.settle(request_id, record(request_id, tokens=7))


@pytest.fixture
def gateway(dsn: str, there: Ask) -> Iterator[Gateway]:
    calls = PostgresAccounts(Secret(dsn, "test")).calls()
    yield Gateway(calls, there)
    calls.close()


def record(request_id: RequestId, *, tokens: int = 5) -> UsageRecord:
    return UsageRecord(
        request_id=request_id,
        type="chat",
        provider="gateway",
        model="model",
        served_model=None,
        provider_id=None,
        tokens=TokenUsage(3, tokens),
        cost_nano=1000,
        provenance="provider",
        status="complete",
    )


def end(device: DeviceSim, turn: OpenTurn, request_id: RequestId) -> None:
    """The answer is there, and what it used is written down on this device."""
    device.open_turns.remove(turn)
    outcome = TurnOutcome(
        text="Because.",
        reasoning="",
        status="complete",
        model="model",
        finish_reason="stop",
        error=None,
        usage=record(request_id),
    )
    turns.settle(device.database, turn, outcome)


def check(devices: list[DeviceSim], there: Ask, turn: OpenTurn, request_id: RequestId) -> None:
    """One call, of this turn, on every device and in the hosted database."""
    expected = [(request_id, turn.conversation_id, turn.message_id)]
    query: Any = "SELECT request_id::text, conversation_id::text, message_id::text FROM usage"
    assert there(query) == expected
    for device in devices:
        assert device.database.rows("SELECT request_id, conversation_id, message_id FROM usage") == expected
        assert device.database.rows("SELECT sum(requests) FROM usage_days") == [(1,)]
        [told], _ = usage_reports.by_conversation(device.database, EVER)
        assert (told.conversation_id, told.sums.requests) == (turn.conversation_id, 1)
        assert device.database.rows("SELECT content, status FROM messages WHERE role = 'assistant'") == [
            ("Because.", "complete")
        ]


def sync_all(*devices: DeviceSim) -> None:
    for _ in range(3):
        for device in devices:
            assert device.sync() is not None


def test_the_gateway_writes_first_and_the_device_sends_what_the_call_belongs_to(
    new_device: NewDevice, gateway: Gateway, there: Ask
) -> None:
    one, other = new_device(), new_device()
    sync_all(one, other)
    turn, request_id = one.ask("Why?", None, None), gateway.admit()
    gateway.settle(request_id)
    end(one, turn, request_id)

    sync_all(one, other)

    check([one, other], there, turn, request_id)
    assert there("SELECT output_tokens FROM usage") == [(7,)]


def test_another_device_has_the_record_of_the_gateway_before_it_knows_what_it_belongs_to(
    new_device: NewDevice, gateway: Gateway, there: Ask
) -> None:
    one, other = new_device(), new_device()
    sync_all(one, other)
    turn, request_id = one.ask("Why?", None, None), gateway.admit()
    gateway.settle(request_id)
    other.sync()
    assert other.database.rows("SELECT request_id, message_id FROM usage") == [(request_id, None)]
    end(one, turn, request_id)

    sync_all(one, other)

    check([one, other], there, turn, request_id)


def test_the_record_of_the_gateway_comes_here_while_the_answer_is_still_being_written(
    new_device: NewDevice, gateway: Gateway, there: Ask
) -> None:
    one, other = new_device(), new_device()
    sync_all(one, other)
    turn, request_id = one.ask("Why?", None, None), gateway.admit()
    gateway.settle(request_id)
    one.sync()
    assert one.database.rows("SELECT request_id, message_id FROM usage") == [(request_id, None)]
    end(one, turn, request_id)

    sync_all(one, other)

    check([one, other], there, turn, request_id)


def test_a_device_cannot_write_down_a_call_that_is_under_way(
    new_device: NewDevice, gateway: Gateway, there: Ask
) -> None:
    one, other = new_device(), new_device()
    sync_all(one, other)
    turn, request_id = one.ask("Why?", None, None), gateway.admit()
    end(one, turn, request_id)
    sync_all(one, other)
    assert there("SELECT count(*) FROM usage") == [(0,)]
    assert there("SELECT count(*) FROM messages") == [(2,)]

    gateway.settle(request_id)
    sync_all(one, other)

    check([one, other], there, turn, request_id)
    assert there("SELECT output_tokens FROM usage") == [(7,)]
    assert there("SELECT -sum(amount_nano) FROM credit_ledger WHERE kind = 'charge'") == [(10_000_000,)]


def test_an_id_that_a_device_has_used_is_none_for_a_call(new_device: NewDevice, gateway: Gateway, there: Ask) -> None:
    one = new_device()
    one.sync()
    turn = one.ask("Why?", None, None)
    used = one.answer(turn, "Because.")
    one.sync()
    with pytest.raises(CallKnown):
        gateway.admit(used)


def test_of_a_record_nothing_can_be_changed_but_what_it_belongs_to_where_that_was_not_known(
    new_device: NewDevice, gateway: Gateway, there: Ask
) -> None:
    one = new_device()
    one.sync()
    gateway.settle(gateway.admit())
    first, second = one.ask("Why?", None, None), one.ask("How?", None, None)
    for turn in (first, second):
        one.answer(turn, "Because.")
    one.sync()
    unknown = "WHERE conversation_id IS NULL"

    for change in (
        f"UPDATE usage SET seq = seq + 1000 {unknown}",
        f"UPDATE usage SET conversation_id = '{first.conversation_id}', cost_nano = 0 {unknown}",
        f"UPDATE usage SET conversation_id = '{first.conversation_id}', seq = 0 {unknown}",
        f"UPDATE usage SET conversation_id = '{first.conversation_id}', origin = gen_random_uuid() {unknown}",
        f"UPDATE usage SET message_id = '{first.message_id}' WHERE message_id = '{second.message_id}'",
    ):
        with pytest.raises(psycopg.Error, match="usage is written once"):
            there(change)
    there(f"UPDATE usage SET conversation_id = '{first.conversation_id}', seq = seq + 1000 {unknown}")
    assert there("SELECT count(*) FROM usage WHERE conversation_id IS NULL") == [(0,)]
