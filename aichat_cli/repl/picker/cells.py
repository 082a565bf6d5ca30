"""Text in terminal cells: made safe, cut, padded and wrapped so that columns hold whatever a title holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from prompt_toolkit.utils import get_cwidth

from aichat_cli.render.sanitize import safe_line, safe_text

Fragments = list[tuple[str, str]]
"""Styled pieces of one line."""

DIM = "class:dim"
MATCH = "class:match"
MARK_OPEN, MARK_CLOSE = "\ue000", "\ue001"
"""Put around what was found in a snippet; private characters, which pass the sanitizer."""

# Terminals disagree about the width of what these join or change; without them every character has a width of its own.
_JOINERS = re.compile(
    "[\u00ad\u200b-\u200f\u2028\u2029\u2060-\u2064\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]"
)
_SPACES = re.compile(r"(\s+)")
_TAB = "    "


def plain(text: str) -> str:
    """One safe line of any text."""
    return safe_line(_JOINERS.sub("", text))


def width_of(text: str) -> int:
    """How many cells a text takes."""
    return get_cwidth(text)


def cut(text: str, width: int) -> str:
    """The beginning of a text that fits; an ellipsis tells that there is more."""
    if get_cwidth(text) <= width:
        return text
    kept = _fitting(text, width - 1)
    return f"{kept.rstrip()}…" if width > 0 else ""


def padded(text: str, width: int, *, is_right: bool = False) -> str:
    """A text cut or filled with blanks to exactly this many cells."""
    fitting = cut(text, width)
    blanks = " " * (width - get_cwidth(fitting))
    return blanks + fitting if is_right else fitting + blanks


def clipped(fragments: Iterable[tuple[str, str]], width: int) -> Fragments:
    """A line cut to at most this many cells."""
    line: Fragments = []
    left = width
    for style, text in fragments:
        piece = cut(text, left)
        line.append((style, piece))
        left -= get_cwidth(piece)
        if piece != text:
            break
    return line


def fitted(fragments: Iterable[tuple[str, str]], width: int) -> Fragments:
    """A line cut or filled to exactly this many cells."""
    line = clipped(fragments, width)
    return [*line, ("", " " * (width - width_of_line(line)))]


def width_of_line(fragments: Iterable[tuple[str, str]]) -> int:
    """How many cells a line takes."""
    return sum(get_cwidth(text) for _, text in fragments)


def with_words_marked(text: str, words: Sequence[str], style: str = "") -> Fragments:
    """A line in which every word is marked wherever it stands, in whatever case."""
    if not words:
        return [(style, text)]
    longest_first = sorted(words, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", text, flags=re.IGNORECASE)
    return [(MATCH if number % 2 else style, piece) for number, piece in enumerate(pieces) if piece]


def with_marks(snippet: str, style: str = "") -> Fragments:
    """A snippet with what stands between `MARK_OPEN` and `MARK_CLOSE` marked."""
    line: Fragments = []
    for number, part in enumerate(snippet.split(MARK_OPEN)):
        marked, _, rest = part.partition(MARK_CLOSE) if number else ("", "", part)
        line += [(MATCH, marked), (style, rest)]
    return [(piece_style, text) for piece_style, text in line if text]


def wrapped(text: str, width: int) -> list[str]:
    """The lines of any text, made safe, at most `width` cells each; broken at blanks where there are any."""
    lines: list[str] = []
    for paragraph in _JOINERS.sub("", safe_text(text)).replace("\t", _TAB).split("\n"):
        lines += _wrapped_line(paragraph.rstrip(), max(width, 1))
    return lines


def _wrapped_line(paragraph: str, width: int) -> list[str]:
    lines: list[str] = []
    line, used = "", 0
    for piece in _SPACES.split(paragraph):
        word, size = piece, get_cwidth(piece)
        if used + size > width and line:
            lines.append(line.rstrip())
            line, used = "", 0
            if word.isspace():
                continue
        while size > width and (start := _fitting(word, width)):
            lines.append(start)
            word = word[len(start) :]
            size = get_cwidth(word)
        line, used = line + word, used + size
    return [*lines, line.rstrip()] if line or not lines else lines


def _fitting(text: str, width: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += get_cwidth(character)
        if used > width:
            return text[:position]
    return text
