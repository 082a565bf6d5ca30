"""Bringing a database to the newest schema: frozen SQL files, applied in order, after a backup.

All pending files are applied in one transaction, each with its row in the ledger `schema_migrations`, so that a
database is at the old version or at the new one, whatever happens in between.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import StorageError
from aichat_cli.core.struct import Struct
from aichat_cli.storage.failures import backup_failed, translated

APPLICATION_ID = 0x41494348
"""`AICH`, in the header of every database of ours."""

MIGRATIONS = Path(__file__).with_name("migrations")

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  number     INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  sha256     TEXT NOT NULL,
  applied_at TEXT NOT NULL
) STRICT
"""


class Migration(Struct, frozen=True):
    """One file, `NNNN_name.sql`."""

    number: int
    name: str
    path: Path


def available(folder: Path) -> list[Migration]:
    """The migrations of a folder, in order."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".sql"))  # noqa: PTH208 (every start reads it)
    return [Migration(int(name[:4]), name[5:-4], folder / name) for name in names]


def migrate(connection: apsw.Connection, path: Path | None, migrations: list[Migration]) -> None:
    """Apply what is pending. Of many processes that ask at once one migrates and the others find it done.

    Raises:
        StorageError: one of them failed; the database is as it was.
        apsw.Error: SQLite could not begin, write or commit.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
    connection.execute("PRAGMA synchronous = FULL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        version = int(connection.pragma("user_version"))
        pending = [migration for migration in migrations if migration.number > version]
        if pending and version and path is not None:
            try:
                _back_up(path, version)
            except OSError as exc:
                raise backup_failed(path, exc) from exc
        for migration in pending:
            _apply(connection, path, migration)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)


def backup_path(path: Path, version: int) -> Path:
    """Where the copy made before leaving schema `version` is kept."""
    return path.with_name(f"{path.name}.backup-v{version}")


def _apply(connection: apsw.Connection, path: Path | None, migration: Migration) -> None:
    from hashlib import sha256

    script = migration.path.read_bytes()
    try:
        # APSW runs a script up to its next row: without fetching, what follows a row would not be run.
        connection.execute(script.decode("utf-8")).fetchall()
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    except apsw.Error as exc:
        failure = translated(exc, path, os_error=connection.system_errno)
        if type(failure) is not StorageError:
            raise failure from exc
        raise _failed(path, migration, str(exc)) from exc
    if broken:
        raise _failed(path, migration, f"{len(broken)} rows refer to nothing in table {broken[0][0]}")
    connection.execute(_LEDGER)
    connection.execute(
        "INSERT INTO schema_migrations VALUES (?, ?, ?, ?)",
        (migration.number, migration.name, sha256(script).hexdigest(), utc_now()),
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {migration.number}")


def _failed(path: Path | None, migration: Migration, reason: str) -> StorageError:
    return StorageError(
        f"Migration {migration.number:04d}_{migration.name} of {path or 'a database in memory'} failed and was "
        f"undone: {reason}.",
        hint="Go back to the aichat you had; the database is unchanged",
    )


def _back_up(path: Path, version: int) -> None:
    """Copy the database as it is, through a second connection, while the caller's write lock keeps it so.

    A copy of the same version, from an earlier attempt, is replaced: what is about to be migrated is what counts.
    """
    partial = path.with_name(f"{path.name}.backup-v{version}.partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        target = apsw.Connection(str(partial))
        try:
            with target.backup("main", source, "main") as copy:
                copy.step()
        finally:
            target.close()
            source.close()
        partial.replace(backup_path(path, version))
    finally:
        partial.unlink(missing_ok=True)
