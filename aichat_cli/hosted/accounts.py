"""What a hosted Postgres is asked about every call of a gateway; what it answers is told in schema.sql, sections 4 and 5.

What it refuses is raised as `failures.Refused`, with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aichat_cli.core.accounts import (
    Admitted,
    Balance,
    Caller,
    CallWindow,
    Charge,
    NewCall,
    Progress,
    UsageBy,
    UsageSums,
)
from aichat_cli.core.ids import ProfileId, RequestId
from aichat_cli.core.struct import Struct, to_json
from aichat_cli.core.usage import UsageRecord
from aichat_cli.hosted import sync_calls
from aichat_cli.hosted.connection import Connection, json_text

_ADMIT = """
SELECT calls_limit, calls_left, extract(epoch FROM coalesce(calls_reset_at, clock_timestamp()))::float8, available_nano
FROM aichat.admit(%s, %s, %s, %s::jsonb || '{"accrued_nano": 0}', make_interval(secs => %s), %s, %s)
"""
_BALANCE = """
SELECT p.plan, p.balance_nano, p.held_nano, aichat.calls_an_hour(p.plan), w.calls,
  coalesce(extract(epoch FROM w.oldest + interval '1 hour'), 0)::float8
FROM public.profiles p, LATERAL (
  SELECT count(*) AS calls, min(e.at) AS oldest FROM public.rate_events e
  WHERE e.user_id = p.id AND e.at > statement_timestamp() - interval '1 hour' AND e.at <= statement_timestamp()
) w
WHERE p.id = %s
"""
_LABELS: dict[UsageBy, str] = {
    "day": "to_char(u.created_at AT TIME ZONE 'utc', 'YYYY-MM-DD')",
    "week": "to_char(date_trunc('week', u.created_at AT TIME ZONE 'utc'), 'YYYY-MM-DD')",
    "month": "to_char(u.created_at AT TIME ZONE 'utc', 'YYYY-MM')",
    "model": "u.model",
}
_SUMMED = """
count(*), sum(u.input_tokens)::bigint, sum(u.cached_tokens)::bigint, sum(u.output_tokens)::bigint,
  coalesce(sum(u.cost_nano), 0)::bigint AS cost
FROM public.usage u WHERE u.user_id = %s AND u.created_at >= %s AND u.created_at < %s
"""
_RECORD = """
SELECT count(aichat.record_usage(e.user_id, e.request_id, e.cost_nano, e.used))
FROM (
  SELECT * FROM jsonb_to_recordset(%s) AS r (user_id uuid, request_id uuid, cost_nano bigint, used jsonb)
  ORDER BY r.user_id, r.request_id
) e
"""


class DeadCall(Struct, frozen=True):
    """A call whose holder has died: it was charged `accrued_nano` in whole credits. `note` is what it was admitted with, and
    what was told of it since.
    """

    request_id: RequestId
    user_id: ProfileId
    note: Mapping[str, Any]
    accrued_nano: int


def authenticate(connection: Connection, prefix: str, key_hash: bytes) -> Caller:
    """`aichat.authenticate`."""
    [row] = connection.rows("SELECT * FROM aichat.authenticate(%s, %s)", (prefix, key_hash))
    user_id, user_name, key_id, key_name, scopes, plan = row
    return Caller(ProfileId(str(user_id)), user_name, str(key_id), key_name, tuple(scopes), plan)


def admit(connection: Connection, call: NewCall, life_seconds: float) -> Admitted:
    """`aichat.admit`, with nothing accrued yet."""
    parameters = (
        call.user_id,
        call.request_id,
        call.amount_nano,
        json_text(call.note),
        life_seconds,
        call.counts,
        call.key_id,
    )
    [(limit, left, reset_at, available)] = connection.rows(_ADMIT, parameters)
    return Admitted(CallWindow(limit, left, reset_at), available)


def finish(connection: Connection, request_id: RequestId, record: UsageRecord | None) -> Charge | None:
    """`aichat.finish`; None where nobody knows whose call it was."""
    cost, used = (None, None) if record is None else (record.cost_nano, json_text(_json(_used(record))))
    rows = connection.rows("SELECT * FROM aichat.finish(%s, %s, %s)", (request_id, cost, used))
    return Charge(*rows[0]) if rows else None


def renew(connection: Connection, calls: Sequence[Progress], life_seconds: float) -> list[RequestId]:
    """`aichat.renew`, for all of them in one round trip. A call of which nothing has arrived has cost nothing yet."""
    told = [
        {
            "request_id": call.request_id,
            "output_tokens": call.output_tokens,
            "accrued_nano": call.accrued_nano if call.output_tokens else 0,
        }
        for call in calls
    ]
    rows = connection.rows(
        "SELECT aichat.renew(%s, make_interval(secs => %s))", (json_text(to_json(told).decode()), life_seconds)
    )
    return [RequestId(str(request_id)) for (request_id,) in rows]


def expire(connection: Connection) -> list[DeadCall]:
    """`aichat.expire`: their usage is recorded in the same transaction."""
    rows = connection.rows("SELECT request_id, user_id, call, aichat.accrued_nano(call) FROM aichat.expire()")
    return [
        DeadCall(RequestId(str(request_id)), ProfileId(str(user_id)), note, accrued)
        for request_id, user_id, note, accrued in rows
    ]


def record_usage(connection: Connection, records: Sequence[tuple[ProfileId, UsageRecord]]) -> None:
    """`aichat.record_usage`, for all of them in one round trip."""
    told = [
        {
            "user_id": user_id,
            "request_id": record.request_id,
            "cost_nano": record.cost_nano,
            "used": _used(record),
        }
        for user_id, record in records
    ]
    connection.rows(_RECORD, (json_text(_json(told)),))


def balance(connection: Connection, user_id: ProfileId) -> Balance | None:
    """A user's money, plan and window; None where there is no such user."""
    rows = connection.rows(_BALANCE, (user_id,))
    if not rows:
        return None
    [(plan, balance_nano, held_nano, limit, calls, reset_at)] = rows
    return Balance(plan, balance_nano, held_nano, CallWindow(limit, max(limit - calls, 0), reset_at))


def usage(connection: Connection, user_id: ProfileId, begin: str, end: str, by: UsageBy) -> list[UsageSums]:
    """What a user used from one moment on and before another: periods (UTC) the first first, models the dearest first."""
    order = "cost DESC, label" if by == "model" else "label"
    query = f'SELECT {_LABELS[by]} COLLATE "C" AS label, {_SUMMED} GROUP BY label ORDER BY {order}'
    return [UsageSums(*row) for row in connection.rows(query, (user_id, begin, end))]


def _used(record: UsageRecord) -> dict[str, Any]:
    """A call as `aichat.record_usage` reads it."""
    tokens = record.tokens
    return {
        "type": record.type,
        "provider": record.provider,
        "model": record.model,
        "served_model": record.served_model,
        "provider_id": record.provider_id,
        "input_tokens": tokens.input_tokens,
        "cached_tokens": tokens.cached_tokens,
        "cache_write_tokens": tokens.cache_write_tokens,
        "output_tokens": tokens.output_tokens,
        "reasoning_tokens": tokens.reasoning_tokens,
        "provenance": record.provenance,
        "raw": tokens.raw,
        "status": record.status,
    }


def _json(value: Any) -> str:
    """As devices read it that sync: without what Postgres cannot keep."""
    return to_json(sync_calls.escaped(value)).decode()
