"""What is drawn above the prompt and in it, written so that nothing flickers: one write for each change."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from prompt_toolkit.application import Application
from prompt_toolkit.data_structures import Point
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.utils import get_cwidth

BEGIN_SYNCHRONIZED, END_SYNCHRONIZED = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know this mode show everything between at once; the others ignore it."""

_SEQUENCE = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b\x07]*(?:\x1b\\|\x07)")


class WholeOutput(Vt100_Output):
    """An output whose flushes can be held back until a change is complete."""

    _is_held = False

    @classmethod
    def on_stdout(cls) -> Self:
        """The output of the terminal that stdout is."""
        output = cls.from_pty(sys.stdout, term=os.environ.get("TERM"))
        assert isinstance(output, cls)
        return output

    @contextmanager
    def one_write(self) -> Iterator[None]:
        """Everything in the block reaches the terminal in one write, shown at once where it can."""
        self.flush()
        self._is_held = True
        self.write_raw(BEGIN_SYNCHRONIZED)
        try:
            yield
        finally:
            self.write_raw(END_SYNCHRONIZED)
            self._is_held = False
            self.flush()

    def flush(self) -> None:
        """Write what is buffered, unless it is held back."""
        if not self._is_held:
            super().flush()


def print_above(app: Application[Any], output: WholeOutput, lines: Sequence[str]) -> None:
    """Put finished lines above the prompt, where they scroll away and are never touched again.

    Called in the thread of the application's event loop. The renderer asks the terminal where the cursor is after
    each erasure, and hides the status line until it knows; here the place is counted instead.
    """
    renderer = app.renderer
    room = renderer._min_available_height  # noqa: SLF001 (no public way to keep it over an erasure)
    columns = max(output.get_size().columns, 1)
    rows = sum(rows_taken(line, columns) for line in lines)
    with output.one_write():
        renderer.erase(leave_alternate_screen=False)
        output.write_raw("".join(f"{line}\x1b[0m\r\n" for line in lines))
        renderer._min_available_height = max(1, room - rows)  # noqa: SLF001
        app._redraw()  # noqa: SLF001 (a redraw that is only asked for comes in a write of its own)


def erase_after_resize(app: Application[Any], columns: int, *, reflows: bool) -> None:
    """Erase the prompt where the terminal has another width than it was drawn for; the next drawing begins anew.

    A terminal that wraps its lines anew has given the prompt more rows than were drawn: all of them are erased.
    """
    renderer = app.renderer
    drawn = renderer.last_rendered_screen
    if drawn is not None and reflows:
        position = renderer._cursor_pos  # noqa: SLF001 (where the renderer will begin to erase)
        widths = [_width_of_row(drawn.data_buffer[row]) for row in range(position.y)]
        extra = sum(max(0, (width - 1) // columns) for width in widths) + position.x // columns
        renderer._cursor_pos = Point(x=position.x % columns, y=position.y + extra)  # noqa: SLF001
    renderer.erase(leave_alternate_screen=False)
    app._request_absolute_cursor_position()  # noqa: SLF001 (as prompt_toolkit does after a resize)


def plain(line: str) -> str:
    """A styled line without its styles and links."""
    return _SEQUENCE.sub("", line)


def without_links(line: str) -> str:
    """A styled line without its links: the prompt is drawn cell by cell, which would tear them."""
    return re.sub(r"\x1b\]8;[^\x1b\x07]*(?:\x1b\\|\x07)", "", line)


def rows_taken(line: str, columns: int) -> int:
    """How many rows a line takes on the terminal."""
    return max(1, -(-get_cwidth(plain(line)) // columns))


def _width_of_row(row: Any) -> int:
    return max((column + 1 for column, char in row.items() if char.char != " "), default=0)
