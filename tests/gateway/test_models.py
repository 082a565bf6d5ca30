"""Which models a gateway serves, and what it tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from aichat_cli.gateway.deps import ServerOptions
from tests.gateway.asking import HELLO, anthropic_of, money, openai_of, used
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer


def test_both_clients_list_the_models_that_can_be_paid_for(gateway: RunningGateway) -> None:
    key = gateway.key("mara")
    listed: dict[str, Any] = {model.id: model for model in openai_of(gateway, key).models.list()}
    assert {"gpt-4o-mini", "claude-haiku-4-5", "text-embedding-3-small"} <= listed.keys()
    assert not any(name.startswith(("gemini/", "local/", "ollama/", "groq/")) for name in listed)
    assert [model.id for model in anthropic_of(gateway, key).models.list()] == list(listed)
    mini = listed["gpt-4o-mini"]
    assert (mini.input_usd_per_mtok, mini.output_usd_per_mtok, mini.mode) == (0.15, 0.6, "chat")
    assert (mini.context_tokens, mini.reads_images, mini.owned_by) == (128_000, True, "openai")
    assert (listed["text-embedding-3-small"].mode, listed["text-embedding-3-small"].dimensions) == ("embedding", 1536)


def test_a_model_is_found_by_its_name_with_a_slash_and_by_an_alias(gateway: RunningGateway) -> None:
    client = openai_of(gateway, gateway.key("nils"))
    assert client.models.retrieve("openai/gpt-4o-mini").id == "gpt-4o-mini"
    assert client.models.retrieve("haiku").id == "claude-haiku-4-5"
    assert client.models.retrieve("text-embedding-3-small").id == "text-embedding-3-small"
    with pytest.raises(openai.NotFoundError, match="gpt-4o"):
        client.models.retrieve("gpt-4oo")


@pytest.mark.parametrize(
    "name",
    [
        "local//etc/passwd.gguf",
        "/etc/x.gguf",
        "local/../x",
        "smollm2",
        "ollama/llama3",
        "lm_studio/any",
        "groq/llama-3.3-70b-versatile",
        "no-such-model",
        "gpt-4o-mini-but-unpriced",
        "litellm/ollama/llama3",
        "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
        "x" * 500,
        "a\nb",
        "gpt-image-1",
    ],
)
def test_no_name_leads_to_a_file_nor_to_a_place_the_operator_has_not_set_up(
    gateway: RunningGateway, provider: ScriptedServer, name: str
) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        openai_of(gateway, gateway.key("olaf")).chat.completions.create(model=name, messages=HELLO)
    assert missing.value.code == "model_not_found"
    assert provider.requests == []


def test_without_a_key_nothing_is_listed(gateway: RunningGateway) -> None:
    assert httpx.get(f"{gateway.openai_url}/models", trust_env=False).status_code == 401


def test_the_operator_says_which_models_are_served(tmp_path: Path, provider: ScriptedServer) -> None:
    config = tmp_path / "operator" / "config" / "aichat" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f'[models.house]\nbase_url = "{provider.openai_url}"\nmodel_id = "house-1"\nfree = true\n', encoding="utf-8"
    )
    options = ServerOptions(models=("gpt-4o*", "house"))
    with RunningGateway(tmp_path, provider, options=options) as gateway:
        client = openai_of(gateway, gateway.key("pia"))
        names = {model.id for model in client.models.list()}
        assert {"gpt-4o", "gpt-4o-mini", "house"} <= names
        assert all(name.startswith("gpt-4o") or name == "house" for name in names)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="claude-haiku-4-5", messages=HELLO)
        answer: Any = client.chat.completions.create(model="house", messages=HELLO)
        client.close()
        assert answer.usage.credits_charged == 0
        assert used(gateway, "pia")[0].cost_nano == 0
        assert money(gateway, "pia") == (100, 0)
    assert provider.requests[0].body["model"] == "house-1"
    assert "authorization" not in provider.requests[0].headers
