"""Providers that refuse, fail, fall silent or send garbage: what the client is told, and that nothing else is charged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.gateway.asking import HELLO, anthropic_of, money, openai_of, settled, used
from tests.servers.gateway import PROVIDER_KEY, RunningGateway
from tests.servers.script import Script, anthropic_stream, openai_stream
from tests.servers.scripted import ScriptedServer

OPENAI, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
MODELS = pytest.mark.parametrize("model", [OPENAI, CLAUDE])
STREAM = pytest.mark.parametrize("stream", [True, False])
AT_ONCE = {"Retry-After": "0"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer) -> Iterator[RunningGateway]:
    times = {"AICHAT_TIMEOUTS_IDLE": "0.6", "AICHAT_TIMEOUTS_FIRST_BYTE": "0.6"}
    with RunningGateway(tmp_path_factory.mktemp("failing"), provider, environ=times) as running:
        yield running


def refused(gateway: RunningGateway, name: str, model: str, *, stream: bool = True) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as error:
        openai_of(gateway, gateway.key(name)).chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert settled(gateway, name) == (100, 0)
    assert used(gateway, name) == []
    assert PROVIDER_KEY not in error.value.response.text
    return error.value


@MODELS
@STREAM
def test_the_operators_key_that_is_refused_is_not_the_callers(
    gateway: RunningGateway, provider: ScriptedServer, model: str, *, stream: bool
) -> None:
    provider.script = {"status": 401, "error": {"message": f"Incorrect API key provided: {PROVIDER_KEY}"}}
    assert refused(gateway, f"ada-{model}-{stream}", model, stream=stream).status_code == 502


@MODELS
def test_the_operators_account_without_money_is_not_the_callers(
    gateway: RunningGateway, provider: ScriptedServer, model: str
) -> None:
    provider.script = {"status": 402, "error": {"message": "Your credit balance is too low."}}
    error = refused(gateway, f"alma-{model}", model)
    assert error.status_code == 502
    assert "Its operator has to mend that." in error.message
    assert "balance" not in error.message


@MODELS
def test_a_provider_that_limits_the_gateway_is_a_503_that_says_when(
    gateway: RunningGateway, provider: ScriptedServer, model: str
) -> None:
    provider.script = {"status": 429, "headers": {"Retry-After": "60"}}
    error = refused(gateway, f"bea-{model}", model)
    assert error.status_code == 503
    assert error.response.headers["retry-after"] == "60"
    assert error.response.headers["x-ratelimit-limit"] == "1000"
    assert len(provider.requests) == 1


def test_a_failure_that_passes_is_not_seen(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = [{"status": 500, "headers": AT_ONCE}, {"status": 429, "headers": AT_ONCE}, {"text": "At last."}]
    answer = openai_of(gateway, gateway.key("cleo")).chat.completions.create(model=OPENAI, messages=HELLO)
    assert answer.choices[0].message.content == "At last."
    assert len(used(gateway, "cleo")) == 1


def test_a_failure_that_stays_is_told_after_the_last_attempt(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"status": 500, "headers": AT_ONCE}
    assert refused(gateway, "dora", OPENAI).status_code == 503
    assert len(provider.requests) == 3


@STREAM
def test_what_the_provider_says_no_to_is_a_400(
    gateway: RunningGateway, provider: ScriptedServer, *, stream: bool
) -> None:
    provider.script = {"status": 400, "error": {"message": "temperature must be at most 2", "type": "invalid"}}
    error = refused(gateway, f"eva-{stream}", OPENAI, stream=stream)
    assert error.status_code == 400
    assert "temperature must be at most 2" in error.message
    provider.script = {"status": 400, "error": {"message": "maximum context length is 8192 tokens"}}
    assert refused(gateway, f"eva-{stream}", OPENAI, stream=stream).code == "context_too_long"


def test_a_failing_provider_is_told_in_anthropics_shape(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"status": 529, "headers": {"Retry-After": "50"}}
    with pytest.raises(anthropic.APIStatusError) as error:
        anthropic_of(gateway, gateway.key("fay")).messages.create(model=CLAUDE, max_tokens=10, messages=HELLO)
    assert error.value.status_code == 503
    body: Any = error.value.body
    assert body["error"]["type"] == "overloaded_error"
    assert money(gateway, "fay") == (100, 0)


def test_a_provider_that_never_answers_is_a_504(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"stall_after": -1}
    assert refused(gateway, "gwen", OPENAI).status_code == 504
    assert [request.client_left.wait(2) for request in provider.requests] == [True] * 3


@MODELS
def test_a_provider_that_falls_silent_is_left_and_what_came_is_paid(
    gateway: RunningGateway, provider: ScriptedServer, model: str
) -> None:
    provider.script = {"deltas": ["One ", "two "], "stall_after": 2}
    name = f"hal-{model}"
    text = ""
    with pytest.raises(openai.APIError) as error:
        for chunk in openai_of(gateway, gateway.key(name)).chat.completions.create(
            model=model, messages=HELLO, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
    assert text == "One two "
    assert error.value.code == "timed_out"
    assert provider.requests[0].client_left.wait(2)
    assert settled(gateway, name) == (99, 0)
    assert [call.status for call in used(gateway, name)] == ["failed"]


@MODELS
@pytest.mark.parametrize("body", ["<html>Sorry</html>", "", "data: nonsense\n\n", '{"object": "list"}'])
def test_what_is_not_the_protocol_is_a_502(
    gateway: RunningGateway, provider: ScriptedServer, model: str, body: str
) -> None:
    provider.script = {"body": body, "content_type": "text/event-stream", "headers": AT_ONCE}
    with pytest.raises(openai.APIStatusError) as error:
        list(openai_of(gateway, gateway.key("ines")).chat.completions.create(model=model, messages=HELLO, stream=True))
    assert error.value.status_code == 502
    assert settled(gateway, "ines") == (100, 0)


def test_an_error_in_the_middle_of_a_stream_is_told_after_what_came(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    provider.script = {"deltas": ["One ", {"error": {"message": f"overloaded {PROVIDER_KEY}", "type": "server_error"}}]}
    key = gateway.key("jan")
    asked = {"model": OPENAI, "messages": HELLO, "stream": True}
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{gateway.openai_url}/chat/completions", headers=headers, json=asked, trust_env=False)
    assert answer.status_code == 200
    *_, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert '"One "' in answer.text
    assert "overloaded" in last["error"]["message"]
    assert PROVIDER_KEY not in answer.text
    assert [call.status for call in used(gateway, "jan")] == ["failed"]
    assert money(gateway, "jan") == (99, 0)


def test_a_whole_answer_that_breaks_off_costs_nothing(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"deltas": ["One ", {"error": {"message": "out of order", "type": "api_error"}}]}
    assert refused(gateway, "jens", CLAUDE, stream=False).status_code == 503
    assert len(provider.requests) == 1


def body_bytes(model: str) -> int:
    """How long the framed answer of the test below is."""
    script, asked = Script(deltas=["Grüße ", "👋"]), {"model": model, "stream_options": {"include_usage": True}}
    parts = (openai_stream if model == OPENAI else anthropic_stream)(script, asked)
    framed = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts if isinstance(part, bytes)]
    return sum(map(len, framed))


@MODELS
def test_an_answer_that_is_cut_anywhere_is_never_told_as_whole_nor_left_unsettled(
    gateway: RunningGateway, provider: ScriptedServer, model: str
) -> None:
    key, length = gateway.key(f"kai-{model}", credits_=1000), body_bytes(model)
    asked = {"model": model, "messages": HELLO, "stream": True}
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=gateway.openai_url, headers=headers, trust_env=False) as client:
        for cut in range(1, length - 30, 61):
            provider.script = [
                {"deltas": ["Grüße ", "👋"], "cut_in_body": cut, "reset": cut % 2 == 0},
                {"status": 400, "error": {"message": "cut"}},
            ]
            answer = client.post("/chat/completions", json=asked)
            text = answer.text
            assert "[DONE]" not in text, cut
            assert '"error"' in text, cut
            for line in text.splitlines():
                assert not line.startswith("data: ") or json.loads(line[6:]), cut
    settled(gateway, f"kai-{model}")
    assert {call.status for call in used(gateway, f"kai-{model}")} == {"failed"}


def test_a_field_of_ours_that_a_provider_does_not_know_is_left_out(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    provider.script = [{"status": 400, "error": {"message": "unknown field stream_options"}}, {"text": "Fine."}]
    chunks = openai_of(gateway, gateway.key("liz")).chat.completions.create(model=OPENAI, messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Fine."
    assert ["stream_options" in request.body for request in provider.requests] == [True, False]
    assert used(gateway, "liz")[0].provenance == "estimated"


def test_a_provider_that_redirects_is_not_followed(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"status": 302, "headers": {"Location": "http://127.0.0.1:1/steal"}}
    assert refused(gateway, "mona", OPENAI).status_code == 502
