"""What is sent: the outbox in batches, each after the files and chunks it needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aichat_cli.core.ids import new_id
from aichat_cli.core.struct import Struct
from aichat_cli.core.sync import SyncReport
from aichat_cli.storage import outbox
from aichat_cli.storage.database import Database
from aichat_cli.storage.outbox import Change
from aichat_cli.sync.protocol import Transport

MOST_CHANGES = 1000
MOST_BYTES = 4_000_000
"""Of one batch; a single message may be larger."""
MOST_CHUNKS = 200
VectorText = Callable[[bytes], str]
"""A vector as it is stored, float16, as Postgres reads it: `[0.1,0.2]`."""


class Batch(Struct, frozen=True):
    """Changes that are sent together, as they are sent."""

    changes: Sequence[dict[str, Any]]
    last: Change


class Outgoing:
    """The way of the outbox to the other side.

    Args:
        largest_file: bytes; what is larger stays on this device.
    """

    def __init__(
        self,
        database: Database,
        transport: Transport,
        report: SyncReport,
        *,
        largest_file: int,
        vector_text: VectorText,
        most_changes: int = MOST_CHANGES,
    ) -> None:
        self._database = database
        self._transport = transport
        self._report = report
        self._largest_file = largest_file
        self._vector_text = vector_text
        self._most_changes = most_changes

    def next_batch(self, after: int) -> Batch | None:
        """The changes after a number; None where there are none left. Files and chunks it needs are sent on the way."""
        listed = outbox.numbered(self._database, after=after, limit=self._most_changes)
        if not listed:
            return None
        sizes = outbox.sizes(self._database, [each.id for each in listed if each.kind == "message"])
        taken: list[Change] = []
        total = 0
        for change in listed:
            total += sizes.get(change.id, 300)
            if taken and total > MOST_BYTES:
                break
            taken.append(change)
        return Batch(self._as_sent(taken), taken[-1])

    def _as_sent(self, taken: Sequence[Change]) -> list[dict[str, Any]]:
        ids = {kind: [each.id for each in taken if each.kind == kind] for kind in ("conversation", "message", "usage")}
        conversations = outbox.conversations_to_send(self._database, ids["conversation"])
        messages = outbox.messages_to_send(self._database, ids["message"])
        calls = outbox.usage_to_send(self._database, ids["usage"])
        self._send_files(messages.values())
        sent = []
        for change in taken:
            content: dict[str, Any] | None = {"kind": change.kind, "id": change.id}
            if change.kind == "conversation":
                times = conversations.get(change.id)
                content = None if times is None else _conversation(change, times)
            elif change.kind == "message":
                content = messages.get(change.id)
            elif change.kind == "usage":
                content = calls.get(change.id)
            elif change.kind == "document":
                content = self._document(change)
            # What is gone meanwhile keeps its number: those who count see no gap.
            named = {"kind": "nothing"} if content is None else {"kind": change.kind, "id": change.id, **content}
            sent.append({"mid": change.mid, "uid": change.uid, "clock": change.clock, **named})
        return sent

    def _send_files(self, messages: Any) -> None:
        files = {file["sha256"]: file for message in messages for file in message["attachments"]}
        if not files:
            return
        for file in files.values():
            if file["bytes"] > self._largest_file:
                self._report.left_here.append(file["name"])
        small = [sha256 for sha256, file in files.items() if file["bytes"] <= self._largest_file]
        for sha256 in self._transport.missing_files(small) if small else ():
            content = outbox.file_content(self._database, sha256)
            if content is not None:
                self._transport.put_file(sha256, content)
                self._report.count_sent("file")

    def _document(self, change: Change) -> dict[str, Any] | None:
        found = outbox.document_to_send(self._database, change.id)
        if found is None:
            return None
        seq, document = found
        number = 0
        version = new_id()  # of this attempt: what an earlier one has sent may be of another text
        for part in _parts(self._chunks(seq)):
            self._transport.stage_chunks(change.id, version, part)
            number += len(part)
        # Read anew in between: the change that says so comes later, with all of its chunks.
        return {**document, "version": version} if number == document["chunk_count"] else None

    def _chunks(self, document_seq: int) -> Iterator[dict[str, Any]]:
        for chunk, vector in outbox.chunks_to_send(self._database, document_seq):
            yield {**chunk, "embedding": None if vector is None else self._vector_text(vector)}


def _conversation(change: Change, times: tuple[str, str]) -> dict[str, Any]:
    fields = json.loads(change.value or "{}")
    return {"fields": fields, "created_at": times[0], "updated_at": times[1]}


def _parts(chunks: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    total = 0
    for chunk in chunks:
        size = len(chunk["content"]) + len(chunk["embedding"] or "")
        if part and (len(part) >= MOST_CHUNKS or total + size > MOST_BYTES):
            yield part
            part, total = [], 0
        part.append(chunk)
        total += size
    if part:
        yield part
