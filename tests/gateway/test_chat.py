"""Answers through the gateway, as the official clients see them, and what they cost."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import anthropic
import httpx
import openai
import pytest

from aichat_cli.core.money import TokenUsage, cost_nano
from aichat_cli.providers import tokens
from tests.gateway.asking import HELLO, anthropic_of, money, openai_of, settled, used
from tests.servers.gateway import PROVIDER_KEY, RunningGateway
from tests.servers.scripted import ScriptedServer

OPENAI, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
MODELS = pytest.mark.parametrize("model", [OPENAI, CLAUDE])
LONG = {"deltas": ["Hel", "lo ", "Jürgen 👋"], "usage": {"input": 300_000, "output": 200_000, "cached": 100_000}}


def price_of(gateway: RunningGateway, model: str, **counts: int) -> int:
    price = gateway.deps.house.registry.resolve(model).price
    assert price is not None
    return cost_nano(TokenUsage(counts["input"], counts["output"], counts.get("cached", 0)), price)


def test_a_stream_of_openais_is_the_answer_with_what_it_cost(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = LONG
    client = openai_of(gateway, gateway.key("olga", credits_=1000))
    asked: Any = {"model": OPENAI, "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**asked))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello Jürgen 👋"
    told: Any = chunks[-1].usage
    cost = price_of(gateway, OPENAI, input=300_000, output=200_000, cached=100_000)
    assert told.cost == cost / 1e9
    assert told.prompt_tokens == 300_000
    [call] = used(gateway, "olga")
    assert (call.cost_nano, call.status, call.provenance) == (cost, "complete", "calculated")
    charged = -(-cost // 10_000_000)
    assert (told.credits_charged, told.credits_left) == (charged, 1100 - charged)
    assert money(gateway, "olga") == (1100 - charged, 0)


def test_a_stream_of_anthropics_is_the_answer_with_what_it_cost(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    provider.script = LONG
    client = anthropic_of(gateway, gateway.key("anton", credits_=1000))
    with client.messages.stream(model=CLAUDE, max_tokens=1000, messages=HELLO) as stream:
        answer: Any = stream.get_final_message()
    assert answer.content[0].text == "Hello Jürgen 👋"
    assert answer.stop_reason == "end_turn"
    [call] = used(gateway, "anton")
    cost = price_of(gateway, CLAUDE, input=300_000, output=200_000, cached=100_000)
    assert call.cost_nano == cost
    assert money(gateway, "anton").balance == 1100 - -(-cost // 10_000_000)


@MODELS
def test_either_client_gets_a_whole_answer_from_either_provider(
    gateway: RunningGateway, provider: ScriptedServer, model: str
) -> None:
    provider.script = {"text": "Four.", "usage": {"input": 12, "output": 3}}
    key = gateway.key("wilma")
    before = money(gateway, "wilma").balance
    of_openai: Any = openai_of(gateway, key).chat.completions.create(model=model, messages=HELLO)
    of_anthropic: Any = anthropic_of(gateway, key).messages.create(model=model, max_tokens=50, messages=HELLO)
    assert of_openai.choices[0].message.content == of_anthropic.content[0].text == "Four."
    assert (of_openai.usage.prompt_tokens, of_openai.usage.completion_tokens) == (12, 3)
    assert (of_anthropic.usage.input_tokens, of_anthropic.usage.output_tokens) == (12, 3)
    assert of_anthropic.usage.credits_charged == 1
    assert of_anthropic.usage.cost == price_of(gateway, model, input=12, output=3) / 1e9
    assert money(gateway, "wilma") == (before - 2, 0)


@MODELS
def test_either_client_streams_from_either_provider(
    gateway: RunningGateway, provider: ScriptedServer, model: str
) -> None:
    provider.script = {"deltas": ["One", " two"], "usage": {"input": 12, "output": 3}}
    key = gateway.key("sina")
    chunks = openai_of(gateway, key).chat.completions.create(model=model, messages=HELLO, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    with anthropic_of(gateway, key).messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == text == "One two"
    assert [call[2:4] for call in used(gateway, "sina")[-2:]] == [(12, 3), (12, 3)]


def test_the_provider_is_asked_with_the_operators_key_and_for_its_count(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    client = openai_of(gateway, gateway.key("paul"))
    list(client.chat.completions.create(model=OPENAI, messages=HELLO, stream=True, temperature=0.5))
    [request] = provider.requests
    assert request.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert request.body["stream_options"] == {"include_usage": True}
    assert request.body["temperature"] == 0.5


def test_tools_pass_through_as_they_are(gateway: RunningGateway, provider: ScriptedServer) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    delta = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": OPENAI, "choices": [delta]}
    provider.script = {"deltas": [{"data": chunk}], "finish": "tool_calls"}
    tool: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    client = openai_of(gateway, gateway.key("tina"))
    chunks: Any = list(
        client.chat.completions.create(model=OPENAI, messages=HELLO, stream=True, tools=[tool], tool_choice="auto")
    )
    [called] = [
        each.choices[0].delta.tool_calls for each in chunks if each.choices and each.choices[0].delta.tool_calls
    ]
    assert called[0].function.arguments == '{"a":1}'
    assert provider.requests[0].body["tools"] == [tool]


def test_tools_are_refused_where_the_model_is_served_in_another_protocol(gateway: RunningGateway) -> None:
    tool: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    client = openai_of(gateway, gateway.key("tom"))
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=CLAUDE, messages=HELLO, tools=[tool])
    assert refused.value.param == "tools"
    assert used(gateway, "tom") == []


def test_several_answers_at_once_are_passed_on_and_paid_for(gateway: RunningGateway, provider: ScriptedServer) -> None:
    base = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": OPENAI}
    choices = [{"index": 1, "delta": {"content": "B"}, "finish_reason": None}]
    ended = [{"index": 1, "delta": {}, "finish_reason": "stop"}]
    provider.script = {
        "deltas": ["A", {"data": {**base, "choices": choices}}, {"data": {**base, "choices": ended}}],
        "usage": {"input": 5, "output": 2},
    }
    client = openai_of(gateway, gateway.key("nina"))
    chunks = list(client.chat.completions.create(model=OPENAI, messages=HELLO, n=2, stream=True))
    said = {
        (choice.index, choice.delta.content) for chunk in chunks for choice in chunk.choices if choice.delta.content
    }
    assert said == {(0, "A"), (1, "B")}
    assert provider.requests[0].body["n"] == 2
    assert used(gateway, "nina")[0].output_tokens == 2


def test_where_the_provider_does_not_count_we_do(gateway: RunningGateway, provider: ScriptedServer) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 20
    provider.script = {"text": text, "split": 50, "usage": None}
    client = openai_of(gateway, gateway.key("uma"))
    list(client.chat.completions.create(model=OPENAI, messages=HELLO, stream=True))
    [call] = used(gateway, "uma")
    resolved = gateway.deps.house.registry.resolve(OPENAI)
    assert call.provenance == "estimated"
    assert call.output_tokens == tokens.count(text, resolved)


def test_a_client_that_does_not_ask_for_usage_is_charged_all_the_same(gateway: RunningGateway) -> None:
    client = openai_of(gateway, gateway.key("ulf"))
    chunks = list(client.chat.completions.create(model=OPENAI, messages=HELLO, stream=True))
    assert all(chunk.usage is None for chunk in chunks)
    assert money(gateway, "ulf") == (99, 0)


def test_every_answer_tells_its_id_and_what_is_left_of_the_window(gateway: RunningGateway) -> None:
    client = openai_of(gateway, gateway.key("ida", plan="pro"))
    answer = client.chat.completions.with_raw_response.create(model=OPENAI, messages=HELLO)
    assert answer.headers["x-ratelimit-limit"] == "200"
    assert answer.headers["x-ratelimit-remaining"] == "199"
    assert int(answer.headers["x-ratelimit-reset"]) > 1_700_000_000
    assert answer.headers["cache-control"] == "no-store"
    assert [call.request_id for call in used(gateway, "ida")] == [answer.headers["x-request-id"]]


def test_a_call_is_made_once_under_the_id_its_caller_gives(gateway: RunningGateway, provider: ScriptedServer) -> None:
    client = openai_of(gateway, gateway.key("kim"))
    named = {"X-Aichat-Request-Id": str(uuid4())}
    client.chat.completions.create(model=OPENAI, messages=HELLO, extra_headers=named)
    with pytest.raises(openai.ConflictError):
        client.chat.completions.create(model=OPENAI, messages=HELLO, extra_headers=named)
    assert [call.request_id for call in used(gateway, "kim")] == [named["X-Aichat-Request-Id"]]
    assert len(provider.requests) == 1
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=OPENAI, messages=HELLO, extra_headers={"X-Aichat-Request-Id": "7"})


def test_the_longest_answer_that_is_paid_for_is_sent_along(gateway: RunningGateway, provider: ScriptedServer) -> None:
    client = anthropic_of(gateway, gateway.key("lea"))
    client.messages.create(model=OPENAI, max_tokens=77, messages=HELLO)
    assert provider.requests[0].body["max_completion_tokens"] == 77


def test_a_long_prompt_is_counted_while_others_are_answered(gateway: RunningGateway, provider: ScriptedServer) -> None:
    long: Any = [{"role": "user", "content": "many words " * 20_000}]
    client = openai_of(gateway, gateway.key("lars"))
    client.chat.completions.create(model=OPENAI, messages=long)
    assert len(provider.requests[0].body["messages"][0]["content"]) == 220_000
    assert settled(gateway, "lars").balance < 100


def test_a_provider_that_answers_a_stream_in_one_object_is_streamed(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    provider.script = {"text": "All at once.", "json": True}
    client = openai_of(gateway, gateway.key("jo"))
    chunks = client.chat.completions.create(model=OPENAI, messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "All at once."
    assert used(gateway, "jo")[0].output_tokens == 5


def test_connections_to_a_provider_are_kept(gateway: RunningGateway, provider: ScriptedServer) -> None:
    client = openai_of(gateway, gateway.key("conny"))
    for _ in range(3):
        list(client.chat.completions.create(model=OPENAI, messages=HELLO, stream=True))
    assert len({request.connection for request in provider.requests}) == 1


def test_a_connection_is_kept_also_where_its_end_is_late(gateway: RunningGateway, provider: ScriptedServer) -> None:
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    last = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": OPENAI, "choices": [choice]}
    late = ["Hi", {"data": last}, {"raw": "data: [DONE]\n\n"}, {"sleep": 0.05}]
    provider.script = {"deltas": late, "finish": None, "usage": None, "done": False}
    client = openai_of(gateway, gateway.key("lena"))
    for _ in range(2):
        list(client.chat.completions.create(model=OPENAI, messages=HELLO, stream=True))
        time.sleep(0.15)
    assert len({request.connection for request in provider.requests}) == 1


def test_what_is_no_request_is_refused_in_the_clients_shape(gateway: RunningGateway) -> None:
    headers = {"Authorization": f"Bearer {gateway.key('mia')}"}
    for path in ("/v1/chat/completions", "/v1/messages"):
        answer = httpx.post(f"{gateway.url}{path}", headers=headers, content=b"[1, 2", trust_env=False)
        assert answer.status_code == 400
        assert ("type" in answer.json()) is (path == "/v1/messages")
    with pytest.raises(anthropic.BadRequestError):
        anthropic_of(gateway, gateway.key("mia")).messages.create(model=CLAUDE, max_tokens=0, messages=HELLO)
