"""What holds for every request and every answer, in both of the protocols that clients of the gateway speak."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aichat_cli.core.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.money import TokenUsage
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.wire.base import Asked, Dialect
from aichat_cli.gateway.wire.shared import Written
from aichat_cli.providers.tokens import estimate
from tests.gateway.wires import (
    DIALECTS,
    MODEL,
    PIXEL,
    REQUEST_ID,
    TOTALS,
    WIRES,
    chunk,
    cut,
    decoded,
    error_of,
    pieces,
    request,
    sse,
    stream_of,
    summary,
    tap,
    texts,
)
from tests.servers.script import Script

both = pytest.mark.parametrize("dialect", DIALECTS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

RICH: dict[Dialect, dict[str, Any]] = {
    "openai": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "word-system", "name": "word-name"},
            {"role": "developer", "content": [{"type": "text", "text": "word-developer"}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "word-user"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "high"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {
                        "type": "file",
                        "file": {"filename": "word-file", "file_data": "data:application/pdf;base64,AAAA"},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "refusal": "word-refusal",
                "reasoning_content": "word-reasoning",
                "tool_calls": [
                    {
                        "id": "word-call",
                        "type": "function",
                        "function": {"name": "word-called", "arguments": "word-arguments"},
                    }
                ],
            },
            {"role": "tool", "content": "word-result", "tool_call_id": "word-call"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "word-tool",
                    "description": "word-described",
                    "parameters": {"type": "object", "properties": {"word-property": {"enum": ["word-enum"]}}},
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "word-choice"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "word-format", "schema": {"word-key": 1}}},
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["x"],
        "logit_bias": {"5": 1},
        "n": 2,
        "max_tokens": 5,
        "temperature": 0.5,
        "service_tier": "auto",
        "store": False,
    },
    "anthropic": {
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "word-system", "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "word-user"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                    {
                        "type": "document",
                        "title": "word-title",
                        "context": "word-context",
                        "citations": {"enabled": True},
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                    },
                    {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "word-plain"},
                    },
                    {
                        "type": "document",
                        "source": {"type": "content", "content": [{"type": "text", "text": "word-content"}]},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "word-thinking", "signature": "word-signature"},
                    {"type": "redacted_thinking", "data": "word-redacted"},
                    {"type": "text", "text": "word-cited", "citations": [{"cited_text": "word-citation"}]},
                    {"type": "tool_use", "id": "word-use", "name": "word-called", "input": {"word-key": "word-value"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "word-use",
                        "content": [{"type": "text", "text": "word-result"}],
                        "is_error": False,
                    }
                ],
            },
        ],
        "tools": [
            {
                "name": "word-tool",
                "description": "word-described",
                "input_schema": {"type": "object", "properties": {"word-property": {}}},
                "input_examples": [{"word-property": "word-example"}],
            }
        ],
        "tool_choice": {"type": "tool", "name": "word-choice"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"word-schema": 1}}},
        "stream": True,
        "stop_sequences": ["x"],
        "temperature": 0.5,
        "service_tier": "auto",
    },
}

_CALLS = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]
EVENTS: dict[Dialect, list[dict[str, Any]]] = {
    "openai": [
        chunk({"role": "assistant", "content": "a", "reasoning": "b", "tool_calls": _CALLS}),
        chunk({"content": [{"type": "thinking", "thinking": [{"text": "c"}]}, {"type": "text", "text": "d"}]}, "stop"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {}}},
        {
            "id": "theirs",
            "choices": [{"index": 0, "message": {"content": "a", "tool_calls": _CALLS}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4},
        },
    ],
    "anthropic": [
        {"type": "message_start", "message": {"id": "theirs", "model": "m", "usage": {"input_tokens": 4}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {
            "type": "message",
            "id": "theirs",
            "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "name": "f", "input": {"b": 1}}],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 4, "output_tokens": 5},
        },
    ],
}


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a value where something stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for name, item in inner for place in places(item, (*path, name))]


def outcome(dialect: Dialect, body: dict[str, Any]) -> Asked | None:
    """The request, or None where it is refused as it should be."""
    error = error_of(lambda: WIRES[dialect].asked(body))
    if error is None:
        asked = WIRES[dialect].asked(body)
        WIRES[dialect].native_body(asked, MODEL, 10)
        return asked
    assert isinstance(error, BadRequest)
    assert error.http_status == 400
    assert error.param
    assert error.param in error.message
    return None


@both
@given(body=st.dictionaries(st.sampled_from(["model", "messages", "max_tokens", "x"]) | texts, json_values, max_size=5))
def test_any_object_is_read_or_refused_with_the_field_named(dialect: Dialect, body: dict[str, Any]) -> None:
    outcome(dialect, body)


@both
@settings(max_examples=120)
@given(data=st.data(), value=json_values)
def test_a_good_request_with_anything_in_one_place_is_read_or_refused(
    dialect: Dialect, data: st.DataObject, value: Any
) -> None:
    body = deepcopy(RICH[dialect])
    *path, last = data.draw(st.sampled_from(places(body)[1:]))
    holder: Any = body
    for name in path:
        holder = holder[name]
    if isinstance(holder, dict) and data.draw(st.booleans()):
        last = data.draw(texts)
    holder[last] = value
    outcome(dialect, body)


@both
def test_every_text_that_the_model_reads_is_counted(dialect: Dialect) -> None:
    asked = outcome(dialect, deepcopy(RICH[dialect]))
    assert asked is not None
    counted = f"{asked.system} {[message.content for message in asked.messages]} {asked.other_input}"
    for place in places(RICH[dialect]):
        value: Any = RICH[dialect]
        for name in place:
            value = value[name]
        if isinstance(value, str) and value.startswith("word-"):
            assert value in counted, place
        if place and str(place[-1]).startswith("word-"):
            assert str(place[-1]) in counted, place


@both
@settings(max_examples=60)
@given(said=st.lists(pieces, max_size=5), at=st.lists(st.integers(0, 10_000), max_size=8), returns=st.booleans())
def test_an_answer_is_passed_on_and_read_alike_wherever_it_is_cut(
    dialect: Dialect, said: list[Any], at: list[int], *, returns: bool
) -> None:
    data = b": hello\n\n" + stream_of(dialect, Script(deltas=[*said, {"raw": ": ping\n\n"}]))
    data = data.replace(b"\n", b"\r\n") if returns else data
    whole, parted = tap(dialect), tap(dialect)
    passed = whole.feed(data)
    assert b"".join(map(parted.feed, cut(data, at))) == passed
    assert b": hello\n\n" in passed
    assert parted.end(TOTALS) == whole.end(TOTALS)
    assert (parted.text, parted.tokens, parted.finished, parted.output_tokens) == (
        whole.text,
        whole.tokens,
        whole.finished,
        whole.output_tokens,
    )


@both
def test_any_ends_of_lines_anywhere_make_the_same_events(dialect: Dialect) -> None:
    lines = stream_of(dialect, Script(deltas=["Hi", "you"]))
    expected = tap(dialect).feed(lines)
    for end in (b"\r\n", b"\r", b"\n"):
        data = b"\xef\xbb\xbf" + lines.replace(b"\n", end)
        for size in (1, 2, 3, len(data)):
            reader = tap(dialect)
            parts = [data[start : start + size] for start in range(0, len(data), size)]
            assert b"".join(map(reader.feed, parts)) == expected
            assert (reader.text, reader.is_done) == ("Hiyou", True)
    events = [event + b"\n\n" for event in lines.split(b"\n\n") if event]
    by_events = tap(dialect)
    passed = [by_events.feed(part) for part in (events[0], b": held\n", *events[1:])]
    assert passed[1] == b""
    assert passed[2].startswith(b": held\n")
    assert by_events.text == "Hiyou"


@both
@settings(max_examples=60)
@given(
    said=st.lists(pieces, max_size=6),
    finish=st.sampled_from(["stop", "length", "tool_calls"]),
    at=st.lists(st.integers(0, 10_000), max_size=4),
)
def test_what_is_passed_on_says_what_the_provider_said(
    dialect: Dialect, said: list[Any], finish: str, at: list[int]
) -> None:
    data = stream_of(dialect, Script(deltas=said, finish=finish, usage={"input": 9, "output": 4, "cached": 3}))
    reader = tap(dialect)
    passed = b"".join(map(reader.feed, cut(data, at))) + reader.end(TOTALS)
    theirs, ours = decoded(dialect, data), decoded(dialect, passed)
    assert summary(ours) == summary(theirs)
    assert reader.finished == theirs[-1]
    assert reader.text == "".join(event.text for event in theirs if isinstance(event, TextDelta | ReasoningDelta))
    assert reader.tokens == [event.tokens for event in theirs if isinstance(event, Usage)][-1]


@both
@settings(max_examples=60)
@given(
    said=st.lists(st.builds(TextDelta, texts) | st.builds(ReasoningDelta, texts), max_size=6),
    reason=st.sampled_from(["stop", "length", "tool_calls"]),
    counts=st.lists(st.integers(0, 1000), min_size=4, max_size=4),
)
def test_events_said_in_a_protocol_are_read_back_as_they_were(
    dialect: Dialect, said: list[ProviderEvent], reason: str, counts: list[int]
) -> None:
    cached, written, plain, output = counts
    tokens = TokenUsage(cached + written + plain, output, cached, written)
    events = [*said, Usage(tokens), Finished(reason)]
    wire = WIRES[dialect]
    encoder = wire.encoder(wire.asked(request(dialect)), MODEL, REQUEST_ID)
    data = b"".join(map(encoder.event, events)) + encoder.end(None)
    expected = summary(events)
    assert summary(decoded(dialect, data)) == (expected[0], tokens, reason)
    assert (encoder.tokens, encoder.finished) == (tokens, events[-1])
    assert sorted(encoder.text) == sorted("".join(text for _, text in expected[0]))


@both
@given(data=st.binary(max_size=60))
@example(data=b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n')
@example(data=b"data: " + b"[" * 5000 + b"\n\n")
@example(data=b'data: {"type":"content_block_delta","delta":[]}\n\n')
def test_any_bytes_are_passed_on_or_are_an_error_of_the_provider(dialect: Dialect, data: bytes) -> None:
    for sent in (data, b"data: " + data + b"\n\n"):
        for read in (tap(dialect).feed, tap(dialect).whole):
            error = error_of(partial(read, sent))
            assert error is None or error.http_status >= 400


@both
@settings(max_examples=80)
@given(data=st.data(), value=json_values)
def test_an_answer_with_anything_in_one_place_is_passed_on_or_is_an_error_of_the_provider(
    dialect: Dialect, data: st.DataObject, value: Any
) -> None:
    events = deepcopy(EVENTS[dialect])
    *path, last = data.draw(st.sampled_from([place for place in places(events) if len(place) > 1]))
    holder: Any = events
    for name in path:
        holder = holder[name]
    holder[last] = value
    reader = tap(dialect)
    error = error_of(partial(reader.feed, sse(*events)))
    assert error is None or error.http_status >= 400
    assert reader.end(TOTALS).endswith(b"\n\n")
    assert reader.tokens is None or reader.tokens.input_tokens >= 0
    assert reader.finished is None or reader.finished.reason
    assert len(reader.text) >= reader.output_tokens / 4
    whole = tap(dialect)
    if error_of(partial(whole.whole, json.dumps(events[-1]).encode())) is None:
        assert whole.whole_answer(TOTALS)["usage"]["cost"] == TOTALS.cost_usd


@given(st.lists(texts))
def test_text_is_counted_as_it_arrives_as_it_is_counted_whole(parts: list[str]) -> None:
    written = Written()
    for part in parts:
        written.add(part)
    assert written.text == "".join(parts)
    assert written.tokens == estimate("".join(parts))
    assert (written.tokens > 0) == bool(written.text)
