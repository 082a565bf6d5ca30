"""A buyer at the double of Stripe: purchases begun, paid and told of."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aichat_cli.billing import buying, purchases, webhooks
from aichat_cli.billing.checkout import StripeCheckout
from aichat_cli.billing.stripe_data import session_of
from aichat_cli.core.checkout import CheckoutSession, Purchase
from aichat_cli.core.credits import NANO_PER_CREDIT, PACKAGES
from aichat_cli.core.secret import Secret
from aichat_cli.storage import accounts
from aichat_cli.storage import purchases as stored
from aichat_cli.storage.database import Database
from tests.servers.stripe_double import WEBHOOK_SECRET, StripeDouble

RETURN_URL = "http://127.0.0.1:1/a-page-nobody-listens-at"


@contextmanager
def checkout_of(stripe: StripeDouble, **options: Any) -> Iterator[StripeCheckout]:
    """The house's door to the double."""
    checkout = StripeCheckout(Secret(stripe.key, "a test"), api_base=stripe.url, **options)
    try:
        yield checkout
    finally:
        checkout.close()


def begun(db: Database, stripe: StripeDouble, package: str = "medium") -> Purchase:
    """A purchase with an open session."""
    purchase = purchases.begin(db, PACKAGES[package], is_live=stripe.is_live, return_url=RETURN_URL).purchase
    with checkout_of(stripe) as checkout:
        outcome = buying.with_session(db, checkout, purchase)
    assert outcome.purchase.state == "open"
    return outcome.purchase


def paid(db: Database, stripe: StripeDouble, package: str = "medium") -> Purchase:
    """A purchase that was paid and granted."""
    purchase = begun(db, stripe, package)
    outcome = purchases.settle(db, paid_session(stripe, purchase))
    assert outcome.is_granted
    return outcome.purchase


def paid_session(stripe: StripeDouble, purchase: Purchase) -> CheckoutSession:
    """Its session, which was just paid."""
    return session_of(stripe.pay(session_id_of(purchase)))


def session_id_of(purchase: Purchase) -> str:
    assert purchase.session_id is not None
    return purchase.session_id


def told(db: Database, stripe: StripeDouble, kind: str, thing: dict[str, Any]) -> webhooks.Result:
    """What comes of an event."""
    payload, header = stripe.event(kind, thing)
    return webhooks.receive(db, payload, header, [Secret(WEBHOOK_SECRET, "a test")], time.time()).result


def balance(db: Database) -> float:
    return accounts.account(db).balance_nano / NANO_PER_CREDIT


def ledger(db: Database) -> list[tuple[str, float, float]]:
    """Kind, credits and what was not covered of each entry but the first, oldest first."""
    entries = reversed(accounts.entries(db))
    return [
        (str(entry.kind), entry.amount_nano / NANO_PER_CREDIT, entry.uncovered_nano / NANO_PER_CREDIT)
        for entry in entries
    ][1:]


def state(db: Database, purchase: Purchase) -> str:
    current = stored.find(db, purchase.id)
    assert current is not None
    return current.state


def spend(db: Database, credits_left: int) -> None:
    """Calls take what is more than this."""
    with db.transaction():
        account = accounts.account(db)
        accounts.add_entry(
            db, "charge", f"call {account.balance_nano}", credits_left * NANO_PER_CREDIT - account.balance_nano
        )


def rung() -> threading.Event:
    """A bell that rings at once: nothing is waited for."""
    bell = threading.Event()
    bell.set()
    return bell
