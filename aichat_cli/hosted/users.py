"""What an operator of a gateway asks of a hosted Postgres: people, keys, and what was done to them.

Whatever is done is written down for the audit in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from aichat_cli.core.accounts import Action, ApiKey, AuditEvent, Scope, User
from aichat_cli.core.clock import utc_text
from aichat_cli.core.credits import PlanName
from aichat_cli.core.ids import ProfileId
from aichat_cli.core.struct import to_json
from aichat_cli.hosted.connection import Connection, json_text

_USERS = """
SELECT p.id, coalesce(p.name, p.id::text), p.email, p.plan, p.balance_nano, p.held_nano, p.created_at, p.suspended_at, (
  SELECT count(*) FROM public.api_keys k
  WHERE k.user_id = p.id AND k.revoked_at IS NULL AND coalesce(k.expires_at > clock_timestamp(), true)
)
FROM public.profiles p
"""
_KEYS = """
SELECT k.id, k.user_id, coalesce(p.name, p.id::text), k.name, k.prefix, k.scopes, k.plan, k.monthly_cap_nano, k.created_at,
  k.expires_at, k.last_used_at, k.revoked_at
FROM public.api_keys k JOIN public.profiles p ON p.id = k.user_id
"""
_AUDIT = """
SELECT a.at, a.actor, a.action, coalesce(p.name, p.id::text), k.prefix, a.detail
FROM aichat.audit_events a LEFT JOIN public.profiles p ON p.id = a.user_id LEFT JOIN public.api_keys k ON k.id = a.key_id
"""


def create_user(connection: Connection, name: str, *, email: str | None, plan: PlanName, actor: str) -> User:
    """`aichat.create_user`, and on this plan."""
    with connection.transaction():
        user_id = connection.value("SELECT aichat.create_user(%s, %s)", (name, email))
        connection.rows("SELECT aichat.set_plan(%s, %s)", (user_id, plan))
        _note(connection, actor, "user.created", user_id, detail={"plan": plan})
        [row] = connection.rows(_USERS + " WHERE p.id = %s", (user_id,))
    return _user(row)


def user(connection: Connection, name: str) -> User | None:
    """The user of that name or id."""
    rows = connection.rows(_USERS + " WHERE p.name = %s OR p.id = %s", (name, as_uuid(name)))
    return _user(rows[0]) if rows else None


def users(connection: Connection, *, limit: int | None) -> list[User]:
    """All users, by name."""
    query = _USERS + ' ORDER BY coalesce(p.name, p.id::text) COLLATE "C" LIMIT %s'
    return [_user(row) for row in connection.rows(query, (limit,))]


def set_plan(connection: Connection, user_id: ProfileId, plan: PlanName, *, actor: str) -> None:
    """`aichat.set_plan`."""
    with connection.transaction():
        connection.rows("SELECT aichat.set_plan(%s, %s)", (user_id, plan))
        _note(connection, actor, "user.plan", user_id, detail={"plan": plan})


def grant(connection: Connection, user_id: ProfileId, credits_: int, *, ref: str, actor: str) -> bool:
    """`aichat.grant_credits`, as a gift."""
    with connection.transaction():
        is_new = connection.value("SELECT aichat.grant_credits(%s, 'grant', %s, %s)", (user_id, ref, credits_))
        if is_new:
            _note(connection, actor, "credits.granted", user_id, detail={"credits": credits_, "ref": ref})
    return bool(is_new)


def suspend(connection: Connection, user_id: ProfileId, *, suspended: bool, actor: str) -> None:
    """`aichat.suspend`."""
    with connection.transaction():
        if connection.value("SELECT aichat.suspend(%s, %s)", (user_id, suspended)):
            _note(connection, actor, "user.suspended" if suspended else "user.resumed", user_id)


def create_key(
    connection: Connection,
    user_id: ProfileId,
    name: str,
    prefix: str,
    key_hash: bytes,
    *,
    terms: tuple[Sequence[Scope], PlanName | None, int | None, str | None],
    actor: str,
) -> ApiKey:
    """`aichat.create_api_key`. Its terms are its scopes, plan, monthly cap in nano-dollars and end."""
    scopes, plan, cap, expires_at = terms
    with connection.transaction():
        key_id = connection.value(
            "SELECT aichat.create_api_key(%s, %s, %s, %s, %s, %s, %s, %s)",
            (user_id, name, prefix, key_hash, list(scopes), plan, cap, expires_at),
        )
        _note(connection, actor, "key.created", user_id, key_id, {"name": name})
        [row] = connection.rows(_KEYS + " WHERE k.id = %s", (key_id,))
    return _key(row)


def keys(connection: Connection, *, user_id: ProfileId | None, limit: int | None) -> list[ApiKey]:
    """Keys, the newest first."""
    query = _KEYS + " WHERE %s::uuid IS NULL OR k.user_id = %s ORDER BY k.created_at DESC, k.id LIMIT %s"
    return [_key(row) for row in connection.rows(query, (user_id, user_id, limit))]


def revoke_key(connection: Connection, key_id: str, *, actor: str) -> bool:
    """`aichat.revoke_api_key`; False where it was revoked before."""
    with connection.transaction():
        holder = connection.value("SELECT aichat.revoke_api_key(%s)", (key_id,))
        if holder is not None:
            _note(connection, actor, "key.revoked", holder, key_id)
    return holder is not None


def audit(connection: Connection, *, user_id: ProfileId | None, limit: int | None) -> list[AuditEvent]:
    """What was done, the newest first."""
    query = _AUDIT + " WHERE %s::uuid IS NULL OR a.user_id = %s ORDER BY a.id DESC LIMIT %s"
    rows = connection.rows(query, (user_id, user_id, limit))
    return [AuditEvent(_text(at), *rest) for at, *rest in rows]


def as_uuid(text: str) -> UUID | None:
    """The id that a text is, None where it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _note(
    connection: Connection,
    actor: str,
    action: Action,
    user_id: UUID | str,
    key_id: UUID | str | None = None,
    detail: Mapping[str, str | int | None] | None = None,
) -> None:
    told = json_text(to_json(detail or {}).decode())
    connection.rows("SELECT aichat.audit(%s, %s, %s, %s, %s)", (actor, action, user_id, key_id, told))


def _user(row: Sequence[Any]) -> User:
    user_id, name, email, plan, balance, held, created_at, suspended_at, keys_ = row
    return User(
        ProfileId(str(user_id)), name, email, plan, balance, held, _text(created_at), _maybe(suspended_at), keys_
    )


def _key(row: Sequence[Any]) -> ApiKey:
    key_id, user_id, user_name, name, prefix, scopes, plan, cap, created_at, *ends = row
    expires_at, last_used_at, revoked_at = map(_maybe, ends)
    return ApiKey(
        id=str(key_id),
        user_id=ProfileId(str(user_id)),
        user_name=user_name,
        name=name,
        prefix=prefix,
        scopes=tuple(scopes),
        plan=plan,
        monthly_cap_nano=cap,
        created_at=_text(created_at),
        expires_at=expires_at,
        last_used_at=last_used_at,
        revoked_at=revoked_at,
    )


def _text(moment: datetime) -> str:
    return utc_text(int(moment.timestamp() * 1000))


def _maybe(moment: datetime | None) -> str | None:
    return None if moment is None else _text(moment)
