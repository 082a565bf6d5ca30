"""What is refused before anything is sent, as the official clients raise it; exact also where many ask at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.gateway.asking import HELLO, anthropic_of, money, openai_of, settled, used
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

OPENAI, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
EITHER: tuple[Any, ...] = (openai.APIStatusError, anthropic.APIStatusError)


def asks_openai(gateway: RunningGateway, key: str, **more: Any) -> Any:
    return openai_of(gateway, key).chat.completions.create(**{"model": OPENAI, "messages": HELLO, **more})


def asks_anthropic(gateway: RunningGateway, key: str, **more: Any) -> Any:
    return anthropic_of(gateway, key).messages.create(**{"model": CLAUDE, "max_tokens": 10, "messages": HELLO, **more})


def test_a_wrong_key_is_each_clients_own_error(gateway: RunningGateway, provider: ScriptedServer) -> None:
    with pytest.raises(openai.AuthenticationError):
        asks_openai(gateway, "sk-wrong")
    with pytest.raises(anthropic.AuthenticationError):
        asks_anthropic(gateway, "sk-wrong")
    assert provider.requests == []


def test_a_revoked_key_is_refused_at_once(gateway: RunningGateway) -> None:
    key = gateway.key("rex")
    asks_openai(gateway, key)
    users = gateway.store.users()
    users.revoke_key(users.keys(user_id=users.user("rex").id)[0].id, actor="test")
    users.close()
    with pytest.raises(openai.AuthenticationError):
        asks_openai(gateway, key)


def test_a_key_for_something_else_is_refused(gateway: RunningGateway) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        asks_openai(gateway, gateway.key("sam", scopes=("sync",)))


@pytest.mark.parametrize("ask", [asks_openai, asks_anthropic])
def test_a_call_that_costs_more_than_there_is_is_a_402_and_sends_nothing(
    gateway: RunningGateway, provider: ScriptedServer, ask: Callable[..., Any]
) -> None:
    name = f"tess-{ask.__name__}"
    with pytest.raises(EITHER) as refused:
        ask(gateway, gateway.key(name), model="claude-opus-4-6", max_tokens=60_000)
    assert refused.value.status_code == 402
    assert "credits" in str(refused.value)
    assert provider.requests == []
    assert money(gateway, name) == (100, 0)


def test_a_full_window_is_a_rate_limit_error_that_says_when(gateway: RunningGateway) -> None:
    key = gateway.key("timo", plan="free", credits_=100)
    for _ in range(20):
        asks_openai(gateway, key)
    with pytest.raises(openai.RateLimitError) as refused:
        asks_openai(gateway, key)
    headers = refused.value.response.headers
    assert 3000 < int(headers["retry-after"]) <= 3600
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("20", "0")
    assert 3000 < int(headers["x-ratelimit-reset"]) - time.time() <= 3601
    with pytest.raises(anthropic.RateLimitError):
        asks_anthropic(gateway, key)


def test_a_model_that_is_not_served_is_not_found(gateway: RunningGateway) -> None:
    key = gateway.key("ute")
    with pytest.raises(openai.NotFoundError, match="gpt-4o-mini") as missing:
        openai_of(gateway, key).chat.completions.create(model="gpt-4o-mimi", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError):
        asks_anthropic(gateway, key, model="no-such-model")


def test_many_at_once_never_spend_more_than_there_is(gateway: RunningGateway, provider: ScriptedServer) -> None:
    # Each may cost up to 15 credits and costs that: 6 fit into 100.
    provider.script = {"text": "x", "usage": {"input": 10, "output": 10_000}, "first_byte_delay": 0.3}
    key = gateway.key("vera")
    asked = {"model": "claude-sonnet-4-5", "messages": HELLO, "max_tokens": 10_000}
    statuses = many(gateway, key, asked, 50)
    assert statuses == {200: 6, 402: 44}
    assert settled(gateway, "vera").balance == 100 - sum(
        -(-call.cost_nano // 10_000_000) for call in used(gateway, "vera")
    )
    assert len(used(gateway, "vera")) == len(provider.requests) == 6


def test_of_sixty_at_once_a_free_plan_makes_exactly_twenty(gateway: RunningGateway, provider: ScriptedServer) -> None:
    key = gateway.key("willi", plan="free", credits_=1000)
    statuses = many(gateway, key, {"model": OPENAI, "messages": HELLO, "max_tokens": 5}, 60)
    assert statuses == {200: 20, 429: 40}
    assert len(provider.requests) == 20


def many(gateway: RunningGateway, key: str, asked: dict[str, Any], count: int) -> Counter[int]:
    """The statuses of so many calls at once."""
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=count)
    with (
        httpx.Client(
            base_url=gateway.openai_url, headers=headers, limits=limits, timeout=30, trust_env=False
        ) as client,
        ThreadPoolExecutor(count) as pool,
    ):
        answers = pool.map(lambda _: client.post("/chat/completions", json=asked), range(count))
        return Counter(answer.status_code for answer in answers)
