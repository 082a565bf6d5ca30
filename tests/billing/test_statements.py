"""Statements reconcile to the nano-dollar, whatever happened."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.billing.overview import overview
from aichat_cli.core.clock import utc_text
from aichat_cli.core.credits import NANO_PER_CREDIT, WINDOW_MS
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.storage import accounts, usage
from aichat_cli.storage.database import Database
from aichat_cli.storage.statements import Statement, statement
from tests.billing.books import record_of, settle

NOW_MS = 1_800_000_000_000

costs = st.integers(0, 40 * NANO_PER_CREDIT)
events = st.lists(
    st.one_of(
        st.tuples(st.just("charge"), costs, st.integers(1, 50)),
        st.tuples(st.just("own-keys"), costs, st.just(0)),
        st.tuples(st.sampled_from(["grant", "purchase"]), st.integers(1, 50), st.just(0)),
        st.tuples(st.sampled_from(["refund", "dispute"]), st.integers(0, 50), st.just(0)),
    ),
    max_size=25,
)


def happen(db: Database, kind: str, amount: int, held: int) -> None:
    """One event: a call that costs `amount` with `held` credits held for it, or an entry of that many credits."""
    request_id = RequestId(new_id())
    if kind == "charge":
        with db.transaction():
            held_nano = min(held * NANO_PER_CREDIT, accounts.account(db).available_nano)
            accounts.hold(db, accounts.NewHold(request_id, held_nano, "credits", "{}"))
        settle(db, request_id, amount)
    elif kind == "own-keys":
        with db.transaction():
            usage.insert(db, record_of(request_id, amount), conversation_id=None, message_id=None)
    else:
        with db.transaction():
            moved = amount * NANO_PER_CREDIT
            if kind in {"refund", "dispute"}:
                moved = -min(moved, accounts.account(db).available_nano)
            accounts.add_entry(db, kind, request_id, moved)  # type: ignore[arg-type]


@given(history=events)
def test_every_statement_reconciles_with_the_balance_and_with_the_usage(history: list[tuple[str, int, int]]) -> None:
    with Database.in_memory() as db:
        for kind, amount, held in history:
            happen(db, kind, amount, held)
        made = statement(db)
        assert made.problems == ()
        assert made.opening_nano == 0
        assert made.closing_nano == accounts.account(db).balance_nano
        assert made.charges_nano == made.usage_nano + made.rounding_nano - made.uncovered_nano
        charged = [amount for kind, amount, _ in history if kind == "charge" and amount]
        assert (made.charged_calls, made.usage_nano) == (len(charged), sum(charged))


def test_periods_add_up() -> None:
    with Database.in_memory() as db:
        marks: list[str] = []
        for kind, amount, held in [("grant", 20, 0), ("charge", 15_000_000, 5), ("refund", 7, 0), ("charge", 1, 1)]:
            time.sleep(0.003)
            marks.append(utc_text(time.time_ns() // 1_000_000))
            happen(db, kind, amount, held)
        periods = [
            statement(db, since=since, until=until) for since, until in zip([None, *marks], [*marks, None], strict=True)
        ]
        whole = statement(db)
    assert all(period.problems == () for period in periods)
    for earlier, later in pairwise(periods):
        assert later.opening_nano == earlier.closing_nano
    assert periods[-1].closing_nano == whole.closing_nano == (100 + 20 - 2 - 7 - 1) * NANO_PER_CREDIT
    assert sum(period.charges_nano for period in periods) == whole.charges_nano
    assert [period.balance_nano for period in periods[:-1]] == [None] * 4


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"closing_nano": 1}, "the closing balance differs"),
        ({"unmatched": 2}, "2 charges belong to no call"),
        ({"usage_nano": 1}, "the charges differ from the usage"),
        ({"balance_nano": 5}, "the balance differs"),
    ],
)
def test_what_does_not_reconcile_is_named(fields: dict[str, int], problem: str) -> None:
    names = Statement.__struct_fields__
    made = Statement(**dict.fromkeys(names, 0) | {"since": None, "until": None} | fields)  # type: ignore[arg-type]
    assert problem in made.problems[0]


def test_a_charge_without_a_call_does_not_reconcile() -> None:
    with Database.in_memory() as db:
        with db.transaction():
            accounts.add_entry(db, "charge", "nobody knows", -3 * NANO_PER_CREDIT)
        assert len(statement(db).problems) == 2


def test_the_window_counts_the_calls_of_the_last_hour_and_says_when_the_oldest_leaves_it() -> None:
    with Database.in_memory() as db:
        assert accounts.window(db, now_ms=NOW_MS) == accounts.Window(20, 20, None)
        with db.transaction():
            for ago in (WINDOW_MS, WINDOW_MS - 1, 1000, 0, -5000):
                accounts.add_admitted(db, NOW_MS - ago)
        assert accounts.window(db, now_ms=NOW_MS) == accounts.Window(20, 17, NOW_MS + 1)
        with db.transaction():
            for _ in range(30):
                accounts.add_admitted(db, NOW_MS)
        assert accounts.window(db, now_ms=NOW_MS).remaining == 0
        db.execute("UPDATE profiles SET plan = 'pro'")
        assert accounts.window(db, now_ms=NOW_MS).limit == 200
        assert db.rows("SELECT count(*) FROM rate_events") == [(35,)]


def test_a_look_at_the_credits_writes_nothing() -> None:
    with Database.in_memory() as db:
        before = db.rows("SELECT total_changes()")
        shown = overview(db, "credits", recent=3)
        assert (shown.account.balance_nano, shown.mode, shown.open_purchases) == (100 * NANO_PER_CREDIT, "credits", 0)
        assert [entry.kind for entry in shown.recent] == ["grant"]
        assert db.rows("SELECT total_changes()") == before
