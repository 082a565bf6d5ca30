"""One observer at work: a thread that makes its deliveries, beside the turns and after them, for a bounded time.

A delivery is kept in the database until it has arrived. What did not arrive goes with the first delivery that does, of
whatever process; after a failure nothing is tried for a while, so that a dead service costs a turn nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue

from aichat_cli.core.clock import now_ms
from aichat_cli.core.errors import AichatError, RequestRejected, StorageError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.integrations.observer import Delivery, Observer
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database

CLAIMED_MS = 60_000
"""How long what one process has taken up is left to it: longer than an attempt takes, with its timeouts."""


class Courier:
    """Makes the deliveries of one observer.

    Args:
        books: the user's database, of which the thread opens a connection of its own; None keeps nothing.

    Attributes:
        failure: why the last delivery was not made; None where it was.
    """

    def __init__(self, name: str, observer: Observer, books: Database | None) -> None:
        self.name = name
        self.observer = observer
        self.failure: AichatError | None = None
        self._books = books if books is not None and books.is_persistent and not books.is_read_only else None
        self._queue: SimpleQueue[Sequence[Delivery] | None] = SimpleQueue()
        self._under_way = 0
        self._held: dict[str, Delivery] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"deliver to {name}", daemon=True)
        self._thread.start()

    def take(self, new: Sequence[Delivery]) -> None:
        """Deliver these, which are in the database already, where there is one, and what waits there besides."""
        with self._changed:
            self._under_way += 1
            self._held |= {each.id: each for each in new}
        self._queue.put(new)

    def wait(self, seconds: float) -> bool:
        """Wait until all that was taken is dealt with; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way == 0, timeout=max(seconds, 0.0))

    def end(self, seconds: float) -> None:
        """Have the thread end; one that hangs is left behind."""
        self._queue.put(None)
        self._thread.join(max(seconds, 0.0))

    def abandon(self, books: Database | None, *, longest_wait_s: float) -> None:
        """The program ends before the service has answered: what is under way has failed, so that the next run does not
        wait for it as well.

        Args:
            books: the user's database, through a connection of the calling thread.
        """
        with self._changed:
            held = list(self._held.values())
        if self._books is None or books is None or not held:
            return
        problem = f"{self.name} did not answer before the program ended."
        with suppress(StorageError):
            deliveries.failed(books, self.name, held, problem, longest_wait_s=longest_wait_s)

    def _work(self) -> None:
        leave_signals_to_the_main_thread()
        database = self._opened()
        try:
            if not self._pauses(database):
                self._warm()
            while (new := self._queue.get()) is not None:
                try:
                    self._deliver(new, database)
                finally:
                    with self._changed:
                        self._under_way -= 1
                        self._changed.notify_all()
        finally:
            if database is not None:
                with suppress(StorageError):
                    database.close()
            with suppress(Exception):
                self.observer.close()

    def _opened(self) -> Database | None:
        with suppress(StorageError):
            return self._books.reopen() if self._books is not None else None
        return None

    def _pauses(self, database: Database | None) -> bool:
        """Whether nothing is tried yet, after a failure of this process or another."""
        with suppress(StorageError):
            return database is not None and deliveries.retry_at(database, self.name) > now_ms()
        return False

    def _warm(self) -> None:
        try:
            self.observer.warm()
        except AichatError as exc:
            self.failure = exc
        except Exception as exc:  # noqa: BLE001 - of another package's observer nothing is known
            self.failure = unknown(self.name, exc)

    def _deliver(self, new: Sequence[Delivery], database: Database | None) -> None:
        if self._pauses(database):
            self._release(new, database)
            return
        found = [*new, *self._waiting(new, database)]
        size = self.observer.batch_size
        batches = [found[start : start + size] for start in range(0, len(found), size)]
        while batches:
            batch = batches.pop(0)
            failure = self._attempt(batch)
            self.failure = failure
            if isinstance(failure, RequestRejected) and len(batch) > 1:
                # It is one of them that is refused: the others are not to suffer for it.
                half = len(batch) // 2
                batches[:0] = [batch[:half], batch[half:]]
                continue
            self._take_down(batch, failure, database)
            if failure is not None and not isinstance(failure, RequestRejected):
                self._release([each for batch in batches for each in batch], database)
                return

    def _waiting(self, new: Sequence[Delivery], database: Database | None) -> Sequence[Delivery]:
        """What was not delivered before and nobody else is at."""
        if database is None:
            return []
        room = max(2 * self.observer.batch_size - len(new), 1)
        known = {each.id for each in new}
        with suppress(StorageError):
            claimed = deliveries.claim(database, self.name, claimed_ms=CLAIMED_MS, limit=room)
            found = [each for each in claimed if each.id not in known]
            with self._changed:
                self._held |= {each.id: each for each in found}
            return found
        return []

    def _attempt(self, batch: Sequence[Delivery]) -> AichatError | None:
        try:
            self.observer.deliver(batch)
        except AichatError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - of another package's observer nothing is known
            return unknown(self.name, exc)
        return None

    def _take_down(self, batch: Sequence[Delivery], failure: AichatError | None, database: Database | None) -> None:
        with suppress(StorageError):
            if database is None:
                pass
            elif failure is None:
                deliveries.delivered(database, self.name, batch, keeps_ids=self.observer.keeps_ids)
            elif isinstance(failure, RequestRejected):
                deliveries.rejected(database, self.name, batch, told(failure))
            else:
                deliveries.failed(database, self.name, batch, told(failure))
        self._let_go(batch)

    def _release(self, untried: Sequence[Delivery], database: Database | None) -> None:
        with suppress(StorageError):
            if database is not None and untried:
                deliveries.release(database, self.name, untried)
        self._let_go(untried)

    def _let_go(self, batch: Sequence[Delivery]) -> None:
        with self._changed:
            for each in batch:
                self._held.pop(each.id, None)


def told(error: AichatError) -> str:
    """An error with what to do about it."""
    return f"{error.message} {error.hint}." if error.hint else error.message


def unknown(name: str, exc: Exception) -> AichatError:
    """A failure of which nothing is shown but its kind: its text may quote what was sent, or the key."""
    return AichatError(f"{name} failed with {type(exc).__name__}.")
