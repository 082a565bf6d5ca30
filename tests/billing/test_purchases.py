"""Who paid gets what was bought, once, however and however often it becomes known."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from aichat_cli.billing import purchases, reversals, webhooks
from aichat_cli.billing.stripe_data import session_of
from aichat_cli.core.checkout import Reversal
from aichat_cli.core.credits import NANO_PER_CREDIT, PACKAGES
from aichat_cli.core.errors import NotFound, PurchaseFailed
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import replace
from aichat_cli.storage.database import Database
from tests.billing.payments import RETURN_URL, begin, begun, paid_session, session_id_of, state, told
from tests.billing.tills import Books, PostgresBooks, SqliteBooks
from tests.servers.stripe_double import WEBHOOK_SECRET, StripeDouble
from tests.storage.support import finish, start


@pytest.mark.parametrize(("package", "credits_bought"), [("small", 100), ("medium", 500), ("large", 2000)])
def test_a_paid_session_grants_its_package(
    books: Books, stripe: StripeDouble, package: str, credits_bought: int
) -> None:
    purchase = begun(books, stripe, package)
    outcome = purchases.settle(books.till, paid_session(stripe, purchase))
    assert outcome.is_granted
    assert outcome.purchase.state == "paid"
    assert books.balance == 100 + credits_bought
    assert stripe.last_session["amount_total"] == PACKAGES[package].amount_cents


def test_a_session_that_is_open_grants_nothing(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    purchases.settle(books.till, session_of(stripe.last_session))
    assert (state(books, purchase), books.balance) == ("open", 100)


def test_a_paid_session_grants_once_by_page_poll_and_webhook(books: Books, stripe: StripeDouble) -> None:
    session = paid_session(stripe, begun(books, stripe))
    assert purchases.settle(books.till, session).is_granted
    assert not purchases.settle(books.till, session).is_granted
    assert told(books, stripe, "checkout.session.completed", stripe.last_session) == "known"
    assert books.ledger == [("purchase", 500, 0)]


def test_the_ledger_itself_takes_a_session_once(books: Books, stripe: StripeDouble) -> None:
    session = paid_session(stripe, begun(books, stripe))
    purchases.settle(books.till, session)
    assert books.rows("SELECT ref FROM credit_ledger WHERE kind = 'purchase'") == [(session.id,)]
    books.rows("UPDATE purchases SET state = 'open'")
    assert not purchases.settle(books.till, session).is_granted
    assert books.balance == 600
    assert [action for _, action, _ in books.audited] == ["credits.purchased"]


SETTLE = """
import json, sys
from tests.billing.tills import opened
from aichat_cli.billing import purchases
from aichat_cli.billing.stripe_data import session_of
with opened(sys.argv[1]) as till:
    print("ready", flush=True)
    sys.stdin.readline()
    print(purchases.settle(till, session_of(json.loads(sys.argv[2]))).is_granted)
"""


def test_many_processes_that_learn_of_one_payment_at_once_grant_once(
    db: Database, local_books: Books, stripe: StripeDouble
) -> None:
    purchase = begun(local_books, stripe)
    session = stripe.pay(session_id_of(purchase))
    assert db.path is not None
    processes = [start(SETTLE, db.path, json.dumps(session)) for _ in range(6)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert sorted(finish(process) for process in processes) == ["False"] * 5 + ["True"]
    assert local_books.ledger == [("purchase", 500, 0)]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("amount_total", 1, "amount is not the price"),
        ("amount_total", None, "amount is not the price"),
        ("currency", "jpy", "currency is another one"),
        ("livemode", True, "one of them is live"),
        ("mode", "subscription", "not a payment"),
        ("client_reference_id", "another", "another purchase"),
        ("metadata", {}, "another purchase"),
        ("payment_intent", None, "names no payment"),
    ],
)
def test_a_payment_that_is_not_the_one_begun_grants_nothing_and_says_what_to_do(
    books: Books, stripe: StripeDouble, field: str, value: Any, reason: str
) -> None:
    purchase = begun(books, stripe)
    session = {**stripe.pay(session_id_of(purchase)), field: value}
    for _ in range(2):
        with pytest.raises(PurchaseFailed, match=reason) as raised:
            purchases.settle(books.till, session_of(session))
    assert "Money may have been taken" in raised.value.message
    assert session["id"] in (raised.value.hint or "")
    assert "dashboard" in (raised.value.hint or "")
    assert (state(books, purchase), books.balance) == ("refused", 100)


def test_what_was_refused_once_is_not_granted_by_a_better_story(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    session = paid_session(stripe, purchase)
    with pytest.raises(PurchaseFailed):
        purchases.settle(books.till, replace(session, amount_total=1))
    with pytest.raises(PurchaseFailed, match="refused before"):
        purchases.settle(books.till, session)
    assert books.balance == 100


def test_a_session_of_somebody_else_is_none_of_ours(books: Books, stripe: StripeDouble) -> None:
    session = replace(paid_session(stripe, begun(books, stripe)), id="cs_test_foreign", reference="foreign")
    with pytest.raises(NotFound):
        purchases.settle(books.till, session)
    assert books.balance == 100


def test_a_second_session_for_a_purchase_grants_nothing_and_leaves_the_first_as_it_is(
    books: Books, stripe: StripeDouble
) -> None:
    purchase = begun(books, stripe)
    session = paid_session(stripe, purchase)
    for expected in ("open", "paid"):
        with pytest.raises(PurchaseFailed, match="another session"):
            purchases.settle(books.till, replace(session, id="cs_test_second", payment_intent="pi_second"))
        assert state(books, purchase) == expected
        purchases.settle(books.till, session)
    assert books.ledger == [("purchase", 500, 0)]


def test_one_payment_does_not_pay_for_two_purchases(books: Books, stripe: StripeDouble) -> None:
    first = paid_session(stripe, begun(books, stripe, "medium"))
    second = paid_session(stripe, begun(books, stripe, "small"))
    purchases.settle(books.till, first)
    with pytest.raises(PurchaseFailed, match="for another purchase"):
        purchases.settle(books.till, replace(second, payment_intent=first.payment_intent))
    assert books.ledger == [("purchase", 500, 0)]


def test_an_expired_session_closes_its_purchase_and_a_late_payment_still_counts(
    books: Books, stripe: StripeDouble
) -> None:
    purchase = begun(books, stripe)
    session = paid_session(stripe, purchase)
    purchases.settle(books.till, replace(session, status="expired", payment_status="unpaid"))
    assert state(books, purchase) == "expired"
    assert purchases.settle(books.till, session).is_granted
    purchases.settle(books.till, replace(session, status="expired", payment_status="unpaid"))
    assert (state(books, purchase), books.balance) == ("paid", 600)


def test_a_payment_by_bank_grants_when_the_bank_is_done(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    session_id = session_id_of(purchase)
    assert told(books, stripe, "checkout.session.completed", stripe.begin_bank_payment(session_id)) == "known"
    assert (state(books, purchase), books.balance) == ("open", 100)
    done = stripe.end_bank_payment(session_id, is_paid=True)
    assert told(books, stripe, "checkout.session.async_payment_succeeded", done) == "granted"
    assert told(books, stripe, "checkout.session.completed", {**done, "payment_status": "unpaid"}) == "known"
    assert (state(books, purchase), books.balance) == ("paid", 600)


def test_a_payment_by_bank_that_fails_grants_nothing(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    failed = stripe.begin_bank_payment(session_id_of(purchase))
    assert told(books, stripe, "checkout.session.async_payment_failed", failed) == "known"
    assert (state(books, purchase), books.balance) == ("expired", 100)


def test_a_second_purchase_of_a_package_goes_on_with_the_open_one(books: Books, stripe: StripeDouble) -> None:
    first = begun(books, stripe)
    again = begin(books, "medium", is_live=False)
    assert (again.purchase, again.is_new) == (first, False)
    assert begin(books, "medium", is_live=True).is_new
    assert begin(books, "small", is_live=False).is_new


def test_webhook_page_and_poll_that_learn_of_one_payment_at_once_grant_once(
    hosted_books: PostgresBooks, stripe: StripeDouble
) -> None:
    purchase = begun(hosted_books, stripe)
    session = stripe.pay(session_id_of(purchase))
    refund = stripe.refund(session["id"], 500)
    together = threading.Barrier(9)

    def learn(number: int) -> bool:
        with hosted_books.another() as till:
            together.wait(30)
            if number % 2:
                return purchases.settle(till, session_of(session)).is_granted
            payload, header = stripe.event("checkout.session.completed", session)
            event = webhooks.verified(payload, header, [Secret(WEBHOOK_SECRET, "a test")], time.time())
            return webhooks.take_in(till, event).result == "granted"

    def hear_of_a_refund() -> None:
        with hosted_books.another() as till:
            together.wait(30)
            payload, header = stripe.event("refund.created", refund)
            webhooks.take_in(till, webhooks.verified(payload, header, [Secret(WEBHOOK_SECRET, "a test")], time.time()))

    with ThreadPoolExecutor(9) as threads:
        refunded = threads.submit(hear_of_a_refund)
        assert sorted(threads.map(learn, range(8))) == [False] * 7 + [True]
        refunded.result()
    assert hosted_books.ledger == [("purchase", 500, 0), ("refund", -125, 0)]


def test_a_purchase_whose_session_became_known_meanwhile_is_not_given_up(books: Books, stripe: StripeDouble) -> None:
    without_session = begin(books).purchase
    assert begun(books, stripe).id == without_session.id
    assert purchases.give_up(books.till, without_session).purchase.state == "open"


def until_it_waits(books: PostgresBooks, other: Future[Any]) -> None:
    """Until another connection waits for a lock."""
    deadline = time.monotonic() + 20
    while books.rows("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
        assert not other.done(), "it did not wait"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("what", ["payment", "refund"])
def test_who_learns_of_a_payment_waits_for_who_learned_of_it_before(
    hosted_books: PostgresBooks, stripe: StripeDouble, what: str
) -> None:
    """Else a refund would find no purchase that was paid, and the payment no refund."""
    session = paid_session(stripe, begun(hosted_books, stripe))
    assert session.payment_intent is not None
    refund = Reversal("re_1", "refund", session.payment_intent, 500)

    def learn() -> object:
        with hosted_books.another() as till:
            return purchases.settle(till, session) if what == "payment" else reversals.reverse(till, refund)

    with ThreadPoolExecutor(1) as thread:
        with hosted_books.till.transaction(payment=session.payment_intent):
            learning = thread.submit(learn)
            until_it_waits(hosted_books, learning)
        assert learning.result()


def test_a_purchase_that_ends_otherwise_meanwhile_is_seen_as_it_ended(
    hosted_books: PostgresBooks, stripe: StripeDouble
) -> None:
    purchase = begun(hosted_books, stripe)
    session = paid_session(stripe, purchase)

    def settle() -> purchases.Outcome:
        with hosted_books.another() as till:
            return purchases.settle(till, session)

    with ThreadPoolExecutor(1) as thread:
        with hosted_books.till.transaction():
            hosted_books.till.lock(hosted_books.user_id)
            settling = thread.submit(settle)
            until_it_waits(hosted_books, settling)
            hosted_books.till.set_state(purchase.id, "refused")
        with pytest.raises(PurchaseFailed, match="refused before"):
            settling.result()
    assert hosted_books.balance == 100


def test_what_is_held_while_a_refund_waits_is_not_taken(hosted_books: PostgresBooks, stripe: StripeDouble) -> None:
    session = paid_session(stripe, begun(hosted_books, stripe))
    purchases.settle(hosted_books.till, session)
    refund = Reversal("re_1", "refund", session.payment_intent or "", 2000)

    def reverse() -> reversals.Reversed:
        with hosted_books.another() as till:
            return reversals.reverse(till, refund)

    with ThreadPoolExecutor(1) as thread:
        with hosted_books.till.transaction():
            hosted_books.hold(590)
            reversing = thread.submit(reverse)
            until_it_waits(hosted_books, reversing)
        [entry] = reversing.result().entries
    assert (entry.amount_nano, entry.uncovered_nano) == (-10 * NANO_PER_CREDIT, 490 * NANO_PER_CREDIT)


def test_a_package_that_is_bought_twice_at_once_is_one_purchase(
    hosted_books: PostgresBooks, stripe: StripeDouble
) -> None:
    together = threading.Barrier(8)

    def buy(_: int) -> str:
        with hosted_books.another() as till:
            together.wait(30)
            begun = purchases.begin(
                till, PACKAGES["small"], user_id=hosted_books.user_id, is_live=False, return_url=RETURN_URL
            )
            return begun.purchase.id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(buy, range(8)))) == 1


def test_what_one_buys_another_does_not_get(books: Books, stripe: StripeDouble) -> None:
    other = books.somebody_else()
    first, second = begun(books, stripe), begun(other, stripe)
    assert first.id != second.id
    assert len(stripe.customers) == 2
    assert purchases.settle(books.till, paid_session(stripe, second)).purchase.user_id == other.user_id
    assert (books.balance, other.balance) == (100, 600)
    assert books.till.unsettled(books.user_id) == [first]
    told(books, stripe, "refund.created", stripe.refund(session_id_of(second), 2000))
    assert (books.balance, other.balance) == (100, 100)


def test_what_is_granted_is_audited_once(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    session = paid_session(stripe, purchase)
    purchases.settle(books.till, session)
    purchases.settle(books.till, session)
    detail = {"purchase": purchase.id, "package": "medium", "credits": 500}
    assert books.audited == [("stripe", "credits.purchased", detail)]


def test_a_database_of_one_person_keeps_no_audit(local_books: SqliteBooks, stripe: StripeDouble) -> None:
    purchases.settle(local_books.till, paid_session(stripe, begun(local_books, stripe)))
    assert local_books.balance == 600
    assert local_books.audited == []


KILLED_IN_THE_MIDDLE = """
import json, os, signal, sys
from pathlib import Path
from aichat_cli.billing import purchases
from aichat_cli.billing.stripe_data import session_of
with Database.open(Path(sys.argv[1])) as db:
    with db.transaction(durable=True):
        session = session_of(json.loads(sys.argv[2]))
        outcome, reason = purchases._settled(db, session, purchases._purchase_of(db, session))
        assert outcome.is_granted
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_the_middle_of_granting_has_granted_nothing(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    session = stripe.pay(session_id_of(purchase))
    start(KILLED_IN_THE_MIDDLE, books.address, json.dumps(session)).communicate(timeout=60)
    assert (state(books, purchase), books.balance) == ("open", 100)
    assert purchases.settle(books.till, session_of(session)).is_granted
