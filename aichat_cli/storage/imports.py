"""Archived conversations, merged into the database: what is here already is never changed, only added to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from aichat_cli.core.archive import (
    ArchivedConversation,
    ArchivedMessage,
    ImportFailure,
    ImportSummary,
)
from aichat_cli.core.ids import LOCAL_PROFILE, ConversationId, MessageId
from aichat_cli.storage import attachments
from aichat_cli.storage.database import Database


class _Undone(Exception):
    """Ends the transaction of a rehearsal."""


class _Refused(Exception):
    """A conversation that cannot be stored; the message says why."""


def merge(
    db: Database, batch: Sequence[ArchivedConversation], *, source: str, is_rehearsal: bool = False
) -> ImportSummary:
    """Store a batch in one transaction: all of it, or after an exception nothing.

    A conversation that is here gets the messages it has not, and its head moves on only where it just grew from there;
    title, model and system prompt stay. One in the trash stays there as it is. A rehearsal counts and stores nothing.

    Raises:
        StorageError: the database could not be written.
    """
    summary = ImportSummary()
    try:
        with db.transaction():
            for conversation in batch:
                _merge_one(db, conversation, source, summary)
            if is_rehearsal:
                raise _Undone
    except _Undone:
        pass
    return summary


def _merge_one(db: Database, conversation: ArchivedConversation, source: str, summary: ImportSummary) -> None:
    done = ImportSummary()
    db.execute("SAVEPOINT conversation")
    try:
        _store(db, conversation, done)
    except _Refused as exc:
        db.execute("ROLLBACK TO conversation")
        summary.fail(ImportFailure(source, conversation.title, str(exc)))
    else:
        done.skipped = dict(conversation.skipped)
        done.branches = _branches(conversation.messages)
        summary.add(done)
    db.execute("RELEASE conversation")


def _store(db: Database, conversation: ArchivedConversation, done: ImportSummary) -> None:
    here = db.row("SELECT head_id, deleted_at FROM conversations WHERE id = ?", (conversation.id,))
    if here is None:
        _insert_conversation(db, conversation)
        added = _add_messages(db, conversation, {}, done)
        db.execute("UPDATE conversations SET head_id = ? WHERE id = ?", (conversation.head_id, conversation.id))
        done.new = 1
        return
    if here[1] is not None:
        done.in_trash = 1
        return
    known: dict[MessageId, str] = dict(
        db.rows("SELECT id, content FROM messages WHERE conversation_id = ?", (conversation.id,))
    )
    added = _add_messages(db, conversation, known, done)
    if not added:
        done.unchanged = 1
        return
    done.updated = 1
    head = conversation.head_id if _just_grew(conversation, here[0], known) else here[0]
    db.execute(
        "UPDATE conversations SET head_id = ?, updated_at = max(updated_at, ?) WHERE id = ?",
        (head, conversation.updated_at, conversation.id),
    )


def _insert_conversation(db: Database, conversation: ArchivedConversation) -> None:
    db.execute(
        "INSERT INTO conversations (id, user_id, title, system_prompt, model, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            conversation.id,
            LOCAL_PROFILE,
            conversation.title,
            conversation.system_prompt,
            conversation.model,
            conversation.created_at,
            conversation.updated_at,
        ),
    )


def _add_messages(
    db: Database, conversation: ArchivedConversation, known: dict[MessageId, str], done: ImportSummary
) -> bool:
    """Add the messages that are not known; whether there were any."""
    for message in conversation.messages:
        if message.id not in known:
            _insert_message(db, conversation.id, message, done)
        elif known[message.id] == message.content:
            done.messages_known += 1
        else:
            done.messages_kept += 1
    return done.messages_new > 0


def _insert_message(
    db: Database, conversation_id: ConversationId, message: ArchivedMessage, done: ImportSummary
) -> None:
    inserted = db.execute(
        "INSERT INTO messages (id, conversation_id, parent_id, role, content, reasoning, status, model, finish_reason,"
        " error, extra, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            message.id,
            conversation_id,
            message.parent_id,
            message.role,
            message.content,
            message.reasoning,
            message.status,
            message.model,
            message.finish_reason,
            message.error,
            message.extra,
            message.created_at,
            message.created_at,
        ),
    )
    if not inserted:
        raise _Refused("a message of it is already in another conversation")
    done.messages_new += 1
    for file in message.files:
        attachment = file.read()
        if attachment is None:
            done.files_missing += 1
            done.missing.append(file.name)
        else:
            attachments.insert(db, message.id, (attachment,))
            done.files_stored += 1


def _just_grew(conversation: ArchivedConversation, head_id: MessageId | None, known: dict[MessageId, str]) -> bool:
    """Whether the archive's branch goes on from the head that is here, with nothing but new messages."""
    parents = {message.id: message.parent_id for message in conversation.messages}
    at = conversation.head_id
    while at is not None and at not in known:
        at = parents[at]
    return at == head_id and (at is not None or not known) and conversation.head_id not in known


def _branches(messages: Iterable[ArchivedMessage]) -> int:
    children = Counter(message.parent_id for message in messages)
    return sum(count - 1 for count in children.values())
