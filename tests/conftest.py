"""What every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner import Cli

pytest_plugins = ["tests.servers.fixtures", "tests.providers.model_fixture"]


@pytest.fixture
def cli(tmp_path: Path, request: pytest.FixtureRequest) -> Cli:
    """The program in a fresh home; it talks to `server` where the test asks for one."""
    home = tmp_path / "home"
    home.mkdir()
    has_server = "server" in request.fixturenames
    return Cli(home, request.getfixturevalue("server") if has_server else None)
