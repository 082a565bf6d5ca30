"""A database in a file, and one in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.storage.database import Database
from tests import blank


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "aichat.db"


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    with Database.open(blank.put(path)) as database:
        yield database


@pytest.fixture
def memory() -> Iterator[Database]:
    with Database.in_memory() as database:
        yield database
