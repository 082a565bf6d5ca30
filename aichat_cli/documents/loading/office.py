"""docx, pptx, xlsx, odt, rtf and epub to Markdown, by kreuzberg. For the worker process only.

What kreuzberg adds is taken away again: backslashes before signs that need none, and front matter of its own making.
What it loses is hidden from it: of a docx file it drops every `&amp;` and other reference, so it sees signs instead that
stand for them.
"""

from __future__ import annotations

import html
import io
import re
import struct
import zipfile
import zlib
from typing import Any

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.formats import DOCX, XLSX
from aichat_cli.documents.loading.markdown import markdown_headings
from aichat_cli.documents.loading.text import normalised

NEEDS_EXTRA = "It needs the docs extra: pip install 'aichat-terminal[docs]'"

_MOST_UNPACKED = 500_000_000
_MOST_ENTRIES = 20_000
_TITLE_CHARS = 200
_PACKAGE_ERRORS = (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, OSError, EOFError, struct.error)
_ESCAPE = re.compile(r"(?!^\\#)\\([!-/:-@\[-`{-~])", re.MULTILINE)
"""But for a number sign that begins a line, which would become a heading."""
_FENCES = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)[ \t]*$", re.MULTILINE | re.DOTALL)
_FRONT = re.compile(r"---\n(?:[\w-]+:[^\n]*\n|[ -][^\n]*\n){1,200}---(?:\n|\Z)")
_REFERENCE = re.compile(rb"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6}));")
_SIGNS = {"&": "\U0010fff0", "<": "\U0010fff1", ">": "\U0010fff2", '"': '"', "'": "'"}
"""The last of the characters that Unicode leaves to private use stand for those that XML cannot hold."""
_MEANT = str.maketrans({sign: character for character, sign in _SIGNS.items()})


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
    if media_type == DOCX:
        content = _without_references(content)
    try:
        result = kreuzberg.extract_bytes_sync(content, media_type, config)
    except (kreuzberg.KreuzbergError, ValueError, RuntimeError, OSError) as exc:
        raise DocumentError("It is damaged: its reader makes nothing of it.") from exc
    text = normalised(result.content).translate(_MEANT)
    text = _without_escapes(_FRONT.sub("", text, count=1) if text.startswith("---") else text).strip("\n")
    headings = markdown_headings(text)
    title = _title(result.metadata) or (headings[0].text if headings and media_type != XLSX else None)
    return LoadedDocument(text + "\n" if text else "", media_type, "markdown", title, headings)


def _require_package(content: bytes) -> None:
    """Refuse what unpacks to more than memory should hold, before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            entries = package.infolist()
    except _PACKAGE_ERRORS as exc:
        raise DocumentError("It is damaged: the package it comes in cannot be opened.") from exc
    if any(entry.flag_bits & 1 for entry in entries):
        raise DocumentError("It is encrypted: a password is needed to read it.")
    if len(entries) > _MOST_ENTRIES or sum(entry.file_size for entry in entries) > _MOST_UNPACKED:
        raise DocumentError(f"It unpacks to more than {_MOST_UNPACKED // 1_000_000} MB.")


def _without_references(content: bytes) -> bytes:
    """A docx file whose text has signs and plain characters in the place of references."""
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package, zipfile.ZipFile(made, "w") as changed:
            for entry in package.infolist():
                part = package.read(entry)
                if entry.filename.startswith("word/") and entry.filename.endswith(".xml"):
                    part = _REFERENCE.sub(_sign, part)
                changed.writestr(entry.filename, part)
    except _PACKAGE_ERRORS as exc:
        raise DocumentError("It is damaged: a part of it cannot be unpacked.") from exc
    return made.getvalue()


def _sign(match: re.Match[bytes]) -> bytes:
    name, decimal, hexadecimal = match.groups()
    if name:
        character = html.unescape(f"&{name.decode()};")
    else:
        number = int(decimal) if decimal else int(hexadecimal, 16)
        character = chr(number) if number <= 0x10FFFF else ""
    return _SIGNS.get(character, character).encode("utf-8", "ignore")


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
