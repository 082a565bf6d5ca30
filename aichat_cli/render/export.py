"""Conversations as files: JSON that can be imported again, Markdown, and one HTML page.

A page is made piece by piece, so that an export of everything needs the memory of its largest conversation. Files are
written beside their name and put in place when they are whole, for their owner alone.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import ArchiveError
from aichat_cli.core.export import EXPORT_FORMAT, EXPORT_VERSION, ExportedConversation, ExportedMessage, ExportFormat
from aichat_cli.core.ids import new_id
from aichat_cli.core.messages import Conversation
from aichat_cli.core.money import usd_number
from aichat_cli.render.json_shapes import dumps
from aichat_cli.render.sanitize import safe_line
from aichat_cli.storage import exports
from aichat_cli.storage.database import Database

SUFFIXES: dict[str, ExportFormat] = {
    ".json": "json", ".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown", ".txt": "markdown",
}  # fmt: skip
_FILE_SUFFIX: dict[ExportFormat, str] = {"json": ".json", "html": ".html", "markdown": ".md"}
LONGEST_SLUG = 50


def format_of(path: Path | None) -> ExportFormat:
    """The format that a file's suffix asks for; Markdown where it has none.

    Raises:
        ArchiveError: nothing is exported to such files.
    """
    if path is None or not path.suffix:
        return "markdown"
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise ArchiveError(
            f"There is no export to {path.suffix} files.", hint="To choose: --format markdown, json or html"
        ) from None


def render_export(db: Database, listed: Sequence[Conversation], export_format: ExportFormat) -> Iterator[str]:
    """Some conversations as one document, in pieces. `"".join(...)` is the whole.

    Raises:
        NotFound: one of them was deleted meanwhile.
    """
    read = _reader(db)
    if export_format == "json":
        yield from _json(listed, read)
    elif export_format == "html":
        from aichat_cli.render.export_html import page

        yield from page(listed, read)
    else:
        from aichat_cli.render.export_markdown import document

        yield from document(listed, read)


def write_export(
    db: Database,
    listed: Sequence[Conversation],
    path: Path,
    export_format: ExportFormat | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write conversations to a file or, where `path` is a folder, each to a file of its own; the files written.

    Raises:
        ArchiveError: a file is there already and `overwrite` is off, or cannot be written.
        NotFound: a conversation was deleted meanwhile.
    """
    if not path.is_dir():
        chosen = export_format or format_of(path)
        _write(path, render_export(db, listed, chosen), overwrite=overwrite)
        return [path]
    chosen = export_format or "markdown"
    files = [path / _file_name(conversation, chosen) for conversation in listed]
    for conversation, file in zip(listed, files, strict=True):
        _write(file, render_export(db, [conversation], chosen), overwrite=overwrite)
    return files


def exported_json(exported: ExportedConversation) -> dict[str, Any]:
    """One conversation of the JSON export."""
    conversation = exported.conversation
    return {
        "id": conversation.id,
        "title": conversation.title,
        "model": conversation.model,
        "system_prompt": conversation.system_prompt,
        "head_id": conversation.head_id,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "messages": [_message_json(each) for each in exported.messages],
    }


def _reader(db: Database) -> Callable[[Conversation], ExportedConversation]:
    return lambda conversation: exports.read(db, conversation.id)


def _json(listed: Iterable[Conversation], read: Callable[[Conversation], ExportedConversation]) -> Iterator[str]:
    head = {"format": EXPORT_FORMAT, "version": EXPORT_VERSION, "exported_at": utc_now()}
    yield dumps(head).removesuffix("\n}\n") + ',\n  "conversations": ['
    separator = "\n"
    for conversation in listed:
        yield separator + dumps(exported_json(read(conversation))).rstrip("\n")
        separator = ",\n"
    yield "\n]}\n"


def _message_json(exported: ExportedMessage) -> dict[str, Any]:
    message = exported.message
    return {
        "id": message.id,
        "parent_id": message.parent_id,
        "role": message.role,
        "content": message.content,
        "reasoning": message.reasoning,
        "status": message.status,
        "model": message.model,
        "finish_reason": message.finish_reason,
        "error": message.error,
        "extra": None if exported.extra is None else json.loads(exported.extra),
        "created_at": message.created_at,
        "input_tokens": message.input_tokens,
        "output_tokens": message.output_tokens,
        "cost_usd": usd_number(message.cost_nano),
        "attachments": [
            {
                "name": attachment.name,
                "media_type": attachment.media_type,
                "bytes": len(attachment.content),
                "content": b64encode(attachment.content).decode("ascii"),
            }
            for attachment in exported.attachments
        ],
    }


def _file_name(conversation: Conversation, export_format: ExportFormat) -> str:
    """Such as `2026-11-25-about-herons-019ab1c2d3e4f.md`; the last part tells conversations apart."""
    words = re.sub(r"[^\w]+", "-", safe_line(conversation.title).lower()).strip("-")[:LONGEST_SLUG].strip("-")
    parts = (conversation.created_at[:10], words, conversation.id.replace("-", ""))
    return "-".join(filter(None, parts)) + _FILE_SUFFIX[export_format]


def _write(path: Path, pieces: Iterator[str], *, overwrite: bool) -> None:
    if path.exists() and not path.is_file():
        _write_through(path, pieces)
        return
    if os.path.lexists(path) and not overwrite:
        raise ArchiveError(f"{path} is there already.", hint="To write over it: --force")
    path = path.resolve()  # a link stays one
    partial = path.with_name(f".{new_id()}.partial")
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(pieces)
                stream.flush()
                os.fsync(stream.fileno())
            _put_in_place(partial, path, overwrite=overwrite)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as exc:
        raise ArchiveError(
            f"Cannot write {path}: {exc.strerror}.", hint=f"Check the folder: ls -ld {path.parent}"
        ) from exc


def _write_through(path: Path, pieces: Iterator[str]) -> None:
    """A pipe or a device, such as /dev/stdout, is written to as it is; a file in its place would break it."""
    try:
        with path.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(pieces)
    except OSError as exc:
        raise ArchiveError(f"Cannot write {path}: {exc.strerror}.") from exc


def _put_in_place(partial: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        partial.replace(path)
        return
    try:
        os.link(partial, path)  # fails where another process has made the file meanwhile
    except FileExistsError as exc:
        raise ArchiveError(f"{path} is there already.", hint="To write over it: --force") from exc
    except OSError:
        partial.rename(path)  # not every file system has links
