"""Fixtures of the loopback servers; `tests/conftest.py` names this module in `pytest_plugins`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import postgres as servers
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


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def postgres16(run_folder: Path) -> servers.Cluster:
    return servers.shared(16, "plain", run_folder)


@pytest.fixture(scope="session")
def postgres18(run_folder: Path) -> servers.Cluster:
    return servers.shared(18, "plain", run_folder)


@pytest.fixture(scope="session", params=servers.VERSIONS)
def postgres(request: pytest.FixtureRequest) -> servers.Cluster:
    """Each major version in turn; nothing of Supabase's in it."""
    cluster: servers.Cluster = request.getfixturevalue(f"postgres{request.param}")
    return cluster
