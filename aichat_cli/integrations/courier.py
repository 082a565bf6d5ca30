"""One observer at work: a thread that makes its deliveries, beside the turns and after them, for a bounded time.

A delivery is kept in the database until it has arrived. What did not arrive goes with the first delivery that does, of
whatever process; after a failure nothing is tried for a while, so that a dead service costs a turn nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from aichat_cli.core.clock import now_ms
from aichat_cli.core.errors import AichatError, RequestRejected, StorageError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.integrations.observer import Delivery, Observer
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database

CLAIMED_MS = 60_000
"""How long what one process has taken up is left to it: longer than an attempt takes, with its timeouts."""
MOST_AHEAD = 1_000
MOST_BYTES_AHEAD = 50_000_000
"""Of deliveries that wait in memory; the oldest make room."""
_MOST_BYTES_TOGETHER = 1_000_000


class Courier:
    """Makes the deliveries of one observer.

    Args:
        books: the user's database, of which the thread opens a connection of its own; None keeps nothing.

    Attributes:
        failure: why the last delivery was not made; None where it was.
        delivered, failed: how many deliveries arrived, and how many attempts did not make one arrive.
        lost: how many were given up that no database keeps.
    """

    def __init__(self, name: str, observer: Observer, books: Database | None) -> None:
        self.name = name
        self.observer = observer
        self.failure: AichatError | None = None
        self.delivered = self.failed = self.lost = 0
        self._books = books if books is not None and books.is_persistent and not books.is_read_only else None
        self._queue: SimpleQueue[Sequence[Delivery] | None] = SimpleQueue()
        self._under_way = self._bytes_ahead = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"deliver to {name}", daemon=True)
        self._thread.start()

    def take(self, new: Sequence[Delivery]) -> None:
        """Deliver these, which are in the database already, where there is one."""
        with self._changed:
            self._under_way += 1
            self._bytes_ahead += _size(new)
        self._queue.put(new)
        while self._under_way > MOST_AHEAD or self._bytes_ahead > MOST_BYTES_AHEAD:
            try:
                oldest = self._queue.get_nowait()
            except Empty:
                return
            if oldest is None:
                self._queue.put(None)
                return
            self._dequeued(oldest)
            self._done(1)
            self._lost(len(oldest))

    def wait(self, seconds: float) -> bool:
        """Wait until all that was taken is dealt with; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way == 0, timeout=max(seconds, 0.0))

    def end(self, seconds: float) -> None:
        """Have the thread end; one that hangs is left behind."""
        self._queue.put(None)
        self._thread.join(max(seconds, 0.0))

    def _work(self) -> None:
        leave_signals_to_the_main_thread()
        database: Database | None = None
        try:
            self.observer.warm()
        except AichatError as exc:
            self.failure = exc
        except Exception as exc:  # noqa: BLE001 - of another package's observer nothing is known
            self.failure = unknown(self.name, exc)
        try:
            while (first := self._queue.get()) is not None:
                taken = self._with_what_follows(first)
                if database is None and self._books is not None:
                    with suppress(StorageError):
                        database = self._books.reopen()
                try:
                    self._deliver([each for new in taken for each in new], database)
                finally:
                    self._done(len(taken))
        finally:
            if database is not None:
                with suppress(StorageError):
                    database.close()
            with suppress(Exception):
                self.observer.close()

    def _with_what_follows(self, first: Sequence[Delivery]) -> list[Sequence[Delivery]]:
        """What waits in the queue, for one batch: under load the deliveries of many turns are made together."""
        taken, size = [first], len(first)
        self._dequeued(first)
        while size < self.observer.batch_size:
            try:
                following = self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            self._dequeued(following)
            taken.append(following)
            size += len(following)
        return taken

    def _dequeued(self, new: Sequence[Delivery]) -> None:
        with self._changed:
            self._bytes_ahead -= _size(new)

    def _done(self, takes: int) -> None:
        with self._changed:
            self._under_way -= takes
            self._changed.notify_all()

    def _lost(self, count: int) -> None:
        if self._books is None:
            self.lost += count

    def _deliver(self, new: Sequence[Delivery], database: Database | None) -> None:
        found = self._waiting(new, database)
        if found is None:
            return
        batches = _batches(found, self.observer.batch_size)
        while batches:
            batch = batches.pop(0)
            failure = self._attempt(batch)
            self.failure = failure
            if failure is None:
                self.delivered += len(batch)
            if isinstance(failure, RequestRejected) and len(batch) > 1:
                # It is one of them that is refused: the others are not to suffer for it.
                half = len(batch) // 2
                batches[:0] = [batch[:half], batch[half:]]
                continue
            with suppress(StorageError):
                self._take_down(batch, failure, database)
            if failure is not None:
                self.failed += len(batch)
                self._lost(len(batch))
            if failure is not None and not isinstance(failure, RequestRejected):
                left = [each for batch in batches for each in batch]
                self._lost(len(left))
                with suppress(StorageError):
                    if database is not None and left:
                        deliveries.release(database, self.name, left)
                return

    def _waiting(self, new: Sequence[Delivery], database: Database | None) -> Sequence[Delivery] | None:
        """The new ones and what waits besides; None where nothing is tried yet after a failure."""
        if database is None:
            return new
        try:
            if deliveries.fate(database, self.name).retry_at > now_ms():
                deliveries.release(database, self.name, new)
                return None
            room = max(2 * self.observer.batch_size - len(new), 1)
            return [*new, *deliveries.claim(database, self.name, claimed_ms=CLAIMED_MS, limit=room)]
        except StorageError:
            return new

    def _attempt(self, batch: Sequence[Delivery]) -> AichatError | None:
        try:
            self.observer.deliver(batch)
        except AichatError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - of another package's observer nothing is known
            return unknown(self.name, exc)
        return None

    def _take_down(self, batch: Sequence[Delivery], failure: AichatError | None, database: Database | None) -> None:
        if database is None:
            return
        if failure is None:
            deliveries.delivered(database, self.name, batch, keeps_ids=self.observer.keeps_ids)
        else:
            deliveries.failed(database, self.name, batch, told(failure))


def _batches(found: Sequence[Delivery], most: int) -> list[list[Delivery]]:
    """As they are made together: so many at most, and a megabyte, but for one that is larger by itself."""
    batches: list[list[Delivery]] = []
    size = 0
    for each in found:
        size += len(each.payload)
        if not batches or len(batches[-1]) >= most or size > _MOST_BYTES_TOGETHER:
            batches.append([])
            size = len(each.payload)
        batches[-1].append(each)
    return batches


def _size(deliveries_: Sequence[Delivery]) -> int:
    return sum(len(each.payload) for each in deliveries_)


def told(error: AichatError) -> str:
    """An error with what to do about it."""
    return f"{error.message} {error.hint}." if error.hint else error.message


def unknown(name: str, exc: Exception) -> AichatError:
    """A failure of which nothing is shown but its kind: its text may quote what was sent, or the key."""
    return AichatError(f"{name} failed with {type(exc).__name__}.")
