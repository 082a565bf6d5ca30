"""Connections to a hosted Postgres for many threads: opened when they are needed, a few at most, and anew where they were
lost.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from aichat_cli.core.errors import HostedUnavailable
from aichat_cli.hosted.connection import Connection

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""A database that could not be reached is not tried again for so long: to find out may take many seconds, and whoever comes
next would wait them all again.
"""


class ConnectionPool:
    """As many connections as threads ask at once, which whoever starts the threads keeps in bounds."""

    def __init__(self, open_: Callable[[], Connection]) -> None:
        self._open = open_
        self._free: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failure: HostedUnavailable | None = None
        self._failed_at = 0.0

    def ask(self, question: Callable[[Connection], T]) -> T:
        """What a question gives; where the connection was lost over it, it is asked once more on a new one.

        Only for what may be done twice. Raises HostedError.
        """
        kept = self._kept()
        if kept is not None:
            try:
                return self._asked(kept, question)
            except HostedUnavailable:
                pass
        return self._asked(self._opened(), question)

    def close(self) -> None:
        """Close those that nobody uses."""
        while (connection := self._kept()) is not None:
            connection.close()

    def _asked(self, connection: Connection, question: Callable[[Connection], T]) -> T:
        try:
            answer = question(connection)
        except HostedUnavailable:
            connection.close()
            raise
        except BaseException:
            self._give_back(connection)
            raise
        self._give_back(connection)
        return answer

    def _kept(self) -> Connection | None:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return None

    def _give_back(self, connection: Connection) -> None:
        if connection.is_lost:
            connection.close()
        else:
            self._free.put(connection)

    def _opened(self) -> Connection:
        with self._lock:
            failure = self._failure
            if failure is not None and time.monotonic() - self._failed_at < PAUSE_SECONDS:
                raise HostedUnavailable(failure.message, hint=failure.hint)
        try:
            connection = self._open()
        except HostedUnavailable as exc:
            with self._lock:
                self._failure, self._failed_at = exc, time.monotonic()
            raise
        self._failure = None
        return connection
