"""A purchase from its beginning to its end: asked for at Stripe, waited for, gone on with after anything cut it off.

What is written down always comes before what is asked for, so every step can be done again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from aichat_cli.billing import purchases, reversals
from aichat_cli.billing.checkout import StripeCheckout
from aichat_cli.billing.purchases import Outcome
from aichat_cli.billing.return_page import ReturnPage
from aichat_cli.billing.reversals import ReversalEntry
from aichat_cli.billing.till import Till
from aichat_cli.core import interrupts
from aichat_cli.core.checkout import CheckoutSession, Purchase
from aichat_cli.core.credits import Package
from aichat_cli.core.errors import AichatError, BadResponse, NotFound, PurchaseFailed, RequestRejected, is_transient
from aichat_cli.core.ids import LOCAL_PROFILE, ProfileId
from aichat_cli.core.struct import Struct

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


class Opened(Struct, frozen=True):
    """A purchase that can be paid now, or that turned out to be paid."""

    outcome: Outcome
    is_new: bool


class Ending(Struct, frozen=True):
    """How waiting for a purchase ended; `error` is set where it `failed`, which leaves the others as they are."""

    how: How
    purchase: Purchase
    outcome: Outcome | None = None
    error: AichatError | None = None


def start(till: Till, checkout: StripeCheckout, package: Package, bell: threading.Event) -> Started:
    """Begin to buy a package on this machine, or go on with the purchase of it that is open already. Close the page.

    Raises:
        AichatError: Stripe cannot be asked or says no. What was written down stays to be gone on with.
    """
    page = ReturnPage.open(bell)
    try:
        opened = open_purchase(till, checkout, package, user_id=LOCAL_PROFILE, return_url=page.url)
    except BaseException:
        page.close()
        raise
    if opened.is_new:
        return Started(opened.outcome, page, is_new=True)
    page.close()
    return Started(opened.outcome, ReturnPage.again(opened.outcome.purchase.return_url, bell), is_new=False)


def open_purchase(
    till: Till, checkout: StripeCheckout, package: Package, *, user_id: ProfileId, return_url: str
) -> Opened:
    """Begin to buy a package, or go on with the purchase of it that is open already.

    Args:
        return_url: where a new one's buyer comes back to, without the `/success` or `/cancelled` that follows.

    Raises:
        AichatError: Stripe cannot be asked or says no. What was written down stays to be gone on with.
    """
    foreign: set[str] = set()
    while True:
        begun = purchases.begin(
            till, package, user_id=user_id, is_live=checkout.is_live, return_url=return_url, passing_over=foreign
        )
        if begun.is_new:
            return Opened(with_session(till, checkout, begun.purchase), is_new=True)
        try:
            outcome = with_session(till, checkout, begun.purchase)
        except NotFound:
            # It was begun with the key of another account, which can still finish it.
            foreign.add(begun.purchase.id)
            continue
        if outcome.purchase.state in {"open", "paid"}:
            return Opened(outcome, is_new=False)


def with_session(till: Till, checkout: StripeCheckout, purchase: Purchase) -> Outcome:
    """How a purchase stands at Stripe, which is asked for its session where none is known yet.

    Raises:
        NotFound: its session is none of this account.
        PurchaseFailed: it was paid and refused.
    """
    if purchase.session_id is not None:
        return purchases.settle(till, checkout.retrieve(purchase.session_id))
    found = checkout.find(purchase)
    if found is None and purchase.customer_id is not None and _age(purchase) > SAME_ANSWER:
        return purchases.give_up(till, purchase)
    try:
        session = found or _made(till, checkout, purchase)
    except NotFound:
        # The customer is gone, so Stripe never made a session of it.
        return purchases.give_up(till, purchase)
    outcome = purchases.settle(till, session)
    if outcome.purchase.session_id != session.id:
        raise BadResponse(f"Stripe's Checkout Session {session.id} is not the one that was asked for.")
    return outcome


def _made(till: Till, checkout: StripeCheckout, purchase: Purchase) -> CheckoutSession:
    try:
        return checkout.create(purchase if purchase.customer_id else _with_customer(till, checkout, purchase))
    except RequestRejected:
        # There is no session, and the same request would be answered the same for a day, whatever is mended meanwhile.
        purchases.give_up(till, purchase)
        raise


def _with_customer(till: Till, checkout: StripeCheckout, purchase: Purchase) -> Purchase:
    known = till.customer(purchase.user_id)
    customer = checkout.customer(known, user_id=purchase.user_id, purchase_id=purchase.id)
    with interrupts.shielded(), till.transaction():
        if customer != known:
            till.remember_customer(purchase.user_id, customer, instead_of=known)
        till.set_customer(purchase.id, customer)
        current = till.find(purchase.id)
    assert current is not None
    return current


def resume(till: Till, checkout: StripeCheckout, user_id: ProfileId = LOCAL_PROFILE) -> list[Ending | Outcome]:
    """Look after every open purchase: an Ending for each that ended, an Outcome for each that can still be paid.

    Raises:
        AichatError: Stripe cannot be reached, or refuses the key.
    """
    found: list[Ending | Outcome] = []
    for purchase in till.unsettled(user_id):
        if purchase.is_live != checkout.is_live:
            continue
        try:
            outcome = with_session(till, checkout, purchase)
        except (NotFound, PurchaseFailed) as error:
            found.append(Ending("failed", purchase, error=error))
            continue
        ending = ending_of(outcome)
        found.append(ending or outcome)
    return found


def reversed_since(till: Till, checkout: StripeCheckout, user_id: ProfileId = LOCAL_PROFILE) -> list[ReversalEntry]:
    """Take back what was refunded or disputed of the purchases of the last half year; what is new of it."""
    since = (datetime.now(UTC) - REFUNDS_LOOKED_FOR).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    entries: list[ReversalEntry] = []
    for purchase in till.paid_since(user_id, since):
        if purchase.is_live != checkout.is_live or purchase.payment_intent is None:
            continue
        try:
            gone = checkout.reversals(purchase.payment_intent)
        except NotFound:
            continue
        for reversal in gone:
            entries += reversals.reverse(till, reversal).entries
    return entries


class Watched(Struct, frozen=True):
    """An open purchase, and the page its buyer comes back to, where it is ours."""

    purchase: Purchase
    page: ReturnPage | None


def endings(
    till: Till,
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
                ending = _look(till, checkout, each)
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


def _look(till: Till, checkout: StripeCheckout, watched: Watched) -> Ending | None:
    session_id = watched.purchase.session_id
    assert session_id is not None
    is_cancelled = watched.page is not None and watched.page.visit == "cancel"
    try:
        session = checkout.expire(session_id) if is_cancelled else checkout.retrieve(session_id)
        ending = ending_of(purchases.settle(till, session))
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
