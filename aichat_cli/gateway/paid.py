"""An answer that is paid for, from its admission to its settlement, whoever leaves or fails meanwhile.

What fails before the first byte is an error like any other. A call is settled before the last bytes of its answer are sent:
whoever has the end of it finds it charged.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aichat_cli.billing.estimates import Call
from aichat_cli.chat.observing import FinishedTurn, Trace, TurnContent
from aichat_cli.core.accounts import Caller, CallWindow
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.errors import (
    AichatError,
    ApiKeyError,
    PaymentRequired,
    ProviderError,
    RateLimited,
    StreamBroken,
    TimedOut,
)
from aichat_cli.core.ids import RequestId
from aichat_cli.core.messages import Status
from aichat_cli.core.money import NANO_PER_DOLLAR
from aichat_cli.core.struct import to_json
from aichat_cli.core.usage import UsageRecord
from aichat_cli.gateway.calls import Running
from aichat_cli.gateway.deps import deps_of
from aichat_cli.gateway.errors import BadRequest, error_response, is_the_operators, of_provider, request_id_of
from aichat_cli.gateway.middleware import asked_id
from aichat_cli.gateway.models import Served
from aichat_cli.gateway.traffic import traffic_of
from aichat_cli.gateway.watch import SeenCall, notes_of
from aichat_cli.gateway.wire.base import Totals

logger = logging.getLogger(__name__)

EVENTS = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
_NOTHING_SAID = TurnContent(None, (), "", "")


def id_for(request: Request) -> RequestId:
    """The id a call is charged under: that of its request, which the caller may have given.

    Raises:
        BadRequest: the caller's is no UUID.
    """
    given = request.headers.get("x-aichat-request-id")
    if given is not None and asked_id(given) is None:
        raise BadRequest("X-Aichat-Request-Id must be a UUID.", param="X-Aichat-Request-Id")
    return RequestId(request_id_of(request))


class PaidAnswer(Response, ABC):
    """The answer to a request that costs something: a kind of request says what is asked, and how it is told."""

    is_streamed = False

    def __init__(self, request: Request, served: Served, caller: Caller) -> None:
        self.served = served
        self.id = id_for(request)
        self.has_begun = False
        self.background = None
        self._request = request
        self._caller = caller
        self._began_at = time.monotonic()
        self._seen = notes_of(request).call = SeenCall(served.model.name)
        traffic = traffic_of(request)
        self.upstream = traffic.upstream
        self._calls = traffic.calls
        self._teller = traffic.teller
        self._trace = traffic.teller.trace()
        self._alerts = traffic.alerts

    @abstractmethod
    def call(self) -> Call:
        """What billing sees of it."""

    @property
    @abstractmethod
    def prompt_size(self) -> int:
        """About how many bytes there are to count."""

    @abstractmethod
    async def ask(self, running: Running, send: Send) -> None:
        """Ask the provider, and send what comes; raises AichatError."""

    @abstractmethod
    async def finish(self, running: Running, totals: Totals | None, send: Send) -> None:
        """Send the end of the answer."""

    @abstractmethod
    async def usage(self, running: Running, status: Status) -> UsageRecord | None:
        """What is charged for what arrived, None where nothing did."""

    @abstractmethod
    def error_event(self, error: AichatError) -> bytes:
        """An error, after the answer has begun."""

    def content(self, running: Running, error: AichatError | None) -> TurnContent:  # noqa: ARG002
        """What was said, for observers that may have it."""
        return _NOTHING_SAID

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit, ask, send, settle; raises what was not admitted."""
        try:
            ticket = await self._calls.admit(self._caller, self.call, self.prompt_size, self.id)
        except PaymentRequired:
            self._alerts.note(self._caller.key_id)
            raise
        running = self._calls.begin(ticket, self.served.model)
        watching = asyncio.get_running_loop().create_task(_until_left(receive, running))
        running.trace = self._trace
        failure: AichatError | None = None
        cause: AichatError | None = None
        status: Status = "failed"
        try:
            await self.ask(running, send)
            status = "complete"
        except AichatError as exc:
            failure, cause = of_provider(exc), exc
            if isinstance(exc, ProviderError | ApiKeyError | RateLimited):
                self._calls.observer.failed(self.served.model.provider, exc.code)
            if is_the_operators(exc):
                logger.warning("%s refuses the gateway: %s", self.served.model.provider, self._redacted(exc).message)
        except asyncio.CancelledError:
            status = "failed" if running.ending == "silent" else "stopped"
            if running.ending is None:
                raise
            _uncancelled()
            failure = cause = self._ended(running)
        finally:
            watching.cancel()
            self._calls.is_over(running)
            settling = self._calls.keep(self._settled(running, status, cause))
        totals = await asyncio.shield(settling)
        if running.ending in ("left", "unread"):
            return
        # Whoever does not read the end of it has paid all the same.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._calls.idle_seconds):
                if failure is None:
                    await self.finish(running, totals, send)
                else:
                    await self._fail(self._redacted(failure), ticket.window, scope, receive, send)

    async def begin(self, running: Running, media_type: bytes, send: Send, *, length: int | None = None) -> None:
        """Send the headers."""
        self.has_begun = True
        self._calls.observer.first_byte(time.monotonic() - self._began_at)
        headers = [
            (b"content-type", media_type),
            (b"cache-control", b"no-store"),
            *_window_headers(running.ticket.window),
            (b"x-accel-buffering", b"no") if length is None else (b"content-length", b"%d" % length),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def whole(self, value: object, running: Running, send: Send) -> None:
        """Send an answer in one object."""
        body = to_json(value)
        await self.begin(running, JSON, send, length=len(body))
        await self.last(body, send)

    async def last(self, body: bytes, send: Send) -> None:
        """Send the last bytes."""
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _fail(self, error: AichatError, window: CallWindow, scope: Scope, receive: Receive, send: Send) -> None:
        if self.has_begun:
            await self.last(self.error_event(error), send)
            return
        response = error_response(self._request, error)
        response.raw_headers += _window_headers(window)
        await response(scope, receive, send)

    def _redacted(self, error: AichatError) -> AichatError:
        """The error, without the operator's key, which a provider may have repeated."""
        error.message = deps_of(self._request).house.keys.redact(error.message)
        return error

    def _ended(self, running: Running) -> AichatError:
        if running.ending == "silent":
            return TimedOut(f"{self.served.model.provider} sent nothing for {self._calls.idle_seconds:g} s.")
        return StreamBroken("The call was ended: it gave no sign of life for too long.")

    async def _settled(self, running: Running, status: Status, cause: AichatError | None) -> Totals | None:
        """Charge the call by what arrived; None where nothing did, or where that can only be told later."""
        record = await self.usage(running, status)
        charge = await self._calls.settle(self.id, record)
        cost = (record.cost_nano or 0) if record else 0
        tokens = record.tokens if record else None
        charged_nano = charge.charged_nano if charge else 0
        self._calls.observer.ended(self.served.model.name, tokens, cost, charged_nano)
        if charged_nano:
            self._alerts.note(self._caller.key_id)
        if running.trace is not None:
            self._tell(running, running.trace, status, record, cause)
        if tokens is None:
            return None
        self._seen.input_tokens, self._seen.output_tokens = tokens.input_tokens, tokens.output_tokens
        self._seen.cost_nano = cost
        if charge is None:
            return None
        charged, left = charged_nano // NANO_PER_CREDIT, charge.balance_nano // NANO_PER_CREDIT
        return Totals(tokens, cost / NANO_PER_DOLLAR, charged, left)

    def _tell(
        self, running: Running, trace: Trace, status: Status, record: UsageRecord | None, cause: AichatError | None
    ) -> None:
        """Hand the call over to whoever observes calls; what was said only where they may have it."""
        trace.end(cause)
        content, size = _NOTHING_SAID, 0
        if self._teller.takes_content:
            content = self.content(running, self._redacted(cause) if cause else None)
            size = self.prompt_size + len(content.answer)
        finished = running.reading.finished
        turn = FinishedTurn(
            id=self.id,
            type=running.ticket.call.type,
            model=self.served.model.name,
            provider=self.served.model.provider,
            status=status,
            started_at=trace.started_at,
            ended_at=trace.now(),
            content=content,
            user=self._caller.user_id,
            served_model=record.served_model if record else None,
            error=(cause.code if cause else "internal_error") if status == "failed" else None,
            finish_reason=finished.reason if finished else None,
            is_streamed=self.is_streamed,
            tokens=record.tokens if record else None,
            cost_nano=record.cost_nano if record else None,
            first_at=trace.first_at,
            spans=trace.spans(),
        )
        self._teller.tell(turn, size)


def _window_headers(window: CallWindow) -> list[tuple[bytes, bytes]]:
    """What is left of the sliding window, for whoever called."""
    return [
        (b"x-ratelimit-limit", b"%d" % window.limit),
        (b"x-ratelimit-remaining", b"%d" % window.remaining),
        (b"x-ratelimit-reset", b"%d" % math.ceil(window.reset_at)),
    ]


async def _until_left(receive: Receive, running: Running) -> None:
    """End a call as soon as its client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    running.end("left")


def _uncancelled() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
