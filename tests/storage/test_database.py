"""Opening a database and its transactions."""

from __future__ import annotations

import signal
import stat
import threading
import time
from pathlib import Path

import apsw
import pytest

from aichat_cli.core.errors import DatabaseLocked, StorageError
from aichat_cli.storage import conversations
from aichat_cli.storage.database import Database
from tests.storage.support import finish, first_line, said, start


def test_a_new_database_and_its_folder_belong_to_the_user_alone(path: Path) -> None:
    with Database.open(path) as db:
        assert db.is_persistent
        assert not db.is_read_only
        modes = [stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()]
        assert set(modes) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("opening", ["first", "second"])
def test_an_open_database_has_the_settings_the_house_relies_on(path: Path, opening: str) -> None:
    if opening == "second":
        Database.open(path).close()
    names = ("journal_mode", "foreign_keys", "synchronous", "temp_store", "trusted_schema")
    with Database.open(path) as db:
        assert [db.row(f"PRAGMA {name}") for name in names] == [("wal",), (1,), (1,), (2,), (0,)]


def test_the_schema_cannot_be_written_behind_sqlites_back(db: Database) -> None:
    db.execute("PRAGMA writable_schema = ON")
    with pytest.raises(StorageError, match="sqlite_master may not be modified"):
        db.execute("UPDATE sqlite_schema SET sql = ''")


def test_an_empty_file_is_a_fresh_database(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with Database.open(path) as db:
        assert db.row("SELECT count(*) FROM profiles") == (1,)


def test_a_transaction_is_undone_by_any_exception(db: Database) -> None:
    for failure in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(failure):
            _insert_and_raise(db, failure)
    assert db.row("SELECT count(*) FROM profiles") == (1,)
    assert db.row("PRAGMA synchronous") == (1,)


def _insert_and_raise(db: Database, failure: type[BaseException]) -> None:
    with db.transaction(durable=True):
        db.execute("INSERT INTO profiles (id, created_at) VALUES ('x', 'now')")
        raise failure


def test_a_durable_transaction_is_synchronous_and_the_next_is_not(db: Database) -> None:
    with db.transaction(durable=True):
        assert db.row("PRAGMA synchronous") == (2,)
    with db.transaction():
        assert db.row("PRAGMA synchronous") == (1,)


def test_what_is_committed_is_seen_by_a_second_connection_in_another_thread(db: Database) -> None:
    said(db)
    seen: list[int] = []

    def read() -> None:
        with db.reopen() as other:
            seen.append(len(conversations.listing(other, limit=None)))

    reader = threading.Thread(target=read)
    reader.start()
    reader.join()
    assert seen == [1]


def test_a_database_in_memory_is_shared_by_its_connections_and_with_no_other(memory: Database) -> None:
    said(memory)
    assert memory.path is None
    assert not memory.is_persistent
    with memory.reopen() as other, Database.in_memory() as stranger:
        assert len(conversations.listing(other, limit=None)) == 1
        assert conversations.listing(stranger, limit=None) == []


def test_a_lock_held_too_long_is_an_error_that_says_so(path: Path, db: Database) -> None:
    with Database.open(path, busy_timeout_s=0.2) as other, db.transaction():
        begun = time.monotonic()
        with pytest.raises(DatabaseLocked, match="locked by another process"), other.transaction():
            pass
        assert 0.2 <= time.monotonic() - begun < 5


def test_a_transaction_may_be_less_patient_than_its_connection(db: Database, path: Path) -> None:
    with Database.open(path, busy_timeout_s=1.0) as other, db.transaction():
        waits = []
        for longest_wait_s in (0.1, None):
            began = time.monotonic()
            with pytest.raises(DatabaseLocked), other.transaction(longest_wait_s=longest_wait_s):
                pass
            waits.append(time.monotonic() - began)
    assert waits[0] < 0.9 < waits[1]


def test_a_lock_is_waited_for(path: Path, db: Database) -> None:
    released = threading.Event()

    def write_when_free() -> None:
        with Database.open(path) as other, other.transaction():
            released.set()

    writer = threading.Thread(target=write_when_free)
    with db.transaction():
        writer.start()
        assert not released.wait(0.2)
    writer.join(timeout=20)
    assert released.is_set()


WAITER = """
import sys, signal
from pathlib import Path
from aichat_cli.core import interrupts
from aichat_cli.storage.database import Database
interrupts.install()
with Database.open(Path(sys.argv[1])) as db:
    print("ready", flush=True)
    try:
        with db.transaction():
            print("got it")
    except KeyboardInterrupt:
        print("stopped")
"""


def test_control_c_ends_the_wait_for_a_lock(path: Path, db: Database) -> None:
    with db.transaction():
        process = start(WAITER, path)
        assert first_line(process) == "ready"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert finish(process) == "stopped"


def test_half_characters_of_the_command_line_are_stored_as_question_marks(db: Database) -> None:
    turn = said(db, prompt="caf\udce9 \ud83d")
    assert db.row("SELECT content FROM messages WHERE id = ?", (turn.user_message_id,)) == ("caf? ?",)


def test_a_wrong_statement_is_a_storage_error_that_names_the_file(path: Path, db: Database) -> None:
    with pytest.raises(StorageError, match="no such table: nowhere") as caught:
        db.rows("SELECT * FROM nowhere")
    assert str(path) in caught.value.message


def test_closing_twice_is_fine(path: Path) -> None:
    db = Database.open(path)
    db.close()
    db.close()


def test_closing_leaves_one_file_and_no_log_beside_it(path: Path) -> None:
    with Database.open(path) as db:
        said(db)
    assert {entry.name for entry in path.parent.iterdir()} == {"aichat.db", "aichat.db-live"}


def test_a_database_restored_by_copying_gets_its_write_ahead_log_back(path: Path) -> None:
    with Database.open(path) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    with Database.open(path) as db:
        assert db.row("PRAGMA journal_mode") == ("wal",)


def test_a_file_that_another_reads_is_waited_for_before_its_log_is_switched(path: Path) -> None:
    path.parent.mkdir()
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sqlite_schema").fetchall()
    with pytest.raises(DatabaseLocked):
        Database.open(path, busy_timeout_s=0.1)
    reader.execute("COMMIT")
    reader.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, reader.execute, ["COMMIT"])
    release.start()
    with Database.open(path) as db:
        assert db.row("PRAGMA journal_mode") == ("wal",)
    release.join()
    reader.close()


def test_threads_that_open_a_new_database_at_once_all_get_it(path: Path) -> None:
    opened: list[int] = []
    together = threading.Barrier(8)

    def open_and_write() -> None:
        together.wait()
        with Database.open(path) as db:
            said(db)
            opened.append(1)

    threads = [threading.Thread(target=open_and_write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    with Database.open(path) as db:
        assert conversations.count(db) == 8
        assert db.row("PRAGMA integrity_check") == ("ok",)


def test_opening_a_current_database_writes_nothing(path: Path) -> None:
    with Database.open(path) as db:
        said(db)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    with Database.open(path) as db:
        conversations.listing(db, limit=5)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
