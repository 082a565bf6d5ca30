"""What a gateway asks a hosted Postgres about mail to its users: what they have left, and that each mail is sent once."""

from __future__ import annotations

from collections.abc import Sequence

from aichat_cli.core.accounts import Allowance
from aichat_cli.core.ids import ProfileId
from aichat_cli.hosted.connection import Connection

_ALLOWANCES = """
SELECT p.id::text, p.email, p.balance_nano,
  (SELECT count(*) FROM public.credit_ledger l WHERE l.user_id = p.id AND l.kind IN ('grant', 'purchase')),
  k.id::text, k.name, k.monthly_cap_nano, coalesce((
    SELECT -sum(l.amount_nano) FROM public.credit_ledger l
    WHERE l.key_id = k.id AND l.created_at >= date_trunc('month', clock_timestamp() AT TIME ZONE 'utc') AT TIME ZONE 'utc'
  ), 0)::bigint
FROM public.api_keys k JOIN public.profiles p ON p.id = k.user_id
WHERE k.id = ANY (%s::uuid[]) AND p.email IS NOT NULL
"""


def allowances(connection: Connection, key_ids: Sequence[str]) -> list[Allowance]:
    """What is left to the users of these keys that have a mail address."""
    return [Allowance(*row) for row in connection.rows(_ALLOWANCES, (list(key_ids),))]


def claim(connection: Connection, alert: str, user_id: ProfileId, seconds: float) -> bool:
    """`aichat.claim_alert`."""
    return bool(
        connection.value("SELECT aichat.claim_alert(%s, %s, make_interval(secs => %s))", (alert, user_id, seconds))
    )


def end(connection: Connection, alert: str, retry_seconds: float | None) -> None:
    """`aichat.end_alert`: it was sent, or is to be tried again after so long."""
    connection.rows("SELECT aichat.end_alert(%s, make_interval(secs => %s))", (alert, retry_seconds))
