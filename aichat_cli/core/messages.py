"""Messages and conversations as the whole house knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.struct import Struct

if TYPE_CHECKING:
    from aichat_cli.core.documents import Source

Role = Literal["user", "assistant", "system", "tool"]
"""Turns write only `user` and `assistant`; the others come with imported conversations."""
MediaKind = Literal["image", "pdf", "audio"]
"""What models may read besides text."""
KIND_NAMES: Mapping[MediaKind, str] = {"image": "images", "pdf": "PDF files", "audio": "audio"}
Status = Literal["streaming", "complete", "stopped", "failed"]
"""`streaming` while it is being written; `stopped` by the user, a signal or a closed pipe; `failed` by the provider."""


class Attachment(Struct, frozen=True):
    """A file that goes with a message: its base name, its media type such as `image/png`, and its bytes."""

    name: str
    media_type: str
    content: bytes

    @property
    def sha256(self) -> str:
        """What it is stored under: the hash of the content, in hexadecimal."""
        from hashlib import sha256

        return sha256(self.content).hexdigest()

    @property
    def kind(self) -> MediaKind | None:
        """What sort of file it is to a model."""
        return media_kind(self.media_type)

    @property
    def summary(self) -> AttachmentSummary:
        """What is said of it without its bytes."""
        return AttachmentSummary(self.name, self.media_type, len(self.content))


class AttachmentSummary(Struct, frozen=True):
    """A file of a stored message without its content, which is read only when it is sent; `bytes` is its size."""

    name: str
    media_type: str
    bytes: int

    @property
    def kind(self) -> MediaKind | None:
        """What sort of file it is to a model."""
        return media_kind(self.media_type)


def media_kind(media_type: str) -> MediaKind | None:
    """The kind of a media type; None for text and for what no model reads."""
    if media_type == "application/pdf":
        return "pdf"
    kinds: dict[str, MediaKind] = {"image": "image", "audio": "audio"}
    return kinds.get(media_type.partition("/")[0])


class ChatMessage(Struct, frozen=True):
    """What a model is shown: one speaker, one text, and the files that go with it."""

    role: Role
    content: str
    attachments: tuple[Attachment, ...] = ()


class Message(Struct, frozen=True):
    """One stored message: a node of a conversation's tree. Its text never changes once it is settled.

    `input_tokens`, `output_tokens` and `cost_nano` (nano-dollars) are those of the turn that made an
    assistant message, None for a user message or where nothing was reported. `tool_name` is whose output an imported
    tool message holds, where that is known. `sources` are the passages of documents an answer was given.
    """

    id: MessageId
    conversation_id: ConversationId
    parent_id: MessageId | None
    role: Role
    content: str
    reasoning: str
    status: Status
    model: str | None
    finish_reason: str | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_nano: int | None
    created_at: str
    attachments: tuple[AttachmentSummary, ...] = ()
    tool_name: str | None = None
    sources: tuple[Source, ...] = ()


class Conversation(Struct, frozen=True):
    """A tree of messages; `head_id` is the tip of the branch in use, None while it is empty."""

    id: ConversationId
    title: str
    system_prompt: str | None
    model: str | None
    head_id: MessageId | None
    created_at: str
    updated_at: str
    message_count: int
