"""What an archive is made of: a ZIP file, the folder it was unpacked to, or one file of it.

Nothing is unpacked to disk and no name in an archive is ever used as a path. What decompresses to more than its share
is not read: `LARGEST_FILE` for one attached file, `LARGEST_JSON` for the conversations, and for all attached files
together `SHARE` times the size of the archive and `LARGEST_FILE` more, which only a made-up archive exceeds.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol

from aichat_cli.core.errors import ArchiveError

LARGEST_FILE = 64 * 1024 * 1024
LARGEST_JSON = 4 * 1024 * 1024 * 1024
SHARE = 20
MOST_NAMES = 500_000
DEEPEST_FOLDER = 4

_CONVERSATIONS = re.compile(r"conversations(-\d+)?\.json", re.IGNORECASE)
_NAMES = "conversation_asset_file_names.json"
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
_BESIDE = ("dalle-generations", "user-", "audio", "files", "attachments")
"""Folders of an unpacked archive that hold files of messages, where only one file of it was named."""


class Container(Protocol):
    """A set of named files that can be read."""

    def names(self) -> list[str]:
        """All of them, with `/` between folders."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Read one; raises one of `_UNREADABLE`."""
        ...

    def size(self, name: str) -> int:
        """Its size in bytes, by what the archive says."""
        ...


class ZipContainer:
    """A ZIP file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._infos = {
            info.filename: info
            for info in archive.infolist()[:MOST_NAMES]
            if not info.is_dir() and not _is_litter(info.filename)
        }

    def names(self) -> list[str]:
        """The names in it."""
        return list(self._infos)

    def open(self, name: str) -> IO[bytes]:
        """Decompress one, as far as it is read."""
        return self._archive.open(self._infos[name])

    def size(self, name: str) -> int:
        """Its size, decompressed."""
        return self._infos[name].file_size


class FolderContainer:
    """Regular files in a folder; links are not followed."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        self._names = names

    def names(self) -> list[str]:
        """Their paths below the folder."""
        return self._names

    def open(self, name: str) -> IO[bytes]:
        """Read one."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.fdopen(os.open(self._folder / name, flags), "rb")

    def size(self, name: str) -> int:
        """Its size."""
        return (self._folder / name).stat(follow_symlinks=False).st_size


class Files:
    """The files of an archive: those with conversations, and those of messages, found by their ids.

    Args:
        size: of the archive on disk, which bounds what its files may decompress to.
        is_set: whether it is a whole archive, not one file that was named.
    """

    def __init__(self, container: Container, size: int, *, is_set: bool = True) -> None:
        self._container = container
        self.is_set = is_set
        self._budget = SHARE * size + LARGEST_FILE
        self._by_base_name: dict[str, str] | None = None
        self._original_names: dict[str, str] | None = None

    def conversations(self) -> list[str]:
        """The names of `conversations.json`, or of its numbered parts."""
        return sorted(name for name in self._container.names() if _CONVERSATIONS.fullmatch(base_name(name)))

    def size(self, name: str) -> int:
        """Bytes of one of them."""
        return self._container.size(name)

    @contextmanager
    def text(self, name: str, read_bytes: Callable[[int], None]) -> Iterator[IO[str]]:
        """One file as text; `read_bytes` is told how far it was read.

        Raises:
            ArchiveError: it cannot be read, or is too large.
        """
        try:
            stream = self._container.open(name)
        except _UNREADABLE as exc:
            raise _unreadable(base_name(name), exc) from exc
        with stream:
            counted = io.BufferedReader(_Counted(stream, base_name(name), LARGEST_JSON, read_bytes), 1 << 18)
            yield io.TextIOWrapper(counted, encoding="utf-8-sig", errors="replace")

    def find(self, identifier: str) -> str | None:
        """The file of a message whose name is this id, or begins with it."""
        if self._by_base_name is None:
            self._by_base_name = {base_name(name): name for name in sorted(self._container.names(), reverse=True)}
            self._by_base_name |= {_id_of(base): name for base, name in self._by_base_name.items()}
        return self._by_base_name.get(identifier)

    def original_name(self, name: str) -> str:
        """What a file was called before a newer ChatGPT export named it `file_00ab.dat`; else the name it has."""
        if self._original_names is None:
            listed = self._listed_names()
            self._original_names = {key: value for key, value in listed.items() if isinstance(value, str) and value}
        return self._original_names.get(base_name(name), base_name(name))

    def _listed_names(self) -> dict[str, object]:
        place = next((name for name in self._container.names() if base_name(name) == _NAMES), None)
        if place is None:
            return {}
        try:
            with self._container.open(place) as stream:
                listed = json.loads(stream.read(LARGEST_FILE))
        except (*_UNREADABLE, ValueError, RecursionError):
            return {}
        return listed if isinstance(listed, dict) else {}

    def read(self, name: str) -> bytes | None:
        """The bytes of a message's file, None where it cannot be read or is too large."""
        most = min(LARGEST_FILE, self._budget)
        try:
            with self._container.open(name) as stream:
                content = stream.read(most + 1)
        except _UNREADABLE:
            return None
        self._budget -= len(content)
        return content if len(content) <= most else None


def base_name(name: str) -> str:
    """The last part of a path of any system."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


@contextmanager
def opened_files(path: Path) -> Iterator[Files]:
    """The files of a ZIP file, of a folder, or of the export that a single JSON file is from.

    Raises:
        ArchiveError: it cannot be opened.
    """
    with ExitStack() as stack:
        try:
            files = _opened(path, stack)
        except _UNREADABLE as exc:
            raise _unreadable(str(path), exc) from exc
        yield files


def _opened(path: Path, stack: ExitStack) -> Files:
    if path.is_dir():
        names = list(_below(path))
        return Files(FolderContainer(path, names), _size_of(path, names))
    if zipfile.is_zipfile(path):
        return Files(ZipContainer(stack.enter_context(zipfile.ZipFile(path))), path.stat().st_size)
    if path.is_file() and _is_zip_without_end(path):
        raise zipfile.BadZipFile("the end of the ZIP file is missing; download it again")
    names = [path.name, *_beside(path)]
    return Files(FolderContainer(path.parent, names), _size_of(path.parent, names), is_set=False)


class _Counted(io.RawIOBase):
    """A stream that says how far it was read, and ends in an ArchiveError where it is damaged, or beyond a limit."""

    def __init__(self, stream: IO[bytes], name: str, limit: int, read_bytes: Callable[[int], None]) -> None:
        self._stream = stream
        self._name = name
        self._left = limit
        self._read_bytes = read_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        try:
            content = self._stream.read(len(view))
        except _UNREADABLE as exc:
            raise _unreadable(self._name, exc) from exc
        view[: len(content)] = content
        self._left -= len(content)
        if self._left < 0:
            raise ArchiveError(f"{self._name} is larger than {LARGEST_JSON >> 30} GiB.")
        self._read_bytes(len(content))
        return len(content)


def _is_zip_without_end(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def _id_of(base: str) -> str:
    """The id a file is named after: `file-abc123` of `file-abc123-photo.png`, `file_00ab` of `file_00ab-sanitized.png`."""
    if base.startswith(("file-", "file_")):
        return base[:5] + re.split(r"[-.]", base[5:], maxsplit=1)[0]
    return base.split(".", 1)[0]


def _is_litter(name: str) -> bool:
    return name.startswith("__MACOSX/") or base_name(name).startswith("._")


def _below(folder: Path) -> Iterator[str]:
    count = 0
    for place, folders, names in os.walk(folder):
        below = Path(place).relative_to(folder)
        if len(below.parts) >= DEEPEST_FOLDER:
            folders.clear()
        for name in names:
            count += 1
            if count > MOST_NAMES:
                return
            if not _is_litter(name) and (Path(place) / name).is_file() and not (Path(place) / name).is_symlink():
                yield (below / name).as_posix()


def _beside(path: Path) -> Iterator[str]:
    with os.scandir(path.parent) as entries:
        for entry in list(entries):
            if entry.is_file(follow_symlinks=False) and entry.name.startswith(("file-", "file_", _NAMES)):
                yield entry.name
            elif entry.is_dir(follow_symlinks=False) and entry.name.startswith(_BESIDE):
                yield from (f"{entry.name}/{name}" for name in _below(Path(entry.path)))


def _size_of(folder: Path, names: list[str]) -> int:
    return sum((folder / name).stat(follow_symlinks=False).st_size for name in names)


def _unreadable(what: str, error: BaseException) -> ArchiveError:
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error).rstrip(".")
    return ArchiveError(f"{what} cannot be read: {told or 'it is damaged'}.")
