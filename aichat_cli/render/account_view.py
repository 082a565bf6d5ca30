"""An account on a gateway, in words and as JSON: as it is now, or as it was when it was last told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aichat_cli.account.profile import Account, Profile, Window
from aichat_cli.core.credits import credits_text
from aichat_cli.render import tables
from aichat_cli.render.credits_view import number
from aichat_cli.render.sanitize import safe_line

if TYPE_CHECKING:
    from aichat_cli.account.login import LoggedIn


def login_lines(done: LoggedIn) -> list[str]:
    """Who somebody is now, what they have, and what to type next."""
    account, listing = done.profile.account, done.profile.listing
    lines = [f"Logged in to {account.url} as {account.user_name}: {_sum(account)}."]
    if done.before is not None and done.before.account.url != account.url:
        lines.append(f"This takes the place of {done.before.account.user_name} on {done.before.account.url}.")
    elif done.before is not None and done.before.account.user_name != account.user_name:
        lines.append(f"This takes the place of {done.before.account.user_name}.")
    elif done.before is not None and done.before.account.key_prefix != account.key_prefix:
        lines.append(f"This key takes the place of {done.before.account.key_prefix}...")
    count = len(listing.names())
    if not count:
        lines.append("It serves no model to chat with yet; its operator has to set up a provider.")
        return lines
    lines.append(f"{_counted(count, 'model')} to chat with: aichat models list gateway")
    return lines


def facts(profile: Profile) -> list[tuple[str, str]]:
    """`whoami`."""
    account = profile.account
    rows = [
        ("gateway", account.url),
        ("user", account.user_name),
        ("plan", account.plan),
        ("credits", balance_text(account)),
        ("calls left", window_text(account.window)),
        ("key", _key_text(account)),
        ("models", f"{len(profile.listing.names())} to chat with"),
    ]
    if profile.listing.default:
        rows.append(("its default", f"gateway/{profile.listing.default}"))
    return rows


def print_facts(profile: Profile, *, is_live: bool) -> None:
    """`whoami`, with the time where it is not now."""
    rows = facts(profile)
    tables.pairs(rows if is_live else [*rows, ("as of", tables.local_time(profile.account.as_of))])


def credit_rows(account: Account, *, is_live: bool) -> list[tuple[str, str]]:
    """`credits`."""
    rows = [
        ("balance", f"{credits_text(account.balance_nano)} credits"),
        ("held", f"{credits_text(account.held_nano)} for calls under way"),
        ("plan", account.plan),
        ("who pays", f"your account on {account.url}"),
        ("calls left", window_text(account.window)),
    ]
    return rows if is_live else [*rows, ("as of", tables.local_time(account.as_of))]


def credits_line(account: Account, *, is_live: bool) -> str:
    """`/credits`."""
    when = "" if is_live else f" | as of {tables.local_time(account.as_of)}"
    left = f"calls left: {window_text(account.window)}"
    return safe_line(
        f"{balance_text(account)} | plan {account.plan} | {left} | your account on {account.url} pays{when}"
    )


def window_text(window: Window) -> str:
    """Such as `17 of 20 within an hour; one more at 14:05`."""
    text = f"{window.remaining:,} of {window.limit:,} within an hour"
    return f"{text}; one more at {tables.local_time(window.reset_at)[-5:]}" if window.reset_at else text


def balance_text(account: Account) -> str:
    """Such as `98 credits, 2 of them held`."""
    held = f", {credits_text(account.held_nano)} of them held" if account.held_nano else ""
    return f"{credits_text(account.balance_nano)} credits{held}"


def as_json(profile: Profile, *, is_live: bool) -> dict[str, Any]:
    """`whoami --json`."""
    account = profile.account
    return {
        "url": account.url,
        "user": {"id": account.user_id, "name": account.user_name},
        "plan": account.plan,
        "key": {
            "name": account.key_name,
            "prefix": account.key_prefix,
            "scopes": list(account.scopes),
            "expires_at": account.expires_at,
        },
        "credits": {
            "balance": number(account.balance_nano),
            "held": number(account.held_nano),
            "available": number(account.available_nano),
        },
        "window": _window(account.window),
        "sync": account.syncs,
        "models": profile.listing.names(),
        "default_model": f"gateway/{profile.listing.default}" if profile.listing.default else None,
        "live": is_live,
        "as_of": account.as_of,
    }


def credits_json(account: Account, *, is_live: bool) -> dict[str, Any]:
    """`credits --json`, of an account on a gateway."""
    return {
        "balance": number(account.balance_nano),
        "held": number(account.held_nano),
        "plan": account.plan,
        "mode": "credits",
        "window": _window(account.window),
        "gateway": account.url,
        "live": is_live,
        "as_of": account.as_of,
    }


def _window(window: Window) -> dict[str, Any]:
    return {"limit": window.limit, "remaining": window.remaining, "reset_at": window.reset_at}


def _sum(account: Account) -> str:
    return f"plan {account.plan}, {balance_text(account)}"


def _key_text(account: Account) -> str:
    named = f"{account.key_prefix}... ({account.key_name})" if account.key_prefix else account.key_name
    until = f", until {tables.local_time(account.expires_at)}" if account.expires_at else ""
    scopes = f", for {', '.join(account.scopes)}" if account.scopes else ""
    return safe_line(f"{named or 'unnamed'}{scopes}{until}")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
