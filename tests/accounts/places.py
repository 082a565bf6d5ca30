"""Where accounts are kept, and what a test does there that no gateway does: let time pass, let a holder die, look at the books."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg

from aichat_cli.accounts import keys
from aichat_cli.accounts.postgres import PostgresAccounts
from aichat_cli.accounts.protocol import AccountStore, CallBooks, NewKey, Users
from aichat_cli.accounts.sqlite import SqliteAccounts
from aichat_cli.billing import accrued
from aichat_cli.core.accounts import SCOPES, ApiKey, NewCall, Progress, Scope, User
from aichat_cli.core.clock import now_ms, utc_text
from aichat_cli.core.credits import NANO_PER_CREDIT, PlanName
from aichat_cli.core.ids import ProfileId, RequestId, new_id
from aichat_cli.core.messages import Status
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price, Rates, TokenUsage, cost_nano
from aichat_cli.core.secret import Secret
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage import accounts
from aichat_cli.storage.database import Database

CREDIT = NANO_PER_CREDIT
PRICE = Price(Rates(2_500_000_000, 10_000_000_000))
MODEL = Model("gpt-4o", "gpt-4o", "openai", "openai", price=PRICE)
PROMPT_TOKENS = 1000


class Used(NamedTuple):
    """A call in the books."""

    request_id: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_nano: int | None
    status: str


class Customer(NamedTuple):
    """A user, with a key."""

    user: User
    key: ApiKey
    secret: str

    @property
    def presented(self) -> tuple[str, bytes]:
        """The key, as a gateway looks it up."""
        return keys.prefix_of(self.secret), keys.hash_of(self.secret)


class Place(ABC):
    """A store, with a connection for calls and one for operators."""

    def __init__(self, store: AccountStore) -> None:
        self.store = store
        self.stack = ExitStack()

    @cached_property
    def books(self) -> CallBooks:
        return self.another()

    @cached_property
    def users(self) -> Users:
        users = self.store.users()
        self.stack.callback(users.close)
        return users

    def another(self) -> CallBooks:
        """One more connection for calls."""
        books = self.store.calls()
        self.stack.callback(books.close)
        return books

    def customer(
        self, plan: PlanName = "free", *, credits_: int = 100, scopes: tuple[Scope, ...] = SCOPES, **limits: Any
    ) -> Customer:
        """Somebody new, with so many credits; `limits` are those of the key."""
        name = f"user-{secrets.token_hex(6)}"
        user = self.users.create_user(name, email=None, plan=plan, actor="test")
        if credits_ > 100:
            self.users.grant(user.id, credits_ - 100, ref=f"more:{name}", actor="test")
        return self.key_of(self.users.user(name), scopes=scopes, **limits)

    def key_of(self, user: User, *, scopes: tuple[Scope, ...] = SCOPES, **limits: Any) -> Customer:
        """The same user with another key."""
        fresh = keys.new_key()
        key = self.users.create_key(
            NewKey(user.id, "laptop", fresh.prefix, fresh.key_hash, scopes, **limits), actor="test"
        )
        return Customer(user, key, fresh.secret.reveal())

    def close(self) -> None:
        self.stack.close()

    @abstractmethod
    def let_an_hour_pass(self, user_id: ProfileId) -> None:
        """For the calls in the window of a user."""

    @abstractmethod
    def let_a_minute_pass(self, key_id: str) -> None:
        """Since a key was last used."""

    @abstractmethod
    def charged_last_month(self, customer: Customer, amount_nano: int) -> None:
        """A call through a key, of 32 days ago."""

    @abstractmethod
    def kill(self, *request_ids: RequestId) -> None:
        """Whoever holds these calls dies."""

    @abstractmethod
    def usage(self, user_id: ProfileId) -> list[Used]:
        """The calls of a user in the books, the oldest first."""

    @abstractmethod
    def sums(self, user_id: ProfileId) -> tuple[int, int]:
        """What the ledger and the open holds of a user come to."""


class SqlitePlace(Place):
    def __init__(self, path: Path) -> None:
        super().__init__(SqliteAccounts(path))
        self._db = Database.open(path)
        self.stack.callback(self._db.close)

    def let_an_hour_pass(self, user_id: ProfileId) -> None:
        self._do("UPDATE rate_events SET at_ms = at_ms - 3600000 WHERE user_id = ?", user_id)

    def let_a_minute_pass(self, key_id: str) -> None:
        self._do("UPDATE api_keys SET last_used_at = ? WHERE id = ?", utc_text(now_ms() - 61_000), key_id)

    def charged_last_month(self, customer: Customer, amount_nano: int) -> None:
        self._do(
            "INSERT INTO credit_ledger (id, user_id, key_id, kind, ref, amount_nano, created_at)"
            " VALUES (?1, ?2, ?3, 'charge', ?1, ?4, ?5)",
            new_id(),
            customer.user.id,
            customer.key.id,
            -amount_nano,
            utc_text(now_ms() - 32 * 86_400_000),
        )

    def kill(self, *request_ids: RequestId) -> None:
        for request_id in request_ids:
            held = accounts.open_hold(self._db, request_id)
            assert held is not None
            accounts.forget(self._db, held.seq)

    def usage(self, user_id: ProfileId) -> list[Used]:
        query = (
            "SELECT request_id, model, input_tokens, output_tokens, cost_nano, status FROM usage"
            " WHERE user_id = ? ORDER BY rowid"
        )
        return [Used(*row) for row in self._db.rows(query, (user_id,))]

    def sums(self, user_id: ProfileId) -> tuple[int, int]:
        query = (
            "SELECT (SELECT coalesce(sum(amount_nano), 0) FROM credit_ledger WHERE user_id = ?1),"
            " (SELECT coalesce(sum(amount_nano), 0) FROM credit_holds WHERE user_id = ?1)"
        )
        [(ledger, held)] = self._db.rows(query, (user_id,))
        return ledger, held

    def _do(self, statement: str, *values: str | int) -> None:
        with self._db.transaction():
            self._db.execute(statement, values)


class PostgresPlace(Place):
    def __init__(self, dsn: str) -> None:
        super().__init__(PostgresAccounts(Secret(dsn, "test")))
        self.dsn = dsn
        self.owner = psycopg.connect(dsn, autocommit=True)
        self.stack.callback(self.owner.close)

    def let_an_hour_pass(self, user_id: ProfileId) -> None:
        self.owner.execute("update rate_events set at = at - interval '1 hour' where user_id = %s", (user_id,))

    def let_a_minute_pass(self, key_id: str) -> None:
        self.owner.execute(
            "update api_keys set last_used_at = last_used_at - interval '61 seconds' where id = %s", (key_id,)
        )

    def charged_last_month(self, customer: Customer, amount_nano: int) -> None:
        self.owner.execute(
            "insert into credit_ledger (user_id, key_id, kind, ref, amount_nano, created_at)"
            " values (%s, %s, 'charge', %s, %s, now() - interval '32 days')",
            (customer.user.id, customer.key.id, str(uuid4()), -amount_nano),
        )

    def kill(self, *request_ids: RequestId) -> None:
        done = self.owner.execute(
            "update credit_holds set expires_at = now() - interval '1 second' where request_id = any(%s::uuid[])",
            (list(request_ids),),
        )
        assert done.rowcount == len(request_ids)

    def usage(self, user_id: ProfileId) -> list[Used]:
        query = (
            "select request_id::text, model, input_tokens, output_tokens, cost_nano, status from usage"
            " where user_id = %s order by seq"
        )
        return [Used(*row) for row in self.owner.execute(query, (user_id,)).fetchall()]

    def sums(self, user_id: ProfileId) -> tuple[int, int]:
        row = self.owner.execute(
            "select (select coalesce(sum(amount_nano), 0)::bigint from credit_ledger where user_id = %(user)s),"
            " (select coalesce(sum(amount_nano), 0)::bigint from credit_holds where user_id = %(user)s)",
            {"user": user_id},
        ).fetchone()
        assert row is not None
        return row[0], row[1]


def call(
    customer: Customer, credits_: float = 1, request_id: RequestId | None = None, *, counts: bool = True
) -> NewCall:
    """A call that may cost so much, as a gateway admits it."""
    return NewCall(
        request_id or RequestId(new_id()),
        customer.user.id,
        customer.key.id,
        int(credits_ * CREDIT),
        accrued.as_json(MODEL, "chat", PROMPT_TOKENS, output_tokens=0),
        counts,
    )


def progress(request_id: RequestId, output_tokens: int) -> Progress:
    """So much of the answer has arrived."""
    return Progress(request_id, output_tokens, cost_nano(TokenUsage(PROMPT_TOKENS, output_tokens), PRICE))


def record(
    request_id: RequestId, cost: int | None, *, status: Status = "complete", raw: str | None = None
) -> UsageRecord:
    """The usage of a call that cost so many nano-dollars."""
    tokens = TokenUsage(PROMPT_TOKENS, 20, cached_tokens=10, reasoning_tokens=5, raw=raw)
    return UsageRecord(
        request_id, "chat", "openai", "gpt-4o", "gpt-4o-2024", "chatcmpl-1", tokens, cost, "calculated", status
    )
