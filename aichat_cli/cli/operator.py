"""What the operator's commands share: the accounts opened around them, who acts, and how limits are typed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Annotated, get_args

import typer

from aichat_cli.accounts import opening
from aichat_cli.accounts.protocol import AccountStore, Users
from aichat_cli.app import App
from aichat_cli.cli.common import handed_on, opened
from aichat_cli.core.accounts import SCOPES, Scope, User
from aichat_cli.core.clock import now_ms, utc_text
from aichat_cli.core.credits import PlanName
from aichat_cli.core.errors import NotFound, UsageError
from aichat_cli.render.diagnostics import Diagnostics

PLANS: tuple[PlanName, ...] = get_args(PlanName)
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="Where the accounts are: a file, or postgresql://USER@HOST/DATABASE. Without it: $AICHAT_SERVER_DATABASE, the"
        ' keyring\'s "server", the setting server.file, or gateway.db.',
        metavar="FILE|ADDRESS",
    ),
]


def store_of(house: App, database: str | None) -> AccountStore:
    """The accounts that are meant; nothing is connected to yet. `accounts.opening` tells the errors."""
    typed = None if database is None else handed_on(database).strip()
    return opening.opened(opening.place(typed, house.keys, house.settings, house.paths))


@contextmanager
def accounts(
    database: str | None, *, as_json: bool, debug: bool, prepares: bool = False
) -> Iterator[tuple[Users, Diagnostics]]:
    """The accounts for one command; with `prepares` a database that is empty yet is set up."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        store = store_of(house, database)
        if prepares:
            store.prepare()
        with closing(store.users()) as users:
            yield users, diagnostics


def actor() -> str:
    """Who acts, for the audit: the name this process runs under."""
    try:
        import pwd
    except ImportError:  # Windows
        return os.environ.get("USERNAME") or "unknown"
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def user_of(users: Users, name: str) -> User:
    """The user of that name or id; raises NotFound, which says how to make one."""
    try:
        return users.user(name)
    except NotFound as exc:
        raise NotFound(exc.message, hint=f"Run: aichat users list, or aichat users create {name}") from None


def plan_of(typed: str) -> PlanName:
    """A plan by its name; raises UsageError."""
    for plan in PLANS:
        if typed.strip().lower() == plan:
            return plan
    raise UsageError(f'There is no plan "{typed}".', hint=f"There are {', '.join(PLANS)}")


def scopes_of(typed: list[str]) -> tuple[Scope, ...]:
    """What a key may be used for, all where nothing was typed; raises UsageError."""
    words = {word.strip().lower() for each in typed for word in each.split(",") if word.strip()}
    if unknown := sorted(words - set(SCOPES)):
        raise UsageError(f'There is no scope "{unknown[0]}".', hint=f"There are {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if not words or scope in words)


def expiry_of(typed: str | None) -> str | None:
    """`90d`, or a day, to the end of which a key can be used, as a stored time; raises UsageError."""
    if typed is None:
        return None
    wrong = UsageError(f'--expires cannot be "{typed}": it takes 90d, 12w, or a day such as 2027-01-31.')
    if span := re.fullmatch(r"(\d{1,5})([dwmy])", typed.strip().lower()):
        days = int(span[1]) * _DAYS[span[2]]
        if not 0 < days <= 36_500:
            raise wrong
        return utc_text(now_ms() + days * 86_400_000)
    try:
        moment = datetime.fromisoformat(typed)
        if len(typed) <= len("2027-01-31"):
            moment += timedelta(days=1)
        at = round(moment.astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise wrong from None
    if at <= now_ms():
        raise UsageError(f"--expires is in the past: {typed}.")
    return utc_text(at)
