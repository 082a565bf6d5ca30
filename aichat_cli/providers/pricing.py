"""Prices that users give: for models of their own, and for any other in place of the one that litellm's map has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aichat_cli.core.errors import ConfigError
from aichat_cli.core.money import FREE, Price, Rates, nano_from_usd

PRICE_FIELDS = (
    "input_usd_per_mtok",
    "output_usd_per_mtok",
    "cached_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "reasoning_usd_per_mtok",
)
"""US dollars per million tokens."""


def price_from(name: str, fields: Mapping[str, Any], *, is_embedding: bool = False) -> Price | None:
    """The price that `PRICE_FIELDS` and `free` of a table in the settings give; None where they are not there.

    Raises:
        ConfigError: a price is not positive, or one of input and output is missing. Only `free = true` makes a model
            free: a typing error does not.
    """
    given = {field: fields[field] for field in PRICE_FIELDS if fields.get(field) is not None}
    if fields.get("free"):
        if given:
            raise ConfigError(f'Model "{name}" is free or has a price, not both.', hint="Run: aichat config edit")
        return FREE
    if not given:
        return None
    rates = {field: _nano(name, usd) for field, usd in given.items()}
    if is_embedding:
        rates.setdefault("output_usd_per_mtok", 0)
    if not {"input_usd_per_mtok", "output_usd_per_mtok"} <= rates.keys():
        raise ConfigError(f'Model "{name}": give the prices of input and output, or neither.')
    return Price(Rates(*(rates.get(field) for field in PRICE_FIELDS)))  # type: ignore[arg-type]


def checked_prices(tables: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The `[prices.NAME]` tables of the settings file; their amounts are read when a model is asked for.

    Raises:
        ConfigError: one is no table, or has an unknown field.
    """
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"prices.{name} is not a table.", hint="Run: aichat config edit")
        unknown = sorted(set(table) - {*PRICE_FIELDS, "free"})
        if unknown:
            raise ConfigError(
                f'The price of "{name}" has an unknown field "{unknown[0]}".', hint="Run: aichat config edit"
            )
    return dict(tables)


def _nano(name: str, usd: object) -> int:
    """Dollars as nano-dollars."""
    try:
        nano = nano_from_usd(str(usd), rounds_up=True)
    except (ArithmeticError, ValueError):
        nano = 0
    if nano <= 0 or isinstance(usd, bool):
        raise ConfigError(f'Model "{name}": a price must be a positive number of dollars, not "{usd}".')
    return nano
