"""What this device knows of its sync: where it syncs to, and how far it is. One row, which is there while sync is on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import SyncError
from aichat_cli.core.ids import new_id
from aichat_cli.core.struct import Struct
from aichat_cli.core.sync import Resync
from aichat_cli.storage import liveness
from aichat_cli.storage.database import Database

_LOCK = (1 << 31) - 2
"""The byte of the lock file that says somebody syncs: beyond those of turns, indexes and holds."""
_NOTE_SECONDS = 1.0
"""To wait for another process that writes, where only a note is written."""


class SyncState(Struct, frozen=True):
    """The row; the fields are told in migration 0005."""

    device_id: str
    account: str
    clock: int
    last_mid: int
    acked_mid: int
    acked_uid: str | None
    cursor: int
    staged_to: int
    horizon: int
    resync: Resync
    with_documents: bool
    synced_at: str | None
    tried_at: str | None
    problem: str | None


def find(db: Database) -> SyncState | None:
    """How things stand, None where sync is off."""
    row = db.row(
        "SELECT device_id, account, clock, last_mid, acked_mid, acked_uid, cursor, staged_to, horizon,"
        " resync, with_documents = 1, synced_at, tried_at, problem FROM sync_state"
    )
    return None if row is None else SyncState(*(*row[:10], bool(row[10]), *row[11:]))


def get(db: Database) -> SyncState:
    """How things stand; raises SyncError where sync is off."""
    state = find(db)
    if state is None:
        raise SyncError("Sync is off.", hint="Set it up: aichat sync init postgresql://USER@HOST/DATABASE")
    return state


def begin(db: Database, account: str, *, with_documents: bool) -> SyncState:
    """Turn sync on: from here on every change is written down. The first sync reads and sends everything.

    Raises:
        SyncError: it is on already.
    """
    with db.transaction(durable=True):
        if find(db) is not None:
            raise SyncError("Sync is on already.", hint="See: aichat sync status")
        db.execute(
            "INSERT INTO sync_state (is_only, device_id, account, resync, with_documents) VALUES (1, ?, ?, 'first', ?)",
            (new_id(), account, with_documents),
        )
    return get(db)


def end(db: Database) -> None:
    """Turn sync off; everything but the trash is forgotten, and nothing of the conversations changes."""
    with db.transaction(durable=True):
        for table in ("sync_state", "outbox", "sync_staged", "sync_staged_chunks", "sync_deferred"):
            db.execute(f"DELETE FROM {table}")  # noqa: S608 (the names are ours)


def start_over(db: Database, reason: Resync, *, is_new_device: bool) -> None:
    """Everything is to be read again; a new device numbers its changes anew."""
    with db.transaction(durable=True):
        db.execute("DELETE FROM sync_staged")
        db.execute("DELETE FROM sync_staged_chunks")
        db.execute("UPDATE sync_state SET staged_to = 0, resync = ?", (reason,))
        if is_new_device:
            db.execute("UPDATE outbox SET mid = NULL")
            db.execute(
                "UPDATE sync_state SET device_id = ?, last_mid = 0, acked_mid = 0, acked_uid = NULL", (new_id(),)
            )


def set_with_documents(db: Database, *, with_documents: bool) -> None:
    """Whether documents are synced from here on. Where they were not, everything is read again."""
    with db.transaction():
        db.execute("UPDATE sync_state SET with_documents = ?", (with_documents,))
        if not with_documents:
            db.execute("DELETE FROM outbox WHERE kind IN ('document', 'document_delete') AND mid IS NULL")
    if with_documents:
        start_over(db, "first", is_new_device=False)


def set_account(db: Database, account: str) -> None:
    """The other side has another address now."""
    with db.transaction():
        db.execute("UPDATE sync_state SET account = ?", (account,))


def receive_clock(db: Database, clock: int) -> None:
    """Advance the clock by one that was received, inside the caller's transaction: what is changed next comes after."""
    db.execute("UPDATE sync_state SET clock = max(clock, ?)", (clock,))


def note(db: Database, *, problem: str | None) -> None:
    """Write down when it was tried, and what kept it from being done."""
    now = utc_now()
    with db.transaction(longest_wait_s=_NOTE_SECONDS):
        db.execute(
            "UPDATE sync_state SET tried_at = ?1, problem = ?2, synced_at = CASE WHEN ?2 IS NULL THEN ?1 ELSE synced_at END",
            (now, problem),
        )


@contextmanager
def alone(db: Database) -> Iterator[None]:
    """Be the only one that syncs this database; raises SyncError where somebody does already."""
    if not liveness.claim(db.path, _LOCK):
        raise SyncError("Another aichat is syncing this database.", hint="Try again in a moment")
    try:
        yield
    finally:
        liveness.release(db.path, _LOCK)


@contextmanager
def applying(db: Database) -> Iterator[None]:
    """A transaction that writes what others changed: nothing in it goes to the outbox."""
    with db.transaction(durable=True):
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("UPDATE sync_state SET is_recording = 0")
        yield
        db.execute("UPDATE sync_state SET is_recording = 1")
