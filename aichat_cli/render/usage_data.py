"""`aichat usage` for programs: the documented JSON shape, and the same fields as CSV (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from aichat_cli.billing.reports import ByConversation, ByModel, Overview, Period, Periodic
from aichat_cli.core.money import NANO_PER_DOLLAR, usd_number
from aichat_cli.core.periods import Days
from aichat_cli.render.sanitize import safe_line
from aichat_cli.storage.usage_reports import Sums

FORMULA_BEGINNINGS = tuple("=+-@\t\r＝＋－＠")  # noqa: RUF001 (spreadsheets take these for the plain ones)
MODEL_FIELDS = ("model", "provider")
CONVERSATION_FIELDS = ("conversation_id", "title")
_PERIOD_FIELDS = ("period", "first_day", "last_day")
_SUM_FIELDS = (
    "requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd",
    "unpriced", "estimated",
)  # fmt: skip

Fields = dict[str, Any]


def periodic(report: Periodic, asked: Days) -> Fields:
    """`usage daily`, `weekly` and `monthly`."""
    return _shape([_period(row) for row in report.rows], report.total, asked)


def daily(rows: Sequence[Period]) -> Fields:
    """`usage calendar`: the days with something in them, the last first."""
    used = [_period(row) for row in reversed(rows) if row.sums.requests]
    total = sum((row.sums for row in rows), Sums())
    return _shape(used, total, Days(rows[0].days.first, rows[-1].days.last))


def overview(report: Overview) -> Fields:
    """`usage`: the periods of the chart, the last first, and beside them the totals and models that it shows."""
    return {
        **daily(report.bars),
        "totals": [{"name": name, **_sums(sums)} for name, sums in report.headlines],
        "models": [{"model": row.model, "provider": row.provider, **_sums(row.sums)} for row in report.models],
    }


def models(report: ByModel, asked: Days) -> Fields:
    """`usage models`."""
    rows = [{**_days(asked), "model": row.model, "provider": row.provider, **_sums(row.sums)} for row in report.rows]
    return _shape(rows, report.total, asked)


def conversations(report: ByConversation, asked: Days) -> Fields:
    """`usage conversations`; the last row, without an id, is what belongs to none."""
    rows = [
        {**_days(asked), "conversation_id": row.conversation_id, "title": row.title, **_sums(row.sums)}
        for row in report.rows
    ]
    if report.others.requests:
        rows.append({**_days(asked), "conversation_id": None, "title": None, **_sums(report.others)})
    return _shape(rows, report.total, asked)


def as_csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """A header and the rows; no text in it can be run by a spreadsheet as a formula. `names` are fields of this report."""
    written = io.StringIO()
    fields = (*_PERIOD_FIELDS, *names, *_SUM_FIELDS)
    writer = csv.writer(written)
    writer.writerow(fields)
    writer.writerows([_cell(field, row[field]) for field in fields] for row in rows)
    return written.getvalue()


def _cell(field: str, value: object) -> object:
    if field == "cost_usd" and isinstance(value, float):
        nano = round(value * NANO_PER_DOLLAR)
        return f"{nano // NANO_PER_DOLLAR}.{nano % NANO_PER_DOLLAR:09d}"
    if not isinstance(value, str):
        return value
    text = safe_line(value)
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text


def _shape(rows: Sequence[Fields], total: Sums, asked: Days) -> Fields:
    return {"rows": list(rows), "total": {**_days(asked), **_sums(total)}}


def _days(days: Days) -> Fields:
    first, last = days.first.isoformat(), days.last.isoformat()
    return {"period": f"{first}/{last}", "first_day": first, "last_day": last}


def _period(row: Period) -> Fields:
    return {**_days(row.days), "period": row.label, **_sums(row.sums)}


def _sums(sums: Sums) -> Fields:
    is_unknown = 0 < sums.requests == sums.unpriced
    return {
        "requests": sums.requests,
        "input_tokens": sums.input_tokens,
        "cached_tokens": sums.cached_tokens,
        "cache_write_tokens": sums.cache_write_tokens,
        "output_tokens": sums.output_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "cost_usd": None if is_unknown else usd_number(sums.cost_nano),
        "unpriced": sums.unpriced,
        "estimated": sums.estimated,
    }
