"""Charts of characters: columns over time, a line of bars, and a calendar of shades. Whoever calls them says how wide.

Where there is no colour, shapes tell what colours would; a terminal that can do nothing gets ASCII.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from aichat_cli.core.struct import Struct
from aichat_cli.render.columns import painted
from aichat_cli.render.theme import Role, Theme

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MARGIN = len("Mon ")
WIDEST_SLOT = 4
_SQUARE, _SHADES, _ASCII_SHADES = "■", "·░▒▓█", ".-+*#"
_LEVELS = 4


class Look(Struct, frozen=True):
    """What there is to draw with: `theme` is None for text without any style."""

    width: int
    theme: Theme | None = None
    is_ascii: bool = False

    def style(self, role: Role) -> str:
        """The SGR parameters of a role, empty for none."""
        return self.theme.style(role) if self.theme else ""

    @property
    def steps(self) -> str:
        """Columns of growing height in one line; the last one fills it."""
        return ".:#" if self.is_ascii else "▁▂▃▄▅▆▇█"

    @property
    def rule(self) -> str:
        """What horizontal lines are made of."""
        return "-" if self.is_ascii else "─"


def sparkline(values: Sequence[int], look: Look) -> str:
    """One character for each value, as high as it is; a mark on the ground for zero."""
    return _row(values, max(values, default=0), 0, 1, look.steps).replace(" ", "_" if look.is_ascii else "·")


def length_bar(value: int, largest: int, width: int, look: Look) -> str:
    """A bar from the left, a part of `width` as `value` is of `largest`; never nothing for something."""
    eighths = "" if look.is_ascii else "▏▎▍▌▋▊▉"
    parts = -(-value * width * (len(eighths) + 1) // largest) if largest else 0
    full, rest = divmod(parts, len(eighths) + 1)
    return ("#" if look.is_ascii else "█") * full + (eighths[rest - 1] if rest else "")


def columns(values: Sequence[int], labels: Mapping[int, str], top: str, look: Look, *, height: int = 6) -> list[str]:
    """A column for each value above an axis. `labels` go below the columns of those positions, `top` beside the highest."""
    margin = len(top) + 1
    room = max(look.width - margin - 1, 1)
    first = max(len(values) - room, 0)
    values = values[first:]
    slot = min(max(room // max(len(values), 1), 1), WIDEST_SLOT)
    bar, gap = max(slot - 1, 1), " " * (slot > 1)
    upright, corner = ("|", "+") if look.is_ascii else ("│", "└")
    lines = []
    for level in range(height - 1, -1, -1):
        drawn = "".join(
            character * bar + gap for character in _row(values, max(values, default=0), level, height, look.steps)
        )
        side = painted(f"{top if level == height - 1 else '':>{margin - 1}} {upright}", look.style("border"))
        lines.append(side + painted(drawn.rstrip(), look.style("math")))
    axis = f"{'0':>{margin - 1}} {corner}{look.rule * (len(values) * slot)}"
    below = _placed({(at - first) * slot: text for at, text in labels.items() if at >= first}, room)
    return [*lines, painted(axis, look.style("border")), painted(" " * (margin + 1) + below, look.style("border"))]


def _row(values: Sequence[int], largest: int, level: int, height: int, steps: str) -> str:
    """One line of columns, `level` lines above the axis."""
    characters = " " + steps
    heights = [-(-value * height * len(steps) // largest) if largest else 0 for value in values]
    return "".join(characters[min(max(each - level * len(steps), 0), len(steps))] for each in heights)


def _placed(texts: Mapping[int, str], room: int) -> str:
    """Texts at their columns; one that has no room is left out."""
    line = ""
    for at, text in sorted(texts.items()):
        if at >= len(line) + bool(line) and at + len(text) <= room:
            line = line.ljust(at) + text
    return line


def calendar(days: Sequence[date], values: Sequence[int], look: Look) -> list[str]:
    """Weeks as columns, Monday to Sunday as rows, a shade for each value; in blocks where they are too many."""
    if not days:
        return []
    monday = days[0] - timedelta(days[0].weekday())
    weeks = (days[-1] - monday).days // 7 + 1
    slot = 2 if MARGIN + 2 * weeks - 1 <= look.width else 1
    most = max((look.width - MARGIN) // slot, 1)
    cells = dict(zip(days, _levels(values), strict=True))
    lines: list[str] = []
    for first in range(0, weeks, most):
        lines += [""] if lines else []
        lines += _block(monday + timedelta(7 * first), min(most, weeks - first), slot, cells, look)
    return [*lines, "", _legend(look)]


def _block(monday: date, weeks: int, slot: int, cells: Mapping[date, int], look: Look) -> list[str]:
    names: dict[int, str] = {}
    for week in range(weeks):
        for day in (monday + timedelta(7 * week + number) for number in range(7)):
            if day.day == 1 and day in cells:
                names[week * slot] = MONTHS[day.month - 1]
    lines = [painted(" " * MARGIN + _placed(names, min(weeks * slot + 2, look.width - MARGIN)), look.style("border"))]
    for number, name in enumerate(WEEKDAYS):
        row = [cells.get(monday + timedelta(7 * week + number)) for week in range(weeks)]
        shades = (" " * (slot - 1)).join(" " if level is None else _shade(level, look) for level in row)
        lines.append(painted(f"{name} ", look.style("border")) + shades.rstrip())
    return lines


def _levels(values: Sequence[int]) -> list[int]:
    """0 for nothing, else 1 to 4: which quarter of the days with something in them it belongs to."""
    some = sorted(value for value in values if value)
    borders = [some[len(some) * number // _LEVELS] for number in range(1, _LEVELS)] if some else []
    return [1 + sum(value >= border for border in borders) if value else 0 for value in values]


def _shade(level: int, look: Look) -> str:
    if look.is_ascii:
        return _ASCII_SHADES[level]
    if level == 0 or look.theme is None:
        return painted(_SHADES[level], look.style("border"))
    shades = look.theme.shades
    return painted(_SQUARE, shades[level - 1]) if shades else painted(_SHADES[level], look.style("math"))


def _legend(look: Look) -> str:
    shades = " ".join(_shade(level, look) for level in range(_LEVELS + 1))
    return f"{' ' * MARGIN}{painted('less', look.style('border'))} {shades} {painted('more', look.style('border'))}"
