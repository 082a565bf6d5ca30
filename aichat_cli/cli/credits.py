"""`aichat credits`: the balance, the ledger, and buying more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from aichat_cli.billing.overview import overview
from aichat_cli.cli import credits_buy, credits_hosted
from aichat_cli.cli.common import LISTING_LIMIT, AllFlag, DebugFlag, JsonFlag, LimitOption, command_group, opened
from aichat_cli.cli.credits_hosted import LocalFlag
from aichat_cli.core.clock import utc_text
from aichat_cli.core.errors import UsageError
from aichat_cli.render import credits_view, json_shapes, tables
from aichat_cli.render.answer import print_text
from aichat_cli.storage import accounts, statements

app = command_group("The balance of credits, the plan, the calls left and the last entries; buying more.")

RECENT = 5

Moment = Annotated[str | None, typer.Option(metavar="DATE", help="A day such as 2026-11-01, or a time of it.")]


@app.callback(invoke_without_command=True, no_args_is_help=False)
def show(context: typer.Context, local: LocalFlag = None, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show the balance, what is held of it, the plan, who pays, the calls left, and the last entries.

    While you are logged in to a gateway it is your account there that is shown, and that credits are bought for; --local
    means the profile on this machine, whose history and statement are told here.
    """
    if context.invoked_subcommand is not None:
        return
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        if credits_hosted.is_meant(house, local=local):
            credits_hosted.show(house, diagnostics)
            return
        shown = overview(house.readable_database, house.settings.text("billing.mode"), recent=RECENT)
        if as_json:
            print_text(json_shapes.dumps(credits_view.overview(shown)))
        else:
            credits_view.print_overview(shown)


@app.command()
def history(
    limit: LimitOption = LISTING_LIMIT, everything: AllFlag = False, as_json: JsonFlag = False, debug: DebugFlag = False
) -> None:
    """List the ledger, newest first, with balances."""
    with opened(as_json=as_json, debug=debug) as (house, _):
        listed = accounts.entries(house.readable_database, limit=None if everything else limit)
        if as_json:
            print_text(json_shapes.dumps(credits_view.entries(listed)))
        else:
            tables.credit_entries(listed)


@app.command()
def statement(since: Moment = None, until: Moment = None, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Sum up a period, and say whether it reconciles.

    Opening balance, grants, purchases, refunds, charges and closing balance, beside what the charged calls cost.
    """
    with opened(as_json=as_json, debug=debug) as (house, _):
        begin, end = _stored(since, "--since"), _stored(until, "--until", is_end=True)
        if begin and end and begin >= end:
            raise UsageError("--since is not before --until.")
        made = statements.statement(house.readable_database, since=begin, until=end)
        if as_json:
            print_text(json_shapes.dumps(credits_view.statement(made)))
        else:
            credits_view.print_statement(made)


def _stored(typed: str | None, option: str, *, is_end: bool = False) -> str | None:
    """A day or time of the user's own zone as a stored time; a day that is an end is meant to its last moment."""
    if typed is None:
        return None
    try:
        moment = datetime.fromisoformat(typed)
        if is_end and len(typed) <= len("2026-11-01"):
            moment += timedelta(days=1)
        return utc_text(round(moment.astimezone().timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise UsageError(f'{option} cannot be "{typed}": it takes a day such as 2026-11-01.') from None


app.command("buy")(credits_buy.buy)
