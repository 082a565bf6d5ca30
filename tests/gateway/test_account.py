"""What a key opens, and what it shows of its own account."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.servers.gateway import RunningGateway


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
