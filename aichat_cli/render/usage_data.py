"""`aichat usage` for programs: the documented JSON shape, and the same fields as CSV (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from aichat_cli.billing.reports import ByConversation, ByModel, Calendar, Period, Periodic, Report
from aichat_cli.core.money import NANO_PER_DOLLAR, usd_number
from aichat_cli.core.periods import Days
from aichat_cli.render.sanitize import safe_line
from aichat_cli.storage.usage_reports import ModelSums, Sums

FORMULA_BEGINNINGS = tuple("=+-@\t\r＝＋－＠")  # noqa: RUF001 (spreadsheets take these for the plain ones)
_PERIOD_FIELDS = ("period", "first_day", "last_day")
_MODEL_FIELDS = ("model", "provider")
_CONVERSATION_FIELDS = ("conversation_id", "title")
_SUM_FIELDS = (
    "requests", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd",
    "unpriced", "estimated",
)  # fmt: skip

Fields = dict[str, Any]


def fields(report: Report, asked: Days) -> Fields:
    """A report as `--json` prints it. `asked` are the days it is about."""
    if isinstance(report, Periodic):
        return _shape([_period(row) for row in report.rows], report.total, asked)
    if isinstance(report, ByModel):
        return _shape([{**_days(asked), **_model(row)} for row in report.rows], report.total, asked)
    if isinstance(report, ByConversation):
        rows = [_conversation(row.conversation_id, row.title, row.sums, asked) for row in report.rows]
        rows += [_conversation(None, None, report.others, asked)] if report.others.requests else []
        return _shape(rows, report.total, asked)
    if isinstance(report, Calendar):
        return _daily(report.days)
    return {
        **_daily(report.bars),
        "totals": [{"name": name, **_sums(sums)} for name, sums in report.headlines],
        "models": [_model(row) for row in report.models],
    }


def as_csv(report: Report, asked: Days) -> str:
    """A header, and the rows that `--json` has; no text in it can be run by a spreadsheet as a formula."""
    extra = _MODEL_FIELDS if isinstance(report, ByModel) else ()
    extra = _CONVERSATION_FIELDS if isinstance(report, ByConversation) else extra
    names = (*_PERIOD_FIELDS, *extra, *_SUM_FIELDS)
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(names)
    writer.writerows([_cell(name, row[name]) for name in names] for row in fields(report, asked)["rows"])
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


def _daily(rows: Sequence[Period]) -> Fields:
    used = [_period(row) for row in reversed(rows) if row.sums.requests]
    total = sum((row.sums for row in rows), Sums())
    return _shape(used, total, Days(rows[0].days.first, rows[-1].days.last))


def _model(row: ModelSums) -> Fields:
    return {"model": row.model, "provider": row.provider, **_sums(row.sums)}


def _conversation(conversation_id: str | None, title: str | None, sums: Sums, asked: Days) -> Fields:
    return {**_days(asked), "conversation_id": conversation_id, "title": title, **_sums(sums)}


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
