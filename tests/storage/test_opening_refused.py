"""Files that are not ours, not whole, newer, read-only or without room: a clear error, and nothing is changed."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from aichat_cli.core.errors import (
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseTooNew,
    DiskFull,
    StorageError,
)
from aichat_cli.storage import failures, turns
from aichat_cli.storage.database import Database
from aichat_cli.storage.migrate import MIGRATIONS, available
from tests.storage.support import finish, first_line, kill, opening, outcome, said, start

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="modes and limits of POSIX")


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def set_version(path: Path, version: int) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", version)
    connection.close()


def refused(path: Path, kind: type[StorageError], *, read_only: bool = False) -> StorageError:
    with pytest.raises(kind) as caught:
        Database.open(path, read_only=read_only)
    assert type(caught.value) is kind
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_database_is_refused_and_left_as_it_is(path: Path, *, read_only: bool) -> None:
    with Database.open(path) as db:
        said(db)
        db.execute("PRAGMA journal_mode = DELETE")
    set_version(path, 99)
    before = contents(path.parent)
    error = refused(path, DatabaseTooNew, read_only=read_only)
    assert "version 99" in error.message
    assert f"up to {len(available(MIGRATIONS))}" in error.message
    assert contents(path.parent) == before


CRASHED = """
import sys, os
from pathlib import Path
from aichat_cli.storage.database import Database
db = Database.open(Path(sys.argv[1]))
db.execute("PRAGMA user_version = 99")
db.execute("UPDATE profiles SET plan = 'pro'")
print("written", flush=True)
sys.stdin.read()
"""


def test_the_log_a_newer_program_left_when_it_was_killed_is_not_copied_into_the_file(path: Path) -> None:
    with Database.open(path):
        pass
    process = start(CRASHED, path)
    assert first_line(process) == "written"
    kill(process)
    before = contents(path.parent)
    assert before["aichat.db-wal"]
    refused(path, DatabaseTooNew)
    after = contents(path.parent)
    assert (after["aichat.db"], after["aichat.db-wal"]) == (before["aichat.db"], before["aichat.db-wal"])


def test_garbage_is_refused_left_as_it_is_and_the_hint_moves_it_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, " * 500)
    before = contents(path.parent)
    error = refused(path, DatabaseCorrupt)
    assert contents(path.parent) == before
    assert error.hint is not None
    assert os.system(error.hint.partition(": ")[2]) == 0
    assert contents(path.parent / "damaged") == before
    with Database.open(path) as db:
        said(db)


def test_a_damaged_database_is_refused_and_the_hint_restores_the_backup(path: Path) -> None:
    with Database.open(path) as db:
        said(db)
    backup = path.with_name("aichat.db.backup-v0")
    backup.write_bytes(path.read_bytes())
    damaged = path.read_bytes()[:100] + b"\xff" * 4000 + path.read_bytes()[4100:]
    path.write_bytes(damaged)
    error = refused(path, DatabaseCorrupt)
    assert path.read_bytes() == damaged
    assert error.hint is not None
    assert os.system(error.hint.partition(": ")[2]) == 0
    with Database.open(path) as db:
        assert db.row("SELECT count(*) FROM messages") == (2,)


def test_damage_met_while_reading_is_the_same_error(path: Path) -> None:
    with Database.open(path) as db:
        for number in range(50):
            said(db, prompt=f"{number} " * 2000)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    with Database.open(path) as db, pytest.raises(DatabaseCorrupt):
        db.rows("SELECT * FROM messages ORDER BY content")


@pytest.mark.parametrize("application_id", [0, 0x0F055112])
def test_a_database_of_another_application_is_refused_and_left_as_it_is(path: Path, application_id: int) -> None:
    path.parent.mkdir()
    connection = apsw.Connection(str(path))
    connection.pragma("application_id", application_id)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = contents(path.parent)
    assert "another application" in refused(path, StorageError).message
    assert contents(path.parent) == before


@pytest.mark.parametrize("read_only", [False, True])
def test_a_folder_at_the_path_is_named_as_such(tmp_path: Path, *, read_only: bool) -> None:
    assert "is a folder" in refused(tmp_path, StorageError, read_only=read_only).message


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "aichat.db", DatabaseReadOnly)
    refused(tmp_path / "file" / "deeper" / "aichat.db", DatabaseReadOnly)


def test_reading_does_not_create_a_database(tmp_path: Path) -> None:
    assert "There is no database" in refused(tmp_path / "aichat.db", StorageError, read_only=True).message
    assert list(tmp_path.iterdir()) == []


def test_a_database_opened_for_reading_refuses_to_write(path: Path) -> None:
    with Database.open(path) as db:
        said(db)
    with Database.open(path, read_only=True) as db, db.reopen() as other:
        assert db.is_read_only
        assert other.is_read_only
        assert turns.recover(db) == 0
        with pytest.raises(DatabaseReadOnly, match="cannot be written"):
            turns.begin(db, opening())


def test_an_older_database_that_cannot_be_migrated_says_so(path: Path) -> None:
    with Database.open(path):
        pass
    set_version(path, 0)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 0)
    connection.close()
    assert "older schema" in refused(path, DatabaseReadOnly, read_only=True).message


# Root may write everywhere, so a process that started as root gives that up first.
AS_NOBODY = """
import os, sys
from pathlib import Path
from aichat_cli.core.errors import AichatError
from aichat_cli.storage import conversations, failures, turns
from aichat_cli.storage.database import Database
import shlex
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with Database.open(Path(sys.argv[1])) as db:
        print(db.is_read_only, len(conversations.listing(db, limit=None)), turns.recover(db))
        turns.begin(db, turns.BeginTurn(None, None, "hi", "T", None, "m"))
except AichatError as error:
    print(type(error).__name__, error.message)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder everybody can enter, which pytest's are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@posix_only
def test_a_read_only_file_in_a_read_only_folder_can_be_listed_and_not_written(open_folder: Path) -> None:
    path = open_folder / "aichat.db"
    with Database.open(path) as db:
        said(db)
        turns.begin(db, opening())
    path.chmod(0o444)
    open_folder.chmod(0o555)
    listed, refusal = finish(start(AS_NOBODY, path)).splitlines()
    assert listed == "True 2 0"
    assert refusal.startswith("DatabaseReadOnly")


@posix_only
def test_a_read_only_database_that_another_process_writes_is_read_with_what_it_wrote(open_folder: Path) -> None:
    path = open_folder / "aichat.db"
    with Database.open(path) as db:
        said(db)
        for companion in open_folder.iterdir():
            companion.chmod(0o444)
        open_folder.chmod(0o555)
        assert finish(start(AS_NOBODY, path)).startswith("True 1 0")


@posix_only
def test_a_folder_that_takes_no_file_is_an_error_that_names_it(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    assert "Cannot create the database" in finish(start(AS_NOBODY, open_folder / "aichat.db"))


@posix_only
def test_a_log_that_cannot_be_read_is_an_error_and_not_an_older_state(open_folder: Path) -> None:
    path = open_folder / "aichat.db"
    with Database.open(path) as db:
        said(db)
    with Database.open(path) as db:
        said(db)
        path.chmod(0o444)
        (open_folder / "aichat.db-shm").chmod(0o000)
        (open_folder / "aichat.db-wal").chmod(0o000)
        open_folder.chmod(0o555)
        assert "cannot be opened" in finish(start(AS_NOBODY, path))


def test_a_full_database_keeps_what_it_had_and_says_so(path: Path) -> None:
    with Database.open(path) as db:
        turn = turns.begin(db, opening())
        turns.checkpoint(db, turn, "kept", "")
        (pages,) = db.row("PRAGMA page_count") or (0,)
        db.execute(f"PRAGMA max_page_count = {pages + 5}")
        with pytest.raises(DiskFull):
            turns.settle(db, turn, outcome("x" * 1_000_000))
        assert db.row("SELECT content, status FROM messages WHERE seq = ?", (turn.seq,)) == ("kept", "streaming")
        assert turns.recover(db) == 1


NO_ROOM = """
import resource, sys
from pathlib import Path
from aichat_cli.core.errors import DiskFull
from aichat_cli.storage import failures, turns
from aichat_cli.storage.database import Database
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with Database.open(Path(sys.argv[1])) as db:
        turns.begin(db, turns.BeginTurn(None, None, "x" * 2_000_000, "T", None, "m"))
except DiskFull as error:
    print(error.message)
"""


@posix_only
@pytest.mark.parametrize("room", [0, 300_000])
def test_no_room_on_the_disk_is_said_when_opening_and_when_writing(path: Path, room: int) -> None:
    assert finish(start(NO_ROOM, path, str(room))).startswith("No space left")
    with Database.open(path) as db:
        assert db.row("SELECT count(*) FROM messages") == (0,)


FAILURES = [
    (apsw.BusyError("busy"), 0, DatabaseLocked, "locked by another process"),
    (apsw.LockedError("locked"), 0, DatabaseLocked, "locked by another process"),
    (apsw.ProtocolError("locking protocol"), 0, DatabaseLocked, "locked by another process"),
    (apsw.NotADBError("file is not a database"), 0, DatabaseCorrupt, "damaged"),
    (apsw.CorruptError("malformed"), 0, DatabaseCorrupt, "damaged"),
    (apsw.FullError("full"), 0, DiskFull, "No space left"),
    (apsw.IOError("disk I/O error"), errno.ENOSPC, DiskFull, "No space left"),
    (apsw.IOError("disk I/O error"), errno.EIO, StorageError, "disk I/O error"),
    (apsw.PermissionsError("access denied"), 0, DatabaseReadOnly, "access denied"),
    (apsw.CantOpenError("unable to open"), 0, DatabaseReadOnly, "unable to open"),
    (apsw.ReadOnlyError("readonly"), 0, DatabaseReadOnly, "cannot be written"),
]


@pytest.mark.parametrize(("error", "os_error", "kind", "words"), FAILURES)
def test_every_failure_of_sqlite_has_its_error_in_a_file_and_in_memory(
    tmp_path: Path, error: apsw.Error, os_error: int, kind: type[StorageError], words: str
) -> None:
    path = tmp_path / "aichat.db"
    path.touch()
    translated = failures.translated(error, path, os_error=os_error)
    assert type(translated) is kind
    assert words in translated.message
    assert str(path) in translated.message
    in_memory = failures.translated(error, None, os_error=os_error)
    assert type(in_memory) is kind
    assert "in memory" in in_memory.message


def test_no_room_for_the_file_or_its_backup_is_a_full_disk(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert type(failures.cannot_create(tmp_path / "aichat.db", full)) is DiskFull
    assert type(failures.backup_failed(tmp_path / "aichat.db", full)) is DiskFull
