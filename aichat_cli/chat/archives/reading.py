"""Finding out what a file is, and reading what conversations it holds, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aichat_cli.chat.archives import chatgpt, claude, llm, own
from aichat_cli.chat.archives.files import Files, base_name, opened_files
from aichat_cli.chat.archives.json_stream import BadItem, JsonDocument, NotJson
from aichat_cli.chat.archives.values import BadConversation, title_of
from aichat_cli.core.archive import ArchivedConversation, ArchiveFormat, ImportFailure
from aichat_cli.core.errors import ArchiveError
from aichat_cli.storage import llm_logs

_SUFFIXES = (".zip", ".json", ".db")
_UNKNOWN = "it is no conversation of ChatGPT, Claude or aichat"


class Source:
    """One archive. Its conversations come in its order; `done` of `total` bytes, or conversations, are read."""

    def __init__(self, path: Path, archive_format: ArchiveFormat) -> None:
        self.path = path
        self.total = 0
        self.done = 0
        self._format = archive_format
        self._number = 0

    def conversations(self) -> Iterator[Iterator[ArchivedConversation | ImportFailure]]:
        """For each file of the archive what it holds; a file that cannot be read to its end ends with a failure.

        The archive is open as long as the iterator is.
        """
        try:
            with self._opened() as files:
                yield from files
        except ArchiveError as exc:
            yield iter([self._failed(None, None, exc.message)])

    @contextmanager
    def _opened(self) -> Iterator[list[Iterator[ArchivedConversation | ImportFailure]]]:
        if self.path.is_file() and llm_logs.is_sqlite(self.path):
            with llm_logs.opened(self.path) as logs:
                yield [self._logs(logs)]
            return
        if self._format == "llm":
            raise ArchiveError(f"{self.path} is not the database of llm.")
        with opened_files(self.path) as files:
            names = files.conversations() if files.is_set else [self.path.name]
            if not names:
                raise ArchiveError(f"There is no conversations.json in {self.path}.")
            self.total = sum(map(files.size, names))
            yield [self._document(files, name) for name in names]

    def _logs(self, logs: llm_logs.LlmLogs) -> Iterator[ArchivedConversation | ImportFailure]:
        if self._format not in ("auto", "llm"):
            yield self._failed(None, None, "it is a database, not an export of that format")
            return
        self.total = llm.count(logs)
        for found in llm.conversations(logs):
            self.done += 1
            yield self._failed(None, f"#{self.done}", str(found)) if isinstance(found, BadConversation) else found
        for table in ("logs", "log"):
            if logs.count(table):
                reason = f'{logs.count(table)} rows of the table "{table}", which llm used in 2023, are not read'
                yield self._failed(None, None, reason)

    def _document(self, files: Files, name: str) -> Iterator[ArchivedConversation | ImportFailure]:
        try:
            with files.text(name, self._count) as stream:
                document = JsonDocument(stream)
                for item in document.items():
                    self._number += 1
                    yield self._item(item, document.header, files, name)
        except NotJson as exc:
            yield self._failed(name, None, f"it is not whole JSON: {exc}")
        except ArchiveError as exc:
            yield self._failed(name, None, exc.message)

    def _count(self, size: int) -> None:
        self.done += size

    def _item(
        self, item: Any, header: Mapping[str, Any], files: Files, name: str
    ) -> ArchivedConversation | ImportFailure:
        try:
            if isinstance(item, BadItem):
                raise BadConversation(item.reason)
            return _conversation(item, header, files, self._format)
        except BadConversation as exc:
            return self._failed(name, self._label(item), str(exc))
        except RecursionError:
            return self._failed(name, self._label(item), "it is nested too deeply")

    def _label(self, item: Any) -> str:
        told = title_of(item.get("title") or item.get("name")) if isinstance(item, dict) else ""
        return told or f"#{self._number}"

    def _failed(self, name: str | None, conversation: str | None, reason: str) -> ImportFailure:
        file = base_name(name or "")
        place = f"{self.path}: {file}" if file and file != self.path.name else str(self.path)
        return ImportFailure(place, conversation, reason)


def sources(paths: list[Path], archive_format: ArchiveFormat) -> list[Source]:
    """The archives that some paths mean: themselves, or for a folder that is no unpacked export the archives in it."""
    found: list[Source] = []
    for path in paths:
        inside = _archives_in(path) if path.is_dir() else [path]
        found.extend(Source(each, archive_format) for each in inside)
    return found


def _archives_in(folder: Path) -> list[Path]:
    with opened_files(folder) as files:
        if files.conversations():
            return [folder]
    inside = sorted(each for each in folder.iterdir() if each.suffix.lower() in _SUFFIXES and each.is_file())
    return inside or [folder]


def _conversation(
    item: Any, header: Mapping[str, Any], files: Files, archive_format: ArchiveFormat
) -> ArchivedConversation:
    """Raises BadConversation."""
    if not isinstance(item, dict):
        raise BadConversation(_UNKNOWN)
    kind = _format_of(item, header)
    if kind is None or archive_format not in ("auto", kind):
        raise BadConversation(_UNKNOWN if kind is None else f"it is of {kind}, not of {archive_format}")
    if kind == "chatgpt":
        return chatgpt.conversation(item, files)
    if kind == "claude":
        return claude.conversation(item)
    if own.is_too_new(header):
        raise BadConversation("a newer aichat wrote it; upgrade with: pip install --upgrade aichat-terminal")
    return own.conversation(item)


def _format_of(item: Mapping[str, Any], header: Mapping[str, Any]) -> str | None:
    if own.is_ours(header) and item is not header:
        return "aichat"
    if "mapping" in item:
        return "chatgpt"
    return "claude" if "chat_messages" in item else None
