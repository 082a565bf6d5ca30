"""From a folder to the files in it that may be documents, and from a file to its bytes.

Follows no link, opens nothing but regular files, and never waits for one. What cannot be read is told, not raised; only
a root that is not there is an error, so that a missing mount never looks like a folder whose files were deleted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from aichat_cli.core.errors import DocumentError, NotFound
from aichat_cli.core.struct import Struct
from aichat_cli.documents.ignoring import Patterns, Rules, folder_rules, is_ignored, rules_above

_BYTES_PER_MB = 1_000_000
_CACHE_FOLDERS = frozenset({"node_modules", "bower_components", "__pycache__", "site-packages", "__MACOSX"})
_CACHE_MARKS = frozenset({"CACHEDIR.TAG", "pyvenv.cfg"})
"""Files by which a folder says that what it holds was made or installed by a program."""
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_BINARY_SUFFIXES = """
png jpg jpeg jpe gif webp bmp tif tiff ico icns heic heif avif psd xcf svg svgz ai eps raw cr2 nef
mp3 m4a aac ogg oga opus flac wav aiff mid midi wma mp4 m4v mov avi mkv webm wmv flv mpg mpeg 3gp
zip tar gz tgz bz2 tbz xz txz zst lz lz4 br 7z rar cab jar war ear whl egg apk ipa deb rpm dmg iso img vhd vmdk qcow2
exe dll so dylib o obj a lib ko elf com msi class pyc pyo pyd wasm node bin dat dex
ttf otf woff woff2 eot pfb db sqlite sqlite3 mdb ldb pack idx parquet arrow feather orc avro npy npz pkl pickle joblib
h5 hdf5 mat safetensors onnx pt pth ckpt gguf ggml tflite pb keras swp swo blend stl glb fbx dwg
"""
_BINARY = frozenset(_BINARY_SUFFIXES.split())
_NOT_UTF8 = "a name that is not UTF-8"


class FoundFile(Struct, frozen=True):
    """A file to read: its absolute path without links, and its name relative to the root, with slashes.

    The path is a str, since a `Path` takes longer to make than the file takes to be found.
    """

    path: str
    name: str
    size: int
    modified_ns: int


class SkippedFile(Struct, frozen=True):
    """What is there and was not taken, and why: few words, the same for all of a kind. A folder's name ends in `/`."""

    name: str
    reason: str


class _Folder(Struct, frozen=True):
    entries: Iterator[os.DirEntry[str]]
    prefix: str
    rules: tuple[Rules, ...]


def walk(root: Path, *, ignore: Sequence[str], max_bytes: int) -> Iterator[FoundFile | SkippedFile]:
    """The files of a folder and the folders in it, in the order of their names, the same every time.

    Left out without a word are hidden files and folders (those that begin with a dot), caches such as node_modules and
    virtual environments, and what .gitignore and .aichatignore (also of the folders up to the top of the Git repository)
    or `ignore` leave out. Links are not followed: what they lead to inside of the folder is found without them.

    Args:
        ignore: patterns as in a .gitignore file of the root; they come before all others.
        max_bytes: the largest file to take.

    Raises:
        NotFound: the root is not there, at once or when it goes away meanwhile.
        DocumentError: it is no folder, or cannot be read.
    """
    try:
        top = root.resolve(strict=True)
        opened = top.stat()
    except (OSError, RuntimeError, ValueError):
        raise NotFound(f'There is no folder "{shown_name(str(root))}".') from None
    if not stat.S_ISDIR(opened.st_mode):
        raise DocumentError(f"{shown_name(str(root))} is not a folder.")
    if not _is_text(str(top)):
        raise DocumentError(f"The path of {shown_name(str(top))} is not UTF-8, so that it cannot be kept.")
    rules = (Rules(Patterns(ignore)),) if ignore else ()
    try:
        folder = _folder(str(top), "", rules, rules_above(top))
    except OSError as exc:
        reason = exc.strerror or exc
        raise DocumentError(f"The folder {shown_name(str(root))} cannot be read: {reason}.") from exc
    return _Walk(top, opened, rules, max_bytes).files(folder)


def read_file(path: str | Path, *, max_bytes: int) -> bytes:
    """The content of a regular file, empty for an empty one.

    Raises:
        DocumentError: it is gone, no regular file, too large, or cannot be read.
    """
    try:
        # Looked at before it is opened, which may have effects on a device; and again after, in case it was replaced.
        _require_regular(os.stat(path).st_mode)  # noqa: PTH116 (a Path again)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _require_regular(status.st_mode)
            # As many bytes as are asked for are reserved, so that the limit itself would be dear; it may have grown.
            content = file.read(min(status.st_size, max_bytes) + 1)
            if len(content) > status.st_size:
                content += file.read(max_bytes + 1 - len(content))
    except FileNotFoundError:
        raise DocumentError("It is no longer there.") from None
    except ValueError:
        raise DocumentError("Its name is none that a file can have.") from None
    except OSError as exc:
        raise DocumentError(f"It cannot be read: {exc.strerror or exc}.") from exc
    if len(content) > max_bytes:
        raise DocumentError(f"It is {_too_large(max_bytes)}.")
    return content


def shown_name(name: str) -> str:
    r"""A name as valid text on one line: bytes that are not UTF-8, and control characters, as `\x1b`."""
    if name.isprintable():
        return name
    valid = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() or character == " " else character.encode("unicode_escape").decode()
        for character in valid
    )


class _Walk:
    """One walk: the folders that are open, and what is told of what is in them."""

    def __init__(self, top: Path, opened: os.stat_result, first_rules: tuple[Rules, ...], max_bytes: int) -> None:
        self._top = top
        self._opened = opened
        self._first_rules = first_rules
        self._max_bytes = max_bytes
        self._large = _too_large(max_bytes)
        self._inside = str(top).rstrip(os.sep) + os.sep

    def files(self, folder: _Folder) -> Iterator[FoundFile | SkippedFile]:
        open_folders = [folder]
        while open_folders:
            folder = open_folders[-1]
            for entry in folder.entries:
                name = folder.prefix + entry.name
                if _is_folder(entry):
                    entered = self._enter(entry, name + "/", folder)
                    if isinstance(entered, _Folder):
                        open_folders.append(entered)
                        break
                    if entered is not None:
                        yield entered
                elif not is_ignored(name, folder.rules):
                    yield self._file(entry, name)
            else:
                open_folders.pop()
        self._require_root()

    def _enter(self, entry: os.DirEntry[str], name: str, parent: _Folder) -> _Folder | SkippedFile | None:
        if entry.name in _CACHE_FOLDERS or is_ignored(name, parent.rules):
            return None
        if not _is_text(entry.name):
            return SkippedFile(shown_name(name), _NOT_UTF8)
        try:
            inherited = parent.rules[len(self._first_rules) :]
            return _folder(entry.path, name, self._first_rules, inherited)
        except OSError:
            self._require_root()
            return SkippedFile(shown_name(name), "cannot be read")

    def _file(self, entry: os.DirEntry[str], name: str) -> FoundFile | SkippedFile:
        if not _is_text(entry.name):
            return SkippedFile(shown_name(name), _NOT_UTF8)
        shown = shown_name(name)
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            self._require_root()
            return SkippedFile(shown, "cannot be read")
        reason = self._refusal(entry, status)
        if reason is not None:
            return SkippedFile(shown, reason)
        return FoundFile(entry.path, shown, status.st_size, status.st_mtime_ns)

    def _refusal(self, entry: os.DirEntry[str], status: os.stat_result) -> str | None:
        """Why a file is not taken, None where it is."""
        kind = stat.S_IFMT(status.st_mode)
        _, dot, suffix = entry.name.rpartition(".")
        if kind == stat.S_IFLNK:
            return self._link_reason(entry.path)
        if kind != stat.S_IFREG:
            return _KINDS.get(kind, "not a file")
        if dot and suffix.lower() in _BINARY:
            return "binary"
        if not status.st_size:
            return "empty"
        return self._large if status.st_size > self._max_bytes else None

    def _link_reason(self, path: str) -> str:
        try:
            target = os.path.realpath(path, strict=True)
        except OSError as exc:
            return "a link that leads to itself" if exc.errno == errno.ELOOP else "a link to nothing"
        if not (target + os.sep).startswith(self._inside):
            return "a link out of the folder"
        is_above = path.startswith(target.rstrip(os.sep) + os.sep)
        return "a link to a folder that it is in" if is_above else "a link into the same folder"

    def _require_root(self) -> None:
        """The root is still the folder it was when the walk began."""
        try:
            now = self._top.stat()
        except OSError:
            now = None
        if now is None or (now.st_dev, now.st_ino) != (self._opened.st_dev, self._opened.st_ino):
            raise NotFound(f'The folder "{shown_name(str(self._top))}" went away while it was read.')


def _folder(path: str, prefix: str, first: tuple[Rules, ...], inherited: tuple[Rules, ...]) -> _Folder:
    """The entries of a folder that are not hidden, sorted, with the rules for them, the nearest first; or none of a cache.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(path) as listing:
        entries = list(listing)
    names = {entry.name for entry in entries}
    if prefix and not names.isdisjoint(_CACHE_MARKS):
        return _Folder(iter(()), prefix, ())
    rules = (*first, *folder_rules(path, sorted(names), len(prefix)), *inherited)
    visible = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    return _Folder(iter(visible), prefix, rules)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\ud800" <= character < "\ue000" for character in name)


def _too_large(max_bytes: int) -> str:
    return f"larger than {max_bytes / _BYTES_PER_MB:,g} MB"


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise DocumentError("It is a folder.")
    if not stat.S_ISREG(mode):
        raise DocumentError(f"It is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file.")
