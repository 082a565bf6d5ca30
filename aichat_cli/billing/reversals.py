"""Refunds and disputes: what they take from the balance again, and what a won dispute gives back. Nothing else does.

Whole credits in proportion to the cents that went back in all, never more than the purchase had granted: money that was
refunded and is disputed as well counts once. The balance does not go below zero, and what is held for calls under way
is not touched: what is not there is written down as uncovered.
"""

from __future__ import annotations

from typing import Literal

from aichat_cli.billing.till import Till
from aichat_cli.core import interrupts
from aichat_cli.core.checkout import KeptReversal, Purchase, Reversal
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.struct import Struct


class ReversalEntry(Struct, frozen=True):
    """What a refund or dispute changed on the balance, in nano-dollars: below zero where it took."""

    kind: Literal["refund", "dispute", "dispute_won"]
    ref: str
    purchase_id: str
    amount_nano: int
    uncovered_nano: int


class Reversed(Struct, frozen=True):
    """What came of a reversal: `entries` are new. `is_ours` is False where it concerns no purchase of ours, `is_waiting`
    tells that it does or may, and that the purchase is not known to be paid yet.
    """

    entries: tuple[ReversalEntry, ...] = ()
    is_ours: bool = True
    is_waiting: bool = False


def reverse(till: Till, reversal: Reversal) -> Reversed:
    """Take back what was bought with the money of a refund or dispute, once; one that comes before its purchase is
    known to be paid is kept for then.
    """
    with interrupts.shielded(), till.transaction(payment=reversal.payment_intent):
        purchase = till.by_payment(reversal.payment_intent)
        if purchase is None and not till.has_unsettled():
            return Reversed(is_ours=False)
        if purchase is not None:
            till.lock(purchase.user_id)
        till.keep_reversal(reversal)
        if purchase is None or purchase.state != "paid":
            return Reversed(is_waiting=True)
        return Reversed(apply(till, purchase))


def apply(till: Till, purchase: Purchase) -> tuple[ReversalEntry, ...]:
    """Settle what is known to have gone back of a paid purchase, inside the caller's transaction, which has locked its user."""
    assert purchase.payment_intent is not None
    kept = till.reversals(purchase.payment_intent)
    counted = sum(each.amount_cents for each in kept if _counts(each))
    entries: list[ReversalEntry] = []
    for each in kept:
        if each.taken_nano is None and not each.is_won:
            due = _share_nano(purchase, counted + each.amount_cents) - _share_nano(purchase, counted)
            counted += each.amount_cents
            entries.append(_take(till, purchase, each, due))
        elif each.taken_nano and each.is_won and not each.is_given_back:
            # Money that was refunded too stays taken: the refund stands for it now.
            released = _share_nano(purchase, counted + each.amount_cents) - _share_nano(purchase, counted)
            if give := min(released, each.taken_nano):
                entries.append(_enter(till, ReversalEntry("dispute_won", each.ref, purchase.id, give, 0), purchase))
    return tuple(entries)


def _counts(kept: KeptReversal) -> bool:
    return kept.taken_nano is not None and not kept.is_won


def _share_nano(purchase: Purchase, cents: int) -> int:
    """What cents of a purchase had bought: whole credits, rounded down until all of it went back."""
    return purchase.credits * min(cents, purchase.amount_cents) // purchase.amount_cents * NANO_PER_CREDIT


def _take(till: Till, purchase: Purchase, kept: KeptReversal, due_nano: int) -> ReversalEntry:
    taken = min(due_nano, till.funds(purchase.user_id).available_nano)
    return _enter(till, ReversalEntry(kept.kind, kept.ref, purchase.id, -taken, due_nano - taken), purchase)


def _enter(till: Till, entry: ReversalEntry, purchase: Purchase) -> ReversalEntry:
    if till.enter(entry.kind, entry.ref, purchase, entry.amount_nano, uncovered_nano=entry.uncovered_nano):
        till.audit(
            "credits.reversed",
            purchase.user_id,
            {
                "purchase": purchase.id,
                "kind": entry.kind,
                "ref": entry.ref,
                "credits": entry.amount_nano // NANO_PER_CREDIT,
                "uncovered": entry.uncovered_nano // NANO_PER_CREDIT,
            },
        )
    return entry
