"""Events that Stripe sends: checked, then handed to the same functions as everything else that learns of a payment.

Repeated, reordered and unknown events change nothing. An event is believed only with a signature over its exact bytes that
is not older than five minutes and not more than `FUTURE_SECONDS` ahead of our clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from aichat_cli.billing import checkout, purchases, reversals
from aichat_cli.billing.stripe_data import dispute_of, refund_of, session_of
from aichat_cli.billing.till import Till
from aichat_cli.core.checkout import CheckoutSession, Reversal
from aichat_cli.core.errors import BadSignature, NotFound, PurchaseFailed
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct

TOLERANCE_SECONDS = 300
FUTURE_SECONDS = 10
"""Clocks of two machines that are both kept right differ by less."""

Result = Literal["granted", "reversed", "waiting", "known", "refused", "ignored"]


class Receipt(Struct, frozen=True):
    """What came of an event. `waiting`: it was kept until its purchase is known to be paid. `refused`: a payment that is
    not what was to be bought, with the reason in `detail`; sending it again would not help.
    """

    event_id: str
    type: str
    result: Result
    detail: str = ""


class Event(Struct, frozen=True):
    """An event that Stripe signed; `thing` is what it tells of, empty where it tells of nothing."""

    id: str
    type: str
    thing: Mapping[str, Any]


def verified(payload: bytes, signature_header: str | None, secrets: Sequence[Secret], now: float) -> Event:
    """Read one event, where it is to be believed.

    Args:
        payload: the body as it came, unread.
        signature_header: `Stripe-Signature`; it may hold several signatures.
        secrets: of the endpoint; two while one replaces the other.
        now: seconds of Unix time.

    Raises:
        BadSignature: it is not from Stripe, was changed, or is too old or ahead of time.
    """
    signed_at = checkout.verified_time(payload, signature_header or "", secrets)
    if signed_at < now - TOLERANCE_SECONDS:
        raise BadSignature(f"The event was signed {now - signed_at:.0f} seconds ago, which is too long.")
    if signed_at > now + FUTURE_SECONDS:
        raise BadSignature(
            f"The event was signed {signed_at - now:.0f} seconds from now.", hint="Check the clock of this machine"
        )
    try:
        event = json.loads(payload)
    except ValueError as exc:
        raise BadSignature("The event is not JSON.") from exc
    if not isinstance(event, Mapping):
        raise BadSignature("The event is not an object.")
    data = event.get("data")
    thing = data.get("object") if isinstance(data, Mapping) else None
    return Event(str(event.get("id")), str(event.get("type")), thing if isinstance(thing, Mapping) else {})


def take_in(till: Till, event: Event) -> Receipt:
    """Do what an event asks for, where it concerns a purchase of ours."""
    handle = _HANDLERS.get(event.type)
    if handle is None or not event.thing:
        return Receipt(event.id, event.type, "ignored")
    result, detail = handle(till, event.thing)
    return Receipt(event.id, event.type, result, detail)


def _session_event(*, has_failed: bool = False) -> Callable[[Till, Mapping[str, Any]], tuple[Result, str]]:
    def handle(till: Till, data: Mapping[str, Any]) -> tuple[Result, str]:
        return _settled(till, session_of(data, has_failed=has_failed))

    return handle


def _settled(till: Till, session: CheckoutSession) -> tuple[Result, str]:
    try:
        outcome = purchases.settle(till, session)
    except NotFound as error:
        return "ignored", error.message
    except PurchaseFailed as error:
        return "refused", error.message
    return ("granted" if outcome.is_granted else "known"), ""


def _reversal_event(
    read: Callable[[Mapping[str, Any]], Reversal | None],
) -> Callable[[Till, Mapping[str, Any]], tuple[Result, str]]:
    def handle(till: Till, data: Mapping[str, Any]) -> tuple[Result, str]:
        reversal = read(data)
        if reversal is None:
            return "ignored", ""
        done = reversals.reverse(till, reversal)
        if not done.is_ours:
            return "ignored", ""
        return ("waiting" if done.is_waiting else "reversed" if done.entries else "known"), ""

    return handle


_HANDLERS: Mapping[str, Callable[[Till, Mapping[str, Any]], tuple[Result, str]]] = {
    "checkout.session.completed": _session_event(),
    "checkout.session.async_payment_succeeded": _session_event(),
    "checkout.session.async_payment_failed": _session_event(has_failed=True),
    "checkout.session.expired": _session_event(),
    "refund.created": _reversal_event(refund_of),
    "refund.updated": _reversal_event(refund_of),
    "charge.refund.updated": _reversal_event(refund_of),
    "charge.dispute.created": _reversal_event(dispute_of),
    "charge.dispute.updated": _reversal_event(dispute_of),
    "charge.dispute.closed": _reversal_event(dispute_of),
    "charge.dispute.funds_withdrawn": _reversal_event(dispute_of),
    "charge.dispute.funds_reinstated": _reversal_event(dispute_of),
}
"""`charge.refunded` is not among them: it holds a sum, and each refund comes in an event of its own."""
