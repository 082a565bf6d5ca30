"""The price map: what is read from it, and that a fast look-up says what a full parse says."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.core.money import FREE, NANO_PER_CENT, Price, Rates
from aichat_cli.providers.catalog import Catalog, CatalogEntry, installed
from tests.bare import run_bare

PAID: dict[str, Any] = {
    "litellm_provider": "openai",
    "mode": "chat",
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 2e-6,
}


def catalog_of(tmp_path: Path, models: dict[str, Any], **layout: Any) -> Catalog:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(models, **(layout or {"indent": 4})))
    return Catalog(path)


def entry_of(tmp_path: Path, name: str = "m", **fields: Any) -> CatalogEntry:
    entry = catalog_of(tmp_path, {name: {**PAID, **fields}}).lookup(name)
    assert entry is not None
    return entry


def rates_of(name: str) -> Rates:
    entry = installed().lookup(name)
    assert entry is not None
    assert entry.price is not None
    return entry.price.rates


@pytest.mark.parametrize(
    ("name", "cents"),
    [
        ("gpt-4o", (250, 1000, 125)),
        ("gpt-4o-mini", (15, 60, Decimal("7.5"))),
        ("claude-haiku-4-5", (100, 500, 10)),
        ("claude-sonnet-4-6", (300, 1500, 30)),
        ("gpt-5", (125, 1000, Decimal("12.5"))),
        ("gemini/gemini-2.5-pro", (125, 1000, Decimal("12.5"))),
    ],
)
def test_known_prices_are_read_to_the_nano_dollar(name: str, cents: tuple[Decimal, ...]) -> None:
    rates = rates_of(name)
    assert (rates.input, rates.output, rates.cached_input) == tuple(int(cent * NANO_PER_CENT) for cent in cents)


def test_prices_of_writing_to_the_cache_are_read() -> None:
    assert rates_of("claude-haiku-4-5").cache_write == 125 * NANO_PER_CENT


def test_a_single_look_up_says_what_the_full_parse_says_of_every_model() -> None:
    path = installed()._path
    fast, full = Catalog(path), Catalog(path)
    every = list(full.names())
    assert len(every) > 2000
    for name in [*every[::23], "gpt-4o", "claude-haiku-5-5"]:
        assert fast.lookup(name) == full.lookup(name), name


def test_a_look_up_does_not_decode_the_whole_map() -> None:
    catalog = Catalog(installed()._path)
    assert catalog.lookup("gpt-4o-mini") is not None
    assert catalog.lookup("no-such-model") is None
    assert catalog._parsed is None


@pytest.mark.parametrize("layout", [{"indent": 4}, {"indent": 2}, {"separators": (",", ":")}, {"indent": 1}])
def test_any_layout_of_the_file_is_read(tmp_path: Path, layout: dict[str, Any]) -> None:
    catalog = catalog_of(tmp_path, {"a": PAID, 'with "quotes"': PAID, "nested": {**PAID, "deep": {"b": {}}}}, **layout)
    for name in ("a", 'with "quotes"', "nested"):
        entry = catalog.lookup(name)
        assert entry is not None
        assert entry.price == Price(Rates(1_000_000_000, 2_000_000_000))
    assert catalog.lookup("b") is None
    assert catalog.has_provider("openai")
    assert not catalog.has_provider("open")


@pytest.mark.parametrize("content", ["", "[]", "null", '{"m": ', '{\n    "m": {\n        broken\n    }\n}', '{"m": 3}'])
def test_a_damaged_map_knows_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(content)
    assert Catalog(path).lookup("m") is None
    assert Catalog(path).entries() == ()


@pytest.mark.parametrize("path", [None, Path("/nonexistent/map.json")])
def test_a_missing_map_knows_nothing(path: Path | None) -> None:
    assert Catalog(path).lookup("gpt-4o") is None
    assert Catalog(path).entries() == ()
    assert not Catalog(path).has_provider("openai")


def test_without_litellm_nothing_is_known() -> None:
    code = "from aichat_cli.providers import catalog\nassert catalog.installed().lookup('gpt-4o') is None; print('ok')"
    result = run_bare(code)
    assert result.stdout == "ok\n", result.stderr


@pytest.mark.parametrize("bad", [0, 0.0, -1e-6, None, "free", "NaN", "Infinity", True, []])
@pytest.mark.parametrize("field", ["input_cost_per_token", "output_cost_per_token"])
def test_a_price_that_is_not_positive_is_unknown_and_not_free(tmp_path: Path, field: str, bad: Any) -> None:
    assert entry_of(tmp_path, **{field: bad}).price is None


def test_a_cached_price_of_zero_is_not_believed(tmp_path: Path) -> None:
    price = entry_of(tmp_path, cache_read_input_token_cost=0.0, cache_creation_input_token_cost=-1).price
    assert price == Price(Rates(1_000_000_000, 2_000_000_000))


def test_the_price_of_a_cache_hit_under_its_other_name_is_read(tmp_path: Path) -> None:
    price = entry_of(tmp_path, input_cost_per_token_cache_hit=1e-7).price
    assert price is not None
    assert price.rates.cached_input == 100_000_000


def test_reasoning_tokens_have_their_own_rate(tmp_path: Path) -> None:
    price = entry_of(tmp_path, output_cost_per_reasoning_token=3e-6).price
    assert price is not None
    assert price.rates.reasoning == 3_000_000_000


@pytest.mark.parametrize("provider", ["ollama", "lm_studio", "llamafile"])
def test_models_on_the_users_machine_are_free(tmp_path: Path, provider: str) -> None:
    fields = {"litellm_provider": provider, "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
    assert entry_of(tmp_path, f"{provider}/llama", **fields).price == FREE
    assert entry_of(tmp_path, f"{provider}/llama:120b-cloud", **fields).price is None


def test_dearer_rates_above_a_threshold_apply_to_larger_prompts_only(tmp_path: Path) -> None:
    price = entry_of(
        tmp_path,
        cache_read_input_token_cost=1e-7,
        output_cost_per_reasoning_token=5e-6,
        input_cost_per_token_above_200k_tokens=4e-6,
        output_cost_per_token_above_200k_tokens=6e-6,
        input_cost_per_token_above_128k_tokens=3e-6,
        cache_read_input_token_cost_above_128k_tokens=2e-7,
        input_cost_per_token_above_100k_tokens_priority=9e-6,
    ).price
    assert price is not None
    assert price.rates_for(128_000).input == 1_000_000_000
    assert price.rates_for(128_001) == Rates(3_000_000_000, 2_000_000_000, 200_000_000, None, 5_000_000_000)
    assert price.rates_for(200_001) == Rates(4_000_000_000, 6_000_000_000, 100_000_000, None, 5_000_000_000)
    assert [threshold for threshold, _ in price.tiers] == [128_000, 200_000]


def test_a_price_given_as_ranges_becomes_tiers(tmp_path: Path) -> None:
    cheap = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "range": [0, 256000.0]}
    dear = {"input_cost_per_token": 3e-6, "output_cost_per_token": 4e-6, "range": [256000.0, 1e6]}
    price = entry_of(tmp_path, tiered_pricing=[dear, cheap]).price
    assert price == Price(Rates(1_000_000_000, 2_000_000_000), tiers=((256_000, Rates(3_000_000_000, 4_000_000_000)),))


@pytest.mark.parametrize(
    "ranges",
    [
        [],
        "x",
        ["x"],
        [{"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}],
        [{"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "range": []}],
        [{"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6, "range": [5, 9]}],
        [{"input_cost_per_token": 0, "output_cost_per_token": 1e-6, "range": [0, 9]}],
    ],
)
def test_ranges_that_make_no_sense_leave_the_price_unknown(tmp_path: Path, ranges: object) -> None:
    assert entry_of(tmp_path, tiered_pricing=ranges).price is None


def test_a_model_that_charges_for_each_call_has_no_known_price(tmp_path: Path) -> None:
    fee = {"search_context_cost_per_query": {"search_context_size_low": 0.01}}
    assert entry_of(tmp_path, input_cost_per_request=0.005).price is None
    assert entry_of(tmp_path, "gpt-4o-search-preview", **fee).price is None
    assert entry_of(tmp_path, "perplexity/sonar", litellm_provider="perplexity", **fee).price is None
    assert entry_of(tmp_path, "gpt-4o", **fee).price is not None


def test_capabilities_are_read(tmp_path: Path) -> None:
    entry = entry_of(
        tmp_path,
        max_input_tokens=200000.0,
        max_output_tokens="8192",
        supports_reasoning=True,
        supports_sampling_params=False,
        deprecation_date="2026-01-01",
    )
    assert (entry.context_tokens, entry.max_output_tokens) == (200_000, 8192)
    assert (entry.supports_reasoning, entry.reasons_unasked, entry.takes_sampling) == (True, True, False)
    assert entry.deprecation_date == "2026-01-01"
    unasked = entry_of(tmp_path, supports_reasoning=True, default_reasoning_effort="none")
    assert (unasked.supports_reasoning, unasked.reasons_unasked, unasked.takes_sampling) == (True, False, True)


@pytest.mark.parametrize("bad", ["many", -5, 0, None, True, [], "1e999"])
def test_a_number_of_tokens_that_makes_no_sense_is_unknown(tmp_path: Path, bad: object) -> None:
    assert entry_of(tmp_path, max_input_tokens=bad).context_tokens is None


def test_entries_are_the_models_one_can_chat_with(tmp_path: Path) -> None:
    models = {
        "sample_spec": PAID,
        "chat": PAID,
        "responses": {**PAID, "mode": "responses"},
        "embedding": {**PAID, "mode": "embedding"},
        "odd": 3,
    }
    assert [entry.name for entry in catalog_of(tmp_path, models).entries()] == ["chat", "responses"]
