"""Everything that fails in the middle of a sync: it is said plainly, nothing is lost, and the next sync finishes the job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.core.errors import (
    DiskFull,
    HostedFull,
    HostedLogin,
    HostedSchema,
    HostedUnavailable,
    UsageError,
)
from aichat_cli.core.secret import Secret
from aichat_cli.hosted.connection import Connection, parsed
from aichat_cli.storage import sync_state
from tests.servers.cutting import cutting_proxy
from tests.servers.postgres import Cluster, as_user, connect, own_cluster
from tests.servers.scripted import ScriptedServer
from tests.sync.conftest import NewDevice, apply_schema
from tests.sync.devices import DeviceSim, Network
from tests.sync.sides import DirectSide, Sides
from tests.sync.test_sync import chat

PASSWORD = "correct horse battery staple"
ADDRESSES = 40

pytestmark = [pytest.mark.xdist_group("own-postgres"), pytest.mark.no_cover]


@pytest.fixture(scope="module")
def breakable() -> Iterator[Cluster]:
    with own_cluster(18, password=PASSWORD) as cluster:
        yield cluster


@pytest.fixture
def sides(tmp_path: Path, provider: ScriptedServer) -> Iterator[Sides]:
    """A database of one's own; what fails on the way to a gateway is in test_sync_gateway_failures.py."""
    with ExitStack() as stack:
        yield Sides("direct", tmp_path, provider, stack)


@pytest.fixture
def breakable_dsn(breakable: Cluster) -> Iterator[str]:
    with breakable.database(breakable.template("schema", apply_schema), tcp=True) as address:
        yield address


def device_at(dsn: str, template: Path, path: Path) -> DeviceSim:
    return DeviceSim.new(path, DirectSide(dsn).transport(path.stem), Network(), template=template)


def through(dsn: str, port: int) -> str:
    before, _, after = dsn.partition("@127.0.0.1:")
    return f"{before}@127.0.0.1:{port}/{after.partition('/')[2]}"


def sync_strictly(device: DeviceSim) -> Any:
    """Sync without the forgiveness of `DeviceSim.sync`."""
    from aichat_cli.documents.sqlite_vectors import SqliteVectors
    from aichat_cli.documents.synced import SyncedDocuments, vector_text
    from aichat_cli.sync.engine import SyncDeps, SyncOptions, sync

    sink = SyncedDocuments(device.database, SqliteVectors)
    return sync(SyncDeps(device.database, device.transport, sink, vector_text), SyncOptions(largest_file=1000))


def test_a_network_that_is_cut_at_any_byte(
    breakable: Cluster, breakable_dsn: str, blank_database: Path, tmp_path: Path
) -> None:
    one = device_at(breakable_dsn, blank_database, tmp_path / "one.db")
    other = device_at(breakable_dsn, blank_database, tmp_path / "other.db")
    one.sync()

    def cut(after: int | None) -> tuple[int, str | None]:
        """Sync what is new over a wire that is cut; how many bytes went over it, and what was said."""
        chat(one, "Why?", f"cut after {after}")
        one.read("notes.md", f"Cut after {after}")
        with cutting_proxy(breakable.port, after) as proxy:
            try:
                one.connect(DirectSide(through(breakable_dsn, proxy.port)))
                sync_strictly(one)
            except HostedUnavailable as exc:
                return proxy.carried, exc.message
            return proxy.carried, None

    whole, said = cut(None)
    assert said is None
    failures = set()
    for number in range(ADDRESSES):
        _, said = cut(whole * number // ADDRESSES)
        assert said is not None
        failures.add(said)
        assert PASSWORD not in said
    one.connect(DirectSide(breakable_dsn))
    assert sync_state.get(one.database).problem is not None
    sync_strictly(one)
    sync_strictly(other)

    assert other.state() == one.state()
    assert len(one.conversation_ids()) == ADDRESSES + 1
    assert sync_state.get(one.database).problem is None
    assert all("cannot be reached, or the connection was lost" in each for each in failures)
    for device in (one, other):
        device.close()
        device.transport.close()


@pytest.mark.parametrize("at", range(6))
def test_a_server_that_is_started_anew_in_the_middle(
    breakable: Cluster, breakable_dsn: str, blank_database: Path, tmp_path: Path, at: int
) -> None:
    one = device_at(breakable_dsn, blank_database, tmp_path / "one.db")
    for number in range(3):
        chat(one, f"question {number}")
    one.read("notes.md", "Some text.")
    with pytest.raises(HostedUnavailable):
        _sync_with(one, at, breakable.restart)
    one.connect(DirectSide(breakable_dsn))

    sync_strictly(one)

    other = device_at(breakable_dsn, blank_database, tmp_path / "other.db")
    sync_strictly(other)
    assert other.state() == one.state()
    assert len(other.conversation_ids()) == 3
    for device in (one, other):
        device.close()
        device.transport.close()


def _sync_with(device: DeviceSim, at: int, happening: Callable[..., None]) -> None:
    """Sync in pages and batches of one; something happens before request number `at`."""
    from aichat_cli.documents.sqlite_vectors import SqliteVectors
    from aichat_cli.documents.synced import SyncedDocuments, vector_text
    from aichat_cli.sync.engine import SyncDeps, SyncOptions, sync

    class Disturbed:
        def __init__(self) -> None:
            self.requests = 0

        def __getattr__(self, name: str) -> Callable[..., Any]:
            call = getattr(device.transport, name)

            def request(*arguments: Any, **options: Any) -> Any:
                if self.requests == at:
                    happening("immediate")
                self.requests += 1
                return call(*arguments, **options)

            return request

    transport: Any = Disturbed()
    sink = SyncedDocuments(device.database, SqliteVectors)
    sync(
        SyncDeps(device.database, transport, sink, vector_text),
        SyncOptions(largest_file=1000, most_rows=1, most_changes=1),
    )


def test_a_disk_that_is_full_there(dsn: str, postgres18: Cluster, new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    chat(one)
    with connect(as_user(dsn, postgres18.superuser)) as connection:
        # What Postgres says when a file cannot grow.
        connection.execute(
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
            " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER no_space BEFORE INSERT ON messages EXECUTE FUNCTION no_space()"
        )
        with pytest.raises(HostedFull, match=r"^No space left in the database "):
            one.sync()
        connection.execute("DROP TRIGGER no_space ON messages")

    one.sync()
    other.sync()
    assert other.state() == one.state()


def test_a_disk_that_is_full_here(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    for _ in range(20):
        chat(one, "long " * 2000)
    one.sync()
    [(pages,)] = other.database.rows("PRAGMA page_count")
    other.database.execute(f"PRAGMA max_page_count = {pages + 20}")

    with pytest.raises(DiskFull):
        sync_strictly(other)
    assert other.conversation_ids() == []
    other.reopen()
    other.sync()

    assert other.state() == one.state()


def test_a_schema_that_is_newer_or_missing(new_device: NewDevice, dsn: str, postgres18: Cluster) -> None:
    device = new_device()
    device.sync()
    chat(device)
    with connect(dsn) as connection:
        connection.execute("INSERT INTO aichat.schema_versions (version) VALUES (99)")
        with pytest.raises(HostedSchema, match=r"has schema version 99, this aichat knows up to \d+\.$") as newer:
            sync_strictly(device)
        assert newer.value.hint == "Run: pip install --upgrade aichat-terminal"
        connection.execute("DELETE FROM aichat.schema_versions WHERE version = 99")
    sync_strictly(device)

    with postgres18.database() as empty:
        device.connect(DirectSide(empty))
        with pytest.raises(HostedSchema, match=r"is not set up for aichat\.$"):
            sync_strictly(device)
        device.transport.close()


def test_a_database_that_was_set_up_anew_is_told_from_the_one_there_was(new_device: NewDevice, dsn: str) -> None:
    device = new_device()
    chat(device)
    device.sync()
    with connect(dsn) as connection:
        connection.execute("DELETE FROM auth.users")

    with pytest.raises(HostedSchema, match=r"was set up anew, and knows nothing of this device\.$"):
        sync_strictly(device)
    assert device.conversation_ids() != []


def test_a_wrong_password_and_other_addresses_that_do_not_work(breakable: Cluster, breakable_dsn: str) -> None:
    wrong = breakable_dsn.replace(PASSWORD.replace(" ", "%20"), "not%20the%20password")
    assert wrong != breakable_dsn
    with pytest.raises(HostedLogin, match=r"^The database 127\.0\.0\.1:\d+/\w+ refused the user or the password\.$"):
        Connection.open(Secret(wrong, "test"))
    with pytest.raises(HostedLogin, match=r"^There is no database 127\.0\.0\.1:\d+/nowhere\.$"):
        Connection.open(Secret(breakable.dsn("nowhere", breakable.owner, tcp=True), "test"))
    with cutting_proxy(1) as proxy:
        port = proxy.port
    with pytest.raises(HostedUnavailable, match="Connection refused"):
        Connection.open(Secret(through(breakable_dsn, port), "test"))


def test_over_a_network_nothing_is_said_in_the_clear_unless_it_is_asked_for(breakable_dsn: str) -> None:
    Connection.open(Secret(breakable_dsn, "test")).close()
    with pytest.raises(HostedUnavailable, match=r"does not encrypt its connections\.$") as refused:
        # What is not on this machine, as far as its name tells.
        Connection.open(Secret(breakable_dsn.replace("@127.0.0.1:", "@0:"), "test"))
    assert refused.value.hint is not None
    assert "?sslmode=disable" in refused.value.hint
    Connection.open(Secret(f"{breakable_dsn.replace('@127.0.0.1:', '@0:')}?sslmode=disable", "test")).close()


@pytest.mark.parametrize(
    "address", ["", "secret", "https://user:secret@example.com/x", "host=x secret", "postgresql://a:secret@[::1/x"]
)
def test_what_is_no_address_is_not_repeated(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        parsed(Secret(address, "test"))
    assert refused.value.message == "This is not the address of a Postgres database."


def test_a_place_is_shown_without_its_password() -> None:
    place, _ = parsed(Secret("postgresql://me:secret@db.example.com:6543/chats?sslmode=require", "test"))
    assert (place.name, place.user) == ("db.example.com:6543/chats", "me")
    assert parsed(Secret("host=db.example.com dbname=chats password=secret", "test"))[0].name == "db.example.com/chats"


def test_writers_and_a_reader_at_once_beside_a_transaction_that_stays_open(
    new_device: NewDevice, dsn: str, blank_database: Path, tmp_path: Path
) -> None:
    reader = new_device()
    each, writers = 25, 4
    failures: list[BaseException] = []
    running = threading.Semaphore(0)

    def write(number: int) -> None:
        try:
            device = device_at(dsn, blank_database, tmp_path / f"writer-{number}.db")
            for count in range(each):
                chat(device, f"{number}-{count}")
                while device.sync(most_changes=3) is None:
                    pass
            device.close()
            device.transport.close()
        except BaseException as exc:
            failures.append(exc)
        finally:
            running.release()

    with connect(dsn) as unrelated:
        unrelated.execute("CREATE TABLE unrelated (x int)")
        unrelated.execute("BEGIN; INSERT INTO unrelated VALUES (1)")
        threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
        for thread in threads:
            thread.start()
        left = writers
        while left:
            if running.acquire(timeout=0.01):
                left -= 1
            reader.sync(most_rows=7)
        for thread in threads:
            thread.join()
        unrelated.execute("ROLLBACK")

    assert failures == []
    reader.sync()
    found = reader.database.rows("SELECT content FROM messages WHERE role = 'user'")
    assert sorted(row[0] for row in found) == sorted(f"{n}-{count}" for n in range(writers) for count in range(each))
    assert sync_state.get(reader.database).resync == ""
