"""One call from its admission to its settlement: asked, passed on as it comes, and charged for what arrived.

The first bytes are sent with the headers, so that what fails before is an error like any other. A call is settled before its
last bytes are sent: whoever has the end of an answer finds it charged.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import aclosing
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aichat_cli.billing.charges import usage_of_call
from aichat_cli.billing.estimates import Call
from aichat_cli.chat.payment import call_of
from aichat_cli.core.accounts import Caller, CallWindow
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.errors import AichatError, ProviderError, TimedOut
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.messages import Status
from aichat_cli.core.money import NANO_PER_DOLLAR
from aichat_cli.core.struct import to_json
from aichat_cli.core.usage import UsageRecord
from aichat_cli.gateway.calls import Nothing, Running
from aichat_cli.gateway.errors import BadRequest, error_response, of_provider
from aichat_cli.gateway.models import Served
from aichat_cli.gateway.traffic import traffic_of
from aichat_cli.gateway.upstream import Job
from aichat_cli.gateway.wire.base import Asked, Totals, Wire
from aichat_cli.providers import tokens

_EVENTS = b"text/event-stream; charset=utf-8"
_JSON = b"application/json"


def id_for(request: Request) -> RequestId:
    """The id a call is charged under: the one its caller gives, or a new one; it becomes the request's own.

    Raises:
        BadRequest: the caller's is no UUID.
    """
    given = request.headers.get("x-aichat-request-id")
    try:
        request_id = RequestId(new_id() if given is None else str(UUID(given)))
    except ValueError:
        raise BadRequest("X-Aichat-Request-Id must be a UUID.", param="X-Aichat-Request-Id") from None
    request.scope.setdefault("state", {})["request_id"] = request_id
    return request_id


def window_headers(window: CallWindow) -> dict[str, str]:
    """What is left of the sliding window, for whoever called."""
    return {
        "X-RateLimit-Limit": str(window.limit),
        "X-RateLimit-Remaining": str(window.remaining),
        "X-RateLimit-Reset": str(math.ceil(window.reset_at)),
    }


class Relay(Response):
    """The answer to a request to a model."""

    def __init__(self, request: Request, wire: Wire, asked: Asked, served: Served, caller: Caller) -> None:
        self._request = request
        self._wire = wire
        self._asked = asked
        self._served = served
        self._caller = caller
        self._began_at = time.monotonic()
        self._id = id_for(request)
        traffic = traffic_of(request)
        self._calls = traffic.calls
        self._upstream = traffic.upstream
        self._has_begun = False
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit, ask, pass on, settle; raises what was not admitted."""
        asked = self._asked
        self._upstream.require_speakable(asked, self._served)
        size = len(asked.other_input) + sum(len(message.content) for message in asked.messages)
        ticket = await self._calls.admit(self._caller, self._call, size, self._id)
        running = self._calls.begin(ticket, self._served.model)
        job = Job(self._wire, asked, self._served, self._id, ticket.output_limit, running)
        watching = asyncio.get_running_loop().create_task(_until_left(receive, running))
        failure: AichatError | None = None
        status: Status = "failed"
        try:
            await self._pass_on(job, send)
            status = "complete"
        except AichatError as exc:
            failure = of_provider(exc)
        except asyncio.CancelledError:
            status = "failed" if running.ending == "silent" else "stopped"
            if running.ending is None:
                raise
            _uncancelled()
            failure = self._ended(running)
        finally:
            watching.cancel()
            self._calls.is_over(running)
            settling = self._calls.keep(self._settled(running, status))
        totals = await asyncio.shield(settling)
        if running.ending in ("left", "unread"):
            return
        async with asyncio.timeout(self._calls.idle_seconds):
            if failure is None:
                await self._finish(running, totals, send)
            elif self._has_begun:
                await self._last(send, self._wire.error_event(failure, self._id))
            else:
                refused = error_response(self._request, failure)
                refused.headers.update(window_headers(ticket.window))
                await refused(scope, receive, send)

    def _call(self) -> Call:
        asked = self._asked
        system = "\n".join(text for text in (asked.system, asked.other_input) if text)
        return call_of(self._served.model, asked.messages, system or None, asked.options, "chat")

    async def _pass_on(self, job: Job, send: Send) -> None:
        running = job.running
        async with aclosing(self._upstream.answer(job)) as parts:
            async for part in parts:
                running.waits("client")
                if not self._has_begun:
                    await self._begin(running, _EVENTS, send)
                await send({"type": "http.response.body", "body": part, "more_body": True})

    async def _begin(self, running: Running, media_type: bytes, send: Send, *, length: int | None = None) -> None:
        self._has_begun = True
        model = self._served.model.name
        self._calls.observer.first_byte(model, time.monotonic() - self._began_at)
        window = running.ticket.window
        headers = [
            (b"content-type", media_type),
            (b"cache-control", b"no-store"),
            (b"x-request-id", self._id.encode()),
            *((name.lower().encode(), value.encode()) for name, value in window_headers(window).items()),
        ]
        headers.append((b"x-accel-buffering", b"no") if length is None else (b"content-length", b"%d" % length))
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _finish(self, running: Running, totals: Totals | None, send: Send) -> None:
        reading = running.reading
        assert not isinstance(reading, Nothing)
        if self._asked.stream:
            if not self._has_begun:
                await self._begin(running, _EVENTS, send)
            await self._last(send, reading.end(totals))
        else:
            body = to_json(reading.whole_answer(totals))
            await self._begin(running, _JSON, send, length=len(body))
            await self._last(send, body)

    async def _last(self, send: Send, body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _ended(self, running: Running) -> AichatError:
        if running.ending == "silent":
            return TimedOut(f"{self._served.model.provider} sent nothing for {self._calls.idle_seconds:g} s.")
        return ProviderError("The call was ended: it gave no sign of life for too long.")

    async def _settled(self, running: Running, status: Status) -> Totals | None:
        """Charge the call by what arrived; None where nothing did, or where that can only be told later."""
        record = await self._record(running, status)
        charge = await self._calls.settle(self._id, record)
        seconds = time.monotonic() - self._began_at
        cost = (record.cost_nano or 0) if record else 0
        self._calls.observer.ended(self._served.model.name, status, record.tokens if record else None, cost, seconds)
        if record is None or charge is None:
            return None
        return Totals(
            record.tokens,
            cost / NANO_PER_DOLLAR,
            charge.charged_nano // NANO_PER_CREDIT,
            charge.balance_nano // NANO_PER_CREDIT,
        )

    async def _record(self, running: Running, status: Status) -> UsageRecord | None:
        reading = running.reading
        if status == "failed" and not self._has_begun:
            return None  # nobody got anything of it
        if reading.finished is not None and reading.tokens is not None:
            return self._usage(running, status)
        return await asyncio.to_thread(self._usage, running, status)

    def _usage(self, running: Running, status: Status) -> UsageRecord | None:
        asked, model, reading = self._asked, self._served.model, running.reading
        return usage_of_call(
            self._id,
            model,
            reading.tokens,
            finished=reading.finished,
            status=status,
            prompt_tokens=lambda: (
                tokens.count_messages(asked.messages, asked.system, model) + tokens.count(asked.other_input, model)
            ),
            answer_tokens=(lambda: tokens.count(reading.text, model)) if reading.output_tokens else None,
        )


async def _until_left(receive: Receive, running: Running) -> None:
    """End a call as soon as its client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    running.end("left")


def _uncancelled() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
