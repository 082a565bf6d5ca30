"""One sync: receive, apply, send, and receive what sending brought about.

It may be cut off at any moment. What was not confirmed is sent again, which changes nothing where it had arrived; what was
received is kept, and the next sync goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, StorageError, SyncError
from aichat_cli.core.struct import Struct
from aichat_cli.core.sync import Resync, SyncProgress, SyncReport
from aichat_cli.storage import outbox, replicas, sync_state
from aichat_cli.storage.database import Database
from aichat_cli.sync.incoming import MOST_APPLIED, MOST_ROWS, Incoming
from aichat_cli.sync.outgoing import MOST_CHANGES, Batch, Outgoing, VectorText
from aichat_cli.sync.protocol import DocumentSink, Transport

if TYPE_CHECKING:
    from aichat_cli.sync.protocol import Page, Receipt

MOST_ROUNDS = 20
"""Of one sync. Each begins because others have written meanwhile; who is never let in ends with an error."""


class SyncOptions(Struct, frozen=True):
    """How to sync.

    Attributes:
        largest_file: bytes of the largest attachment that is sent or fetched.
        most_rows, most_applied, most_changes: of one page, of one transaction here, and of one batch.
    """

    largest_file: int
    most_rows: int = MOST_ROWS
    most_applied: int = MOST_APPLIED
    most_changes: int = MOST_CHANGES


class SyncDeps(Struct, frozen=True):
    """What a sync needs. `vector_text` writes a stored vector as Postgres reads it."""

    database: Database
    transport: Transport
    sink: DocumentSink
    vector_text: VectorText
    progress: Callable[[SyncProgress], None] = lambda _: None


class _ReadAgain(Exception):
    """Everything has to be read again."""

    def __init__(self, reason: Resync, *, is_new_device: bool) -> None:
        self.reason = reason
        self.is_new_device = is_new_device


def sync(deps: SyncDeps, options: SyncOptions) -> SyncReport:
    """Bring both sides to the same state.

    Raises:
        SyncError: sync is off, or another process is syncing this database.
        HostedError: the other side failed; what was done is kept, and the next sync goes on.
        StorageError: this database failed.
    """
    database = deps.database
    with sync_state.alone(database):
        sync_state.get(database)
        try:
            report = _Sync(deps, options).run()
        except AichatError as exc:
            with suppress(StorageError):  # which may be what failed
                sync_state.note(database, problem=exc.message)
            raise
        sync_state.note(database, problem=None)
        return report


class _Sync:
    def __init__(self, deps: SyncDeps, options: SyncOptions) -> None:
        self._database = deps.database
        self._transport = deps.transport
        self._progress = deps.progress
        self._report = SyncReport()
        self._conversations: set[str] = set()
        self._incoming = Incoming(
            deps.database,
            deps.transport,
            self._report,
            deps.sink,
            most_rows=options.most_rows,
            most_applied=options.most_applied,
            largest_file=options.largest_file,
        )
        self._outgoing = Outgoing(
            deps.database,
            deps.transport,
            self._report,
            largest_file=options.largest_file,
            vector_text=deps.vector_text,
            most_changes=options.most_changes,
        )

    def run(self) -> SyncReport:
        for _ in range(MOST_ROUNDS):
            try:
                self._receive()
                if self._send():
                    return self._report
            except _ReadAgain as again:
                self._report.resync = again.reason
                sync_state.start_over(self._database, again.reason, is_new_device=again.is_new_device)
        raise SyncError("Other devices change the same things all the time.", hint="Try again: aichat sync now")

    def _receive(self) -> None:
        """Receive all there is, and apply it."""
        state = sync_state.get(self._database)
        # While everything is read again, what has been staged so far is gone on from.
        after = state.staged_to if state.resync or state.staged_to > state.cursor else state.cursor
        received = 0
        horizon = state.horizon if state.resync and after else -1
        is_first = after == 0
        for page in self._incoming.pages(state.device_id, after, horizon):
            if page.status == "purged":
                raise _ReadAgain("purged", is_new_device=True)
            self._check_identity(page)
            self._incoming.stage(page, is_first=is_first)
            is_first = False
            received += len(page.rows)
            if page.rows:
                self._progress(SyncProgress("receiving", received, received + max(page.head - page.next, 0)))
            last = page
        if last.clock > state.clock:
            with self._database.transaction():
                sync_state.receive_clock(self._database, last.clock)
        if received or state.resync or last.next != state.cursor or replicas.deferred_deletions(self._database):
            self._incoming.fetch_rest()
            self._incoming.apply(last.next, lambda done, total: self._progress(SyncProgress("applying", done, total)))
        if state.resync:
            self._report.resync = state.resync

    def _check_identity(self, answer: Page | Receipt) -> None:
        """Compare the last change of this device there with what is known here; what was received is confirmed."""
        state = sync_state.get(self._database)
        if answer.last_mid < state.acked_mid:
            raise _ReadAgain("restored", is_new_device=True)
        if answer.last_mid == state.acked_mid:
            if answer.last_mid and answer.last_uid != state.acked_uid:
                raise _ReadAgain("copied", is_new_device=True)
            return
        if outbox.uid_of(self._database, answer.last_mid) != answer.last_uid:
            raise _ReadAgain("copied", is_new_device=True)
        outbox.acknowledge(self._database, answer.last_mid, answer.last_uid)

    def _send(self) -> bool:
        """Send the outbox; False where something has to be received first, or there is more to send."""
        self._report.waiting = outbox.number(self._database)
        state = sync_state.get(self._database)
        after, sent = state.acked_mid, 0
        total = sum(outbox.pending(self._database).values())
        while batch := self._outgoing.next_batch(after):
            receipt = self._transport.push(state.device_id, state.cursor, batch.changes)
            if receipt.status == "behind":
                return False
            if receipt.status == "purged":
                raise _ReadAgain("purged", is_new_device=True)
            if receipt.status == "copied":
                raise _ReadAgain("copied", is_new_device=True)
            if receipt.status == "gap":
                raise _ReadAgain("restored", is_new_device=True)
            self._check_identity(receipt)
            self._count_sent(batch)
            sent += len(batch.changes)
            self._progress(SyncProgress("sending", sent, total))
            after = batch.last.mid
        if sent:
            # What was set here may have lost there after all: receiving tells.
            self._receive()
        return outbox.number(self._database) == self._report.waiting and not outbox.has_numbered(self._database)

    def _count_sent(self, batch: Batch) -> None:
        """Count things rather than changes of them: three fields of one conversation are one conversation."""
        for change in batch.changes:
            kind = change["kind"]
            if kind == "conversation":
                self._conversations.add(change["id"])
                self._report.sent[kind] = len(self._conversations)
            elif kind.endswith("_delete"):
                self._report.deleted_there += 1
            elif kind != "nothing":
                self._report.count_sent(kind)
