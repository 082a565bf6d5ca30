"""Deliveries made in batches, and what became of each: of one that is refused the others do not suffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aichat_cli.core.errors import AichatError, RequestRejected
from aichat_cli.core.struct import Struct
from aichat_cli.integrations.observer import Delivery, Observer
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database

CLAIMED_MS = 60_000
"""How long what one process has taken up is left to it: longer than an attempt takes, with its timeouts."""
_MOST_BYTES_TOGETHER = 1_000_000


class Outcome(Struct, frozen=True):
    """What became of some deliveries; where they were not tried, nothing."""

    deliveries: list[Delivery]
    error: AichatError | None = None
    was_tried: bool = True


def outcomes(name: str, observer: Observer, found: Sequence[Delivery]) -> Iterator[Outcome]:
    """Make deliveries. A failure that is not of what was sent ends it: the rest is not tried."""
    open_ = _batches(found, observer.batch_size)
    while open_:
        batch = open_.pop(0)
        error = _attempt(name, observer, batch)
        half = len(batch) // 2
        if isinstance(error, RequestRejected) and half:
            open_[:0] = [batch[:half], batch[half:]]
            continue
        yield Outcome(batch, error)
        if error is not None and not isinstance(error, RequestRejected):
            left = [each for batch in open_ for each in batch]
            if left:
                yield Outcome(left, was_tried=False)
            return


def take_down(database: Database, name: str, observer: Observer, outcome: Outcome) -> None:
    """Keep what became of deliveries; raises StorageError where that cannot be kept."""
    made, error = outcome.deliveries, outcome.error
    if not outcome.was_tried:
        deliveries.release(database, name, made)
    elif error is None:
        deliveries.delivered(database, name, made, keeps_ids=observer.keeps_ids)
    elif isinstance(error, RequestRejected):
        deliveries.rejected(database, name, made, told(error))
    else:
        deliveries.failed(database, name, made, told(error))


def told(error: AichatError) -> str:
    """An error with what to do about it."""
    return f"{error.message} {error.hint}." if error.hint else error.message


def unknown(name: str, exc: Exception) -> AichatError:
    """A failure of which nothing is shown but its kind: its text may quote what was sent, or the key."""
    return AichatError(f"{name} failed with {type(exc).__name__}.")


def _attempt(name: str, observer: Observer, batch: Sequence[Delivery]) -> AichatError | None:
    try:
        observer.deliver(batch)
    except AichatError as exc:
        return exc
    except Exception as exc:  # noqa: BLE001 - of another package's observer nothing is known
        return unknown(name, exc)
    return None


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
