"""`aichat usage` for people: tables, the overview with its charts, the calendar. Every name in it is made safe.

On a terminal nothing is wider than it is. Into a pipe a table is tab-separated lines with every column.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence

from aichat_cli.billing.reports import ByConversation, ByModel, Calendar, Overview, Period, Periodic, Report
from aichat_cli.config.settings import Settings
from aichat_cli.core.money import usd_text
from aichat_cli.core.periods import Unit
from aichat_cli.core.struct import replace
from aichat_cli.render import charts
from aichat_cli.render.answer import print_text, write_all
from aichat_cli.render.charts import Look
from aichat_cli.render.columns import Column, painted, table
from aichat_cli.render.sanitize import safe_line
from aichat_cli.render.theme import theme_for
from aichat_cli.storage.usage import Totals
from aichat_cli.storage.usage_reports import ModelSums, Sums

SHORT_ID = 13
SHARE_BAR = 10
CHAT_MARGIN = 15
MONTHS_NAMED = 12
UNITS = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k"))
OUTSIDE = "no chat, or deleted"
PRICE_COMMAND = "aichat models price MODEL --input 1 --output 2"


def look_for(settings: Settings) -> Look:
    """What stdout can show.

    Raises:
        ConfigError: the theme cannot be used.
    """
    is_dumb = os.environ.get("TERM") == "dumb"
    theme = theme_for(settings) if sys.stdout.isatty() and not is_dumb else None
    return Look(shutil.get_terminal_size().columns, theme, is_ascii=is_dumb)


def show(report: Report, look: Look) -> None:
    """Print a report in which there is something."""
    if isinstance(report, Periodic):
        _periods(report, look)
    elif isinstance(report, ByModel):
        _models(report, look)
    elif isinstance(report, ByConversation):
        _conversations(report, look)
    elif isinstance(report, Calendar):
        _calendar(report, look)
    else:
        _overview(report, look)


def _periods(report: Periodic, look: Look) -> None:
    sums = [row.sums for row in report.rows]
    names = [Column(report.unit, [row.label for row in report.rows])]
    if report.unit == "week":
        names.append(Column("from", [row.days.first.isoformat() for row in report.rows], leaves=2))
    _print_table(names, sums, report.total, look)


def _models(report: ByModel, look: Look) -> None:
    rows = report.rows
    names = [
        Column("model", [safe_line(row.model) for row in rows], is_flexible=True),
        Column("provider", [safe_line(row.provider) for row in rows], leaves=1),
    ]
    sums = [row.sums for row in rows]
    _print_table(names, sums, report.total, look, is_shared=True)


def _conversations(report: ByConversation, look: Look) -> None:
    rows = report.rows
    ids = [safe_line(row.conversation_id[:SHORT_ID]) for row in rows]
    titles = [safe_line(row.title) for row in rows]
    sums = [row.sums for row in rows]
    if report.others.requests:
        ids, titles, sums = [*ids, "-"], [*titles, OUTSIDE], [*sums, report.others]
    _print_table([Column("id", ids, leaves=3), Column("title", titles, is_flexible=True)], sums, report.total, look)


def _overview(report: Overview, look: Look) -> None:
    value, what = _measure([bar.sums for bar in report.bars])
    headlines = [sums for _, sums in report.headlines]
    named = Column("", [name for name, _ in report.headlines])
    lines = table(
        [named, *_numbers(headlines, look)], look.width, heading_style=look.style("border"), is_ascii=look.is_ascii
    )
    first, last = report.bars[0].days.first, report.bars[-1].days.last
    title = f"{len(report.bars)} {report.unit}s to {last}" if len(report.bars) > 1 else str(first)
    lines += ["", painted(f"{title}, by {what}", look.style("header"))]
    values = [value(bar.sums) for bar in report.bars]
    top = _amount(max(values), what)
    lines += charts.columns(values, _ticks(report.bars, report.unit), top, look)
    if report.models:
        lines += ["", *_top_models(report.models, look)]
    _print(lines + _footnotes(headlines[-1], look.width))


def _calendar(report: Calendar, look: Look) -> None:
    days, total = report.days, report.total
    value, what = _measure([day.sums for day in days])
    values = [value(day.sums) for day in days]
    busiest = max(range(len(days)), key=values.__getitem__)
    used = sum(1 for day in days if day.sums.requests)
    lines = [painted(f"{days[0].days.first} to {days[-1].days.last}, by {what}", look.style("header")), ""]
    lines += charts.calendar([day.days.first for day in days], values, look)
    lines += [
        "",
        f"{_amount(value(total), what)} on {used:,} of {len(days):,} days",
        f"most: {_amount(values[busiest], what)} on {days[busiest].days.first:%a} {days[busiest].label}",
    ]
    _print(lines + _footnotes(total, look.width))


def chat_text(chat: Totals | None, month: Sums, days: Sequence[Sums]) -> str:
    """`/usage`: a conversation, today, this month, and the last days, of which the last is today."""
    lines = [("today", cost_text(days[-1])), ("this month", cost_text(month))]
    if chat is not None:
        cost = "unknown: a model in it has no price" if chat.cost_nano is None else usd_text(chat.cost_nano)
        cached = f"({chat.cached_tokens:,} cached)"
        calls = "1 call" if chat.calls == 1 else f"{chat.calls:,} calls"
        tokens = f"{chat.input_tokens:,} tokens in {cached}, {chat.output_tokens:,} out, {calls}"
        lines = [("this chat", cost), ("", tokens), *lines]
    value, what = _measure(days)
    values = [value(each) for each in days]
    if any(values):
        look = Look(len(days), is_ascii=os.environ.get("TERM") == "dumb")
        lines.append((f"{len(days)} days", f"{charts.sparkline(values, look)}  most: {_amount(max(values), what)}"))
    return "\n".join(f"{name:<{CHAT_MARGIN}}{text}" for name, text in lines)


def cost_text(sums: Sums) -> str:
    """Such as `$1.20`, `$1.20+` where calls without a known price come on top, `?` where all are such."""
    if sums.unpriced and sums.unpriced == sums.requests:
        return "?"
    return usd_text(sums.cost_nano) + "+" * bool(sums.unpriced)


def compact(number: int) -> str:
    """A number in at most six characters: `9,999`, `12.3k`, `1.2M`."""
    for size, unit in UNITS:
        if number >= (10 * size if unit == "k" else size):
            return f"{number / size:.{1 if number < 100 * size else 0}f}{unit}"
    return f"{number:,}"


def _measure(sums: Sequence[Sums]) -> tuple[Callable[[Sums], int], str]:
    """What a chart shows, and its name: cost, or tokens where nothing costs."""
    if any(each.cost_nano for each in sums):
        return (lambda each: each.cost_nano), "cost"
    return (lambda each: each.tokens), "tokens"


def _amount(value: int, what: str) -> str:
    return usd_text(value) if what == "cost" else compact(value)


def _ticks(bars: Sequence[Period], unit: Unit) -> dict[int, str]:
    """Below the chart: Mondays, or the beginnings of months or years."""
    ticks = {}
    for at, bar in enumerate(bars):
        day = bar.days.first
        month = charts.MONTHS[day.month - 1]
        if unit == "day" and (day.weekday() == 0 or len(bars) < 7):
            ticks[at] = f"{month} {day.day}"
        elif unit == "week" and bar.days.last.day <= 7:
            ticks[at] = charts.MONTHS[bar.days.last.month - 1]
        elif unit == "month" and day.month == 1:
            ticks[at] = str(day.year)
        elif unit == "month" and len(bars) <= MONTHS_NAMED:
            ticks[at] = month
    return ticks


def _top_models(rows: Sequence[ModelSums], look: Look) -> list[str]:
    value, _ = _measure([row.sums for row in rows])
    most = max(value(row.sums) for row in rows)
    bars = [charts.length_bar(value(row.sums), most, SHARE_BAR, look) for row in rows]
    named = [
        Column("model", [safe_line(row.model) for row in rows], is_flexible=True),
        Column("", bars, leaves=1, style=look.style("math")),
    ]
    numbers = _numbers([row.sums for row in rows], look)
    return table([*named, *numbers], look.width, heading_style=look.style("border"), is_ascii=look.is_ascii)


def _numbers(sums: Sequence[Sums], look: Look) -> list[Column]:
    """The columns that every table has."""
    return [
        Column(
            "calls", [f"{each.requests:,}" for each in sums], [compact(each.requests) for each in sums], True, leaves=4
        ),
        _tokens("in", [each.input_tokens for each in sums], sums),
        _tokens("cached", [each.cached_tokens for each in sums], sums, leaves=1),
        _tokens("out", [each.output_tokens for each in sums], sums),
        Column("cost", [cost_text(each) for each in sums], is_number=True, style=look.style("math")),
    ]


def _tokens(heading: str, counts: Sequence[int], sums: Sequence[Sums], *, leaves: int = 5) -> Column:
    marks = ["~" if each.estimated and count else "" for each, count in zip(sums, counts, strict=True)]
    full = [f"{mark}{count:,}" for mark, count in zip(marks, counts, strict=True)]
    short = [f"{mark}{compact(count)}" for mark, count in zip(marks, counts, strict=True)]
    return Column(heading, full, short, is_number=True, leaves=leaves)


def _print_table(
    names: Sequence[Column], sums: Sequence[Sums], total: Sums, look: Look, *, is_shared: bool = False
) -> None:
    if not sys.stdout.isatty():
        columns = [*names, *_numbers(sums, look)]
        cells = [[c.replace(",", "") for c in column.cells] if column.is_number else column.cells for column in columns]
        print_text("".join("\t".join(row) + "\n" for row in zip(*cells, strict=True)))
        return
    # The flexible column is there in any width, the others may be left out.
    at = next((at for at, column in enumerate(names) if column.is_flexible), 0)
    below = [
        replace(column, cells=[*column.cells, "total" if number == at else ""]) for number, column in enumerate(names)
    ]
    columns = [*below, *_numbers([*sums, total], look)]
    if is_shared:
        columns.append(_shares(sums, look))
    lines = table(columns, look.width, heading_style=look.style("border"), is_ascii=look.is_ascii, has_total=True)
    _print(lines + _footnotes(total, look.width))


def _shares(sums: Sequence[Sums], look: Look) -> Column:
    value, _ = _measure(sums)
    most = max(map(value, sums), default=0)
    bars = [charts.length_bar(value(each), most, SHARE_BAR, look) for each in sums]
    return Column("", [*bars, ""], leaves=1, style=look.style("math"))


def _notes(total: Sums) -> list[str]:
    """What a reader of these sums has to know."""
    notes = []
    if total.unpriced:
        calls = "1 call has" if total.unpriced == 1 else f"{total.unpriced:,} calls have"
        notes.append(
            f"+ {calls} no known price and nothing is counted for them."
            f" What a model costs per million tokens is set by: {PRICE_COMMAND}"
        )
    if total.estimated:
        calls = "1 call was" if total.estimated == 1 else f"{total.estimated:,} calls were"
        notes.append(f"~ {calls} cut off before the provider had counted: those tokens are estimated.")
    return notes


def _footnotes(total: Sums, width: int) -> list[str]:
    notes = _notes(total)
    if not notes:
        return []
    from textwrap import TextWrapper

    wrapper = TextWrapper(max(width, 1), subsequent_indent="  ", break_on_hyphens=False)
    return ["", *(line for note in notes for line in wrapper.wrap(note))]


def _print(lines: Sequence[str]) -> None:
    # Bytes, so that a terminal whose encoding is not UTF-8 cannot make it fail.
    write_all(sys.stdout.buffer, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
