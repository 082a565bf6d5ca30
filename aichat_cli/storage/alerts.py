"""Mail about money to users of a gateway: how much they have left, and which mail was sent.

That is written down among the deliveries, under a name of its own: a payload says that a mail is not sent yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from aichat_cli.core.accounts import Allowance
from aichat_cli.core.clock import now_ms, utc_now
from aichat_cli.storage.database import Database

_NAME = "alerts"
_ALLOWANCES = """
SELECT p.id, p.email, p.balance_nano,
  (SELECT count(*) FROM credit_ledger l WHERE l.user_id = p.id AND l.kind IN ('grant', 'purchase')),
  k.id, k.name, k.monthly_cap_nano,
  (SELECT coalesce(-sum(l.amount_nano), 0) FROM credit_ledger l WHERE l.key_id = k.id AND l.created_at >= ?)
FROM api_keys k JOIN profiles p ON p.id = k.user_id
WHERE k.id = ? AND p.email IS NOT NULL
"""


def allowances(db: Database, key_ids: Sequence[str], since: str) -> list[Allowance]:
    """What is left to the users of these keys that have a mail address; `since` is when the month began."""
    return [Allowance(*row) for key_id in key_ids for row in db.rows(_ALLOWANCES, (since, key_id))]


def claim(db: Database, alert: str, seconds: float) -> bool:
    """Take up a mail for so long; False where it was sent, or somebody else is at it."""
    now = now_ms()
    with db.transaction():
        return bool(
            db.execute(
                "INSERT INTO deliveries (integration, id, payload, created_at, claimed_until) VALUES (?1, ?2, x'', ?3, ?4)"
                " ON CONFLICT (integration, id) DO UPDATE SET claimed_until = excluded.claimed_until"
                " WHERE payload IS NOT NULL AND claimed_until < ?5",
                (_NAME, alert, utc_now(), now + int(seconds * 1000), now),
            )
        )


def sent(db: Database, alert: str) -> None:
    """It is sent, for good."""
    with db.transaction(durable=True):
        db.execute("UPDATE deliveries SET payload = NULL WHERE integration = ? AND id = ?", (_NAME, alert))


def release(db: Database, alert: str, seconds: float) -> None:
    """It was not sent, and can be claimed again after so long."""
    with db.transaction():
        db.execute(
            "UPDATE deliveries SET claimed_until = ? WHERE integration = ? AND id = ? AND payload IS NOT NULL",
            (now_ms() + int(seconds * 1000), _NAME, alert),
        )
