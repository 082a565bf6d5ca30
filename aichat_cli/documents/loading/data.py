"""Tables, JSON and XML as text that can be searched and read. Keeps the source's lines where it has any.

JSON and XML are not parsed: their text is shown as it is, broken into lines where it has none. So nothing in them can
expand, nest too deep or be refused, and a damaged file is as readable as a whole one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.documents.loading.text import Decoded, normalised

_LONG_LINE = 2000
"""Files whose lines are longer than this on average were made for machines."""
_MOST_GROWTH = 6
_SAMPLE_CHARS = 20_000
_NUMBER = re.compile(r"[-+]?[\d.,]+%?$")

_ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\\\"/bfnrt]))")
_ESCAPED = {"n": " ", "r": " ", "t": " ", "b": " ", "f": " ", "/": "/", '"': '\\"', "\\": "\\\\"}


def table(source: Decoded, media_type: str) -> LoadedDocument:
    """One line for each row, its cells by the name of their column: `name: Ada | born: 1815`, below the line of names.

    A table without names has its cells alone. What is no table is left as it is.
    """
    text = source.text
    delimiter = "\t" if media_type == "text/tab-separated-values" else _delimiter(text[:_SAMPLE_CHARS])
    try:
        rendered = _rows(text, delimiter)
    except csv.Error:
        rendered = None
    return LoadedDocument(rendered if rendered is not None else text, media_type, "table", notes=source.notes)


def json_text(source: Decoded, media_type: str) -> LoadedDocument:
    """JSON, or JSON lines: with its escapes resolved, and broken after commas where its lines were too long to read."""
    text = source.text
    if "\\" in text:
        text = normalised(_ESCAPES.sub(_unescape, text))
    for joint, broken in (("},{", "},\n{"), ("],[", "],\n["), (',"', ',\n"')):
        if _is_one_line(text):
            text = text.replace(joint, broken)
    return LoadedDocument(text, media_type, "code", notes=source.notes)


def xml_text(source: Decoded, media_type: str) -> LoadedDocument:
    """XML as it is, its elements on lines of their own where its lines were too long to read."""
    text = source.text
    if _is_one_line(text):
        text = text.replace("><", ">\n<")
    return LoadedDocument(text, media_type, "code", notes=source.notes)


def _rows(text: str, delimiter: str) -> str | None:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    first = next(reader, None)
    if first is None or len(first) < 2:
        return None
    names = [" ".join(cell.split()) for cell in first] if _are_names(first) else None
    lines: list[str] = []
    budget = _MOST_GROWTH * len(text) + 10_000
    for line in _rendered_rows(first, reader, names):
        budget -= len(line)
        if budget < 0:
            return None
        lines.append(line)
    return "\n".join(lines) + "\n"


def _rendered_rows(first: list[str], rows: Iterator[list[str]], names: list[str] | None) -> Iterator[str]:
    yield " | ".join(" ".join(cell.split()) for cell in first)
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row]
        if names is not None and len(cells) <= len(names):
            cells = [f"{name}: {cell}" for name, cell in zip(names, cells, strict=False) if cell]
        yield " | ".join(cells)


def _are_names(row: list[str]) -> bool:
    """Whether the first row names the columns: all filled, all different, short and none a number."""
    cells = [cell.strip() for cell in row]
    return len(set(cells)) == len(cells) and all(cell and len(cell) <= 80 and not _NUMBER.match(cell) for cell in cells)


def _delimiter(sample: str) -> str:
    """The separator that occurs equally often in the most of the first lines."""
    lines = [line for line in sample.splitlines()[:50] if line.strip()][:-1] or [sample]
    best, best_score = ",", 0.0
    for delimiter in (",", ";", "\t", "|"):
        counts = [line.count(delimiter) for line in lines]
        usual = max(set(counts), key=lambda count: (counts.count(count), count))
        score = counts.count(usual) / len(counts) if usual else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _is_one_line(text: str) -> bool:
    return len(text) > _LONG_LINE * (text.count("\n") + 1)


def _unescape(match: re.Match[str]) -> str:
    code, letter = match.groups()
    if letter:
        return _ESCAPED[letter]
    character = chr(int(code, 16))
    return character if character.isprintable() or 0xD800 <= ord(character) < 0xE000 else " "
