"""Asking a provider: in the client's own protocol, byte by byte; in another, event by event; or in a thread.

Nothing here knows what an answer costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp

from aichat_cli import __version__
from aichat_cli.app import App
from aichat_cli.core.errors import AichatError, BadResponse, ConnectFailed, is_transient
from aichat_cli.core.struct import Struct, to_json
from aichat_cli.gateway.calls import Running
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.models import Served
from aichat_cli.gateway.network import network_error, session, target
from aichat_cli.gateway.threads import events_in_thread
from aichat_cli.gateway.wire.base import Asked, Wire
from aichat_cli.providers.anthropic_wire import AnthropicWire
from aichat_cli.providers.base import ChatRequest, OptionValue
from aichat_cli.providers.failures import ERROR_BODY_BYTES, Said, retry_after, said_in, status_error, who
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.retry import delay_before_next
from aichat_cli.providers.wire import AnswerReader, HttpWire

_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
_MOST_ANSWER_BYTES = 64_000_000
_DRAIN_SECONDS = 0.25
_MOST_THREADS = 64
_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"aichat-gateway/{__version__}",
    # What is compressed arrives in lumps.
    "Accept-Encoding": "identity",
}


class Job(Struct, frozen=True):
    """One call: what is asked, by `wire`'s client, of which model, and what is known of its answer."""

    wire: Wire
    asked: Asked
    served: Served
    request_id: str
    output_limit: int | None
    running: Running

    @property
    def chat_request(self) -> ChatRequest:
        """The call as the house's own wires take it."""
        options: Mapping[str, OptionValue] = self.asked.options
        if self.output_limit is not None and not any(name in options for name in _OUTPUT_LIMITS):
            options = {**options, "max_tokens": self.output_limit}
        return ChatRequest(
            self.served.model, self.asked.messages, self.asked.system, options, self.served.key, stream=True
        )


class Upstream:
    """All providers. One per process, made and closed in its event loop."""

    def __init__(self, house: App) -> None:
        self._house = house
        self._timeouts = house.timeouts
        self._policy = house.retry
        self._session = session(self._timeouts)
        self._wires: dict[str, HttpWire] = {"openai": OpenAIWire(), "anthropic": AnthropicWire()}
        self._threads = asyncio.Semaphore(_MOST_THREADS)
        self._local = asyncio.Semaphore(1)
        self._draining: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close all connections."""
        for task in list(self._draining):
            task.cancel()
        await self._session.close()

    def require_speakable(self, asked: Asked, served: Served) -> None:
        """Refuse what the model's protocol cannot say; raises BadRequest, which names the field."""
        if asked.native_only is not None and served.model.wire != asked.dialect:
            protocol = "OpenAI's" if asked.dialect == "openai" else "Anthropic's"
            raise BadRequest(
                f"{served.model.name} is not served in {protocol} protocol here, and takes no {asked.native_only}.",
                param=asked.native_only,
                code="unsupported_field",
            )

    async def answer(self, job: Job) -> AsyncGenerator[bytes, None]:
        """What to pass on of the answer, as it comes; a whole answer gives nothing until `job.running.reading` tells it.

        A failure that may pass is tried again while nothing has arrived.

        Raises:
            AichatError: the last try's.
        """
        attempt = 1
        while True:
            has_begun = False
            try:
                async with aclosing(self._tried(job)) as parts:
                    async for part in parts:
                        if part:
                            has_begun = True
                            yield part
            except AichatError as exc:
                if has_begun or job.running.reading.text or attempt >= self._policy.attempts or not is_transient(exc):
                    raise
                delay = delay_before_next(exc, attempt, self._policy)
                if delay is None:
                    raise
            else:
                return
            job.running.waits("nobody")
            await asyncio.sleep(delay)
            attempt += 1

    def _tried(self, job: Job) -> AsyncGenerator[bytes, None]:
        wire = job.served.model.wire
        if wire == job.asked.dialect:
            return self._native(job)
        return self._translated(job) if wire in self._wires else self._threaded(job)

    async def _native(self, job: Job) -> AsyncGenerator[bytes, None]:
        model, asked, running = job.served.model, job.asked, job.running
        tap = job.wire.tap(asked, model, job.request_id)
        running.reading = tap
        request = ChatRequest(model, (), key=job.served.key, stream=asked.stream)
        response = await self._post(request, job.wire.native_body(asked, model, job.output_limit))
        try:
            running.waits("provider")
            if not asked.stream:
                tap.whole(await _whole(request, response, running))
                return
            if response.content_type == "application/json":
                reader = AnswerReader(request, self._wires[model.wire].decoder(request))
                async for part in self._decoded(job, reader, response):
                    yield part
                return
            read = response.content.readany
            while chunk := await read():
                running.waits("provider")
                try:
                    passed = tap.feed(chunk)
                except AichatError:
                    yield tap.unsent
                    raise
                if passed:
                    yield passed
                    running.waits("provider")
                if tap.is_done:
                    break
            if tap.finished is None:
                raise ConnectFailed(f"{who(request)} closed the connection before the answer was complete.")
        except aiohttp.ClientError as exc:
            raise network_error(request, exc, self._timeouts) from exc
        finally:
            self._leave(response, is_done=tap.is_done)

    async def _translated(self, job: Job) -> AsyncGenerator[bytes, None]:
        request = job.chat_request
        wire = self._wires[job.served.model.wire]
        body, _ = wire.body(request)
        response = await self._post(request, body)
        decoder = wire.decoder(request)
        try:
            async for part in self._decoded(job, AnswerReader(request, decoder), response):
                yield part
        except aiohttp.ClientError as exc:
            raise network_error(request, exc, self._timeouts) from exc
        finally:
            self._leave(response, is_done=decoder.is_done)

    async def _decoded(
        self, job: Job, reader: AnswerReader, response: aiohttp.ClientResponse
    ) -> AsyncGenerator[bytes, None]:
        running = job.running
        encoder = job.wire.encoder(job.asked, job.served.model, job.request_id)
        running.reading = encoder
        running.waits("provider")
        while chunk := await response.content.readany():
            running.waits("provider")
            yield b"".join([encoder.event(event) for event in reader.feed(chunk)])
            running.waits("provider")
            if reader.is_done:
                break
        yield b"".join([encoder.event(event) for event in reader.end()])

    async def _threaded(self, job: Job) -> AsyncGenerator[bytes, None]:
        request, running = job.chat_request, job.running
        encoder = job.wire.encoder(job.asked, job.served.model, job.request_id)
        running.reading = encoder
        is_local = request.model.wire == "local"
        provider = self._house.provider_for(request.model)
        async with self._local if is_local else self._threads:
            events = events_in_thread(provider, request, provider.close if is_local else None)
            async with aclosing(events):
                async for event in events:
                    yield encoder.event(event)

    async def _post(self, request: ChatRequest, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """The response once its head says that it is one; a field that we added and that is refused is left out."""
        wire = self._wires[request.model.wire]
        response = await self._sent(wire, request, body)
        if response.status < 400:
            return response
        said = await self._said(request, response)
        shorter = wire.without_refused_field(request, body, said) if response.status in (400, 422) else None
        if shorter is not None:
            response = await self._sent(wire, request, shorter)
            if response.status < 400:
                return response
            said = await self._said(request, response)
        raise status_error(request, response.status, said, retry_after(response.headers.get))

    async def _sent(self, wire: HttpWire, request: ChatRequest, body: dict[str, Any]) -> aiohttp.ClientResponse:
        aimed = target(wire.url(request.model), _HEADERS | wire.headers(request))
        payload = to_json(body)
        try:
            async with asyncio.timeout(self._timeouts.first_byte):
                try:
                    response = await self._session.post(
                        aimed.url, data=payload, headers=aimed.headers, allow_redirects=False
                    )
                except aiohttp.ServerDisconnectedError:
                    # A connection that was kept may have been closed by the other side just now.
                    response = await self._session.post(
                        aimed.url, data=payload, headers=aimed.headers, allow_redirects=False
                    )
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise network_error(request, exc, self._timeouts) from exc
        if 300 <= response.status < 400:
            response.close()
            raise BadResponse(f"{who(request)} redirects to another place, which is not followed.")
        return response

    async def _said(self, request: ChatRequest, response: aiohttp.ClientResponse) -> Said:
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeouts.idle):
                while len(body) < ERROR_BODY_BYTES and (chunk := await response.content.readany()):
                    body += chunk
            return said_in(bytes(body[:ERROR_BODY_BYTES]), request.key)
        except (aiohttp.ClientError, TimeoutError):
            return Said("", is_structured=False)
        finally:
            response.close()

    def _leave(self, response: aiohttp.ClientResponse, *, is_done: bool) -> None:
        """Keep the connection where the answer has come to its end, or is about to; else close it, which tells the provider
        to stop.
        """
        if response.content.at_eof():
            return
        if not is_done:
            response.close()
            return
        task = asyncio.get_running_loop().create_task(_drained(response))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)


async def _drained(response: aiohttp.ClientResponse) -> None:
    """Read what is left of a body that should be at its end."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await response.content.readany():
                pass
    except (aiohttp.ClientError, TimeoutError):
        pass
    finally:
        if not response.content.at_eof():
            response.close()


async def _whole(request: ChatRequest, response: aiohttp.ClientResponse, running: Running) -> bytes:
    body = bytearray()
    while chunk := await response.content.readany():
        running.waits("provider")
        body += chunk
        if len(body) > _MOST_ANSWER_BYTES:
            raise BadResponse(f"{who(request)} sent an answer larger than {_MOST_ANSWER_BYTES} bytes.")
    return bytes(body)
