"""What observers have still to deliver, and how each of their services fares."""

from __future__ import annotations

from collections.abc import Sequence

from aichat_cli.core.clock import now_ms, utc_now, utc_text
from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database

MOST_WAITING = 1_000
"""Of one integration; the oldest make room."""
LONGEST_WAIT_DAYS = 7
MOST_ATTEMPTS = 20
"""A day and more, by the pauses after failures."""
MOST_REJECTIONS = 3
"""Each counts for as many attempts as make that: what a service refuses for what it is will hardly ever be taken."""

_PAUSE_MS = 15_000
_LONGEST_PAUSE_MS = 3_600_000
_REJECTED_MS = 3_600_000


class Delivery(Struct, frozen=True):
    """Something to deliver; `id` is unique within its integration, here and where it goes."""

    id: str
    payload: bytes


class Fate(Struct, frozen=True):
    """How an integration fares. Times are UTC text, None for never.

    Attributes:
        problem: what the last failure was, None after a success.
        retry_at: before which nothing is tried, Unix time in milliseconds.
        waiting: how many deliveries have still to be made.
        dropped: how many were given up.
    """

    name: str
    last_delivered_at: str | None = None
    last_failed_at: str | None = None
    problem: str | None = None
    failures: int = 0
    retry_at: int = 0
    waiting: int = 0
    dropped: int = 0


def add(db: Database, integration: str, deliveries: Sequence[Delivery], *, claimed_ms: int) -> list[Delivery]:
    """Keep what is to be delivered, claimed by the caller for so long; returns what was not known yet.

    Runs inside the caller's transaction.
    """
    now = now_ms()
    new = [
        each
        for each in deliveries
        if db.execute(
            "INSERT INTO deliveries (integration, id, payload, created_at, claimed_until) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (integration, each.id, each.payload, utc_text(now), now + claimed_ms),
        )
    ]
    waiting = _waiting(db, integration)
    if waiting > MOST_WAITING:
        _drop(db, integration, waiting - MOST_WAITING)
    return new


def claim(
    db: Database, integration: str, *, claimed_ms: int, limit: int, most_bytes: int = 1_000_000
) -> list[Delivery]:
    """Take over what nobody is at, oldest first, for so long."""
    now = now_ms()
    if not db.row(
        "SELECT 1 FROM deliveries WHERE integration = ? AND payload IS NOT NULL AND claimed_until < ? LIMIT 1",
        (integration, now),
    ):
        return []
    with db.transaction(longest_wait_s=1.0):
        dropped = db.execute(
            "DELETE FROM deliveries WHERE integration = ? AND payload IS NOT NULL"
            " AND (attempts >= ? OR created_at < ?) AND claimed_until < ?",
            (integration, MOST_ATTEMPTS, utc_text(now - LONGEST_WAIT_DAYS * 86_400_000), now),
        )
        _count_dropped(db, integration, dropped)
        rows = db.rows(
            "SELECT seq, id, payload FROM deliveries WHERE integration = ? AND payload IS NOT NULL"
            " AND claimed_until < ? ORDER BY seq LIMIT ?",
            (integration, now, limit),
        )
        taken: list[Delivery] = []
        size = 0
        for seq, id_, payload in rows:
            size += len(payload)
            if taken and size > most_bytes:
                break
            db.execute("UPDATE deliveries SET claimed_until = ? WHERE seq = ?", (now + claimed_ms, seq))
            taken.append(Delivery(id_, payload))
        return taken


def delivered(db: Database, integration: str, deliveries: Sequence[Delivery], *, keeps_ids: bool) -> None:
    """They have arrived. With `keeps_ids` their ids stay known, and are never delivered again."""
    change = "UPDATE deliveries SET payload = NULL" if keeps_ids else "DELETE FROM deliveries"
    with db.transaction(longest_wait_s=1.0):
        db.execute_many(
            f"{change} WHERE integration = ? AND id = ?",
            [(integration, each.id) for each in deliveries],
        )
        db.execute(
            "INSERT INTO integrations (name, last_delivered_at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET"
            " last_delivered_at = excluded.last_delivered_at, problem = NULL, failures = 0, retry_at = 0",
            (integration, utc_now()),
        )


def failed(
    db: Database, integration: str, deliveries: Sequence[Delivery], problem: str, *, longest_wait_s: float = 1.0
) -> None:
    """They have not arrived, and wait; so does whatever comes next, for longer after each failure."""
    with db.transaction(longest_wait_s=longest_wait_s):
        db.execute_many(
            "UPDATE deliveries SET attempts = attempts + 1, claimed_until = 0 WHERE integration = ? AND id = ?",
            [(integration, each.id) for each in deliveries],
        )
        db.execute(
            "INSERT INTO integrations (name, last_failed_at, problem, failures, retry_at) VALUES (?1, ?2, ?3, 1, ?4 + ?5)"
            " ON CONFLICT (name) DO UPDATE SET last_failed_at = excluded.last_failed_at, problem = excluded.problem,"
            " failures = failures + 1, retry_at = ?4 + min(?6, ?5 << min(failures, 16))",
            (integration, utc_now(), problem, now_ms(), _PAUSE_MS, _LONGEST_PAUSE_MS),
        )


def found_well(db: Database, integration: str) -> None:
    """The service takes us again: what waits need not wait any longer."""
    with db.transaction(longest_wait_s=1.0):
        db.execute(
            "UPDATE integrations SET problem = NULL, failures = 0, retry_at = 0 WHERE name = ? AND failures > 0",
            (integration,),
        )


def rejected(db: Database, integration: str, deliveries: Sequence[Delivery], problem: str) -> None:
    """The service takes none of them as they are: they wait apart, and what comes next does not wait for them."""
    weight = MOST_ATTEMPTS // MOST_REJECTIONS + 1
    with db.transaction(longest_wait_s=1.0):
        db.execute_many(
            "UPDATE deliveries SET attempts = attempts + ?, claimed_until = ? WHERE integration = ? AND id = ?",
            [(weight, now_ms() + _REJECTED_MS, integration, each.id) for each in deliveries],
        )
        db.execute(
            "INSERT INTO integrations (name, last_failed_at, problem) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " last_failed_at = excluded.last_failed_at, problem = excluded.problem",
            (integration, utc_now(), problem),
        )


def forget(db: Database, integration: str) -> int:
    """Nothing that waits is to be delivered any more; how much that was."""
    with db.transaction(longest_wait_s=1.0):
        return db.execute("DELETE FROM deliveries WHERE integration = ? AND payload IS NOT NULL", (integration,))


def release(db: Database, integration: str, deliveries: Sequence[Delivery]) -> None:
    """They were not tried: anybody may take them."""
    with db.transaction(longest_wait_s=1.0):
        db.execute_many(
            "UPDATE deliveries SET claimed_until = 0 WHERE integration = ? AND id = ?",
            [(integration, each.id) for each in deliveries],
        )


def fate(db: Database, integration: str) -> Fate:
    """How an integration fares."""
    row = db.row(
        "SELECT last_delivered_at, last_failed_at, problem, failures, retry_at, dropped FROM integrations WHERE name = ?",
        (integration,),
    )
    delivered_at, failed_at, problem, failures, retry_at, dropped = row or (None, None, None, 0, 0, 0)
    waiting = _waiting(db, integration)
    return Fate(integration, delivered_at, failed_at, problem, failures, retry_at, waiting, dropped)


def retry_at(db: Database, integration: str) -> int:
    """Before when nothing is tried, Unix time in milliseconds; 0 for at once."""
    row = db.row("SELECT retry_at FROM integrations WHERE name = ?", (integration,))
    return int(row[0]) if row else 0


def known(db: Database, integration: str, ids: Sequence[str]) -> set[str]:
    """Which of these are waiting, or were delivered and kept."""
    marks = ",".join("?" * len(ids))
    rows = db.rows(
        f"SELECT id FROM deliveries WHERE integration = ? AND id IN ({marks})",  # noqa: S608 (question marks)
        (integration, *ids),
    )
    return {id_ for (id_,) in rows}


def install_id(db: Database) -> str:
    """The random name of this database, made on first use.

    Raises:
        StorageError: it has none, and cannot be written.
    """
    from uuid import uuid4

    row = db.row("SELECT id FROM install")
    if row is None:
        with db.transaction(longest_wait_s=1.0):
            db.execute("INSERT INTO install (id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM install)", (str(uuid4()),))
        row = db.row("SELECT id FROM install")
    assert row is not None
    return str(row[0])


def _waiting(db: Database, integration: str) -> int:
    row = db.row("SELECT count(*) FROM deliveries WHERE integration = ? AND payload IS NOT NULL", (integration,))
    return int(row[0]) if row else 0


def _drop(db: Database, integration: str, count: int) -> None:
    dropped = db.execute(
        "DELETE FROM deliveries WHERE seq IN (SELECT seq FROM deliveries WHERE integration = ? AND payload IS NOT NULL"
        " ORDER BY seq LIMIT ?)",
        (integration, count),
    )
    _count_dropped(db, integration, dropped)


def _count_dropped(db: Database, integration: str, count: int) -> None:
    if count:
        db.execute(
            "INSERT INTO integrations (name, dropped) VALUES (?1, ?2)"
            " ON CONFLICT (name) DO UPDATE SET dropped = dropped + ?2",
            (integration, count),
        )
