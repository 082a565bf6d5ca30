"""Models that can only be waited for in a thread: those behind litellm, and the embedded one, through the gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.asking import HELLO, anthropic_of, money, openai_of, settled, used
from tests.servers.gateway import PROVIDER_KEY, RunningGateway
from tests.servers.scripted import ScriptedServer

pytestmark = pytest.mark.xdist_group("litellm")
THROUGH_LITELLM = "litellm/openai/m-1"


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer, model_dir: Path
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("threads")
    (folder / "operator" / "data" / "aichat").mkdir(parents=True)
    (folder / "operator" / "data" / "aichat" / "models").symlink_to(model_dir)
    config = folder / "operator" / "config" / "aichat" / "config.toml"
    config.parent.mkdir(parents=True)
    prices = "input_usd_per_mtok = 0.1\noutput_usd_per_mtok = 0.4\n"
    config.write_text(f'[prices."{THROUGH_LITELLM}"]\n{prices}[local]\nthreads = 1\n', encoding="utf-8")
    with RunningGateway(folder, provider) as running:
        yield running


def test_both_clients_reach_a_model_behind_litellm(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"deltas": ["Bon", "jour"], "usage": {"input": 100_000, "output": 100_000}}
    key = gateway.key("zoe")
    chunks = openai_of(gateway, key).chat.completions.create(model=THROUGH_LITELLM, messages=HELLO, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    answer: Any = anthropic_of(gateway, key).messages.create(model=THROUGH_LITELLM, max_tokens=10, messages=HELLO)
    assert text == answer.content[0].text == "Bonjour"
    calls = used(gateway, "zoe")
    assert [call[2:4] for call in calls] == [(100_000, 100_000)] * 2
    assert answer.usage.cost == calls[1].cost_nano / 1e9 > 0
    assert money(gateway, "zoe") == (100 - sum(-(-call.cost_nano // 10_000_000) for call in calls), 0)


def test_a_failing_provider_behind_litellm_costs_nothing(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"status": 401, "error": {"message": f"bad key {PROVIDER_KEY}"}}
    client = openai_of(gateway, gateway.key("yan"))
    with pytest.raises(Exception, match="cannot use this provider") as failed:
        client.chat.completions.create(model=THROUGH_LITELLM, messages=HELLO, stream=True)
    assert PROVIDER_KEY not in str(failed.value)
    assert settled(gateway, "yan") == (100, 0)


def test_a_client_that_leaves_stops_a_model_behind_litellm(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"deltas": ["word "] * 600, "delay": 0.05}
    client = openai_of(gateway, gateway.key("xeni"))
    stream = client.chat.completions.create(model=THROUGH_LITELLM, messages=HELLO, stream=True)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    left_at = time.monotonic()
    stream.close()
    assert provider.requests[0].client_left.wait(5)
    assert (provider.requests[0].left_at or 0) - left_at < 1
    assert settled(gateway, "xeni") == (99, 0)
    [call] = used(gateway, "xeni")
    assert call.status == "stopped"
    assert 0 < call.output_tokens < 300


def test_the_embedded_model_is_served_and_is_free(gateway: RunningGateway) -> None:
    client = openai_of(gateway, gateway.key("wanda"))
    asked: Any = {"model": "smollm2", "messages": HELLO, "max_tokens": 8, "temperature": 0}
    answer: Any = client.chat.completions.create(**asked)
    assert answer.choices[0].message.content
    assert answer.usage.credits_charged == 0
    assert money(gateway, "wanda") == (100, 0)
    assert "smollm2" in {model.id for model in client.models.list()}


def test_a_client_that_leaves_frees_the_embedded_model_for_the_next(gateway: RunningGateway) -> None:
    client = openai_of(gateway, gateway.key("viola"))
    asked: Any = {"model": "smollm2", "messages": HELLO, "stream": True}
    stream = client.chat.completions.create(**asked, max_tokens=2000)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    stream.close()
    chunks = list(client.chat.completions.create(**asked, max_tokens=4))
    assert any(chunk.choices and chunk.choices[0].finish_reason for chunk in chunks)
    settled(gateway, "viola")
    assert sorted(call.status for call in used(gateway, "viola")) == ["complete", "stopped"]


def test_a_model_behind_litellm_that_falls_silent_is_waited_for_as_long_as_the_operator_says(
    tmp_path: Path, provider: ScriptedServer
) -> None:
    config = tmp_path / "operator" / "config" / "aichat" / "config.toml"
    config.parent.mkdir(parents=True)
    limits = "[timeouts]\nfirst_byte = 0.5\nidle = 0.5\n"
    config.write_text(f'[prices."{THROUGH_LITELLM}"]\nfree = true\n{limits}', encoding="utf-8")
    provider.script = {"deltas": ["One ", "two "], "stall_after": 1}
    with RunningGateway(tmp_path, provider) as gateway:
        client = openai_of(gateway, gateway.key("ute"))
        text = ""
        with pytest.raises(openai.APIError, match=r"nothing|time"):
            for chunk in client.chat.completions.create(model=THROUGH_LITELLM, messages=HELLO, stream=True):
                text += chunk.choices[0].delta.content or ""
        client.close()
        assert text == "One "
        settled(gateway, "ute")
        assert [call.status for call in used(gateway, "ute")] == ["failed"]
