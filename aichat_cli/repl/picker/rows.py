"""What a list shows: rows under headings, and which of them are on the screen. No terminal here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from aichat_cli.core.struct import Struct
from aichat_cli.repl.picker.cells import Fragments

LEAST_HEIGHT_WITH_HEADINGS = 4


class Row(Struct, frozen=True):
    """One line of a list.

    Attributes:
        key: what it stands for; the selection stays with it when the list changes.
        draw: the line for so many cells; what is too long is cut.
        group: the heading it stands under, empty for none.
    """

    key: str
    draw: Callable[[int], Fragments]
    group: str = ""


class Rows:
    """A list that makes its rows when they are looked at."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, position: int) -> Row: ...

    @abstractmethod
    def position(self, key: str) -> int | None:
        """Where a row is, None where it is not in the list."""


class FixedRows(Rows):
    """Rows that are all there."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self._rows = rows
        self._positions = {row.key: position for position, row in reversed(list(enumerate(rows)))}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> Row:
        return self._rows[position]

    def position(self, key: str) -> int | None:
        """Where a row is, None where it is not in the list."""
        return self._positions.get(key)


class Line(Struct, frozen=True):
    """One line on the screen: the row at `position`, or, where that is None, a heading."""

    position: int | None
    heading: str = ""


class Window(Struct, frozen=True):
    """The part of a list that is on the screen; `top` is the position of its first row."""

    top: int
    lines: tuple[Line, ...]


def window(rows: Rows, top: int, selected: int, height: int) -> Window:
    """The lines to show, so that the selected row is among them and the list moves no more than it must."""
    count = len(rows)
    if not count or height < 1:
        return Window(0, ())
    top = max(min(top, selected, count - 1), selected - height + 1, 0)
    lines = _lines(rows, top, height)
    while all(line.position != selected for line in lines):
        top += 1
        lines = _lines(rows, top, height)
    return Window(top, tuple(lines))


def _lines(rows: Rows, top: int, height: int) -> list[Line]:
    lines: list[Line] = []
    has_headings = height >= LEAST_HEIGHT_WITH_HEADINGS
    group = ""
    for position in range(top, min(top + height, len(rows))):
        row = rows[position]
        if has_headings and row.group != group:
            group = row.group
            lines.append(Line(None, group))
        lines.append(Line(position))
    del lines[height:]
    if lines and lines[-1].position is None:
        lines.pop()
    return lines
