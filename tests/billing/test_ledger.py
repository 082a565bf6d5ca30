"""The ledger under random sequences of what happens to calls: the sums hold, nothing is negative, nobody pays twice."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aichat_cli.billing import accrued
from aichat_cli.billing.admission import admit, release
from aichat_cli.billing.limits import Limits
from aichat_cli.core.credits import NANO_PER_CREDIT, charge_nano
from aichat_cli.core.errors import OutOfCredits, StorageError
from aichat_cli.core.ids import RequestId
from aichat_cli.storage import accounts, turns
from aichat_cli.storage.database import Database
from tests import blank
from tests.billing.books import call_for, leave_credits, settle

CREDITS = Limits(mode="credits")
ARRIVED = "a few words"
COST_OF_ARRIVED = len(ARRIVED) * NANO_PER_CREDIT
"""A token a letter, a cent a token."""


class Calls(RuleBasedStateMachine):
    """Calls of many processes, as their books see them."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.db = Database.open(blank.put(Path(self._folder.name) / "aichat.db"))
        self.held: dict[RequestId, int] = {}
        self.charged: dict[RequestId, int] = {}
        self.granted = 0

    def teardown(self) -> None:
        for request_id in self.held:
            with self.db.transaction():
                accounts.close(self.db, request_id, None)
        self.db.close()
        self._folder.cleanup()

    @initialize()
    def widen_the_window(self) -> None:
        with self.db.transaction():
            self.db.execute("UPDATE profiles SET plan = 'enterprise'")
        self.granted = 100 * NANO_PER_CREDIT

    @property
    def balance(self) -> int:
        return self.granted - sum(self.charged.values())

    @rule(most=st.integers(1, 60), tells=st.booleans())
    def reserve(self, most: int, tells: bool) -> None:
        left = self.balance - sum(self.held.values())
        call = call_for(most)
        if most * NANO_PER_CREDIT > left:
            with pytest.raises(OutOfCredits):
                admit(call, CREDITS, self.db)
            return
        admission = admit(call, CREDITS, self.db)
        self.held[admission.request_id] = most * NANO_PER_CREDIT
        if tells:
            self._write_answer(admission.request_id)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cost=st.integers(0, 70 * NANO_PER_CREDIT))
    def settle(self, data: st.DataObject, cost: int) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[request_id]
        room = self.balance - sum(self.held.values())
        settle(self.db, request_id, cost)
        self.charged[request_id] = min(charge_nano(cost), room)

    @precondition(lambda self: self.charged)
    @rule(data=st.data())
    def settle_again(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.charged)))
        with pytest.raises(StorageError):
            settle(self.db, request_id, NANO_PER_CREDIT)
        with self.db.transaction():
            accounts.close(self.db, request_id, None)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def settle_half(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.held)))
        with pytest.raises(ZeroDivisionError), self.db.transaction():
            self.db.execute("DELETE FROM credit_holds WHERE request_id = ?", (request_id,))
            accounts.add_entry(self.db, "charge", request_id, -self.held[request_id])
            raise ZeroDivisionError

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[request_id]
        with self.db.transaction():
            accounts.close(self.db, request_id, None)

    @rule(number=st.integers(1, 50))
    def grant(self, number: int) -> None:
        ref = f"grant {self.granted}"
        with self.db.transaction():
            assert accounts.add_entry(self.db, "grant", ref, number * NANO_PER_CREDIT)
            assert not accounts.add_entry(self.db, "grant", ref, number * NANO_PER_CREDIT)
        self.granted += number * NANO_PER_CREDIT

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def die_and_expire(self, data: st.DataObject) -> None:
        """A process dies: the kernel drops its locks, and whoever starts next settles what it left."""
        dying = data.draw(st.lists(st.sampled_from(sorted(self.held)), unique=True, min_size=1))
        opened = [hold for each in dying if (hold := accounts.open_hold(self.db, each))]
        opened.sort(key=lambda hold: hold.seq)  # as they are settled
        for hold in opened:
            accounts.forget(self.db, hold.seq)
        assert accrued.recover(self.db, lambda text, _: len(text)) == len(dying)
        assert accrued.recover(self.db, lambda text, _: len(text)) == 0
        for hold in opened:
            del self.held[hold.request_id]
            room = self.balance - sum(self.held[each] for each in self.held if each not in dying)
            room -= sum(other.amount_nano for other in opened if other.seq > hold.seq)
            has_answer = hold.message_seq is not None
            self.charged[hold.request_id] = min(COST_OF_ARRIVED, room) if has_answer else 0

    @invariant()
    def the_sums_hold(self) -> None:
        account = accounts.account(self.db)
        assert account.balance_nano == self.balance
        assert account.held_nano == sum(self.held.values())
        assert 0 <= account.held_nano <= account.balance_nano
        assert self.db.row("SELECT coalesce(sum(amount_nano), 0) FROM credit_ledger") == (self.balance,)
        assert self.db.row("SELECT coalesce(sum(amount_nano), 0) FROM credit_holds") == (account.held_nano,)

    @invariant()
    def each_request_is_charged_once(self) -> None:
        charges = dict(self.db.rows("SELECT ref, -amount_nano FROM credit_ledger WHERE kind = 'charge'"))
        uncovered = {row[0] for row in self.db.rows("SELECT ref FROM credit_ledger WHERE uncovered_nano > 0")}
        expected = {request_id: nano for request_id, nano in self.charged.items() if nano or request_id in uncovered}
        assert charges == expected

    def _write_answer(self, request_id: RequestId) -> None:
        opened = turns.begin(
            self.db, turns.BeginTurn(None, None, "question", "title", None, "paid", request_id=request_id)
        )
        turns.checkpoint(self.db, opened, ARRIVED, "")


TestCalls = Calls.TestCase
TestCalls.settings = settings(stateful_step_count=30, max_examples=30, deadline=None)


def test_what_a_call_costs_beyond_what_is_there_is_written_down(tmp_path: Path) -> None:
    with Database.open(blank.put(tmp_path / "a.db")) as db:
        leave_credits(db, 5)
        admission = admit(call_for(3), CREDITS, db)
        settle(db, admission.request_id, 9 * NANO_PER_CREDIT)
        entry = accounts.entries(db)[0]
        assert (entry.amount_nano, entry.uncovered_nano, entry.balance_nano) == (
            -5 * NANO_PER_CREDIT,
            4 * NANO_PER_CREDIT,
            0,
        )


def test_a_hold_of_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    with Database.open(blank.put(tmp_path / "a.db")) as db:
        admission = admit(call_for(3), CREDITS, db)
        assert accrued.recover(db, lambda text, _: len(text)) == 0
        assert accounts.account(db).held_nano == 3 * NANO_PER_CREDIT
        release(admission, CREDITS, db)
        assert accounts.account(db).held_nano == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit_ledger SET amount_nano = 1",
        "DELETE FROM credit_ledger",
        "REPLACE INTO credit_ledger SELECT seq, id, user_id, kind, ref, NULL, 5, 0, created_at, NULL FROM credit_ledger",
    ],
)
def test_the_ledger_cannot_be_changed(tmp_path: Path, statement: str) -> None:
    with Database.open(blank.put(tmp_path / "a.db")) as db:
        before = db.rows("SELECT * FROM credit_ledger")
        with pytest.raises(StorageError, match=r"immutable|already"):
            db.execute(statement)
        assert db.rows("SELECT * FROM credit_ledger") == before


def test_the_note_of_a_call_is_read_back_as_it_was_priced(tmp_path: Path) -> None:
    with Database.open(blank.put(tmp_path / "a.db")) as db:
        admission = admit(call_for(3, input_tokens=7), CREDITS, db)
        hold = accounts.open_hold(db, admission.request_id)
        assert hold is not None
        noted = json.loads(hold.call)
        assert (noted["model"], noted["input_tokens"], noted["rates"][1]) == ("paid", 7, 10_000_000_000_000)
        release(admission, CREDITS, db)


@pytest.mark.parametrize(("at_ms", "counts"), [(1000, False), (1001, True), (5000, True), (5001, False)])
def test_the_window_holds_what_is_younger_than_an_hour_and_not_of_a_clock_gone_wrong(
    tmp_path: Path, at_ms: int, counts: bool
) -> None:
    with Database.open(blank.put(tmp_path / "a.db")) as db, db.transaction():
        accounts.add_admitted(db, at_ms)
        assert accounts.in_window(db, 1000, now_ms=5000).oldest_ms == (at_ms if counts else None)
        assert db.row("SELECT count(*) FROM rate_events") == (int(counts),)
