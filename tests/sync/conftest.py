"""A hosted database with the schema, and a local one without anything in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import blank
from tests.runner import ROOT
from tests.servers.postgres import Cluster, connect
from tests.servers.scripted import ScriptedServer
from tests.sync.devices import DeviceSim, Network
from tests.sync.sides import KINDS, Sides

NewDevice = Callable[..., DeviceSim]
Ask = Callable[..., list[tuple[Any, ...]]]


def apply_schema(dsn: str) -> None:
    """Set a database up."""
    with connect(dsn) as connection:
        connection.execute((ROOT / "schema.sql").read_bytes())


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file to be copied."""
    return blank.put(tmp_path_factory.mktemp("blank") / "aichat.db")


@pytest.fixture
def dsn(postgres18: Cluster) -> Iterator[str]:
    """A hosted database that is set up, by its owner."""
    with postgres18.database(postgres18.template("schema", apply_schema)) as address:
        yield address


@pytest.fixture(scope="session")
def provider() -> Iterator[ScriptedServer]:
    """What gateways have behind them; nobody asks it for anything here."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture(params=KINDS)
def sides(request: pytest.FixtureRequest, provider: ScriptedServer, tmp_path: Path) -> Iterator[Sides]:
    """Both ways to a hosted database."""
    with ExitStack() as stack:
        yield Sides(request.param, tmp_path, provider, stack)


@pytest.fixture
def there(dsn: str) -> Iterator[Ask]:
    """Asks the hosted database, as its owner."""
    with connect(dsn) as connection:

        def ask(sql: Any, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
            cursor = connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description is not None else []

        yield ask


@pytest.fixture
def new_device(dsn: str, sides: Sides, blank_database: Path, tmp_path: Path) -> Iterator[NewDevice]:
    """Makes devices of one user, each with sync turned on."""
    devices: list[DeviceSim] = []

    def make(*, offset_ms: int = 0, with_documents: bool = True) -> DeviceSim:
        name = f"device-{len(devices)}"
        device = DeviceSim.new(
            tmp_path / f"{name}.db",
            sides.at(dsn).transport(name),
            Network(),
            template=blank_database,
            offset_ms=offset_ms,
            with_documents=with_documents,
        )
        devices.append(device)
        return device

    yield make
    for device in devices:
        device.close()
        device.transport.close()
