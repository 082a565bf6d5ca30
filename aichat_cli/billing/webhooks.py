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
from aichat_cli.core.checkout import CheckoutSession, Reversal
from aichat_cli.core.errors import BadSignature, NotFound, PurchaseFailed
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database

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


def receive(
    database: Database, payload: bytes, signature_header: str | None, secrets: Sequence[Secret], now: float
) -> Receipt:
    """Take in one event.

    Args:
        payload: the body as it came, unread.
        signature_header: `Stripe-Signature`; it may hold several signatures.
        secrets: of the endpoint; two while one replaces the other.
        now: seconds of Unix time.

    Raises:
        BadSignature: it is not from Stripe, was changed, or is too old or ahead of time.
    """
    event = _verified(payload, signature_header or "", secrets, now)
    kind, data = str(event.get("type")), event.get("data")
    thing = data.get("object") if isinstance(data, Mapping) else None
    handle = _HANDLERS.get(kind)
    if handle is None or not isinstance(thing, Mapping):
        return Receipt(str(event.get("id")), kind, "ignored")
    result, detail = handle(database, thing)
    return Receipt(str(event.get("id")), kind, result, detail)


def _verified(payload: bytes, header: str, secrets: Sequence[Secret], now: float) -> Mapping[str, Any]:
    signed_at = checkout.verified_time(payload, header, secrets)
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
    return event


def _session_event(*, has_failed: bool = False) -> Callable[[Database, Mapping[str, Any]], tuple[Result, str]]:
    def handle(db: Database, data: Mapping[str, Any]) -> tuple[Result, str]:
        return _settled(db, session_of(data, has_failed=has_failed))

    return handle


def _settled(db: Database, session: CheckoutSession) -> tuple[Result, str]:
    try:
        outcome = purchases.settle(db, session)
    except NotFound as error:
        return "ignored", error.message
    except PurchaseFailed as error:
        return "refused", error.message
    return ("granted" if outcome.is_granted else "known"), ""


def _reversal_event(
    read: Callable[[Mapping[str, Any]], Reversal | None],
) -> Callable[[Database, Mapping[str, Any]], tuple[Result, str]]:
    def handle(db: Database, data: Mapping[str, Any]) -> tuple[Result, str]:
        reversal = read(data)
        if reversal is None:
            return "ignored", ""
        done = reversals.reverse(db, reversal)
        if not done.is_ours:
            return "ignored", ""
        return ("waiting" if done.is_waiting else "reversed" if done.entries else "known"), ""

    return handle


_HANDLERS: Mapping[str, Callable[[Database, Mapping[str, Any]], tuple[Result, str]]] = {
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
