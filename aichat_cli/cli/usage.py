"""`aichat usage`: what was spent, by day, week, month, model and conversation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import typer

from aichat_cli.cli.common import (
    LISTING_LIMIT,
    AllFlag,
    DebugFlag,
    JsonFlag,
    LimitOption,
    opened,
    single_command,
)
from aichat_cli.billing import reports
from aichat_cli.billing.reports import Stretch
from aichat_cli.core import periods
from aichat_cli.core.errors import UsageError
from aichat_cli.render import json_shapes, usage_data, usage_view
from aichat_cli.render.answer import print_text
from aichat_cli.render.charts import Look
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.storage.database import Database
from aichat_cli.storage.usage_reports import Sums

app = single_command()

Report = Literal["overview", "daily", "weekly", "monthly", "models", "conversations", "calendar"]
UNITS: dict[str, periods.Unit] = {"daily": "day", "weekly": "week", "monthly": "month"}


@dataclass(frozen=True, slots=True)
class _Made:
    """A report in the ways it can be shown. `is_cut` tells that --limit left rows out."""

    total: Sums
    fields: Callable[[], dict[str, Any]]
    draw: Callable[[Look], None]
    names: Sequence[str] = ()
    is_cut: bool = False


@app.command()
def usage(
    report: Annotated[Report, typer.Argument(help="What to show.", metavar="[REPORT]")] = "overview",
    since: Annotated[
        str | None, typer.Option(help="First day: 2026-11-01, 2026-11, 7d, 2w, 3m (ago), today, yesterday.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last day, all of it; written as for --since.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Whose days: UTC or a name such as Europe/Berlin; else this machine's.")
    ] = None,
    limit: LimitOption = LISTING_LIMIT,
    everything: AllFlag = False,
    as_json: JsonFlag = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Show what was used and spent: overview, daily, weekly, monthly, models, conversations or calendar."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        if as_json and as_csv:
            raise UsageError("--json and --csv exclude each other.")
        database = house.readable_database
        asked = reports.stretch(database, since, until, periods.zone(timezone) if timezone else None)
        made = _made(report, database, asked, None if everything else limit)
        if as_json:
            print_text(json_shapes.dumps(made.fields()))
        elif as_csv:
            print_text(usage_data.as_csv(made.fields()["rows"], made.names))
        elif made.total.requests:
            made.draw(usage_view.look_for(house.settings))
        _tell(made, asked, diagnostics)


def _made(report: Report, database: Database, asked: Stretch, limit: int | None) -> _Made:
    if report in UNITS:
        unit = UNITS[report]
        periodic = reports.periodic(database, asked, unit, limit=limit)
        return _Made(
            periodic.total,
            partial(usage_data.periodic, periodic, asked.days),
            partial(usage_view.periods, periodic, unit),
            is_cut=sum(row.sums.requests for row in periodic.rows) < periodic.total.requests,
        )
    if report == "models":
        by_model = reports.by_model(database, asked, limit=limit)
        return _Made(
            by_model.total,
            partial(usage_data.models, by_model, asked.days),
            partial(usage_view.models, by_model),
            usage_data.MODEL_FIELDS,
            is_cut=sum(row.sums.requests for row in by_model.rows) < by_model.total.requests,
        )
    if report == "conversations":
        talks = reports.by_conversation(database, asked, limit=limit)
        return _Made(
            talks.total,
            partial(usage_data.conversations, talks, asked.days),
            partial(usage_view.conversations, talks),
            usage_data.CONVERSATION_FIELDS,
            is_cut=sum((row.sums.requests for row in talks.rows), talks.others.requests) < talks.total.requests,
        )
    if report == "calendar":
        days = reports.calendar(database, asked)
        total = sum((day.sums for day in days), Sums())
        return _Made(total, partial(usage_data.daily, days), partial(usage_view.calendar, days))
    shown = reports.overview(database, asked)
    return _Made(shown.headlines[-1][1], partial(usage_data.overview, shown), partial(usage_view.overview, shown))


def _tell(made: _Made, asked: Stretch, diagnostics: Diagnostics) -> None:
    """What stands in no table: that there is nothing, or more."""
    if made.is_cut:
        diagnostics.notice("There is more: --all shows it.")
    if made.total.requests:
        return
    if asked.is_chosen:
        diagnostics.notice(f"Nothing was used from {asked.days.first} to {asked.days.last}.")
    else:
        diagnostics.notice('Nothing was used yet. Run: aichat "your question"')
