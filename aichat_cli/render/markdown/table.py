"""Tables: the widths of the columns follow from the header and the first rows, so that later rows can be printed as they come."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from aichat_cli.core.struct import Struct, field
from aichat_cli.render.markdown.cells import Row, Span, cells, row_cells, wrapped
from aichat_cli.render.theme import Theme

FIRST_ROWS = 8
"""Rows that are looked at, and kept open, before the widths are fixed."""

_MIN_COLUMN = 6
_LONG_WORD = 16
"""A longer word may be broken, so that an address does not decide about the table."""

_GAP = 3
_DELIMITER = re.compile(r"[-:|][-:| ]+")
_DELIMITER_CELL = re.compile(r":?-+:?")
_SPLIT = re.compile(r"(?<!\\)\|")

Align = Literal["left", "right", "center"]


def delimiters(line: str) -> list[Align] | None:
    """The alignments in a line such as `|:--|--:|`, None where it is no such line."""
    line = line.strip(" ")
    if not _DELIMITER.fullmatch(line) or line.startswith("- "):
        return None
    parts = [part.strip(" ") for part in line.split("|")]
    if len(parts) > 1:
        parts = parts[not parts[0] : len(parts) - (not parts[-1])]
    if not parts or not all(map(_DELIMITER_CELL.fullmatch, parts)):
        return None
    return [
        "center" if part[0] == part[-1] == ":" and len(part) > 1 else "right" if part[-1] == ":" else "left"
        for part in parts
    ]


def cells_of(line: str) -> list[str]:
    """The cells of a row. A pipe behind a backslash is one of the text."""
    parts = _SPLIT.split(line.strip(" "))
    if parts and not parts[0].strip(" "):
        del parts[0]
    if parts and not parts[-1].strip(" "):
        del parts[-1]
    return [part.strip(" ").replace("\\|", "|") for part in parts]


class Table(Struct):
    """One table. `spans` styles the text of a cell; `natural` is the width each column would like, `words` its longest word."""

    header: list[str]
    aligns: list[Align]
    theme: Theme
    spans: Callable[[str, str], Row]
    rows: list[list[str]] = field(default_factory=list)
    natural: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    shown: int = 0

    def add(self, line: str, width: int) -> list[Row]:
        """Take a row; the lines that are finished by it."""
        row = cells_of(line)
        columns = len(self.header)
        if len(row) > columns:
            row[columns - 1 :] = [" | ".join(row[columns - 1 :])]
        row += [""] * (columns - len(row))
        if self.natural:
            return self._drawn_rows([row], width)
        self.rows.append(row)
        if len(self.rows) < FIRST_ROWS:
            return []
        self._measure()
        # Rows are still to come: numbers grow by a digit, names by a few letters.
        self.natural = [natural + max(2, natural // 4) for natural in self.natural]
        return self._opening(width)

    def end(self, width: int) -> list[Row]:
        """What was held back, now that no row will follow."""
        if self.natural:
            return []
        self._measure()
        return self._opening(width)

    def _measure(self) -> None:
        texts = [self.header, *self.rows]
        self.natural = [max(self._cell_width(row[column]) for row in texts) for column in range(len(self.header))]
        self.words = [max(self._word_width(row[column]) for row in texts) for column in range(len(self.header))]

    def _opening(self, width: int) -> list[Row]:
        rows, self.rows = self.rows, []
        return self._drawn_header(width) + self._drawn_rows(rows, width)

    def copy(self) -> Table:
        """One that goes on from here without changing this one."""
        return Table(
            self.header, self.aligns, self.theme, self.spans, list(self.rows), self.natural, self.words, self.shown
        )

    def _cell_width(self, text: str) -> int:
        return max((cells(line) for line in _plain(self.spans(text, "")).split("\n")), default=0)

    def _word_width(self, text: str) -> int:
        return max((cells(word) for word in _plain(self.spans(text, "")).split()), default=0)

    def _widths(self, width: int) -> list[int] | None:
        """The widths of the columns, None where there is no room for columns side by side."""
        columns = len(self.natural)
        room = width - _GAP * (columns - 1)
        if sum(self.natural) <= room:
            return self.natural
        least = [
            min(natural, max(min(word, _LONG_WORD), _MIN_COLUMN))
            for natural, word in zip(self.natural, self.words, strict=True)
        ]
        if sum(least) > room:
            return None
        wishes = [natural - low for natural, low in zip(self.natural, least, strict=True)]
        spare = room - sum(least)
        widths = list(least)
        # Narrow columns get what they need first; what is left is shared by the wide ones.
        waiting = sorted(range(columns), key=lambda column: wishes[column])
        for position, column in enumerate(waiting):
            given = min(wishes[column], spare // (columns - position))
            widths[column] += given
            spare -= given
        return widths

    def _drawn_header(self, width: int) -> list[Row]:
        widths = self._widths(width)
        if widths is None:
            return []
        rule = Span("─┼─".join("─" * column for column in widths), self.theme.style("border"))
        return [*self._drawn(self.header, widths, self.theme.style("header")), [rule]]

    def _drawn_rows(self, rows: Sequence[list[str]], width: int) -> list[Row]:
        widths = self._widths(width)
        border = self.theme.style("border")
        drawn: list[Row] = []
        for row in rows:
            if widths is None:
                drawn += [[Span("─" * min(width, 12), border)]] if self.shown else []
                drawn += self._stacked(row, width)
            else:
                if self.shown and widths is not self.natural:
                    drawn.append([Span("┄┼┄".join("┄" * column for column in widths), border)])
                drawn += self._drawn(row, widths, "")
            self.shown += 1
        return drawn

    def _drawn(self, row: list[str], widths: Sequence[int], style: str) -> list[Row]:
        columns = [wrapped(self.spans(text, style), column) for text, column in zip(row, widths, strict=True)]
        separator = Span(" │ ", self.theme.style("border"))
        drawn: list[Row] = []
        for number in range(max(map(len, columns))):
            line: Row = []
            for column, lines in enumerate(columns):
                content = lines[number] if number < len(lines) else []
                line += _aligned(content, widths[column], self.aligns[column])
                line += [separator] if column + 1 < len(columns) else []
            drawn.append(_without_end_blanks(line))
        return drawn

    def _stacked(self, row: list[str], width: int) -> list[Row]:
        """A row as lines of `heading: value`, for a terminal too narrow for columns."""
        drawn: list[Row] = []
        for heading, text in zip(self.header, row, strict=True):
            named = [*self.spans(heading, self.theme.style("header")), Span(": ")] if heading else []
            drawn += wrapped([*named, *self.spans(text, "")], width)
        return drawn


def _plain(row: Row) -> str:
    return "".join(span.text for span in row)


def _aligned(content: Row, width: int, align: Align) -> Row:
    room = width - row_cells(content)
    left = room if align == "right" else room // 2 if align == "center" else 0
    return [*([Span(" " * left)] if left else []), *content, *([Span(" " * (room - left))] if room > left else [])]


def _without_end_blanks(row: Row) -> Row:
    while row and not row[-1].text.strip(" "):
        row.pop()
    if row and row[-1].text.endswith(" "):
        row[-1] = row[-1]._replace(text=row[-1].text.rstrip(" "))
    return row
