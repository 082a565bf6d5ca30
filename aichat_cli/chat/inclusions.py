"""Files that a user puts in a prompt: text becomes part of it, images, PDF files and audio go with it.

Reads only regular files, never more than the limit, and never waits for a writer. Nothing here is printed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aichat_cli.chat.blocks import file_block
from aichat_cli.core.errors import AichatError, NotFound, UsageError
from aichat_cli.core.media import media_type_of, text_of
from aichat_cli.core.messages import Attachment
from aichat_cli.core.models import Model
from aichat_cli.providers.tokens import estimate, estimate_file

BYTES_PER_MB = 1_000_000
NOTEWORTHY_SHARE = 2
"""A file that takes more than half of the window is worth a word."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True, slots=True)
class Included:
    """One file: `name` as the user wrote it, and either its `text`, exact but for the byte order mark, or an
    `attachment`.
    """

    name: str
    text: str | None
    attachment: Attachment | None

    @property
    def block(self) -> str:
        """The text as it stands in a prompt; empty for an attachment."""
        return "" if self.text is None else file_block(self.name, self.text)

    @property
    def tokens(self) -> int:
        """About how many tokens it takes."""
        return estimate_file(self.attachment.summary) if self.attachment else estimate(self.block)


def included_file(path: str, *, max_bytes: int, folder: Path | None = None) -> Included:
    """Read a file and tell what it is by its content.

    Args:
        path: as the user wrote it; `~/` is the home folder.
        folder: what a relative path is relative to, None for the working folder.
        max_bytes: the largest file to take.

    Raises:
        NotFound: there is no such file.
        UsageError: it is a URL, a folder, a pipe, a device, empty, too large, or nothing a model can read.
        AichatError: it cannot be read.
    """
    if _URL.match(path):
        raise UsageError(f"{path} is a URL, not a file.", hint=f"Fetch it first: curl -LO {path}")
    content = _content(path, resolved(path, folder), max_bytes)
    name = path.encode("utf-8", "replace").decode("utf-8")
    media_type = media_type_of(path, content)
    if media_type is not None:
        return Included(name, None, Attachment(Path(name).name, media_type, content))
    text = text_of(content)
    if text is None:
        raise UsageError(
            f"{name} is neither text nor an image, a PDF file or audio.", hint="Convert it to one of these first"
        )
    return Included(name, text, None)


def text_file(path: str, *, max_bytes: int, folder: Path | None = None) -> Included:
    """A file to put in the prompt as text; raises as `included_file` does, and UsageError for what is to be attached."""
    file = included_file(path, max_bytes=max_bytes, folder=folder)
    if file.attachment is not None:
        raise UsageError(
            f"{file.name} is no text but {file.attachment.media_type}.", hint=f"To attach it: -a {file.name}"
        )
    return file


def with_files(prompt: str, files: Sequence[Included]) -> str:
    """The prompt with the text of files in front of it, a blank line between each."""
    return "\n\n".join(part for part in (*(file.block for file in files), prompt) if part)


def size_note(file: Included, model: Model) -> str:
    """Such as `notes.txt: about 1,204 tokens, 1% of the window of gpt-4o-mini`."""
    size = f"{file.name}: about {file.tokens:,} tokens"
    if not model.context_tokens:
        return size
    return f"{size}, {-(-100 * file.tokens // model.context_tokens)}% of the window of {model.name}"


def is_large(file: Included, model: Model) -> bool:
    """Whether it takes more than half of the model's window."""
    return model.context_tokens is not None and file.tokens * NOTEWORTHY_SHARE > model.context_tokens


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
        raise UsageError(f"{shown} is a folder.", hint="Name the files in it, one by one")
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
