"""The door to Stripe: the real SDK against a double that speaks Stripe's protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.billing import buying
from aichat_cli.billing.checkout import StripeCheckout, api_base_of
from aichat_cli.core.errors import (
    AichatError,
    ConfigError,
    ConnectFailed,
    KeyRejected,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    TimedOut,
)
from aichat_cli.core.secret import Secret
from tests.billing.payments import RETURN_URL, begin, begun, checkout_of, session_id_of
from tests.billing.tills import Books, SqliteBooks
from tests.servers.stripe_double import StripeDouble


@pytest.fixture
def books(local_books: SqliteBooks) -> Books:
    """Stripe is asked the same, whatever it is written down in."""
    return local_books


def asked(stripe: StripeDouble) -> list[str]:
    return [f"{request.method} {request.path}" for request in stripe.requests]


def test_the_session_is_a_payment_of_our_price_that_carries_its_purchase(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe, "large")
    request = stripe.requests[-1]
    assert request.headers["idempotency-key"] == purchase.id
    assert request.parameters == {
        "mode": "payment",
        "customer": next(iter(stripe.customers)),
        "client_reference_id": purchase.id,
        "metadata": {"userId": purchase.user_id, "credits": "2000", "purchaseId": purchase.id},
        "payment_intent_data": {"metadata": {"userId": purchase.user_id, "credits": "2000", "purchaseId": purchase.id}},
        "adaptive_pricing": {"enabled": "false"},
        "line_items": {
            "0": {
                "quantity": "1",
                "price_data": {
                    "currency": "usd",
                    "unit_amount": "7000",
                    "product_data": {"name": "2,000 aichat credits"},
                },
            }
        },
        "success_url": f"{RETURN_URL}/success?session_id={{CHECKOUT_SESSION_ID}}",
        "cancel_url": f"{RETURN_URL}/cancelled",
    }


def test_nothing_but_the_request_is_told_to_stripe(books: Books, stripe: StripeDouble) -> None:
    begun(books, stripe)
    begun(books, stripe, "small")
    for request in stripe.requests:
        assert "x-stripe-client-telemetry" not in request.headers
        assert set(json.loads(request.headers["x-stripe-client-user-agent"])) <= {
            "bindings_version", "lang", "httplib", "lang_version", "ai_agent",
        }  # fmt: skip


def test_one_customer_is_made_and_remembered(books: Books, stripe: StripeDouble) -> None:
    begun(books, stripe)
    begun(books, stripe, "small")
    assert len(stripe.customers) == 1
    assert books.till.customer(books.user_id) == next(iter(stripe.customers))


def test_a_customer_that_another_account_has_is_made_anew(books: Books, stripe: StripeDouble) -> None:
    begun(books, stripe)
    with StripeDouble() as other:
        begun(books, other, "small")
        assert books.till.customer(books.user_id) == next(iter(other.customers))


def test_a_deleted_customer_is_made_anew(books: Books, stripe: StripeDouble) -> None:
    begun(books, stripe)
    first = books.till.customer(books.user_id)
    assert first is not None
    stripe.customers[first]["deleted"] = True
    begun(books, stripe, "small")
    assert books.till.customer(books.user_id) not in {None, first}


def test_a_netrc_of_the_user_does_not_replace_the_key(
    books: Books, stripe: StripeDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n", "utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    begun(books, stripe)
    assert {request.headers["authorization"] for request in stripe.requests} == {f"Bearer {stripe.key}"}


@pytest.mark.parametrize(
    "key", ["pk_test_1234567890", "sk_1234567890", "whsec_123", "sk_test_", "sk_test_a b", "x", "sk_test_é"]
)
def test_what_is_no_secret_key_is_refused_before_anything_is_sent(stripe: StripeDouble, key: str) -> None:
    with pytest.raises(KeyRejected, match="not a secret key") as raised:
        StripeCheckout(Secret(key, "$STRIPE_API_KEY"), api_base=stripe.url)
    assert f'"{key}"' not in raised.value.message
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    ("key", "is_live"), [("sk_test_1", False), ("rk_test_1", False), ("sk_live_1", True), ("rk_live_1", True)]
)
def test_the_mode_is_that_of_the_key(key: str, *, is_live: bool) -> None:
    checkout = StripeCheckout(Secret(key, "a test"))
    assert checkout.is_live is is_live
    checkout.close()


@pytest.mark.parametrize(
    ("failure", "expected", "exit_code"),
    [
        ("cut_before", ConnectFailed, 6),
        ("error", ProviderUnavailable, 6),
        ("in_use", ProviderUnavailable, 6),
        ("rejected", RequestRejected, 6),
        ("rate_limit", RateLimited, 5),
    ],
)
def test_failures_become_errors_of_ours(
    books: Books, stripe: StripeDouble, failure: Any, expected: type[AichatError], exit_code: int
) -> None:
    stripe.failures = dict.fromkeys(range(20), failure)
    with pytest.raises(expected) as raised, checkout_of(stripe) as checkout:
        checkout.retrieve("cs_test_1")
    assert raised.value.exit_code == exit_code
    assert len(stripe.requests) <= 3


def test_an_answer_that_does_not_come_is_waited_for_only_so_long(stripe: StripeDouble) -> None:
    stripe.failures = dict.fromkeys(range(20), "slow")
    stripe.slow_seconds = 0.5
    with pytest.raises(TimedOut), checkout_of(stripe, answer_seconds=0.1) as checkout:
        checkout.retrieve("cs_test_1")


def test_a_refused_key_is_told_as_such(stripe: StripeDouble) -> None:
    checkout = StripeCheckout(Secret("sk_test_another", "a test"), api_base=stripe.url)
    with pytest.raises(KeyRejected, match="refused the key"):
        checkout.retrieve("cs_test_1")
    checkout.close()


def test_a_session_of_another_account_is_not_found(stripe: StripeDouble) -> None:
    with pytest.raises(NotFound, match=r"No such checkout\.session"), checkout_of(stripe) as checkout:
        checkout.retrieve("cs_test_1")


def test_a_connection_that_dies_once_is_tried_again_and_makes_one_session(books: Books, stripe: StripeDouble) -> None:
    stripe.failures = {1: "cut_after"}
    begun(books, stripe)
    assert asked(stripe).count("POST /v1/checkout/sessions") == 2
    assert len(stripe.sessions) == 1


def test_a_purchase_whose_answer_was_lost_is_gone_on_with_and_has_one_session(
    books: Books, stripe: StripeDouble
) -> None:
    purchase = begin(books, "medium", is_live=False).purchase
    stripe.failures = dict.fromkeys((1, 2, 3), "cut_after")
    with checkout_of(stripe) as checkout:
        with pytest.raises(ConnectFailed, match="No connection"):
            buying.with_session(books.till, checkout, purchase)
        [lost] = books.till.unsettled(books.user_id)
        assert (lost.state, lost.session_id) == ("created", None)
        outcome = buying.with_session(books.till, checkout, lost)
    assert list(stripe.sessions) == [outcome.purchase.session_id]
    assert outcome.purchase.state == "open"


def test_the_same_key_makes_the_same_session_where_a_listing_is_late(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    with checkout_of(stripe) as checkout:
        again = checkout.create(purchase)
    assert again.id == purchase.session_id
    assert len(stripe.sessions) == 1


def test_other_parameters_under_the_same_key_are_an_error_of_ours(books: Books, stripe: StripeDouble) -> None:
    from aichat_cli.core.struct import replace

    purchase = begun(books, stripe)
    with pytest.raises(RequestRejected, match="same parameters"), checkout_of(stripe) as checkout:
        checkout.create(replace(purchase, return_url="http://127.0.0.1:2/elsewhere"))


def test_a_payment_whose_session_was_never_learned_is_found_days_later(books: Books, stripe: StripeDouble) -> None:
    purchase = begin(books, "medium", is_live=False).purchase
    stripe.failures = dict.fromkeys((1, 2, 3), "cut_after")
    with checkout_of(stripe) as checkout:
        with pytest.raises(ConnectFailed):
            buying.with_session(books.till, checkout, purchase)
        stripe.pay(stripe.last_session["id"])
        stripe.forget_keys()
        books.rows("UPDATE purchases SET created_at = '2020-01-01T00:00:00.000Z'")
        [lost] = books.till.unsettled(books.user_id)
        assert buying.with_session(books.till, checkout, lost).is_granted
    assert len(stripe.sessions) == 1
    assert books.balance == 600


@pytest.mark.parametrize("request_number", [0, 1])
def test_what_stripe_refuses_to_begin_is_begun_anew_when_it_is_mended(
    books: Books, stripe: StripeDouble, request_number: int
) -> None:
    purchase = begin(books, "medium", is_live=False).purchase
    stripe.failures = {request_number: "rejected"}
    with checkout_of(stripe) as checkout, pytest.raises(RequestRejected, match="cannot create a charge"):
        buying.with_session(books.till, checkout, purchase)
    assert books.till.unsettled(books.user_id) == []
    assert begun(books, stripe).id != purchase.id


def test_an_old_purchase_that_never_had_a_session_is_given_up(books: Books, stripe: StripeDouble) -> None:
    purchase = begin(books, "medium", is_live=False).purchase
    stripe.failures = dict.fromkeys((1, 2, 3), "cut_before")
    with checkout_of(stripe) as checkout:
        with pytest.raises(ConnectFailed):
            buying.with_session(books.till, checkout, purchase)
        books.rows("UPDATE purchases SET created_at = '2020-01-01T00:00:00.000Z'")
        [old] = books.till.unsettled(books.user_id)
        assert buying.with_session(books.till, checkout, old).purchase.state == "expired"
    assert stripe.sessions == {}


def test_expiring_what_was_paid_in_that_moment_says_it_is_paid(books: Books, stripe: StripeDouble) -> None:
    session_id = session_id_of(begun(books, stripe))
    stripe.pay(session_id)
    with checkout_of(stripe) as checkout:
        assert checkout.expire(session_id).payment_status == "paid"


@pytest.mark.parametrize(
    "base",
    [
        "https://evil.example", "http://127.0.0.1@evil.example:80", "http://127.0.0.1.evil.example:80", "http://localhost:80",
        "http://10.0.0.1:80", "http://127.0.0.1:80/path", "ftp://127.0.0.1:80", "http://127.0.0.1:80\\@evil.example",
        "http://0.0.0.0:80", "//127.0.0.1:80",
    ],
)  # fmt: skip
def test_the_key_is_sent_to_stripe_or_to_this_machine_and_nowhere_else(base: str) -> None:
    with pytest.raises(ConfigError, match="for tests"):
        api_base_of({"AICHAT_STRIPE_API_BASE": base})


def test_without_the_variable_stripe_itself_is_asked() -> None:
    assert api_base_of({}) is None
    assert api_base_of({"AICHAT_STRIPE_API_BASE": "http://127.0.0.1:8080/"}) == "http://127.0.0.1:8080"
    assert api_base_of({"AICHAT_STRIPE_API_BASE": "http://[::1]:8080"}) == "http://[::1]:8080"
