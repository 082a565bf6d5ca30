"""Roles: named system prompts, each a file `NAME.md` in one folder, which the user may edit with anything.

The whole text is the system prompt. First lines of TOML between two lines `+++` may name a model and options:

    +++
    model = "gpt-4o"
    options = { temperature = 0 }
    +++
    You review code ...
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aichat_cli.core.errors import ConfigError, NotFound, UsageError
from aichat_cli.core.struct import Struct, field

SUFFIX = ".md"
LONGEST_NAME = 64
_NAME = re.compile(r"\w[\w-]*")
_FENCE = "+++"
_FIELDS = frozenset({"model", "options"})


class ChatRole(Struct, frozen=True):
    """One role. `prompt` is empty where only a model or options are set; `options` are as given with `-o`."""

    name: str
    prompt: str
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def names(folder: Path) -> list[str]:
    """The roles there are, in order; none where there is no folder yet."""
    try:
        stems = [path.stem for path in folder.iterdir() if path.suffix == SUFFIX and path.is_file()]
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise ConfigError(f"Cannot read {folder}: {exc.strerror}.") from exc
    return sorted(stem for stem in stems if _is_name(stem))


def listing(folder: Path) -> list[ChatRole]:
    """Every role, in order of name.

    Raises:
        ConfigError: one of the files cannot be read or understood.
    """
    return [load(folder, name) for name in names(folder)]


def load(folder: Path, name: str) -> ChatRole:
    """The role of that name.

    Raises:
        UsageError: the name is none a role can have.
        NotFound: there is no such role; names a near one.
        ConfigError: its file cannot be read, is empty, or does not begin as it should.
    """
    path = existing_file(folder, name)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"Cannot read the role in {path}: {exc}.") from exc
    front, prompt = _split(text.replace("\r\n", "\n"), path)
    model, options = front.get("model"), front.get("options", {})
    unknown = sorted(front.keys() - _FIELDS)
    if unknown:
        raise _malformed(path, f'"{unknown[0]}" is neither model nor options')
    if not isinstance(model, str | None) or not isinstance(options, dict) or not _is_json(options):
        raise _malformed(path, "model is a text, and options a table of texts and numbers")
    if not prompt.strip() and not front:
        raise ConfigError(f"The role in {path} is empty.", hint=f"Run: aichat roles edit {name}")
    return ChatRole(name, prompt.strip("\n"), model or None, options)


def file_of(folder: Path, name: str) -> Path:
    """Where a role of that name is kept, whether it is there or not; raises UsageError for a name no role can have."""
    if not _is_name(name):
        raise UsageError(f'A role cannot be called "{name}": letters, digits, - and _ make a name.')
    return folder / f"{name}{SUFFIX}"


def existing_file(folder: Path, name: str) -> Path:
    """The file of a role that is there; raises as `load` does."""
    path = file_of(folder, name)
    known = names(folder)
    if name in known:
        return path
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    raise NotFound(
        f'There is no role "{name}".{meant}',
        hint="Run: aichat roles list" if known else f"To write it: aichat roles edit {name}",
    )


def remove(folder: Path, name: str) -> None:
    """Delete a role; raises as `load` does, and ConfigError where the file cannot be deleted."""
    path = existing_file(folder, name)
    try:
        path.unlink()
    except OSError as exc:
        raise ConfigError(f"Cannot delete {path}: {exc.strerror}.") from exc


def _is_json(value: object) -> bool:
    """Whether it can be sent: TOML has dates and infinite numbers too."""
    import json

    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST_NAME and _NAME.fullmatch(name) is not None


def _split(text: str, path: Path) -> tuple[dict[str, Any], str]:
    """The fields between the fences, and the text after them."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        return {}, text
    end = next((number for number, line in enumerate(lines) if number and line.rstrip() == _FENCE), None)
    if end is None:
        raise _malformed(path, "the line +++ that ends the first lines is missing")
    import tomllib

    try:
        return tomllib.loads("\n".join(lines[1:end])), "\n".join(lines[end + 1 :])
    except tomllib.TOMLDecodeError as exc:
        raise _malformed(path, f"the first lines are not valid TOML: {exc}") from exc


def _malformed(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"The role in {path} cannot be used: {reason}.", hint=f"Run: aichat roles edit {path.stem}")
