"""Stripe's objects, as their API and their events hold them, read into data of ours. The SDK is not needed for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aichat_cli.core.checkout import CheckoutSession, Reversal

_DISPUTES_WITH_MONEY = frozenset(
    {"needs_response", "under_review", "appeal_needs_response", "appeal_under_review", "lost", "won"}
)
"""States of a dispute in which the money was taken; the `warning_` ones are questions, `prevented` never became one."""


def session_of(data: Mapping[str, Any], *, has_failed: bool = False) -> CheckoutSession:
    """A Checkout Session. `has_failed`: its payment by bank did."""
    amount = data.get("amount_total")
    metadata = data.get("metadata") or {}
    return CheckoutSession(
        id=_text(data.get("id")),
        status=_text(data.get("status")),
        payment_status=_text(data.get("payment_status")),
        amount_total=amount if isinstance(amount, int) else None,
        currency=_text(data.get("currency")).lower(),
        mode=_text(data.get("mode")),
        is_live=data.get("livemode") is True,
        reference=_text(data.get("client_reference_id")),
        metadata={str(name): str(value) for name, value in metadata.items()} if isinstance(metadata, Mapping) else {},
        payment_intent=_id_of(data.get("payment_intent")),
        url=_text(data.get("url")) or None,
        has_failed=has_failed or _is_failed(data),
    )


def refund_of(data: Mapping[str, Any]) -> Reversal | None:
    """A refund, None where no money went back, or not yet: pending, failed, canceled, or not of a payment."""
    if data.get("status") != "succeeded":
        return None
    return _reversal(data, "refund")


def dispute_of(data: Mapping[str, Any]) -> Reversal | None:
    """A dispute, None where the money is not touched: an inquiry, or one that was prevented."""
    if data.get("status") not in _DISPUTES_WITH_MONEY:
        return None
    return _reversal(data, "dispute")


def _reversal(data: Mapping[str, Any], kind: Any) -> Reversal | None:
    ref, payment, amount = _text(data.get("id")), _id_of(data.get("payment_intent")), data.get("amount")
    if not ref or payment is None or not isinstance(amount, int) or amount <= 0:
        return None
    return Reversal(ref, kind, payment, amount, is_won=kind == "dispute" and data.get("status") == "won")


def _is_failed(data: Mapping[str, Any]) -> bool:
    """Whether the payment of a finished session failed, as its payment tells where it is expanded."""
    payment = data.get("payment_intent")
    if data.get("status") != "complete" or data.get("payment_status") != "unpaid" or not isinstance(payment, Mapping):
        return False
    return payment.get("status") in {"requires_payment_method", "canceled"}


def _id_of(value: object) -> str | None:
    """The id of an object that is given as its id, or whole."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return _text(value) or None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
