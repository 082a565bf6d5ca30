"""All observers that are on: told of each finished turn in its thread, at work in threads of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from aichat_cli.chat.observing import FinishedTurn
from aichat_cli.core.errors import AichatError, StorageError
from aichat_cli.integrations.courier import Courier
from aichat_cli.integrations.delivering import CLAIMED_MS, unknown
from aichat_cli.integrations.observer import Delivery, Observer
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database

FLUSH_SECONDS = 1.5
"""The most that the end of the program waits for deliveries: with its own end it takes less than two seconds."""
_LONGEST_WAIT_S = 0.2
"""For another process that writes to the database: nobody waits longer for what is only told."""
_LONGEST_END_S = 0.1
"""For what is left to do at the end for each observer."""


class Hub:
    """The observers of one run of the program. Observed by several threads at once; closed once.

    Args:
        observers: by their names.
        books: the user's database, for the connections that their threads open; None keeps nothing.
    """

    def __init__(self, observers: Mapping[str, Observer], books: Database | None) -> None:
        self._books = books
        self.couriers = [Courier(name, observer, books) for name, observer in observers.items()]

    def observe(self, turn: FinishedTurn) -> None:
        """Tell every observer of a turn. Never raises."""
        self.observe_together([turn], turn.books)

    def observe_together(self, turns: Sequence[FinishedTurn], books: Database | None) -> None:
        """Tell every observer of several turns, whose deliveries are kept in one transaction. Never raises.

        Args:
            books: the database, through a connection of this thread.
        """
        found: list[tuple[Courier, list[Delivery]]] = []
        for courier in self.couriers:
            new: list[Delivery] = []
            for turn in turns:
                if not (turn.was_sent or courier.observer.hears_refusals):
                    continue
                try:
                    new += courier.observer.deliveries(turn)
                except AichatError as exc:
                    courier.failure = exc
                except Exception as exc:  # noqa: BLE001 - a turn is over, whatever an observer makes of it
                    courier.failure = unknown(courier.name, exc)
            found.append((courier, new))
        for courier, new in self._kept(found, books):
            courier.take(new)

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait for deliveries under way, so long at most; what has not arrived by then is in the database, and goes later.

        A signal ends the waiting, and is raised.
        """
        deadline = time.monotonic() + seconds
        is_waited_for = False
        try:
            late = [each for each in self.couriers if not each.wait(deadline - time.monotonic())]
            is_waited_for = True
        finally:
            for courier in self.couriers:
                courier.end(_LONGEST_END_S if is_waited_for and courier not in late else 0.0)
        for courier in late:
            courier.abandon(self._books, longest_wait_s=_LONGEST_END_S)

    def _kept(
        self, found: list[tuple[Courier, list[Delivery]]], books: Database | None
    ) -> list[tuple[Courier, list[Delivery]]]:
        """What is to be delivered now that it is in the database: all of it where that cannot be used, but for what must
        not be sent twice.
        """
        if books is None or not books.is_persistent or books.is_read_only or not any(new for _, new in found):
            return found
        kept: list[tuple[Courier, list[Delivery]]] = []
        with suppress(StorageError):
            with books.transaction(longest_wait_s=_LONGEST_WAIT_S):
                for courier, new in found:
                    kept.append((courier, deliveries.add(books, courier.name, new, claimed_ms=CLAIMED_MS)))
            return kept
        return [(courier, new) for courier, new in found if not courier.observer.keeps_ids]
