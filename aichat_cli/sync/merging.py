"""What becomes of a change of another device here, within the transaction that applies it.

The other side has decided already what won. Here only one thing is asked: whether the same was set on this device, and that
is not confirmed yet. Then the later of the two is shown, and what loses here is kept in the trash of this device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from aichat_cli.core.sync import Resync, SyncReport
from aichat_cli.storage import outbox, replicas, sync_staging, sync_trash, synced_documents
from aichat_cli.storage.database import Database
from aichat_cli.sync.protocol import DocumentSink

_WRITTEN: tuple[Literal["title", "system_prompt"], ...] = ("title", "system_prompt")
"""The fields that somebody wrote, and would miss."""


def stamp(clock: int, device: str) -> str:
    """What fields are compared by: the clock, then the device, as `aichat.stamp` of schema.sql has it."""
    return f"{clock:016x}-{device}"


class ConversationMerge:
    """Conversations of others."""

    def __init__(self, database: Database, report: SyncReport, device: str) -> None:
        self._database = database
        self._report = report
        self._device = device

    def apply(self, change: dict[str, Any]) -> None:
        """Write one conversation, all but its head."""
        id_ = change["id"]
        if change["is_deleted"]:
            self._delete(id_)
            return
        if outbox.is_pending(self._database, "conversation_delete", id_):
            return
        here = replicas.conversation(self._database, id_)
        if here is None:
            replicas.insert_conversation(self._database, change)
            self._report.count_received("conversation")
            return
        pending = outbox.pending_fields(self._database, id_)
        lost = [each for each in replicas.FIELDS if change[each] != here[each] and self._is_lost(pending, change, each)]
        keep_fields(self._database, self._report, id_, here, [field for field in lost if field in pending])
        for field in lost:
            replicas.set_field(self._database, id_, field, change[field])
        if lost:
            self._report.count_received("changed")
        is_later = change["updated_at"] > here["updated_at"]
        if is_later or not outbox.has_changes_in(self._database, id_):
            replicas.set_updated(self._database, id_, change["updated_at"])

    def set_head(self, change: dict[str, Any]) -> None:
        """Set the head of a conversation, when its messages are here."""
        pending = outbox.pending_fields(self._database, change["id"])
        if not change["is_deleted"] and self._is_lost(pending, change, "head_id"):
            replicas.set_head(self._database, change["id"], change["head_id"])

    def delete_deferred(self) -> None:
        """Delete what was put off, where nobody writes in it any more."""
        for id_ in replicas.deferred_deletions(self._database):
            # What was written meanwhile may have been sent, and was not taken.
            keep_conversation(self._database, self._report, id_)
            self._delete(id_, is_kept=True)
            replicas.settle_deferred(self._database, id_)

    def _is_lost(self, pending: dict[str, int], change: dict[str, Any], field: str) -> bool:
        """Whether what is here of a field gives way: it is confirmed, or was set earlier."""
        return field not in pending or stamp(pending[field], self._device) < change["stamps"].get(field, "")

    def _delete(self, id_: str, *, is_kept: bool = False) -> None:
        if replicas.conversation(self._database, id_) is None:
            return
        if replicas.is_being_written(self._database, id_):
            replicas.defer_deletion(self._database, id_)
            return
        if not is_kept and outbox.has_changes_in(self._database, id_):
            keep_conversation(self._database, self._report, id_)
        outbox.forget(self._database, ["conversation"], [id_])
        replicas.delete_conversation(self._database, id_)
        self._report.deleted_here += 1


class DocumentMerge:
    """Documents of others."""

    def __init__(self, database: Database, report: SyncReport, sink: DocumentSink, device: str) -> None:
        self._database = database
        self._report = report
        self._sink = sink
        self._device = device

    def apply(self, change: dict[str, Any]) -> None:
        """Write one document, with the chunks that were fetched."""
        id_ = change["id"]
        pending = synced_documents.pending_clock(self._database, id_)
        if change["is_deleted"]:
            if pending is not None:
                self._keep(id_)
            if self._sink.remove(id_):
                self._report.deleted_here += 1
            outbox.forget(self._database, ["document"], [id_])
            return
        if outbox.is_pending(self._database, "document_delete", id_):
            return
        chunks = sync_staging.chunks_of(self._database, id_, change["stamp"])
        if len(chunks) != change["chunk_count"]:
            return  # replaced while it was fetched: the newer version comes with the next sync
        here = synced_documents.digest(self._database, id_)
        if pending is not None and here is not None and here != change["sha256"]:
            if stamp(pending, self._device) >= change["stamp"]:
                return
            self._keep(id_)
        other = synced_documents.at(self._database, change["collection"], change["path"])
        if other is not None and other != id_ and not self._takes_the_place_of(other, change, chunks):
            return
        collection = self._sink.store(change, chunks)
        if collection is not None:
            self._report.without_vectors.add(collection)
        self._report.count_received("document")

    def _takes_the_place_of(self, other: str, change: dict[str, Any], chunks: list[dict[str, Any]]) -> bool:
        """Two devices have read the same path: the older document stays, on all of them; whether that is the new one."""
        is_taken = bool(change["id"] < other)
        is_same = synced_documents.digest(self._database, other) == change["sha256"]
        if is_taken:
            if not is_same:
                self._keep(other)
            self._sink.remove(other)
            outbox.forget(self._database, ["document"], [other])
        elif not is_same:
            text = "".join(chunk["content"] for chunk in chunks)
            self._report.kept.append(
                sync_trash.keep_value(self._database, "document", change["id"], change["name"], text)
            )
        synced_documents.enqueue_deletion(self._database, other if is_taken else change["id"])
        return is_taken

    def _keep(self, id_: str) -> None:
        found = synced_documents.text_of(self._database, id_)
        if found is not None:
            entry = sync_trash.keep_value(self._database, "document", id_, found[0], found[1])
            self._report.kept.append(entry)


class Resyncing:
    """Everything was read again: what is here and is not there was never sent, or was deleted there."""

    def __init__(self, database: Database, report: SyncReport, sink: DocumentSink) -> None:
        self._database = database
        self._report = report
        self._sink = sink

    def reconcile(self, reason: Resync) -> None:
        """Send what is missing there, or delete here what was deleted there."""
        if reason in {"copied", "purged"}:
            for id_ in replicas.absent_conversations(self._database):
                if replicas.is_being_written(self._database, id_):
                    replicas.defer_deletion(self._database, id_)
                    continue
                keep_conversation(self._database, self._report, id_)
                outbox.forget(self._database, ["conversation"], [id_])
                replicas.delete_conversation(self._database, id_)
                self._report.deleted_here += 1
            for id_ in synced_documents.absent(self._database):
                if self._sink.remove(id_):
                    self._report.deleted_here += 1
        else:
            self._prefer_the_later()
        outbox.enqueue_missing(self._database)

    def _prefer_the_later(self) -> None:
        """What both sides have, and nobody knows which is later: that of the conversation that was written to last."""
        for change in sync_staging.of_kind(self._database, "conversation"):
            here = None if change["is_deleted"] else replicas.conversation(self._database, change["id"])
            if here is None:
                continue
            pending = outbox.pending_fields(self._database, change["id"])
            fields = [*replicas.FIELDS, "head_id"]
            different = [field for field in fields if here[field] != change[field] and field not in pending]
            if here["updated_at"] <= change["updated_at"]:
                keep_fields(self._database, self._report, change["id"], here, different)
                continue
            for field in different:
                outbox.enqueue_field(self._database, change["id"], field, here[field])


def keep_fields(
    database: Database, report: SyncReport, conversation_id: str, here: dict[str, Any], fields: Sequence[str]
) -> None:
    """Keep those of some fields that somebody wrote in the trash of this device."""
    for field in _WRITTEN:
        if field in fields and here[field]:
            entry = sync_trash.keep_value(database, field, conversation_id, here["title"], here[field])
            report.kept.append(entry)


def keep_conversation(database: Database, report: SyncReport, conversation_id: str) -> None:
    """Keep a conversation that is about to be deleted in the trash of this device."""
    entry = sync_trash.keep_conversation(database, conversation_id)
    if entry is not None:
        report.kept.append(entry)
