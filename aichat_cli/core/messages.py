"""Messages and conversations as the whole house knows them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from aichat_cli.core.ids import ConversationId, MessageId

Role = Literal["user", "assistant", "system", "tool"]
"""Turns write only `user` and `assistant`; the others come with imported conversations."""
Status = Literal["streaming", "complete", "stopped", "failed"]
"""`streaming` while it is being written; `stopped` by the user, a signal or a closed pipe; `failed` by the provider."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message: its base name, its media type such as `image/png`, and its bytes."""

    name: str
    media_type: str
    content: bytes

    @property
    def sha256(self) -> str:
        """What it is stored under: the hash of the content, in hexadecimal."""
        return sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """What a model is shown: one speaker, one text."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Message:
    """One stored message: a node of a conversation's tree. Its text never changes once it is settled.

    `input_tokens`, `output_tokens` and `cost_nano` (nano-dollars) are those of the turn that made an
    assistant message, None for a user message or where nothing was reported.
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


@dataclass(frozen=True, slots=True)
class Conversation:
    """A tree of messages; `head_id` is the tip of the branch in use, None while it is empty."""

    id: ConversationId
    title: str
    system_prompt: str | None
    model: str | None
    head_id: MessageId | None
    created_at: str
    updated_at: str
    message_count: int
