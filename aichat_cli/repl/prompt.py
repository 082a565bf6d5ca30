"""The input line: keys, completion, history and the status line. The only importer of prompt_toolkit."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

from aichat_cli.core import interrupts
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.repl.commands import COMMANDS

LEAVE_SECONDS = 2.0
"""Two Ctrl+C at an empty prompt within this time leave."""

STYLE = Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack", "prompt": "bold"})


class CommandCompleter(Completer):
    """Completes the slash command at the start of the input, with its help."""

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        """Commands that begin with what was typed."""
        typed = document.text_before_cursor
        if not typed.startswith("/") or " " in typed or "\n" in typed:
            return
        for command in COMMANDS:
            if f"/{command.name}".startswith(typed):
                yield Completion(f"/{command.name}", start_position=-len(typed), display_meta=command.help)


class _Signalled(Exception):
    """A signal came while the prompt was waiting. asyncio treats KeyboardInterrupt as its own, so it is not one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Prompt:
    """Reads one message or command at a time.

    Args:
        history_file: where what was typed is kept; None keeps it for this session only.
        status: the text of the status line.
    """

    def __init__(
        self,
        history_file: Path | None,
        status: Callable[[], str],
        *,
        terminal_input: Input | None = None,
        terminal_output: Output | None = None,
    ) -> None:
        self._last_interrupt = 0.0
        self._session: PromptSession[str] = PromptSession(
            history=_history(history_file),
            key_bindings=self._bindings(),
            completer=CommandCompleter(),
            complete_while_typing=True,
            multiline=True,
            prompt_continuation="… ",
            bottom_toolbar=lambda: FormattedText([("class:bottom-toolbar", status())]),
            style=STYLE,
            enable_open_in_editor=True,
            enable_suspend=True,
            input=terminal_input,
            output=terminal_output,
        )

    def read(self, prefilled: str = "") -> str:
        """The next input, as typed.

        Raises:
            EOFError: the user wants to leave.
        """
        try:
            return self._session.prompt(
                FormattedText([("class:prompt", "> ")]), default=prefilled, pre_run=self._leave_on_signals
            )
        except _Signalled as exc:
            raise Interrupted(exc.number) from None
        finally:
            # The event loop puts the system's own handlers back when it closes.
            interrupts.install()

    def _leave_on_signals(self) -> None:
        """What a signal handler raises inside the event loop is lost in it: let the prompt end with it instead."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end_with, number)

    def _end_with(self, number: int) -> None:
        self._session.app.exit(exception=_Signalled(number))

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("enter")
        def _enter(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.document.current_line_before_cursor.endswith("\\") and buffer.document.is_cursor_at_the_end:
                buffer.delete_before_cursor()
                buffer.insert_text("\n")
            elif buffer.complete_state and buffer.complete_state.current_completion:
                buffer.complete_state = None
            else:
                buffer.validate_and_handle()

        @bindings.add("escape", "enter")
        @bindings.add("c-j")
        def _new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @bindings.add("c-c")
        def _interrupt(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.text:
                # What is thrown away can be had back with the Up key.
                buffer.append_to_history()
                buffer.reset()
                return
            now = time.monotonic()
            if now - self._last_interrupt < LEAVE_SECONDS:
                event.app.exit(exception=EOFError)
            self._last_interrupt = now

        return bindings


@contextmanager
def keys_kept_for_the_prompt() -> Iterator[Callable[[], None]]:
    """Keys typed while an answer streams wait, unseen and unchanged, for the next prompt; Ctrl+C still stops it.

    In its usual mode the terminal would show them in the middle of the answer, make a line feed of Enter and forget
    them on Ctrl+C. Yields what sets that mode again: shells put the usual one back when the program is suspended.
    """
    descriptor = sys.stdin.fileno()
    usual = termios.tcgetattr(descriptor)
    quiet = termios.tcgetattr(descriptor)
    quiet[0] &= ~termios.ICRNL
    quiet[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    quiet[3] |= termios.NOFLSH

    def keep_keys() -> None:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)

    keep_keys()
    resumed = signal.signal(signal.SIGCONT, lambda *_: keep_keys())
    try:
        yield keep_keys
    finally:
        signal.signal(signal.SIGCONT, resumed)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, usual)


def _history(path: Path | None) -> History:
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
