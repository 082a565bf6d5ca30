"""What a key opens, and what it shows of its own account."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer


def ask(gateway: RunningGateway, path: str, key: str | None, **headers: str) -> httpx.Response:
    sent = headers if key is None else {"Authorization": f"Bearer {key}", **headers}
    return httpx.get(f"{gateway.url}{path}", headers=sent, trust_env=False)


def test_a_key_shows_whose_it_is_and_what_they_have(gateway: RunningGateway) -> None:
    told: dict[str, Any] = ask(gateway, "/v1/account", gateway.key("vera", plan="pro", credits_=50)).json()
    assert told["user"]["name"] == "vera"
    assert told["plan"] == "pro"
    assert told["credits"] == {"balance": 150, "held": 0, "available": 150}
    assert told["window"]["remaining"] == 200


@pytest.mark.parametrize("key", [None, "sk-wrong", "aichat-aaaaaaaa-" + "b" * 52, "x" * 600])
def test_without_a_right_key_nothing_is_told(gateway: RunningGateway, key: str | None) -> None:
    answer = ask(gateway, "/v1/credits", key)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_path_that_leads_nowhere_is_told_in_the_clients_shape(gateway: RunningGateway) -> None:
    assert ask(gateway, "/v1/nothing", None).json()["error"]["message"] == "There is nothing at this path."


def test_usage_is_told_by_model_and_nonsense_is_refused(gateway: RunningGateway, provider: ScriptedServer) -> None:
    key = gateway.key("ulla")
    provider.script = {"text": "Yes.", "usage": {"input": 1000, "output": 10}}
    for _ in range(2):
        asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Well?"}]}
        sent = {"Authorization": f"Bearer {key}"}
        httpx.post(
            f"{gateway.openai_url}/chat/completions", json=asked, headers=sent, trust_env=False
        ).raise_for_status()
    sums = {"requests": 2, "input_tokens": 2000, "cached_tokens": 0, "output_tokens": 20, "cost_usd": 0.000312}
    assert ask(gateway, "/v1/usage?by=model", key).json() == {"rows": [{"model": "gpt-4o-mini", **sums}], "total": sums}
    assert ask(gateway, "/v1/usage?since=2020-01-01&until=2020-01-31", key).json()["rows"] == []
    for query in ("by=hour", "since=yesterday", "since=0001-01-01", "since=2026-02-01&until=2026-01-01"):
        assert ask(gateway, f"/v1/usage?{query}", key).status_code == 400
