"""The price and capability map that litellm ships, read as data: litellm itself is never imported here.

The map is one JSON object of 3 MB. A single model is found by its line and only its entry is decoded, so that a
one-shot does not pay for the rest. A price that is missing, zero or negative is unknown, never free, except for models
that run on the user's own machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from aichat_cli.core.money import FREE, Price, Rates, nano_per_mtok
from aichat_cli.core.struct import Struct

CHAT_MODES = frozenset({"chat", "responses"})
"""`responses` models speak OpenAI's newer endpoint only; they take the same messages."""

EMBEDDING_MODE = "embedding"
"""Models that make vectors, which are charged for what they read alone."""

_LOCAL_PROVIDERS = frozenset({"ollama", "ollama_chat", "lm_studio", "llamafile"})
_KEPT_UP = frozenset({"openai", "anthropic"})
_TEXT_ONLY = re.compile(r"(ft:)?gpt-(3\.5-|4($|-\d))")
"""OpenAI's models from before they could see, of which the map does not say so."""
_FEES_PER_CALL = ("input_cost_per_request", "input_cost_per_query", "citation_cost_per_token")
_TIER = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


class CatalogEntry(Struct, frozen=True):
    """What the map says of one model.

        `provider` is litellm's name for it. `reasons_unasked` is False where reasoning must be asked for. `takes_sampling`
        is False where the map says that temperature and top_p are refused. `reads_images` and its like are None where the map
    does not tell. `dimensions` are an embedding model's. `deprecation_date` `deprecation_date` is ISO text, or None.
    """

    name: str
    provider: str
    mode: str
    context_tokens: int | None
    max_output_tokens: int | None
    price: Price | None
    supports_reasoning: bool
    reasons_unasked: bool
    takes_sampling: bool
    reads_images: bool | None
    reads_pdf: bool | None
    reads_audio: bool | None
    deprecation_date: str | None
    dimensions: int | None


class Catalog:
    """One map file; `path` is None, or the file unreadable, where litellm is not installed: then nothing is known."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._bytes: bytes | None = None
        self._parsed: dict[str, Any] | None = None
        self._found: dict[str, CatalogEntry | None] = {}

    def lookup(self, name: str) -> CatalogEntry | None:
        """The entry of exactly this name, or None."""
        if name not in self._found:
            fields = self._fields(name)
            self._found[name] = _entry(name, fields) if isinstance(fields, dict) else None
        return self._found[name]

    def entries(self) -> tuple[CatalogEntry, ...]:
        """All models one can chat with, in the order of the map."""
        names = (
            name
            for name, fields in self._all().items()
            if isinstance(fields, dict) and fields.get("mode") in CHAT_MODES and name != "sample_spec"
        )
        return tuple(entry for entry in map(self.lookup, names) if entry is not None)

    def names(self) -> Iterable[str]:
        """The names of all models in the map, of whatever kind."""
        return self._all().keys()

    def names_of(self, mode: str) -> list[str]:
        """The names of all models of one mode, such as `embedding`."""
        return [name for name, fields in self._all().items() if isinstance(fields, dict) and fields.get("mode") == mode]

    def has_provider(self, provider: str) -> bool:
        """Whether the map holds a model of this provider."""
        name = re.escape(json.dumps(provider).encode())
        return re.search(rb'"litellm_provider":\s*' + name, self._content()) is not None

    def _content(self) -> bytes:
        if self._bytes is None:
            try:
                self._bytes = self._path.read_bytes() if self._path else b""
            except OSError:
                self._bytes = b""
        return self._bytes

    def _fields(self, name: str) -> object:
        """The entry as decoded JSON: by its line where it is indented as the file is shipped, else by a full parse."""
        if self._parsed is None:
            content = self._content()
            key = json.dumps(name).encode()
            line = b"\n    " + key + b": "
            start = content.find(line)
            end = content.find(b"\n    }", start) + 6
            if start >= 0:
                try:
                    return json.loads(content[start + len(line) : end], parse_float=str)
                except ValueError:
                    return self._all().get(name)
            if key not in content:
                return None
        return self._all().get(name)

    def _all(self) -> dict[str, Any]:
        if self._parsed is None:
            try:
                parsed = json.loads(self._content(), parse_float=str)
            except ValueError:
                parsed = {}
            self._parsed = parsed if isinstance(parsed, dict) else {}
        return self._parsed


@lru_cache(maxsize=1)
def installed() -> Catalog:
    """The map of the litellm that is installed."""
    from importlib.util import find_spec

    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return Catalog(None)
    return Catalog(Path(spec.origin).with_name("model_prices_and_context_window_backup.json"))


def _entry(name: str, fields: dict[str, Any]) -> CatalogEntry:
    provider = fields.get("litellm_provider")
    deprecation = fields.get("deprecation_date")
    supports_reasoning = fields.get("supports_reasoning") is True
    is_text_only = provider == "openai" and _TEXT_ONLY.match(name) is not None
    reads_images = _reads(fields, "supports_vision", False if is_text_only else None)
    # Of these two the map is kept up: what takes PDF files or audio is marked so, everything else takes none.
    is_kept_up = provider in _KEPT_UP
    return CatalogEntry(
        name=name,
        provider=provider if isinstance(provider, str) else "",
        mode=str(fields.get("mode", "")),
        context_tokens=_count(fields.get("max_input_tokens")),
        max_output_tokens=_count(fields.get("max_output_tokens")),
        price=_price(name, fields),
        supports_reasoning=supports_reasoning,
        reasons_unasked=supports_reasoning and fields.get("default_reasoning_effort") != "none",
        takes_sampling=fields.get("supports_sampling_params") is not False,
        reads_images=reads_images,
        reads_pdf=_reads(fields, "supports_pdf_input", reads_images if is_kept_up else None),
        reads_audio=_reads(fields, "supports_audio_input", False if is_kept_up else None),
        deprecation_date=deprecation if isinstance(deprecation, str) else None,
        dimensions=_count(fields.get("output_vector_size")),
    )


def _reads(fields: dict[str, Any], name: str, otherwise: bool | None = None) -> bool | None:  # noqa: FBT001
    value = fields.get(name)
    return value if isinstance(value, bool) else otherwise


def _count(value: object) -> int | None:
    """A number of tokens; some maps write 200000.0."""
    try:
        number = int(float(value)) if isinstance(value, int | str) and not isinstance(value, bool) else 0
    except (ValueError, OverflowError):
        return None
    return number if number > 0 else None


def _price(name: str, fields: dict[str, Any]) -> Price | None:
    provider = fields.get("litellm_provider")
    if provider in _LOCAL_PROVIDERS and not name.endswith("-cloud"):
        return FREE
    if _charges_more_than_tokens(name, fields):
        return None
    if "tiered_pricing" in fields:
        return _price_of_ranges(fields["tiered_pricing"])
    rates = _rates(fields, "")
    if rates is None:
        return None
    thresholds = sorted(int(match[1]) for match in map(_TIER.fullmatch, fields) if match)
    tiers = [(number * 1000, _rates(fields, f"_above_{number}k_tokens", rates)) for number in thresholds]
    return Price(rates, tuple((threshold, tier) for threshold, tier in tiers if tier is not None))


def _charges_more_than_tokens(name: str, fields: dict[str, Any]) -> bool:
    """Whether each call carries a fee besides its tokens, so that the token price is not the cost."""
    if any(_nano(fields.get(fee)) for fee in _FEES_PER_CALL):
        return True
    searches_always = fields.get("litellm_provider") == "perplexity" or "-search-" in name
    return searches_always and "search_context_cost_per_query" in fields


def _rates(fields: dict[str, Any], suffix: str, base: Rates | None = None) -> Rates | None:
    """The rates whose fields end in `suffix`; what it does not name is charged as in `base`."""
    cached_name = "cache_read_input_token_cost" + suffix
    if not suffix and not _nano(fields.get(cached_name)):
        cached_name = "input_cost_per_token_cache_hit"
    input_rate = _nano(fields.get("input_cost_per_token" + suffix)) or (base.input if base else None)
    output_rate = _nano(fields.get("output_cost_per_token" + suffix)) or (base.output if base else None)
    if fields.get("mode") == EMBEDDING_MODE:
        output_rate = 0
    if input_rate is None or output_rate is None:
        return None
    return Rates(
        input=input_rate,
        output=output_rate,
        cached_input=_nano(fields.get(cached_name)) or (base.cached_input if base else None),
        cache_write=_nano(fields.get("cache_creation_input_token_cost" + suffix))
        or (base.cache_write if base else None),
        reasoning=_nano(fields.get("output_cost_per_reasoning_token" + suffix)) or (base.reasoning if base else None),
    )


def _price_of_ranges(ranges: object) -> Price | None:
    """The price of `tiered_pricing`: a list of ranges of input tokens, each with its rates."""
    tiers: list[tuple[int, Rates]] = []
    for item in ranges if isinstance(ranges, list) else ():
        rates = _rates(item, "") if isinstance(item, dict) else None
        bounds = item.get("range") if rates else None
        if rates is None or not isinstance(bounds, list) or not bounds:
            return None
        tiers.append((_count(bounds[0]) or 0, rates))
    tiers.sort(key=lambda tier: tier[0])
    if not tiers or tiers[0][0] != 0:
        return None
    return Price(tiers[0][1], tuple(tiers[1:]))


def _nano(value: object) -> int | None:
    """Dollars per token as nano-dollars per million tokens; None where it is no positive number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        nano = nano_per_mtok(value)
    except (ArithmeticError, ValueError):
        return None
    return nano if nano > 0 else None
