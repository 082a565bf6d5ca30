"""Vectors over HTTP: ours and litellm's give the same, errors are a chat's, and a failed call says what it may have cost."""

from __future__ import annotations

import struct
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
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    TimedOut,
)
from aichat_cli.core.models import Model
from aichat_cli.core.struct import replace
from aichat_cli.providers.base import EmbeddingRequest, Timeouts
from aichat_cli.providers.embeddings import EmbeddingAttempt, EmbeddingClient, EmbeddingResponse
from tests.providers.calls import KEY, QUICK
from tests.servers.script import embedding_of
from tests.servers.scripted import ScriptedServer

pytestmark = pytest.mark.xdist_group("litellm")

TEXTS = ("one", "two words", "drei")


def request_to(server: ScriptedServer, **changes: Any) -> EmbeddingRequest:
    model = Model("friendly", "m-1", "openai", "openai", base_url=server.openai_url, key_name="openai")
    return replace(EmbeddingRequest(model, TEXTS, KEY, QUICK), **changes)


def attempt(request: EmbeddingRequest) -> EmbeddingAttempt:
    with closing(EmbeddingClient()) as client:
        return client.attempt(request)


def response(request: EmbeddingRequest) -> EmbeddingResponse:
    found = attempt(request)
    assert found.response is not None, found.error
    return found.response


def numbers(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


def through_litellm(request: EmbeddingRequest) -> EmbeddingRequest:
    return replace(request, model=replace(request.model, wire="litellm", wire_name="openai/m-1"))


@pytest.mark.parametrize("form", ["base64", "float"])
def test_vectors_come_in_the_order_of_the_texts_and_usage_is_the_providers(server: ScriptedServer, form: str) -> None:
    server.script = {"usage": {"input": 17}, "model": "served-1", "embeddings": {"format": form}}
    found = response(request_to(server))
    assert [numbers(vector) for vector in found.vectors] == [embedding_of(text) for text in TEXTS]
    assert found.tokens is not None
    assert (found.tokens.input_tokens, found.tokens.output_tokens, found.served_model) == (17, 0, "served-1")
    [sent] = server.requests
    assert sent.path == "/v1/embeddings"
    assert sent.body == {"model": "m-1", "input": list(TEXTS), "encoding_format": "base64"}
    assert sent.headers["authorization"] == f"Bearer {KEY.reveal()}"


def test_a_client_keeps_its_connection(server: ScriptedServer) -> None:
    with closing(EmbeddingClient()) as client:
        for _ in range(3):
            assert client.attempt(request_to(server)).error is None
    assert server.connections == 1


def test_an_endpoint_that_does_not_know_base64_is_asked_without_and_remembered(server: ScriptedServer) -> None:
    refusal = {"status": 400, "error": {"message": "Unknown field: encoding_format"}}
    server.script = [refusal, {}, {}]
    with closing(EmbeddingClient()) as client:
        assert client.attempt(request_to(server)).error is None
        assert client.attempt(request_to(server)).error is None
    assert ["encoding_format" in sent.body for sent in server.requests] == [True, False, False]


def test_no_count_is_no_usage(server: ScriptedServer) -> None:
    server.script = {"usage": None}
    assert response(request_to(server)).tokens is None


FAILURES: dict[str, tuple[dict[str, Any], type[AichatError], bool]] = {
    "a refused key": ({"status": 401}, KeyRejected, False),
    "too many requests": ({"status": 429, "headers": {"Retry-After": "7"}}, RateLimited, False),
    "a server error": ({"status": 503}, ProviderUnavailable, False),
    "no such model": ({"status": 404}, ModelNotFound, False),
    "a bad request": ({"status": 400}, RequestRejected, False),
    "a text too long": ({"status": 400, "error": {"message": "maximum context length is 8192"}}, ContextTooLong, False),
    "a closed connection": ({"cut_after_bytes": 0}, ConnectFailed, False),
    "an answer that breaks off": ({"cut_in_body": 40}, ConnectFailed, True),
    "a page": ({"body": "<html>It works!</html>"}, BadResponse, True),
    "another object": ({"body": {"hello": "world"}}, BadResponse, True),
    "a vector of words": ({"body": {"data": [{"index": 0, "embedding": ["a", "b"]}]}}, BadResponse, True),
    "a vector cut short": ({"body": {"data": [{"index": 0, "embedding": "AAAAAAA="}]}}, BadResponse, True),
    "an error with status 200": ({"body": {"error": {"message": "x", "code": 429}}}, RateLimited, True),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_errors_are_those_of_a_chat_and_tell_whether_it_may_be_billed(server: ScriptedServer, failure: str) -> None:
    script, error, is_billed = FAILURES[failure]
    server.script = script
    found = attempt(request_to(server))
    assert type(found.error) is error
    assert found.response is None
    assert found.is_billed is is_billed
    assert KEY.reveal() not in str(found.error)


def test_a_rate_limit_says_when_to_try_again_and_a_long_text_what_to_change(server: ScriptedServer) -> None:
    server.script = [FAILURES["too many requests"][0], FAILURES["a text too long"][0]]
    limited, long = attempt(request_to(server)).error, attempt(request_to(server)).error
    assert isinstance(limited, RateLimited)
    assert limited.retry_after == 7
    assert long is not None
    assert long.message.startswith("A text is too long for friendly")
    assert long.hint == "Use smaller chunks: aichat config set documents.chunk_tokens 256"


def test_a_silent_server_may_have_billed(server: ScriptedServer) -> None:
    server.script = {"stall_after": -1}
    found = attempt(request_to(server, timeouts=Timeouts(connect=5, first_byte=0.1, idle=0.1)))
    assert isinstance(found.error, TimedOut)
    assert found.is_billed


@pytest.mark.parametrize(
    "script",
    [{"usage": {"input": 17}}, {"embeddings": {"format": "float", "dimensions": 3}}, {"embeddings": {"count": 2}}],
    ids=str,
)
def test_litellm_gives_the_same_vectors_and_tokens(server: ScriptedServer, script: dict[str, Any]) -> None:
    server.script = script
    direct, bridged = response(request_to(server)), response(through_litellm(request_to(server)))
    assert bridged.vectors == direct.vectors
    assert bridged.tokens is not None
    assert direct.tokens is not None
    assert bridged.tokens.input_tokens == direct.tokens.input_tokens


@pytest.mark.parametrize(
    "failure", ["a refused key", "too many requests", "a server error", "no such model", "a bad request"]
)
def test_litellm_gives_the_same_errors(server: ScriptedServer, failure: str) -> None:
    server.script, error, _ = FAILURES[failure]
    found = attempt(through_litellm(request_to(server)))
    assert type(found.error) is error
    if isinstance(found.error, RateLimited):
        assert found.error.retry_after == 7
    assert len(server.requests) == 1


def test_litellm_tells_providers_which_text_is_a_question(server: ScriptedServer) -> None:
    model = Model("voyage/v", "voyage/v", "voyage", "litellm", base_url=server.openai_url, key_name="voyage")
    for is_query in (False, True):
        assert attempt(request_to(server, model=model, is_query=is_query)).error is None
    assert [sent.body["input_type"] for sent in server.requests] == ["document", "query"]
