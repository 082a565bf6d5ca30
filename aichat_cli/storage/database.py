"""The connection to the local database: how it is opened, its transactions, and its errors.

Nothing above this folder sees APSW: every failure leaves it as one of `core.errors.StorageError`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw

from aichat_cli.core import interrupts
from aichat_cli.core.errors import StorageError
from aichat_cli.core.ids import new_id
from aichat_cli.storage import failures
from aichat_cli.storage.migrate import APPLICATION_ID, MIGRATIONS, available, migrate

Value = str | int | float | bytes | None

_READ_WRITE = apsw.SQLITE_OPEN_READWRITE
_READ_ONLY = apsw.SQLITE_OPEN_READONLY
_LONGEST_PAUSE = 0.05

_creating = threading.Lock()
"""Closing a file drops this process's POSIX locks on it, SQLite's included: it is created under this lock, before
any connection of ours can hold one."""


class Database:
    """One connection, for one thread at a time; `reopen` makes one for another thread.

    Attributes:
        path: the file, None in memory.
        is_read_only: whether nothing can be written, because it was asked for or the file does not allow it.
    """

    def __init__(self, connection: apsw.Connection, location: str, path: Path | None, busy_timeout_s: float) -> None:
        self._connection = connection
        self._location = location
        self._busy_timeout_s = busy_timeout_s
        self._has_vectors = False
        self.path = path
        self.is_read_only: bool = connection.readonly("main")

    @classmethod
    def open(
        cls, path: Path, *, busy_timeout_s: float = 30.0, read_only: bool = False, migrations: Path = MIGRATIONS
    ) -> Database:
        """Open the database of a file; without `read_only` it is created and migrated where needed.

        A file that cannot be written is opened for reading: `is_read_only` tells.

        Raises:
            DatabaseTooNew, DatabaseCorrupt: the file is left exactly as it is.
            DatabaseReadOnly, DiskFull: it cannot be created, migrated or read.
            DatabaseLocked: another process held it for longer than `busy_timeout_s`.
            StorageError: it is another application's, or there is none to read.
        """
        if not read_only:
            _ensure_file(path)
        flags = _READ_ONLY if read_only else _READ_WRITE
        try:
            return cls._opened(str(path), flags, path, busy_timeout_s, migrations)
        except apsw.Error as exc:
            if not isinstance(exc, apsw.CantOpenError | apsw.ReadOnlyError) or not _is_at_rest(path):
                raise failures.translated(exc, path) from exc
        # WAL needs files beside the database; a folder that takes none leaves reading it as an unchanging file.
        try:
            uri = path.absolute().as_uri() + "?immutable=1"
            return cls._opened(uri, _READ_ONLY | apsw.SQLITE_OPEN_URI, path, busy_timeout_s, migrations)
        except apsw.Error as exc:
            raise failures.translated(exc, path) from exc

    @classmethod
    def in_memory(cls) -> Database:
        """A database that lives as long as a connection to it is open."""
        flags = _READ_WRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        return cls._opened(f"file:/aichat-{new_id()}?vfs=memdb", flags, None, 30.0, MIGRATIONS)

    @property
    def is_persistent(self) -> bool:
        """Whether it outlives the program."""
        return self.path is not None

    def reopen(self) -> Database:
        """A second connection to the same database, for another thread."""
        if self.path is not None:
            return Database.open(self.path, busy_timeout_s=self._busy_timeout_s, read_only=self.is_read_only)
        flags = _READ_WRITE | apsw.SQLITE_OPEN_URI
        return self._opened(self._location, flags, None, self._busy_timeout_s, MIGRATIONS)

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        try:
            return list(self._connection.execute(sql, parameters))
        except UnicodeEncodeError:
            return self.rows(sql, [_storable(value) for value in parameters])
        except apsw.Error as exc:
            raise failures.translated(exc, self.path, os_error=self._connection.system_errno) from exc

    def row(self, sql: str, parameters: Sequence[Value] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, None where there is none."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Run one statement; returns how many rows the last INSERT, UPDATE or DELETE touched."""
        self.rows(sql, parameters)
        return self._connection.changes()

    @contextmanager
    def transaction(self, *, durable: bool = False, longest_wait_s: float | None = None) -> Iterator[None]:
        """One write transaction, undone by any exception.

        Args:
            durable: survive a power cut once committed; otherwise only the death of the process.
            longest_wait_s: for another process that writes; None is the connection's own patience.
        """
        if durable:
            self.execute("PRAGMA synchronous = FULL")
        try:
            self._begin(longest_wait_s)
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self.execute("ROLLBACK")
            raise
        finally:
            if durable:
                self.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Queries that all see one state of the database; inside a transaction they do so anyway."""
        if self.in_transaction:
            yield
            return
        self.execute("BEGIN")
        try:
            yield
        finally:
            self.execute("ROLLBACK")

    def _begin(self, longest_wait_s: float | None) -> None:
        if longest_wait_s is None:
            self.execute("BEGIN IMMEDIATE")
            return
        self._connection.set_busy_handler(_Waiter(longest_wait_s))
        try:
            self.execute("BEGIN IMMEDIATE")
        finally:
            self._connection.set_busy_handler(_Waiter(self._busy_timeout_s))

    def load_vector_extension(self) -> None:
        """Make vec0 tables usable on this connection. Loading twice costs nothing.

        Raises:
            StorageError: sqlite-vec is not installed or does not load here.
        """
        if self._has_vectors:
            return
        try:
            import sqlite_vec

            self._connection.enable_load_extension(True)
            try:
                self._connection.load_extension(sqlite_vec.loadable_path())
            finally:
                self._connection.enable_load_extension(False)
        except (ImportError, apsw.Error) as exc:
            raise StorageError(f"sqlite-vec cannot be loaded: {exc}.", hint="Run: pip install sqlite-vec") from exc
        self._has_vectors = True

    def change_shadow_tables(self, sql: str) -> None:
        """Run a CREATE on a table that a virtual table keeps for itself, which is forbidden otherwise."""
        self._connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
        try:
            self.execute(sql)
        finally:
            self._connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)

    @property
    def in_transaction(self) -> bool:
        """Whether this connection has begun one."""
        return bool(self._connection.in_transaction)

    def execute_many(self, sql: str, parameters: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each row of parameters."""
        try:
            self._connection.executemany(sql, parameters)
        except apsw.Error as exc:
            raise failures.translated(exc, self.path, os_error=self._connection.system_errno) from exc

    def interrupt(self) -> None:
        """End the query another thread is running on this connection; it raises StorageError there.

        Call only while that thread keeps the connection open.
        """
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection. Closing twice is fine."""
        try:
            self._connection.close()
        except apsw.Error as exc:
            raise failures.translated(exc, self.path) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def _opened(cls, location: str, flags: int, path: Path | None, busy_timeout_s: float, migrations: Path) -> Database:
        connection = apsw.Connection(location, flags=flags)
        try:
            connection.set_busy_handler(_Waiter(busy_timeout_s))
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
            _bring_up_to_date(connection, path, migrations, busy_timeout_s)
            connection.execute("PRAGMA temp_store = MEMORY; PRAGMA synchronous = NORMAL")
        except apsw.IOError as exc:
            failure = failures.translated(exc, path, os_error=connection.system_errno)
            connection.close()
            raise failure from exc
        except BaseException:
            connection.close()
            raise
        return cls(connection, location, path, busy_timeout_s)


class _Waiter:
    """What a connection does while another holds the lock. In Python, so that Ctrl-C ends the wait."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._deadline = 0.0

    def __call__(self, earlier_calls: int) -> bool:
        now = time.monotonic()
        if earlier_calls == 0:
            self._deadline = now + self._timeout_s
        if now >= self._deadline or interrupts.is_pending():
            return False
        _pause(min(_LONGEST_PAUSE, 0.004 * (earlier_calls + 1)))
        return True


def _pause(longest: float) -> None:
    """Sleep for a random time, so that processes waiting for one lock do not come back together."""
    time.sleep(longest * (1 + os.urandom(1)[0]) / 256)


def _bring_up_to_date(connection: apsw.Connection, path: Path | None, folder: Path, busy_timeout_s: float) -> None:
    """Check whose and which version the file is, before the first write to it, and migrate it where needed."""
    migrations = available(folder)
    newest = migrations[-1].number
    # Of one state: between two reads another process may have made the tables of an empty file.
    connection.execute("BEGIN")
    try:
        version = int(connection.pragma("user_version"))
        is_foreign = int(connection.pragma("application_id")) != APPLICATION_ID and bool(
            version or _has_tables(connection)
        )
    finally:
        connection.execute("ROLLBACK")
    if path is not None and is_foreign:
        _leave_untouched(connection, path)
        raise failures.foreign(path)
    if path is not None and version > newest:
        _leave_untouched(connection, path)
        raise failures.too_new(path, version, newest)
    if connection.readonly("main"):
        if version < newest and path is not None:
            raise failures.outdated(path, version)
        return
    if path is not None:
        _switch_to_wal(connection, time.monotonic() + busy_timeout_s)
    if version < newest:
        migrate(connection, path, migrations)


def _has_tables(connection: apsw.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall())


def _leave_untouched(connection: apsw.Connection, path: Path) -> None:
    """Closing would copy what another process left in the write-ahead log into the file."""
    if not _is_at_rest(path):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _switch_to_wal(connection: apsw.Connection, deadline: float) -> None:
    """Nothing to do but on a fresh file, where SQLite refuses at once, without waiting, if two do it together."""
    while True:
        try:
            connection.pragma("journal_mode", "wal")
            return
        except (apsw.BusyError, apsw.LockedError, apsw.ProtocolError):
            if time.monotonic() >= deadline or interrupts.is_pending():
                raise
        _pause(_LONGEST_PAUSE)


def _is_at_rest(path: Path) -> bool:
    """Whether the whole database is in its one file."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size == 0
    except OSError:
        return True


def _ensure_file(path: Path) -> None:
    """Create the file for its owner alone, and the folder where there is none."""
    with _creating:
        try:
            if path.exists():
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError as exc:
            if not path.parent.is_dir():
                raise failures.cannot_create(path, exc) from exc
        except OSError as exc:
            raise failures.cannot_create(path, exc) from exc


def _storable(value: Value) -> Value:
    """Text from the command line may hold half characters (lone surrogates), which no database stores."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
