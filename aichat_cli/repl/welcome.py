"""The first run: what works now, how to get more, where things are kept. Shown once on a terminal, never in a pipe."""

from __future__ import annotations

import os
from pathlib import Path

from aichat_cli.app import App
from aichat_cli.core.models import Model
from aichat_cli.render.sanitize import safe_line

BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def first_run_lines(house: App, model: Model) -> list[str]:
    """The welcome, and none from the second chat on."""
    if not _is_first(house):
        return []
    answers = f"{safe_line(model.name)} answers"
    if model.wire == "local":
        answers += ", a small model on your own machine: no key and no network needed."
        better = 'aichat keys set openai (or anthropic, groq, …) for a better one; then "/model".'
    else:
        answers += "."
        better = "/model or F3 shows the models; aichat keys set NAME adds a key."
    rows = (
        ("Now", answers),
        ("More", better),
        ("Chats", _short(house.database_path)),
        ("Settings", f"{_short(house.paths.config_file)}, or /settings"),
        ("Help", "/help lists commands and keys. Ctrl+C stops an answer, Ctrl+D leaves."),
    )
    return [f"{BOLD}Welcome to aichat.{RESET}", *(f"{DIM}{name:<9}{RESET}{text}" for name, text in rows), ""]


def _is_first(house: App) -> bool:
    marker = house.paths.input_history.with_name("welcomed")
    try:
        marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        # Already there, or a folder that cannot be written: then it would be shown each time.
        return False
    return True


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
