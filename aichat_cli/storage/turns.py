"""The transactions of a turn: begin, checkpoint, settle, and the recovery of turns whose process died.

A turn that has begun is stored whatever happens next; a turn that is settled never changes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import NotFound, StorageError
from aichat_cli.core.ids import LOCAL_PROFILE, ConversationId, MessageId, RequestId, new_id
from aichat_cli.core.messages import Attachment, Status
from aichat_cli.core.struct import Struct, replace
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage import accounts, attachments, liveness, sources, usage
from aichat_cli.storage.accounts import NewHold
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.core.documents import Source


class BeginTurn(Struct, frozen=True):
    """A turn to store before anything is sent.

    Attributes:
        conversation_id: where it belongs; None starts a conversation.
        parent_id: what the user's message hangs under, None for the root.
        prompt: the user's message; None answers `parent_id`, a user message, once more.
        title, system_prompt: of a new conversation; an existing one keeps its own.
        model: who is asked; also the model of a new conversation.
        attachments: files that go with `prompt`.
        request_id: of the call, where money is kept in this database; `hold` is what is still to be noted of it here.
    """

    conversation_id: ConversationId | None
    parent_id: MessageId | None
    prompt: str | None
    title: str
    system_prompt: str | None
    model: str
    attachments: tuple[Attachment, ...] = ()
    request_id: RequestId | None = None
    hold: NewHold | None = None


class OpenTurn(Struct, frozen=True):
    """A turn that has begun. `message_id` and `seq` name the answer's row."""

    conversation_id: ConversationId
    user_message_id: MessageId
    message_id: MessageId
    seq: int
    created_at: str


class TurnOutcome(Struct, frozen=True):
    """How a turn ended. `usage` is None where nothing was sent, or nothing came of it; `sources` are what it was given.

    `request_id` is that of the call whose hold ends with it.
    """

    text: str
    reasoning: str
    status: Status
    model: str
    finish_reason: str | None
    error: str | None
    usage: UsageRecord | None
    sources: tuple[Source, ...] = ()
    request_id: RequestId | None = None


class Arrived(Struct, frozen=True):
    """An answer as far as it was written; `text` is what was thought and said."""

    message_id: MessageId
    conversation_id: ConversationId
    text: str


def begin(db: Database, turn: BeginTurn) -> OpenTurn:
    """Store the prompt and an empty answer in state `streaming`, which becomes the head, in one transaction.

    Raises:
        NotFound: the conversation, or the parent in it, does not exist.
        StorageError: a turn without a prompt does not answer a user message.
    """
    seq: int | None = None
    hold_seq: int | None = None
    try:
        with db.transaction():
            now = utc_now()
            conversation_id = turn.conversation_id or _new_conversation(db, turn, now)
            user_message_id = _asked(db, turn, conversation_id, now)
            message_id, seq = _add_message(
                db, conversation_id, user_message_id, "assistant", "", "streaming", turn.model, now
            )
            liveness.hold(db.path, seq)
            if turn.request_id is not None and turn.hold is not None:
                hold_seq = accounts.hold(db, replace(turn.hold, message_seq=seq))
            elif turn.request_id is not None:
                accounts.attach_to_message(db, turn.request_id, seq)
            # What goes on is not deleted: another session may have put it in the trash, which would take this along.
            db.execute(
                "UPDATE conversations SET head_id = ?, updated_at = ?, deleted_at = NULL WHERE id = ?",
                (message_id, now, conversation_id),
            )
    except BaseException:
        if seq is not None:
            liveness.release(db.path, seq)
        if hold_seq is not None:
            accounts.forget(db, hold_seq)
        raise
    return OpenTurn(conversation_id, user_message_id, message_id, seq, now)


def checkpoint(db: Database, turn: OpenTurn, text: str, reasoning: str) -> None:
    """Keep what has arrived so far; nothing happens to a turn that is already settled."""
    db.execute(
        "UPDATE messages SET content = ?, reasoning = ?, updated_at = ? WHERE seq = ? AND status = 'streaming'",
        (text, reasoning, utc_now(), turn.seq),
    )


def settle(db: Database, turn: OpenTurn, outcome: TurnOutcome) -> None:
    """Store the end of a turn and its usage in one durable transaction. A second time changes nothing.

    The usage is kept also where the conversation was deleted meanwhile.
    """
    try:
        with db.transaction(durable=True):
            if outcome.usage is None or usage.message_of(db, outcome.usage.request_id) != turn.message_id:
                _settle(db, turn, outcome)
    finally:
        liveness.release(db.path, turn.seq)


def arrived(db: Database, seq: int) -> Arrived | None:
    """What arrived of an answer; None where it was deleted."""
    row = db.row("SELECT id, conversation_id, reasoning || content FROM messages WHERE seq = ?", (seq,))
    return None if row is None else Arrived(*row)


def recover(db: Database) -> int:
    """Mark turns that nobody writes any more as `stopped`, keeping their text; returns how many."""
    if db.is_read_only:
        return 0
    unsettled = [row[0] for row in db.rows("SELECT seq FROM messages WHERE status = 'streaming'")]
    dead = liveness.abandoned(db.path, unsettled) if unsettled else []
    if not dead:
        return 0
    now = utc_now()
    with db.transaction():
        return sum(
            db.execute(
                "UPDATE messages SET status = 'stopped', updated_at = ? WHERE seq = ? AND status = 'streaming'",
                (now, seq),
            )
            for seq in dead
        )


def _new_conversation(db: Database, turn: BeginTurn, now: str) -> ConversationId:
    conversation_id = ConversationId(new_id())
    db.execute(
        "INSERT INTO conversations (id, user_id, title, system_prompt, model, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (conversation_id, LOCAL_PROFILE, turn.title, turn.system_prompt, turn.model, now, now),
    )
    return conversation_id


def _asked(db: Database, turn: BeginTurn, conversation_id: ConversationId, now: str) -> MessageId:
    """The user message to answer: a new one, or `parent_id` itself."""
    if not db.row("SELECT 1 FROM conversations WHERE id = ?", (conversation_id,)):
        raise NotFound(f'There is no conversation "{conversation_id}".', hint="Run: aichat history list")
    if turn.parent_id is not None:
        parent = db.row(
            "SELECT role FROM messages WHERE id = ? AND conversation_id = ?", (turn.parent_id, conversation_id)
        )
        if parent is None:
            raise NotFound(f"There is no message {turn.parent_id} in conversation {conversation_id}.")
        if turn.prompt is None and parent[0] == "user":
            return turn.parent_id
    if turn.prompt is None:
        raise StorageError("Only a message of the user can be answered once more.")
    message_id, _ = _add_message(db, conversation_id, turn.parent_id, "user", turn.prompt, "complete", None, now)
    attachments.insert(db, message_id, turn.attachments)
    return message_id


def _add_message(
    db: Database,
    conversation_id: ConversationId,
    parent_id: MessageId | None,
    role: str,
    content: str,
    status: Status,
    model: str | None,
    now: str,
) -> tuple[MessageId, int]:
    message_id = MessageId(new_id())
    [(seq,)] = db.rows(
        "INSERT INTO messages (id, conversation_id, parent_id, role, content, status, model, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
        (message_id, conversation_id, parent_id, role, content, status, model, now, now),
    )
    return message_id, int(seq)


def _settle(db: Database, turn: OpenTurn, outcome: TurnOutcome) -> None:
    now = utc_now()
    row = db.row("SELECT status FROM messages WHERE seq = ?", (turn.seq,))
    # Another process may have taken this one for dead, where a network folder loses locks: its text still counts.
    if row is not None and (row[0] == "streaming" or liveness.is_own(db.path, turn.seq)):
        db.execute(
            "UPDATE messages SET content = ?, reasoning = ?, status = ?, model = ?, finish_reason = ?, error = ?,"
            " extra = ?, updated_at = ? WHERE seq = ?",
            (
                outcome.text,
                outcome.reasoning,
                outcome.status,
                outcome.model,
                outcome.finish_reason,
                outcome.error,
                sources.extra_of(outcome.sources),
                now,
                turn.seq,
            ),
        )
        db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (now, turn.conversation_id))
    if outcome.usage is not None and (row is not None or not usage.is_recorded(db, outcome.usage.request_id)):
        usage.insert(
            db,
            outcome.usage,
            conversation_id=turn.conversation_id if row is not None else None,
            message_id=turn.message_id if row is not None else None,
        )
    if outcome.request_id is not None:
        accounts.close(db, outcome.request_id, outcome.usage)
