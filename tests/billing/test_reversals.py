"""Refunds and disputes take back what they should, no more, and never what is not there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core.credits import NANO_PER_CREDIT, PACKAGES
from aichat_cli.core.ids import RequestId
from aichat_cli.storage import accounts
from aichat_cli.storage.database import Database
from tests.billing.payments import balance, begun, ledger, paid, session_id_of, spend, told
from tests.servers.stripe_double import StripeDouble


def refunded(db: Database, stripe: StripeDouble, purchase: Any, cents: int, status: str = "succeeded") -> str:
    return told(db, stripe, "refund.created", stripe.refund(session_id_of(purchase), cents, status=status))


def disputed(db: Database, stripe: StripeDouble, purchase: Any, cents: int) -> dict[str, Any]:
    dispute = stripe.dispute(session_id_of(purchase), cents)
    assert told(db, stripe, "charge.dispute.created", dispute) == "reversed"
    return dispute


def test_a_full_refund_takes_back_the_whole_package(db: Database, stripe: StripeDouble) -> None:
    purchase = paid(db, stripe)
    assert refunded(db, stripe, purchase, 2000) == "reversed"
    assert ledger(db) == [("purchase", 500, 0), ("refund", -500, 0)]
    assert balance(db) == 100


def test_partial_refunds_take_whole_credits_in_proportion_and_all_of_them_in_the_end(
    db: Database, stripe: StripeDouble
) -> None:
    purchase = paid(db, stripe)
    for cents in (667, 667, 666):
        refunded(db, stripe, purchase, cents)
    assert ledger(db)[1:] == [("refund", -166, 0), ("refund", -167, 0), ("refund", -167, 0)]
    assert balance(db) == 100


def test_the_same_refund_counts_once_in_whatever_events_it_comes(db: Database, stripe: StripeDouble) -> None:
    refund = stripe.refund(session_id_of(paid(db, stripe)), 1000)
    kinds = ["refund.created", "refund.updated", "charge.refund.updated", "refund.created"]
    assert [told(db, stripe, kind, refund) for kind in kinds] == ["reversed", "known", "known", "known"]
    assert balance(db) == 350


@pytest.mark.parametrize("status", ["pending", "failed", "canceled", "requires_action"])
def test_a_refund_that_moved_no_money_takes_nothing(db: Database, stripe: StripeDouble, status: str) -> None:
    purchase = paid(db, stripe)
    assert refunded(db, stripe, purchase, 2000, status) == "ignored"
    assert balance(db) == 600


def test_a_refund_that_was_pending_counts_when_it_succeeds(db: Database, stripe: StripeDouble) -> None:
    refund = stripe.refund(session_id_of(paid(db, stripe)), 2000, status="pending")
    told(db, stripe, "refund.created", refund)
    assert told(db, stripe, "refund.updated", {**refund, "status": "succeeded"}) == "reversed"
    assert told(db, stripe, "refund.created", refund) == "ignored"
    assert balance(db) == 100


def test_what_was_spent_is_not_taken_and_written_down_as_uncovered(db: Database, stripe: StripeDouble) -> None:
    purchase = paid(db, stripe)
    spend(db, 30)
    refunded(db, stripe, purchase, 2000)
    assert ledger(db)[2:] == [("refund", -30, 470)]
    assert balance(db) == 0


def test_what_is_held_for_a_call_under_way_is_not_touched(db: Database, stripe: StripeDouble) -> None:
    purchase = paid(db, stripe)
    with db.transaction():
        accounts.hold(db, accounts.NewHold(RequestId("r"), 590 * NANO_PER_CREDIT, "credits", "{}"))
    refunded(db, stripe, purchase, 2000)
    assert ledger(db)[1:] == [("refund", -10, 490)]
    assert accounts.account(db).available_nano == 0


def test_a_dispute_takes_the_credits_and_a_won_one_gives_them_back(db: Database, stripe: StripeDouble) -> None:
    dispute = disputed(db, stripe, paid(db, stripe), 2000)
    assert balance(db) == 100
    won = {**dispute, "status": "won"}
    assert [told(db, stripe, "charge.dispute.closed", won) for _ in range(2)] == ["reversed", "known"]
    assert told(db, stripe, "charge.dispute.created", dispute) == "known"
    assert ledger(db)[1:] == [("dispute", -500, 0), ("dispute_won", 500, 0)]
    assert balance(db) == 600


def test_a_dispute_that_was_won_before_it_was_heard_of_takes_nothing(db: Database, stripe: StripeDouble) -> None:
    dispute = stripe.dispute(session_id_of(paid(db, stripe)), 2000)
    assert told(db, stripe, "charge.dispute.closed", {**dispute, "status": "won"}) == "known"
    assert told(db, stripe, "charge.dispute.created", dispute) == "known"
    assert balance(db) == 600


def test_a_lost_dispute_gives_nothing_back(db: Database, stripe: StripeDouble) -> None:
    dispute = disputed(db, stripe, paid(db, stripe), 2000)
    assert told(db, stripe, "charge.dispute.closed", {**dispute, "status": "lost"}) == "known"
    assert balance(db) == 100


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed", "prevented"])
def test_a_question_of_a_bank_takes_nothing(db: Database, stripe: StripeDouble, status: str) -> None:
    dispute = stripe.dispute(session_id_of(paid(db, stripe)), 2000, status=status)
    assert told(db, stripe, "charge.dispute.created", dispute) == "ignored"
    assert balance(db) == 600


def test_a_won_dispute_gives_back_what_it_took_not_what_was_uncovered(db: Database, stripe: StripeDouble) -> None:
    purchase = paid(db, stripe)
    spend(db, 30)
    dispute = disputed(db, stripe, purchase, 2000)
    told(db, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
    assert ledger(db)[2:] == [("dispute", -30, 470), ("dispute_won", 30, 0)]


def test_money_that_is_refunded_and_disputed_is_taken_once(db: Database, stripe: StripeDouble) -> None:
    purchase = paid(db, stripe)
    refunded(db, stripe, purchase, 1000)
    dispute = disputed(db, stripe, purchase, 2000)
    assert ledger(db)[1:] == [("refund", -250, 0), ("dispute", -250, 0)]
    told(db, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
    assert balance(db) == 350


def test_a_won_dispute_does_not_give_back_what_was_refunded_meanwhile(db: Database, stripe: StripeDouble) -> None:
    purchase = paid(db, stripe)
    dispute = disputed(db, stripe, purchase, 2000)
    refunded(db, stripe, purchase, 2000)
    told(db, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
    assert ledger(db)[1:] == [("dispute", -500, 0), ("refund", 0, 0)]
    assert balance(db) == 100


@given(
    cents=st.lists(st.integers(1, 2500), max_size=6),
    won=st.lists(st.booleans(), min_size=6, max_size=6),
    spent=st.integers(0, 600),
    package=st.sampled_from(["small", "medium", "large"]),
)
def test_whatever_goes_back_the_purchase_is_never_taken_more_than_once(
    stripe_for_examples: StripeDouble, cents: list[int], won: list[bool], spent: int, package: str
) -> None:
    stripe = stripe_for_examples
    bought = PACKAGES[package]
    with Database.in_memory() as db:
        purchase = paid(db, stripe, package)
        spend(db, max(100 + bought.credits - spent, 0))
        for number, (amount, is_won) in enumerate(zip(cents, won, strict=False)):
            if number % 2:
                refunded(db, stripe, purchase, amount)
                continue
            dispute = disputed(db, stripe, purchase, amount)
            if is_won:
                told(db, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
        standing = [amount for number, amount in enumerate(cents) if number % 2 or not won[number]]
        taken = -sum(amount for kind, amount, _ in ledger(db) if kind in {"refund", "dispute", "dispute_won"})
        share = bought.credits * min(sum(standing), bought.amount_cents) // bought.amount_cents
        assert 0 <= taken <= share
        assert balance(db) >= 0
        if not spent:
            assert taken == share


@pytest.fixture(scope="module")
def stripe_for_examples() -> Any:
    with StripeDouble() as running:
        yield running


def test_reversals_are_kept_for_a_purchase_that_is_not_paid_yet(db: Database, stripe: StripeDouble) -> None:
    purchase = begun(db, stripe)
    session = stripe.pay(session_id_of(purchase))
    dispute = stripe.dispute(session["id"], 2000)
    assert told(db, stripe, "charge.dispute.created", dispute) == "waiting"
    assert told(db, stripe, "charge.dispute.closed", {**dispute, "status": "won"}) == "waiting"
    assert told(db, stripe, "checkout.session.completed", session) == "granted"
    assert ledger(db) == [("purchase", 500, 0)]
