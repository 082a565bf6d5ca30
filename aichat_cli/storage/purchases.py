"""Purchases, the Stripe customer of a profile, and what went back of payments. Every function that writes runs inside the
caller's transaction.
"""

from __future__ import annotations

from typing import Any

from aichat_cli.core.checkout import KeptReversal, Purchase, PurchaseState, Reversal
from aichat_cli.core.clock import utc_now
from aichat_cli.core.credits import Package
from aichat_cli.core.ids import LOCAL_PROFILE, ProfileId, new_id
from aichat_cli.storage.database import Database, Value

_COLUMNS = (
    "id, user_id, package, credits, amount_cents, currency, is_live, return_url, customer_id, session_id, url,"
    " payment_intent, state, created_at, updated_at"
)


def add(
    db: Database, package: Package, *, is_live: bool, return_url: str, user_id: ProfileId = LOCAL_PROFILE
) -> Purchase:
    """Write down that a package is about to be bought."""
    purchase_id, now = new_id(), utc_now()
    db.execute(
        "INSERT INTO purchases (id, user_id, package, credits, amount_cents, currency, is_live, return_url, state,"
        " created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'created', ?, ?)",
        (
            purchase_id,
            user_id,
            package.name,
            package.credits,
            package.amount_cents,
            package.currency,
            is_live,
            return_url,
            now,
            now,
        ),
    )
    added = find(db, purchase_id)
    assert added is not None
    return added


def find(db: Database, purchase_id: str) -> Purchase | None:
    """The purchase of that id."""
    return _one(db, "id = ?", purchase_id)


def by_session(db: Database, session_id: str) -> Purchase | None:
    """The purchase of a Checkout Session."""
    return _one(db, "session_id = ?", session_id)


def by_payment(db: Database, payment_intent: str) -> Purchase | None:
    """The purchase that was paid by a payment."""
    return _one(db, "payment_intent = ?", payment_intent)


def unsettled(db: Database, *, user_id: ProfileId = LOCAL_PROFILE) -> list[Purchase]:
    """The purchases whose end is not known yet, oldest first."""
    return _many(db, "user_id = ? AND state IN ('created', 'open') ORDER BY created_at, id", user_id)


def has_unsettled(db: Database) -> bool:
    """Whether anybody's purchase may still turn out to be paid."""
    return db.row("SELECT 1 FROM purchases WHERE state IN ('created', 'open') LIMIT 1") is not None


def paid_since(db: Database, iso_time: str, *, user_id: ProfileId = LOCAL_PROFILE) -> list[Purchase]:
    """The purchases that were begun from a moment on and paid, oldest first."""
    return _many(db, "user_id = ? AND state = 'paid' AND created_at >= ? ORDER BY created_at, id", user_id, iso_time)


def set_customer(db: Database, purchase_id: str, customer_id: str) -> None:
    """Stripe is about to be asked for a session of this customer."""
    db.execute(
        "UPDATE purchases SET customer_id = ?, updated_at = ? WHERE id = ? AND customer_id IS NULL",
        (customer_id, utc_now(), purchase_id),
    )


def set_session(db: Database, purchase_id: str, session_id: str, url: str | None) -> None:
    """Stripe has answered with a session."""
    db.execute(
        "UPDATE purchases SET session_id = ?, url = coalesce(?, url), updated_at = ?,"
        " state = CASE state WHEN 'created' THEN 'open' ELSE state END WHERE id = ?",
        (session_id, url, utc_now(), purchase_id),
    )


def set_state(db: Database, purchase_id: str, state: PurchaseState, *, payment_intent: str | None = None) -> None:
    """How a purchase ended, and by which payment."""
    db.execute(
        "UPDATE purchases SET state = ?, payment_intent = coalesce(?, payment_intent), updated_at = ? WHERE id = ?",
        (state, payment_intent, utc_now(), purchase_id),
    )


def customer(db: Database, user_id: ProfileId = LOCAL_PROFILE) -> str | None:
    """The profile's customer at Stripe, where there is one."""
    row = db.row("SELECT stripe_customer_id FROM profiles WHERE id = ?", (user_id,))
    return row[0] if row else None


def remember_customer(
    db: Database, customer_id: str, *, instead_of: str | None, user_id: ProfileId = LOCAL_PROFILE
) -> None:
    """Keep a new customer, unless another process was quicker."""
    db.execute(
        "UPDATE profiles SET stripe_customer_id = ? WHERE id = ? AND stripe_customer_id IS ?",
        (customer_id, user_id, instead_of),
    )


def keep_reversal(db: Database, reversal: Reversal) -> None:
    """Write a refund or a dispute down, once; that a dispute was won is never forgotten."""
    db.execute(
        "INSERT INTO reversals (ref, kind, payment_intent, amount_cents, is_won, created_at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (ref) DO UPDATE SET is_won = max(is_won, excluded.is_won)",
        (
            reversal.ref,
            reversal.kind,
            reversal.payment_intent,
            reversal.amount_cents,
            reversal.is_won,
            utc_now(),
        ),
    )


def reversals(db: Database, payment_intent: str) -> list[KeptReversal]:
    """What went back of a payment, in the order it became known."""
    rows = db.rows(
        "SELECT reversals.ref, reversals.kind, amount_cents, is_won, -taken.amount_nano, given.seq IS NOT NULL"
        " FROM reversals LEFT JOIN credit_ledger AS taken ON taken.kind = reversals.kind AND taken.ref = reversals.ref"
        " LEFT JOIN credit_ledger AS given ON given.kind = 'dispute_won' AND given.ref = reversals.ref"
        " WHERE payment_intent = ? ORDER BY reversals.seq",
        (payment_intent,),
    )
    return [
        KeptReversal(ref, kind, cents, bool(is_won), taken, bool(given))
        for ref, kind, cents, is_won, taken, given in rows
    ]


def _one(db: Database, condition: str, *values: Value) -> Purchase | None:
    found = _many(db, condition, *values)
    return found[0] if found else None


def _many(db: Database, condition: str, *values: Value) -> list[Purchase]:
    query = f"SELECT {_COLUMNS} FROM purchases WHERE {condition}"  # noqa: S608 (both are our own words)
    return [_purchase(*row) for row in db.rows(query, values)]


def _purchase(*row: Any) -> Purchase:
    fields = dict(zip(_COLUMNS.split(", "), row, strict=True))
    return Purchase(**fields | {"is_live": bool(fields["is_live"])})
