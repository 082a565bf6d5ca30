"""Where purchases are written down, and what they change: the books of one person in SQLite, or of many people in SQLite or
in Postgres. `hosted.purchases.PostgresTill` is one, too.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from aichat_cli.core.accounts import Action
from aichat_cli.core.checkout import Funds, KeptReversal, Purchase, PurchaseEntryKind, PurchaseState, Reversal
from aichat_cli.core.credits import Package
from aichat_cli.core.ids import ProfileId
from aichat_cli.storage import accounts, purchases, users
from aichat_cli.storage.database import Database


class Till(Protocol):
    """One serves one thread. All raise StorageError or HostedError where the database fails."""

    def transaction(self, *, payment: str | None = None) -> AbstractContextManager[None]:
        """What is done together or not at all, and survives a power cut once it is done. Two that learn of one payment come
        one after the other.
        """
        ...

    def lock(self, user_id: ProfileId) -> None:
        """Keep others from this user's money until the transaction ends. What was read before may have changed."""
        ...

    def add(self, user_id: ProfileId, package: Package, *, is_live: bool, return_url: str) -> Purchase:
        """Write down that a package is about to be bought."""
        ...

    def find(self, purchase_id: str) -> Purchase | None:
        """The purchase of that id."""
        ...

    def by_session(self, session_id: str) -> Purchase | None:
        """The purchase of a Checkout Session."""
        ...

    def by_payment(self, payment_intent: str) -> Purchase | None:
        """The purchase that was paid by a payment."""
        ...

    def unsettled(self, user_id: ProfileId) -> list[Purchase]:
        """The purchases whose end is not known yet, oldest first."""
        ...

    def has_unsettled(self) -> bool:
        """Whether anybody's purchase may still turn out to be paid."""
        ...

    def paid_since(self, user_id: ProfileId, iso_time: str) -> list[Purchase]:
        """The purchases that were begun from a moment on and paid, oldest first."""
        ...

    def set_customer(self, purchase_id: str, customer_id: str) -> None:
        """Stripe is about to be asked for a session of this customer."""
        ...

    def set_session(self, purchase_id: str, session_id: str, url: str | None) -> None:
        """Stripe has answered with a session."""
        ...

    def set_state(self, purchase_id: str, state: PurchaseState, *, payment_intent: str | None = None) -> None:
        """How a purchase ended, and by which payment."""
        ...

    def customer(self, user_id: ProfileId) -> str | None:
        """The user's customer at Stripe, where there is one."""
        ...

    def remember_customer(self, user_id: ProfileId, customer_id: str, *, instead_of: str | None) -> None:
        """Keep a new customer, unless another process was quicker."""
        ...

    def keep_reversal(self, reversal: Reversal) -> None:
        """Write a refund or a dispute down, once; that a dispute was won is never forgotten."""
        ...

    def reversals(self, payment_intent: str) -> list[KeptReversal]:
        """What went back of a payment, in the order it became known."""
        ...

    def funds(self, user_id: ProfileId) -> Funds:
        """What a user has; raises NotFound where there is no such user."""
        ...

    def enter(
        self, kind: PurchaseEntryKind, ref: str, purchase: Purchase, amount_nano: int, *, uncovered_nano: int = 0
    ) -> bool:
        """Change the balance of a purchase's user, once for each kind and ref; False where that has happened before."""
        ...

    def audit(self, action: Action, user_id: ProfileId, detail: dict[str, str | int | None]) -> None:
        """Write down what Stripe's word did to an account, where accounts are kept."""
        ...


class SqliteTill:
    """Purchases in a local database. `is_audited` where it keeps the accounts of many people."""

    def __init__(self, db: Database, *, is_audited: bool = False) -> None:
        self._db = db
        self._is_audited = is_audited

    def transaction(self, *, payment: str | None = None) -> AbstractContextManager[None]:  # noqa: ARG002
        """There is one writer at a time, whatever it writes."""
        return self._db.transaction(durable=True)

    def lock(self, user_id: ProfileId) -> None:
        """The transaction keeps everybody else from everything."""

    def add(self, user_id: ProfileId, package: Package, *, is_live: bool, return_url: str) -> Purchase:
        return purchases.add(self._db, package, is_live=is_live, return_url=return_url, user_id=user_id)

    def find(self, purchase_id: str) -> Purchase | None:
        return purchases.find(self._db, purchase_id)

    def by_session(self, session_id: str) -> Purchase | None:
        return purchases.by_session(self._db, session_id)

    def by_payment(self, payment_intent: str) -> Purchase | None:
        return purchases.by_payment(self._db, payment_intent)

    def unsettled(self, user_id: ProfileId) -> list[Purchase]:
        return purchases.unsettled(self._db, user_id=user_id)

    def has_unsettled(self) -> bool:
        return purchases.has_unsettled(self._db)

    def paid_since(self, user_id: ProfileId, iso_time: str) -> list[Purchase]:
        return purchases.paid_since(self._db, iso_time, user_id=user_id)

    def set_customer(self, purchase_id: str, customer_id: str) -> None:
        purchases.set_customer(self._db, purchase_id, customer_id)

    def set_session(self, purchase_id: str, session_id: str, url: str | None) -> None:
        purchases.set_session(self._db, purchase_id, session_id, url)

    def set_state(self, purchase_id: str, state: PurchaseState, *, payment_intent: str | None = None) -> None:
        purchases.set_state(self._db, purchase_id, state, payment_intent=payment_intent)

    def customer(self, user_id: ProfileId) -> str | None:
        return purchases.customer(self._db, user_id)

    def remember_customer(self, user_id: ProfileId, customer_id: str, *, instead_of: str | None) -> None:
        purchases.remember_customer(self._db, customer_id, instead_of=instead_of, user_id=user_id)

    def keep_reversal(self, reversal: Reversal) -> None:
        purchases.keep_reversal(self._db, reversal)

    def reversals(self, payment_intent: str) -> list[KeptReversal]:
        return purchases.reversals(self._db, payment_intent)

    def funds(self, user_id: ProfileId) -> Funds:
        account = accounts.account(self._db, user_id)
        return Funds(account.balance_nano, account.available_nano)

    def enter(
        self, kind: PurchaseEntryKind, ref: str, purchase: Purchase, amount_nano: int, *, uncovered_nano: int = 0
    ) -> bool:
        return accounts.add_entry(
            self._db,
            kind,
            ref,
            amount_nano,
            uncovered_nano=uncovered_nano,
            purchase_id=purchase.id,
            user_id=purchase.user_id,
        )

    def audit(self, action: Action, user_id: ProfileId, detail: dict[str, str | int | None]) -> None:
        if self._is_audited:
            users.audit(self._db, "stripe", action, user_id, detail=detail)
