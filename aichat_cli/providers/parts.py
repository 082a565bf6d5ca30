"""A message's text and files as each protocol wants them. A message without files stays a plain string."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Sequence
from typing import Any

from aichat_cli.core.errors import UsageError
from aichat_cli.core.messages import Attachment, ChatMessage

Content = str | list[dict[str, Any]]

_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def openai_messages(system: str | None, messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The `messages` of a chat completion, which litellm takes too.

    Raises:
        UsageError: a file that OpenAI's protocol has no part for.
    """
    first: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    return first + [{"role": message.role, "content": _content(message, _openai_part)} for message in messages]


def anthropic_content(message: ChatMessage) -> Content:
    """The `content` of one of Anthropic's messages.

    Raises:
        UsageError: a file that Anthropic's protocol has no block for.
    """
    return _content(message, _anthropic_block)


def _content(message: ChatMessage, part: Callable[[Attachment], dict[str, Any]]) -> Content:
    """Files first, as models read them best; several are named, so that the text can speak of each."""
    if not message.attachments:
        return message.content
    parts: list[dict[str, Any]] = []
    for attachment in message.attachments:
        if len(message.attachments) > 1:
            parts.append(_text(f"{attachment.name}:"))
        parts.append(part(attachment))
    return [*parts, _text(message.content)] if message.content.strip() else parts


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _openai_part(attachment: Attachment) -> dict[str, Any]:
    data = _base64(attachment)
    if attachment.kind == "image":
        return {"type": "image_url", "image_url": {"url": f"data:{attachment.media_type};base64,{data}"}}
    if attachment.kind == "pdf":
        file = {"filename": attachment.name, "file_data": f"data:{attachment.media_type};base64,{data}"}
        return {"type": "file", "file": file}
    if attachment.media_type in _AUDIO_FORMATS:
        return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO_FORMATS[attachment.media_type]}}
    raise _unsendable(attachment, "an image, a PDF file, WAV or MP3")


def _anthropic_block(attachment: Attachment) -> dict[str, Any]:
    kinds = {"image": "image", "pdf": "document"}
    if attachment.kind not in kinds:
        raise _unsendable(attachment, "an image or a PDF file")
    source = {"type": "base64", "media_type": attachment.media_type, "data": _base64(attachment)}
    return {"type": kinds[attachment.kind], "source": source}


def _base64(attachment: Attachment) -> str:
    return b2a_base64(attachment.content, newline=False).decode("ascii")


def _unsendable(attachment: Attachment, takes: str) -> UsageError:
    return UsageError(
        f"{attachment.name} is {attachment.media_type}, which cannot be sent to this model.", hint=f"It takes {takes}"
    )
