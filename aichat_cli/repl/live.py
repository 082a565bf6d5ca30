"""How a turn reaches the terminal of a session: the answer as deltas, everything else as lines above the prompt."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from aichat_cli.core.struct import Struct
from aichat_cli.render.diagnostics import Diagnostics

_COLORED = re.compile(r"(\x1b\[[0-9;]*m)(.*)(\x1b\[0m)")


class Submission(Struct, frozen=True):
    """What was sent: the whole `text`, and what of it was `typed`, not pasted."""

    text: str
    typed: str


class SessionTerminal(Protocol):
    """What a session needs of a terminal: `front.Front` with a live prompt, `plain_front.PlainFront` on a dumb one."""

    def start(self) -> None:
        """Show the prompt."""
        ...

    def stop(self) -> None:
        """Give the terminal back."""
        ...

    def suspended(self, *, for_program: bool = False) -> AbstractContextManager[None]:
        """The terminal is a picker's within the block or, in its usual mode, another program's."""
        ...

    def next_input(self) -> Submission:
        """What the user submits next; raises EOFError to leave."""
        ...

    def say(self, lines: Sequence[str]) -> None:
        """Show finished lines."""
        ...

    def begin_answer(self) -> None:
        """What comes next is one answer."""
        ...

    def write(self, delta: str) -> None:
        """The next piece of the answer."""
        ...

    def think(self, delta: str) -> None:
        """The next piece of what the model thinks."""
        ...

    def end_answer(self) -> None:
        """The answer is over."""
        ...

    def set_status(self, status: Sequence[str], carried: Sequence[str] = ()) -> None:
        """The parts of the status line, and what goes with the next message."""
        ...

    def prefill(self, text: str) -> None:
        """Put a text into the input line."""
        ...

    def take_back_queue(self) -> None:
        """What waits to be sent goes back into the input line."""
        ...

    def copy(self, text: str) -> None:
        """Put a text on the clipboard."""
        ...

    def apply_settings(self, *, vi: bool, shows_reasoning: bool) -> None:
        """Settings that changed."""
        ...

    @property
    def width(self) -> int:
        """Cells in a line."""
        ...


class SessionSink:
    """The sink of one answer."""

    def __init__(self, terminal: SessionTerminal) -> None:
        self._terminal = terminal

    def write(self, text: str) -> None:
        """The next piece."""
        self._terminal.write(text)

    def end(self) -> None:
        """The answer is over, whole or not."""
        self._terminal.end_answer()


class LiveDiagnostics(Diagnostics):
    """Notices and errors as lines above the prompt; what a model thinks as part of its answer."""

    def __init__(self, terminal: SessionTerminal, *, debug: bool, redact: Callable[[str], str]) -> None:
        super().__init__(debug=debug, redact=redact, stream=_LineStream(terminal))
        self._terminal = terminal

    def reasoning(self, delta: str) -> None:
        """The next piece of what the model thinks."""
        self._terminal.think(delta)

    def end_reasoning(self) -> None:
        """Thoughts end where the terminal is told of something else."""


class _LineStream(io.StringIO):
    """A text stream whose lines are shown above the prompt."""

    def __init__(self, terminal: SessionTerminal) -> None:
        super().__init__()
        self._terminal = terminal
        self._open = ""

    def write(self, text: str) -> int:
        *lines, self._open = (self._open + text).split("\n")
        for line in lines:
            self._terminal.say(self._wrapped(line))
        return len(text)

    def _wrapped(self, line: str) -> list[str]:
        """A line, which may have one colour, broken at blanks: a terminal breaks words."""
        from aichat_cli.repl.picker.cells import wrapped

        parts = _COLORED.fullmatch(line)
        color, text, end = parts.groups() if parts else ("", line, "")
        return [f"{color}{each}{end}" for each in wrapped(text, self._terminal.width)]

    def isatty(self) -> bool:
        return True
