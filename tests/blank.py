"""An empty database, as the first command leaves it: bringing a new one to the newest schema takes longer than most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from aichat_cli.storage.database import Database


def put(path: Path) -> Path:
    """Write one where there is none, in a folder made for its owner alone, as the program makes them."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(_migrated())
    return path


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "aichat.db"
        Database.open(path).close()
        return path.read_bytes()
