"""Asking services whether they can be reached and take us, for a bounded time; and delivering what has waited for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from aichat_cli.core.errors import AichatError, RequestRejected, TimedOut
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.struct import Struct
from aichat_cli.integrations.delivering import CLAIMED_MS, outcomes, take_down, unknown
from aichat_cli.integrations.observer import Observer
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database

CHECK_SECONDS = 5.0


class Checked(Struct, frozen=True):
    """What became of a check: `found` in a few words, or an error."""

    found: str
    seconds: float
    error: AichatError | None = None


def check_all(checks: Mapping[str, Callable[[], str]], seconds: float = CHECK_SECONDS) -> dict[str, Checked]:
    """Run checks side by side. One that has not ended after so many seconds is left behind, and has failed."""
    begun = time.monotonic()
    done: dict[str, Checked] = {}

    def work(name: str, check: Callable[[], str]) -> None:
        leave_signals_to_the_main_thread()
        found, error = "", None
        try:
            found = check()
        except AichatError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001 - of another package's observer nothing is known
            error = unknown(name, exc)
        done[name] = Checked(found, time.monotonic() - begun, error)

    threads = [
        threading.Thread(target=work, args=each, name=f"check {each[0]}", daemon=True) for each in checks.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(begun + seconds - time.monotonic(), 0.0))
    ended = dict(done)
    late = {
        name: Checked("", seconds, TimedOut(f"{name} did not answer within {seconds:g} s."))
        for name in checks
        if name not in ended
    }
    return {name: (ended | late)[name] for name in checks}


def check_of(make: Callable[[], Observer]) -> Callable[[], str]:
    """The check of an observer, made for it alone and closed afterwards."""

    def check() -> str:
        observer = make()
        try:
            return observer.check()
        finally:
            with suppress(Exception):
                observer.close()

    return check


def deliver_waiting(name: str, observer: Observer, database: Database) -> int:
    """Deliver what waits, also where a failure has it wait for later; how many arrived. The service was found well.

    Raises:
        AichatError: not all arrived. The rest waits.
        StorageError: what waits cannot be taken up, or what became of it cannot be kept.
    """
    arrived = 0
    failure: AichatError | None = None
    deliveries.found_well(database, name)
    while found := deliveries.claim(database, name, claimed_ms=CLAIMED_MS, limit=observer.batch_size):
        for outcome in outcomes(name, observer, found):
            take_down(database, name, observer, outcome)
            failure = outcome.error or failure
            arrived += len(outcome.deliveries) if outcome.was_tried and outcome.error is None else 0
        if failure is not None and not isinstance(failure, RequestRejected):
            break
    if failure is not None:
        raise failure
    return arrived
