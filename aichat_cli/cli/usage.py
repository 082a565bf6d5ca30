"""`aichat usage`: what was spent, by day, week, month, model and conversation."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from aichat_cli.billing import reports
from aichat_cli.billing.reports import Report, Stretch
from aichat_cli.cli.common import (
    LISTING_LIMIT,
    AllFlag,
    DebugFlag,
    JsonFlag,
    LimitOption,
    opened,
    single_command,
)
from aichat_cli.core import periods
from aichat_cli.core.errors import UsageError
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.storage.database import Database

app = single_command()

Name = Literal["overview", "daily", "weekly", "monthly", "models", "conversations", "calendar"]
UNITS: dict[str, periods.Unit] = {"daily": "day", "weekly": "week", "monthly": "month"}


@app.command()
def usage(
    report: Annotated[Name, typer.Argument(help="What to show.", metavar="[REPORT]")] = "overview",
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
        found = _report(report, database, asked, None if everything else limit)
        # Each way to show it is imported alone: a listing is mostly imports.
        if as_json:
            from aichat_cli.render import json_shapes, usage_data

            print_text(json_shapes.dumps(usage_data.fields(found, asked.days)))
        elif as_csv:
            from aichat_cli.render import usage_data

            print_text(usage_data.as_csv(found, asked.days))
        elif found.total.requests:
            from aichat_cli.render import usage_view

            usage_view.show(found, usage_view.look_for(house.settings))
        _tell(found, asked, diagnostics)


def _report(name: Name, database: Database, asked: Stretch, limit: int | None) -> Report:
    if name in UNITS:
        return reports.periodic(database, asked, UNITS[name], limit=limit)
    if name == "models":
        return reports.by_model(database, asked, limit=limit)
    if name == "conversations":
        return reports.by_conversation(database, asked, limit=limit)
    if name == "calendar":
        return reports.calendar(database, asked)
    return reports.overview(database, asked)


def _tell(found: Report, asked: Stretch, diagnostics: Diagnostics) -> None:
    """What stands in no table: that there is nothing, or more."""
    if found.is_cut:
        diagnostics.notice("There is more: --all shows it.")
    if found.total.requests:
        return
    if asked.is_chosen:
        diagnostics.notice("Nothing was used in that time.")
    else:
        diagnostics.notice('Nothing was used yet. Run: aichat "your question"')
