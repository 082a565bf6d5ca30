"""docx, pptx, xlsx, odt, rtf and epub to Markdown, by kreuzberg. For the worker process only.

What kreuzberg adds is taken away again: backslashes before signs that need none, and front matter of its own making.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from typing import Any

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.formats import XLSX
from aichat_cli.documents.loading.markdown import markdown_headings
from aichat_cli.documents.loading.text import normalised

NEEDS_EXTRA = "It needs the docs extra: pip install 'aichat-terminal[docs]'"

_MOST_UNPACKED = 500_000_000
_MOST_ENTRIES = 20_000
_TITLE_CHARS = 200
_ESCAPE = re.compile(r"(?!^\\#)\\([!-/:-@\[-`{-~])", re.MULTILINE)
"""But for a number sign that begins a line, which would become a heading."""
_FENCES = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)[ \t]*$", re.MULTILINE | re.DOTALL)
_FRONT = re.compile(r"---\n(?:[\w-]+:[^\n]*\n|[ -][^\n]*\n){1,200}---(?:\n|\Z)")


def office(content: bytes, media_type: str) -> LoadedDocument:
    """The text of a document as Markdown.

    Raises:
        DocumentError: it is encrypted, damaged or unpacks to too much, or kreuzberg is not installed.
    """
    try:
        import kreuzberg
    except ImportError as exc:
        raise DocumentError(NEEDS_EXTRA) from exc
    if content.startswith(b"PK"):
        _require_package(content)
    config = kreuzberg.ExtractionConfig(output_format="markdown", use_cache=False, disable_ocr=True)
    try:
        result = kreuzberg.extract_bytes_sync(content, media_type, config)
    except (kreuzberg.KreuzbergError, ValueError, RuntimeError, OSError) as exc:
        raise DocumentError("It is damaged: its reader makes nothing of it.") from exc
    text = normalised(result.content)
    text = _without_escapes(_FRONT.sub("", text, count=1) if text.startswith("---") else text).strip("\n")
    headings = markdown_headings(text)
    title = _title(result.metadata) or (headings[0].text if headings and media_type != XLSX else None)
    return LoadedDocument(text + "\n" if text else "", media_type, "markdown", title, headings)


def _require_package(content: bytes) -> None:
    """Refuse what unpacks to more than memory should hold, before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            entries = package.infolist()
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, OSError, EOFError, struct.error) as exc:
        raise DocumentError("It is damaged: the package it comes in cannot be opened.") from exc
    if any(entry.flag_bits & 1 for entry in entries):
        raise DocumentError("It is encrypted: a password is needed to read it.")
    if len(entries) > _MOST_ENTRIES or sum(entry.file_size for entry in entries) > _MOST_UNPACKED:
        raise DocumentError(f"It unpacks to more than {_MOST_UNPACKED // 1_000_000} MB.")


def _without_escapes(text: str) -> str:
    """Without the backslashes before punctuation, but for those in fences, which are the document's own."""
    parts = []
    place = 0
    for fence in _FENCES.finditer(text):
        parts.append(_ESCAPE.sub(r"\1", text[place : fence.start()]))
        parts.append(fence.group())
        place = fence.end()
    return "".join((*parts, _ESCAPE.sub(r"\1", text[place:])))


def _title(metadata: Any) -> str | None:
    title = metadata.get("title") if isinstance(metadata, dict) else None
    return " ".join(normalised(title).split())[:_TITLE_CHARS] or None if isinstance(title, str) else None
