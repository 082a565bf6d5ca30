"""A connection to a hosted Postgres for months, through restarts and lost networks: opened anew where it was lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from aichat_cli.core.errors import HostedUnavailable
from aichat_cli.hosted.connection import Connection

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""A database that could not be reached is not tried again for so long: to find out may take many seconds, and whoever waits
in line behind would wait them all again.
"""


class LastingConnection:
    """One connection, for one thread."""

    def __init__(self, open_: Callable[[], Connection]) -> None:
        """Connect; raises what `open_` raises."""
        self._open = open_
        self._connection: Connection | None = open_()
        self._failure: HostedUnavailable | None = None
        self._failed_at = 0.0

    def once(self, ask: Callable[[Connection], T]) -> T:
        """Ask. What failed is not asked again, for it may have been done all the same.

        A connection of which it is known that the server has hung up is replaced before anything is sent.
        """
        connection = self._usable()
        try:
            return ask(connection)
        except HostedUnavailable:
            self.close()
            raise

    def again(self, ask: Callable[[Connection], T]) -> T:
        """Ask what may be done twice: where the connection was lost over it, once more on a new one."""
        connection = self._usable()
        try:
            return ask(connection)
        except HostedUnavailable:
            self.close()
        return self.once(ask)

    def close(self) -> None:
        """Close it; it opens again when it is asked something."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _usable(self) -> Connection:
        if self._connection is not None and self._connection.is_lost:
            self.close()
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    def _opened(self) -> Connection:
        if self._failure is not None and time.monotonic() - self._failed_at < PAUSE_SECONDS:
            raise HostedUnavailable(self._failure.message, hint=self._failure.hint)
        try:
            connection = self._open()
        except HostedUnavailable as exc:
            self._failure, self._failed_at = exc, time.monotonic()
            raise
        self._failure = None
        return connection
