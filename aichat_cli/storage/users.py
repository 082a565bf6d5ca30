"""People with accounts on a gateway, their keys, and what was done to both. Every function that writes runs inside the
caller's transaction.
"""

from __future__ import annotations

import json
from typing import Any

from aichat_cli.core.accounts import Action, ApiKey, AuditEvent, User
from aichat_cli.core.clock import utc_now
from aichat_cli.core.credits import PlanName
from aichat_cli.core.ids import ProfileId, new_id
from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database, Value

_USER = (
    "SELECT id, name, email, plan, balance_nano, held_nano, created_at, suspended_at,"
    " (SELECT count(*) FROM api_keys WHERE user_id = profiles.id AND revoked_at IS NULL"
    " AND (expires_at IS NULL OR expires_at > ?)) FROM profiles WHERE name IS NOT NULL"
)
_KEY = (
    "SELECT api_keys.id, user_id, profiles.name, api_keys.name, prefix, scopes, api_keys.plan, monthly_cap_nano,"
    " api_keys.created_at, expires_at, last_used_at, revoked_at FROM api_keys JOIN profiles ON profiles.id = user_id"
)
_EVENT = (
    "SELECT at, actor, action, profiles.name, prefix, detail FROM audit_events"
    " LEFT JOIN profiles ON profiles.id = audit_events.user_id LEFT JOIN api_keys ON api_keys.id = key_id"
)


class KeyToAdd(Struct, frozen=True):
    """A key as it is written down: never itself."""

    user_id: ProfileId
    name: str
    prefix: str
    key_hash: bytes
    scopes: str
    plan: PlanName | None
    monthly_cap_nano: int | None
    expires_at: str | None


def add(db: Database, name: str, email: str | None, plan: PlanName) -> ProfileId:
    """Somebody new; their balance is still empty."""
    user_id = ProfileId(new_id())
    db.execute(
        "INSERT INTO profiles (id, name, email, plan, created_at) VALUES (?, ?, ?, ?, ?)",
        (user_id, name, email, plan, utc_now()),
    )
    return user_id


def find(db: Database, name_or_id: str) -> User | None:
    """The user of that name or id."""
    rows = db.rows(f"{_USER} AND (name = ? OR id = ?)", (utc_now(), name_or_id, name_or_id))
    return User(*rows[0]) if rows else None


def every(db: Database, *, limit: int | None) -> list[User]:
    """All users, by name."""
    return [
        User(*row) for row in db.rows(f"{_USER} ORDER BY name LIMIT ?", (utc_now(), -1 if limit is None else limit))
    ]


def set_plan(db: Database, user_id: ProfileId, plan: PlanName) -> None:
    """Put a user on a plan."""
    db.execute("UPDATE profiles SET plan = ? WHERE id = ?", (plan, user_id))


def set_suspended(db: Database, user_id: ProfileId, *, suspended: bool) -> bool:
    """Suspend a user or end that; whether it changed anything."""
    return bool(
        db.execute(
            "UPDATE profiles SET suspended_at = ? WHERE id = ? AND (suspended_at IS NULL) = ?",
            (utc_now() if suspended else None, user_id, suspended),
        )
    )


def is_suspended(db: Database, user_id: ProfileId) -> bool:
    """Whether a user's keys are refused."""
    return db.row("SELECT 1 FROM profiles WHERE id = ? AND suspended_at IS NOT NULL", (user_id,)) is not None


def add_key(db: Database, key: KeyToAdd) -> str:
    """Write a key down; its id."""
    key_id = new_id()
    db.execute(
        "INSERT INTO api_keys (id, user_id, name, prefix, key_hash, scopes, plan, monthly_cap_nano, expires_at, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key_id,
            key.user_id,
            key.name,
            key.prefix,
            key.key_hash,
            key.scopes,
            key.plan,
            key.monthly_cap_nano,
            key.expires_at,
            utc_now(),
        ),
    )
    return key_id


def key_by_id(db: Database, key_id: str) -> ApiKey | None:
    """The key of that id."""
    found = _keys(db, "api_keys.id = ?", key_id)
    return found[0] if found else None


def key_by_prefix(db: Database, prefix: str) -> tuple[ApiKey, bytes] | None:
    """The key that a prefix finds, and its hash."""
    rows = db.rows("SELECT id, key_hash FROM api_keys WHERE prefix = ?", (prefix,))
    if not rows:
        return None
    key = key_by_id(db, rows[0][0])
    assert key is not None
    return key, bytes(rows[0][1])


def keys(db: Database, *, user_id: ProfileId | None, limit: int | None) -> list[ApiKey]:
    """Keys, the newest first."""
    condition, values = ("user_id = ?", (user_id,)) if user_id is not None else ("TRUE", ())
    most = -1 if limit is None else limit
    return _keys(db, f"{condition} ORDER BY api_keys.created_at DESC, api_keys.id DESC LIMIT ?", *values, most)


def key_was_used(db: Database, key_id: str) -> None:
    """A key was used now."""
    db.execute("UPDATE api_keys SET last_used_at = ? WHERE id = ?", (utc_now(), key_id))


def revoke_key(db: Database, key_id: str) -> bool:
    """Refuse a key for good; whether it was not refused before."""
    return bool(
        db.execute("UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (utc_now(), key_id))
    )


def audit(
    db: Database,
    actor: str,
    action: Action,
    user_id: ProfileId | None,
    *,
    key_id: str | None = None,
    detail: dict[str, str | int | None] | None = None,
) -> None:
    """Write down what is done, in the transaction that does it."""
    db.execute(
        "INSERT INTO audit_events (at, actor, action, user_id, key_id, detail) VALUES (?, ?, ?, ?, ?, ?)",
        (utc_now(), actor, action, user_id, key_id, json.dumps(detail or {})),
    )


def audited(db: Database, *, user_id: ProfileId | None, limit: int | None) -> list[AuditEvent]:
    """What was done, the newest first."""
    condition, values = ("audit_events.user_id = ?", (user_id,)) if user_id is not None else ("TRUE", ())
    query = f"{_EVENT} WHERE {condition} ORDER BY seq DESC LIMIT ?"
    rows = db.rows(query, (*values, -1 if limit is None else limit))
    return [
        AuditEvent(at, actor, action, name, prefix, json.loads(detail))
        for at, actor, action, name, prefix, detail in rows
    ]


def _keys(db: Database, condition: str, *values: Value) -> list[ApiKey]:
    return [_key(row) for row in db.rows(f"{_KEY} WHERE {condition}", values)]


def _key(row: tuple[Any, ...]) -> ApiKey:
    fields = list(row)
    fields[5] = tuple(str(row[5]).split())
    return ApiKey(*fields)
