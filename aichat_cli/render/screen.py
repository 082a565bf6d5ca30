"""What is written to a terminal so that it shows an answer while it grows: as little as possible, and never a line twice.

Pure text in and out: the lines still open are remembered as they were drawn, and a redraw is the difference. It needs
cursor movement by rows, erasing, and nothing else of the terminal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from aichat_cli.render.markdown.cells import cells, is_narrow
from aichat_cli.render.markdown.stream import MarkdownStream
from aichat_cli.render.theme import Theme

_BEGIN = "\x1b[?2026h\x1b[?25l"
"""Synchronized output, where the terminal has it, and a cursor that is not seen jumping."""
_END = "\x1b[?25h\x1b[?2026l"
_SEQUENCES = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\")

Size = Callable[[], os.terminal_size]


class Screen:
    """One answer on one terminal. Each method returns what to write, empty where nothing changed.

    After it the cursor is at the end of the last open line, or at the beginning of a fresh line where none is open.
    """

    def __init__(self, theme: Theme, size: Size, *, reflows: bool) -> None:
        self._size = size
        self._reflows = reflows
        self._columns, self._rows = size()
        self._stream = MarkdownStream(self._columns, theme)
        self._shown: list[str] = []

    def grown(self, text: str) -> str:
        """The text goes on."""
        erased = self._fitted()
        finished = self._stream.feed(text)
        return self._change(erased, finished, self._stream.open_lines()[-max(self._rows // 2, 1) :])

    def without_open_lines(self, text: str) -> str:
        """The text goes on, but what is open is taken away until the next redraw."""
        erased = self._fitted()
        return self._change(erased, self._stream.feed(text), [])

    def ended(self, text: str) -> str:
        """The text ends with this."""
        erased = self._fitted()
        return self._change(erased, [*self._stream.feed(text), *self._stream.finish()], [])

    def _fitted(self) -> str:
        """Notice that the terminal has another width; what takes the open lines away as they look now."""
        columns, self._rows = self._size()
        if columns == self._columns:
            return ""
        self._columns = columns
        self._stream.resize(columns)
        if not self._shown:
            return ""
        rows = sum(self._rows_of(line) for line in self._shown)
        self._shown = []
        return _up(min(rows, self._rows) - 1) + "\x1b[J"

    def _rows_of(self, line: str) -> int:
        """How many rows a line that was drawn in another width takes now."""
        return max(-(-cells(_visible(line)) // self._columns), 1) if self._reflows else 1

    def _change(self, erased: str, finished: list[str], window: list[str]) -> str:
        """From the lines that are shown to the finished ones and, below, the window on the open ones."""
        old, new = self._shown, [*finished, *window]
        self._shown = window
        same = _common(old, new)
        parts: list[str] = []
        if same == len(old):
            parts += ["\n"] if old and (len(new) > same or not window) else []
        elif same == len(old) - 1 and len(new) > same:
            parts.append(_changed_end(old[same], new[same]))
            parts += ["\n"] if len(new) > same + 1 or not window else []
            same += 1
        else:
            return _BEGIN + erased + _redrawn(old, new, same, is_closed=not window) + _END
        parts.append("\n".join(new[same:]))
        parts += ["\n"] if not window and len(new) > same else []
        return f"{_BEGIN}{erased}{''.join(parts)}{_END}" if erased else "".join(parts)


def _redrawn(old: Sequence[str], new: Sequence[str], same: int, *, is_closed: bool) -> str:
    """Write everything from line `same` on over what was there."""
    if same == len(new) and not is_closed:
        same = max(same - 1, 0)  # nothing but fewer lines: the cursor belongs at the end of the last
    parts = [_up(len(old) - 1 - same)]
    if len(new) < len(old):
        parts.append("\x1b[J")
    for number in range(same, len(new)):
        # Erased before it is written: behind a line as wide as the terminal, erasing would take its last character.
        parts.append("\x1b[K" if number < len(old) <= len(new) else "")
        parts.append(new[number])
        parts.append("\n" if number + 1 < len(new) or is_closed else "")
    return "".join(parts)


def _changed_end(old: str, new: str) -> str:
    """From the end of a line that is shown to a line with the same beginning, without writing that again."""
    if new.startswith(old):
        return new[len(old) :]
    size = next(
        (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new))
    )
    sequence = new.rfind("\x1b", 0, size)
    if sequence >= 0 and (match := _SEQUENCES.match(new, sequence)) and match.end() > size:
        size = sequence
    kept, ends = new[:size], old[size : size + 1] + new[size : size + 1]
    # Where terminals disagree about widths, nobody knows in which column the cursor is; nor is a link left open.
    if "\x1b]8" in kept or not (ends.isascii() and is_narrow(_visible(kept))):
        size, kept = 0, ""
    columns = len(_visible(kept))
    style = _last_style(kept)
    return "".join((
        "\r",
        f"\x1b[{columns}C" if columns else "",
        "" if _visible(new).startswith(_visible(old)) else "\x1b[K",
        f"\x1b[{style}m" if style else "",
        new[size:],
    ))  # fmt: skip


def _last_style(text: str) -> str:
    last = text.rfind("\x1b[")
    style = text[last + 2 : text.find("m", last)] if last >= 0 else ""
    return "" if style == "0" else style


def _visible(line: str) -> str:
    return _SEQUENCES.sub("", line)


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    count = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        count += 1
    return count


def _up(rows: int) -> str:
    return f"\r\x1b[{rows}A" if rows > 0 else "\r"
