"""The user's own models: what one is made of, and how they are read from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal

from aichat_cli.core.errors import ConfigError
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price
from aichat_cli.providers.endpoints import checked_url
from aichat_cli.providers.pricing import PRICE_FIELDS, price_from


@dataclass(frozen=True, slots=True)
class CustomModel:
    """A model the user added: an endpoint of their own, or another name and price for a known one.

    Prices are US dollars per million tokens: of input and output both, or none; `free` costs nothing. `key_name` None means that no key is
    sent.

    Raises:
        ConfigError: the URL, the wire, a price or a number of tokens cannot be right.
    """

    name: str
    base_url: str
    model_id: str
    wire: Literal["openai", "anthropic"] = "openai"
    key_name: str | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_mtok: Decimal | float | str | None = None
    output_usd_per_mtok: Decimal | float | str | None = None
    cached_usd_per_mtok: Decimal | float | str | None = None
    cache_write_usd_per_mtok: Decimal | float | str | None = None
    reasoning_usd_per_mtok: Decimal | float | str | None = None
    free: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.model_id.strip():
            raise ConfigError("A custom model needs a name and a model id.", hint="Run: aichat models add --help")
        checked_url(self.base_url, f'The base URL of model "{self.name}"')
        if self.wire not in {"openai", "anthropic"}:
            raise ConfigError(f'Model "{self.name}": wire is "{self.wire}", but must be openai or anthropic.')
        for count in (self.context_tokens, self.max_output_tokens):
            if count is not None and count <= 0:
                raise ConfigError(f'Model "{self.name}": a number of tokens must be positive, not {count}.')
        self._price()

    def as_model(self) -> Model:
        """The model as the rest of the house knows it."""
        return Model(
            name=self.name,
            wire_name=self.model_id,
            provider=self.key_name or "custom",
            wire=self.wire,
            base_url=checked_url(self.base_url, "The base URL"),
            key_name=self.key_name,
            key_required=False,
            context_tokens=self.context_tokens,
            max_output_tokens=self.max_output_tokens,
            price=self._price(),
            reads_audio=False if self.wire == "anthropic" else None,
        )

    def _price(self) -> Price | None:
        return price_from(self.name, {field: getattr(self, field) for field in (*PRICE_FIELDS, "free")})


_FIELDS = frozenset(field.name for field in fields(CustomModel)) - {"name"}
_TEXTS = frozenset({"base_url", "model_id", "wire", "key_name"})
_COUNTS = frozenset({"context_tokens", "max_output_tokens"})


def custom_models(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, CustomModel]:
    """The `[models.NAME]` tables of the settings file as models. `model_id` is the name where it is left out.

    Raises:
        ConfigError: a table has an unknown field, lacks its base URL, or holds a value that cannot be right.
    """
    return {name: _custom_model(name, table) for name, table in tables.items()}


def _custom_model(name: str, table: Mapping[str, Any]) -> CustomModel:
    unknown = sorted(set(table) - _FIELDS)
    if unknown:
        raise ConfigError(f'Model "{name}" has an unknown field "{unknown[0]}".', hint="Run: aichat config edit")
    for field, value in table.items():
        expected = str if field in _TEXTS else int if field in _COUNTS else int | float | str
        if field == "free":
            expected = bool
        if isinstance(value, bool) is not (field == "free") or not isinstance(value, expected):
            raise ConfigError(f'Model "{name}": {field} cannot be "{value}".', hint="Run: aichat config edit")
    if not table.get("base_url"):
        raise ConfigError(f'Model "{name}" has no base_url.', hint="Run: aichat config edit")
    return CustomModel(**{"name": name, "model_id": name, **table})
