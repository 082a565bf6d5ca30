"""Conversations on their way in from an archive, and what became of them. Plain data, no reading and no storing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Attachment, Role, Status
from aichat_cli.core.struct import Struct, field

ArchiveFormat = Literal["auto", "chatgpt", "claude", "llm", "aichat"]
"""What an import takes its files for; `auto` looks."""


class ArchivedFile(Struct, frozen=True):
    """A file of a message. `read` fetches it when it is wanted, None where the archive does not hold it."""

    name: str
    read: Callable[[], Attachment | None]


class ArchivedMessage(Struct, frozen=True):
    """One node of an archived tree; `extra` is JSON, or None."""

    id: MessageId
    parent_id: MessageId | None
    role: Role
    content: str
    created_at: str
    reasoning: str = ""
    status: Status = "complete"
    model: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    extra: str | None = None
    files: tuple[ArchivedFile, ...] = ()


class ArchivedConversation(Struct, frozen=True):
    """A whole tree: every message comes after its parent, and every parent is in it or None.

    Attributes:
        head_id: the tip of the branch in use.
        skipped: parts that have no place here, as reason to count.
    """

    id: ConversationId
    title: str
    system_prompt: str | None
    model: str | None
    head_id: MessageId | None
    created_at: str
    updated_at: str
    messages: tuple[ArchivedMessage, ...]
    skipped: dict[str, int] = field(default_factory=dict)


class ImportFailure(Struct, frozen=True):
    """A conversation, or a whole file where `conversation` is None, that could not be taken over."""

    source: str
    conversation: str | None
    reason: str


class ImportSummary(Struct):
    """What an import did: counts, each conversation and message in exactly one of its kind.

    Attributes:
        in_trash: conversations that are in the trash here, and were left there as they are.
        kept: messages that are here with another text, which was kept.
        branches: ends of branches beyond one for each conversation, in what was read.
        missing: names of files the archive names and does not hold, up to `MOST_NAMED`.
        skipped: what has no place here, as reason to count.
    """

    new: int = 0
    updated: int = 0
    unchanged: int = 0
    in_trash: int = 0
    messages_new: int = 0
    messages_known: int = 0
    messages_kept: int = 0
    branches: int = 0
    files_stored: int = 0
    files_missing: int = 0
    missing: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    failures: list[ImportFailure] = field(default_factory=list)
    failure_count: int = 0

    @property
    def conversations(self) -> int:
        """How many were read whole."""
        return self.new + self.updated + self.unchanged + self.in_trash

    def fail(self, failure: ImportFailure) -> None:
        """Count a failure; the first `MOST_NAMED` are told one by one."""
        self.failure_count += 1
        if len(self.failures) < MOST_NAMED:
            self.failures.append(failure)

    def add(self, other: ImportSummary) -> None:
        """Count what another part of the same import did."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.missing.extend(other.missing[: max(0, MOST_NAMED - len(self.missing))])
        for reason, count in other.skipped.items():
            self.skipped[reason] = self.skipped.get(reason, 0) + count
        self.failures.extend(other.failures[: max(0, MOST_NAMED - len(self.failures))])


MOST_NAMED = 1000
_COUNTS = (
    "new", "updated", "unchanged", "in_trash", "messages_new", "messages_known", "messages_kept", "branches",
    "files_stored", "files_missing", "failure_count",
)  # fmt: skip
