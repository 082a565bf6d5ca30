"""/v1/messages as its clients speak it: what may be asked, what goes to a provider, and what comes back."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import anthropic
import pytest

from aichat_cli.core.errors import BadResponse, ContextTooLong, KeyRejected, ProviderUnavailable, RateLimited
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.messages import Attachment, ChatMessage
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import replace
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.wire.anthropic import WIRE
from tests.gateway.wires import MODEL, PIXEL, REQUEST_ID, TOTALS, request, said, sse, stream_of, tap
from tests.servers.script import Script, whole_answer
from tests.servers.scripted import ScriptedServer

IMAGE: dict[str, Any] = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
FAR: dict[str, Any] = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
FAR_PDF: dict[str, Any] = {"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}}
TOOL: dict[str, Any] = {"name": "f", "input_schema": {"type": "object"}}
USE: dict[str, Any] = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
HOUR = {"type": "ephemeral", "ttl": "1h"}
TEXT: dict[str, Any] = {"type": "text", "text": "a"}


def user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def delta(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def test_a_request_says_what_billing_counts_and_what_other_protocols_are_sent() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}}
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Notes."}}
    messages = [
        {"role": "user", "content": [TEXT, IMAGE, pdf, plain]},
        {"role": "assistant", "content": "Well."},
        {"role": "user", "content": "So?"},
    ]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}, TEXT]
    body = request("anthropic", messages=messages, system=system, stop_sequences=["x"], top_p=None, metadata={})
    asked = WIRE.asked(body)
    files = (
        Attachment("file-1.png", "image/png", b64decode(PIXEL)),
        Attachment("file-2.pdf", "application/pdf", b"%PDF"),
    )
    assert asked.messages == (
        ChatMessage("user", "a\n\nNotes.", files),
        ChatMessage("assistant", "Well."),
        ChatMessage("user", "So?"),
    )
    assert asked.system == "Be brief.\n\na"
    assert asked.options == {"max_tokens": 100, "stop": ["x"]}
    assert (asked.model_name, asked.stream, asked.native_only) == ("m", True, None)
    assert not {"metadata", "top_p"} & asked.body.keys()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"speed": "fast"}, "speed"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"messages": [{"role": "system", "content": [IMAGE]}]}, "messages[0].content[0].type"),
        ({"messages": []}, "messages"),
        ({"system": 5}, "system"),
        ({"system": [IMAGE]}, "system[0].type"),
        ({"system": [{**TEXT, "cache_control": HOUR}]}, "system[0].cache_control.ttl"),
        ({"cache_control": HOUR}, "cache_control.ttl"),
        ({"tools": [{**TOOL, "cache_control": HOUR}]}, "tools[0].cache_control.ttl"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{**TOOL, "allowed_callers": ["code_execution_20250825"]}]}, "tools[0].allowed_callers[0]"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"output_config": {"task_budget": {}}}, "output_config.task_budget"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": "n"}]}, "messages[0].name"),
        (user({"type": "container_upload", "file_id": "f"}), "messages[0].content[0].type"),
        (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), "messages[0].content[0].source.type"),
        (user({"type": "image", "source": {"type": "url", "url": "http://a"}}), "messages[0].content[0].source.url"),
        (user({"type": "image", "source": {**IMAGE["source"], "data": "?"}}), "messages[0].content[0].source.data"),
        (
            user({"type": "image", "source": {**IMAGE["source"], "media_type": "a/b"}}),
            "messages[0].content[0].source.media_type",
        ),
        (user({**TEXT, "cache_control": HOUR}), "messages[0].content[0].cache_control.ttl"),
        (user({**TEXT, "extra": 1}), "messages[0].content[0].extra"),
        (user({"type": "tool_result", "content": "x"}), "messages[0].content[0].tool_use_id"),
        (user({"type": "tool_result", "tool_use_id": "t", "content": [USE]}), "messages[0].content[0].content[0].type"),
        (user({**USE, "caller": {"type": "code_execution_20250825"}}), "messages[0].content[0].caller.type"),
    ],
)
def test_what_is_malformed_or_not_priced_by_tokens_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        WIRE.asked(request("anthropic", **fields))
    assert (refused.value.http_status, refused.value.param) == (400, param)
    assert param in refused.value.message


@pytest.mark.parametrize("missing", ["model", "messages", "max_tokens"])
def test_a_request_without_what_it_needs_is_refused(missing: str) -> None:
    body = {name: value for name, value in request("anthropic").items() if name != missing}
    with pytest.raises(BadRequest, match=f"{missing} is missing"):
        WIRE.asked(body)


@pytest.mark.parametrize(
    ("fields", "native_only"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, "thinking"),
        ({"top_k": 5}, "top_k"),
        ({"output_config": {"effort": "low"}}, "output_config"),
        ({"cache_control": {"type": "ephemeral"}, "temperature": 1}, None),
        (user(TEXT, IMAGE), None),
        (user(TEXT, FAR), "messages[0].content[1].source"),
        (user(USE), "messages[0].content[0].type"),
        (user({"type": "tool_result", "tool_use_id": "t"}), "messages[0].content[0].type"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}]}]},
            None,
        ),
    ],
)
def test_a_request_names_what_no_other_protocol_can_say(fields: dict[str, Any], native_only: str | None) -> None:
    assert WIRE.asked(request("anthropic", **fields)).native_only == native_only


def test_an_answer_given_back_by_the_official_client_is_taken() -> None:
    answer = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
    content = [{"type": "thinking", "thinking": "x", "signature": "s"}, TEXT, USE]
    message = anthropic.types.Message.model_validate(
        {**answer, "content": content, "usage": {"input_tokens": 1, "output_tokens": 1}}
    )
    blocks = [block.model_dump() for block in message.content]
    asked = WIRE.asked(request("anthropic", messages=[{"role": "assistant", "content": blocks}]))
    assert asked.messages == (ChatMessage("assistant", "a"),)


def test_instructions_in_the_middle_of_a_conversation_are_taken() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "system", "content": [TEXT]}]
    asked = WIRE.asked(request("anthropic", system="Be brief.", messages=messages))
    assert (asked.system, asked.messages) == ("Be brief.\n\na", (ChatMessage("user", "hi"),))


def test_files_at_an_address_count_as_the_largest_of_their_kind() -> None:
    [message] = WIRE.asked(request("anthropic", **user(FAR, FAR_PDF))).messages
    assert [(file.kind, file.content) for file in message.attachments] == [("image", b""), ("pdf", b"")]


CITED = {"type": "document", "source": {"type": "text", "data": "a"}, "citations": {"enabled": True}}


@pytest.mark.parametrize(
    ("fields", "least"),
    [
        ({}, 0),
        ({"tools": [TOOL]}, 900),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, 400),
        ({"thinking": {"type": "adaptive"}}, 60),
        (user(CITED), 600),
        (user(USE, {"type": "tool_result", "tool_use_id": "t"}), 24),
    ],
)
def test_what_anthropic_itself_tells_the_model_is_counted(fields: dict[str, Any], least: int) -> None:
    added = WIRE.asked(request("anthropic", **fields)).other_input.count(" word")
    assert least <= added <= least + 20


@pytest.mark.parametrize("name", ["title", "context", "citations"])
def test_what_goes_with_a_document_needs_its_own_protocol(name: str) -> None:
    document = {**CITED, "title": "a", "context": "b"}
    kept = {key: value for key, value in document.items() if key in ("type", "source", name)}
    assert WIRE.asked(request("anthropic", **user(kept))).native_only == f"messages[0].content[0].{name}"


@pytest.mark.parametrize(("output_limit", "sent"), [(None, 100), (70, 70), (500, 100)])
def test_a_provider_is_sent_the_longest_answer_that_is_paid_for(output_limit: int | None, sent: int) -> None:
    assert WIRE.native_body(WIRE.asked(request("anthropic")), MODEL, output_limit)["max_tokens"] == sent


@pytest.mark.parametrize(("limit", "budget"), [(None, 8000), (9000, 8000), (8000, 4000), (1500, 1024), (1000, 8000)])
def test_a_shorter_answer_leaves_less_to_think_with(limit: int | None, budget: int) -> None:
    thinking = {"type": "enabled", "budget_tokens": 8000}
    asked = WIRE.asked(request("anthropic", max_tokens=20_000, thinking=thinking))
    assert WIRE.native_body(asked, MODEL, limit)["thinking"] == {"type": "enabled", "budget_tokens": budget}


def test_a_provider_is_sent_all_else_as_it_came() -> None:
    fields: dict[str, Any] = {"tools": [TOOL], "temperature": 1, "top_k": 3, "service_tier": "auto", "system": [TEXT]}
    asked = WIRE.asked(request("anthropic", **fields))
    sent = request("anthropic", **fields) | {"model": "wire-name", "service_tier": "standard_only"}
    assert WIRE.native_body(asked, MODEL, None) == sent
    thinker = WIRE.native_body(asked, replace(MODEL, takes_sampling=False), None)
    assert sent.keys() - thinker.keys() == {"temperature", "top_k"}


def test_usage_and_the_end_wait_for_what_the_call_came_to() -> None:
    reader = tap("anthropic")
    script = Script(deltas=[{"reasoning": "Hm."}, "Hi"], finish="length", usage={"input": 12, "output": 7, "cached": 4})
    passed = said(reader.feed(stream_of("anthropic", script)))
    assert [event["type"] for event in passed] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    ]
    assert passed[0]["message"]["id"] == f"msg_{REQUEST_ID}"
    assert reader.finished == Finished("length", "scripted-1", "m")
    assert reader.tokens is not None
    assert (reader.tokens.input_tokens, reader.tokens.cached_tokens, reader.tokens.output_tokens) == (12, 4, 7)
    last, stop = said(reader.end(TOTALS))
    assert last["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert last["usage"] == {"output_tokens": 7, "cost": 0.0025, "credits_charged": 25_000, "credits_left": 975_000}
    assert stop == {"type": "message_stop"}


def test_what_a_provider_tells_at_the_end_in_two_events_is_told_in_one() -> None:
    reader = tap("anthropic")
    first = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}, "more": 1}
    reader.feed(sse(first, {"type": "message_delta", "usage": {"input_tokens": 8}}))
    last = said(reader.end(TOTALS))[0]
    assert (last["delta"], last["more"]) == ({"stop_reason": "end_turn"}, 1)
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (8, 7)
    assert reader.tokens is not None
    assert (reader.tokens.input_tokens, reader.tokens.output_tokens) == (8, 3)


def test_usage_that_a_provider_did_not_tell_is_ours() -> None:
    reader = tap("anthropic")
    reader.feed(sse(delta("Hi"), {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}))
    usage = said(reader.end(TOTALS))[0]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (5, 4, 7)


def test_an_answer_that_is_not_counted_at_its_end_is_counted_by_what_arrived() -> None:
    reader = tap("anthropic")
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}}
    reader.feed(sse(start, delta("some words " * 20), {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}))
    assert reader.tokens is not None
    assert (reader.tokens.input_tokens, reader.tokens.output_tokens) == (9, reader.output_tokens)
    assert reader.output_tokens > 40


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("tool_use", "tool_calls"), ("refusal", "refusal"), (None, None)],
)
def test_an_answer_has_ended_where_the_provider_said_why(theirs: str | None, ours: str | None) -> None:
    reader = tap("anthropic")
    reader.feed(sse(delta("Hi"), {"type": "message_delta", "delta": {"stop_reason": theirs}, "usage": {}}))
    assert (reader.finished and reader.finished.reason) == ours


def test_all_that_a_model_writes_is_read() -> None:
    reader = tap("anthropic")
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    parts = [{"type": "input_json_delta", "partial_json": '{"a"'}, {"type": "thinking_delta", "thinking": "B"}]
    events = [{"type": "content_block_start", "index": 0, "content_block": block}]
    events += [{"type": "content_block_delta", "index": 0, "delta": part} for part in parts]
    assert len(said(reader.feed(sse(*events)))) == 3
    assert reader.text == 'f{"a"B'


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error", "message": "busy"}, ProviderUnavailable),
        ({"type": "rate_limit_error", "message": "slow down"}, RateLimited),
        ({"type": "authentication_error", "message": "bad key"}, KeyRejected),
        ({"type": "invalid_request_error", "message": "prompt is too long"}, ContextTooLong),
    ],
)
def test_an_error_of_the_provider_comes_after_what_it_had_said(error: Any, kind: type[Exception]) -> None:
    reader = tap("anthropic")
    with pytest.raises(kind):
        reader.feed(sse(delta("A"), {"type": "error", "error": error}, delta("B")))
    assert said(reader.unsent) == [delta("A")]
    assert (reader.text, reader.finished) == ("A", None)
    with pytest.raises(kind):
        tap("anthropic", stream=False).whole(json.dumps({"type": "error", "error": error}).encode())


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"{}", b'{"type": "other"}'])
def test_what_is_no_answer_is_said_so(body: bytes) -> None:
    with pytest.raises(BadResponse):
        tap("anthropic", stream=False).whole(body)


def test_a_whole_answer_is_passed_on_with_what_it_came_to() -> None:
    reader = tap("anthropic", stream=False)
    script = Script(deltas=[{"reasoning": "Hm."}, "Hi"], finish="length", usage={"input": 12, "output": 7, "cached": 4})
    answer = whole_answer("anthropic", script, {"model": "served"})
    answer["content"].append({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}})
    reader.whole(json.dumps(answer).encode())
    assert (reader.text, reader.finished) == ('Hm.Hif{"a": 1}', Finished("length", "scripted-1", "served"))
    told = reader.whole_answer(TOTALS)
    assert told["content"] == answer["content"]
    assert told["id"] == f"msg_{REQUEST_ID}"
    assert told["usage"] == answer["usage"] | {"cost": 0.0025, "credits_charged": 25_000, "credits_left": 975_000}


EVENTS: list[ProviderEvent] = [
    Notice("not for clients"),
    ReasoningDelta("Hm."),
    TextDelta("Hé"),
    TextDelta('"llo"\n'),
    Usage(TokenUsage(12, 7, 4, 3)),
    Finished("length", "theirs", "served"),
]


@pytest.mark.parametrize("way", ["passed on", "said anew"])
def test_the_official_client_reads_a_stream(server: ScriptedServer, way: str) -> None:
    if way == "passed on":
        reader = tap("anthropic")
        script = Script(deltas=[{"reasoning": "Hm."}, "Hé", '"llo"\n'], finish="length")
        data = reader.feed(stream_of("anthropic", script)) + reader.end(TOTALS)
    else:
        encoder = WIRE.encoder(WIRE.asked(request("anthropic")), MODEL, REQUEST_ID)
        data = b"".join(map(encoder.event, EVENTS)) + encoder.end(TOTALS)
    server.script = Script(body=data.decode(), content_type="text/event-stream")
    client = anthropic.Anthropic(api_key="k", base_url=server.anthropic_url, max_retries=0)
    with (
        client,
        client.messages.stream(model="m", max_tokens=100, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        kinds = {event.type for event in stream}
        answer = stream.get_final_message()
    assert {"thinking", "text", "message_stop"} <= kinds
    assert (answer.id, answer.role, answer.stop_reason) == (f"msg_{REQUEST_ID}", "assistant", "max_tokens")
    thought, text = answer.content
    assert (thought.type, getattr(thought, "thinking", None)) == ("thinking", "Hm.")
    assert (text.type, getattr(text, "text", None)) == ("text", 'Hé"llo"\n')
    assert answer.usage.output_tokens == (5 if way == "passed on" else 7)
    assert answer.usage.input_tokens == (10 if way == "passed on" else 5)


def test_the_official_client_is_told_what_a_stream_came_to(server: ScriptedServer) -> None:
    encoder = WIRE.encoder(WIRE.asked(request("anthropic")), MODEL, REQUEST_ID)
    data = b"".join(map(encoder.event, EVENTS)) + encoder.end(TOTALS)
    server.script = Script(body=data.decode(), content_type="text/event-stream")
    with anthropic.Anthropic(api_key="k", base_url=server.anthropic_url, max_retries=0) as client:
        stream = client.messages.create(
            model="m", max_tokens=100, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        [last] = [event for event in stream if event.type == "message_delta"]
    assert (last.usage.model_extra or {})["credits_left"] == 975_000
    assert (last.usage.input_tokens, last.usage.cache_read_input_tokens) == (5, 4)
    assert last.usage.cache_creation_input_tokens == 3


def test_the_official_client_reads_an_error_in_the_middle_of_a_stream(server: ScriptedServer) -> None:
    error = WIRE.error_event(RateLimited("They are busy.", retry_after=3), REQUEST_ID)
    start = stream_of("anthropic", Script(text="A", finish=None, done=False))
    server.script = Script(body=(start + error).decode(), content_type="text/event-stream")
    with anthropic.Anthropic(api_key="k", base_url=server.anthropic_url, max_retries=0) as client:
        stream = client.messages.create(
            model="m", max_tokens=100, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        with pytest.raises(anthropic.APIStatusError, match="They are busy"):
            list(stream)


def test_a_whole_answer_said_anew_has_all_its_parts() -> None:
    encoder = WIRE.encoder(WIRE.asked(request("anthropic", stream=False)), MODEL, REQUEST_ID)
    assert not any(map(encoder.event, EVENTS))
    answer = anthropic.types.Message.model_validate(encoder.whole_answer(TOTALS))
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.stop_reason == "max_tokens"
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (5, 4, 7)
    assert encoder.output_tokens == 4


def test_an_answer_of_nothing_is_a_message_without_blocks() -> None:
    encoder = WIRE.encoder(WIRE.asked(request("anthropic")), MODEL, REQUEST_ID)
    events = said(encoder.event(Finished("stop")) + encoder.end(TOTALS))
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stop", "end_turn"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        ("refusal", "refusal"),
        ("odd", "end_turn"),
    ],
)
def test_reasons_are_said_in_words_the_client_knows(ours: str, theirs: str) -> None:
    encoder = WIRE.encoder(WIRE.asked(request("anthropic")), MODEL, REQUEST_ID)
    encoder.event(Finished(ours))
    assert said(encoder.end(None))[0]["delta"]["stop_reason"] == theirs
