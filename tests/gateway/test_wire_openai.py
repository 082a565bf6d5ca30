"""/v1/chat/completions as its clients speak it: what may be asked, what goes to a provider, and what comes back."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import openai
import pytest

from aichat_cli.core.errors import (
    BadResponse,
    ContextTooLong,
    KeyRejected,
    ProviderUnavailable,
    RateLimited,
)
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.messages import Attachment, ChatMessage
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import replace, to_json
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.wire.openai import WIRE
from tests.gateway.wires import MODEL, PIXEL, REQUEST_ID, TOTALS, chunk, request, said, sse, stream_of, tap
from tests.servers.script import Script, whole_answer
from tests.servers.scripted import ScriptedServer

IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def test_a_request_says_what_billing_counts_and_what_other_protocols_are_sent() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What"}, IMAGE, {"type": "text", "text": "is it?"}]},
        {"role": "assistant", "content": "A dot."},
        {"role": "system", "content": "In French."},
        {"role": "user", "content": "Sure?"},
    ]
    body = request("openai", messages=messages, max_tokens=50, temperature=0.5, top_p=None, metadata={"a": "b"})
    asked = WIRE.asked(body)
    image = Attachment("file-1.png", "image/png", b64decode(PIXEL))
    assert asked.messages == (
        ChatMessage("user", "What\n\nis it?", (image,)),
        ChatMessage("assistant", "A dot."),
        ChatMessage("user", "Sure?"),
    )
    assert asked.system == "Be brief.\n\nIn French."
    assert asked.options == {"max_tokens": 50, "temperature": 0.5}
    assert (asked.model_name, asked.stream, asked.include_usage, asked.native_only) == ("m", True, True, None)
    assert "metadata" not in asked.body
    assert "top_p" not in asked.body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"web_search_options": {}}, "web_search_options"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"store": True}, "store"),
        ({"n": 9}, "n"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"max_completion_tokens": "5"}, "max_completion_tokens"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"x": 1}}, "stream_options.x"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": [1]}, "stop[0]"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL, {"type": "function"}]}, "tools[1].function"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice.type"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "audio": {"id": "a"}}]}, "messages[0].audio"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "custom"}]}]}, "messages[0].tool_calls[0].type"),
        (user({"type": "text", "text": 5}), "messages[0].content[0].text"),
        (user({"type": "video"}), "messages[0].content[0].type"),
        (user({"type": "text", "text": "a", "cache_control": {}}), "messages[0].content[0].cache_control"),
        (user({"type": "image_url", "image_url": "https://x"}), "messages[0].content[0].image_url"),
        (user({"type": "image_url", "image_url": {"url": "https://x y"}}), "messages[0].content[0].image_url.url"),
        (
            user({"type": "image_url", "image_url": {"url": "https://" + "x" * 9000}}),
            "messages[0].content[0].image_url.url",
        ),
        (user({"type": "image_url", "image_url": {"url": "http://x"}}), "messages[0].content[0].image_url.url"),
        (
            user({"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}}),
            "messages[0].content[0].image_url.url",
        ),
        (
            user({"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}}),
            "messages[0].content[0].image_url.url",
        ),
        (
            user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
            "messages[0].content[0].input_audio",
        ),
        (user({"type": "file", "file": {"file_id": "file-5"}}), "messages[0].content[0].file.file_id"),
    ],
)
def test_what_is_malformed_or_not_priced_by_tokens_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        WIRE.asked(request("openai", **fields))
    assert (refused.value.http_status, refused.value.param) == (400, param)
    assert param in refused.value.message


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_request_without_what_it_needs_is_refused(missing: str) -> None:
    body = {name: value for name, value in request("openai").items() if name != missing}
    with pytest.raises(BadRequest, match=f"{missing} is missing"):
        WIRE.asked(body)


@pytest.mark.parametrize(
    ("fields", "native_only"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"tools": []}, None),
        ({"n": 2}, "n"),
        ({"n": 1}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": False}, None),
        ({"seed": 5, "user": "u", "presence_penalty": 0.5}, None),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c1"}]}, "messages[0].role"),
        (
            user({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}),
            "messages[0].content[0].image_url",
        ),
        (user(IMAGE), None),
    ],
)
def test_a_request_names_what_no_other_protocol_can_say(fields: dict[str, Any], native_only: str | None) -> None:
    assert WIRE.asked(request("openai", **fields)).native_only == native_only


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"a": schema}
    return request("openai", tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])


def sent_from(depth: int, body: Any) -> bytes:
    return sent_from(depth - 1, body) if depth else to_json(body)


def test_what_is_nested_too_deeply_to_be_sent_on_is_refused() -> None:
    for levels in range(300, 100_000, 20):
        body = nested(levels)
        try:
            asked = WIRE.asked(body)
        except BadRequest as error:
            refused = error
            break
        assert sent_from(50, WIRE.native_body(asked, MODEL, None))
    assert refused.param == "tools"


def test_an_answer_given_back_by_the_official_client_is_taken() -> None:
    from openai.types.chat import ChatCompletionMessage

    message = ChatCompletionMessage.model_validate(
        {"role": "assistant", "content": None, "tool_calls": [CALL], "annotations": [], "refusal": None}
    )
    asked = WIRE.asked(request("openai", messages=[message.model_dump()]))
    assert asked.messages == (ChatMessage("assistant", ""),)


def test_an_image_at_an_address_or_in_its_original_size_counts_as_the_largest() -> None:
    far = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
    original = {"type": "image_url", "image_url": {**IMAGE["image_url"], "detail": "original"}}
    assert [file.kind for file in WIRE.asked(request("openai", **user(far))).messages[0].attachments] == ["image"]
    assert len(WIRE.asked(request("openai", **user(original))).messages[0].attachments) == 3


@pytest.mark.parametrize(
    ("fields", "least"),
    [
        ({"tools": [TOOL]}, 300),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL, CALL]}]}, 24),
        (user(*[{"type": "text", "text": "a"}] * 5), 16),
        ({"messages": [{"role": "system", "content": "a"}] * 3}, 16),
    ],
)
def test_tokens_that_nobody_wrote_are_counted(fields: dict[str, Any], least: int) -> None:
    assert WIRE.asked(request("openai", **fields)).other_input.count(" word") >= least


@pytest.mark.parametrize(
    ("fields", "output_limit", "sent"),
    [
        ({}, None, None),
        ({}, 70, 70),
        ({"max_tokens": 50}, None, 50),
        ({"max_completion_tokens": 50}, 70, 50),
        ({"max_completion_tokens": 50, "max_tokens": 40}, None, 40),
        ({"max_tokens": 90}, 70, 70),
    ],
)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_provider_is_sent_the_longest_answer_that_is_paid_for_under_its_own_name(
    fields: dict[str, Any], output_limit: int | None, sent: int | None, name: Any
) -> None:
    asked = WIRE.asked(request("openai", **fields))
    body = WIRE.native_body(asked, replace(MODEL, output_limit_field=name), output_limit)
    limits = {key: value for key, value in body.items() if key.startswith("max_")}
    assert limits == ({} if sent is None else {name: sent})


def test_a_provider_is_sent_all_else_as_it_came() -> None:
    fields: dict[str, Any] = {"tools": [TOOL], "seed": 3, "temperature": 1, "service_tier": "auto", "user": "u"}
    asked = WIRE.asked(request("openai", **fields, stream_options={"include_obfuscation": False}))
    body = WIRE.native_body(asked, MODEL, None)
    assert body == request("openai", **fields) | {
        "model": "wire-name",
        "service_tier": "default",
        "stream_options": {"include_obfuscation": False, "include_usage": True},
    }
    assert not asked.include_usage
    thinker = WIRE.native_body(asked, replace(MODEL, takes_sampling=False), None)
    assert "temperature" not in thinker
    assert thinker["seed"] == 3
    whole = WIRE.asked(request("openai", stream=False))
    assert "stream_options" not in WIRE.native_body(whole, MODEL, None)


def test_usage_and_the_end_wait_for_what_the_call_came_to() -> None:
    reader = tap("openai")
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19, "theirs": {"kept": 1}}
    last = {"id": "theirs", "choices": [], "usage": usage}
    sent = sse(chunk({"content": "Hi"}), chunk({}, "stop"), last) + b"data: [DONE]\n\n"
    ours = chunk({"content": "Hi"}) | {"id": f"chatcmpl-{REQUEST_ID}"}
    assert said(reader.feed(sent)) == [ours, chunk({}, "stop") | {"id": ours["id"]}]
    assert reader.finished == Finished("stop", "theirs", "served")
    *_, told, done = said(reader.end(TOTALS))
    assert told["usage"] == {**usage, "cost": 0.0025, "credits_charged": 25_000, "credits_left": 975_000}
    assert (told["id"], told["choices"], done) == (ours["id"], [], "[DONE]")


def test_the_name_of_an_answer_is_taken_from_the_first_chunk_that_has_one() -> None:
    reader = tap("openai")
    first = sse({"id": "", "choices": [], "prompt_filter_results": []})
    assert reader.feed(first) == first
    assert said(reader.feed(sse(chunk({"content": "Hi"}, "stop"))))[0]["id"] == f"chatcmpl-{REQUEST_ID}"
    assert reader.finished == Finished("stop", "theirs", "served")


def test_usage_is_told_only_where_it_was_asked_for() -> None:
    reader = tap("openai", stream_options=None)
    assert reader.feed(stream_of("openai", Script(text="Hi")))
    assert reader.tokens is not None
    assert reader.end(TOTALS) == b"data: [DONE]\n\n"


def test_usage_that_a_provider_did_not_tell_is_ours() -> None:
    reader = tap("openai")
    reader.feed(stream_of("openai", Script(text="Hi", usage=None)))
    assert reader.tokens is None
    assert said(reader.end(TOTALS))[0]["usage"]["prompt_tokens_details"] == {
        "cached_tokens": 4,
        "cache_write_tokens": 3,
    }


def test_usage_beside_content_is_read_and_the_content_passed_on() -> None:
    reader = tap("openai")
    passed = reader.feed(sse(chunk({"content": "a"}, "stop") | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}))
    assert said(passed)[0]["choices"][0]["delta"] == {"content": "a"}
    assert reader.tokens is not None
    assert (reader.tokens.input_tokens, reader.tokens.output_tokens) == (3, 1)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([chunk({"content": "a"})], None),
        ([chunk({"content": "a"}), "[DONE]"], "stop"),
        ([chunk({"role": "assistant"}), "[DONE]"], None),
        ([chunk({"refusal": "no"}, "stop")], "refusal"),
        ([chunk({}, "function_call")], "tool_calls"),
        ([chunk({}, "odd")], "odd"),
    ],
)
def test_an_answer_has_ended_where_the_provider_said_so(events: list[Any], reason: str | None) -> None:
    reader = tap("openai")
    for event in events:
        reader.feed(b"data: [DONE]\n\n" if event == "[DONE]" else sse(event))
    assert (reader.finished and reader.finished.reason) == reason


def test_several_answers_end_when_the_last_has() -> None:
    reader = tap("openai", n=2)
    reader.feed(sse(chunk({"content": "one"}, "stop"), chunk({"content": "two"}, index=1)))
    assert reader.finished is None
    reader.feed(sse(chunk({}, "length", index=1)))
    assert reader.finished is not None
    assert reader.text == "onetwo"


def test_all_that_a_model_writes_is_read() -> None:
    reader = tap("openai")
    calls = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a"'}}]
    odd = [{"type": "thinking", "thinking": [{"type": "text", "text": "E"}]}, {"type": "text", "text": "F"}]
    deltas: list[dict[str, Any]] = [
        {"content": "A"},
        {"reasoning": "B"},
        {"reasoning_content": "C"},
        {"refusal": "D"},
        {"content": odd},
    ]
    sent = sse(*map(chunk, deltas), chunk({"tool_calls": calls}))
    assert len(said(reader.feed(sent))) == 6
    assert sorted(reader.text) == sorted('ABCDEFf{"a"')


def test_half_a_character_in_each_of_two_deltas_is_one_character() -> None:
    reader = tap("openai")
    sent = b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\ndata: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n'
    assert reader.feed(sent) == sent
    assert reader.text == "\N{GRINNING FACE}"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "busy", "type": "server_error"}, ProviderUnavailable),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, RateLimited),
        ({"message": "bad key", "code": "invalid_api_key"}, KeyRejected),
        ({"message": "too long", "code": "context_length_exceeded"}, ContextTooLong),
        ("a text", ProviderUnavailable),
    ],
)
def test_an_error_of_the_provider_comes_after_what_it_had_said(error: Any, kind: type[Exception]) -> None:
    reader = tap("openai")
    with pytest.raises(kind):
        reader.feed(sse(chunk({"content": "A"}), {"error": error}, chunk({"content": "B"})))
    assert said(reader.unsent)[0]["choices"][0]["delta"] == {"content": "A"}
    assert (reader.text, reader.finished) == ("A", None)
    with pytest.raises(kind):
        tap("openai", stream=False).whole(json.dumps({"error": error}).encode())


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"{}", b'{"choices": []}', b'"a"'])
def test_what_is_no_answer_is_said_so(body: bytes) -> None:
    with pytest.raises(BadResponse):
        tap("openai", stream=False).whole(body)


def test_a_whole_answer_is_passed_on_with_what_it_came_to() -> None:
    reader = tap("openai", stream=False)
    script = Script(deltas=[{"reasoning": "Hm."}, "Hi"], finish="length", usage={"input": 12, "output": 7, "cached": 4})
    answer = whole_answer("openai", script, {"model": "served"})
    reader.whole(json.dumps(answer).encode())
    assert (sorted(reader.text), reader.finished) == (sorted("Hm.Hi"), Finished("length", "scripted-1", "served"))
    assert reader.tokens is not None
    assert (reader.tokens.input_tokens, reader.tokens.cached_tokens, reader.tokens.output_tokens) == (12, 4, 7)
    told = reader.whole_answer(TOTALS)
    assert told["choices"] == answer["choices"]
    assert told["id"] == f"chatcmpl-{REQUEST_ID}"
    assert told["usage"] == answer["usage"] | {"cost": 0.0025, "credits_charged": 25_000, "credits_left": 975_000}


EVENTS: list[ProviderEvent] = [
    Notice("not for clients"),
    ReasoningDelta("Hm."),
    TextDelta("Hé"),
    TextDelta('"llo"\n'),
    Usage(TokenUsage(12, 7, 4)),
    Finished("stop", "theirs", "served"),
]


def encoded(**fields: Any) -> bytes:
    encoder = WIRE.encoder(WIRE.asked(request("openai", **fields)), MODEL, REQUEST_ID)
    return b"".join(map(encoder.event, EVENTS)) + encoder.end(TOTALS)


@pytest.mark.parametrize("way", ["passed on", "said anew"])
def test_the_official_client_reads_a_stream(server: ScriptedServer, way: str) -> None:
    if way == "passed on":
        reader = tap("openai")
        script = Script(deltas=[{"reasoning": "Hm."}, "Hé", '"llo"\n'])
        data = reader.feed(stream_of("openai", script)) + reader.end(TOTALS)
    else:
        data = encoded()
    server.script = Script(body=data.decode(), content_type="text/event-stream")
    client = openai.OpenAI(api_key="k", base_url=server.openai_url, max_retries=0)
    with (
        client,
        client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "hi"}], stream_options={"include_usage": True}
        ) as stream,
    ):
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert "content.done" in kinds
    assert answer.id == f"chatcmpl-{REQUEST_ID}"
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", 'Hé"llo"\n', "stop")
    assert getattr(choice.message, "reasoning_content", None) == "Hm."
    assert answer.usage is not None
    assert (answer.usage.model_extra or {})["credits_left"] == 975_000
    assert answer.usage.prompt_tokens == (10 if way == "passed on" else 12)


def test_the_official_client_reads_an_error_in_the_middle_of_a_stream(server: ScriptedServer) -> None:
    error = WIRE.error_event(RateLimited("They are busy.", retry_after=3), REQUEST_ID)
    server.script = Script(body=(sse(chunk({"content": "A"})) + error).decode(), content_type="text/event-stream")
    with openai.OpenAI(api_key="k", base_url=server.openai_url, max_retries=0) as client:
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
        with pytest.raises(openai.APIError, match="They are busy"):
            list(stream)


def test_an_error_about_the_gateways_own_key_is_not_told_as_the_callers() -> None:
    [told] = said(WIRE.error_event(KeyRejected("bad key sk-1"), REQUEST_ID))
    assert "sk-1" not in told["error"]["message"]
    assert told["error"]["type"] == "server_error"


def test_a_whole_answer_said_anew_has_all_its_parts() -> None:
    encoder = WIRE.encoder(WIRE.asked(request("openai", stream=False)), MODEL, REQUEST_ID)
    assert not any(map(encoder.event, EVENTS))
    answer = openai.types.chat.ChatCompletion.model_validate(encoder.whole_answer(TOTALS), strict=True)
    assert answer.choices[0].message.content == 'Hé"llo"\n'
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens) == (12, 4)
    assert encoder.output_tokens == 4


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
    ],
)
def test_reasons_are_said_in_words_the_client_knows(ours: str, theirs: str) -> None:
    encoder = WIRE.encoder(WIRE.asked(request("openai")), MODEL, REQUEST_ID)
    assert said(encoder.event(Finished(ours)))[-1]["choices"][0]["finish_reason"] == theirs
    assert said(encoder.end(None))[0]["usage"].keys() == {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    }
