from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from aichat_cli.core.errors import (
    AichatError,
    BadResponse,
    ConnectFailed,
    ContextTooLong,
    KeyRejected,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    StreamBroken,
    UsageError,
    is_transient,
)
from aichat_cli.core.events import Finished, TextDelta, Usage
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.money import TokenUsage
from aichat_cli.providers.anthropic_wire import AnthropicWire
from tests.providers.calls import KEY, outcome, request_to
from tests.servers.scripted import ScriptedServer


@pytest.fixture
def wire() -> Iterator[AnthropicWire]:
    with closing(AnthropicWire()) as made:
        yield made


def test_the_request_is_a_message(server: ScriptedServer, wire: AnthropicWire) -> None:
    messages = (ChatMessage("user", "one"), ChatMessage("assistant", "two"), ChatMessage("user", "three"))
    outcome(wire, request_to(server, "anthropic", messages=messages, system="be brief"))
    sent = server.requests[0]
    assert sent.path == "/v1/messages"
    assert sent.headers["x-api-key"] == KEY.reveal()
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in sent.headers
    assert sent.body == {
        "model": "m-1",
        "max_tokens": 1000,
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "stream": True,
        "system": "be brief",
    }


def test_messages_of_one_role_are_merged_and_empty_ones_left_out(server: ScriptedServer, wire: AnthropicWire) -> None:
    messages = (
        ChatMessage("user", "one"),
        ChatMessage("assistant", " \n"),
        ChatMessage("user", "two"),
        ChatMessage("assistant", "three"),
        ChatMessage("user", "four"),
    )
    outcome(wire, request_to(server, "anthropic", messages=messages, key=None))
    assert server.requests[0].body["messages"] == [
        {"role": "user", "content": "one\n\ntwo"},
        {"role": "assistant", "content": "three"},
        {"role": "user", "content": "four"},
    ]
    assert "x-api-key" not in server.requests[0].headers


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/messages"])
def test_a_base_url_may_end_in_several_ways(suffix: str, server: ScriptedServer, wire: AnthropicWire) -> None:
    outcome(wire, request_to(server, "anthropic", base_url=f"{server.anthropic_url}{suffix}"))
    assert server.requests[0].path == "/v1/messages"


def test_without_a_base_url_it_is_anthropic_itself(server: ScriptedServer, wire: AnthropicWire) -> None:
    model = request_to(server, "anthropic", base_url=None).model
    assert wire.url(model) == "https://api.anthropic.com/v1/messages"


@pytest.mark.parametrize(
    ("known", "options", "sent"),
    [
        (1000, {}, 1000),
        (64_000, {}, 8192),
        (None, {}, 4096),
        (64_000, {"max_tokens": 20_000}, 20_000),
        (64_000, {"max_completion_tokens": 7}, 7),
    ],
)
def test_a_limit_is_always_sent(
    known: int | None, options: dict[str, Any], sent: int, server: ScriptedServer, wire: AnthropicWire
) -> None:
    outcome(wire, request_to(server, "anthropic", max_output_tokens=known, options=options))
    assert server.requests[0].body["max_tokens"] == sent
    assert "max_completion_tokens" not in server.requests[0].body


def test_options_are_translated_or_left_out_and_said(server: ScriptedServer, wire: AnthropicWire) -> None:
    options = {"stop": "END", "temperature": 0.5, "top_k": 3, "seed": 1, "n": 2, "reasoning_effort": "low"}
    result = outcome(wire, request_to(server, "anthropic", options=options))
    sent = server.requests[0].body
    assert (sent["stop_sequences"], sent["temperature"], sent["top_k"]) == (["END"], 0.5, 3)
    assert not {"stop", "seed", "n", "reasoning_effort"} & set(sent)
    assert result.notices == ["friendly does not take seed, n, reasoning_effort: not sent."]
    outcome(wire, request_to(server, "anthropic", options={"stop": ["A", "B"]}))
    assert server.requests[1].body["stop_sequences"] == ["A", "B"]


def test_sampling_is_left_out_for_models_that_refuse_it(server: ScriptedServer, wire: AnthropicWire) -> None:
    result = outcome(
        wire, request_to(server, "anthropic", options={"temperature": 1, "top_k": 2}, takes_sampling=False)
    )
    assert result.notices == ["friendly does not take temperature, top_k: not sent."]
    assert not {"temperature", "top_k"} & set(server.requests[0].body)


@pytest.mark.parametrize("name", ["model", "messages", "stream", "system"])
def test_options_that_are_ours_are_refused(name: str, server: ScriptedServer, wire: AnthropicWire) -> None:
    assert isinstance(outcome(wire, request_to(server, "anthropic", options={name: 1})).error, UsageError)
    assert server.requests == []


def test_text_thinking_and_usage_arrive(server: ScriptedServer, wire: AnthropicWire) -> None:
    server.script = {
        "deltas": [{"reasoning": "hm"}, "Hel", "lo\ud83d", "\ude00"],
        "usage": {"input": 100, "output": 5, "cached": 60, "cache_write": 30},
        "model": "m-1-dated",
    }
    result = outcome(wire, request_to(server, "anthropic"))
    assert (result.reasoning, result.text) == ("hm", "Hello😀")
    first = result.events[0]
    assert isinstance(first, Usage)
    assert (first.tokens.input_tokens, first.tokens.output_tokens) == (100, 1)
    assert result.counts == TokenUsage(100, 5, cached_tokens=60, cache_write_tokens=30)
    assert result.events[-1] == Finished("stop", "scripted-1", "m-1-dated")
    assert result.usage is not None
    assert json.loads(result.usage.raw or "")["input_tokens"] == 10


def test_counts_that_are_null_in_a_later_report_stay(server: ScriptedServer, wire: AnthropicWire) -> None:
    late = {"type": "message_delta", "delta": {}, "usage": {"input_tokens": None, "output_tokens": 9}}
    server.script = {"deltas": ["a", {"data": late}, {"data": {"type": "message_delta", "usage": None}}], "usage": None}
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 4, "output_tokens": 1}}}
    server.script = {"deltas": [{"data": start}, "a", {"data": late}], "usage": None}
    assert outcome(wire, request_to(server, "anthropic")).counts == TokenUsage(4, 9)


def test_what_this_wire_does_not_show_is_skipped(server: ScriptedServer, wire: AnthropicWire) -> None:
    odd: list[Any] = [
        {"data": {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x"}}},
        {"data": {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}}},
        {"data": {"type": "content_block_delta", "delta": None}},
        {"data": {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "x"}}},
        {"data": {"type": "content_block_start", "content_block": {"type": "text", "text": "early "}}},
        {"data": {"type": "something_new"}},
        {"data": {"type": "message_start", "message": None}},
        {"raw": ": comment\n\n"},
        "late",
    ]
    server.script = {"deltas": odd}
    result = outcome(wire, request_to(server, "anthropic"))
    assert (result.text, result.reasoning, result.reason) == ("early late", "", "stop")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_stop_reasons_are_told(said: str, told: str, stream: bool, server: ScriptedServer, wire: AnthropicWire) -> None:
    server.script = {"text": "a", "finish": said}
    assert outcome(wire, request_to(server, "anthropic", stream=stream)).reason == told


@pytest.mark.parametrize("stream", [True, False])
def test_one_json_object_is_an_answer_too(stream: bool, server: ScriptedServer, wire: AnthropicWire) -> None:
    server.script = {
        "deltas": [{"reasoning": "hm"}, "hello"],
        "usage": {"input": 10, "output": 5, "cached": 4},
        "json": True,
    }
    result = outcome(wire, request_to(server, "anthropic", stream=stream))
    assert (result.text, result.reasoning) == ("hello", "hm")
    assert result.counts == TokenUsage(10, 5, cached_tokens=4)
    assert result.events[-1] == Finished("stop", "scripted-1", "m-1")


@pytest.mark.parametrize("body", ['{"type": "other"}', "<html>", "data: 5\n\n"])
def test_what_is_no_answer_is_called_that(body: str, server: ScriptedServer, wire: AnthropicWire) -> None:
    server.script = {"body": body}
    assert isinstance(outcome(wire, request_to(server, "anthropic")).error, BadResponse)


@pytest.mark.parametrize("chunk_size", [1, 5, 80])
def test_bytes_may_be_cut_anywhere(chunk_size: int, server: ScriptedServer, wire: AnthropicWire) -> None:
    server.script = {"deltas": ["žluť", "👩‍🚀"], "chunk_size": chunk_size}
    assert outcome(wire, request_to(server, "anthropic")).text == "žluť👩‍🚀"


def test_an_end_without_message_stop_is_an_end_if_a_reason_came(server: ScriptedServer, wire: AnthropicWire) -> None:
    server.script = {"text": "a", "done": False}
    assert outcome(wire, request_to(server, "anthropic")).reason == "stop"
    server.script = {"text": "a", "finish": None}
    assert isinstance(outcome(wire, request_to(server, "anthropic")).error, StreamBroken)


def test_wherever_the_connection_is_cut_what_arrived_is_kept_and_the_cut_is_told(
    server: ScriptedServer, wire: AnthropicWire
) -> None:
    whole = "abcdefgh"
    for cut in range(0, 1900, 61):
        server.script = {"text": whole, "split": 2, "cut_after_bytes": cut, "chunk_size": 50}
        result = outcome(wire, request_to(server, "anthropic"))
        assert whole.startswith(result.text)
        if result.reason is None:
            assert isinstance(result.error, StreamBroken if result.text else ConnectFailed | BadResponse), cut
        else:
            assert result.text == whole


def test_an_interrupted_turn_knows_its_input(server: ScriptedServer, wire: AnthropicWire) -> None:
    server.script = {"deltas": ["a", "b"], "stall_after": 1, "usage": {"input": 77, "output": 5}}
    events = wire.stream(request_to(server, "anthropic"))
    usage, text = next(events), next(events)
    assert isinstance(usage, Usage)
    assert usage.tokens.input_tokens == 77
    assert text == TextDelta("a")
    events.close()  # type: ignore[attr-defined]
    assert server.requests[0].client_left.wait(5)


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "max_tokens: too large", RequestRejected),
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", ContextTooLong),
        (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", ProviderError),
        (401, "authentication_error", "invalid x-api-key", KeyRejected),
        (402, "billing_error", "pay", ProviderError),
        (403, "permission_error", "no", RequestRejected),
        (404, "not_found_error", "model: m-1", ModelNotFound),
        (413, "request_too_large", "too large", RequestRejected),
        (429, "rate_limit_error", "slow", RateLimited),
        (500, "api_error", "oops", ProviderUnavailable),
        (504, "timeout_error", "oops", ProviderUnavailable),
        (529, "overloaded_error", "Overloaded", ProviderUnavailable),
    ],
)
def test_each_error_is_the_same_as_a_status_and_in_the_stream(
    status: int,
    kind: str,
    message: str,
    expected: type[AichatError],
    server: ScriptedServer,
    wire: AnthropicWire,
) -> None:
    error = {"type": kind, "message": message}
    server.script = {"status": status, "error": error}
    by_status = outcome(wire, request_to(server, "anthropic")).error
    server.script = {"deltas": [{"error": error}]}
    in_stream = outcome(wire, request_to(server, "anthropic")).error
    assert type(by_status) is type(in_stream) is expected
    assert by_status is not None
    assert message in by_status.message
    assert is_transient(by_status) is (expected in (RateLimited, ProviderUnavailable))
    server.script = {"deltas": ["a", {"error": error}]}
    broken = outcome(wire, request_to(server, "anthropic"))
    assert (broken.text, type(broken.error)) == ("a", StreamBroken)


def test_no_error_gives_the_key_back(server: ScriptedServer, wire: AnthropicWire) -> None:
    server.script = {"status": 401, "error": {"type": "authentication_error", "message": f"bad {KEY.reveal()}"}}
    error = outcome(wire, request_to(server, "anthropic")).error
    assert error is not None
    assert error.message == "anthropic refused the API key from $TEST_API_KEY: bad ***."


def test_the_connection_is_used_again_for_the_next_turn(server: ScriptedServer, wire: AnthropicWire) -> None:
    for _ in range(3):
        assert outcome(wire, request_to(server, "anthropic")).reason == "stop"
    assert server.connections == 1
