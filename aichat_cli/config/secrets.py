"""Provider keys: found in order, kept in the system's keyring, and never shown.

Order: the flag (or AICHAT_KEY), the provider's environment variable, the keyring, the `key_command` setting, and a
0600 file where the machine has no keyring (servers, containers). The only importer of keyring.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aichat_cli.config.settings_file import write_private
from aichat_cli.core.errors import ConfigError, NotFound, UsageError
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct

SERVICE = "aichat"
_NAMES_ENTRY = "_names"
COMMAND_TIMEOUT_SECONDS = 60
SHORTEST_SECRET = 8


class KeyLocation(Struct, frozen=True):
    """Where a key was found; `source` reads `$OPENAI_API_KEY`, `keyring` and so on. Never the key."""

    name: str
    source: str


class KeyStore:
    """Finds and keeps keys by name, such as `openai`.

    Args:
        keys_file: the file of last resort.
        variables_of: the environment variables that may hold a named key.
        command: reads the `key_command` setting, only when it is reached.
        flag: the key given for this run, which stands for any name.
    """

    def __init__(
        self,
        keys_file: Path,
        variables_of: Callable[[str], Sequence[str]],
        *,
        command: Callable[[], str] = lambda: "",
        flag: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._keys_file = keys_file
        self._variables_of = variables_of
        self._command = command
        self._flag = flag
        self._environ = environ
        self._seen: set[str] = {flag} if flag else set()

    def find(self, name: str, *, by_flag: bool = True, by_command: bool = True) -> Secret | None:
        """The key of that name, or None; without `by_flag` the key of this run, which is a provider's, is not meant, and
        without `by_command` nobody is expected to have told `key_command` of it.

        Raises:
            ConfigError: `key_command` failed, or a stored key cannot be read.
        """
        if self._flag and by_flag:
            return self._remember(self._flag, "--key")
        for variable in self._variables_of(name):
            value = self._environ.get(variable, "").strip()
            if value:
                return self._remember(value, f"${variable}")
        in_keyring = _from_keyring(name)
        if in_keyring:
            return self._remember(in_keyring, "keyring")
        command = self._command() if by_command else ""
        if command:
            return self._remember(_from_command(command, name), "key_command")
        in_file = self._file_keys().get(name)
        return self._remember(in_file, str(self._keys_file)) if in_file else None

    def is_in_environment(self, name: str) -> bool:
        """Whether the flag or a variable holds it: no keyring is opened to answer this."""
        return bool(self._flag) or any(self._environ.get(variable, "").strip() for variable in self._variables_of(name))

    def store(self, name: str, value: str) -> KeyLocation:
        """Keep a key in the keyring, or in the 0600 file where there is none.

        Raises:
            UsageError: the key is empty or holds blanks or control characters.
            ConfigError: neither place can be written.
        """
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            raise UsageError(f'A key cannot be called "{name}": letters, digits, - and . make a name.')
        value = value.strip()
        if not value or any(character.isspace() or not character.isprintable() for character in value):
            raise UsageError("A key is one word without blanks; nothing was stored.")
        self._seen.add(value)
        if _store_in_keyring(name, value):
            return KeyLocation(name, "keyring")
        self._write_file(self._file_keys() | {name: value})
        return KeyLocation(name, str(self._keys_file))

    def remove(self, name: str) -> list[KeyLocation]:
        """Forget a stored key, wherever it is kept.

        Raises:
            NotFound: none is stored; a variable is not ours to remove, and the message says so.
        """
        removed: list[KeyLocation] = []
        if _remove_from_keyring(name):
            removed.append(KeyLocation(name, "keyring"))
        stored = self._file_keys()
        if name in stored:
            del stored[name]
            self._write_file(stored)
            removed.append(KeyLocation(name, str(self._keys_file)))
        if not removed:
            variable = next((v for v in self._variables_of(name) if self._environ.get(v)), None)
            where = f" It comes from ${variable}: unset that." if variable else ""
            raise NotFound(f'No stored key for "{name}".{where}', hint="Run: aichat keys list")
        return removed

    def locations(self, names: Sequence[str]) -> list[KeyLocation]:
        """Where each of these names, and any other stored one, has its key; names without one are left out."""
        found = []
        stored = self._file_keys()
        for name in dict.fromkeys([*names, *_keyring_names(), *stored]):
            variable = next((v for v in self._variables_of(name) if self._environ.get(v, "").strip()), None)
            if variable:
                found.append(KeyLocation(name, f"${variable}"))
            elif _from_keyring(name):
                found.append(KeyLocation(name, "keyring"))
            elif name in stored:
                found.append(KeyLocation(name, str(self._keys_file)))
        return found

    def hide(self, *values: str) -> None:
        """Have more than keys taken out by `redact`."""
        self._seen.update(values)

    def redact(self, text: str) -> str:
        """`text` without any key this process has seen; a word like `ollama`, set for a local endpoint, is no secret."""
        for value in sorted(self._seen, key=len, reverse=True):
            if len(value) >= SHORTEST_SECRET:
                text = text.replace(value, "***")
        return text

    def _remember(self, value: str, source: str) -> Secret:
        self._seen.add(value)
        return Secret(value, source)

    def _file_keys(self) -> dict[str, str]:
        try:
            text = self._keys_file.read_text("utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"Cannot read {self._keys_file}: {exc}.") from exc
        import tomllib

        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            # The parser's own words would quote the line, and the line holds a key.
            raise ConfigError(
                f"{self._keys_file} is not valid TOML.", hint="Remove it and set the keys again"
            ) from None
        return {name: str(value) for name, value in tables.items()}

    def _write_file(self, keys: Mapping[str, str]) -> None:
        import tomlkit

        document = tomlkit.document()
        document.update(keys)
        write_private(self._keys_file, tomlkit.dumps(document))


def keyring_backend() -> str | None:
    """The name of the keyring in use, or None where the machine has none."""
    backend = _keyring()
    return None if backend is None else str(backend.name)


def _keyring() -> Any | None:
    """The backend the user chose, else the machine's own, if keyring recommends it (priority 1 or more).

    Less than that is a plain-text file, which nobody should get without asking for it.
    """
    import keyring
    from keyring import core
    from keyring.backends.chainer import ChainerBackend

    backend = keyring.get_keyring()
    if isinstance(backend, ChainerBackend):
        return next((member for member in backend.backends if member.priority >= 1), None)
    is_chosen = core.load_env() is not None or core.load_config() is not None
    return backend if backend.priority >= 1 or (is_chosen and backend.priority > 0) else None


@contextlib.contextmanager
def _keyring_errors(action: str) -> Any:
    from keyring.errors import KeyringError

    try:
        yield
    except (KeyringError, OSError, ValueError) as exc:
        raise ConfigError(f"The keyring could not {action}: {exc}.", hint="Unlock it, or use the environment") from exc


def _from_keyring(name: str) -> str | None:
    keyring = _keyring()
    if keyring is None:
        return None
    with _keyring_errors(f'be read for "{name}"'):
        value: str | None = keyring.get_password(SERVICE, name)
        return value


def _keyring_names() -> list[str]:
    # A keyring cannot list what it holds, so the names are kept in it as one more entry.
    try:
        names = json.loads(_from_keyring(_NAMES_ENTRY) or "[]")
    except ValueError:
        names = []
    return [str(name) for name in names] if isinstance(names, list) else []


def _store_in_keyring(name: str, value: str) -> bool:
    keyring = _keyring()
    if keyring is None:
        return False
    with _keyring_errors(f'store the key for "{name}"'):
        keyring.set_password(SERVICE, name, value)
        names = sorted({*_keyring_names(), name})
        keyring.set_password(SERVICE, _NAMES_ENTRY, json.dumps(names))
    return True


def _remove_from_keyring(name: str) -> bool:
    keyring = _keyring()
    if keyring is None or not _from_keyring(name):
        return False
    with _keyring_errors(f'remove the key for "{name}"'):
        keyring.delete_password(SERVICE, name)
        names = [other for other in _keyring_names() if other != name]
        keyring.set_password(SERVICE, _NAMES_ENTRY, json.dumps(names))
    return True


def _from_command(command: str, name: str) -> str:
    import shlex
    import subprocess

    try:
        words = [word.replace("{name}", name) for word in shlex.split(command)]
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=COMMAND_TIMEOUT_SECONDS, check=True
        )
        value = done.stdout.decode().strip().splitlines()[0].strip()
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as exc:
        reason = f"exit code {exc.returncode}" if isinstance(exc, subprocess.CalledProcessError) else type(exc).__name__
        raise ConfigError(
            f'key_command gave no key for "{name}" ({reason}).', hint="Run: aichat config get key_command"
        ) from None
    return value
