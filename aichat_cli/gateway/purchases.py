"""Credits bought through the gateway: begun and looked after for whoever's key asks, and taken in as Stripe tells of them.

Whatever learns of a payment ends in `billing.purchases.settle`, which grants it once. All of it runs in threads: neither the
database nor Stripe's library is asynchronous.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aichat_cli.billing import buying, pages, webhooks
from aichat_cli.billing.pages import Page
from aichat_cli.billing.purchases import Outcome
from aichat_cli.billing.till import Till
from aichat_cli.core.checkout import Purchase
from aichat_cli.core.credits import PACKAGES, Package
from aichat_cli.core.errors import (
    AichatError,
    ConfigError,
    KeyMissing,
    NotFound,
    ProviderError,
    PurchaseFailed,
    RequestRejected,
)
from aichat_cli.core.ids import ProfileId
from aichat_cli.core.secret import Secret
from aichat_cli.gateway.account import credits_number
from aichat_cli.gateway.answers import answer
from aichat_cli.gateway.auth import caller_of
from aichat_cli.gateway.bodies import json_object, read_body
from aichat_cli.gateway.deps import GatewayDeps, deps_of
from aichat_cli.gateway.errors import BadRequest, of_provider

T = TypeVar("T")

WEBHOOK_KEY_NAME = "stripe_webhook"
MOST_EVENT_BYTES = 1_000_000
MOST_REQUEST_BYTES = 10_000
MOST_ASKING, MOST_HEARING = 12, 8
"""So many may wait for Stripe at once, and so many of its events be taken in: each has a thread and a connection."""
ANSWER_SECONDS = 10.0
"""Stripe is asked up to three times, and a gateway that is to end waits for the answer."""
PAGE_SECONDS = 5.0
"""A page does not wait longer for Stripe: it is shown, and asks again."""

_SESSION_ID = re.compile(r"cs_(?:test|live)_[A-Za-z0-9]{1,240}")


def routes() -> list[BaseRoute]:
    """Its paths."""
    sales = _Sales()
    return [
        Route("/v1/credits/purchase", sales.begin, methods=["POST"]),
        Route("/v1/credits/purchase/{purchase_id}", sales.show),
        Route("/v1/stripe/webhook", sales.hear, methods=["POST"]),
        Route("/purchase/success", sales.thank),
        Route("/purchase/cancelled", regret),
    ]


class _Sales:
    """What waits for Stripe, and what Stripe waits for, in one application."""

    def __init__(self) -> None:
        self._asking = asyncio.Semaphore(MOST_ASKING)
        self._hearing = asyncio.Semaphore(MOST_HEARING)

    async def begin(self, request: Request) -> Response:
        """Begin to buy a package, or go on with the purchase of it that is open already."""
        caller = await caller_of(request, "credits")
        package = _package((await json_object(request, most_bytes=MOST_REQUEST_BYTES)).get("package"))
        opened = await self._ask(_begun, deps_of(request), caller.user_id, package)
        return answer(_shown(opened.outcome), 201 if opened.is_new else 200)

    async def show(self, request: Request) -> Response:
        """How a purchase stands; Stripe is asked where that is not known for good."""
        caller = await caller_of(request, "credits")
        outcome = await self._ask(_looked_at, deps_of(request), caller.user_id, request.path_params["purchase_id"])
        return answer(_shown(outcome))

    async def thank(self, request: Request) -> Response:
        """The page a buyer comes back to. It says what came of the payment, and nothing of the buyer."""
        session_id = request.query_params.get("session_id", "")
        if not _SESSION_ID.fullmatch(session_id):
            return _page(_UNKNOWN, 404)
        if self._asking.locked():
            return _page(_WAITING)
        looking = asyncio.ensure_future(self._ask(_page_for, deps_of(request), session_id))
        done, _ = await asyncio.wait({looking}, timeout=PAGE_SECONDS)
        if not done:
            looking.add_done_callback(lambda late: late.cancelled() or late.exception())
            return _page(_WAITING)
        try:
            return _page(looking.result())
        except NotFound:
            return _page(_UNKNOWN, 404)
        except AichatError:
            return _page(_WAITING)

    async def hear(self, request: Request) -> Response:
        """An event of Stripe's. What cannot be stored is answered by a failure, so that Stripe sends it again."""
        payload = await read_body(request, most_bytes=MOST_EVENT_BYTES)
        header = request.headers.get("stripe-signature")
        async with self._hearing:
            return answer(await run_in_threadpool(_taken_in, deps_of(request), payload, header))

    async def _ask(self, task: Callable[..., T], *arguments: object) -> T:
        async with self._asking:
            try:
                return await run_in_threadpool(task, *arguments)
            except AichatError as error:
                told = _of_stripe(error)
                if told is error:
                    raise
                raise told from error


async def regret(_: Request) -> Response:
    """The page a buyer comes back to who did not pay."""
    return _page(pages.CANCELLED)


def _package(name: Any) -> Package:
    if not isinstance(name, str) or name not in PACKAGES:
        raise BadRequest(f"There is no such package. There are {', '.join(PACKAGES)}.", param="package")
    return PACKAGES[name]


def _begun(deps: GatewayDeps, user_id: ProfileId, package: Package) -> buying.Opened:
    return_url = f"{deps.options.public_url}/purchase"
    with closing(deps.house.checkout(answer_seconds=ANSWER_SECONDS)) as checkout, deps.store.till() as till:
        return buying.open_purchase(till, checkout, package, user_id=user_id, return_url=return_url)


def _looked_at(deps: GatewayDeps, user_id: ProfileId, purchase_id: str) -> Outcome:
    with deps.store.till() as till:
        purchase = till.find(purchase_id)
        if purchase is None or purchase.user_id != user_id:
            raise NotFound("You have no such purchase.")
        return _now(deps, till, purchase)


def _page_for(deps: GatewayDeps, session_id: str) -> Page:
    with deps.store.till() as till:
        purchase = till.by_session(session_id)
        if purchase is None:
            raise NotFound("There is no such purchase.")
        outcome = _now(deps, till, purchase)
    if outcome.is_processing:
        return _AT_THE_BANK
    if outcome.purchase.state == "paid":
        return Page(f"Paid: {purchase.credits:,} credits", ("They are on the balance.", pages.BACK))
    return {"expired": _EXPIRED, "refused": _REFUSED}.get(outcome.purchase.state, _WAITING)


def _now(deps: GatewayDeps, till: Till, purchase: Purchase) -> Outcome:
    """How a purchase stands: what is known for good, or what Stripe says."""
    if purchase.state in {"created", "open"}:
        with closing(deps.house.checkout(answer_seconds=ANSWER_SECONDS)) as checkout:
            try:
                return buying.with_session(till, checkout, purchase)
            except (NotFound, PurchaseFailed):
                # It was begun with the key of another account; or it was refused just now, as is written down.
                purchase = till.find(purchase.id) or purchase
    return Outcome(purchase, till.funds(purchase.user_id).balance_nano)


def _taken_in(deps: GatewayDeps, payload: bytes, header: str | None) -> webhooks.Receipt:
    found = deps.house.keys.find(WEBHOOK_KEY_NAME, by_flag=False)
    if found is None:
        raise ConfigError(
            "This gateway has no secret to know events of Stripe by.", hint=f"Run: aichat keys set {WEBHOOK_KEY_NAME}"
        )
    # Two while one replaces the other.
    secrets = [Secret(each.strip(), found.source) for each in found.reveal().split(",") if each.strip()]
    event = webhooks.verified(payload, header, secrets, time.time())
    with deps.store.till() as till:
        return webhooks.take_in(till, event)


def _of_stripe(error: AichatError) -> AichatError:
    """What Stripe said to the gateway's own key and request, as the buyer is told."""
    if isinstance(error, KeyMissing):
        return BadRequest("Credits are not sold on this gateway.", code="not_sold")
    if isinstance(error, PurchaseFailed):
        return BadRequest(error.message, status=409, code=error.code, hint="Ask the operator of this gateway")
    if isinstance(error, RequestRejected):
        return ProviderError(error.message)
    return of_provider(error)


def _shown(outcome: Outcome) -> dict[str, Any]:
    purchase = outcome.purchase
    state = "processing" if outcome.is_processing else purchase.state
    return {
        "id": purchase.id,
        "url": purchase.url if state == "open" else None,
        "state": state,
        "package": purchase.package,
        "credits": purchase.credits,
        "amount_cents": purchase.amount_cents,
        "currency": purchase.currency,
        "balance": credits_number(outcome.balance_nano),
    }


def _page(page: Page, status: int = 200) -> Response:
    return Response(page.html, status, pages.HEADERS)


_WAITING = Page(
    "Being processed",
    ("The payment is being looked for. This page asks again by itself.", pages.BACK),
    reload_seconds=4,
)
_AT_THE_BANK = Page(
    "Being processed",
    ("The bank is still at it, which can take days. The credits are added by themselves once it is done.", pages.BACK),
    reload_seconds=60,
)
_EXPIRED = Page("Expired", ("It was not paid, and you have not been charged.", pages.BACK))
_REFUSED = Page(
    "Not credited",
    ("What was paid is not what was to be bought, so no credits were added. Ask the operator of this gateway.",),
)
_UNKNOWN = Page("Nothing here", ("There is no purchase at this address. Go back to the terminal.",))
