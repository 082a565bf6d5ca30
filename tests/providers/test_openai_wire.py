from __future__ import annotations

import email.utils
import json
import time
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
    TimedOut,
    UsageError,
    is_transient,
)
from aichat_cli.core.events import Finished, ReasoningDelta, TextDelta
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.secret import Secret
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.openai_wire import OpenAIWire
from tests.providers.calls import KEY, outcome, request_to
from tests.servers.scripted import ScriptedServer


@pytest.fixture
def wire() -> Iterator[OpenAIWire]:
    with closing(OpenAIWire()) as made:
        yield made


def _chunk(delta: Any = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": fields.pop("finish", None)}
    return {"data": {"id": "x", "model": "served", "choices": [choice], **fields}}


def test_the_request_is_a_chat_completion(server: ScriptedServer, wire: OpenAIWire) -> None:
    messages = (ChatMessage("user", "one"), ChatMessage("assistant", "two"), ChatMessage("user", "three"))
    request = request_to(server, messages=messages, system="be brief", options={"temperature": 0.5, "seed": 7})
    outcome(wire, request)
    sent = server.requests[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY.reveal()}"
    assert sent.body == {
        "model": "m-1",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "seed": 7,
    }


def test_an_endpoint_that_needs_no_key_gets_none(server: ScriptedServer, wire: OpenAIWire) -> None:
    outcome(wire, request_to(server, key=None))
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("suffix", ["", "/", "/chat/completions"])
def test_a_base_url_may_end_in_several_ways(suffix: str, server: ScriptedServer, wire: OpenAIWire) -> None:
    outcome(wire, request_to(server, base_url=f"{server.openai_url}{suffix}?api-version=2"))
    assert server.requests[0].path == "/v1/chat/completions?api-version=2"


def test_text_reasoning_usage_and_the_end_arrive_in_order(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {
        "deltas": [{"reasoning": "hm"}, "Hel", "lo"],
        "usage": {"input": 10, "output": 5, "cached": 4, "reasoning": 2},
        "model": "m-1-dated",
    }
    result = outcome(wire, request_to(server))
    assert result.events[:3] == [ReasoningDelta("hm"), TextDelta("Hel"), TextDelta("lo")]
    assert result.counts == TokenUsage(10, 5, cached_tokens=4, reasoning_tokens=2)
    assert result.events[-1] == Finished("stop", "scripted-1", "m-1-dated")
    assert result.usage is not None
    assert json.loads(result.usage.raw or "")["total_tokens"] == 15
    assert ": " not in (result.usage.raw or "")


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 64])
def test_bytes_may_be_cut_anywhere(chunk_size: int, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": ["žluť", "👩‍🚀 \ud83d", "\ude00!"], "chunk_size": chunk_size}
    result = outcome(wire, request_to(server))
    assert result.text == "žluť👩‍🚀 😀!"
    assert result.reason == "stop"


def test_half_a_character_at_the_end_is_replaced(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": ["ok\ud83d"]}
    assert outcome(wire, request_to(server)).text == "ok�"


@pytest.mark.parametrize(
    ("script", "text", "reasoning", "reason"),
    [
        (
            [_chunk({"content": None}), _chunk({"content": [{"type": "text", "text": "parts"}, "!", 5]})],
            "parts!",
            "",
            "stop",
        ),
        (
            [_chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}), "a"],
            "a",
            "hm",
            "stop",
        ),
        ([_chunk({"content": [{"type": "thinking", "thinking": "hm"}]}), "a"], "a", "hm", "stop"),
        ([_chunk({"reasoning": "hm", "reasoning_content": "hm"}), "a"], "a", "hm", "stop"),
        ([_chunk({"reasoning": "hm"}), "a"], "a", "hm", "stop"),
        ([_chunk(None), _chunk({"content": "a", "tool_calls": None}), _chunk("nonsense")], "a", "", "stop"),
        (["a", {"data": {"choices": [{"index": 1, "delta": {"content": "other"}}]}}], "a", "", "stop"),
        (["a", {"data": {"choices": None}}, {"data": {"choices": [None, 3]}}, {"data": {}}], "a", "", "stop"),
        (["a", {"raw": ": keep-alive\n\n"}, {"raw": "event: ping\ndata: {}\n\n"}, "b"], "ab", "", "stop"),
        ([{"refusal": "I "}, {"refusal": "won't"}], "I won't", "", "refusal"),
    ],
)
def test_dialects_of_a_delta_are_understood(
    script: list[Any], text: str, reasoning: str, reason: str, server: ScriptedServer, wire: OpenAIWire
) -> None:
    server.script = {"deltas": script}
    result = outcome(wire, request_to(server))
    assert (result.text, result.reasoning, result.reason) == (text, reasoning, reason)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("eos", "eos"),
    ],
)
def test_finish_reasons_are_told(said: str, told: str, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"text": "a", "finish": said}
    assert outcome(wire, request_to(server)).reason == told


@pytest.mark.parametrize(
    "script",
    [
        {"text": "a", "done": False},
        {"text": "a", "done": False, "framing": "close"},
        {"text": "a", "finish": None},
    ],
)
def test_an_end_without_done_or_without_a_reason_is_an_end(
    script: dict[str, Any], server: ScriptedServer, wire: OpenAIWire
) -> None:
    server.script = script
    assert outcome(wire, request_to(server)).reason == "stop"


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_an_end_with_neither_is_a_broken_stream(framing: str, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"text": "half", "finish": None, "done": False, "framing": framing, "usage": None}
    result = outcome(wire, request_to(server))
    assert result.text == "half"
    assert isinstance(result.error, StreamBroken)
    assert "closed the connection before the answer was complete" in result.error.message
    server.script = {"deltas": [], "finish": None, "done": False, "framing": framing, "usage": None}
    assert isinstance(outcome(wire, request_to(server)).error, ConnectFailed)


def test_wherever_the_connection_is_cut_what_arrived_is_kept_and_the_cut_is_told(
    server: ScriptedServer, wire: OpenAIWire
) -> None:
    whole = "abcdefgh"
    for cut in range(0, 1900, 61):
        server.script = {"text": whole, "split": 2, "cut_after_bytes": cut, "usage": None, "chunk_size": 50}
        result = outcome(wire, request_to(server))
        assert whole.startswith(result.text)
        if result.reason is None:
            assert isinstance(result.error, StreamBroken if result.text else ConnectFailed | BadResponse), cut
        else:
            assert result.text == whole


def test_usage_may_come_in_any_chunk_and_the_last_one_counts(server: ScriptedServer, wire: OpenAIWire) -> None:
    def with_usage(output: int) -> dict[str, Any]:
        return _chunk({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": output})

    server.script = {"deltas": [with_usage(1), with_usage(1), with_usage(2), _chunk({}, usage=None)], "usage": None}
    result = outcome(wire, request_to(server))
    assert result.counts == TokenUsage(3, 2)
    assert len([event for event in result.events if not isinstance(event, TextDelta | Finished)]) == 2


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 5}, TokenUsage(9, 4, cached_tokens=5)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 99, "cache_write_tokens": 2},
            },
            TokenUsage(9, 4, cached_tokens=9, cache_write_tokens=2),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 45,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            TokenUsage(10, 35, reasoning_tokens=30),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 35,
                "total_tokens": 45,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            TokenUsage(10, 35, reasoning_tokens=30),
        ),
        ({"prompt_tokens": -5, "completion_tokens": "7", "prompt_tokens_details": None}, TokenUsage(0, 0)),
        ({"prompt_tokens": True, "completion_tokens": 2.5}, TokenUsage(0, 0)),
    ],
)
def test_usage_is_read_with_care(
    usage: dict[str, Any], expected: TokenUsage, server: ScriptedServer, wire: OpenAIWire
) -> None:
    server.script = {"deltas": ["a", _chunk({}, usage=usage)], "usage": None}
    result = outcome(wire, request_to(server))
    assert result.counts == expected
    assert result.usage is not None
    assert json.loads(result.usage.raw or "") == usage


def test_no_usage_is_none(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": ["a", _chunk({}, usage={}), _chunk({}, usage=[1])], "usage": None}
    assert outcome(wire, request_to(server)).usage is None


@pytest.mark.parametrize("stream", [True, False])
def test_one_json_object_is_an_answer_too(stream: bool, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {
        "deltas": [{"reasoning": "hm"}, "hello"],
        "usage": {"input": 10, "output": 5, "cached": 4},
        "json": True,
    }
    result = outcome(wire, request_to(server, stream=stream))
    assert (result.text, result.reasoning) == ("hello", "hm")
    assert result.counts == TokenUsage(10, 5, cached_tokens=4)
    assert result.events[-1] == Finished("stop", "scripted-1", "m-1")
    assert ("stream_options" in server.requests[0].body) is stream
    assert server.requests[0].body["stream"] is stream


def test_a_refusal_in_one_object_is_a_refusal(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": [{"refusal": "no"}]}
    result = outcome(wire, request_to(server, stream=False))
    assert (result.text, result.reason) == ("no", "refusal")


@pytest.mark.parametrize(
    "body",
    [
        "<html><body>Bad\x1b[2J gateway</body></html>",
        "upstream said no",
        "",
        "   \n",
        "[1, 2]",
        "{not json",
        '{"choices": []}',
        '{"hello": "world"}',
        "data: {broken\n\n",
        "data: [1]\n\n",
        'data: "x"\n\n',
        "[" * 100_000,
        "data: " + "[" * 100_000 + "\n\n",
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_what_is_no_answer_is_called_that(body: str, framing: str, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"body": body, "framing": framing}
    result = outcome(wire, request_to(server))
    assert isinstance(result.error, BadResponse), result
    assert result.error.message.isprintable()
    assert len(result.error.message) < 300
    assert result.events == []


def test_garbage_in_the_middle_breaks_the_stream(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": ["a", {"raw": "data: {oops\n\n"}]}
    result = outcome(wire, request_to(server))
    assert result.text == "a"
    assert isinstance(result.error, StreamBroken)
    assert isinstance(result.error.__cause__, BadResponse)


def test_an_answer_without_end_is_bounded(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"body": '{"x": "' + "y" * (17 * 1024 * 1024)}
    result = outcome(wire, request_to(server))
    assert isinstance(result.error, BadResponse)
    assert "larger than" in result.error.message


STATUSES: list[tuple[int, dict[str, Any], type[AichatError], int]] = [
    (401, {}, KeyRejected, 3),
    (400, {"message": "Incorrect API key provided: xx"}, KeyRejected, 3),
    (402, {}, ProviderError, 6),
    (429, {"code": "insufficient_quota"}, ProviderError, 6),
    (403, {}, RequestRejected, 6),
    (404, {}, ModelNotFound, 6),
    (400, {"code": "model_not_found"}, ModelNotFound, 6),
    (408, {}, ProviderUnavailable, 6),
    (429, {}, RateLimited, 5),
    (500, {}, ProviderUnavailable, 6),
    (503, {}, ProviderUnavailable, 6),
    (529, {}, ProviderUnavailable, 6),
    (400, {}, RequestRejected, 6),
    (413, {}, RequestRejected, 6),
    (418, {}, RequestRejected, 6),
    (400, {"code": "context_length_exceeded"}, ContextTooLong, 6),
    (400, {"message": "This model's maximum context length is 8192 tokens"}, ContextTooLong, 6),
    (413, {"message": "Prompt is too long"}, ContextTooLong, 6),
]


@pytest.mark.parametrize(("status", "error", "expected", "exit_code"), STATUSES)
def test_each_status_has_its_error(
    status: int,
    error: dict[str, Any],
    expected: type[AichatError],
    exit_code: int,
    server: ScriptedServer,
    wire: OpenAIWire,
) -> None:
    server.script = {"status": status, "error": {"message": "the provider's words", **error}}
    result = outcome(wire, request_to(server))
    assert type(result.error) is expected
    assert result.error.exit_code == exit_code
    assert error.get("message", "the provider's words") in result.error.message
    assert is_transient(result.error) is (expected in (ProviderUnavailable, RateLimited))
    assert result.events == []


def test_a_rejected_key_says_where_it_came_from_and_never_what_it_is(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 401, "error": {"message": f"Incorrect API key provided: {KEY.reveal()}."}}
    error = outcome(wire, request_to(server)).error
    assert error is not None
    assert error.message == "openai refused the API key from $TEST_API_KEY: Incorrect API key provided: ***."
    assert error.hint == "Correct or unset TEST_API_KEY, then: aichat keys set openai"


def test_a_missing_key_is_said_to_be_missing(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 401}
    error = outcome(wire, request_to(server, key=None, key_name=None, provider="custom")).error
    assert isinstance(error, KeyRejected)
    assert error.message.startswith(f"http://127.0.0.1:{server.port} asks for an API key and none was sent")
    assert error.hint == "Give it one with --key"


@pytest.mark.parametrize(
    ("script", "where"),
    [
        ({"status": 400, "error": {"message": "x " + KEY.reveal() + " y"}}, "message"),
        ({"status": 500, "body": f"<p>{KEY.reveal()}</p>"}, "page"),
        ({"status": 400, "error": {"message": "x" * 390 + KEY.reveal()}}, "cut"),
        ({"body": f"<p>{KEY.reveal()}</p>"}, "page of status 200"),
        ({"deltas": ["a", {"error": {"message": KEY.reveal()}}]}, "stream"),
        ({"body": f"data: {KEY.reveal()}\n\n"}, "event"),
        ({"body": f'data: ["{KEY.reveal()}"]\n\n'}, "event of another kind"),
    ],
)
def test_no_error_gives_the_key_back(
    script: dict[str, Any], where: str, server: ScriptedServer, wire: OpenAIWire
) -> None:
    server.script = script
    error = outcome(wire, request_to(server)).error
    assert error is not None, where
    assert KEY.reveal()[:9] not in f"{error.message}{error.hint}"


@pytest.mark.parametrize("key", ["sk-1\n2", "sk-é", "sk 1"])
def test_a_key_that_cannot_be_one_is_refused_before_it_is_sent(
    key: str, server: ScriptedServer, wire: OpenAIWire
) -> None:
    error = outcome(wire, request_to(server, key=Secret(key, "the keyring"))).error
    assert isinstance(error, KeyRejected)
    assert "the keyring" in error.message
    assert key not in error.message
    assert server.requests == []


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "1.5"}, 1.5, 1.5),
        ({"retry-after-ms": "2500", "Retry-After": "9"}, 2.5, 2.5),
        ({"Retry-After": "in 100 s"}, 60, 101),
        ({"Retry-After": "in -100 s"}, 0, 0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], low: float, high: float, server: ScriptedServer, wire: OpenAIWire
) -> None:
    named = headers["Retry-After"]
    if named.startswith("in "):
        headers = {"Retry-After": email.utils.formatdate(time.time() + int(named.split()[1]), usegmt=True)}
    server.script = {"status": 429, "headers": headers}
    error = outcome(wire, request_to(server)).error
    assert isinstance(error, RateLimited)
    assert error.retry_after is not None
    assert low <= error.retry_after <= high
    assert "Try again in" in error.message


@pytest.mark.parametrize("value", ["soon", "-", "nan", "9" * 400, ""])
def test_a_retry_after_without_sense_is_none(value: str, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 503, "headers": {"Retry-After": value}}
    error = outcome(wire, request_to(server)).error
    assert isinstance(error, ProviderUnavailable)
    assert error.retry_after is None


@pytest.mark.parametrize(("seconds", "words"), [("0", "1 s"), ("90", "90 s"), ("3600", "60 min"), ("86400", "24 h")])
def test_the_wait_is_said_in_words(seconds: str, words: str, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 429, "headers": {"Retry-After": seconds}}
    error = outcome(wire, request_to(server)).error
    assert error is not None
    assert error.message.endswith(f"Try again in {words}.")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": "plain words"}', "plain words"),
        ('{"detail": "of another kind"}', "of another kind"),
        ('{"error": {"message": {"nested": 1}}}', '{"nested": 1}'),
        ('[{"error": {"message": "in a list", "status": "INVALID"}}]', "in a list"),
        ('{"message": "two\\nlines\\u001b[2J"}', "two lines [2J"),
        ("<h1>Bad Request</h1>", "<h1>Bad Request</h1>"),
        ("{}", "{}"),
        ('"just text"', "just text"),
    ],
)
def test_the_providers_words_are_found(body: str, words: str, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 400, "body": body}
    error = outcome(wire, request_to(server)).error
    assert error is not None
    assert error.message == f"openai rejected the request (400): {words}."


def test_an_error_without_words_is_still_one(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 500, "body": "never arrives", "cut_in_body": 3}
    error = outcome(wire, request_to(server)).error
    assert isinstance(error, ProviderUnavailable)
    assert error.message == "openai cannot answer now (500)."


def test_a_404_that_is_no_error_object_hints_at_the_base_url(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 404, "body": "404 page not found"}
    error = outcome(wire, request_to(server, base_url=f"{server.url}/wrong")).error
    assert isinstance(error, ModelNotFound)
    assert "base URL" in (error.hint or "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "m", "type": "rate_limit_exceeded"}, RateLimited),
        ({"message": "m", "code": 429}, RateLimited),
        ({"message": "m", "code": 502}, ProviderUnavailable),
        ({"message": "m", "code": "context_length_exceeded"}, ContextTooLong),
        ({"message": "m", "type": "invalid_request_error"}, RequestRejected),
        ({"message": "m", "type": "server_error"}, ProviderUnavailable),
        ({"message": "m", "code": 7}, ProviderUnavailable),
        ("m", ProviderUnavailable),
    ],
)
def test_an_error_in_the_stream_is_told_by_what_it_says(
    error: Any, expected: type[AichatError], server: ScriptedServer, wire: OpenAIWire
) -> None:
    server.script = {"deltas": [{"error": error}]}
    assert type(outcome(wire, request_to(server)).error) is expected
    server.script = {"body": {"error": error}}
    assert type(outcome(wire, request_to(server)).error) is expected
    server.script = {"deltas": ["a", {"error": error}]}
    broken = outcome(wire, request_to(server))
    assert (broken.text, type(broken.error)) == ("a", StreamBroken)
    assert type(broken.error and broken.error.__cause__) is expected


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("typed", ["max_tokens", "max_completion_tokens"])
def test_the_limit_goes_under_the_name_the_model_knows(
    field: str, typed: str, server: ScriptedServer, wire: OpenAIWire
) -> None:
    outcome(wire, request_to(server, options={typed: 5}, output_limit_field=field))
    sent = server.requests[0].body
    assert {name: sent[name] for name in sent if name.startswith("max_")} == {field: 5}


def test_sampling_is_left_out_for_models_that_refuse_it_and_said(server: ScriptedServer, wire: OpenAIWire) -> None:
    options = {"temperature": 1, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": 1, "seed": 3}
    result = outcome(wire, request_to(server, options=options, takes_sampling=False))
    assert result.notices == [
        "friendly does not take temperature, top_p, presence_penalty, frequency_penalty: not sent."
    ]
    assert server.requests[0].body["seed"] == 3
    assert "temperature" not in server.requests[0].body
    assert outcome(wire, request_to(server, options={"seed": 3}, takes_sampling=False)).notices == []


@pytest.mark.parametrize("name", ["model", "messages", "stream", "stream_options"])
def test_options_that_are_ours_are_refused(name: str, server: ScriptedServer, wire: OpenAIWire) -> None:
    error = outcome(wire, request_to(server, options={name: 1})).error
    assert isinstance(error, UsageError)
    assert f'"{name}"' in error.message
    assert server.requests == []


@pytest.mark.parametrize("status", [400, 422])
def test_an_endpoint_that_does_not_know_stream_options_is_asked_without(
    status: int, server: ScriptedServer, wire: OpenAIWire
) -> None:
    refusal = {"status": status, "error": {"message": "Unrecognized request argument supplied: stream_options"}}
    server.script = [refusal, {"text": "one"}, {"text": "two"}]
    assert outcome(wire, request_to(server)).text == "one"
    assert outcome(wire, request_to(server)).text == "two"
    assert ["stream_options" in request.body for request in server.requests] == [True, False, False]


def test_an_endpoint_that_refuses_twice_is_not_asked_a_third_time(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 400, "error": {"message": "stream_options: no"}}
    assert isinstance(outcome(wire, request_to(server)).error, RequestRejected)
    assert len(server.requests) == 2


def test_an_idle_stream_keeps_its_text(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": ["a", "b"], "stall_after": 1}
    result = outcome(wire, request_to(server, timeouts=Timeouts(idle=0.2)))
    assert result.text == "a"
    assert isinstance(result.error, StreamBroken)
    assert isinstance(result.error.__cause__, TimedOut)
    assert server.requests[0].client_left.wait(5)
    server.script = {"deltas": ["a"], "stall_after": 0}
    assert isinstance(outcome(wire, request_to(server, timeouts=Timeouts(idle=0.2))).error, TimedOut)


def test_closing_the_iterator_closes_the_connection(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": ["a", "b"], "stall_after": 1}
    events = wire.stream(request_to(server))
    assert next(events) == TextDelta("a")
    events.close()  # type: ignore[attr-defined]
    assert server.requests[0].client_left.wait(5)


def test_the_connection_is_used_again_for_the_next_turn(server: ScriptedServer, wire: OpenAIWire) -> None:
    request = request_to(server)
    wire.warm(request.model, request.timeouts)
    for _ in range(3):
        assert outcome(wire, request).reason == "stop"
    assert server.connections == 1


def test_without_a_base_url_it_is_openai_itself(server: ScriptedServer, wire: OpenAIWire) -> None:
    assert wire.url(request_to(server, base_url=None).model) == "https://api.openai.com/v1/chat/completions"
