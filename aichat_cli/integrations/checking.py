"""Asking services whether they can be reached and take us, for a bounded time; and delivering what has waited for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from aichat_cli.core.errors import AichatError, RequestRejected, TimedOut
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.struct import Struct
from aichat_cli.integrations.courier import CLAIMED_MS, told, unknown
from aichat_cli.integrations.observer import Delivery, Observer
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
        StorageError: what waits cannot be taken up.
    """
    arrived = 0
    refused: list[Delivery] = []
    refusal: AichatError | None = None
    deliveries.found_well(database, name)
    while batch := deliveries.claim(database, name, claimed_ms=CLAIMED_MS, limit=observer.batch_size):
        for part in _parts(name, observer, batch, database):
            if part.error is None:
                arrived += len(part.deliveries)
            else:
                refusal = part.error
                refused += part.deliveries
    if refusal is not None:
        # Not before the end: until then they are claimed, and not taken up again.
        deliveries.failed(database, name, refused, told(refusal))
        raise refusal
    return arrived


class _Part(Struct, frozen=True):
    deliveries: list[Delivery]
    error: AichatError | None = None


def _parts(name: str, observer: Observer, batch: list[Delivery], database: Database) -> list[_Part]:
    """Deliver a batch, in halves where one of it is refused; what failed for another reason ends it all."""
    open_, parts = [batch], list[_Part]()
    while open_:
        now = open_.pop(0)
        try:
            observer.deliver(now)
        except RequestRejected as exc:
            half = len(now) // 2
            if half:
                open_[:0] = [now[:half], now[half:]]
            else:
                parts.append(_Part(now, exc))
            continue
        except Exception as exc:  # noqa: BLE001 - of another package's observer nothing is known
            error = exc if isinstance(exc, AichatError) else unknown(name, exc)
            deliveries.failed(database, name, now, told(error))
            deliveries.release(database, name, [each for rest in open_ for each in rest])
            raise error from None
        deliveries.delivered(database, name, now, keeps_ids=observer.keeps_ids)
        parts.append(_Part(now))
    return parts
