"""How many cells text takes on a terminal, and where it may be broken into lines.

Terminals disagree about emoji sequences and young characters. Every width here is the larger of what a terminal that
counts code points and one that draws whole clusters would use, so that no line is wider than the screen on either.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, get_character_cell_size

_NARROW = re.compile(
    "[\\x20-\\x7e\xa0-\xac\xae-\u02ff\u0370-\u0377\u037a-\u037f\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u0482"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20c0\u2190-\u2199\u2200-\u22ff\u2500-\u25fc]*"
)
"""Characters that take one cell everywhere: most text is made of them alone."""

_LONGEST_CLUSTER = 64
"""Code points. No character and no emoji has so many."""

_NEVER_FIRST = frozenset("、。，．！？；：）〕］｝〉》」』】’”…ー々・")  # noqa: RUF001 (these are meant)
"""Punctuation that East Asian typesetting does not put at the beginning of a line."""


class Cluster(NamedTuple):
    """What belongs together: a character with its marks, an emoji sequence, a flag. `cells` is its width."""

    start: int
    end: int
    cells: int


class Span(NamedTuple):
    """Text in one style: SGR parameters such as `1;36`, and the target of a link, both empty for none."""

    text: str
    style: str = ""
    link: str = ""


Row = list[Span]
"""One line of the screen."""


def ansi(row: Sequence[Span]) -> str:
    """The row as it is written: every style is closed where it ends."""
    parts: list[str] = []
    link = ""
    for text, style, target in row:
        if target != link:
            parts.append(f"\x1b]8;;{target}\x1b\\")
            link = target
        parts.append(f"\x1b[{style}m{text}\x1b[0m" if style else text)
    if link:
        parts.append("\x1b]8;;\x1b\\")
    return "".join(parts)


def cells(text: str) -> int:
    """The width of a text without line breaks."""
    if _NARROW.fullmatch(text):
        return len(text)
    return sum(cluster.cells for cluster in clusters(text))


def is_narrow(text: str) -> bool:
    """Whether every character takes one cell on every terminal."""
    return _NARROW.fullmatch(text) is not None


def row_cells(row: Sequence[Span]) -> int:
    """The width of a row."""
    return cells("".join(span.text for span in row))


def clusters(text: str) -> list[Cluster]:
    """The text in pieces that no line break may cut."""
    found: list[Cluster] = []
    start, size = 0, len(text)
    while start < size:
        end = _cluster_end(text, start)
        # Marks without end must not make a line without end.
        least = 1 if end - start >= _LONGEST_CLUSTER else 0
        found.append(Cluster(start, end, max(_cluster_cells(text[start:end]), least)))
        start = end
    return found


def _cluster_end(text: str, start: int) -> int:
    end, size = start + 1, len(text)
    if _is_flag_half(text[start]) and end < size and _is_flag_half(text[end]):
        end += 1
    size = min(size, start + _LONGEST_CLUSTER)
    while end < size:
        character = text[end]
        if character == "\u200d":
            end = min(end + 2, size)
        elif character >= "\u0300" and (_code_point_cells(character) == 0 or "\U0001f3fb" <= character <= "\U0001f3ff"):
            end += 1
        else:
            break
    return end


@lru_cache(4096)
def _cluster_cells(cluster: str) -> int:
    return max(cell_len(cluster), sum(map(_code_point_cells, cluster)))


@lru_cache(4096)
def _code_point_cells(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        own = 0
    else:
        own = 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return max(own, get_character_cell_size(character))


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def wrapped(spans: Sequence[Span], width: int) -> list[Row]:
    """Text filled into lines, broken at blanks, between East Asian characters, and in words longer than a line.

    A newline in the text ends a line. Blanks at the ends of lines are dropped.
    """
    text = "".join(span.text for span in spans)
    ranges: list[tuple[int, int]] = []
    start = 0
    for line in text.split("\n"):
        breaks = _narrow_breaks if _NARROW.fullmatch(line) else _wide_breaks
        ranges += [(start + first, start + last) for first, last in breaks(line, width)]
        start += len(line) + 1
    return list(_sliced(spans, ranges))


def cut(spans: Sequence[Span], width: int) -> list[Row]:
    """Text cut into lines of that width wherever that falls, with every blank kept: code."""
    text = "".join(span.text for span in spans)
    if _NARROW.fullmatch(text):
        ranges = [(start, min(start + width, len(text))) for start in range(0, len(text) or 1, width)]
    else:
        ranges, start, column = [], 0, 0
        for cluster in clusters(text):
            if column + cluster.cells > width and column:
                ranges.append((start, cluster.start))
                start, column = cluster.start, 0
            column += cluster.cells
        ranges.append((start, len(text)))
    return list(_sliced(spans, ranges))


def _narrow_breaks(line: str, width: int) -> Iterator[tuple[int, int]]:
    start, size = 0, len(line.rstrip(" "))
    while size - start > width:
        blank = line.rfind(" ", start, start + width + 1)
        end = len(line[start : max(blank, start)].rstrip(" ")) + start
        if end == start:
            yield start, start + width
            start += width
            continue
        yield start, end
        start = blank + 1
        while line[start] == " ":
            start += 1
    yield start, size


def _wide_breaks(line: str, width: int) -> Iterator[tuple[int, int]]:
    stripped = line.rstrip(" ")
    start = column = 0
    end = following = 0  # the last place to break: where this line would end, and the next one begin
    was_wide = was_blank = False
    for cluster in clusters(stripped):
        character = stripped[cluster.start]
        is_wide, is_blank = cluster.cells > 1, stripped[cluster.start : cluster.end] == " "
        if is_blank:
            end, following = (end if was_blank else cluster.start), cluster.end
            column += 1
        else:
            if (is_wide or was_wide) and not was_blank and character not in _NEVER_FIRST:
                end = following = cluster.start
            while column + cluster.cells > width and cluster.start > start:
                if end <= start:
                    end = following = cluster.start
                yield start, end
                start = following
                column = cells(stripped[start : cluster.start])
                end = following = start
            column += cluster.cells
        was_wide, was_blank = is_wide, is_blank
    yield start, len(stripped)


def _sliced(spans: Sequence[Span], ranges: Sequence[tuple[int, int]]) -> Iterator[Row]:
    """The parts of the spans that lie in each of the ranges, which ascend."""
    if len(spans) == 1:
        text, style, link = spans[0]
        for start, end in ranges:
            yield [Span(text[start:end], style, link)] if end > start else []
        return
    position, offset = 0, 0
    for start, end in ranges:
        row: Row = []
        while position < len(spans) and offset + len(spans[position].text) <= start:
            offset += len(spans[position].text)
            position += 1
        ahead, at = position, offset
        while ahead < len(spans) and at < end:
            text, style, link = spans[ahead]
            piece = text[max(start - at, 0) : end - at]
            if piece:
                row.append(Span(piece, style, link))
            at += len(text)
            ahead += 1
        yield row
