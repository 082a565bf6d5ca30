"""What is counted, who may read it, and what machines are told of the gateway's health."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest

from aichat_cli.gateway.operations import FRESH_SECONDS
from aichat_cli.gateway.watch import Watch
from aichat_cli.storage.database import Database
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\})? (-?[0-9.e+-]+)$')


def samples(gateway: RunningGateway, **headers: str) -> dict[tuple[str, str], float]:
    """Every sample by its name and labels; each line is one as Prometheus reads it."""
    answer = httpx.get(f"{gateway.url}/metrics", headers=headers, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            parsed = SAMPLE.match(line)
            assert parsed, line
            assert (parsed[1], parsed[2] or "") not in found
            found[parsed[1], parsed[2] or ""] = float(parsed[3])
    return found


def ask(gateway: RunningGateway, key: str) -> int:
    body = {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": "bees?"}]}
    url = f"{gateway.url}/v1/chat/completions"
    return httpx.post(url, json=body, headers={"x-api-key": key}, trust_env=False).status_code


def test_calls_refusals_and_failures_are_counted(gateway: RunningGateway, provider: ScriptedServer) -> None:
    key = gateway.key("anna")
    before = samples(gateway)
    provider.script = [
        {"text": "Yes.", "usage": {"input": 1200, "output": 300}},
        {"status": 401, "error": {"message": "no", "type": "x", "code": "x"}},
    ]
    assert [ask(gateway, key), ask(gateway, key), ask(gateway, "wrong")] == [200, 502, 401]
    now = samples(gateway)

    def more(name: str, labels: str = "") -> float:
        return now[name, labels] - before.get((name, labels), 0)

    route = 'route="/v1/chat/completions"'
    assert more("aichat_requests_total", f'{route},method="POST",status="200"') == 1
    assert more("aichat_requests_total", f'{route},method="POST",status="502"') == 1
    assert more("aichat_request_seconds_count", route) == 3
    assert more("aichat_request_seconds_bucket", f'{route},le="+Inf"') == 3
    assert more("aichat_first_byte_seconds_count") == 1
    assert more("aichat_refusals_total", 'reason="key"') == 1
    assert more("aichat_tokens_total", 'model="gpt-4o-mini",kind="input"') == 1200
    assert more("aichat_tokens_total", 'model="gpt-4o-mini",kind="output"') == 300
    assert more("aichat_credits_charged_total", 'model="gpt-4o-mini"') == 1
    assert more("aichat_cost_dollars_total", 'model="gpt-4o-mini"') == pytest.approx(0.00036)
    assert sum(value for (name, _), value in now.items() if name == "aichat_upstream_errors_total") == 1
    assert now["aichat_calls_under_way", ""] == 0
    assert now["process_resident_memory_bytes", ""] > 10_000_000


def test_what_a_caller_makes_up_is_not_a_label(gateway: RunningGateway) -> None:
    for path in ("/made-up", '/made-"up'):
        httpx.request("BREW", f"{gateway.url}{path}", trust_env=False)
    labels = "".join(labels for _, labels in samples(gateway))
    assert "made" not in labels
    assert "BREW" not in labels


def test_without_a_token_the_counters_are_for_this_machine_and_not_for_a_proxy_on_it(gateway: RunningGateway) -> None:
    answer = httpx.get(f"{gateway.url}/metrics", headers={"x-forwarded-for": "127.0.0.1"}, trust_env=False)
    assert answer.status_code == 403


def test_with_a_token_the_counters_are_for_whoever_shows_it(tmp_path: Path, provider: ScriptedServer) -> None:
    watch = Watch(metrics_token="the-token-of-metrics")
    with RunningGateway(tmp_path, provider, watch=watch) as gateway:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "the-token"}):
            assert httpx.get(f"{gateway.url}/metrics", headers=headers, trust_env=False).status_code == 401
        assert samples(gateway, authorization="Bearer the-token-of-metrics")


def test_it_is_ready_while_its_database_answers_and_it_is_not_about_to_end(
    tmp_path: Path, provider: ScriptedServer
) -> None:
    with RunningGateway(tmp_path, provider) as gateway:

        def state() -> tuple[int, str]:
            answer = httpx.get(f"{gateway.url}/readyz", trust_env=False, timeout=20)
            return answer.status_code, answer.json()["status"]

        assert state() == (200, "ready")
        time.sleep(FRESH_SECONDS)
        with Database.open(tmp_path / "gateway.db") as other, other.transaction():
            other.execute("UPDATE profiles SET plan = plan")
            assert state() == (503, "the database does not answer")
            assert httpx.get(f"{gateway.url}/healthz", trust_env=False).status_code == 200
        time.sleep(FRESH_SECONDS)
        assert state() == (200, "ready")
        gateway.deps.watch.is_ending = True
        assert state() == (503, "ending")
