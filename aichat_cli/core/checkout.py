"""What is known of a payment: our own purchase, and Stripe's Checkout Session, refund and dispute as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from aichat_cli.core.ids import ProfileId
from aichat_cli.core.struct import Struct

PurchaseState = Literal["created", "open", "paid", "expired", "refused"]
ReversalKind = Literal["refund", "dispute"]
PurchaseEntryKind = Literal["purchase", "refund", "dispute", "dispute_won"]
"""How a purchase changes a balance."""


class Purchase(Struct, frozen=True):
    """Credits that somebody set out to buy, at the price of that time, in cents.

    `customer_id` is None until Stripe is about to be asked for a session, `session_id` until the answer arrived.
    """

    id: str
    user_id: ProfileId
    package: str
    credits: int
    amount_cents: int
    currency: str
    is_live: bool
    return_url: str
    customer_id: str | None
    session_id: str | None
    url: str | None
    payment_intent: str | None
    state: PurchaseState
    created_at: str
    updated_at: str


class CheckoutSession(Struct, frozen=True):
    """A Checkout Session as Stripe tells it. `has_failed` is set where a payment by bank was under way and failed."""

    id: str
    status: str
    payment_status: str
    amount_total: int | None
    currency: str
    mode: str
    is_live: bool
    reference: str
    metadata: Mapping[str, str]
    payment_intent: str | None
    url: str | None
    has_failed: bool = False


class Reversal(Struct, frozen=True):
    """Money of a payment that went back, in cents. `is_won` tells of a dispute that ended for the seller."""

    ref: str
    kind: ReversalKind
    payment_intent: str
    amount_cents: int
    is_won: bool = False


class KeptReversal(Struct, frozen=True):
    """A refund or dispute that was written down. `taken_nano` is what it took from the balance, None where it has not yet
    been settled; `is_given_back` tells of a won dispute whose credits are on the balance again.
    """

    ref: str
    kind: ReversalKind
    amount_cents: int
    is_won: bool
    taken_nano: int | None
    is_given_back: bool


class Funds(Struct, frozen=True):
    """What somebody has, in nano-dollars; `available_nano` is the part that is not held for calls under way."""

    balance_nano: int
    available_nano: int
