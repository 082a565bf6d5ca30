"""Books in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.storage.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "data" / "aichat.db") as database:
        yield database
