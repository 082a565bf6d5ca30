"""All settings: the values that hold, each with where it came from.

A value is looked up in the environment (`AICHAT_` and the name in capitals, dots as underscores), then in the
settings file, then in the table. The file is TOML; what it holds besides settings are `[models.NAME]` (custom
models), `[prices.NAME]`, `[plugins.NAME]` and `[aliases]`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aichat_cli.config.settings_table import BY_NAME, TABLE, Setting, Value
from aichat_cli.core.errors import ConfigError, NotFound, UsageError
from aichat_cli.core.money import nano_from_usd
from aichat_cli.core.struct import Struct


class Effective(Struct, frozen=True):
    """A setting's value and its source: `default`, the file's path, or the variable's name."""

    setting: Setting
    value: Value
    source: str


def known(name: str) -> Setting:
    """The setting of that name.

    Raises:
        NotFound: there is none; names a near one.
    """
    try:
        return BY_NAME[name]
    except KeyError:
        import difflib

        near = difflib.get_close_matches(name, BY_NAME, n=1)
        meant = f' Did you mean "{near[0]}"?' if near else ""
        raise NotFound(f'No setting "{name}".{meant}', hint="Run: aichat config list") from None


def parse(setting: Setting, raw: str) -> Value:
    """`raw` as the setting's value.

    Raises:
        UsageError: it is not allowed; says what is.
    """
    try:
        return setting.parse(raw)
    except ValueError as exc:
        raise UsageError(f'{setting.name} cannot be "{_shown(raw)}": it takes {exc}.') from None


def _shown(raw: str) -> str:
    """A refused value, but never an address, which may hold a password."""
    return raw.partition("://")[0] + "://..." if "://" in raw else raw


def as_text(value: Value) -> str:
    """The value as a user would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)


class Settings:
    """The settings file and the environment, read once."""

    def __init__(self, path: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.path = path
        self._environ = environ
        self._tables = _read(path)

    def effective(self, name: str) -> Effective:
        """The value of a setting and where it came from.

        Raises:
            NotFound: no such setting.
            ConfigError: the file or the environment holds a value that is not allowed.
        """
        setting = known(name)
        raw = self._environ.get(setting.variable)
        if raw:
            return Effective(setting, self._checked(setting, raw, f"${setting.variable}"), setting.variable)
        stored = self._stored(name)
        if stored is not None:
            value = self._checked(setting, _plain_text(stored), str(self.path))
            return Effective(setting, value, str(self.path))
        return Effective(setting, setting.default, "default")

    def text(self, name: str) -> str:
        """A text setting; empty when it is not set."""
        value = self.effective(name).value
        assert isinstance(value, str)
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """A list setting."""
        value = self.effective(name).value
        assert isinstance(value, tuple)
        return value

    def number(self, name: str) -> float:
        """A number setting."""
        value = self.effective(name).value
        assert isinstance(value, int | float)
        return value

    def amount_nano(self, name: str) -> int | None:
        """An amount of dollars in nano-dollars; None where there is none."""
        value = self.effective(name).value
        return None if value == "" else nano_from_usd(str(value))

    def flag(self, name: str) -> bool:
        """A yes-or-no setting."""
        value = self.effective(name).value
        assert isinstance(value, bool)
        return value

    def listing(self) -> list[Effective]:
        """Every setting, in the order of the table."""
        return [self.effective(setting.name) for setting in TABLE]

    def aliases(self) -> dict[str, str]:
        """The user's own model aliases."""
        return {name: str(target) for name, target in self._table("aliases").items()}

    def prices(self) -> dict[str, Any]:
        """The `[prices.NAME]` tables as they stand; `providers.pricing` checks them."""
        return self._table("prices")

    def custom_models(self) -> dict[str, dict[str, Any]]:
        """The `[models.NAME]` tables as they stand; the registry checks them."""
        tables = self._table("models")
        for name, fields in tables.items():
            if not isinstance(fields, dict):
                raise ConfigError(f"models.{name} in {self.path} is not a table.", hint="Run: aichat config edit")
        return tables

    def plugin_options(self, name: str) -> dict[str, Any]:
        """The table `[plugins.NAME]`: what somebody else's package of that name is told."""
        options = self._table("plugins").get(name, {})
        if not isinstance(options, dict):
            raise ConfigError(f"plugins.{name} in {self.path} is not a table.", hint="Run: aichat config edit")
        return options

    def unknown_names(self) -> list[str]:
        """What the file holds that no setting is called: a typing error nobody would notice otherwise."""
        return [name for name in _flattened(self._tables) if name not in BY_NAME and not _is_own_table(name)]

    def _stored(self, name: str) -> object | None:
        table: Any = self._tables
        for part in name.split("."):
            if not isinstance(table, dict):
                raise ConfigError(
                    f"{name.split('.', maxsplit=1)[0]} in {self.path} is not a table.", hint="Run: aichat config edit"
                )
            if part not in table:
                return None
            table = table[part]
        return table  # type: ignore[no-any-return]

    def _table(self, name: str) -> dict[str, Any]:
        table = self._tables.get(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{name} in {self.path} is not a table.", hint="Run: aichat config edit")
        return table

    def _checked(self, setting: Setting, raw: str, source: str) -> Value:
        try:
            return setting.parse(raw)
        except ValueError as exc:
            hint = f"Correct or unset {source[1:]}" if source.startswith("$") else "Run: aichat config edit"
            raise ConfigError(f'{setting.name} is "{_shown(raw)}" in {source}: it takes {exc}.', hint=hint) from None


def _is_own_table(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in {"models", "aliases", "prices", "plugins"}


def _plain_text(stored: object) -> str:
    if isinstance(stored, bool):
        return "true" if stored else "false"
    if isinstance(stored, list):
        return ",".join(str(item) for item in stored)
    return str(stored)


def _flattened(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in table.items():
        if isinstance(value, dict):
            names += _flattened(value, f"{prefix}{key}.")
        else:
            names.append(prefix + key)
    return names


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigError(f"Cannot read {path}: {exc.strerror}.") from exc
    import tomllib

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}.", hint="Run: aichat config edit") from exc
