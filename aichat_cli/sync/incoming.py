"""What comes: staged page by page, and applied once all of it is here; `merging` tells what becomes of each change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from aichat_cli.core.sync import SyncReport
from aichat_cli.storage import replicas, sync_staging, sync_state
from aichat_cli.storage.database import Database
from aichat_cli.sync.merging import ConversationMerge, DocumentMerge, Resyncing
from aichat_cli.sync.protocol import DocumentSink, Page, Transport

MOST_ROWS = 1000
MOST_BYTES = 8_000_000
MOST_CHUNKS = 500
MOST_APPLIED = 20_000
"""In one transaction: some seconds, in which no other process can write."""
PROGRESS_EVERY = 500
Advance = Callable[[int, int], None]


def pages_from(
    transport: Transport, device: str, after: int, *, horizon: int = -1, most_rows: int = MOST_ROWS
) -> Iterator[Page]:
    """Pages until nothing is left; `horizon` is what it was when everything was begun to be read, where that was before."""
    while True:
        page = transport.pull(device, after, most=most_rows, most_bytes=MOST_BYTES, horizon=horizon)
        if after == 0:
            horizon = page.horizon
        yield page
        if page.status != "ok" or page.is_all:
            return
        after = page.next


class Incoming:
    """The way of others' changes into this database."""

    def __init__(
        self,
        database: Database,
        transport: Transport,
        report: SyncReport,
        sink: DocumentSink,
        *,
        most_rows: int = MOST_ROWS,
        most_applied: int = MOST_APPLIED,
        largest_file: int = 0,
    ) -> None:
        self._database = database
        self._transport = transport
        self._report = report
        self._sink = sink
        self._most_rows = most_rows
        self._most_applied = most_applied
        self._largest_file = largest_file

    def pages(self, device: str, after: int, horizon: int) -> Iterator[Page]:
        """Ask for pages until nothing is left; see `pages_from`."""
        return pages_from(self._transport, device, after, horizon=horizon, most_rows=self._most_rows)

    def stage(self, page: Page, *, is_first: bool) -> None:
        """Keep a page until all are here; `is_first` of all there is."""
        if page.rows or page.next != sync_state.get(self._database).staged_to:
            sync_staging.add(self._database, page.rows, staged_to=page.next, horizon=page.horizon if is_first else None)

    def fetch_rest(self) -> None:
        """Fetch what the staged changes name: files, and the chunks of documents."""
        for file in sync_staging.missing_files(self._database):
            content = self._transport.file(file["sha256"]) if file["bytes"] <= self._largest_file else None
            if content is None:
                self._report.left_here.append(file["name"])
            else:
                sync_staging.add_file(self._database, file["sha256"], content)
                self._report.count_received("file")
        if sync_state.get(self._database).with_documents:
            for document in sync_staging.of_kind(self._database, "document"):
                if not document["is_deleted"]:
                    self._fetch_chunks(document)

    def _fetch_chunks(self, document: dict[str, Any]) -> None:
        id_, stamp = document["id"], document["stamp"]
        after = sync_staging.last_chunk(self._database, id_, stamp)
        while after + 1 < document["chunk_count"]:
            chunks = self._transport.chunks(id_, stamp, after, most=MOST_CHUNKS, most_bytes=MOST_BYTES)
            if not chunks:
                return  # replaced meanwhile: the newer version has a higher number, and comes with the next sync
            sync_staging.add_chunks(self._database, id_, stamp, chunks)
            after = chunks[-1]["chunk_index"]

    def apply(self, cursor: int, advance: Advance) -> None:
        """Write all that is staged, and how far it goes; `advance` is told what is done, of how much.

        It is one transaction, but where it would keep others from writing for long. Then it is some, and whatever is cut
        off in between is done again: nothing of it happens twice.
        """
        database = self._database
        total, done = sync_staging.count(database), 0
        work = self._work(cursor)
        is_complete = False
        while not is_complete:
            with sync_state.applying(database):
                for _ in range(self._most_applied):
                    if next(work, None) is None:
                        is_complete = True
                        break
                    done += 1
                    if done % PROGRESS_EVERY == 0:
                        advance(min(done, total), total)
        advance(total, total)

    def _work(self, cursor: int) -> Iterator[bool]:
        """Write one thing after the other; each time it yields, a transaction may end."""
        database = self._database
        state = sync_state.get(database)
        if state.resync:
            Resyncing(database, self._report, self._sink).reconcile(state.resync)
        conversations = ConversationMerge(database, self._report, state.device_id)
        documents = DocumentMerge(database, self._report, self._sink, state.device_id)
        writers = {
            "conversation": conversations.apply,
            "message": self._message,
            "usage": self._usage,
            "document": documents.apply if state.with_documents else _leave,
        }
        for kind, write in writers.items():
            for change in sync_staging.of_kind(database, kind):
                write(change)
                yield True
        for change in sync_staging.of_kind(database, "conversation"):
            conversations.set_head(change)
            yield True
        conversations.delete_deferred()
        replicas.finish(database, cursor)
        sync_staging.clear(database)

    def _message(self, change: dict[str, Any]) -> None:
        if replicas.insert_message(self._database, change):
            self._report.count_received("message")

    def _usage(self, change: dict[str, Any]) -> None:
        if replicas.insert_usage(self._database, change):
            self._report.count_received("usage")


def _leave(_: dict[str, Any]) -> None:
    """Documents are not synced."""
