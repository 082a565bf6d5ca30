"""What turns have left for one observer's thread, in memory and bounded: the oldest make room."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from aichat_cli.integrations.observer import Delivery

MOST_AHEAD = 1_000
"""Turns that wait."""
MOST_BYTES_AHEAD = 50_000_000


class Backlog:
    """A queue from many threads to one. What was taken from it is under way until `done`."""

    def __init__(self) -> None:
        self._waiting: deque[Sequence[Delivery]] = deque()
        self._bytes = self._under_way = 0
        self._is_ended = False
        self._changed = threading.Condition()

    def put(self, new: Sequence[Delivery]) -> list[Delivery]:
        """Add what a turn left; returns what had to make room for it."""
        with self._changed:
            self._waiting.append(new)
            self._bytes += _size(new)
            dropped: list[Delivery] = []
            while len(self._waiting) > 1 and (len(self._waiting) > MOST_AHEAD or self._bytes > MOST_BYTES_AHEAD):
                dropped += self._oldest()
            self._changed.notify_all()
            return dropped

    def take(self, most: int) -> list[Delivery] | None:
        """Wait for something, and take what is there, so many at most but for what one turn left; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_ended)
            if not self._waiting:
                return None
            taken = list(self._oldest())
            while self._waiting and len(taken) + len(self._waiting[0]) <= most:
                taken += self._oldest()
            self._under_way += 1
            return taken

    def done(self) -> None:
        """What was taken is dealt with."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing waits and nothing is under way; whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._under_way, timeout=max(seconds, 0.0))

    def end(self) -> None:
        """Once nothing waits any more, there is nothing more to wait for."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def _oldest(self) -> Sequence[Delivery]:
        oldest = self._waiting.popleft()
        self._bytes -= _size(oldest)
        return oldest


def _size(deliveries: Sequence[Delivery]) -> int:
    return sum(len(each.payload) for each in deliveries)
