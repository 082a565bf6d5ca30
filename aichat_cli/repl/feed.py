"""What is to be shown, in order: put in by the session's thread, taken out by the prompt's. Draws nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aichat_cli.core.struct import Struct

if TYPE_CHECKING:
    from aichat_cli.render.theme import Theme
    from aichat_cli.repl.answer_view import AnswerView

DIM, RESET = "\x1b[2m", "\x1b[0m"


class Lines(Struct, frozen=True):
    """Finished lines, styled and safe."""

    lines: tuple[str, ...]


class AnswerBegins(Struct, frozen=True):
    """What follows belongs to one answer."""


class AnswerText(Struct, frozen=True):
    """The next piece of the answer."""

    delta: str


class AnswerThought(Struct, frozen=True):
    """The next piece of what the model thinks."""

    delta: str


class AnswerEnds(Struct, frozen=True):
    """The answer is whole, or will never be."""


Shown = Lines | AnswerBegins | AnswerText | AnswerThought | AnswerEnds


class Feed:
    """The queue of what is to be shown, and the answer that is being written.

    `put` may be called in any thread, everything else in the prompt's.
    """

    def __init__(self, *, width: Callable[[], int], theme: Callable[[], Theme], shows_reasoning: bool) -> None:
        self._width = width
        self._theme = theme
        self._waiting: deque[Shown] = deque()
        self._answer: AnswerView | None = None
        self._last_reasoning = ""
        self.shows_reasoning = shows_reasoning

    def put(self, shown: Shown) -> None:
        """Show this after everything that was put in before."""
        self._waiting.append(shown)

    def finished_lines(self) -> list[str]:
        """The lines that are finished since the last call, for the scrollback."""
        lines: list[str] = []
        while self._waiting:
            lines += self._lines_of(self._waiting.popleft())
        return lines

    def open_lines(self) -> list[str]:
        """The lines of the answer that may still change."""
        return self._answer.open_lines() if self._answer else []

    def resize(self, width: int) -> None:
        """What is open is wrapped anew."""
        if self._answer is not None:
            self._answer.resize(width)

    def toggle_reasoning(self) -> Sequence[str] | None:
        """While a model thinks, show or hide that; afterwards, the lines it thought. None where there are none."""
        answer = self._answer
        if answer is not None and answer.is_thinking:
            answer.shows_reasoning = self.shows_reasoning = not answer.shows_reasoning
            return ()
        reasoning = answer.reasoning if answer is not None else self._last_reasoning
        if not reasoning.strip():
            return None
        from aichat_cli.repl.picker.cells import wrapped

        return tuple(f"{DIM}{line}{RESET}" for line in wrapped(reasoning.strip(), self._width()))

    def _lines_of(self, shown: Shown) -> Sequence[str]:
        if isinstance(shown, Lines):
            return shown.lines
        if isinstance(shown, AnswerBegins):
            from aichat_cli.repl.answer_view import AnswerView

            self._answer = AnswerView(self._width(), self._theme(), shows_reasoning=self.shows_reasoning)
            return ()
        if self._answer is None:  # it has ended already: an interrupt may end an answer twice
            return ()
        if isinstance(shown, AnswerText):
            return self._answer.write(shown.delta)
        if isinstance(shown, AnswerThought):
            self._answer.think(shown.delta)
            return ()
        finished = self._answer.end()
        self._last_reasoning, self._answer = self._answer.reasoning, None
        return finished
