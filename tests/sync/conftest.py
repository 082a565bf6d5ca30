"""A hosted database with the schema, and a local one without anything in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aichat_cli.core.secret import Secret
from aichat_cli.hosted.connection import Connection
from aichat_cli.storage.database import Database
from aichat_cli.sync.direct import DirectTransport
from tests.runner import ROOT
from tests.servers.postgres import Cluster, connect
from tests.sync.devices import DeviceSim, Network

NewDevice = Callable[..., DeviceSim]


def apply_schema(dsn: str) -> None:
    """Set a database up."""
    with connect(dsn) as connection:
        connection.execute((ROOT / "schema.sql").read_bytes())


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file to be copied: migrating each would take longer than most tests."""
    path = tmp_path_factory.mktemp("blank") / "aichat.db"
    Database.open(path).close()
    return path


@pytest.fixture
def dsn(postgres18: Cluster) -> Iterator[str]:
    """A hosted database that is set up, by its owner."""
    with postgres18.database(postgres18.template("schema", apply_schema)) as address:
        yield address


@pytest.fixture
def new_device(dsn: str, blank_database: Path, tmp_path: Path) -> Iterator[NewDevice]:
    """Makes devices of one user, each with sync turned on."""
    devices: list[DeviceSim] = []

    def make(*, offset_ms: int = 0, with_documents: bool = True) -> DeviceSim:
        name = f"device-{len(devices)}"
        transport = DirectTransport(Connection.open(Secret(dsn, "test")), device_name=name)
        device = DeviceSim.new(
            tmp_path / f"{name}.db",
            transport,
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
