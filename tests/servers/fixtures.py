"""Fixtures of the loopback servers; `tests/conftest.py` names this module in `pytest_plugins`."""

from __future__ import annotations

import os
from collections.abc import Iterator

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


def _shared(version: servers.Version, flavour: servers.Flavour, folders: pytest.TempPathFactory) -> servers.Cluster:
    folder = folders.getbasetemp()
    return servers.shared(version, flavour, folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture(scope="session")
def postgres16(tmp_path_factory: pytest.TempPathFactory) -> servers.Cluster:
    return _shared(16, "plain", tmp_path_factory)


@pytest.fixture(scope="session")
def postgres18(tmp_path_factory: pytest.TempPathFactory) -> servers.Cluster:
    return _shared(18, "plain", tmp_path_factory)


@pytest.fixture(scope="session")
def supabase16(tmp_path_factory: pytest.TempPathFactory) -> servers.Cluster:
    return _shared(16, "supabase", tmp_path_factory)


@pytest.fixture(scope="session")
def supabase18(tmp_path_factory: pytest.TempPathFactory) -> servers.Cluster:
    return _shared(18, "supabase", tmp_path_factory)


@pytest.fixture(scope="session", params=servers.VERSIONS)
def postgres(request: pytest.FixtureRequest) -> servers.Cluster:
    """Each major version in turn; nothing of Supabase's in it."""
    cluster: servers.Cluster = request.getfixturevalue(f"postgres{request.param}")
    return cluster


@pytest.fixture(scope="session", params=servers.VERSIONS)
def supabase(request: pytest.FixtureRequest) -> servers.Cluster:
    """Each major version in turn, as Supabase has it."""
    cluster: servers.Cluster = request.getfixturevalue(f"supabase{request.param}")
    return cluster
