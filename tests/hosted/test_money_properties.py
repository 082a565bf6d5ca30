"""Whatever happens to an account, in whatever order: it is told by a model in a few lines, and its sums are the sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hosted.people import CREDIT, Connection, sign_up, sums

AMOUNTS = st.integers(-1, 130 * CREDIT) | st.sampled_from([0, 1, CREDIT, CREDIT + 1, 100 * CREDIT, 10**15])
STEPS = st.tuples(
    st.sampled_from(["admit", "admit", "settle", "release", "renew", "expire", "grant", "refund", "deduct", "plan"]),
    st.integers(0, 3),
    AMOUNTS,
)


def in_credits(nano: int) -> int:
    return -(-nano // CREDIT) * CREDIT


@dataclass
class Account:
    """What an account should be like."""

    balance: int = 100 * CREDIT
    holds: dict[UUID, int] = field(default_factory=dict)
    accrued: dict[UUID, int] = field(default_factory=dict)
    entered: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.balance - sum(self.holds.values())

    def take(self, name: str, due: int) -> None:
        if due > 0 and name not in self.entered:
            taken = min(due, self.left)
            self.entered[name] = due
            self.balance -= taken

    def end(self, call: UUID, cost: int) -> None:
        if call in self.holds:
            del self.holds[call]
            self.take(str(call), in_credits(cost))


class Bank:
    """The same steps done to the database and to the model, and what each said of them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.user = sign_up(connection)
        self.calls = [uuid4() for _ in range(4)]
        self.account = Account()

    def asked(self, query: str, *parameters: object) -> str:
        """How the database took it: `ok`, or the state it refused it with."""
        try:
            self.connection.execute(f"select {query}", parameters)
        except psycopg.Error as exc:
            return exc.sqlstate or "?"
        return "ok"

    def step(self, action: str, which: int, amount: int) -> None:
        asked, expected = getattr(self, action)(self.calls[which], amount)
        assert asked == expected, (action, which, amount)
        assert sums(self.connection, self.user) == (self.account.balance, sum(self.account.holds.values()))

    def admit(self, call: UUID, amount: int) -> tuple[str, str]:
        account = self.account
        asked = self.asked("aichat.admit(%s, %s, %s, '{}', '1 hour', false)", self.user, call, amount)
        if amount < 0:
            return asked, "AI400"
        if call in account.holds or str(call) in account.entered:
            return asked, "AI409"
        if in_credits(amount) > account.left:
            return asked, "AI402"
        account.holds[call] = in_credits(amount)
        account.accrued[call] = 0
        return asked, "ok"

    def settle(self, call: UUID, amount: int) -> tuple[str, str]:
        asked = self.asked("aichat.settle(%s, %s)", call, amount)
        if amount < 0:
            return asked, "AI400"
        self.account.end(call, amount)
        return asked, "ok"

    def release(self, call: UUID, _: int) -> tuple[str, str]:
        self.account.holds.pop(call, None)
        return self.asked("aichat.release(%s)", call), "ok"

    def renew(self, call: UUID, amount: int) -> tuple[str, str]:
        self.account.accrued[call] = max(amount, 0)
        told = f'[{{"request_id": "{call}", "accrued_nano": {amount}}}]'
        return self.asked("aichat.renew(%s, '1 hour')", told), "ok"

    def expire(self, *_: object) -> tuple[str, str]:
        asked = self.asked("count(*) from aichat.expire(clock_timestamp() + interval '2 hours')")
        # Where not all are covered it matters who comes first.
        for call in sorted(self.account.holds, key=str):
            self.account.end(call, self.account.accrued[call])
        return asked, "ok"

    def grant(self, call: UUID, amount: int) -> tuple[str, str]:
        return self._enter("grant_credits", "purchase", call, amount)

    def refund(self, call: UUID, amount: int) -> tuple[str, str]:
        return self._enter("take_credits", "refund", call, amount)

    def _enter(self, function: str, kind: str, call: UUID, nano: int) -> tuple[str, str]:
        amount = nano // CREDIT
        name = f"{kind} {call}"
        asked = self.asked(f"aichat.{function}(%s, %s, %s, %s)", self.user, kind, str(call), amount)
        if not 1 <= amount <= 10**9:
            return asked, "AI400"
        if self.account.entered.get(name, amount * CREDIT) != amount * CREDIT:
            return asked, "AI409"
        if kind == "refund":
            self.account.take(name, amount * CREDIT)
        elif name not in self.account.entered:
            self.account.entered[name] = amount * CREDIT
            self.account.balance += amount * CREDIT
        return asked, "ok"

    def deduct(self, _: UUID, nano: int) -> tuple[str, str]:
        amount = nano // CREDIT
        asked = self.asked("public.deduct_credits(%s, %s)", self.user, amount)
        if amount < 1:
            return asked, "AI400"
        if amount * CREDIT > self.account.left:
            return asked, "AI402"
        self.account.balance -= amount * CREDIT
        return asked, "ok"

    def plan(self, _: UUID, amount: int) -> tuple[str, str]:
        plan = ("free", "pro", "enterprise")[amount % 3]
        return self.asked("aichat.set_plan(%s, %s)", self.user, plan), "ok"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=12))
def test_a_balance_is_the_sum_of_its_ledger_whatever_happens(
    owner: Connection, steps: list[tuple[str, int, int]]
) -> None:
    bank = Bank(owner)
    for action, which, amount in steps:
        bank.step(action, which, amount)
