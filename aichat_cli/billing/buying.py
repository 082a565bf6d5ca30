"""A purchase from its beginning to its end: asked for at Stripe, waited for, gone on with after anything cut it off.

What is written down always comes before what is asked for, so every step can be done again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from aichat_cli.billing import purchases as settling
from aichat_cli.billing import reversals
from aichat_cli.billing.checkout import StripeCheckout
from aichat_cli.billing.purchases import Outcome
from aichat_cli.billing.return_page import ReturnPage
from aichat_cli.billing.reversals import ReversalEntry
from aichat_cli.core import interrupts
from aichat_cli.core.checkout import CheckoutSession, Purchase
from aichat_cli.core.credits import Package
from aichat_cli.core.errors import AichatError, BadResponse, NotFound, PurchaseFailed, RequestRejected, is_transient
from aichat_cli.core.struct import Struct
from aichat_cli.storage import purchases
from aichat_cli.storage.database import Database

FIRST_POLL_SECONDS = 2.0
LONGEST_POLL_SECONDS = 15.0
SLICE_SECONDS = 0.2
"""A signal that another thread took wakes nobody: waiting is done in slices of this."""

SAME_ANSWER = timedelta(hours=23)
"""For so long Stripe answers a request that is sent again as it did before; it promises 24 hours."""

REFUNDS_LOOKED_FOR = timedelta(days=180)

How = Literal["paid", "processing", "expired", "cancelled", "timeout", "failed"]


class Started(Struct, frozen=True):
    """A purchase that can be paid now, or that turned out to be paid. `page` is None where another process waits on it."""

    outcome: Outcome
    page: ReturnPage | None
    is_new: bool


class Ending(Struct, frozen=True):
    """How waiting for a purchase ended; `error` is set where it `failed`, which leaves the others as they are."""

    how: How
    purchase: Purchase
    outcome: Outcome | None = None
    error: AichatError | None = None


def start(db: Database, checkout: StripeCheckout, package: Package, bell: threading.Event) -> Started:
    """Begin to buy a package, or go on with the purchase of it that is open already. Close the page.

    Raises:
        AichatError: Stripe cannot be asked or says no. What was written down stays to be gone on with.
    """
    page: ReturnPage | None = ReturnPage.open(bell)
    foreign: set[str] = set()
    try:
        while True:
            page = page or ReturnPage.open(bell)
            begun = settling.begin(db, package, is_live=checkout.is_live, return_url=page.url, passing_over=foreign)
            if begun.is_new:
                return Started(with_session(db, checkout, begun.purchase), page, is_new=True)
            page.close()
            page = None
            try:
                outcome = with_session(db, checkout, begun.purchase)
            except NotFound:
                # It was begun with the key of another account, which can still finish it.
                foreign.add(begun.purchase.id)
                continue
            if outcome.purchase.state in {"open", "paid"}:
                page = ReturnPage.again(begun.purchase.return_url, bell)
                return Started(outcome, page, is_new=False)
    except BaseException:
        if page is not None:
            page.close()
        raise


def with_session(db: Database, checkout: StripeCheckout, purchase: Purchase) -> Outcome:
    """How a purchase stands at Stripe, which is asked for its session where none is known yet.

    Raises:
        NotFound: its session is none of this account.
        PurchaseFailed: it was paid and refused.
    """
    if purchase.session_id is not None:
        return settling.settle(db, checkout.retrieve(purchase.session_id))
    found = checkout.find(purchase)
    if found is None and purchase.customer_id is not None and _age(purchase) > SAME_ANSWER:
        return settling.give_up(db, purchase)
    try:
        session = found or _made(db, checkout, purchase)
    except NotFound:
        # The customer is gone, so Stripe never made a session of it.
        return settling.give_up(db, purchase)
    outcome = settling.settle(db, session)
    if outcome.purchase.session_id != session.id:
        raise BadResponse(f"Stripe's Checkout Session {session.id} is not the one that was asked for.")
    return outcome


def _made(db: Database, checkout: StripeCheckout, purchase: Purchase) -> CheckoutSession:
    try:
        return checkout.create(purchase if purchase.customer_id else _with_customer(db, checkout, purchase))
    except RequestRejected:
        # There is no session, and the same request would be answered the same for a day, whatever is mended meanwhile.
        settling.give_up(db, purchase)
        raise


def _with_customer(db: Database, checkout: StripeCheckout, purchase: Purchase) -> Purchase:
    known = purchases.customer(db, purchase.user_id)
    customer = checkout.customer(known, user_id=purchase.user_id, purchase_id=purchase.id)
    with interrupts.shielded(), db.transaction(durable=True):
        if customer != known:
            purchases.remember_customer(db, customer, instead_of=known, user_id=purchase.user_id)
        purchases.set_customer(db, purchase.id, customer)
        current = purchases.find(db, purchase.id)
    assert current is not None
    return current


def resume(db: Database, checkout: StripeCheckout) -> list[Ending | Outcome]:
    """Look after every open purchase: an Ending for each that ended, an Outcome for each that can still be paid.

    Raises:
        AichatError: Stripe cannot be reached, or refuses the key.
    """
    found: list[Ending | Outcome] = []
    for purchase in purchases.unsettled(db):
        if purchase.is_live != checkout.is_live:
            continue
        try:
            outcome = with_session(db, checkout, purchase)
        except (NotFound, PurchaseFailed) as error:
            found.append(Ending("failed", purchase, error=error))
            continue
        ending = ending_of(outcome)
        found.append(ending or outcome)
    return found


def reversed_since(db: Database, checkout: StripeCheckout) -> list[ReversalEntry]:
    """Take back what was refunded or disputed of the purchases of the last half year; what is new of it."""
    since = (datetime.now(UTC) - REFUNDS_LOOKED_FOR).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    entries: list[ReversalEntry] = []
    for purchase in purchases.paid_since(db, since):
        if purchase.is_live != checkout.is_live or purchase.payment_intent is None:
            continue
        try:
            gone = checkout.reversals(purchase.payment_intent)
        except NotFound:
            continue
        for reversal in gone:
            entries += reversals.reverse(db, reversal).entries
    return entries


class Watched(Struct, frozen=True):
    """An open purchase, and the page its buyer comes back to, where it is ours."""

    purchase: Purchase
    page: ReturnPage | None


def endings(
    db: Database,
    checkout: StripeCheckout,
    watched: Sequence[Watched],
    bell: threading.Event,
    *,
    timeout: float | None = None,
    on_trouble: Callable[[AichatError], None],
) -> Iterator[Ending]:
    """Wait for open purchases to be paid, cancelled or to expire, each as it ends.

    Args:
        bell: rung by the pages, for Stripe to be asked at once.
        timeout: seconds to wait at most.
        on_trouble: told of a failure of the network, once until it is over.
    """
    remaining = list(watched)
    deadline = None if timeout is None else time.monotonic() + timeout
    delay, is_troubled = FIRST_POLL_SECONDS, False
    while remaining:
        if not _waited(bell, delay, deadline):
            yield from (Ending("timeout", each.purchase) for each in remaining)
            return
        delay = FIRST_POLL_SECONDS if bell.is_set() else min(delay * 1.2, LONGEST_POLL_SECONDS)
        bell.clear()
        for each in list(remaining):
            try:
                ending = _look(db, checkout, each)
                is_troubled = False
            except AichatError as error:
                if not is_transient(error):
                    raise
                if not is_troubled:
                    on_trouble(error)
                is_troubled = True
                continue
            if ending is not None:
                remaining.remove(each)
                yield ending


def _look(db: Database, checkout: StripeCheckout, watched: Watched) -> Ending | None:
    session_id = watched.purchase.session_id
    assert session_id is not None
    is_cancelled = watched.page is not None and watched.page.visit == "cancel"
    try:
        session = checkout.expire(session_id) if is_cancelled else checkout.retrieve(session_id)
        ending = ending_of(settling.settle(db, session))
    except (NotFound, PurchaseFailed) as error:
        return Ending("failed", watched.purchase, error=error)
    if ending is not None and ending.how == "expired" and is_cancelled:
        return Ending("cancelled", ending.purchase, ending.outcome)
    return ending


def ending_of(outcome: Outcome) -> Ending | None:
    """The end of a purchase, None where it can still be paid."""
    hows: dict[str, How] = {"paid": "paid", "expired": "expired"}
    how = "processing" if outcome.is_processing else hows.get(outcome.purchase.state)
    return Ending(how, outcome.purchase, outcome) if how else None


def _waited(bell: threading.Event, seconds: float, deadline: float | None) -> bool:
    """Wait for the bell, at most so long; False where the deadline has passed."""
    end = time.monotonic() + seconds
    while not bell.is_set():
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            return False
        if now >= end:
            break
        bell.wait(min(SLICE_SECONDS, end - now))
    return True


def _age(purchase: Purchase) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(purchase.created_at)
