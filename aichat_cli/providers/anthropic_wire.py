"""Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aichat_cli.core.errors import BadResponse, UsageError
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.providers.base import ChatRequest, longest_answer
from aichat_cli.providers.failures import snippet, who
from aichat_cli.providers.parts import anthropic_content
from aichat_cli.providers.wire import (
    HttpWire,
    TextChannel,
    checked_key,
    count,
    left_out_notice,
    said_error,
    usage_json,
    without_sampling,
)

_DEFAULT_URL = "https://api.anthropic.com"
_VERSION = "2023-06-01"
_OURS = ("model", "messages", "stream", "system")
_RENAMED = {"stop": "stop_sequences", "max_completion_tokens": "max_tokens"}
_OPENAI_ONLY = frozenset(
    (
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "reasoning_effort",
        "response_format",
        "store",
        "verbosity",
        "prediction",
        "modalities",
        "parallel_tool_calls",
        "prompt_cache_key",
        "user",
    )
)
REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
"""Why an answer ended, in our words; any other word is kept."""


class AnthropicWire(HttpWire):
    """POST {base_url}/v1/messages."""

    def url(self, model: Model) -> str:
        """The base URL with its path completed, whether it ends in /v1 or not."""
        base = (model.base_url or _DEFAULT_URL).rstrip("/")
        if base.endswith("/messages"):
            return base
        return f"{base}/messages" if base.endswith("/v1") else f"{base}/v1/messages"

    def own_headers(self, request: ChatRequest) -> dict[str, str]:
        key = checked_key(request)
        headers = {"anthropic-version": _VERSION}
        headers["Accept"] = "text/event-stream" if request.stream else "application/json"
        return headers | {"x-api-key": key} if key else headers

    def body(self, request: ChatRequest) -> tuple[dict[str, Any], list[Notice]]:
        options, notices = without_sampling(request.model, request.options)
        for name in _OURS:
            if name in options:
                raise UsageError(f'The option "{name}" is set by aichat itself.', hint="See: aichat chat --help")
        left_out = [name for name in options if name in _OPENAI_ONLY]
        if left_out:
            notices.append(left_out_notice(request.model, left_out))
        kept = {_RENAMED.get(name, name): value for name, value in options.items() if name not in left_out}
        if isinstance(kept.get("stop_sequences"), str):
            kept["stop_sequences"] = [kept["stop_sequences"]]
        body: dict[str, Any] = {
            "model": request.model.wire_name,
            "max_tokens": longest_answer(request.model),
            "messages": _alternating(request.messages),
            "stream": request.stream,
        }
        if request.system:
            body["system"] = request.system
        return body | kept, notices

    def decoder(self, request: ChatRequest) -> _AnthropicDecoder:
        return _AnthropicDecoder(request)


def _alternating(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """Messages as this wire demands them: none empty, and those of one role in a row as one."""
    shown: list[ChatMessage] = []
    for message in messages:
        if not message.content.strip() and not message.attachments:
            continue
        if shown and shown[-1].role == message.role:
            before = shown[-1]
            text = "\n\n".join(part for part in (before.content, message.content) if part.strip())
            shown[-1] = ChatMessage(message.role, text, before.attachments + message.attachments)
        else:
            shown.append(message)
    return [{"role": message.role, "content": anthropic_content(message)} for message in shown]


class _AnthropicDecoder:
    """The events of a stream by their `type`, or one `message`."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._text = TextChannel(TextDelta)
        self._reasoning = TextChannel(ReasoningDelta)
        self._usage: dict[str, Any] = {}
        self._reason: str | None = None
        self._id: str | None = None
        self._served_model: str | None = None
        self.is_done = False

    def event(self, data: Any) -> Iterator[ProviderEvent]:
        if not isinstance(data, dict):
            raise BadResponse(
                f"{who(self._request)} sent an event that is no object: {snippet(str(data), self._request.key)}"
            )
        match data.get("type"):
            case "content_block_delta":
                yield from self._piece(_object(data.get("delta")))
            case "content_block_start":
                yield from self._piece(_object(data.get("content_block")))
            case "message_start":
                message = _object(data.get("message"))
                self._name(message)
                yield from self._count(message.get("usage"))
            case "message_delta":
                self._stop(_object(data.get("delta")).get("stop_reason"))
                yield from self._count(data.get("usage"))
            case "message_stop":
                self.is_done = True
            case "error":
                raise said_error(self._request, data)

    def whole(self, answer: dict[str, Any]) -> Iterator[ProviderEvent]:
        if answer.get("type") != "message":
            return
        self._name(answer)
        for block in answer.get("content") or []:
            yield from self._piece(_object(block))
        self._stop(answer.get("stop_reason") or "end_turn")
        yield from self._count(answer.get("usage"))
        yield from self.end()

    def end(self) -> Iterator[ProviderEvent]:
        yield from self._reasoning.end()
        yield from self._text.end()
        if self._reason is not None:
            yield Finished(self._reason, self._id, self._served_model)

    def _piece(self, piece: dict[str, Any]) -> Iterator[ProviderEvent]:
        yield from self._reasoning.take(piece.get("thinking"))
        yield from self._text.take(piece.get("text"))

    def _name(self, message: dict[str, Any]) -> None:
        identifier, model = message.get("id"), message.get("model")
        self._id = identifier if isinstance(identifier, str) else None
        self._served_model = model if isinstance(model, str) else None

    def _stop(self, reason: Any) -> None:
        if isinstance(reason, str) and reason:
            self._reason = REASONS.get(reason, reason)

    def _count(self, usage: Any) -> Iterator[ProviderEvent]:
        """Counts are cumulative, and each report may hold only some of them."""
        if not isinstance(usage, dict):
            return
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        yield Usage(token_usage(self._usage))


def token_usage(usage: dict[str, Any]) -> TokenUsage:
    """Anthropic's usage object in our terms: what came from or went to the cache is part of our input."""
    cached, written = count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens")
    return TokenUsage(
        input_tokens=count(usage, "input_tokens") + cached + written,
        output_tokens=count(usage, "output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        raw=usage_json(usage),
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
