"""A conversation on its way out: everything that is stored of it. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aichat_cli.core.messages import Attachment, Conversation, Message

ExportFormat = Literal["markdown", "json", "html"]
EXPORT_FORMAT = "aichat"
EXPORT_VERSION = 1
"""Of the JSON export. A number above it cannot be read by this version; fields may be added without a new one."""


@dataclass(frozen=True, slots=True)
class ExportedMessage:
    """A message with what only an export shows; `extra` is JSON, or None."""

    message: Message
    extra: str | None
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class ExportedConversation:
    """A conversation with all its branches, in the order the messages were written."""

    conversation: Conversation
    messages: tuple[ExportedMessage, ...]
