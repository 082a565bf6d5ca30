"""One observer at work: a thread that makes its deliveries, beside the turns and after them, for a bounded time.

A delivery is kept in the database until it has arrived. What did not arrive goes with the first delivery that does, of
whatever process; after a failure nothing is tried for a while, so that a dead service costs a turn nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from aichat_cli.core.clock import now_ms
from aichat_cli.core.errors import AichatError, StorageError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.integrations.backlog import Backlog
from aichat_cli.integrations.delivering import CLAIMED_MS, Outcome, outcomes, take_down, unknown
from aichat_cli.integrations.observer import Delivery, Observer
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database


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
        self._backlog = Backlog()
        self._held: dict[str, Delivery] = {}
        self._holding = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"deliver to {name}", daemon=True)
        self._thread.start()

    def take(self, new: Sequence[Delivery]) -> None:
        """Deliver these, which are in the database already, where there is one, and what waits there besides."""
        self._hold(new)
        dropped = self._backlog.put(new)
        self._let_go(dropped)
        self._count_lost(len(dropped))

    def wait(self, seconds: float) -> bool:
        """Wait until all that was taken is dealt with; whether it is."""
        return self._backlog.wait(seconds)

    def end(self, seconds: float) -> None:
        """Have the thread end; one that hangs is left behind."""
        self._backlog.end()
        self._thread.join(max(seconds, 0.0))

    def abandon(self, books: Database | None, *, longest_wait_s: float) -> None:
        """The program ends before the service has answered: what is under way has failed, so that the next run does not
        wait for it as well.

        Args:
            books: the user's database, through a connection of the calling thread.
        """
        with self._holding:
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
            while (new := self._backlog.take(self.observer.batch_size)) is not None:
                try:
                    self._deliver(new, database)
                finally:
                    self._backlog.done()
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
            self._take_down(Outcome([*new], was_tried=False), database)
            return
        for outcome in outcomes(self.name, self.observer, [*new, *self._waiting(new, database)]):
            if outcome.was_tried:
                self.failure = outcome.error
            self._take_down(outcome, database)

    def _waiting(self, new: Sequence[Delivery], database: Database | None) -> Sequence[Delivery]:
        """What was not delivered before and nobody else is at."""
        if database is None:
            return []
        room = max(2 * self.observer.batch_size - len(new), 1)
        known = {each.id for each in new}
        with suppress(StorageError):
            claimed = deliveries.claim(database, self.name, claimed_ms=CLAIMED_MS, limit=room)
            found = [each for each in claimed if each.id not in known]
            self._hold(found)
            return found
        return []

    def _take_down(self, outcome: Outcome, database: Database | None) -> None:
        count = len(outcome.deliveries)
        if outcome.was_tried and outcome.error is None:
            self.delivered += count
        else:
            self.failed += count if outcome.was_tried else 0
            self._count_lost(count)
        with suppress(StorageError):
            if database is not None:
                take_down(database, self.name, self.observer, outcome)
        self._let_go(outcome.deliveries)

    def _count_lost(self, count: int) -> None:
        if self._books is None:
            self.lost += count

    def _hold(self, new: Sequence[Delivery]) -> None:
        with self._holding:
            self._held |= {each.id: each for each in new}

    def _let_go(self, batch: Sequence[Delivery]) -> None:
        with self._holding:
            for each in batch:
                self._held.pop(each.id, None)
