"""Where sync is asked of the database: threads with pooled connections, and bounds to what is under way at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from aichat_cli.core.errors import ProviderUnavailable
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.hosted.pool import ConnectionPool

if TYPE_CHECKING:
    from starlette.requests import Request

    from aichat_cli.hosted.connection import Connection

T = TypeVar("T")

MOST_CONNECTIONS = 8
MOST_REQUESTS = 64
MOST_OF_A_USER = 6
"""Fewer than connections: the devices of one person wait for each other in the database, and others must not wait as well."""
MOST_BYTES = 512_000_000
"""Of all bodies that are being read or stored."""


class Room:
    """What one request takes up of the memory that all of them share."""

    def __init__(self, desk: SyncDesk) -> None:
        self._desk = desk
        self.taken = 0

    def take(self, number: int) -> None:
        """Take so many bytes more; raises ProviderUnavailable where there is no room for them."""
        self._desk.held_bytes += number
        self.taken += number
        if self._desk.held_bytes > MOST_BYTES:
            raise _busy()


class SyncDesk:
    """Answers requests of devices. Close it.

    Args:
        open_: connects to the database that keeps accounts and what is synced; None where accounts are kept in a file.
    """

    def __init__(self, open_: Callable[[], Connection] | None) -> None:
        self._pool = None if open_ is None else ConnectionPool(open_)
        self._threads = ThreadPoolExecutor(MOST_CONNECTIONS, thread_name_prefix="sync")
        self._users: Counter[str] = Counter()
        self.held_bytes = 0

    @contextmanager
    def place(self, user_id: str) -> Iterator[Room]:
        """A place for one request of a user.

        Raises:
            BadRequest: there is no sync here (501).
            ProviderUnavailable: too much is under way; try again.
        """
        if self._pool is None:
            raise BadRequest(
                "This gateway keeps its accounts in a file, and has no sync.",
                status=501,
                code="sync_unavailable",
                hint="Its operator turns it on with: aichat serve --database postgresql://USER@HOST/DATABASE",
            )
        if self._users.total() >= MOST_REQUESTS or self._users[user_id] >= MOST_OF_A_USER:
            raise _busy()
        self._users[user_id] += 1
        room = Room(self)
        try:
            yield room
        finally:
            self.held_bytes -= room.taken
            self._users[user_id] -= 1
            if not self._users[user_id]:
                del self._users[user_id]

    async def run(self, work: Callable[[ConnectionPool], T]) -> T:
        """What some work in a thread gives, whose questions may be asked twice; raises what it raises."""
        pool = self._pool
        assert pool is not None
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(pool))

    def close(self) -> None:
        """Answer what was asked, and close the connections."""
        self._threads.shutdown()
        if self._pool is not None:
            self._pool.close()


def sync_desk_of(request: Request) -> SyncDesk:
    """The one of the application."""
    desk: SyncDesk = request.app.state.sync
    return desk


def _busy() -> ProviderUnavailable:
    return ProviderUnavailable("The gateway is busy with sync. Try again in a moment.", retry_after=2)
