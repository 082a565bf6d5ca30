"""Everything written to stderr, and the exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from aichat_cli.core.errors import AichatError, RateLimited
from aichat_cli.core.money import usd_text
from aichat_cli.render.answer import TerminalOwner
from aichat_cli.render.sanitize import Sanitizer, safe_line

if TYPE_CHECKING:
    from aichat_cli.chat.payment import PromptEstimate
    from aichat_cli.core.events import Settled

DIM = "2"
RED = "31"
YELLOW = "33"


class Diagnostics:
    """Writes notices and errors, one line each, without control sequences and without keys.

    Args:
        as_json: write errors as JSON objects.
        debug: add the traceback to an error.
        redact: takes keys out of a text.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        debug: bool = False,
        redact: Callable[[str], str] = str,
        stream: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.debug = debug
        self._redact = redact
        self._stream = stream or sys.stderr
        self._reasoning = Sanitizer()
        self._is_reasoning = False
        self._owner: TerminalOwner | None = None

    @contextmanager
    def beside(self, owner: TerminalOwner | None) -> Iterator[None]:
        """While the block runs, `owner` draws on the terminal: what is written there goes through it."""
        self._owner = owner if self.is_terminal else None
        try:
            yield
        finally:
            self._owner = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person is likely to see this at once."""
        return _is_terminal(self._stream)

    def notice(self, text: str) -> None:
        """Something worth knowing."""
        if not self.as_json:
            self._line(safe_line(text), DIM)

    def facts(self, name: str, fields: Mapping[str, object]) -> None:
        """What a program that reads JSON must know before the end; nothing without JSON."""
        if self.as_json:
            self._write(self._redact(json.dumps({name: fields}, ensure_ascii=False)) + "\n")

    def drawing(self, text: str) -> None:
        """Lines of our own, control sequences included, on a terminal or in a log; not in JSON."""
        if not self.as_json:
            self._write(text)

    def warning(self, text: str) -> None:
        """Something that went wrong without stopping the program."""
        if self.as_json:
            self._write(json.dumps({"warning": self._redact(text)}) + "\n")
        else:
            self._line("aichat: " + safe_line(text), YELLOW)

    def error(self, error: AichatError, *, consequence: str = "") -> None:
        """A failure: what, where and what to run next; as JSON where that was asked for. `consequence` opens it."""
        if self.as_json:
            self._write(json.dumps({"error": self._fields(error)}, ensure_ascii=False) + "\n")
        else:
            self._line("aichat: " + consequence + one_line(error), RED)
        if self.debug:
            import traceback

            trace = "".join(traceback.format_exception(error))
            self._write("\n".join(safe_line_keeping_indent(line) for line in self._redact(trace).splitlines()) + "\n")

    def usage(self, settled: Settled) -> None:
        """Tokens and cost of one turn."""
        self._line(usage_text(settled), DIM)

    def reasoning(self, delta: str) -> None:
        """The next piece of what the model thinks."""
        self._is_reasoning = True
        self._write(self._colored(self._reasoning.feed(delta), DIM), is_open=True)

    def end_reasoning(self) -> None:
        """Close the reasoning with a newline, before the answer begins."""
        if self._is_reasoning:
            self._is_reasoning = False
            self._write(self._reasoning.flush() + "\n")

    def _fields(self, error: AichatError) -> dict[str, object]:
        fields: dict[str, object] = {
            "code": error.code,
            "message": self._redact(error.message),
            "hint": error.hint and self._redact(error.hint),
            "exit_code": error.exit_code,
        }
        if isinstance(error, RateLimited):
            fields["retry_after"] = error.retry_after
        return fields

    def _line(self, text: str, color: str) -> None:
        self.end_reasoning()
        self._write(self._colored(self._redact(text), color) + "\n")

    def _colored(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if text and wants_color(self._stream) else text

    def _write(self, text: str, *, is_open: bool = False) -> None:
        if self._owner is None:
            self._write_now(text)
        else:
            self._owner.aside(lambda: self._write_now(text), is_open=is_open)

    def _write_now(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError, AttributeError):
            # A closed or full stderr leaves nobody to tell.
            pass


def expensive_prompt(estimate: PromptEstimate) -> str:
    """What a prompt will cost, for the user to agree to."""
    answer = f", and up to {usd_text(estimate.answer_nano)} for the answer" if estimate.answer_nano else ""
    return (
        f"{safe_line(estimate.model)} reads about {estimate.tokens:,} tokens of this, for"
        f" {usd_text(estimate.prompt_nano)}{answer}."
    )


def one_line(error: AichatError) -> str:
    """The message and the hint as one safe line."""
    message = safe_line(error.message)
    message += "" if message.endswith((".", "!", "?", ":")) else "."
    return f"{message} {safe_line(error.hint)}" if error.hint else message


def safe_line_keeping_indent(line: str) -> str:
    """A line of a traceback, safe for a terminal."""
    stripped = line.lstrip(" ")
    return " " * (len(line) - len(stripped)) + safe_line(stripped)


def usage_text(settled: Settled) -> str:
    """Such as `gpt-4o-mini: 1,204 in (1,024 cached), 310 out, $0.000367`."""
    tokens = settled.tokens
    if tokens is None:
        return f"{safe_line(settled.model)}: no usage"
    cached = f" ({tokens.cached_tokens:,} cached)" if tokens.cached_tokens else ""
    reasoning = f" ({tokens.reasoning_tokens:,} reasoning)" if tokens.reasoning_tokens else ""
    cost = "price unknown" if settled.cost_nano is None else usd_text(settled.cost_nano)
    return f"{safe_line(settled.model)}: {tokens.input_tokens:,} in{cached}, {tokens.output_tokens:,} out{reasoning}, {cost}"


def wants_color(stream: TextIO | None) -> bool:
    """NO_COLOR forbids, FORCE_COLOR demands, else a terminal that is not dumb."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return _is_terminal(stream) and os.environ.get("TERM") != "dumb"


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()
