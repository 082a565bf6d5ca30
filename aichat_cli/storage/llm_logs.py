"""The database of the program `llm` (`logs.db`), read as it is: the file, and the folder it is in, stay untouched.

Version 0.36 of `llm` keeps threads of messages; what was logged before stays in its older tables `conversations` and
`responses`. Columns came with the years, so that each read asks for those that are there.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apsw

from aichat_cli.core.errors import ArchiveError

MAGIC = b"SQLite format 3\0"
LARGEST_VALUE = 256 * 1024 * 1024
_COPY_ATTEMPTS = 3
_WAL_VERSION = 2
_WAL_VERSION_AT = 18

Row = dict[str, Any]


class LlmLogs:
    """One open `logs.db`. Rows are dictionaries; a column or a table that is not there reads as None or no rows."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._columns: dict[str, set[str]] = {}

    @property
    def is_of_llm(self) -> bool:
        """Whether it has the tables of `llm`, of any version."""
        return bool(self._has("threads") or self._has("responses") or self._has("logs") or self._has("log"))

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self._query(f'SELECT count(*) FROM "{table}"')[0][0]) if self._has(table) else 0  # noqa: S608

    def threads(self) -> list[Row]:
        """Threads, in the order they were begun."""
        return self._rows(
            "threads", ("id", "name", "tip_message_hash", "forked_from", "datetime_utc"), "ORDER BY rowid"
        )

    def turns(self, thread_id: str) -> list[Row]:
        """The calls to a model of a thread, in their order."""
        columns = (
            "id", "parent_message_hash", "tip_message_hash", "model", "resolved_model", "options_json", "datetime_utc",
        )  # fmt: skip
        return self._rows("turns", columns, "WHERE thread_id = ? ORDER BY datetime_utc, rowid", (thread_id,))

    def chains(self, tips: Sequence[str]) -> list[Row]:
        """The messages from their roots to each of some tips."""
        if not self._has("messages"):
            return []
        sql = """
        WITH RECURSIVE up (hash) AS (
          SELECT value FROM json_each(?)
          UNION SELECT m.parent_hash FROM up JOIN messages m ON m.hash = up.hash WHERE m.parent_hash IS NOT NULL
        )
        SELECT m.hash, m.parent_hash, m.role FROM up JOIN messages m ON m.hash = up.hash ORDER BY m.rowid
        """
        names = ("hash", "parent_hash", "role")
        return [dict(zip(names, row, strict=True)) for row in self._query(sql, (json.dumps(tips),))]

    def parts(self, message_hash: str) -> list[Row]:
        """What a message is made of, in its order."""
        return self._rows(
            "parts",
            ("type", "text", "payload", "tool_name"),
            "WHERE message_hash = ? ORDER BY position",
            (message_hash,),
        )

    def fragment(self, identifier: int) -> Any:
        """The text of a fragment, None where there is none."""
        found = self._rows("fragments", ("content",), "WHERE id = ?", (identifier,))
        return found[0]["content"] if found else None

    def attachment(self, identifier: str) -> Row | None:
        """A file: its type, and the path or address it was read from."""
        found = self._rows("attachments", ("id", "type", "path", "url"), "WHERE id = ?", (identifier,))
        return found[0] if found else None

    def attachment_content(self, identifier: str) -> Any:
        """The bytes of a file, None where the database does not hold them."""
        found = self._rows("attachments", ("content",), "WHERE id = ?", (identifier,))
        return found[0]["content"] if found else None

    def legacy_conversations(self) -> list[Row]:
        """Conversations of the older tables; one without an id for each response that belongs to none."""
        listed = self._rows("conversations", ("id", "name", "model"), "ORDER BY rowid")
        known = {row["id"] for row in listed}
        used = self._rows("responses", ("id", "conversation_id", "model"), "ORDER BY rowid")
        alone = [row for row in used if row["conversation_id"] not in known]
        return [
            *listed,
            *({"id": None, "name": None, "model": row["model"], "response_id": row["id"]} for row in alone),
        ]

    def legacy_responses(self, conversation: Row) -> list[Row]:
        """The prompts and answers of one of `legacy_conversations`, in their order."""
        columns = (
            "id", "model", "resolved_model", "prompt", "system", "response", "reasoning", "options_json", "datetime_utc",
        )  # fmt: skip
        if conversation["id"] is None:
            return self._rows("responses", columns, "WHERE id = ?", (conversation["response_id"],))
        return self._rows(
            "responses", columns, "WHERE conversation_id = ? ORDER BY datetime_utc, id", (conversation["id"],)
        )

    def legacy_fragments(self, response_id: str, kind: str) -> list[Any]:
        """The texts put before a prompt (`kind` "prompt") or a system prompt ("system")."""
        table = f"{kind}_fragments"
        used = self._rows(table, ("fragment_id",), 'WHERE response_id = ? ORDER BY "order"', (response_id,))
        return [self.fragment(row["fragment_id"]) for row in used]

    def legacy_attachments(self, response_id: str) -> list[Row]:
        """The files of a prompt, without their content."""
        used = self._rows(
            "prompt_attachments", ("attachment_id",), 'WHERE response_id = ? ORDER BY "order"', (response_id,)
        )
        return [{"id": row["attachment_id"]} for row in used]

    def legacy_tool_calls(self, response_id: str) -> list[Row]:
        """What an answer called."""
        return self._rows(
            "tool_calls", ("name", "arguments", "tool_call_id"), "WHERE response_id = ? ORDER BY id", (response_id,)
        )

    def legacy_tool_results(self, response_id: str) -> list[Row]:
        """What tools had answered before a prompt."""
        columns = ("name", "output", "tool_call_id", "exception")
        return self._rows("tool_results", columns, "WHERE response_id = ? ORDER BY id", (response_id,))

    def _rows(self, table: str, columns: Sequence[str], rest: str, values: Sequence[Any] = ()) -> list[Row]:
        if not self._has(table):
            return []
        wanted = ", ".join(f'"{name}"' if name in self._columns[table] else f'NULL AS "{name}"' for name in columns)
        rows = self._query(f'SELECT {wanted} FROM "{table}" {rest}', values)  # noqa: S608 (names of ours)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _has(self, table: str) -> set[str]:
        """The columns of a real table; a view could be made to run for ever."""
        if table not in self._columns:
            is_table = self._query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,))
            found = self._query("SELECT name FROM pragma_table_info(?)", (table,)) if is_table else []
            self._columns[table] = {str(row[0]) for row in found}
        return self._columns[table]

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return list(self._connection.execute(sql, values))
        except apsw.Error as exc:
            raise ArchiveError(f"{self._path} cannot be read: {exc}.") from exc


@contextmanager
def opened(path: Path) -> Iterator[LlmLogs]:
    """A `logs.db`, for reading.

    Raises:
        ArchiveError: it cannot be read, or is another program's database.
    """
    with ExitStack() as stack:
        try:
            connection = _connect(path, stack)
        except (apsw.Error, OSError) as exc:
            raise ArchiveError(f"{path} cannot be read: {exc}.") from exc
        stack.callback(connection.close)
        logs = LlmLogs(connection, path)
        if not logs.is_of_llm:
            raise ArchiveError(f"{path} is a database, but not one of llm.", hint="Its logs.db: llm logs path")
        yield logs


def is_sqlite(path: Path) -> bool:
    """Whether a file is a SQLite database."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _connect(path: Path, stack: ExitStack) -> apsw.Connection:
    """A database with a write-ahead log is read from a copy: opening it would create files beside it."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    if _is_wal(path):
        if _size(_log_of(path)):
            copy = _copied(path, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aichat-"))))
            uri = copy.as_uri()
        else:
            uri = f"{path.absolute().as_uri()}?immutable=1"
    flags = apsw.SQLITE_OPEN_READWRITE if "?" not in uri else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(uri, flags=flags | apsw.SQLITE_OPEN_URI)
    connection.set_busy_timeout(5000)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
    connection.execute("PRAGMA query_only = 1")
    return connection


def _copied(path: Path, folder: Path) -> Path:
    """The database and its log as they were at one moment."""
    copy = folder / "logs.db"
    for _ in range(_COPY_ATTEMPTS):
        before = _state(path)
        shutil.copyfile(path, copy)
        shutil.copyfile(_log_of(path), _log_of(copy))
        if _state(path) == before:
            return copy
    raise ArchiveError(f"{path} is being written.", hint="Try again when llm has ended")


def _state(path: Path) -> list[tuple[int, int]]:
    found = [file.stat() for file in (path, _log_of(path))]
    return [(stat.st_mtime_ns, stat.st_size) for stat in found]


def _is_wal(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(_WAL_VERSION_AT + 1)[-1:] == bytes([_WAL_VERSION])


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
