# ruff: noqa: RUF001 - sentences end and quotes close differently in other scripts
"""Where a text may be cut, and how good a place each is. A cut lies before the first character of what follows it, so
that blanks and line ends stay with what they follow.

Every pattern takes linear time on any text.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum

from aichat_cli.core.documents import LoadedDocument


class Strength(IntEnum):
    """How good a place for a cut is, the best last."""

    CHARACTER = 0
    WORD = 1
    LINE = 2
    SENTENCE = 3
    ITEM = 4
    BLOCK = 5
    TOP_BLOCK = 6
    HEADING = 7


_BLANK_LINES = re.compile(r"\n\s*[\r\n]")
_FENCE = re.compile(r"^[ \t]{0,12}(`{3,}|~{3,})([^\n]*)", re.MULTILINE)
_LINE = re.compile(r"\n")
_ITEM = re.compile(r"^(?=[ \t]*(?:[-*+•|>]|\d{1,3}[.)])(?:[ \t]|\w))", re.MULTILINE)
_TOP_LINE = re.compile(r"^(?=[^\s)\]}])", re.MULTILINE)
_WORD = re.compile(r"(?<=\s)(?=\S)")
_SENTENCE = re.compile(r"[.!?…。！？｡؟۔।॥։።၊။។][.!?…。！？]{0,7}[\"'”’)\]»*_」』）》〉]{0,4}\s*")
_NEEDS_BLANK = frozenset(".!?…")
"""What ends a sentence only where a blank follows."""
_ABBREVIATION = re.compile(
    r"(mrs?|ms|drs?|prof|st|jr|sr|vs|etc|al|cf|figs?|eqs?|vol|pp|eds?|ca|approx|inc|ltd|co|dept|bzw|evtl|ggf|vgl|hrsg)",
    re.IGNORECASE,
)
_BEFORE_A_NUMBER = re.compile(r"(nos?|nr|p|ch|sec|art|bd|abb)", re.IGNORECASE)
_LONGEST_CLUSTER = 32
_JOINERS = "\u200d\u034f"
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def block_starts(document: LoadedDocument, fences: Sequence[range], row_chars: int) -> list[int]:
    """The inner cuts between paragraphs and before headings; in a table, before a row about each `row_chars`."""
    text = document.text
    if document.kind == "table":
        starts = _row_starts(text, row_chars)
    else:
        starts = [match.end() for match in _BLANK_LINES.finditer(text)]
    if fences:
        ends = [fence.stop for fence in fences]
        starts = [start for start in starts if not _is_inside(start, fences, ends)]
    known = set(starts)
    known.update(heading.start for heading in document.headings)
    first = len(text) - len(text.lstrip())
    return sorted(start for start in known if first < start < len(text))


def fences(document: LoadedDocument) -> list[range]:
    """The fenced code blocks of a Markdown text, with the lines that fence them."""
    if document.kind != "markdown":
        return []
    found: list[range] = []
    opened, mark = 0, ""
    for match in _FENCE.finditer(document.text):
        if not mark:
            if match[1][0] != "`" or "`" not in match[2]:
                opened, mark = match.start(), match[1]
        elif match[1].startswith(mark) and not match[2].strip():
            found.append(range(opened, min(match.end() + 1, len(document.text))))
            mark = ""
    return found


def blank_lines(text: str, start: int, end: int) -> list[int]:
    """Cuts after blank lines, inside a span."""
    return _inside([match.end() for match in _BLANK_LINES.finditer(text, start, end)], start, end)


def lines(text: str, start: int, end: int) -> list[int]:
    """Cuts between lines, inside a span."""
    return _inside([match.end() for match in _LINE.finditer(text, start, end)], start, end)


def items(text: str, start: int, end: int) -> list[int]:
    """Cuts before items of lists, rows of tables and quoted lines, inside a span."""
    return _inside([match.start() for match in _ITEM.finditer(text, start, end)], start, end)


def top_lines(text: str, start: int, end: int) -> list[int]:
    """Cuts before lines that are not indented and do not only close a bracket, inside a span."""
    return _inside([match.start() for match in _TOP_LINE.finditer(text, start, end)], start, end)


def sentences(text: str, start: int, end: int) -> list[int]:
    """Cuts after sentences of any script, inside a span. Neither "e.g." nor "3.14" ends one."""
    found = [m.end() for m in _SENTENCE.finditer(text, start, end) if _ends_a_sentence(text, m, end)]
    return _inside(found, start, end)


def word(text: str, start: int, target: int, end: int) -> int | None:
    """The last cut between words after `start` and up to `target`, or else the next before `end`, unless it is far."""
    found = None
    for match in _WORD.finditer(text, start + 1, min(target + _LONGEST_CLUSTER, end)):
        if found is not None and match.start() > target:
            break
        found = match.start()
    return found


def character(text: str, start: int, target: int, end: int) -> int:
    """The last cut between characters, as a reader sees them, after `start` and up to `target`, or else the next.

    `target` itself where marks go on for longer than any character has.
    """
    for cut in range(target, max(start, target - _LONGEST_CLUSTER), -1):
        if not _is_inside_cluster(text, cut, start):
            return cut
    for cut in range(target + 1, min(end, target + _LONGEST_CLUSTER)):
        if not _is_inside_cluster(text, cut, start):
            return cut
    return target


def _row_starts(text: str, row_chars: int) -> list[int]:
    starts: list[int] = []
    start = text.find("\n", row_chars) + 1
    while start:
        starts.append(start)
        start = text.find("\n", start + row_chars) + 1
    return starts


def _is_inside(position: int, spans: Sequence[range], ends: Sequence[int]) -> bool:
    at = bisect_right(ends, position)
    return at < len(spans) and spans[at].start < position


def _inside(cuts: list[int], start: int, end: int) -> list[int]:
    return [cut for cut in cuts if start < cut < end]


def _ends_a_sentence(text: str, match: re.Match[str], end: int) -> bool:
    after = match.end()
    if match[0][0] not in _NEEDS_BLANK or after >= end:
        return True
    if not text[after - 1].isspace():
        return False
    if match[0][0] != ".":
        return True
    if text[after].islower():
        return False
    words = text[max(0, match.start() - 24) : match.start()].split()
    word = words[-1].lstrip("([\"'“‘") if words else ""
    is_initial = "." in word or (len(word) == 1 and word.isupper())
    is_abbreviation = is_initial or _ABBREVIATION.fullmatch(word) is not None
    is_abbreviation = is_abbreviation or (text[after].isdigit() and _BEFORE_A_NUMBER.fullmatch(word) is not None)
    return not is_abbreviation or "\n\n" in match[0]


def _is_inside_cluster(text: str, cut: int, start: int) -> bool:
    """Whether a cut would part what is read as one character: CR LF, marks, joined and modified emoji, flags, Hangul.

    `start` is before a whole character; of a run of flags the pairs are counted from there.
    """
    if not 0 < cut < len(text):
        return False
    before, after = text[cut - 1], text[cut]
    if after.isascii() and before.isascii():
        return before == "\r" and after == "\n"
    if after in _JOINERS or before in _JOINERS or after in _SKIN_TONES or unicodedata.category(after)[0] == "M":
        return True
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return True
    if "\u1100" <= before <= "\u11ff" and "\u1160" <= after <= "\u11ff":
        return True
    return _is_flag_letter(before) and _is_flag_letter(after) and _flag_letters_before(text, cut, start) % 2 == 1


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flag_letters_before(text: str, cut: int, start: int) -> int:
    first = cut
    while first > start and _is_flag_letter(text[first - 1]):
        first -= 1
    return cut - first
