"""The keys of the prompt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from prompt_toolkit.application import in_terminal, run_in_terminal
from prompt_toolkit.application.current import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import (
    Condition,
    completion_is_selected,
    emacs_insert_mode,
    has_focus,
    is_searching,
    vi_navigation_mode,
)
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from aichat_cli.core.errors import ConfigError
from aichat_cli.render.diagnostics import one_line
from aichat_cli.repl.editor import edited

LEAVE_SECONDS = 2.0
"""Two Ctrl+C at an empty prompt within this time leave."""

SHIFT_ENTER = ("\x1b[13;2u", "\x1b[27;2;13~")
"""How terminals tell Shift+Enter, where they do: as CSI u, and as xterm's modifyOtherKeys."""


class Terminal(Protocol):
    """What keys do to the session, and to what it shows; `front.Front` is one."""

    @property
    def is_busy(self) -> bool:
        """Whether the session is at work."""
        ...

    def submit(self, text: str | None, *, by_key: bool = False) -> None:
        """Hand over a message, or None to leave; `by_key` where a key stands for it."""
        ...

    def unqueue_last(self) -> str | None:
        """Take back the last message that waits."""
        ...

    def stop_work(self) -> None:
        """Stop what the session does."""
        ...

    def suspend_program(self) -> None:
        """Give the terminal to the shell until it gives it back."""
        ...

    def show_hint(self, text: str) -> None:
        """A word until the next key."""
        ...

    def pasted(self, text: str) -> str:
        """What stands for a paste."""
        ...

    def remember(self, text: str) -> None:
        """Keep what was typed."""
        ...

    def toggle_reasoning(self) -> None:
        """Show or hide what the model thinks."""
        ...


def bindings(terminal: Terminal) -> KeyBindings:
    """The keys, on top of those of the editing mode."""
    bound = KeyBindings()
    at_prompt = has_focus(DEFAULT_BUFFER)
    _bind_sending(bound, terminal, at_prompt)
    _bind_leaving(bound, terminal, at_prompt)
    _bind_editing(bound, terminal, at_prompt)
    for key, command in (("f2", "/chats"), ("f3", "/model"), ("f4", "/settings")):
        bound.add(key, filter=at_prompt)(_submits(terminal, command))

    @bound.add(Keys.Vt100MouseEvent)
    def _ignore(_: KeyPressEvent) -> None:
        """Colours in a paste look like a mouse, and prompt_toolkit's own binding fails over them."""

    return bound


def _submits(terminal: Terminal, command: str) -> Callable[[KeyPressEvent], None]:
    def submit(_event: KeyPressEvent) -> None:
        terminal.submit(command, by_key=True)

    return submit


def _bind_sending(bound: KeyBindings, terminal: Terminal, at_prompt: Condition) -> None:
    @Condition
    def queues() -> bool:
        buffer = get_app().current_buffer
        return terminal.is_busy and bool(buffer.text.strip()) and buffer.complete_state is None

    @bound.add("tab", filter=at_prompt & queues)
    def _queue(event: KeyPressEvent) -> None:
        _send(event.current_buffer, terminal)

    @bound.add("enter", filter=at_prompt & ~is_searching)
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
        elif buffer.document.current_line_before_cursor.endswith("\\") and buffer.document.is_cursor_at_the_end:
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            _send(buffer, terminal)

    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    for sequence in SHIFT_ENTER:
        ANSI_SEQUENCES[sequence] = (Keys.Escape, Keys.ControlM)  # as Alt+Enter, instead of as Enter
    bound.add("escape", "enter", filter=at_prompt)(new_line)

    @bound.add("escape", "/", filter=at_prompt & emacs_insert_mode)
    def _slash(event: KeyPressEvent) -> None:
        # Escape, which left a picker, must not take the slash from the command after it: its name would be sent.
        event.current_buffer.insert_text("/")
        event.current_buffer.start_completion()

    bound.add("c-j", filter=at_prompt)(new_line)


def _send(buffer: Buffer, terminal: Terminal) -> None:
    text = buffer.text
    if text.strip():
        terminal.remember(text)
        terminal.submit(text)
        buffer.reset()


def _bind_leaving(bound: KeyBindings, terminal: Terminal, at_prompt: Condition) -> None:
    last_interrupt = last_stop = -LEAVE_SECONDS

    @bound.add("c-c", filter=at_prompt)
    @bound.add("<sigint>")
    def _interrupt(event: KeyPressEvent) -> None:
        nonlocal last_interrupt, last_stop
        buffer = event.current_buffer
        if terminal.is_busy:
            last_stop = time.monotonic()
            terminal.stop_work()
        elif time.monotonic() - last_stop < LEAVE_SECONDS / 2:
            pass  # whoever hits Ctrl+C again and again wants to stop the answer, not to leave
        elif buffer.text:
            # What is thrown away can be had back with the Up key.
            terminal.remember(buffer.text)
            buffer.reset()
        elif time.monotonic() - last_interrupt < LEAVE_SECONDS:
            terminal.submit(None)
        else:
            last_interrupt = time.monotonic()
            terminal.show_hint("Ctrl+C again leaves.")

    @bound.add("c-z", filter=at_prompt)
    def _suspend(_event: KeyPressEvent) -> None:
        run_in_terminal(terminal.suspend_program)

    @Condition
    def is_empty() -> bool:
        return not get_app().current_buffer.text

    @bound.add("c-d", filter=at_prompt & is_empty)
    def _end(_event: KeyPressEvent) -> None:
        if terminal.is_busy:
            terminal.show_hint("Leaves when the answer is complete; Ctrl+C leaves now.")
        terminal.submit(None)


def _bind_editing(bound: KeyBindings, terminal: Terminal, at_prompt: Condition) -> None:
    @bound.add(Keys.BracketedPaste, filter=at_prompt)
    def _paste(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(terminal.pasted(event.data))

    @bound.add("c-o", filter=at_prompt)
    def _reasoning(_event: KeyPressEvent) -> None:
        terminal.toggle_reasoning()

    @Condition
    def takes_back() -> bool:
        return terminal.is_busy and not get_app().current_buffer.text

    @bound.add("up", filter=at_prompt & takes_back & ~completion_is_selected)
    def _unqueue(event: KeyPressEvent) -> None:
        text = terminal.unqueue_last()
        if text is None:
            event.current_buffer.auto_up()
        else:
            event.current_buffer.document = Document(text)

    @bound.add("c-g", filter=at_prompt & ~is_searching)
    @bound.add("c-x", "c-e", filter=at_prompt)
    @bound.add("v", filter=at_prompt & vi_navigation_mode)
    async def _open_editor(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        try:
            async with in_terminal():
                text = await event.app.loop.run_in_executor(None, edited, buffer.text)  # type: ignore[union-attr]
        except ConfigError as error:
            terminal.show_hint(one_line(error))
            return
        buffer.document = Document(text)
