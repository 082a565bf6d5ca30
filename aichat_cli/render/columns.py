"""Tables that fit: columns laid out without Rich, whose import would cost a listing more than its query.

No line is ever wider than the screen. Where there is too little room, cells become shorter, then columns are left out,
then the flexible column is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

GAP = "  "
LEAST_FLEXIBLE = 16


@dataclass(frozen=True, slots=True)
class Column:
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
    if text.isascii():
        return len(text)
    from aichat_cli.render.markdown.cells import cells

    return cells(text)


def cut(text: str, width: int) -> str:
    """A text in at most so many cells, with an ellipsis where it was longer."""
    if width_of(text) <= width:
        return text
    if text.isascii():
        return f"{text[: max(width - 1, 0)]}…"[:width]
    from aichat_cli.render.markdown.cells import clusters

    kept, room = "", width - 1
    for cluster in clusters(text):
        room -= cluster.cells
        if room < 0:
            break
        kept = text[: cluster.end]
    return f"{kept}…"[: max(width, 0)] if width < 2 else f"{kept}…"


def fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns as there is room for them."""
    candidates = [list(columns), [replace(column, cells=column.short or column.cells) for column in columns]]
    for order in sorted({column.leaves for column in columns} - {0}):
        candidates.append([column for column in candidates[-1] if column.leaves != order])
    chosen = next((each for each in candidates if _least_width(each) <= width), candidates[-1])
    flexible = next((column for column in chosen if column.is_flexible), None)
    if flexible is None:
        return chosen
    room = max(width - _least_width([column for column in chosen if column is not flexible]) - len(GAP), 1)
    as_cut = replace(flexible, heading=cut(flexible.heading, room), cells=[cut(cell, room) for cell in flexible.cells])
    return [as_cut if column is flexible else column for column in chosen]


def _least_width(columns: Sequence[Column]) -> int:
    widths = [min(column.width, LEAST_FLEXIBLE) if column.is_flexible else column.width for column in columns]
    return sum(widths) + len(GAP) * (len(columns) - 1)


def table(
    columns: Sequence[Column], width: int, *, heading_style: str = "", rule: str = "-", has_total: bool = False
) -> list[str]:
    """The lines of a table. With `has_total` the last row stands below a rule."""
    shown = fitted(columns, width)
    widths = [column.width for column in shown]
    rows = [[column.heading for column in shown], *(list(row) for row in zip(*(c.cells for c in shown), strict=True))]
    lines = [_line(rows[0], shown, widths, width, [heading_style] * len(shown))]
    lines += [_line(row, shown, widths, width, [column.style for column in shown]) for row in rows[1:]]
    if has_total:
        lines.insert(-1, painted(rule * min(sum(widths) + len(GAP) * (len(widths) - 1), width), heading_style))
    return lines


def _line(
    row: Sequence[str], columns: Sequence[Column], widths: Sequence[int], width: int, styles: Sequence[str]
) -> str:
    parts, used = [], 0
    for cell, column, cell_width, style in zip(row, columns, widths, styles, strict=True):
        shown = cut(cell, width - used)
        blanks = " " * min(cell_width - width_of(cell), width - used - width_of(shown))
        parts.append(blanks + painted(shown, style) if column.is_number else painted(shown, style) + blanks)
        used += len(blanks) + width_of(shown)
        gap = GAP[: width - used]
        parts.append(gap)
        used += len(gap)
    return "".join(parts).rstrip()


def painted(text: str, style: str) -> str:
    """A text in a style, SGR parameters; as it is without one."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text.strip() else text
