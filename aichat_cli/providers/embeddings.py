"""Vectors from a provider: POST {base_url}/embeddings as OpenAI has it, or litellm for everyone who has it otherwise.

Nothing is retried here, and what a failed call may have cost is said, not guessed.
"""

from __future__ import annotations

import json
from array import array
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from aichat_cli.core.errors import AichatError, BadResponse, ContextTooLong, TimedOut
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct, replace
from aichat_cli.providers.base import EmbeddingRequest
from aichat_cli.providers.failures import ERROR_BODY_BYTES, retry_after, said_in, status_error, who
from aichat_cli.providers.http import HttpResponse, HttpTransport
from aichat_cli.providers.said import Said
from aichat_cli.providers.wire import (
    checked_key,
    count,
    gateway_headers,
    is_free,
    not_the_protocol,
    said_error,
    usage_json,
)

if TYPE_CHECKING:
    from aichat_cli.providers.helicone import Helicone

_DEFAULT_URL = "https://api.openai.com/v1"
_MOST_ANSWER_BYTES = 256_000_000
_BYTES_PER_NUMBER = 4


class EmbeddingResponse(Struct, frozen=True):
    """Vectors in the order of the texts, each as little-endian 32-bit floats; not checked for number or length.

    `tokens` is None where the provider gave no count.
    """

    vectors: tuple[bytes, ...]
    tokens: TokenUsage | None
    served_model: str | None


class EmbeddingAttempt(Struct, frozen=True):
    """What came of a call: a response or an error. `is_billed` tells whether it is, or may be, on the provider's bill."""

    response: EmbeddingResponse | None
    error: AichatError | None
    is_billed: bool


class BatchLimits(Struct, frozen=True):
    """The most that a provider takes in one call."""

    texts: int
    tokens: int


_LIMITS = {
    "openai": BatchLimits(2048, 250_000),
    "cohere": BatchLimits(96, 40_000),
    "gemini": BatchLimits(100, 20_000),
    "mistral": BatchLimits(128, 14_000),
    "voyage": BatchLimits(1000, 90_000),
    "ollama": BatchLimits(64, 30_000),
}
_OTHER_LIMITS = BatchLimits(96, 40_000)


def batch_limits(model: Model) -> BatchLimits:
    """What fits in one call to the model's provider; little where that is not known."""
    return _LIMITS.get(model.provider, _OTHER_LIMITS)


class EmbeddingClient:
    """Makes calls, one at a time, and keeps its connection between them. One for each thread; `helicone` is as in `HttpWire`."""

    def __init__(self, helicone: Callable[[], Helicone | None] = lambda: None) -> None:
        self._transport = HttpTransport()
        self._helicone = helicone
        self._plain_urls: set[str] = set()

    def attempt(self, request: EmbeddingRequest) -> EmbeddingAttempt:
        """Make one call. Its errors are those of a chat's, and are returned, not raised."""
        if request.model.wire == "litellm":
            return _through_litellm(request)
        is_answered = False
        try:
            if (helicone := self._helicone()) is not None:
                request = helicone.routed(request)
            with closing(self._respond(request)) as response:
                is_answered = True
                body = response.read_limited(_MOST_ANSWER_BYTES)
            return EmbeddingAttempt(read_answer(request, body, response.headers.get), None, is_billed=True)
        except ContextTooLong as exc:
            return EmbeddingAttempt(None, _too_long(request, exc), is_billed=False)
        except AichatError as exc:
            return EmbeddingAttempt(None, exc, is_billed=is_answered or isinstance(exc, TimedOut))

    def close(self) -> None:
        """Close the connection; one in use is closed when its call ends."""
        self._transport.close()

    def _respond(self, request: EmbeddingRequest) -> HttpResponse:
        """The response once its head says that it is one."""
        url = url_of(request.model)
        response = self._post(request, url)
        if response.status < 400:
            return response
        said = _said(request, response)
        if response.status in (400, 422) and url not in self._plain_urls and "encoding_format" in said.message:
            self._plain_urls.add(url)
            return self._respond(request)
        raise status_error(request, response.status, said, retry_after(response.headers.get))

    def _post(self, request: EmbeddingRequest, url: str) -> HttpResponse:
        body = body_of(request, is_plain=url in self._plain_urls)
        payload = json.dumps(body, separators=(",", ":")).encode()
        return self._transport.post_json(url, headers_of(request, self._helicone()), payload, request.timeouts)


def body_of(request: EmbeddingRequest, *, is_plain: bool) -> dict[str, Any]:
    """The request in OpenAI's form; `is_plain` leaves out how vectors are to be packed."""
    body: dict[str, Any] = {"model": request.model.wire_name, "input": request.texts}
    if not is_plain:
        body["encoding_format"] = "base64"
    return body if request.dimensions is None else body | {"dimensions": request.dimensions}


def headers_of(request: EmbeddingRequest, helicone: Helicone | None = None) -> dict[str, str]:
    """The key, what is wanted, and what Helicone is told where the call goes through it."""
    key = checked_key(request)
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    headers = {"Accept": "application/json"} | authorization | gateway_headers(request.model, request.request_id)
    return headers if helicone is None else headers | helicone.headers(request)


def read_answer(
    request: EmbeddingRequest, body: bytes, header: Callable[[str], str | None] = lambda _: None
) -> EmbeddingResponse:
    """Read the answer in OpenAI's form; its headers tell whether anybody charges for it.

    Raises:
        BadResponse: it is in another, or holds something that is no vector.
        AichatError: it is an error although its status was not.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise not_the_protocol(request, body) from exc
    if not isinstance(answer, dict):
        raise not_the_protocol(request, body)
    if answer.get("error"):
        raise said_error(request, answer)
    response = answer_of(request, answer)
    if not is_free(request.model, header):
        return response
    return replace(response, tokens=replace(response.tokens or TokenUsage(0, 0), is_free=True))


def answer_of(request: EmbeddingRequest, answer: dict[str, Any]) -> EmbeddingResponse:
    """The answer from its object; raises BadResponse where it has no vectors."""
    items = answer.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise not_the_protocol(request, json.dumps(answer)[:1000].encode())
    try:
        placed = sorted(items, key=lambda item: int(item.get("index") or 0))
        vectors = tuple(_vector(item.get("embedding")) for item in placed)
    except (ValueError, TypeError, OverflowError) as exc:
        raise BadResponse(f"{who(request)} sent an embedding that is no row of numbers.") from exc
    served = answer.get("model")
    return EmbeddingResponse(vectors, _tokens(answer.get("usage")), served if isinstance(served, str) else None)


def _vector(value: Any) -> bytes:
    if isinstance(value, str):
        packed = b64decode(value, validate=True)
        if len(packed) % _BYTES_PER_NUMBER:
            raise ValueError(len(packed))
        return packed
    numbers = array("f", value)
    if array("H", [1]).tobytes() != b"\x01\x00":
        numbers.byteswap()
    return numbers.tobytes()


def _tokens(usage: Any) -> TokenUsage | None:
    read = count(usage, "prompt_tokens") or count(usage, "total_tokens")
    return TokenUsage(read, 0, raw=usage_json(usage)) if read else None


def url_of(model: Model) -> str:
    """The base URL with its path completed; a query stays where it is."""
    base, mark, query = (model.base_url or _DEFAULT_URL).partition("?")
    base = base.rstrip("/").removesuffix("/chat/completions")
    path = "" if base.endswith("/embeddings") else "/embeddings"
    return f"{base}{path}{mark}{query}"


def _said(request: EmbeddingRequest, response: HttpResponse) -> Said:
    with closing(response):
        try:
            return said_in(response.read_limited(ERROR_BODY_BYTES), request.key)
        except AichatError:
            return Said("", is_structured=False)


def _too_long(request: EmbeddingRequest, error: ContextTooLong) -> ContextTooLong:
    message = error.message.replace("The conversation is", "A text is", 1)
    most = request.model.context_tokens
    return ContextTooLong(
        message, hint=f"Use smaller chunks: aichat config set documents.chunk_tokens {(most or 512) // 2}"
    )


def through_litellm(request: EmbeddingRequest) -> EmbeddingResponse:
    """Make one call by litellm; raises AichatError."""
    from aichat_cli.providers import litellm_bridge

    return answer_of(request, litellm_bridge.embedding_answer(request))


def _through_litellm(request: EmbeddingRequest) -> EmbeddingAttempt:
    from aichat_cli.providers import litellm_bridge

    is_answered = False
    try:
        answer = litellm_bridge.embedding_answer(request)
        is_answered = True
        return EmbeddingAttempt(answer_of(request, answer), None, is_billed=True)
    except ContextTooLong as exc:
        return EmbeddingAttempt(None, _too_long(request, exc), is_billed=False)
    except AichatError as exc:
        return EmbeddingAttempt(None, exc, is_billed=is_answered or isinstance(exc, TimedOut | BadResponse))
