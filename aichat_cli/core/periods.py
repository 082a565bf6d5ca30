"""Days, weeks and months as people have them: in their own zone, with its summer time, as stretches of UTC.

A zone is None for the machine's own. A day begins at its midnight; where the clock jumps over that, when it jumps. Weeks
begin on Monday.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

from aichat_cli.core.errors import UsageError
from aichat_cli.core.struct import Struct

Unit = Literal["day", "week", "month"]

FIRST_YEAR, LAST_YEAR = 1970, 2099
"""Days outside of these are typing errors, and a calendar of them would have no end."""
_AGO = re.compile(r"(\d{1,4})([dwm])")
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_EXAMPLES = "Write 2026-11-01, 2026-11, 7d, 2w, 3m, today or yesterday"


class Days(Struct, frozen=True):
    """Some days in a row, `last` among them; none where it is before `first`."""

    first: date
    last: date

    def __iter__(self) -> Iterator[date]:
        for number in range(len(self)):
            yield self.first + timedelta(number)

    def __len__(self) -> int:
        return max((self.last - self.first).days + 1, 0)


def zone(name: str) -> tzinfo:
    """The zone of an IANA name, or `UTC`.

    Raises:
        UsageError: there is no such zone, or no time zone data on this machine.
    """
    if name.upper() in {"UTC", "Z"}:
        return UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    import difflib

    names = {each.lower(): each for each in zoneinfo.available_timezones()}
    if not names:
        raise UsageError("This machine has no time zone data.", hint="Run: pip install tzdata, or use --timezone UTC")
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), names, n=1)
    raise UsageError(
        f'There is no time zone "{name}".',
        hint=f"Did you mean {names[near[0]]}?" if near else "Write UTC or a name such as Europe/Berlin",
    )


def today(at: tzinfo | None) -> date:
    """The day it is there."""
    return datetime.now(UTC).astimezone(at).date()


def day_of(moment: str, at: tzinfo | None) -> date:
    """The day of a stored UTC time."""
    return datetime.fromisoformat(moment).astimezone(at).date()


def begin_of(day: date, at: tzinfo | None) -> str:
    """When a day begins, as UTC times are stored."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=at)
    return midnight.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def days_meant(text: str, current: date) -> Days:
    """The days that a text of `--since` or `--until` names: one, or those of a month or a year.

    Args:
        current: what `today` is. `7d`, `2w` and `3m` are the day so long before it.

    Raises:
        UsageError: it names none.
    """
    wanted = text.strip().lower()
    if wanted in {"today", "yesterday"}:
        day = current - timedelta(wanted == "yesterday")
        return Days(day, day)
    ago, written = _AGO.fullmatch(wanted), _DATE.fullmatch(wanted)
    try:
        if ago:
            day = _before(current, int(ago[1]), ago[2])
            return Days(_checked(day), day)
        if written is None:
            raise ValueError(text)
        year, month, number = (int(part or 1) for part in written.groups())
        first = _checked(date(year, month, number))
    except ValueError:
        raise UsageError(f'"{text}" is no date.', hint=_EXAMPLES) from None
    if written[3]:
        return Days(first, first)
    return Days(first, _end_of_month(first) if written[2] else date(year, 12, 31))


def _checked(day: date) -> date:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(day)
    return day


def _before(day: date, count: int, unit: str) -> date:
    if unit != "m":
        return day - timedelta(count * (7 if unit == "w" else 1))
    months = day.year * 12 + day.month - 1 - count
    year, month = months // 12, months % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _end_of_month(day: date) -> date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def span_of(day: date, unit: Unit) -> Days:
    """The day, week or month that a day is in."""
    if unit == "day":
        return Days(day, day)
    if unit == "week":
        monday = day - timedelta(day.weekday())
        return Days(monday, monday + timedelta(6))
    return Days(day.replace(day=1), _end_of_month(day))


def spans(days: Days, unit: Unit) -> Iterator[Days]:
    """The days, weeks or months of a stretch, the last first; those at its ends only as far as it goes."""
    day = days.last
    while day >= days.first:
        span = span_of(day, unit)
        first = max(span.first, days.first)
        yield Days(first, min(span.last, days.last))
        day = first - timedelta(1)


def label(day: date, unit: Unit) -> str:
    """The name of the day, week or month a day is in: `2026-11-28`, `2026-W48`, `2026-11`."""
    if unit == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    return day.isoformat()[: 7 if unit == "month" else 10]
