"""Tables that fit: columns laid out without Rich, whose import would cost a listing more than its query.

No line is ever wider than the screen. Where there is too little room, cells become shorter, then columns are left out,
then the flexible column is cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aichat_cli.core.struct import Struct, replace

GAP = "  "
LEAST_FLEXIBLE = 20
_NARROW = re.compile("[ -~\u2026\u2580-\u258f]*")
"""ASCII, the ellipsis and the bars: one cell each, which the width of anything else is imported to find out."""


class Column(Struct, frozen=True):
    """One column; its cells are safe lines.

    Attributes:
        short: the same cells in less room.
        is_flexible: cells may be cut, with an ellipsis.
        leaves: columns are left out in this order; 0 is never.
        style: SGR parameters of its cells.
    """

    heading: str
    cells: Sequence[str]
    short: Sequence[str] | None = None
    is_number: bool = False
    is_flexible: bool = False
    leaves: int = 0
    style: str = ""

    @property
    def width(self) -> int:
        """What its widest cell takes."""
        return max(map(width_of, (self.heading, *self.cells)))


def width_of(text: str) -> int:
    """How many cells of a terminal a text takes."""
    if _NARROW.fullmatch(text):
        return len(text)
    from aichat_cli.render.markdown.cells import cells

    return cells(text)


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """A text in at most so many cells, with an ellipsis where it was longer."""
    if width_of(text) <= width:
        return text
    room = width - len(ellipsis)
    if room <= 0:
        return ellipsis[: max(width, 0)]
    if text.isascii():
        return text[:room] + ellipsis
    from aichat_cli.render.markdown.cells import clusters

    end = 0
    for cluster in clusters(text):
        room -= cluster.cells
        if room < 0:
            break
        end = cluster.end
    return text[:end] + ellipsis


def fitted(columns: Sequence[Column], width: int, ellipsis: str) -> list[Column]:
    """The columns as there is room for them."""
    candidates = [list(columns), [replace(column, cells=column.short or column.cells) for column in columns]]
    for order in sorted({column.leaves for column in columns} - {0}):
        candidates.append([column for column in candidates[-1] if column.leaves != order])
    chosen = next((each for each in candidates if _least_width(each) <= width), candidates[-1])
    flexible = next((column for column in chosen if column.is_flexible), None)
    if flexible is None:
        return chosen
    room = max(width - _least_width([column for column in chosen if column is not flexible]) - len(GAP), 1)
    as_cut = replace(
        flexible,
        heading=cut(flexible.heading, room, ellipsis),
        cells=[cut(cell, room, ellipsis) for cell in flexible.cells],
    )
    return [as_cut if column is flexible else column for column in chosen]


def _least_width(columns: Sequence[Column]) -> int:
    widths = [min(column.width, LEAST_FLEXIBLE) if column.is_flexible else column.width for column in columns]
    return sum(widths) + len(GAP) * (len(columns) - 1)


def table(
    columns: Sequence[Column], width: int, *, heading_style: str = "", is_ascii: bool = False, has_total: bool = False
) -> list[str]:
    """The lines of a table. With `has_total` the last row stands below a rule."""
    ellipsis = "..." if is_ascii else "…"
    shown = fitted(columns, width, ellipsis)
    widths = [column.width for column in shown]
    headings = [replace(column, cells=[column.heading], style=heading_style) for column in shown]
    lines = [_line(headings, 0, widths, width, ellipsis)]
    lines += [_line(shown, row, widths, width, ellipsis) for row in range(len(columns[0].cells))]
    if has_total:
        rule = ("-" if is_ascii else "─") * min(sum(widths) + len(GAP) * (len(widths) - 1), width)
        lines.insert(-1, painted(rule, heading_style))
    return lines


def _line(columns: Sequence[Column], row: int, widths: Sequence[int], width: int, ellipsis: str) -> str:
    """One row. What is over at the right, on a screen too narrow for any of this, is cut off."""
    parts, room = [], width
    for column, cell_width in zip(columns, widths, strict=True):
        cell = cut(column.cells[row], room, ellipsis)
        blanks = " " * min(cell_width - width_of(cell), room - width_of(cell))
        text = painted(cell, column.style)
        gap = GAP[: room - width_of(cell) - len(blanks)]
        parts += [blanks, text, gap] if column.is_number else [text, blanks, gap]
        room -= width_of(cell) + len(blanks) + len(gap)
    return "".join(parts).rstrip()


def painted(text: str, style: str) -> str:
    """A text in a style, SGR parameters; as it is without one."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text.strip() else text
