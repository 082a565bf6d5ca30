"""Sync on every server the schema is for: Postgres 16 and 18, of one's own and Supabase's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.storage import conversations
from tests.servers.postgres import Cluster, connect
from tests.sync.conftest import apply_schema
from tests.sync.devices import DeviceSim, Network
from tests.sync.sides import DirectSide
from tests.sync.test_sync import IMAGE, chat


@pytest.fixture(params=["postgres16", "postgres18", "supabase16", "supabase18"])
def server(request: pytest.FixtureRequest) -> Cluster:
    cluster: Cluster = request.getfixturevalue(request.param)
    return cluster


@pytest.fixture
def dsn(server: Cluster) -> Iterator[str]:
    with server.database(server.template("schema", apply_schema)) as address:
        yield address


@pytest.fixture
def devices(dsn: str, blank_database: Path, tmp_path: Path) -> Iterator[list[DeviceSim]]:
    made = []
    for name in ("one", "other"):
        transport = DirectSide(dsn).transport(name)
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


def test_a_schema_that_is_applied_again_changes_nothing_of_what_is_there(dsn: str, devices: list[DeviceSim]) -> None:
    one, other = devices
    chat(one)
    one.sync()
    apply_schema(dsn)
    with connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM profiles").fetchone() == (1,)
    other.sync()
    assert other.state() == one.state()
