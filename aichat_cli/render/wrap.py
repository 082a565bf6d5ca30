"""Plain text wrapped to the width of a terminal, in cells."""

from __future__ import annotations

from functools import cache
from typing import Any


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a safe text, each at most `width` cells, broken at blanks where there are any."""
    from rich.cells import cell_len
    from rich.text import Text

    lines: list[str] = []
    for line in text.expandtabs(4).split("\n"):
        if cell_len(line) <= width:
            lines.append(line)
        else:
            lines += [piece.plain.rstrip() for piece in Text(line).wrap(_console(), width)]
    return lines


@cache
def _console() -> Any:
    from rich.console import Console

    return Console()
