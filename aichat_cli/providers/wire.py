"""What the direct wires share: sending a request, reading a stream of events or one JSON object, and what breaks in between.

A wire says how a request is written and gives a `Decoder` for what comes back.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Protocol

from aichat_cli.core.errors import AichatError, BadResponse, ConnectFailed, StreamBroken
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.models import GATEWAY, Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import replace
from aichat_cli.providers.base import Call, ChatRequest, Timeouts
from aichat_cli.providers.endpoints import sendable
from aichat_cli.providers.failures import (
    ERROR_BODY_BYTES,
    retry_after,
    said_by,
    said_in,
    snippet,
    status_error,
    who,
)
from aichat_cli.providers.http import HttpResponse, HttpTransport
from aichat_cli.providers.said import Said
from aichat_cli.providers.sse import MAX_EVENT_BYTES, SseParser, SurrogateJoiner

if TYPE_CHECKING:
    from aichat_cli.providers.helicone import Helicone

_SNIFFED_BYTES = 2048
_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")


class Decoder(Protocol):
    """Turns one response into events."""

    is_done: bool
    """The provider said that nothing more follows."""

    def event(self, data: Any) -> Iterator[ProviderEvent]:
        """One event of the stream: a JSON value."""
        ...

    def whole(self, answer: dict[str, Any]) -> Iterator[ProviderEvent]:
        """The answer in one object."""
        ...

    def end(self) -> Iterator[ProviderEvent]:
        """The end of the response; yields nothing where the answer was not complete."""
        ...


class HttpWire(ABC):
    """The common half of a direct wire.

    Args:
        helicone: what stands between us and some providers, asked for at every call.
    """

    def __init__(self, helicone: Callable[[], Helicone | None] = lambda: None) -> None:
        self._transport = HttpTransport()
        self._helicone = helicone

    @abstractmethod
    def url(self, model: Model) -> str:
        """Where requests go."""

    @abstractmethod
    def own_headers(self, request: ChatRequest) -> dict[str, str]:
        """The key and whatever else the provider wants."""

    @abstractmethod
    def body(self, request: ChatRequest) -> tuple[dict[str, Any], list[Notice]]:
        """The request as JSON, and what the user should know of it."""

    @abstractmethod
    def decoder(self, request: ChatRequest) -> Decoder:
        """A fresh decoder."""

    def without_refused_field(self, request: ChatRequest, body: dict[str, Any], said: Said) -> dict[str, Any] | None:
        """The body to send instead where the provider did not know a field that we added; None where it did."""
        del request, body, said
        return None

    def routed(self, request: ChatRequest) -> ChatRequest:
        """The call as it is sent: to the provider, or through what stands between."""
        helicone = self._helicone()
        return request if helicone is None else helicone.routed(request)

    def headers(self, request: ChatRequest) -> dict[str, str]:
        """All headers of a call that is `routed`."""
        own = self.own_headers(request)
        helicone = None if request.model.via is None else self._helicone()
        return own if helicone is None else own | helicone.headers(request, request.conversation_id)

    def warm(self, request_model: Model, timeouts: Timeouts) -> None:
        """Connect in advance, from another thread; failures are silent."""
        with suppress(AichatError):
            helicone = self._helicone()
            model = request_model if helicone is None else helicone.placed(request_model)
            self._transport.warm(self.url(model), timeouts)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()

    def stream(self, request: ChatRequest) -> Iterator[ProviderEvent]:
        """Send the request and yield what comes back; `base.Provider.stream` tells the errors."""
        request = self.routed(request)
        body, notices = self.body(request)
        yield from notices
        yield from broken_after_content(self._answer(request, body))

    def _answer(self, request: ChatRequest, body: dict[str, Any]) -> Generator[ProviderEvent, None, None]:
        response = self._respond(request, body)
        with closing(response):
            is_empty = True
            events = self._events(request, response)
            if is_free(request.model, response.headers.get):
                events = _free(request.model, events)
            for event in events:
                is_empty = is_empty and not isinstance(event, TextDelta | ReasoningDelta)
                if isinstance(event, Finished):
                    response.finish()
                    if is_empty and event.reason == "stop":
                        yield Notice(f"{request.model.name} answered with nothing.")
                yield event

    def _respond(self, request: ChatRequest, body: dict[str, Any]) -> HttpResponse:
        response = self._post(request, body)
        if response.status < 400:
            return response
        said = self._said(request, response)
        shorter = self.without_refused_field(request, body, said) if response.status in (400, 422) else None
        if shorter is not None:
            response = self._post(request, shorter)
            if response.status < 400:
                return response
            said = self._said(request, response)
        raise status_error(request, response.status, said, retry_after(response.headers.get))

    def _post(self, request: ChatRequest, body: dict[str, Any]) -> HttpResponse:
        payload = json.dumps(body, separators=(",", ":")).encode()
        return self._transport.post_json(self.url(request.model), self.headers(request), payload, request.timeouts)

    def _said(self, request: ChatRequest, response: HttpResponse) -> Said:
        with closing(response):
            try:
                return said_in(response.read_limited(ERROR_BODY_BYTES), request.key)
            except AichatError:
                return Said("", is_structured=False)

    def _events(self, request: ChatRequest, response: HttpResponse) -> Iterator[ProviderEvent]:
        reader = AnswerReader(request, self.decoder(request))
        for chunk in response.chunks():
            yield from reader.feed(chunk)
            if reader.is_done:
                break
        yield from reader.end()


def is_free(model: Model, header: Callable[[str], str | None]) -> bool:
    """Whether what stands between us and the provider had kept this answer, so that nobody charges for it."""
    return model.via is not None and (header("helicone-cache") or "").strip().upper() == "HIT"


def _free(model: Model, events: Iterator[ProviderEvent]) -> Iterator[ProviderEvent]:
    """The same events, whose tokens cost nothing however much of the answer arrives."""
    yield Notice(f"Answered from {model.via}'s cache: it cost nothing.")
    yield Usage(TokenUsage(0, 0, is_free=True))
    for event in events:
        yield Usage(replace(event.tokens, is_free=True)) if isinstance(event, Usage) else event


class AnswerReader:
    """The events of one response, fed as it arrives: of a stream, or of one JSON object; its first character tells which.

    No input or output. Both methods raise AichatError where the provider reports an error or sends what is not its protocol.
    """

    def __init__(self, request: ChatRequest, decoder: Decoder) -> None:
        self._request = request
        self._decoder = decoder
        self._head = bytearray()
        self._parser: SseParser | None = None
        self._is_whole = False
        self._has_event = False

    @property
    def is_done(self) -> bool:
        """The provider said that nothing more follows."""
        return self._decoder.is_done

    def feed(self, chunk: bytes) -> Iterator[ProviderEvent]:
        """The events that the next bytes complete."""
        if self._parser is None:
            chunk = self._begun(chunk)
            if self._parser is None:
                return
        elif not self._has_event and len(self._head) < _SNIFFED_BYTES:
            self._head += chunk
        decoder = self._decoder
        for event in self._parser.feed(chunk):
            self._has_event = True
            if event.data == "[DONE]":
                decoder.is_done = True
            else:
                yield from decoder.event(_parsed(self._request, event.data))
            if decoder.is_done:
                return

    def end(self) -> Iterator[ProviderEvent]:
        """What follows from the end of the response."""
        if self._is_whole:
            yield from self._whole()
            return
        if not self._has_event:
            raise not_the_protocol(self._request, bytes(self._head))
        is_complete = False
        for last in self._decoder.end():
            is_complete = is_complete or isinstance(last, Finished)
            yield last
        if not is_complete:
            raise ConnectFailed(f"{who(self._request)} closed the connection before the answer was complete.")

    def _begun(self, chunk: bytes) -> bytes:
        """What came so far, to be parsed as a stream where it is one."""
        self._head += chunk
        if not self._is_whole:
            start = self._head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
            if start == b"<":
                raise not_the_protocol(self._request, bytes(self._head))
            self._is_whole = start == b"{"
            if start and not self._is_whole:
                self._parser = SseParser()
        elif len(self._head) > MAX_EVENT_BYTES:
            raise BadResponse(f"{who(self._request)} sent an answer larger than {MAX_EVENT_BYTES} bytes.")
        return bytes(self._head)

    def _whole(self) -> Iterator[ProviderEvent]:
        body = bytes(self._head)
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise not_the_protocol(self._request, body) from exc
        if answer.get("error"):
            raise said_error(self._request, answer)
        finished = False
        for event in self._decoder.whole(answer):
            finished = finished or isinstance(event, Finished)
            yield event
        if not finished:
            raise not_the_protocol(self._request, body)


def broken_after_content(events: Generator[ProviderEvent, None, None]) -> Iterator[ProviderEvent]:
    """The same events; an error after the first delta is raised as `StreamBroken`. Closes what it is given."""
    has_content = False
    with closing(events):
        try:
            for event in events:
                has_content = has_content or isinstance(event, TextDelta | ReasoningDelta)
                yield event
        except AichatError as exc:
            if not has_content:
                raise
            raise StreamBroken(f"The answer broke off: {exc.message}") from exc


def _parsed(request: ChatRequest, data: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BadResponse(f"{who(request)} sent an event that is not JSON: {snippet(data, request.key)}") from exc


def not_the_protocol(request: Call, body: bytes) -> BadResponse:
    """The error for a body that is something else, such as a proxy's page."""
    text = snippet(body[:_SNIFFED_BYTES].decode("utf-8", "replace"), request.key)
    what = f"with something else than a model's answer: {text}" if text else "with nothing"
    return BadResponse(f"{who(request)} answered {what}", hint="Check the base URL")


def said_error(request: Call, answer: Any) -> AichatError:
    """The error that an error object in a response of status 200 stands for."""
    said = said_by(answer, request.key)
    return status_error(request, said.status, said)


def checked_key(request: Call) -> str | None:
    """The key for a header.

    Raises:
        KeyRejected: it has characters that no key has, such as a line break from a paste.
    """
    return None if request.key is None else sendable(request.key, request.model.key_name)


def gateway_headers(model: Model, request_id: str | None) -> dict[str, str]:
    """What a gateway is told besides: the id to charge the call under, so that both sides' books have one row of it."""
    return {"X-Aichat-Request-Id": request_id} if model.provider == GATEWAY and request_id else {}


def without_sampling(model: Model, options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Notice]]:
    """The options without those that a reasoning model refuses, and a notice that names them."""
    if model.takes_sampling:
        return dict(options), []
    left_out = [name for name in _SAMPLING if name in options]
    kept = {name: value for name, value in options.items() if name not in left_out}
    return kept, [left_out_notice(model, left_out)] if left_out else []


def left_out_notice(model: Model, names: list[str]) -> Notice:
    """That options were not sent."""
    return Notice(f"{model.name} does not take {', '.join(names)}: not sent.")


def usage_json(usage: dict[str, Any]) -> str:
    """The provider's usage object as compact JSON."""
    return json.dumps(usage, separators=(",", ":"), ensure_ascii=False)


def count(usage: Any, *path: str) -> int:
    """The number of tokens at a path of a usage object, 0 where there is none."""
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return usage if isinstance(usage, int) and not isinstance(usage, bool) and usage > 0 else 0


class TextChannel:
    """One kind of text of an answer, whole characters only."""

    __slots__ = ("_event", "_joiner", "has_text")

    def __init__(self, event: type[TextDelta | ReasoningDelta]) -> None:
        self._event = event
        self._joiner = SurrogateJoiner()
        self.has_text = False

    def take(self, text: Any) -> Iterator[ProviderEvent]:
        """The delta for a piece of text, if it is one."""
        if isinstance(text, str) and text and (joined := self._joiner.feed(text)):
            self.has_text = True
            yield self._event(joined)

    def end(self) -> Iterator[ProviderEvent]:
        """Half a character that was left."""
        if rest := self._joiner.flush():
            yield self._event(rest)
