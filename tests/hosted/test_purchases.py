"""Purchases in Postgres as the service writes them, and what the database refuses whoever asks."""

from __future__ import annotations

from uuid import UUID

import pytest

from aichat_cli.billing import purchases, reversals
from aichat_cli.core.checkout import CheckoutSession, Purchase, Reversal
from aichat_cli.core.credits import NANO_PER_CREDIT, PACKAGES
from aichat_cli.core.ids import ProfileId, new_id
from aichat_cli.hosted.connection import Connection, Place
from aichat_cli.hosted.purchases import PostgresTill
from tests.hosted.database import Hosted
from tests.hosted.people import Connection as OwnerConnection
from tests.hosted.people import one, refused, sums


@pytest.fixture
def till(hosted: Hosted) -> PostgresTill:
    """As the service, which may call functions, and writes no table."""
    return PostgresTill(Connection(hosted.service(), Place("localhost", 5432, "hosted", "service_role")))


def begun(till: PostgresTill, user: UUID) -> Purchase:
    return purchases.begin(
        till, PACKAGES["small"], user_id=ProfileId(str(user)), is_live=False, return_url="http://127.0.0.1:1"
    ).purchase


def paid_session(purchase: Purchase) -> CheckoutSession:
    return CheckoutSession(
        id=f"cs_{purchase.id}",
        status="complete",
        payment_status="paid",
        amount_total=purchase.amount_cents,
        currency=purchase.currency,
        mode="payment",
        is_live=False,
        reference=purchase.id,
        metadata=purchases.metadata_of(purchase),
        payment_intent=f"pi_{purchase.id}",
        url=None,
    )


def test_the_service_sells_and_takes_back_by_functions_alone(
    till: PostgresTill, owner: OwnerConnection, user: UUID
) -> None:
    user_id = ProfileId(str(user))
    purchase = begun(till, user)
    with till.transaction():
        till.lock(user_id)
        till.remember_customer(user_id, f"cus_{user}", instead_of=None)
        till.set_customer(purchase.id, f"cus_{user}")
    assert till.customer(user_id) == f"cus_{user}"
    session = paid_session(purchase)
    assert purchases.settle(till, session).is_granted
    assert sums(owner, user) == (200 * NANO_PER_CREDIT, 0)
    refund = Reversal(f"re_{purchase.id}", "refund", session.payment_intent or "", 250)
    assert [entry.amount_nano for entry in reversals.reverse(till, refund).entries] == [-50 * NANO_PER_CREDIT]
    assert sums(owner, user) == (150 * NANO_PER_CREDIT, 0)
    entries = "select count(*) from credit_ledger where purchase_id = %s and user_id = %s"
    assert one(owner, entries, (purchase.id, user)) == 2
    events = "select array_agg(action order by id) from aichat.audit_events where user_id = %s and actor = 'stripe'"
    assert one(owner, events, (user,)) == ["credits.purchased", "credits.reversed"]


def test_a_customer_is_replaced_only_where_it_is_the_one_that_was_known(
    till: PostgresTill, owner: OwnerConnection, user: UUID
) -> None:
    keep = "select aichat.remember_customer(%s, %s, %s)"
    assert one(owner, keep, (user, f"cus_1{user}", None)) is True
    assert one(owner, keep, (user, f"cus_2{user}", None)) is False
    assert one(owner, keep, (user, f"cus_3{user}", f"cus_1{user}")) is True
    assert till.customer(ProfileId(str(user))) == f"cus_3{user}"


def test_a_purchase_is_not_deleted_before_its_user(till: PostgresTill, owner: OwnerConnection, user: UUID) -> None:
    purchase = begun(till, user)
    for statement in ("delete from purchases", "truncate purchases cascade"):
        with refused("AI403"):
            owner.execute(statement)
    owner.execute("delete from auth.users where id = %s", (user,))
    assert till.find(purchase.id) is None


def test_entries_are_those_of_purchases_that_there_are(till: PostgresTill, owner: OwnerConnection, user: UUID) -> None:
    enter = "select aichat.enter_purchase(%s, %s, 'x', 10000000, 0)"
    with refused("AI400"):
        owner.execute(enter, (begun(till, user).id, "grant"))
    with refused("AI404"):
        owner.execute(enter, (new_id(), "purchase"))


def test_what_is_no_id_is_the_id_of_no_purchase(till: PostgresTill) -> None:
    assert till.find("another") is None
    assert till.find("") is None
    assert till.find(new_id()) is None
