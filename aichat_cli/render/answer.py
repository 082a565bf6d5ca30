"""Where an answer goes: a terminal, a pipe, or nowhere until it is whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import BinaryIO, Protocol, runtime_checkable

from aichat_cli.core.errors import AichatError
from aichat_cli.render.sanitize import Sanitizer


class ClosedPipe(Exception):
    """Whoever read our output has left."""


class AnswerSink(Protocol):
    """Takes the text of one answer as it comes."""

    def write(self, text: str) -> None:
        """The next piece."""
        ...

    def end(self) -> None:
        """The answer is over, whole or not."""
        ...


@runtime_checkable
class TerminalOwner(Protocol):
    """A sink that draws on the terminal, so that nobody else may write there without asking it."""

    def warm(self) -> None:
        """Text will come."""
        ...

    def aside(self, write: Callable[[], None], *, is_open: bool) -> None:
        """Call `write` when the terminal is free for it; `is_open` tells that it leaves its line unfinished."""
        ...


class PipeSink:
    """The model's bytes, unchanged, flushed as they come."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream or sys.stdout.buffer

    def write(self, text: str) -> None:
        """Write UTF-8 at once.

        Raises:
            ClosedPipe: the reader has left.
            AichatError: stdout cannot be written, such as a full disk behind a redirection.
        """
        write_all(self._stream, text.encode())

    def end(self) -> None:
        """Nothing is added to what the model said."""


class TerminalSink:
    """Plain text for a terminal, without control sequences, ending with a newline."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream or sys.stdout.buffer
        self._sanitizer = Sanitizer()
        self._ends_open = False

    def write(self, text: str) -> None:
        """Write what is safe of it; raises as `PipeSink.write` does."""
        self._put(self._sanitizer.feed(text))

    def end(self) -> None:
        """Close the last line, so that the shell's prompt stands on its own."""
        self._put(self._sanitizer.flush())
        if self._ends_open:
            self._put("\n")

    def _put(self, text: str) -> None:
        if text:
            self._ends_open = not text.endswith("\n")
            write_all(self._stream, text.encode())


class HeldSink:
    """Keeps the text until the front end asks for it: `--no-stream`, `--extract`, `--json`."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def write(self, text: str) -> None:
        """Keep it."""
        self._pieces.append(text)

    def end(self) -> None:
        """Nothing is written here."""

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._pieces)


def write_all(stream: BinaryIO, data: bytes) -> None:
    """Write and flush.

    Raises:
        ClosedPipe: the reader has left.
        AichatError: anything else that keeps stdout from being written.
    """
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError as exc:
        raise ClosedPipe from exc
    except OSError as exc:
        raise AichatError(f"Cannot write to stdout: {exc.strerror}.") from exc


def stdout_sink() -> AnswerSink:
    """The sink that fits what stdout is."""
    return TerminalSink() if sys.stdout.isatty() else PipeSink()


def print_text(text: str) -> None:
    """Print a text of ours or of a model; unchanged to a pipe, safe to a terminal."""
    sink = stdout_sink()
    sink.write(text)
    sink.end()


def abandon_stdout() -> None:
    """Point stdout nowhere, so that the interpreter's last flush does not complain about a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def code_blocks(text: str) -> list[str]:
    """The contents of the fenced code blocks of a Markdown text. One that is not closed goes to the end."""
    blocks: list[str] = []
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        indent = line.lstrip(" ")
        if len(line) - len(indent) > 3 or not indent.startswith(("```", "~~~")):
            continue
        fence = indent[: len(indent) - len(indent.lstrip(indent[0]))]
        block = []
        for inner in lines:
            closing = inner.strip()
            if closing.startswith(fence) and not closing.strip(fence[0]):
                break
            block.append(inner)
        blocks.append("".join(block))
    return blocks
