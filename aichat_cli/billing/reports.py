"""What was spent, as it is asked for: by day, week, month, model and conversation. Sums only; nothing is written.

Days are those of a zone, None being the machine's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta, tzinfo
from itertools import islice

from aichat_cli.core import periods
from aichat_cli.core.errors import UsageError
from aichat_cli.core.periods import Days, Unit
from aichat_cli.core.struct import Struct
from aichat_cli.storage import usage_reports
from aichat_cli.storage.database import Database
from aichat_cli.storage.usage_reports import ConversationSums, ModelSums, Sums, TimeRange

MOST_BARS = 31
OVERVIEW_DAYS = 30
CALENDAR_WEEKS = 53
TOP_MODELS = 5
_BATCH = 64


class Stretch(Struct, frozen=True):
    """The days a report is about. `is_chosen` tells that its user named them; `current` is today."""

    days: Days
    zone: tzinfo | None
    current: date
    is_chosen: bool

    def time(self, days: Days) -> TimeRange:
        """Some days as a stretch of UTC."""
        after = days.last + timedelta(1)
        return TimeRange(periods.begin_of(days.first, self.zone), periods.begin_of(after, self.zone))


class Period(Struct, frozen=True):
    """One day, week or month, as far as it was asked for."""

    label: str
    days: Days
    sums: Sums


class Periodic(Struct, frozen=True):
    """Periods in which something was used, the last first; `total` is that of all days, also of rows left out."""

    unit: Unit
    rows: Sequence[Period]
    total: Sums

    @property
    def is_cut(self) -> bool:
        """Whether rows were left out."""
        return sum(row.sums.requests for row in self.rows) < self.total.requests


class ByModel(Struct, frozen=True):
    """Models, the most expensive first; `total` is that of all, also of rows left out."""

    rows: Sequence[ModelSums]
    total: Sums
    is_cut: bool


class ByConversation(Struct, frozen=True):
    """Conversations, the most expensive first; `others` are the calls of deleted ones and of none."""

    rows: Sequence[ConversationSums]
    others: Sums
    total: Sums
    is_cut: bool


class Calendar(Struct, frozen=True):
    """Every day of some time, the first first, also those without a call."""

    days: Sequence[Period]
    total: Sums
    is_cut: bool = False


class Overview(Struct, frozen=True):
    """What people look at first.

    Attributes:
        headlines: totals under their names.
        bars: every period of the chart, the first first, also those without a call.
        models: the most expensive ones in the time of the chart.
    """

    headlines: Sequence[tuple[str, Sums]]
    unit: Unit
    bars: Sequence[Period]
    models: Sequence[ModelSums]
    is_cut: bool = False

    @property
    def total(self) -> Sums:
        """The last of the headlines, which is the widest."""
        return self.headlines[-1][1]


Report = Periodic | ByModel | ByConversation | Calendar | Overview


def stretch(db: Database, since: str | None, until: str | None, zone: tzinfo | None) -> Stretch:
    """The days from `since` to `until`, as they were typed; else from the first call to today.

    Raises:
        UsageError: one is no date, or they are the wrong way round.
    """
    current = periods.today(zone)
    known = usage_reports.extent(db)
    first = periods.days_meant(since, current).first if since else None
    last = periods.days_meant(until, current).last if until else None
    if first and first > (last or max(first, current)):
        raise UsageError(f"--since {since} is after --until {until}.")
    last = last or max(current, periods.day_of(known.end, zone) if known else current, first or current)
    first = first or min(last, periods.day_of(known.begin, zone) if known else last)
    return Stretch(Days(first, last), zone, current, is_chosen=bool(since or until))


def sums_of(db: Database, asked: Stretch, spans: Iterable[Days]) -> list[Sums]:
    """The sums of each span of days."""
    return usage_reports.sums(db, [asked.time(span) for span in spans])


def periodic(db: Database, asked: Stretch, unit: Unit, *, limit: int | None) -> Periodic:
    """The last days, weeks or months in which something was used; all of them where `limit` is None."""
    [total] = sums_of(db, asked, [asked.days])
    spans = periods.spans(asked.days, unit)
    rows: list[Period] = []
    missing = total.requests
    while missing > 0 and (limit is None or len(rows) < limit) and (batch := list(islice(spans, _BATCH))):
        found = _periods(db, asked, batch, unit)
        rows += [row for row in found if row.sums.requests]
        missing -= sum(row.sums.requests for row in found)
    return Periodic(unit, rows[:limit], total)


def by_model(db: Database, asked: Stretch, *, limit: int | None) -> ByModel:
    """The most expensive models; all of them where `limit` is None."""
    rows = usage_reports.by_model(db, asked.time(asked.days))
    return ByModel(rows[:limit], sum((row.sums for row in rows), Sums()), is_cut=len(rows[:limit]) < len(rows))


def by_conversation(db: Database, asked: Stretch, *, limit: int | None) -> ByConversation:
    """The most expensive conversations; all of them where `limit` is None."""
    rows, others = usage_reports.by_conversation(db, asked.time(asked.days))
    total = sum((row.sums for row in rows), others)
    return ByConversation(rows[:limit], others, total, is_cut=len(rows[:limit]) < len(rows))


def overview(db: Database, asked: Stretch) -> Overview:
    """Totals, a chart of the last thirty days or of the days asked for, and the models in it."""
    days = asked.days if asked.is_chosen else last_days(asked, OVERVIEW_DAYS)
    unit: Unit = "day" if len(days) <= MOST_BARS else "week" if len(days) <= 7 * MOST_BARS else "month"
    spans = list(islice(periods.spans(days, unit), MOST_BARS))[::-1]
    named = {f"{days.first} to {days.last}": days} if asked.is_chosen else _headlines(asked)
    with db.snapshot():
        totals = sums_of(db, asked, named.values())
        bars = _periods(db, asked, spans, unit)
        models = usage_reports.by_model(db, asked.time(days))
    return Overview(list(zip(named, totals, strict=True)), unit, bars, models[:TOP_MODELS])


def last_days(asked: Stretch, count: int) -> Days:
    """Today and the days before it, so many in all."""
    return Days(asked.current - timedelta(count - 1), asked.current)


def this_month(asked: Stretch) -> Days:
    """The days of the month until today."""
    return Days(periods.span_of(asked.current, "month").first, asked.current)


def daily(db: Database, asked: Stretch, days: Days) -> list[Period]:
    """Every one of some days, the first first, also those without a call."""
    return _periods(db, asked, [Days(day, day) for day in days], "day")


def calendar(db: Database, asked: Stretch) -> Calendar:
    """Every day asked for, else those of the last year, from a Monday on."""
    monday = asked.current - timedelta(asked.current.weekday() + 7 * (CALENDAR_WEEKS - 1))
    days = daily(db, asked, asked.days if asked.is_chosen else Days(monday, asked.current))
    return Calendar(days, sum((day.sums for day in days), Sums()))


def _headlines(asked: Stretch) -> dict[str, Days]:
    today = Days(asked.current, asked.current)
    return {
        "today": today,
        "last 7 days": last_days(asked, 7),
        "this month": this_month(asked),
        "all time": asked.days,
    }


def _periods(db: Database, asked: Stretch, spans: Sequence[Days], unit: Unit) -> list[Period]:
    found = sums_of(db, asked, spans)
    return [Period(periods.label(span.first, unit), span, total) for span, total in zip(spans, found, strict=True)]
