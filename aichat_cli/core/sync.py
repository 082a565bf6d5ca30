"""What is said of a sync: how far it is, what it did, and how things stand."""

from __future__ import annotations

from typing import Literal

from aichat_cli.core.struct import Struct, field

Phase = Literal["receiving", "applying", "sending"]
Resync = Literal["", "first", "copied", "purged", "restored"]
"""Why everything is read again: the first sync, a database that is a copy of another device's or was restored from an older
one, a device that was away for too long, or a hosted database that was restored. Empty where it need not be.
"""
TrashKind = Literal["conversation", "title", "system_prompt", "document"]

SCHEMA_VERSION = 3
"""Of schema.sql, which this program speaks with."""


class SyncProgress(Struct, frozen=True):
    """How far a phase is; `total` is 0 where it is not known."""

    phase: Phase
    done: int
    total: int


class SyncReport(Struct):
    """What one sync did.

    Attributes:
        sent, received: how many of each kind; what was deleted is counted apart, and of what was received, conversations that
            were here before are counted as `changed`.
        kept: what lost and is kept in the trash of this device.
        resync: why everything was read.
        left_here: files that are larger than what is synced, or could not be fetched, by name.
        without_vectors: collections whose new documents have no vectors of this device's model yet.
        waiting: changes that wait for an answer that is still being written.
        round_trips: calls that were made to the other side.
    """

    sent: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    deleted_there: int = 0
    deleted_here: int = 0
    kept: list[TrashEntry] = field(default_factory=list)
    resync: Resync = ""
    left_here: list[str] = field(default_factory=list)
    without_vectors: set[str] = field(default_factory=set)
    waiting: int = 0
    round_trips: int = 0

    def count_sent(self, kind: str, number: int = 1) -> None:
        """Count what was confirmed."""
        self.sent[kind] = self.sent.get(kind, 0) + number

    def count_received(self, kind: str, number: int = 1) -> None:
        """Count what was applied."""
        self.received[kind] = self.received.get(kind, 0) + number


class TrashEntry(Struct, frozen=True):
    """What lost to another device: a conversation deleted there, or a field that was set there later."""

    id: str
    kind: TrashKind
    conversation_id: str
    title: str
    created_at: str


class Device(Struct, frozen=True):
    """A device that syncs; `unseen` is how many changes it has not received yet."""

    id: str
    name: str
    seen_at: str
    created_at: str
    unseen: int
    is_this: bool = False


class SyncStatus(Struct, frozen=True):
    """How things stand on this device. `pending` counts what was changed here and is not confirmed, by kind."""

    account: str
    device_id: str
    synced_at: str | None
    tried_at: str | None
    problem: str | None
    pending: dict[str, int]
    trash: tuple[TrashEntry, ...]
    resync: Resync
    with_documents: bool
