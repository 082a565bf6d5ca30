"""Work in a thread of its own that whoever waits for it can give up at any moment.

A name that is looked up, a connection that is opened and bytes that trickle in each wait in their own way, some of them
for as long as the system lets them. The one who waits here waits for a queue alone.
"""

from __future__ import annotations

import http.client
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, NoReturn, TypeVar

from aichat_cli.core.interrupts import leave_signals_to_the_main_thread

Result = TypeVar("Result")


class Stopped(Exception):
    """Another thread asked the waiting one to give up."""


class Abandonable(Generic[Result]):
    """One piece of work, which begins at once.

    Args:
        work: is handed this object, to tell it which connection it uses.
    """

    def __init__(self, work: Callable[[Abandonable[Result]], Result]) -> None:
        self._outcomes: queue.SimpleQueue[Callable[[], Result]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_given_up = False
        threading.Thread(target=self._run, args=(work,), name="fetch", daemon=True).start()

    def result(self, seconds: float) -> Result:
        """What the work returned, or raises what it raised.

        Raises:
            TimeoutError: it takes longer. It is given up.
            Stopped: `stop` was called. It is given up.
        """
        try:
            outcome = self._outcomes.get(timeout=max(seconds, 0))
        except queue.Empty:
            raise TimeoutError from None
        finally:
            self._give_up()
        return outcome()

    def stop(self) -> None:
        """End the waiting, from any thread."""
        self._outcomes.put(_raising(Stopped()))

    def uses(self, connection: http.client.HTTPConnection) -> None:
        """Tell, in the work, what to shut down when nobody waits any longer; raises Stopped where that is so already."""
        with self._lock:
            self._socket = connection.sock
            if self._is_given_up:
                raise Stopped

    def _give_up(self) -> None:
        with self._lock:
            self._is_given_up = True
            if self._socket is not None:
                with suppress(OSError):
                    # Not that of a TLS socket, which would take its state away from the thread that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _run(self, work: Callable[[Abandonable[Result]], Result]) -> None:
        leave_signals_to_the_main_thread()
        try:
            result = work(self)
        except BaseException as exc:  # noqa: BLE001 (raised again by whoever waits)
            self._outcomes.put(_raising(exc))
        else:
            self._outcomes.put(lambda: result)


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def outcome() -> NoReturn:
        raise error

    return outcome
