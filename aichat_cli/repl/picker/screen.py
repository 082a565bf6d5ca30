"""The full-screen picker that all lists share: a filter line, the list, a preview, a line of keys.

It knows nothing of what it lists. It ends by a choice, by Esc or Ctrl+C, or with `Interrupted` by a signal, and leaves
the terminal and the signal handlers as they were.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from aichat_cli.core import interrupts
from aichat_cli.core.errors import AichatError
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.core.struct import Struct
from aichat_cli.repl.picker import keys, layout
from aichat_cli.repl.picker.cells import Fragments, plain
from aichat_cli.repl.picker.rows import FixedRows, Row, Rows

T = TypeVar("T")

ESCAPE_SECONDS = 0.05
"""How long an Esc is held to see whether it begins the sequence of another key."""

LONGEST_ENTRY = 4000
PREVIEW_STEP = 3


class Action(Struct, frozen=True):
    """What a key does. `shown` is the key as people write it, `label` its word in the line of keys, `help` on F1.

    An action that `needs_row` is not run where the list is empty.
    """

    keys: tuple[str, ...]
    shown: str
    label: str
    help: str
    run: Callable[[], None]
    needs_row: bool = True


class _Signalled(Exception):
    """A signal came. asyncio treats KeyboardInterrupt as its own, so it is not one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Edit(Struct, frozen=True):
    """The entry line while something is edited in it; `accept` returns what is wrong, or None."""

    label: str
    accept: Callable[[str], str | None]
    filter_text: str


class Picker(Generic[T]):
    """One full-screen list.

    Args:
        title: stands before the filter.
        actions: what keys do besides; the first is what Enter does, without naming a key.
        on_filter: the filter's text has changed; answers with `show`, now or, after `wait`, later.
        preview: the lines about a row, for a width and a height; more lines than that can be scrolled to.
        is_preview_brief: it is a few facts, which always stand below the list.
        columns: what the columns of the rows are called, for a width; stands right in the first heading.
        no_rows: what an empty list says.
    """

    def __init__(
        self,
        title: str,
        actions: Sequence[Action],
        on_filter: Callable[[str], None],
        *,
        preview: Callable[[Row, int, int], list[Fragments]] | None = None,
        is_preview_brief: bool = False,
        columns: Callable[[int], str] = lambda _: "",
        no_rows: str = "Nothing matches.",
        terminal: tuple[Input | None, Output | None] = (None, None),
    ) -> None:
        self.title = title
        self.actions = tuple(actions)
        self.no_rows = no_rows
        self.columns = columns
        self.rows: Rows = FixedRows()
        self.selected = 0
        self.top = 0
        self.count_text = ""
        self.message = ""
        self.is_help = False
        self.is_preview_brief = is_preview_brief
        self.preview_offset = 0
        self.page = 10
        self.has_moved = False
        self._was_help = False
        self._shows_preview: bool | None = None
        self._on_filter = on_filter
        self._preview = preview
        self._preview_of: tuple[str, int, int] | None = None
        self._preview_lines: list[Fragments] = []
        self._edit: _Edit | None = None
        self._is_waiting = False
        self._postponed: list[Action] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[Callable[[], None]] = []
        self.entry = Buffer(multiline=False, on_text_changed=lambda _: self._entry_changed())
        self._app: Application[T | None] = Application(
            layout=layout.build(self),
            key_bindings=keys.bindings(self),
            style=layout.STYLE,
            full_screen=True,
            input=terminal[0],
            output=terminal[1],
        )
        self._app.ttimeoutlen = ESCAPE_SECONDS
        self._app.key_processor.before_key_press += lambda _: self._key_pressed()

    def run(self) -> T | None:
        """Show it to the end; what `close` was given.

        Raises:
            Interrupted: SIGTERM or SIGHUP came.
        """
        try:
            return self._app.run(pre_run=self._begin)
        except _Signalled as exc:
            raise Interrupted(exc.number) from None
        finally:
            # The event loop puts the system's own handlers back when it closes.
            interrupts.install()

    def close(self, result: T | None = None) -> None:
        """End it."""
        if not self._app.is_done:
            self._app.exit(result=result)

    @property
    def filter_text(self) -> str:
        """What the list is filtered by."""
        return self._edit.filter_text if self._edit else self.entry.text

    @property
    def label(self) -> str:
        """What stands before the entry line."""
        return self._edit.label if self._edit else self.title

    @property
    def row(self) -> Row | None:
        """The selected row."""
        return self.rows[self.selected] if 0 <= self.selected < len(self.rows) else None

    @property
    def has_preview(self) -> bool:
        """Whether there can be one."""
        return self._preview is not None

    def show(self, rows: Rows, *, reset: bool = False, is_final: bool = True) -> None:
        """Show other rows. The selection stays with its row, or else its place; `reset` begins at the first.

        `is_final` tells that nothing more comes for this filter.
        """
        key = self.row.key if self.row else None
        self.rows = rows
        self._preview_of = None
        self._is_waiting = not is_final
        if reset:
            self.selected, self.top = 0, 0
        else:
            place = rows.position(key) if key is not None else None
            self.selected = max(min(self.selected if place is None else place, len(rows) - 1), 0)
        self._app.invalidate()
        if is_final:
            postponed, self._postponed = self._postponed, []
            for action in postponed:
                self.perform(action)

    def wait(self) -> None:
        """Rows for the filter are on their way: what is asked for meanwhile is done when they are there."""
        self._is_waiting = True

    def select(self, key: str) -> None:
        """Select a row of the list."""
        place = self.rows.position(key)
        if place is not None:
            self.selected = place

    def say(self, message: str) -> None:
        """Show a sentence until the next key."""
        self.message = plain(message)
        self._app.invalidate()

    def later(self, call: Callable[[], None], *, delay: float = 0.0) -> None:
        """Call something in the picker's own thread, after so many seconds; may be called from any."""
        with self._lock, suppress(RuntimeError):  # the loop has ended meanwhile
            if self._loop is None:
                self._early.append(call)
            else:
                self._loop.call_soon_threadsafe(self._loop.call_later, delay, self._guarded, call)

    def edit(self, label: str, text: str, accept: Callable[[str], str | None]) -> None:
        """Edit a text in the entry line. Enter gives it to `accept`, which returns what is wrong, or None."""
        self._edit = _Edit(label, accept, self.filter_text)
        self._set_entry(text)

    def perform(self, action: Action) -> None:
        """Do what a key asks for, once the rows are those of the filter."""
        if self._edit is not None:
            return
        if self._is_waiting:
            self._postponed.append(action)
        elif self.row is not None or not action.needs_row:
            self._guarded(action.run)

    def move(self, steps: int) -> None:
        """Move the selection."""
        if self._edit is None:
            self._postponed = []
            self.has_moved = True
            self.selected = max(min(self.selected + steps, len(self.rows) - 1), 0)
            self.preview_offset = 0

    def enter(self) -> None:
        """What Enter does: accept what is edited, else the first action."""
        if self._edit is None:
            self.perform(self.actions[0])
            return
        edit = self._edit
        self._guarded(lambda: self._accepted(edit.accept(self.entry.text)))

    def step_back(self) -> None:
        """What Esc does: leave the help, the editing, the filter, and at last the picker."""
        self._postponed = []
        if self._was_help:
            return
        if self._edit is not None:
            self._accepted(None)
        elif self.entry.text:
            self._set_entry("")
        else:
            self.close()

    def cancel(self) -> None:
        """What Ctrl+C does: leave the editing, or the picker."""
        if self._edit is not None:
            self._accepted(None)
        else:
            self.close()

    def toggle_help(self) -> None:
        """Show or hide all keys."""
        self.is_help = not self._was_help

    def toggle_preview(self) -> None:
        """Show the preview where it is hidden, and the other way round."""
        self._shows_preview = layout.preview_place(self) is None

    @property
    def wants_preview(self) -> bool | None:
        """What the user chose; None leaves it to the size of the screen."""
        return self._shows_preview if self.has_preview else False

    def scroll_preview(self, steps: int) -> None:
        """Scroll the preview."""
        self.preview_offset = max(min(self.preview_offset + steps * PREVIEW_STEP, len(self._preview_lines) - 1), 0)

    def preview_lines(self, width: int, height: int) -> list[Fragments]:
        """The lines about the selected row."""
        row = self.row
        if row is None or self._preview is None:
            return []
        if self._preview_of != (row.key, width, height):
            try:
                self._preview_lines = self._preview(row, width, height)
            except AichatError as error:
                self._preview_lines = [[("", plain(error.message))]]
            self._preview_of = (row.key, width, height)
        return self._preview_lines[self.preview_offset :]

    def _begin(self) -> None:
        """What a signal handler raises inside the event loop is lost in it: let the picker end with it instead."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end_with, number)
        with self._lock:
            self._loop = loop
        for call in self._early:
            self._guarded(call)

    def _end_with(self, number: int) -> None:
        if not self._app.is_done:
            self._app.exit(exception=_Signalled(number))

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except AichatError as error:
            self.say(error.message)

    def _accepted(self, problem: str | None) -> None:
        if problem is not None:
            self.say(problem)
            return
        assert self._edit is not None
        self._set_entry(self._edit.filter_text)
        self._edit = None

    def _set_entry(self, text: str) -> None:
        self.entry.document = Document(text, len(text))

    def _entry_changed(self) -> None:
        if self._edit is None:
            self._postponed = []
            self.preview_offset = 0
            self._on_filter(self.entry.text[:LONGEST_ENTRY])

    def _key_pressed(self) -> None:
        self._was_help, self.is_help = self.is_help, False
        self.message = ""
