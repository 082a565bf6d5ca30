"""The user's editor, for what is longer than a line."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aichat_cli.config.editor import edit_file
from aichat_cli.core.errors import ConfigError


def edited(text: str) -> str:
    """The text as the user left it in VISUAL or EDITOR, without the newline that editors add.

    Raises:
        ConfigError: the editor cannot be run, failed, or left what is no text.
    """
    with tempfile.TemporaryDirectory(prefix="aichat-") as folder:
        file = Path(folder) / "message.md"
        file.write_text(text, "utf-8")
        with _signals_taken():
            edit_file(file)
        try:
            return file.read_text("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"Cannot read what the editor left: {exc}.") from exc


@contextmanager
def _signals_taken() -> Iterator[None]:
    """The prompt's threads leave signals to the main one; an editor must not inherit that."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
