"""Sync on every server the schema is for: Postgres 16 and 18, of one's own and Supabase's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.core.secret import Secret
from aichat_cli.hosted.connection import Connection
from aichat_cli.storage import conversations
from aichat_cli.sync.direct import DirectTransport
from tests.servers.postgres import Cluster, connect
from tests.sync.conftest import apply_schema
from tests.sync.devices import DeviceSim, Network
from tests.sync.test_sync import IMAGE, chat


@pytest.fixture(params=["postgres16", "postgres18", "supabase16", "supabase18"])
def server(request: pytest.FixtureRequest) -> Cluster:
    cluster: Cluster = request.getfixturevalue(request.param)
    return cluster


@pytest.fixture
def devices(server: Cluster, blank_database: Path, tmp_path: Path) -> Iterator[list[DeviceSim]]:
    with server.database(server.template("schema", apply_schema)) as dsn:
        made = []
        for name in ("one", "other"):
            transport = DirectTransport(Connection.open(Secret(dsn, "test")), device_name=name)
            made.append(DeviceSim.new(tmp_path / f"{name}.db", transport, Network(), template=blank_database))
        yield made
        for device in made:
            device.close()
            device.transport.close()


def test_all_that_can_be_synced_is(devices: list[DeviceSim]) -> None:
    one, other = devices
    conversation, deleted = chat(one, files=[IMAGE]), chat(one, "Deleted")
    one.read("notes.md", "Some text that is cut into chunks, with vectors.")
    one.sync()
    other.sync()
    assert other.state() == one.state()
    conversations.rename(other.database, conversation, "Renamed")
    other.delete(deleted)
    other.read("notes.md", "Another text.")
    other.sync()
    one.sync()

    assert other.state() == one.state()
    assert one.conversation_ids() == [conversation]
    other.sync()
    assert {each.name: each.unseen for each in one.transport.devices()} == {"one": 0, "other": 0}
    chat(one, "For the other")
    one.sync()
    assert {each.name: each.unseen for each in one.transport.devices()} == {"one": 0, "other": 4}
    one.transport.forget(next(each.id for each in one.transport.devices() if each.name == "other"))
    report = other.sync()
    assert report is not None
    assert report.resync == "restored"
    assert other.state() == one.state()


def test_a_schema_that_is_applied_again_changes_nothing_of_what_is_there(
    server: Cluster, devices: list[DeviceSim]
) -> None:
    one, other = devices
    chat(one)
    one.sync()
    [(name,)] = one.transport._connection.rows("SELECT current_database()")
    apply_schema(server.dsn(name, server.owner))
    with connect(server.dsn(name, server.owner)) as connection:
        assert connection.execute("SELECT count(*) FROM profiles").fetchone() == (1,)
    other.sync()
    assert other.state() == one.state()
