"""`aichat api-keys`: the keys people come to the gateway with. A key is printed once, when it is made."""

from __future__ import annotations

from typing import Annotated

import typer

from aichat_cli.accounts import keys as forms
from aichat_cli.accounts.protocol import NewKey, Users
from aichat_cli.cli.common import LISTING_LIMIT, AllFlag, DebugFlag, JsonFlag, LimitOption, command_group
from aichat_cli.cli.operator import DatabaseOption, accounts, actor, expiry_of, plan_of, scopes_of, user_of
from aichat_cli.core.accounts import ApiKey
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.errors import AichatError, NotFound, UsageError
from aichat_cli.render import accounts_view, json_shapes
from aichat_cli.render.answer import ClosedPipe, print_text

app = command_group("Keys with which people use the gateway: made, listed, revoked.")

SHORTEST_ID = 8
LONGEST_NAME = 100
MOST_CREDITS = 100_000_000


@app.command()
def create(
    user: Annotated[str, typer.Argument(help="Whose key: the name of a user.", metavar="NAME")],
    name: Annotated[str, typer.Option("--name", help="What to call it, such as laptop.")] = "default",
    plan: Annotated[str | None, typer.Option("--plan", help="Hold it to a smaller plan than its user's.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it may be used for: chat, embeddings, credits, sync; all without it."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="90d, 12w, or the last day it can be used.", metavar="WHEN")
    ] = None,
    monthly_cap: Annotated[
        int | None,
        typer.Option(
            "--monthly-cap", help="Most credits it may spend in a month.", min=0, max=MOST_CREDITS, metavar="CREDITS"
        ),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make a key for a user, and print it: once, for it is not kept.

    aichat api-keys create anna > key.txt puts nothing but the key into the file.
    """
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(f"The name of a key has up to {LONGEST_NAME} characters, on one line.")
    held_to, scopes, expires_at = None if plan is None else plan_of(plan), scopes_of(scope or []), expiry_of(expires)
    with accounts(database, as_json=as_json, debug=debug) as (users, diagnostics):
        owner = user_of(users, user)
        fresh = forms.new_key()
        cap = None if monthly_cap is None else monthly_cap * NANO_PER_CREDIT
        new = NewKey(owner.id, name, fresh.prefix, fresh.key_hash, scopes, held_to, cap, expires_at)
        made = users.create_key(new, actor=actor())
        value = fresh.secret.reveal()
        try:
            print_text(json_shapes.dumps({**accounts_view.key_row(made), "key": value}) if as_json else f"{value}\n")
        except (AichatError, ClosedPipe):
            # A key that nobody saw is of no use to anybody, and cannot be shown again.
            users.revoke_key(made.id, actor=actor())
            raise
        diagnostics.notice(
            f"This is {owner.name}'s key, shown this once: it is not kept, and cannot be shown again. They use it with:"
            " aichat login URL"
        )


@app.command("list")
def list_(
    user: Annotated[str | None, typer.Argument(help="Only the keys of this user.", metavar="[NAME]")] = None,
    limit: LimitOption = LISTING_LIMIT,
    everything: AllFlag = False,
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List keys, the newest first, by the part that may be shown; never the keys."""
    with accounts(database, as_json=as_json, debug=debug) as (users, diagnostics):
        user_id = None if user is None else user_of(users, user).id
        listed = users.keys(user_id=user_id, limit=None if everything else limit)
        if as_json:
            print_text(json_shapes.dumps([accounts_view.key_row(key) for key in listed]))
        elif listed:
            accounts_view.print_keys(listed)
        else:
            diagnostics.notice(f"There is no key yet. Run: aichat api-keys create {user or 'NAME'}")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The prefix of the key, as list shows it, or its id.", metavar="KEY")],
    database: DatabaseOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Refuse a key from its next call on, for good."""
    with accounts(database, as_json=as_json, debug=debug) as (users, diagnostics):
        found = _found(users, key)
        is_new = users.revoke_key(found.id, actor=actor())
        what = f'{found.prefix}, {found.user_name}\'s "{found.name}"'
        diagnostics.notice(f"Revoked {what}." if is_new else f"{what}, was revoked before.")
        if as_json:
            revoked = next(each for each in users.keys(user_id=found.user_id) if each.id == found.id)
            print_text(json_shapes.dumps(accounts_view.key_row(revoked)))


def _found(users: Users, typed: str) -> ApiKey:
    """The key of that prefix or id; also the whole key, which is not repeated."""
    wanted = forms.prefix_of(typed) if forms.is_key(typed) else typed
    is_beginning = len(wanted) >= SHORTEST_ID
    every = users.keys()
    found = [key for key in every if wanted in {key.prefix, key.id, key.prefix.removeprefix("aichat-")}]
    found = found or [key for key in every if is_beginning and key.id.startswith(wanted)]
    if len(found) > 1:
        raise UsageError(f'"{wanted}" is the beginning of several keys\' ids.', hint="Run: aichat api-keys list")
    if not found:
        raise NotFound(f'There is no key "{wanted}".', hint="Run: aichat api-keys list")
    return found[0]
