"""The connection to a hosted Postgres. Nothing outside this folder sees psycopg, which takes a tenth of a second to load:
everything here loads it on use.

What leaves this module are values, and errors of ours that never hold the DSN.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from aichat_cli.core.errors import ConfigError, HostedUnavailable, UsageError
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct
from aichat_cli.hosted import failures

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS = 15
"""For all addresses of a host together; Postgres itself counts in seconds, 2 at least."""
IDLE_SECONDS = 60
"""Longest silence of a server that is asked something."""


class Place(Struct, frozen=True):
    """Where a database is, as it may be shown."""

    host: str
    port: int
    database: str
    user: str

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine: what goes there crosses no network."""
        return self.host.startswith(("/", "127.")) or self.host in {"localhost", "::1"}

    @property
    def name(self) -> str:
        """In one word, such as `db.example.com/aichat`."""
        port = "" if self.port == 5432 else f":{self.port}"
        return f"{self.host}{port}/{self.database}"


def parsed(dsn: Secret) -> tuple[Place, Mapping[str, Any]]:
    """Where a DSN points to, and its parts.

    Raises:
        UsageError: it is none. The message does not repeat it.
        ConfigError: psycopg is not installed.
    """
    psycopg = _psycopg()
    text = dsn.reveal()
    if not text.startswith(("postgresql://", "postgres://")) and "=" not in text:
        raise _not_a_dsn()
    try:
        parts = psycopg.conninfo.conninfo_to_dict(text)
        port = int(str(parts.get("port") or 5432).split(",")[0])
    except (psycopg.Error, ValueError):
        raise _not_a_dsn() from None
    host = str(parts.get("host") or parts.get("hostaddr") or "localhost")
    user = str(parts.get("user") or "")
    return Place(host, port, str(parts.get("dbname") or user or "postgres"), user), parts


def _not_a_dsn() -> UsageError:
    return UsageError(
        "This is not the address of a Postgres database.", hint="It looks like: postgresql://USER@HOST:5432/DATABASE"
    )


class Connection:
    """One connection, for one thread. Every statement is a transaction of its own; `transaction` puts some together."""

    def __init__(self, connection: psycopg.Connection, place: Place) -> None:
        self._connection = connection
        self.place = place
        self.round_trips = 0

    @classmethod
    def open(cls, dsn: Secret, *, application: str = "aichat") -> Connection:
        """Connect; over a network only encrypted, unless the address says otherwise with `sslmode`.

        Raises:
            UsageError: this is not a DSN.
            ConfigError: psycopg is not installed.
            HostedUnavailable: it cannot be reached.
            HostedLogin: it refuses the user or the password.
        """
        place, parts = parsed(dsn)
        psycopg = _psycopg()
        options = {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": application,
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": IDLE_SECONDS * 1000,
            # Postgres itself would rather talk in the clear than not at all.
            "sslmode": "prefer" if place.is_here else "require",
            **parts,
        }
        with failures.translated(place.name):
            # A pooler between may give each statement another session: nothing is prepared.
            connection = psycopg.Connection.connect(**options, autocommit=True, prepare_threshold=None)
        return cls(connection, place)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement, in one round trip; raises HostedError."""
        self.round_trips += 1
        with failures.translated(self.place.name):
            cursor = self._connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description is not None else []

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The one value a statement gives."""
        [(value,)] = self.rows(sql, parameters)
        return value

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Statements that are done together or not at all."""
        with failures.translated(self.place.name), self._connection.transaction():
            yield

    @property
    def is_lost(self) -> bool:
        """Whether the other side has hung up, as far as that is known here: nobody is asked."""
        server = self._connection.pgconn
        try:
            # What a server says before it hangs up comes first, and that it did, next.
            server.consume_input()
            server.consume_input()
        except _psycopg().OperationalError:
            return True
        return self._connection.closed

    def close(self) -> None:
        """Close it. Closing twice is fine."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class QuestionConnection:
    """A connection for questions that change nothing, for any thread: opened when something is asked first, and anew where it
    was lost meanwhile.
    """

    def __init__(self, open_: Callable[[], Connection]) -> None:
        self._open = open_
        self._connection: Connection | None = None
        self._one_at_a_time = threading.Lock()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement; raises HostedError."""
        with self._one_at_a_time:
            if self._connection is not None:
                try:
                    return self._connection.rows(sql, parameters)
                except HostedUnavailable:
                    self._connection.close()
            self._connection = self._open()
            return self._connection.rows(sql, parameters)

    def close(self) -> None:
        """Close it; it opens again when it is asked something."""
        with self._one_at_a_time:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def json_text(value: str) -> Any:
    """A parameter of type jsonb, from its text."""
    return _psycopg().types.json.Jsonb(value, dumps=lambda text: text)


def _psycopg() -> Any:
    try:
        import psycopg
        import psycopg.types.json
    except ImportError as exc:
        raise ConfigError(
            "A hosted database needs psycopg, which is not installed.", hint="Run: pip install 'aichat-terminal[sync]'"
        ) from exc
    return psycopg
