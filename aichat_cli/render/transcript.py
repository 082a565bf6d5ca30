"""A conversation for reading: as text for a pipe, its Markdown rendered for a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from aichat_cli.core.messages import Conversation, Message
from aichat_cli.core.money import usd_text
from aichat_cli.render.answer import print_text, write_all
from aichat_cli.render.diagnostics import DIM
from aichat_cli.render.sanitize import safe_line
from aichat_cli.render.sources_view import stored_lines
from aichat_cli.render.tables import local_time, size_text
from aichat_cli.render.theme import Theme


def transcript(conversation: Conversation, messages: Sequence[Message], theme: Theme | None) -> None:
    """`history show`: the branch in use, oldest first. Without a theme the messages are printed as they are written."""
    if theme is None:
        print_text("\n".join(_plain(conversation, messages)))
        return
    from aichat_cli.render.markdown.stream import render

    width = shutil.get_terminal_size().columns
    lines = [_dim(f"# {safe_line(conversation.title)}")]
    if conversation.system_prompt:
        lines += ["", _dim("system:"), "", *render(conversation.system_prompt, width, theme)]
    for message in messages:
        lines += ["", _dim(_speaker(message)), "", *map(_dim, _files(message))]
        lines += render(message.content, width, theme)
        lines += [_dim(f"({safe_line(message.error)})")] if message.error else []
        lines += ["", *map(_dim, stored_lines(message.sources))] if message.sources else []
    # Bytes, so that a terminal whose encoding is not UTF-8 cannot make it fail.
    write_all(sys.stdout.buffer, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))


def _plain(conversation: Conversation, messages: Sequence[Message]) -> list[str]:
    parts = [f"# {safe_line(conversation.title)}\n"]
    if conversation.system_prompt:
        parts.append(f"system: {conversation.system_prompt.rstrip()}\n")
    for message in messages:
        error = f"({safe_line(message.error)})\n" if message.error else ""
        files = "".join(f"{line}\n" for line in _files(message))
        sources = "".join(f"{line}\n" for line in stored_lines(message.sources))
        given = f"\n{sources}" if sources else ""
        parts.append(f"{_speaker(message)}\n\n{files}{message.content.rstrip()}\n{error}{given}")
    return parts


def _speaker(message: Message) -> str:
    told = [local_time(message.created_at)]
    if message.status != "complete":
        told.append(message.status)
    if message.cost_nano is not None:
        told.append(usd_text(message.cost_nano))
    names = {"user": "you", "assistant": safe_line(message.model or "assistant")}
    return f"## {names.get(message.role, message.role)} ({', '.join(told)})"


def _files(message: Message) -> list[str]:
    return [
        f"[{safe_line(f'{file.name}, {file.media_type}, {size_text(file.bytes)}')}]" for file in message.attachments
    ]


def _dim(text: str) -> str:
    return f"\x1b[{DIM}m{text}\x1b[0m"
