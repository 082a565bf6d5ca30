"""A buyer at the double of Stripe: purchases begun, paid and told of."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aichat_cli.billing import buying, purchases, webhooks
from aichat_cli.billing.checkout import StripeCheckout
from aichat_cli.billing.stripe_data import session_of
from aichat_cli.core.checkout import CheckoutSession, Purchase
from aichat_cli.core.credits import PACKAGES
from aichat_cli.core.secret import Secret
from tests.billing.tills import Books
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


def begin(books: Books, package: str = "medium", *, is_live: bool = False) -> purchases.Begun:
    """A purchase that Stripe was not yet asked about."""
    return purchases.begin(books.till, PACKAGES[package], user_id=books.user_id, is_live=is_live, return_url=RETURN_URL)


def begun(books: Books, stripe: StripeDouble, package: str = "medium") -> Purchase:
    """A purchase with an open session."""
    purchase = begin(books, package, is_live=stripe.is_live).purchase
    with checkout_of(stripe) as checkout:
        outcome = buying.with_session(books.till, checkout, purchase)
    assert outcome.purchase.state == "open"
    return outcome.purchase


def paid(books: Books, stripe: StripeDouble, package: str = "medium") -> Purchase:
    """A purchase that was paid and granted."""
    purchase = begun(books, stripe, package)
    outcome = purchases.settle(books.till, paid_session(stripe, purchase))
    assert outcome.is_granted
    return outcome.purchase


def paid_session(stripe: StripeDouble, purchase: Purchase) -> CheckoutSession:
    """Its session, which was just paid."""
    return session_of(stripe.pay(session_id_of(purchase)))


def session_id_of(purchase: Purchase) -> str:
    assert purchase.session_id is not None
    return purchase.session_id


def received(
    books: Books, payload: bytes, header: str | None, secrets: Sequence[Secret], now: float
) -> webhooks.Receipt:
    """What comes of a request that claims to be an event."""
    return webhooks.take_in(books.till, webhooks.verified(payload, header, secrets, now))


def told(books: Books, stripe: StripeDouble, kind: str, thing: dict[str, Any]) -> webhooks.Result:
    """What comes of an event."""
    payload, header = stripe.event(kind, thing)
    return received(books, payload, header, [Secret(WEBHOOK_SECRET, "a test")], time.time()).result


def state(books: Books, purchase: Purchase) -> str:
    current = books.till.find(purchase.id)
    assert current is not None
    return current.state


def spend(books: Books, credits_left: int) -> None:
    """Calls take what is more than this."""
    books.charge(int(books.balance) - credits_left)


def rung() -> threading.Event:
    """A bell that rings at once: nothing is waited for."""
    bell = threading.Event()
    bell.set()
    return bell
