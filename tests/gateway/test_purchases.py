"""Credits bought through the gateway: the real SDK against Stripe's double, and events signed by the SDK's own function."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from aichat_cli.accounts.postgres import PostgresAccounts
from aichat_cli.core.secret import Secret
from aichat_cli.gateway.deps import ServerOptions
from aichat_cli.gateway.purchases import MOST_EVENT_BYTES
from aichat_cli.storage.database import Database
from tests.hosted import database
from tests.servers.gateway import RunningGateway
from tests.servers.postgres import Cluster
from tests.servers.scripted import ScriptedServer
from tests.servers.stripe_double import WEBHOOK_SECRET, StripeDouble

PUBLIC_URL = "https://chat.example.com"
COMPLETED = "checkout.session.completed"


@pytest.fixture(scope="module")
def stripe() -> Iterator[StripeDouble]:
    with StripeDouble() as double:
        yield double


@pytest.fixture(scope="module")
def gateway(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    provider: ScriptedServer,
    stripe: StripeDouble,
) -> Iterator[RunningGateway]:
    """One that keeps its accounts in SQLite, unless a test is `everywhere`."""
    environ = {
        "STRIPE_API_KEY": stripe.key,
        "AICHAT_STRIPE_API_BASE": stripe.url,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    folder = tmp_path_factory.mktemp("shop")
    options = ServerOptions(public_url=PUBLIC_URL)
    with ExitStack() as stack:
        store = None
        if getattr(request, "param", "sqlite") == "postgres":
            cluster: Cluster = request.getfixturevalue("postgres16")
            dsn = stack.enter_context(cluster.database(database.template(cluster)))
            store = PostgresAccounts(Secret(dsn, "a test"))
        yield stack.enter_context(RunningGateway(folder, provider, store=store, options=options, environ=environ))


everywhere = pytest.mark.parametrize("gateway", ["sqlite", "postgres"], indirect=True)
"""Also where the accounts are kept in Postgres."""


class Buyer:
    """Somebody with a key, and the browser they pay in."""

    def __init__(self, gateway: RunningGateway, stripe: StripeDouble, name: str) -> None:
        self.name = name
        self._stripe = stripe
        self._http = httpx.Client(base_url=gateway.url, trust_env=False, timeout=60)
        self._key = {"Authorization": f"Bearer {gateway.key(name)}"}

    def leave(self) -> None:
        """Close their connections."""
        self._http.close()

    def ask(self, package: object = "small") -> httpx.Response:
        return self._http.post("/v1/credits/purchase", headers=self._key, json={"package": package})

    def buy(self, package: str = "small") -> dict[str, Any]:
        answer = self.ask(package)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def look(self, purchase_id: str) -> httpx.Response:
        return self._http.get(f"/v1/credits/purchase/{purchase_id}", headers=self._key)

    def session(self) -> dict[str, Any]:
        """Their last Checkout Session."""
        return self._stripe.last_session

    def come_back(self, session_id: str) -> httpx.Response:
        """Follow Stripe's link to the success page."""
        link = self._stripe.sessions[session_id]["success_url"].replace("{CHECKOUT_SESSION_ID}", session_id)
        assert link.startswith(f"{PUBLIC_URL}/purchase/success?session_id=cs_")
        return self._http.get(link.removeprefix(PUBLIC_URL))

    @property
    def balance(self) -> float:
        return float(self._http.get("/v1/credits", headers=self._key).json()["balance"])


@pytest.fixture
def new_buyer(gateway: RunningGateway, stripe: StripeDouble) -> Iterator[Callable[[], Buyer]]:
    """Somebody else each time."""
    with ExitStack() as stack:

        def arrive() -> Buyer:
            buyer = Buyer(gateway, stripe, f"buyer-{time.monotonic_ns()}")
            stack.callback(buyer.leave)
            return buyer

        yield arrive


@pytest.fixture
def buyer(new_buyer: Callable[[], Buyer]) -> Buyer:
    return new_buyer()


def send(gateway: RunningGateway, payload: bytes, header: str | None) -> httpx.Response:
    headers = {} if header is None else {"Stripe-Signature": header}
    return httpx.post(f"{gateway.url}/v1/stripe/webhook", content=payload, headers=headers, trust_env=False, timeout=60)


def tell(gateway: RunningGateway, stripe: StripeDouble, kind: str, thing: dict[str, Any]) -> str:
    """What comes of an event."""
    answer = send(gateway, *stripe.event(kind, thing))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["result"])


def audited(gateway: RunningGateway, name: str) -> list[tuple[str, str]]:
    users = gateway.store.users()
    try:
        events = users.audit(user_id=users.user(name).id)
        return [(event.actor, event.action) for event in events if event.actor == "stripe"]
    finally:
        users.close()


@everywhere
def test_a_package_is_bought_from_the_price_to_the_balance(
    gateway: RunningGateway, stripe: StripeDouble, buyer: Buyer
) -> None:
    bought = buyer.buy("medium")
    session = buyer.session()
    assert bought == {
        "id": session["client_reference_id"],
        "url": session["url"],
        "state": "open",
        "package": "medium",
        "credits": 500,
        "amount_cents": 2000,
        "currency": "usd",
        "balance": 100,
    }
    assert session["cancel_url"] == f"{PUBLIC_URL}/purchase/cancelled"
    assert tell(gateway, stripe, COMPLETED, stripe.pay(session["id"])) == "granted"
    assert tell(gateway, stripe, COMPLETED, session) == "known"
    assert buyer.look(bought["id"]).json() == {**bought, "state": "paid", "url": None, "balance": 600}
    assert "<h1>Paid: 500 credits</h1>" in buyer.come_back(session["id"]).text
    assert buyer.balance == 600
    assert audited(gateway, buyer.name) == [("stripe", "credits.purchased")]


def test_who_asks_how_a_purchase_stands_gets_what_was_paid_without_any_event(
    stripe: StripeDouble, buyer: Buyer
) -> None:
    bought = buyer.buy()
    assert buyer.look(bought["id"]).json()["state"] == "open"
    stripe.pay(buyer.session()["id"])
    assert [buyer.look(bought["id"]).json()["balance"] for _ in range(2)] == [200, 200]


@everywhere
def test_the_page_a_buyer_comes_back_to_brings_the_credits_without_any_event(
    gateway: RunningGateway, stripe: StripeDouble, buyer: Buyer
) -> None:
    buyer.buy()
    session = stripe.pay(buyer.session()["id"])
    assert "<h1>Paid: 100 credits</h1>" in buyer.come_back(session["id"]).text
    assert buyer.balance == 200
    assert tell(gateway, stripe, COMPLETED, session) == "known"
    asked = len(stripe.requests)
    buyer.come_back(session["id"])
    assert len(stripe.requests) == asked


@everywhere
def test_event_page_and_poll_at_once_grant_once(gateway: RunningGateway, stripe: StripeDouble, buyer: Buyer) -> None:
    bought = buyer.buy()
    session = stripe.pay(buyer.session()["id"])
    ways: list[Callable[[], object]] = [
        lambda: tell(gateway, stripe, COMPLETED, session),
        lambda: buyer.look(bought["id"]).raise_for_status(),
        lambda: buyer.come_back(session["id"]).raise_for_status(),
    ]
    with ThreadPoolExecutor(9) as threads:
        for done in [threads.submit(ways[number % 3]) for number in range(9)]:
            done.result()
    assert buyer.balance == 200
    assert audited(gateway, buyer.name) == [("stripe", "credits.purchased")]


def test_a_package_that_is_open_is_gone_on_with(buyer: Buyer) -> None:
    first = buyer.buy()
    again = buyer.ask()
    assert (again.status_code, again.json()) == (200, first)
    assert buyer.buy("large")["id"] != first["id"]


@everywhere
def test_a_purchase_is_shown_to_nobody_else(buyer: Buyer, new_buyer: Callable[[], Buyer]) -> None:
    bought = buyer.buy()
    other = new_buyer()
    for purchase_id in (bought["id"], "nothing", "0" * 300):
        assert other.look(purchase_id).status_code == 404
    assert other.buy()["id"] != bought["id"]


@pytest.mark.parametrize("package", ["huge", "", None, 5, ["small"]])
def test_a_package_that_is_not_sold_is_refused_and_those_that_are_are_named(buyer: Buyer, package: object) -> None:
    answer = buyer.ask(package)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "package"
    assert "small, medium, large" in answer.json()["error"]["message"]


def test_only_a_key_that_may_buys(gateway: RunningGateway) -> None:
    url = f"{gateway.url}/v1/credits/purchase"
    key = gateway.key("reader", scopes=("chat",))
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.post(url, json={"package": "small"}, trust_env=False).status_code == 401
    assert httpx.post(url, json={"package": "small"}, headers=headers, trust_env=False).status_code == 403
    assert httpx.get(f"{url}/x", headers=headers, trust_env=False).status_code == 403


@everywhere
def test_a_payment_that_is_not_what_was_to_be_bought_is_acknowledged_and_not_credited(
    gateway: RunningGateway, stripe: StripeDouble, buyer: Buyer
) -> None:
    bought = buyer.buy()
    session = stripe.pay(buyer.session()["id"])
    session["amount_total"] = 1
    answer = send(gateway, *stripe.event(COMPLETED, session))
    assert (answer.status_code, answer.json()["result"]) == (200, "refused")
    assert "amount is not the price" in answer.json()["detail"]
    assert buyer.look(bought["id"]).json()["state"] == "refused"
    assert "<h1>Not credited</h1>" in buyer.come_back(session["id"]).text
    assert buyer.balance == 100


def test_a_refused_payment_that_a_buyer_asks_about_first_is_told(stripe: StripeDouble, buyer: Buyer) -> None:
    buyer.buy()
    stripe.pay(buyer.session()["id"])["currency"] = "jpy"
    answer = buyer.ask()
    assert answer.status_code == 409
    assert "Money may have been taken. Ask the operator" in answer.json()["error"]["message"]
    buyer.buy()


def test_a_payment_by_bank_is_under_way_until_the_bank_is_done(stripe: StripeDouble, buyer: Buyer) -> None:
    bought = buyer.buy()
    session = stripe.begin_bank_payment(buyer.session()["id"])
    assert buyer.look(bought["id"]).json()["state"] == "processing"
    assert "can take days" in buyer.come_back(session["id"]).text
    stripe.end_bank_payment(session["id"], is_paid=True)
    assert buyer.look(bought["id"]).json()["balance"] == 200


def test_an_expired_purchase_is_begun_anew(stripe: StripeDouble, buyer: Buyer) -> None:
    first = buyer.buy()
    session = stripe.let_expire(buyer.session()["id"])
    assert "<h1>Expired</h1>" in buyer.come_back(session["id"]).text
    assert buyer.look(first["id"]).json()["state"] == "expired"
    assert buyer.buy()["id"] != first["id"]


@everywhere
def test_a_refund_takes_the_credits_back(gateway: RunningGateway, stripe: StripeDouble, buyer: Buyer) -> None:
    buyer.buy()
    session = stripe.pay(buyer.session()["id"])
    refund = stripe.refund(session["id"], 500)
    assert tell(gateway, stripe, "refund.created", refund) == "waiting"
    assert tell(gateway, stripe, COMPLETED, session) == "granted"
    assert buyer.balance == 100
    assert audited(gateway, buyer.name) == [("stripe", "credits.reversed"), ("stripe", "credits.purchased")]


# What is no event of Stripe's.


def test_what_stripe_did_not_sign_just_now_is_refused(
    gateway: RunningGateway, stripe: StripeDouble, buyer: Buyer
) -> None:
    buyer.buy()
    session = stripe.pay(buyer.session()["id"])
    payload, header = stripe.event(COMPLETED, session)
    stale = stripe.event(COMPLETED, session, at=time.time() - 400)
    foreign = stripe.event(COMPLETED, session, secret="whsec_of_another")
    for body, signature in ((payload + b" ", header), (payload, None), (payload, "t=1,v1=x"), stale, foreign):
        answer = send(gateway, body, signature)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_signature")
    assert buyer.balance == 100


def test_an_event_larger_than_any_is_not_read(gateway: RunningGateway) -> None:
    assert send(gateway, b"x" * (MOST_EVENT_BYTES + 1), "t=1,v1=x").status_code == 413


def test_either_secret_counts_while_one_replaces_the_other(
    gateway: RunningGateway, stripe: StripeDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", f"whsec_new_one, {WEBHOOK_SECRET}")
    for secret in ("whsec_new_one", WEBHOOK_SECRET):
        assert send(gateway, *stripe.event("customer.created", {"id": "cus_1"}, secret=secret)).status_code == 200
    monkeypatch.delenv("STRIPE_WEBHOOK_SECRET")
    answer = send(gateway, *stripe.event("customer.created", {"id": "cus_1"}))
    assert answer.status_code == 500
    assert "no secret" in answer.json()["error"]["message"]


def test_an_event_that_cannot_be_stored_is_sent_again_by_stripe_and_counts_then(
    gateway: RunningGateway, stripe: StripeDouble, buyer: Buyer
) -> None:
    buyer.buy()
    event = stripe.event(COMPLETED, stripe.pay(buyer.session()["id"]))
    with Database.open(gateway.store.path) as db:  # type: ignore[attr-defined]
        [(version,)] = db.rows("PRAGMA user_version")
        db.execute("PRAGMA user_version = 999")
        try:
            assert send(gateway, *event).status_code == 503
        finally:
            db.execute(f"PRAGMA user_version = {version}")
    assert send(gateway, *event).json()["result"] == "granted"
    assert buyer.balance == 200


# What is the matter with Stripe is not the buyer's fault.


def test_while_stripe_cannot_be_reached_nothing_is_lost_and_the_page_asks_again(
    stripe: StripeDouble, buyer: Buyer
) -> None:
    bought = buyer.buy()
    session = stripe.pay(buyer.session()["id"])
    stripe.go_down()
    try:
        with ThreadPoolExecutor(3) as threads:
            asked, looked = threads.submit(buyer.ask, "large"), threads.submit(buyer.look, bought["id"])
            page = threads.submit(buyer.come_back, session["id"]).result()
            assert {asked.result().status_code, looked.result().status_code} == {502}
    finally:
        stripe.go_down(is_down=False)
    assert page.status_code == 200
    assert '<meta http-equiv="refresh" content="4">' in page.text
    assert "<h1>Being processed</h1>" in page.text
    assert buyer.look(bought["id"]).json()["balance"] == 200


def test_a_key_that_stripe_refuses_is_not_told_as_if_it_were_the_buyers(
    buyer: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_revoked")
    answer = buyer.ask()
    assert answer.status_code == 502
    assert "sk_test" not in answer.text


def test_what_stripe_does_not_let_the_operator_sell_is_not_the_buyers_mistake(
    stripe: StripeDouble, buyer: Buyer
) -> None:
    stripe.failures = {len(stripe.requests): "rejected"}
    answer = buyer.ask()
    stripe.failures = {}
    assert answer.status_code == 502
    assert "cannot create a charge" in answer.json()["error"]["message"]
    buyer.buy()


def test_a_gateway_without_a_key_for_stripe_sells_nothing(buyer: Buyer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRIPE_API_KEY")
    answer = buyer.ask()
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_sold")


# The pages.


@pytest.mark.parametrize("session_id", ["", "x", "cs_test_unknown", "cs_test_" + "a" * 5000, "cs_test_%00", "<script>"])
def test_a_page_for_no_purchase_says_so_and_does_not_trouble_stripe(
    gateway: RunningGateway, stripe: StripeDouble, session_id: str
) -> None:
    asked = len(stripe.requests)
    page = httpx.get(f"{gateway.url}/purchase/success", params={"session_id": session_id}, trust_env=False)
    assert page.status_code == 404
    assert "<h1>Nothing here</h1>" in page.text
    assert "script" not in page.text
    assert len(stripe.requests) == asked


def test_the_pages_are_kept_nowhere_and_tell_nothing_of_the_buyer(
    gateway: RunningGateway, stripe: StripeDouble, buyer: Buyer
) -> None:
    buyer.buy("large")
    paid = buyer.come_back(stripe.pay(buyer.session()["id"])["id"])
    cancelled = httpx.get(f"{gateway.url}/purchase/cancelled", trust_env=False)
    assert "You have not been charged." in cancelled.text
    for page in (paid, cancelled):
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert "go back to the terminal" in page.text
        assert len(page.content) < 3000
        assert buyer.name not in page.text
        assert "2,100" not in page.text
        assert json.dumps(buyer.session()["id"]) not in page.text
