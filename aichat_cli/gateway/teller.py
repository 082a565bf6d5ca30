"""Tells the operator's integrations of calls that have ended, in a thread beside the event loop.

The loop hands a call over and goes on. What the services have not taken is kept in the operator's own database, where
`aichat integrations list` and `aichat doctor` see it, whatever keeps the accounts.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from aichat_cli.app import App
from aichat_cli.chat.observing import FinishedTurn, Trace
from aichat_cli.core.errors import AichatError, StorageError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.struct import Struct, replace
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database
from aichat_cli.storage.deliveries import Fate

if TYPE_CHECKING:
    from aichat_cli.integrations.courier import Courier
    from aichat_cli.integrations.hub import Hub

logger = logging.getLogger(__name__)

OF_USERS = "resend"
"""What is not told of calls: on a gateway it writes to those whose credits they are, see `alerts`."""
MOST_WAITING = 1_000
MOST_BYTES_WAITING = 50_000_000
"""Of calls, and of what was said in them, that nobody was told of yet; the oldest make room."""
PAUSE_SECONDS = 0.1
"""Whatever has ended meanwhile is told together: under load one transaction serves many calls."""
LOOK_SECONDS = 5.0
CLOSE_SECONDS = 2.0


class Told(Struct, frozen=True):
    """How an observer fares, since the start of this process but for `waiting`: deliveries that arrived, attempts that did
    not make one arrive, deliveries and calls that were given up, and what has still to arrive.
    """

    name: str
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int = 0


class Teller:
    """One per process; told of calls by the event loop's thread. With no integration on it does nothing."""

    def __init__(self, house: App) -> None:
        names = dict.fromkeys(house.settings.names("integrations"))
        self.names = tuple(name for name in names if name != OF_USERS)
        self.takes_content = "langsmith" in self.names and house.settings.flag("langsmith.content")
        self._house = house
        self._turns: deque[tuple[FinishedTurn, int]] = deque()
        self._bytes = self._dropped = 0
        self._lock = threading.Lock()
        self._something, self._ending = threading.Event(), threading.Event()
        self._couriers: dict[str, Courier] = {}
        self._fates: dict[str, Fate] = {}
        self._dropped_before: dict[str, int] = {}
        self._said: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Set to work what there is to tell."""
        if self.names:
            self._thread = threading.Thread(target=self._work, name="teller", daemon=True)
            self._thread.start()

    def trace(self) -> Trace | None:
        """Takes down the steps of a call that begins now; None where nobody is told of it."""
        return Trace() if self._thread is not None else None

    def tell(self, turn: FinishedTurn, size: int) -> None:
        """Hand over a call that has ended; never waits.

        Args:
            size: about how many bytes its content has.
        """
        with self._lock:
            self._turns.append((turn, size))
            self._bytes += size
            while len(self._turns) > MOST_WAITING or self._bytes > MOST_BYTES_WAITING:
                self._bytes -= self._turns.popleft()[1]
                self._dropped += 1
        if not self._something.is_set():
            self._something.set()

    @property
    def told(self) -> list[Told]:
        """How each observer fares."""
        return [self._told(name) for name in self.names]

    def _told(self, name: str) -> Told:
        courier, fate = self._couriers.get(name), self._fates.get(name)
        delivered, failed, lost = (courier.delivered, courier.failed, courier.lost) if courier else (0, 0, 0)
        dropped = fate.dropped - self._dropped_before[name] if fate else 0
        return Told(name, delivered, failed, self._dropped + lost + dropped, fate.waiting if fate else 0)

    def close(self) -> None:
        """Tell the rest, and wait a moment for it to arrive."""
        if self._thread is not None:
            self._ending.set()
            self._something.set()
            self._thread.join(CLOSE_SECONDS)
            self._thread = None

    def _work(self) -> None:
        leave_signals_to_the_main_thread()
        books = self._books()
        try:
            hub = self._hub(books)
            try:
                while not self._ending.is_set():
                    self._something.wait(LOOK_SECONDS)
                    self._something.clear()
                    self._tell_all(hub, books)
                    self._ending.wait(PAUSE_SECONDS)
                self._tell_all(hub, books)
            finally:
                hub.close()
        except Exception:  # calls go on, whatever becomes of what is told of them
            logger.exception("Integrations are told of no more calls")
        finally:
            if books is not None:
                books.close()

    def _books(self) -> Database | None:
        try:
            return Database.open(self._house.database_path)
        except StorageError as exc:
            logger.warning("What integrations do not take at once is lost: %s", exc.message)
            return None

    def _hub(self, books: Database | None) -> Hub:
        from aichat_cli.integrations.hub import Hub
        from aichat_cli.integrations.observer import Observer

        made: dict[str, Observer] = {}
        for name in self.names:
            try:
                made[name] = self._house.integrations.observer(name)
            except AichatError as exc:
                logger.warning("%s is told of no calls: %s", name, exc.message)
        hub = Hub(made, books)
        self._couriers = {courier.name: courier for courier in hub.couriers}
        return hub

    def _tell_all(self, hub: Hub, books: Database | None) -> None:
        with self._lock:
            turns = [replace(turn, books=books) for turn, _ in self._turns]
            self._turns.clear()
            self._bytes = 0
        if turns:
            hub.observe_together(turns, books)
        self._look(books)

    def _look(self, books: Database | None) -> None:
        """Take down what waits for each, and log what went wrong where that is news."""
        for name, courier in self._couriers.items():
            problem = courier.failure.message if courier.failure else ""
            if problem and problem != self._said.get(name):
                logger.warning("%s was told nothing: %s", name, problem)
            self._said[name] = problem
            if books is not None:
                with suppress(StorageError):
                    fate = self._fates[name] = deliveries.fate(books, name)
                    self._dropped_before.setdefault(name, fate.dropped)
