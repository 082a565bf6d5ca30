"""Events of Stripe: only what Stripe signed, and signed just now, is believed; repeated and reordered ones do no harm."""

from __future__ import annotations

import json
import time

import pytest

from aichat_cli.billing import webhooks
from aichat_cli.core.errors import BadSignature
from aichat_cli.core.secret import Secret
from tests.billing.payments import begun, paid, paid_session, received, session_id_of, state, told
from tests.billing.tills import Books
from tests.servers.stripe_double import WEBHOOK_SECRET, StripeDouble

NOW = 1_800_000_000.0
SECRETS = [Secret(WEBHOOK_SECRET, "a test")]
COMPLETED = "checkout.session.completed"


@pytest.fixture
def event(stripe: StripeDouble) -> tuple[bytes, str]:
    """An event, signed now."""
    return stripe.event(COMPLETED, {"id": "cs_1", "amount_total": 2000}, at=NOW)


def test_a_signed_event_grants_and_a_second_delivery_does_not(books: Books, stripe: StripeDouble) -> None:
    payload, header = stripe.event(COMPLETED, stripe.pay(session_id_of(begun(books, stripe))), at=NOW)
    assert received(books, payload, header, SECRETS, NOW).result == "granted"
    receipt = received(books, payload, header, SECRETS, NOW + 60)
    assert (receipt.result, receipt.type) == ("known", COMPLETED)
    assert receipt.event_id.startswith("evt_")
    assert books.ledger == [("purchase", 500, 0)]


def test_an_event_that_was_changed_or_is_stale_or_ahead_of_time_grants_nothing(
    books: Books, stripe: StripeDouble
) -> None:
    purchase = begun(books, stripe)
    payload, header = stripe.event(COMPLETED, stripe.pay(session_id_of(purchase)), at=NOW)
    for body, moment in ((payload + b" ", NOW), (payload, NOW + 301), (payload, NOW - 11)):
        with pytest.raises(BadSignature):
            received(books, body, header, SECRETS, moment)
    assert (state(books, purchase), books.balance) == ("open", 100)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=1",
        "v1=abc",
        "t=x,v1=abc",
        "t",
        "nonsense",
        "t=1800000000,v1=\u00e9",
        "t=1800000000,v0=1",
        "t=1,t=2,v1=3",
        "\ud800",
    ],
)
def test_a_header_that_is_no_signature_is_refused(event: tuple[bytes, str], header: str | None) -> None:
    with pytest.raises(BadSignature) as raised:
        webhooks.verified(event[0], header, SECRETS, NOW)
    assert raised.value.http_status == 400


def test_a_changed_body_is_refused(event: tuple[bytes, str]) -> None:
    payload, header = event
    for changed in (payload.replace(b"2000", b"2001"), payload + b" ", payload[:-1], b"", b"\xff"):
        with pytest.raises(BadSignature):
            webhooks.verified(changed, header, SECRETS, NOW)


@pytest.mark.parametrize("moved", [1, -1, 1000])
def test_a_changed_time_is_refused(event: tuple[bytes, str], moved: int) -> None:
    header = event[1].replace(str(int(NOW)), str(int(NOW) + moved))
    with pytest.raises(BadSignature, match="no valid signature"):
        webhooks.verified(event[0], header, SECRETS, NOW)


def test_of_two_times_in_a_header_the_signed_one_counts(event: tuple[bytes, str]) -> None:
    payload, header = event
    stale = NOW + 10_000
    with pytest.raises(BadSignature, match="too long"):
        webhooks.verified(payload, f"{header},t={int(stale)}", SECRETS, stale)
    with pytest.raises(BadSignature, match="no valid signature"):
        webhooks.verified(payload, f"t={int(stale)},{header}", SECRETS, stale)


@pytest.mark.parametrize(
    ("later", "is_taken"),
    [(0, True), (300, True), (301, False), (86_400, False), (-10, True), (-11, False), (-3600, False)],
)
def test_an_event_counts_for_five_minutes_and_not_before_it_was_signed(
    event: tuple[bytes, str], later: int, *, is_taken: bool
) -> None:
    if is_taken:
        assert webhooks.verified(*event, SECRETS, NOW + later).type == COMPLETED
        return
    with pytest.raises(BadSignature, match="too long" if later > 0 else "from now"):
        webhooks.verified(*event, SECRETS, NOW + later)


def test_either_of_two_secrets_counts_while_one_replaces_the_other(stripe: StripeDouble) -> None:
    payload, header = stripe.event(COMPLETED, {"id": "cs_1"}, at=NOW, secret="whsec_new")
    for secrets in (SECRETS, [], [Secret("", "a test")]):
        with pytest.raises(BadSignature):
            webhooks.verified(payload, header, secrets, NOW)
    both = [*SECRETS, Secret("whsec_new", "a test")]
    assert webhooks.verified(payload, header, both, NOW).thing == {"id": "cs_1"}


def test_any_of_several_signatures_in_a_header_counts(stripe: StripeDouble) -> None:
    session = {"id": "cs_1"}
    payload, of_old = stripe.event(COMPLETED, session, at=NOW, secret="whsec_old", event_id="evt_1")
    same, of_new = stripe.event(COMPLETED, session, at=NOW, event_id="evt_1")
    assert payload == same
    header = f"{of_old},v0=ignored,{of_new.split(',')[1]}"
    assert webhooks.verified(payload, header, SECRETS, NOW).id == "evt_1"


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b"not json"])
def test_what_is_signed_and_is_no_event_is_refused(body: bytes) -> None:
    from stripe import WebhookSignature

    header = WebhookSignature.generate_signature_header(body.decode(), WEBHOOK_SECRET, int(NOW))
    with pytest.raises(BadSignature):
        webhooks.verified(body, header, SECRETS, NOW)


@pytest.mark.parametrize("body", [{}, {"type": COMPLETED}, {"type": COMPLETED, "data": {"object": 7}}, {"type": "x.y"}])
def test_events_without_anything_known_in_them_are_ignored(local_books: Books, body: dict[str, object]) -> None:
    from stripe import WebhookSignature

    text = json.dumps(body)
    header = WebhookSignature.generate_signature_header(text, WEBHOOK_SECRET, int(NOW))
    assert received(local_books, text.encode(), header, SECRETS, NOW).result == "ignored"


def test_events_of_payments_that_are_not_ours_are_ignored(books: Books, stripe: StripeDouble) -> None:
    session = {**stripe.pay(session_id_of(begun(books, stripe))), "id": "cs_foreign", "client_reference_id": None}
    assert told(books, stripe, COMPLETED, session) == "ignored"
    assert told(books, stripe, "customer.created", {"id": "cus_1"}) == "ignored"
    assert books.balance == 100


def test_a_payment_that_is_refused_is_acknowledged_with_the_reason(books: Books, stripe: StripeDouble) -> None:
    session = {**stripe.pay(session_id_of(begun(books, stripe))), "amount_total": 1}
    payload, header = stripe.event(COMPLETED, session)
    receipt = received(books, payload, header, SECRETS, time.time())
    assert receipt.result == "refused"
    assert "price" in receipt.detail
    assert books.balance == 100


def test_a_live_event_does_not_pay_for_a_test_purchase(books: Books, stripe: StripeDouble) -> None:
    session = {**stripe.pay(session_id_of(begun(books, stripe))), "livemode": True}
    assert told(books, stripe, COMPLETED, session) == "refused"


def test_a_refund_that_arrives_before_its_payment_is_not_lost(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    session = stripe.pay(session_id_of(purchase))
    refund = stripe.refund(session["id"], 500)
    assert told(books, stripe, "refund.created", refund) == "waiting"
    assert books.ledger == []
    assert told(books, stripe, COMPLETED, session) == "granted"
    assert books.ledger == [("purchase", 500, 0), ("refund", -125, 0)]
    assert told(books, stripe, "refund.updated", refund) == "known"
    assert books.balance == 475


def test_a_refund_of_another_shop_of_the_account_is_not_kept(books: Books, stripe: StripeDouble) -> None:
    paid(books, stripe)
    foreign = {**stripe.refund(session_id_of(begun(books, stripe, "small")), 500), "payment_intent": "pi_of_a_book"}
    assert told(books, stripe, "refund.created", foreign) == "waiting"  # it may be of the purchase that is still open
    session = stripe.let_expire(stripe.last_session["id"])
    told(books, stripe, "checkout.session.expired", session)
    assert told(books, stripe, "refund.created", {**foreign, "id": "re_2"}) == "ignored"
    assert books.rows(f"SELECT count(*) FROM {books.reversals}") == [(1,)]
    assert books.balance == 600


def test_an_expired_event_after_the_payment_changes_nothing(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    session = paid_session(stripe, purchase)
    told(books, stripe, COMPLETED, stripe.last_session)
    expired = {**stripe.last_session, "status": "expired", "payment_status": "unpaid"}
    assert told(books, stripe, "checkout.session.expired", expired) == "known"
    assert told(books, stripe, "checkout.session.async_payment_failed", expired) == "known"
    assert session.payment_status == "paid"
    assert books.ledger == [("purchase", 500, 0)]
