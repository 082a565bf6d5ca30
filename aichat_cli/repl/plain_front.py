"""The terminal of a session where nothing can be drawn (`TERM=dumb`): lines in, lines out, no control sequence."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aichat_cli.core.errors import UsageError
from aichat_cli.render.answer import write_all
from aichat_cli.render.sanitize import Sanitizer, safe_line
from aichat_cli.repl.live import Submission
from aichat_cli.repl.output import plain

PROMPT = "> "


class PlainFront:
    """Asks for one line at a time; a backslash at the end of a line asks for another."""

    def __init__(self) -> None:
        self._sanitizer = Sanitizer()
        self._ends_open = False
        self._status = ""
        self._carried: tuple[str, ...] = ()

    def start(self) -> None:
        """There is nothing to prepare."""

    def stop(self) -> None:
        """There is nothing to give back."""

    @contextmanager
    def suspended(self, *, for_program: bool = False) -> Iterator[None]:  # noqa: ARG002
        """Between two lines the terminal is anybody's."""
        yield

    def next_input(self) -> Submission:
        """The next message, as typed; raises EOFError at the end of the input."""
        told = [self._status, *(f"with: {each}" for each in self._carried)]
        self._put(f"[{' | '.join(told)}]\n{PROMPT}")
        lines = [self._line()]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            self._put("  ")
            lines.append(self._line())
        text = "\n".join(lines)
        return Submission(text, text)

    def say(self, lines: Sequence[str]) -> None:
        """Print lines without their styles."""
        self._put("".join(f"{plain(line)}\n" for line in lines))

    def begin_answer(self) -> None:
        """Nothing is shown before its first word."""

    def write(self, delta: str) -> None:
        """Print the next piece as it comes."""
        text = self._sanitizer.feed(delta)
        if text:
            self._ends_open = not text.endswith("\n")
            self._put(text)

    def think(self, delta: str) -> None:
        """Thoughts are not shown where they cannot be told from the answer."""

    def end_answer(self) -> None:
        """Close the last line."""
        self._put(self._sanitizer.flush() + ("\n" if self._ends_open else ""))
        self._ends_open = False

    def set_status(self, status: Sequence[str], carried: Sequence[str] = ()) -> None:
        """Shown before the next prompt."""
        self._status, self._carried = " | ".join(status), tuple(carried)

    def prefill(self, text: str) -> None:
        """A line cannot be begun for the user; it is shown, to be typed again."""
        self._put(f"Was: {safe_line(text)}\n")

    def take_back_queue(self) -> None:
        """Nothing waits: lines are read one at a time."""

    def copy(self, text: str) -> None:  # noqa: ARG002
        """Such a terminal has no clipboard to reach: raises UsageError."""
        raise UsageError("This terminal takes no clipboard sequence.", hint="/save FILE writes the answer to a file")

    def apply_settings(self, *, vi: bool, shows_reasoning: bool) -> None:
        """Neither has a meaning here."""

    @property
    def width(self) -> int:
        """Cells in a line."""
        import shutil

        return shutil.get_terminal_size().columns

    def _line(self) -> str:
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def _put(self, text: str) -> None:
        if text:
            write_all(sys.stdout.buffer, text.encode())
