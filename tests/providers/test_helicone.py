"""Helicone between us and a provider: which models go there, to which of its hosts, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.config.settings_table import HELICONE_PROVIDERS
from aichat_cli.core.errors import AichatError, ConfigError, ConnectFailed, KeyMissing, KeyRejected
from aichat_cli.core.models import Model
from aichat_cli.core.secret import Secret
from aichat_cli.providers.base import ChatRequest, EmbeddingRequest
from aichat_cli.providers.embeddings import EmbeddingClient
from aichat_cli.providers.endpoints import ANTHROPIC, DIRECT, key_environment_variables
from aichat_cli.providers.helicone import Helicone, check, configured
from aichat_cli.providers.registry import Registry
from tests.providers.calls import KEY, QUICK
from tests.servers.helicone_double import KEY as HELICONE_KEY
from tests.servers.helicone_double import HeliconeDouble
from tests.servers.scripted import ScriptedServer

EVERY = Helicone(HELICONE_PROVIDERS, find_key=lambda: Secret(HELICONE_KEY, "keyring"))


@pytest.fixture
def helicone(server: ScriptedServer) -> Iterator[HeliconeDouble]:
    with HeliconeDouble(server) as running:
        yield running


def resolved(name: str, environ: dict[str, str] | None = None) -> Model:
    return Registry({}, {}, environ or {}, Path("/none")).resolve(name)


def sent(model: Model, helicone: Helicone = EVERY, **changes: Any) -> tuple[str | None, dict[str, str]]:
    """The base URL of a call, and what Helicone is told."""
    conversation = changes.pop("conversation_id", None)
    request = helicone.routed(ChatRequest(model, (), key=helicone.keys_for(model, KEY), **changes))
    return request.model.base_url, helicone.headers(request, conversation)


def set_up(tmp_path: Path, **values: str) -> tuple[Settings, KeyStore]:
    environ = {f"AICHAT_HELICONE_{name.upper()}": value for name, value in values.items() if name != "key"}
    environ |= {"HELICONE_API_KEY": values["key"]} if "key" in values else {}
    keys = KeyStore(tmp_path / "keys.toml", key_environment_variables, environ=environ)
    return Settings(tmp_path / "config.toml", environ), keys


def test_every_direct_endpoint_on_the_internet_and_no_other_can_be_named() -> None:
    assert sorted(HELICONE_PROVIDERS) == sorted(name for name, each in DIRECT.items() if not each.is_local)


@pytest.mark.parametrize(
    ("name", "base_url", "target"),
    [
        ("gpt-4o-mini", "https://oai.helicone.ai/v1", None),
        ("claude-haiku-4-5", "https://anthropic.helicone.ai", None),
        ("groq/llama-3.3-70b-versatile", "https://gateway.helicone.ai/openai/v1", "https://api.groq.com"),
        ("openrouter/x/y", "https://gateway.helicone.ai/api/v1", "https://openrouter.ai"),
        ("deepinfra/x/y", "https://gateway.helicone.ai/v1/openai", "https://api.deepinfra.com"),
    ],
)
def test_a_provider_is_asked_at_the_host_that_helicone_has_for_it(name: str, base_url: str, target: str | None) -> None:
    url, headers = sent(resolved(name))
    assert url == base_url
    assert headers.get("Helicone-Target-URL") == target
    assert headers["Helicone-Auth"] == f"Bearer {HELICONE_KEY}"


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        ("gpt-4o-mini", {"OPENAI_BASE_URL": "http://127.0.0.1:4000/v1"}),
        ("gpt-4o-mini", {"OPENAI_BASE_URL": "https://models.example.com/v1"}),
        ("ollama/llama3.2", {}),
        ("gemini/gemini-2.5-flash", {}),
        ("smollm2", {}),
        ("litellm/openai/gpt-4o-mini", {}),
    ],
)
def test_what_is_at_an_address_of_its_own_or_not_spoken_to_directly_goes_past_it(
    name: str, environ: dict[str, str]
) -> None:
    model = resolved(name, environ)
    url, headers = sent(model)
    assert (url, headers) == (model.base_url, {})
    assert EVERY.placed(model) is model


def test_a_provider_that_is_not_named_goes_past_it() -> None:
    only = Helicone(("anthropic",), find_key=EVERY.find_key)
    assert sent(resolved("gpt-4o-mini"), only) == ("https://api.openai.com/v1", {})


def test_helicone_is_told_no_more_than_is_set() -> None:
    model = resolved("gpt-4o-mini")
    _, bare = sent(model)
    assert bare == {
        "Helicone-Auth": f"Bearer {HELICONE_KEY}",
        "Helicone-Omit-Request": "true",
        "Helicone-Omit-Response": "true",
    }
    whole = Helicone(("openai",), user="me", content=True, cache_seconds=60, find_key=EVERY.find_key)
    _, headers = sent(model, whole, request_id="r-1", conversation_id="c-1")
    assert headers == {
        "Helicone-Auth": f"Bearer {HELICONE_KEY}",
        "Helicone-Request-Id": "r-1",
        "Helicone-User-Id": "me",
        "Helicone-Session-Id": "c-1",
        "Helicone-Session-Name": "aichat",
        "Helicone-Session-Path": "/chat",
        "Helicone-Cache-Enabled": "true",
        "Cache-Control": "max-age=60",
    }
    _, apart = sent(model, Helicone(("openai",), session=False, find_key=EVERY.find_key), conversation_id="c-1")
    assert "Helicone-Session-Id" not in apart


def test_a_call_for_somebody_is_filed_under_them_and_shares_no_kept_answer() -> None:
    operator = Helicone(("openai",), user="me", cache_seconds=60, find_key=EVERY.find_key)
    _, headers = sent(resolved("gpt-4o-mini"), operator, user_id="u-1")
    assert headers["Helicone-User-Id"] == headers["Helicone-Cache-Seed"] == "u-1"


def test_a_model_that_goes_through_it_needs_its_key_and_no_other_does() -> None:
    without = Helicone(("openai",))
    with pytest.raises(KeyMissing) as raised:
        without.keys_for(resolved("gpt-4o-mini"), KEY)
    assert raised.value.message == 'No API key for "helicone", through which openai is to be asked.'
    assert raised.value.hint == "Run: aichat keys set helicone, or set HELICONE_API_KEY"
    assert without.keys_for(resolved("claude-haiku-4-5"), KEY) is KEY


def test_a_key_that_cannot_be_sent_is_told_as_helicones() -> None:
    broken = Helicone(("openai",), find_key=lambda: Secret("sk-two words", "keyring"))
    with pytest.raises(KeyRejected, match="from keyring holds characters") as raised:
        sent(resolved("gpt-4o-mini"), broken)
    assert raised.value.hint == "Run: aichat keys set helicone"


def test_a_helicone_of_ones_own_passes_on_to_two_providers_only(tmp_path: Path) -> None:
    own = "http://127.0.0.1:8585/v1/gateway"
    helicone = configured(*set_up(tmp_path, providers="openai,anthropic", url=own, key=HELICONE_KEY))
    assert sent(resolved("gpt-4o-mini"), helicone)[0] == f"{own}/oai/v1"
    assert sent(resolved("claude-haiku-4-5"), helicone)[0] == f"{own}/anthropic"
    with pytest.raises(ConfigError, match=r"names groq, but a Helicone of your own .* openai and anthropic only"):
        configured(*set_up(tmp_path, providers="openai,groq", url=own))


def test_its_api_is_that_of_the_keys_region() -> None:
    assert EVERY.api_url(Secret("sk-helicone-eu-1", "x")) == "https://eu.api.helicone.ai"
    assert EVERY.api_url(Secret("sk-helicone-1", "x")) == "https://api.helicone.ai"


def test_the_check_says_what_is_reached_and_that_the_key_is_good(helicone: HeliconeDouble, tmp_path: Path) -> None:
    def told(key: str, url: str = helicone.url) -> str:
        settings, keys = set_up(tmp_path, providers="openai,anthropic", url=url, key=key)
        return check(settings, keys, {ANTHROPIC.url_variables[0]: "http://127.0.0.1:1"}, QUICK)

    root = helicone.url.removesuffix("/v1/gateway")
    expected = f"{root} accepts the key; asked: openai, anthropic; past it, at the address you set: anthropic"
    assert told(HELICONE_KEY) == expected
    assert "is reached; a key that may only write" in told("pk-helicone-1")
    with pytest.raises(KeyRejected, match="Helicone refused its key: Invalid Helicone API key") as raised:
        told("sk-helicone-wrong")
    assert "sk-helicone-wrong" not in str(raised.value)
    with pytest.raises(ConnectFailed, match=r"http://127\.0\.0\.1:1"):
        told(HELICONE_KEY, "http://127.0.0.1:1/v1/gateway")
    with pytest.raises(AichatError, match="Helicone is off"):
        check(*set_up(tmp_path))
    assert not helicone.calls


def test_vectors_come_through_it_and_those_it_had_kept_cost_nothing(
    helicone: HeliconeDouble, server: ScriptedServer
) -> None:
    way = Helicone(("openai",), url=helicone.url, cache_seconds=60, find_key=EVERY.find_key)
    model = Registry({}, {}, {}, Path("/none")).embedding_model("text-embedding-3-small")
    with closing(EmbeddingClient(lambda: way)) as client:
        request = EmbeddingRequest(model, ("one", "two"), way.keys_for(model, KEY), QUICK, request_id="r-1")
        first, second = [client.attempt(request).response for _ in range(2)]
    assert first is not None
    assert second is not None
    assert first.vectors == second.vectors
    assert first.tokens is not None
    assert not first.tokens.is_free
    assert second.tokens is not None
    assert second.tokens.is_free
    [passed] = server.requests
    assert passed.headers["authorization"] == f"Bearer {KEY.reveal()}"
    assert helicone.calls[0].headers["helicone-request-id"] == "r-1"
