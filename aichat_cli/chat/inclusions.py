"""What a user puts in a prompt: files, folders and pages. Text becomes part of it; images, PDF files and audio go along.

Plain text stays exact; other documents become the text that a loader finds. Reads only regular files, never more than
the limit, and never waits for a writer. What was read is never looked through for more to read. Nothing here is printed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from aichat_cli.chat.blocks import file_block
from aichat_cli.core.errors import AichatError, DocumentError, NotFound, UsageError
from aichat_cli.core.media import media_type_of, text_of
from aichat_cli.core.messages import Attachment
from aichat_cli.core.struct import Struct
from aichat_cli.providers.tokens import estimate, estimate_file

if TYPE_CHECKING:
    from aichat_cli.core.documents import LoadedDocument
    from aichat_cli.documents.fetching import FetchedPage, NotModified
    from aichat_cli.documents.sources import FoundFile, SkippedFile

BYTES_PER_MB = 1_000_000

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_LOADED = frozenset({"html", "notebook", "mail", "pdf", "office", "plugin"})
"""Formats whose bytes, even where they are text, are not what somebody reads."""


class Readers(Struct, frozen=True):
    """How what is no plain text is read.

    Attributes:
        load: from bytes, a name and a media type to text; raises DocumentError.
        fetch: a page; raises DocumentError.
        walk: the files of a folder, and what is left out.
        max_bytes: the largest file to take, and the most that all files of a folder may have.
    """

    load: Callable[[bytes, str, str | None], LoadedDocument]
    fetch: Callable[[str], FetchedPage | NotModified]
    walk: Callable[[Path], Iterable[FoundFile | SkippedFile]]
    max_bytes: int


class Included(Struct, frozen=True):
    """One file or page: `name` as the user wrote it, and either its `text`, exact but for the byte order mark where it
    is plain text, or an `attachment`.

    Attributes:
        notes: sentences that the user should see.
        replaces_source: it is text itself, such as HTML, of which only what it says is in `text`.
    """

    name: str
    text: str | None
    attachment: Attachment | None
    notes: tuple[str, ...] = ()
    replaces_source: bool = False
    is_page: bool = False

    @property
    def files(self) -> tuple[Included, ...]:
        """Itself."""
        return (self,)

    @property
    def block(self) -> str:
        """The text as it stands in a prompt; empty for an attachment."""
        return "" if self.text is None else file_block(self.name, self.text)

    @property
    def tokens(self) -> int:
        """About how many tokens it takes."""
        return estimate_file(self.attachment.summary) if self.attachment else estimate(self.block)


class IncludedFolder(Struct, frozen=True):
    """A folder: the texts of its `files`, what was left out by its kind, and what could not be read."""

    name: str
    files: tuple[Included, ...]
    skipped: tuple[SkippedFile, ...] = ()
    failed: tuple[SkippedFile, ...] = ()
    attachment: None = None

    @property
    def block(self) -> str:
        """The texts as they stand in a prompt."""
        return "\n\n".join(file.block for file in self.files)

    @property
    def tokens(self) -> int:
        """About how many tokens it takes."""
        return sum(file.tokens for file in self.files)


Inclusion = Included | IncludedFolder


class _Text(Struct, frozen=True):
    text: str
    notes: tuple[str, ...] = ()
    replaces_source: bool = False


def included(source: str, readers: Readers, *, folder: Path | None = None, pdf_as_text: bool = False) -> Inclusion:
    """Read a file, a folder or a page, and tell what it is by its content.

    Args:
        source: as the user wrote it; `~/` is the home folder.
        folder: what a relative path is relative to, None for the working folder.
        pdf_as_text: whether a PDF file becomes its text, for a model that reads no PDF files.

    Raises:
        NotFound: there is no such thing.
        UsageError: it is a pipe, a device, empty, too large, or nothing a model can read.
        DocumentError: the page cannot be had.
        AichatError: it cannot be read.
    """
    if _URL.match(source):
        return _page(source, readers)
    path = resolved(source, folder)
    if _is_folder(path):
        return _folder(source, path, readers)
    return included_file(source, readers, folder=folder, pdf_as_text=pdf_as_text)


def included_text(source: str, readers: Readers, *, folder: Path | None = None) -> Inclusion:
    """What is put in the prompt as text; raises as `included` does, and UsageError for what is to be attached."""
    found = included(source, readers, folder=folder, pdf_as_text=True)
    if found.attachment is not None:
        raise UsageError(
            f"{found.name} is no text but {found.attachment.media_type}.", hint=f"To attach it: -a {found.name}"
        )
    return found


def included_file(path: str, readers: Readers, *, folder: Path | None = None, pdf_as_text: bool = False) -> Included:
    """A file, as `included` reads it; raises as that does, and UsageError for a folder or a URL."""
    if _URL.match(path):
        raise UsageError(f"{path} is a URL, not a file.", hint=f"To put its text in the prompt: -f {path}")
    content = _content(path, resolved(path, folder), readers.max_bytes)
    name = path.encode("utf-8", "replace").decode("utf-8")
    media_type = media_type_of(path, content)
    if media_type is not None and not (pdf_as_text and media_type == "application/pdf"):
        return Included(name, None, Attachment(Path(name).name, media_type, content))
    try:
        found = _text(content, name, readers)
    except DocumentError as exc:
        raise UsageError(f"{name} cannot be put in a prompt: {_clause(exc)}.", hint=exc.hint) from exc
    notes = found.notes
    if media_type is not None:
        notes = (f"{name} goes in as its text, without what its pages show besides.", *notes)
    return Included(name, found.text, None, notes, found.replaces_source)


def with_files(prompt: str, files: Sequence[Inclusion]) -> str:
    """The prompt with the text of files in front of it, a blank line between each."""
    return "\n\n".join(part for part in (*(file.block for file in files), prompt) if part)


def _text(content: bytes, name: str, readers: Readers) -> _Text:
    """The text of a file: its own where it is plain, else what a loader finds in it; raises DocumentError."""
    own = text_of(content)
    if own is not None and not _is_loaded(content, name):
        return _Text(own)
    document = readers.load(content, PurePath(name).name, None)
    if not document.text.strip():
        raise DocumentError(" ".join(("It holds no text.", *document.notes)))
    return _Text(document.text, tuple(f"{name}: {note}" for note in document.notes), own is not None)


def _is_loaded(content: bytes, name: str) -> bool:
    from aichat_cli.documents.loading.formats import format_of

    try:
        return format_of(content, PurePath(name).name).reader in _LOADED
    except DocumentError:
        return False


def _page(url: str, readers: Readers) -> Included:
    from urllib.parse import urlsplit

    from aichat_cli.documents.fetching import FetchedPage

    try:
        page = readers.fetch(url)
        assert isinstance(page, FetchedPage)
        document = readers.load(page.content, urlsplit(page.url).path, page.media_type)
        if not document.text.strip():
            raise DocumentError(" ".join(("It holds no text.", *document.notes)))
    except DocumentError as exc:
        raise DocumentError(f"{url} cannot be put in a prompt: {_clause(exc)}.", hint=exc.hint) from exc
    moved = () if page.url.rstrip("/") == url.partition("#")[0].rstrip("/") else (f"{url} led to {page.url}.",)
    return Included(url, document.text, None, (*moved, *(f"{url}: {note}" for note in document.notes)), is_page=True)


def _folder(source: str, path: Path, readers: Readers) -> IncludedFolder:
    from aichat_cli.documents.sources import SkippedFile, read_file

    found: list[FoundFile] = []
    skipped: list[SkippedFile] = []
    failed: list[SkippedFile] = []
    size = 0
    for entry in readers.walk(path):
        if isinstance(entry, SkippedFile):
            skipped.append(entry)
            continue
        size += entry.size
        if size > readers.max_bytes:
            raise _large_folder(source, readers.max_bytes)
        found.append(entry)
    prefix = _prefix(source, path)
    files: list[Included] = []
    for file in found:
        name = str(prefix / file.name)
        try:
            read = _text(read_file(file.path, max_bytes=readers.max_bytes), name, readers)
        except DocumentError as exc:
            failed.append(SkippedFile(file.name, _clause(exc)))
        else:
            files.append(Included(name, read.text, None, read.notes, read.replaces_source))
    if not files:
        left_out = len(skipped) + len(failed)
        raise UsageError(
            f"{source} holds no file with text" + (f", only {left_out} of other kinds." if left_out else ".")
        )
    return IncludedFolder(source, tuple(files), tuple(skipped), tuple(failed))


def _prefix(source: str, path: Path) -> PurePath:
    """What the names of a folder's files begin with: the folder as it was written, where that is short."""
    written = PurePath(source)
    is_short = not written.is_absolute() and not source.startswith("~") and ".." not in written.parts
    return written if is_short else PurePath(path.resolve().name)


def _large_folder(source: str, max_bytes: int) -> UsageError:
    return UsageError(
        f"The files of {source} have more than {max_bytes // BYTES_PER_MB:,} MB together.",
        hint=f"Make it searchable: aichat ingest {source}; or raise attachments.max_mb with aichat config set",
    )


def _clause(error: DocumentError) -> str:
    """A loader's sentence as part of another."""
    return (error.message[:1].lower() + error.message[1:]).rstrip(".")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def resolved(path: str, folder: Path | None) -> Path:
    """Where a path as a user writes it leads."""
    plain = Path.home() / path[2:] if path.startswith("~/") else Path(path)
    return folder / plain if folder is not None else plain


def _content(shown: str, path: Path, max_bytes: int) -> bytes:
    try:
        # Looked at before it is opened, which may have effects on a device; and again after, in case it was replaced.
        _require_regular(shown, path.stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            _require_regular(shown, os.fstat(descriptor).st_mode)
            size = os.fstat(descriptor).st_size
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise NotFound(f'There is no file "{shown}".', hint=_missing_hint(shown)) from None
    except ValueError:
        raise NotFound(f"{shown!r} cannot be the name of a file.") from None
    except OSError as exc:
        raise AichatError(f"Cannot read {shown}: {exc.strerror or exc}.") from exc
    if max(size, len(content)) > max_bytes:
        raise _too_large(shown, max(size, len(content)), max_bytes)
    if not content:
        raise UsageError(f"{shown} is empty.")
    return content


def _require_regular(shown: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UsageError(f"{shown} is a folder.", hint=f"To put the texts of its files in the prompt: -f {shown}")
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise UsageError(f"{shown} is {kind}, not a file.", hint="What is piped into aichat is put in the prompt")


def _missing_hint(shown: str) -> str | None:
    return "What is piped in is read without it" if shown == "-" else None


def _too_large(shown: str, size: int, max_bytes: int) -> UsageError:
    mb = -(-size // BYTES_PER_MB)
    return UsageError(
        f"{shown} has {size / BYTES_PER_MB:,.1f} MB; at most {max_bytes // BYTES_PER_MB:,} MB are taken.",
        hint=f"To take it: aichat config set attachments.max_mb {mb}",
    )
