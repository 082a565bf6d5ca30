"""Jupyter notebooks: their cells in order, code in fences, with what they printed. No images, nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.markdown import markdown_headings
from aichat_cli.documents.loading.text import Decoded, normalised

_OUTPUT_CHARS = 20_000
"""Of each output; a log of a training run is no text to search."""
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def notebook(source: Decoded, media_type: str) -> LoadedDocument:
    """The cells as Markdown.

    Raises:
        DocumentError: it is no notebook.
    """
    try:
        book = json.loads(source.text)
    except (ValueError, RecursionError) as exc:
        raise DocumentError("It is damaged: it is no whole JSON, as a notebook has to be.") from exc
    cells = _listed(book.get("cells")) if isinstance(book, dict) else []
    if isinstance(book, dict) and not cells:
        cells = [cell for sheet in _listed(book.get("worksheets")) for cell in _listed(_member(sheet, "cells"))]
    if not isinstance(book, dict) or ("cells" not in book and "worksheets" not in book):
        raise DocumentError("It is no notebook: it has no cells.")
    language = _member(_member(_member(book, "metadata"), "kernelspec"), "language")
    blocks = [block for cell in cells for block in _blocks(cell, language if isinstance(language, str) else "")]
    text = normalised("\n\n".join(blocks))
    headings = markdown_headings(text)
    title = next((heading.text for heading in headings if heading.level == 1), None)
    return LoadedDocument(text + "\n" if text else "", media_type, "markdown", title, headings, notes=source.notes)


def _blocks(cell: Any, language: str) -> Iterator[str]:
    written = _joined(_member(cell, "source") or _member(cell, "input")).strip("\n")
    if _member(cell, "cell_type") != "code":
        if written.strip():
            yield written
        return
    if written.strip():
        yield _fenced(written, re.sub(r"[^\w+#-]", "", language)[:20])
    for output in _listed(_member(cell, "outputs")):
        if said := _output(output).strip("\n"):
            yield _fenced(said[:_OUTPUT_CHARS], "")


def _output(output: Any) -> str:
    """The text of an output, or nothing."""
    data = _member(output, "data")
    if not isinstance(data, dict):
        data = {}
    said = _member(output, "text") or data.get("text/markdown") or data.get("text/plain")
    if not said and _member(output, "output_type") == "error":
        said = f"{_member(output, 'ename')}: {_member(output, 'evalue')}"
    return _COLOURS.sub("", _joined(said))


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
