"""Every SQLite failure as one of aichat's own errors: what failed, where, and what to run next."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import apsw

from aichat_cli.core.errors import (
    DatabaseCorrupt,
    DatabaseLocked,
    DatabaseReadOnly,
    DatabaseTooNew,
    DiskFull,
    StorageError,
)

_NO_SPACE = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})


def translated(error: apsw.Error, path: Path | None, *, os_error: int = 0) -> StorageError:
    """The error a user is shown for one of SQLite's. `os_error` is the errno of the failed call, where there was one."""
    place = "in memory" if path is None else str(path)
    if path is not None and os.path.isdir(path):  # noqa: PTH112 (Path.is_dir fails where the folder cannot be entered)
        return StorageError(f"The database path {place} is a folder.", hint=f"Name a file in it: {path / 'aichat.db'}")
    if isinstance(error, apsw.BusyError | apsw.LockedError | apsw.ProtocolError):
        return DatabaseLocked(
            f"The database {place} is locked by another process.", hint="Try again when the other process has ended"
        )
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return DatabaseCorrupt(
            f"The file {place} is not a database of aichat, or is damaged: {error}.", hint=_move_aside(path)
        )
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and os_error in _NO_SPACE):
        return disk_full(place)
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        return _unusable(path, place, error)
    return StorageError(f"The database {place} failed: {error}", hint="Run: aichat doctor")


def disk_full(place: str) -> DiskFull:
    """No space left where the database is."""
    return DiskFull(f"No space left for the database {place}.", hint="Free some space and try again")


def too_new(path: Path, version: int, known: int) -> DatabaseTooNew:
    """A newer aichat wrote the file."""
    return DatabaseTooNew(
        f"The database {path} has schema version {version}, this aichat knows up to {known}.",
        hint="Run: pip install --upgrade aichat-terminal",
    )


def foreign(path: Path) -> StorageError:
    """The file is a database of another application."""
    return StorageError(
        f"The file {path} is a database of another application.", hint="Choose another path with AICHAT_DATABASE"
    )


def outdated(path: Path, version: int) -> DatabaseReadOnly:
    """The file must be migrated and cannot be written."""
    return DatabaseReadOnly(
        f"The database {path} has the older schema version {version} and cannot be written to upgrade it.",
        hint=f"Make it writable: chmod u+w {path.parent} {path}",
    )


def cannot_create(path: Path, error: OSError) -> StorageError:
    """The file, or a folder above it, cannot be made."""
    if error.errno in _NO_SPACE:
        return disk_full(str(path))
    return DatabaseReadOnly(
        f"Cannot create the database {path}: {error.strerror}.", hint=f"Check the folder: ls -ld {path.parent}"
    )


def backup_failed(path: Path, error: OSError) -> StorageError:
    """No copy could be made of a database that must be migrated."""
    if error.errno in _NO_SPACE:
        return disk_full(str(path))
    return StorageError(
        f"Cannot back up the database {path} before upgrading it: {error.strerror}.",
        hint=f"Check the folder: ls -l {path.parent}",
    )


def _unusable(path: Path | None, place: str, error: apsw.Error) -> StorageError:
    if path is None:
        return DatabaseReadOnly(f"The database {place} cannot be written: {error}.")
    if os.access(path.parent, os.X_OK) and not os.path.lexists(path):
        return StorageError(f"There is no database at {place}.", hint='Start a conversation: aichat "hello"')
    if isinstance(error, apsw.ReadOnlyError):
        return DatabaseReadOnly(
            f"The database {place} cannot be written.", hint=f"Make it writable: chmod u+w {path.parent} {path}"
        )
    return DatabaseReadOnly(
        f"The database {place} cannot be opened: {error}.",
        hint=f"Check the owner and the mode: ls -ld {path.parent} {place}",
    )


def _move_aside(path: Path | None) -> str | None:
    if path is None:
        return None
    from shlex import quote

    aside = path.parent / "damaged"
    companions = [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm", "-live")]
    files = " ".join(quote(str(file)) for file in [path, *filter(Path.exists, companions)])
    commands = f"mkdir -p {quote(str(aside))} && mv {files} {quote(str(aside))}"
    backups = sorted(path.parent.glob(f"{path.name}.backup-v*"), key=lambda backup: backup.stat().st_mtime)
    if backups:
        return f"Go back to the last backup: {commands} && cp {quote(str(backups[-1]))} {quote(str(path))}"
    return f"Move it aside and start anew: {commands}"
