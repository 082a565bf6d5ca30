"""The user's editor, VISUAL or EDITOR: the one place that runs it."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from aichat_cli.core.errors import ConfigError


def edit_file(file: Path) -> None:
    """Open a file in the user's editor and wait until that ends; raises ConfigError where it fails."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise ConfigError(f'Cannot run the editor "{editor}": {reason}.', hint="Set EDITOR") from exc
    if code:
        raise ConfigError(f'The editor "{editor}" ended with code {code}.')
