"""From a Checkout Session to credits on the balance, exactly once.

The page a buyer comes back to, the poll and the webhook all end in `settle`, which believes nothing but what Stripe says of
the session and what was written down when it was begun. It never talks to Stripe.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from aichat_cli.billing import reversals
from aichat_cli.billing.till import Till
from aichat_cli.core import interrupts
from aichat_cli.core.checkout import CheckoutSession, Purchase
from aichat_cli.core.credits import NANO_PER_CREDIT, Package
from aichat_cli.core.errors import NotFound, PurchaseFailed
from aichat_cli.core.ids import ProfileId
from aichat_cli.core.struct import Struct


class Begun(Struct, frozen=True):
    """A purchase to go on with. `is_new` is False where one of the same package had been open already."""

    purchase: Purchase
    is_new: bool


class Outcome(Struct, frozen=True):
    """How a purchase stands. `is_granted` where its credits were added just now; `is_processing` where a bank still
    takes its time.
    """

    purchase: Purchase
    balance_nano: int
    is_granted: bool = False
    is_processing: bool = False


def begin(
    till: Till,
    package: Package,
    *,
    user_id: ProfileId,
    is_live: bool,
    return_url: str,
    passing_over: AbstractSet[str] = frozenset(),
) -> Begun:
    """Write down that a package is to be bought, or find the purchase of it that is still open and not passed over."""
    with interrupts.shielded(), till.transaction():
        till.lock(user_id)
        for purchase in till.unsettled(user_id):
            is_same = purchase.package == package.name and purchase.is_live == is_live
            if is_same and purchase.id not in passing_over:
                return Begun(purchase, is_new=False)
        return Begun(till.add(user_id, package, is_live=is_live, return_url=return_url), is_new=True)


def give_up(till: Till, purchase: Purchase) -> Outcome:
    """Forget a purchase that has no session at Stripe, and can have none any more."""
    with interrupts.shielded(), till.transaction():
        till.lock(purchase.user_id)
        now = till.find(purchase.id)
        if now is not None and now.session_id is None:
            till.set_state(purchase.id, "expired")
        return _outcome(till, purchase)


def settle(till: Till, session: CheckoutSession) -> Outcome:
    """Take note of how a session stands: grant what was paid, once; close what expired or failed.

    Raises:
        NotFound: the session belongs to no purchase of this database.
        PurchaseFailed: it was paid and is not what was to be bought. Nothing is granted.
    """
    with interrupts.shielded(), till.transaction(payment=session.payment_intent):
        till.lock(_purchase_of(till, session).user_id)
        outcome, reason = _settled(till, session, _purchase_of(till, session))
    if reason:
        raise PurchaseFailed(
            f"Nothing was credited: the Checkout Session {session.id} was paid, but {reason}. Money may have been taken.",
            hint=f"Find {session.id} in the Stripe dashboard, and refund it there",
        )
    return outcome


def _purchase_of(till: Till, session: CheckoutSession) -> Purchase:
    purchase = till.by_session(session.id) or till.find(session.reference)
    if purchase is None:
        raise NotFound(f"The Checkout Session {session.id} belongs to no purchase of this database.")
    return purchase


def _settled(till: Till, session: CheckoutSession, purchase: Purchase) -> tuple[Outcome, str]:
    """How it stands now, and why it is refused, empty where it is not."""
    if purchase.state == "paid" and purchase.session_id == session.id:
        return _outcome(till, purchase), ""
    reason = _mismatch(till, session, purchase)
    if session.payment_status == "paid":
        if purchase.state == "refused" or reason:
            # A second session cannot undo what the purchase's own one did.
            if purchase.session_id in {None, session.id}:
                till.set_session(purchase.id, session.id, session.url)
                till.set_state(purchase.id, "refused")
            return _outcome(till, purchase), reason or "it had been refused before"
        return _grant(till, session, purchase), ""
    if not reason and purchase.state in {"created", "open"}:
        till.set_session(purchase.id, session.id, session.url)
        if session.status == "expired" or session.has_failed:
            till.set_state(purchase.id, "expired")
    return _outcome(till, purchase, is_processing=session.status == "complete" and not session.has_failed), ""


def _grant(till: Till, session: CheckoutSession, purchase: Purchase) -> Outcome:
    till.set_session(purchase.id, session.id, session.url)
    till.set_state(purchase.id, "paid", payment_intent=session.payment_intent)
    is_granted = till.enter("purchase", session.id, purchase, purchase.credits * NANO_PER_CREDIT)
    if is_granted:
        till.audit(
            "credits.purchased",
            purchase.user_id,
            {"purchase": purchase.id, "package": purchase.package, "credits": purchase.credits},
        )
    outcome = _outcome(till, purchase, is_granted=is_granted)
    # A refund or dispute may have become known before the payment did.
    reversals.apply(till, outcome.purchase)
    return _outcome(till, purchase, is_granted=is_granted)


def _mismatch(till: Till, session: CheckoutSession, purchase: Purchase) -> str:
    """What of a session is not as it was written down, as the end of a sentence; empty where all is."""
    other = till.by_payment(session.payment_intent) if session.payment_intent else None
    differing = {
        "another session was begun for this purchase": purchase.session_id not in {None, session.id},
        "it is not a payment": session.mode != "payment",
        "its amount is not the price": session.amount_total != purchase.amount_cents,
        "its currency is another one": session.currency != purchase.currency,
        "one of them is live and the other a test": session.is_live != purchase.is_live,
        "it was begun for another purchase": session.reference != purchase.id or not _is_marked(session, purchase),
        "it names no payment": session.payment_status == "paid" and not session.payment_intent,
        "its payment was for another purchase": other is not None and other.id != purchase.id,
    }
    return next((reason for reason, differs in differing.items() if differs), "")


def _is_marked(session: CheckoutSession, purchase: Purchase) -> bool:
    return {name: session.metadata.get(name) for name in metadata_of(purchase)} == metadata_of(purchase)


def metadata_of(purchase: Purchase) -> dict[str, str]:
    """What a session carries of its purchase."""
    return {"userId": purchase.user_id, "credits": str(purchase.credits), "purchaseId": purchase.id}


def _outcome(till: Till, purchase: Purchase, *, is_granted: bool = False, is_processing: bool = False) -> Outcome:
    now = till.find(purchase.id)
    assert now is not None
    balance_nano = till.funds(now.user_id).balance_nano
    return Outcome(now, balance_nano, is_granted, is_processing and now.state == "open")
