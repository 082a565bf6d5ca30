"""Who paid gets what was bought, once, however and however often it becomes known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aichat_cli.billing import purchases
from aichat_cli.billing.stripe_data import session_of
from aichat_cli.core.credits import PACKAGES
from aichat_cli.core.errors import NotFound, PurchaseFailed
from aichat_cli.core.struct import replace
from aichat_cli.storage.database import Database
from tests.billing.payments import RETURN_URL, balance, begun, ledger, paid_session, session_id_of, state, told
from tests.servers.stripe_double import StripeDouble
from tests.storage.support import finish, start


@pytest.mark.parametrize(("package", "credits_bought"), [("small", 100), ("medium", 500), ("large", 2000)])
def test_a_paid_session_grants_its_package(
    db: Database, stripe: StripeDouble, package: str, credits_bought: int
) -> None:
    purchase = begun(db, stripe, package)
    outcome = purchases.settle(db, paid_session(stripe, purchase))
    assert outcome.is_granted
    assert outcome.purchase.state == "paid"
    assert balance(db) == 100 + credits_bought
    assert stripe.last_session["amount_total"] == PACKAGES[package].amount_cents


def test_a_session_that_is_open_grants_nothing(db: Database, stripe: StripeDouble) -> None:
    purchase = begun(db, stripe)
    purchases.settle(db, session_of(stripe.last_session))
    assert (state(db, purchase), balance(db)) == ("open", 100)


def test_a_paid_session_grants_once_by_page_poll_and_webhook(db: Database, stripe: StripeDouble) -> None:
    session = paid_session(stripe, begun(db, stripe))
    assert purchases.settle(db, session).is_granted
    assert not purchases.settle(db, session).is_granted
    assert told(db, stripe, "checkout.session.completed", stripe.last_session) == "known"
    assert ledger(db) == [("purchase", 500, 0)]


def test_the_ledger_itself_takes_a_session_once(db: Database, stripe: StripeDouble) -> None:
    session = paid_session(stripe, begun(db, stripe))
    purchases.settle(db, session)
    assert db.rows("SELECT ref FROM credit_ledger WHERE kind = 'purchase'") == [(session.id,)]
    db.execute("UPDATE purchases SET state = 'open'")
    assert not purchases.settle(db, session).is_granted
    assert balance(db) == 600


SETTLE = """
import json, sys
from pathlib import Path
from aichat_cli.billing import purchases
from aichat_cli.billing.stripe_data import session_of
from aichat_cli.storage.database import Database
with Database.open(Path(sys.argv[1])) as db:
    print("ready", flush=True)
    sys.stdin.readline()
    print(purchases.settle(db, session_of(json.loads(sys.argv[2]))).is_granted)
"""


def test_many_processes_that_learn_of_one_payment_at_once_grant_once(db: Database, stripe: StripeDouble) -> None:
    purchase = begun(db, stripe)
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
    assert ledger(db) == [("purchase", 500, 0)]


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
    db: Database, stripe: StripeDouble, field: str, value: Any, reason: str
) -> None:
    purchase = begun(db, stripe)
    session = {**stripe.pay(session_id_of(purchase)), field: value}
    for _ in range(2):
        with pytest.raises(PurchaseFailed, match=reason) as raised:
            purchases.settle(db, session_of(session))
    assert "Money may have been taken" in raised.value.message
    assert session["id"] in (raised.value.hint or "")
    assert "dashboard" in (raised.value.hint or "")
    assert (state(db, purchase), balance(db)) == ("refused", 100)


def test_what_was_refused_once_is_not_granted_by_a_better_story(db: Database, stripe: StripeDouble) -> None:
    purchase = begun(db, stripe)
    session = paid_session(stripe, purchase)
    with pytest.raises(PurchaseFailed):
        purchases.settle(db, replace(session, amount_total=1))
    with pytest.raises(PurchaseFailed, match="refused before"):
        purchases.settle(db, session)
    assert balance(db) == 100


def test_a_session_of_somebody_else_is_none_of_ours(db: Database, stripe: StripeDouble) -> None:
    session = replace(paid_session(stripe, begun(db, stripe)), id="cs_test_foreign", reference="foreign")
    with pytest.raises(NotFound):
        purchases.settle(db, session)
    assert balance(db) == 100


def test_a_second_session_for_a_purchase_grants_nothing_and_leaves_the_first_as_it_is(
    db: Database, stripe: StripeDouble
) -> None:
    purchase = begun(db, stripe)
    session = paid_session(stripe, purchase)
    for expected in ("open", "paid"):
        with pytest.raises(PurchaseFailed, match="another session"):
            purchases.settle(db, replace(session, id="cs_test_second", payment_intent="pi_second"))
        assert state(db, purchase) == expected
        purchases.settle(db, session)
    assert ledger(db) == [("purchase", 500, 0)]


def test_one_payment_does_not_pay_for_two_purchases(db: Database, stripe: StripeDouble) -> None:
    first = paid_session(stripe, begun(db, stripe, "medium"))
    second = paid_session(stripe, begun(db, stripe, "small"))
    purchases.settle(db, first)
    with pytest.raises(PurchaseFailed, match="for another purchase"):
        purchases.settle(db, replace(second, payment_intent=first.payment_intent))
    assert ledger(db) == [("purchase", 500, 0)]


def test_an_expired_session_closes_its_purchase_and_a_late_payment_still_counts(
    db: Database, stripe: StripeDouble
) -> None:
    purchase = begun(db, stripe)
    session = paid_session(stripe, purchase)
    purchases.settle(db, replace(session, status="expired", payment_status="unpaid"))
    assert state(db, purchase) == "expired"
    assert purchases.settle(db, session).is_granted
    purchases.settle(db, replace(session, status="expired", payment_status="unpaid"))
    assert (state(db, purchase), balance(db)) == ("paid", 600)


def test_a_payment_by_bank_grants_when_the_bank_is_done(db: Database, stripe: StripeDouble) -> None:
    purchase = begun(db, stripe)
    session_id = session_id_of(purchase)
    assert told(db, stripe, "checkout.session.completed", stripe.begin_bank_payment(session_id)) == "known"
    assert (state(db, purchase), balance(db)) == ("open", 100)
    done = stripe.end_bank_payment(session_id, is_paid=True)
    assert told(db, stripe, "checkout.session.async_payment_succeeded", done) == "granted"
    assert told(db, stripe, "checkout.session.completed", {**done, "payment_status": "unpaid"}) == "known"
    assert (state(db, purchase), balance(db)) == ("paid", 600)


def test_a_payment_by_bank_that_fails_grants_nothing(db: Database, stripe: StripeDouble) -> None:
    purchase = begun(db, stripe)
    failed = stripe.begin_bank_payment(session_id_of(purchase))
    assert told(db, stripe, "checkout.session.async_payment_failed", failed) == "known"
    assert (state(db, purchase), balance(db)) == ("expired", 100)


def test_a_second_purchase_of_a_package_goes_on_with_the_open_one(db: Database, stripe: StripeDouble) -> None:
    first = begun(db, stripe)
    again = purchases.begin(db, PACKAGES["medium"], is_live=False, return_url=RETURN_URL)
    assert (again.purchase, again.is_new) == (first, False)
    assert purchases.begin(db, PACKAGES["medium"], is_live=True, return_url=RETURN_URL).is_new
    assert purchases.begin(db, PACKAGES["small"], is_live=False, return_url=RETURN_URL).is_new


KILLED_IN_THE_MIDDLE = """
import json, os, signal, sys
from pathlib import Path
from aichat_cli.billing import purchases
from aichat_cli.billing.stripe_data import session_of
from aichat_cli.storage.database import Database
with Database.open(Path(sys.argv[1])) as db:
    with db.transaction(durable=True):
        session = session_of(json.loads(sys.argv[2]))
        outcome, reason = purchases._settled(db, session, purchases._purchase_of(db, session))
        assert outcome.is_granted
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_the_middle_of_granting_has_granted_nothing(db: Database, stripe: StripeDouble) -> None:
    purchase = begun(db, stripe)
    session = stripe.pay(session_id_of(purchase))
    assert db.path is not None
    start(KILLED_IN_THE_MIDDLE, db.path, json.dumps(session)).communicate(timeout=60)
    assert (state(db, purchase), balance(db)) == ("open", 100)
    assert purchases.settle(db, session_of(session)).is_granted
