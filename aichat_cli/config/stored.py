"""What the settings file holds, as it stands: read whole, its values as the texts a user would type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aichat_cli.core.errors import ConfigError


def read(path: Path) -> dict[str, Any]:
    """The tables of the file, none where there is no file; raises ConfigError where it cannot be read."""
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


def as_typed(stored: object) -> str:
    """A stored value as the text that a user would type for it."""
    if isinstance(stored, bool):
        return "true" if stored else "false"
    if isinstance(stored, list):
        return ",".join(str(item) for item in stored)
    return str(stored)


def flattened(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all values."""
    names: list[str] = []
    for key, value in table.items():
        if isinstance(value, dict):
            names += flattened(value, f"{prefix}{key}.")
        else:
            names.append(prefix + key)
    return names
