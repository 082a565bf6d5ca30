"""An interpreter that sees only the standard library, this tree and what its core is made of."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent


def run_bare(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where nothing else is installed."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "msgspec").symlink_to(Path(msgspec.__file__).parent)
        opening = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {folder!r}]\n"
        return subprocess.run(
            [sys.executable, "-S", "-E", "-c", opening + code], capture_output=True, text=True, check=False
        )
