"""Migrations: whole or not at all, after a backup, by one process at a time."""

from __future__ import annotations

import shutil
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from aichat_cli.core.errors import DiskFull, StorageError
from aichat_cli.storage.database import Database
from aichat_cli.storage.migrate import APPLICATION_ID, MIGRATIONS, available, backup_path
from tests.storage.support import finish, first_line, index_agrees, kill, said, start

SHIPPED = len(available(MIGRATIONS))
LATER = SHIPPED + 1
FROZEN = {"0001_initial.sql", "0002_trash_roles_attachments.sql"}


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The migrations of a later aichat: a column, and a table made from what is there."""
    folder = tmp_path / "later"
    shutil.copytree(MIGRATIONS, folder)
    (folder / f"{LATER:04d}_pinned.sql").write_text(
        "ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;"
        "CREATE TABLE counts AS SELECT count(*) AS n FROM messages;"
    )
    return folder


def old_database(path: Path) -> None:
    with Database.open(path) as db:
        said(db)


def test_the_shipped_migrations_are_numbered_without_a_gap() -> None:
    migrations = available(MIGRATIONS)
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    assert {migration.path.name for migration in migrations} >= FROZEN


def test_the_ledger_names_each_migration_with_its_digest(db: Database) -> None:
    rows = db.rows("SELECT number, name, sha256 FROM schema_migrations ORDER BY number")
    assert rows == [
        (shipped.number, shipped.name, sha256(shipped.path.read_bytes()).hexdigest())
        for shipped in available(MIGRATIONS)
    ]
    assert db.row("PRAGMA user_version") == (SHIPPED,)
    assert db.row("PRAGMA application_id") == (APPLICATION_ID,)


def test_a_new_database_needs_no_backup(path: Path) -> None:
    old_database(path)
    assert not list(path.parent.glob("*backup*"))


def test_a_later_version_migrates_what_is_there_after_a_backup(path: Path, later: Path) -> None:
    old_database(path)
    with Database.open(path, migrations=later) as db:
        assert db.row("SELECT pinned FROM conversations") == (0,)
        assert db.row("SELECT n FROM counts") == (2,)
        assert db.row("SELECT number, name FROM schema_migrations ORDER BY number DESC") == (LATER, "pinned")
        assert db.row("PRAGMA foreign_keys") == (1,)
        assert db.row("PRAGMA synchronous") == (1,)
        index_agrees(db)
    backup = backup_path(path, SHIPPED)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with Database.open(backup) as db:
        assert db.row("PRAGMA user_version") == (SHIPPED,)
        assert db.row("SELECT count(*) FROM messages") == (2,)


def test_the_backup_holds_what_is_still_in_the_write_ahead_log(path: Path, later: Path) -> None:
    with Database.open(path) as writer:
        said(writer)
        with Database.open(path, migrations=later):
            pass
    with Database.open(backup_path(path, SHIPPED), read_only=True) as db:
        assert db.row("SELECT count(*) FROM messages") == (2,)


def test_a_backup_of_the_same_version_is_replaced_by_the_newer_state(path: Path, later: Path) -> None:
    old_database(path)
    backup_path(path, SHIPPED).write_bytes(b"of an earlier attempt")
    path.with_name(f"aichat.db.backup-v{SHIPPED}.partial").write_bytes(b"of a killed attempt")
    with Database.open(path, migrations=later):
        pass
    with Database.open(backup_path(path, SHIPPED), read_only=True) as db:
        assert db.row("SELECT count(*) FROM messages") == (2,)
    assert not list(path.parent.glob("*.partial"))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("CREATE TABLE half (a); INSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
        ("CREATE TABLE half (a); UPDATE messages SET conversation_id = 'gone';", "refer to nothing"),
    ],
)
def test_a_migration_that_fails_changes_nothing_and_leaves_the_backup(
    path: Path, later: Path, script: str, reason: str
) -> None:
    old_database(path)
    (later / f"{LATER + 1:04d}_half.sql").write_text(script)
    with pytest.raises(StorageError, match=f"{LATER + 1:04d}_half .*{reason}"):
        Database.open(path, migrations=later)
    with Database.open(path) as db:
        assert db.row("PRAGMA user_version") == (SHIPPED,)
        assert db.rows("SELECT name FROM sqlite_schema WHERE name IN ('half', 'counts')") == []
        assert db.row("SELECT count(*) FROM messages") == (2,)
        index_agrees(db)
    assert backup_path(path, SHIPPED).exists()


def test_a_migration_that_fills_the_disk_says_so_and_changes_nothing(path: Path, later: Path) -> None:
    old_database(path)
    (later / f"{LATER + 1:04d}_large.sql").write_text(
        "PRAGMA max_page_count = 1; CREATE TABLE large AS SELECT zeroblob(9000000) AS a;"
    )
    with pytest.raises(DiskFull):
        Database.open(path, migrations=later)
    with Database.open(path) as db:
        assert db.row("PRAGMA user_version") == (SHIPPED,)


def test_a_backup_that_cannot_be_made_stops_the_migration(path: Path, later: Path) -> None:
    old_database(path)
    backup_path(path, SHIPPED).mkdir()
    with pytest.raises(StorageError, match="Cannot back up"):
        Database.open(path, migrations=later)
    with Database.open(path) as db:
        assert db.row("PRAGMA user_version") == (SHIPPED,)
    assert not list(path.parent.glob("*.partial"))


def test_a_database_of_the_first_schema_keeps_its_messages_their_index_and_their_numbers(
    path: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(MIGRATIONS / "0001_initial.sql", first)
    with Database.open(path, migrations=first) as db:
        db.execute(
            "INSERT INTO conversations (id, user_id, title, created_at, updated_at)"
            " SELECT 'c', id, 'Tea', created_at, created_at FROM profiles"
        )
        for name, parent in (("question", None), ("answer", "question"), ("removed", "answer")):
            db.execute(
                "INSERT INTO messages (id, conversation_id, parent_id, role, content, status, created_at, updated_at)"
                " VALUES (?, 'c', ?, 'user', ?, 'complete', '2026', '2026')",
                (name, parent, f"the {name}"),
            )
        db.execute("UPDATE conversations SET head_id = 'answer'")
        db.execute("DELETE FROM messages WHERE id = 'removed'")
    with Database.open(path) as db:
        assert db.rows("SELECT seq, id, parent_id, content FROM messages") == [
            (1, "question", None, "the question"),
            (2, "answer", "question", "the answer"),
        ]
        assert db.rows("SELECT rowid FROM messages_fts WHERE messages_fts MATCH 'answer'") == [(2,)]
        assert db.row("SELECT seq FROM sqlite_sequence WHERE name = 'messages'") == (3,)
        index_agrees(db)
        db.execute("DELETE FROM conversations")
        assert db.row("SELECT count(*) FROM messages") == (0,)


MIGRATE = """
import sys
from pathlib import Path
from aichat_cli.storage.database import Database
print("ready", flush=True)
sys.stdin.readline()
with Database.open(Path(sys.argv[1]), migrations=Path(sys.argv[2])) as db:
    print(db.row("PRAGMA user_version")[0])
"""


def test_of_many_processes_one_migrates_and_the_others_find_it_done(path: Path, later: Path) -> None:
    old_database(path)
    processes = [start(MIGRATE, path, later) for _ in range(8)]
    assert all(first_line(process) == "ready" for process in processes)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [finish(process) for process in processes] == [str(LATER)] * 8
    with Database.open(path, migrations=later) as db:
        assert db.row("SELECT count(*) FROM schema_migrations") == (LATER,)


def test_a_process_killed_in_the_middle_of_a_migration_leaves_the_old_version(path: Path, later: Path) -> None:
    old_database(path)
    slow = later / f"{LATER + 1:04d}_slow.sql"
    slow.write_text(
        "CREATE TABLE slow AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT i, randomblob(2000) AS filler FROM n LIMIT 100000000;"
    )
    process = start(MIGRATE, path, later)
    assert first_line(process) == "ready"
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    log = path.with_name("aichat.db-wal")
    while not log.exists() or log.stat().st_size < 1_000_000:
        assert process.poll() is None
    kill(process)
    with Database.open(path) as db:
        assert db.row("PRAGMA user_version") == (SHIPPED,)
        assert db.row("SELECT count(*) FROM messages") == (2,)
        assert db.row("PRAGMA integrity_check") == ("ok",)
    slow.unlink()
    with Database.open(path, migrations=later) as db:
        assert db.row("PRAGMA user_version") == (LATER,)
