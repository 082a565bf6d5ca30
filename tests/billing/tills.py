"""Books that purchases are written down in, in SQLite and in Postgres, and what tests do to them besides."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from aichat_cli.billing.till import SqliteTill, Till
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.ids import LOCAL_PROFILE, ProfileId, RequestId, new_id
from aichat_cli.core.secret import Secret
from aichat_cli.hosted.connection import Connection
from aichat_cli.hosted.purchases import PostgresTill
from aichat_cli.storage import accounts
from aichat_cli.storage.database import Database


class Books(ABC):
    """The books of one user, who has 100 credits at first."""

    till: Till
    user_id: ProfileId
    reversals = "reversals"

    @abstractmethod
    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement that both databases understand."""

    @abstractmethod
    def somebody_else(self) -> Books:
        """Those of another user, in the same database."""

    @abstractmethod
    def another(self) -> Any:
        """A context with a till on a connection of its own."""

    @abstractmethod
    def charge(self, credits_: int) -> None:
        """A call costs this much."""

    @abstractmethod
    def hold(self, credits_: int) -> None:
        """A call is under way that may cost this much."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where `opened` finds them."""

    @property
    def balance(self) -> float:
        return self.till.funds(self.user_id).balance_nano / NANO_PER_CREDIT

    @property
    def ledger(self) -> list[tuple[str, float, float]]:
        """Kind, credits and what was not covered of each entry but the first, oldest first."""
        rows = self.rows(
            "SELECT kind, amount_nano, uncovered_nano FROM credit_ledger"
            f" WHERE user_id = '{self.user_id}' ORDER BY {self._order}"
        )
        return [(kind, amount / NANO_PER_CREDIT, uncovered / NANO_PER_CREDIT) for kind, amount, uncovered in rows][1:]

    @property
    def audited(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Who did what, oldest first."""
        rows = self.rows(
            f"SELECT actor, action, detail FROM {self._audit} WHERE user_id = '{self.user_id}' ORDER BY {self._order}"
        )
        return [
            (actor, action, detail if isinstance(detail, dict) else json.loads(detail))
            for actor, action, detail in rows
        ]

    _order = "seq"
    _audit = "audit_events"


class SqliteBooks(Books):
    """In a file."""

    def __init__(self, db: Database, user_id: ProfileId = LOCAL_PROFILE, *, is_audited: bool = False) -> None:
        self.db = db
        self.user_id = user_id
        self.till = SqliteTill(db, is_audited=is_audited)

    @property
    def address(self) -> str:
        return str(self.db.path)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.db.rows(sql)

    def somebody_else(self) -> Books:
        other = ProfileId(new_id())
        with self.db.transaction():
            self.db.execute("INSERT INTO profiles (id, created_at) VALUES (?, '2026-01-01T00:00:00.000Z')", (other,))
            accounts.add_entry(self.db, "grant", f"welcome:{other}", 100 * NANO_PER_CREDIT, user_id=other)
        return SqliteBooks(self.db, other, is_audited=True)

    @contextmanager
    def another(self) -> Iterator[Till]:
        with self.db.reopen() as again:
            yield SqliteTill(again, is_audited=True)

    def charge(self, credits_: int) -> None:
        with self.db.transaction():
            accounts.add_entry(self.db, "charge", new_id(), -credits_ * NANO_PER_CREDIT, user_id=self.user_id)

    def hold(self, credits_: int) -> None:
        new = accounts.NewHold(RequestId(new_id()), credits_ * NANO_PER_CREDIT, "credits", "{}")
        with self.db.transaction():
            accounts.hold(self.db, new, self.user_id)


class PostgresBooks(Books):
    """In a hosted database."""

    reversals = "aichat.reversals"
    _order = "id"
    _audit = "aichat.audit_events"

    def __init__(self, connection: Connection, dsn: str) -> None:
        self.connection = connection
        self.dsn = dsn
        self.user_id = ProfileId(str(uuid4()))
        connection.rows("INSERT INTO auth.users (id) VALUES (%s)", (self.user_id,))
        self.till = PostgresTill(connection)

    @property
    def address(self) -> str:
        return self.dsn

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.rows(sql)

    def somebody_else(self) -> Books:
        return PostgresBooks(self.connection, self.dsn)

    @contextmanager
    def another(self) -> Iterator[Till]:
        with Connection.open(Secret(self.dsn, "a test")) as connection:
            yield PostgresTill(connection)

    def charge(self, credits_: int) -> None:
        self._call("SELECT aichat.enter(%s, 'charge', %s, %s, 0)", self.user_id, new_id(), -credits_ * NANO_PER_CREDIT)

    def hold(self, credits_: int) -> None:
        self._call(
            "SELECT aichat.admit(%s, %s, %s, '{\"accrued_nano\": 0}', '1 hour')",
            self.user_id,
            new_id(),
            credits_ * NANO_PER_CREDIT,
        )

    def clear(self) -> None:
        """Leave nobody behind."""
        self.rows("DELETE FROM auth.users")
        self.rows("DELETE FROM aichat.reversals")

    def _call(self, sql: str, *parameters: Sequence[object] | object) -> None:
        self.connection.rows(sql, parameters)


@contextmanager
def opened(address: str) -> Iterator[Till]:
    """The till at an address, for a process of its own."""
    from pathlib import Path

    if address.startswith("postgresql:"):
        with Connection.open(Secret(address, "a test")) as connection:
            yield PostgresTill(connection)
    else:
        with Database.open(Path(address)) as db:
            yield SqliteTill(db, is_audited=True)
