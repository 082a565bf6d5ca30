"""Purchases of many people in a hosted Postgres: a `billing.till.Till`. What is written goes through functions of schema.sql,
which the owner of the database and `service_role` may call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from aichat_cli.core.accounts import Action
from aichat_cli.core.checkout import Funds, KeptReversal, Purchase, PurchaseEntryKind, PurchaseState, Reversal
from aichat_cli.core.credits import Package
from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import ProfileId, new_id
from aichat_cli.core.struct import to_json
from aichat_cli.hosted.connection import Connection, json_text

_COLUMNS = (
    "id::text, user_id::text, package, credits, amount_cents, currency, is_live, return_url, customer_id, session_id, url,"
    " payment_intent, state, aichat.iso(created_at), aichat.iso(updated_at)"
)


class PostgresTill:
    """Purchases in Postgres, through one connection, for one thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self, *, payment: str | None = None) -> Iterator[None]:
        """What is done together or not at all. Two that learn of one payment come one after the other."""
        with self._connection.transaction():
            if payment is not None:
                self._connection.rows(
                    "SELECT pg_advisory_xact_lock(hashtextextended('aichat payment ' || %s::text, 0))", (payment,)
                )
            yield

    def lock(self, user_id: ProfileId) -> None:
        """Keep others from this user's money until the transaction ends."""
        self._connection.rows("SELECT aichat.lock_available(%s)", (user_id,))

    def add(self, user_id: ProfileId, package: Package, *, is_live: bool, return_url: str) -> Purchase:
        """Write down that a package is about to be bought."""
        purchase_id = new_id()
        self._connection.rows(
            "SELECT aichat.begin_purchase(%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                purchase_id,
                user_id,
                package.name,
                package.credits,
                package.amount_cents,
                package.currency,
                is_live,
                return_url,
            ),
        )
        added = self.find(purchase_id)
        assert added is not None
        return added

    def find(self, purchase_id: str) -> Purchase | None:
        """The purchase of that id."""
        try:
            UUID(purchase_id)
        except ValueError:
            return None
        return self._one("id = %s", purchase_id)

    def by_session(self, session_id: str) -> Purchase | None:
        """The purchase of a Checkout Session."""
        return self._one("session_id = %s", session_id)

    def by_payment(self, payment_intent: str) -> Purchase | None:
        """The purchase that was paid by a payment."""
        return self._one("payment_intent = %s", payment_intent)

    def unsettled(self, user_id: ProfileId) -> list[Purchase]:
        """The purchases whose end is not known yet, oldest first."""
        return self._many("user_id = %s AND state IN ('created', 'open') ORDER BY created_at, id", user_id)

    def has_unsettled(self) -> bool:
        """Whether anybody's purchase may still turn out to be paid."""
        return bool(
            self._connection.value("SELECT EXISTS (SELECT FROM public.purchases WHERE state IN ('created', 'open'))")
        )

    def paid_since(self, user_id: ProfileId, iso_time: str) -> list[Purchase]:
        """The purchases that were begun from a moment on and paid, oldest first."""
        condition = "user_id = %s AND state = 'paid' AND created_at >= %s ORDER BY created_at, id"
        return self._many(condition, user_id, iso_time)

    def set_customer(self, purchase_id: str, customer_id: str) -> None:
        """Stripe is about to be asked for a session of this customer."""
        self._connection.rows("SELECT aichat.note_purchase(%s, customer_id => %s)", (purchase_id, customer_id))

    def set_session(self, purchase_id: str, session_id: str, url: str | None) -> None:
        """Stripe has answered with a session."""
        self._connection.rows(
            "SELECT aichat.note_purchase(%s, session_id => %s, url => %s)", (purchase_id, session_id, url)
        )

    def set_state(self, purchase_id: str, state: PurchaseState, *, payment_intent: str | None = None) -> None:
        """How a purchase ended, and by which payment."""
        self._connection.rows(
            "SELECT aichat.note_purchase(%s, %s, payment_intent => %s)", (purchase_id, state, payment_intent)
        )

    def customer(self, user_id: ProfileId) -> str | None:
        """The user's customer at Stripe, where there is one."""
        found = self._connection.rows("SELECT stripe_customer_id FROM public.profiles WHERE id = %s", (user_id,))
        return found[0][0] if found else None

    def remember_customer(self, user_id: ProfileId, customer_id: str, *, instead_of: str | None) -> None:
        """Keep a new customer, unless another process was quicker."""
        self._connection.rows("SELECT aichat.remember_customer(%s, %s, %s)", (user_id, customer_id, instead_of))

    def keep_reversal(self, reversal: Reversal) -> None:
        """Write a refund or a dispute down, once; that a dispute was won is never forgotten."""
        self._connection.rows(
            "SELECT aichat.keep_reversal(%s, %s, %s, %s, %s)",
            (reversal.ref, reversal.kind, reversal.payment_intent, reversal.amount_cents, reversal.is_won),
        )

    def reversals(self, payment_intent: str) -> list[KeptReversal]:
        """What went back of a payment, in the order it became known."""
        rows = self._connection.rows(
            "SELECT r.ref, r.kind, r.amount_cents, r.is_won, -taken.amount_nano, given.id IS NOT NULL"
            " FROM aichat.reversals r"
            " LEFT JOIN public.credit_ledger taken ON taken.kind = r.kind AND taken.ref = r.ref"
            " LEFT JOIN public.credit_ledger given ON given.kind = 'dispute_won' AND given.ref = r.ref"
            " WHERE r.payment_intent = %s ORDER BY r.id",
            (payment_intent,),
        )
        return [KeptReversal(*row) for row in rows]

    def funds(self, user_id: ProfileId) -> Funds:
        """What a user has."""
        found = self._connection.rows(
            "SELECT balance_nano, balance_nano - held_nano FROM public.profiles WHERE id = %s", (user_id,)
        )
        if not found:
            raise NotFound(f'There is no user "{user_id}".')
        return Funds(*found[0])

    def enter(
        self, kind: PurchaseEntryKind, ref: str, purchase: Purchase, amount_nano: int, *, uncovered_nano: int = 0
    ) -> bool:
        """Change the balance of a purchase's user, once for each kind and ref; False where that has happened before."""
        return bool(
            self._connection.value(
                "SELECT aichat.enter_purchase(%s, %s, %s, %s, %s)",
                (purchase.id, kind, ref, amount_nano, uncovered_nano),
            )
        )

    def audit(self, action: Action, user_id: ProfileId, detail: dict[str, str | int | None]) -> None:
        """Write down what Stripe's word did to an account."""
        self._connection.rows(
            "SELECT aichat.audit('stripe', %s, %s, NULL, %s)", (action, user_id, json_text(to_json(detail).decode()))
        )

    def _one(self, condition: str, *values: Any) -> Purchase | None:
        found = self._many(condition, *values)
        return found[0] if found else None

    def _many(self, condition: str, *values: Any) -> list[Purchase]:
        query = f"SELECT {_COLUMNS} FROM public.purchases WHERE {condition}"  # noqa: S608 (both are our own words)
        return [Purchase(*row) for row in self._connection.rows(query, values)]
