"""Both client protocols as tests use them: requests, the bytes of providers, and what those bytes say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from aichat_cli.core.errors import AichatError
from aichat_cli.core.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import replace
from aichat_cli.gateway.wire import anthropic, openai
from aichat_cli.gateway.wire.base import Dialect, Tap, Totals, Wire
from aichat_cli.providers.anthropic_wire import AnthropicWire
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.sse import SseParser
from tests.servers.script import Script, anthropic_stream, openai_stream

REQUEST_ID = "0b6cbcc6-8c2f-4a0e-9a53-000000000001"
MODEL = Model("m", "wire-name", "custom", "openai", base_url="http://127.0.0.1:1")
TOTALS = Totals(TokenUsage(12, 7, cached_tokens=4, cache_write_tokens=3), 0.0025, 25_000, 975_000)
WIRES: dict[Dialect, Wire] = {"openai": openai.WIRE, "anthropic": anthropic.WIRE}
DIALECTS: Sequence[Dialect] = ("openai", "anthropic")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

texts = st.text(max_size=12)
pieces = st.one_of(texts, st.builds(lambda text: {"reasoning": text}, texts))


def request(dialect: Dialect, *, stream: bool = True, **fields: Any) -> dict[str, Any]:
    """A small request."""
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    if dialect == "anthropic":
        body["max_tokens"] = 100
    elif stream:
        body["stream_options"] = {"include_usage": True}
    return body | fields


def tap(dialect: Dialect, **fields: Any) -> Tap:
    """What reads the answer to a small request."""
    wire = WIRES[dialect]
    return wire.tap(wire.asked(request(dialect, **fields)), MODEL, REQUEST_ID)


def stream_of(dialect: Dialect, script: Script) -> bytes:
    """What a provider sends."""
    parts = (openai_stream if dialect == "openai" else anthropic_stream)(script, request(dialect))
    return b"".join(part for part in parts if isinstance(part, bytes))


def sse(*events: Any) -> bytes:
    """Events without names."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def chunk(delta: dict[str, Any], finish: str | None = None, *, index: int = 0) -> dict[str, Any]:
    """One of OpenAI's chunks."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "theirs", "object": "chat.completion.chunk", "created": 5, "model": "served", "choices": [choice]}


def said(data: bytes) -> list[Any]:
    """The objects in the bytes of a stream, and `[DONE]`."""
    values = [event.data for event in SseParser().feed(data)]
    return [value if value == "[DONE]" else json.loads(value) for value in values]


def decoded(dialect: Dialect, data: bytes) -> list[ProviderEvent]:
    """The events that the client for providers of the same protocol reads in a stream."""
    wire = OpenAIWire() if dialect == "openai" else AnthropicWire()
    decoder = wire.decoder(ChatRequest(MODEL, (ChatMessage("user", "hi"),)))
    events: list[ProviderEvent] = []
    for event in SseParser().feed(data):
        assert not decoder.is_done, "nothing follows the end"
        if event.data == "[DONE]":
            decoder.is_done = True
        else:
            events += decoder.event(json.loads(event.data))
    assert decoder.is_done
    return events + list(decoder.end())


def summary(events: Iterable[ProviderEvent]) -> tuple[list[tuple[str, str]], TokenUsage | None, str | None]:
    """What events say, however it was cut: runs of text and reasoning, the last count, and how it ended."""
    runs: list[tuple[str, str]] = []
    tokens, reason = None, None
    for event in events:
        if isinstance(event, TextDelta | ReasoningDelta):
            kind = type(event).__name__
            if runs and runs[-1][0] == kind:
                runs[-1] = (kind, runs[-1][1] + event.text)
            elif event.text:
                runs.append((kind, event.text))
        elif isinstance(event, Usage):
            tokens = replace(event.tokens, raw=None)
        elif isinstance(event, Finished):
            reason = event.reason
    return runs, tokens, reason


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The bytes in pieces."""
    borders = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(borders)]


def error_of(act: Callable[[], object]) -> AichatError | None:
    """What it raises."""
    try:
        act()
    except AichatError as error:
        return error
    return None
