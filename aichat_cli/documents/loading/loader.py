"""From a file's bytes to its text, whatever the file is.

What is cheap and safe to read is read here; what is neither, in a process that can be killed. Every failure is a
DocumentError whose message is one sentence about the file, which does not name it.
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.formats import Format, format_of
from aichat_cli.documents.loading.office import NEEDS_EXTRA
from aichat_cli.documents.loading.process import Stopped, WorkerProcess
from aichat_cli.documents.loading.readers import read

_PARSED_HERE_BYTES = 4_000_000
"""Larger pages, tables and notebooks may take many times their size, and are read where memory and time have a limit."""

_SAFE = frozenset({"text", "markdown", "code", "json", "xml"})
"""Read in one pass over the text, in time and memory that its size bounds."""


class Loader:
    """Reads documents, with at most one child process, which starts with the first file that needs it.

    `load` may be called from any thread; calls that need the child wait for each other. Close it, from any thread, to
    end the child: a `load` that is waiting for it then fails.
    """

    def __init__(self) -> None:
        self._worker: WorkerProcess | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def load(
        self, content: bytes, name: str, *, media_type: str | None = None, timeout_s: float = 60.0
    ) -> LoadedDocument:
        """The text of a document.

        Args:
            name: of the file, or the path of a URL: its suffix tells what its first bytes do not.
            media_type: the Content-Type that came with it, with its charset.
            timeout_s: how long the child may take for it.

        Raises:
            DocumentError: it is empty, binary, encrypted, damaged, took too long or too much memory, needs an extra.
        """
        if not content:
            raise DocumentError("It is empty.")
        kind = format_of(content, name, media_type)
        charset = _charset(media_type)
        if kind.reader == "office" and find_spec("kreuzberg") is None:
            raise DocumentError(NEEDS_EXTRA)
        is_native = kind.reader in {"pdf", "office", "plugin"}
        if is_native or (kind.reader not in _SAFE and len(content) > _PARSED_HERE_BYTES):
            return self._read_apart(content, kind, charset, timeout_s)
        return read(content, kind, charset)

    def interrupt(self) -> None:
        """End the child, if there is one: a `load` of another thread that waits for it fails, the next one does not."""
        worker = self._worker
        if worker is not None:
            worker.interrupt()

    def close(self) -> None:
        """End the child, if there is one, for good."""
        self._is_closed = True
        self.interrupt()
        with self._lock:
            self._drop_worker()

    def _read_apart(self, content: bytes, kind: Format, charset: str | None, timeout_s: float) -> LoadedDocument:
        with self._lock:
            if self._is_closed:
                raise DocumentError("The reading was stopped.")
            if self._worker is not None and self._worker.is_interrupted:
                self._drop_worker()
            if self._worker is None:
                self._worker = WorkerProcess()
            try:
                return self._worker.read(content, kind, charset, timeout_s)
            except TimeoutError:
                self._drop_worker()
                raise DocumentError(f"It took longer than {timeout_s:g} seconds to read.") from None
            except Stopped:
                ending = self._ending()
                self._drop_worker()
                raise DocumentError(ending) from None
            except BaseException as exc:
                # Interrupted in the middle, an answer is still to come that is not the next one's.
                if not isinstance(exc, DocumentError):
                    self._drop_worker()
                raise

    def _ending(self) -> str:
        if self._is_closed or (self._worker is not None and self._worker.is_interrupted):
            return "The reading was stopped."
        return "Its reader crashed on it: it is damaged, or needs more memory than reading a file may take."

    def _drop_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()


def _charset(media_type: str | None) -> str | None:
    for parameter in (media_type or "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or None
    return None
