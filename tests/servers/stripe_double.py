"""A loopback double of the parts of Stripe's API that are used, spoken to by the real SDK.

    with StripeDouble() as stripe:
        StripeCheckout(Secret(stripe.key, "test"), api_base=stripe.url)
        stripe.pay(session_id)                 # what a buyer does on the hosted page
        payload, header = stripe.event("checkout.session.completed", session)

A session goes open -> complete (paid, or unpaid while a bank takes its time) | expired. A request with an idempotency key is
answered again as it was answered first, with other parameters it is an error, as Stripe documents it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

import stripe

KEY = "sk_test_51Wt9dZkQ4vT7bLxPnR2"
WEBHOOK_SECRET = "whsec_5f3c1e9a7b2d4c6e"

Failure = Literal["cut_before", "cut_after", "error", "rate_limit", "rejected", "in_use", "slow"]

_ERRORS: Mapping[str | None, tuple[int, str, str]] = {
    "error": (500, "api_error", "Something went wrong on our end."),
    "rejected": (400, "invalid_request_error", "You cannot create a charge with your account yet."),
    "in_use": (409, "idempotency_error", "There is currently another in-progress request using this Idempotent Key."),
    "rate_limit": (429, "invalid_request_error", "Too many requests."),
}


class _Refused(Exception):
    """An error answer."""

    def __init__(self, status: int, kind: str, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, "code": code, "param": param}}


@dataclass(slots=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    parameters: dict[str, Any]
    headers: dict[str, str]


@dataclass(slots=True)
class _Answered:
    parameters: dict[str, Any]
    path: str
    answer: dict[str, Any]


@dataclass
class StripeDouble:
    """One account. `failures` maps the number of a request to how it fails, from 0; all else is state."""

    key: str = KEY
    is_live: bool = False
    failures: dict[int, Failure] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    disputes: dict[str, dict[str, Any]] = field(default_factory=dict)
    slow_seconds: float = 2.0

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._answered: dict[str, _Answered] = {}
        self._count = 0
        self._is_down = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    # ----- what happens outside of the API

    @property
    def last_session(self) -> dict[str, Any]:
        """The session that was made last."""
        return list(self.sessions.values())[-1]

    def pay(self, session_id: str, *, come_back: bool = False) -> dict[str, Any]:
        """A buyer pays on the hosted page; with `come_back` their browser follows to the success page."""
        with self._lock:
            session = self.sessions[session_id]
            assert session["status"] == "open", session["status"]
            self._complete(session, "succeeded")
            session["payment_status"] = "paid"
        if come_back:
            self._visit(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session_id))
        return session

    def begin_bank_payment(self, session_id: str) -> dict[str, Any]:
        """A buyer chooses a way to pay that takes days."""
        with self._lock:
            self._complete(self.sessions[session_id], "processing")
        return self.sessions[session_id]

    def end_bank_payment(self, session_id: str, *, is_paid: bool) -> dict[str, Any]:
        """The bank is done."""
        with self._lock:
            session = self.sessions[session_id]
            self.payments[session["payment_intent"]]["status"] = "succeeded" if is_paid else "requires_payment_method"
            session["payment_status"] = "paid" if is_paid else "unpaid"
        return session

    def cancel(self, session_id: str) -> None:
        """A buyer follows the link back: that changes nothing at Stripe."""
        self._visit(self.sessions[session_id]["cancel_url"])

    def let_expire(self, session_id: str) -> dict[str, Any]:
        """24 hours pass."""
        self.sessions[session_id]["status"] = "expired"
        return self.sessions[session_id]

    def refund(self, session_id: str, cents: int, *, status: str = "succeeded") -> dict[str, Any]:
        """The seller gives money back, in the dashboard."""
        return self._goes_back(self.refunds, "re", "refund", session_id, cents, status)

    def dispute(self, session_id: str, cents: int, *, status: str = "needs_response") -> dict[str, Any]:
        """A bank takes money back for the buyer."""
        return self._goes_back(self.disputes, "dp", "dispute", session_id, cents, status)

    def event(
        self,
        kind: str,
        thing: Mapping[str, Any],
        *,
        secret: str = WEBHOOK_SECRET,
        at: float | None = None,
        event_id: str | None = None,
    ) -> tuple[bytes, str]:
        """An event about an object as it is now, and its signature by the SDK's own function."""
        moment = int(time.time() if at is None else at)
        body = {
            "id": event_id or self._new("evt"),
            "object": "event",
            "type": kind,
            "created": moment,
            "livemode": self.is_live,
            "data": {"object": dict(thing)},
        }
        payload = json.dumps(body)
        return payload.encode(), stripe.WebhookSignature.generate_signature_header(payload, secret, moment)

    def go_down(self, *, is_down: bool = True) -> None:
        """Cut every connection before anything is done, or no longer."""
        if is_down:
            self._is_down.set()
        else:
            self._is_down.clear()

    def forget_keys(self) -> None:
        """Days pass: a request with a key that was used is a new one."""
        self._answered.clear()

    def _visit(self, url: str) -> None:
        with urlopen(url, timeout=10) as page:
            assert page.status == 200
            page.read()

    def _complete(self, session: dict[str, Any], payment_status: str) -> None:
        payment = self._new("pi")
        self.payments[payment] = {"id": payment, "object": "payment_intent", "status": payment_status}
        session |= {"status": "complete", "payment_intent": payment, "url": None}

    def _goes_back(
        self, things: dict[str, dict[str, Any]], prefix: str, kind: str, session_id: str, cents: int, status: str
    ) -> dict[str, Any]:
        thing = {
            "id": self._new(prefix),
            "object": kind,
            "amount": cents,
            "currency": "usd",
            "payment_intent": self.sessions[session_id]["payment_intent"],
            "status": status,
        }
        things[thing["id"]] = thing
        return thing

    def _new(self, prefix: str) -> str:
        with self._lock:
            self._count += 1
            return f"{prefix}_{self._count:06d}{id(self) % 10**6:06d}"

    # ----- the API

    def answer(self, request: Request) -> tuple[Failure | None, int, dict[str, Any]]:
        """How a request fails, its status and its body."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            failure = "cut_before" if self._is_down.is_set() else self.failures.get(number)
            if failure == "cut_before":
                return failure, 0, {}
            if failure in _ERRORS:
                status, kind, message = _ERRORS[failure]
                return None, status, {"error": {"type": kind, "message": message}}
            try:
                return failure, 200, self._answer_once(request)
            except _Refused as refused:
                return failure, refused.status, refused.body

    def _answer_once(self, request: Request) -> dict[str, Any]:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            raise _Refused(401, "invalid_request_error", "Invalid API Key provided: sk_test_****")
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is None:
            return self._route(request)
        earlier = self._answered.get(key)
        if earlier is None:
            answer = self._route(request)
            self._answered[key] = _Answered(request.parameters, request.path, json.loads(json.dumps(answer)))
            return answer
        if (earlier.parameters, earlier.path) != (request.parameters, request.path):
            message = f"Keys for idempotent requests can only be used with the same parameters ('{key}')."
            raise _Refused(400, "idempotency_error", message)
        return earlier.answer

    def _route(self, request: Request) -> dict[str, Any]:  # noqa: PLR0911 (a line for each URL)
        match (request.method, *request.path.removeprefix("/v1/").split("/")):
            case ("POST", "customers"):
                return self._keep(self.customers, "cus", {"object": "customer", **request.parameters})
            case ("GET", "customers", customer_id):
                return self._known(self.customers, customer_id, "customer")
            case ("POST", "checkout", "sessions"):
                return self._make_session(request.parameters)
            case ("GET", "checkout", "sessions"):
                customer = request.parameters["customer"]
                self._known(self.customers, customer, "customer")
                return _listed([each for each in self.sessions.values() if each["customer"] == customer], request.path)
            case ("GET", "checkout", "sessions", session_id):
                return self._shown(self._known(self.sessions, session_id, "checkout.session"), request.parameters)
            case ("POST", "checkout", "sessions", session_id, "expire"):
                return self._expire(session_id)
            case ("GET", ("refunds" | "disputes") as kind):
                things = self.refunds if kind == "refunds" else self.disputes
                wanted = request.parameters["payment_intent"]
                return _listed([each for each in things.values() if each["payment_intent"] == wanted], request.path)
        raise _Refused(404, "invalid_request_error", f"Unrecognized request URL ({request.method}: {request.path}).")

    def _make_session(self, given: dict[str, Any]) -> dict[str, Any]:
        if "deleted" in self._known(self.customers, given["customer"], "customer", param="customer"):
            raise _Refused(400, "invalid_request_error", "No such customer", "resource_missing", "customer")
        assert given["mode"] == "payment"
        [item] = given["line_items"].values()
        session = {
            "object": "checkout.session",
            "mode": "payment",
            "status": "open",
            "payment_status": "unpaid",
            "amount_total": int(item["price_data"]["unit_amount"]) * int(item["quantity"]),
            "currency": item["price_data"]["currency"],
            "customer": given["customer"],
            "client_reference_id": given["client_reference_id"],
            "metadata": given["metadata"],
            "success_url": given["success_url"],
            "cancel_url": given["cancel_url"],
            "livemode": self.is_live,
            "payment_intent": None,
        }
        made = self._keep(self.sessions, "cs_live" if self.is_live else "cs_test", session)
        made["url"] = f"https://checkout.stripe.com/c/pay/{made['id']}"
        return made

    def _expire(self, session_id: str) -> dict[str, Any]:
        session = self._known(self.sessions, session_id, "checkout.session")
        if session["status"] != "open":
            message = f'Only Checkout Sessions with a status in ["open"] can be expired; this is {session["status"]}.'
            raise _Refused(400, "invalid_request_error", message)
        session |= {"status": "expired", "url": None}
        return session

    def _shown(self, session: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
        payment = self.payments.get(session["payment_intent"] or "")
        is_expanded = "payment_intent" in (parameters.get("expand") or {}).values()
        return {**session, "payment_intent": payment} if payment and is_expanded else session

    def _keep(self, things: dict[str, dict[str, Any]], prefix: str, thing: dict[str, Any]) -> dict[str, Any]:
        thing = {"id": self._new(prefix), **thing}
        things[thing["id"]] = thing
        return thing

    def _known(
        self, things: Mapping[str, dict[str, Any]], thing_id: str, kind: str, *, param: str = "id"
    ) -> dict[str, Any]:
        if thing_id not in things:
            message = f"No such {kind}: '{thing_id}'"
            raise _Refused(400 if param != "id" else 404, "invalid_request_error", message, "resource_missing", param)
        return things[thing_id]


def _listed(things: Sequence[dict[str, Any]], path: str) -> dict[str, Any]:
    return {"object": "list", "url": path, "has_more": False, "data": list(things)}


def nested(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Form fields such as `line_items[0][quantity]=1` as dictionaries in dictionaries."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        *outer, last = name.replace("]", "").split("[")
        inner = result
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return result


def _handler_for(double: StripeDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer("GET", parts.path, parts.query)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self._answer("POST", self.path, self.rfile.read(length).decode())

        def _answer(self, method: str, path: str, query: str) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(method, path, nested(parse_qsl(query, keep_blank_values=True)), headers)
            failure, status, body = double.answer(request)
            if failure in {"cut_before", "cut_after"}:
                self.close_connection = True
                return
            if failure == "slow":
                time.sleep(double.slow_seconds)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Request-Id", "req_000000000001")
            if status == 500:
                self.send_header("Stripe-Should-Retry", "false")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.02)
