"""Refunds and disputes take back what they should, no more, and never what is not there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aichat_cli.core.credits import PACKAGES
from aichat_cli.hosted.connection import Connection
from aichat_cli.storage.database import Database
from tests.billing.payments import begun, paid, session_id_of, spend, told
from tests.billing.tills import Books, PostgresBooks, SqliteBooks
from tests.servers.stripe_double import StripeDouble


def refunded(books: Books, stripe: StripeDouble, purchase: Any, cents: int, status: str = "succeeded") -> str:
    return told(books, stripe, "refund.created", stripe.refund(session_id_of(purchase), cents, status=status))


def disputed(books: Books, stripe: StripeDouble, purchase: Any, cents: int) -> dict[str, Any]:
    dispute = stripe.dispute(session_id_of(purchase), cents)
    assert told(books, stripe, "charge.dispute.created", dispute) == "reversed"
    return dispute


def test_a_full_refund_takes_back_the_whole_package(books: Books, stripe: StripeDouble) -> None:
    purchase = paid(books, stripe)
    assert refunded(books, stripe, purchase, 2000) == "reversed"
    assert books.ledger == [("purchase", 500, 0), ("refund", -500, 0)]
    assert books.balance == 100


def test_partial_refunds_take_whole_credits_in_proportion_and_all_of_them_in_the_end(
    books: Books, stripe: StripeDouble
) -> None:
    purchase = paid(books, stripe)
    for cents in (667, 667, 666):
        refunded(books, stripe, purchase, cents)
    assert books.ledger[1:] == [("refund", -166, 0), ("refund", -167, 0), ("refund", -167, 0)]
    assert books.balance == 100


def test_the_same_refund_counts_once_in_whatever_events_it_comes(books: Books, stripe: StripeDouble) -> None:
    refund = stripe.refund(session_id_of(paid(books, stripe)), 1000)
    kinds = ["refund.created", "refund.updated", "charge.refund.updated", "refund.created"]
    assert [told(books, stripe, kind, refund) for kind in kinds] == ["reversed", "known", "known", "known"]
    assert books.balance == 350


@pytest.mark.parametrize("status", ["pending", "failed", "canceled", "requires_action"])
def test_a_refund_that_moved_no_money_takes_nothing(books: Books, stripe: StripeDouble, status: str) -> None:
    purchase = paid(books, stripe)
    assert refunded(books, stripe, purchase, 2000, status) == "ignored"
    assert books.balance == 600


def test_a_refund_that_was_pending_counts_when_it_succeeds(books: Books, stripe: StripeDouble) -> None:
    refund = stripe.refund(session_id_of(paid(books, stripe)), 2000, status="pending")
    told(books, stripe, "refund.created", refund)
    assert told(books, stripe, "refund.updated", {**refund, "status": "succeeded"}) == "reversed"
    assert told(books, stripe, "refund.created", refund) == "ignored"
    assert books.balance == 100


def test_what_was_spent_is_not_taken_and_written_down_as_uncovered(books: Books, stripe: StripeDouble) -> None:
    purchase = paid(books, stripe)
    spend(books, 30)
    refunded(books, stripe, purchase, 2000)
    assert books.ledger[2:] == [("refund", -30, 470)]
    assert books.balance == 0


def test_what_is_held_for_a_call_under_way_is_not_touched(books: Books, stripe: StripeDouble) -> None:
    purchase = paid(books, stripe)
    books.hold(590)
    refunded(books, stripe, purchase, 2000)
    assert books.ledger[1:] == [("refund", -10, 490)]
    assert books.till.funds(books.user_id).available_nano == 0


def test_a_dispute_takes_the_credits_and_a_won_one_gives_them_back(books: Books, stripe: StripeDouble) -> None:
    dispute = disputed(books, stripe, paid(books, stripe), 2000)
    assert books.balance == 100
    won = {**dispute, "status": "won"}
    assert [told(books, stripe, "charge.dispute.closed", won) for _ in range(2)] == ["reversed", "known"]
    assert told(books, stripe, "charge.dispute.created", dispute) == "known"
    assert books.ledger[1:] == [("dispute", -500, 0), ("dispute_won", 500, 0)]
    assert books.balance == 600


def test_a_dispute_that_was_won_before_it_was_heard_of_takes_nothing(books: Books, stripe: StripeDouble) -> None:
    dispute = stripe.dispute(session_id_of(paid(books, stripe)), 2000)
    assert told(books, stripe, "charge.dispute.closed", {**dispute, "status": "won"}) == "known"
    assert told(books, stripe, "charge.dispute.created", dispute) == "known"
    assert books.balance == 600


def test_a_lost_dispute_gives_nothing_back(books: Books, stripe: StripeDouble) -> None:
    dispute = disputed(books, stripe, paid(books, stripe), 2000)
    assert told(books, stripe, "charge.dispute.closed", {**dispute, "status": "lost"}) == "known"
    assert books.balance == 100


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed", "prevented"])
def test_a_question_of_a_bank_takes_nothing(books: Books, stripe: StripeDouble, status: str) -> None:
    dispute = stripe.dispute(session_id_of(paid(books, stripe)), 2000, status=status)
    assert told(books, stripe, "charge.dispute.created", dispute) == "ignored"
    assert books.balance == 600


def test_a_won_dispute_gives_back_what_it_took_not_what_was_uncovered(books: Books, stripe: StripeDouble) -> None:
    purchase = paid(books, stripe)
    spend(books, 30)
    dispute = disputed(books, stripe, purchase, 2000)
    told(books, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
    assert books.ledger[2:] == [("dispute", -30, 470), ("dispute_won", 30, 0)]


def test_money_that_is_refunded_and_disputed_is_taken_once(books: Books, stripe: StripeDouble) -> None:
    purchase = paid(books, stripe)
    refunded(books, stripe, purchase, 1000)
    dispute = disputed(books, stripe, purchase, 2000)
    assert books.ledger[1:] == [("refund", -250, 0), ("dispute", -250, 0)]
    told(books, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
    assert books.balance == 350


def test_a_won_dispute_does_not_give_back_what_was_refunded_meanwhile(books: Books, stripe: StripeDouble) -> None:
    purchase = paid(books, stripe)
    dispute = disputed(books, stripe, purchase, 2000)
    refunded(books, stripe, purchase, 2000)
    told(books, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
    assert books.ledger[1:] == [("dispute", -500, 0), ("refund", 0, 0)]
    assert books.balance == 100


WHAT_GOES_BACK = {
    "cents": st.lists(st.integers(1, 2500), max_size=6),
    "won": st.lists(st.booleans(), min_size=6, max_size=6),
    "spent": st.integers(0, 600),
    "package": st.sampled_from(["small", "medium", "large"]),
}


@given(**WHAT_GOES_BACK)
def test_whatever_goes_back_the_purchase_is_never_taken_more_than_once(
    stripe_for_examples: StripeDouble, cents: list[int], won: list[bool], spent: int, package: str
) -> None:
    with Database.in_memory() as db:
        _whatever_goes_back(SqliteBooks(db), stripe_for_examples, cents, won, spent, package)


@settings(max_examples=8)
@given(**WHAT_GOES_BACK)
def test_in_postgres_too_the_purchase_is_never_taken_more_than_once(
    hosted_till: tuple[Connection, str],
    stripe_for_examples: StripeDouble,
    cents: list[int],
    won: list[bool],
    spent: int,
    package: str,
) -> None:
    _whatever_goes_back(PostgresBooks(*hosted_till), stripe_for_examples, cents, won, spent, package)


def _whatever_goes_back(
    books: Books, stripe: StripeDouble, cents: list[int], won: list[bool], spent: int, package: str
) -> None:
    bought = PACKAGES[package]
    purchase = paid(books, stripe, package)
    spend(books, max(100 + bought.credits - spent, 0))
    for number, (amount, is_won) in enumerate(zip(cents, won, strict=False)):
        if number % 2:
            refunded(books, stripe, purchase, amount)
            continue
        dispute = disputed(books, stripe, purchase, amount)
        if is_won:
            told(books, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
    standing = [amount for number, amount in enumerate(cents) if number % 2 or not won[number]]
    taken = -sum(amount for kind, amount, _ in books.ledger if kind in {"refund", "dispute", "dispute_won"})
    share = bought.credits * min(sum(standing), bought.amount_cents) // bought.amount_cents
    assert 0 <= taken <= share
    assert books.balance >= 0
    if not spent:
        assert taken == share


@pytest.fixture(scope="module")
def stripe_for_examples() -> Any:
    with StripeDouble() as running:
        yield running


def test_reversals_are_kept_for_a_purchase_that_is_not_paid_yet(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    session = stripe.pay(session_id_of(purchase))
    dispute = stripe.dispute(session["id"], 2000)
    assert told(books, stripe, "charge.dispute.created", dispute) == "waiting"
    assert told(books, stripe, "charge.dispute.closed", {**dispute, "status": "won"}) == "waiting"
    assert told(books, stripe, "checkout.session.completed", session) == "granted"
    assert books.ledger == [("purchase", 500, 0)]


def test_what_is_taken_and_given_back_is_audited_once(books: Books, stripe: StripeDouble) -> None:
    purchase = paid(books, stripe)
    spend(books, 30)
    dispute = disputed(books, stripe, purchase, 2000)
    for _ in range(2):
        told(books, stripe, "charge.dispute.closed", {**dispute, "status": "won"})
    of_dispute = {"purchase": purchase.id, "ref": dispute["id"]}
    assert books.audited[1:] == [
        ("stripe", "credits.reversed", {**of_dispute, "kind": "dispute", "credits": -30, "uncovered": 470}),
        ("stripe", "credits.reversed", {**of_dispute, "kind": "dispute_won", "credits": 30, "uncovered": 0}),
    ]
