"""Everything that fails between a device and its gateway: it is said plainly, nothing is lost, and the next sync finishes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.account.sync_transport import GatewayTransport
from aichat_cli.core.errors import AichatError, HostedError, HostedFull, HostedLogin, HostedSchema, HostedUnavailable
from aichat_cli.core.ids import new_id
from aichat_cli.core.secret import Secret
from aichat_cli.gateway.sync_bodies import MOST_FILE
from aichat_cli.providers.base import Timeouts
from aichat_cli.storage import sync_state
from tests.servers.cutting import CuttingProxy, cutting_proxy
from tests.servers.gateway import RunningGateway
from tests.servers.postgres import Cluster, as_user, connect
from tests.servers.raw import RawServer
from tests.servers.scripted import ScriptedServer
from tests.sync.conftest import Ask
from tests.sync.devices import DeviceSim, Network
from tests.sync.sides import GatewaySide, gateway_at
from tests.sync.test_sync import IMAGE, chat
from tests.sync.test_sync_failures import sync_strictly

CUTS = 15
KEY = "aichat-aaaaaaaa-" + "b" * 52


class Hosted:
    """A gateway that can be started anew, behind a wire that can be cut."""

    def __init__(self, dsn: str, folder: Path, provider: ScriptedServer) -> None:
        self._place = (dsn, folder, provider)
        self._running = ExitStack()
        self.gateway: RunningGateway = self._running.enter_context(gateway_at(*self._place))
        self.key = self.gateway.key("anna")

    def side(self, port: int | None = None) -> GatewaySide:
        return GatewaySide(f"http://127.0.0.1:{port or self.gateway.port}", self.key)

    def restart(self, wire: CuttingProxy) -> None:
        self.close()
        self.gateway = self._running.enter_context(gateway_at(*self._place))
        wire.lead_to(self.gateway.port)

    def close(self) -> None:
        self._running.close()


@pytest.fixture
def hosted(dsn: str, tmp_path: Path, provider: ScriptedServer) -> Iterator[Hosted]:
    made = Hosted(dsn, tmp_path, provider)
    yield made
    made.close()


@pytest.fixture
def device_at(blank_database: Path, tmp_path: Path) -> Iterator[Callable[[GatewaySide], DeviceSim]]:
    devices: list[DeviceSim] = []

    def make(side: GatewaySide) -> DeviceSim:
        name = f"device-{len(devices)}"
        path = tmp_path / f"{name}.db"
        devices.append(DeviceSim.new(path, side.transport(name), Network(), template=blank_database))
        return devices[-1]

    yield make
    for device in devices:
        device.close()
        device.transport.close()


DeviceAt = Callable[[GatewaySide], DeviceSim]


def test_a_network_that_is_cut_at_any_byte(hosted: Hosted, device_at: DeviceAt) -> None:
    one, other = device_at(hosted.side()), device_at(hosted.side())
    one.sync()

    def cut(after: int | None) -> tuple[int, str | None]:
        """Sync what is new over a wire that is cut; how many bytes went over it, and what was said."""
        chat(one, "Why?", f"cut after {after}", files=[IMAGE] if after is None else [])
        one.read("notes.md", f"Cut after {after}")
        with cutting_proxy(hosted.gateway.port, after) as proxy:
            try:
                one.connect(hosted.side(proxy.port))
                sync_strictly(one)
            except HostedUnavailable as exc:
                return proxy.carried, exc.message
            return proxy.carried, None

    whole, said = cut(None)
    assert said is None
    failures = set()
    for number in range(CUTS):
        _, said = cut(whole * number // (CUTS + 3))
        assert said is not None
        failures.add(said)
        assert hosted.key not in said
    assert sync_state.get(one.database).problem in failures
    one.connect(hosted.side())
    sync_strictly(one)
    sync_strictly(other)

    assert other.state() == one.state()
    assert len(one.conversation_ids()) == CUTS + 1
    assert any("cannot be reached, or the connection was lost" in each for each in failures)


class Disturbed:
    """A transport with something that happens before requests, each counted from 0."""

    def __init__(self, device: DeviceSim, happening: Callable[[int], None]) -> None:
        self._device = device
        self._happening = happening
        self.requests = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def request(*arguments: Any, **options: Any) -> Any:
            self._happening(self.requests)
            self.requests += 1
            return getattr(self._device.transport, name)(*arguments, **options)

        return request


def sync_disturbed(device: DeviceSim, happening: Callable[[int], None]) -> int:
    """Sync in pages and batches of one; how many requests it took."""
    from aichat_cli.documents.sqlite_vectors import SqliteVectors
    from aichat_cli.documents.synced import SyncedDocuments, vector_text
    from aichat_cli.sync.engine import SyncDeps, SyncOptions, sync

    transport = Disturbed(device, happening)
    deps: Any = SyncDeps(
        device.database,
        transport,  # type: ignore[arg-type]
        SyncedDocuments(device.database, SqliteVectors),
        vector_text,
    )
    sync(deps, SyncOptions(largest_file=1000, most_rows=1, most_changes=1))
    return transport.requests


def test_a_gateway_that_is_started_anew_before_each_request_is_not_even_noticed(
    hosted: Hosted, device_at: DeviceAt
) -> None:
    with cutting_proxy(hosted.gateway.port) as wire:
        one = device_at(hosted.side(wire.port))
        chat(one, files=[IMAGE])
        one.read("notes.md", "Some text.")

        requests = sync_disturbed(one, lambda _: hosted.restart(wire))

        assert requests > 8
        other = device_at(hosted.side(wire.port))
        sync_strictly(other)
        assert other.state() == one.state()


def test_a_key_that_is_revoked_in_the_middle(hosted: Hosted, device_at: DeviceAt, there: Ask) -> None:
    one, other = device_at(hosted.side()), device_at(hosted.side())
    for number in range(3):
        chat(one, f"question {number}")

    def happening(number: int) -> None:
        if number == 4:
            there("UPDATE api_keys SET revoked_at = now()")

    with pytest.raises(HostedLogin, match=r" refused the key: ") as refused:
        sync_disturbed(one, happening)
    assert refused.value.hint == f"Run: aichat login {hosted.gateway.url}"
    assert hosted.key not in refused.value.message
    assert len(one.conversation_ids()) == 3

    hosted.key = hosted.gateway.key("anna")
    for device in (one, other):
        device.connect(hosted.side())
        sync_strictly(device)
    assert other.state() == one.state()
    assert len(other.conversation_ids()) == 3


def test_a_disk_that_is_full_there(dsn: str, postgres18: Cluster, hosted: Hosted, device_at: DeviceAt) -> None:
    one, other = device_at(hosted.side()), device_at(hosted.side())
    chat(one)
    with connect(as_user(dsn, postgres18.superuser)) as connection:
        # What Postgres says when a file cannot grow.
        connection.execute(
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
            " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER no_space BEFORE INSERT ON messages EXECUTE FUNCTION no_space()"
        )
        with pytest.raises(HostedFull, match=r"^No space left at the gateway http://"):
            one.sync()
        connection.execute("DROP TRIGGER no_space ON messages")

    one.sync()
    other.sync()
    assert other.state() == one.state()


def test_a_database_that_goes_away_behind_the_gateway_is_a_matter_of_time(
    hosted: Hosted, device_at: DeviceAt, there: Ask
) -> None:
    one = device_at(hosted.side())
    chat(one)
    sync_strictly(one)
    there(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    chat(one)
    sync_strictly(one)
    assert there("SELECT count(*) FROM conversations") == [(2,)]

    there("UPDATE aichat.schema_versions SET version = version + 90")
    with pytest.raises(HostedError):
        sync_strictly(one)


def test_what_the_gateway_refuses_is_told_in_its_words(hosted: Hosted) -> None:
    transport = hosted.side().transport("laptop")
    change = {"mid": 1, "uid": "u", "clock": -1, "kind": "nothing"}
    with pytest.raises(HostedError, match=r"refused what was sent: changes\[0\]\.clock is not a whole number"):
        transport.push(new_id(), 0, [change])
    with pytest.raises(HostedError, match="is not the content of that hash"):
        transport.put_file("0" * 64, b"file")
    assert transport.file("0" * 64) is None
    assert transport.largest_file == MOST_FILE
    transport.close()
    somebody = GatewayTransport(hosted.gateway.url, Secret(hosted.key, "test"), user_id=new_id())
    with pytest.raises(HostedLogin, match="belongs to another account than the one this device syncs with"):
        somebody.devices()
    somebody.close()


ANSWERS: list[tuple[bytes, type[AichatError]]] = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>", HostedSchema),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", HostedSchema),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", HostedSchema),
    (b"HTTP/1.1 302 Found\r\nLocation: https://example.com/\r\nContent-Length: 0\r\n\r\n", HostedUnavailable),
    (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", HostedUnavailable),
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", HostedUnavailable),
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", HostedUnavailable),
    (b"HTTP/1.1 200 OK\r\nDate: today\r\nSer", HostedUnavailable),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n[]", HostedUnavailable),
    (b"not HTTP at all\r\n\r\n", HostedUnavailable),
    (b"", HostedUnavailable),
]


@pytest.mark.parametrize(("answer", "kind"), ANSWERS)
def test_whatever_answers_in_the_place_of_a_gateway_is_one_clear_error(answer: bytes, kind: type[AichatError]) -> None:
    def serve(connection: socket.socket) -> None:
        while b"\r\n\r\n" not in connection.recv(65536):
            pass
        connection.sendall(answer)

    with RawServer(serve) as server:
        url = f"http://127.0.0.1:{server.port}"
        transport = GatewayTransport(url, Secret(KEY, "test"), timeouts=Timeouts(2, 2, 2))
        with pytest.raises(HostedError) as failure:
            transport.devices()
        transport.close()
    assert type(failure.value) is kind
    assert url in failure.value.message
    assert KEY not in failure.value.message


def test_a_file_that_comes_as_another_is_not_taken() -> None:
    def serve(connection: socket.socket) -> None:
        while b"\r\n\r\n" not in connection.recv(65536):
            pass
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")

    with RawServer(serve) as server:
        transport = GatewayTransport(f"http://127.0.0.1:{server.port}", Secret(KEY, "test"))
        with pytest.raises(HostedUnavailable, match="a file came as something else than it is"):
            transport.file("0" * 64)
        transport.close()
