"""From a typed name to a model: order of places looked in, endpoints, capabilities, defaults and refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core.errors import ConfigError, UnknownModel
from aichat_cli.core.money import FREE, NANO_PER_CENT, Price, Rates
from aichat_cli.providers.catalog import Catalog
from aichat_cli.providers.custom import CustomModel, custom_models
from aichat_cli.providers.endpoints import DIRECT, KEY_NAMES, key_environment_variables
from aichat_cli.providers.registry import Registry
from aichat_cli.providers.shipped import READERS

NOWHERE = Path("/nonexistent/models")


def registry(
    environ: Mapping[str, str] | None = None,
    *,
    custom: Mapping[str, dict[str, Any]] | None = None,
    aliases: Mapping[str, str] | None = None,
    model_dir: Path = NOWHERE,
    catalog: Catalog | None = None,
) -> Registry:
    return Registry(custom_models(custom or {}), aliases or {}, environ or {}, model_dir, catalog=catalog)


MINE = {"base_url": "http://127.0.0.1:9/v1"}


def test_a_known_model_has_its_endpoint_key_window_and_price() -> None:
    model = registry().resolve("gpt-4o-mini")
    assert (model.name, model.wire_name, model.provider, model.wire) == ("gpt-4o-mini",) * 2 + ("openai",) * 2
    assert (model.base_url, model.key_name, model.key_required) == ("https://api.openai.com/v1", "openai", True)
    assert (model.context_tokens, model.max_output_tokens, model.retired) == (128_000, 16_384, None)
    assert model.price is not None
    assert (model.price.rates.input, model.price.rates.output) == (15 * NANO_PER_CENT, 60 * NANO_PER_CENT)


@pytest.mark.parametrize(
    ("name", "wire_name", "cents", "successor"),
    [
        ("claude-3.5-sonnet", "claude-3-5-sonnet-20241022", (300, 1500, 30, 375), "claude-sonnet-5-5"),
        ("claude-3.5-haiku", "claude-3-5-haiku-20241022", (80, 400, 8, 100), "claude-haiku-4-5"),
    ],
)
def test_retired_classics_keep_their_price_and_name_their_successor(
    name: str, wire_name: str, cents: tuple[int, int, int, int], successor: str
) -> None:
    for typed in (name, f"anthropic/{name}"):
        model = registry().resolve(typed)
        assert (model.name, model.wire_name, model.wire, model.retired) == (name, wire_name, "anthropic", successor)
        assert (model.base_url, model.key_name) == ("https://api.anthropic.com", "anthropic")
        assert model.price == Price(Rates(*(cent * NANO_PER_CENT for cent in cents)))
    assert registry().resolve(successor).retired is None


def test_shipped_aliases_stand_for_models_that_exist() -> None:
    for alias, target in registry().shipped_aliases.items():
        model = registry().resolve(alias)
        assert model.name == target
        assert model.price is not None


@pytest.mark.parametrize(
    ("typed", "name", "wire_name", "wire", "provider"),
    [
        ("openai/gpt-4o", "gpt-4o", "gpt-4o", "openai", "openai"),
        ("openai/unheard-of", "openai/unheard-of", "unheard-of", "openai", "openai"),
        ("gpt-99-turbo", "gpt-99-turbo", "gpt-99-turbo", "openai", "openai"),
        ("o9-mini", "o9-mini", "o9-mini", "openai", "openai"),
        ("anthropic/claude-haiku-4-5", "claude-haiku-4-5", "claude-haiku-4-5", "anthropic", "anthropic"),
        ("claude-epic-9", "claude-epic-9", "claude-epic-9", "anthropic", "anthropic"),
        ("groq/openai/gpt-oss-20b", "groq/openai/gpt-oss-20b", "openai/gpt-oss-20b", "openai", "groq"),
        ("together_ai/meta/llama", "together/meta/llama", "meta/llama", "openai", "together"),
        ("openrouter/a/b:free", "openrouter/a/b:free", "a/b:free", "openai", "openrouter"),
        ("deepseek-chat", "deepseek/deepseek-chat", "deepseek-chat", "openai", "deepseek"),
        ("gemini-2.5-pro", "gemini/gemini-2.5-pro", "gemini/gemini-2.5-pro", "litellm", "gemini"),
        ("gemini/gemini-77", "gemini/gemini-77", "gemini/gemini-77", "litellm", "gemini"),
        ("mistral/codestral-2508", "mistral/codestral-2508", "mistral/codestral-2508", "litellm", "mistral"),
        (
            "command-r-08-2024",
            "cohere_chat/command-r-08-2024",
            "cohere_chat/command-r-08-2024",
            "litellm",
            "cohere_chat",
        ),
        ("litellm/huggingface/a/b", "litellm/huggingface/a/b", "huggingface/a/b", "litellm", "huggingface"),
        ("gpt-5-pro", "gpt-5-pro", "openai/gpt-5-pro", "litellm", "openai"),
        ("smollm2", "smollm2", "smollm2", "local", "local"),
        ("local/smollm2", "smollm2", "smollm2", "local", "local"),
        ("local/qwen", "local/qwen", "/nonexistent/models/qwen.gguf", "local", "local"),
        ("/m/x.GGUF", "/m/x.GGUF", "/m/x.GGUF", "local", "local"),
        ("local//m/x.gguf", "/m/x.gguf", "/m/x.gguf", "local", "local"),
        ("  gpt-4o ", "gpt-4o", "gpt-4o", "openai", "openai"),
    ],
)
def test_names_find_their_wire(typed: str, name: str, wire_name: str, wire: str, provider: str) -> None:
    model = registry().resolve(typed)
    assert (model.name, model.wire_name, model.wire, model.provider) == (name, wire_name, wire, provider)
    assert registry().resolve(model.name) == model


def test_a_relative_gguf_path_is_made_absolute() -> None:
    assert registry().resolve("./x.gguf").wire_name == str(Path.cwd() / "x.gguf")
    assert registry().resolve("~/x.gguf").name == str(Path.home() / "x.gguf")


def test_every_name_in_the_full_listing_resolves_to_itself() -> None:
    own = registry()
    listed = own.listing(all=True)
    assert len(listed) > 1500
    for model in listed:
        assert own.resolve(model.name) == model


def test_models_of_this_machine_are_free_and_need_no_key() -> None:
    for typed in ("smollm2", "ollama/anything", "lm_studio/anything"):
        model = registry().resolve(typed)
        assert (model.price, model.key_name, model.key_required) == (FREE, None, False)
    assert registry().resolve("ollama/gpt-oss:120b-cloud").price is None


@pytest.mark.parametrize(
    ("typed", "takes_sampling", "limit_field"),
    [
        ("gpt-4o", True, "max_completion_tokens"),
        ("gpt-5", False, "max_completion_tokens"),
        ("gpt-5.4", True, "max_completion_tokens"),
        ("gpt-5-chat-latest", True, "max_completion_tokens"),
        ("o3-mini", False, "max_completion_tokens"),
        ("o7", False, "max_completion_tokens"),
        ("gpt-8-ultra", False, "max_completion_tokens"),
        ("ft:o4-mini-2025-04-16:acme", False, "max_completion_tokens"),
        ("gpt-4.9", True, "max_completion_tokens"),
        ("gpt-5-pro", False, "max_tokens"),
        ("claude-haiku-4-5", True, "max_tokens"),
        ("claude-opus-4-8", False, "max_tokens"),
        ("claude-sonnet-5-5", False, "max_tokens"),
        ("claude-sonnet-4-6-20991231", True, "max_tokens"),
        ("claude-opus-4-9", False, "max_tokens"),
        ("claude-haiku-7", False, "max_tokens"),
        ("groq/openai/gpt-oss-120b", True, "max_tokens"),
    ],
)
def test_what_a_model_takes_is_known(typed: str, *, takes_sampling: bool, limit_field: str) -> None:
    model = registry().resolve(typed)
    assert (model.takes_sampling, model.output_limit_field) == (takes_sampling, limit_field)


def test_custom_models_come_before_everything() -> None:
    custom = {"gpt-4o": {**MINE, "model_id": "mine", "input_usd_per_mtok": 1.5, "output_usd_per_mtok": "2"}}
    own = registry(custom=custom, aliases={"gpt-4o": "claude-haiku-4-5"})
    model = own.resolve("gpt-4o")
    assert (model.wire_name, model.base_url, model.key_name, model.key_required) == (
        "mine",
        MINE["base_url"],
        None,
        False,
    )
    assert model.price == Price(Rates(150 * NANO_PER_CENT, 200 * NANO_PER_CENT))
    shadowed = own.resolve("openai/gpt-4o")
    assert (shadowed.name, shadowed.base_url) == ("openai/gpt-4o", "https://api.openai.com/v1")
    assert own.resolve(shadowed.name) == shadowed


def test_aliases_may_stand_for_aliases() -> None:
    own = registry(aliases={"fast": "quick", "quick": "haiku", "gpt-4o": "gpt-4o"})
    assert own.resolve("fast").name == "claude-haiku-4-5"
    assert own.resolve("gpt-4o").name == "gpt-4o"


def test_an_alias_that_leads_back_to_itself_is_an_error() -> None:
    with pytest.raises(ConfigError, match="a -> b -> c -> b"):
        registry(aliases={"a": "b", "b": "c", "c": "b"}).resolve("a")


def test_an_unknown_name_is_refused_with_near_ones() -> None:
    with pytest.raises(UnknownModel, match="gpt-4o") as caught:
        registry().resolve("gpt4o")
    assert caught.value.hint == "Run: aichat models list"
    with pytest.raises(UnknownModel, match="my-llama"):
        registry(custom={"my-llama": MINE}).resolve("my-lama")
    for name in ("", "xyzzy", "no/such", "groq/", "/"):
        with pytest.raises(UnknownModel):
            registry().resolve(name)


def test_a_model_of_another_kind_is_refused_as_such() -> None:
    with pytest.raises(UnknownModel, match="one for embedding"):
        registry().resolve("text-embedding-3-small")


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_an_openai_url_in_the_environment_serves_openai_models_and_unknown_names(variable: str) -> None:
    own = registry({variable: "http://127.0.0.1:8080/v1/"})
    known = own.resolve("gpt-4o")
    assert (known.base_url, known.key_name, known.key_required) == ("http://127.0.0.1:8080/v1", "openai", False)
    assert known.price is not None
    for name in ("llama-3-70b", "some-org/some-model"):
        other = own.resolve(name)
        assert (other.name, other.wire_name, other.base_url) == (name, name, "http://127.0.0.1:8080/v1")
        assert (other.price, other.output_limit_field) == (None, "max_tokens")
    assert own.resolve("gpt-5-pro").wire == "openai"
    assert own.resolve("claude-haiku-4-5").base_url == "https://api.anthropic.com"
    assert own.resolve("groq/x").base_url == "https://api.groq.com/openai/v1"
    with pytest.raises(UnknownModel):
        own.resolve("")


def test_an_anthropic_url_in_the_environment_serves_claude() -> None:
    own = registry({"ANTHROPIC_BASE_URL": "http://127.0.0.1:8080"})
    for name in ("claude-haiku-4-5", "claude-3.5-sonnet"):
        model = own.resolve(name)
        assert (model.base_url, model.key_required, model.key_name) == ("http://127.0.0.1:8080", False, "anthropic")
    assert own.resolve("gpt-4o").key_required


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("box", "http://box:11434/v1"),
        ("box:80", "http://box:80/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("https://ollama.example.com", "https://ollama.example.com:443/v1"),
        ("http://box:1234/v1/", "http://box:1234/v1"),
        ("http://[::1]:7", "http://[::1]:7/v1"),
        ("", "http://127.0.0.1:11434/v1"),
    ],
)
def test_ollama_is_found_where_its_own_variable_says(host: str, url: str) -> None:
    assert registry({"OLLAMA_HOST": host}).resolve("ollama/llama3").base_url == url


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x:99999/", "http://a b/", "nonsense"])
def test_a_variable_that_holds_no_url_is_an_error_that_names_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"\$OPENAI_BASE_URL"):
        registry({"OPENAI_BASE_URL": url}).resolve("gpt-4o")


@pytest.mark.parametrize(
    ("environ", "keys", "name"),
    [
        ({}, set(), "smollm2"),
        ({}, {"groq"}, "smollm2"),
        ({}, {"openai", "anthropic"}, "gpt-4o-mini"),
        ({}, {"anthropic"}, "claude-haiku-4-5"),
        ({"OPENAI_BASE_URL": "http://x"}, set(), "gpt-4o-mini"),
        ({"ANTHROPIC_BASE_URL": "http://x"}, set(), "claude-haiku-4-5"),
    ],
)
def test_the_default_follows_what_can_be_reached(environ: dict[str, str], keys: set[str], name: str) -> None:
    own = registry(environ)
    assert own.default_model(None, keys.__contains__).name == name
    assert own.default_model("", keys.__contains__).name == name
    assert own.default_model("gpt-4.1", keys.__contains__).name == "gpt-4.1"


def test_the_listing_opens_with_the_users_own_and_has_no_doubles(tmp_path: Path) -> None:
    for name in ("SmolLM2-135M-Instruct.Q4_1.gguf", "qwen.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    own = registry(custom={"mine": MINE}, aliases={"fast": "gpt-4o-mini", "gone": "no-such"}, model_dir=tmp_path)
    names = [model.name for model in own.listing(all=False)]
    assert names[:2] == ["mine", "gpt-4o-mini"]
    assert len(names) == len(set(names))
    assert {"gpt-4o", "claude-3.5-sonnet", "claude-3.5-haiku", "smollm2", "local/qwen", "claude-haiku-4-5"} <= set(
        names
    )
    assert not [name for name in names if "2024" in name or "embedding" in name or name.startswith("ft:")]
    assert len(names) < 100 < len(own.listing(all=True))


def test_without_a_map_names_still_resolve_and_prices_are_unknown() -> None:
    own = registry(catalog=Catalog(None))
    assert own.resolve("gpt-4o").price is None
    assert own.resolve("o3").takes_sampling is False
    assert own.resolve("claude-3.5-haiku").price is not None
    assert [model.name for model in own.listing(all=True)] == [
        "gpt-4o",
        "gpt-4o-mini",
        "claude-3.5-sonnet",
        "claude-3.5-haiku",
        "smollm2",
    ]


@given(st.text(max_size=30))
def test_any_text_resolves_or_is_refused_in_our_words(text: str) -> None:
    own = registry(catalog=Catalog(None))
    try:
        model = own.resolve(text)
    except UnknownModel:
        return
    assert own.resolve(model.name) == model


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "nowhere"},
        {"base_url": ""},
        {"base_url": None},
        {"wire": "gopher"},
        {"model_id": " "},
        {"model_id": 7},
        {"context_tokens": 0},
        {"context_tokens": True},
        {"context_tokens": "8k"},
        {"max_output_tokens": -1},
        {"input_usd_per_mtok": 0, "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": 1, "output_usd_per_mtok": -1},
        {"input_usd_per_mtok": "abc", "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": float("nan"), "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": [1], "output_usd_per_mtok": 1},
        {"input_usd_per_mtok": 1},
        {"cached_usd_per_mtok": 1},
        {"colour": "red"},
    ],
)
def test_a_custom_model_that_cannot_be_right_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="model"):
        custom_models({"my model": {**MINE, **wrong}})


def test_a_custom_model_may_say_everything() -> None:
    model = CustomModel(
        name="mine",
        base_url="https://x.example/v1/",
        model_id="id",
        wire="anthropic",
        key_name="work",
        context_tokens=9,
        max_output_tokens=8,
        input_usd_per_mtok="0.0000000001",
        output_usd_per_mtok=1,
        cached_usd_per_mtok=0.5,
    ).as_model()
    assert (model.base_url, model.wire, model.key_name, model.provider) == (
        "https://x.example/v1",
        "anthropic",
        "work",
        "work",
    )
    assert (model.context_tokens, model.max_output_tokens, model.wire_name) == (9, 8, "id")
    assert model.price == Price(Rates(1, 100 * NANO_PER_CENT, cached_input=50 * NANO_PER_CENT))


def test_keys_are_looked_up_under_the_variables_providers_use() -> None:
    assert key_environment_variables("openai") == ("OPENAI_API_KEY",)
    assert key_environment_variables("anthropic") == ("ANTHROPIC_API_KEY",)
    assert key_environment_variables("gemini") == ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    assert key_environment_variables("my-own.key") == ("MY_OWN_KEY_API_KEY",)
    assert {endpoint.key_name for endpoint in DIRECT.values() if endpoint.key_name} <= set(KEY_NAMES)
    assert registry().resolve("bedrock/anthropic.claude-3-haiku-20240307-v1:0").key_name is None


def test_resolving_imports_nothing_heavy() -> None:
    code = "import sys; from pathlib import Path; before = set(sys.modules)\n"
    code += "from aichat_cli.providers.registry import Registry\n"
    code += "Registry({}, {}, {}, Path('x')).resolve('gpt-4o-mini')\n"
    code += "heavy = {'litellm', 'tiktoken', 'difflib', 'subprocess', 'asyncio', 'hashlib', 'xllamacpp', 'zipfile'}\n"
    code += "print(sorted(heavy & (set(sys.modules) - before)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize(
    ("typed", "reads"),
    [
        ("gpt-4o-mini", (True, True, False)),
        ("gpt-audio-mini", (False, False, True)),
        ("gpt-3.5-turbo", (False, False, False)),
        ("gpt-4", (False, False, False)),
        ("o3-mini", (False, False, False)),
        ("ft:gpt-4o-2024-11-20", (None, True, False)),
        ("claude-haiku-4-5", (True, True, False)),
        ("claude-3.5-sonnet", (True, None, False)),
        ("claude-99-imaginary", (None, None, False)),
        ("gemini/gemini-2.5-flash", (True, True, True)),
        ("groq/some-new-model", (None, None, None)),
        ("smollm2", (False, False, False)),
        ("./any.gguf", (False, False, False)),
    ],
)
def test_what_files_a_model_reads_is_known_or_unknown(typed: str, reads: tuple[bool | None, ...]) -> None:
    model = registry().resolve(typed)
    assert (model.reads("image"), model.reads("pdf"), model.reads("audio")) == reads


def test_the_models_named_as_readers_read_such_files() -> None:
    for kind, names in READERS.items():
        assert [registry().resolve(name).reads(kind) for name in names] == [True] * len(names)


def test_nothing_is_known_of_what_a_custom_model_reads_but_what_its_wire_cannot_say() -> None:
    custom = {"a": MINE, "b": {**MINE, "wire": "anthropic"}}
    models = [registry(custom=custom).resolve(name) for name in custom]
    assert [(m.reads("image"), m.reads("audio")) for m in models] == [(None, None), (None, False)]


@pytest.mark.parametrize(
    ("name", "canonical", "wire", "dimensions", "nano_per_mtok"),
    [
        ("text-embedding-3-small", "text-embedding-3-small", "openai", 1536, 20_000_000),
        ("openai/text-embedding-3-large", "text-embedding-3-large", "openai", 3072, 130_000_000),
        ("gemini/gemini-embedding-001", "gemini/gemini-embedding-001", "litellm", 3072, 150_000_000),
        ("embed-english-v3.0", "cohere/embed-english-v3.0", "litellm", None, 100_000_000),
        ("mistral/mistral-embed", "mistral/mistral-embed", "litellm", None, None),
        ("ollama/nomic-embed-text", "ollama/nomic-embed-text", "openai", None, 0),
        ("openai/not-yet-known", "openai/not-yet-known", "openai", None, None),
        ("voyage/not-yet-known", "voyage/not-yet-known", "litellm", None, None),
    ],
)
def test_an_embedding_model_has_its_endpoint_price_and_dimensions(
    name: str, canonical: str, wire: str, dimensions: int | None, nano_per_mtok: int | None
) -> None:
    model = registry().embedding_model(name)
    assert (model.name, model.wire, model.dimensions) == (canonical, wire, dimensions)
    assert registry().embedding_model(model.name) == model
    assert model.key_name == (None if wire == "openai" and "ollama" in name else model.provider)
    if nano_per_mtok is not None:
        assert model.price == Price(Rates(nano_per_mtok, 0))


def test_what_makes_no_vectors_is_no_embedding_model() -> None:
    for name in ("gpt-4o", "claude-sonnet-4-5", "anthropic/embed", "nothing-like-it", "", "local/x"):
        with pytest.raises(UnknownModel, match="No embedding model"):
            registry().embedding_model(name)
    with pytest.raises(UnknownModel, match=r"Did you mean .*text-embedding-3-small"):
        registry().embedding_model("text-embedding-3-smal")


def test_aliases_custom_models_and_own_endpoints_embed_too() -> None:
    mine = {"mine": MINE | {"model_id": "bge"}}
    own = registry({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, custom=mine, aliases={"e": "text-embedding-3-small"})
    assert own.embedding_model("e").name == "text-embedding-3-small"
    assert own.embedding_model("mine").wire_name == "bge"
    assert (own.embedding_model("bge-m3").name, own.embedding_model("bge-m3").base_url) == ("bge-m3", MINE["base_url"])
