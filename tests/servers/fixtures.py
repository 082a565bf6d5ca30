"""Fixtures of the loopback servers; `tests/conftest.py` names this module in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.scripted import ScriptedServer
from tests.servers.stripe_double import StripeDouble


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A scripted server; set `server.script` before calling it."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def stripe() -> Iterator[StripeDouble]:
    """Stripe, with an account in test mode."""
    with StripeDouble() as running:
        yield running
