"""A conversation on its way out: everything that is stored of it. Plain data."""

from __future__ import annotations

from typing import Literal

from aichat_cli.core.messages import Attachment, Conversation, Message
from aichat_cli.core.struct import Struct

ExportFormat = Literal["markdown", "json", "html"]
EXPORT_FORMAT = "aichat"
EXPORT_VERSION = 1
"""Of the JSON export. A number above it cannot be read by this version; fields may be added without a new one."""


class ExportedMessage(Struct, frozen=True):
    """A message with what only an export shows; `extra` is JSON, or None."""

    message: Message
    extra: str | None
    attachments: tuple[Attachment, ...]


class ExportedConversation(Struct, frozen=True):
    """A conversation with all its branches, in the order the messages were written."""

    conversation: Conversation
    messages: tuple[ExportedMessage, ...]
