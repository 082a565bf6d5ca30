"""The terminal of a session: a prompt that stays alive while an answer is written above it.

The prompt runs in a thread of its own and reads keys all the while; the session, which asks models and changes the
database, stays in the main thread, where signals arrive. They meet in two queues: what was submitted goes to the
session, what is to be shown comes from it, in order. The only way from here into a running turn is the signal of
Ctrl+C.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer
from prompt_toolkit.cursor_shapes import ModalCursorShapeConfig
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import to_filter
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import create_input

from aichat_cli.core import interrupts
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.repl import keys
from aichat_cli.repl.feed import AnswerBegins, AnswerEnds, AnswerText, AnswerThought, Feed, Lines, Shown
from aichat_cli.repl.inbox import Inbox, Sent
from aichat_cli.repl.input_history import opened_history
from aichat_cli.repl.live import Submission
from aichat_cli.repl.output import WholeOutput
from aichat_cli.repl.painter import Painter
from aichat_cli.repl.pastes import Pastes
from aichat_cli.repl.prompt_view import STYLE, echo, prompt_text, status_line

if TYPE_CHECKING:
    from aichat_cli.render.theme import Theme

SUSPEND_SECONDS = 0.5
DEAF_SECONDS = 2.0
"""After a Ctrl+C: what is still at work then may be stopped once more."""


class Front:
    """The terminal while a session runs.

    Args:
        history_file: where what was typed is kept; None keeps it for this session only.
        shows_reasoning: whether what a model thinks is shown while it does.
        vi: vi keys instead of those of emacs.
        reflows: whether the terminal wraps its lines anew when its width changes.
    """

    def __init__(
        self,
        *,
        history_file: Path | None,
        completer: Completer,
        theme: Callable[[], Theme],
        shows_reasoning: bool,
        vi: bool,
        reflows: bool,
    ) -> None:
        self._status: tuple[str, ...] = ()
        self._hint = ""
        self._carried: tuple[str, ...] = ()
        self._pastes = Pastes()
        self._inbox = Inbox()
        self._is_answering = False
        self._is_stopping = False
        self._deaf_until = 0.0
        self._has_continued = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._handlers: dict[int, Any] = {}
        self._raw_mode = contextlib.ExitStack()
        self._output = WholeOutput.on_stdout()
        self._feed = Feed(width=lambda: self.width, theme=theme, shows_reasoning=shows_reasoning)
        self._session: PromptSession[None] = PromptSession(
            message=self._prompt_text,
            history=opened_history(history_file),
            key_bindings=keys.bindings(self),
            completer=completer,
            complete_while_typing=True,
            multiline=True,
            prompt_continuation="  ",
            bottom_toolbar=self._toolbar,
            editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
            cursor=ModalCursorShapeConfig() if vi else None,
            style=STYLE,
            erase_when_done=True,
            reserve_space_for_menu=0,
            input=create_input(always_prefer_tty=True),
            output=self._output,
        )
        # The status line stands right below the input, also where the rest of the screen is empty.
        self._session.layout.current_window.dont_extend_height = to_filter(True)
        self._session.app.key_processor.before_key_press += lambda _: self.show_hint("")
        self._painter = Painter(self._session, self._output, self._feed, reflows=reflows)

    # ----- what the session calls, in the main thread

    def start(self) -> None:
        """Show the prompt."""
        handlers = (
            (signal.SIGINT, self._on_sigint),
            (signal.SIGWINCH, lambda *_: self._in_loop(self._painter.resized)),
            (signal.SIGCONT, lambda *_: self._on_sigcont()),
        )
        for number, handler in handlers:
            self._handlers[number] = signal.signal(number, handler)
        # Kept from one prompt or picker to the next: what is typed between two would be changed by the usual mode.
        self._raw_mode.enter_context(self._session.input.raw_mode())
        self._run()

    def stop(self) -> None:
        """Take the prompt away and give the terminal back. What was typed and not sent is kept for the Up key."""
        self._halt()
        self._raw_mode.close()
        if (text := self._session.default_buffer.text).strip():
            self.remember(text)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    @contextmanager
    def suspended(self, *, for_program: bool = False) -> Iterator[None]:
        """The terminal is a picker's within the block or, in its usual mode, another program's."""
        self._halt()
        self._painter.flush_without_prompt()
        try:
            with self._session.input.cooked_mode() if for_program else contextlib.nullcontext():
                yield
        finally:
            self._run()

    def next_input(self) -> Submission:
        """What the user submits next, with its pastes.

        Raises:
            EOFError: the user wants to leave.
            Interrupted: a signal asks the program to end.
        """
        self._inbox.is_busy = self._is_stopping = False
        self._deaf_until = 0.0
        self.refresh()
        submitted = self._inbox.take()
        self._is_stopping = False  # a Ctrl+C may have come the moment the last work ended
        text = submitted.text
        if text is None:
            raise EOFError
        if not submitted.by_key:
            self._post(Lines(echo(text)))
        return Submission(self._pastes.expanded(text), self._pastes.typed(text))

    def say(self, lines: Sequence[str]) -> None:
        """Show finished lines above the prompt: safe, styled, each at most as wide as the terminal or wrapped by it."""
        self._post(Lines(tuple(lines)))

    def begin_answer(self) -> None:
        """What comes next is one answer."""
        self._is_answering = True
        self._post(AnswerBegins())

    def write(self, delta: str) -> None:
        """The next piece of the answer."""
        self._post(AnswerText(delta))

    def think(self, delta: str) -> None:
        """The next piece of what the model thinks."""
        self._post(AnswerThought(delta))

    def end_answer(self) -> None:
        """The answer is over."""
        self._is_answering = False
        self._post(AnswerEnds())

    def set_status(self, status: Sequence[str], carried: Sequence[str] = ()) -> None:
        """The parts of the status line, and what goes with the next message."""
        self._status, self._carried = tuple(status), tuple(carried)
        self.refresh()

    def prefill(self, text: str) -> None:
        """Put a text into the input line, before what is typed there."""
        self._in_loop(lambda: self._insert_before(self._pastes.taken(text)))

    def take_back_queue(self) -> None:
        """What waits to be sent goes back into the input line: after a stop, nothing is sent unasked."""
        waiting = self._inbox.take_back_all()
        if waiting:
            self.prefill("\n".join(waiting))

    def copy(self, text: str) -> None:
        """Put a text on the clipboard, by OSC 52: the one such sequence that is let out, and it is our own."""
        from base64 import b64encode

        sequence = f"\x1b]52;c;{b64encode(text.encode()).decode()}\x07"

        def write() -> None:
            self._output.write_raw(sequence)
            self._output.flush()

        self._in_loop(write)

    def apply_settings(self, *, vi: bool, shows_reasoning: bool) -> None:
        """Vi keys or those of emacs; whether thoughts are shown while they come."""
        self._session.app.editing_mode = EditingMode.VI if vi else EditingMode.EMACS
        self._feed.shows_reasoning = shows_reasoning

    def refresh(self) -> None:
        """Draw the prompt again soon."""
        self._in_loop(self._session.app.invalidate)

    @property
    def width(self) -> int:
        """Cells in a line."""
        return self._painter.width

    # ----- what keys call, in the prompt's thread

    @property
    def is_busy(self) -> bool:
        """Whether the session is at work: what is submitted now waits."""
        return self._inbox.is_busy

    def submit(self, text: str | None, *, by_key: bool = False) -> None:
        """Hand a message, or None to leave, to the session. What a key stands for is not shown as if it was typed."""
        self._inbox.put(Sent(text, by_key=by_key))

    def unqueue_last(self) -> str | None:
        """Take the last message that waits back."""
        return self._inbox.take_back_last()

    def stop_work(self) -> None:
        """Stop what the session does, as Ctrl+C does in a shell.

        That is said first: counting the tokens of what arrived may take a second, the first time.
        """
        self._is_stopping = True
        self._session.app.invalidate()
        main = threading.main_thread().ident or 0
        asyncio.get_running_loop().call_soon(signal.pthread_kill, main, signal.SIGINT)

    def suspend_program(self) -> None:
        """Stop, as Ctrl+Z asks of a program, with all of its pipeline.

        The signal stops the process a moment after it was sent: whoever draws in that moment draws over the shell.
        """
        self._has_continued.clear()
        os.kill(0, signal.SIGTSTP)
        self._has_continued.wait(SUSPEND_SECONDS)

    def show_hint(self, text: str) -> None:
        """A word in the status line, until the next key."""
        self._hint = text

    def pasted(self, text: str) -> str:
        """What stands in the input line for a paste."""
        return self._pastes.taken(text.replace("\r\n", "\n").replace("\r", "\n"))

    def remember(self, text: str) -> None:
        """Keep what was typed for the Up key and Ctrl+R."""
        history, text = self._session.default_buffer.history, self._pastes.remembered(text)
        if history.get_strings()[-1:] != [text]:
            history.append_string(text)

    def toggle_reasoning(self) -> None:
        """While a model thinks: show or hide that. Afterwards: show what it thought."""
        lines = self._feed.toggle_reasoning()
        if lines is None:
            self.show_hint("There are no thoughts to show.")
        elif lines:
            self._post(Lines(tuple(lines)))

    # ----- the prompt's thread

    def _run(self) -> None:
        started = threading.Event()
        self._thread = threading.Thread(target=self._live, args=(started,), name="prompt", daemon=True)
        self._thread.start()
        started.wait()

    def _halt(self) -> None:
        if self._thread is None:
            return

        def leave() -> None:
            with contextlib.suppress(Exception):  # it has ended already
                self._session.app.exit()

        self._in_loop(leave)
        with interrupts.shielded():
            self._thread.join()
        self._thread = None

    def _live(self, started: threading.Event) -> None:
        leave_signals_to_the_main_thread()
        try:
            asyncio.run(self._live_until_left(started))
        except EOFError:
            self.submit(None)
        except BaseException as exc:  # noqa: BLE001 (handed to the session, which raises it)
            self._inbox.fail(exc)
        finally:
            self._loop = None
            started.set()

    async def _live_until_left(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._painter.begin()

        def begun() -> None:
            started.set()
            self._painter.draw_soon()
            self._draw_each_second()

        self._loop.call_soon(begun)
        await self._session.app.run_async(handle_sigint=False, set_exception_handler=False)

    def _in_loop(self, call: Callable[[], object]) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just closed
                loop.call_soon_threadsafe(call)

    def _post(self, shown: Shown) -> None:
        self._feed.put(shown)
        if self._thread is None:
            self._painter.flush_without_prompt()
        elif not self._painter.is_due:
            self._in_loop(self._painter.draw_soon)

    def _draw_each_second(self) -> None:
        if self._loop is not None and self._session.app.is_running:
            if self._inbox.is_busy:
                self._session.app.invalidate()
            self._loop.call_later(1.0, self._draw_each_second)

    def _on_sigint(self, number: int, frame: Any) -> None:
        """Ctrl+C belongs to what the session does; where it does nothing, the answer it was meant for has just ended.

        One stops it. A second on its heels would strike what puts away what the first has stopped.
        """
        if not self._inbox.is_busy or time.monotonic() < self._deaf_until:
            return
        if not interrupts.comes_at_a_bad_moment(frame):
            self._deaf_until = time.monotonic() + DEAF_SECONDS
        interrupts.deliver(number, frame)

    def _on_sigcont(self) -> None:
        self._has_continued.set()
        self._in_loop(self._painter.resumed)

    # ----- what the prompt shows

    def _prompt_text(self) -> StyleAndTextTuples:
        size = self._output.get_size()
        return prompt_text(
            self._feed.open_lines(),
            self._inbox.queue,
            self._carried,
            columns=size.columns,
            rows=size.rows,
            typed_rows=self._session.default_buffer.document.line_count,
        )

    def _toolbar(self) -> StyleAndTextTuples:
        doing = ""
        if self._inbox.is_busy and self._is_stopping:
            doing = "stopping"
        elif self._inbox.is_busy:
            work = "answering" if self._is_answering else "working"
            doing = f"{work} {time.monotonic() - self._inbox.busy_since:.0f} s, Ctrl+C stops"
        return status_line([self._hint] if self._hint else self._status, doing, self.width)

    def _insert_before(self, text: str) -> None:
        buffer = self._session.default_buffer
        typed = buffer.text
        buffer.text = f"{text}\n{typed}" if typed else text
        buffer.cursor_position = len(buffer.text)
