"""One gateway for a module's tests, with a provider that is told what to answer before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.asking import close_clients
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(autouse=True)
def echoes(provider: ScriptedServer) -> Iterator[None]:
    """What one test has the provider say is not said to the next."""
    provider.script = None
    provider.requests.clear()
    yield
    close_clients()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer) -> Iterator[RunningGateway]:
    with RunningGateway(tmp_path_factory.mktemp("gateway"), provider) as running:
        yield running
