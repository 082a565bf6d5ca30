"""The answer that is being written: which of its lines are finished, and which are still open. Draws nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from aichat_cli.render.markdown.stream import MarkdownStream
from aichat_cli.render.sanitize import Sanitizer
from aichat_cli.render.theme import Theme
from aichat_cli.repl.picker.cells import wrapped

OPEN_THOUGHT_LINES = 5
DIM, RESET = "\x1b[2m", "\x1b[0m"


class AnswerView:
    """Takes the deltas of one answer, what the model thinks first.

    Args:
        shows_reasoning: whether the last lines of what the model thinks are shown while it does.
    """

    def __init__(
        self, width: int, theme: Theme, *, shows_reasoning: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = MarkdownStream(width, theme)
        self._width = width
        self._clock = clock
        self._sanitizer = Sanitizer()
        self._thoughts: list[str] = []
        self._thinking_since: float | None = None
        self.shows_reasoning = shows_reasoning
        self.has_text = False

    @property
    def reasoning(self) -> str:
        """What the model thought, safe for a terminal."""
        return "".join(self._thoughts)

    @property
    def is_thinking(self) -> bool:
        """Whether the last that came was a thought."""
        return self._thinking_since is not None

    def think(self, delta: str) -> None:
        """The next piece of what the model thinks."""
        if self._thinking_since is None:
            self._thinking_since = self._clock()
        self._thoughts.append(self._sanitizer.feed(delta))

    def write(self, delta: str) -> list[str]:
        """The next piece of the answer; the lines that are finished now."""
        finished = self._end_of_thinking()
        self.has_text = True
        return finished + self._stream.feed(delta)

    def end(self) -> list[str]:
        """The lines that were still open."""
        return self._end_of_thinking() + self._stream.finish()

    def resize(self, width: int) -> None:
        """What is open is wrapped anew."""
        self._width = width
        self._stream.resize(width)

    def open_lines(self) -> list[str]:
        """The lines that are not finished yet."""
        return self._stream.open_lines() + self._open_thoughts()

    def _open_thoughts(self) -> list[str]:
        if self._thinking_since is None:
            return []
        if not self.shows_reasoning:
            elapsed = self._clock() - self._thinking_since
            return [f"{DIM}Thinking for {elapsed:.0f} s (Ctrl+O shows it){RESET}"]
        # Only the end is shown, so only the end is wrapped: thoughts can be longer than answers.
        tail = self.reasoning[-OPEN_THOUGHT_LINES * self._width :]
        return [f"{DIM}{line}{RESET}" for line in wrapped(tail, self._width)[-OPEN_THOUGHT_LINES:]]

    def _end_of_thinking(self) -> list[str]:
        """A line in the place of the thoughts. Between two blocks of an answer there is none: it would tear them."""
        if self._thinking_since is None:
            return []
        elapsed = self._clock() - self._thinking_since
        self._thinking_since = None
        return [] if self.has_text else [f"{DIM}Thought for {elapsed:.0f} s (Ctrl+O shows it){RESET}", ""]
