"""OpenAI's chat completions, spoken to OpenAI itself and to every endpoint that is compatible with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from aichat_cli.core.errors import BadResponse, UsageError
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.failures import snippet, who
from aichat_cli.providers.parts import openai_messages
from aichat_cli.providers.said import Said
from aichat_cli.providers.wire import (
    HttpWire,
    TextChannel,
    checked_key,
    count,
    gateway_headers,
    said_error,
    usage_json,
    without_sampling,
)

if TYPE_CHECKING:
    from aichat_cli.providers.helicone import Helicone

_DEFAULT_URL = "https://api.openai.com/v1"
_OURS = ("model", "messages", "stream", "stream_options")
_LIMITS = ("max_tokens", "max_completion_tokens")


class OpenAIWire(HttpWire):
    """POST {base_url}/chat/completions."""

    def __init__(self, helicone: Callable[[], Helicone | None] = lambda: None) -> None:
        super().__init__(helicone)
        self._without_stream_options: set[str] = set()

    def url(self, model: Model) -> str:
        """The base URL with its path completed; a query stays where it is."""
        base, mark, query = (model.base_url or _DEFAULT_URL).partition("?")
        base = base.rstrip("/")
        path = "" if base.endswith("/chat/completions") else "/chat/completions"
        return f"{base}{path}{mark}{query}"

    def own_headers(self, request: ChatRequest) -> dict[str, str]:
        key = checked_key(request)
        headers = {"Accept": "text/event-stream" if request.stream else "application/json"}
        headers |= gateway_headers(request.model, request.request_id)
        return headers | {"Authorization": f"Bearer {key}"} if key else headers

    def body(self, request: ChatRequest) -> tuple[dict[str, Any], list[Notice]]:
        options, notices = without_sampling(request.model, request.options)
        for name in _OURS:
            if name in options:
                raise UsageError(f'The option "{name}" is set by aichat itself.', hint="See: aichat chat --help")
        for name in _LIMITS:
            if name in options and name != request.model.output_limit_field:
                options[request.model.output_limit_field] = options.pop(name)
        messages = openai_messages(request.system, request.messages)
        body: dict[str, Any] = {"model": request.model.wire_name, "messages": messages, "stream": request.stream}
        if request.stream and self.url(request.model) not in self._without_stream_options:
            body["stream_options"] = {"include_usage": True}
        return body | options, notices

    def decoder(self, request: ChatRequest) -> _OpenAIDecoder:
        return _OpenAIDecoder(request)

    def without_refused_field(self, request: ChatRequest, body: dict[str, Any], said: Said) -> dict[str, Any] | None:
        if "stream_options" not in body or "stream_options" not in said.message:
            return None
        self._without_stream_options.add(self.url(request.model))
        return {name: value for name, value in body.items() if name != "stream_options"}


class _OpenAIDecoder:
    """`chat.completion.chunk` objects, or one `chat.completion`."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._text = TextChannel(TextDelta)
        self._reasoning = TextChannel(ReasoningDelta)
        self._refusal = TextChannel(TextDelta)
        self._usage: TokenUsage | None = None
        self._reason: str | None = None
        self._id: str | None = None
        self._served_model: str | None = None
        self.is_done = False

    def event(self, data: Any) -> Iterator[ProviderEvent]:
        if not isinstance(data, dict):
            raise BadResponse(
                f"{who(self._request)} sent an event that is no object: {snippet(str(data), self._request.key)}"
            )
        if data.get("error"):
            raise said_error(self._request, data)
        self._id = _text(data.get("id")) or self._id
        self._served_model = _text(data.get("model")) or self._served_model
        for choice in _objects(data.get("choices")):
            if choice.get("index") in (0, None):
                yield from self._message(choice.get("delta"))
                self._reason = _text(choice.get("finish_reason")) or self._reason
        yield from self._count(data.get("usage"))

    def whole(self, answer: dict[str, Any]) -> Iterator[ProviderEvent]:
        self._id = _text(answer.get("id"))
        self._served_model = _text(answer.get("model"))
        for choice in _objects(answer.get("choices"))[:1]:
            yield from self._message(choice.get("message"))
            self._reason = _text(choice.get("finish_reason")) or "stop"
        yield from self._count(answer.get("usage"))
        yield from self.end()

    def end(self) -> Iterator[ProviderEvent]:
        for channel in (self._reasoning, self._text, self._refusal):
            yield from channel.end()
        has_answer = self._text.has_text or self._refusal.has_text
        reason = self._reason or ("stop" if self.is_done and has_answer else None)
        if self._refusal.has_text and reason in ("stop", None):
            reason = "refusal"
        if reason is not None:
            reason = "tool_calls" if reason == "function_call" else reason
            yield Finished(reason, self._id, self._served_model)

    def _message(self, message: Any) -> Iterator[ProviderEvent]:
        if not isinstance(message, dict):
            return
        yield from self._reasoning.take(message.get("reasoning_content") or message.get("reasoning"))
        content = message.get("content")
        if isinstance(content, list):
            yield from self._parts(content)
        else:
            yield from self._text.take(content)
        yield from self._refusal.take(message.get("refusal"))

    def _parts(self, parts: list[Any]) -> Iterator[ProviderEvent]:
        for part in parts:
            if isinstance(part, str):
                yield from self._text.take(part)
            elif isinstance(part, dict) and isinstance(part.get("thinking"), list):
                for thought in _objects(part["thinking"]):
                    yield from self._reasoning.take(thought.get("text"))
            elif isinstance(part, dict):
                yield from self._reasoning.take(part.get("thinking"))
                yield from self._text.take(part.get("text"))
                yield from self._refusal.take(part.get("refusal"))

    def _count(self, usage: Any) -> Iterator[ProviderEvent]:
        if not isinstance(usage, dict) or not usage:
            return
        tokens = token_usage(usage)
        if tokens != self._usage:
            self._usage = tokens
            yield Usage(tokens)


def token_usage(usage: dict[str, Any]) -> TokenUsage:
    """OpenAI's usage object in our terms.

    Some endpoints leave reasoning out of `completion_tokens` and count it in `total_tokens` only; it was generated and
    is paid for, so it is part of our output.
    """
    asked, answered = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    reasoning = count(usage, "completion_tokens_details", "reasoning_tokens")
    if reasoning and count(usage, "total_tokens") == asked + answered + reasoning:
        answered += reasoning
    cached = count(usage, "prompt_tokens_details", "cached_tokens") or count(usage, "prompt_cache_hit_tokens")
    return TokenUsage(
        input_tokens=asked,
        output_tokens=answered,
        cached_tokens=min(cached, asked),
        cache_write_tokens=min(count(usage, "prompt_tokens_details", "cache_write_tokens"), asked),
        reasoning_tokens=min(reasoning, answered),
        raw=usage_json(usage),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
