"""Purchases that were cut off, waited for, cancelled and gone on with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from aichat_cli.billing import buying
from aichat_cli.billing.return_page import ReturnPage
from aichat_cli.core.credits import PACKAGES
from aichat_cli.core.errors import AichatError, ConnectFailed, KeyRejected
from tests.billing.payments import (
    begun,
    checkout_of,
    paid,
    rung,
    session_id_of,
    state,
)
from tests.billing.tills import Books, SqliteBooks
from tests.servers.stripe_double import StripeDouble


@pytest.fixture
def books(local_books: SqliteBooks) -> Books:
    """Stripe is asked the same, whatever it is written down in."""
    return local_books


def waited_for(
    books: Books, stripe: StripeDouble, *watched: buying.Watched, bell: threading.Event | None = None, **options: Any
) -> list[str]:
    """How each purchase ended, as it is waited for."""
    with checkout_of(stripe) as checkout:
        options = {"on_trouble": unexpected, "timeout": 20, **options}
        return [each.how for each in buying.endings(books.till, checkout, watched, bell or rung(), **options)]


def unexpected(error: AichatError) -> None:
    raise error


def meanwhile(act: Callable[[], object], seconds: float = 0.3) -> None:
    threading.Timer(seconds, act).start()


@pytest.mark.parametrize(("act", "how", "credits_now"), [("pay", "paid", 600), ("let_expire", "expired", 100)])
def test_waiting_ends_as_the_session_does(
    books: Books, stripe: StripeDouble, act: str, how: str, credits_now: int
) -> None:
    purchase = begun(books, stripe)
    meanwhile(lambda: getattr(stripe, act)(session_id_of(purchase)))
    assert waited_for(books, stripe, buying.Watched(purchase, None)) == [how]
    assert books.balance == credits_now


def test_waiting_ends_where_a_bank_takes_its_time_and_the_credits_come_with_the_next_look(
    books: Books, stripe: StripeDouble
) -> None:
    purchase = begun(books, stripe)
    stripe.begin_bank_payment(session_id_of(purchase))
    assert waited_for(books, stripe, buying.Watched(purchase, None)) == ["processing"]
    stripe.end_bank_payment(session_id_of(purchase), is_paid=True)
    with checkout_of(stripe) as checkout:
        [ending] = buying.resume(books.till, checkout)
    assert isinstance(ending, buying.Ending)
    assert (ending.how, books.balance) == ("paid", 600)


def test_a_payment_by_bank_that_failed_is_seen_without_any_webhook(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    stripe.begin_bank_payment(session_id_of(purchase))
    stripe.end_bank_payment(session_id_of(purchase), is_paid=False)
    with checkout_of(stripe) as checkout:
        [ending] = buying.resume(books.till, checkout)
    assert isinstance(ending, buying.Ending)
    assert (ending.how, state(books, purchase)) == ("expired", "expired")


def test_a_buyer_who_comes_back_is_noticed_at_once(books: Books, stripe: StripeDouble) -> None:
    bell = threading.Event()
    with checkout_of(stripe) as checkout:
        started = buying.start(books.till, checkout, PACKAGES["medium"], bell)
    assert started.page is not None
    purchase = started.outcome.purchase
    began = time.monotonic()
    with started.page:
        meanwhile(lambda: stripe.pay(session_id_of(purchase), come_back=True))
        assert waited_for(books, stripe, buying.Watched(purchase, started.page), bell=bell) == ["paid"]
    assert time.monotonic() - began < buying.FIRST_POLL_SECONDS
    assert books.balance == 600


def test_a_buyer_who_cancels_ends_the_session_so_that_it_cannot_be_paid_later(
    books: Books, stripe: StripeDouble
) -> None:
    bell = threading.Event()
    with checkout_of(stripe) as checkout:
        started = buying.start(books.till, checkout, PACKAGES["medium"], bell)
    assert started.page is not None
    purchase = started.outcome.purchase
    with started.page:
        stripe.cancel(session_id_of(purchase))
        assert waited_for(books, stripe, buying.Watched(purchase, started.page), bell=bell) == ["cancelled"]
    assert stripe.last_session["status"] == "expired"
    assert (state(books, purchase), books.balance) == ("expired", 100)


def test_a_buyer_who_cancels_what_was_paid_in_that_moment_gets_the_credits(books: Books, stripe: StripeDouble) -> None:
    bell = threading.Event()
    with checkout_of(stripe) as checkout:
        started = buying.start(books.till, checkout, PACKAGES["medium"], bell)
    assert started.page is not None
    purchase = started.outcome.purchase
    with started.page:
        stripe.cancel(session_id_of(purchase))
        stripe.pay(session_id_of(purchase))
        assert waited_for(books, stripe, buying.Watched(purchase, started.page), bell=bell) == ["paid"]
    assert books.balance == 600


def test_the_page_is_only_found_by_who_was_told_where(stripe: StripeDouble) -> None:
    bell = threading.Event()
    with ReturnPage.open(bell) as page:
        root = page.url.rpartition("/")[0]
        for url in (
            root,
            f"{root}/success",
            f"{root}/x/success",
            page.url,
            f"{page.url}/other",
            f"{page.url}x/success",
        ):
            with pytest.raises(HTTPError) as raised:
                urlopen(url, timeout=5)
            raised.value.close()
            assert raised.value.code == 404
        assert page.visit is None
        with urlopen(f"{page.url}/success?session_id=cs_1", timeout=5) as shown:
            assert b"Thank you" in shown.read()
        assert bell.wait(10)
        assert page.visit == "success"


def test_a_page_alone_grants_nothing(books: Books, stripe: StripeDouble) -> None:
    bell = threading.Event()
    with checkout_of(stripe) as checkout:
        started = buying.start(books.till, checkout, PACKAGES["medium"], bell)
    assert started.page is not None
    with started.page, urlopen(f"{started.page.url}/success?session_id=x", timeout=5):
        watched = buying.Watched(started.outcome.purchase, started.page)
        assert waited_for(books, stripe, watched, bell=bell, timeout=1) == ["timeout"]
    assert books.balance == 100


def test_a_network_that_is_lost_while_waiting_is_told_once_and_survived(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    stripe.go_down()
    troubles: list[AichatError] = []

    def trouble(error: AichatError) -> None:
        troubles.append(error)
        stripe.pay(session_id_of(purchase))
        meanwhile(lambda: stripe.go_down(is_down=False), 3)

    assert waited_for(books, stripe, buying.Watched(purchase, None), on_trouble=trouble) == ["paid"]
    assert [type(error) for error in troubles] == [ConnectFailed]
    assert books.balance == 600


def test_a_key_that_is_revoked_while_waiting_ends_the_waiting(books: Books, stripe: StripeDouble) -> None:
    purchase = begun(books, stripe)
    with checkout_of(stripe) as checkout:
        stripe.key = "sk_test_new"
        with pytest.raises(KeyRejected):
            list(buying.endings(books.till, checkout, [buying.Watched(purchase, None)], rung(), on_trouble=unexpected))
    assert state(books, purchase) == "open"


def test_several_open_purchases_end_each_for_itself(books: Books, stripe: StripeDouble) -> None:
    small, medium, large = (begun(books, stripe, name) for name in ("small", "medium", "large"))
    stripe.pay(session_id_of(small))
    stripe.sessions[session_id_of(medium)] |= {"amount_total": 1}
    stripe.pay(session_id_of(medium))
    meanwhile(lambda: stripe.let_expire(session_id_of(large)))
    with checkout_of(stripe) as checkout:
        watched = [buying.Watched(each, None) for each in (small, medium, large)]
        endings = {
            each.purchase.package: each.how
            for each in buying.endings(books.till, checkout, watched, rung(), timeout=20, on_trouble=unexpected)
        }
    assert endings == {"small": "paid", "medium": "failed", "large": "expired"}
    assert (books.balance, state(books, medium)) == (200, "refused")


def test_what_was_paid_while_nobody_waited_is_granted_when_the_same_is_bought_again(
    books: Books, stripe: StripeDouble
) -> None:
    stripe.pay(session_id_of(begun(books, stripe)))
    with checkout_of(stripe) as checkout:
        started = buying.start(books.till, checkout, PACKAGES["medium"], threading.Event())
    assert started.page is not None
    started.page.close()
    assert (started.is_new, started.outcome.is_granted) == (False, True)
    assert (len(stripe.sessions), books.balance) == (1, 600)


def test_what_has_expired_meanwhile_is_bought_anew(books: Books, stripe: StripeDouble) -> None:
    first = begun(books, stripe)
    stripe.let_expire(session_id_of(first))
    with checkout_of(stripe) as checkout:
        started = buying.start(books.till, checkout, PACKAGES["medium"], threading.Event())
    assert started.page is not None
    started.page.close()
    assert started.is_new
    assert started.outcome.purchase.id != first.id
    assert state(books, first) == "expired"


def test_a_purchase_of_another_account_is_left_for_its_key_and_keeps_nobody_from_buying(
    books: Books, stripe: StripeDouble
) -> None:
    first = begun(books, stripe)
    stripe.pay(session_id_of(first))
    with StripeDouble() as other, checkout_of(other) as checkout:
        started = buying.start(books.till, checkout, PACKAGES["medium"], threading.Event())
        assert started.page is not None
        started.page.close()
        assert started.is_new
        resumed = buying.resume(books.till, checkout)
        assert [each.how for each in resumed if isinstance(each, buying.Ending)] == ["failed"]
        other.let_expire(session_id_of(started.outcome.purchase))
    with checkout_of(stripe) as checkout:
        assert {each.how for each in buying.resume(books.till, checkout) if isinstance(each, buying.Ending)} == {
            "paid",
            "failed",
        }
    assert books.balance == 600


def test_refunds_and_disputes_are_found_without_any_webhook(books: Books, stripe: StripeDouble) -> None:
    medium, small = paid(books, stripe), paid(books, stripe, "small")
    stripe.refund(session_id_of(medium), 500)
    stripe.refund(session_id_of(medium), 500, status="pending")
    dispute = stripe.dispute(session_id_of(small), 500)
    with checkout_of(stripe) as checkout:
        found = buying.reversed_since(books.till, checkout)
        assert [(each.kind, each.purchase_id) for each in found] == [("refund", medium.id), ("dispute", small.id)]
        assert buying.reversed_since(books.till, checkout) == []
        stripe.disputes[dispute["id"]]["status"] = "won"
        assert [each.kind for each in buying.reversed_since(books.till, checkout)] == ["dispute_won"]
    assert [kind for kind, _, _ in books.ledger] == ["purchase", "purchase", "refund", "dispute", "dispute_won"]
    assert books.balance == 575


def test_a_page_whose_port_another_has_is_done_without(books: Books, stripe: StripeDouble) -> None:
    with ReturnPage.open(threading.Event()) as page:
        assert ReturnPage.again(page.url, threading.Event()) is None
    again = ReturnPage.again(page.url, threading.Event())
    assert again is not None
    with again:
        assert again.url == page.url
