"""A terminal of glass: pyte's, with what it shows laid open, scrollback and styles included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyte
from wcwidth import wcwidth

Cell = tuple[Any, ...]


class Glass(pyte.HistoryScreen):  # type: ignore[misc]
    """Draws what has no width of its own into nothing, and each half of a flag into one cell, as most terminals do."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows, history=100_000)
        self.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self)

    def put(self, text: str) -> None:
        """Take what a program writes."""
        self._stream.feed(text)

    def draw(self, data: str) -> None:
        """Draw text at the cursor."""
        halves = (chr(ord(c) - 0x1F1E6 + ord("A")) if "\U0001f1e6" <= c <= "\U0001f1ff" else c for c in data)
        super().draw("".join(c for c in halves if wcwidth(c) > 0))

    def cells(self, columns: int | None = None) -> list[list[Cell]]:
        """Every line, or its first `columns`, scrollback first, without the blanks at the ends of lines and of the screen."""
        rows = [*self.history.top, *(self.buffer[number] for number in range(self.lines))]
        lines = [_line(row, range(max(row, default=-1) + 1)[:columns]) for row in rows]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def text(self) -> list[str]:
        """The same as text."""
        return ["".join(cell[0] for cell in line) for line in self.cells()]


def _line(row: Any, columns: Iterable[int]) -> list[Cell]:
    cells = [tuple(row[column]) for column in columns]
    blank = tuple(pyte.screens.Char(" "))
    while cells and cells[-1] == blank:
        cells.pop()
    return cells
