"""`aichat users`: who may use the gateway, on which plan, with how many credits, and what was done about it."""

from __future__ import annotations

from typing import Annotated

import typer

from aichat_cli.accounts.protocol import Users
from aichat_cli.cli.common import LISTING_LIMIT, AllFlag, DebugFlag, JsonFlag, LimitOption, command_group
from aichat_cli.cli.operator import DatabaseOption, accounts, actor, plan_of, user_of
from aichat_cli.core.accounts import User
from aichat_cli.core.errors import UsageError
from aichat_cli.core.ids import new_id
from aichat_cli.render import accounts_view, json_shapes
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics

app = command_group("People with an account on the gateway: their plans, credits and keys.")

MOST_CREDITS = 100_000_000

Name = Annotated[str, typer.Argument(help="The user's name.", metavar="NAME")]


@app.command()
def create(
    name: Name,
    email: Annotated[str | None, typer.Option("--email", help="Their address, for you to find them by.")] = None,
    plan: Annotated[str, typer.Option("--plan", help="free, pro or enterprise.")] = "free",
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Create a user, with 100 credits. The database is set up where it is empty yet."""
    if email is not None and ("@" not in email or any(char.isspace() or not char.isprintable() for char in email)):
        raise UsageError("--email is not an address of e-mail.")
    chosen = plan_of(plan)
    with accounts(database, as_json=as_json, debug=debug, prepares=True) as (users, diagnostics):
        made = users.create_user(name, email=email, plan=chosen, actor=actor())
        diagnostics.notice(f"Created {made.name}, on the {made.plan} plan. Next: aichat api-keys create {made.name}")
        _print_row(made, as_json=as_json)


@app.command("list")
def list_(
    limit: LimitOption = LISTING_LIMIT,
    everything: AllFlag = False,
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List users with their credits, plans and keys."""
    with accounts(database, as_json=as_json, debug=debug) as (users, diagnostics):
        listed = users.users(limit=None if everything else limit)
        if as_json:
            print_text(json_shapes.dumps([accounts_view.user_row(user) for user in listed]))
        elif listed:
            accounts_view.print_users(listed)
        else:
            diagnostics.notice("There is no user yet. Run: aichat users create NAME")


@app.command()
def show(name: Name, database: DatabaseOption = None, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show one user, and their keys."""
    with accounts(database, as_json=as_json, debug=debug) as (users, _):
        user = user_of(users, name)
        keys = users.keys(user_id=user.id)
        if as_json:
            rows = [accounts_view.key_row(key) for key in keys]
            print_text(json_shapes.dumps({**accounts_view.user_row(user), "api_keys": rows}))
        else:
            accounts_view.print_user(user, keys)


@app.command()
def plan(
    name: Name,
    new_plan: Annotated[str, typer.Argument(help="free, pro or enterprise.", metavar="PLAN")],
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Put a user on a plan, from their next call on."""
    chosen = plan_of(new_plan)
    with accounts(database, as_json=as_json, debug=debug) as (users, diagnostics):
        user = user_of(users, name)
        users.set_plan(user.id, chosen, actor=actor())
        _told(users, user, f"{user.name} is on the {chosen} plan.", diagnostics)


@app.command()
def grant(
    name: Name,
    amount: Annotated[int, typer.Argument(help="How many, whole.", metavar="CREDITS", min=1, max=MOST_CREDITS)],
    ref: Annotated[
        str | None, typer.Option("--ref", help="What it is for: the same ref gives to the same user once only.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Give a user credits."""
    with accounts(database, as_json=as_json, debug=debug) as (users, diagnostics):
        user = user_of(users, name)
        is_new = users.grant(user.id, amount, ref=f"operator:{user.id}:{ref or new_id()}", actor=actor())
        now = users.user(user.id)
        has = accounts_view.balance_text(now)
        done = f"Gave {user.name} {amount:,} credits" if is_new else f'"{ref}" was given to {user.name} before'
        diagnostics.notice(f"{done}; they have {has}.")
        if as_json:
            print_text(json_shapes.dumps({**accounts_view.user_row(now), "granted": amount if is_new else 0}))


@app.command()
def suspend(name: Name, database: DatabaseOption = None, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Refuse a user's keys from their next call on; calls under way end as they would have."""
    _suspended(name, database, True, as_json=as_json, debug=debug)


@app.command()
def resume(name: Name, database: DatabaseOption = None, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Take a suspended user's keys again."""
    _suspended(name, database, False, as_json=as_json, debug=debug)


@app.command()
def audit(
    name: Annotated[str | None, typer.Argument(help="Only what concerns this user.", metavar="[NAME]")] = None,
    limit: LimitOption = LISTING_LIMIT,
    everything: AllFlag = False,
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List what was done to accounts: when, by whom, to whom; the newest first."""
    with accounts(database, as_json=as_json, debug=debug) as (users, diagnostics):
        user_id = None if name is None else user_of(users, name).id
        events = users.audit(user_id=user_id, limit=None if everything else limit)
        if as_json:
            print_text(json_shapes.dumps([accounts_view.event_row(event) for event in events]))
        elif events:
            accounts_view.print_events(events)
        else:
            diagnostics.notice("Nothing was done yet.")


def _suspended(name: str, database: str | None, suspended: bool, *, as_json: bool, debug: bool) -> None:
    with accounts(database, as_json=as_json, debug=debug) as (users, diagnostics):
        user = user_of(users, name)
        users.suspend(user.id, suspended=suspended, actor=actor())
        state = "suspended: their keys are refused" if suspended else "not suspended: their keys are taken"
        _told(users, user, f"{user.name} is {state}.", diagnostics)


def _told(users: Users, user: User, sentence: str, diagnostics: Diagnostics) -> None:
    diagnostics.notice(sentence)
    _print_row(users.user(user.id), as_json=diagnostics.as_json)


def _print_row(user: User, *, as_json: bool) -> None:
    if as_json:
        print_text(json_shapes.dumps(accounts_view.user_row(user)))
