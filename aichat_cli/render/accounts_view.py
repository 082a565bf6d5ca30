"""The accounts of a gateway as its operator sees them: users, keys and the audit, in tables and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from aichat_cli.core.accounts import SCOPES, ApiKey, AuditEvent, User
from aichat_cli.core.clock import utc_now
from aichat_cli.core.credits import credits_text
from aichat_cli.render import tables
from aichat_cli.render.answer import print_text
from aichat_cli.render.credits_view import number
from aichat_cli.render.sync_view import ago


def print_users(listed: Sequence[User]) -> None:
    """`users list`."""
    tables.users(
        [
            (
                user.name,
                user.plan,
                credits_text(user.balance_nano),
                str(user.keys),
                "suspended" if user.suspended_at else "",
                user.email or "",
                tables.local_time(user.created_at),
            )
            for user in listed
        ]
    )


def print_user(user: User, keys: Sequence[ApiKey]) -> None:
    """`users show`."""
    rows = [
        ("name", user.name),
        ("email", user.email or "none"),
        ("plan", user.plan),
        ("credits", balance_text(user)),
        ("created", tables.local_time(user.created_at)),
        ("suspended", f"since {tables.local_time(user.suspended_at)}" if user.suspended_at else "no"),
        ("id", user.id),
    ]
    tables.pairs(rows)
    if keys:
        # On a terminal the table brings a blank line of its own.
        print_text("" if sys.stdout.isatty() else "\n")
        print_keys(keys)


def print_keys(listed: Sequence[ApiKey]) -> None:
    """`api-keys list`."""
    tables.api_keys(
        [
            (
                key.prefix,
                key.user_name,
                key.name,
                _state(key),
                ago(key.last_used_at),
                _limits(key),
                tables.local_time(key.created_at),
            )
            for key in listed
        ]
    )


def print_events(listed: Sequence[AuditEvent]) -> None:
    """`users audit`."""
    tables.audit(
        [
            (
                tables.local_time(event.at),
                event.actor,
                event.action,
                event.user_name or "",
                event.key_prefix or "",
                ", ".join(f"{name} {value}" for name, value in event.detail.items() if value is not None),
            )
            for event in listed
        ]
    )


def balance_text(user: User) -> str:
    """Such as `150 credits, 3 of them held`."""
    held = f", {credits_text(user.held_nano)} of them held" if user.held_nano else ""
    return f"{credits_text(user.balance_nano)} credits{held}"


def user_row(user: User) -> dict[str, Any]:
    """A user, as JSON."""
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "plan": user.plan,
        "balance": number(user.balance_nano),
        "held": number(user.held_nano),
        "keys": user.keys,
        "created_at": user.created_at,
        "suspended_at": user.suspended_at,
    }


def key_row(key: ApiKey) -> dict[str, Any]:
    """A key, as JSON; never itself."""
    return {
        "id": key.id,
        "prefix": key.prefix,
        "user": key.user_name,
        "name": key.name,
        "scopes": list(key.scopes),
        "plan": key.plan,
        "monthly_cap": None if key.monthly_cap_nano is None else number(key.monthly_cap_nano),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


def event_row(event: AuditEvent) -> dict[str, Any]:
    """One line of the audit, as JSON."""
    return {
        "at": event.at,
        "actor": event.actor,
        "action": event.action,
        "user": event.user_name,
        "key": event.key_prefix,
        "detail": dict(event.detail),
    }


def _state(key: ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at and key.expires_at <= utc_now():
        return "expired"
    return f"until {tables.local_time(key.expires_at)[:10]}" if key.expires_at else "usable"


def _limits(key: ApiKey) -> str:
    parts = [] if set(key.scopes) == set(SCOPES) else [" ".join(key.scopes)]
    if key.plan:
        parts.append(f"{key.plan} plan")
    if key.monthly_cap_nano is not None:
        parts.append(f"{credits_text(key.monthly_cap_nano)} a month")
    return ", ".join(parts)
