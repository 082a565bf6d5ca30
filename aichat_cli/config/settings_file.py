"""Writing the settings file: comments and order survive, and a crash leaves the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aichat_cli.config.settings_table import Setting, Value
from aichat_cli.core.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def set_value(path: Path, setting: Setting, value: Value) -> None:
    """Store a setting's value."""
    with _edited(path) as document:
        table, key = _table_of(document, setting.name)
        table[key] = list(value) if isinstance(value, tuple) else value


def unset_value(path: Path, setting: Setting) -> bool:
    """Remove a setting, so that its default holds; False when it was not there."""
    with _edited(path) as document:
        table, key = _table_of(document, setting.name)
        return table.pop(key, None) is not None


def set_entry(path: Path, section: str, name: str, entry: str | Mapping[str, Any]) -> None:
    """Store `[section] name = entry`, or the table `[section.name]`."""
    import tomlkit

    with _edited(path) as document:
        table = _as_table(
            document.setdefault(section, tomlkit.table(is_super_table=isinstance(entry, Mapping))), section
        )
        table[name] = entry


def remove_entry(path: Path, section: str, name: str) -> None:
    """Remove what `set_entry` stored.

    Raises:
        NotFound: it is not there.
    """
    with _edited(path) as document:
        table = _as_table(document.get(section, {}), section)
        if name not in table:
            raise NotFound(f'No "{name}" under [{section}] in {path}.')
        table.pop(name)


def _table_of(document: TOMLDocument, dotted: str) -> tuple[Any, str]:
    import tomlkit

    *parents, key = dotted.split(".")
    table: Any = document
    for part in parents:
        table = _as_table(table.setdefault(part, tomlkit.table()), part)
    return table, key


def _as_table(value: Any, name: str) -> Any:
    if not isinstance(value, MutableMapping):
        raise ConfigError(f"{name} is not a table in the settings file.", hint="Run: aichat config edit")
    return value


@contextmanager
def _edited(path: Path) -> Iterator[TOMLDocument]:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(path.read_text("utf-8")) if path.exists() else tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as exc:
        raise ConfigError(f"Cannot read {path}: {exc}", hint="Run: aichat config edit") from exc
    yield document
    write_private(path, tomlkit.dumps(document))


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read, whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    path = path.resolve()  # a link into somebody's dotfiles stays a link
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as exc:
        with suppress(OSError):
            temporary.unlink()
        raise ConfigError(f"Cannot write {path}: {exc.strerror}.") from exc
