"""Asking a provider: in the client's own protocol, byte by byte; in another, event by event; or in a thread.

Nothing here knows what an answer costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import aiohttp

from aichat_cli.app import App
from aichat_cli.core.errors import AichatError, ConnectFailed, is_transient
from aichat_cli.core.ids import ProfileId
from aichat_cli.core.struct import Struct
from aichat_cli.gateway.calls import Running
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.models import Served
from aichat_cli.gateway.network import Network, network_error, read_whole
from aichat_cli.gateway.threads import events_in_thread, in_thread
from aichat_cli.gateway.wire.base import Asked, Wire
from aichat_cli.providers import embeddings
from aichat_cli.providers.anthropic_wire import AnthropicWire
from aichat_cli.providers.base import ChatRequest, EmbeddingRequest, OptionValue, Timeouts
from aichat_cli.providers.embeddings import EmbeddingResponse, through_litellm
from aichat_cli.providers.failures import retry_after, status_error, who
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.retry import delay_before_next
from aichat_cli.providers.wire import AnswerReader, HttpWire, is_free

if TYPE_CHECKING:
    from aichat_cli.providers.helicone import Helicone

_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens")
_MOST_ANSWER_BYTES = 64_000_000
_MOST_THREADS = 64


class Job(Struct, frozen=True):
    """One call: what is asked, by `wire`'s client, of which model, and what is known of its answer."""

    wire: Wire
    asked: Asked
    served: Served
    request_id: str
    output_limit: int | None
    running: Running
    user_id: ProfileId

    def native_request(self) -> ChatRequest:
        """The call without what is asked, which a provider of the same protocol is sent as it came."""
        served = self.served
        return ChatRequest(
            served.model,
            (),
            key=served.key,
            stream=self.asked.stream,
            request_id=self.request_id,
            user_id=self.user_id,
        )

    def chat_request(self, timeouts: Timeouts) -> ChatRequest:
        """The call as the house's own wires take it."""
        options: Mapping[str, OptionValue] = self.asked.options
        if self.output_limit is not None and not any(name in options for name in _OUTPUT_LIMITS):
            options = {**options, "max_tokens": self.output_limit}
        return ChatRequest(
            self.served.model,
            self.asked.messages,
            self.asked.system,
            options,
            self.served.key,
            timeouts=timeouts,
            request_id=self.request_id,
            user_id=self.user_id,
        )


class Upstream:
    """All providers. One per process, made and closed in its event loop."""

    def __init__(self, house: App) -> None:
        self._house = house
        self._policy = house.retry
        self._network = Network(house.timeouts)
        self._wires: dict[str, HttpWire] = {
            "openai": OpenAIWire(self._helicone),
            "anthropic": AnthropicWire(self._helicone),
        }
        self._threads = asyncio.Semaphore(_MOST_THREADS)
        self._local = asyncio.Semaphore(1)
        self._plain_urls: set[str] = set()

    def _helicone(self) -> Helicone | None:
        return self._house.helicone

    @property
    def timeouts(self) -> Timeouts:
        """How long providers may take."""
        return self._network.timeouts

    async def close(self) -> None:
        """Close all connections."""
        await self._network.close()

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
        attempt, trace = 1, job.running.trace
        while True:
            has_begun = False
            if trace is not None:
                trace.ask(job.served.model)
            try:
                async with aclosing(self._tried(job)) as parts:
                    async for part in parts:
                        if part:
                            if trace is not None and not has_begun:
                                trace.arrives()
                            has_begun = True
                            yield part
            except AichatError as exc:
                if has_begun or job.running.reading.text:
                    raise
                await self._pause(exc, attempt, job.running)
            else:
                return
            attempt += 1

    async def vectors(self, request: EmbeddingRequest, running: Running) -> EmbeddingResponse:
        """The vectors of texts; what may pass is tried again. Raises AichatError, the last try's."""
        attempt = 1
        while True:
            if running.trace is not None:
                running.trace.ask(request.model)
            try:
                if request.model.wire != "litellm":
                    return await self._vectors(request, running)
                return await in_thread(lambda: through_litellm(request), self._threads)
            except AichatError as exc:
                await self._pause(exc, attempt, running)
            attempt += 1

    async def _pause(self, error: AichatError, attempt: int, running: Running) -> None:
        """Wait until the next attempt; raises the error where there is none."""
        delay = None
        if attempt < self._policy.attempts and is_transient(error):
            delay = delay_before_next(error, attempt, self._policy)
        if delay is None:
            raise error
        if running.trace is not None:
            running.trace.end(error)
        running.waits("nobody")
        await asyncio.sleep(delay)

    async def _vectors(self, request: EmbeddingRequest, running: Running) -> EmbeddingResponse:
        helicone = self._helicone()
        if helicone is not None:
            request = helicone.routed(request)
        network, url = self._network, embeddings.url_of(request.model)
        body = embeddings.body_of(request, is_plain=url in self._plain_urls)
        response = await network.post(request, url, embeddings.headers_of(request, helicone), body)
        if response.status >= 400:
            said = await network.said(request, response)
            if response.status in (400, 422) and url not in self._plain_urls and "encoding_format" in said.message:
                self._plain_urls.add(url)
                return await self._vectors(request, running)
            raise status_error(request, response.status, said, retry_after(response.headers.get))
        running.waits("provider")
        try:
            answer = await read_whole(request, response, _MOST_ANSWER_BYTES, lambda: running.waits("provider"))
        except aiohttp.ClientError as exc:
            raise network_error(request, exc, network.timeouts) from exc
        finally:
            network.leave(response, is_done=False)
        return await asyncio.to_thread(embeddings.read_answer, request, answer, response.headers.get)

    def _tried(self, job: Job) -> AsyncGenerator[bytes, None]:
        wire = job.served.model.wire
        if wire == job.asked.dialect:
            return self._native(job)
        return self._translated(job) if wire in self._wires else self._threaded(job)

    async def _native(self, job: Job) -> AsyncGenerator[bytes, None]:
        model, asked, running = job.served.model, job.asked, job.running
        tap = job.wire.tap(asked, model, job.request_id)
        running.reading = tap
        request = self._wires[model.wire].routed(job.native_request())
        response = await self._post(request, job.wire.native_body(asked, model, job.output_limit))
        running.is_free = is_free(request.model, response.headers.get)
        try:
            running.waits("provider")
            if not asked.stream:
                body = await read_whole(request, response, _MOST_ANSWER_BYTES, lambda: running.waits("provider"))
                tap.whole(body)
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
            raise network_error(request, exc, self._network.timeouts) from exc
        finally:
            self._network.leave(response, is_done=tap.is_done)

    async def _translated(self, job: Job) -> AsyncGenerator[bytes, None]:
        wire = self._wires[job.served.model.wire]
        request = wire.routed(job.chat_request(self.timeouts))
        body, _ = wire.body(request)
        response = await self._post(request, body)
        job.running.is_free = is_free(request.model, response.headers.get)
        decoder = wire.decoder(request)
        try:
            async for part in self._decoded(job, AnswerReader(request, decoder), response):
                yield part
        except aiohttp.ClientError as exc:
            raise network_error(request, exc, self._network.timeouts) from exc
        finally:
            self._network.leave(response, is_done=decoder.is_done)

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
        request, running = job.chat_request(self.timeouts), job.running
        encoder = job.wire.encoder(job.asked, job.served.model, job.request_id)
        running.reading = encoder
        is_local = request.model.wire == "local"
        provider = self._house.provider_for(request.model)
        room = self._local if is_local else self._threads
        async with aclosing(events_in_thread(provider, request, room, provider.close if is_local else None)) as events:
            async for event in events:
                yield encoder.event(event)
                running.waits("nobody")  # that has limits of its own

    async def _post(self, request: ChatRequest, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """The response once its head says that it is one; a field that we added and that is refused is left out."""
        wire, network = self._wires[request.model.wire], self._network
        url, headers = wire.url(request.model), wire.headers(request)
        response = await network.post(request, url, headers, body)
        if response.status < 400:
            return response
        said = await network.said(request, response)
        shorter = wire.without_refused_field(request, body, said) if response.status in (400, 422) else None
        if shorter is not None:
            response = await network.post(request, url, headers, shorter)
            if response.status < 400:
                return response
            said = await network.said(request, response)
        raise status_error(request, response.status, said, retry_after(response.headers.get))
