"""A gateway whose providers are asked through Helicone: for whom, and what an answer that was kept costs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.asking import HELLO, anthropic_of, money, openai_of, used
from tests.servers.gateway import PROVIDER_KEY, RunningGateway
from tests.servers.helicone_double import KEY as HELICONE_KEY
from tests.servers.helicone_double import HeliconeDouble
from tests.servers.scripted import ScriptedServer

GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"


@pytest.fixture(scope="module")
def helicone(provider: ScriptedServer) -> Iterator[HeliconeDouble]:
    with HeliconeDouble(provider) as running:
        yield running


@pytest.fixture(autouse=True)
def no_calls_yet(helicone: HeliconeDouble) -> None:
    helicone.calls.clear()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer, helicone: HeliconeDouble
) -> Iterator[RunningGateway]:
    environ = {
        "OPENAI_BASE_URL": "",
        "ANTHROPIC_BASE_URL": "",
        "HELICONE_API_KEY": HELICONE_KEY,
        "AICHAT_HELICONE_PROVIDERS": "openai,anthropic",
        "AICHAT_HELICONE_URL": helicone.url,
        "AICHAT_HELICONE_USER": "the operator",
        "AICHAT_HELICONE_CACHE_SECONDS": "600",
    }
    with RunningGateway(tmp_path_factory.mktemp("gateway"), provider, environ=environ) as running:
        yield running


def id_of(gateway: RunningGateway, name: str) -> str:
    users = gateway.store.users()
    try:
        return users.user(name).id
    finally:
        users.close()


def ask(gateway: RunningGateway, name: str, dialect: str, model: str, *, stream: bool) -> str:
    """What a client of one protocol is answered by a model of either."""
    key = gateway.key(name)
    if dialect == "openai":
        answer: Any = openai_of(gateway, key).chat.completions.create(model=model, messages=HELLO, stream=stream)
        if stream:
            return "".join(each.choices[0].delta.content or "" for each in answer if each.choices)
        return str(answer.choices[0].message.content)
    client = anthropic_of(gateway, key)
    if stream:
        with client.messages.stream(model=model, messages=HELLO, max_tokens=50) as events:
            return "".join(events.text_stream)
    return str(client.messages.create(model=model, messages=HELLO, max_tokens=50).content[0].text)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("dialect", "model", "stream"),
    [("openai", GPT, True), ("openai", GPT, False), ("anthropic", CLAUDE, True), ("openai", CLAUDE, True)],
)
def test_a_call_is_filed_under_its_user_and_an_answer_that_was_kept_is_not_charged(
    gateway: RunningGateway,
    provider: ScriptedServer,
    helicone: HeliconeDouble,
    dialect: str,
    model: str,
    *,
    stream: bool,
) -> None:
    provider.script = {"text": "fine", "usage": {"input": 100_000, "output": 50_000}}
    name = f"user-{dialect}-{model}-{stream}"
    assert ask(gateway, name, dialect, model, stream=stream) == "fine"
    has = money(gateway, name)
    assert ask(gateway, name, dialect, model, stream=stream) == "fine"

    assert money(gateway, name) == has
    assert has.balance < 100
    paid, kept = used(gateway, name)
    assert (paid.cost_nano > 0, kept.cost_nano, kept.provenance) == (True, 0, "provider")
    [passed] = provider.requests
    assert PROVIDER_KEY in (passed.headers.get("authorization", "") + passed.headers.get("x-api-key", ""))
    assert not any(name.startswith("helicone") for name in passed.headers)
    for call, row in zip(helicone.calls, (paid, kept), strict=True):
        assert call.headers["helicone-auth"] == f"Bearer {HELICONE_KEY}"
        assert call.headers["helicone-user-id"] == id_of(gateway, name)
        assert call.headers["helicone-request-id"] == row.request_id
        assert call.headers["helicone-omit-request"] == "true"
        assert "helicone-session-id" not in call.headers


def test_nobody_is_given_what_another_was_answered(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = [{"text": "for ada"}, {"text": "for bob"}]
    assert ask(gateway, "ada", "openai", GPT, stream=True) == "for ada"
    assert ask(gateway, "bob", "openai", GPT, stream=True) == "for bob"
    assert ask(gateway, "ada", "openai", GPT, stream=True) == "for ada"


def test_vectors_that_were_kept_are_not_charged(gateway: RunningGateway, helicone: HeliconeDouble) -> None:
    client = openai_of(gateway, gateway.key("vera"))
    first, second = (client.embeddings.create(model="text-embedding-3-small", input="some text") for _ in range(2))
    assert first.data == second.data
    paid, kept = used(gateway, "vera")
    assert (paid.cost_nano > 0, kept.cost_nano) == (True, 0)
    assert [call.headers["helicone-user-id"] for call in helicone.calls] == [id_of(gateway, "vera")] * 2
