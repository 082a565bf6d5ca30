"""Fixtures of the loopback servers; `tests/conftest.py` names this module in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.scripted import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A scripted server; set `server.script` before calling it."""
    with ScriptedServer() as running:
        yield running
