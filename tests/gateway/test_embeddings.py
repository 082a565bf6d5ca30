"""Vectors through the gateway."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway.asking import money, openai_of, settled, used
from tests.servers.gateway import PROVIDER_KEY, RunningGateway
from tests.servers.script import embedding_of
from tests.servers.scripted import ScriptedServer

SMALL = "text-embedding-3-small"


@pytest.mark.parametrize("form", ["float", "base64"])
def test_vectors_come_in_the_order_of_their_texts_and_are_charged(
    gateway: RunningGateway, provider: ScriptedServer, form: Any
) -> None:
    provider.script = {"usage": {"input": 1_000_000}}
    client = openai_of(gateway, gateway.key(f"ella-{form}"))
    answer: Any = client.embeddings.create(model=SMALL, input=["one text", "another"], encoding_format=form)
    if form == "float":
        assert [each.embedding for each in answer.data] == [embedding_of("one text"), embedding_of("another")]
    assert [each.index for each in answer.data] == [0, 1]
    assert (answer.usage.prompt_tokens, answer.usage.cost, answer.usage.credits_charged) == (1_000_000, 0.02, 2)
    assert answer.usage.credits_left == 98
    assert used(gateway, f"ella-{form}")[0][2:6] == (1_000_000, 0, 20_000_000, "complete")
    assert money(gateway, f"ella-{form}") == (98, 0)


def test_the_official_client_unpacks_what_it_asks_for_packed(gateway: RunningGateway) -> None:
    answer = openai_of(gateway, gateway.key("finn")).embeddings.create(model=SMALL, input="some text")
    assert answer.data[0].embedding == embedding_of("some text")


def test_tokens_and_dimensions_are_passed_on(gateway: RunningGateway, provider: ScriptedServer) -> None:
    client = openai_of(gateway, gateway.key("greta"))
    client.embeddings.create(model=SMALL, input="a", dimensions=256)
    assert provider.requests[0].body["dimensions"] == 256
    data = [{"index": 0, "embedding": [1.0, 2.0]}]
    provider.script = {"body": {"data": data, "usage": {"prompt_tokens": 3}}}
    answer = client.embeddings.create(model=SMALL, input=[1, 2, 3], encoding_format="float")
    assert provider.requests[1].body["input"] == [[1, 2, 3]]
    assert answer.data[0].embedding == [1.0, 2.0]


@pytest.mark.parametrize("given", ["", [], [""], [[]], [1, "a"], ["a", 1], {"a": 1}, None, [-1], [[1], "a"], [True]])
def test_what_is_no_text_is_refused_by_name(gateway: RunningGateway, provider: ScriptedServer, given: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        openai_of(gateway, gateway.key("hugo")).embeddings.create(model=SMALL, input=given)
    assert (refused.value.param or "").startswith("input")
    assert provider.requests == []


def test_a_chat_model_makes_no_vectors(gateway: RunningGateway) -> None:
    client = openai_of(gateway, gateway.key("ivo"))
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="claude-haiku-4-5", input="a")


def test_a_key_for_chats_makes_no_vectors(gateway: RunningGateway) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        openai_of(gateway, gateway.key("jana", scopes=("chat",))).embeddings.create(model=SMALL, input="a")


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ({"status": 401, "error": {"message": f"bad key {PROVIDER_KEY}"}}, 502),
        ({"status": 429, "headers": {"Retry-After": "90"}}, 503),
        ({"status": 400, "error": {"message": "maximum context length is 8192 tokens"}}, 400),
        ({"body": "<html>"}, 502),
        ({"embeddings": {"count": 1}}, 502),
    ],
)
def test_a_provider_that_fails_costs_nothing(
    gateway: RunningGateway, provider: ScriptedServer, script: dict[str, Any], status: int
) -> None:
    provider.script = script
    with pytest.raises(openai.APIStatusError) as failed:
        openai_of(gateway, gateway.key("karl")).embeddings.create(model=SMALL, input=["a", "b"])
    assert failed.value.status_code == status
    assert PROVIDER_KEY not in failed.value.response.text
    assert settled(gateway, "karl") == (100, 0)


def test_a_provider_that_knows_no_packing_is_asked_without(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = [
        {"status": 400, "error": {"message": "unknown field encoding_format"}},
        {"embeddings": {"format": "float"}},
    ]
    answer = openai_of(gateway, gateway.key("lina")).embeddings.create(model=SMALL, input="some text")
    assert answer.data[0].embedding == embedding_of("some text")
    assert "encoding_format" not in provider.requests[1].body
