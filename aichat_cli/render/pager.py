"""An answer's Markdown in the user's pager, which shows the first screenful while the rest is still being generated."""

from __future__ import annotations

import os
import queue
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aichat_cli.core.errors import NotFound
from aichat_cli.core.interrupts import Interrupted, leave_signals_to_the_main_thread
from aichat_cli.render.answer import ClosedPipe
from aichat_cli.render.sanitize import Sanitizer
from aichat_cli.render.theme import Theme

if TYPE_CHECKING:
    from aichat_cli.render.markdown.stream import MarkdownStream

DEFAULT_PAGER = "less -R"
LESS_OPTIONS = "FRX"
"""What less does where the user set nothing: leave if all fits on the screen, take colours, leave the text there."""


class PlainStream:
    """Text as lines, made safe; what `MarkdownStream` is for Markdown."""

    def __init__(self) -> None:
        self._sanitizer = Sanitizer()
        self._rest = ""

    def feed(self, delta: str) -> list[str]:
        """Take the next piece; the lines that are whole now."""
        *lines, self._rest = (self._rest + self._sanitizer.feed(delta)).split("\n")
        return lines

    def finish(self) -> list[str]:
        """The end of the text: the last line, where it has no newline."""
        lines = [*self.feed(self._sanitizer.flush()), self._rest]
        return lines if self._rest else lines[:-1]


class PagerSink:
    """Takes the text of one answer and pages it. The pager is started with the first text.

    Args:
        theme: how its Markdown is drawn; None pages the text as it is written.
        environ: where `PAGER` and `LESS` are looked up.

    Raises:
        NotFound: the pager is not installed.
    """

    def __init__(self, theme: Theme | None, environ: Mapping[str, str] = os.environ) -> None:
        self._theme = theme
        self._environ = environ
        self._command = shlex.split(environ.get("PAGER") or DEFAULT_PAGER) or [DEFAULT_PAGER]
        if shutil.which(self._command[0], path=environ.get("PATH")) is None:
            raise NotFound(f'The pager "{self._command[0]}" is not installed.', hint="Set PAGER to one that is")
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: MarkdownStream | PlainStream | None = None
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._held: list[Callable[[], None]] = []
        self._writer: threading.Thread | None = None
        self._has_left = threading.Event()

    def warm(self) -> None:
        """Nothing to make ready before there is text."""

    def write(self, text: str) -> None:
        """The next piece.

        Raises:
            ClosedPipe: the user left the pager.
        """
        if self._has_left.is_set() or (self._process is not None and self._process.poll() is not None):
            raise ClosedPipe
        if self._stream is None:
            self._start()
        assert self._stream is not None
        self._put(self._stream.feed(text))

    def end(self) -> None:
        """Hand over the rest, wait until the user leaves the pager, and say what was held back meanwhile."""
        if self._stream is not None and self._process is not None and self._writer is not None:
            self._put(self._stream.finish())
            self._lines.put(None)
            while self._process.poll() is None:
                # Ctrl-C is for the pager now: it stops what it is doing and stays.
                try:
                    self._process.wait()
                except Interrupted as interruption:
                    if interruption.exit_code != 128 + signal.SIGINT:
                        self._process.terminate()
                        raise
            self._has_left.set()
        held, self._held = self._held, []
        for write in held:
            write()

    def aside(self, write: Callable[[], None], *, is_open: bool) -> None:  # noqa: ARG002 (what is held is said in one piece)
        """What would be written over the pager's screen waits until it is gone."""
        if self._process is None:
            write()
        else:
            self._held.append(write)

    def _start(self) -> None:
        if self._theme is None:
            self._stream = PlainStream()
        else:
            from aichat_cli.render.markdown.stream import MarkdownStream

            self._stream = MarkdownStream(shutil.get_terminal_size().columns, self._theme)
        environ = {"LESS": LESS_OPTIONS, "LESSCHARSET": "utf-8", **self._environ}
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environ)
        self._writer = threading.Thread(target=self._write_until_ended, name="pager", daemon=True)
        self._writer.start()

    def _put(self, lines: list[str]) -> None:
        if lines:
            self._lines.put("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))

    def _write_until_ended(self) -> None:
        """A pager that shows its first screen reads no further: waiting for it must not keep the answer from arriving."""
        leave_signals_to_the_main_thread()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                while (data := self._lines.get()) is not None:
                    pipe.write(data)
                    pipe.flush()
        except OSError:
            self._has_left.set()
